"""Kill processes while they write, and let several write or read at once.

    python tests/hostile/kills.py FOLDER --kills 1000

FOLDER has a model, flow.vae, and two tables, a.csv and b.csv, that it scores. This process
never loads TensorFlow, so that it can fork: a child is at its writing at once.
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
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent.parent)]

Operation = Callable[[], object]


def operations(folder: Path) -> dict[str, tuple[Path, list[Operation]]]:
    """What is written by the commands, each in two versions: where to, and how."""
    from vae_anomaly import load, save
    from vae_anomaly.cli import run

    detector, other = load(folder / "flow.vae"), load(folder / "flow.vae")
    other.offset_ -= 1.0
    out = folder / "out"
    out.mkdir(exist_ok=True)

    def score(table: str, name: str) -> Operation:
        words = ["score", str(folder / "flow.vae"), str(folder / table), "-o", str(out / name)]
        return lambda: run([*words, "-q"])

    return {
        "fit": (out / "m.vae", [lambda: save(detector, out / "m.vae"),
                                lambda: save(other, out / "m.vae")]),
        "score": (out / "s.csv", [score("a.csv", "s.csv"), score("b.csv", "s.csv")]),
        "score to Parquet": (out / "s.parquet",
                             [score("a.csv", "s.parquet"), score("b.csv", "s.parquet")]),
    }  # fmt: skip


def versions(target: Path, ways: list[Operation]) -> list[bytes]:
    """Write each version once, and read it."""
    contents = []
    for write in ways:
        write()
        contents.append(target.read_bytes())
    assert len(set(contents)) == len(ways)
    return contents


def child(work: Operation) -> int:
    """Run something again and again in a process of its own, until it is killed."""
    process = os.fork()
    if process:
        return process
    try:
        while True:
            work()
    finally:
        os._exit(1)


def kill(process: int) -> None:
    """Kill a process of ours and wait for its end."""
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status), "it ended by itself"


def left_behind(target: Path) -> list[Path]:
    """Temporary files beside a target."""
    return list(target.parent.glob(f".{target.name}.*.tmp"))


def kill_writers(target: Path, ways: list[Operation], kills: int, rng: random.Random) -> int:
    """Kill so many writers at random moments; tell how many left a temporary file."""
    contents, left = versions(target, ways), 0

    def work() -> None:
        for write in ways:
            write()

    for _ in range(kills):
        process = child(work)
        time.sleep(rng.expovariate(100))
        kill(process)
        assert target.read_bytes() in contents, f"{target} is damaged"
        if left_behind(target):
            left += 1
            ways[0]()
            assert target.read_bytes() == contents[0]
            assert not left_behind(target), "the next run left it there"
    return left


def kill_reporters(folder: Path, kills: int, rng: random.Random) -> int:
    """Kill so many writers of reports; tell how many left a temporary file.

    Images are drawn once, and then written again and again, so that most kills
    come while something is written.
    """
    from vae_anomaly.cli import run
    from vae_anomaly.report import render

    target = folder / "out" / "report"
    contents: list[dict[str, bytes]] = []
    for table in ("a.csv", "b.csv"):
        words = ["evaluate", str(folder / "flow.vae"), str(folder / table), "-o", str(target)]
        assert run([*words, "-q"]) == 0
        contents.append({path.name: path.read_bytes() for path in target.iterdir()})
    assert contents[0]["report.html"] != contents[1]["report.html"]

    def write(version: dict[str, bytes]) -> None:
        images = {Path(name).stem: version[name] for name in version if name.endswith(".png")}
        render.draw_images = lambda report: images
        render.render_page = lambda report, images: version["report.html"].decode()
        render.write_report(None, target)

    left = 0
    for _ in range(kills):
        process = child(lambda: [write(version) for version in contents])
        time.sleep(rng.expovariate(100))
        kill(process)
        temporary = [path for path in target.iterdir() if path.name.startswith(".")]
        for path in set(target.iterdir()) - set(temporary):
            whole = {version.get(path.name) for version in contents}
            assert path.read_bytes() in whole, f"{path} is damaged"
        if temporary:
            left += 1
            write(contents[0])
            assert {path.name: path.read_bytes() for path in target.iterdir()} == contents[0]
    return left


def write_at_once(target: Path, ways: list[Operation], reads: int) -> int:
    """Let two processes write the same file while this one reads it; all it sees is whole."""
    contents = versions(target, ways)
    writers = [child(lambda way=way: way()) for way in ways for _ in range(2)]
    seen, count, end = set(), 0, time.monotonic() + 60
    try:
        while count < reads or (len(seen) < len(ways) and time.monotonic() < end):
            content = target.read_bytes()
            assert content in contents, f"{target} is a mixture"
            seen.add(content)
            count += 1
    finally:
        for writer in writers:
            kill(writer)
    ways[0]()
    assert not left_behind(target)
    return len(seen)


def score_while_replaced(folder: Path, runs: int) -> None:
    """Score with a model that another process keeps replacing: each run has one of the two."""
    target, ways = operations(folder)["fit"]
    versions(target, ways)
    from vae_anomaly import load

    offsets = {load(target).offset_ for way in ways if way() or True}
    writer = child(lambda: [way() for way in ways])
    try:
        for _ in range(runs):
            assert load(target).offset_ in offsets
    finally:
        kill(writer)


def main() -> None:
    """Run the command line; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=1000, help="of each kind of writer")
    given = parser.parse_args()
    rng, left = random.Random(0), {}
    kinds = operations(given.folder)
    for kind, (target, ways) in kinds.items():
        left[kind] = kill_writers(target, ways, given.kills, rng)
        assert write_at_once(target, ways, given.kills) == 2, "one of the writers never wrote"
    score_while_replaced(given.folder, given.kills)
    left["evaluate"] = kill_reporters(given.folder, given.kills, rng)
    print(json.dumps({"kills": given.kills * len(left), "left behind": left}))  # noqa: T201


if __name__ == "__main__":
    main()
