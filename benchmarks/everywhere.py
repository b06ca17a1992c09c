"""Digests of (id, score) of one table, from wherever it is scored: they must all be equal.

    python benchmarks/everywhere.py [--rows 20000] [--skip pyspark ray] [--write]

A digest is the SHA-256 of the rows in the order of their ids: each id as a whole number and each
score as a number of 64 bits. Ways whose packages are not installed are named, and left out.
`--write` puts the table into docs/distributed.md.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vae_anomaly import VAEDetector, save, score_batch

N_PARTS = 6


def make_data(folder: Path, n_rows: int) -> tuple[Path, Path]:
    """Fit a model; return its file, and a folder of Parquet parts to score."""
    rng = np.random.RandomState(0)

    def frame(n: int) -> pd.DataFrame:
        t = rng.normal(size=n)
        columns = {f"x{i}": t * (i - 4) + rng.normal(size=n) for i in range(8)}
        rows = pd.DataFrame(columns).assign(site=rng.choice(["north", "south"], n))
        rows.loc[rng.uniform(size=n) < 0.01, "x3"] = np.nan
        return rows

    detector = VAEDetector(max_steps=100, n_members=2, random_state=0).fit(frame(1000))
    model, parts = folder / "m.vae", folder / "parts"
    save(detector, model)
    parts.mkdir()
    rows = frame(n_rows).assign(id=rng.permutation(n_rows))
    for i, places in enumerate(np.array_split(np.arange(n_rows), N_PARTS)):
        rows.iloc[places].to_parquet(parts / f"part-{i}.parquet", index=False)
    return model, parts


def digest(ids: pa.ChunkedArray | pa.Array, scores: pa.ChunkedArray | pa.Array) -> str:
    """Return the digest of scores in the order of the ids."""
    keys, values = np.asarray(ids, dtype="<i8"), np.asarray(scores, dtype="<f8")
    order = np.argsort(keys, kind="stable")
    return hashlib.sha256(keys[order].tobytes() + values[order].tobytes()).hexdigest()


def of_table(table: pa.Table) -> str:
    return digest(table["id"], table["anomaly_score"])


def on_command_line(model: Path, parts: Path, out: Path, *words: str) -> str:
    target = out / "scores.parquet" if not words else out / "scores"
    line = [sys.executable, "-m", "vae_anomaly", "score", str(model), str(parts), "-q"]
    subprocess.run([*line, "-o", str(target), "--id-column", "id", *words], check=True)
    return of_table(pq.read_table(target))


def in_python(model: Path, parts: Path, out: Path) -> str:
    batches = pq.read_table(parts).to_batches(max_chunksize=777)
    return of_table(pa.Table.from_batches([score_batch(model, b, keep=["id"]) for b in batches]))


def as_stream(model: Path, parts: Path, out: Path) -> str:
    rows = pq.read_table(parts).to_pandas().to_csv(index=False).encode()
    line = [sys.executable, "-m", "vae_anomaly", "score", str(model), "-", "-o", "-", "-q"]
    done = subprocess.run(
        [*line, "--stream", "--id-column", "id"], input=rows, capture_output=True, check=True
    )
    cells = [line.split(b",") for line in done.stdout.splitlines()[1:]]
    return digest([int(cell[0]) for cell in cells], [float(cell[1]) for cell in cells])


def on_dask(model: Path, parts: Path, out: Path, *, workers: int) -> str:
    import dask.dataframe as dd
    import distributed

    import vae_anomaly.dask

    with (
        distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert len(client.nthreads()) == workers
        found = vae_anomaly.dask.score(dd.read_parquet(parts), model, keep=["id"]).compute()
    return digest(found["id"], found["anomaly_score"])


def on_duckdb(model: Path, parts: Path, out: Path) -> str:
    import duckdb

    with duckdb.connect() as database:
        source = database.cursor()  # a connection has one open result
        rows = source.sql(f"select * from '{parts}/*.parquet'").to_arrow_reader(2048)
        first = rows.read_next_batch()
        score = partial(score_batch, model, keep=["id"])

        def scored() -> Iterator[pa.RecordBatch]:
            yield score(first)
            yield from map(score, rows)

        schema = score(first.slice(0, 0)).schema
        database.register("scores", pa.RecordBatchReader.from_batches(schema, scored()))
        database.sql(f"copy (select * from scores) to '{out}/scores.parquet'")
    return of_table(pq.read_table(out / "scores.parquet"))


def on_ray(model: Path, parts: Path, out: Path) -> str:
    import ray

    from vae_anomaly.ray import Scorer

    ray.init(num_cpus=2, include_dashboard=False, logging_level="error")
    try:
        rows = ray.data.from_arrow([pq.read_table(path) for path in sorted(parts.iterdir())])
        scores = rows.map_batches(
            Scorer,
            fn_constructor_args=(model.read_bytes(),),
            fn_constructor_kwargs={"keep": ["id"]},
            batch_format="pyarrow",
            concurrency=1,
        )
        found = scores.to_pandas()
    finally:
        ray.shutdown()
    return digest(found["id"], found["anomaly_score"])


def on_spark(model: Path, parts: Path, out: Path) -> str:
    from pyspark.sql import SparkSession

    import vae_anomaly.spark

    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    session = session.config("spark.driver.host", "127.0.0.1").getOrCreate()
    try:
        rows = session.read.parquet(str(parts))
        vae_anomaly.spark.score(rows, model, keep=["id"]).write.parquet(str(out / "scores"))
    finally:
        session.stop()
    return of_table(pq.read_table(out / "scores"))


@contextmanager
def service(model: Path) -> Iterator[int]:
    """Run the service in a process of its own, and return its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    line = [sys.executable, "-m", "vae_anomaly", "serve", str(model), "-q"]
    process = subprocess.Popen([*line, f"--port={port}"])
    try:
        while process.poll() is None:
            try:
                client = http.client.HTTPConnection("127.0.0.1", port)
                client.request("GET", "/health")
                client.getresponse().read()
                break
            except OSError:
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def over_http(model: Path, parts: Path, out: Path) -> str:
    ids: list[int] = []
    scores: list[float] = []
    lock = threading.Lock()

    def send(port: int, batch: pa.RecordBatch) -> None:
        client = http.client.HTTPConnection("127.0.0.1", port)
        rows = json.dumps(batch.to_pylist())
        client.request("POST", "/score?keep=id", rows, {"content-type": "application/json"})
        answer = json.loads(client.getresponse().read())["rows"]
        with lock:
            ids.extend(row["id"] for row in answer)
            scores.extend(row["anomaly_score"] for row in answer)

    batches = pq.read_table(parts).to_batches(max_chunksize=2000)
    with service(model) as port:
        clients = [threading.Thread(target=send, args=(port, batch)) for batch in batches]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    return digest(ids, scores)


