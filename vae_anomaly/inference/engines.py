"""Engines for forward passes: NumPy for dense networks, TensorFlow for all others, ONNX Runtime.

An engine holds the weights of one network and works on batches of rows. Dense networks
are a few matrix products, for which NumPy needs neither TensorFlow's seconds of import
nor its memory.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._threads import ProcessWideSetting
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.networks.spec import NetworkSpec

__all__ = ["Codes", "Engine", "engine_for", "open_engine"]


Array = NDArray[np.float64]
Weights = NDArray[np.float32]


class Codes(NamedTuple):
    """Parameters of q(z|x) of every member."""

    mean: Weights  # (members, n, latent)
    log_variance: Weights  # (members, n, latent)


class Engine(Protocol):
    """Forward passes of one network. Inputs are float32."""

    @property
    def breadth(self) -> int:
        """Rows of an efficient call, as a multiple of those on a processor."""

    @property
    def threads(self) -> int:
        """Number of calls that may run at the same time."""

    @property
    def setting(self) -> ProcessWideSetting:
        """Context of all calls. Products of NumPy round the same in it, whatever the engine."""

    def encode(self, x: Weights) -> Codes:
        """Encode inputs, (n, inputs)."""

    def decode(self, z: Weights) -> Array:
        """Decode codes, (members, n, latent): (members, n, outputs)."""

    def reconstruction_error(self, codes: Codes, noise: Weights, target: Array) -> Array:
        """Return -log p(x|z), a mean over members and draws z ~ q(z|x): (n, features), in nats.

        Parameters
        ----------
        codes : Codes
        noise : ndarray of shape (draws, latent)
            Standard normal.
        target : ndarray of shape (n, targets)
        """


def engine_for(spec: NetworkSpec, name: str = "auto") -> str:
    """Return the name of the engine that runs networks of a shape; "auto" depends on it alone.

    Raises
    ------
    ParameterError
        If the engine does not run such networks.
    """
    if name == "auto":
        return "numpy" if spec.is_dense else "tensorflow"
    if name == "numpy" and not spec.is_dense:
        raise ParameterError(
            "The engine numpy runs dense networks alone. Choose onnx or tensorflow."
        )
    return name


def open_engine(spec: NetworkSpec, weights: Weights, name: str = "auto") -> Engine:
    """Open an engine with weights, (members, n_weights).

    Scores of different engines agree to a relative 1e-5.

    Raises
    ------
    ParameterError
        If the engine does not run such networks, or is not installed.
    """
    name = engine_for(spec, name)
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
