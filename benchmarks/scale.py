"""Scale: scoring by workers of Dask, memory of many rows, and work that is killed on the way.

    python benchmarks/scale.py                            # all sections, on an idle machine
    python benchmarks/scale.py --only workers             # one section: workers, memory, kills
    python benchmarks/scale.py --only memory --rows 50000000

Prints for each target what was measured, and whether it is met. Other programs that run at the
same time distort elapsed times: the load of the machine is printed, and the ratio that the
workers' processor time allows. README.md discusses the results. Needs the extra [dask].
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from usage import run

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

COLUMNS = 20
CHUNK = 250_000
"""Rows that are generated at once, and rows of a row group."""

MIN_SPEED_UP, MAX_WORKER_GB = 1.7, 0.5
MAX_PEAK_GB, MAX_GROWTH = 0.35, 1.1
N_KILLS = 10


def table(n: int, seed: int) -> pa.Table:
    """Return rows around a five-dimensional plane."""
    rng = np.random.RandomState(seed)
    plane = np.random.RandomState(1).normal(size=(5, COLUMNS))
    rows = rng.normal(size=(n, 5)) @ plane + 0.3 * rng.normal(size=(n, COLUMNS))
    return pa.table({f"x{i}": rows[:, i] for i in range(COLUMNS)})


def make_model(folder: Path) -> Path:
    """Fit a detector with default parameters to 10,000 rows in a separate process."""
    pq.write_table(table(10_000, 0), folder / "normal.parquet")
    model = folder / "m.vae"
    command("fit", folder / "normal.parquet", "-o", model)
    return model


def make_parts(folder: Path, n_rows: int, n_parts: int) -> Path:
    """Write a folder of Parquet files, whose rows have numbers."""
    folder.mkdir()
    for part, places in enumerate(np.array_split(np.arange(n_rows), n_parts)):
        rows = table(len(places), part).append_column("id", pa.array(places))
        pq.write_table(rows, folder / f"{part:04}.parquet")
    return folder


def command(*words: object) -> float:
    """Run a command in a separate process; return its peak memory in GB."""
    line = [sys.executable, "-m", "vae_anomaly", *map(str, words), "-q"]
    return run(line).peak / 1e9


def report(target: str, found: str, met: bool) -> None:
    print(f"{'met' if met else 'MISSED':<7} {target}: {found}", flush=True)


def load() -> str:
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


# ----------------------------------------------------------------------------- workers


class Run(NamedTuple):
    """Elapsed seconds, and of each worker the processor time in seconds and peak GB."""

    seconds: float
    processor: list[float]
    peaks: list[float]


def peak() -> float:
    """Return the peak memory of this process in GB."""
    [line] = [one for one in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in one]
    return int(line.split()[1]) * 1024 / 1e9


def scored(model: Path, few: Path, parts: Path, out: Path, n_workers: int) -> Run:
    """Score a folder by workers of one thread, which have scored a folder of few rows before."""
    import distributed

    from vae_anomaly.dask import Cluster
    from vae_anomaly.pipeline.partitions import score_partitions

    with (
        distributed.LocalCluster(
            n_workers=n_workers, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        executor = Cluster(client)
        score_partitions(model, str(few), f"{out}-few", key="id", executor=executor)
        before = client.run(time.process_time)
        start = time.perf_counter()
        score_partitions(model, str(parts), str(out), key="id", executor=executor)
        seconds = time.perf_counter() - start
        after = client.run(time.process_time)
        peaks = client.run(peak)
    return Run(seconds, [after[one] - before[one] for one in after], list(peaks.values()))


def workers(folder: Path, n_rows: int, repeats: int) -> None:
    model, parts = make_model(folder), make_parts(folder / "parts", n_rows, 40)
    few = make_parts(folder / "few", 1000, 10)
    runs: dict[int, list[Run]] = {1: [], 2: []}
    for i in range(repeats):
        for n, found in runs.items():
            found.append(scored(model, few, parts, folder / f"scores-{i}-{n}", n))
            busy = ", ".join(f"{one:.1f}" for one in found[-1].processor)
            print(f"        {n} workers: {found[-1].seconds:.1f} s, processor {busy} s; {load()}")
    one, two = (min(run.seconds for run in found) for found in runs.values())
    target = f"speed-up by a second worker at least {MIN_SPEED_UP}"
    report(f"{target}, elapsed", f"{one / two:.2f}", one / two >= MIN_SPEED_UP)
    busiest = [min(max(run.processor) for run in found) for found in runs.values()]
    ratio = busiest[0] / busiest[1]
    report(f"{target}, processor time", f"{ratio:.2f}", ratio >= MIN_SPEED_UP)
    most = max(max(run.peaks) for found in runs.values() for run in found)
    target = f"memory of a worker at most {MAX_WORKER_GB} GB"
    report(target, f"{most:.2f} GB", most <= MAX_WORKER_GB)


# ------------------------------------------------------------------------------ memory


def memory(folder: Path, n_rows: int) -> None:
    model = make_model(folder)
    for suffix in ("csv", "parquet"):
        peaks = []
        for n in (n_rows // 10, n_rows):
            path = folder / f"rows.{suffix}"
            write(path, n)
            peaks.append(command("score", model, path, "-o", folder / f"scores.{suffix}"))
        least, most = peaks
        found = f"{least:.2f} GB for {n_rows // 10:,} rows, {most:.2f} GB for {n_rows:,}"
        report(
            f"peak memory of score, {suffix}: at most {MAX_PEAK_GB} GB", found, most <= MAX_PEAK_GB
        )
        target = f"the same for ten times the rows, {suffix}: ratio at most {MAX_GROWTH}"
        report(target, f"{most / least:.2f}", most / least <= MAX_GROWTH)


def write(path: Path, n_rows: int) -> None:
    """Write a table, part after part."""
    schema = table(1, 0).schema
    parquet = path.suffix == ".parquet"
    make = pq.ParquetWriter if parquet else pa.csv.CSVWriter
    # The same numbers again and again: they take most of the time to make.
    rows = table(min(CHUNK, n_rows), 0)
    with make(path, schema) as writer:
        for start in range(0, n_rows, CHUNK):
            writer.write_table(rows.slice(0, min(CHUNK, n_rows - start)))


# ------------------------------------------------------------------------------- kills


class Processes:
    """Scheduler, two workers and the command, each of which may be killed."""

    def __init__(self, line: list[str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        address = f"tcp://127.0.0.1:{port}"
        python = [sys.executable, "-m"]
        worker = [*python, "distributed.cli.dask_worker", address, "--no-nanny", "--nthreads=1"]
        worker += ["--no-dashboard", "--death-timeout=60"]
        scheduler = [*python, "distributed.cli.dask_scheduler", "--host=127.0.0.1"]
        self.lines = {
            "scheduler": [*scheduler, f"--port={port}", "--no-dashboard"],
            "worker": worker,
            "second worker": worker,
            "command": [*line, "--scheduler", address],
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start what does not run."""
        for name, line in self.lines.items():
            if name not in self.running or self.running[name].poll() is not None:
                quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
                self.running[name] = subprocess.Popen(line, **quiet)

    def kill(self, name: str) -> None:
        self.running[name].kill()
        self.running[name].wait()

    def is_done(self) -> bool:
        return self.running["command"].poll() == 0


