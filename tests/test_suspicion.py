"""Which columns a row differs by: normal scores, suspicion, and what would happen without them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm, rankdata

from vae_anomaly import VAEDetector
from vae_anomaly.model import suspicion
from vae_anomaly.model.calibration import Calibration
from vae_anomaly.model.what_if import Donors, TrainingRecords, repairing_shares
from vae_anomaly.stats.normal_scores import NormalScores

RNG = np.random.RandomState(0)


# ------------------------------------------------------------------------------ normal scores


def test_normal_scores_are_quantiles_at_mean_ranks() -> None:
    columns = np.column_stack([RNG.exponential(size=200), RNG.randint(0, 4, size=200)])
    expected = (columns + norm.ppf((rankdata(columns, axis=0) - 0.5) / 200)) / 2
    maps = NormalScores.fit(columns)
    np.testing.assert_allclose(maps.apply(columns), expected, atol=1e-12)


def test_normal_scores_keep_what_is_far_away_apart() -> None:
    maps = NormalScores.fit(np.arange(10.0)[:, None])
    first, second, third = maps.apply(np.array([[9.0], [19.0], [29.0]]))[:, 0]
    assert second - first == pytest.approx(10.0)
    assert third - second == pytest.approx(10.0)


# ---------------------------------------------------------------------------------- suspicion


@pytest.mark.parametrize("d", [3, 48, 60])
def test_precisions_are_inverses(d: int) -> None:
    differences = RNG.normal(size=(4, 48, d))
    for one, found in zip(differences, suspicion._precision(differences), strict=True):
        moments = one.T @ one
        added = suspicion.SHRINKAGE * np.trace(moments) / d + suspicion.MIN_VARIANCE
        np.testing.assert_allclose(found @ (moments + added * np.eye(d)), np.eye(d), atol=1e-8)


@pytest.mark.parametrize("d", [6, 40])
def test_two_wrong_values_are_the_most_suspect(d: int) -> None:
    common = RNG.normal(size=(300, 1))
    rows = common + 0.1 * RNG.normal(size=(300, d))
    wrong = rows[:20].copy()
    wrong[:, [1, 4]] += [1.5, -1.5]
    near = np.abs(common[:20] - common.T).argsort(axis=1)[:, 1:49]
    found = suspicion.log_suspicion(wrong, rows[near], np.zeros(wrong.shape))
    order = np.sort(np.argsort(-found, axis=1)[:, :2], axis=1)
    assert (order == [1, 4]).all(axis=1).mean() > 0.9


def test_suspicion_does_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, similar = RNG.normal(size=(30, 20)), RNG.normal(size=(30, 48, 20))
    whole = suspicion.log_suspicion(rows, similar, np.zeros(rows.shape))
    monkeypatch.setattr(suspicion, "MAX_CELLS", 1)
    alone = suspicion.log_suspicion(rows, similar, np.zeros(rows.shape))
    np.testing.assert_array_equal(alone, whole)


# ------------------------------------------------------------------------------------ what if


def absolute_sum(records: np.ndarray) -> np.ndarray:
    """Score records by the sum of their absolute values."""
    return np.abs(records).sum(axis=1)


def shares_of(record: list[float], shares: list[float]) -> np.ndarray:
    """Return shares of a record where zeros are normal, and scores above 1.9 are high."""
    records, zeros = np.array([record]), np.zeros((1, len(record)))
    calibration = Calibration(np.linspace(0, 2, 41), 4.0, "false_alarm_rate", 0.05)
    assert calibration.typical == 1.0
    assert calibration.high == pytest.approx(1.9)
    found: np.ndarray = repairing_shares(
        np.array([shares]),
        np.full((1, len(record)), 1 / len(record)),
        records,
        absolute_sum(records),
        Donors(zeros, zeros, records**2),
        absolute_sum,
        calibration,
    )[0]
    assert found.sum() == pytest.approx(1.0)
    return found


def test_shares_stay_where_the_largest_make_a_record_normal() -> None:
    shares = [0.5, 0.3, 0.1, 0.1, 0.0]
    np.testing.assert_array_equal(shares_of([6, 4, 2, 1, 0.5], shares), shares)


def test_features_that_make_a_record_normal_come_first() -> None:
    found = shares_of([6, 4, 2, 0.4, 0.2], [0.1, 0.0, 0.0, 0.5, 0.4])
    assert np.argsort(-found)[:3].tolist() == [0, 1, 2]
    np.testing.assert_allclose(found[:3] / found[2], [3, 2, 1])  # as they lower the score
    assert found[3] == pytest.approx(found[2] / 2)
    assert found[4] == pytest.approx(found[3] * 0.8)


def test_differences_count_where_many_features_are_unusual() -> None:
    found = shares_of([6, 6, 6, 6, 6], [0.4, 0.3, 0.1, 0.1, 0.1])
    np.testing.assert_allclose(found, 0.2)


def test_features_that_are_not_observed_do_not_change() -> None:
    donors = TrainingRecords.of(RNG.normal(size=(50, 3))).donors(
        np.array([[np.nan, 1.0, 2.0]]), np.array([0])
    )
    assert np.isneginf(donors.distance[0]).tolist() == [True, False, False]


def test_the_nearest_record_is_that_of_least_distance_and_not_the_record_itself() -> None:
    records = RNG.normal(size=(60, 4)) * [1, 10, 0.1, 0]
    training = TrainingRecords.of(records)
    found = training.donors(records[:20], np.arange(20))
    scale = records.std(axis=0)[:3]
    apart = (((records[:20, None] - records) / [*scale, 1]) ** 2).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    np.testing.assert_array_equal(found.nearest, records[apart.argmin(axis=1)])
    np.testing.assert_array_equal(found.similar, records[:20])
    np.testing.assert_allclose(np.maximum(found.distance, 0).sum(axis=1), apart.min(axis=1))


def test_contributions_do_not_depend_on_the_threshold_alone() -> None:
    """An FDR sets the threshold by the batch: reasons stay the same."""
    X = RNG.normal(size=(400, 6)).cumsum(axis=1)
    model = VAEDetector(max_steps=100, n_members=1, random_state=0).fit(X).model_
    faulty = X[:60] + 3.0 * RNG.normal(size=(60, 6))
    other = replace(model, calibration=replace(model.calibration, threshold=1e3))
    parts = model.contributions(faulty)
    np.testing.assert_array_equal(other.contributions(faulty), parts)
    # Some records are repaired besides.
    never = replace(model, calibration=Calibration.fixed(np.inf)).contributions(faulty)
    np.testing.assert_allclose(never.sum(axis=1), parts.sum(axis=1), rtol=1e-9)
    assert 0 < (never != parts).any(axis=1).sum() < 60
