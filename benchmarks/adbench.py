"""Detection quality on the tables of ADBench, compared with other detectors in the same run.

    python benchmarks/adbench.py --data adbench adbench_vit --seeds 0 1 2 --out results/adbench
    python benchmarks/adbench.py --data adbench --detectors ours,knn_mean

With --out an interrupted run resumes from the file of results.

Tables are subsampled to at most 10,000 rows. Half of the normal rows are for training,
the rest and all anomalies for testing. Labels are used to evaluate, not to choose
anything. Rows are standardised for the detectors that do not do so themselves.
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
from scipy.stats import studentized_range, wilcoxon
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

MAX_ROWS = 10_000
REFERENCE = "knn_mean"
"""Detector with which the others are compared in the signed-rank tests."""

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
    "ours_elbo": functools.partial(ours, score_type="elbo"),
    # No rows are held out for calibration, as with the other detectors.
    "ours_all_rows": functools.partial(ours, threshold=0.0),
    "knn": functools.partial(pyod, "knn:KNN", n_neighbors=5),
    "knn_mean": functools.partial(pyod, "knn:KNN", n_neighbors=5, method="mean"),
    "lof": functools.partial(pyod, "lof:LOF"),
    "iforest": functools.partial(pyod, "iforest:IForest"),
    "ocsvm": functools.partial(pyod, "ocsvm:OCSVM"),
    "pca": functools.partial(pyod, "pca:PCA"),
    "inne": functools.partial(pyod, "inne:INNE"),
    "cblof": functools.partial(pyod, "cblof:CBLOF"),
    "lunar": functools.partial(pyod, "lunar:LUNAR"),
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


def evaluate(
    scorer: Scorer, train: np.ndarray, test: np.ndarray, labels: np.ndarray, seed: int
) -> dict[str, float]:
    """Fit and score with a detector; return AUROC, average precision and seconds."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            scores = scorer(train, test, seed)
        except ValueError as error:  # CBLOF finds no valid clusters in some tables
            print(f"failed: {error} Constant scores are used.", flush=True)
            scores = np.zeros(len(test))
    return {
        "auroc": roc_auc_score(labels, scores),
        "ap": average_precision_score(labels, scores),
        "seconds": time.perf_counter() - start,
    }


def measure(path: Path, name: str, seed: int) -> dict[str, Any]:
    row = {"group": path.parent.name, "table": path.stem, "detector": name, "seed": seed}
    return row | evaluate(DETECTORS[name], *split(path, seed), seed)


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """Compute mean AUROC, AP, ranks by both, seconds, and signed-rank tests against `REFERENCE`.

    The tests are Wilcoxon's, two-sided, on the means over seeds of each table
    (Demsar, "Statistical comparisons of classifiers over multiple data sets",
    JMLR 2006).
    """
    per_table = results.groupby(["table", "detector"])[["auroc", "ap", "seconds"]].mean()
    summary = per_table.groupby("detector").mean()
    for metric in ("auroc", "ap"):
        values = per_table[metric].unstack()
        summary[f"{metric}_rank"] = values.rank(axis=1, ascending=False).mean()
        if REFERENCE in values:
            summary[f"{metric}_p"] = [
                np.nan
                if (values[name] == values[REFERENCE]).all()
                else wilcoxon(values[name], values[REFERENCE]).pvalue
                for name in summary.index
            ]
    return summary.sort_values("auroc", ascending=False)


COLUMNS = {
    "auroc": ("AUROC", ".4f"),
    "ap": ("AP", ".4f"),
    "auroc_rank": ("mean rank by AUROC", ".2f"),
    "ap_rank": ("by AP", ".2f"),
    "auroc_p": (f"p against {REFERENCE}, AUROC", ".3f"),
    "ap_p": ("AP", ".3f"),
    "seconds": ("seconds", ".2f"),
}


def as_markdown(summary: pd.DataFrame) -> str:
    columns = {key: column for key, column in COLUMNS.items() if key in summary}
    lines = [
        "| detector | " + " | ".join(title for title, _ in columns.values()) + " |",
        "|---|" + "--:|" * len(columns),
    ]
    for row in summary.reset_index().to_dict("records"):
        cells = ["" if pd.isna(row[k]) else format(row[k], f) for k, (_, f) in columns.items()]
        lines.append(f"| {row['detector']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def describe(results: pd.DataFrame) -> str:
    """Return versions, seeds and mean results as Markdown."""
    versions = [f"{p} {version(p)}" for p in PACKAGES]
    seeds = ", ".join(str(seed) for seed in sorted(results["seed"].unique()))
    lines = [
        "# Detection on tables",
        f"{date.today()}, seeds {seeds}. {platform.python_implementation()} "
        f"{platform.python_version()}, {', '.join(versions)}, {os.cpu_count()} cores.",
        "p: Wilcoxon's signed-rank test over tables, two-sided.",
    ]
    for group, part in results.groupby("group"):
        lines.append(f"## {group}: means over {part['table'].nunique()} tables")
        lines.append(as_markdown(summarise(part)))
    return "\n\n".join(lines) + "\n"


def draw_ranks(results: pd.DataFrame, path: Path) -> None:
    """Draw mean ranks by AUROC over all tables, with Nemenyi's critical difference."""
    from matplotlib.figure import Figure

    values = results.groupby(["table", "detector"])["auroc"].mean().unstack().dropna()
    ranks = values.rank(axis=1, ascending=False).mean().sort_values()
    k, n = len(ranks), len(values)
    quantile = studentized_range.ppf(0.95, k, np.inf) / np.sqrt(2)
    half_width = quantile * np.sqrt(k * (k + 1) / (6 * n)) / 2
    figure = Figure(figsize=(6.4, 0.32 * k + 1.2), layout="constrained")
    axes = figure.add_subplot()
    axes.hlines(range(k), ranks - half_width, ranks + half_width, color="0.75", linewidth=6)
    axes.plot(ranks, range(k), "o", color="tab:blue")
    axes.set_yticks(range(k), ranks.index)
    axes.invert_yaxis()
    axes.set_xlabel(
        f"mean rank by AUROC over {n} tables\nbars that overlap do not differ (Nemenyi, 5 %)"
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of .npz files")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--detectors", default=",".join(DETECTORS), help="comma-separated names")
    parser.add_argument("--tables", default="", help="comma-separated; all by default")
    parser.add_argument("--out", type=Path, help="write OUT.csv (every result), OUT.md, OUT.png")
    options = parser.parse_args()
    chosen = set(filter(None, options.tables.split(",")))
    paths = [p for folder in options.data for p in sorted(folder.glob("*.npz"))]
    results_file = options.out and options.out.with_suffix(".csv")
    resumes = results_file and results_file.exists()
    rows = pd.read_csv(results_file).to_dict("records") if resumes else []
    done = {(row["table"], row["detector"], row["seed"]) for row in rows}
    for path in paths:
        if chosen and path.stem not in chosen:
            continue
        for name in options.detectors.split(","):
            for seed in options.seeds:
                if (path.stem, name, seed) in done:
                    continue
                rows.append(measure(path, name, seed))
                last = rows[-1]
                print(
                    f"{path.stem:20s} {name:18s} seed {seed}  AUROC {last['auroc']:.4f}  "
                    f"AP {last['ap']:.4f}  {last['seconds']:7.1f} s",
                    flush=True,
                )
        if results_file:
            pd.DataFrame(rows).to_csv(results_file, index=False, float_format="%.4f")
    results = pd.DataFrame(rows)
    text = describe(results)
    print(f"\n{text}")
    if options.out:
        options.out.with_suffix(".md").write_text(text)
        draw_ranks(results, options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
