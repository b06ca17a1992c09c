"""How strange a row is beside single training rows, in the networks' own coordinates.

A VAE gives every row two sets of coordinates: its code, in standard deviations
of q(z|x), and what the decoder leaves unexplained of it, in standard deviations
of p(x|z). Together they lose nothing of the row, and each unit is one that
noise alone would make. A row is compared with training rows by kernels in these
coordinates, wider where training rows lie far apart. All have the height one, so
that a wide kernel costs nothing: what comes out is a distance from the nearest
rows, in nats, and not the log of a density. Half of it asks how many rows are
close, the other half how far the nearest five are on average, so that one
training row, or one that occurs many times, is not believed by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.threads import ONE_THREAD, RIM

__all__ = ["MAX_EXEMPLARS", "Exemplars", "most_exemplars"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]
Indices = NDArray[np.intp]

MAX_EXEMPLARS = 4096
MAX_CELLS = 2**21
"""Numbers that exemplars may consist of: fewer of them are kept of wide rows."""

N_NEIGHBOURS = 5
"""By whom the reach of an exemplar is measured, and between whom a row is divided."""

FLOOR = 0.1
"""Added to the squares of reaches, whose median is 1: duplicates have none of their own."""

WIDEST = 3.0
"""Greatest reach: a stray row among those of training is not to swallow what is around it."""

GROUP = 16
"""Exemplars of which only the nearest is looked at, until the nearest groups are known."""

PART = 32 * GROUP
"""Exemplars that are worked on at a time: their energies stay in a core's own cache."""

SAME = 1e-6
"""Energy, in nats, up to which an exemplar is taken to be the row itself."""

ROUNDING = 1e-5
"""Relative error of an energy, generously: distances that may be zero are measured exactly.

Of points a thousand units from the centre energies are known to a tenth of a nat.
"""