WAYS: dict[str, tuple[str | None, Callable[[Path, Path, Path], str]]] = {
    "command line": (None, on_command_line),
    "Python": (None, in_python),
    "stream": (None, as_stream),
    "service": ("uvicorn", over_http),
    "DuckDB": ("duckdb", on_duckdb),
    "Dask, 1 worker": ("distributed", partial(on_dask, workers=1)),
    "Dask, 2 workers": ("distributed", partial(on_dask, workers=2)),
    "Dask, 4 workers": ("distributed", partial(on_dask, workers=4)),
    "score --scheduler local:2": (
        "distributed",
        lambda *paths: on_command_line(*paths, "--scheduler", "local:2"),
    ),
    "Ray Data": ("ray", on_ray),
    "Spark": ("pyspark", on_spark),
}
"""Way -> the package that it needs, and what scores and returns the digest."""


PAGE = Path(__file__).parent.parent / "docs" / "distributed.md"
START, END = "<!-- digests -->", "<!-- end of digests -->"


def main() -> None:
    """Print the table of digests."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--skip", nargs="*", default=[])
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    lines = ["| scored by | with | digest |", "|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        model, parts = make_data(Path(folder), given.rows)
        for name, (package, way) in WAYS.items():
            if package in given.skip or (package and find_spec(package) is None):
                print(f"{name} is not run: {package} is not installed")
                continue
            out = Path(tempfile.mkdtemp(dir=folder))
            start = time.perf_counter()
            found = way(model, parts, out)
            software = f"{package} {version(package)}" if package else ""
            lines.append(f"| {name} | {software} | `{found[:16]}` |")
            print(f"{lines[-1]} {time.perf_counter() - start:.1f} s, start included", flush=True)
    if given.write:
        text = PAGE.read_text()
        before, after = text.split(START)[0], text.split(END)[1]
        table = "\n".join(lines)
        PAGE.write_text(f"{before}{START}\n{table}\n{END}{after}")


if __name__ == "__main__":
    main()
