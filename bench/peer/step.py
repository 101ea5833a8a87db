"""Training steps in PyTorch: python step.py FOLDER COMPARED. FOLDER holds checkpoint.arrow and batches.arrow."""

import copy
import sys

from networks import read_batches, read_networks
from side import fastest, serve
from training import Training, first_losses, settings


def main(folder, compared):
    networks = read_networks(f"{folder}/checkpoint.arrow")
    batches = list(read_batches(f"{folder}/batches.arrow"))
    trainings = {}

    def training(channels_last):
        # One at a time, so that the peak of memory is that of one training.
        if channels_last not in trainings:
            trainings.clear()
            trainings[channels_last] = Training(copy.deepcopy(networks), batches, channels_last)
        return trainings[channels_last]

    large = next(iter(networks.values())).classifier.in_features > 1000
    best = fastest([False, True], lambda choice: training(choice).step(), 2 if large else 30)
    trainings.clear()
    serve(
        first_losses(training(best), 3, compared),
        settings(best),
        lambda count: [training(best).step() for _ in range(count)],
    )


main(sys.argv[1], int(sys.argv[2]))
