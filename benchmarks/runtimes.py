"""What exported graphs compute in other runtimes: the table of docs/deployment.md.

    python benchmarks/runtimes.py [--node FOLDER] [--python NAME=PATH] [--only NAME] [--write]
    python benchmarks/runtimes.py --packages [--only NAME] [--column NAME] [--write]

Detectors of every exported score, every likelihood and every modality are fitted briefly,
exported, and checked as `vae-anomaly check` does, in every engine that is installed. `--node` is
a folder in which ``npm install --ignore-scripts onnxruntime-node onnxruntime-web`` has run;
`--python` names further interpreters whose onnxruntime is tried, such as an old one. `--only`
chooses runtimes by the start of their names. `--write` puts the table into docs/deployment.md.
Each engine has a separate process: their libraries clash in one.

With `--packages` the second table is made: packages that compile, hold or call a detector or its
graph, with one detector of each column; `--column` chooses some.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vae_anomaly import VAEDetector
from vae_anomaly.exceptions import VAEAnomalyError
from vae_anomaly.model.onnx_check import (
    RUNNERS,
    TOLERANCE,
    GroupCheck,
    check_graph,
    compared,
    read_vector,
)
from vae_anomaly.model.onnx_export import EXPORTED_SCORES, export_onnx
from vae_anomaly.names import LIKELIHOODS

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "deployment.md"
START, END = "<!-- runtimes -->", "<!-- end of runtimes -->"

BRIEF: dict[str, Any] = {"max_steps": 60, "contamination": 0.05, "random_state": 0}
BRIEF |= {"n_members": 2, "latent_dim": 3, "hidden_units": (16, 8)}

ORDINARY = {"normal", "shifted", "seconds", "unseen"}
"""Groups of rows that a runtime must score right to be of use; others are at the ends."""

PACKAGES = {"reference": "onnx"}
"""Packages of engines that have another name."""

OLD = """
import json, sys, numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
rows = np.array(json.load(open(sys.argv[2])), dtype=float)
scores, flags = session.run(["anomaly_score", "is_anomaly"], {"rows": rows})
scores = [float(x) if np.isfinite(x) else None for x in scores]
print(json.dumps([scores, flags.tolist(), onnxruntime.__version__]))
"""

IREE = """
import json, subprocess, sys, tempfile, numpy as np
from iree import runtime
rows = np.array(json.load(open(sys.argv[2])), dtype=float)
with tempfile.TemporaryDirectory() as folder:
    mlir, module = folder + "/m.mlir", folder + "/m.vmfb"
    tools = [sys.executable, "-m", "iree.compiler.tools."]
    words = [*tools[:2], tools[2] + "import_onnx", sys.argv[1], "-o", mlir, "--opset-version=17"]
    subprocess.run(words, check=True)
    words = [*tools[:2], tools[2] + "scripts.iree_compile", mlir, "-o", module]
    words += ["--iree-hal-target-backends=llvm-cpu", "--iree-llvmcpu-target-cpu=host"]
    subprocess.run([*words, "--iree-input-demote-f64-to-f32=false"], check=True)
    config = runtime.Config("local-sync")
    graph = runtime.load_vm_module(runtime.VmModule.mmap(config.vm_instance, module), config)
    scores, flags = (np.asarray(one) for one in graph["vae_anomaly"](rows))
