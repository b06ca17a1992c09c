"""Cells given the others of their row: how far each is from what a masked network predicts.

Networks that learn with hidden features predict each from others of its row, several times,
each time from another half of the features. The surprise of a cell is half its squared
standardised residual, for a category minus the log of the probability of its level. That
of all predictions together is minus the log of their mean likelihood: a wrong cell makes
others look wrong only in the predictions that it takes part in.

Surprises of different columns, and statistics of rows, get one unit from their tails in
training rows: nats of the probability of a value as large.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import AnyArray, Ops, Symbol, Tensor
from vae_anomaly.stats.categorical import Categorical
from vae_anomaly.stats.densities import numpy_ops
from vae_anomaly.stats.likelihoods import JointLikelihood, sum_adjacent

__all__ = ["N_RANKS", "PredictedRows", "Tails", "cell_units", "interpolated_symbol", "surprises"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]

MIN_DEVIATION = 0.1
"""Added to deviations of numbers from what is predicted, in standard deviations of the column."""

CLIPPED_QUANTILE = 0.99
"""Squared residuals above this quantile are clipped to it, to measure a unit."""

N_RANKS = 32
"""Ranks of training values that are kept, evenly spaced in log."""

TAIL_SHARE = 0.1
"""Share of training values from which the rest of their distribution is estimated."""

MIN_TAIL_VALUES = 5
"""Fewest values from which it is, if there are as many."""

MIN_EXCESS = 0.05
"""Smallest mean excess in such a tail: bounds the cost of a value beyond others that are equal."""

DECIMALS = 4
"""Of ranked values: those that differ by the rounding of float32 alone have the same rank."""

MIN_GAP = 1e-300
"""Width of a step between equal knots: far below the distance of numbers near them."""

MIN_PROBABILITY = 1e-12
"""Smallest probability of a level, against rounding to 0."""


def cell_units(joint: JointLikelihood, residual: Array, observed: NDArray[np.bool_]) -> Array:
    """Return the units of residuals of features that are predicted from the others: (n_targets,).

    Of a number the root mean square over training rows, the largest hundredth clipped, plus
    `MIN_DEVIATION`. Of a level the square root of a half, so that two rows of different levels
    are 2 nats apart at most.

    Parameters
    ----------
    joint : JointLikelihood
    residual : ndarray of shape (n, n_targets)
    observed : ndarray of shape (n, n_features)
    """
    units = np.ones(joint.n_targets)
    start, feature = 0, 0
    for block, likelihood in zip(joint.blocks, joint.likelihoods, strict=True):
        end = start + block.n_targets
        if isinstance(likelihood, Categorical):
            units[start:end] = np.sqrt(0.5)
        else:
            for i in range(block.n_targets):
                seen = observed[:, feature + i // block.width]
                squares = residual[seen, start + i] ** 2
                if len(squares):
                    squares = np.minimum(squares, np.quantile(squares, CLIPPED_QUANTILE))
                    units[start + i] = np.sqrt(squares.mean() + MIN_DEVIATION**2)
        start, feature = end, feature + block.n_features
    return units


def surprises(
    ops: Ops, joint: JointLikelihood, units: AnyArray, predictions: Tensor, targets: Tensor
) -> Tensor:
    """Return the surprise of each cell given others of its row, in nats: (n, n_features).

    Cells that are not observed have targets of 0; what is returned for them means nothing.

    Parameters
    ----------
    ops : namespace
        See `stats.densities`.
    joint : JointLikelihood
    units : ndarray of shape (n_targets,)
    predictions : ndarray of shape (k, n, n_targets)
        Expected targets, k times.
    targets : ndarray of shape (n, n_targets)
    """
    parts = []
    for block, likelihood, expected, mean, given, unit in zip(
        joint.blocks,
        joint.likelihoods,
        joint.split(ops, predictions),
        joint.split(ops, predictions.mean(axis=0)),
        joint.split(ops, targets),
        joint.split(numpy_ops, units),
        strict=True,
    ):
        if isinstance(likelihood, Categorical):
            level, others = ops.sum(mean * given), ops.sum(mean * (1.0 - given))
            # Minus the log of the level's share, exact where it is nearly 1.
            parts.append(ops.log1p(others / ops.maximum(level, MIN_PROBABILITY)))
        else:
            each = sum_adjacent(ops, 0.5 * ops.square((given - expected) / unit), block.width)
            least = each.min(axis=0)  # of k predictions
            parts.append(least - ops.log(ops.exp(least - each).mean(axis=0)))
    return ops.concatenate(parts)


class PredictedRows(NamedTuple):
    """Rows whose features networks with masks predict from each other."""

    residual: Weights  # targets minus the expected ones, 0 where not observed, (n, n_targets)
    surprise: Weights  # of cells, in nats, (n, n_explained)
    observed: NDArray[np.bool_]  # (n, n_explained)
    code: Weights  # mean of q(z|x), (n, members, latent)

    def only(self, chosen: NDArray[np.bool_]) -> PredictedRows:
        """Return some of the rows."""
        residual, surprise, observed, code = self
        return PredictedRows(residual[chosen], surprise[chosen], observed[chosen], code[chosen])


class Tails(NamedTuple):
    """Tails of the distributions of some quantities in training rows.

    Values are ranked up to u, above which is a tenth of them. These are taken for the tail of a
    Pareto distribution of 1 + value, with the exponent of B. M. Hill, "A simple general approach
    to inference about the tail of a distribution", :doi:`10.1214/aos/1176343247`: large values,
    of which training rows have few or none, keep their order and their distances.

    Attributes
    ----------
    values : ndarray of shape (quantities, N_RANKS)
        Log of 1 + training values at some ranks, ascending, and u plus the mean excess above it:
        the tail is the line from u through this point.
    nats : ndarray of shape (quantities, N_RANKS)
        Minus the log of the share of training values that are at least as large, one more
        value counted.

    Examples
    --------
    >>> tails = Tails.fit(np.arange(1000.0)[:, None])
    >>> tails.costs(np.array([[499.0], [999.0], [9999.0]])).round(1).ravel().tolist()
    [0.7, 4.2, 46.8]
    """

    values: Array
    nats: Array

    @classmethod
    def fit(cls, values: AnyArray, observed: NDArray[np.bool_] | None = None) -> Tails:
        """Rank the values of training rows, (n, quantities), that are observed."""
        kept = np.zeros((values.shape[1], N_RANKS))
        kept[:, -1] = 1.0
        nats = kept.copy()
        for j, column in enumerate(_log(values).round(DECIMALS).T):
            known = np.sort(column if observed is None else column[observed[:, j]])
            if not len(known):
                continue
            n_tail = min(max(int(TAIL_SHARE * len(known)), MIN_TAIL_VALUES), len(known) - 1)
            # Of the values with a rank, all at least as large count, also equal ones.
            rank = np.unique(np.geomspace(n_tail + 1, len(known), N_RANKS - 1).astype(int))[::-1]
            at_rank = known[-rank]
            at_least = len(known) - np.searchsorted(known, at_rank, side="left")
            cost = -np.log((1.0 + at_least) / (len(known) + 1.0))
            place = np.linspace(0, len(at_rank) - 1, N_RANKS - 1)
            kept[j, :-1] = np.interp(place, np.arange(len(at_rank)), at_rank)
            nats[j, :-1] = np.interp(place, np.arange(len(at_rank)), cost)
            start = at_rank[-1]
            excess = known[len(known) - n_tail :] - start
            kept[j, -1] = start + max(excess.mean() if n_tail else 0.0, MIN_EXCESS)
            nats[j, -1] = cost[-1] + 1.0
        # As a model file holds them.
        return cls(*(one.astype(np.float32).astype(np.float64) for one in (kept, nats)))

    def costs(self, values: AnyArray) -> Array:
        """Return minus the log of the tail probabilities of values, (n, quantities), at least 0."""
        places = _log(values)
        beyond = np.maximum(places - self.values[:, -1], 0.0)
        costs = beyond * self._slopes
        for j, (known, nats) in enumerate(zip(self.values, self.nats, strict=True)):
            costs[:, j] += np.interp(places[:, j], known, nats)
        return costs

    def in_graph(self, values: Symbol) -> Symbol:
        """Add `costs` to an ONNX graph."""
        places = (values.apply("Max", 0.0) + 1.0).apply("Log")
        beyond = (places - self.values[:, -1]).apply("Max", 0.0)
        return interpolated_symbol(places, self.values, self.nats) + beyond * self._slopes

    @property
    def _slopes(self) -> Array:
        """Exponents of the tails, nats by which costs rise where 1 + value is e times as large."""
        rise = self.nats[:, -1] - self.nats[:, -2]
        return rise / np.maximum(self.values[:, -1] - self.values[:, -2], MIN_GAP)


def _log(values: AnyArray) -> Array:
    """Return the log of 1 + values, those below 0 taken for 0."""
    logs: Array = np.log(np.maximum(values, 0.0, dtype=np.float64) + 1.0)
    return logs


def interpolated_symbol(x: Symbol, knots: Array, values: Array) -> Symbol:
    """Add `numpy.interp` to an ONNX graph: of x (n, q), with knots and values (q, m).

    It is a sum of ramps, which rise from 0 to 1 between a knot and the next. Between equal
    knots they are steps, and 1 there.
    """
    gap = np.diff(knots)
    slope = 1.0 / np.where(gap > 0, gap, MIN_GAP)
    ramps = (x.reshape(-1, len(knots), 1) - knots[:, :-1]) * slope + (gap == 0)
    ramps = ramps.apply("Max", 0.0).apply("Min", 1.0)
    return (ramps * np.diff(values)).sum() + values[:, 0]
