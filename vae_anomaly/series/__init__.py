"""Detection in time series: windows, their scores, alarms and events."""

from vae_anomaly.names import SERIES
from vae_anomaly.storage.container import UnopenedFile

__all__ = ["is_series"]


def is_series(file: UnopenedFile) -> bool:
    """Return whether a file says that it holds a detector of time series."""
    return isinstance(file.config, dict) and file.config.get("modality") == SERIES
