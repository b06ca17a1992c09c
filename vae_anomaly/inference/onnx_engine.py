"""ONNX Runtime engine. See `Engine` for arguments and results of the methods."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from vae_anomaly._threads import SINGLE_THREAD
from vae_anomaly._types import OnnxModel, OnnxSession, Symbol
from vae_anomaly.inference.base import Codes, expected_by_member, predict_by_masks
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
    threads = 1  # one call uses all cores
    setting = SINGLE_THREAD

    def __init__(self, spec: NetworkSpec, weights: Weights) -> None:
        self.spec, self.weights = spec, weights
        self._errors: dict[bytes, OnnxSession] = {}

    def encode(self, x: Weights) -> Codes:
        """Encode inputs."""
        of_members = np.broadcast_to(x, (self.spec.members, *x.shape[-2:]))
        named = {f"x{member}": part for member, part in enumerate(of_members)}
        parts = self._encoder.run(None, named)
        return Codes(np.stack(parts[::2]), np.stack(parts[1::2]))

    def decode(self, z: Weights) -> Array:
        """Decode codes."""
        named = {f"z{member}": np.ascontiguousarray(codes) for member, codes in enumerate(z)}
        return np.stack(self._decoder.run(None, named)).astype(np.float64)

    def encode_means(self, x: Weights) -> Weights:
        """Encode inputs."""
        return self.encode(x).mean

    def expected(self, z: Weights, first: int = 0) -> Array:
        """Decode codes, and average what members expect."""
        return expected_by_member(self, self.spec, z, first)

    def reconstruction_error(self, codes: Codes, noise: Weights, target: Array) -> Array:
        """Average -log p(x|z) over members and draws."""
        key = noise.tobytes()  # constant for a model, and so part of the graph
        if key not in self._errors:
            self._errors[key] = self._session(lambda networks: self._error_graph(networks, noise))
        named = {"target": target}
        for member, (mean, log_variance) in enumerate(zip(*codes, strict=True)):
            named[f"mean{member}"] = np.ascontiguousarray(mean)
            named[f"log_variance{member}"] = np.ascontiguousarray(log_variance)
        return self._errors[key].run(None, named)[0]

    def predict(self, x: Weights, halves: NDArray[np.bool_]) -> Weights:
        """Decode the outputs of each feature from the other half of the features."""
        return predict_by_masks(self, self.spec, x, halves)

    def _session(self, build: Callable[[Networks], OnnxModel]) -> OnnxSession:
        model = build(Networks(Graph(), self.spec, self.weights))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def _error_graph(self, networks: Networks, noise: Weights) -> OnnxModel:
        target = networks.graph.input("target", "n", self.spec.joint.n_targets, dtype="float64")
        codes = [
            (
                networks.graph.input(f"mean{member}", "n", self.spec.latent),
                networks.graph.input(f"log_variance{member}", "n", self.spec.latent),
            )
            for member in range(self.spec.members)
        ]
        error = networks.reconstruction_error(codes, noise, target)
        return networks.graph.finished({"error": error})

    @cached_property
    def _encoder(self) -> OnnxSession:
        def build(networks: Networks) -> OnnxModel:
            named: dict[str, Symbol] = {}
            for member in range(self.spec.members):
                x = networks.graph.input(f"x{member}", "n", self.spec.n_inputs)
                mean, log_variance = networks.encode(member, x)
                named |= {f"mean{member}": mean, f"log_variance{member}": log_variance}
            return networks.graph.finished(named)

        return self._session(build)

    @cached_property
    def _decoder(self) -> OnnxSession:
        def build(networks: Networks) -> OnnxModel:
            named = {}
            for member in range(self.spec.members):
                z = networks.graph.input(f"z{member}", "n", self.spec.latent)
                named[f"outputs{member}"] = networks.decode(member, z)
            return networks.graph.finished(named)

        return self._session(build)
