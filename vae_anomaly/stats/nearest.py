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
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vae_anomaly._types import AnyArray
from vae_anomaly.stats.kd_tree import KDTree

__all__ = [
    "FAR",
    "NearestSearch",
    "candidates",
    "group_size",
    "half_squares",
    "least_of_groups",
    "scratch",
]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]
Indices = NDArray[np.intp]
Bits = NDArray[np.int32]
"""Of float32: numbers that are not negative are in the order of their bits."""

MIN_ROWS = 8192
"""Rows of all searches for which principal coordinates and boxes are worth their computation."""

MIN_ROWS_AT_ONCE = 1024
"""Rows of one search for which they are of use."""

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

MAX_GROUP = 16
"""Exemplars in a group, of which only the nearest are searched."""

TILE_ROWS, TILE_CELLS = 256, 2**20
"""Rows and numbers of a product: more do not fit into the cache of a processor."""

N_SPARE = 3
"""Candidates more than needed, so that the last needed one is surely nearer than all others."""

MAX_SHARE = 0.5
"""Share of the exemplars near a box, beyond which boxes are not used."""

MAX_CANDIDATES = 128
"""Candidates of a row, before the energies of all exemplars are computed."""

UNIT_ROUNDOFF = 2.0**-24
"""Of float32."""

FAR = 1e37
"""Energy of padding. Finite: infinity times zero is no number."""


class _Memory(threading.local):
    """Memory of each thread for results: new memory costs as much as they do."""

    def __init__(self) -> None:
        self._flat: dict[str, AnyArray] = {}

    def array(self, name: str, *shape: int, dtype: DTypeLike = np.float32) -> AnyArray:
        """Return an array of any content, in the place of the one of this name before."""
        flat, size = self._flat.get(name), prod(shape)
        if flat is None or flat.size < size:
            flat = self._flat[name] = np.empty(size, dtype=dtype)
        return flat[:size].reshape(shape)


_MEMORY = _Memory()


def scratch(name: str, *shape: int, dtype: DTypeLike = np.float32) -> AnyArray:
    """Return memory of this thread, valid until the next call with its name."""
    return _MEMORY.array(name, *shape, dtype=dtype)


