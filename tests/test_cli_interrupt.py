"""Ctrl-C while a model is trained, in a process of its own as for a user."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from processes import start_command

from vae_anomaly import load
from vae_anomaly.pipeline.interrupt import (
    Terminated,
    check_signals,
    raising_signals,
    stop_on_interrupt,
)

ROOT = Path(__file__).parent.parent
# A learning rate at which nothing improves fast, and so nothing stops early.
SLOW = ("--max-steps", "1000000", "--learning-rate", "1e-6", "--latent-dim", "2")
TABLE, IMAGES = "normal.csv", "images.npy"
BEGINS = {TABLE: "fitting on", IMAGES: "fitting on"}


def read_until(process, start):
    """Read what is said up to the line that starts so."""
    for line in process.stream:
        if line.startswith(start):
            return
    raise AssertionError(f"the command ended without {start!r}")


@pytest.fixture
def place(tmp_path):
    """A folder with a table and an array of images, and nothing else."""
    (tmp_path / TABLE).write_bytes((ROOT / "data" / TABLE).read_bytes())
    pixels = np.random.RandomState(0).randint(256, size=(120, 8, 8), dtype=np.uint8)
    np.save(tmp_path / IMAGES, pixels)
    return tmp_path


@pytest.fixture
def fit(place):
    """Start to fit; returns when training has begun."""
    started = []

    def fit(data, *options):
        words = ("fit", data, "-o", "out.vae", *SLOW, "--false-alarm-rate", "0.1", *options)
        process = start_command(place, *words)
        started.append(process)
        read_until(process, BEGINS[data])
        time.sleep(1)
        return process

    yield fit
    for process in started:
        process.end()


def files(place):
    return sorted(path.name for path in place.iterdir())


@pytest.mark.parametrize("data", [TABLE, IMAGES])
def test_the_best_weights_so_far_are_kept_if_asked(place, fit, data):
    process = fit(data, "--keep-partial")
    process.send_signal(signal.SIGINT)
    err = process.rest()
    assert process.returncode == 130
    assert "Traceback" not in err
    detector = load(place / "out.vae")
    steps = detector.history_.step[-1]
    assert 0 < steps < 1_000_000
    lines = err.splitlines()
    assert lines[0] == (
        "ending after this validation interval; Ctrl-C again stops at once and leaves nothing"
    )
    words = f"interrupted after {steps:,} of 1,000,000 steps: kept the best weights so far"
    assert words in lines
    assert lines[-1] == "model: out.vae"
    assert len(detector.calibration_scores_) > 0  # a threshold was chosen as ever
    assert any(line.startswith("threshold: ") for line in lines)
    assert files(place) == sorted([TABLE, IMAGES, "out.vae"])


@pytest.mark.parametrize("data", [TABLE, IMAGES])
def test_nothing_is_kept_if_not_asked(place, fit, data):
    process = fit(data)
    process.send_signal(signal.SIGINT)
    err = process.rest()
    assert (process.returncode, err.splitlines()[-1]) == (130, "interrupted")
    assert "Traceback" not in err
    assert files(place) == sorted([TABLE, IMAGES])


def test_a_second_interrupt_stops_at_once_and_leaves_nothing(place, fit):
    # Steps that take long: the second signal comes before the round ends.
    process = fit(IMAGES, "--keep-partial", "--architecture", "conv", "--members", "8")
    process.send_signal(signal.SIGINT)
    read_until(process, "ending after this validation")
    process.send_signal(signal.SIGINT)
    err = process.rest()
    assert (process.returncode, err) == (130, "interrupted\n")
    assert files(place) == sorted([TABLE, IMAGES])


def test_the_first_is_noted_and_the_second_heard():
    heard = []
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        with stop_on_interrupt() as told:
            assert not told()
            signal.raise_signal(signal.SIGINT)
            assert told()
            assert heard == []
            signal.raise_signal(signal.SIGINT)
            assert heard == [signal.SIGINT]
        signal.raise_signal(signal.SIGINT)
        assert len(heard) == 2
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_get_no_signals():
    told = []

    def work():
        with stop_on_interrupt() as interrupted:
            told.append(interrupted())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert told == [False]


def test_before_training_there_is_nothing_to_keep(place):
    command = [sys.executable, "-m", "vae_anomaly", "fit", "-", "-o", "out.vae", "--keep-partial"]
    process = subprocess.Popen(
        command,
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    # More than a pipe holds: once it is written, the command is reading, and waits for the rest.
    process.stdin.write(b"a,b\n" + b"1,2\n" * 50_000)
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"interrupted\n")
    assert files(place) == sorted([TABLE, IMAGES])


ERRORS = [
    ImportError("numpy could not be imported"),
    SystemError("initialization of _pywrap raised unreported exception"),
    AttributeError("partially initialized module has no attribute"),
    RuntimeError("a callback failed"),
]
"""What an import raises in the place of the exception that a signal raised in it."""


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)]
)
@pytest.mark.parametrize("raised", ERRORS, ids=lambda one: type(one).__name__)
def test_errors_that_a_signal_causes_are_that_signal(number, error, raised):
    handlers = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]

    def fail() -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        except BaseException:
            raise raised from None

    with pytest.raises(error), raising_signals():
        fail()
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)] == handlers
    check_signals()  # later work goes on


@pytest.mark.parametrize("raised", ERRORS, ids=lambda one: type(one).__name__)
def test_errors_without_a_signal_stay_what_they_are(raised):
    with pytest.raises(type(raised), match=str(raised)), raising_signals():
        raise raised
