"""The fitted model of patches of images: a VAE of their features, and anomaly scores of images.

The VAE learns the features of single patches. A patch has coordinates as a row of a table has
them, its code and the residual of its reconstruction in units of the noise. Most of these
coordinates say the same: they are reduced to principal components, each divided by the root
of its standard deviation, half way between no whitening, by which a few components outweigh
all others, and a full one, by which noise counts as much as structure.

A patch is compared with patches of training images, see `vae_anomaly.stats.exemplars`. Where
training images are aligned, so are similar patches: the place in the image is a coordinate,
too. Its unit comes from the displacement between a training patch and the most similar one
of the other training images: three standard deviations away costs as much as a typical distance
between such patches. In images that are not aligned similar patches lie anywhere, and the
place costs next to nothing.

The anomaly score of an image is the mean score of its most anomalous patches, `TOP_SHARE` of
them: a defect covers few patches, and one patch alone may be noise.

K. Roth et al., "Towards total recall in industrial anomaly detection", CVPR 2022
(:arxiv:`2106.08265`), compare patches of features with those of training images, and
S. Damm et al., "AnomalyDINO", WACV 2025 (:arxiv:`2405.14529`), average the most anomalous ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._threads import parallel_map
from vae_anomaly._types import JsonObject, Records
from vae_anomaly.data.image.patches import PatchEncoder
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.model.model import Evaluation, Model, Neighbors
from vae_anomaly.model.reference import EncodedRows
from vae_anomaly.names import GRADIENTS
from vae_anomaly.stats.exemplars import Exemplars
from vae_anomaly.stats.floats import default_floats
from vae_anomaly.stats.priors import subsample

__all__ = ["PatchModel", "PatchReference", "PlacedPatches", "coordinates_of", "fit_reference"]
__all__ += ["interpolated", "pooled", "spread_sample"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]
Indices = NDArray[np.intp]

TOP_SHARE = 0.03
"""Share of the patches of an image, the most anomalous, over which its score averages."""

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


def interpolated(grid: Array, height: int, width: int) -> Array:
    """Interpolate values at the centres of equal patches, linearly, at those of pixels.

    Parameters
    ----------
    grid : ndarray of shape (h, w)
    height, width : int
        Pixels that the grid covers; beyond the outer centres values stay as they are there.

    Examples
    --------
    >>> interpolated(np.array([[0.0, 1.0]]), 1, 4).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """
    for axis, pixels in ((0, height), (1, width)):
        count = grid.shape[axis]
        place = np.clip((np.arange(pixels) + 0.5) * count / pixels - 0.5, 0, count - 1)
        below = np.minimum(place.astype(np.intp), max(0, count - 2))
        share = np.expand_dims(place - below, 1 - axis)
        above = np.minimum(below + 1, count - 1)
        grid = (1 - share) * grid.take(below, axis) + share * grid.take(above, axis)
    return grid


def coordinates_of(rows: Model, features: Weights) -> Weights:
    """Return the coordinates of patches to the networks of a model of rows: (n, k)."""
    parts = []
    for start in range(0, len(features), CHUNK):
        encoded = rows.encoder.encode(features[start : start + CHUNK].astype(np.float64))
        found = EncodedRows.of(rows.network, encoded, rows.encoder.explained)
        parts.append(rows.reference.locate(found.mean, found.residual))
    return np.concatenate(parts)


def pooled(scores: Array) -> Array:
    """Return the mean of the highest of the scores of patches: (n, n_patches) to (n,).

    Examples
    --------
    >>> pooled(np.arange(100.0)[None]).tolist()
    [98.0]
    """
    highest = np.sort(scores, axis=1)[:, -_top_count(scores.shape[1]) :]
    return np.asarray(highest.mean(axis=1))


def _top_count(n_patches: int) -> int:
    """Return how many patches the score of an image averages over."""
    return max(1, round(TOP_SHARE * n_patches))


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
    values = centered.astype(np.float64)
    variance, direction = np.linalg.eigh(values.T @ values / len(values))
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


def _shares(scores: Array) -> Array:
    """Return what each patch adds to the score of its image, and 0 for the rest: (n, n + 1)."""
    count = _top_count(scores.shape[1])
    parts = np.zeros((len(scores), scores.shape[1] + 1))
    top = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    np.put_along_axis(parts, top, np.take_along_axis(scores, top, axis=1) / count, axis=1)
    return parts


@dataclass(frozen=True, eq=False)
class PatchModel(Model):
    """What `VAEDetector.fit` makes with `features`.

    Records are images, `encoder` is a `PatchEncoder`; `network`, `prior`, `noise`, `reference`
    and `latent_kl` are those of `patch`.

    Attributes
    ----------
    patch : Model
        Of the features of single patches, as rows of a table.
    compared : PatchReference
    """

    patch: Model = field(kw_only=True)
    compared: PatchReference = field(kw_only=True)

    @property
    def has_rest(self) -> bool:
        """Whether a part of each score belongs to no feature: patches form a grid."""
        return True

    def with_engine(self, name: str) -> PatchModel:
        """Return the model on another engine, one of `names.ENGINES`."""
        patch = self.patch.with_engine(name)
        return replace(self, patch=patch, network=patch.network)

    @property
    def _images(self) -> PatchEncoder:
        return cast("PatchEncoder", self.encoder)

    @default_floats()
    def patch_scores(self, records: Records, score_types: Sequence[str] = ()) -> Array:
        """Score the patches of images, each image by itself: (n_scores, n, n_patches).

        By default by `score_type`.
        """
        names, encoder = list(score_types) or [self.score_type], self._images
        found = np.empty((len(names), len(records), len(encoder.features)))

        def work(i: int) -> None:
            features, rest = encoder.patches(records[i]), [n for n in names if n != "exemplar"]
            if "exemplar" in names:
                coordinates = coordinates_of(self.patch, features)
                found[names.index("exemplar"), i] = self.compared.score(coordinates, encoder.places)
            if rest:
                also = self.patch.evaluate(features.astype(np.float64), also=rest).also
                for name in rest:
                    found[names.index(name), i] = also[name]

        self._for_each(work, len(records))
        return found

    def _for_each(self, work: Callable[[int], None], count: int) -> None:
        """Run `work` for each of so many images, on several threads."""
        network = self._images.network
        with self.network.engine.setting:
            threads = 1 if network is None else network.threads
            deque(parallel_map(work, range(count), threads), maxlen=0)

    def evaluate(
        self,
        records: Records,
        *,
        contributions: bool = False,
        expected: bool = False,
        also: Sequence[str] = (),
        n_left_out: int = 1,
    ) -> Evaluation:
        """Score images; see `Model.evaluate`. What is expected of them has no columns."""
        names = list(dict.fromkeys([self.score_type, *also]))
        patches = self.patch_scores(records, names)
        self._require_finite(list(patches.reshape(len(names), -1)))
        scores = {name: pooled(values) for name, values in zip(names, patches, strict=True)}
        n = len(records)
        parts = _shares(patches[0]) if contributions else np.empty((n, 0))
        return Evaluation(scores[names[0]], parts, np.empty((n, 0)), {k: scores[k] for k in also})

    @property
    def map_scores(self) -> tuple[str, ...]:
        """Scores of which maps are the mean.

        With "exemplar" and a network this score and minus the ELBO: how far a patch is from
        those of training, and how unlikely it is. Each sees anomalies that the other misses.
        Gradients of neighbouring places are nearly the same numbers, of which the ELBO counts
        each: it would outweigh the distance.
        """
        if self.score_type == "exemplar" and self._images.source != GRADIENTS:
            return "exemplar", "elbo"
        return (self.score_type,)

    def contribution_maps(self, records: Records) -> tuple[Array, Array]:
        """Score each pixel as the patches around it, (n, height, width); no rest, zeros, (n,).

        See `map_scores`.
        """
        scores = self.patch_scores(records, self.map_scores).mean(axis=0)
        grids = scores.reshape(-1, *self._images.grid)
        height, width, _ = self._images.shape
        maps = np.array([interpolated(grid, height, width) for grid in grids])
        return maps.reshape(-1, height, width), np.zeros(len(maps))

    @default_floats()
    def mean_elbo(self, records: Records) -> float:
        """Average the ELBO over the patches of images, in nats."""
        return -float(self.patch_scores(records, ["elbo"]).mean())

    @default_floats()
    def codes(self, records: Records) -> Array:
        """Encode images: means of q(z|x), averaged over patches, (n, members, latent)."""
        spec = self.network.spec
        found = np.empty((len(records), spec.members, spec.latent))

        def work(i: int) -> None:
            features = self._images.patches(records[i]).astype(np.float64)
            found[i] = self.patch.codes(features).mean(axis=0)

        self._for_each(work, len(records))
        return found

    def reconstruct(self, records: Records, like: Records = None) -> Records:
        """Raise a ParameterError: features do not lead back to pixels."""
        return self.encoder.decode(records)

    def decode(self, z: Array, member: int | None = None) -> Records:
        """Raise a ParameterError: features do not lead back to pixels."""
        return self.encoder.decode(z)

    def interpolate(self, ends: Records, steps: int) -> Records:
        """Raise a ParameterError: features do not lead back to pixels."""
        return self.encoder.decode(ends)

    def sample(self, n: int, rng: np.random.RandomState, *, missing: bool = False) -> Records:
        """Raise a ParameterError: features do not lead back to pixels."""
        return self.encoder.decode(np.empty((n, 0)))

    def neighbors(self, records: Records, count: int) -> Neighbors:
        """Raise a ParameterError: patches are compared, not images."""
        raise ParameterError(
            "A model of features compares patches, not images: an image has no neighbours. Fit "
            "without features."
        )
