"""Thresholds of a model of series from blocks of normal time, and drift away from these."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.data.series.segments import Segment
from vae_anomaly.exceptions import DataError
from vae_anomaly.model.drift import DRIFT_RATE, Drift, Movement
from vae_anomaly.series.alarms import (
    AlarmBudget,
    BlockMaxima,
    Promise,
    alarm_rank,
    blocks_needed,
    span,
)
from vae_anomaly.series.channels import RunLengths
from vae_anomaly.series.model import SeriesModel, StepScores, Thresholds
from vae_anomaly.series.stream import scored_steps

__all__ = [
    "N_BLOCK_SCORES",
    "Calibration",
    "SeriesDriftWatch",
    "block_length",
    "block_scores",
    "calibrated",
]

Array = NDArray[np.float64]

BLOCK_WINDOWS = 2
"""Length of a calibration block, in windows: neighbouring blocks hardly depend on each other."""

N_BLOCK_SCORES = 2
"""Scores of a block: the largest window score, and the largest point score."""


class Calibration(NamedTuple):
    """Thresholds, and what they rest on.

    Attributes
    ----------
    thresholds : Thresholds
    promise : Promise
    blocks : ndarray of shape (n_blocks, N_BLOCK_SCORES)
        Largest scores of calibration blocks.
    """

    thresholds: Thresholds
    promise: Promise
    blocks: Array


def block_length(model: SeriesModel, segments: Sequence[Segment] = ()) -> int:
    """Return the time steps of a calibration block: of two windows, or of shorter segments."""
    length = BLOCK_WINDOWS * model.window
    return min(length, max(map(len, segments), default=length))


def block_scores(model: SeriesModel, segments: Iterable[Segment]) -> Array:
    """Return the largest scores of blocks of segments: (n_blocks, N_BLOCK_SCORES)."""
    maxima = BlockMaxima(block_length(model))
    for segment in segments:
        for one in scored_steps(model, segment.chunks()):
            if one.scores is not None:
                maxima.add(one.scores.scores[:, :N_BLOCK_SCORES])
        maxima.finish()
    return maxima.found


def calibrated(
    blocks: Array, length: int, budget: AlarmBudget | None, step: int | None, source: str
) -> Calibration:
    """Choose thresholds from the largest scores of calibration blocks.

    Half of the false episodes are those of windows, half those of points. All are those of
    windows if the blocks are too few for that.

    Parameters
    ----------
    blocks : ndarray of shape (n_blocks, N_BLOCK_SCORES)
        At least one.
    length : int
        Time steps in a block.
    budget : AlarmBudget or None
        False episodes that are accepted; None for as few as the blocks can show.
    step : int or None
        Length of a time step in nanoseconds, for messages.
    source : str
        What calibrates, for messages: "the calibration part, the last 30% of training,".

    Raises
    ------
    DataError
        If the blocks are too few for the budget.
    """
    windows, points = np.sort(blocks, axis=0).T
    n_blocks = len(blocks)
    if budget is None:  # a block in n + 1 exceeds the largest score of n
        found = Thresholds(windows[-1], points[-1])
        promise = Promise(AlarmBudget(2.0, (n_blocks + 1) * length), n_blocks, length)
        return Calibration(found, promise, blocks)
    rate = budget.rate(length)
    for divided in (True, False):
        rank = alarm_rank(n_blocks, rate / 2 if divided else rate)
        if rank:
            found = Thresholds(windows[-rank], points[-rank] if divided else np.inf)
            return Calibration(found, Promise(budget, n_blocks, length), blocks)
    needed = blocks_needed(rate)
    raise DataError(
        f"{budget.words(step)} cannot be promised: that needs {source} of "
        f"{span(needed * length, step)}, got {span(n_blocks * length, step)}. Give about "
        f"{needed / n_blocks:,.1f} times the data, or accept more false episodes."
    )


class SeriesDriftWatch:
    """Comparison of blocks of time with the calibration blocks.

    The test is Kolmogorov and Smirnov's for two samples, of the largest window scores of blocks
    and of their largest point scores, each with half of the rate. It is one-sided, because lower
    scores break no promise. Blocks that are scored are compared with more training windows than
    those of calibration were, so that their scores are a little lower.

    Memory holds two numbers for each block. Channels without values are noted on the way.

    Parameters
    ----------
    model : SeriesModel

    Notes
    -----
    Anomalies are a difference too, if they are in many blocks.
    """

    def __init__(self, model: SeriesModel) -> None:
        self._model = model
        self._maxima = BlockMaxima(block_length(model))
        width = len(model.scaler.varying)
        self._counts, self._sums, self._squares = np.zeros((3, width))
        self._missing = RunLengths()
        self._longest_gaps = np.zeros(len(model.channels))

    def add(self, values: Array, scores: StepScores) -> None:
        """Add consecutive time steps of a segment, (n_steps, channels)."""
        self._maxima.add(scores.scores[:, :N_BLOCK_SCORES])
        scaler = self._model.scaler
        chosen = scaler.varying
        away = (values[:, chosen] - scaler.center[chosen]) / scaler.scale[chosen]
        away = np.where(np.isfinite(away), away, 0.0)
        self._counts += np.isfinite(values[:, chosen]).sum(axis=0)
        self._sums += away.sum(axis=0)
        self._squares += (away**2).sum(axis=0)
        is_missing = ~np.isfinite(values)
        lengths = np.where(is_missing, self._missing.add(is_missing.astype(np.float64)), 0.0)
        self._longest_gaps = np.maximum(self._longest_gaps, lengths.max(axis=0, initial=0.0))

    def finish(self) -> None:
        """End a segment."""
        self._maxima.finish()
        self._missing = RunLengths()

    @property
    def silent(self) -> dict[str, int]:
        """Channels without a value for a window or longer -> the most such time steps in a row."""
        found = zip(self._model.channels, self._longest_gaps.tolist(), strict=True)
        return {name: int(steps) for name, steps in found if steps >= self._model.window}

    @property
    def blocks(self) -> Array:
        """Largest scores of the blocks: (n_blocks, N_BLOCK_SCORES)."""
        return self._maxima.found

    def result(self) -> Drift | None:
        """Return the drift of the blocks as a whole; None if there is none.

        Returns
        -------
        Drift or None
            Its rows are blocks; movements are those of the channels that vary.
        """
        from scipy.stats import ks_2samp  # late: its import takes most of a second

        blocks, known = self.blocks, self._model.block_scores
        if not len(blocks):
            return None
        tests = [
            ks_2samp(blocks[:, i], known[:, i], alternative="less") for i in range(N_BLOCK_SCORES)
        ]
        surest = min(tests, key=lambda one: float(one.pvalue))
        p_value = min(1.0, N_BLOCK_SCORES * float(surest.pvalue))
        if p_value > DRIFT_RATE:
            return None
        movements = self._movements()
        return Drift(float(surest.statistic), p_value, DRIFT_RATE, len(blocks), movements)

    def _movements(self) -> tuple[Movement, ...]:
        """Return the movements of the channels, the greatest first."""
        counts = np.maximum(self._counts, 1)
        mean = self._sums / counts
        spread = np.sqrt(np.maximum(self._squares / counts - mean**2, 0.0))
        moved = np.maximum(np.abs(mean), np.abs(spread - 1.0))
        names = [self._model.channels[i] for i in self._model.scaler.varying]
        order: Sequence[int] = np.argsort(-moved, kind="stable").tolist()
        return tuple(Movement(names[i], float(mean[i]), float(spread[i])) for i in order)
