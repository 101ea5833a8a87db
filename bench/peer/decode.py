"""Decoding by PIL and torchvision in a DataLoader: python decode.py FOLDER, which holds images/."""

import os
import sys
from pathlib import Path

import PIL
import torch
import torchvision
from PIL import Image
from side import fastest, serve
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

torch.set_num_threads(1)


class Images(Dataset):
    def __init__(self, files):
        self.files = files
        self.transform = transforms.Compose([transforms.Resize((256, 128), interpolation=3), transforms.PILToTensor()])

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        return self.transform(Image.open(self.files[index]).convert("RGB"))


def main(folder):
    images = Images(sorted(str(path) for path in Path(folder, "images", "bounding_box_train").iterdir()))
    loaders = {
        workers: DataLoader(images, batch_size=64, num_workers=workers, persistent_workers=workers > 0)
        for workers in range(os.cpu_count() + 1)
    }

    def once(workers):
        for _ in loaders[workers]:
            pass

    # Of every batch of 256 images, as the other side's record batches are, every 64th.
    means = [images[i].double().mean((1, 2)).tolist() for i in range(0, len(images), 64)]
    best = fastest(list(loaders), once)
    for workers in loaders.keys() - {best}:
        loaders[workers] = None
    serve(
        {"means of the channels": [value for mean in means for value in mean]},
        f"PIL {PIL.__version__}, torchvision {torchvision.__version__}, DataLoader with {best} workers",
        lambda count: [once(best) for _ in range(count)],
    )


if __name__ == "__main__":
    main(sys.argv[1])
