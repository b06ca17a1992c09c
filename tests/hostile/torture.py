"""Long robustness tests: `make torture`. Prints counts and results.

    python tests/hostile/torture.py --write docs/reliability.md
    python tests/hostile/torture.py --small          # a hundredth, for a trial
    python tests/hostile/torture.py --only fuzzed    # the parts with this word in their name

The processor time of each part is printed on standard error.
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


def run(*arguments: object, **environment: str) -> str:
    """Run a script of this project; return the last line that it prints."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return done.stdout.strip().splitlines()[-1]


def flips_and_cuts(folder: Path, step: int) -> str:
    """Flip every bit of a small model file, and truncate it at every byte."""
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

    positions = range(0, len(raw), step)
    flips = [
        is_refused(raw[:i] + bytes([raw[i] ^ (1 << bit)]) + raw[i + 1 :])
        for i in positions
        for bit in range(8)
    ]
    cuts = [is_refused(raw[:i]) for i in positions]
    assert all(flips)
    assert all(cuts)
    return f"{len(flips):,} flipped bits and {len(cuts):,} truncations, all detected"


def faults(folder: Path) -> str:
    """Fail every system call of writing, with every error."""
    from hostile.faults import ERRORS, FaultLoop
    from vae_anomaly import load, save
    from vae_anomaly.cli import run as command

    make_models(folder)
    detector, out = load(folder / "flow.vae"), folder / "faults"
    out.mkdir()

    def scores(name: str) -> Callable[[], bool]:
        line = ["score", str(folder / "flow.vae"), str(folder / "a.csv"), "-o", str(out / name)]
        return lambda: command([*line, "-q"]) == 0

    loops = [
        FaultLoop(out / "m.vae", lambda: bool(save(detector, out / "m.vae"))),
        FaultLoop(out / "s.csv", scores("s.csv")),
        FaultLoop(out / "s.parquet", scores("s.parquet")),
    ]
    with Path(os.devnull).open("w", encoding="utf-8") as null:
        stderr, sys.stderr = sys.stderr, null
        try:
            for loop in loops:
                for error in ERRORS:
                    loop.run(error)
        finally:
            sys.stderr = stderr
    points = sum(loop.points for loop in loops)
    return f"{points:,} faults ({len(ERRORS)} errors), 0 files damaged, 0 temporary files left"


def make_models(folder: Path) -> None:
    """Write a model and two tables for it to score."""
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
    """Kill writers, and run several writers and readers at once."""
    make_models(folder)
    counts = json.loads(run(HERE / "kills.py", folder, "--kills", count))
    left = sum(counts["left behind"].values())
    return (
        f"{counts['kills']:,} writers killed, 0 files damaged; {left:,} left a temporary file, "
        f"which the next run removed"
    )


def numbers(examples: int) -> str:
    """Test random detectors and inputs."""
    test = HERE / "test_numbers.py"
    run("-m", "pytest", "-q", test, VAE_ANOMALY_EXAMPLES=str(examples))
    return f"{2 * examples + max(5, examples // 10):,} detectors and inputs, 0 counter-examples"


def cases() -> str:
    """Count the hostile cases of `make test`."""
    from hostile.model_files import HOSTILE
    from hostile.test_image_folders import BAD
    from hostile.test_outputs import ENVIRONMENTS
    from hostile.test_outputs import REFUSED as OUTPUTS
    from hostile.test_tables import ACCEPTED, REFUSED

    data = len(REFUSED) + len(ACCEPTED) + len(BAD) + len(OUTPUTS) + len(ENVIRONMENTS)
    return f"{len(HOSTILE)} hostile model files, {data} tables, images, outputs, environments"


def processor_seconds() -> float:
    """Return the processor time of this process and its children that have ended."""
    return sum(os.times()[:4])


def main() -> None:
    """Run all parts or some."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", type=Path, help="page in which to replace the counts")
    parser.add_argument("--small", action="store_true", help="a hundredth, for a trial")
    parser.add_argument("--only", metavar="WORD", default="", help="parts with this in their name")
    given = parser.parse_args()
    if given.only and given.write:
        parser.error("--write needs all parts")
    share = 100 if given.small else 1
    lines = []
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        fuzz = (HERE / "fuzz_model_files.py", "--runs", 1_000_000 // share)
        encoders = (HERE / "fuzz_model_files.py", "--encoders", "--runs", 100_000 // share)
        for name, count in {
            "cases in `make test`": cases,
            "model files, damaged": lambda: flips_and_cuts(folder, 16 if given.small else 1),
            "model files, fuzzed": lambda: run(*fuzz).partition(": ")[2],
            "encoder states, fuzzed": lambda: run(*encoders).partition(": ")[2],
            "failing calls": lambda: faults(folder),
            "kills": lambda: kills(folder, 1500 // share),
            "numbers": lambda: numbers(5000 // share),
        }.items():
            if given.only not in name:
                continue
            start = processor_seconds()
            lines.append(f"| {name} | {count()} |")
            print(lines[-1].strip("| ").replace(" | ", ": "), flush=True)  # noqa: T201
            print(f"{processor_seconds() - start:.0f} s", file=sys.stderr, flush=True)  # noqa: T201
    if given.write:
        today = dt.datetime.now(tz=dt.UTC).date()
        size = ", a hundredth of the tests (`--small`)" if given.small else ""
        table = "\n".join([f"Run on {today}{size}.\n", "| test | result |", "|---|---|", *lines])
        page = given.write.read_text(encoding="utf-8")
        pattern = re.escape(BEGIN) + ".*?" + re.escape(END)
        updated = re.sub(pattern, lambda _: f"{BEGIN}{table}\n{END}", page, flags=re.DOTALL)
        given.write.write_text(updated, encoding="utf-8")


if __name__ == "__main__":
    main()
