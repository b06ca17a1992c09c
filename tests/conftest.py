"""Shared fixtures: example data and fitted detectors."""

from __future__ import annotations

import os

# Set before TensorFlow is imported: its start-up messages are not warnings of this package.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Set before scipy is imported: without it scikit-learn skips one of its checks.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import numpy as np
import pandas as pd
import pytest

from vae_anomaly import VAEDetector

QUICK = {"max_steps": 150, "n_members": 2, "random_state": 0}
"""Parameters of a fit that takes about a second."""


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


@pytest.fixture(scope="session")
def rows() -> pd.DataFrame:
    return make_rows(300)


@pytest.fixture(scope="session")
def fitted(rows: pd.DataFrame) -> VAEDetector:
    """A fitted detector shared by all tests; do not change it."""
    return VAEDetector(**QUICK, false_alarm_rate=0.05).fit(rows)


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
