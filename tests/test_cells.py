"""Cells given the others of their row: units, surprises and ranks."""

from __future__ import annotations

import numpy as np
from scipy import stats

from vae_anomaly.model.cells import MIN_DEVIATION, CellRanks, cell_units, surprises
from vae_anomaly.stats.likelihoods import Block, JointLikelihood

JOINT = JointLikelihood((Block("gaussian", 2), Block("categorical", 1, 3)))
"""Two numbers, and a category of two levels and one for all unseen ones."""


def test_units_of_numbers_are_their_deviations_without_the_outliers() -> None:
    rng = np.random.RandomState(0)
    residual = np.zeros((20_000, 5))
    residual[:, 0] = 2.0 * rng.normal(size=20_000)
    residual[:20, 0] = 1e6
    observed = np.ones((20_000, 3), dtype=bool)
    observed[10_000:, 0] = False
    targets = np.tile([0.0, 0.0, 1.0, 0.0, 0.0], (20_000, 1))
    units = cell_units(JOINT, residual, targets, observed)
    # The second moment of a normal variable clipped at its 99 % quantile.
    bound = stats.norm.ppf(0.995)
    inner = stats.norm.expect(lambda x: x * x, lb=-bound, ub=bound) + 0.01 * bound**2
    np.testing.assert_allclose(units[0], np.sqrt(4 * inner + MIN_DEVIATION**2), rtol=0.02)
    np.testing.assert_allclose(units[1], MIN_DEVIATION)


def test_an_unseen_level_costs_minus_the_log_of_its_probability() -> None:
    targets = np.array([[0, 0, 1.0, 0, 0]] * 8 + [[0, 0, 0, 1.0, 0]])
    units = cell_units(JOINT, 0.0 * targets, targets, np.ones((9, 3), dtype=bool))
    # Two levels that are certain and differ: 2 nats.
    apart = np.array([1.0, -1.0]) / units[2:4]
    np.testing.assert_allclose(0.5 * (apart**2).sum(), 2.0)
    # Of nine cells one level occurred once.
    np.testing.assert_allclose(0.5 / units[4] ** 2, -np.log(2 / 12))


def test_surprises_are_half_squares_and_log_probabilities() -> None:
    expected = np.array([[1.0, 5.0, 0.7, 0.2, 0.1]])
    targets = np.array([[3.0, 5.0, 0.0, 1.0, 0.0]])
    units = np.array([2.0, 1.0, 0.7, 0.7, 0.7])
    found = surprises(JOINT, units, expected, targets - expected, targets)
    np.testing.assert_allclose(found, [[0.5, 0.0, -np.log(0.2)]])


def test_costs_are_minus_the_log_of_tail_probabilities() -> None:
    rng = np.random.RandomState(0)
    cells = rng.exponential(size=(999, 2))
    ranks = CellRanks.fit(cells, np.ones((999, 2), dtype=bool))
    fresh = rng.exponential(size=(200, 2))
    at_least = (cells[None] >= fresh[:, None]).sum(axis=1)
    expected, common = -np.log((1 + at_least) / 1000), at_least >= 3
    np.testing.assert_allclose(ranks.costs(fresh)[common], expected[common], atol=0.15)
    np.testing.assert_allclose(ranks.costs(fresh), expected, atol=0.7)
    # No cell costs more than one that only one training cell equals.
    assert ranks.costs(np.full((1, 2), 1e9)).max() <= np.log(1000 / 2) + 1e-6
    assert ranks.costs(np.zeros((1, 2))).min() == 0.0
    np.testing.assert_allclose(ranks.weighted(2.0).costs(fresh), 2 * ranks.costs(fresh), rtol=1e-6)


def test_equal_cells_have_the_share_of_all_of_them() -> None:
    column = np.repeat([0.1, 2.0], [900, 99])[:, None]
    ranks = CellRanks.fit(column, np.ones((999, 1), dtype=bool))
    np.testing.assert_allclose(ranks.costs(np.array([[0.1], [2.0]])), [[0.0], [np.log(10)]])


def test_cells_that_are_not_observed_do_not_count() -> None:
    column = np.r_[np.full(50, 1e6), np.arange(50.0)][:, None]
    ranks = CellRanks.fit(column, (column < 1e6))
    np.testing.assert_allclose(ranks.costs(np.array([[25.0]])), np.log(51 / 26), atol=0.1)
    nothing = CellRanks.fit(column, np.zeros((100, 1), dtype=bool))
    assert nothing.costs(column).max() == 0.0
