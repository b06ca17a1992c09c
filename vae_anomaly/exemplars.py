"""How strange a row is beside single training rows, in the networks' own coordinates.

A VAE gives every row two sets of coordinates: its code, in standard deviations
of q(z|x), and what the decoder leaves unexplained of it, in standard deviations
of p(x|z). Together they lose nothing of the row, and each unit is one that
noise alone would make. A row is compared with training rows by kernels in these
coordinates, wider where training rows lie far apart. All have the height one, so
that a wide kernel costs nothing: what comes out is a distance from the nearest
rows, in nats, and not the log of a density.
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

MAX_EXEMPLARS = 4096
MAX_CELLS = 2**21
"""Numbers that exemplars may consist of: fewer of them are kept of wide rows."""

N_NEIGHBOURS = 5
FLOOR = 0.1
"""Added to the squares of reaches, whose median is 1: duplicates have none of their own."""

WIDEST = 3.0
"""Greatest reach: a stray row among those of training is not to swallow what is around it."""

PART = 512
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

    @property
    def _parts(self) -> Iterator[slice]:
        return (slice(start, start + PART) for start in range(0, len(self.points), PART))

    def energies(self, points: Weights) -> Weights:
        """Half the squared distances of points, (n, d), in units of reaches: (m, n).

        Where they are zero they may be less, by rounding.
        """
        n, d = points.shape
        lifted = np.zeros((d + 2, n + 2 * RIM), dtype=np.float32)
        lifted[:d, RIM:-RIM] = (points - self._center).T
        lifted[d] = 0.5 * (lifted[:d] ** 2).sum(axis=0)
        lifted[d + 1] = 1.0
        energy = np.empty((len(self.points), lifted.shape[1]), dtype=np.float32)
        for part in self._parts:
            np.matmul(self._coefficients[part], lifted, out=energy[part])
        return energy[:, RIM:-RIM]

    def score(self, points: Weights, left_out: int = 1) -> Array:
        """Minus the log of the mean kernel at points, (n, d), in nats: (n,).

        With the energy E_i of exemplar i it is ``-log(1/m sum_i exp(-E_i))``. By
        the variational formula of log-sum-exp that is the least value over
        distributions r of ``sum_i r_i E_i + KL(r || 1/m)``: reconstruction error
        and KL divergence of an ELBO whose latent variables are the exemplar and
        the code. An exemplar at the very point is taken for the row itself and
        left out, so that training rows get the scores that fresh ones would. With
        `left_out` up to so many are: of points that are exemplars for certain,
        itself and then one as of any other row. After them go those that are
        `doubted`.
        """
        energy, nearest = self._of_others(points, left_out)
        near: Array = np.zeros(len(points))
        for part in self._parts:
            kernel = np.subtract(nearest, energy[part], out=energy[part])
            near += np.exp(kernel, out=kernel).sum(axis=0)
        return np.log(len(self.points) / near) + nearest

    def attribute(self, points: Weights, columns: int) -> Array:
        """Split the scores of points: (n, columns) of what their residuals add.

        Energies are averaged over exemplars with the weights r of `score`.
        """
        energy, nearest = self._of_others(points, 1)
        weight = np.exp(nearest - energy).astype(np.float64)
        weight /= weight.sum(axis=0) * self.reach[:, None]  # (m, n)
        residual = self.points[:, :columns].astype(np.float64)
        new = points[:, :columns].astype(np.float64)
        mixed = new**2 * weight.sum(axis=0)[:, None] - 2 * new * (weight.T @ residual)
        return 0.5 * np.maximum(mixed + weight.T @ residual**2, 0.0)

    def _of_others(self, points: Weights, left_out: int) -> tuple[Weights, Weights]:
        """Energies, (m, n), without exemplars that do not count; and the least of them."""
        energy = self.energies(points)
        nearest = np.maximum(energy.min(axis=0), 0.0)
        scale = 1.0 + ((points - self._center) ** 2).sum(axis=1)
        for i in np.flatnonzero(nearest <= ROUNDING * scale):
            for _ in range(left_out):
                closest = energy[:, i].argmin()
                apart = 0.5 * ((points[i] - self.points[closest]) ** 2).sum()
                if apart > SAME * self.reach[closest]:
                    break
                energy[closest, i] = np.inf
            nearest[i] = max(energy[:, i].min(), 0.0)
        for _ in range(min(self.doubted, len(energy) - 1 - left_out)):
            energy[energy.argmin(axis=0), np.arange(len(points))] = np.inf
            nearest = energy.min(axis=0)
        return energy, nearest


def _mean_energy(distances: Weights) -> Weights:
    """Half the squared distances to neighbours, (n, k), averaged: (n,)."""
    return 0.5 * (distances**2).mean(axis=1)
