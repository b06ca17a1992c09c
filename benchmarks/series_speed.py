"""Processor time of scores of time series, and of other methods on the same windows.

    python benchmarks/series_speed.py                          # SeriesDetector and kNN
    python benchmarks/series_speed.py --stumpy                 # also stumpy, if it is installed
    python benchmarks/series_speed.py --files 1 4              # memory of the commands

Figures are processor time of all threads, so that they hardly depend on what else runs; methods
are run in turn, and the least time of each counts. kNN and the matrix profile get the same
training steps, and as many training windows as `SeriesDetector` keeps.

- kNN: five nearest of the same training windows, by `sklearn.neighbors.NearestNeighbors`, for the
  same windows of the test part.
- matrix profile: the nearest training window of each window of each channel, by `stumpy.stump`.
  It compares with all windows of the first training steps, as many as there are training windows.

With `--files` the commands fit, score and evaluate run on CSV and Parquet files of so many
million time steps, and their peak memory is printed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import usage
from sklearn.neighbors import NearestNeighbors

from vae_anomaly import SeriesDetector
from vae_anomaly.series.windows import window_starts, windows_at

CHANNELS, WINDOW = 8, 64
TRAIN_STEPS = 12_000
PART_STEPS = 250_000

Work = Callable[[], object]


def waves(n: int, start: int = 0) -> np.ndarray:
    """Return noisy waves of different periods that wander, (n, CHANNELS)."""
    rng, t = np.random.RandomState(start), start + np.arange(n)[:, None]
    periods = 2 * np.pi * (10 + 3 * np.arange(CHANNELS))
    wander = 0.2 * np.sin(2 * np.pi * t / (40 * periods))
    return np.sin(2 * np.pi * t / periods) + wander + 0.2 * rng.normal(size=(n, CHANNELS))


def least_times(works: dict[str, Work], repeats: int) -> dict[str, float]:
    """Return the least processor time of each function, run in turn, in seconds."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for name in [*works] * (1 + repeats):
        begin = time.process_time()
        works[name]()
        times[name].append(time.process_time() - begin)
    return {name: min(values[1:]) for name, values in times.items()}  # the first compiles


def compare(arguments: argparse.Namespace) -> None:
    """Print microseconds of processor time for each time step, and ratios."""
    train, test = waves(TRAIN_STEPS), waves(arguments.steps, TRAIN_STEPS)
    detector = SeriesDetector(window=WINDOW, max_steps=300, random_state=0).fit(train)
    model = detector.model_
    kept = model.comparison.training.points
    steps = model.scaler.standardized(test)
    rows = windows_at(steps, window_starts(len(steps), WINDOW, model.hop), WINDOW)
    rows = rows.reshape(len(rows), -1).astype(np.float32)
    near = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(kept)
    works: dict[str, Work] = {
        "SeriesDetector": lambda: detector.score_samples(test),
        "kNN": lambda: [near.kneighbors(rows[i : i + 4096]) for i in range(0, len(rows), 4096)],
    }
    if arguments.stumpy:
        import stumpy

        known = np.ascontiguousarray(train[: len(kept) + WINDOW - 1].T)
        channels = np.ascontiguousarray(test.T)

        def matrix_profile() -> None:
            for own, other in zip(channels, known, strict=True):
                stumpy.stump(own, WINDOW, other, ignore_trivial=False)

        works["matrix profile"] = matrix_profile
    times = least_times(works, arguments.repeats)
    ours = times["SeriesDetector"]
    print(
        f"{arguments.steps:,} steps x {CHANNELS}, {len(kept):,} training windows of {WINDOW} steps"
    )
    for name, seconds in times.items():
        each = 1e6 * seconds / arguments.steps
        print(f"{name:16s} {each:7.2f} us a step, {seconds / ours:5.2f} times")
    cores = os.cpu_count() or 1
    print(f"at best {cores * arguments.steps / ours:,.0f} steps a second on {cores} cores")


def write_series(path: Path, n: int) -> None:
    """Write waves as CSV or Parquet, a step every second."""
    fields = [
        pa.field("time", pa.timestamp("s")),
        *(pa.field(f"s{i}", pa.float64()) for i in range(CHANNELS)),
    ]
    schema = pa.schema(fields)
    writer = pa_csv.CSVWriter if path.suffix == ".csv" else pq.ParquetWriter
    begin = np.datetime64("2026-01-01", "s")
    with writer(path, schema) as out:
        for first in range(0, n, PART_STEPS):
            part = waves(min(PART_STEPS, n - first), first).round(5)
            times = begin + np.arange(first, first + len(part))
            columns = [pa.array(times), *(pa.array(np.ascontiguousarray(c)) for c in part.T)]
            out.write_batch(pa.record_batch(columns, schema))


def run(arguments: Sequence[str | Path]) -> None:
    """Run a command in a process, and print its times and peak memory."""
    command = [sys.executable, "-m", "vae_anomaly", *map(str, arguments)]
    begin = time.perf_counter()
    used = usage.run(command, quiet=True)
    print(
        f"  {arguments[0]:9s} {used.seconds:6.1f} s of processor time, "
        f"{time.perf_counter() - begin:6.1f} s, peak {used.peak / 1e6:,.0f} MB",
        flush=True,
    )


def files(millions: Sequence[float]) -> None:
    """Print time and peak memory of the commands on files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        labels = folder / "labels.csv"
        labels.write_text("start,end\n2026-01-01T10:00:00,2026-01-01T10:05:00\n")
        for suffix in (".csv", ".parquet"):
            for n in millions:
                data, model = folder / f"data{suffix}", folder / "model.vae"
                write_series(data, round(n * 1e6))
                print(f"{n:g} million time steps x {CHANNELS}, {suffix[1:]}")
                shared = ["--time-column", "time", "-q"]
                run(
                    [
                        "fit",
                        data,
                        "-o",
                        model,
                        *shared,
                        "--window",
                        str(WINDOW),
                        "--max-steps",
                        "300",
                    ]
                )
                run(["score", model, data, "-o", folder / f"scores{suffix}", "-q"])
                run(["evaluate", model, data, "--labels", labels, "-o", folder / "report", "-q"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stumpy", action="store_true", help="also time stumpy")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100_000, help="time steps to score")
    parser.add_argument("--files", type=float, nargs="+", help="million time steps of files")
    arguments = parser.parse_args()
    if arguments.files:
        files(arguments.files)
    else:
        compare(arguments)


if __name__ == "__main__":
    main()
