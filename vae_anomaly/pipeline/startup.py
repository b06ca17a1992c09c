"""Start of TensorFlow, before work that needs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from vae_anomaly.pipeline.memory import check_address_space

__all__ = ["has_started", "start_tensorflow"]


def has_started() -> bool:
    """Return whether TensorFlow was started."""
    return "vae_anomaly.training.loop" in sys.modules


def start_tensorflow(*, muted: bool = False) -> None:
    """Import TensorFlow and what depends on it, and initialise its devices.

    Parameters
    ----------
    muted : bool, default=False
        Discard the messages that its C++ part logs this early: they obey no setting.

    Raises
    ------
    ResourceError
        If TensorFlow would not get enough address space.
    """
    check_address_space()
    with _muted_stderr() if muted else nullcontext():
        import vae_anomaly.training.loop  # noqa: F401 - imports Keras and its dependencies
        from vae_anomaly.networks.backend import tf

        tf.constant(0.0)


@contextmanager
def _muted_stderr() -> Iterator[None]:
    """Discard what the process writes to standard error, also below Python."""
    sys.stderr.flush()
    before = os.dup(2)
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
