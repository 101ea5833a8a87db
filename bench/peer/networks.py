"""The networks of bench/ours in PyTorch, with the weights of a `checkpoint` artifact."""

import copy
import json

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval


class BasicBlock(nn.Module):
    def __init__(self, channels_in, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None
        if stride != 1 or channels_in != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + shortcut)


class SmallResNet(nn.Module):
    """The backbone `resnet-small` of model/config.ts."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(BasicBlock(16, 16, 1))
        self.layer2 = nn.Sequential(BasicBlock(16, 32, 2))
        self.layer3 = nn.Sequential(BasicBlock(32, 64, 2))
        self.layer4 = nn.Sequential(BasicBlock(64, 128, 1))

    def forward(self, x):
        return self.layer4(self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x)))))))


def resnet50():
    """torchvision's ResNet-50 up to its last map, with the last stride 1."""
    model = torchvision.models.resnet50(weights=None)
    model.layer4[0].conv2.stride = (1, 1)
    model.layer4[0].downsample[0].stride = (1, 1)
    model.avgpool = nn.Identity()
    model.fc = nn.Identity()
    model.forward = lambda x: model.layer4(
        model.layer3(model.layer2(model.layer1(model.maxpool(F.relu(model.bn1(model.conv1(x)))))))
    )
    return model


class Network(nn.Module):
    """Backbone, average pooling → f; BNNeck → b; linear classifier → logits."""

    def __init__(self, backbone, classes, dimension):
        super().__init__()
        self.backbone = SmallResNet() if backbone == "resnet-small" else resnet50()
        self.head = nn.Module()
        self.head.feat_bn = nn.BatchNorm1d(dimension)
        self.head.feat_bn.bias.requires_grad_(False)
        self.classifier = nn.Linear(dimension, classes, bias=False)

    def forward(self, x):
        feature = self.backbone(x).mean((2, 3))
        neck = self.head.feat_bn(feature)
        return feature, neck, self.classifier(neck)


def embedding_of(network, views):
    """L2-normalised BNNeck outputs of a network in evaluation mode."""
    return F.normalize(network.head.feat_bn(network.backbone(views).mean((2, 3))))


def fused(network):
    """A copy in evaluation mode whose convolutions have the BatchNorm after them folded in."""
    network = copy.deepcopy(network).eval()
    for module in list(network.backbone.modules()):
        for conv, norm in [(f"conv{i}", f"bn{i}") for i in (1, 2, 3)]:
            if hasattr(module, conv):
                setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm)))
                setattr(module, norm, nn.Identity())
        if getattr(module, "downsample", None) is not None:
            module.downsample = nn.Sequential(fuse_conv_bn_eval(*module.downsample))
    return network


def read_networks(path):
    """The networks of a checkpoint by name."""
    states = {}
    with pa.memory_map(path) as file:
        table = ipc.open_file(file).read_all()
        backbone = json.loads(table.schema.metadata[b"model"])["backbone"]
        columns = [table[column] for column in ("network", "name", "dtype", "shape", "data")]
        for network, name, dtype, shape, data in zip(*columns):
            if not name.as_py().startswith("adam."):
                values = np.frombuffer(data.as_buffer(), dtype=dtype.as_py()).reshape(shape.as_py())
                states.setdefault(network.as_py(), {})[name.as_py()] = values
        networks = {}
        for name, state in states.items():
            networks[name] = Network(backbone, *state["classifier.weight"].shape)
            networks[name].load_state_dict({key: torch.from_numpy(values.copy()) for key, values in state.items()})
    return networks


def read_batches(path):
    """Views [n, 3, H, W] and labels of each record batch of a `batches` artifact."""
    reader = ipc.open_file(path)
    for i in range(reader.num_record_batches):
        batch = reader.get_batch(i)
        metadata = reader.schema.metadata
        height, width = int(metadata[b"height"]), int(metadata[b"width"])
        pixels = batch.column("pixels").flatten().to_numpy().reshape(-1, height, width, 3)
        view = batch.column("view").to_numpy()
        labels = torch.from_numpy(batch.column("label").to_numpy()[view == 0].astype(np.int64))
        views = [torch.from_numpy(pixels[view == v].transpose(0, 3, 1, 2).copy()) for v in range(view.max() + 1)]
        yield views, labels
