"""One-class detection on Fashion-MNIST: ten tasks, each with one class as normal.

    python benchmarks/fashion_mnist.py --data ../shared/data/images/fashion_mnist

Trains on the 6,000 training images of the class, tests on the 10,000 test images, and
prints AUROC, also of PCA, isolation forest, one-class SVM and kNN on the same pixels.
Labels are used to evaluate, not to choose anything.
"""

from __future__ import annotations

import argparse
import gzip
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.svm import OneClassSVM

Scorer = Callable[[np.ndarray, np.ndarray], np.ndarray]


def flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / 255.0


def ours(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    from vae_anomaly import VAEDetector

    return -VAEDetector(random_state=0).fit(train).score_samples(test)


def ours_conv(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    from vae_anomaly import VAEDetector

    detector = VAEDetector(architecture="conv", random_state=0).fit(train)
    return -detector.score_samples(test)


def pca(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    x, model = flat(test), PCA(0.95, random_state=0).fit(flat(train))
    return ((x - model.inverse_transform(model.transform(x))) ** 2).sum(axis=1)


def isolation_forest(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    return -IsolationForest(random_state=0).fit(flat(train)).score_samples(flat(test))


def one_class_svm(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    return -OneClassSVM(nu=0.1).fit(flat(train)).score_samples(flat(test))


def knn(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    neighbours = NearestNeighbors(n_neighbors=5).fit(flat(train))
    return neighbours.kneighbors(flat(test))[0].mean(axis=1)


DETECTORS: dict[str, Scorer] = {
    scorer.__name__: scorer
    for scorer in (ours, ours_conv, pca, isolation_forest, one_class_svm, knn)
}


def read(path: Path) -> np.ndarray:
    """Read an idx file of bytes with any number of dimensions."""
    with gzip.open(path) as file:
        raw = file.read()
    dimensions = raw[3]
    shape = np.frombuffer(raw, ">u4", dimensions, 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the idx files")
    parser.add_argument("--detectors", default=",".join(DETECTORS), help="comma-separated names")
    parser.add_argument("--classes", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--out", type=Path, help="write every result to this CSV")
    options = parser.parse_args()
    train, train_labels, test, test_labels = (
        read(options.data / f"{part}-{content}.gz")
        for part in ("train", "t10k")
        for content in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )
    rows = []
    for normal in options.classes:
        for name in options.detectors.split(","):
            start = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                scores = DETECTORS[name](train[train_labels == normal], test)
            auroc = roc_auc_score(test_labels != normal, scores)
            rows.append((normal, name, auroc, time.perf_counter() - start))
            print(f"class {normal}  {name:18s} AUROC {auroc:.4f}  {rows[-1][3]:6.1f} s", flush=True)
    results = pd.DataFrame(rows, columns=["normal", "detector", "auroc", "seconds"])
    print(results.groupby("detector")[["auroc", "seconds"]].mean().sort_values("auroc").round(4))
    if options.out:
        results.to_csv(options.out, index=False, float_format="%.4f")


if __name__ == "__main__":
    main()
