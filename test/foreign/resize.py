"""Writes resize.json, what Pillow 13 makes of images and JPEG files: run `python resize.py` here."""

import base64
import hashlib
import io
import json

from PIL import Image

# [height, width] of an image, and what it is resized to: larger, smaller, one dimension alone, both ways at once.
RESIZED = [
    [128, 64, 256, 128],
    [1, 1, 7, 5],
    [31, 17, 31, 40],
    [31, 17, 12, 17],
    [90, 70, 16, 8],
    [300, 150, 256, 128],
    [9, 25, 27, 20],
    [17, 22, 9, 25],
    [23, 18, 8, 11],
    [45, 16, 1, 6],
    [33, 47, 5, 3],
]
DECODED = [[16, 24, "4:2:0"], [37, 21, "4:2:2"], [40, 20, "4:4:4"], [128, 64, "4:2:0"]]


def noise(height: int, width: int) -> Image.Image:
    """An image of pseudo-random bytes, which the test draws as well."""
    state, values = height * 1000 + width, bytearray()
    for _ in range(height * width * 3):
        state = (state * 1664525 + 1013904223) % 2**32
        values.append(state >> 24)
    return Image.frombytes("RGB", (width, height), bytes(values))


def resized(image: Image.Image, height: int, width: int) -> str:
    return hashlib.sha256(image.resize((width, height), Image.Resampling.BICUBIC).tobytes()).hexdigest()


def jpeg(height: int, width: int, subsampling: str) -> bytes:
    file = io.BytesIO()
    noise(height, width).resize((width, height), box=(0, 0, width / 3, height / 3)).save(
        file, "jpeg", quality=90, subsampling=subsampling
    )
    return file.getvalue()


def main() -> None:
    files = [jpeg(*case) for case in DECODED]
    golden = {
        "resized": [
            {"from": [h, w], "to": [to_h, to_w], "sha256": resized(noise(h, w), to_h, to_w)}
            for h, w, to_h, to_w in RESIZED
        ],
        "decoded": [
            {"file": base64.b64encode(file).decode(), "to": [32, 13], "sha256": resized(Image.open(io.BytesIO(file)), 32, 13)}
            for file in files
        ],
    }
    with open("resize.json", "w") as out:
        json.dump(golden, out, indent=2)
        out.write("\n")


if __name__ == "__main__":
    main()
