"""Keras with its TensorFlow backend: import `keras` and `tf` from here."""

from __future__ import annotations

import os
import sys

from vae_anomaly._matplotlib import import_matplotlib
from vae_anomaly.exceptions import VAEAnomalyError

__all__ = ["has_gpu", "keras", "tf"]

if os.environ.get("MPLBACKEND"):  # Keras and TensorFlow import Matplotlib
    import_matplotlib()
_chosen = os.environ.get("KERAS_BACKEND") or "tensorflow"
if "keras" in sys.modules or _chosen == "tensorflow":
    import keras

    # Keras may have been imported before, or be set by its own configuration file.
    _chosen = keras.backend.backend()
if _chosen != "tensorflow":
    raise VAEAnomalyError(
        f"VAEDetector runs Keras on TensorFlow, but Keras is set to run on {_chosen!r}. Unset "
        f"KERAS_BACKEND, or set it to 'tensorflow', before Keras is imported."
    )
import tensorflow as tf  # noqa: E402 - after Keras is known to run on it


def has_gpu() -> bool:
    """Return whether TensorFlow has a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))
