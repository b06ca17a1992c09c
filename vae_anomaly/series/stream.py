"""Scores of a series that comes part by part, in bounded memory, equal to those of the whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.data.series.segments import Segment
from vae_anomaly.series.channels import MAX_BRIDGED, RunLengths
from vae_anomaly.series.model import SeriesModel, StepScores, step_errors

__all__ = ["ScoredSteps", "SegmentScorer", "expected_steps", "scored_steps"]

Array = NDArray[np.float64]

MAX_STEPS = 65_536
"""Time steps that are scored at a time."""

MAX_CELLS = 2**20
"""Values that are scored at a time, but for `MIN_WINDOWS` windows."""

MIN_WINDOWS = 8


class ScoredSteps(NamedTuple):
    """Consecutive time steps of a segment.

    Attributes
    ----------
    values : ndarray of shape (n, channels)
    scores : StepScores or None
        None if the segment is shorter than a window.
    """

    values: Array
    scores: StepScores | None


def scored_steps(model: SeriesModel, chunks: Iterable[Array]) -> Iterator[ScoredSteps]:
    """Yield the scores of a segment that comes in chunks, (n, channels), in order."""
    scorer = SegmentScorer(model)
    for values in chunks:
        yield from scorer.add(values)
    yield from scorer.finish()


def expected_steps(model: SeriesModel, segment: Segment, start: int, stop: int) -> Array:
    """Return the mean of similar training windows at some steps, as `StepScores.expected` has it.

    Returns
    -------
    ndarray of shape (stop - start, channels)
        NaN if the segment is shorter than a window.
    """
    window, hop = model.window, model.hop
    if len(segment) < window:
        return np.full((stop - start, len(model.channels)), np.nan)
    first = _first_window(start, window, hop)
    last = min(len(segment), (stop - 1) // hop * hop + window)
    begin = max(0, first - MAX_BRIDGED)
    values, part = segment.read(begin, last + MAX_BRIDGED), slice(first - begin, last - begin)
    errors = step_errors(model.scaler, model.comparison, values, window, hop, part)
    return model.scaler.restored(errors.expected[start - first : stop - first])


class SegmentScorer:
    """Scores of the time steps of one segment, a series without breaks.

    A step is scored as soon as all windows that cover it are known, and all values that stand in
    for missing ones of these windows.

    Parameters
    ----------
    model : SeriesModel
    max_steps : int, optional
        Time steps that are scored at a time, or those of `MIN_WINDOWS` windows.
    """

    def __init__(self, model: SeriesModel, max_steps: int = MAX_STEPS) -> None:
        self._model = model
        room = min(max_steps, MAX_CELLS // len(model.channels))
        self._block = max(room, MIN_WINDOWS * model.window)
        self._runs = RunLengths()
        self._values = np.empty((0, len(model.channels)))
        self._lengths = self._values.copy()
        self._first = 0  # step of the segment that the values begin with
        self._done = 0  # steps that were scored

    def add(self, values: Array) -> Iterator[ScoredSteps]:
        """Add steps, (n, channels), and yield those that can be scored, in order."""
        for start in range(0, len(values), self._block):
            self._append(values[start : start + self._block])
            ready = self._first + len(self._values) - self._model.window - MAX_BRIDGED
            if ready - self._done >= self._block:
                yield self._scored(self._done + self._block)

    def finish(self) -> Iterator[ScoredSteps]:
        """Yield the remaining steps."""
        stop = self._first + len(self._values)
        if stop < self._model.window:
            yield ScoredSteps(self._values, None)
        elif self._done < stop:
            yield self._scored(stop)

    def _append(self, values: Array) -> None:
        self._values = np.concatenate([self._values, values])
        self._lengths = np.concatenate([self._lengths, self._runs.add(values)])

    def _scored(self, stop: int) -> ScoredSteps:
        """Score up to a step, and forget what later ones do not need."""
        model, start = self._model, self._done
        end = self._first + len(self._values)
        begin = self._begin(start)
        last_window = (stop - 1) // model.hop * model.hop
        last = end if stop == end else last_window + model.window
        part = slice(begin - self._first, last - self._first)
        scores = model.score_part(self._values, part, self._lengths)
        found = ScoredSteps(
            self._values[start - self._first : stop - self._first],
            scores.part(slice(start - begin, stop - begin)),
        )
        self._done = stop
        kept = max(0, self._begin(stop) - MAX_BRIDGED)
        self._values = self._values[kept - self._first :].copy()
        self._lengths = self._lengths[kept - self._first :].copy()
        self._first = kept
        return found

    def _begin(self, step: int) -> int:
        return _first_window(step, self._model.window, self._model.hop)


def _first_window(step: int, window: int, hop: int) -> int:
    """Return the start of the first window that covers a step."""
    return -(-max(0, step - window + 1) // hop) * hop
