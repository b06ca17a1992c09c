"""Which columns a row differs by: normal scores, suspicion, and what would happen without them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm, rankdata

from vae_anomaly import VAEDetector
from vae_anomaly.model import similar, suspicion
from vae_anomaly.model.calibration import Calibration
from vae_anomaly.model.model import Model
from vae_anomaly.model.what_if import Donors, TrainingRecords, repairing_shares
from vae_anomaly.stats.likelihoods import Block, JointLikelihood
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


def test_suspicion_is_that_of_all_single_targets_and_pairs() -> None:
    """Of each target by hand: falls of squared distances in a Gaussian of weighted rows."""
    row, similar, log_weights = RNG.normal(size=3), RNG.normal(size=(7, 3)), RNG.normal(size=3)
    weights = np.arange(1, 8) ** -0.5
    moments = np.cov(similar.T, aweights=weights, ddof=0)
    added = suspicion.SHRINKAGE * np.trace(moments) / 3 + suspicion.MIN_VARIANCE
    precision = np.linalg.inv(moments + added * np.eye(3))
    away = row - np.average(similar, axis=0, weights=weights)

    def squared_distance_without(targets: list[int]) -> float:
        """Return the distance of the other targets from the mean, by their marginal Gaussian."""
        others = np.delete(np.arange(3), targets)
        covariance = np.linalg.inv(precision)[np.ix_(others, others)]
        return float(away[others] @ np.linalg.solve(covariance, away[others]))

    def evidence(*targets: int) -> float:
        fall = away @ precision @ away - squared_distance_without(list(targets))
        return float(0.5 * fall + log_weights[list(targets)].sum())

    single = [evidence(i) for i in range(3)]
    expected = [
        logsumexp([single[i], *(evidence(i, j) - suspicion.PENALTY for j in range(3) if j != i)])
        for i in range(3)
    ]
    found = suspicion.log_suspicion(row[None], similar[None], log_weights[None])[0]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_suspicion_does_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, similar = RNG.normal(size=(30, 20)), RNG.normal(size=(30, 48, 20))
    whole = suspicion.log_suspicion(rows, similar, np.zeros(rows.shape))
    monkeypatch.setattr(suspicion, "MAX_CELLS", 1)
    alone = suspicion.log_suspicion(rows, similar, np.zeros(rows.shape))
    np.testing.assert_array_equal(alone, whole)


# ------------------------------------------------------------------------------- similar rows


@pytest.mark.parametrize("tile", [1, 2**16])
def test_similar_rows_differ_least_without_two_features(
    tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    joint = JointLikelihood((Block("gaussian", 4), Block("categorical", 1, 3)), variance=1.0)
    assert joint.feature_of_target.tolist() == [0, 1, 2, 3, 4, 4, 4]
    kept, rows = RNG.normal(size=(2, 40, 7)).astype(np.float32)
    rows = np.concatenate([rows[:20], kept[:3]]).astype(np.float64)
    observed = RNG.uniform(size=(23, 5)) < 0.8
    observed[20:] = True
    squares = (rows[:, None] - kept) ** 2  # (n, m, n_targets)
    squares = np.stack([*np.moveaxis(squares, 2, 0)[:4], squares[:, :, 4:].sum(axis=2)], axis=2)
    squares[~observed[:, None].repeat(40, axis=1)] = 0.0
    n_left_out = 1  # a third of five features
    expected = np.sort(squares, axis=2)[:, :, : 5 - n_left_out].sum(axis=2)
    expected[[20, 21, 22], [0, 1, 2]] = np.inf  # the rows themselves
    monkeypatch.setattr(similar, "TILE_CELLS", tile)
    scores = NormalScores.fit(kept)
    among = similar.SimilarRows(kept, kept, joint, scores, scores.apply(kept), 0)
    order, distances = among.nearest(rows, observed, 5)
    np.testing.assert_array_equal(order, np.argsort(expected, axis=1)[:, :5])
    count = np.maximum(1, observed.sum(axis=1, keepdims=True) - n_left_out)
    least = np.sort(expected, axis=1)[:, :5]
    np.testing.assert_allclose(distances, np.sqrt(least / count), rtol=1e-4)


# ------------------------------------------------------------------------------------ what if


HIGH = 1.95
"""Score above which records are high; the median of normal scores is 1."""


def absolute_sum(records: np.ndarray) -> np.ndarray:
    """Score records by the sum of their absolute values."""
    return np.abs(records).sum(axis=1)


def shares_of(
    record: list[float],
    shares: list[float],
    nearest: list[float] | None = None,
    similar: list[float] | None = None,
) -> np.ndarray:
    """Return shares of a record; `nearest` and `similar` records are zeros."""
    records, zeros = np.array([record]), [0.0] * len(record)
    calibration = Calibration(np.linspace(0, 2, 41), 4.0, "false_alarm_rate", 0.05)
    assert calibration.typical == 1.0
    assert calibration.high == pytest.approx(HIGH)
    donors = np.array([nearest or zeros]), np.array([similar or zeros])
    found: np.ndarray = repairing_shares(
        np.array([shares]),
        np.full((1, len(record)), 1 / len(record)),
        records,
        absolute_sum(records),
        Donors(*donors, (records - donors[0]) ** 2),
        absolute_sum,
        calibration,
    )[0]
    assert found.sum() == pytest.approx(1.0)
    return found


def test_shares_stay_where_the_largest_make_a_record_normal() -> None:
    shares = [0.5, 0.3, 0.1, 0.1, 0.0]
    np.testing.assert_array_equal(shares_of([6, 4, 2, 1, 0.5], shares), shares)


def test_two_suspects_get_the_third_that_makes_a_record_normal() -> None:
    found = shares_of([6, 4, 0.5, 0.6, 2], [0.4, 0.3, 0.2, 0.1, 0.0])
    assert np.argsort(-found)[:3].tolist() == [0, 1, 4]
    parts = np.array([0.4, 0.3, 0.0]) + 0.05 * 0.7
    np.testing.assert_allclose(found[[0, 1, 4]] / found[0], parts / parts[0])
    np.testing.assert_allclose(found[[2, 3]], found[4] * np.array([0.5, 0.25]))


def test_features_that_make_a_record_normal_come_first() -> None:
    found = shares_of([6, 4, 2, 0.4, 0.2], [0.1, 0.0, 0.0, 0.5, 0.4])
    assert set(np.argsort(-found)[:3]) == {0, 1, 2}
    np.testing.assert_allclose(found[:3] / found[2], [21, 1, 1])
    assert found[3] == pytest.approx(found[2] / 2)
    assert found[4] == pytest.approx(found[3] * 0.8)


def test_of_third_features_that_are_enough_the_most_suspect_comes_first() -> None:
    found = shares_of([6, 4, 1.0, 1.2, 0.2], [0.0, 0.0, 0.2, 0.1, 0.7])
    assert set(np.argsort(-found)[:3]) == {0, 1, 2}


def test_shares_stay_where_a_record_is_typical_without_two_suspects() -> None:
    record, shares = [1.2, 0.7, 0.4, 0.35, 0.2], [0.5, 0.3, 0.1, 0.06, 0.04]
    nearest = [3.0, 3.0, 0.0, 0.0, 0.0]
    np.testing.assert_array_equal(shares_of(record, shares, nearest), shares)
    found = shares_of(record, shares, nearest, similar=record)
    assert set(np.argsort(-found)[:3]) == {2, 3, 4}


def test_differences_count_where_many_features_are_unusual() -> None:
    shares = [0.4, 0.3, 0.1, 0.1, 0.1, 0.0, 0.0, 0.0]
    np.testing.assert_allclose(shares_of([6.0] * 8, shares), 1 / 8)
    np.testing.assert_array_equal(shares_of([6.0] * 5, shares[:5]), shares[:5])


@pytest.mark.parametrize("n_features", [1, 2, 3])
def test_few_features_keep_their_shares(n_features: int) -> None:
    shares = [0.6, 0.3, 0.1][:n_features]
    shares = [share / sum(shares) for share in shares]
    record, other = [2.0] * n_features, [3.0] * n_features
    np.testing.assert_array_equal(shares_of(record, shares, other), shares)


@pytest.mark.parametrize(("shares", "most"), [([0.5, 0.3, 0.2], 1), ([0.0, 0.0, 0.0], 57)])
def test_few_changed_records_are_scored(shares: list[float], most: int) -> None:
    """The price of contributions: half of the columns are changed, four times at most."""
    n, d, scored = 200, 30, []
    records = RNG.uniform(0.5, 0.9, size=(n, d))
    records[:, :3] = 4.0
    some = np.column_stack(
        [np.tile(shares, (n, 1)), np.linspace(1e-6, 1e-5, d - 3)[None].repeat(n, 0)]
    )

    def score(changed: np.ndarray) -> np.ndarray:
        scored.append(len(changed))
        return absolute_sum(changed) / d

    zeros = np.zeros((n, d))
    calibration = Calibration(np.linspace(0, 1, 41), 4.0, "false_alarm_rate", 0.05)
    donors = Donors(zeros, zeros, records**2)
    repairing_shares(some, zeros + 1 / d, records, score(records), donors, score, calibration)
    assert sum(scored[1:]) <= most * n


def test_features_that_are_not_observed_do_not_change() -> None:
    donors = TrainingRecords.of(RNG.normal(size=(50, 3))).donors(
        np.array([[np.nan, 1.0, 2.0]]), np.array([0])
    )
    assert np.isneginf(donors.distance[0]).tolist() == [True, False, False]


def test_a_value_that_no_training_record_has_is_changed_first() -> None:
    records = np.column_stack([RNG.normal(size=(50, 2)), np.full(50, 0.3)])
    training = TrainingRecords.of(records)
    new = np.array([[9.0, 9.0, 0.3], [9.0, 9.0, 0.4], [9.0, 9.0, np.nan]])
    found = training.donors(new, np.zeros(3, dtype=int)).distance
    assert np.isneginf(found[:, 2]).tolist() == [True, False, True]
    assert found.argmax(axis=1)[1] == 2


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


@pytest.fixture(scope="module")
def walks() -> tuple[np.ndarray, Model]:
    """Rows of which each column follows from the one before, and a model of them."""
    X = np.random.RandomState(1).normal(size=(460, 6)).cumsum(axis=1)
    return X, VAEDetector(max_steps=100, n_members=1, random_state=0).fit(X[:400]).model_


def test_one_fault_of_six_deviations_is_named_first(walks: tuple[np.ndarray, Model]) -> None:
    X, model = walks
    faulty, column = X[400:].copy(), np.arange(60) % 6
    faulty[np.arange(60), column] += (
        6.0 * X.std(axis=0)[column] * np.where(RNG.rand(60) < 0.5, 1, -1)
    )
    assert (model.contributions(faulty).argmax(axis=1) == column).mean() >= 0.95


def test_engines_have_the_same_contributions(walks: tuple[np.ndarray, Model]) -> None:
    X, model = walks
    parts = model.contributions(X[400:])
    other = model.with_engine("tensorflow").contributions(X[400:])
    np.testing.assert_allclose(other, parts, rtol=1e-3, atol=1e-3)


def test_contributions_do_not_depend_on_the_threshold_alone(
    walks: tuple[np.ndarray, Model],
) -> None:
    """An FDR sets the threshold by the batch: reasons stay the same."""
    X, model = walks
    faulty = X[:60] + 3.0 * RNG.normal(size=(60, 6))
    other = replace(model, calibration=replace(model.calibration, threshold=1e3))
    parts = model.contributions(faulty)
    np.testing.assert_array_equal(other.contributions(faulty), parts)
    # Some records are repaired besides.
    never = replace(model, calibration=Calibration.fixed(np.inf)).contributions(faulty)
    np.testing.assert_allclose(never.sum(axis=1), parts.sum(axis=1), rtol=1e-9)
    assert 0 < (never != parts).any(axis=1).sum() < 60


def test_a_new_value_in_a_constant_column_is_named_first() -> None:
    X = np.column_stack([RNG.normal(size=(400, 5)).cumsum(axis=1), np.full(400, 0.3)])
    detector = VAEDetector(max_steps=100, n_members=1, random_state=0).fit(X)
    faulty = X[:40].copy()
    faulty[:, 5] = 9.0
    faulty[20:, 1] -= 0.5
    parts = detector.explain(faulty).to_numpy()
    assert (parts.argmax(axis=1) == 5).all()
    np.testing.assert_allclose(parts.sum(axis=1), -detector.score_samples(faulty), rtol=1e-9)
