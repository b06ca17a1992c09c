"""Events and alarms in time: recall, precision, detection delay, false episodes per week."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import AnyArray
from vae_anomaly.exceptions import DataError, ParameterError
from vae_anomaly.metrics.intervals import Estimate, rate

__all__ = ["EventMetrics", "Runs", "event_metrics", "nab_windows", "runs", "window_labels"]

Flags = NDArray[np.bool_]
Index = NDArray[np.intp]

WEEK = timedelta(weeks=1)


class Runs(NamedTuple):
    """Runs of consecutive True values: run i is `values[starts[i]:stops[i]]`."""

    starts: Index
    stops: Index


def runs(values: Flags) -> Runs:
    """Return the runs of True values.

    Examples
    --------
    >>> starts, stops = runs(np.array([True, True, False, True]))
    >>> starts.tolist(), stops.tolist()
    ([0, 3], [2, 4])
    """
    edges = np.diff(np.concatenate([[0], values.astype(np.int8), [0]]))
    return Runs(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1))


@dataclass(frozen=True)
class EventMetrics:
    """Events found by alarms, false alarms, and time in alarm.

    Attributes
    ----------
    n_events, n_detected : int
        Events, and those that an alarm detects.
    n_alarms, n_false, n_repeated : int
        Alarms; those that overlap no event; those that overlap events but detect none,
        because an earlier alarm detects them. The others detect one event each.
    recall, precision : Estimate or None
        `n_detected / n_events`; `n_detected / (n_detected + n_false)`.
    delays : tuple of timedelta
        For each detected event in order of time: from its start to the first flagged time
        step of the detecting alarm within the event.
    false_per_week : float or None
        False alarms per week of scored time steps outside the events; None without such.
    share_in_alarm : float or None
        Share of the scored time steps that are flagged; None without scored time steps.
    """

    n_events: int
    n_detected: int
    n_alarms: int
    n_false: int
    n_repeated: int
    recall: Estimate | None
    precision: Estimate | None
    delays: tuple[timedelta, ...]
    false_per_week: float | None
    share_in_alarm: float | None

    @property
    def median_delay(self) -> timedelta | None:
        """Median of the delays; None if no event is detected."""
        seconds = [delay.total_seconds() for delay in self.delays]
        return timedelta(seconds=float(np.median(seconds))) if seconds else None


def event_metrics(
    labels: Flags, flags: Flags, step: timedelta, scored: Flags | None = None
) -> EventMetrics:
    """Compute recall, precision, delays and false episodes of alarms.

    An event is a run of labels, an alarm a run of flags. An alarm detects at most one
    event: the first that it overlaps, by at least one time step, and that no earlier
    alarm detects. So an alarm that never ends detects one event. No event is credited
    with time steps that are not flagged (no point adjustment), nor with flags before its
    start.

    Parameters
    ----------
    labels : ndarray of bool of shape (n_steps,)
        True for anomalous time steps.
    flags : ndarray of bool of shape (n_steps,)
        True for flagged time steps.
    step : timedelta
        Time between consecutive time steps.
    scored : ndarray of bool of shape (n_steps,), optional
        False for time steps without a score, which must not be flagged. They end an
        alarm and do not count as time; an event without score counts as missed. All by
        default.

    Returns
    -------
    EventMetrics

    Raises
    ------
    DataError
        If the arrays differ in length, or an unscored time step is flagged.
    ParameterError
        If `step` is not positive.

    Examples
    --------
    >>> labels = np.array([0, 0, 1, 1, 1, 0, 0, 0, 0, 0], dtype=bool)
    >>> flags = np.array([0, 0, 0, 1, 0, 0, 0, 1, 1, 0], dtype=bool)
    >>> found = event_metrics(labels, flags, timedelta(hours=24))
    >>> found.n_detected, found.n_false, found.delays
    (1, 1, (datetime.timedelta(days=1),))
    >>> found.recall.value, found.precision.value, found.false_per_week, found.share_in_alarm
    (1.0, 0.5, 1.0, 0.3)
    """
    scored = np.ones(len(labels), dtype=bool) if scored is None else scored
    _check(labels, flags, step, scored)
    events, alarms = runs(labels), runs(flags)
    detected, n_repeated, n_false = _match(events, alarms)
    n_normal = int((scored & ~labels).sum())
    n_scored = int(scored.sum())
    return EventMetrics(
        len(events.starts),
        len(detected),
        len(alarms.starts),
        n_false,
        n_repeated,
        recall=rate(len(detected), len(events.starts)),
        precision=rate(len(detected), len(detected) + n_false),
        delays=tuple(
            step * max(0, int(alarms.starts[alarm] - events.starts[event]))
            for event, alarm in detected
        ),
        false_per_week=n_false * (WEEK / step) / n_normal if n_normal else None,
        share_in_alarm=int(flags.sum()) / n_scored if n_scored else None,
    )


def _check(labels: Flags, flags: Flags, step: timedelta, scored: Flags) -> None:
    """Raise an error if arrays differ in length, or the step or a flag is impossible."""
    if not labels.shape == flags.shape == scored.shape or labels.ndim != 1:
        raise DataError(
            "labels, flags and scored must be one-dimensional and equally long. "
            f"Got shapes {labels.shape}, {flags.shape} and {scored.shape}."
        )
    if step <= timedelta(0):
        raise ParameterError(f"step must be a positive duration. Got {step!r}.")
    if (flags & ~scored).any():
        at = int(np.flatnonzero(flags & ~scored)[0])
        raise DataError(f"flags must be False where scored is. Time step {at} is flagged.")


def _match(events: Runs, alarms: Runs) -> tuple[list[tuple[int, int]], int, int]:
    """Return pairs (event, alarm that detects it), and numbers of repeated and false alarms."""
    # Events that an alarm overlaps: first <= event < last.
    first = np.searchsorted(events.stops, alarms.starts, side="right")
    last = np.searchsorted(events.starts, alarms.stops, side="left")
    pairs: list[tuple[int, int]] = []
    undetected = n_repeated = 0  # alarms come in order, so detected events precede `undetected`
    for alarm, (a, b) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        event = max(a, undetected)
        if event < b:
            pairs.append((event, alarm))
            undetected = event + 1
        elif a < b:
            n_repeated += 1
    return pairs, n_repeated, len(alarms.starts) - len(pairs) - n_repeated


def window_labels(times: AnyArray, windows: Sequence[tuple[object, object]] | AnyArray) -> Flags:
    """Return which times lie in labelled windows.

    Parameters
    ----------
    times : ndarray of shape (n_steps,)
        Times as datetime64, or numbers.
    windows : sequence of pairs or ndarray of shape (n_windows, 2)
        Start and end of each window, both inside; numbers, or dates as text or datetime64.

    Returns
    -------
    ndarray of bool of shape (n_steps,)

    Raises
    ------
    DataError
        If a window is not a pair, or ends before it starts.

    Examples
    --------
    >>> window_labels(np.arange(5), [(1, 2), (4, 9)]).tolist()
    [False, True, True, False, True]
    """
    labels = np.zeros(len(times), dtype=bool)
    if not len(windows):
        return labels
    try:
        bounds = np.asarray(windows, dtype=times.dtype).reshape(len(windows), -1)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"windows must be pairs (start, end) of the type of the times, {times.dtype}. "
            f"They could not be read: {error}."
        ) from error
    if bounds.shape[1] != 2:
        raise DataError(f"windows must be pairs (start, end). Got {bounds.shape[1]} values.")
    for start, end in bounds:
        if end < start:
            raise DataError(f"a window must end after its start. Got {start} to {end}.")
        labels |= (times >= start) & (times <= end)
    return labels


def nab_windows(document: Mapping[str, Sequence[Sequence[str]]], name: str) -> AnyArray:
    """Return the windows of one series in a document of labels of NAB.

    Parameters
    ----------
    document : mapping of str to sequence of pairs of str
        Content of NAB's `combined_windows.json`: path of a series -> pairs (start, end).
    name : str
        Path of the series as the document has it, or its last part if only one has it.

    Returns
    -------
    ndarray of datetime64[ns] of shape (n_windows, 2)

    Raises
    ------
    DataError
        If the document has not exactly one series of this name.

    References
    ----------
    Lavin and Ahmad, "Evaluating real-time anomaly detection algorithms: the Numenta
    anomaly benchmark", ICMLA 2015, :doi:`10.1109/ICMLA.2015.141`.

    Examples
    --------
    >>> document = {"real/a.csv": [["2014-04-10 07:15:00.000000", "2014-04-11 16:45:00.000000"]]}
    >>> nab_windows(document, "a.csv").astype("datetime64[m]").tolist()[0][0]
    datetime.datetime(2014, 4, 10, 7, 15)
    """
    found = [name] if name in document else [k for k in document if k.split("/")[-1] == name]
    if len(found) != 1:
        raise DataError(
            f"the labels must have exactly one entry for {name!r}. Found {len(found)} among "
            f"{len(document)} entries, the first being {next(iter(document), None)!r}."
        )
    return np.array(document[found[0]], dtype="datetime64[ns]").reshape(-1, 2)
