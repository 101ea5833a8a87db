"""The quickstart's recipe in PyTorch, from JPEG files to scores: python quickstart.py FOLDER. FOLDER holds recipe.json and the images."""

import time

started = time.perf_counter()

import copy
import json
import os
import re
import sys

import numpy as np
import torch
from networks import Network, embedding_of
from PIL import Image
from side import fastest, serve
from sklearn.cluster import KMeans
from torch.nn import functional as F
from training import Training, settings

mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
embedded_at_once = 256


class Split:
    """The images of a folder in Market-1501's layout, decoded, as bytes [N, 3, H, W]; junk is left out."""

    def __init__(self, folder, size):
        names = [name for name in sorted(os.listdir(folder)) if name.endswith(".jpg") and not name.startswith("-1")]
        found = [re.match(r"(\d+)_c(\d+)", name) for name in names]
        self.persons = np.array([int(match[1]) for match in found])
        self.cameras = np.array([int(match[2]) for match in found])
        self.pixels = torch.stack([self.decoded(os.path.join(folder, name), size) for name in names])

    @staticmethod
    def decoded(file, size):
        image = Image.open(file).convert("RGB")
        if image.size != size:
            image = image.resize(size, Image.BILINEAR)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def normalised(pixels, layout):
    values = (pixels.float() / 255 - mean[:, None, None]) / std[:, None, None]
    return values.contiguous(memory_format=layout)


def augmented(pixels, flip, pad, layout):
    """Flipped with a probability, padded, cropped at random; each image by its own draws."""
    _, _, height, width = pixels.shape
    flipped = torch.rand(len(pixels)) < flip
    padded = F.pad(torch.where(flipped[:, None, None, None], pixels.flip(3), pixels), (pad,) * 4)
    tops, lefts = torch.randint(2 * pad + 1, (2, len(pixels))).tolist()
    crops = [one[:, top : top + height, left : left + width] for one, top, left in zip(padded, tops, lefts)]
    return normalised(torch.stack(crops), layout)


def balanced(labels, identities, instances):
    """Rows of batches of so many images of so many identities, endlessly."""
    rows = {label: np.flatnonzero(labels == label) for label in np.unique(labels)}
    while True:
        order = np.random.permutation(list(rows))
        for start in range(0, len(order) - identities + 1, identities):
            chosen = [rows[label] for label in order[start : start + identities]]
            yield np.concatenate([np.random.choice(of, instances, replace=len(of) < instances) for of in chosen])


def rate(schedule, epoch, iteration):
    done = (epoch - 1) * schedule["iterations"] + iteration
    warmup = min(1, (done + 1) / max(1, schedule["warmupEpochs"] * schedule["iterations"]))
    passed = sum(done >= milestone * schedule["iterations"] for milestone in schedule["milestones"])
    return schedule["learningRate"] * warmup * schedule["milestoneFactor"] ** passed


def train(training, split, labels, epoch, how, layout):
    """An epoch; each network of `training` sees a view of its own."""
    rows = balanced(labels, how["identities"], how["instances"])
    for iteration in range(how["iterations"]):
        chosen = next(rows)
        pixels = split.pixels[chosen]
        views = [augmented(pixels, how["flip"], how["pad"], layout) for _ in training.students]
        training.optimizer.param_groups[0]["lr"] = rate(how, epoch, iteration)
        training.batches = iter([(views, torch.from_numpy(labels[chosen]))])
        training.step()


@torch.no_grad()
def embeddings(networks, pixels, layout):
    """Embeddings, averaged over the networks and normalised again, in evaluation mode."""
    for network in networks:
        network.eval()
    parts = [normalised(part, layout) for part in pixels.split(embedded_at_once)]
    each = [torch.cat([embedding_of(network, part) for part in parts]) for network in networks]
    for network in networks:
        network.train()
    return each[0] if len(each) == 1 else F.normalize(sum(each))


def average_precision(network, query, gallery, layout):
    """mAP in percent by Market-1501's protocol."""
    of = [embeddings([network], split.pixels, layout) for split in (query, gallery)]
    order = torch.argsort(-(of[0] @ of[1].t()), dim=1).numpy()
    found = []
    for row, ranked in enumerate(order):
        same = gallery.persons[ranked] == query.persons[row]
        kept = ~(same & (gallery.cameras[ranked] == query.cameras[row]))
        hits = np.flatnonzero(same[kept]) + 1
        if len(hits) > 0:
            found.append((np.arange(1, len(hits) + 1) / hits).mean())
    return 100 * np.mean(found)


def score(networks, query, gallery, layout):
    return float(np.mean([average_precision(network, query, gallery, layout) for network in networks]))


def adapt(students, target, query, gallery, how, layout):
    students = {name: copy.deepcopy(network) for name, network in students.items()}
    teachers = {}
    if how["meanTeachers"]:
        teachers = {name.replace("student", "teacher"): copy.deepcopy(network) for name, network in students.items()}
    everyone = {**students, **teachers}
    used = list((teachers or students).values())
    scored = 0
    updates = 0
    for epoch in range(1, how["epochs"] + 1):
        vectors = embeddings(used, target.pixels, layout).numpy()
        found = KMeans(how["classes"], n_init=1, max_iter=300, tol=how["tolerance"]).fit(vectors)
        centres = F.normalize(torch.from_numpy(found.cluster_centers_).float())
        for network in everyone.values():
            network.classifier = torch.nn.Linear(centres.shape[1], len(centres), bias=False)
            network.classifier.weight.data.copy_(centres)
        training = Training(everyone, [], layout == torch.channels_last)
        training.steps = updates
        train(training, target, found.labels_.astype(np.int64), epoch, how, layout)
        updates = training.steps
        scored = score(used, query, gallery, layout)
    return scored


def pretrain(source, how, layout):
    labels = np.unique(source.persons, return_inverse=True)[1]
    network = Network("resnet-small", labels.max() + 1, 128)
    training = Training({"student": network}, [], layout == torch.channels_last)
    for epoch in range(1, how["epochs"] + 1):
        train(training, source, labels, epoch, how, layout)
    return network


def main(folder):
    with open(f"{folder}/recipe.json") as file:
        recipe = json.load(file)
    np.random.seed(recipe["seed"])
    torch.manual_seed(recipe["seed"])
    size = (recipe["width"], recipe["height"])
    source = Split(f"{folder}/pair/source/bounding_box_train", size)
    target, query, gallery = (
        Split(f"{folder}/pair/target/{split}", size) for split in ("bounding_box_train", "query", "bounding_box_test")
    )
    once = {**recipe["pretrain"], "epochs": 1}
    choosing = time.perf_counter()
    layout = fastest([torch.contiguous_format, torch.channels_last], lambda layout: pretrain(source, once, layout), 1)
    not_counted = time.perf_counter() - choosing
    students = {f"student-{i}": pretrain(source, recipe["pretrain"], layout) for i in (1, 2)}
    scores = {"source-only": score(students.values(), query, gallery, layout)}
    for name, how in recipe["adaptations"].items():
        scores[name] = adapt(students, target, query, gallery, how, layout)
    values = {f"mAP, {name}": [value] for name, value in scores.items()}
    seconds = time.perf_counter() - started - not_counted
    serve(values, settings(layout == torch.channels_last), lambda count: None, first=seconds)


main(sys.argv[1])
