"""Thresholds against their definitions, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from vae_anomaly.thresholds import (
    TooFewCalibrationRowsWarning,
    choose_calibration_rows,
    contamination_threshold,
    false_alarm_threshold,
)


def test_contamination_is_scikit_learns_percentile() -> None:
    scores = np.random.RandomState(0).normal(size=1000)
    threshold = contamination_threshold(scores, 0.07)
    assert (scores > threshold).sum() == 70
    assert -threshold == np.percentile(-scores, 7)


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1, 0.25])
def test_false_alarm_threshold_is_the_conformal_order_statistic(rate: float) -> None:
    scores = np.random.RandomState(0).permutation(np.arange(1.0, 400.0))  # n + 1 = 400
    assert false_alarm_threshold(scores, rate) == round(400 * (1 - rate))


@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_false_alarm_rate_holds_on_fresh_rows_averaged_over_calibrations(rate: float) -> None:
    rng = np.random.RandomState(0)
    n, repeats = 150, 4000
    thresholds = [false_alarm_threshold(rng.normal(size=n), rate) for _ in range(repeats)]
    observed = stats.norm.sf(thresholds)
    # The share above the k-th of n order statistics is Beta(n + 1 - k, k).
    k = np.ceil((n + 1) * (1 - rate))
    expected = stats.beta(n + 1 - k, k)
    assert expected.mean() <= rate
    assert observed.mean() == pytest.approx(expected.mean(), abs=4 * expected.std() / repeats**0.5)


def test_too_few_calibration_rows_are_said() -> None:
    message = (
        "false_alarm_rate=0.01 needs at least 99 calibration rows, there are 49: rows as "
        "strange as the strangest of them are flagged, a rate of about 0.02. Fit on more rows or "
        "ask for a higher rate."
    )
    with pytest.warns(TooFewCalibrationRowsWarning) as caught:
        threshold = false_alarm_threshold(np.arange(49.0), 0.01)
    assert 47.999 < threshold < 48.0
    assert str(caught[0].message) == message


@pytest.mark.parametrize(("n", "expected"), [(2, 1), (50, 10), (1000, 200), (10**6, 10**4)])
def test_a_fifth_of_the_rows_calibrates(n: int, expected: int) -> None:
    assert choose_calibration_rows(n, np.random.RandomState(0)).sum() == expected
