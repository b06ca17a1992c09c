"""scikit-learn's own checks of an estimator, with nothing excused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    estimator_checks_generator,
    parametrize_with_checks,
)

from vae_anomaly import VAEDetector

BRIEF: dict[str, Any] = {"max_steps": 30}
"""Enough to learn the little that the checks ask for."""

SMALL = BRIEF | {"hidden_units": (8,), "n_members": 2}

CONFIGURATIONS = [
    VAEDetector(**BRIEF),
    VAEDetector(**SMALL, likelihood="bernoulli"),
    VAEDetector(**SMALL, beta=0),
    VAEDetector(**SMALL, contamination=0.1),
    VAEDetector(**SMALL | {"n_members": 1}),
]

EXPECTED_FAILED_CHECKS: dict[str, str] = {}

# The checks fit on as few as ten rows, which cannot calibrate a rate of 0.01 and says so.
pytestmark = pytest.mark.filterwarnings(
    "ignore::vae_anomaly.stats.thresholds.TooFewCalibrationRowsWarning"
)


@parametrize_with_checks(
    CONFIGURATIONS, expected_failed_checks=lambda estimator: EXPECTED_FAILED_CHECKS
)
# The checks themselves pass what newer versions of their libraries warn of.
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_checks(estimator: VAEDetector, check: Callable[[Any], None]) -> None:
    check(estimator)


def test_no_check_is_excused_and_none_is_missing() -> None:
    assert not EXPECTED_FAILED_CHECKS
    # In scikit-learn 1.9: 46 of an outlier detector without sample_weight that allows NaN, and
    # 6 of a transformer.
    assert sum(1 for _ in estimator_checks_generator(CONFIGURATIONS[0])) >= 52


def test_column_names_are_checked() -> None:
    check_dataframe_column_names_consistency("VAEDetector", VAEDetector(**BRIEF))


def test_contamination_flags_that_share_of_the_training_rows() -> None:
    X = np.random.RandomState(0).normal(size=(200, 3))
    detector = VAEDetector(**BRIEF, contamination=0.1, random_state=0)
    assert (detector.fit_predict(X) == -1).sum() == 20
    assert detector.offset_ == np.percentile(detector.score_samples(X), 10)


def test_set_output_names_the_latent_dimensions() -> None:
    X = pd.DataFrame(np.random.RandomState(0).normal(size=(60, 3)), columns=list("abc"))
    detector = VAEDetector(**BRIEF, n_members=1, latent_dim=2).set_output(transform="pandas")
    codes = detector.fit(X).transform(X)
    assert list(codes.columns) == ["vaedetector0", "vaedetector1"]
    pd.testing.assert_index_equal(codes.index, X.index)
