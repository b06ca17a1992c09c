"""Thresholds and p-values against their definitions, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from vae_anomaly.stats.thresholds import (
    TooFewCalibrationRowsWarning,
    calibration_size,
    choose_calibration_rows,
    conformal_p_values,
    contamination_threshold,
    false_alarm_interval,
    false_alarm_tail,
    false_alarm_threshold,
    false_discovery_threshold,
    ranks_among,
)

RATES = st.sampled_from([0.001, 0.01, 0.05, 0.07, 0.1, 0.25, 0.3, 1 / 3, 0.5, 0.9])
SCORES = st.lists(st.integers(0, 12), min_size=1, max_size=40)


def discoveries(calibration: np.ndarray, scores: np.ndarray, fdr: float) -> float:
    ranks = np.bincount(ranks_among(calibration, scores), minlength=len(calibration) + 1)
    return false_discovery_threshold(calibration, ranks, fdr)


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
def test_false_alarm_rate_of_new_rows_averaged_over_calibration_sets(rate: float) -> None:
    rng = np.random.RandomState(0)
    n, repeats = 150, 4000
    thresholds = [false_alarm_threshold(rng.normal(size=n), rate) for _ in range(repeats)]
    observed = stats.norm.sf(thresholds)
    # The share above the k-th of n order statistics is Beta(n + 1 - k, k).
    k = np.ceil((n + 1) * (1 - rate))
    expected = stats.beta(n + 1 - k, k)
    assert expected.mean() <= rate
    assert observed.mean() == pytest.approx(expected.mean(), abs=4 * expected.std() / repeats**0.5)
    low, high = false_alarm_interval(n, rate)
    inside = ((low < observed) & (observed < high)).mean()
    assert inside == pytest.approx(0.95, abs=4 * (0.95 * 0.05 / repeats) ** 0.5)


def test_the_interval_with_too_few_rows_is_that_of_the_largest_score() -> None:
    low, high = false_alarm_interval(49, 0.01)
    assert (low, high) == pytest.approx(stats.beta(1, 49).interval(0.95))


@pytest.mark.parametrize(("n", "rate", "exceeding"), [(36, 0.01, 1), (199, 0.05, 10)])
def test_the_tail_of_false_alarms_is_the_binomial_one_over_the_drawn_rates(
    n: int, rate: float, exceeding: int
) -> None:
    drawn = stats.beta(exceeding, n + 1 - exceeding)
    for n_flagged, n_normal in ((0, 40), (5, 40), (40, 40), (90, 1000)):

        def joint(p: float, n_flagged: int = n_flagged, n_normal: int = n_normal) -> float:
            return float(stats.binom.sf(n_flagged - 1, n_normal, p) * drawn.pdf(p))

        expected, _ = integrate.quad(joint, 0, 1, points=[0.05, 0.1, 0.2], limit=200)
        found = false_alarm_tail(n, rate, n_flagged, n_normal)
        assert found == pytest.approx(expected, abs=1e-7)


def test_too_few_calibration_rows_warn() -> None:
    message = (
        "false_alarm_rate=0.01 needs at least 99 calibration rows, there are 49: the threshold "
        "falls back to the largest calibration score, a rate of about 0.02. Fit on more rows or "
        "use a higher rate."
    )
    with pytest.warns(TooFewCalibrationRowsWarning) as caught:
        threshold = false_alarm_threshold(np.arange(49.0), 0.01)
    assert 47.999 < threshold < 48.0
    assert str(caught[0].message) == message


@pytest.mark.parametrize(
    ("n", "rate", "expected"),
    [
        (2, 0.01, 1),  # at least one
        (150, 0.01, 45),  # at most three tenths
        (330, 0.01, 99),  # as many as the rate requires
        (64, 0.05, 19),
        (1000, 0.01, 199),  # about a fifth
        (1000, 0.07, 199),
        (10**6, 0.01, 9999),
    ],
)
def test_number_of_calibration_rows(n: int, rate: float, expected: int) -> None:
    assert calibration_size(n, rate) == expected
    chosen = choose_calibration_rows(n, rate, np.random.RandomState(0))
    assert (len(chosen), chosen.sum()) == (n, expected)


@given(st.integers(2, 100_000), RATES)
def test_the_actual_rate_is_the_requested_one(n: int, rate: float) -> None:
    size = calibration_size(n, rate)
    assert 1 <= size <= max(1, 0.3 * n)
    if size >= round(1 / rate - 1, 9):
        actual = np.floor(round((size + 1) * rate, 9)) / (size + 1)
        assert rate * (1 - rate) < actual <= rate + 1e-9
    else:  # the maximum share
        assert size == max(1, int(0.3 * n))


# -------------------------------------------------------------------------------- p-values


@given(SCORES, SCORES)
def test_p_values_match_their_definition(calibration: list[int], rows: list[int]) -> None:
    known, scores = np.sort(calibration).astype(float), np.array(rows, dtype=float)
    expected = [(1 + sum(s >= row for s in known)) / (len(known) + 1) for row in scores]
    p = conformal_p_values(known, scores)
    np.testing.assert_allclose(p, expected, rtol=1e-12)
    smoothed = conformal_p_values(known, scores, np.random.RandomState(0))
    ties = [sum(s == row for s in known) for row in scores]
    assert (smoothed <= p).all()
    assert (smoothed >= p - (1 + np.array(ties)) / (len(known) + 1)).all()


def test_p_values_of_normal_rows_are_valid_and_smoothed_ones_uniform() -> None:
    rng = np.random.RandomState(0)
    plain, smoothed = [], []
    for _ in range(4000):  # few calibration rows, with many ties
        calibration, row = np.sort(rng.poisson(3, size=9) * 1.0), rng.poisson(3, size=1) * 1.0
        plain.append(conformal_p_values(calibration, row)[0])
        smoothed.append(conformal_p_values(calibration, row, rng)[0])
    for t in (0.1, 0.2, 0.5, 0.9):
        assert np.mean(np.array(plain) <= t + 1e-9) <= t + 4 * (t * (1 - t) / 4000) ** 0.5
    assert stats.kstest(smoothed, "uniform").pvalue > 1e-3


@given(SCORES, SCORES, RATES)
@pytest.mark.filterwarnings("ignore::vae_anomaly.stats.thresholds.TooFewCalibrationRowsWarning")
def test_rows_above_the_threshold_are_those_with_small_p_values(
    calibration: list[int], rows: list[int], rate: float
) -> None:
    known, scores = np.sort(calibration).astype(float), np.array(rows, dtype=float)
    if len(known) < round(1 / rate - 1, 9):
        return
    flagged = scores > false_alarm_threshold(known, rate)
    np.testing.assert_array_equal(flagged, conformal_p_values(known, scores) <= rate + 1e-9)


# ------------------------------------------------------------------------ false discoveries


@given(SCORES, SCORES, RATES)
@pytest.mark.filterwarnings("ignore::vae_anomaly.stats.thresholds.TooFewCalibrationRowsWarning")
def test_false_discovery_threshold_is_that_of_benjamini_and_hochberg(
    calibration: list[int], rows: list[int], fdr: float
) -> None:
    known, scores = np.sort(calibration).astype(float), np.array(rows, dtype=float)
    adjusted = stats.false_discovery_control(conformal_p_values(known, scores))
    flagged = scores > discoveries(known, scores, fdr)
    np.testing.assert_array_equal(flagged, adjusted <= fdr + 1e-9)


@pytest.mark.filterwarnings("ignore::vae_anomaly.stats.thresholds.TooFewCalibrationRowsWarning")
def test_false_discovery_rate_holds_with_a_common_calibration_set() -> None:
    rng = np.random.RandomState(0)
    fdr, normal, anomalous, repeats = 0.2, 80, 20, 2000
    shares, found = [], []
    for _ in range(repeats):
        calibration = np.sort(rng.normal(size=199))
        scores = np.concatenate([rng.normal(size=normal), rng.normal(3, 1, size=anomalous)])
        flagged = scores > discoveries(calibration, scores, fdr)
        shares.append(flagged[:normal].sum() / max(flagged.sum(), 1))
        found.append(flagged[normal:].mean())
    error = np.std(shares) / repeats**0.5
    assert np.mean(shares) <= fdr * normal / (normal + anomalous) + 4 * error
    assert np.mean(shares) > 0.1  # the bound is not loose
    assert np.mean(found) > 0.5


def test_too_few_calibration_rows_for_false_discovery_control_warn() -> None:
    calibration = np.arange(99.0)
    scores = np.concatenate([np.full(3, 1000.0), np.zeros(997)])
    message = (
        "fdr=0.1 flags none of 1,000 rows, although 3 score above all 99 calibration rows: that "
        "needs at least 3,333 calibration rows. Calibrate on more rows or use a higher fdr."
    )
    with pytest.warns(TooFewCalibrationRowsWarning) as caught:
        assert discoveries(calibration, scores, 0.1) == np.inf
    assert str(caught[0].message) == message
    assert discoveries(np.arange(3333.0), np.where(scores == 0, 0, 1e6), 0.1) == 3332.0
    assert discoveries(calibration, np.zeros(100), 0.1) == np.inf  # no anomalies: no warning
    assert discoveries(calibration, np.full(10, 500.0), 0.999) == 98.0
