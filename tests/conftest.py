"""Shared fixtures: example data and fitted detectors."""

from __future__ import annotations

import gc
import io
import os
import shlex
import sys
from collections.abc import Callable

# Set before TensorFlow is imported: its start-up messages are not warnings of this package.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Threads that wait for others sleep, and a worker beside others trains on one: small products
# otherwise take three times the processor time.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
# Set before scipy is imported: without it scikit-learn skips one of its checks.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import numpy as np
import pandas as pd
import pytest

from vae_anomaly import VAEDetector
from vae_anomaly.cli import run

Vae = Callable[..., tuple[int, str, str]]
"""Runs a command in this process: its exit code, standard output and standard error."""

QUICK = {"max_steps": 150, "n_members": 2, "random_state": 0}
"""Parameters of a fit that takes about a second."""

COLUMNS = ["t", "square", "count"]
"""Columns of `make_rows` that vary."""


def make_rows(n: int, seed: int = 0) -> pd.DataFrame:
    """Return points on a noisy parabola, with a constant column and a column of counts."""
    rng = np.random.RandomState(seed)
    t = rng.uniform(-2, 2, size=n)
    return pd.DataFrame(
        {
            "t": t + 0.1 * rng.normal(size=n),
            "square": t**2 + 0.1 * rng.normal(size=n),
            "constant": 7.0,
            "count": rng.poisson(3, size=n),
        }
    )


def read_cells(text: str) -> pd.DataFrame:
    """Return a table of CSV with all cells as text."""
    return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)


@pytest.fixture(scope="session")
def rows() -> pd.DataFrame:
    return make_rows(300)


@pytest.fixture(scope="session")
def fitted(rows: pd.DataFrame) -> VAEDetector:
    """A fitted detector shared by all tests; do not change it."""
    return VAEDetector(**QUICK, false_alarm_rate=0.05).fit(rows)


@pytest.fixture(scope="session")
def brief() -> VAEDetector:
    """A detector of the columns that vary, with one member; do not change it."""
    options = QUICK | {"max_steps": 60, "n_members": 1, "false_alarm_rate": 0.05}
    return VAEDetector(**options).fit(make_rows(400)[COLUMNS])


@pytest.fixture
def vae(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Vae:
    """Run a command: words, or a single line that is divided as a shell does."""

    def run_command(*given: object, stdin: bytes = b"") -> tuple[int, str, str]:
        words = shlex.split(str(given[0])) if len(given) == 1 else [str(one) for one in given]
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        code = run(words)
        captured = capsys.readouterr()
        assert "--debug" in words or "Traceback" not in captured.err
        return code, captured.out, captured.err

    return run_command


@pytest.fixture
def vae_lines(vae: Vae) -> Callable[..., tuple[int, str, list[str]]]:
    """Run a command as `vae` does: its exit code, standard output, and lines for people."""

    def run_command(*given: object, stdin: bytes = b"") -> tuple[int, str, list[str]]:
        code, out, err = vae(*given, stdin=stdin)
        return code, out, err.splitlines()

    return run_command


def pytest_collection_finish() -> None:
    """Spare what is imported from garbage collections, which take a fifth of the time with it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the number of scikit-learn's estimator checks by outcome."""
    counts = {
        outcome: sum("::test_scikit_learn_checks[" in report.nodeid for report in reports)
        for outcome in ("passed", "failed", "skipped", "xfailed")
        for reports in [terminalreporter.stats.get(outcome, [])]
    }
    if any(counts.values()):
        summary = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
        terminalreporter.write_line(f"scikit-learn estimator checks: {summary}")
