"""Writes augment.json, what Pillow 13 and torchvision 0.29 make of images' colours and of their blur: run `python augment.py` here."""

import hashlib
import json

from PIL import Image, ImageFilter
from torchvision.transforms import functional
from resize import noise

SIZES = [[32, 16], [7, 5], [1, 3], [64, 33]]
ADJUSTMENTS = {
    "brightness": [functional.adjust_brightness, [0.0, 0.31, 0.85, 1.0, 1.15, 2.7]],
    "contrast": [functional.adjust_contrast, [0.0, 0.31, 0.85, 1.0, 1.15, 2.7]],
    "saturation": [functional.adjust_saturation, [0.0, 0.31, 0.85, 1.0, 1.15, 2.7]],
    "hue": [functional.adjust_hue, [-0.5, -0.31, -0.001, 0.0, 0.1, 0.5]],
    "blur": [lambda image, sigma: image.filter(ImageFilter.GaussianBlur(sigma)), [0.1, 0.35, 0.9, 1.0, 1.7, 2.0, 6.3]],
}


def soft(height: int, width: int) -> Image.Image:
    """Noise whose colours are less extreme, so that little is cut off at 0 and 255."""
    return noise(height, width).point(lambda value: 64 + value // 2)


def colours() -> Image.Image:
    """Every 5th value of each channel with every one of the others."""
    values = range(0, 256, 5)
    return Image.frombytes("RGB", (52, 52 * 52), bytes(v for r in values for g in values for b in values for v in (r, g, b)))


def digest(adjust, factor: float) -> str:
    """Of all images after one adjustment, one after the other."""
    found = hashlib.sha256()
    for size in SIZES:
        for image in (noise(*size), soft(*size)):
            found.update(adjust(image, factor).tobytes())
    found.update(adjust(colours(), factor).tobytes())
    return found.hexdigest()


def main() -> None:
    golden = [
        {"adjustment": name, "factor": factor, "sha256": digest(adjust, factor)}
        for name, [adjust, factors] in ADJUSTMENTS.items()
        for factor in factors
    ]
    with open("augment.json", "w") as out:
        out.write("[\n" + ",\n".join(json.dumps(case) for case in golden) + "\n]\n")


if __name__ == "__main__":
    main()
