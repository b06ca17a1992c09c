"""Start of TensorFlow, before work that needs it."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import nullcontext

from vae_anomaly._stderr import muted_stderr
from vae_anomaly.names import IGNORED_SETTINGS
from vae_anomaly.pipeline.limits import check_address_space

__all__ = ["has_started", "set_environment", "start_tensorflow"]


def has_started() -> bool:
    """Return whether TensorFlow was started."""
    return "vae_anomaly.training.loop" in sys.modules


def set_environment(*, muted: bool = False) -> None:
    """Add the settings with which TensorFlow is to be imported to those of the process.

    Parameters
    ----------
    muted : bool, default=False
        Also silence warnings of Matplotlib: a missing folder for its cache concerns no user.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # others use the GPU as well
    os.environ["KERAS_BACKEND"] = "tensorflow"
    for setting in IGNORED_SETTINGS:
        os.environ.pop(setting, None)
    if muted:
        logging.getLogger("matplotlib").setLevel(logging.ERROR)


def start_tensorflow(*, muted: bool = False) -> None:
    """Import TensorFlow and what depends on it, and initialise its devices.

    Parameters
    ----------
    muted : bool, default=False
        Withhold the messages that its C++ part logs this early; see `muted_stderr`.

    Raises
    ------
    ResourceError
        If TensorFlow would not get enough address space.
    """
    check_address_space()
    with muted_stderr() if muted else nullcontext():
        import vae_anomaly.training.loop  # noqa: F401 - imports Keras and its dependencies
        from vae_anomaly.networks.backend import tf

        tf.constant(0.0)
