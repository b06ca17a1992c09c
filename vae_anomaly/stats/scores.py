"""One row in, one number out: the registry of anomaly scores.

Direction: an anomaly score is higher for stranger rows, in nats. scikit-learn's
`score_samples` is its negative. Every score is the sum of *contributions*, one
per column and one for what belongs to no column, so that each can be explained.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["SCORES", "RowTerms", "Score", "Terms"]

Array = NDArray[np.float64]


class RowTerms(NamedTuple):
    """The two halves of minus the ELBO for each row, in nats, means over members and draws."""

    reconstruction: Array  # (n, columns)
    kl: Array  # (n,)


class Terms(Protocol):
    """What scores are made of, each evaluated when it is first asked for, and once."""

    @property
    def beta(self) -> float:
        """Weight of the KL divergence."""

    @property
    def typical(self) -> Array:
        """Mean contributions to minus the ELBO of training rows, (columns + 1,)."""

    @property
    def elbo(self) -> RowTerms:
        """Halves of minus the ELBO."""

    @property
    def importance_weighted(self) -> Array:
        """Minus the importance-weighted bound, (n,)."""

    @property
    def exemplar(self) -> Array:
        """Distance from the nearest training rows, (n,)."""

    @property
    def exemplar_columns(self) -> Array:
        """What the columns add to `exemplar`, (n, columns)."""

    @property
    def latent_distance(self) -> Array:
        """Half the squared Mahalanobis distance of the code, (n,)."""


class Score(ABC):
    """An anomaly score."""

    @abstractmethod
    def contributions(self, terms: Terms) -> Array:
        """Split it into columns, and last what belongs to none: (n, columns + 1)."""

    def total(self, terms: Terms) -> Array:
        """Sum of the contributions, (n,)."""
        return self.contributions(terms).sum(axis=1)


def _with_rest(columns: Array, total: Array) -> Array:
    """Append what the columns leave of a total."""
    return np.column_stack([columns, total - columns.sum(axis=1)])


class Elbo(Score):
    """Minus the ELBO: reconstruction error plus `beta` times the KL divergence.

    With ``beta = 1`` and in expectation over the draws an upper bound of
    -log p(x). Kingma and Welling,
    "Auto-encoding variational Bayes" (:arxiv:`1312.6114`), equation 3; An and
    Cho, "Variational autoencoder based anomaly detection using reconstruction
    probability", 2015; for `beta`, Higgins et al., "beta-VAE", ICLR 2017.
    """

    def contributions(self, terms: Terms) -> Array:
        """Split it into the columns' reconstruction errors and the KL divergence."""
        return np.column_stack([terms.elbo.reconstruction, terms.beta * terms.elbo.kl])


class Reconstruction(Score):
    """Minus the expected log-likelihood alone: how badly the row is rebuilt."""

    def contributions(self, terms: Terms) -> Array:
        """Split it into columns; the last is zero."""
        return np.column_stack([terms.elbo.reconstruction, np.zeros_like(terms.elbo.kl)])


class KL(Score):
    """KL divergence of q(z|x) from the prior alone: how far out its code lies."""

    def contributions(self, terms: Terms) -> Array:
        """Give all of it to the last; the columns are zero."""
        return np.column_stack([np.zeros_like(terms.elbo.reconstruction), terms.elbo.kl])


class ImportanceWeighted(Score):
    """Minus the importance-weighted bound, which lies between the ELBO and log p(x).

    ``-log(1/K sum_k p(x|z_k) p(z_k) / q(z_k|x))`` with K draws from q(z|x), where
    the logs of ratios are means over members. `beta` has no part in it; of a plain
    autoencoder, which has no posterior to draw from, it is the reconstruction. Burda,
    Grosse and Salakhutdinov, "Importance weighted autoencoders"
    (:arxiv:`1509.00519`), equation 8.
    """

    def contributions(self, terms: Terms) -> Array:
        """Give columns their reconstruction errors, and the rest to the last."""
        return _with_rest(terms.elbo.reconstruction, terms.importance_weighted)

    def total(self, terms: Terms) -> Array:
        """Evaluate the bound."""
        return terms.importance_weighted


class Exemplar(Score):
    """How far a row is from the nearest training rows, in the networks' coordinates.

    Reconstruction error and divergence of codes, but beside what the networks make
    of rows that are alike. See `vae_anomaly.stats.exemplars`.
    """

    def contributions(self, terms: Terms) -> Array:
        """Give columns the distances of their residuals, and the rest to the last."""
        return _with_rest(terms.exemplar_columns, terms.exemplar)

    def total(self, terms: Terms) -> Array:
        """Evaluate the distance."""
        return terms.exemplar


class Typicality(Score):
    """How far minus the ELBO is from its mean over training rows, either way.

    Rows may be too easy as well: a density can be highest where no row is.
    Nalisnick et al., "Detecting out-of-distribution inputs to deep generative
    models using typicality" (:arxiv:`1906.02994`), with a batch of one row.
    """

    def contributions(self, terms: Terms) -> Array:
        """Split it as the ELBO, with the sign that the sum has."""
        above = Elbo().contributions(terms) - terms.typical
        return above * np.where(above.sum(axis=1, keepdims=True) < 0, -1.0, 1.0)


class LatentDistance(Score):
    """Half the squared Mahalanobis distance of the code from those of training rows.

    Minus the log of the normal density of their mean and covariance, but for a
    constant; the mean over members. Lee et al., "A simple unified framework for
    detecting out-of-distribution samples and adversarial attacks"
    (:arxiv:`1807.03888`), equation 2, with one class.
    """

    def contributions(self, terms: Terms) -> Array:
        """Give all of it to the last; the columns are zero."""
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
