"""Keras with its TensorFlow backend: import `keras` and `tf` from here."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from logging import LogRecord

from vae_anomaly._matplotlib import import_matplotlib
from vae_anomaly._stderr import muted_stderr
from vae_anomaly._threads import TENSORFLOW_THREADS
from vae_anomaly.exceptions import VAEAnomalyError

__all__ = ["check_tensorflow", "has_gpu", "keras", "tf"]

LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
"""Variable with the least severe messages that TensorFlow logs. Who sets it chooses."""

OWN_TRACING = re.compile(r"<function _?compiled_.* triggered tf.function retracing", re.DOTALL)
"""Advice that does not apply: functions are compiled once for each structure of networks."""


@contextmanager
def quiet_start() -> Iterator[None]:
    """Import TensorFlow without the lines that it logs at its start; errors are shown.

    It reads the variable at its first message, and child processes start quietly themselves.
    """
    os.environ[LOG_LEVEL] = "2"
    try:
        with muted_stderr():
            yield
    finally:
        del os.environ[LOG_LEVEL]


if os.environ.get("MPLBACKEND"):  # Keras and TensorFlow import Matplotlib
    import_matplotlib()
_chosen = os.environ.get("KERAS_BACKEND") or "tensorflow"
_starts = "tensorflow" not in sys.modules and LOG_LEVEL not in os.environ
with quiet_start() if _starts else nullcontext():
    if "keras" in sys.modules or _chosen == "tensorflow":
        import keras

        # Keras may have been imported before, or be set by its own configuration file.
        _chosen = keras.backend.backend()
    if _chosen != "tensorflow":
        raise VAEAnomalyError(
            f"VAEDetector runs Keras on TensorFlow, but Keras is set to run on {_chosen!r}. Unset "
            f"KERAS_BACKEND, or set it to 'tensorflow', before Keras is imported."
        )
    import tensorflow as tf

    if _starts:
        tf.constant(0.0)  # finds the devices, which logs as well


def _is_to_show(record: LogRecord) -> bool:
    return OWN_TRACING.search(record.getMessage()) is None


tf.get_logger().addFilter(_is_to_show)


def check_tensorflow() -> None:
    """Raise if TensorFlow cannot run here, before it hangs or fails for reasons hard to see.

    Raises
    ------
    VAEAnomalyError
        In a fork of a process in which it has run; without eager execution.
    """
    if TENSORFLOW_THREADS.are_lost:
        raise VAEAnomalyError(
            "TensorFlow has run in the process that this one was forked from; its threads are "
            "lost, and it would wait for them for ever. Start processes with "
            "multiprocessing.get_context('spawn'), or fork before the first fit."
        )
    if not tf.executing_eagerly() or type(tf.TensorShape([1])[0]) is not int:
        raise VAEAnomalyError(
            "TensorFlow runs without eager execution here, as version 1 did. Call VAEDetector "
            "outside of tf.Graph and tf.function, and in a process without "
            "tf.compat.v1.disable_eager_execution and disable_v2_behavior."
        )


def has_gpu() -> bool:
    """Return whether TensorFlow has a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))
