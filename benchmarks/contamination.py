"""Detection quality with contaminated training rows, compared with other detectors.

    python benchmarks/contamination.py --data adbench --shares 0 0.01 0.05 0.1 \\
        --out results/contamination

The splits are those of `benchmarks/adbench.py`. Anomalies are then moved from the test
rows to the training rows, up to the given share. At least ten remain for testing:
tables with too few anomalies are left out at all shares.
"""

from __future__ import annotations

import argparse
import functools
from datetime import date
from pathlib import Path
from textwrap import indent

import numpy as np
import pandas as pd
from adbench import DETECTORS, evaluate, ours, split

MIN_ANOMALIES = 10

# With contamination=0.1 whatever the actual share; and the score without exemplars.
DETECTORS["ours_trimmed"] = functools.partial(ours, contamination=0.1)
DETECTORS["ours_elbo"] = functools.partial(ours, contamination=0.1, score_type="elbo", latent_dim=8)


def contaminate(
    train: np.ndarray, test: np.ndarray, labels: np.ndarray, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Move anomalies from the test rows to the training rows."""
    moved = np.random.RandomState(seed).permutation(np.flatnonzero(labels == 1))[:count]
    return (
        np.concatenate([train, test[moved]]),
        np.delete(test, moved, axis=0),
        np.delete(labels, moved),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of .npz files")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.01, 0.05, 0.1])
    parser.add_argument("--detectors", default="ours,ours_trimmed,ours_elbo,knn_mean,iforest")
    parser.add_argument("--out", type=Path, help="write OUT.csv (every result) and OUT.md")
    options = parser.parse_args()
    rows = []
    for path in sorted(p for folder in options.data for p in folder.glob("*.npz")):
        for seed in options.seeds:
            train, test, labels = split(path, seed)
            counts = {s: round(len(train) * s / (1 - s)) for s in options.shares}
            if labels.sum() - max(counts.values()) < MIN_ANOMALIES:
                print(f"{path.stem}: too few anomalies", flush=True)
                continue
            for share, count in counts.items():
                contaminated = contaminate(train, test, labels, count, seed)
                for name in options.detectors.split(","):
                    result = evaluate(DETECTORS[name], *contaminated, seed)
                    row = {"table": path.stem, "detector": name, "seed": seed, "share": share}
                    rows.append(row | result)
                    print(*rows[-1].values(), flush=True)
    results = pd.DataFrame(rows)
    means = results.groupby(["detector", "share"])[["auroc", "ap"]].mean().unstack()
    seeds = ", ".join(map(str, options.seeds))
    title = f"{date.today()}, {results['table'].nunique()} tables, seeds {seeds}"
    text = f"{title}\n\n{means.round(4).to_string()}\n"
    print(text)
    if options.out:
        results.to_csv(options.out.with_suffix(".csv"), index=False, float_format="%.4f")
        options.out.with_suffix(".md").write_text(
            "# Contaminated training rows\n\n" + indent(text, "    ")
        )


if __name__ == "__main__":
    main()
