"""Report in `reports/fashion_mnist`: latent codes of ten classes with beta 10 and beta 0.

    python benchmarks/latent_plane.py --data ../shared/data/images/fashion_mnist

Two convolutional models with two latent dimensions and a Bernoulli likelihood are
trained on the same images with the same seed; only the weight of the KL divergence
differs. The classes only colour the codes: none is an anomaly, and training does not
use them.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from fashion_mnist import read

from vae_anomaly import VAEDetector
from vae_anomaly.report import build_report, write_report
from vae_anomaly.report.sections.image_results import ImageContext
from vae_anomaly.training.history import History

CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


def fit(images: np.ndarray, beta: float, max_steps: int) -> VAEDetector:
    """Fit one of the two models, and print its progress."""
    start = time.perf_counter()

    def print_progress(history: History) -> None:
        if history.step[-1] % 500 == 0:
            print(
                f"beta {beta:g}, step {history.step[-1]:,}: "
                f"reconstruction {history.reconstruction[-1]:.1f}, kl {history.kl[-1]:.2f} nats, "
                f"{time.perf_counter() - start:.0f} s",
                flush=True,
            )

    return VAEDetector(
        architecture="conv",
        latent_dim=2,
        likelihood="bernoulli",
        beta=beta,
        # With Adam and beta 10 the posterior collapsed at the start: q(z|x) was N(0, I).
        optimizer="rmsprop",
        max_steps=max_steps,
        random_state=0,
        callback=print_progress,
    ).fit(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the idx files")
    parser.add_argument("--train", type=int, default=20_000, help="number of training images")
    parser.add_argument("--test", type=int, default=2_000, help="number of test images")
    parser.add_argument("--max-steps", type=int, default=1_500)
    parser.add_argument("--out", type=Path, default=Path("reports/fashion_mnist"))
    options = parser.parse_args()
    train = read(options.data / "train-images-idx3-ubyte.gz")[: options.train]
    test = read(options.data / "t10k-images-idx3-ubyte.gz")[: options.test]
    labels = read(options.data / "t10k-labels-idx1-ubyte.gz")[: options.test]
    categories = [CLASSES[label] for label in labels]
    detector, comparison = (fit(train, beta, options.max_steps) for beta in (10.0, 0.0))
    report = build_report(
        detector,
        test,
        keys=[f"test image {i}" for i in range(1, len(test) + 1)],
        context=ImageContext(categories=categories, comparison_model=comparison),
        title="Ten classes on a latent plane",
        model_name="conv, 2 latent dimensions, beta 10",
        data_name="Fashion-MNIST, © 2017 Zalando SE, MIT licence",
    )
    print(*report.summary, sep="\n")
    print(write_report(report, options.out))


if __name__ == "__main__":
    main()
