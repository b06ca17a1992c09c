"""Comparison of windows with training windows and with their reconstructions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._threads import SINGLE_THREAD, parallel_map
from vae_anomaly.model.model import Model
from vae_anomaly.series.training_windows import TrainingWindows
from vae_anomaly.series.windows import window_starts, windows_at

__all__ = ["StepErrors", "WindowComparison"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]
Weights = NDArray[np.float32]

N_NEIGHBORS = 5
"""Nearest training windows that a window is compared with."""

CHUNK_WINDOWS = 256
"""Windows that one thread compares at a time: a batch of the networks."""


class StepErrors(NamedTuple):
    """Differences from what is normal of windows and time steps, in squared standard deviations.

    A step is compared in the first window that reaches it: near its end, where the past is
    known alone, but for the steps of the first window.
    """

    starts: Indices  # first steps of windows, (n_windows,)
    energy: Array  # half the mean squared difference to the nearest, (n_windows, channels)
    peak: Array  # the same, root mean square over the window instead of mean
    residual: Array  # squared, of reconstructions as targets, (n_steps, channels)
    expected: Array  # mean of the nearest, (n_steps, channels)


class _Compared(NamedTuple):
    """The same of a chunk of windows, and of the last steps of each."""

    energy: Array
    peak: Array
    residual: Array  # (n_windows * n_new, channels)
    expected: Array


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

    def compare(
        self, steps: Array, observed: Flags, known: Flags, window: int, hop: int
    ) -> StepErrors:
        """Compare the windows of a series, and each of its time steps.

        Parameters
        ----------
        steps : ndarray of shape (n_steps, channels)
            Standardized, without gaps.
        observed : ndarray of bool of shape (n_steps, channels)
            What was measured: nothing else counts.
        known : ndarray of bool of shape (n_steps, channels)
            The same, and what stands in for it in short gaps.
        window : int
            At most `n_steps`.
        hop : int
            Steps from a window to the next: so many are new in each.
        """
        starts = window_starts(len(steps), window, hop)

        def compared(first: int) -> _Compared:
            at = starts[first : first + CHUNK_WINDOWS]
            windows, seen, whole = (
                windows_at(values, at, window) for values in (steps, observed, known)
            )
            found = self._compared(windows, seen, whole, hop)
            if first > 0:
                return found
            start = self._compared(windows[:1], seen[:1], whole[:1], window)
            return found._replace(
                residual=np.concatenate([start.residual[:-hop], found.residual]),
                expected=np.concatenate([start.expected[:-hop], found.expected]),
            )

        chunks = range(0, len(starts), CHUNK_WINDOWS)
        with SINGLE_THREAD:
            found = list(parallel_map(compared, chunks, self.network.network.engine.threads))
        energy, peak, *of_steps = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        # The last window may be nearer to the one before: fewer of its steps are new.
        ends = slice(None, len(steps) - hop), slice(-hop, None)
        residual, expected = (np.concatenate([values[end] for end in ends]) for values in of_steps)
        return StepErrors(starts, energy, peak, residual, expected)

    def _compared(self, windows: Array, observed: Flags, known: Flags, n_new: int) -> _Compared:
        """Compare windows, (n, window, channels), and their last `n_new` steps.

        Where a gap is long, what stands in for its values is unlike all training windows. Such a
        window is compared by what else is known, and has the values of similar ones there.
        """
        n, _, channels = windows.shape
        points = windows.astype(np.float32).reshape(n, -1)
        index = self.training.nearest(points, N_NEIGHBORS)
        broken = np.flatnonzero(~known.all(axis=(1, 2)))
        if len(broken):
            whole = known[broken].reshape(len(broken), -1)
            index[broken] = self.training.nearest_by(points[broken], whole, N_NEIGHBORS)
            means = self.training.points[index[broken]].mean(axis=1, dtype=np.float64)
            windows = windows.copy()
            windows[broken] = np.where(
                known[broken], windows[broken], means.reshape(-1, *windows.shape[1:])
            )
        similar = self.training.points[index]  # (n, neighbours, window * channels)
        expected = similar[:, :, -n_new * channels :].mean(axis=1, dtype=np.float64)
        similar -= points[:, None]
        squares = np.einsum("nkd,nkd->nd", similar, similar).reshape(windows.shape)
        counts = np.maximum(observed.sum(axis=1), 1)
        halves = np.where(observed, 0.5 / index.shape[1] * squares, 0.0)
        energy = halves.sum(axis=1) / counts
        peak = np.sqrt((halves**2).sum(axis=1) / counts)
        residual = self._residual(windows.reshape(n, -1), n_new * channels)
        residual = np.where(observed[:, -n_new:].reshape(n, -1), residual**2, 0.0)
        return _Compared(
            energy, peak, residual.reshape(-1, channels), expected.reshape(-1, channels)
        )

    def _residual(self, flat: Array, count: int) -> Array:
        """Return the last targets minus those of the VAE, of flat windows: (n_windows, count).

        Targets are soft-clipped far from the training data: no spike outweighs all others.
        """
        encoder, network = self.network.encoder, self.network.network
        encoded = encoder.encode(flat)
        n_targets = encoded.targets.shape[1]
        place = np.arange(flat.shape[1]) if n_targets == flat.shape[1] else encoder.explained
        place = place[place >= flat.shape[1] - count] - flat.shape[1]
        residual = np.zeros((len(flat), count))
        if len(place):
            expected = network.last_targets(encoded.inputs, len(place))
            residual[:, place] = encoded.targets[:, -len(place) :] - expected
        return residual
