"""ONNX graphs of the convolutional and recurrent networks of `vae_anomaly.series.networks`."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import Symbol
from vae_anomaly.series.networks import FILTERS, KERNEL, LATENT, UNITS

__all__ = ["SeriesNetworks"]

Weights = NDArray[np.float32]

STRIDE = 2

GATES = {"LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2)}
"""Positions in Keras of the gates, in the order of ONNX."""


class SeriesNetworks:
    """Encoder and decoder of windows, in a graph.

    Parameters
    ----------
    architecture : str
    arrays : dict of str to ndarray
        Weights of the only member by name, (1, ...) each.
    window, channels : int
    """

    def __init__(
        self, architecture: str, arrays: dict[str, Weights], window: int, channels: int
    ) -> None:
        self._architecture, self._window, self._channels = architecture, window, channels
        self._encoder, self._decoder = (
            [array[0] for name, array in sorted(arrays.items()) if name.startswith(f"{part}.")]
            for part in ("encoder", "decoder")
        )

    def encode(self, x: Symbol) -> Symbol:
        """Add the means of q(z|x) to the graph: (n, window * channels) to (n, LATENT)."""
        weights, x = iter(self._encoder), x.reshape(-1, self._window, self._channels)
        if self._architecture == "conv":
            length, x = self._window, x.apply("Transpose", perm=[0, 2, 1])
            for _ in FILTERS:
                x = _convolved(x, length, weights)
                length = ceil(length / STRIDE)
            x = x.apply("Transpose", perm=[0, 2, 1]).reshape(-1, length * FILTERS[-1])
        else:
            last = self._recurrent(x.apply("Transpose", perm=[1, 0, 2]), weights)
            x = last.taken(-1, None, axis=0).reshape(-1, UNITS)
        return _dense(x, weights).taken(0, LATENT)

    def decode(self, z: Symbol) -> Symbol:
        """Add the outputs of codes to the graph: (n, LATENT) to (n, window * channels)."""
        weights = iter(self._decoder)
        if self._architecture == "conv":
            short = ceil(ceil(self._window / STRIDE) / STRIDE)
            x = _dense(z, weights).apply("Relu").reshape(-1, short, FILTERS[-1])
            x = _grown(x.apply("Transpose", perm=[0, 2, 1]), weights).apply("Relu")
            x = _grown(x, weights).taken(0, self._window).apply("Transpose", perm=[0, 2, 1])
        else:
            every = np.ones((self._window, 1, 1), dtype=np.float32)
            x = z.reshape(1, -1, LATENT) * every  # (window, n, LATENT)
            x = self._recurrent(x, weights).apply("Transpose", perm=[1, 0, 2])
            x = _dense(x, weights)
        return x.reshape(-1, self._window * self._channels)

    def _recurrent(self, x: Symbol, weights: Iterator[Weights]) -> Symbol:
        """Add a recurrent layer: (steps, n, features) to its states, (steps, n, UNITS)."""
        operator = self._architecture.upper()
        kernel, recurrent, bias = (next(weights) for _ in range(3))
        order = GATES[operator]

        def gates(array: Weights) -> Weights:  # (..., gates * UNITS)
            parts = np.split(array, len(order), axis=-1)
            return np.concatenate([parts[i] for i in order], axis=-1)

        biases = gates(bias) if bias.ndim == 2 else np.stack([gates(bias), np.zeros_like(bias)])
        options = {"linear_before_reset": 1} if operator == "GRU" else {}
        states = x.apply(
            operator,
            gates(kernel).T[None],
            gates(recurrent).T[None],
            biases.reshape(1, -1),
            hidden_size=UNITS,
            **options,
        )  # (steps, 1, n, UNITS)
        return states.squeezed(1)


def _dense(x: Symbol, weights: Iterator[Weights]) -> Symbol:
    return x.apply("MatMul", next(weights)) + next(weights)


def _convolved(x: Symbol, length: int, weights: Iterator[Weights]) -> Symbol:
    """Add a convolution of (n, channels, length) with stride 2, padded as in Keras."""
    kernel, bias = next(weights), next(weights)  # (steps, inputs, filters)
    missing = max((ceil(length / STRIDE) - 1) * STRIDE + KERNEL - length, 0)
    pads = [missing // 2, missing - missing // 2]
    x = x.apply("Conv", kernel.transpose(2, 1, 0), bias, strides=[STRIDE], pads=pads)
    return x.apply("Relu")


def _grown(x: Symbol, weights: Iterator[Weights]) -> Symbol:
    """Add a transposed convolution, which doubles the length."""
    kernel, bias = next(weights), next(weights)  # (steps, filters, inputs)
    pads = [(KERNEL - STRIDE) // 2, (KERNEL - STRIDE + 1) // 2]
    return x.apply("ConvTranspose", kernel.transpose(2, 1, 0), bias, strides=[STRIDE], pads=pads)
