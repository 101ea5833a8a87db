"""Loads a safetensors file into torchvision's ResNet-50 and saves it again: round_trip.py IN.safetensors OUT_FOLDER."""
import json
import struct
import sys

import torch
import torchvision

file, out = sys.argv[1:]
try:
    from safetensors.torch import load_file

    state = load_file(file)
except ImportError:
    # The format by its own description.
    with open(file, "rb") as f:
        data = f.read()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__")
    dtypes = {"F32": torch.float32, "I64": torch.int64}
    state = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        part = bytearray(data[8 + length + start : 8 + length + end])
        state[name] = torch.frombuffer(part, dtype=dtypes[entry["dtype"]]).reshape(entry["shape"])

model = torchvision.models.resnet50()
model.fc = torch.nn.Identity()
model.load_state_dict(state, strict=True)
torch.save(model.state_dict(), f"{out}/zip.pth")
torch.save({"state_dict": model.state_dict(), "epoch": 3}, f"{out}/legacy.pth", _use_new_zipfile_serialization=False)
