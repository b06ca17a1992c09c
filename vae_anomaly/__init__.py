"""Anomaly detection by variational autoencoders, in nats.

Direction of scores, stated once: `score_samples` is higher for more normal
rows, as everywhere in scikit-learn; files and reports for people carry
``anomaly_score = -score_samples``, higher for stranger rows.

Names are loaded when they are first used: importing the package loads neither
TensorFlow nor Matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vae_anomaly.checkpointing import Checkpoint
    from vae_anomaly.convergence import UnusedLatentWarning
    from vae_anomaly.drift import DriftWatch
    from vae_anomaly.estimator import VAEDetector
    from vae_anomaly.exceptions import (
        CheckpointError,
        DataError,
        DivergenceError,
        ModelFileError,
        OutputError,
        ParameterError,
        VAEAnomalyError,
    )
    from vae_anomaly.exporting import export_onnx
    from vae_anomaly.persistence import inspect, load, save
    from vae_anomaly.recalibration import recalibrate
    from vae_anomaly.thresholds import TooFewCalibrationRowsWarning

__version__ = "0.1.0"

_HOMES = {
    "Checkpoint": "checkpointing",
    "CheckpointError": "exceptions",
    "DataError": "exceptions",
    "DivergenceError": "exceptions",
    "DriftWatch": "drift",
    "ModelFileError": "exceptions",
    "OutputError": "exceptions",
    "ParameterError": "exceptions",
    "TooFewCalibrationRowsWarning": "thresholds",
    "UnusedLatentWarning": "convergence",
    "VAEAnomalyError": "exceptions",
    "VAEDetector": "estimator",
    "export_onnx": "exporting",
    "inspect": "persistence",
    "load": "persistence",
    "recalibrate": "recalibration",
    "save": "persistence",
}

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "DataError",
    "DivergenceError",
    "DriftWatch",
    "ModelFileError",
    "OutputError",
    "ParameterError",
    "TooFewCalibrationRowsWarning",
    "UnusedLatentWarning",
    "VAEAnomalyError",
    "VAEDetector",
    "export_onnx",
    "inspect",
    "load",
    "recalibrate",
    "save",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
