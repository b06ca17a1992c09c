"""Networks in ONNX Runtime. See `Engine` for what the methods take and return."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from vae_anomaly.inference.onnx_graph import Graph, Networks
from vae_anomaly.networks.spec import NetworkSpec

__all__ = ["OnnxEngine"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]


class OnnxEngine:
    """Forward passes of dense and convolutional networks.

    Parameters
    ----------
    spec : NetworkSpec
    weights : ndarray of shape (members, n_weights)
    """

    breadth = 1

    def __init__(self, spec: NetworkSpec, weights: Weights) -> None:
        self.spec, self.weights = spec, weights
        self._terms: dict[bytes, Any] = {}

    @contextmanager
    def running(self) -> Iterator[int]:
        """One call keeps all cores busy."""
        yield 1

    def terms(self, noise: Weights, x: Weights, target: Array) -> tuple[Array, Weights, Weights]:
        """Reconstruction error, and codes."""
        key = noise.tobytes()  # drawn once for a detector, and so part of the graph
        if key not in self._terms:
            self._terms[key] = self._session(lambda networks: self._terms_graph(networks, noise))
        error, *codes = self._terms[key].run(None, {"x": x, "target": target})
        return error, np.stack(codes[::2]), np.stack(codes[1::2])

    def posterior(self, x: Weights) -> tuple[Array, Array, Array]:
        """Codes, and what the decoder makes of their means."""
        parts = self._posterior.run(None, {"x": x})
        mean, log_variance, outputs = (np.stack(parts[i::3]).astype(np.float64) for i in range(3))
        return mean, log_variance, outputs

    def decode(self, z: Weights) -> Array:
        """Decode codes."""
        named = {f"z{member}": np.ascontiguousarray(codes) for member, codes in enumerate(z)}
        return np.stack(self._decoder.run(None, named)).astype(np.float64)

    def _session(self, build: Callable[[Networks], Any]) -> Any:
        model = build(Networks(Graph(), self.spec, self.weights))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def _terms_graph(self, networks: Networks, noise: Weights) -> Any:
        x = networks.graph.input("x", "n", self.spec.columns)
        target = networks.graph.input("target", "n", self.spec.columns, dtype="float64")
        error, codes = networks.terms(noise, x, target)
        named = {
            f"{name}{member}": part
            for member, code in enumerate(codes)
            for name, part in zip(("mean", "log_variance"), code, strict=True)
        }
        return networks.graph.finished({"error": error} | named)

    @cached_property
    def _posterior(self) -> Any:
        def build(networks: Networks) -> Any:
            x = networks.graph.input("x", "n", self.spec.columns)
            named: dict[str, Any] = {}
            for member in range(self.spec.members):
                mean, log_variance = networks.encode(member, x)
                named |= {
                    f"mean{member}": mean,
                    f"log_variance{member}": log_variance,
                    f"outputs{member}": networks.decode(member, mean),
                }
            return networks.graph.finished(named)

        return self._session(build)

    @cached_property
    def _decoder(self) -> Any:
        def build(networks: Networks) -> Any:
            named = {}
            for member in range(self.spec.members):
                z = networks.graph.input(f"z{member}", "n", self.spec.latent)
                named[f"outputs{member}"] = networks.decode(member, z)
            return networks.graph.finished(named)

        return self._session(build)
