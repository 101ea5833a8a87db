"""Embeddings of decoded images in PyTorch: python embed.py FOLDER, which holds checkpoint.arrow and images.arrow."""

import itertools
import sys

import pyarrow.ipc as ipc
import torch
from networks import embedding_of, fused, read_networks
from side import fastest, serve

compared = 8
mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))


def read_images(path):
    """Pixels [n, H, W, 3] of an `images` artifact."""
    table = ipc.open_file(path).read_all()
    height, width = (int(table.schema.metadata[key]) for key in (b"height", b"width"))
    pixels = b"".join(table["pixels"].to_pylist())
    return torch.frombuffer(bytearray(pixels), dtype=torch.uint8).view(-1, height, width, 3)


def choices(network):
    """The ways to embed that are tried: memory layout, BatchNorm fused into the convolutions, images at once."""
    networks = {False: network, True: fused(network)}
    for fuse, channels_last, batch in itertools.product([False, True], [False, True], [16, 64]):
        yield fuse, channels_last, batch, networks[fuse]


@torch.inference_mode()
def main(folder):
    (network,) = read_networks(f"{folder}/checkpoint.arrow").values()
    images = read_images(f"{folder}/images.arrow")
    network.eval()

    def embed(choice):
        _, channels_last, batch, chosen = choice
        layout = torch.channels_last if channels_last else torch.contiguous_format
        chosen.to(memory_format=layout)
        found = []
        for pixels in images.split(batch):
            views = pixels.permute(0, 3, 1, 2).float().div_(255).sub_(mean).div_(std)
            found.append(embedding_of(chosen, views.contiguous(memory_format=layout)))
        return torch.cat(found)

    best = fastest(list(choices(network)), embed, 1)
    fuse, channels_last, batch, _ = best
    found = embed(best)
    said = [f"PyTorch {torch.__version__}", f"{torch.get_num_threads()} threads", f"batches of {batch}"]
    said += ["channels_last"] * channels_last + ["BatchNorm fused"] * fuse
    serve(
        {f"embedding of image {i}": found[i].tolist() for i in range(compared)},
        ", ".join(said),
        lambda count: [embed(best) for _ in range(count)],
    )


main(sys.argv[1])