def kills(folder: Path, n_rows: int) -> None:
    model, parts, out = make_model(folder), make_parts(folder / "parts", n_rows, 40), folder / "out"
    words = ["score", str(model), str(parts), "-o", str(out), "--id-column", "id", "-q"]
    processes = Processes([sys.executable, "-m", "vae_anomaly", *words])
    names = [*processes.lines] * (N_KILLS // len(processes.lines) + 1)
    order = random.Random(0)
    order.shuffle(names)
    killed: list[str] = []
    receipts = folder / ".out.partial" / "_receipts"
    try:
        processes.start()
        while not processes.is_done():
            processes.start()
            # A kill for each few parts that are done, at a random moment after.
            n_done = len(list(receipts.glob("*.json")))
            if len(killed) < N_KILLS and n_done > 3 * len(killed):
                time.sleep(order.uniform(0, 1))
                killed.append(names[len(killed)])
                processes.kill(killed[-1])
            time.sleep(0.1)
    finally:
        for name in processes.running:
            processes.kill(name)
    ids = np.sort(pq.read_table(out, columns=["id"])["id"].to_numpy())
    complete = np.array_equal(ids, np.arange(n_rows))
    report(
        "no row lost or doubled",
        f"{len(ids):,} of {n_rows:,} rows after {len(killed)} kills: {', '.join(killed)}",
        complete and len(killed) == N_KILLS,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=["workers", "memory", "kills"])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    sections = {
        "workers": lambda folder: workers(folder, given.rows, given.repeats),
        "memory": lambda folder: memory(folder, given.rows),
        "kills": lambda folder: kills(folder, given.rows),
    }
    for name in given.only or sections:
        print(f"{name}, {load()}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            sections[name](Path(folder))


if __name__ == "__main__":
    main()
