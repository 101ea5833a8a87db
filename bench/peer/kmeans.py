"""Clusterings in scikit-learn: python kmeans.py FOLDER, which holds embeddings.arrow and centroids.arrow."""

import itertools
import os
import sys

import numpy as np
import pyarrow.ipc as ipc
import sklearn
from sklearn.cluster import KMeans, kmeans_plusplus
from threadpoolctl import threadpool_limits

from side import serve

threads = os.cpu_count()


def read_rows(file, column):
    table = ipc.open_file(file).read_all().combine_chunks()
    vectors = table[column].chunk(0)
    return vectors.flatten().to_numpy().reshape(len(table), -1).copy()


def main(folder):
    features = read_rows(f"{folder}/embeddings.arrow", "embedding")
    start = read_rows(f"{folder}/centroids.arrow", "centroid")
    classes = len(start)
    seeds = itertools.count(1)

    def lloyd():
        return KMeans(classes, init=start, n_init=1, max_iter=300, tol=1e-4, algorithm="lloyd").fit(features)

    def clustering():
        kmeans_plusplus(features, classes, random_state=next(seeds))
        lloyd()

    found = lloyd()
    values = {"labels": found.labels_.tolist(), "inertia": [float(found.inertia_)], "iterations": [found.n_iter_]}
    serve(
        values,
        f"scikit-learn {sklearn.__version__}, NumPy {np.__version__}, {threads} threads",
        lambda count: [clustering() for _ in range(count)],
    )


if __name__ == "__main__":
    with threadpool_limits(limits=threads):
        main(sys.argv[1])
