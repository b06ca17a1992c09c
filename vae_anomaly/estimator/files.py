"""Model files of `VAEDetector`."""

from __future__ import annotations

from pathlib import Path

from vae_anomaly._parameters import check_parameters, check_unchanged
from vae_anomaly._types import KerasModel
from vae_anomaly.estimator.detector import VAEDetector
from vae_anomaly.model.file import describe, restored, save_model
from vae_anomaly.model.parameters import RULES
from vae_anomaly.storage.container import UnopenedFile

__all__ = ["describe", "load", "save"]


def save(detector: VAEDetector, path: str | Path) -> str:
    """Write a fitted detector to one file; see `vae_anomaly.save`."""
    check_parameters(detector, RULES)
    check_unchanged(detector, detector.model_.parameters)
    return save_model(detector.model_, path)


def load(
    file: UnopenedFile,
    networks: tuple[KerasModel, KerasModel] | None = None,
    features: str | KerasModel | None = None,
) -> VAEDetector:
    """Check a file and build its detector; see `vae_anomaly.load`."""
    return VAEDetector.from_model(restored(file, networks, features))
