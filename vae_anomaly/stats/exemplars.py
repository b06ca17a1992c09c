"""How strange a row is beside single training rows, in the networks' own coordinates.

A VAE gives every row two sets of coordinates: its code, in standard deviations
of q(z|x), and what the decoder leaves unexplained of it, in standard deviations
of p(x|z). Together they lose nothing of the row, and each unit is one that
noise alone would make. A row is compared with the nearest training rows by kernels
in these coordinates, wider where training rows lie far apart. All have the height
one, so that a wide kernel costs nothing: what comes out is a distance from the
nearest rows, in nats, and not the log of a density. Half of it asks how many of
sixteen are close, the other half how far five are on average, so that one training
row, or one that occurs many times, is not believed by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._threads import PADDING, SINGLE_THREAD

__all__ = ["MAX_EXEMPLARS", "Exemplars", "max_exemplars"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]
Indices = NDArray[np.intp]

MAX_EXEMPLARS = 4096
MAX_CELLS = 2**21
"""Numbers that exemplars may consist of: fewer of them are kept of wide rows."""

N_NEIGHBORS = 5
"""By whom the reach of an exemplar is measured, and between whom a row is divided."""

N_KERNELS = 16
"""Nearest exemplars whose kernels count: how crowded it is further away tells little."""

FLOOR = 0.1
"""Added to the squares of reaches, whose median is 1: duplicates have none of their own."""

MAX_BANDWIDTH = 3.0
"""Greatest reach: a stray row among those of training is not to swallow what is around it."""

GROUP = 32
"""Exemplars of which only the nearest is looked at, until the nearest groups are known."""

SELF_MATCH_TOLERANCE = 1e-6
"""Energy, in nats, up to which an exemplar is taken to be the row itself."""

ROUNDING = 1e-5
"""Relative error of an energy, generously: distances that may be zero are measured exactly.

