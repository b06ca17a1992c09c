"""Scores of arbitrary finite numbers are finite and reproducible."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from threadpoolctl import threadpool_limits

from vae_anomaly import DataError, DivergenceError, VAEDetector, load, save

EXAMPLES = int(os.environ.get("VAE_ANOMALY_EXAMPLES", "30"))
"""Number of examples; `make torture` sets more."""

DETECTORS: tuple[dict[str, Any], ...] = (
    {},
    {"likelihood": "bernoulli"},
    {"prior": "normal", "beta": 0.3},
    {"beta": 0, "variance": 0.5},
    {"score_type": "reconstruction", "optimizer": "rmsprop"},
    {"score_type": "kl", "n_draws": 1},
)

NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-3, 3),
    st.sampled_from([0.0, -0.0, 1.0, 5e-324, 1.7976931348623157e308, -1.7976931348623157e308]),
)
COLUMNS = 3
ROWS = arrays(np.float64, st.tuples(st.integers(4, 30), st.just(COLUMNS)), elements=NUMBERS)

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # scikit-learn sums its input to check that it is finite.
    pytest.mark.filterwarnings("ignore:invalid value encountered in reduce:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:overflow encountered in reduce:RuntimeWarning"),
]


def fit(parameters: dict[str, Any], X: Any) -> VAEDetector:
    options = {"hidden_units": (4,), "latent_dim": 2, "n_members": 2, "max_steps": 3}
    return VAEDetector(**options | {"contamination": 0.2, "random_state": 0} | parameters).fit(X)


@pytest.fixture(scope="module")
def detectors() -> list[VAEDetector]:
    rng = np.random.RandomState(0)
    X = rng.normal(size=(60, COLUMNS)) * [1.0, 1e-6, 1e6] + [0.0, 5.0, 1e9]
    return [fit(parameters, X) for parameters in DETECTORS]


def check(detector: VAEDetector, X: Any, folder: Path) -> None:
    """Check that scores are finite, and equal for single rows, any order, one thread, reload."""
    scores = detector.score_samples(X)
    assert np.isfinite(scores).all()
    contributions = detector.explain(X).to_numpy()
    np.testing.assert_allclose(-contributions.sum(axis=1), scores, rtol=1e-9)
    same = [np.concatenate([detector.score_samples(row[None]) for row in X])]
    same.append(detector.score_samples(X[::-1])[::-1])
    same.append(detector.score_samples(np.vstack([X, X]))[: len(X)])
    with threadpool_limits(1):
        same.append(detector.score_samples(X))
    save(detector, folder / "m.vae")
    same.append(load(folder / "m.vae").score_samples(X))
    for other in same:
        np.testing.assert_array_equal(other, scores)
    np.testing.assert_array_equal(detector.predict(X) == -1, detector.decision_function(X) < 0)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(X=ROWS, which=st.integers(0, len(DETECTORS) - 1))
def test_scores_of_finite_rows_are_finite(detectors, tmp_path_factory, X, which):
    check(detectors[which], X, tmp_path_factory.getbasetemp())


@pytest.mark.filterwarnings("ignore::vae_anomaly.PrecisionWarning")
@settings(max_examples=max(5, EXAMPLES // 10), deadline=None,
          suppress_health_check=list(HealthCheck))  # fmt: skip
@given(X=ROWS, which=st.integers(0, len(DETECTORS) - 1))
def test_a_fit_on_finite_rows_succeeds_or_is_refused(tmp_path_factory, X, which):
    try:
        detector = fit(DETECTORS[which], X)
    except (DataError, DivergenceError):
        return
    check(detector, X, tmp_path_factory.getbasetemp())


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    start=arrays(np.float64, COLUMNS, elements=st.floats(-3, 3)),
    column=st.integers(0, COLUMNS - 1),
    sign=st.sampled_from([-1.0, 1.0]),
)
def test_scores_outside_the_data_exceed_the_threshold_and_grow(detectors, start, column, sign):
    """They grow overall, not at every step, since networks are not monotonic outside the data."""
    detector = detectors[0]
    scale, center = detector.columns_.scale, detector.columns_.center
    rows = np.tile(start * scale + center, (40, 1))
    rows[:, column] += sign * scale[column] * np.logspace(2.5, 280, 40)
    scores = -detector.score_samples(rows)
    assert np.isfinite(scores).all()
    assert (scores > -detector.offset_).all()
    assert (scores[20:] > scores[0]).all()
    assert scores[-1] == scores.max()
