"""Planted faults: do reasons name the columns that are wrong, and maps the place?

    python benchmarks/reasons.py tables --data adbench --seed 0
    python benchmarks/reasons.py images --data ../shared/data/images --sets "battery welds"

`tables` swaps two cells of each of 300 unseen normal rows for values of other rows, more than a
deviation away, and prints how often the largest contribution is one of them, and the average
precision of all columns. Of 120 real anomalies that are flagged, the three columns with the
largest contributions get the values of the nearest training row: how many are then normal. Last,
how many `repair` makes normal, and by how many columns.

`images` plants faults in normal images that were not trained on: a patch of another image, a
blot, a scratch. It prints how often the hottest place of the anomaly map lies in the square
around the fault, and the pixel AUROC; beside the squared difference from the five nearest
training images. Further options are those of `fit`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from image_folders import SETS, command
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import NearestNeighbors

from vae_anomaly import VAEDetector, load
from vae_anomaly.data.registry import modality

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

MAX_NORMAL, MAX_FAULTY, MAX_FLAGGED = 4000, 300, 120
MIN_ROWS, MIN_FLAGGED, COLUMNS = 150, 10, range(5, 61)
"""Tables with fewer rows, fewer flagged anomalies or other numbers of columns are left out."""

FAULTS = ("patch", "blot", "scratch")
FAULT_SHARE = 0.2
"""Length of a fault as a share of the side of an image."""


def swapped(normal: Array, rows: Array, rng: np.random.Generator) -> tuple[Array, Flags]:
    """Swap two cells of each row for values of normal rows, more than a deviation away."""
    rows, wrong = rows.copy(), np.zeros(rows.shape, dtype=bool)
    spread = normal.std(axis=0)
    for i, row in enumerate(rows):
        for j in rng.choice(rows.shape[1], 2, replace=False):
            others = normal[np.abs(normal[:, j] - row[j]) > spread[j], j]
            if len(others):
                rows[i, j], wrong[i, j] = rng.choice(others), True
    whole = wrong.sum(axis=1) == 2
    return rows[whole], wrong[whole]


def of_table(normal: Array, anomalies: Array, rng: np.random.Generator) -> dict[str, float]:
    """Measure the reasons of one table."""
    half = len(normal) // 2
    train, (rows, wrong) = normal[:half], swapped(normal[:half], normal[half:][:MAX_FAULTY], rng)
    detector = VAEDetector(false_alarm_rate=0.05, random_state=0).fit(train)
    parts = detector.explain(rows).to_numpy()
    found = {
        "greatest": np.mean(wrong[np.arange(len(rows)), parts.argmax(axis=1)]),
        "precision": np.mean(
            [average_precision_score(*one) for one in zip(wrong, parts, strict=True)]
        ),
    }
    anomalies = rng.permutation(anomalies)
    flagged = anomalies[detector.predict(anomalies) == -1][:MAX_FLAGGED]
    if len(flagged) < MIN_FLAGGED:
        return found
    spread = np.where(train.std(axis=0) > 0, train.std(axis=0), 1.0)
    nearest = NearestNeighbors(n_neighbors=1).fit(train / spread)
    donors = train[nearest.kneighbors(flagged / spread)[1][:, 0]]
    top = np.argsort(-detector.explain(flagged).to_numpy(), axis=1)[:, :3]
    changed = flagged.copy()
    np.put_along_axis(changed, top, np.take_along_axis(donors, top, axis=1), axis=1)
    repaired, steps = detector.repair(flagged)
    return found | {
        "normal_by_three": np.mean(detector.predict(changed) == 1),
        "repaired": np.mean(detector.predict(repaired) == 1),
        "columns": len(steps) / len(flagged),
    }


def tables(folder: Path, seed: int) -> pd.DataFrame:
    """Measure the reasons of all tables in a folder."""
    found = {}
    for path in sorted(folder.glob("*.npz")):
        rng, data = np.random.default_rng(seed), np.load(path, allow_pickle=True)
        rows, is_normal = data["X"].astype(float), data["y"] == 0
        rows = rows[:, rows[is_normal].std(axis=0) > 0]
        normal = rng.permutation(rows[is_normal])[:MAX_NORMAL]
        if len(normal) >= MIN_ROWS and rows.shape[1] in COLUMNS:
            found[path.stem] = of_table(normal, rows[~is_normal], rng)
            print(path.stem, {name: float(round(one, 3)) for name, one in found[path.stem].items()})
    return pd.DataFrame(found).T


def planted(images: Array, fault: str, rng: np.random.Generator) -> tuple[Array, Flags]:
    """Plant a fault in each image, (n, height, width, channels).

    Returns the images, and where the faults and the squares around them are, (2, n, height, width).
    """
    images, where = images.astype(float), np.zeros((2, *images.shape[:3]), dtype=bool)
    originals, size = images.copy(), max(3, round(FAULT_SHARE * min(images.shape[1:3])))
    low, high = np.quantile(images, [0.01, 0.99])
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    shape = {
        "patch": np.ones((size, size), dtype=bool),
        "blot": np.hypot(y, x) <= size / 2,
        "scratch": np.abs(y - x) < 1,
    }[fault]
    for i in range(len(images)):
        other, tops = rng.integers(len(images)), np.array(images.shape[1:3]) - size + 1
        (top, left), source = rng.integers(tops), rng.integers(tops)
        part = images[i, top : top + size, left : left + size]
        is_bright = part[shape].mean() > (low + high) / 2
        new = np.full(part.shape, low if is_bright else high)
        if fault == "patch":
            rows, columns = (slice(start, start + size) for start in source)
            new = originals[other, rows, columns]
        part[shape] = new[shape]
        where[:, i, top : top + size, left : left + size] = shape, np.ones_like(shape)
    return images, where


def images(folder: Path, options: list[str], seed: int) -> pd.DataFrame:
    """Measure the maps of the images of a folder, sorted as by `image_folders.py`."""
    path = folder / "model.vae"
    command("fit", folder / "train/good", "-o", path, "--random-state", seed, *options)
    detector = load(path)
    encoder = detector.model_.encoder
    sources = (
        modality(encoder.modality).open(str(folder / name), encoder)
        for name in ("train/good", "test/good")
    )
    train, normal = (np.concatenate([b.records for b in s.batches()]) for s in sources)
    nearest = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(train.reshape(len(train), -1))
    rows = []
    for fault in FAULTS:
        faulty, where = planted(normal, fault, np.random.default_rng(seed))
        near = train[nearest.kneighbors(faulty.reshape(len(faulty), -1))[1]]
        maps = {
            "maps": detector.anomaly_maps(faulty.astype(normal.dtype)),
            "kNN": ((faulty[:, None] - near) ** 2).mean(axis=1).sum(axis=-1),
        }
        for name, values in maps.items():
            flat, (inside, square) = (
                values.reshape(len(values), -1),
                where.reshape(2, len(where[0]), -1),
            )
            hottest = square[np.arange(len(flat)), flat.argmax(axis=1)].mean()
            auroc = np.mean([roc_auc_score(*one) for one in zip(inside, flat, strict=True)])
            rows.append({"fault": fault, "by": name, "hottest": hottest, "pixel_auroc": auroc})
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["tables", "images"])
    parser.add_argument("--data", type=Path, required=True, help="folder of the files")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--seed", type=int, default=0)
    options, others = parser.parse_known_args()
    if options.what == "tables":
        print(tables(options.data, options.seed).mean().round(3).to_string())
        return
    for name in options.sets:
        archive, prepare = SETS[name]
        with tempfile.TemporaryDirectory() as folder:
            prepare(options.data / archive, Path(folder), options.seed)
            found = images(Path(folder), others, options.seed)
        print(name, found.round(3).to_string(index=False), sep="\n", flush=True)


if __name__ == "__main__":
    main()
