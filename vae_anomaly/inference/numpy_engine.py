"""NumPy engine for dense networks. See `Engine` for arguments and results of the methods.

Inside, rows are the last axis, with a padding of zeros on both sides: see `_threads.PADDING`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from functools import cached_property
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._threads import PADDING, SINGLE_THREAD
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.inference.base import Codes, expected_by_member
from vae_anomaly.networks.spec import NetworkSpec
from vae_anomaly.stats.densities import MAX_LOG_VARIANCE, numpy_ops

__all__ = ["NumpyEngine"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]
Layers = list[Weights]
Indices = NDArray[np.intp]


class _Half(NamedTuple):
    """A member's network from the inputs of half of the features to the outputs of the others."""

    inputs: Indices
    layers: Layers
    outputs: Indices


class _Buffers(threading.local):
    """Memory for the layers of a pass, of each thread, used in turn.

    New memory costs more than a small product.
    """

    def __init__(self) -> None:
        self._flat = [np.empty(0, dtype=np.float32) for _ in range(2)]
        self._zeros = np.empty(0, dtype=np.float32)

    def product(self, layer: Weights, x: Weights) -> Weights:
        """Return a product, valid until the next but one."""
        shape = (*layer.shape[:-1], x.shape[-1])
        self._flat.reverse()
        if self._flat[0].size < prod(shape):
            self._flat[0] = np.empty(prod(shape), dtype=np.float32)
        return np.matmul(layer, x, out=self._flat[0][: prod(shape)].reshape(shape))

    def rectify(self, x: Weights) -> None:
        """Set x to max(x, 0): several times as fast as with one number."""
        if self._zeros.size < x.size:
            self._zeros = np.zeros(x.size, dtype=np.float32)
        np.maximum(x, self._zeros[: x.size].reshape(x.shape), out=x)


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
        # Two products: the means are the same whether variances are computed or not.
        self._codes = [np.ascontiguousarray(a) for a in np.split(self.encoder[-1], 2, axis=1)]
        self._buffers = _Buffers()
        self._halves: dict[bytes, list[list[_Half]]] = {}

    @cached_property
    def threads(self) -> int:
        """One core for each call.

        Products are too small to divide, and divided ones round differently on other numbers of
        cores.
        """
        return _cpu_count()

    def encode(self, x: Weights) -> Codes:
        """Encode inputs."""
        hidden = self._encoded(x)
        mean, log_variance = (layer @ hidden for layer in self._codes)
        log_variance = np.clip(log_variance, -MAX_LOG_VARIANCE, MAX_LOG_VARIANCE)
        return Codes(*(_rows_first(part) for part in (mean, log_variance)))

    def encode_means(self, x: Weights) -> Weights:
        """Encode inputs, without the variances."""
        return _rows_first(self._codes[0] @ self._encoded(x))

    def _encoded(self, x: Weights) -> Weights:
        """Return the last hidden layer of encoders, (members, units, n + ...), in a buffer."""
        buffers, hidden = self._buffers, _framed(x.swapaxes(-1, -2))
        for i, layer in enumerate(self.encoder[:-1]):
            if i > 0 or x.ndim == 3:
                hidden = buffers.product(layer, hidden)
            else:  # the same inputs for all members, whose layers are one
                joined = layer.reshape(-1, layer.shape[-1])
                hidden = buffers.product(joined, hidden).reshape(*layer.shape[:2], -1)
            buffers.rectify(hidden)
        return hidden

    def decode(self, z: Weights) -> Array:
        """Decode codes."""
        return self._decoded(z.swapaxes(1, 2)).swapaxes(1, 2).astype(np.float64)

    def expected(self, z: Weights, first: int = 0) -> Array:
        """Decode codes, and average what members expect."""
        if self.joint.mean_outputs is None:
            return expected_by_member(self, self.spec, z, first)
        hidden = self._hidden(self.decoder, _framed(z.swapaxes(1, 2)))
        outputs = self._mean_output[first:] @ hidden.reshape(-1, hidden.shape[-1])
        return _rows_first(outputs).astype(np.float64)

    @cached_property
    def _mean_output(self) -> Weights:
        """The last layer of means, averaged over members: (targets, members * units)."""
        last = self.decoder[-1][:, self.joint.mean_outputs]
        return np.concatenate(list(last / np.float32(len(last))), axis=1)

    def reconstruction_error(self, codes: Codes, noise: Weights, target: Array) -> Array:
        """Average -log p(x|z) over members and draws."""
        mean, log_variance = (part.swapaxes(1, 2) for part in codes)  # (members, latent, n)
        deviation = 0.0 if self.spec.noiseless else np.exp(0.5 * log_variance)
        likelihood = np.zeros((self.joint.n_features, len(target))).T  # rows last in memory
        for draw in noise:
            outputs = self._decoded(mean + deviation * draw[:, None])
            likelihood += self._log_prob(target, outputs.swapaxes(1, 2))
        return -likelihood / len(noise)

    def predict(self, x: Weights, halves: NDArray[np.bool_]) -> Weights:
        """Decode the outputs of each feature, by networks without the inputs and outputs of a half.

        What other inputs and outputs would add costs half of the products.
        """
        key = halves.tobytes()  # constant for a network
        if key not in self._halves:
            passes, members = halves.shape[:2]
            self._halves[key] = [
                [self._half(j % members, shown) for shown in (~hidden, hidden)]
                for j, hidden in enumerate(halves.reshape(passes * members, -1))
            ]
        pairs, framed = self._halves[key], _framed(x.T)
        predictions = np.empty((len(pairs), self.joint.n_outputs, len(x)), dtype=np.float32)
        for found, pair in zip(predictions, pairs, strict=True):
            for half in pair:
                hidden = self._hidden(half.layers, framed[half.inputs])
                found[half.outputs] = (half.layers[-1] @ hidden)[:, PADDING:-PADDING]
        return predictions.swapaxes(1, 2)

    def _decoded(self, z: Weights) -> Weights:
        """Return the outputs of decoders: (members, latent, n) to (members, outputs, n)."""
        hidden = self._hidden(self.decoder, _framed(z))
        return (self.decoder[-1] @ hidden)[..., PADDING:-PADDING]

    def _hidden(self, layers: Layers, framed: Weights) -> Weights:
        """Run padded inputs through all layers but the last, with rectifiers, in a buffer."""
        for layer in layers[:-1]:
            framed = self._buffers.product(layer, framed)
            self._buffers.rectify(framed)
        return framed

    def _half(self, member: int, shown: NDArray[np.bool_]) -> _Half:
        """Return the network of a member that sees some features and predicts the others."""
        is_input = np.append(shown[self.spec.feature_of_input], True)  # last the 1 of the bias
        inputs = np.flatnonzero(is_input)
        outputs = np.flatnonzero(~shown[self.joint.feature_of_output])
        *encoder, code = (layer[member] for layer in self.encoder)
        first, *decoder = (layer[member] for layer in self.decoder)
        # Nothing is between the mean and the decoder: the two products are one.
        mean = np.zeros((self.spec.latent + 1, code.shape[1]))
        mean[:-1] = code[: self.spec.latent]
        mean[-1, -1] = 1.0
        joined = (first.astype(np.float64) @ mean).astype(np.float32)
        layers = [*encoder, joined, *decoder]
        layers[0] = np.ascontiguousarray(layers[0][:, inputs])
        layers[-1] = np.ascontiguousarray(layers[-1][outputs])
        return _Half(inputs, layers, outputs)

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


def _rows_first(padded: Weights) -> Weights:
    """Return results, (..., outputs, n), without padding: (..., n, outputs)."""
    return padded[..., PADDING:-PADDING].swapaxes(-1, -2)


def _framed(x: Weights) -> Weights:
    """Return inputs, (..., inputs, n), padded, and with the 1 of the bias as the last."""
    *others, inputs, n = x.shape
    framed = np.zeros((*others, inputs + 1, n + 2 * PADDING), dtype=np.float32)
    framed[..., :-1, PADDING:-PADDING] = x
    framed[..., -1, :] = 1.0
    return framed
