"""
DBSCAN on the k-reciprocal Jaccard distance of embeddings.arrow: python jaccard.py FOLDER [CHECKOUT]. With a checkout of
OpenUnReID its own `compute_jaccard_distance` on the CPU (faiss), without one the dense algorithm in NumPy.
"""

import importlib
import os
import sys
import types

import numpy as np
import sklearn
from sklearn.cluster import DBSCAN
from threadpoolctl import threadpool_limits

from kmeans import read_rows
from side import serve

threads = os.cpu_count()
k1, k2 = 30, 6


def reciprocal(ranks, depth):
    """Of each row those of its first `depth` neighbours that have it among theirs."""
    lists = ranks[:, :depth]
    mutual = (lists[lists] == np.arange(len(lists))[:, None, None]).any(axis=2)
    return [own[kept] for own, kept in zip(lists, mutual)]


def dense_jaccard(features):
    """All pairs, as OpenUnReID defines them: lists of k1 entries, softmax of the negative squared distances."""
    count = len(features)
    norms = np.square(features).sum(axis=1)
    squared = norms[:, None] + norms[None, :] - 2 * (features @ features.T)
    np.fill_diagonal(squared, -1)
    nearest = np.argpartition(squared, k1 - 1, axis=1)[:, :k1]
    order = np.argsort(np.take_along_axis(squared, nearest, axis=1), axis=1, kind="stable")
    ranks = np.take_along_axis(nearest, order, axis=1)
    np.fill_diagonal(squared, 0)
    whole, half = reciprocal(ranks, k1), reciprocal(ranks, k1 // 2 + 1)
    weights = np.zeros((count, count), np.float32)
    for row, own in enumerate(whole):
        further = [half[j] for j in own if np.isin(half[j], own).sum() > 2 / 3 * len(half[j])]
        members = np.unique(np.concatenate([own, *further]))
        raw = np.exp(-squared[row, members])
        weights[row, members] = raw / raw.sum()
    del squared
    mean = np.empty_like(weights)
    for row in range(count):
        mean[row] = weights[ranks[row, :k2]].mean(axis=0)
    del weights
    columns = np.ascontiguousarray(mean.T)
    having = [np.flatnonzero(column) for column in columns]
    distances = np.empty((count, count), np.float32)
    for row in range(count):
        common = np.zeros(count, np.float32)
        for j in np.flatnonzero(mean[row]):
            common[having[j]] += np.minimum(mean[row, j], columns[j, having[j]])
        distances[row] = 1 - common / (2 - common)
    return np.maximum(distances, 0, out=distances)


def package(name, folder):
    """A package without its __init__, which imports all of the project and what it needs on GPUs."""
    module = types.ModuleType(name)
    module.__path__ = [folder]
    sys.modules[name] = module


def openunreid_jaccard(checkout):
    import faiss
    import torch

    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)
    if not hasattr(faiss, "get_num_gpus"):
        faiss.get_num_gpus = lambda: 0
    for name in ["openunreid", "openunreid.core", "openunreid.core.utils"]:
        package(name, os.path.join(checkout, *name.split(".")))
    module = importlib.import_module("openunreid.core.utils.compute_dist")

    def distances(features):
        return module.compute_jaccard_distance(torch.from_numpy(features), k1, k2, search_option=3, verbose=False)

    return distances, f"OpenUnReID, faiss {faiss.__version__}, PyTorch {torch.__version__}"


def main(folder, checkout=None):
    features = read_rows(f"{folder}/embeddings.arrow", "embedding")
    jaccard, of = openunreid_jaccard(checkout) if checkout else (dense_jaccard, "the dense algorithm in NumPy")

    def clustering():
        dbscan = DBSCAN(eps=0.6, min_samples=4, metric="precomputed", n_jobs=-1)
        return dbscan.fit_predict(jaccard(features))

    serve(
        {"labels": clustering().tolist()},
        f"{of}, NumPy {np.__version__}, scikit-learn {sklearn.__version__}, {threads} threads",
        lambda count: [clustering() for _ in range(count)],
    )


if __name__ == "__main__":
    with threadpool_limits(limits=threads):
        main(*sys.argv[1:])
