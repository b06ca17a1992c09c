"""The long run: `make torture`. Prints how much was tried and how it ended.

    python tests/hostile/torture.py --write docs/reliability.md
    python tests/hostile/torture.py --small          # a hundredth of it, to try it out
    python tests/hostile/torture.py --only fuzzed    # a part: a word of what it prints

How long each part took one processor is said on standard error.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE.parent), str(ROOT)]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

BEGIN, END = "<!-- counts -->\n", "<!-- end of counts -->\n"


def run(*words: object, **environment: str) -> str:
    """Run a script of this project; its last line."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return done.stdout.strip().splitlines()[-1]


def flips_and_cuts(folder: Path, step: int) -> str:
    """Flip every bit of a small model file, and cut it at every byte."""
    from hostile.model_files import small_detector
    from vae_anomaly import ModelFileError, load, save

    path = folder / "m.vae"
    save(small_detector(), path)
    raw = path.read_bytes()

    def is_refused(content: bytes) -> bool:
        path.write_bytes(content)
        try:
            load(path)
        except ModelFileError:
            return True
        return False

    places = range(0, len(raw), step)
    flips = [
        is_refused(raw[:i] + bytes([raw[i] ^ (1 << bit)]) + raw[i + 1 :])
        for i in places
        for bit in range(8)
    ]
    cuts = [is_refused(raw[:i]) for i in places]
    assert all(flips)
    assert all(cuts)
    return f"{len(flips):,} flipped bits and {len(cuts):,} truncations, all noticed"


def faults(folder: Path) -> str:
    """Fail every call to the system that writing makes, with every error."""
    from hostile.faults import ERRORS, FaultLoop
    from vae_anomaly import load, save
    from vae_anomaly.cli import run as command

    make_models(folder)
    detector, out = load(folder / "flow.vae"), folder / "faults"
    out.mkdir()

    def scores(name: str) -> Callable[[], bool]:
        words = ["score", str(folder / "flow.vae"), str(folder / "a.csv"), "-o", str(out / name)]
        return lambda: command([*words, "-q"]) == 0

    loops = [
        FaultLoop(out / "m.vae", lambda: bool(save(detector, out / "m.vae"))),
        FaultLoop(out / "s.csv", scores("s.csv")),
        FaultLoop(out / "s.parquet", scores("s.parquet")),
    ]
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        said, sys.stderr = sys.stderr, nowhere
        try:
            for loop in loops:
                for error in ERRORS:
                    loop.run(error)
        finally:
            sys.stderr = said
    points = sum(loop.points for loop in loops)
    return f"{points:,} fault points ({len(ERRORS)} kinds), 0 damaged, 0 left behind"


def make_models(folder: Path) -> None:
    """Write a model and two tables that it scores."""
    if (folder / "flow.vae").exists():
        return
    import numpy as np
    import pandas as pd

    from vae_anomaly import VAEDetector, save

    rng = np.random.RandomState(0)
    X = pd.DataFrame(rng.normal(size=(80, 2)), columns=["flow", "pressure"])
    options = {"max_steps": 20, "n_members": 2, "contamination": 0.1, "random_state": 0}
    save(VAEDetector(**options).fit(X), folder / "flow.vae")
    (folder / "a.csv").write_text("flow,pressure\n" + "1,2\n" * 300)
    (folder / "b.csv").write_text("flow,pressure\n" + "2,1\n" * 200)


def kills(folder: Path, count: int) -> str:
    """Kill writers, and let several write and read at once."""
    make_models(folder)
    told = json.loads(run(HERE / "kills.py", folder, "--kills", count))
    left = sum(told["left behind"].values())
    return (
        f"{told['kills']:,} writers killed, 0 files damaged; {left:,} left a temporary file, "
        f"which the next run removed"
    )


def numbers(examples: int) -> str:
    """Random detectors and inputs."""
    test = HERE / "test_numbers.py"
    run("-m", "pytest", "-q", test, VAE_ANOMALY_EXAMPLES=str(examples))
    return f"{2 * examples + max(5, examples // 10):,} detectors and inputs, 0 counter-examples"


def cases() -> str:
    """Count the kinds of files that `make test` tries."""
    from hostile.model_files import HOSTILE
    from hostile.test_image_folders import BAD
    from hostile.test_outputs import ENVIRONMENTS
    from hostile.test_outputs import REFUSED as OUTPUTS
    from hostile.test_tables import ACCEPTED, REFUSED

    data = len(REFUSED) + len(ACCEPTED) + len(BAD) + len(OUTPUTS) + len(ENVIRONMENTS)
    return f"{len(HOSTILE)} hostile model files, {data} tables, images, outputs, environments"


def processor_seconds() -> float:
    """Time that this process and those that it waited for have had a processor."""
    return sum(os.times()[:4])


def main() -> None:
    """Run it all, or a part."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", type=Path, help="page whose counts are to be these")
    parser.add_argument("--small", action="store_true", help="a hundredth of it, to try it out")
    parser.add_argument("--only", metavar="WORD", default="", help="parts with this in their name")
    given = parser.parse_args()
    if given.only and given.write:
        parser.error("--write needs all parts")
    share = 100 if given.small else 1
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fuzz = (HERE / "fuzz_model_files.py", "--runs", 1_000_000 // share)
        for what, count in {
            "cases in `make test`": cases,
            "model files, damaged": lambda: flips_and_cuts(folder, 16 if given.small else 1),
            "model files, fuzzed": lambda: run(*fuzz).partition(": ")[2],
            "failing calls": lambda: faults(folder),
            "kills": lambda: kills(folder, 1500 // share),
            "numbers": lambda: numbers(5000 // share),
        }.items():
            if given.only not in what:
                continue
            start = processor_seconds()
            lines.append(f"| {what} | {count()} |")
            print(lines[-1].strip("| ").replace(" | ", ": "), flush=True)  # noqa: T201
            print(f"{processor_seconds() - start:.0f} s", file=sys.stderr, flush=True)  # noqa: T201
    if given.write:
        today = dt.datetime.now(tz=dt.UTC).date()
        size = ", a hundredth of it (`--small`)" if given.small else ""
        table = "\n".join(
            [f"Run on {today}{size}.\n", "| what | how it ended |", "|---|---|", *lines]
        )
        page = given.write.read_text(encoding="utf-8")
        pattern = re.escape(BEGIN) + ".*?" + re.escape(END)
        fresh = re.sub(pattern, lambda _: f"{BEGIN}{table}\n{END}", page, flags=re.DOTALL)
        given.write.write_text(fresh, encoding="utf-8")


if __name__ == "__main__":
    main()
