"""The fitted model of patches of images: a VAE of their features, and anomaly scores of images.

The VAE learns the features of single patches. A patch has coordinates as a row of a table has
them, its code and the residual of its reconstruction in units of the noise, and is compared with
patches of training images: see `vae_anomaly.model.patch_reference`.

The anomaly score of an image is the mean score of its most anomalous patches, `TOP_SHARE` of
them: a defect covers few patches, and one patch alone may be noise.

Maps show where an image is anomalous. With a network gradients are learned as well, for maps
alone: their patches are smaller than those of networks, and they see what networks overlook.
Each is divided by its standard deviation on normal patches; see also `stats.maps.balanced`.

K. Roth et al., "Towards total recall in industrial anomaly detection", CVPR 2022
(:arxiv:`2106.08265`), compare patches of features with those of training images, and
S. Damm et al., "AnomalyDINO", WACV 2025 (:arxiv:`2405.14529`), average the most anomalous ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._threads import parallel_map
from vae_anomaly._types import Records
from vae_anomaly.data.image.patches import PatchEncoder
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.model.model import Evaluation, Model, Neighbors
from vae_anomaly.model.patch_reference import CHUNK, PatchReference
from vae_anomaly.model.reference import EncodedRows
from vae_anomaly.names import GRADIENTS
from vae_anomaly.stats.floats import default_floats
from vae_anomaly.stats.maps import balanced, interpolated

__all__ = ["PatchModel", "coordinates_of", "pooled"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]

TOP_SHARE = 0.03
"""Share of the patches of an image, the most anomalous, over which its score averages."""


def coordinates_of(rows: Model, features: Weights) -> Weights:
    """Return the coordinates of patches to the networks of a model of rows: (n, k)."""
    coordinates = np.empty((len(features), 0), dtype=np.float32)
    for start in range(0, len(features), CHUNK):
        chunk = slice(start, start + CHUNK)
        encoded = rows.encoder.encode(features[chunk].astype(np.float64))
        found = EncodedRows.of(rows.network, encoded, rows.encoder.explained)
        located = rows.reference.locate(found.mean, found.residual)
        if not start:
            coordinates = np.empty((len(features), located.shape[1]), dtype=np.float32)
        coordinates[chunk] = located
    return coordinates


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
    deviation : float
        Standard deviation of the scores of normal patches that maps show, in nats.
    gradients : PatchModel or None
        Of gradients, for maps besides those of a network.
    """

    patch: Model = field(kw_only=True)
    compared: PatchReference = field(kw_only=True)
    deviation: float = 1.0
    gradients: PatchModel | None = None

    @property
    def has_rest(self) -> bool:
        """Whether a part of each score belongs to no feature: patches form a grid."""
        return True

    def with_engine(self, name: str) -> PatchModel:
        """Return the model on another engine, one of `names.ENGINES`."""
        patch, gradients = self.patch.with_engine(name), self.gradients
        gradients = None if gradients is None else gradients.with_engine(name)
        return replace(self, patch=patch, network=patch.network, gradients=gradients)

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
        """Return `anomaly_maps`, and no rest: zeros, (n,)."""
        maps = self.anomaly_maps(records)
        return maps, np.zeros(len(maps))

    def anomaly_maps(self, records: Records) -> Array:
        """Score each pixel as the patches around it: (n, height, width).

        See `map_scores`. With `gradients` the mean of both, which count as much as each other,
        in nats of the network; see also `stats.maps.balanced`.
        """
        maps = self._score_maps(records)
        if self.gradients is not None:
            unit = self.deviation / self.gradients.deviation
            maps = 0.5 * (maps + unit * self.gradients._score_maps(records))
        return balanced(maps)

    def _score_maps(self, records: Records) -> Array:
        """Interpolate the mean of `map_scores` of patches: (n, height, width)."""
        scores = self.patch_scores(records, self.map_scores).mean(axis=0)
        grids = scores.reshape(-1, *self._images.grid)
        height, width, _ = self._images.shape
        maps = np.array([interpolated(grid, height, width) for grid in grids])
        return maps.reshape(-1, height, width)

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