scores = [float(x) if np.isfinite(x) else None for x in scores]
print(json.dumps([scores, flags.astype(bool).tolist()]))
"""

MLFLOW = """
import json, sys, tempfile, numpy as np, onnx, mlflow.onnx
rows, folder = np.array(json.load(open(sys.argv[2])), dtype=float), tempfile.mkdtemp() + "/m"
mlflow.onnx.save_model(onnx.load(sys.argv[1]), folder)
found = mlflow.pyfunc.load_model(folder).predict(rows)
scores = [float(x) if np.isfinite(x) else None for x in found["anomaly_score"]]
print(json.dumps([scores, np.asarray(found["is_anomaly"]).tolist()]))
"""


def numbers(n: int = 600) -> np.ndarray:
    rng = np.random.RandomState(0)
    rows = rng.normal(size=(n, 3)) @ rng.normal(size=(3, 6)) + 5.0
    rows[:, 2] = 7.0
    rows[:, 5] = 1.75e9 + 30.0 * rng.normal(size=n)  # Unix seconds
    return rows


def mixed(n: int = 900) -> pd.DataFrame:
    rng = np.random.RandomState(1)
    frame = pd.DataFrame(numbers(n)[:, :4], columns=list("abcd"))
    frame["site"] = rng.choice(["north", "south", "west"], n)
    frame["running"] = rng.uniform(size=n) < 0.8
    return frame.mask(rng.uniform(size=frame.shape) < 0.05)


def dates(n: int = 900) -> pd.DataFrame:
    rng = np.random.RandomState(2)
    first = pd.Timestamp("2021-03-01") + pd.to_timedelta(rng.randint(0, 800 * 24, n), unit="h")
    sent = first + pd.to_timedelta(rng.uniform(1, 3, n), unit="D")
    return pd.DataFrame({"ordered": first, "sent": sent, "amount": rng.normal(size=n)})


def images(*shape: int) -> np.ndarray:
    return np.random.RandomState(3).randint(256, size=(80, *shape)).astype(np.uint8)


def detectors() -> Iterator[tuple[str, str, VAEDetector]]:
    """Yield column of the table, name and fitted detector."""
    for score in EXPORTED_SCORES:
        yield "scores", score, VAEDetector(**BRIEF, score_type=score).fit(numbers())
    for name in LIKELIHOODS[1:]:
        for score in ("exemplar", "elbo"):
            detector = VAEDetector(**BRIEF, score_type=score, likelihood=name)
            yield "likelihoods", f"{name}, {score}", detector.fit(numbers())
    for score in EXPORTED_SCORES:
        yield "mixed tables", score, VAEDetector(**BRIEF, score_type=score).fit(mixed())
    yield "dates", "dates", VAEDetector(**BRIEF).fit(dates())
    for architecture in ("dense", "conv", "conv_bn"):
        for shape in ((9, 12), (16, 11, 3)):
            for score in ("elbo", "exemplar"):
                given = BRIEF | {"hidden_units": None, "score_type": score}
                detector = VAEDetector(**given, architecture=architecture)
                column = "dense images" if architecture == "dense" else "conv images"
                yield column, f"{architecture}, {shape}, {score}", detector.fit(images(*shape))


Check = Callable[[Path], tuple[GroupCheck, ...]]


def in_process(words: list[str], path: Path) -> tuple[GroupCheck, ...]:
    """Check a graph by another program, which gets its path and a file of rows."""
    vector = read_vector(str(path))
    rows = path.with_suffix(".json")
    rows.write_text(json.dumps(vector["rows"]))
    done = subprocess.run([*words, str(path), str(rows)], capture_output=True, text=True)
    if done.returncode:
        raise VAEAnomalyError((done.stderr.strip().splitlines() or ["failed"])[-1])
    scores, flags, *_ = json.loads(done.stdout.splitlines()[-1])
    return compared(vector, np.array(scores, dtype=float), np.array(flags))


def runtimes(node: str | None, pythons: list[str]) -> Iterator[tuple[str, Check]]:
    """Yield the name and version of each runtime that is installed, and its check."""
    for engine in RUNNERS:
        try:
            version = importlib.metadata.version(PACKAGES.get(engine, engine))
        except importlib.metadata.PackageNotFoundError:
            print(f"{engine} is not installed", file=sys.stderr)
            continue
        name = {"reference": "onnx, reference evaluator", "openvino": "openvino, f32"}
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            yield (
                f"{name.get(engine, engine)} {version}",
                lambda p, e=engine, process=process: process.submit(check_graph, p, e).result(),
            )
    for python in pythons:
        name, _, path = python.partition("=")
        yield name, lambda p, path=path: in_process([path, "-c", OLD], p)
    for package in ("onnxruntime-node", "onnxruntime-web") if node else ():
        facts = json.loads((Path(node) / "node_modules" / package / "package.json").read_text())
        words = ["node", str(HERE / "runtimes.mjs"), package, str(node)]
        yield f"{package} {facts['version']}", lambda p, words=words: in_process(words, p)


Held = Callable[[VAEDetector, Any], np.ndarray]
"""Function from a detector and rows to their scores, by way of another package."""


def by_skops(detector: VAEDetector, rows: Any) -> np.ndarray:
    import skops.io

    content = skops.io.dumps(detector)
    trusted = skops.io.get_untrusted_types(data=content)
    assert all(name.startswith("vae_anomaly.") for name in trusted), trusted
    return skops.io.loads(content, trusted=trusted).score_samples(rows)


def by_mlflow(detector: VAEDetector, rows: Any) -> np.ndarray:
    import mlflow.sklearn
    import skops.io

    trusted = skops.io.get_untrusted_types(data=skops.io.dumps(detector))
    with tempfile.TemporaryDirectory() as folder:
        model = f"{folder}/model"
        given = {"serialization_format": "skops", "skops_trusted_types": trusted}
        mlflow.sklearn.save_model(detector, model, **given)
        return mlflow.sklearn.load_model(model).score_samples(rows)


def by_duckdb(detector: VAEDetector, rows: Any) -> np.ndarray:
    import duckdb
    import pyarrow as pa

    from vae_anomaly import score_batch

    frame = (
        rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows).rename(columns="x{}".format)
    )
    with duckdb.connect() as database:
        database.register("given", pa.Table.from_pandas(frame))
        found = database.sql("select * from given").to_arrow_table().combine_chunks()
        [batch] = found.to_batches()
        database.register("scores", pa.Table.from_batches([score_batch(detector, batch)]))
        [scores] = database.sql("select anomaly_score from scores").fetchnumpy().values()
    return -np.asarray(scores)


HOLDERS: dict[str, tuple[str, Held]] = {
    "skops.io": ("skops", by_skops),
    "mlflow.sklearn, skops format": ("mlflow", by_mlflow),
    "DuckDB, score_batch": ("duckdb", by_duckdb),
}

OF_TABLES = {"DuckDB, score_batch"}
"""Those that hold no images."""


def is_wanted(name: str, package: str, only: list[str]) -> bool:
    """Return whether a row is chosen, and its package installed."""
    if only and not name.startswith(tuple(only)):
        return False
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        print(f"{name}: {package} is not installed, its row is left out", file=sys.stderr)
        return False
    return True


def packages(only: list[str], columns: list[str]) -> str:
    """Return the table of packages."""
    rows = {"tables": numbers(), "mixed tables": mixed(), "dates": dates()}
    rows |= {"dense images": images(9, 12), "conv images": images(9, 12)}
    given = {"conv images": {"architecture": "conv", "hidden_units": None}}
    chosen = {
        column: VAEDetector(**BRIEF | given.get(column, {})).fit(some)
        for column, some in rows.items()
        if not columns or column in columns
    }
    lines = [f"| package | {' | '.join(chosen)} |", "|---|" + "---|" * len(chosen)]
    graphs = {"IREE": ("iree-base-compiler", IREE), "mlflow.onnx": ("mlflow", MLFLOW)}
    for name, (package, code) in graphs.items():
        if not is_wanted(name, package, only):
            continue
        cells = []
        for i, detector in enumerate(chosen.values()):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"{i}.onnx"
                export_onnx(detector, path)
                try:
                    groups = in_process([sys.executable, "-c", code], path)
                except VAEAnomalyError as failure:
                    print(f"{name}: {failure}", file=sys.stderr)
                    cells.append("does not run")
                    continue
                errors = [group.max_error for group in groups if group.group in ORDINARY]
                cells.append(f"{verdict(groups)}, {max(errors):.0e}")
        lines.append(f"| {name} {importlib.metadata.version(package)} | {' | '.join(cells)} |")
        print(lines[-1], file=sys.stderr)
    for name, (package, score) in HOLDERS.items():
        if not is_wanted(name, package, only):
            continue
        cells = []
        for column, detector in chosen.items():
            if name in OF_TABLES and np.ndim(rows[column]) > 2:
                cells.append("")
                continue
            try:
                found = score(detector, rows[column])
                same = np.array_equal(found, detector.score_samples(rows[column]))
                cells.append("bit for bit" if same else "not equal")
            except Exception as failure:
                print(f"{name}, {column}: {failure!r}"[:300], file=sys.stderr)
                cells.append("no")
        lines.append(f"| {name} {importlib.metadata.version(package)} | {' | '.join(cells)} |")
        print(lines[-1], file=sys.stderr)
    return "\n".join(lines)


def write(table: str, start: str, end: str) -> None:
    """Put a table into the page."""
    text = PAGE.read_text()
    before, after = text.split(start)[0], text.split(end)[1]
    PAGE.write_text(f"{before}{start}\n{table}\n{end}{after}")


def verdict(groups: tuple[GroupCheck, ...]) -> str:
    """Return how a runtime does on a graph."""
    if all(group.agrees for group in groups):
        return "equal"
    if all(group.agrees for group in groups if group.group in ORDINARY):
        return "equal with limits"
    return "not equal"


ORDER = ("equal", "equal with limits", "not equal", "does not run")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--node")
    parser.add_argument("--python", action="append", default=[])
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--packages", action="store_true")
    parser.add_argument("--column", action="append", default=[])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.packages:
        found = packages(arguments.only, arguments.column)
        print(found)
        if arguments.write:
            write(found, "<!-- packages -->", "<!-- end of packages -->")
        return
    with tempfile.TemporaryDirectory() as folder:
        graphs: dict[str, list[tuple[str, Path]]] = {}
        for i, (column, name, detector) in enumerate(detectors()):
            path = Path(folder) / f"{i}.onnx"
            export_onnx(detector, path)
            graphs.setdefault(column, []).append((name, path))
        lines = [f"| runtime | {' | '.join(graphs)} |", "|---|" + "---|" * len(graphs)]
        for runtime, check in runtimes(arguments.node, arguments.python):
            if arguments.only and not runtime.startswith(tuple(arguments.only)):
                continue
            cells = []
            for paths in graphs.values():
                worst, error = ORDER[0], 0.0
                for name, path in paths:
                    try:
                        groups = check(path)
                        found = verdict(groups)
                        ordinary = [g.max_error for g in groups if g.group in ORDINARY]
                        error = max(error, *ordinary)
                    except (VAEAnomalyError, BrokenProcessPool) as failure:
                        found = "does not run"
                        print(f"{runtime}, {name}: {failure}", file=sys.stderr)
                    worst = max(worst, found, key=ORDER.index)
                    if found in ORDER[1:3]:
                        facts = "; ".join(g.describe() for g in groups if not g.agrees)
                        print(f"{runtime}, {name}: {facts}", file=sys.stderr)
                cells.append(worst if worst == "does not run" else f"{worst}, {error:.0e}")
            lines.append(f"| {runtime} | {' | '.join(cells)} |")
            print(lines[-1], file=sys.stderr)
    table = "\n".join(lines)
    print(table)
    print(f"Equal: every score to {TOLERANCE:g}, every flag.")
    if arguments.write:
        write(table, START, END)


if __name__ == "__main__":
    main()
