"""Distance of a row from the nearest training rows, in coordinates of the networks.

A VAE gives every row two sets of coordinates: its code, in standard deviations of
q(z|x), and the residual of its reconstruction, in standard deviations of p(x|z). The two
determine the row, and their unit is the noise of the model. Exemplars are training rows
in these coordinates. Each has a Gaussian kernel, wider where training rows are sparse.
Kernels have the height one, so that a wide one costs nothing: the result is a distance
in nats, not the log of a density. Half of it averages kernels over the sixteen nearest
exemplars, the other half energies over the five nearest, so that one training row, or
one that occurs many times, is no sufficient support by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._threads import PADDING, SINGLE_THREAD

__all__ = ["MAX_EXEMPLARS", "SELF_MATCH_TOLERANCE", "Exemplars", "max_exemplars"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]
Indices = NDArray[np.intp]

MAX_EXEMPLARS = 4096
MAX_CELLS = 2**21
"""Numbers in all exemplars: fewer are kept of wide rows."""

N_NEIGHBORS = 5
"""Neighbours that determine a bandwidth, and over which the second half of a score averages."""

N_KERNELS = 16
"""Nearest exemplars whose kernels count."""

MIN_SQUARED_BANDWIDTH = 0.1
"""Added to squared bandwidths, whose median is 1: duplicates would have a bandwidth of 0."""

MAX_BANDWIDTH = 3.0
"""A stray training row must not cover everything around it."""

GROUP = 32
"""Exemplars in a group: the search for the nearest compares groups by their nearest member."""

SELF_MATCH_TOLERANCE = 1e-6
"""Energy, in nats, up to which an exemplar counts as the row itself."""

ROUNDING = 1e-5
"""Upper bound of the relative error of an energy: distances that may be zero are computed exactly.