def most_exemplars(dimensions: int) -> int:
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
        :doi:`10.1214/aos/1176345986`), but not beyond `WIDEST`.

        Points that are `joined` are exemplars as well. Their reaches are measured
        from the others alone, so that each depends on nothing but its own place.
        """
        from sklearn.neighbors import NearestNeighbors

        k = min(N_NEIGHBOURS, len(points) - 1)
        with ONE_THREAD:
            nearest = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(points)
            spacing = _mean_energy(nearest.kneighbors()[0])
            apart = spacing[spacing > SAME]
            typical = np.median(apart) if len(apart) else 1.0
            if joined is not None and len(joined):
                spacing = np.append(spacing, _mean_energy(nearest.kneighbors(joined)[0]))
                points = np.concatenate([points, joined])
        reach = np.minimum(np.sqrt(spacing / typical + FLOOR), WIDEST)
        return cls(points, reach.astype(np.float32))

    @property
    def believed(self) -> tuple[int, int]:
        """How many of the nearest exemplars are doubted, and how many after them believed.

        As many for rows that leave out two as for others: their scores are compared.
        """
        others = max(1, len(self.points) - 2)
        doubted = min(self.doubted, others - 1)
        return doubted, min(N_NEIGHBOURS, others - doubted)

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

    def _energies(self, points: Weights) -> Weights:
        """See `energies`: with a rim, and infinite ones that fill up the last group."""
        (n, d), m = points.shape, len(self.points)
        lifted = np.zeros((d + 2, n + 2 * RIM), dtype=np.float32)
        lifted[:d, RIM:-RIM] = (points - self._center).T
        lifted[d] = 0.5 * (lifted[:d] ** 2).sum(axis=0)
        lifted[d + 1] = 1.0
        energy = np.empty((-(-m // GROUP) * GROUP, n + 2 * RIM), dtype=np.float32)
        energy[m:] = np.inf
        for part in _parts(self._coefficients):
            np.matmul(self._coefficients[part], lifted, out=energy[:m][part])
        return energy

    def energies(self, points: Weights) -> Weights:
        """Half the squared distances of points, (n, d), in units of reaches: (m, n).

        Of points far from the centre small ones may come out less than zero, by rounding.
        """
        return self._energies(points)[: len(self.points), RIM:-RIM]

    def score(self, points: Weights, left_out: int = 1) -> Array:
        """Tell how far points, (n, d), are from exemplars, in nats: (n,).

        With the energy E_i of exemplar i, ``sum_i r_i E_i + KL(r || 1/m)`` is the
        reconstruction error and KL divergence of an ELBO whose latent variables are
        the exemplar and the code, for any distribution r over exemplars. The score is
        the mean of two: of its least value, ``-log(1/m sum_i exp(-E_i))`` by the
        variational formula of log-sum-exp, and of its energy where r is spread evenly
        over the five nearest. The first counts how many exemplars are close; the
        second believes none of them by itself.

        An exemplar at the very point is taken for the row itself and left out, so that
        training rows get the scores that fresh ones would. With `left_out` up to so
        many are: of points that are exemplars for certain, itself and then one as of
        any other row. After them go those that are `doubted`.
        """
        energy, few, _ = self._of_others(points, left_out)
        nearest = np.pad(few[:, 0], RIM)  # of all, so that no kernel is above 1
        near: Array = np.zeros(len(nearest))
        for part in _parts(energy):
            kernel = np.subtract(nearest, energy[part], out=energy[part])
            near += np.exp(kernel, out=kernel).sum(axis=0)
        few = np.maximum(few, 0.0)
        least = few[:, 0] + np.log(len(self.points) / near[RIM:-RIM])
        return 0.5 * (least + few.mean(axis=1, dtype=np.float64))

    def attribute(self, points: Weights, columns: int) -> Array:
        """Split the scores of points: (n, columns) of what their residuals add.

        Energies are averaged over exemplars with the two distributions r of `score`.
        """
        energy, few, index = self._of_others(points, 1)
        m, n = len(self.points), len(points)
        weight = np.exp(few[:, 0] - energy[:m, RIM:-RIM]).astype(np.float64)
        weight *= 0.5 / weight.sum(axis=0)
        weight[index, np.arange(n)[:, None]] += 0.5 / index.shape[1]
        weight /= self.reach[:, None]  # (m, n)
        residual = self.points[:, :columns].astype(np.float64)
        new = points[:, :columns].astype(np.float64)
        mixed = new**2 * weight.sum(axis=0)[:, None] - 2 * new * (weight.T @ residual)
        return 0.5 * np.maximum(mixed + weight.T @ residual**2, 0.0)

    def _of_others(self, points: Weights, left_out: int) -> tuple[Weights, Weights, Indices]:
        """Energies as `_energies` gives them, infinite for exemplars that do not count.

        And those of the nearest that do, ascending, and which they are: (n, neighbours).
        """
        m = len(self.points)
        left_out = min(left_out, m - 1)
        doubted, neighbours = self.believed
        energy = self._energies(points)
        few, index = _least(energy, min(m, doubted + neighbours + 2))
        index = np.minimum(index, m - 1)  # where energies are infinite, as those that fill up
        scale = 1.0 + ((points - self._center) ** 2).sum(axis=1)
        for i in np.flatnonzero(few[:, 0] <= ROUNDING * scale):
            apart = 0.5 * ((points[i] - self.points[index[i]]) ** 2).sum(axis=1)
            few[i, np.flatnonzero(apart <= SAME * self.reach[index[i]])[:left_out]] = np.inf
            energy[index[i], RIM + i] = few[i]
            order = few[i].argsort(kind="stable")
            few[i], index[i] = few[i, order], index[i, order]
        energy[index[:, :doubted], RIM + np.arange(len(points))[:, None]] = np.inf
        kept = slice(doubted, doubted + neighbours)
        return energy, few[:, kept], index[:, kept]


def _parts(energy: Weights) -> Iterator[slice]:
    """Cut exemplars, (m, ...), into parts to work on."""
    return (slice(start, start + PART) for start in range(0, len(energy), PART))


def _least(energy: Weights, count: int) -> tuple[Weights, Indices]:
    """Find the least energies of each point, and whose they are: ascending, (n, count).

    They are in the groups with the least minima, of which there are as many at most.
    """
    width = energy.shape[1]
    least = energy.reshape(-1, GROUP, width).min(axis=1)[:, RIM:-RIM].T
    groups = np.argpartition(least, min(count, least.shape[1]) - 1, axis=1)[:, :count]
    inside = (groups[:, :, None] * GROUP + np.arange(GROUP)).reshape(len(groups), -1)
    some = energy[inside, np.arange(RIM, width - RIM)[:, None]]
    chosen = np.argpartition(some, count - 1, axis=1)[:, :count]
    few = np.take_along_axis(some, chosen, axis=1)
    order = few.argsort(axis=1, kind="stable")
    index = np.take_along_axis(inside, np.take_along_axis(chosen, order, axis=1), axis=1)
    return np.take_along_axis(few, order, axis=1), index


def _mean_energy(distances: Weights) -> Weights:
    """Half the squared distances to neighbours, (n, k), averaged: (n,)."""
    return 0.5 * (distances**2).mean(axis=1)
