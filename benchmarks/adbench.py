"""Detection quality on the tables of ADBench, beside other detectors in the same run.

    python benchmarks/adbench.py --data ../shared/data/adbench --seeds 0
    python benchmarks/adbench.py --data ../shared/data/adbench --detectors ours,knn_mean

Each table is cut to at most 10,000 rows; half of its normal rows train, the
rest and all anomalies test. Labels score the result and choose nothing.
Rows are standardised for the detectors that do not do so themselves.
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
import time
import warnings
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

MAX_ROWS = 10_000
WIDE = {"17_InternetAds"}
"""Left out of the means over 21 tables that the project's targets speak of."""

PACKAGES = ("vae-anomaly", "tensorflow", "keras", "scikit-learn", "numpy", "pyod", "torch")

Scorer = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def ours(train: np.ndarray, test: np.ndarray, seed: int, **parameters: Any) -> np.ndarray:
    from vae_anomaly import VAEDetector

    return -VAEDetector(random_state=seed, **parameters).fit(train).score_samples(test)


def pyod(name: str, train: np.ndarray, test: np.ndarray, seed: int, **options: Any) -> np.ndarray:
    from importlib import import_module

    module, _, cls = name.partition(":")
    detector = getattr(import_module(f"pyod.models.{module}"), cls)
    if module in SEEDED:
        options["random_state"] = seed
    scaler = StandardScaler().fit(train)
    model = detector(**options).fit(scaler.transform(train))
    return np.nan_to_num(model.decision_function(scaler.transform(test)), posinf=1e300)


SEEDED = {"vae", "auto_encoder", "iforest", "pca", "gmm", "cblof", "inne"}

DETECTORS: dict[str, Scorer] = {
    "ours": ours,
    "ours_1_member": functools.partial(ours, n_members=1),
    "knn": functools.partial(pyod, "knn:KNN", n_neighbors=5),
    "knn_mean": functools.partial(pyod, "knn:KNN", n_neighbors=5, method="mean"),
    "lof": functools.partial(pyod, "lof:LOF"),
    "iforest": functools.partial(pyod, "iforest:IForest"),
    "ocsvm": functools.partial(pyod, "ocsvm:OCSVM"),
    "pca": functools.partial(pyod, "pca:PCA"),
    "gmm": functools.partial(pyod, "gmm:GMM"),
    "pyod_vae": functools.partial(pyod, "vae:VAE", verbose=0),
    "pyod_autoencoder": functools.partial(pyod, "auto_encoder:AutoEncoder", verbose=0),
}


def split(path: Path, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return training rows, test rows, and the labels of the latter (1 is an anomaly)."""
    with np.load(path, allow_pickle=True) as data:
        rows, labels = data["X"].astype(float), data["y"].astype(int).ravel()
    rng = np.random.RandomState(seed)
    if len(rows) > MAX_ROWS:
        kept = rng.choice(len(rows), MAX_ROWS, replace=False)
        rows, labels = rows[kept], labels[kept]
    normal = rng.permutation(np.flatnonzero(labels == 0))
    half = len(normal) // 2
    test = np.concatenate([normal[half:], np.flatnonzero(labels == 1)])
    return rows[normal[:half]], rows[test], labels[test]


def measure(path: Path, name: str, seed: int) -> dict[str, Any]:
    train, test, labels = split(path, seed)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = DETECTORS[name](train, test, seed)
    return {
        "table": path.stem,
        "detector": name,
        "seed": seed,
        "auroc": roc_auc_score(labels, scores),
        "ap": average_precision_score(labels, scores),
        "seconds": time.perf_counter() - start,
    }


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """Mean AUROC, AP, rank by AUROC and seconds of each detector."""
    per_table = results.groupby(["table", "detector"])[["auroc", "ap", "seconds"]].mean()
    ranks = per_table["auroc"].unstack().rank(axis=1, ascending=False).mean()
    summary = per_table.groupby("detector").mean()
    summary.insert(2, "rank", ranks)
    return summary.sort_values("auroc", ascending=False)


def describe(results: pd.DataFrame) -> str:
    """Say what was run, with what, and the means, as Markdown."""
    versions = [f"{p} {version(p)}" for p in PACKAGES]
    seeds = ", ".join(str(seed) for seed in sorted(results["seed"].unique()))
    lines = [
        "# ADBench",
        f"{date.today()}, seeds {seeds}. {platform.python_implementation()} "
        f"{platform.python_version()}, {', '.join(versions)}, {os.cpu_count()} cores.",
    ]
    for left_out in (set(), WIDE):
        part = results[~results["table"].isin(left_out)]
        if len(part) and (not left_out or len(part) < len(results)):
            without = f", without {', '.join(sorted(left_out))}" if left_out else ""
            summary = summarise(part).reset_index()
            lines.append(f"Means over {part['table'].nunique()} tables{without}:")
            head = "| detector | AUROC | AP | mean rank | seconds |\n|---|--:|--:|--:|--:|\n"
            rows = [
                f"| {row.detector} | {row.auroc:.4f} | {row.ap:.4f} | {row.rank:.2f} "
                f"| {row.seconds:.2f} |"
                for row in summary.itertuples()
            ]
            lines.append(head + "\n".join(rows))
    return "\n\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of ADBench's .npz files")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--detectors", default=",".join(DETECTORS), help="comma-separated names")
    parser.add_argument("--tables", default="", help="comma-separated; all by default")
    parser.add_argument("--out", type=Path, help="write OUT.csv (every result) and OUT.md")
    options = parser.parse_args()
    chosen = set(filter(None, options.tables.split(",")))
    paths = [p for p in sorted(options.data.glob("*.npz")) if not chosen or p.stem in chosen]
    rows = []
    for path in paths:
        for name in options.detectors.split(","):
            for seed in options.seeds:
                rows.append(measure(path, name, seed))
                last = rows[-1]
                print(
                    f"{path.stem:20s} {name:18s} seed {seed}  AUROC {last['auroc']:.4f}  "
                    f"AP {last['ap']:.4f}  {last['seconds']:7.1f} s",
                    flush=True,
                )
    results = pd.DataFrame(rows)
    text = describe(results)
    print(f"\n{text}")
    if options.out:
        results.to_csv(options.out.with_suffix(".csv"), index=False, float_format="%.4f")
        options.out.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
