"""Terms of anomaly scores, computed by the networks of a model in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import AnyArray
from vae_anomaly.data.base import Encoded, Encoder
from vae_anomaly.inference.base import Codes, Engine
from vae_anomaly.inference.network import Network
from vae_anomaly.model.reference import PredictedRows, Reference
from vae_anomaly.model.similar import Comparison
from vae_anomaly.stats.priors import kl_from_prior
from vae_anomaly.stats.scores import SCORES, RowTerms, Terms

__all__ = ["ScoringParts", "compute_terms", "elbo_contributions"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]

MIN_WEIGHT = 1e-9
"""Added to the weights of features: all share alike where none differs."""

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


def compute_terms(
    model: ScoringParts, encoded: Encoded, needs: frozenset[str], n_left_out: int = 1
) -> Terms:
    """Compute terms of scores in one pass, which encodes every batch once.

    Callers enter `Engine.setting` first: results depend on it in the last bits.

    Parameters
    ----------
    model : ScoringParts
    encoded : Encoded
    needs : frozenset of str
        Names of the terms.
    n_left_out : int, default=1
        Exemplars at the very position of a row to leave out; see `Exemplars.score`.

    Returns
    -------
    Terms
    """
    spec, n, explained = model.network.spec, len(encoded.inputs), model.encoder.explained
    if spec.noiseless and "importance_weighted" in needs:
        needs = needs - {"importance_weighted"} | {"elbo"}
    computed = needs - {"expected", "shares"}
    if spec.has_masks:
        computed |= {"weights"} if "shares" in needs else set()
    else:
        computed |= {"residual"} if needs & {"expected", "shares"} else set()
    if "exemplar" in needs:  # the search is faster for many rows at once
        computed -= {"exemplar"}
        computed |= {"misfit", "surprise", "code"} if spec.has_masks else {"points"}
    widths: dict[str, tuple[int, ...]] = {
        "elbo": (len(explained) + 1,),
        "residual": (spec.joint.n_targets,),
        "weights": (len(explained),),
        "latent_distance": (spec.members, spec.latent),
        "points": model.reference.points.shape[1:],
        "misfit": (spec.joint.n_targets,),
        "surprise": (len(explained),),
        "code": (spec.members, spec.latent),
    }
    single = {"points", "misfit", "surprise", "code"}
    values: dict[str, AnyArray] = {
        name: np.empty(
            (n, *widths.get(name, ())), dtype=np.float32 if name in single else np.float64
        )
        for name in computed
    }

    arrays: list[AnyArray] = [encoded.inputs.astype(np.float32), encoded.targets]
    if spec.has_masks or encoded.observed is not None:
        arrays.append(_observed(encoded)[:, explained])
    # Products with exemplars are NumPy's, for which wide batches are not more efficient.
    batches = model.network.batches(*arrays, draws=len(model.noise), wide="exemplar" not in needs)
    for part, (x, target, *observed) in batches:
        batch = _Batch(model.network.engine, x, target, observed[0] if observed else None)
        for name, found in _batch_terms(model, batch, computed):
            values[name][part] = found[: part.stop - part.start]
    if "points" in values:
        values["exemplar"] = model.reference.exemplars.score(values.pop("points"), n_left_out)
    elif "misfit" in values:
        misfit, surprise, code = (values.pop(name) for name in ("misfit", "surprise", "code"))
        rows = PredictedRows(misfit, surprise, arrays[-1], code)
        values["exemplar"] = model.reference.masked_score(rows, n_left_out)
    return _terms(model, encoded, needs, values)


def _observed(encoded: Encoded) -> NDArray[np.bool_]:
    """Return which features are observed: (n, n_features)."""
    if encoded.observed is None:
        return np.ones(encoded.penalty.shape, dtype=bool)
    return encoded.observed


def elbo_contributions(model: ScoringParts, encoded: Encoded) -> Array:
    """Compute contributions to minus the ELBO: (n, n_features + 1)."""
    with model.network.engine.setting:
        terms = compute_terms(model, encoded, frozenset({"elbo"}))
    return SCORES["elbo"].contributions(terms)


@dataclass(frozen=True, eq=False)
class _Batch:
    """A padded batch."""

    engine: Engine
    x: Weights  # (n, n_inputs)
    target: Array  # (n, n_targets)
    observed: NDArray[np.bool_] | None  # (n, n_explained); not None for networks with masks

    @cached_property
    def codes(self) -> Codes:
        """The codes, computed once, by the terms that need them."""
        return self.engine.encode(self.x)

    @cached_property
    def mean(self) -> Weights:
        """The means of the codes, (members, n, latent), alone if no term needs the rest."""
        return self.codes.mean if "codes" in vars(self) else self.engine.encode_means(self.x)

    def masked(self, nats: Array) -> Array:
        """Return nats of explained features, 0 where they are not observed."""
        return nats if self.observed is None else np.where(self.observed, nats, 0.0)


def _batch_terms(
    model: ScoringParts, batch: _Batch, needs: frozenset[str]
) -> Iterator[tuple[str, AnyArray]]:
    """Yield names and values of the terms of a batch."""
    if "elbo" in needs:
        error = batch.engine.reconstruction_error(batch.codes, model.noise, batch.target)
        kl = kl_from_prior(*batch.codes, model.noise, model.prior)
        yield "elbo", np.column_stack([batch.masked(error), kl])
    if "importance_weighted" in needs:
        yield "importance_weighted", _importance_weighted_bound(model, batch)
    if batch.observed is not None and needs & {"misfit", "weights"}:
        yield from _masked_terms(model, batch, batch.observed, needs)
    if needs & {"points", "residual"}:
        yield from _exemplar_terms(model, batch, needs)
    if "latent_distance" in needs:
        yield "latent_distance", batch.mean.swapaxes(0, 1)


def _terms(
    model: ScoringParts, encoded: Encoded, needs: frozenset[str], values: Mapping[str, Array]
) -> Terms:
    """Add what does not depend on the networks."""
    terms = Terms(model.beta, model.reference.typical, encoded.penalty)
    penalty = encoded.penalty.sum(axis=1)
    if "elbo" in values:
        error, kl = values["elbo"][:, :-1], values["elbo"][:, -1]
        terms.elbo = RowTerms(_by_feature(model, encoded, error), kl)
    if "importance_weighted" in values:
        terms.importance_weighted = penalty - values["importance_weighted"]
    elif model.network.spec.noiseless and "elbo" in values:
        terms.importance_weighted = terms.elbo.reconstruction.sum(axis=1)
    if "exemplar" in values:
        terms.exemplar = penalty + values["exemplar"]
    if "residual" in values:
        compared = _compared(model, encoded, values["residual"], "expected" in needs)
        terms.expected, terms.similar = compared.expected, compared.similar
        terms.shares = _shares(model, encoded, compared.weights)
        terms.differences = _shares(model, encoded, compared.differences)
    if "weights" in values:
        terms.shares = _shares(model, encoded, values["weights"])
    if "expected" in needs and model.network.spec.has_masks:
        terms.expected = model.network.predict_features(encoded.inputs)
    if "latent_distance" in values:
        terms.latent_distance = model.reference.latent_distance(values["latent_distance"])
    return terms


def _compared(model: ScoringParts, encoded: Encoded, residual: Array, expected: bool) -> Comparison:
    """Compare records with similar training records."""
    reference, observed = model.reference, encoded.observed
    if observed is not None:
        observed = observed[:, model.encoder.explained]
    similar = reference.similar(model.network.spec.joint)
    points = residual / reference.residual_unit
    return similar.compare(encoded.targets, points, observed, expected=expected)


def _shares(model: ScoringParts, encoded: Encoded, weights: Array) -> Array:
    """Return weights of explained features as shares of all: (n, n_features).

    Features that are not observed have none, unless none is observed.
    """
    shares = np.zeros(encoded.penalty.shape)
    shares[:, model.encoder.explained] = weights + MIN_WEIGHT
    if encoded.observed is not None:
        shares = np.where(encoded.observed, shares, 0.0)
    shares[~shares.any(axis=1)] = 1.0
    return shares / shares.sum(axis=1, keepdims=True)


def _by_feature(model: ScoringParts, encoded: Encoded, explained: Array) -> Array:
    """Add contributions of explained features to the penalties of all: (n, n_features)."""
    nats = encoded.penalty.copy()
    nats[:, model.encoder.explained] += explained
    return nats


def _exemplar_terms(
    model: ScoringParts, batch: _Batch, needs: frozenset[str]
) -> Iterator[tuple[str, AnyArray]]:
    """Yield coordinates to compare with the nearest training rows, and the residuals."""
    joint = model.network.spec.joint
    residual = batch.target - batch.engine.expected(batch.mean)
    if batch.observed is not None:
        residual = np.where(batch.observed[:, joint.feature_of_target], residual, 0.0)
    if "points" in needs:
        yield "points", model.reference.locate(batch.mean.swapaxes(0, 1), residual)
    if "residual" in needs:
        yield "residual", residual


def _masked_terms(
    model: ScoringParts, batch: _Batch, observed: NDArray[np.bool_], needs: frozenset[str]
) -> Iterator[tuple[str, AnyArray]]:
    """Yield what networks with masks predict, and how suspicious cells are."""
    network, reference = model.network, model.reference
    rows = reference.predict(network, batch.x, batch.target, observed)
    if "misfit" in needs:
        yield from (("misfit", rows.residual), ("surprise", rows.surprise), ("code", rows.code))
    if "weights" in needs:
        yield "weights", reference.suspicion(network, batch.x, batch.target, rows)


def _importance_weighted_bound(model: ScoringParts, batch: _Batch) -> Array:
    """Compute the importance-weighted bound of log p(x): (n,).

    The draws are standard normal, always the same, and in opposite pairs.
    """
    spec, prior = model.network.spec, model.prior
    if prior is None:
        prior = np.zeros((spec.members, 1, 2 * spec.latent), dtype=np.float32)
    half = np.random.RandomState(0).standard_normal((N_IMPORTANCE_DRAWS // 2, spec.latent))
    draws = np.concatenate([half, -half]).astype(np.float32)[:, None]
    ratios = []  # log p(x, z) - log q(z|x)
    for draw in draws:
        error = batch.engine.reconstruction_error(batch.codes, draw, batch.target)
        away = kl_from_prior(*batch.codes, draw, prior)
        ratios.append(-batch.masked(error).sum(axis=1) - away)
    bound: Array = np.logaddexp.reduce(ratios, axis=0) - np.log(len(draws))
    return bound
