"""The fitted model: one frozen value of plain arrays and settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.data.base import Encoder, Records
from vae_anomaly.data.registry import modality
from vae_anomaly.inference.network import Network
from vae_anomaly.model.calibration import Calibration
from vae_anomaly.model.reference import Reference
from vae_anomaly.model.terms import ModelTerms
from vae_anomaly.stats.scores import SCORES
from vae_anomaly.training.history import History

__all__ = ["LATENT", "Evaluation", "Model"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]

LATENT = "latent_code"
"""Name of the part of a score that belongs to no feature."""


class Evaluation(NamedTuple):
    """Scores of some records."""

    scores: Array  # (n,), nats, higher is more anomalous
    contributions: Array | None  # (n, n_features + 1), last the latent code; sums are the scores
    also: Mapping[str, Array]  # further scores by name, (n,) each


@dataclass(frozen=True, eq=False)
class Model:
    """What `VAEDetector.fit` makes. Recalibration and other engines give new values.

    Attributes
    ----------
    encoder : Encoder
        Records to network inputs and back.
    network : Network
    parameters : mapping of str to object
        Parameters of the detector when it was fitted.
    score_type : str
        Name in `stats.scores.SCORES`.
    beta : float
        Weight of the KL divergence.
    noise : ndarray of shape (n_draws, latent_dim)
        Latent draws that scores use.
    prior : ndarray of shape (n_members, m, 2 * latent_dim) or None
        Means and log-variances of the components of an aggregated prior.
    reference : Reference
        Training rows in the coordinates of the networks.
    calibration : Calibration
    latent_kl : ndarray of shape (n_members, latent_dim)
        Mean KL divergence of each latent dimension over training rows, in nats.
    history : History
        Losses during training.
    """

    encoder: Encoder
    network: Network
    parameters: Mapping[str, Any]
    score_type: str
    beta: float
    noise: Weights
    prior: Weights | None
    reference: Reference
    calibration: Calibration
    latent_kl: Array
    history: History

    @property
    def unit(self) -> str:
        """Name of one record in messages."""
        return modality(self.encoder.modality).unit

    @property
    def has_own_score(self) -> bool:
        """Whether scores are of the type that the calibration is for."""
        return self.score_type == resolved_score(self.parameters["score_type"], self.encoder)

    def with_engine(self, name: str) -> Model:
        """Return the model on another engine, one of `inference.engines.ENGINES`."""
        return replace(self, network=self.network.with_engine(name))

    # ------------------------------------------------------------------------------- scoring

    def evaluate(
        self, records: Records, *, contributions: bool = False, also: Sequence[str] = ()
    ) -> Evaluation:
        """Score records, in chunks on all cores.

        Parameters
        ----------
        records : array-like of length n
            As `Encoder.encode` takes them.
        contributions : bool, default=False
            Whether to split scores by feature.
        also : sequence of str
            Names of further scores.

        Returns
        -------
        Evaluation
        """
        n, own = len(records), SCORES[self.score_type]
        scores = np.empty(n)
        further = {name: np.empty(n) for name in also}
        shares = np.empty((n, self.encoder.outline.n_features + 1)) if contributions else None

        def work(part: slice) -> None:
            encoded = self.encoder.encode(records[part])
            terms = ModelTerms(self, encoded, attributed=contributions)
            if shares is not None:
                shares[part] = own.contributions(terms)
            scores[part] = own.total(terms)
            for name, values in further.items():
                values[part] = SCORES[name].total(terms)

        width = max(self.encoder.outline.n_features, self.network.spec.latent)
        self.network.for_each_chunk(n, width, work)
        return Evaluation(scores, shares, further)

    def anomaly_scores(self, records: Records) -> Array:
        """Score records: (n,), in nats."""
        return self.evaluate(records).scores

    def contributions(self, records: Records) -> Array:
        """Split scores by feature, and last the latent code: (n, n_features + 1)."""
        shares = self.evaluate(records, contributions=True).contributions
        return np.empty((0, 0)) if shares is None else shares

    def mean_elbo(self, records: Records) -> float:
        """Average the ELBO over records, in nats."""
        return -float(replace(self, score_type="elbo").anomaly_scores(records).mean())

    # ------------------------------------------------------------------------ codes and back

    def codes(self, records: Records) -> Array:
        """Encode records: means of q(z|x), (n, members, latent)."""
        return self.network.encode(self.encoder.encode(records).inputs)[0]

    def reconstruct(self, records: Records, like: Records = None) -> Records:
        """Reconstruct records from the means of q(z|x), in the units of the training data.

        With `like` in its units and form.
        """
        return self.encoder.decode(self.network.decode(self.codes(records)), like)

    def decode(self, z: Array, member: int | None = None) -> Records:
        """Decode latent codes (n, latent) by all members, or by one."""
        network = self.network if member is None else self.network.member(member)
        codes = np.repeat(z[:, None], network.spec.members, axis=1)
        return self.encoder.decode(network.decode(codes))

    def interpolate(self, ends: Records, steps: int) -> Records:
        """Decode codes on the straight line between those of two records."""
        first, last = self.codes(ends)  # (members, latent) both
        along = np.linspace(0.0, 1.0, steps)[:, None, None]
        return self.encoder.decode(self.network.decode(first + along * (last - first)))

    def sample(self, n: int, rng: np.random.RandomState) -> Records:
        """Draw records: z from the prior, x from p(x|z)."""
        return self.encoder.decode(self.network.sample(n, rng, self.prior))


def resolved_score(score_type: str, encoder: Encoder) -> str:
    """Return the name of a score, where "auto" is the default of the modality."""
    return modality(encoder.modality).defaults.score_type if score_type == "auto" else score_type
