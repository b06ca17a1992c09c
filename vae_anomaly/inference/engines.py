"""Where forward passes run: NumPy for dense networks, TensorFlow for all others, or ONNX Runtime.

An engine holds the weights of one detector and works on blocks of rows. Dense
networks are a handful of matrix products, for which NumPy needs neither
TensorFlow's seconds of import nor its memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.exceptions import ParameterError
from vae_anomaly.networks.spec import NetworkSpec

__all__ = ["ENGINES", "Engine", "needs_tensorflow", "open_engine", "preferring"]

ENGINES = ("auto", "numpy", "onnx", "tensorflow")

Array = NDArray[np.float64]
Weights = NDArray[np.float32]


class Engine(Protocol):
    """Forward passes of the networks of one detector. Inputs float32, results float64."""

    @property
    def breadth(self) -> int:
        """How many times as many rows as a processor it has use for in a call."""

    def running(self) -> AbstractContextManager[int]:
        """Prepare for some calls, and say how many may run at a time."""

    def terms(self, noise: Weights, x: Weights, target: Array) -> tuple[Array, Weights, Weights]:
        """Reconstruction error, a mean over members and draws, and the codes.

        Takes noise (draws, latent), x and target (n, columns); returns the error
        (n, columns), and means and log-variances of q(z|x), (members, n, latent).
        """

    def posterior(self, x: Weights) -> tuple[Array, Array, Array]:
        """Means and log-variances of q(z|x), (members, n, latent), and the decoded means.

        Those are as the decoder makes them, (members, n, outputs).
        """

    def decode(self, z: Weights) -> Array:
        """Decode codes, (members, n, latent): (members, n, outputs)."""


def needs_tensorflow(spec: NetworkSpec) -> bool:
    """Tell whether forward passes of networks of a shape run in TensorFlow."""
    return _engine_for(spec, _preferred) == "tensorflow"


def _engine_for(spec: NetworkSpec, name: str) -> str:
    dense = spec.image is None and spec.custom is None
    if name == "auto":
        return "numpy" if dense else "tensorflow"
    if name == "numpy" and not dense:
        raise ParameterError(
            "The engine numpy runs dense networks alone. Choose onnx or tensorflow."
        )
    return name


def open_engine(spec: NetworkSpec, weights: Weights, name: str | None = None) -> Engine:
    """Choose the engine for networks of a shape, and give it their weights, (members, n_weights).

    A detector's engine depends on its shape alone, so that its scores do not
    depend on where they are made; unless somebody names another, here or with
    `preferring`.

    Raises
    ------
    ParameterError
        If the engine cannot run such networks, or is not installed.
    """
    name = _engine_for(spec, name or _preferred)
    if name == "numpy":
        from vae_anomaly.inference.numpy_engine import NumpyEngine

        return NumpyEngine(spec, weights)
    if name == "onnx":
        try:
            from vae_anomaly.inference.onnx_engine import OnnxEngine
        except ImportError as cause:
            raise ParameterError(
                "The engine onnx needs the packages onnx and onnxruntime, which are not "
                "installed. Install them with pip install 'vae-anomaly[onnx]', or choose another."
            ) from cause

        return OnnxEngine(spec, weights)
    from vae_anomaly.inference.tensorflow_engine import TensorFlowEngine

    return TensorFlowEngine(spec, weights)


_preferred = "auto"


@contextmanager
def preferring(name: str) -> Iterator[None]:
    """Run forward passes on an engine, one of `ENGINES`, inside a ``with`` block.

    In all threads: it is for programs, such as the command line. Scores of
    engines agree to a relative 1e-5.
    """
    global _preferred
    before, _preferred = _preferred, name
    try:
        yield
    finally:
        _preferred = before
