"""Fitting of a model of time series: scales, training windows, the VAE, thresholds of alarms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.exceptions import DataError
from vae_anomaly.model.model import Model
from vae_anomaly.series.alarms import (
    AlarmBudget,
    Promise,
    alarm_rank,
    block_maxima,
    blocks_needed,
    span,
)
from vae_anomaly.series.channels import ChannelScaler, run_lengths
from vae_anomaly.series.comparison import WindowComparison
from vae_anomaly.series.model import MIN_TYPICAL, SeriesModel, Thresholds, step_errors
from vae_anomaly.series.windows import windows_at
from vae_anomaly.stats.exemplars import max_exemplars
from vae_anomaly.stats.priors import subsample

__all__ = ["FittedSeries", "WindowSettings", "fit_series"]

Array = NDArray[np.float64]

FitWindows = Callable[[Array, int], Model]
"""Fit of a VAE to windows, (n, window * channels), and their number of channels."""

CALIBRATION_SHARE = 0.3
"""Last part of each series, which calibrates."""

MIN_WINDOWS = 4
"""Windows side by side below which no part of a series calibrates."""

BLOCK_WINDOWS = 2
"""Length of a calibration block, in windows: neighbouring blocks hardly depend on each other."""

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
    n_windows = len(scaler.varying) * window
    flat = _windows(scaler, parts.learned, window)
    network = fit_windows(subsample(flat, MAX_TRAINING_WINDOWS, rng), len(scaler.varying))
    room = max_exemplars(n_windows)
    learned = subsample(flat, round((1 - CALIBRATION_SHARE) * room), rng)
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
    )
    thresholds, promise = _thresholds(model, parts.calibrating, budget, step)
    # Windows that calibrated are normal too. More windows can only lower energies.
    further = subsample(_windows(scaler, parts.calibrating, window), room - len(learned), rng)
    comparison = WindowComparison.of(network, np.concatenate([learned, further]))
    return FittedSeries(replace(model, comparison=comparison, thresholds=thresholds), promise)


def _windows(scaler: ChannelScaler, series: Sequence[Array], window: int) -> Array:
    """Return all windows of series: (n, window * varying)."""
    starts = [np.arange(len(values) - window + 1) for values in series]
    parts = [
        windows_at(scaler.standardized(values), at, window).reshape(len(at), -1)
        for values, at in zip(series, starts, strict=True)
    ]
    return np.concatenate(parts)


def _mean(errors: Sequence[Array]) -> Array:
    """Return the mean errors of channels: (varying,)."""
    mean: Array = np.maximum(np.concatenate(errors).mean(axis=0), MIN_TYPICAL)
    return mean


def _thresholds(
    model: SeriesModel, calibrating: Sequence[Array], budget: AlarmBudget | None, step: int | None
) -> tuple[Thresholds, Promise]:
    """Choose thresholds from the largest scores of calibration blocks.

    Half of the false episodes are those of windows, half those of points. All are those of
    windows if the blocks are too few for that.
    """
    block = BLOCK_WINDOWS * model.window
    scores = [model.score(values).scores for values in calibrating]
    windows, points = (
        np.sort(np.concatenate([block_maxima(one[:, j], block) for one in scores]))
        for j in range(2)
    )
    n_blocks = len(windows)
    if budget is None:  # a block in n + 1 exceeds the largest score of n
        found = Thresholds(windows[-1], points[-1])
        return found, Promise(AlarmBudget(2.0, (n_blocks + 1) * block), n_blocks, block)
    rate = budget.rate(block)
    for divided in (True, False):
        rank = alarm_rank(n_blocks, rate / 2 if divided else rate)
        if rank:
            found = Thresholds(windows[-rank], points[-rank] if divided else np.inf)
            return found, Promise(budget, n_blocks, block)
    needed = blocks_needed(rate)
    raise DataError(
        f"{budget.words(step)} cannot be promised: that needs a calibration part, the last "
        f"{CALIBRATION_SHARE:.0%} of training, of {span(needed * block, step)}, got "
        f"{span(n_blocks * block, step)}. Give about {needed / n_blocks:,.1f} times the "
        f"training data, or accept more false episodes."
    )
