"""Speed benchmark: ratios to reference programs, measured alternately on one machine.

    python benchmarks/speed.py                      # all sections, on an idle machine
    python benchmarks/speed.py --only fit start     # some sections
    python benchmarks/speed.py --rows 500000        # a smaller table in files
    python benchmarks/speed.py --data adbench       # also the quality with --memory-limit

Prints for each target the median ratio over repeats, its minimum and maximum, and
whether the target is met, and for each section its duration. README.md analyses the
results.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from usage import run

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

COLUMNS = 20
FILE_TARGETS = {"csv": 2.5, "parquet": 4.0}
"""Most that `score` may take from file to file, in times of pyarrow."""

Work = Callable[[], object]

TENSORFLOW = [sys.executable, "-c", "import tensorflow"]
FIRST_RESULT = """
import numpy as np
from vae_anomaly import VAEDetector
rng = np.random.RandomState(0)
X = rng.normal(size=(1000, 5)) @ rng.normal(size=(5, 20)) + 0.3 * rng.normal(size=(1000, 20))
VAEDetector(random_state=0).fit(X).score_samples(X)
"""


def table(n: int, seed: int = 0) -> np.ndarray:
    """Return rows around a five-dimensional plane."""
    rng = np.random.RandomState(seed)
    plane = np.random.RandomState(1).normal(size=(5, COLUMNS))
    return rng.normal(size=(n, 5)) @ plane + 0.3 * rng.normal(size=(n, COLUMNS))


def seconds(work: Work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class Command:
    """A command line in a separate process."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.arguments = arguments

    def __call__(self) -> None:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(self.arguments, check=True, **quiet)

    def peak(self) -> float:
        """Return the peak memory of a further run, in MB."""
        return run(self.arguments, quiet=True).peak / 1e6


def compare(
    target: str,
    ours: Work,
    reference: Work,
    limit: float,
    repeats: int,
    *,
    scale: float = 1.0,
    faster: bool = False,
) -> None:
    """Print the ratio of our time to that of the reference; with `faster`, its inverse.

    `scale` is the amount of work in a call of ours relative to one of the reference.
    """
    ratios, times = [], []
    for _ in range(repeats):
        our_time, reference_time = seconds(ours), seconds(reference)
        times.append((our_time, reference_time))
        ratio = our_time / (reference_time * scale)
        ratios.append(1 / ratio if faster else ratio)
    median = float(np.median(ratios))
    is_met = median >= limit if faster else median <= limit
    our_time, reference_time = np.median(times, axis=0)
    print(
        f"{target:66s} {median:7.2f} [{min(ratios):.2f}, {max(ratios):.2f}]  "
        f"target {'>=' if faster else '<='} {limit:g}: {'met' if is_met else 'MISSED'}  "
        f"(ours {our_time:.3g} s, reference {reference_time:.3g} s)",
        flush=True,
    )


# ------------------------------------------------------------------------------------ fit


