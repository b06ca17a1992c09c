"""Similar training rows: what they let expect of a row, and how scores are divided by it."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp

from vae_anomaly import VAEDetector, load, save
from vae_anomaly.model import similar, suspicion
from vae_anomaly.model.reference import EncodedRows
from vae_anomaly.model.similar import (
    MIN_DIFFERENCE,
    N_CANDIDATES,
    N_COMPARED,
    N_FITTED,
    N_SIMILAR,
    SimilarRows,
)
from vae_anomaly.names import SCORES

RNG = np.random.RandomState(0)
MIXING = RNG.normal(size=(3, 8))


def rows(n: int, seed: int) -> np.ndarray:
    """Return rows of eight columns that follow from three variables."""
    rng = np.random.RandomState(seed)
    return rng.normal(size=(n, 3)) @ MIXING + 0.2 * rng.normal(size=(n, 8))


def spoilt(n: int, seed: int) -> np.ndarray:
    """Return rows with a wrong cell in column 3."""
    faulty = rows(n, seed)
    faulty[:, 3] += 5.0
    return faulty


@pytest.fixture(scope="module")
def detector() -> VAEDetector:
    return VAEDetector(max_steps=400, n_members=2, random_state=0).fit(rows(600, 1))


@pytest.fixture(scope="module")
def compared(detector: VAEDetector) -> tuple[np.ndarray, np.ndarray, SimilarRows]:
    """Targets and standardised residuals of rows, and the rows to compare them with."""
    model, reference = detector.model_, detector.model_.reference
    encoded = model.encoder.encode(spoilt(30, 2))
    found = EncodedRows.of(model.network, encoded, model.encoder.explained)
    similar_rows = reference.similar(model.network.spec.joint)
    return encoded.targets, found.residual / reference.residual_unit, similar_rows


def by_hand(row: np.ndarray, similar: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """Return how suspect the values of a row are, as `log_suspicion` does.

    From the distances of normal distributions, without those that may be wrong.
    """
    weights, d = np.arange(1, len(similar) + 1) ** -0.5, len(row)
    mean = np.average(similar, axis=0, weights=weights)
    moments = np.cov(similar.T, aweights=weights, ddof=0)
    moments += np.eye(d) * (suspicion.SHRINKAGE * np.trace(moments) / d + suspicion.MIN_VARIANCE)

    def distance(kept: list[int]) -> float:
        away = (row - mean)[kept]
        return float(away @ np.linalg.solve(moments[np.ix_(kept, kept)], away))

    whole, found = distance(list(range(d))), [[] for _ in range(d)]
    for i, j in combinations_with_replacement(range(d), 2):
        kept = [k for k in range(d) if k not in (i, j)]
        nats = 0.5 * (whole - distance(kept)) + evidence[i]
        if i == j:
            found[i].append(nats)
        else:
            nats += evidence[j] - suspicion.PENALTY
            found[i].append(nats)
            found[j].append(nats)
    return np.array([logsumexp(nats) for nats in found])


def without_two(squares: np.ndarray) -> np.ndarray:
    """Sum squares, (m, n_features), but for the two largest of each exemplar."""
    return np.sort(squares, axis=1)[:, :-2].sum(axis=1)


def test_rows_are_compared_by_hand(
    detector: VAEDetector, compared: tuple[np.ndarray, np.ndarray, SimilarRows]
) -> None:
    targets, points, similar_rows = compared
    reference = detector.model_.reference
    found = similar_rows.compare(targets, points, None)
    scores, exemplars = reference.normal_scores
    own = scores.apply(targets)
    for i, (row, residual) in enumerate(zip(targets, points, strict=True)):
        squares = (row - reference.targets) ** 2
        order = np.argsort(without_two(squares))[:N_CANDIDATES]
        assert found.similar[i] == order[0]
        sizes = np.zeros(8)
        for j in order[:N_COMPARED]:
            apart = residual - reference.points[j, :8]
            sizes += np.abs(apart * (row - reference.targets[j])) / N_COMPARED
        evidence = np.log(sizes + MIN_DIFFERENCE)
        suspicion = by_hand(own[i], exemplars[order[:N_FITTED]], evidence)
        weights = (1 + suspicion.max() - suspicion) ** -2.0
        np.testing.assert_allclose(found.weights[i], weights, rtol=1e-3)
        first, second = np.argsort(-suspicion)[:2]
        for j in range(8):
            hidden = [j, second if j == first else first]
            distance = np.delete(squares[order], hidden, axis=1).sum(axis=1)
            values = reference.targets[order[np.argsort(distance)[:N_SIMILAR]], j].astype(float)
            assert found.expected[i, j] == pytest.approx(values.mean(), rel=1e-6)


def test_the_nearest_exemplars_have_the_least_distances(
    detector: VAEDetector, compared: tuple[np.ndarray, np.ndarray, SimilarRows]
) -> None:
    targets, _, similar_rows = compared
    place, distance = similar_rows.nearest(targets, None, 7)
    for i, row in enumerate(targets):
        squares = without_two((row - detector.model_.reference.targets) ** 2)
        order = np.argsort(squares)[:7]
        assert place[i].tolist() == order.tolist()
        np.testing.assert_allclose(distance[i], np.sqrt(squares[order] / 6), rtol=1e-4)


def test_a_row_is_not_similar_to_itself(detector: VAEDetector) -> None:
    model = detector.model_
    own = model.reference.targets[:20].astype(np.float64)
    similar_rows = model.reference.similar(model.network.spec.joint)
    place, distance = similar_rows.nearest(own, None, similar_rows.max_count)
    assert not (place == np.arange(20)[:, None]).any()
    assert (distance > 0).all()


def test_neighbours_are_skipped_where_some_training_rows_are_anomalies(
    detector: VAEDetector, compared: tuple[np.ndarray, np.ndarray, SimilarRows]
) -> None:
    targets, _, similar_rows = compared
    model = detector.model_
    skipping = replace(model.reference, n_skipped_neighbors=2).similar(model.network.spec.joint)
    np.testing.assert_array_equal(
        skipping.nearest(targets, None, 3)[0], similar_rows.nearest(targets, None, 5)[0][:, 2:]
    )


def test_missing_cells_do_not_count(
    compared: tuple[np.ndarray, np.ndarray, SimilarRows],
) -> None:
    targets, _, similar_rows = compared
    observed = np.ones(targets.shape, dtype=bool)
    observed[:, [0, 5]] = False
    filled = np.where(observed, targets, 99.0)
    first, second = (similar_rows.nearest(one, observed, 5) for one in (targets, filled))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_a_far_cell_leaves_no_rounding_in_the_distance_of_the_others() -> None:
    values = np.array([[3e5, 1.0], [1e-3, 2.0], [2e-3, 3.0], [3e-3, 9.0]], dtype=np.float32)
    sums = np.empty((1, 2), dtype=np.float32)
    largest = similar._sum_without_largest(values[:, None].copy(), 2, out=sums)
    np.testing.assert_allclose(sums[0], [3e-3, 3.0], rtol=1e-6)
    np.testing.assert_allclose(np.array(largest)[:, 0], [[3e5, 9.0], [3e-3, 3.0]], rtol=1e-6)
    assert similar._sum_without_largest(values[:, None].copy(), 0, out=sums) == []
    np.testing.assert_allclose(sums[0, 1], 15.0)


@pytest.mark.parametrize("score", SCORES)
def test_scores_are_divided_among_columns_alone(
    detector: VAEDetector, score: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = replace(detector.model_, score_type=score)
    other = VAEDetector.from_model(model)
    faulty = spoilt(40, 3)
    explained = other.explain(faulty)
    assert explained.columns.tolist() == [f"x{i}" for i in range(8)]
    np.testing.assert_allclose(
        explained.sum(axis=1), -other.score_samples(faulty), rtol=1e-9, atol=1e-9
    )
    assert (explained.to_numpy().argmax(axis=1) == 3).mean() > 0.75

    # Whatever the batch, the order and the process.
    alone = pd.concat([other.explain(faulty[i : i + 1]) for i in (0, 7, 39)])
    np.testing.assert_array_equal(alone, explained.iloc[[0, 7, 39]])
    np.testing.assert_array_equal(other.explain(faulty[::-1]), explained[::-1])
    monkeypatch.setattr(similar, "MAX_CELLS", 1)
    np.testing.assert_array_equal(other.explain(faulty), explained)
    save(detector, tmp_path / "m.vae")
    again = replace(load(tmp_path / "m.vae").model_, score_type=score)
    np.testing.assert_array_equal(again.contributions(faulty), explained)


def test_engines_divide_scores_alike(detector: VAEDetector) -> None:
    faulty, model = spoilt(40, 4), detector.model_
    numpy, tensorflow = (model.with_engine(name) for name in ("numpy", "tensorflow"))
    first, second = (one.contributions(faulty) for one in (numpy, tensorflow))
    np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-3)


def test_a_planted_fault_is_named_first(detector: VAEDetector) -> None:
    faulty, where = rows(200, 4), RNG.randint(8, size=200)
    faulty[np.arange(200), where] += 6.0
    named = detector.explain(faulty).to_numpy().argmax(axis=1)
    assert (named == where).mean() > 0.98


@pytest.mark.parametrize("score", ["exemplar", "elbo"])
def test_what_is_expected_is_a_value_of_similar_training_rows(
    detector: VAEDetector, score: str
) -> None:
    faulty, fresh = rows(100, 5), rows(100, 5)
    faulty[:, 2] += 8.0
    expected = replace(detector.model_, score_type=score).expected(faulty)
    training = rows(600, 1)[:, 2]
    assert (expected[:, 2] >= training.min()).all()
    assert (expected[:, 2] <= training.max()).all()
    assert np.median(np.abs(expected[:, 2] - fresh[:, 2])) < 0.5


def test_a_row_without_any_cell_is_divided_evenly(detector: VAEDetector) -> None:
    empty = np.full((1, 8), np.nan)
    explained = detector.explain(empty).to_numpy()
    np.testing.assert_allclose(explained.sum(), -detector.score_samples(empty)[0], rtol=1e-9)
    np.testing.assert_allclose(explained, explained.mean(), rtol=1e-9)


@pytest.mark.parametrize("n_columns", [1, 2, 3, 6])
@pytest.mark.parametrize("n_rows", [3, 4, 12])
def test_few_rows_and_columns_are_enough(n_columns: int, n_rows: int) -> None:
    X = rows(n_rows, 1)[:, :n_columns]
    detector = VAEDetector(max_steps=10, n_members=1, contamination=0.1, random_state=0).fit(X)
    for some in (X, X + 50.0):
        explained = detector.explain(some)
        np.testing.assert_allclose(explained.sum(axis=1), -detector.score_samples(some), rtol=1e-9)
