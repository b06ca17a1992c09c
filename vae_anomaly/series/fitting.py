"""Fitting of a model of time series: scales, training windows, the VAE, thresholds of alarms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.data.series.segments import Segment
from vae_anomaly.exceptions import DataError
from vae_anomaly.model.model import Model
from vae_anomaly.series.alarms import AlarmBudget, Promise
from vae_anomaly.series.calibration import (
    N_BLOCK_SCORES,
    block_length,
    block_scores,
    calibrated,
)
from vae_anomaly.series.channels import MAX_BRIDGED, ChannelScaler, RunLengths
from vae_anomaly.series.comparison import StepErrors, WindowComparison
from vae_anomaly.series.model import MIN_TYPICAL, SeriesModel, Thresholds, step_errors
from vae_anomaly.series.windows import window_starts, windows_at
from vae_anomaly.stats.exemplars import max_exemplars
from vae_anomaly.stats.priors import subsample

__all__ = ["FittedSeries", "WindowSettings", "fit_series"]

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

FitWindows = Callable[[Array, int], Model]
"""Fit of a VAE to windows, (n, window * channels), and their number of channels."""

CALIBRATION_SHARE = 0.3
"""Last part of each series, which calibrates."""

MIN_WINDOWS = 4
"""Windows side by side below which no part of a series calibrates."""

MIN_SHORT = 10
"""Shorter series, the last of which calibrate as a whole where there is no longer one."""

HOPS_IN_WINDOW = 8
"""Windows that cover a time step."""

MAX_TRAINING_WINDOWS = 20_000
"""Windows that the networks are trained on."""


PART_STEPS = 65_536
"""Time steps whose windows are compared, or drawn, at a time."""


class WindowSettings(NamedTuple):
    """How series are divided into windows."""

    window: int
    causal: bool

    @property
    def hop(self) -> int:
        """Time steps from a window to the next."""
        return 1 if self.causal else max(1, self.window // HOPS_IN_WINDOW)


class FittedSeries(NamedTuple):
    """Result of `fit_series`."""

    model: SeriesModel
    promise: Promise


@dataclass(frozen=True, eq=False)
class _Parts:
    """Segments in two parts, a window apart."""

    learned: list[Segment]
    calibrating: list[Segment]

    @classmethod
    def of(cls, segments: Sequence[Segment], window: int) -> _Parts:
        """Divide each segment; what is too short to calibrate is learned from as a whole.

        Where all are too short, as windows that are cut already, the last ones calibrate.
        """
        learned, calibrating = [], []
        for one in segments:
            n_steps = len(one)
            last = max(round(CALIBRATION_SHARE * n_steps), 2 * window)
            if n_steps < MIN_WINDOWS * window:
                last = 0
            at = n_steps - last
            learned.append(one.within(0, at))
            if last:
                calibrating.append(one.within(at + window, n_steps))
        if not calibrating and len(segments) >= MIN_SHORT:
            n_learned = round((1 - CALIBRATION_SHARE) * len(segments))
            learned, calibrating = learned[:n_learned], learned[n_learned:]
        return cls(learned, calibrating)


def fit_series(
    segments: Sequence[Segment],
    channels: Sequence[str],
    settings: WindowSettings,
    budget: AlarmBudget | None,
    fit_windows: FitWindows,
    rng: np.random.RandomState,
    step: int | None = None,
) -> FittedSeries:
    """Fit a model to segments, in memory that does not grow with them.

    Parameters
    ----------
    segments : sequence of Segment
        NaN where nothing was measured.
    channels : sequence of str
    settings : WindowSettings
    budget : AlarmBudget or None
        False episodes that are accepted; None for as few as the calibration part can show.
    fit_windows : callable
    rng : RandomState
    step : int, optional
        Length of a time step in nanoseconds, for messages.

    Raises
    ------
    DataError
        If the segments are too short for the windows or the budget, or no channel varies.
    """
    window = settings.window
    parts = _Parts.of([one for one in segments if len(one) >= window], window)
    if not parts.calibrating:
        longest = max(map(len, segments), default=0)
        raise DataError(
            f"Expected at least {MIN_WINDOWS * window:,} time steps without a break, {MIN_WINDOWS} "
            f"windows of {window}, or {MIN_SHORT} series of a window, got {longest:,}. Give a "
            f"longer series, or a shorter window."
        )
    scaler = ChannelScaler.fit(parts.learned)
    if not len(scaler.varying):
        raise DataError(
            f"All {len(channels)} channels are constant in the {sum(map(len, segments)):,} time "
            f"steps of training. Expected at least one that varies."
        )
    learning = _Windows(scaler, parts.learned, window)
    network = fit_windows(learning.sample(MAX_TRAINING_WINDOWS, rng), len(scaler.varying))
    room = max_exemplars(len(scaler.varying) * window)
    learned = learning.sample(round((1 - CALIBRATION_SHARE) * room), rng)
    comparison = WindowComparison.of(network, learned)
    energy, residual = _typical(scaler, comparison, parts.calibrating, settings)
    model = SeriesModel(
        channels=tuple(channels),
        window=window,
        hop=settings.hop,
        causal=settings.causal,
        scaler=scaler,
        longest_runs=_longest_runs(parts.learned + parts.calibrating),
        comparison=comparison,
        typical_energy=energy,
        typical_residual=residual,
        thresholds=Thresholds(np.inf, np.inf),
        block_scores=np.empty((0, N_BLOCK_SCORES)),
    )
    found = calibrated(
        block_scores(model, parts.calibrating),
        block_length(model, parts.calibrating),
        budget,
        step,
        f"a calibration part, the last {CALIBRATION_SHARE:.0%} of training,",
    )
    # Windows that calibrated are normal too. More windows can only lower energies.
    further = _Windows(scaler, parts.calibrating, window).sample(room - len(learned), rng)
    comparison = WindowComparison.of(network, np.concatenate([learned, further]))
    model = replace(
        model, comparison=comparison, thresholds=found.thresholds, block_scores=found.blocks
    )
    return FittedSeries(model, found.promise)


class _Windows(NamedTuple):
    """All windows of segments, of which only samples are made."""

    scaler: ChannelScaler
    segments: Sequence[Segment]
    window: int

    def sample(self, size: int, rng: np.random.RandomState) -> Array:
        """Return at most so many random windows, in their order: (n, window * varying)."""
        counts = [len(one) - self.window + 1 for one in self.segments]
        chosen = subsample(np.arange(sum(counts)), size, rng)
        found, first = [], 0
        for segment, count in zip(self.segments, counts, strict=True):
            here = chosen[slice(*np.searchsorted(chosen, (first, first + count)))] - first
            ends = np.searchsorted(here, np.arange(0, count + PART_STEPS, PART_STEPS))
            found += [self._windows_at(segment, part) for part in np.split(here, ends[1:-1])]
            first += count
        return np.concatenate(found).reshape(len(chosen), -1)

    def _windows_at(self, segment: Segment, starts: Indices) -> Array:
        """Return windows of a segment that are not far apart: (n, window, varying)."""
        if not len(starts):
            return np.empty((0, self.window, len(self.scaler.varying)))
        values, begin = _with_neighbours(segment, int(starts[0]), int(starts[-1]) + self.window)
        return windows_at(self.scaler.standardized(values), starts - begin, self.window)


def _with_neighbours(segment: Segment, start: int, stop: int) -> tuple[Array, int]:
    """Return steps with those that stand in for missing ones, and where they begin."""
    begin = max(0, start - MAX_BRIDGED)
    return segment.read(begin, stop + MAX_BRIDGED), begin


def _typical(
    scaler: ChannelScaler,
    comparison: WindowComparison,
    segments: Sequence[Segment],
    settings: WindowSettings,
) -> tuple[Array, Array]:
    """Return the mean energies and squared residuals of channels: (varying,) both."""
    totals, counts = np.zeros((2, len(scaler.varying))), np.zeros((2, 1))
    for segment in segments:
        for errors in _errors(scaler, comparison, segment, settings):
            for i, values in enumerate((errors.energy, errors.residual)):
                totals[i] += values.sum(axis=0)
                counts[i] += len(values)
    energy, residual = np.maximum(totals / counts, MIN_TYPICAL)
    return energy, residual


def _errors(
    scaler: ChannelScaler,
    comparison: WindowComparison,
    segment: Segment,
    settings: WindowSettings,
) -> Iterator[StepErrors]:
    """Yield the errors of the windows and steps of a segment, each once."""
    window, hop = settings.window, settings.hop
    starts = window_starts(len(segment), window, hop)
    size = max(1, PART_STEPS // hop)
    for first in range(0, len(starts), size):
        lead = min(first, 1)  # a window before, with the steps that others have reached
        start = int(starts[first - lead])
        stop = int(starts[min(first + size, len(starts)) - 1]) + window
        values, begin = _with_neighbours(segment, start, stop)
        part = slice(start - begin, stop - begin)
        errors = step_errors(scaler, comparison, values, window, hop, part)
        yield errors._replace(
            energy=errors.energy[lead:], residual=errors.residual[lead * window :]
        )


def _longest_runs(segments: Sequence[Segment]) -> Array:
    """Return the most equal values one after the other in each channel: (channels,)."""
    found = []
    for segment in segments:
        lengths = RunLengths()
        found += [lengths.add(values).max(axis=0) for values in segment.chunks()]
    longest: Array = np.max(found, axis=0)
    return longest
