"""Processes killed while they write, and concurrent readers and writers.

    python tests/hostile/kills.py FOLDER --kills 1000

FOLDER has a model, flow.vae, and two tables, a.csv and b.csv, for it to score. This process
never loads TensorFlow, so that it can fork: children write immediately.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent.parent)]

Operation = Callable[[], object]


def operations(folder: Path) -> dict[str, tuple[Path, list[Operation]]]:
    """Return for each command its target file and two operations that write different content."""
    from vae_anomaly import VAEDetector, load, save
    from vae_anomaly.cli import run

    detector = load(folder / "flow.vae")
    model = detector.model_
    calibration = replace(model.calibration, threshold=model.calibration.threshold + 1.0)
    other = VAEDetector.from_model(replace(model, calibration=calibration))
    out = folder / "out"
    out.mkdir(exist_ok=True)

    def score(table: str, name: str) -> Operation:
        line = ["score", str(folder / "flow.vae"), str(folder / table), "-o", str(out / name)]
        return lambda: run([*line, "-q"])

    return {
        "fit": (out / "m.vae", [lambda: save(detector, out / "m.vae"),
                                lambda: save(other, out / "m.vae")]),
        "score": (out / "s.csv", [score("a.csv", "s.csv"), score("b.csv", "s.csv")]),
        "score to Parquet": (out / "s.parquet",
                             [score("a.csv", "s.parquet"), score("b.csv", "s.parquet")]),
    }  # fmt: skip


def versions(target: Path, writes: list[Operation]) -> list[bytes]:
    """Run each operation once; return the contents that they write."""
    contents = []
    for write in writes:
        write()
        contents.append(target.read_bytes())
    assert len(set(contents)) == len(writes)
    return contents


def child(work: Operation) -> int:
    """Start a process that repeats an operation until it is killed; return its id."""
    process = os.fork()
    if process:
        return process
    try:
        while True:
            work()
    finally:
        os._exit(1)


def kill(process: int) -> None:
    """Kill a child process and wait for its end."""
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status), "the process exited before it was killed"


def temporary_files(target: Path) -> list[Path]:
    """Return the temporary files of a target."""
    return list(target.parent.glob(f".{target.name}.*.tmp"))


def kill_writers(target: Path, writes: list[Operation], kills: int, rng: random.Random) -> int:
    """Kill writers at random moments; return how many left a temporary file."""
    contents, left = versions(target, writes), 0

    def work() -> None:
        for write in writes:
            write()

    for _ in range(kills):
        process = child(work)
        time.sleep(rng.expovariate(100))
        kill(process)
        assert target.read_bytes() in contents, f"{target} is damaged"
        if temporary_files(target):
            left += 1
            writes[0]()
            assert target.read_bytes() == contents[0]
            assert not temporary_files(target), "the next run did not remove it"
    return left


def kill_report_writers(folder: Path, kills: int, rng: random.Random) -> int:
    """Kill writers of reports; return how many left a temporary file.

    Figures are drawn once and written repeatedly, so that most kills happen during
    writing.
    """
    from vae_anomaly.cli import run
    from vae_anomaly.report.figures import Drawing
    from vae_anomaly.report.render import write_page

    target = folder / "out" / "report"
    contents: list[dict[str, bytes]] = []
    for table in ("a.csv", "b.csv"):
        line = ["evaluate", str(folder / "flow.vae"), str(folder / table), "-o", str(target)]
        assert run([*line, "-q"]) == 0
        contents.append({path.name: path.read_bytes() for path in target.iterdir()})
    assert contents[0]["report.html"] != contents[1]["report.html"]

    def write(version: dict[str, bytes]) -> None:
        figures = {
            Path(name).stem: Drawing(version[name], b"")
            for name in version
            if name.endswith(".png")
        }
        write_page(version["report.html"].decode(), figures, target)

    left = 0
    for _ in range(kills):
        process = child(lambda: [write(version) for version in contents])
        time.sleep(rng.expovariate(100))
        kill(process)
        temporary = [path for path in target.iterdir() if path.name.startswith(".")]
        for path in set(target.iterdir()) - set(temporary):
            complete = {version.get(path.name) for version in contents}
            assert path.read_bytes() in complete, f"{path} is damaged"
        if temporary:
            left += 1
            write(contents[0])
            assert {path.name: path.read_bytes() for path in target.iterdir()} == contents[0]
    return left


def read_during_writes(target: Path, writes: list[Operation], reads: int) -> int:
    """Read a file that other processes keep writing; return how many versions were read."""
    contents = versions(target, writes)
    writers = [child(lambda write=write: write()) for write in writes for _ in range(2)]
    seen, count, end = set(), 0, time.monotonic() + 60
    try:
        while count < reads or (len(seen) < len(writes) and time.monotonic() < end):
            content = target.read_bytes()
            assert content in contents, f"{target} is a mixture"
            seen.add(content)
            count += 1
    finally:
        for writer in writers:
            kill(writer)
    writes[0]()
    assert not temporary_files(target)
    return len(seen)


def load_during_writes(folder: Path, runs: int) -> None:
    """Load a model that another process keeps replacing; check that it is one of the two."""
    target, writes = operations(folder)["fit"]
    versions(target, writes)
    from vae_anomaly import load

    offsets = {load(target).offset_ for write in writes if write() or True}
    writer = child(lambda: [write() for write in writes])
    try:
        for _ in range(runs):
            assert load(target).offset_ in offsets
    finally:
        kill(writer)


def main() -> None:
    """Run the command line; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=1000, help="per command")
    given = parser.parse_args()
    rng, left = random.Random(0), {}
    for name, (target, writes) in operations(given.folder).items():
        left[name] = kill_writers(target, writes, given.kills, rng)
        assert read_during_writes(target, writes, given.kills) == 2, "one version was never read"
    load_during_writes(given.folder, given.kills)
    left["evaluate"] = kill_report_writers(given.folder, given.kills, rng)
    print(json.dumps({"kills": given.kills * len(left), "left behind": left}))  # noqa: T201


if __name__ == "__main__":
    main()
