"""Drift and recalibration: batches that differ from normal rows, and batches that do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import make_rows
from scipy import stats

from vae_anomaly import DataError, DriftWatch, ParameterError, VAEDetector, load, recalibrate, save
from vae_anomaly.stats.thresholds import TooFewCalibrationRowsWarning


def with_scores(detector: VAEDetector, scores: np.ndarray) -> VAEDetector:
    """Return the detector with other calibration scores."""
    model = detector.model_
    calibration = replace(model.calibration, scores=np.sort(scores))
    return VAEDetector.from_model(replace(model, calibration=calibration))


@pytest.mark.parametrize("decimals", [8, 0])
@pytest.mark.parametrize("n", [1, 7, 400])
def test_the_test_is_kolmogorov_and_smirnovs(fitted: VAEDetector, decimals: int, n: int) -> None:
    rng = np.random.RandomState(n)
    # Rounded, nearly all scores tie with each other and with those of the batch.
    watched = with_scores(fitted, rng.normal(size=150).round(decimals))
    scores = (rng.normal(size=n) + 0.2).round(decimals)
    rows = make_rows(n).to_numpy()
    watch = DriftWatch(watched)
    for part in np.array_split(np.arange(n), 3):
        watch.add(rows[part], scores[part])
    found = watch.result()
    expected = stats.ks_2samp(watched.calibration_scores_, scores)
    assert found.statistic == pytest.approx(expected.statistic, abs=1e-12)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.n_rows == n


def test_many_rows_are_tested_by_the_limit(
    fitted: VAEDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = np.random.RandomState(0).choice(fitted.calibration_scores_, 3000) + 0.1
    rows = make_rows(3000).to_numpy()
    exact = DriftWatch(fitted).add(rows, scores).result()
    monkeypatch.setattr("vae_anomaly.model.drift.EXACT_PAIRS", 10)
    limit = DriftWatch(fitted).add(rows, scores).result()
    expected = stats.ks_2samp(fitted.calibration_scores_, scores, method="asymp")
    assert limit.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert limit.p_value == pytest.approx(exact.p_value, rel=0.3)


@pytest.mark.parametrize("rate", [1e-6, 0.001, 0.05, 0.1])
@pytest.mark.parametrize(
    ("n", "calibrating"), [(1, 199), (1, 5000), (2, 2000), (5, 20), (10, 19), (20, 99), (300, 99)]
)
def test_the_approximate_test_misses_no_difference(
    fitted: VAEDetector, n: int, calibrating: int, rate: float
) -> None:
    watched = with_scores(fitted, np.arange(float(calibrating)))
    answers = []
    for beyond in np.linspace(0, 1, 201):  # the share of calibration rows that all exceed
        scores = np.quantile(watched.calibration_scores_, np.linspace(beyond, 1, n)) + 0.5
        watch = DriftWatch(watched, rate).add(make_rows(n).to_numpy(), scores)
        answers.append(watch.may_differ())
        assert answers[-1] or not watch.result().is_drift
    assert answers[-1]
    assert not all(answers)


@pytest.mark.parametrize("tied", [False, True])
def test_drift_is_reported_for_normal_rows_at_the_stated_rate(
    fitted: VAEDetector, tied: bool
) -> None:
    rng, rate, repeats = np.random.RandomState(0), 0.1, 600
    rows, alarms = make_rows(80).to_numpy(), 0
    for _ in range(repeats):
        scores = rng.gamma(2.0, size=140).round(0 if tied else 9)
        watched = with_scores(fitted, scores[:60])
        alarms += DriftWatch(watched, rate).add(rows, scores[60:]).result().is_drift
    assert alarms / repeats <= rate + 4 * (rate * (1 - rate) / repeats) ** 0.5
    assert tied or alarms / repeats > rate / 2


def test_columns_that_differ_are_named(fitted: VAEDetector) -> None:
    rows = make_rows(2000, seed=5)
    still = DriftWatch(fitted).add(rows).result()
    assert not still.is_drift
    assert max(abs(m.shift) for m in still.movements) < 0.2
    shifted = rows.assign(count=rows["count"] + 5, t=3 * rows["t"])
    found = DriftWatch(fitted).add(shifted).result()
    assert found.is_drift
    (first, shift, spread), (second, _, wide) = found.movements[:2]
    scale = fitted.columns_.scale[3]
    assert (first, second) == ("count", "t")
    assert shift == pytest.approx(5 / scale, abs=0.15)
    assert spread == pytest.approx(1.0, abs=0.15)
    assert wide == pytest.approx(3.0, abs=0.2)
    assert found.movements[-1].column in ("square", "constant")


def test_a_batch_may_come_in_parts(fitted: VAEDetector) -> None:
    rows = make_rows(2000, seed=6).assign(t=9.0)
    whole = DriftWatch(fitted).add(rows).result()
    watch = DriftWatch(fitted)
    for start in range(0, 2000, 250):
        watch.add(rows[start : start + 250])
    parts = watch.result()
    assert parts[:4] == whole[:4]
    merged = DriftWatch(fitted)
    for start in range(0, 2000, 250):
        merged.add_watched(DriftWatch(fitted).add(rows[start : start + 250]).watched())
    assert merged.result() == parts
    some = DriftWatch(fitted).add(rows[::7], -fitted.score_samples(rows)).result()
    assert some[:4] == whole[:4]
    assert some.movements[0].column == "t"
    assert parts.movements[0].column == whole.movements[0].column == "t"


def test_images_have_no_columns_to_name() -> None:
    images = np.random.RandomState(0).uniform(size=(60, 4, 4))
    detector = VAEDetector(max_steps=20, n_members=1, false_alarm_rate=0.1, random_state=0)
    found = DriftWatch(detector.fit(images)).add(np.round(images[:20])).result()
    assert found.is_drift
    assert found.movements == ()


def test_drift_needs_calibration_rows_and_a_batch(fitted: VAEDetector) -> None:
    with pytest.raises(DataError, match="a batch of at least one row to compare, got none"):
        DriftWatch(fitted).result()
    with pytest.raises(ParameterError, match=r"rate must be a number in \(0, 1\). Got 1 instead."):
        DriftWatch(fitted, rate=1)
    own = VAEDetector(max_steps=10, n_members=1, threshold=3.0).fit(make_rows(30))
    message = "A drift watch needs calibration rows, and with contamination or threshold none"
    with pytest.raises(ParameterError, match=message):
        DriftWatch(own)


# ----------------------------------------------------------------------------- recalibration


def test_recalibration_changes_the_threshold_and_nothing_else(
    fitted: VAEDetector, tmp_path
) -> None:
    before = fitted.offset_, fitted.calibration_scores_.copy()
    today = make_rows(999, seed=3).assign(count=lambda rows: rows["count"] + 2)
    other = recalibrate(fitted, today, false_alarm_rate=0.1)
    scores = -fitted.score_samples(today)
    np.testing.assert_array_equal(other.calibration_scores_, np.sort(scores))
    assert -other.offset_ == np.sort(scores)[899]  # (999 + 1)(1 - 0.1) = 900
    assert (other.predict(today) == -1).sum() == 99
    np.testing.assert_array_equal(other.score_samples(today), -scores)
    assert fitted.offset_ == before[0]
    np.testing.assert_array_equal(fitted.calibration_scores_, before[1])

    save(other, tmp_path / "other.vae")
    again = load(tmp_path / "other.vae")
    assert again.offset_ == other.offset_
    assert again.false_alarm_rate == 0.1
    np.testing.assert_array_equal(again.p_values(today), other.p_values(today))


def test_recalibration_of_a_detector_without_calibration_rows_gives_it_some() -> None:
    rows = make_rows(60)
    own = VAEDetector(max_steps=10, n_members=1, contamination=0.1, random_state=0).fit(rows)
    other = recalibrate(own, make_rows(199, seed=1))
    assert (other.contamination, other.threshold, other.false_alarm_rate) == (None, None, 0.01)
    assert own.contamination == 0.1
    assert len(other.calibration_scores_) == 199


def test_recalibration_judges_what_it_is_given(fitted: VAEDetector) -> None:
    with pytest.raises(ParameterError, match=r"must be a number in \(0, 1\). Got 2 instead"):
        recalibrate(fitted, make_rows(50), false_alarm_rate=2)
    with pytest.warns(TooFewCalibrationRowsWarning, match="at least 19 calibration rows"):
        recalibrate(fitted, make_rows(10))
    with pytest.raises(Exception, match="not fitted"):
        recalibrate(VAEDetector(), pd.DataFrame({"a": [1.0]}))
