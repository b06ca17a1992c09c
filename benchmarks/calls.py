"""Count the calls that cross from one file of the package into another.

    python benchmarks/calls.py           # five jobs, a line each
    python benchmarks/calls.py --list    # and each crossing call below its job

The package is the one that Python imports; its path is printed first.

What is counted: call events of `sys.setprofile`, in all threads, whose code lies in a file
of the package, where the nearest frame of the package among the callers lies in another
file. Frames of other packages, of the standard library and of this script are passed over:
where no caller lies in the package, as of the first call and of work that a thread begins
with, the call counts as one from outside. A generator or context manager counts each time
that it is entered or resumed from another file; methods, properties and classes' `__init__`
count as any function. Lambdas, comprehensions and generator expressions never count, but
what they call counts as a call from their file.

The files are those that make or take a crossing call. A call is upward if the callee's room
stands higher than the caller's in ROOMS of tests/test_architecture.py, in the checkout that
this script lies in; calls from outside, and from or to files of no room, are not.

Each job runs once to warm up, which imports and compiles, and is counted the second time.
Numbers of a fit vary by two or three: TensorFlow takes batches ahead in its own threads.
"""

from __future__ import annotations

import argparse
import ast
import gc
import os
import sys
import tempfile
import threading
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import numpy as np
import pandas as pd

import vae_anomaly
from vae_anomaly import VAEDetector, save
from vae_anomaly.cli import run

PACKAGE = Path(vae_anomaly.__file__).parent
WITHIN = f"{PACKAGE}{os.sep}"
ARCHITECTURE = Path(__file__).resolve().parents[1] / "tests" / "test_architecture.py"
OUTSIDE = "outside"

Job = Callable[[], object]


class Call(NamedTuple):
    """A call from one file of the package into another; files as paths below the package."""

    caller: str
    callee: str
    function: str


def file_of(frame: FrameType) -> str | None:
    """Return the file of a frame, below the package, or None if it lies elsewhere."""
    name = frame.f_code.co_filename
    return name.removeprefix(WITHIN) if name.startswith(WITHIN) else None


def calling_file(frame: FrameType) -> str:
    """Return the file of the nearest caller that lies in the package."""
    caller = frame.f_back
    while caller is not None:
        if (file := file_of(caller)) is not None:
            return file
        caller = caller.f_back
    return OUTSIDE


def crossing_calls(job: Job) -> list[Call]:
    """Return the crossing calls of the second run of a job, in order."""
    found: list[Call] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or frame.f_code.co_name.startswith("<"):
            return
        callee = file_of(frame)
        if callee is not None and (caller := calling_file(frame)) != callee:
            found.append(Call(caller, callee, frame.f_code.co_qualname))

    job()
    gc.collect()  # what earlier jobs left is not to end within this one
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        job()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return found


def heights() -> dict[str, int]:
    """Return how high each room stands: its place in ROOMS."""
    module = ast.parse(ARCHITECTURE.read_text(encoding="utf-8"))
    named = {ast.unparse(one.targets[0]): one for one in module.body if isinstance(one, ast.Assign)}
    rooms = ast.literal_eval(named["ROOMS"].value)
    return {room: height for height, names in enumerate(rooms) for room in names}


def is_upward(call: Call, height: dict[str, int]) -> bool:
    """Return whether the callee's room stands higher than the caller's."""
    caller, callee = (Path(file).parts[0].removesuffix(".py") for file in call[:2])
    return caller in height and callee in height and height[callee] > height[caller]


def jobs(folder: Path) -> dict[str, Job]:
    """Return the jobs by name; their files lie in a folder."""
    rng = np.random.RandomState(0)
    rows = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4)) + rng.normal(size=(300, 4))
    table = pd.DataFrame(rows, columns=list("abcd"))
    few = table[:12]

    def fit() -> VAEDetector:
        return VAEDetector(contamination=0.1, max_steps=100, random_state=0).fit(table)

    detector = fit()
    model, data, output = (str(folder / name) for name in ("m.vae", "rows.csv", "scores.csv"))
    save(detector, model)
    few.to_csv(data, index=False)

    def score(*options: str) -> None:
        if run(["score", model, data, "--output", output, "--quiet", *options]):
            raise SystemExit("The command failed.")

    return {
        "score_samples": lambda: detector.score_samples(few),
        "explain": lambda: detector.explain(few),
        "command score": score,
        "command score --explain 2": lambda: score("--explain", "2"),
        "fit 300 x 4": fit,
    }


def main() -> None:
    """Write for each job its crossing calls, files and upward calls."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="list each crossing call")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    height = heights()
    print(f"{PACKAGE}\n{'':28s}{'crossing':>9s}{'files':>7s}{'upward':>8s}")
    with tempfile.TemporaryDirectory() as folder:
        for name, job in jobs(Path(folder)).items():
            calls = crossing_calls(job)
            files = {file for call in calls for file in call[:2]} - {OUTSIDE}
            upward = sum(is_upward(call, height) for call in calls)
            print(f"{name:28s}{len(calls):9d}{len(files):7d}{upward:8d}", flush=True)
            for call, count in Counter(calls).items() if options.list else ():
                mark = " (upward)" if is_upward(call, height) else ""
                print(f"    {call.caller} -> {call.callee}: {call.function}, {count}{mark}")


if __name__ == "__main__":
    main()
