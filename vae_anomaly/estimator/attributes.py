"""Fitted attributes of a detector: views of its model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.data.scaling import ColumnScaler
from vae_anomaly.model.model import Model
from vae_anomaly.model.reference import Reference
from vae_anomaly.networks.spec import NetworkSpec
from vae_anomaly.training.history import History

__all__ = ["FittedAttributes"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]


class FittedAttributes:
    """Read-only attributes; before `fit` each raises AttributeError."""

    model_: Model

    @property
    def offset_(self) -> float:
        """Minus the threshold, in nats."""
        return -self.model_.calibration.threshold

    @property
    def calibration_scores_(self) -> Array:
        """Anomaly scores of the calibration rows, ascending."""
        return self.model_.calibration.scores

    @property
    def history_(self) -> History:
        """Losses after each validation interval."""
        return self.model_.history

    @property
    def latent_kl_(self) -> Array:
        """Mean KL divergence of each latent dimension: (n_members, latent_dim)."""
        return self.model_.latent_kl

    @property
    def prior_(self) -> Weights | None:
        """Components of an aggregated prior: (n_members, m, 2 * latent_dim)."""
        return self.model_.prior

    @property
    def noise_(self) -> Weights:
        """Latent draws of scores: (n_draws, latent_dim)."""
        return self.model_.noise

    @property
    def reference_(self) -> Reference:
        """Training rows in the coordinates of the networks."""
        return self.model_.reference

    @property
    def network_spec_(self) -> NetworkSpec:
        """Structure of the networks."""
        return self.model_.network.spec

    @property
    def weights_(self) -> Weights:
        """Weights of the networks: (n_members, n_weights)."""
        return self.model_.network.weights

    @property
    def columns_(self) -> ColumnScaler:
        """Centre, scale and range of each column."""
        scaler: ColumnScaler | None = getattr(self.model_.encoder, "scaler", None)
        if scaler is None:
            raise AttributeError(f"A detector fitted on {self.model_.unit}s has no columns_.")
        return scaler

    @property
    def image_shape_(self) -> tuple[int, int, int] | None:
        """Height, width and channels of the training images, if it was fitted on images."""
        return self.model_.encoder.shape

    @property
    def smoothing_(self) -> float:
        """Standard deviation, in pixels, of the smoothing of images."""
        return getattr(self.model_.encoder, "smoothing", 0.0)

    @property
    def pixel_range_(self) -> tuple[float, float] | None:
        """Numbers of black and white in the training images, if it was fitted on images."""
        return getattr(self.model_.encoder, "pixel_range", None)
