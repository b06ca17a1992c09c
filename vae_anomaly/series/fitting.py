"""Fitting of a model of time series: scales, training windows, the VAE, thresholds of alarms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.exceptions import DataError
from vae_anomaly.model.model import Model
from vae_anomaly.series.alarms import AlarmBudget, Promise
from vae_anomaly.series.calibration import (
    N_BLOCK_SCORES,
    block_length,
    block_scores,
    calibrated,
)
from vae_anomaly.series.channels import ChannelScaler, run_lengths
from vae_anomaly.series.comparison import WindowComparison
from vae_anomaly.series.model import MIN_TYPICAL, SeriesModel, Thresholds, step_errors
from vae_anomaly.series.windows import windows_at
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

HOPS_IN_WINDOW = 8
"""Windows that cover a time step."""

MAX_TRAINING_WINDOWS = 20_000
"""Windows that the networks are trained on."""


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
    """Series without breaks in two parts, a window apart."""

    learned: list[Array]  # (n_steps, channels) each
    calibrating: list[Array]  # (n_steps, channels) each

    @classmethod
    def of(cls, series: Sequence[Array], window: int) -> _Parts:
        """Divide each series; what is too short to calibrate is learned from as a whole."""
        learned, calibrating = [], []
        for values in series:
            last = max(round(CALIBRATION_SHARE * len(values)), 2 * window)
            if len(values) < MIN_WINDOWS * window:
                last = 0
            at = len(values) - last
            learned.append(values[:at])
            if last:
                calibrating.append(values[at + window :])
        return cls(learned, calibrating)


def fit_series(
    series: Sequence[Array],
    channels: Sequence[str],
    settings: WindowSettings,
    budget: AlarmBudget | None,
    fit_windows: FitWindows,
    rng: np.random.RandomState,
    step: int | None = None,
) -> FittedSeries:
    """Fit a model to series without breaks.

    Parameters
    ----------
    series : sequence of ndarray of shape (n_steps, channels)
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
        If the series are too short for the windows or the budget, or no channel varies.
    """
    window = settings.window
    parts = _Parts.of([values for values in series if len(values) >= window], window)
    total = sum(len(values) for values in series)
    if not parts.calibrating:
        longest = max((len(values) for values in series), default=0)
        raise DataError(
            f"Expected at least {MIN_WINDOWS * window:,} time steps without a break, {MIN_WINDOWS} "
            f"windows of {window}, got {longest:,}. Give a longer series, or a shorter window."
        )
    scaler = ChannelScaler.fit(np.concatenate(parts.learned))
    if not len(scaler.varying):
        raise DataError(
            f"All {len(channels)} channels are constant in the {total:,} time steps of training. "
            f"Expected at least one that varies."
        )
    learning = _Windows.of(scaler, parts.learned, window)
    network = fit_windows(learning.sample(MAX_TRAINING_WINDOWS, rng), len(scaler.varying))
    room = max_exemplars(len(scaler.varying) * window)
    learned = learning.sample(round((1 - CALIBRATION_SHARE) * room), rng)
    comparison = WindowComparison.of(network, learned)
    errors = [
        step_errors(scaler, comparison, values, window, settings.hop)
        for values in parts.calibrating
    ]
    every = parts.learned + parts.calibrating
    model = SeriesModel(
        channels=tuple(channels),
        window=window,
        hop=settings.hop,
        causal=settings.causal,
        scaler=scaler,
        longest_runs=np.max([run_lengths(values).max(axis=0) for values in every], axis=0),
        comparison=comparison,
        typical_energy=_mean([one.energy for one in errors]),
        typical_residual=_mean([one.residual for one in errors]),
        thresholds=Thresholds(np.inf, np.inf),
        block_scores=np.empty((0, N_BLOCK_SCORES)),
    )
    found = calibrated(
        block_scores(model, parts.calibrating),
        block_length(model),
        budget,
        step,
        f"a calibration part, the last {CALIBRATION_SHARE:.0%} of training,",
    )
    # Windows that calibrated are normal too. More windows can only lower energies.
    calibrating = _Windows.of(scaler, parts.calibrating, window)
    further = calibrating.sample(room - len(learned), rng)
    comparison = WindowComparison.of(network, np.concatenate([learned, further]))
    model = replace(
        model, comparison=comparison, thresholds=found.thresholds, block_scores=found.blocks
    )
    return FittedSeries(model, found.promise)


class _Windows(NamedTuple):
    """All windows of series, of which only samples are made."""

    series: list[Array]  # standardized, (n_steps, varying) each
    first: Indices  # number of the first window of each series
    window: int
    n_windows: int

    @classmethod
    def of(cls, scaler: ChannelScaler, series: Sequence[Array], window: int) -> _Windows:
        counts = [len(values) - window + 1 for values in series]
        steps = [scaler.standardized(values) for values in series]
        return cls(steps, np.cumsum([0, *counts[:-1]]), window, sum(counts))

    def sample(self, size: int, rng: np.random.RandomState) -> Array:
        """Return at most so many random windows, in their order: (n, window * varying)."""
        chosen = subsample(np.arange(self.n_windows), size, rng)
        owner = np.searchsorted(self.first, chosen, side="right") - 1
        parts = [
            windows_at(steps, chosen[owner == i] - self.first[i], self.window)
            for i, steps in enumerate(self.series)
        ]
        return np.concatenate(parts).reshape(len(chosen), -1)


def _mean(errors: Sequence[Array]) -> Array:
    """Return the mean errors of channels: (varying,)."""
    mean: Array = np.maximum(np.concatenate(errors).mean(axis=0), MIN_TYPICAL)
    return mean
