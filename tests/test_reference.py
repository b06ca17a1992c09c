"""Division of scores among features, by similar training rows."""

from __future__ import annotations

import numpy as np
import pytest

from vae_anomaly import VAEDetector
from vae_anomaly.model.reference import N_CANDIDATES, N_SIMILAR, EncodedRows, divided

RNG = np.random.RandomState(0)
MIXING = RNG.normal(size=(3, 8))


def rows(n: int, seed: int) -> np.ndarray:
    """Return rows of eight columns that follow from three variables."""
    rng = np.random.RandomState(seed)
    return rng.normal(size=(n, 3)) @ MIXING + 0.2 * rng.normal(size=(n, 8))


@pytest.fixture(scope="module")
def detector() -> VAEDetector:
    return VAEDetector(max_steps=400, n_members=2, random_state=0).fit(rows(600, 1))


def test_features_weigh_as_they_differ_from_similar_rows(detector: VAEDetector) -> None:
    model, spoilt = detector.model_, rows(30, 2)
    spoilt[:, 3] += 5.0
    encoded, reference = model.encoder.encode(spoilt), model.reference
    found = EncodedRows.of(model.network, encoded, model.encoder.explained)
    points = reference.locate(found.mean, found.residual).astype(np.float64)
    _, nearest = reference.exemplars.nearest(points.astype(np.float32), N_CANDIDATES)
    expected = np.zeros((30, 8))
    for i in range(30):
        squares = (encoded.targets[i] - reference.targets[nearest[i]]) ** 2
        without_two = np.sort(squares, axis=1)[:, :-2].sum(axis=1)
        for j in nearest[i][np.argsort(without_two)[:N_SIMILAR]]:
            apart = points[i, :8] - reference.points[j, :8]
            expected[i] += np.abs(apart * (encoded.targets[i] - reference.targets[j]))
    joint = model.network.spec.joint
    scores, weights = reference.explain(joint, found.mean, found.residual, encoded.targets)
    np.testing.assert_allclose(weights, expected, rtol=1e-5)
    np.testing.assert_allclose(scores, model.anomaly_scores(spoilt), rtol=1e-6)


def test_no_part_of_a_score_belongs_to_no_column(detector: VAEDetector) -> None:
    fresh = rows(200, 3)
    explained = detector.explain(fresh)
    assert (explained["latent_code"].abs() < 1e-9).all()
    np.testing.assert_allclose(explained.sum(axis=1), -detector.score_samples(fresh), rtol=1e-12)


def test_a_planted_fault_is_named_first(detector: VAEDetector) -> None:
    faulty, where = rows(200, 4), RNG.randint(8, size=200)
    faulty[np.arange(200), where] += 6.0
    named = detector.explain(faulty).to_numpy()[:, :8].argmax(axis=1)
    assert (named == where).mean() > 0.95


def test_what_is_expected_is_a_value_of_similar_training_rows(detector: VAEDetector) -> None:
    faulty, fresh = rows(100, 5), rows(100, 5)
    faulty[:, 2] += 8.0
    expected = detector.model_.expected(faulty)
    training = rows(600, 1)[:, 2]
    assert (expected[:, 2] >= training.min()).all()
    assert (expected[:, 2] <= training.max()).all()
    assert np.median(np.abs(expected[:, 2] - fresh[:, 2])) < 1.0


def test_shares_are_in_proportion_to_weights() -> None:
    shares = divided(np.array([6.0, 2.0]), np.array([[1.0, 2.0], [0.0, 0.0]]))
    np.testing.assert_allclose(shares, [[2.0, 4.0], [0.0, 0.0]])