A thousand units from the centre, energies are accurate to a tenth of a nat.
"""


def max_exemplars(dimensions: int) -> int:
    """Return the maximum number of exemplars with so many coordinates."""
    return min(MAX_EXEMPLARS, max(2, MAX_CELLS // dimensions))


@dataclass(frozen=True, eq=False)
class Exemplars:
    """Training rows in the networks' coordinates.

    Attributes
    ----------
    points : ndarray of shape (m, d)
        Their coordinates, those of the residual first.
    bandwidth : ndarray of shape (m,)
        Factor of the variances of each kernel.
    n_skipped_neighbors : int
        Nearest exemplars that give no support: anomalies among the training rows would
        support others like them.
    """

    points: Weights
    bandwidth: Weights
    n_skipped_neighbors: int = 0

    @classmethod
    def fit(cls, points: Weights, calibration: Weights | None = None) -> Exemplars:
        """Measure bandwidths from the distances between points.

        A squared bandwidth is the mean energy, half the squared distance, of the five
        nearest other points, relative to its median: kernels widen with the root of the
        distance to neighbours, as in "self-tuning" affinities (Zelnik-Manor and Perona,
        "Self-tuning spectral clustering", NIPS 2004; Abramson, "On bandwidth variation
        in kernel estimates", :doi:`10.1214/aos/1176345986`), up to `MAX_BANDWIDTH`.

        Calibration points are exemplars as well. Their bandwidths come from the other
        points alone, so that each depends on nothing but its own position.
        """
        from sklearn.neighbors import NearestNeighbors

        k = min(N_NEIGHBORS, len(points) - 1)
        with SINGLE_THREAD:
            nearest = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(points)
            spacing = _mean_energy(nearest.kneighbors()[0])
            apart = spacing[spacing > SELF_MATCH_TOLERANCE]
            typical = np.median(apart) if len(apart) else 1.0
            if calibration is not None and len(calibration):
                spacing = np.append(spacing, _mean_energy(nearest.kneighbors(calibration)[0]))
                points = np.concatenate([points, calibration])
        bandwidth = np.minimum(np.sqrt(spacing / typical + MIN_SQUARED_BANDWIDTH), MAX_BANDWIDTH)
        return cls(points, bandwidth.astype(np.float32))

    @property
    def support(self) -> tuple[int, int]:
        """Numbers of nearest exemplars that are skipped, and of those used after them.

        The same for rows that leave out two exemplars as for others: their scores are
        compared.
        """
        others = max(1, len(self.points) - 2)
        skipped = min(self.n_skipped_neighbors, others - 1)
        return skipped, min(N_KERNELS, others - skipped)

    @cached_property
    def _center(self) -> Weights:
        return self.points.mean(axis=0)

    @cached_property
    def _coefficients(self) -> Weights:
        """Coefficients of energies as polynomials in a point, its half square and 1: (m, d + 2)."""
        kept = self.points - self._center
        square = 0.5 * (kept**2).sum(axis=1)
        polynomial = np.column_stack([-kept, np.ones_like(square), square])
        return (polynomial / self.bandwidth[:, None]).astype(np.float32)

    def score(self, points: Weights, n_left_out: int = 1) -> Array:
        """Compute the distance of points, (n, d), from the exemplars, in nats: (n,).

        With the energy E_i of exemplar i, half its squared distance divided by its
        bandwidth, ``sum_i r_i E_i + KL(r || 1/k)`` is the reconstruction error and KL
        divergence of an ELBO whose latent variables are the index of one of the k nearest
        exemplars and the code, for any distribution r over those. The score is the mean
        of two values: of the least one, ``-log(1/k sum_i exp(-E_i))`` by the variational
        formula of log-sum-exp, and of the energy where r is uniform over the nearest five.

        An exemplar at the very point counts as the row itself and is left out, so that
        training rows get the scores that fresh ones would get. `n_left_out` is the maximum
        number of them: two for points that are certainly exemplars, themselves and one
        more as for any other row.
        """
        energy, _ = self._candidates(points, n_left_out)
        skipped, used = self.support
        last = skipped + used
        energy.partition(last - 1, axis=1)
        return _score_of(_nonnegative(np.sort(energy[:, :last], axis=1)[:, skipped:]))

    def _candidates(self, points: Weights, n_left_out: int) -> tuple[Weights, Indices]:
        """Return energies of groups of exemplars that hold the nearest ones, and the groups.

        Both (n, ...). Exemplars that are left out have infinite energies.
        """
        skipped, used = self.support
        count = min(len(self.points), skipped + used + 2)
        lifted = self._lift(points)
        energy, least = self._energies(lifted)
        least = np.ascontiguousarray(least.T)  # (n, groups)
        n, groups = least.shape
        nearest = np.argpartition(least, min(count, groups) - 1, axis=1)[:, :count]
        some = energy[nearest, :, np.arange(PADDING, PADDING + n)[:, None]].reshape(n, -1)

        scale = 1.0 + 2.0 * lifted[-2, PADDING:-PADDING]
        close = least.min(axis=1) <= ROUNDING * scale  # up to rounding
        if close.any():
            place = _places_of_least(some[close], count)
            index = _exemplars_at(nearest[close], place)
            is_self = self._matches_self(points[close], index, n_left_out)
            some[np.flatnonzero(close)[:, None], place] += np.where(is_self, np.inf, 0.0)
        return some, nearest

    def _matches_self(self, points: Weights, index: Indices, n_left_out: int) -> NDArray[np.bool_]:
        """Return which of these exemplars, (n, k), count as the points themselves: (n, k).

        At most the first `n_left_out`, and never all exemplars.
        """
        is_self = np.zeros(index.shape, dtype=bool)
        left = np.full(len(points), min(n_left_out, len(self.points) - 1))
        for j, other in enumerate(index.T):
            apart = 0.5 * ((points - self.points[other]) ** 2).sum(axis=1)
            is_self[:, j] = (apart <= SELF_MATCH_TOLERANCE * self.bandwidth[other]) & (left > 0)
            left -= is_self[:, j]
        return is_self

    def _lift(self, points: Weights) -> Weights:
        """Return points, (n, d), with their half squares and 1, padded: (d + 2, n + ...)."""
        n, d = points.shape
        lifted = np.zeros((d + 2, n + 2 * PADDING), dtype=np.float32)
        lifted[:d, PADDING:-PADDING] = (points - self._center).T
        lifted[d] = 0.5 * (lifted[:d] ** 2).sum(axis=0)
        lifted[d + 1] = 1.0
        return lifted

    def _energies(self, lifted: Weights) -> tuple[Weights, Weights]:
        """Return energies, (groups, GROUP, n + ...), and the least of each group, (groups, n).

        Rounding may make small ones of points far from the centre negative.
        """
        m = len(self.points)
        energy = np.empty((-(-m // GROUP), GROUP, lifted.shape[1]), dtype=np.float32)
        flat = energy.reshape(-1, lifted.shape[1])
        np.matmul(self._coefficients, lifted, out=flat[:m])
        flat[m:] = np.inf  # padding of the last group
        return energy, energy[:, :, PADDING:-PADDING].min(axis=1)


def _places_of_least(energy: Weights, count: int) -> Indices:
    """Return the positions of the least energies of each row, ascending: (n, count)."""
    place = np.argpartition(energy, count - 1, axis=1)[:, :count]
    order = np.take_along_axis(energy, place, axis=1).argsort(axis=1, kind="stable")
    return np.take_along_axis(place, order, axis=1)


def _exemplars_at(groups: Indices, place: Indices) -> Indices:
    """Return the exemplars at positions in rows of energies of groups: (n, k)."""
    return np.take_along_axis(groups, place // GROUP, axis=1) * GROUP + place % GROUP


def _score_of(energy: Array) -> Array:
    """Return the scores of ascending energies, (n, used): (n,)."""
    soft = energy[:, 0] - np.log(_kernels(energy).mean(axis=1))
    return 0.5 * (soft + energy[:, :N_NEIGHBORS].mean(axis=1))


def _nonnegative(energy: Weights) -> Array:
    """Return energies in float64, without those that rounding made negative."""
    return np.maximum(energy, 0.0).astype(np.float64)


def _kernels(energy: Array) -> Array:
    """Return kernels of ascending energies, relative to that of the nearest."""
    return np.exp(energy[:, :1] - energy)


def _mean_energy(distances: Weights) -> Weights:
    """Return half the squared distances to neighbours, (n, k), averaged: (n,)."""
    return 0.5 * (distances**2).mean(axis=1)
