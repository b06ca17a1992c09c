"""NumPy engine for dense networks. See `Engine` for arguments and results of the methods.

Inside, rows are the last axis, with a padding of zeros on both sides: see `_threads.PADDING`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._threads import PADDING, SINGLE_THREAD
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.inference.base import Codes
from vae_anomaly.networks.spec import NetworkSpec
from vae_anomaly.stats.densities import MAX_LOG_VARIANCE, numpy_ops

__all__ = ["NumpyEngine"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]
Layers = list[Weights]


class NumpyEngine:
    """Forward passes of dense networks.

    Parameters
    ----------
    spec : NetworkSpec
    weights : ndarray of shape (members, n_weights)
    """

    breadth = 1
    setting = SINGLE_THREAD

    def __init__(self, spec: NetworkSpec, weights: Weights) -> None:
        self.spec = spec
        arrays = spec.unpack(weights)
        self.encoder = _layers(arrays, "encoder", len(spec.hidden))
        self.decoder = _layers(arrays, "decoder", len(spec.hidden))
        self.joint = spec.joint
        self.parameters = {
            name: arrays[name].astype(np.float64)[:, None] for name in self.joint.parameter_sizes
        }

    @cached_property
    def threads(self) -> int:
        """One core for each call.

        Products are too small to divide, and divided ones round differently on other numbers of
        cores.
        """
        return _cpu_count()

    def encode(self, x: Weights) -> Codes:
        """Encode inputs."""
        of_members = x if x.ndim == 3 else x[None]
        outputs = _forward(self.encoder, of_members.swapaxes(1, 2))
        mean, log_variance = np.split(outputs, 2, axis=1)
        log_variance = np.clip(log_variance, -MAX_LOG_VARIANCE, MAX_LOG_VARIANCE)
        return Codes(mean.swapaxes(1, 2), log_variance.swapaxes(1, 2))

    def decode(self, z: Weights) -> Array:
        """Decode codes."""
        return _forward(self.decoder, z.swapaxes(1, 2)).swapaxes(1, 2).astype(np.float64)

    def reconstruction_error(self, codes: Codes, noise: Weights, target: Array) -> Array:
        """Average -log p(x|z) over members and draws."""
        mean, log_variance = (part.swapaxes(1, 2) for part in codes)  # (members, latent, n)
        deviation = 0.0 if self.spec.noiseless else np.exp(0.5 * log_variance)
        likelihood = np.zeros((self.joint.n_features, len(target))).T  # rows last in memory
        for draw in noise:
            outputs = _forward(self.decoder, mean + deviation * draw[:, None])
            likelihood += self._log_prob(target, outputs.swapaxes(1, 2))
        return -likelihood / len(noise)

    def _log_prob(self, target: Array, outputs: Weights) -> Array:
        """Log p(x|z), averaged over members: (members, n, outputs) to (n, features)."""
        outputs = outputs.astype(np.float64)  # keeps the rows last in memory
        return self.joint.log_prob(numpy_ops, target, outputs, self.parameters).mean(axis=0)


def _cpu_count() -> int:
    """Return the number of processors that this process may use.

    Raises
    ------
    ParameterError
        If LOKY_MAX_CPU_COUNT, which limits it, is no number.
    """
    import joblib  # late: few rows need one core, and are scored faster than it is imported

    try:
        return int(joblib.cpu_count())
    except ValueError:
        raise ParameterError(
            f"The environment variable LOKY_MAX_CPU_COUNT must be a number of processors. Got "
            f"{os.environ.get('LOKY_MAX_CPU_COUNT')!r} instead. Correct or unset it."
        ) from None


def _layers(arrays: Mapping[str, Weights], part: str, hidden: int) -> Layers:
    """Return the matrices of dense layers, each with its bias as the last column.

    All but the last have one more row, which passes on the 1 that multiplies the bias: a
    layer is then one product.
    """
    layers = []
    for i in (*range(hidden), "out"):
        kernel, bias = arrays[f"{part}_{i}.kernel"], arrays[f"{part}_{i}.bias"]
        layer = np.concatenate([kernel, bias[:, None]], axis=1).swapaxes(1, 2)
        if i != "out":
            layer = np.pad(layer, [(0, 0), (0, 1), (0, 0)])
            layer[:, -1, -1] = 1.0
        layers.append(np.ascontiguousarray(layer))
    return layers


def _forward(layers: Layers, x: Weights) -> Weights:
    """Run (members, inputs, n) through dense layers, with rectifiers between them."""
    members, inputs, n = x.shape
    framed = np.zeros((members, inputs + 1, n + 2 * PADDING), dtype=np.float32)
    framed[:, :-1, PADDING:-PADDING] = x
    framed[:, -1] = 1.0
    for i, layer in enumerate(layers):
        if i > 0:
            np.maximum(framed, 0.0, out=framed)
        framed = layer @ framed
    return framed[..., PADDING:-PADDING]