Of points a thousand units from the centre energies are known to a tenth of a nat.
"""


def max_exemplars(dimensions: int) -> int:
    """Tell how many training rows of so many coordinates to keep at most."""
    return min(MAX_EXEMPLARS, max(2, MAX_CELLS // dimensions))


@dataclass(frozen=True, eq=False)
class Exemplars:
    """Training rows in the networks' coordinates.

    Attributes
    ----------
    points : ndarray of shape (m, d)
        Their coordinates, those of the residual first.
    reach : ndarray of shape (m,)
        Width of each one's kernel: variances are multiplied by it.
    doubted : int
        How many of those nearest to a row are not believed: anomalies among the
        training rows would vouch for others like them.
    """

    points: Weights
    reach: Weights
    doubted: int = 0

    @classmethod
    def of(cls, points: Weights, joined: Weights | None = None) -> Exemplars:
        """Measure how far apart points lie.

        The square of a reach is the mean energy, half the squared distance, of
        the five nearest other points, relative to its median: kernels widen with
        the root of the distance to neighbours, as in "self-tuning" affinities
        (Zelnik-Manor and Perona, "Self-tuning spectral clustering", NIPS 2004;
        Abramson, "On bandwidth variation in kernel estimates",
        :doi:`10.1214/aos/1176345986`), but not beyond `MAX_BANDWIDTH`.

        Points that are `joined` are exemplars as well. Their reaches are measured
        from the others alone, so that each depends on nothing but its own place.
        """
        from sklearn.neighbors import NearestNeighbors

        k = min(N_NEIGHBORS, len(points) - 1)
        with SINGLE_THREAD:
            nearest = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(points)
            spacing = _mean_energy(nearest.kneighbors()[0])
            apart = spacing[spacing > SELF_MATCH_TOLERANCE]
            typical = np.median(apart) if len(apart) else 1.0
            if joined is not None and len(joined):
                spacing = np.append(spacing, _mean_energy(nearest.kneighbors(joined)[0]))
                points = np.concatenate([points, joined])
        reach = np.minimum(np.sqrt(spacing / typical + FLOOR), MAX_BANDWIDTH)
        return cls(points, reach.astype(np.float32))

    @property
    def believed(self) -> tuple[int, int]:
        """How many of the nearest exemplars are doubted, and how many after them believed.

        As many for rows that leave out two as for others: their scores are compared.
        """
        others = max(1, len(self.points) - 2)
        doubted = min(self.doubted, others - 1)
        return doubted, min(N_KERNELS, others - doubted)

    @cached_property
    def _center(self) -> Weights:
        return self.points.mean(axis=0)

    @cached_property
    def _coefficients(self) -> Weights:
        """Write energies as a polynomial in a point, its half square and 1: (m, d + 2)."""
        kept = self.points - self._center
        square = 0.5 * (kept**2).sum(axis=1)
        polynomial = np.column_stack([-kept, np.ones_like(square), square])
        return (polynomial / self.reach[:, None]).astype(np.float32)

    def score(self, points: Weights, n_left_out: int = 1) -> Array:
        """Tell how far points, (n, d), are from exemplars, in nats: (n,).

        With the energy E_i of exemplar i, half its squared distance in units of its
        reach, ``sum_i r_i E_i + KL(r || 1/k)`` is the reconstruction error and KL
        divergence of an ELBO whose latent variables are which of the k nearest
        exemplars it is and the code, for any distribution r over those. The score is
        the mean of two: of its least value, ``-log(1/k sum_i exp(-E_i))`` by the
        variational formula of log-sum-exp, and of its energy where r is spread evenly
        over the nearest five. The first counts how many exemplars are close; the
        second believes none of them by itself.

        An exemplar at the very point is taken for the row itself and left out, so that
        training rows get the scores that fresh ones would. With `n_left_out` up to so
        many are: of points that are exemplars for certain, itself and then one as of
        any other row. After them go those that are `doubted`.
        """
        energy, _ = self._candidates(points, n_left_out)
        doubted, believed = self.believed
        last = doubted + believed
        energy.partition(last - 1, axis=1)
        few = _rounded(np.sort(energy[:, :last], axis=1)[:, doubted:])
        soft = few[:, 0] - np.log(_kernels(few).mean(axis=1))
        return 0.5 * (soft + few[:, :N_NEIGHBORS].mean(axis=1))

    def attribute(self, points: Weights, columns: int) -> Array:
        """Split the scores of points: (n, columns) of what their residuals add.

        Energies are averaged over exemplars with the two distributions r of `score`.
        """
        energy, groups = self._candidates(points, n_left_out=1)
        doubted, believed = self.believed
        place = _places_of_least(energy, doubted + believed)[:, doubted:]
        weight = _kernels(_rounded(np.take_along_axis(energy, place, axis=1)))
        weight *= 0.5 / weight.sum(axis=1, keepdims=True)
        weight[:, :N_NEIGHBORS] += 0.5 / min(N_NEIGHBORS, believed)
        shares = np.zeros((len(points), columns))
        for w, i in zip(weight.T, _exemplars_at(groups, place).T, strict=True):
            apart = points[:, :columns].astype(np.float64) - self.points[i, :columns]
            shares += (0.5 * w / self.reach[i])[:, None] * apart**2
        return shares

    def _candidates(self, points: Weights, n_left_out: int) -> tuple[Weights, Indices]:
        """Energies of groups of exemplars among which are the nearest that count, (n, ...).

        And which groups, (n, ...). Exemplars that do not count have infinite energies.
        """
        doubted, believed = self.believed
        count = min(len(self.points), doubted + believed + 2)
        lifted = self._lift(points)
        energy, least = self._energies(lifted)
        least = np.ascontiguousarray(least.T)  # (n, groups)
        n, groups = least.shape
        nearest = np.argpartition(least, min(count, groups) - 1, axis=1)[:, :count]
        some = energy[nearest, :, np.arange(PADDING, PADDING + n)[:, None]].reshape(n, -1)

        scale = 1.0 + 2.0 * lifted[-2, PADDING:-PADDING]
        at_one = least.min(axis=1) <= ROUNDING * scale  # or so it seems
        if at_one.any():
            place = _places_of_least(some[at_one], count)
            index = _exemplars_at(nearest[at_one], place)
            itself = self._are_themselves(points[at_one], index, n_left_out)
            some[np.flatnonzero(at_one)[:, None], place] += np.where(itself, np.inf, 0.0)
        return some, nearest

    def _are_themselves(
        self, points: Weights, index: Indices, n_left_out: int
    ) -> NDArray[np.bool_]:
        """Tell which of these exemplars, (n, k), are the points that they are near: (n, k).

        At most so many, the first, and never all of them.
        """
        itself = np.zeros(index.shape, dtype=bool)
        left = np.full(len(points), min(n_left_out, len(self.points) - 1))
        for j, other in enumerate(index.T):
            apart = 0.5 * ((points - self.points[other]) ** 2).sum(axis=1)
            itself[:, j] = (apart <= SELF_MATCH_TOLERANCE * self.reach[other]) & (left > 0)
            left -= itself[:, j]
        return itself

    def _lift(self, points: Weights) -> Weights:
        """Put points, (n, d), beside their half squares and 1, with a rim: (d + 2, n + ...)."""
        n, d = points.shape
        lifted = np.zeros((d + 2, n + 2 * PADDING), dtype=np.float32)
        lifted[:d, PADDING:-PADDING] = (points - self._center).T
        lifted[d] = 0.5 * (lifted[:d] ** 2).sum(axis=0)
        lifted[d + 1] = 1.0
        return lifted

    def _energies(self, lifted: Weights) -> tuple[Weights, Weights]:
        """Energies of points, (groups, GROUP, n + ...), and the least in groups, (groups, n).

        Small ones of points far from the centre may come out less than zero, by rounding.
        """
        m = len(self.points)
        energy = np.empty((-(-m // GROUP), GROUP, lifted.shape[1]), dtype=np.float32)
        flat = energy.reshape(-1, lifted.shape[1])
        np.matmul(self._coefficients, lifted, out=flat[:m])
        flat[m:] = np.inf  # those that fill up the last group
        return energy, energy[:, :, PADDING:-PADDING].min(axis=1)


def _places_of_least(energy: Weights, count: int) -> Indices:
    """Where in each row of energies the least are, ascending: (n, count)."""
    place = np.argpartition(energy, count - 1, axis=1)[:, :count]
    order = np.take_along_axis(energy, place, axis=1).argsort(axis=1, kind="stable")
    return np.take_along_axis(place, order, axis=1)


def _exemplars_at(groups: Indices, place: Indices) -> Indices:
    """Whose the energies of some groups, (n, ...), are, by their places in a row: (n, k)."""
    return np.take_along_axis(groups, place // GROUP, axis=1) * GROUP + place % GROUP


def _rounded(energy: Weights) -> Array:
    """Energies, none of which is less than zero by rounding, for sums."""
    return np.maximum(energy, 0.0).astype(np.float64)


def _kernels(energy: Array) -> Array:
    """Kernels, relative to that of the nearest: of ascending energies, none is above 1."""
    return np.exp(energy[:, :1] - energy)


def _mean_energy(distances: Weights) -> Weights:
    """Half the squared distances to neighbours, (n, k), averaged: (n,)."""
    return 0.5 * (distances**2).mean(axis=1)
