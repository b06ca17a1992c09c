"""What `fit --memory-limit` costs in quality, and whether its peak stays below the limit.

    python benchmarks/memory_limit.py --data adbench --seeds 0 1 2
    python benchmarks/memory_limit.py --peaks

Quality: of each table with more rows than the least limit allows, half of the normal rows
train, once all of them and once as many as that limit holds, 10,000; the rest, 20,000 of
them at most, and all anomalies test. Peaks: tables of several shapes, half as many rows
again as their limits hold.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vae_anomaly.cli.learning_options import bytes_of
from vae_anomaly.cli.limiting import MIN_ROWS, memory_of_fit, rows_within

MEMBERS = 4
MAX_TEST_ROWS = 20_000

PEAKS = (
    (2, "1.5GB", ()),
    (20, "1.5GB", ()),
    (20, "3GB", ()),
    (20, "2GB", ("--contamination", "0.01", "--likelihood", "bernoulli")),
    (400, "2.5GB", ()),
    (1000, "4GB", ()),
)
"""ColumnScaler, limit and further options."""


def fit(data: Path, model: Path, *options: str) -> float:
    """Fit in a process of its own, and tell its peak in bytes."""
    words = [sys.executable, "-m", "vae_anomaly", "fit", str(data), "-o", str(model), "-q"]
    process = subprocess.Popen([*words, *options])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)} failed")
    return usage.ru_maxrss * 1024


def quality(path: Path, seed: int) -> tuple[float, float] | None:
    """AUROC with all rows and with some; None for a table that is not large enough."""
    from sklearn.metrics import roc_auc_score

    from vae_anomaly import load

    with np.load(path, allow_pickle=True) as table:
        X, y = table["X"].astype(float), table["y"].astype(int)
    normal = np.random.RandomState(seed).permutation(np.flatnonzero(y == 0))
    train, rest = np.split(normal, [len(normal) // 2])
    if len(train) < 2 * MIN_ROWS:
        return None
    test = np.concatenate([rest[:MAX_TEST_ROWS], np.flatnonzero(y == 1)])
    limit = f"{memory_of_fit(MIN_ROWS, X.shape[1], MEMBERS) / 1e3 + 1:.0f}kB"
    with tempfile.TemporaryDirectory() as name:
        data, model = Path(name) / "normal.csv", Path(name) / "m.vae"
        names = [f"x{i}" for i in range(X.shape[1])]
        pd.DataFrame(X[train], columns=names).to_csv(data, index=False)
        found = []
        for options in ((), ("--memory-limit", limit)):
            fit(data, model, "--random-state", str(seed), *options)
            scores = -load(model).score_samples(pd.DataFrame(X[test], columns=names))
            found.append(float(roc_auc_score(y[test], scores)))
    return found[0], found[1]


def points_lost(folders: list[Path], seeds: list[int]) -> float:
    """Mean AUROC of all rows above that of some, in points."""
    rows = []
    for path in sorted(p for folder in folders for p in folder.glob("*.npz")):
        for seed in seeds:
            found = quality(path, seed)
            if found is None:
                break
            rows.append(found)
            print(
                f"  {path.stem:12s} seed {seed}: AUROC {found[0]:.4f} with all rows, "
                f"{found[1]:.4f} with {MIN_ROWS:,}",
                flush=True,
            )
    everything, some = np.mean(rows, axis=0)
    return float(100 * (everything - some))


def peak_of(columns: int, limit: str, options: Sequence[str], folder: str | None = None) -> float:
    """Bytes that a fit takes on half as many rows again as the limit holds."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    most = rows_within(bytes_of(limit), columns, MEMBERS)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        data = Path(name) / "normal.parquet"
        names = [f"x{i}" for i in range(columns)]
        rng = np.random.RandomState(0)
        with pq.ParquetWriter(data, pa.schema([(name, pa.float64()) for name in names])) as writer:
            for _ in range(0, 3 * most // 2, 20_000):
                part = rng.normal(size=(columns, 20_000))
                writer.write_table(pa.table(dict(zip(names, part, strict=True))))
        return fit(data, Path(name) / "m.vae", "--memory-limit", limit, *options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", default=[], help="folders of .npz files")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--peaks", action="store_true")
    options = parser.parse_args()
    if options.data:
        print(f"{points_lost(options.data, options.seeds):.2f} points of AUROC less")
    if options.peaks:
        for columns, limit, words in PEAKS:
            peak = peak_of(columns, limit, words) / 1e9
            print(f"{columns:4} columns within {limit}: {peak:.2f} GB  {' '.join(words)}")


if __name__ == "__main__":
    main()
