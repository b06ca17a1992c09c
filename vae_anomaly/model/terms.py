"""Terms of anomaly scores, evaluated by the networks of a model."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._threads import unlocked_cached_property
from vae_anomaly.data.base import Encoded, Encoder
from vae_anomaly.inference.network import Network
from vae_anomaly.model.reference import Reference
from vae_anomaly.stats.priors import kl_from_prior
from vae_anomaly.stats.scores import RowTerms

__all__ = ["ModelTerms", "ScoringParts", "elbo_terms"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]

N_IMPORTANCE_DRAWS = 64
"""Draws of the importance-weighted bound, in opposite pairs."""


class ScoringParts(Protocol):
    """Parts of a model that its scores are made of."""

    @property
    def encoder(self) -> Encoder:
        """Encoder of the data."""

    @property
    def network(self) -> Network:
        """Trained network."""

    @property
    def noise(self) -> Weights:
        """Latent draws, (draws, latent), the same for every record."""

    @property
    def prior(self) -> Weights | None:
        """Components of the prior, (members, m, 2 latent); None is N(0, I)."""

    @property
    def beta(self) -> float:
        """Weight of the KL divergence."""

    @property
    def reference(self) -> Reference:
        """Training rows in the coordinates of the networks."""


def elbo_terms(
    network: Network, encoder: Encoder, encoded: Encoded, noise: Weights, prior: Weights | None
) -> RowTerms:
    """Evaluate both terms of minus the ELBO for each record, in float64."""
    error = np.empty((len(encoded.inputs), len(encoder.explained)))
    kl = np.empty(len(encoded.inputs))

    def work(part: slice, batch: list[NDArray[Any]]) -> None:
        x, target = batch
        codes, taken = network.engine.encode(x), part.stop - part.start
        error[part] = network.engine.reconstruction_error(codes, noise, target)[:taken]
        kl[part] = kl_from_prior(*codes, noise, prior)[:taken]

    rows = network.batch_rows(len(noise))
    network.for_each_batch(rows, work, encoded.inputs.astype(np.float32), encoded.targets)
    return RowTerms(_by_feature(encoder, encoded, error), kl)


def _by_feature(encoder: Encoder, encoded: Encoded, explained: Array) -> Array:
    """Add contributions of explained features to the penalties of all: (n, n_features)."""
    nats = encoded.penalty.copy()
    nats[:, encoder.explained] += explained
    return nats


class ModelTerms:
    """Terms of some records, each evaluated when first needed. See `stats.scores.Terms`.

    Parameters
    ----------
    model : ScoringParts
    encoded : Encoded
    n_left_out : int, default=1
        Exemplars at the very position of a row to leave out; see `Exemplars.score`.
    attributed : bool, default=False
        Whether contributions are needed besides scores: one forward pass then gives both.
    """

    def __init__(
        self,
        model: ScoringParts,
        encoded: Encoded,
        *,
        n_left_out: int = 1,
        attributed: bool = False,
    ) -> None:
        self.beta = model.beta
        self._model, self._encoded = model, encoded
        self._n_left_out, self._attributed = n_left_out, attributed

    @property
    def typical(self) -> Array:
        """Mean contributions to minus the ELBO of training rows."""
        return self._model.reference.typical

    @unlocked_cached_property
    def elbo(self) -> RowTerms:
        """Terms of minus the ELBO."""
        model = self._model
        return elbo_terms(model.network, model.encoder, self._encoded, model.noise, model.prior)

    @unlocked_cached_property
    def importance_weighted(self) -> Array:
        """Minus the importance-weighted bound of log p(x).

        The draws are standard normal, always the same, and in opposite pairs.
        """
        network, prior = self._model.network, self._model.prior
        spec = network.spec
        if spec.noiseless:
            return self.elbo.reconstruction.sum(axis=1)
        if prior is None:
            prior = np.zeros((spec.members, 1, 2 * spec.latent), dtype=np.float32)
        half = np.random.RandomState(0).standard_normal((N_IMPORTANCE_DRAWS // 2, spec.latent))
        draws = np.concatenate([half, -half]).astype(np.float32)[:, None]
        bound = np.empty(len(self._encoded.inputs))

        def work(part: slice, batch: list[NDArray[Any]]) -> None:
            codes = network.engine.encode(batch[0])
            ratios = []  # log p(x, z) - log q(z|x)
            for draw in draws:
                error = network.engine.reconstruction_error(codes, draw, batch[1])
                ratios.append(-error.sum(axis=1) - kl_from_prior(*codes, draw, prior))
            mixed = np.logaddexp.reduce(ratios, axis=0) - np.log(len(draws))
            bound[part] = mixed[: part.stop - part.start]

        self._for_each_batch(network.batch_rows(), work)
        return self._encoded.penalty.sum(axis=1) - bound

    @unlocked_cached_property
    def exemplar(self) -> Array:
        """Distance from the nearest training rows."""
        if self._attributed:
            return self._explained_exemplar[0]
        scores = np.empty(len(self._encoded.inputs))
        exemplars = self._model.reference.exemplars

        def work(part: slice, batch: list[NDArray[Any]]) -> None:
            points = self._points(*batch)
            scores[part] = exemplars.score(points, self._n_left_out)[: part.stop - part.start]

        self._for_each_batch(self._model.network.batch_rows(wide=False), work)
        return self._encoded.penalty.sum(axis=1) + scores

    @property
    def exemplar_columns(self) -> Array:
        """Contributions of the features to `exemplar`."""
        return self._explained_exemplar[1]

    @unlocked_cached_property
    def latent_distance(self) -> Array:
        """Half the squared Mahalanobis distance of the code."""
        mean, _ = self._model.network.encode(self._encoded.inputs)
        return self._model.reference.latent_distance(mean)

    @unlocked_cached_property
    def _explained_exemplar(self) -> tuple[Array, Array]:
        """Distance from the nearest training rows, and contributions of the features to it."""
        n, columns = self._encoded.targets.shape
        scores, shares = np.empty(n), np.empty((n, columns))
        exemplars = self._model.reference.exemplars

        def work(part: slice, batch: list[NDArray[Any]]) -> None:
            taken = part.stop - part.start
            score, share = exemplars.explain(self._points(*batch), columns)
            scores[part], shares[part] = score[:taken], share[:taken]

        self._for_each_batch(self._model.network.batch_rows(wide=False), work)
        whole = _by_feature(self._model.encoder, self._encoded, shares)
        return self._encoded.penalty.sum(axis=1) + scores, whole

    def _points(self, x: Weights, target: Array) -> Weights:
        """Return the coordinates of a batch among the exemplars: (n, d)."""
        network = self._model.network
        codes = network.engine.encode(x)
        residual = target - network.expected(network.engine.decode(codes.mean))
        mean = codes.mean.swapaxes(0, 1).astype(np.float64)
        return self._model.reference.locate(mean, residual)

    def _for_each_batch(self, rows: int, work: Any) -> None:
        inputs, targets = self._encoded.inputs.astype(np.float32), self._encoded.targets
        self._model.network.for_each_batch(rows, work, inputs, targets)
