"""torchvision's transforms in a DataLoader: python augment.py FOLDER, with images.arrow.

The images are decoded PIL images in memory, which the other side reads from the file.
"""

import sys

import numpy as np
import pyarrow.ipc as ipc
import torch
import torchvision
from PIL import Image
from side import fastest, serve
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

height, width = 256, 128
batch = 64
workers = 2
mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

torch.set_num_threads(1)


def transform(flip, pad, erase):
    """The original code's training transform."""
    return transforms.Compose(
        [
            transforms.RandomHorizontalFlip(flip),
            transforms.Pad(pad),
            transforms.RandomCrop((height, width)),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
            transforms.RandomErasing(erase, (0.02, 0.4), (0.3, 1 / 0.3), mean),
        ]
    )


class Views(Dataset):
    """Two views of each image."""

    def __init__(self, images, labels, transform):
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index]
        return self.transform(image), self.transform(image), self.labels[index]


class Drawn:
    """So many random batches: a batch sampler whose length can be set."""

    def __init__(self, images):
        self.images, self.count = images, 0

    def __len__(self):
        return self.count

    def __iter__(self):
        for _ in range(self.count):
            yield torch.randint(self.images, (batch,)).tolist()


def read(file):
    table = ipc.open_file(file).read_all()
    images = [
        Image.fromarray(np.frombuffer(pixels.as_py(), np.uint8).reshape(height, width, 3)) for pixels in table["pixels"]
    ]
    return images, table["person"].to_pylist()


def main(folder):
    images, labels = read(f"{folder}/images.arrow")
    drawn = Drawn(len(images))
    views = Views(images, labels, transform(0.5, 10, 0.5))
    loaders = {
        number: DataLoader(views, batch_sampler=drawn, num_workers=number, persistent_workers=number > 0)
        for number in (0, 1, workers)
    }

    def batches(number, count):
        drawn.count = count
        for _ in loaders[number]:
            pass

    def means(flip):
        of = transform(flip, 0, 0)
        halves = [of(image)[:, :, : width // 2].double().mean((1, 2)) for image in images[:batch]]
        return torch.cat(halves).tolist()

    values = {"means of the left half": means(0), "means of the left half, flipped": means(1)}
    best = fastest(list(loaders), lambda number: batches(number, 8))
    for number in loaders.keys() - {best}:
        loaders[number] = None
    settings = f"torchvision {torchvision.__version__}, PyTorch {torch.__version__}, DataLoader with {best} workers"
    serve(values, settings, lambda count: batches(best, count))


if __name__ == "__main__":
    main(sys.argv[1])
