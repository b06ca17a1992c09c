"""The fitted model of a time series, and the scores of its time steps.

A window of all channels is compared with the training windows nearest to it. The energy of a
channel, half its mean squared difference to them, is taken relative to what it is in normal
windows of the calibration part. The score of a window is the root mean square of these over
channels: one channel that behaves otherwise is enough. The window score of a time step is the
geometric mean of the mean and the largest score of the windows that cover it.

A window is too long for a spike of one step. The point score of a time step is the same root
mean square for the squared residuals of the VAE at this step alone. A run of equal values that
is longer than those of training shows a sensor that is stuck.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.detectors import DETECTORS, DetectorType
from vae_anomaly.names import SERIES
from vae_anomaly.series.channels import MAX_BRIDGED, ChannelScaler, long_gaps, run_lengths
from vae_anomaly.series.comparison import StepErrors, WindowComparison
from vae_anomaly.series.windows import covering
from vae_anomaly.stats.floats import default_floats

__all__ = [
    "CAUSES",
    "MIN_TYPICAL",
    "SeriesModel",
    "StepScores",
    "Thresholds",
    "step_errors",
]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]

CAUSES = ("window", "point", "run")
"""What the score of a time step comes from."""

LONG_GAP = 8
"""Share of a window, as 1/8, up to which missing values in a row lie on the line between others."""

MIN_TYPICAL = 1e-6
"""Least typical error, in squared standard deviations: a series may repeat exactly."""

RUN_FACTOR = 2.0
"""A channel is stuck if a value is repeated more than so many times as often as in training."""


class Thresholds(NamedTuple):
    """Largest normal scores of time steps; infinite for a score that is not used."""

    window: float
    point: float
    run: float = RUN_FACTOR


class StepScores(NamedTuple):
    """Scores of time steps; NaN where a step has none.

    Attributes
    ----------
    scores : ndarray of shape (n_steps, len(CAUSES))
        Relative to normal steps: windows and points are about 1, runs at most 1. Another value
        of a channel that was constant in training counts as its longest run there, or as a window
        if gaps divided its runs into shorter ones.
    total : ndarray of shape (n_steps,)
        The window score as a multiple of its threshold or, where it is more, 1 plus the log of
        the multiples of points and runs, which count above their thresholds only: a spike of
        one step does not outrank all longer events. A step is flagged above 1.
    cause : ndarray of shape (n_steps,)
        Position in `CAUSES` of the score that is the total.
    contributions : ndarray of shape (n_steps, channels)
        Parts of the total that belong to channels; their sum is the total.
    expected : ndarray of shape (n_steps, channels)
        Mean of similar training windows, in units of the data.
    """

    scores: Array
    total: Array
    cause: NDArray[np.intp]
    contributions: Array
    expected: Array

    @property
    def flags(self) -> Flags:
        """Time steps that are flagged: (n_steps,)."""
        return self.total > 1.0

    def part(self, part: slice) -> StepScores:
        """Return the scores of some time steps."""
        scores, total, cause, contributions, expected = self
        return StepScores(
            scores[part], total[part], cause[part], contributions[part], expected[part]
        )


@dataclass(frozen=True, eq=False)
class SeriesModel:
    """What `SeriesDetector.fit` makes.

    Attributes
    ----------
    channels : tuple of str
    window : int
        Time steps in a window.
    hop : int
        Time steps from a window to the next.
    causal : bool
        Whether the window score of a step is that of the window that ends there.
    scaler : ChannelScaler
    longest_runs : ndarray of shape (channels,)
        Most equal values one after the other in training.
    comparison : WindowComparison
        Of windows of the channels that vary.
    typical_energy, typical_residual : ndarray of shape (varying,)
        Means in the calibration part.
    thresholds : Thresholds
    block_scores : ndarray of shape (n_blocks, 2)
        Largest window and point scores of calibration blocks.
    """

    detector_type: ClassVar[DetectorType] = DETECTORS[SERIES]

    channels: tuple[str, ...]
    window: int
    hop: int
    causal: bool
    scaler: ChannelScaler
    longest_runs: Array
    comparison: WindowComparison
    typical_energy: Array
    typical_residual: Array
    thresholds: Thresholds
    block_scores: Array

    def score(self, values: Array) -> StepScores:
        """Score the time steps of a series without breaks.

        Parameters
        ----------
        values : ndarray of shape (n_steps, channels)
            NaN where nothing was measured; at least `window` steps.

        Returns
        -------
        StepScores
        """
        return self.score_part(values, slice(0, len(values)), run_lengths(values))

    @default_floats()
    def score_part(self, values: Array, part: slice, lengths: Array) -> StepScores:
        """Score time steps of a series; what is before and after them fills their gaps.

        Parameters
        ----------
        values : ndarray of shape (n_steps, channels)
        part : slice
            Steps to score, from the start of a window on.
        lengths : ndarray of shape (n_steps, channels)
            Lengths of runs of equal values.

        Returns
        -------
        StepScores
        """
        errors = step_errors(self.scaler, self.comparison, values, self.window, self.hop, part)
        values, lengths = values[part], lengths[part]
        varying = self.scaler.varying
        shares = np.zeros((len(CAUSES), *values.shape))  # of channels in each score
        window, shares[0][:, varying] = self._of_windows(errors, len(values))
        shares[1][:, varying] = (errors.residual / self.typical_residual) ** 2
        point = np.sqrt(shares[1][:, varying].mean(axis=1))
        runs = self._runs(values, lengths)
        shares[2] = runs == runs.max(axis=1, keepdims=True)
        scores = np.column_stack([window, point, runs.max(axis=1)])
        scores[np.isnan(window)] = np.nan
        return self._combined(scores, shares, self.scaler.restored(errors.expected))

    def _of_windows(self, errors: StepErrors, n_steps: int) -> tuple[Array, Array]:
        """Return window scores of time steps, (n_steps,), and shares of channels."""
        relative = errors.energy / self.typical_energy  # (n_windows, varying)
        scores = np.sqrt((relative**2).mean(axis=1))
        shares = (errors.peak / self.typical_energy) ** 2
        if self.causal:  # there is a window for each step but the first ones
            before = np.full((self.window - 1, shares.shape[1] + 1), np.nan)
            joined = np.concatenate([before, np.column_stack([scores, shares])])
            return joined[:, 0], joined[:, 1:]
        covered = covering(scores, errors.starts, self.window, n_steps)
        of_channels = covering(shares, errors.starts, self.window, n_steps)
        return np.sqrt(covered.mean * covered.maximum), of_channels.mean

    def _runs(self, values: Array, lengths: Array) -> Array:
        """Return lengths of runs of equal values relative to training: (n_steps, channels)."""
        relative = lengths / self.longest_runs
        constant = self.scaler.scale == 0
        moved = np.isfinite(values[:, constant])
        moved &= values[:, constant] != self.scaler.center[constant]
        surprise = np.maximum(self.longest_runs[constant], self.window)
        relative[:, constant] = np.where(moved, surprise, 0.0)
        return relative

    def _combined(self, scores: Array, shares: Array, expected: Array) -> StepScores:
        """Choose the score that is the largest multiple of its threshold, and divide it."""
        multiples = scores / np.array(self.thresholds)
        above = multiples[:, 1:] > 1.0
        multiples[:, 1:] = np.where(
            above, 1.0 + np.log(np.where(above, multiples[:, 1:], 1.0)), 0.0
        )
        cause = np.argmax(multiples, axis=1)
        steps = np.arange(len(cause))
        total, weights = multiples[steps, cause], shares[cause, steps]
        weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), MIN_TYPICAL)
        return StepScores(scores, total, cause, total[:, None] * weights, expected)


@default_floats()
def step_errors(
    scaler: ChannelScaler,
    comparison: WindowComparison,
    values: Array,
    window: int,
    hop: int,
    part: slice = slice(None),
) -> StepErrors:
    """Compare the windows of a series with training windows, and its steps with the VAE."""
    steps = scaler.standardized(values)[part]
    chosen = values[:, scaler.varying]
    known = ~long_gaps(chosen, min(window // LONG_GAP, MAX_BRIDGED))[part]
    return comparison.compare(steps, np.isfinite(chosen[part]), known, window, hop)
