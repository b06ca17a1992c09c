"""Engines for forward passes: NumPy for dense networks, TensorFlow for all others, ONNX Runtime.

Dense networks are a few matrix products, for which NumPy needs neither TensorFlow's seconds
of import nor its memory.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.exceptions import ParameterError
from vae_anomaly.inference.base import Engine
from vae_anomaly.inference.numpy_engine import NumpyEngine
from vae_anomaly.networks.spec import NetworkSpec

__all__ = ["engine_for", "open_engine"]

Weights = NDArray[np.float32]


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
        return NumpyEngine(spec, weights)
    if name == "onnx":
        try:
            from vae_anomaly.inference.onnx_engine import OnnxEngine
        except ImportError as cause:
            raise ParameterError(
                "The engine onnx needs the packages onnx and onnxruntime, which are not "
                "installed. Install them with pip install onnx onnxruntime, or choose another."
            ) from cause

        return OnnxEngine(spec, weights)
    from vae_anomaly.inference.tensorflow_engine import TensorFlowEngine

    return TensorFlowEngine(spec, weights)