def fit(arguments: argparse.Namespace) -> None:
    """Compare compiled training, in rows x epochs a second, with PyOD's VAE and bare products."""
    from pyod.models.vae import VAE

    from vae_anomaly.networks.spec import NetworkSpec
    from vae_anomaly.stats.likelihoods import Block
    from vae_anomaly.training.batches import InMemoryData
    from vae_anomaly.training.loop import TrainingConfig, train

    hidden, latent, epochs = (128, 64, 32), 2, 3
    rows = table(20_000).astype(np.float32)
    rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    spec = NetworkSpec(1, COLUMNS, (Block("gaussian", COLUMNS),), hidden, latent)

    def ours(batch: int, steps: int) -> None:
        # With many steps the fit is compiled; the callback stops it earlier.
        config = TrainingConfig(batch_size=batch, max_steps=10**6, patience=10**6)
        data, rng = InMemoryData(rows, rows), np.random.RandomState(0)
        train(spec, data, config, rng, lambda history: history.step[-1] >= steps)

    def pyod_fit(batch: int, count: int) -> Work:
        sizes = {"encoder_neuron_list": list(hidden), "decoder_neuron_list": list(hidden[::-1])}
        options = {"latent_dim": latent, "batch_size": batch, "epoch_num": count, "verbose": 0}
        return VAE(**sizes, **options, device="cpu").fit(rows) and None

    for batch, limit in ((32, 10), (256, 4)):
        steps = 100 * -(-epochs * len(rows) // batch // 100)  # whole validation intervals
        compiling = seconds(lambda b=batch: ours(b, 100))
        print(f"  (batch {batch}: compiling and the first 100 steps took {compiling:.1f} s)")
        compare(
            f"fit 20,000 x 20, batch {batch}: times as fast as PyOD's VAE",
            lambda b=batch, s=steps: ours(b, s),
            lambda b=batch: pyod_fit(b, epochs),
            limit,
            arguments.repeats,
            scale=steps * batch / (epochs * len(rows)),
            faster=True,
        )
    compare(
        "fit 20,000 x 20, batch 256: times the bare products",
        lambda: ours(256, steps),
        lambda: bare_training(spec, 256, steps),
        2.5,
        arguments.repeats,
    )


def bare_training(spec: object, batch: int, steps: int) -> None:
    """Compute only the matrix products of forward and backward passes."""
    from threadpoolctl import threadpool_limits

    rng = np.random.RandomState(0)
    work = []
    for name, shape in spec.weight_shapes().items():
        if name.endswith("kernel"):
            inputs, outputs = shape
            arrays = ((batch, inputs), (inputs, outputs), (batch, outputs))
            work.append([rng.normal(size=size).astype(np.float32) for size in arrays])
    with threadpool_limits(1):  # small products are slower on two cores
        for _ in range(steps):
            for x, kernel, gradient in work:
                x @ kernel, x.T @ gradient, gradient @ kernel.T


# ---------------------------------------------------------------------------------- startup


def first(arguments: argparse.Namespace) -> None:
    """Measure a fit and scores in a fresh process."""
    ours = Command([sys.executable, "-c", FIRST_RESULT])
    target = "fit + score 1,000 x 20, fresh process: times import tensorflow"
    compare(target, ours, Command(TENSORFLOW), 3, arguments.repeats)


def start(arguments: argparse.Namespace) -> None:
    """Measure `score` on a small table and `--help`, in fresh processes."""
    program = [sys.executable, "-m", "vae_anomaly"]
    with tempfile.TemporaryDirectory() as folder:
        data, model = write_tables(Path(folder), 1000)[0], fitted_model(Path(folder))
        score = [*program, "score", str(model), str(data), "-o", f"{folder}/out.csv", "-q"]
        target = "score 1,000 rows, fresh process: times import tensorflow"
        compare(target, Command(score), Command(TENSORFLOW), 0.07, arguments.repeats)
    bare = Command([sys.executable, "-c", "import click"])
    target = "--help: times python -c 'import click'"
    compare(target, Command([*program, "--help"]), bare, 1.5, 4 * arguments.repeats)


# ---------------------------------------------------------------------------------- scoring


def memory(arguments: argparse.Namespace) -> None:
    """Measure scoring of a million rows in memory."""
    from sklearn.ensemble import IsolationForest
    from sklearn.neighbors import NearestNeighbors

    from vae_anomaly import VAEDetector

    rows, training = table(1_000_000), table(10_000, seed=2)
    detector = VAEDetector(random_state=0).fit(training)
    compare(
        "score 1,000,000 x 20: times the bare products",
        lambda: detector.score_samples(rows),
        lambda: bare_scoring(detector, len(rows)),
        2,
        arguments.repeats,
    )
    forest = IsolationForest(n_estimators=100, random_state=0, n_jobs=-1).fit(training)
    near = NearestNeighbors(n_neighbors=5, n_jobs=-1).fit(training)
    for name, reference, part in (
        ("isolation forest, 100 trees", forest.score_samples, rows[:200_000]),
        ("kNN, 10,000 reference rows", near.kneighbors, rows[:20_000]),
    ):
        compare(
            f"score a row: times {name}",
            lambda: detector.score_samples(rows[:200_000]),
            lambda f=reference, x=part: f(x),
            1,
            arguments.repeats,
            scale=200_000 / len(part),
        )


def bare_scoring(detector: object, n: int, batch: int = 256) -> None:
    """Compute only the float32 products of scoring, with all exemplars, on all cores."""
    from threadpoolctl import threadpool_limits

    spec = detector.model_.network.spec
    rng = np.random.RandomState(0)
    m, d = detector.model_.reference.points.shape
    sizes = [((m, d + 2), (d + 2, batch))]
    for name, shape in spec.weight_shapes().items():
        if name.endswith("kernel"):
            inputs, outputs = shape
            sizes.append(((spec.members, outputs, inputs), (spec.members, inputs, batch)))
    work = [[rng.normal(size=size).astype(np.float32) for size in pair] for pair in sizes]

    def products(batches: int) -> None:
        for _ in range(batches):
            for kernel, x in work:
                kernel @ x

    cores = os.cpu_count() or 1
    with threadpool_limits(1), ThreadPoolExecutor(cores) as pool:
        list(pool.map(products, [n // batch // cores] * cores))


# ------------------------------------------------------------------------------------ files


def files(arguments: argparse.Namespace) -> None:
    """Measure `score` from file to file."""
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        small_folder = folder / "small"
        small_folder.mkdir()
        model = fitted_model(folder)
        # A fifth of the rows: a tenth would not fill the read-ahead queue.
        small_tables = write_tables(small_folder, arguments.rows // 5)
        tables = write_tables(folder, arguments.rows)
        for small, data in zip(small_tables, tables, strict=True):
            file_type = data.suffix[1:]
            program = [sys.executable, "-m", "vae_anomaly", "score", str(model)]
            out = folder / f"out.{file_type}"
            ours = Command([*program, str(data), "-o", str(out), "-q"])
            pyarrow = Command([sys.executable, __file__, "--pyarrow", str(data), str(out)])
            target = f"score {arguments.rows:,} rows, {file_type}: times pyarrow"
            compare(target, ours, pyarrow, FILE_TARGETS[file_type], arguments.repeats)
            fifth = Command([*program, str(small), "-o", str(out), "-q"])
            target = f"score {arguments.rows:,} rows, {file_type}: peak in MB"
            peak = ours.peak()
            print_target(target, peak, 350)
            growth = peak / fifth.peak()
            print_target(f"score, {file_type}: times the peak for a fifth of the rows", growth, 1.1)


def print_target(target: str, value: float, limit: float) -> None:
    """Print a single measurement and whether its target is met."""
    verdict = "met" if value <= limit else "MISSED"
    print(f"{target:66s} {value:7.2f}  target <= {limit:g}: {verdict}", flush=True)


def write_tables(folder: Path, rows: int) -> list[Path]:
    """Write a table as CSV and as Parquet."""
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    paths = [folder / "big.csv", folder / "big.parquet"]
    schema = pa.schema([(f"x{i}", pa.float64()) for i in range(COLUMNS)])
    with (
        pa_csv.CSVWriter(paths[0], schema) as csv,
        pq.ParquetWriter(paths[1], schema) as parquet,
    ):
        for seed, begin in enumerate(range(0, rows, 250_000)):
            part = table(min(250_000, rows - begin), seed).round(5)
            batch = pa.record_batch([pa.array(c) for c in np.ascontiguousarray(part.T)], schema)
            csv.write_batch(batch)
            parquet.write_batch(batch)
    return paths


def fitted_model(folder: Path) -> Path:
    """Fit with default parameters on other rows of the same distribution."""
    import pandas as pd

    data, model = folder / "normal.csv", folder / "m.vae"
    names = [f"x{i}" for i in range(COLUMNS)]
    pd.DataFrame(table(10_000, seed=3), columns=names).to_csv(data, index=False)
    Command([sys.executable, "-m", "vae_anomaly", "fit", str(data), "-o", str(model)])()
    return model


def with_pyarrow(data: Path, out: Path) -> None:
    """Read a table and write as many columns as `score` writes."""
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    schema = pa.schema([("row", pa.int64()), ("score", pa.float64()), ("flag", pa.uint8())])
    if data.suffix == ".csv":
        batches = iter(pa_csv.open_csv(data, pa_csv.ReadOptions(block_size=2**22)))
    else:
        batches = pq.ParquetFile(data).iter_batches()
    writer = pa_csv.CSVWriter if out.suffix == ".csv" else pq.ParquetWriter
    rows = 0
    with writer(out, schema) as sink:
        for batch in batches:
            n = batch.num_rows
            numbers, flags = np.arange(rows, rows + n), np.zeros(n, dtype=np.uint8)
            columns = [pa.array(numbers), batch.column(0), pa.array(flags)]
            sink.write_batch(pa.record_batch(columns, schema=schema))
            rows += n


# ------------------------------------------------------------------------------ memory limit


def limit(arguments: argparse.Namespace) -> None:
    """Measure the peak memory of `fit --memory-limit`, and with --data its loss of AUROC."""
    import memory_limit

    for columns, size, options in memory_limit.PEAKS:
        peak = memory_limit.peak_of(columns, size, options, arguments.folder)
        label = " ".join((f"fit on {columns} columns within {size}", *options))
        print_target(f"{label}: share of the limit", peak / memory_limit.bytes_of(size), 1)
    if arguments.data:
        loss = memory_limit.points_lost(arguments.data, seeds=[0])
        print_target("fit on 10,000 of the rows: loss of AUROC in points, mean", loss, 0.5)


SECTIONS = {
    "fit": fit,
    "first": first,
    "memory": memory,
    "files": files,
    "start": start,
    "limit": limit,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, default=5_000_000, help="of the table in files")
    parser.add_argument("--folder", help="directory of temporary files, 3 GB")
    parser.add_argument("--data", type=Path, nargs="+", help="folders of .npz files, for limit")
    parser.add_argument("--pyarrow", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.pyarrow:
        with_pyarrow(*arguments.pyarrow)
        return
    for name in arguments.only:
        # In a separate process: the peak memory of a command includes that of its parent.
        section = get_context("spawn").Process(target=SECTIONS[name], args=(arguments,))
        section.start()
        duration = seconds(section.join)
        if section.exitcode:
            raise SystemExit(f"{name} failed")
        print(f"  ({name}: {duration:.0f} s in total)", flush=True)


if __name__ == "__main__":
    main()
