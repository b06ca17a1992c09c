"""Anomaly scores: the registry, and how each is made of terms.

Direction: an anomaly score is higher for more anomalous records, in nats. `score_samples`
of scikit-learn is its negative. Every score is the sum of *contributions*, one per
feature and one for the rest, so that each can be explained. The rest, such as the KL
divergence, belongs to the code as a whole: `without_rest` divides it among the features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["SCORES", "RowTerms", "Score", "Terms", "without_rest"]

Array = NDArray[np.float64]


EMPTY = np.empty(0)
NOWHERE = np.empty(0, dtype=np.intp)


class RowTerms(NamedTuple):
    """Both terms of minus the ELBO of each record, in nats, means over members and draws."""

    reconstruction: Array  # (n, n_features)
    kl: Array  # (n,)


@dataclass
class Terms:
    """Terms of the scores of some records. Those that no score needs are empty.

    Attributes
    ----------
    beta : float
        Weight of the KL divergence.
    typical : ndarray of shape (n_features + 1,)
        Mean contributions to minus the ELBO of training rows.
    penalty : ndarray of shape (n, n_features)
        Nats that no likelihood sees.
    elbo : RowTerms
        Terms of minus the ELBO.
    importance_weighted : ndarray of shape (n,)
        Minus the importance-weighted bound.
    exemplar : ndarray of shape (n,)
        Distance from the nearest training rows.
    latent_distance : ndarray of shape (n,)
        Half the squared Mahalanobis distance of the code.
    expected : ndarray of shape (n, n_targets)
        Targets that are expected of each feature, given the rest of the record.
    shares : ndarray of shape (n, n_features)
        Shares of the features in what differs from what is expected.
    differences : ndarray of shape (n, n_features)
        Likewise, if all features may be wrong; empty for networks with masks.
    similar : ndarray of int of shape (n,)
        The most similar training row; empty for networks with masks.
    """

    beta: float
    typical: Array
    penalty: Array = field(default_factory=lambda: EMPTY)
    elbo: RowTerms = field(default=RowTerms(EMPTY, EMPTY))
    importance_weighted: Array = field(default_factory=lambda: EMPTY)
    exemplar: Array = field(default_factory=lambda: EMPTY)
    latent_distance: Array = field(default_factory=lambda: EMPTY)
    expected: Array = field(default_factory=lambda: EMPTY)
    shares: Array = field(default_factory=lambda: EMPTY)
    differences: Array = field(default_factory=lambda: EMPTY)
    similar: NDArray[np.intp] = field(default_factory=lambda: NOWHERE)


class Score(ABC):
    """An anomaly score.

    Attributes
    ----------
    terms, further_terms : frozenset of str
        Names of the terms that the total needs, and that contributions need besides.
    """

    terms: ClassVar[frozenset[str]]
    further_terms: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def contributions(self, terms: Terms) -> Array:
        """Split the score by feature, and last the rest: (n, n_features + 1)."""

    def total(self, terms: Terms) -> Array:
        """Return the sum of the contributions, (n,)."""
        return self.contributions(terms).sum(axis=1)


def _with_rest(features: Array, total: Array) -> Array:
    """Append the rest of a total."""
    return np.column_stack([features, total - features.sum(axis=1)])


def without_rest(contributions: Array, shares: Array) -> Array:
    """Divide the rest of each score among the features.

    Parameters
    ----------
    contributions : ndarray of shape (n, n_features + 1)
        Last the rest.
    shares : ndarray of shape (n, n_features)
        With a sum of 1 in each row.

    Returns
    -------
    ndarray of shape (n, n_features)

    Examples
    --------
    >>> without_rest(np.array([[1.0, 2.0, 4.0]]), np.array([[0.25, 0.75]])).tolist()
    [[2.0, 5.0]]
    """
    return contributions[:, :-1] + contributions[:, -1:] * shares


class Elbo(Score):
    """Minus the ELBO: reconstruction error plus `beta` times the KL divergence.

    With ``beta = 1`` and in expectation over the draws an upper bound of
    -log p(x). Kingma and Welling,
    "Auto-encoding variational Bayes" (:arxiv:`1312.6114`), equation 3; An and
    Cho, "Variational autoencoder based anomaly detection using reconstruction
    probability", 2015; for `beta`, Higgins et al., "beta-VAE", ICLR 2017.
    """

    terms = frozenset(["elbo"])

    def contributions(self, terms: Terms) -> Array:
        """Split into reconstruction errors and the KL divergence."""
        return np.column_stack([terms.elbo.reconstruction, terms.beta * terms.elbo.kl])


class Reconstruction(Score):
    """Reconstruction error alone: minus the expected log-likelihood."""

    terms = frozenset(["elbo"])

    def contributions(self, terms: Terms) -> Array:
        """Split into reconstruction errors; the rest is zero."""
        return np.column_stack([terms.elbo.reconstruction, np.zeros_like(terms.elbo.kl)])


class KL(Score):
    """KL divergence of q(z|x) from the prior alone."""

    terms = frozenset(["elbo"])

    def contributions(self, terms: Terms) -> Array:
        """Return zero for the features."""
        return np.column_stack([np.zeros_like(terms.elbo.reconstruction), terms.elbo.kl])


class ImportanceWeighted(Score):
    """Minus the importance-weighted bound, which lies between the ELBO and log p(x).

    ``-log(1/K sum_k p(x|z_k) p(z_k) / q(z_k|x))`` with K draws from q(z|x), where
    the logs of ratios are means over members. `beta` has no effect. A plain autoencoder
    has no posterior to draw from, and gets the reconstruction error. Burda,
    Grosse and Salakhutdinov, "Importance weighted autoencoders"
    (:arxiv:`1509.00519`), equation 8.
    """

    terms = frozenset(["importance_weighted"])
    further_terms = frozenset(["elbo"])

    def contributions(self, terms: Terms) -> Array:
        """Split into reconstruction errors and the rest."""
        return _with_rest(terms.elbo.reconstruction, terms.importance_weighted)

    def total(self, terms: Terms) -> Array:
        """Return minus the bound."""
        return terms.importance_weighted


class Exemplar(Score):
    """Distance from the nearest training rows in coordinates of the networks.

    Compares reconstruction errors and codes with those of similar training rows. See
    `vae_anomaly.stats.exemplars`.
    """

    terms = frozenset(["exemplar"])

    def contributions(self, terms: Terms) -> Array:
        """Split into penalties and the distance, which is the rest."""
        return _with_rest(terms.penalty, terms.exemplar)

    def total(self, terms: Terms) -> Array:
        """Return the distance."""
        return terms.exemplar


class Typicality(Score):
    """Absolute difference of minus the ELBO from its mean over training rows.

    A density can be highest where no record is.
    Nalisnick et al., "Detecting out-of-distribution inputs to deep generative
    models using typicality" (:arxiv:`1906.02994`), with a batch of one row.
    """

    terms = frozenset(["elbo"])

    def contributions(self, terms: Terms) -> Array:
        """Split as the ELBO, with the sign of the sum."""
        above = Elbo().contributions(terms) - terms.typical
        return above * np.where(above.sum(axis=1, keepdims=True) < 0, -1.0, 1.0)


class LatentDistance(Score):
    """Half the squared Mahalanobis distance of the code from those of training rows.

    Minus the log of the normal density of their mean and covariance, but for a
    constant; the mean over members. Lee et al., "A simple unified framework for
    detecting out-of-distribution samples and adversarial attacks"
    (:arxiv:`1807.03888`), equation 2, with one class.
    """

    terms = frozenset(["latent_distance"])

    def contributions(self, terms: Terms) -> Array:
        """Return zero for the features."""
        zeros = np.zeros((len(terms.latent_distance), len(terms.typical) - 1))
        return np.column_stack([zeros, terms.latent_distance])


SCORES: dict[str, Score] = {
    "exemplar": Exemplar(),
    "elbo": Elbo(),
    "importance_weighted": ImportanceWeighted(),
    "reconstruction": Reconstruction(),
    "kl": KL(),
    "typicality": Typicality(),
    "latent_distance": LatentDistance(),
}