class _Rows(NamedTuple):
    """Rows, prepared for products."""

    points: Weights  # (n, d)
    factors: Weights  # of the coefficients in energies, (n, k + 2)
    slack: Array  # bounds of rounding, (n,)
    box: NDArray[np.uint16]  # whose exemplars they are compared with, (n,)

    def only(self, chosen: Indices) -> _Rows:
        """Return some of the rows."""
        return _Rows(
            self.points.take(chosen, axis=0),
            self.factors.take(chosen, axis=0),
            self.slack.take(chosen),
            self.box.take(chosen),
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
        return _Rows(points, factors, slack, np.zeros(n, dtype=np.uint16))


class _Shortlists(NamedTuple):
    """Exemplars that the rows of each box are compared with, equally many, with padding."""

    members: Indices  # (boxes, s)
    others: Array  # lower bounds of the energies of all others, (boxes,)


class _Boxes(NamedTuple):
    """Boxes of principal coordinates, with the exemplars near them."""

    tree: KDTree
    shortlists: _Shortlists


@dataclass(eq=False)
class NearestSearch:
    """Search for the least energies: half squared distances, divided by bandwidths.

    It finds the same ones in the same or in principal coordinates, so that it may begin with the
    former, and go on in the latter.

    Attributes
    ----------
    points : ndarray of shape (m, d)
    bandwidth : ndarray of shape (m,)
    max_count : int
        Number of least energies of a row that are wanted at most.
    n_searched : int
        Rows that were searched before.
    """

    points: Weights
    bandwidth: Weights
    max_count: int
    n_searched: int = 0

    @classmethod
    def among(cls, points: Weights, bandwidth: Weights, max_count: int) -> NearestSearch:
        """Prepare the search, without exemplars that are never needed.

        Of equal points those with the largest bandwidths are nearest to all rows.
        """
        # Equal points have equal keys: mostly all keys differ, and nothing else is computed.
        keys = np.einsum("md,d->m", points, np.cos(np.arange(points.shape[1], dtype=np.float32)))
        keys.sort()  # `np.unique` would import masked arrays, a twentieth of the time of a start
        if (keys[1:] == keys[:-1]).any():
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
        self.n_searched += len(rows)
        if self._is_worth_dividing(*rows.shape):
            products, boxes = self._divided
        prepared = products.prepare(rows)
        found = np.empty((len(rows), count), dtype=np.float32)
        left, n_candidates = np.arange(len(rows)), count + N_SPARE
        if boxes is not None:
            box = boxes.tree.box_of(prepared.factors).astype(np.uint16)  # sorted by counting
            left = np.argsort(box, kind="stable")
            some = prepared._replace(box=box).only(left)
            found[left], sure = self._search(products, boxes.shortlists, some, count, n_candidates)
            left = left[~sure]
        while len(left) and n_candidates <= MAX_CANDIDATES:
            some = prepared.only(left)
            found[left], sure = self._search(products, self._all, some, count, n_candidates)
            left, n_candidates = left[~sure], 4 * n_candidates
        for row in left:
            energy = self._energies_of(self._all.members, rows[row : row + 1])
            found[row] = np.sort(energy[0])[:count]
        return found

    def _is_worth_dividing(self, n: int, d: int) -> bool:
        is_long = n >= MIN_ROWS_AT_ONCE and self.n_searched >= MIN_ROWS
        return is_long and d <= MAX_DIMENSIONS

    def _search(
        self,
        products: _Products,
        shortlists: _Shortlists,
        rows: _Rows,
        count: int,
        n_candidates: int,
    ) -> tuple[Weights, NDArray[np.bool_]]:
        """Return the least energies of rows, (n, count), and whether they are those of all: (n,).

        Rows are in the order of their boxes.
        """
        n, bounds = len(rows.points), _Bounds(products, shortlists, n_candidates)
        found, limit = np.empty((n, count), dtype=np.float32), shortlists.others.take(rows.box)
        widest = max(shortlists.members.shape[1], n_candidates * rows.points.shape[1])
        tile = max(1, min(TILE_ROWS, TILE_CELLS // widest))
        for start in range(0, n, tile):
            part = slice(start, start + tile)
            members, bound = bounds.candidates(rows.factors[part], rows.box[part])
            energy = self._energies_of(members, rows.points[part])
            energy.sort(axis=1)
            found[part] = energy[:, :count]
            limit[part] = np.minimum(limit[part], bound)
        return found, found[:, count - 1] <= limit - rows.slack

    def _energies_of(self, members: Indices, rows: Weights) -> Weights:
        """Compute the energies of exemplars, (n, c), at rows, (n, d): (n, c)."""
        points, bandwidth = self._with_padding
        away = scratch("away", *members.shape, rows.shape[1])
        points.take(members, axis=0, out=away, mode="clip")
        away -= rows[:, None]
        return half_squares(away) / bandwidth.take(members)

    @cached_property
    def _with_padding(self) -> tuple[Weights, Weights]:
        """Points and bandwidths, and those of padding, which is infinitely far away."""
        far = np.full((1, self.points.shape[1]), np.inf, dtype=np.float32)
        return np.concatenate([self.points, far]), np.append(self.bandwidth, np.float32(1.0))

    @cached_property
    def _all(self) -> _Shortlists:
        return _Shortlists(
            _padded(np.arange(len(self.points))[None], len(self.points)), np.full(1, np.inf)
        )

    @cached_property
    def _plain(self) -> _Products:
        return _Products.of(self.points, self.bandwidth)

    @cached_property
    def _divided(self) -> tuple[_Products, _Boxes | None]:
        """Products of principal coordinates, and boxes if few of the exemplars are near them."""
        m, count = len(self.points), min(self.max_count, len(self.points))
        kept = self.points.astype(np.float64) - self.points.mean(axis=0)
        variances, axes = np.linalg.eigh(kept.T @ kept / m)  # ascending
        sample = self.points[:: -(-m // N_MEASURED)]
        rows, more = self._plain.prepare(sample), min(m, count + N_SPARE)
        measured = self._search(self._plain, self._all, rows, more, more + N_SPARE)[0]
        # What the other coordinates add to a distance is to be less than what candidates differ by.
        spacing = np.median(self.bandwidth) * np.median(measured[:, -1] - measured[:, count - 1])
        n_left_out = np.count_nonzero(variances.cumsum() <= 0.25 * spacing)
        axes = axes[:, n_left_out:][:, ::-1].astype(np.float32)
        products = _Products.of(self.points, self.bandwidth, axes)
        return products, self._boxes(products, count, sample, measured[:, count - 1])

    def _boxes(
        self, products: _Products, count: int, sample: Weights, needed: Weights
    ) -> _Boxes | None:
        """Divide the space of principal coordinates, or return None if this is of no use.

        `needed` are the largest of the least energies of a sample of the exemplars.
        """
        m = len(self.points)
        levels = (m // BOX_SIZE).bit_length() - 1
        if levels < 1:
            return None
        points = products.prepare(self.points).factors[:, :-2].astype(np.float64)
        points = points[:, :MAX_TREE_DIMENSIONS]
        tree = KDTree.fit(points, levels)
        bounds = np.stack([tree.squared_distances(box, points) for box in range(2**levels)])
        bounds *= 0.5 / self.bandwidth  # (boxes, m)
        box = tree.box_of(products.prepare(sample).factors)
        near = np.count_nonzero(bounds[box] <= needed[:, None], axis=1)
        n_near = max(int(np.quantile(near, NEAR_QUANTILE)), count + N_SPARE)
        if n_near > MAX_SHARE * m:
            return None
        order = np.argpartition(bounds, n_near, axis=1)
        others = np.take_along_axis(bounds, order[:, n_near:][:, :1], axis=1)[:, 0]
        return _Boxes(tree, _Shortlists(_padded(order[:, :n_near], m), others))


class _Bounds:
    """Bounds of the energies of exemplars at rows, in the order of the boxes of these."""

    def __init__(self, products: _Products, shortlists: _Shortlists, count: int) -> None:
        self._products, self._shortlists, self._count = products, shortlists, count
        self._width = shortlists.members.shape[1]
        self._n_groups = self._width // min(MAX_GROUP, group_size(self._width, count))
        self._box = -1

    def candidates(self, factors: Weights, box: NDArray[np.uint16]) -> tuple[Indices, Weights]:
        """Return the exemplars with the least bounds, (n, count), and a bound of all others."""
        n, n_groups = len(box), self._n_groups
        bounds = scratch("bounds", n, self._width)
        least = scratch("least", n, n_groups, dtype=np.int32)
        starts = [0, *(np.flatnonzero(box[1:] != box[:-1]) + 1).tolist(), n]
        for start, end in pairwise(starts):
            coefficients, of_box = self._coefficients_of(box[start]), bounds[start:end]
            np.matmul(factors[start:end], coefficients.T, out=of_box)
            least_of_groups(of_box, least[start:end])
        place, others = candidates(bounds, least, self._count)
        place += box.astype(np.intp)[:, None] * self._width
        return self._shortlists.members.take(place), others

    def _coefficients_of(self, box: int) -> Weights:
        """Return the coefficients of the exemplars of a box, in the place of those before."""
        if box != self._box:
            self._box, every = box, self._products.coefficients
            self._coefficients = scratch("coefficients", self._width, every.shape[1])
            members = self._shortlists.members[box]
            every.take(members, axis=0, out=self._coefficients, mode="clip")
        return self._coefficients


def _padded(members: Indices, padding: int) -> Indices:
    """Return members, (boxes, s), with padding to a multiple of the size of groups."""
    missing = -members.shape[1] % MAX_GROUP
    return np.pad(members, [(0, 0), (0, missing)], constant_values=padding)


def group_size(n: int, count: int) -> int:
    """Return the members of a group, so that groups are as much work as members of the nearest."""
    return 1 << max(0, round(np.log2(n / count) / 2 - 1))


def least_of_groups(bounds: Weights, out: Bits) -> None:
    """Write the least bounds of groups of places, from (n, s) to (n, groups), as bits.

    A group has places with the same remainder, so that near exemplars are in different ones.
    """
    grouped = bounds.view(np.int32).reshape(len(bounds), -1, out.shape[1])
    np.minimum.reduce(grouped, axis=1, out=out)


def candidates(bounds: Weights, least: Bits, count: int) -> tuple[Indices, Weights]:
    """Choose places by bounds of rows, (n, s), that are negative by rounding alone.

    Searches the groups with the least bounds.

    Returns
    -------
    place : ndarray of shape (n, count)
    others : ndarray of shape (n,)
        Lower bounds of the bounds at all other places, if they are positive.
    """
    (n, width), n_groups = bounds.shape, least.shape[1]
    group, others = _least(least, count)
    row = np.arange(n)[:, None]
    first = group + row * width
    place = scratch("place", n, width // n_groups, group.shape[1], dtype=np.intp)
    np.add(first[:, None], np.arange(0, width, n_groups)[:, None], out=place)
    of_groups = scratch("of_groups", n, place[0].size, dtype=np.int32)
    bits = bounds.view(np.int32).ravel()
    bits.take(place.reshape(of_groups.shape), out=of_groups, mode="clip")
    nearest, farther = _least(of_groups, count)
    chosen = place.ravel().take(nearest + row * of_groups.shape[1]) - row * width
    return chosen, np.minimum(others, farther)


def _least(bits: Bits, count: int) -> tuple[Indices, Weights]:
    """Return the places of the least values of rows, (n, w), and a bound of all others, (n,).

    The last bits are replaced by the place, so that no places need to be sorted besides.
    """
    n, width = bits.shape
    if width <= count:
        return np.broadcast_to(np.arange(width), bits.shape), np.full(n, FAR / 2, dtype=np.float32)
    mask = np.int32((1 << (width - 1).bit_length()) - 1)
    keys = scratch("keys", n, width, dtype=np.int32)
    np.bitwise_and(bits, ~mask, out=keys)
    keys |= np.arange(width, dtype=np.int32)
    keys.partition(count, axis=1)
    return (keys[:, :count] & mask).astype(np.intp), (keys[:, count] & ~mask).view(np.float32)


def half_squares(points: Weights) -> Weights:
    """Return half the sums of squares of the last axis, alike wherever they stand."""
    squares: Weights = np.einsum("...d,...d->...", points, points)
    return np.float32(0.5) * squares
