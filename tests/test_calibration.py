"""p-values and batch flags of a fitted detector."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import make_rows
from scipy import stats

from vae_anomaly import ParameterError, TooFewCalibrationRowsWarning, VAEDetector, recalibrate


@pytest.fixture(scope="module")
def calibrated(fitted: VAEDetector) -> VAEDetector:
    """A detector with many calibration rows; do not change it."""
    return recalibrate(fitted, make_rows(999, seed=11), false_alarm_rate=0.05)


@pytest.fixture(scope="module")
def mixed() -> pd.DataFrame:
    """Return 450 normal rows, then 50 distant anomalies."""
    anomalies = make_rows(50, seed=13).assign(square=-9.0)
    return pd.concat([make_rows(450, seed=12), anomalies], ignore_index=True)


def test_p_values_agree_with_predict(calibrated: VAEDetector, mixed: pd.DataFrame) -> None:
    p, known = calibrated.p_values(mixed), calibrated.calibration_scores_
    scores = -calibrated.score_samples(mixed)
    np.testing.assert_allclose(p, [(1 + (known >= s).sum()) / 1000 for s in scores])
    np.testing.assert_array_equal(p <= 0.05, calibrated.predict(mixed) == -1)
    assert (p[450:] == 0.001).all()


def test_smoothed_p_values_are_uniform_and_reproducible(calibrated: VAEDetector) -> None:
    rows = make_rows(999, seed=11)  # the calibration rows themselves: all tie
    smoothed = calibrated.p_values(rows, smoothed=True, random_state=0)
    assert stats.kstest(smoothed, "uniform").pvalue > 1e-3
    np.testing.assert_array_equal(
        smoothed, calibrated.p_values(rows, smoothed=True, random_state=0)
    )
    assert len(np.unique(smoothed)) == 999


@pytest.mark.parametrize("fdr", [0.02, 0.05, 0.2])
def test_flag_batch_is_the_procedure_of_benjamini_and_hochberg(
    calibrated: VAEDetector, mixed: pd.DataFrame, fdr: float
) -> None:
    flags = calibrated.flag_batch(mixed, fdr=fdr)
    adjusted = stats.false_discovery_control(calibrated.p_values(mixed))
    np.testing.assert_array_equal(flags, np.where(adjusted <= fdr, -1, 1))
    assert (flags[450:] == -1).all()


def test_flag_batch_flags_fewer_normal_rows_than_predict(
    calibrated: VAEDetector,
) -> None:
    rows = make_rows(2000, seed=14)
    assert 60 < (calibrated.predict(rows) == -1).sum() < 140
    with pytest.warns(TooFewCalibrationRowsWarning, match="fdr=0.1 flags none of 2,000 rows"):
        assert (calibrated.flag_batch(rows, fdr=0.1) == 1).all()


@pytest.mark.parametrize("fdr", [0, 1.0, "0.1", None])
def test_fdr_must_be_between_0_and_1(calibrated: VAEDetector, fdr: object) -> None:
    with pytest.raises(ParameterError, match=r"fdr must be a number in \(0, 1\). Got"):
        calibrated.flag_batch(make_rows(3), fdr=fdr)


@pytest.mark.parametrize("how", [{"contamination": 0.1}, {"threshold": 3.0}])
def test_p_values_require_calibration_rows(how: dict[str, float]) -> None:
    detector = VAEDetector(max_steps=10, n_members=1, random_state=0, **how).fit(make_rows(30))
    for call in (detector.p_values, detector.flag_batch):
        with pytest.raises(ParameterError) as caught:
            call(make_rows(5))
        assert str(caught.value) == (
            f"{call.__name__} needs calibration rows, and with contamination or threshold none are "
            f"kept from training. Fit with a false_alarm_rate alone, or recalibrate on other "
            f"normal rows."
        )
    with pytest.raises(Exception, match="not fitted"):
        VAEDetector().p_values(make_rows(5))


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"contamination": 0.1, "false_alarm_rate": 0.05}, "contamination and false_alarm_rate"),
        ({"threshold": 3.0, "false_alarm_rate": 0.05}, "threshold and false_alarm_rate"),
        ({"contamination": 0.1, "threshold": 3.0}, "contamination and threshold"),
    ],
)
def test_two_parameters_that_choose_the_threshold_are_refused(given, names) -> None:
    message = f"^{names} both choose the threshold. Leave one of them at its default.$"
    with pytest.raises(ParameterError, match=message):
        VAEDetector(**given).fit(make_rows(50))


@pytest.mark.parametrize("given", [{}, {"threshold": 3.0, "false_alarm_rate": 0.1}])
def test_recalibrate_takes_rows_or_a_threshold(fitted: VAEDetector, given) -> None:
    with pytest.raises(ParameterError, match=r"^recalibrate takes X, and with it a false_alarm"):
        recalibrate(fitted, **given)
    with pytest.raises(ParameterError, match=r"^recalibrate takes X, and with it a false_alarm"):
        recalibrate(fitted, make_rows(50), threshold=3.0)
    with pytest.raises(ParameterError, match="threshold"):
        recalibrate(fitted, threshold=float("nan"))
