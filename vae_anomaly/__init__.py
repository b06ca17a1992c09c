"""Anomaly detection by variational autoencoders, in nats.

Direction of scores, stated once: `score_samples` is higher for more normal
rows, as everywhere in scikit-learn; files and reports for people carry
``anomaly_score = -score_samples``, higher for more anomalous rows.

Names are loaded when they are first used: importing the package loads neither
TensorFlow nor Matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vae_anomaly._version import __version__ as __version__

if TYPE_CHECKING:
    from vae_anomaly.data.scaling import PrecisionWarning
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
    from vae_anomaly.model.drift import DriftWatch
    from vae_anomaly.model.onnx_export import export_onnx
    from vae_anomaly.model.seen import SeenRowsWarning
    from vae_anomaly.persistence import inspect, load, recalibrate, save
    from vae_anomaly.pipeline.batch import score_batch
    from vae_anomaly.series.detector import SeriesDetector
    from vae_anomaly.stats.thresholds import TooFewCalibrationRowsWarning
    from vae_anomaly.training.checkpoint import Checkpoint
    from vae_anomaly.training.collapse import UnusedLatentWarning


_HOMES = {
    "Checkpoint": "training.checkpoint",
    "CheckpointError": "exceptions",
    "DataError": "exceptions",
    "DivergenceError": "exceptions",
    "DriftWatch": "model.drift",
    "ModelFileError": "exceptions",
    "OutputError": "exceptions",
    "ParameterError": "exceptions",
    "PrecisionWarning": "data.scaling",
    "SeenRowsWarning": "model.seen",
    "SeriesDetector": "series.detector",
    "TooFewCalibrationRowsWarning": "stats.thresholds",
    "UnusedLatentWarning": "training.collapse",
    "VAEAnomalyError": "exceptions",
    "VAEDetector": "estimator",
    "export_onnx": "model.onnx_export",
    "inspect": "persistence",
    "load": "persistence",
    "recalibrate": "persistence",
    "save": "persistence",
    "score_batch": "pipeline.batch",
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
    "PrecisionWarning",
    "SeenRowsWarning",
    "SeriesDetector",
    "TooFewCalibrationRowsWarning",
    "UnusedLatentWarning",
    "VAEAnomalyError",
    "VAEDetector",
    "export_onnx",
    "inspect",
    "load",
    "recalibrate",
    "save",
    "score_batch",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
