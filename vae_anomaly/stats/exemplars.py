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

from vae_anomaly._threads import SINGLE_THREAD
from vae_anomaly.stats.nearest import NearestSearch

__all__ = ["MAX_EXEMPLARS", "SELF_MATCH_TOLERANCE", "Exemplars", "max_exemplars", "sparse_first"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]

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

SELF_MATCH_TOLERANCE = 1e-6
"""Energy, in nats, up to which an exemplar counts as the row itself."""

MAX_LEFT_OUT = 2
"""Exemplars that are left out for a row at most."""


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
    def _search(self) -> NearestSearch:
        skipped, used = self.support
        count = min(len(self.points), skipped + used + MAX_LEFT_OUT)
        return NearestSearch.among(self.points, self.bandwidth, count)

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
        skipped, used = self.support
        n_left_out = min(n_left_out, len(self.points) - 1)
        count = min(len(self.points), skipped + used + n_left_out)
        energy = self._search.energies(points, count)
        is_self = energy[:, :n_left_out] <= SELF_MATCH_TOLERANCE
        first = skipped + np.count_nonzero(is_self, axis=1)
        places = first[:, None] + np.arange(used)
        return _score_of(np.take_along_axis(energy, places, axis=1).astype(np.float64))


def sparse_first(bandwidth: Weights, count: int, rng: np.random.RandomState) -> NDArray[np.intp]:
    """Return an order of exemplars, `count` random ones first, more likely where they are sparse.

    Their probabilities are proportional to bandwidths: rare groups of rows keep their exemplars,
    where many are alike a part of them will do. P. S. Efraimidis and P. G. Spirakis, "Weighted
    random sampling with a reservoir", :doi:`10.1016/j.ipl.2005.11.003`.
    """
    keys = rng.exponential(size=len(bandwidth)) / bandwidth
    chosen = np.sort(np.argsort(keys, kind="stable")[:count])
    return np.append(chosen, np.setdiff1d(np.arange(len(bandwidth)), chosen))


def _score_of(energy: Array) -> Array:
    """Return the scores of ascending energies, (n, used): (n,)."""
    soft = energy[:, 0] - np.log(_kernels(energy).mean(axis=1))
    return 0.5 * (soft + energy[:, :N_NEIGHBORS].mean(axis=1))


def _kernels(energy: Array) -> Array:
    """Return kernels of ascending energies, relative to that of the nearest."""
    return np.exp(energy[:, :1] - energy)


def _mean_energy(distances: Weights) -> Weights:
    """Return half the squared distances to neighbours, (n, k), averaged: (n,)."""
    return 0.5 * (distances**2).mean(axis=1)
