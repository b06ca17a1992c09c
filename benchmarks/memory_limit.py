"""Detection quality and peak memory of `fit --memory-limit`.

    python benchmarks/memory_limit.py --data adbench --seeds 0 1 2
    python benchmarks/memory_limit.py --peaks
    python benchmarks/memory_limit.py --mixed 500000

Quality: half of the normal rows of each large table are for training, once all of them and
once 10,000, the fewest that a limit allows. At most 20,000 of the others and all anomalies
are for testing. Peaks: fits on tables of several shapes with 1.5 times the rows that their
limits allow. Mixed: peaks and times of a fit within a limit and of scoring, on rows of numbers,
categories of up to a million levels, dates and identifiers.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from usage import run

from vae_anomaly.pipeline.memory import MIN_ROWS, memory_of_fit, rows_within
from vae_anomaly.pipeline.sizes import bytes_of

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
"""Number of columns, limit and further options."""

MIXED_LIMIT = "2.5GB"
N_NUMBERS = 24
N_LEVELS = (2, 2, 3, 4, 5, 6, 8, 10, 12, 20, 40, 300)
N_TOWNS = 1_000_000
BATCH_ROWS = 100_000


def peak(*arguments: str | Path) -> float:
    """Run a command in a separate process; return its peak memory in bytes."""
    command = [sys.executable, "-m", "vae_anomaly", *map(str, arguments), "-q"]
    return run(command).peak


def fit(data: Path, model: Path, *options: str) -> float:
    """Fit in a separate process; return its peak memory in bytes."""
    return peak("fit", data, "-o", model, *options)


def quality(path: Path, seed: int) -> tuple[float, float] | None:
    """Compute AUROC with all rows and with a subsample; None if the table is too small."""
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
        aurocs = []
        for options in ((), ("--memory-limit", limit)):
            fit(data, model, "--random-state", str(seed), *options)
            scores = -load(model).score_samples(pd.DataFrame(X[test], columns=names))
            aurocs.append(float(roc_auc_score(y[test], scores)))
    return aurocs[0], aurocs[1]


def points_lost(folders: list[Path], seeds: list[int]) -> float:
    """Compute how much lower mean AUROC is with the subsample, in percentage points."""
    rows = []
    for path in sorted(p for folder in folders for p in folder.glob("*.npz")):
        for seed in seeds:
            aurocs = quality(path, seed)
            if aurocs is None:
                break
            rows.append(aurocs)
            print(
                f"  {path.stem:12s} seed {seed}: AUROC {aurocs[0]:.4f} with all rows, "
                f"{aurocs[1]:.4f} with {MIN_ROWS:,}",
                flush=True,
            )
    all_rows, subsample = np.mean(rows, axis=0)
    return float(100 * (all_rows - subsample))


def peak_of(columns: int, limit: str, options: Sequence[str], folder: str | None = None) -> float:
    """Measure the peak memory, in bytes, of a fit on 1.5 times the rows that the limit allows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    max_rows = rows_within(bytes_of(limit), columns, MEMBERS)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        data = Path(name) / "normal.parquet"
        names = [f"x{i}" for i in range(columns)]
        rng = np.random.RandomState(0)
        with pq.ParquetWriter(data, pa.schema([(name, pa.float64()) for name in names])) as writer:
            for _ in range(0, 3 * max_rows // 2, 20_000):
                part = rng.normal(size=(columns, 20_000))
                writer.write_table(pa.table(dict(zip(names, part, strict=True))))
        return fit(data, Path(name) / "m.vae", "--memory-limit", limit, *options)


def mixed_rows(n: int, seed: int) -> Iterator[pd.DataFrame]:
    """Yield rows of 40 columns, a tenth of the cells of some missing."""
    rng = np.random.RandomState(seed)
    plane = np.random.RandomState(9).normal(size=(5, N_NUMBERS + len(N_LEVELS)))
    for start in range(0, n, BATCH_ROWS):
        rows = min(BATCH_ROWS, n - start)
        values = rng.normal(size=(rows, 5)) @ plane + 0.4 * rng.normal(size=(rows, plane.shape[1]))
        frame = pd.DataFrame({"serial": [f"K{i}" for i in range(start, start + rows)]})
        for j in range(N_NUMBERS):
            holes = rng.uniform(size=rows) < 0.1 * (j % 3 == 0)
            frame[f"number {j}"] = np.where(holes, np.nan, values[:, j].round(2))
        for j, size in enumerate(N_LEVELS):
            codes = (size / (1.0 + np.exp(-values[:, N_NUMBERS + j]))).astype(int)
            codes[rng.uniform(size=rows) < 0.1 * (j % 4 == 0)] = size
            texts = np.array([*(f"level {i}" for i in range(size)), ""], dtype=object)
            frame[f"category {j}"] = texts[codes]
        towns = np.minimum(rng.pareto(0.3, size=rows), N_TOWNS - 1).astype(int)
        frame["town"] = "town " + pd.Series(towns).astype(str)
        seconds = rng.randint(2 * 365 * 86_400, size=rows)
        frame["ordered"] = pd.Timestamp("2021-01-01") + pd.to_timedelta(seconds, unit="s")
        days = np.abs(values[:, 0]).round(2)
        frame["sent"] = (frame["ordered"] + pd.to_timedelta(days, unit="D")).dt.floor("s")
        yield frame


def mixed_peaks(n: int) -> str:
    """Describe peaks and times of a fit within a limit, and of scoring, on n mixed rows."""
    parts = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data, model = folder / "rows.csv", folder / "m.vae"
        for i, rows in enumerate(mixed_rows(n, seed=0)):
            rows.to_csv(data, index=False, mode="a", header=i == 0)
        options = ("--memory-limit", MIXED_LIMIT, "--type", "town=category")
        for command in (
            ("fit", data, "-o", model, *options),
            ("score", model, data, "-o", folder / "scores.csv"),
        ):
            start = time.perf_counter()
            used = peak(*command) / 1e9
            parts.append(f"{command[0]} {used:.2f} GB, {time.perf_counter() - start:.0f} s")
    return f"{n:,} mixed rows within {MIXED_LIMIT}: {'; '.join(parts)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", default=[], help="folders of .npz files")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--peaks", action="store_true")
    parser.add_argument("--mixed", type=int, metavar="ROWS", help="rows of 40 mixed columns")
    options = parser.parse_args()
    if options.data:
        print(f"{points_lost(options.data, options.seeds):.2f} points of AUROC less")
    if options.peaks:
        for columns, limit, further in PEAKS:
            peak = peak_of(columns, limit, further) / 1e9
            print(f"{columns:4} columns within {limit}: {peak:.2f} GB  {' '.join(further)}")
    if options.mixed:
        print(mixed_peaks(options.mixed))


if __name__ == "__main__":
    main()
