"""Patches of training images as exemplars: components, places and distances of patches.

Most coordinates of patches say the same: they are reduced to principal components, each divided by
the root of its standard deviation, half way between no whitening, by which a few components
outweigh all others, and a full one, by which noise counts as much as structure.

A patch is compared with patches of training images, see `vae_anomaly.stats.exemplars`. Where
training images are aligned, so are similar patches: the place in the image is a coordinate,
too. Its unit comes from the displacement between a training patch and the most similar one
of the other training images: three standard deviations away costs as much as a typical distance
between such patches. In images that are not aligned similar patches lie anywhere, and the
place costs next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import JsonObject
from vae_anomaly.stats.exemplars import Exemplars
from vae_anomaly.stats.priors import subsample

__all__ = ["CHUNK", "MAX_COMPONENTS", "MAX_EXEMPLARS", "PatchReference", "PlacedPatches"]
__all__ += ["fit_reference", "spread_sample"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]
Indices = NDArray[np.intp]

MAX_COMPONENTS = 128
"""Principal components of the coordinates of patches."""

MAX_EXEMPLARS = 6144
"""Patches of training and calibration images that others are compared with."""

N_STAGES = 4
"""Parts in which exemplars are drawn."""

CHUNK = 1024
"""Patches whose distances from others are computed at a time."""

MIN_VARIANCE = 1e-3
"""Added to the variances of components, as a share of their mean."""

MIN_DISPLACEMENT = 0.2
"""Least standard deviation of displacements, in patches: places are whole numbers."""

TYPICAL_DEVIATIONS = 3.0
"""Standard deviations of displacement that cost as much as a typical distance."""

N_QUERIES = 1024
"""Training patches of which the displacement is measured."""

TINY = 1e-12
"""Least scale of a component."""


@dataclass(frozen=True, eq=False)
class PatchReference:
    """Patches of training images to compare with.

    Attributes
    ----------
    center : ndarray of shape (k,)
        Mean coordinates.
    projection : ndarray of shape (k, d)
        To scaled principal components.
    place_unit : ndarray of shape (2,)
        Factors of rows and columns of the grid.
    points : ndarray of shape (m, d + 2)
        Scaled components and places of the exemplars.
    bandwidth : ndarray of shape (m,)
        See `stats.exemplars.Exemplars`.
    n_skipped_neighbors : int
        Likewise.
    """

    center: Weights
    projection: Weights
    place_unit: Weights
    points: Weights
    bandwidth: Weights
    n_skipped_neighbors: int = 0
    image: Indices = field(default_factory=lambda: np.empty(0, dtype=np.intp))

    def __getstate__(self) -> JsonObject:
        """Leave out of pickles what can be computed again."""
        names = ("center", "projection", "place_unit", "points", "bandwidth")
        return {
            **{name: getattr(self, name) for name in names},
            "n_skipped_neighbors": self.n_skipped_neighbors,
            "image": self.image,
        }

    @cached_property
    def exemplars(self) -> Exemplars:
        """Patches that scores compare with."""
        return Exemplars(self.points, self.bandwidth, self.n_skipped_neighbors)

    def without_image(self, image: int) -> PatchReference:
        """Return the reference without the patches of one image of the fit."""
        kept = self.image != image
        return replace(
            self,
            points=self.points[kept],
            bandwidth=self.bandwidth[kept],
            image=self.image[kept],
        )

    def locate(self, coordinates: Weights, places: Weights) -> Weights:
        """Return scaled components and places of patches: (n, d + 2)."""
        components = (coordinates - self.center) @ self.projection
        return np.concatenate([components, places * self.place_unit], axis=1, dtype=np.float32)

    def score(self, coordinates: Weights, places: Weights) -> Array:
        """Score patches, see `Exemplars.score`: (n,)."""
        return self.exemplars.score(self.locate(coordinates, places))


class PlacedPatches(NamedTuple):
    """Patches of the images of a fit."""

    coordinates: Weights  # (n, k)
    place: Weights  # row and column in the grid, (n, 2)
    image: Indices  # position of the image of each, (n,)

    def only(self, chosen: NDArray[np.bool_] | Indices) -> PlacedPatches:
        """Return some of the patches."""
        return PlacedPatches(self.coordinates[chosen], self.place[chosen], self.image[chosen])


def fit_reference(
    patches: PlacedPatches,
    is_learned: NDArray[np.bool_],
    rng: np.random.RandomState,
    n_skipped_neighbors: int = 0,
) -> PatchReference:
    """Choose exemplars among patches; those that were not learned determine nothing else."""
    learned = patches.only(is_learned)
    center = learned.coordinates.mean(axis=0)
    projection = _scaled_components(learned.coordinates - center)
    start = PatchReference(
        center, projection, np.ones(2, np.float32), projection[:0], center[:0], n_skipped_neighbors
    )
    place_unit = _place_unit(start, learned, rng)
    start = replace(start, place_unit=place_unit)
    n_learned = min(len(learned.image), round(MAX_EXEMPLARS * float(is_learned.mean())))
    kept = spread_sample(start.locate(*learned[:2]), n_learned, rng)
    kept = np.append(
        np.flatnonzero(is_learned)[kept],
        subsample(np.flatnonzero(~is_learned), MAX_EXEMPLARS - n_learned, rng),
    )
    points = start.locate(*patches.only(kept)[:2])
    found = Exemplars.fit(points[:n_learned], points[n_learned:])
    return replace(start, points=found.points, bandwidth=found.bandwidth, image=patches.image[kept])


def spread_sample(points: Weights, count: int, rng: np.random.RandomState) -> Indices:
    """Draw points, ascending, so that rare ones are among them as well as frequent ones.

    A part of them is drawn at random, and then others with probabilities proportional to their
    squared distances from those that were drawn before, as k-means++ does (D. Arthur and
    S. Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007).
    """
    n = len(points)
    if n <= count:
        return np.arange(n)
    drawn, distance = np.zeros(n, dtype=bool), np.ones(n)
    for part in np.array_split(np.arange(count), N_STAGES):
        weight = np.where(drawn, 0.0, distance) + TINY * ~drawn
        fresh = rng.choice(n, len(part), replace=False, p=weight / weight.sum())
        nearest = _squared_distances(points, points[fresh])
        distance = np.minimum(distance, nearest) if drawn.any() else nearest
        drawn[fresh] = True
    return np.flatnonzero(drawn)


def _squared_distances(points: Weights, others: Weights) -> Array:
    """Return the squared distance of each point from the nearest of others: (n,)."""
    found = np.empty(len(points))
    squares = (others**2).sum(axis=1)
    for start in range(0, len(points), CHUNK):
        part = points[start : start + CHUNK]
        least = (squares - 2 * (part @ others.T)).min(axis=1)
        found[start : start + CHUNK] = least + (part**2).sum(axis=1)
    return np.maximum(found, 0.0)


def _scaled_components(centered: Weights) -> Weights:
    """Return principal components, each divided by the root of its standard deviation: (k, d)."""
    squares = np.zeros((centered.shape[1],) * 2)
    for start in range(0, len(centered), CHUNK):
        values = centered[start : start + CHUNK].astype(np.float64)
        squares += values.T @ values
    variance, direction = np.linalg.eigh(squares / len(centered))
    count = min(MAX_COMPONENTS, centered.shape[1], max(1, len(centered) - 1))
    variance, direction = variance[::-1][:count], direction[:, ::-1][:, :count]
    direction *= np.where(direction.sum(axis=0) < 0, -1.0, 1.0)  # the sign is arbitrary
    scale = (np.maximum(variance, 0.0) + MIN_VARIANCE * variance.mean()) ** 0.25
    return (direction / np.maximum(scale, TINY)).astype(np.float32)


def _place_unit(
    reference: PatchReference, learned: PlacedPatches, rng: np.random.RandomState
) -> Weights:
    """Return the factors of rows and columns, from displacements between training images."""
    if len(np.unique(learned.image)) < 2 or not np.ptp(learned.place):
        return np.zeros(2, dtype=np.float32)
    points = reference.locate(*learned[:2])[:, :-2]
    queries = subsample(np.arange(len(points)), N_QUERIES, rng)
    squares = (points**2).sum(axis=1)
    displaced, energy = np.empty((len(queries), 2)), np.empty(len(queries))
    for i, one in enumerate(queries):
        distance = squares - 2 * (points @ points[one])
        distance[learned.image == learned.image[one]] = np.inf
        nearest = int(distance.argmin())
        displaced[i] = learned.place[one] - learned.place[nearest]
        energy[i] = 0.5 * max(0.0, float(distance[nearest] + squares[one]))
    deviation = np.maximum(np.sqrt((displaced**2).mean(axis=0)), MIN_DISPLACEMENT)
    unit = np.sqrt(2 * np.median(energy)) / (TYPICAL_DEVIATIONS * deviation)
    return unit.astype(np.float32)
