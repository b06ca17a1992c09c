"""Comparison of windows with training windows and with their reconstructions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._threads import SINGLE_THREAD, parallel_map
from vae_anomaly.model.model import Model
from vae_anomaly.series.training_windows import TrainingWindows
from vae_anomaly.series.windows import windows_at

__all__ = ["ComparedWindows", "WindowComparison"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]
Weights = NDArray[np.float32]

N_NEIGHBORS = 5
"""Nearest training windows that a window is compared with."""

CHUNK_WINDOWS = 512
"""Windows that one thread compares at a time."""

BATCH_WINDOWS = 8192
"""Windows that are in memory at a time."""


class ComparedWindows(NamedTuple):
    """Differences of windows from what is normal, in squared standard deviations."""

    energy: Array  # half the mean squared difference to the nearest, (n_windows, channels)
    peak: Array  # the same, root mean square over the window instead of mean
    residual: Array  # of reconstructions as targets, not squared, (n_windows, window, channels)
    expected: Weights  # mean of the nearest, (n_windows, window, channels)


@dataclass(frozen=True, eq=False)
class WindowComparison:
    """Training windows and the VAE that was trained on them.

    Attributes
    ----------
    network : Model
        VAE of flat windows, (n, window * channels).
    training : TrainingWindows
    """

    network: Model
    training: TrainingWindows

    @classmethod
    def of(cls, network: Model, windows: Array) -> WindowComparison:
        """Compare with these training windows, (n, window * channels)."""
        return cls(network, TrainingWindows(windows.astype(np.float32, order="C")))

    def over(
        self, steps: Array, observed: Flags, starts: Indices, window: int
    ) -> Iterator[tuple[slice, ComparedWindows]]:
        """Yield the comparisons of the windows that start at some time steps, in batches.

        Parameters
        ----------
        steps : ndarray of shape (n_steps, channels)
            Standardized, without gaps.
        observed : ndarray of bool of shape (n_steps, channels)
            What was measured: nothing else counts.
        starts : ndarray of shape (n_windows,)
        window : int
        """
        for first in range(0, len(starts), BATCH_WINDOWS):
            part = slice(first, min(first + BATCH_WINDOWS, len(starts)))
            at = starts[part]
            yield (
                part,
                self._compared(windows_at(steps, at, window), windows_at(observed, at, window)),
            )

    def _compared(self, windows: Array, observed: Flags) -> ComparedWindows:
        """Compare windows, (n, window, channels)."""
        flat = windows.reshape(len(windows), -1)
        residual = self._residual(flat).reshape(windows.shape)
        points = flat.astype(np.float32)

        def nearest(part: slice) -> tuple[Array, Array, Weights]:
            index = self.training.nearest(points[part], N_NEIGHBORS)
            similar = self.training.points[index]  # (n, neighbours, window * channels)
            away = points[part, None] - similar
            squares = np.einsum("nkd,nkd->nd", away, away).reshape(windows[part].shape)
            counts = np.maximum(observed[part].sum(axis=1), 1)
            halves = np.where(observed[part], 0.5 / index.shape[1] * squares, 0.0)
            energy = halves.sum(axis=1) / counts
            peak = np.sqrt((halves**2).sum(axis=1) / counts)
            return energy, peak, similar.mean(axis=1).reshape(windows[part].shape)

        parts = [slice(i, i + CHUNK_WINDOWS) for i in range(0, len(flat), CHUNK_WINDOWS)]
        with SINGLE_THREAD:
            found = list(parallel_map(nearest, parts, self.network.network.engine.threads))
        energy, peak, expected = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        return ComparedWindows(energy, peak, residual, expected)

    def _residual(self, flat: Array) -> Array:
        """Return targets minus those of the VAE, of flat windows: (n_windows, window * channels).

        Targets are soft-clipped far from the training data: no spike outweighs all others.
        """
        encoder, network = self.network.encoder, self.network.network
        encoded = encoder.encode(flat)
        difference: Array = encoded.targets - network.decode(network.encode(encoded.inputs)[0])
        if difference.shape == flat.shape:
            return difference
        residual = np.zeros(flat.shape)
        residual[:, encoder.explained] = difference
        return residual
