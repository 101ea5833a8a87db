"""Three training steps in PyTorch with nothing else in memory: python memory.py FOLDER COMPARED, as step.py's."""

import sys

from networks import read_batches, read_networks
from side import peak_bytes, serve
from training import Training, first_losses, settings

# What step.py finds to be faster for ResNet-50.
channels_last = True


def main(folder, compared):
    training = Training(read_networks(f"{folder}/checkpoint.arrow"), read_batches(f"{folder}/batches.arrow"), channels_last)
    values = first_losses(training, 3, compared)
    serve(values, settings(channels_last), lambda count: [training.step() for _ in range(count)], peak_bytes())


main(sys.argv[1], int(sys.argv[2]))
