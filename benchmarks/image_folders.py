"""Detection on folders of photographs, by the command line and by kNN and PCA.

    python benchmarks/image_folders.py --data ../shared/data/images
    python benchmarks/image_folders.py --data ../shared/data/images --features onnx:PATH#NODE
    python benchmarks/image_folders.py --data ../shared/data/images --features gradients

Unzips images of solar cells (ELPV), battery welds and toy aliens, sorts them into
folders, and runs `vae-anomaly fit`, `score` and `evaluate` on these. kNN and PCA use
the pixels at the image size of the model; with `--features`, which `fit` gets as all further
options, the same features of patches: an image then has the mean distance of the 3 in 100 of
its patches that are farthest from those of training. Where there are masks, maps are compared
with them at full size: pixel AUROC, and PRO up to 30 % false pixels. Labels are used to evaluate,
not to choose anything.

- solar cells: half of the intact ones for training; the others and the defective for testing
- battery welds: the published split, without test images that are also training images
- aliens: half of the normal ones for training; the others and the anomalies for testing
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from fashion_mnist import knn, pca
from numpy.typing import NDArray
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from vae_anomaly.data.image.patches import PatchEncoder
from vae_anomaly.data.registry import modality
from vae_anomaly.metrics.pixels import region_overlap
from vae_anomaly.model.patches import pooled
from vae_anomaly.pipeline.models import loaded

Array = NDArray[np.float64]

MAX_PATCHES = 20_000
"""Patches of training images that kNN and PCA use, drawn at random."""


def halve(images: list[Path], out: Path, seed: int) -> None:
    """Move a random half of normal images to train/good, and the others to test/good."""
    order = np.random.RandomState(seed).permutation(len(images))
    for position, i in enumerate(order):
        part = "train/good" if position < len(images) // 2 else "test/good"
        (out / part).mkdir(parents=True, exist_ok=True)
        images[i].rename(out / part / images[i].name)


def solar_cells(archive: Path, out: Path, seed: int) -> None:
    """Sort cells by their defect probability, 0 or 1, and halve the intact ones."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(out)
    (out / "test/defective").mkdir(parents=True)
    intact = []
    with next(out.rglob("labels.csv")).open() as lines:
        for row in csv.DictReader(lines):
            image = next(out.rglob(Path(next(iter(row.values()))).name))
            if float(row["defect_probability"]) > 0.5:
                image.rename(out / "test/defective" / image.name)
            else:
                intact.append(image)
    halve(intact, out, seed)


def battery_welds(archive: Path, out: Path, seed: int) -> None:
    """Unpack the MVTec layout, and remove test images that are also training images."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(out)
    known = {path.read_bytes() for path in (out / "train").rglob("*.png")}
    for path in (out / "test/good").iterdir():
        if path.read_bytes() in known:
            path.unlink()


def aliens(archive: Path, out: Path, seed: int) -> None:
    """Halve the normal images."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(out)
    halve(sorted((out / "normal").iterdir()), out, seed)
    (out / "anomaly").rename(out / "test/anomaly")


SETS: dict[str, tuple[str, Callable[[Path, Path, int], None]]] = {
    "solar cells": ("elpv_mono.zip", solar_cells),
    "battery welds": ("battery_weld.zip", battery_welds),
    "aliens": ("aliens.zip", aliens),
}


def command(*arguments: object) -> float:
    """Run vae-anomaly; return the seconds."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "vae_anomaly", *map(str, arguments)], check=True, capture_output=True
    )
    return time.perf_counter() - start


def patch_knn(trained: Array, tested: Array) -> Array:
    """Score images, (n, patches, d), by the distance of patches from the nearest of training."""
    rows = trained.reshape(-1, trained.shape[2])
    rows = rows[np.random.RandomState(0).permutation(len(rows))[:MAX_PATCHES]]
    nearest = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(rows)
    return pooled(np.stack([nearest.kneighbors(image)[0][:, 0] for image in tested]))


def patch_pca(trained: Array, tested: Array) -> Array:
    """Score images by the error of patches in the components with 99 % of the variance."""
    rows = trained.reshape(-1, trained.shape[2])
    rows = rows[np.random.RandomState(0).permutation(len(rows))[:MAX_PATCHES]]
    fitted = PCA(0.99, svd_solver="full").fit(rows)
    errors = [
        ((image - fitted.inverse_transform(fitted.transform(image))) ** 2).sum(axis=1)
        for image in tested
    ]
    return pooled(np.stack(errors))


def mask_metrics(maps: Path, truth: Path) -> dict[str, float]:
    """Compute pixel AUROC and PRO of the maps in a folder; an image without a mask has none."""
    masks = {path.stem: path for path in truth.rglob("*.png")}
    values, anomalous = [], []
    for path in sorted(maps.rglob("*.tiff")):
        values.append(np.asarray(Image.open(path)))
        mask = masks.get(path.name.split(".")[0]) if path.parent.name != "good" else None
        blank = np.zeros(values[-1].shape, dtype=bool)
        anomalous.append(blank if mask is None else np.asarray(Image.open(mask).convert("L")) > 0)
    some = [np.concatenate([one.reshape(-1)[::3] for one in each]) for each in (anomalous, values)]
    return {"pixel_auroc": roc_auc_score(*some), "pro": region_overlap(values, anomalous).value}


def measure(folder: Path, seed: int, options: list[str]) -> dict[str, float]:
    """Compute AUROC of our scores, of kNN and of PCA on the images of a folder."""
    model, scores = folder / "model.vae", folder / "scores.csv"
    train, test = folder / "train/good", folder / "test"
    fit = command("fit", train, "-o", model, "--random-state", seed, *options)
    scoring = command("score", model, test, "-o", scores)
    command("evaluate", model, test, "-o", folder / "report")
    found = {}
    if (folder / "ground_truth").is_dir():
        command("score", model, test, "-o", scores, "--maps", folder / "maps")
        found = mask_metrics(folder / "maps", folder / "ground_truth")
    table = pd.read_csv(scores)
    labels = ~table["file"].str.startswith("good")

    encoder = loaded(model).encoder
    sources = [modality(encoder.modality).open(str(path), encoder) for path in (train, test)]
    trained, tested = (np.concatenate([b.records for b in s.batches()]) for s in sources)
    baselines = (knn, pca)
    if isinstance(encoder, PatchEncoder):
        trained, tested = (np.stack([encoder.patches(x) for x in xs]) for xs in (trained, tested))
        baselines = (patch_knn, patch_pca)
    others = [roc_auc_score(labels, baseline(trained, tested)) for baseline in baselines]
    return {
        "ours": roc_auc_score(labels, table["anomaly_score"]),
        "knn": others[0],
        "pca": others[1],
        "train": len(trained),
        "test": len(tested),
        "fit_seconds": fit,
        "score_seconds": scoring,
    } | found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the zip files")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, help="write every result to this CSV")
    options, others = parser.parse_known_args()
    rows = []
    for name in options.sets:
        archive, prepare = SETS[name]
        for seed in options.seeds:
            with tempfile.TemporaryDirectory() as folder:
                prepare(options.data / archive, Path(folder), seed)
                rows.append({"set": name, "seed": seed} | measure(Path(folder), seed, others))
            print(pd.DataFrame(rows[-1:]).round(4).to_string(index=False), flush=True)
    results = pd.DataFrame(rows)
    print(results.groupby("set").mean().drop(columns="seed").round(4))
    if options.out:
        results.to_csv(options.out, index=False, float_format="%.4f")


if __name__ == "__main__":
    main()
