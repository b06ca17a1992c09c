"""Cells given the others of their row: units, surprises and tails."""

from __future__ import annotations

import numpy as np
from scipy import special, stats

from vae_anomaly.model.cells import MIN_DEVIATION, MIN_EXCESS, Tails, cell_units, surprises
from vae_anomaly.stats.densities import numpy_ops
from vae_anomaly.stats.likelihoods import Block, JointLikelihood

JOINT = JointLikelihood((Block("gaussian", 2), Block("categorical", 1, 3)))
"""Two numbers, and a category of two levels and one for all others."""


def test_units_of_numbers_are_their_deviations_without_the_outliers() -> None:
    rng = np.random.RandomState(0)
    residual = np.zeros((20_000, 5))
    residual[:, 0] = 2.0 * rng.normal(size=20_000)
    residual[:20, 0] = 1e6
    observed = np.ones((20_000, 3), dtype=bool)
    observed[10_000:, 0] = False
    units = cell_units(JOINT, residual, observed)
    # The second moment of a normal variable clipped at its 99 % quantile.
    bound = stats.norm.ppf(0.995)
    inner = stats.norm.expect(lambda x: x * x, lb=-bound, ub=bound) + 0.01 * bound**2
    np.testing.assert_allclose(units[0], np.sqrt(4 * inner + MIN_DEVIATION**2), rtol=0.02)
    np.testing.assert_allclose(units[1], MIN_DEVIATION)
    # Two levels that are certain and differ: 2 nats.
    np.testing.assert_allclose(0.5 * ((np.array([1.0, -1.0]) / units[2:4]) ** 2).sum(), 2.0)


def test_surprises_are_half_squares_and_log_probabilities() -> None:
    predictions = np.array([[[1.0, 5.0, 0.7, 0.2, 0.1]]])
    targets = np.array([[3.0, 5.0, 0.0, 1.0, 0.0]])
    units = np.array([2.0, 1.0, 0.7, 0.7, 0.7])
    found = surprises(numpy_ops, JOINT, units, predictions, targets)
    np.testing.assert_allclose(found, [[0.5, 0.0, -np.log(0.2)]])


def test_surprise_of_several_predictions_is_that_of_their_mean_likelihood() -> None:
    rng = np.random.RandomState(0)
    predictions = rng.normal(size=(8, 30, 5))
    predictions[..., 2:] = special.softmax(predictions[..., 2:], axis=-1)
    targets = np.column_stack([rng.normal(size=(30, 2)), np.eye(3)[rng.randint(3, size=30)]])
    units = np.array([0.5, 2.0, 0.7, 0.7, 0.7])
    kernel = np.exp(-0.5 * ((targets[:, :2] - predictions[..., :2]) / units[:2]) ** 2).mean(axis=0)
    probability = (predictions[..., 2:] * targets[:, 2:]).sum(axis=-1).mean(axis=0)
    expected = -np.log(np.column_stack([kernel, probability]))
    np.testing.assert_allclose(surprises(numpy_ops, JOINT, units, predictions, targets), expected)
    # No underflow, far from all predictions.
    far = surprises(numpy_ops, JOINT, units, predictions, targets + 1e4 * np.eye(5)[0])
    assert np.isfinite(far).all()
    assert (far[:, 0] > 1e7).all()


def test_one_prediction_that_fits_makes_a_cell_unsurprising() -> None:
    predictions = np.zeros((8, 1, 5))
    predictions[1:, 0, 0] = 100.0
    found = surprises(numpy_ops, JOINT, np.ones(5), predictions, np.zeros((1, 5)))
    np.testing.assert_allclose(found[0, 0], np.log(8))


def test_costs_are_minus_the_log_of_tail_probabilities() -> None:
    rng = np.random.RandomState(0)
    training = rng.exponential(size=(999, 2))
    tails = Tails.fit(training)
    fresh = rng.exponential(size=(200, 2))
    at_least = (training[None] >= fresh[:, None]).sum(axis=1)
    expected, common = -np.log((1 + at_least) / 1000), at_least >= 100
    np.testing.assert_allclose(tails.costs(fresh)[common], expected[common], atol=0.05)
    assert tails.costs(np.zeros((1, 2))).min() == 0.0


def test_tails_have_the_exponent_of_a_pareto_distribution() -> None:
    distribution = stats.lomax(2.5)
    tails = Tails.fit(distribution.rvs((20_000, 1), random_state=0))
    x = distribution.isf([0.05, 1e-2, 1e-3, 1e-5])[:, None]
    np.testing.assert_allclose(tails.costs(x), -distribution.logsf(x), rtol=0.03)


def test_the_exponent_is_that_of_hill() -> None:
    values = np.exp([0.0] * 45 + [1.0, 2.0, 2.0, 4.0, 5.0])[:, None] - 1.0
    costs = Tails.fit(values).costs(np.exp([[0.0], [1.0], [2.8], [28.0]]) - 1.0)
    # The mean of the five largest logs is 2.8, and all others are 0.
    np.testing.assert_allclose(costs[:, 0], [0.0, 1.0 / 2.8, 1.0, 10.0], rtol=1e-6)


def test_equal_values_have_the_share_of_all_of_them() -> None:
    tails = Tails.fit(np.repeat([0.1, 2.0], [700, 299])[:, None])
    found = tails.costs(np.array([[0.1], [2.0]]))
    np.testing.assert_allclose(found, [[0.0], [np.log(1000 / 300)]], atol=1e-3)


def test_values_beyond_equal_ones_cost_a_limited_amount() -> None:
    tails = Tails.fit(np.full((1000, 1), 0.1))
    found = tails.costs(np.array([[0.1], [1e3]]))
    expected = [0.0, np.log(1001 / 1.1) / MIN_EXCESS]
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-3)


def test_a_few_values_are_enough() -> None:
    for n in range(3):
        costs = Tails.fit(np.arange(float(n))[:, None]).costs(np.array([[0.0], [5.0], [500.0]]))
        assert (np.diff(costs, axis=0) > 0).all()


def test_rounding_makes_no_difference_between_values() -> None:
    rng = np.random.RandomState(0)
    nearly_equal = np.repeat(np.arange(1.0, 9.0), 50) * (1 + 1e-7 * rng.normal(size=400))
    tails = Tails.fit(nearly_equal[:, None])
    x = np.arange(1.0, 9.0)[:, None]
    np.testing.assert_allclose(tails.costs(x * (1 + 1e-7)), tails.costs(x), rtol=0, atol=1e-5)


def test_values_that_are_not_observed_do_not_count() -> None:
    column = np.r_[np.full(50, 1e6), np.arange(50.0)][:, None]
    tails = Tails.fit(column, column < 1e6)
    np.testing.assert_allclose(tails.costs(np.array([[25.0]])), np.log(51 / 26), atol=0.1)
