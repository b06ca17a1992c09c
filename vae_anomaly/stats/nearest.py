"""Exact search for the exemplars with the least energies.

The energies that are returned are sums of squared differences, whose rounding depends on nothing
but the two points: a row has the same ones alone or in any batch. They are computed for a few
candidates of each row. Matrix products choose these; their rounding depends on the shapes, but
is bounded, and a row whose candidates may lack one of the nearest is searched again.

Many rows are searched in principal coordinates, where a distance is no more than the whole one,
and mostly nearly as much. A k-d tree divides them into boxes; the rows of a box are compared
with the exemplars near it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.stats.kd_tree import KDTree

__all__ = ["FAR", "NearestSearch", "candidates", "group_size", "half_squares", "scratch"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]
Indices = NDArray[np.intp]

MIN_ROWS = 8192
"""Rows for which principal coordinates and boxes are worth their computation."""

MAX_DIMENSIONS = 1024
"""Coordinates of which principal ones are computed."""

MAX_TREE_DIMENSIONS = 16
"""Principal coordinates that boxes divide."""

BOX_SIZE = 16
"""Exemplars in a box."""

NEAR_QUANTILE = 0.95
"""Share of exemplars that need no other exemplars than those near their box."""

N_MEASURED = 512
"""Exemplars on which the number of principal coordinates is chosen."""

TILE_ROWS, TILE_CELLS = 256, 2**18
"""Rows and numbers of a product, whose result then stays in the cache of a processor."""

N_SPARE = 3
"""Candidates more than needed, so that the last needed one is surely nearer than all others."""

MAX_SHARE = 0.5
"""Mean share of the exemplars near a box, beyond which boxes are not used."""

MAX_CANDIDATES = 128
"""Candidates of a row, before the energies of all exemplars are computed."""

TINY = 1e-30
"""Added to what may be zero and is divided by."""

UNIT_ROUNDOFF = 2.0**-24
"""Of float32."""

FAR = 1e37
"""Energy of padding. Finite: infinity times zero is no number."""


class _Memory(threading.local):
    """Memory of each thread for the results of products: new memory costs as much as they do."""

    def __init__(self) -> None:
        self._flat = np.empty(0, dtype=np.float32)

    def array(self, *shape: int) -> Weights:
        """Return an array of any content, in the place of the one before."""
        if self._flat.size < prod(shape):
            self._flat = np.empty(prod(shape), dtype=np.float32)
        return self._flat[: prod(shape)].reshape(shape)


_MEMORY = _Memory()


def scratch(*shape: int) -> Weights:
    """Return memory of this thread, valid until the next call."""
    return _MEMORY.array(*shape)


class _Rows(NamedTuple):
    """Rows, prepared for products."""

    points: Weights  # (n, d)
    factors: Weights  # of the coefficients in energies, (n, k + 2)
    slack: Array  # bounds of rounding, (n,)

    def only(self, chosen: Indices) -> _Rows:
        """Return some of the rows."""
        return _Rows(
            self.points.take(chosen, axis=0),
            self.factors.take(chosen, axis=0),
            self.slack.take(chosen),
        )


@dataclass(frozen=True, eq=False)
class _Products:
    """Matrix products that bound energies from below, up to rounding.

    The energy is a polynomial in the coordinates of a row, half its square, and 1.
    """

    center: Weights  # (d,)
    axes: Weights | None  # orthonormal, (d, k); None keeps the coordinates
    coefficients: Weights  # of m exemplars and of padding, (m + 1, k + 2)
    slack: tuple[float, float]  # for half squares of rows, and constant

    @classmethod
    def of(cls, points: Weights, bandwidth: Weights, axes: Weights | None = None) -> _Products:
        """Prepare products with exemplars, (m, d)."""
        center = points.mean(axis=0)
        kept = points.astype(np.float64) - center
        # Rounding of d + 2 products, of projections, and of the energies that are compared.
        factor = 8.0 * (kept.shape[1] + 8) * UNIT_ROUNDOFF / float(bandwidth.min())
        farthest = float(0.5 * (kept**2).sum(axis=1).max())
        if axes is not None:
            kept = kept @ axes
        m, k = kept.shape
        coefficients = np.zeros((m + 1, k + 2))
        coefficients[:m, :k] = -kept
        coefficients[:m, k] = 1.0
        coefficients[:m, k + 1] = 0.5 * (kept**2).sum(axis=1)
        coefficients[:m] /= bandwidth[:, None]
        coefficients[m, k + 1] = FAR
        return cls(center, axes, coefficients.astype(np.float32), (factor, factor * farthest))

    def prepare(self, points: Weights) -> _Rows:
        """Prepare rows, (n, d)."""
        kept: Weights = points - self.center
        half_square = half_squares(kept)
        slack = self.slack[0] * half_square.astype(np.float64) + self.slack[1]
        if self.axes is not None:
            kept = kept @ self.axes
            half_square = half_squares(kept)
        n, k = kept.shape
        factors = np.ones((n, k + 2), dtype=np.float32)
        factors[:, :k] = kept
        factors[:, k] = half_square
        return _Rows(points, factors, slack)


class _Shortlist(NamedTuple):
    """Exemplars that rows are compared with."""

    members: Indices
    others: float  # lower bound of the energies of all others


class _Boxes(NamedTuple):
    """Boxes of principal coordinates, with the exemplars near them."""

    tree: KDTree
    shortlists: list[_Shortlist]

    def parts(self, rows: _Rows) -> Iterator[tuple[Indices, _Shortlist]]:
        """Yield which rows are in a box, and its shortlist."""
        box = self.tree.box_of(rows.factors).astype(np.uint16)  # which is sorted by counting
        order = np.argsort(box, kind="stable")
        ends = np.bincount(box, minlength=len(self.shortlists)).cumsum()
        for part, shortlist in zip(np.split(order, ends[:-1]), self.shortlists, strict=True):
            if len(part):
                yield part, shortlist


@dataclass(frozen=True, eq=False)
class NearestSearch:
    """Search for the least energies: half squared distances, divided by bandwidths.

    Attributes
    ----------
    points : ndarray of shape (m, d)
    bandwidth : ndarray of shape (m,)
    max_count : int
        Number of least energies of a row that are wanted at most.
    """

    points: Weights
    bandwidth: Weights
    max_count: int

    @classmethod
    def among(cls, points: Weights, bandwidth: Weights, max_count: int) -> NearestSearch:
        """Prepare the search, without exemplars that are never needed.

        Of equal points those with the largest bandwidths are nearest to all rows.
        """
        # Equal points have equal keys: mostly all keys differ, and nothing else is computed.
        keys = np.einsum("md,d->m", points, np.cos(np.arange(points.shape[1], dtype=np.float32)))
        if len(np.unique(keys)) < len(points):
            _, point = np.unique(points, axis=0, return_inverse=True)
            order = np.lexsort((-bandwidth, point.ravel()))
            counts = np.bincount(point.ravel())
            rank = np.arange(len(points)) - np.repeat(counts.cumsum() - counts, counts)
            kept = np.sort(order[rank < max_count])
            points, bandwidth = points[kept], bandwidth[kept]
        return cls(points, bandwidth, max_count)

    def energies(self, rows: Weights, count: int) -> Weights:
        """Compute the least energies of rows, (n, d), ascending: (n, count)."""
        products, boxes = self._plain, None
        if len(rows) >= MIN_ROWS and rows.shape[1] <= MAX_DIMENSIONS:
            products, boxes = self._divided
        prepared = products.prepare(rows)
        found = np.empty((len(rows), count), dtype=np.float32)
        left, n_candidates = np.arange(len(rows)), count + N_SPARE
        if boxes is not None:
            is_sure = np.empty(len(rows), dtype=bool)
            for part, shortlist in boxes.parts(prepared):
                some = prepared.only(part)
                found[part], is_sure[part] = self._search(
                    products, some, shortlist, count, n_candidates
                )
            left = np.flatnonzero(~is_sure)
        while len(left) and n_candidates <= MAX_CANDIDATES:
            some = prepared.only(left)
            found[left], sure = self._search(products, some, self._all, count, n_candidates)
            left, n_candidates = left[~sure], 4 * n_candidates
        for row in left:
            energy = self._energies_of(self._all.members, rows[row])
            found[row] = np.sort(energy)[:count]
        return found

    def _search(
        self, products: _Products, rows: _Rows, shortlist: _Shortlist, count: int, n_candidates: int
    ) -> tuple[Weights, NDArray[np.bool_]]:
        """Return the least energies among some exemplars, (n, count), and whether of all: (n,)."""
        size = group_size(len(shortlist.members), n_candidates)
        members, coefficients = self._padded(products, shortlist, size)
        n_groups = len(members) // size
        n, tile = len(rows.points), max(1, min(TILE_ROWS, TILE_CELLS // len(members)))
        found, bound = np.empty((n, count), dtype=np.float32), np.empty(n)
        for start in range(0, n, tile):
            part = slice(start, start + tile)
            factors = rows.factors[part].T
            bounds = scratch(len(members), factors.shape[1])
            np.matmul(coefficients, factors, out=bounds)
            limit, row, place = candidates(bounds, n_groups, n_candidates)
            energy = self._energies_of(members[place], rows.points[part].take(row, axis=0))
            found[part] = _ascending(energy, row, len(limit), count)
            bound[part] = limit
        is_sure = found[:, count - 1] <= np.minimum(bound, shortlist.others) - rows.slack
        return found, is_sure

    def _padded(
        self, products: _Products, shortlist: _Shortlist, size: int
    ) -> tuple[Indices, Weights]:
        """Return exemplars, and their coefficients, with padding to a multiple of a size."""
        missing = -len(shortlist.members) % size
        if shortlist is self._all and not missing:
            return shortlist.members, products.coefficients[:-1]
        members = np.append(shortlist.members, np.full(missing, len(self.points)))
        return members, products.coefficients.take(members, axis=0)

    def _energies_of(self, members: Indices, rows: Weights) -> Weights:
        """Compute the energies of exemplars, (p,), at rows, (p, d) or (d,): (p,)."""
        away = self.points.take(members, axis=0)
        away -= rows
        return half_squares(away) / self.bandwidth.take(members)

    @cached_property
    def _all(self) -> _Shortlist:
        return _Shortlist(np.arange(len(self.points)), np.inf)

    @cached_property
    def _plain(self) -> _Products:
        return _Products.of(self.points, self.bandwidth)

    @cached_property
    def _divided(self) -> tuple[_Products, _Boxes | None]:
        """Products of principal coordinates, and boxes if few of the exemplars are near them."""
        m, count = len(self.points), min(self.max_count, len(self.points))
        kept = self.points.astype(np.float64) - self.points.mean(axis=0)
        variances, axes = np.linalg.eigh(kept.T @ kept / m)  # ascending
        sample = self._plain.prepare(self.points[:: -(-m // N_MEASURED)])
        more = min(m, count + N_SPARE)
        measured = self._search(self._plain, sample, self._all, more, more + N_SPARE)[0]
        # What the other coordinates add to a distance is to be less than what candidates differ by.
        spacing = np.median(self.bandwidth) * np.median(measured[:, -1] - measured[:, count - 1])
        n_left_out = np.count_nonzero(variances.cumsum() <= 0.25 * spacing)
        axes = axes[:, n_left_out:][:, ::-1].astype(np.float32)
        products = _Products.of(self.points, self.bandwidth, axes)
        return products, self._boxes(products, count)

    def _boxes(self, products: _Products, count: int) -> _Boxes | None:
        """Divide the space of principal coordinates, or return None if this is of no use."""
        m, rows = len(self.points), products.prepare(self.points)
        levels = (m // BOX_SIZE).bit_length() - 1
        if levels < 1:
            return None
        needed = self._search(products, rows, self._all, count, count + N_SPARE)[0][:, -1]
        k = min(rows.factors.shape[1] - 2, MAX_TREE_DIMENSIONS)
        points = rows.factors[:, :k].astype(np.float64)
        tree, shortlists = KDTree.fit(points, levels), []
        box_of = tree.box_of(rows.factors)
        typical = np.array([np.median(needed[own]) if len(own) else 0.0 for own in tree.members])
        factor = np.quantile(needed / np.maximum(typical[box_of], TINY), NEAR_QUANTILE)
        for box in range(len(typical)):
            bounds = 0.5 * tree.squared_distances(box, points) / self.bandwidth
            order = np.argsort(bounds, kind="stable")
            n_near = int(np.count_nonzero(bounds <= factor * typical[box]))
            n = max(n_near, min(m, count + N_SPARE))
            others = float(bounds[order[n]]) if n < m else np.inf
            shortlists.append(_Shortlist(order[:n], others))
        mean = np.mean([len(shortlist.members) for shortlist in shortlists])
        return _Boxes(tree, shortlists) if mean <= MAX_SHARE * m else None


def group_size(n: int, n_candidates: int) -> int:
    """Return the members of a group of `candidates`, so that groups are as much work as members."""
    return 1 << max(0, round(np.log2(n / n_candidates) / 2))


def candidates(
    bounds: Weights, n_groups: int, n_candidates: int
) -> tuple[Weights, Indices, Indices]:
    """Choose exemplars of rows by bounds of their energies, (s, n).

    Returns a limit for each row, (n,), that at least `n_candidates` keep, and row and place of all
    that do, by row. The limit is the least bound of the last of as many groups; a group holds
    places with the same remainder, so that near exemplars are in different ones.
    """
    s, n = bounds.shape
    grouped = bounds.reshape(-1, n_groups * n)
    least = np.ascontiguousarray(grouped.min(axis=0).reshape(n_groups, n).T)
    limit = np.full(n, FAR / 2, dtype=np.float32)
    if n_candidates < n_groups:
        last = np.partition(least, n_candidates - 1, axis=1)[:, n_candidates - 1]
        limit = np.minimum(limit, last)
    group = np.flatnonzero(least <= limit[:, None])
    row = group // n_groups
    first = (group - row * n_groups) * n + row
    place = first[:, None] + np.arange(0, s * n, n_groups * n)
    kept = np.flatnonzero(grouped.take(place) <= limit[row][:, None])
    row = row[kept // len(grouped)]
    return limit, row, place.take(kept) // n


def _ascending(energy: Weights, row: Indices, n: int, count: int) -> Weights:
    """Return the least energies of each of n rows, ascending: (n, count).

    `row` says whose they are, in order. Rows that have fewer are filled with infinity.
    """
    counts = np.bincount(row, minlength=n)
    starts = counts.cumsum() - counts
    found = np.full((n, max(count, counts.max(initial=0))), np.inf, dtype=np.float32)
    found[row, np.arange(len(row)) - starts[row]] = energy
    found.sort(axis=1)
    return found[:, :count]


def half_squares(points: Weights) -> Weights:
    """Return half the sums of squares of rows, (n, d), alike wherever they stand: (n,)."""
    squares: Weights = np.einsum("nd,nd->n", points, points)
    return np.float32(0.5) * squares
