"""Scoring of lines as they come: a result for each line, and drift in windows."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import BinaryIO, NamedTuple

import pyarrow as pa

from vae_anomaly._text import counted, listed
from vae_anomaly._types import JsonObject
from vae_anomaly.data.columnar import Names, Rows
from vae_anomaly.data.line_reader import LineReader, open_lines, records_of
from vae_anomaly.exceptions import DataError, ParameterError
from vae_anomaly.model.drift import DriftWatch
from vae_anomaly.model.model import Model
from vae_anomaly.pipeline.batch import scored_batch
from vae_anomaly.pipeline.conditions import Condition, failures
from vae_anomaly.pipeline.messages import drift_warning, unusable_notes
from vae_anomaly.pipeline.models import ModelLike, loaded
from vae_anomaly.pipeline.results import Outputs
from vae_anomaly.pipeline.score import drift_of
from vae_anomaly.pipeline.writers import result_writer

__all__ = ["StreamSummary", "score_standard_input", "score_stream"]

WINDOW = 1_000
"""Rows in which drift is watched for."""

MAX_ROWS = 4_096
"""Rows that are scored at once, at most."""


class StreamSummary(NamedTuple):
    """Facts about a stream that has ended.

    Attributes
    ----------
    n_rows, n_scored : int
    n_flagged : int
    n_drifted : int
        Windows that have drifted.
    """

    n_rows: int
    n_scored: int
    n_flagged: int
    n_drifted: int

    @property
    def is_complete(self) -> bool:
        """Whether every row has a score."""
        return self.n_scored == self.n_rows

    def facts(self) -> JsonObject:
        """Return plain values for JSON."""
        return dict(self._asdict())

    def failures(self, conditions: Collection[Condition]) -> list[str]:
        """Return a line for each condition that the result meets, drift in any window."""
        drift = self.n_drifted > 0
        return failures(conditions, self.n_flagged, self.n_scored, "row", drift=drift)

    def notes(self) -> list[str]:
        """Return lines to report after the stream."""
        verdict = f"scored {counted(self.n_scored, 'row')}, flagged {self.n_flagged:,}"
        return [verdict, *unusable_notes(self.n_rows - self.n_scored)]


def score_standard_input(
    model: ModelLike,
    data: str,
    output: str,
    outputs: Outputs,
    *,
    key: str | None = None,
    keep: Sequence[str] = (),
    say: Callable[[str], object] | None = None,
) -> StreamSummary:
    """Score lines of standard input as they come; see `score_stream`.

    Raises
    ------
    ParameterError
        If data or output are not "-", or as `score_stream`.
    ModelFileError, DataError, OutputError, OSError
        As `loaded` and `score_stream`.
    """
    if (data, output) != ("-", "-"):
        raise ParameterError(
            "--stream reads standard input and writes standard output: "
            "tail -f FILE | vae-anomaly score MODEL - -o - --stream"
        )
    return score_stream(loaded(model), sys.stdin.buffer, outputs, key=key, keep=keep, say=say)


def score_stream(
    model: Model,
    stream: BinaryIO,
    outputs: Outputs = Outputs(),  # noqa: B008 - frozen
    *,
    key: str | None = None,
    keep: Sequence[str] = (),
    window: int = WINDOW,
    say: Callable[[str], object] | None = None,
) -> StreamSummary:
    """Score lines of CSV or JSON as they come, and write each result to standard output at once.

    Results of JSON Lines are JSON Lines.

    A line that cannot be used does not end the stream: the last column, status, says what is wrong
    with it. A signal ends the work between lines, so that what was written are whole lines.

    Parameters
    ----------
    model : Model
    stream : binary file
        CSV with a line of column names, or JSON Lines, in UTF-8.
    outputs : Outputs, optional
    key : str, optional
        Column of the keys; by default rows are numbered from 1.
    keep : sequence of str, optional
        Columns of the stream to add as they are; "all" for all.
    window : int, default=1000
        Rows in which drift is watched for.
    say : callable, optional
        Receives a line about each window that has drifted.

    Returns
    -------
    StreamSummary

    Raises
    ------
    ParameterError
        If the model cannot return what is asked for, or that needs all rows.
    DataError
        If columns are missing, or a row does not end.
    OutputError
        If standard output cannot be written.
    """
    outputs.check(model)
    if outputs.fdr is not None:
        raise ParameterError(
            "fdr needs the scores of all rows before it flags one, which a stream does not have. "
            "Ask for p_values, and choose the rows from these."
        )
    if outputs.sort:
        raise ParameterError(
            "sort needs all rows before it writes one, which a stream does not have. Leave it "
            "out; only_flagged leaves fewer rows."
        )
    rows = _Rows(model, outputs, Names(key, tuple(keep)), window, say)
    records = records_of(stream)
    first = next(records, None)
    if first is None:
        raise DataError(
            "standard input is empty. Expected a line of column names, then rows, or JSON objects."
        )
    reader = open_lines(first, model.encoder.names or ())
    if key is not None and key not in reader.names:
        raise DataError(
            f"standard input lacks the column {key!r} of the keys. Its columns are "
            f"{listed(reader.names)}."
        )
    schema = rows.score(reader, []).schema
    with result_writer("-", schema, json=reader.is_json) as write:
        sys.stdout.buffer.flush()
        for lines in chain([first[reader.n_header :]], records):
            for start in range(0, len(lines), MAX_ROWS):
                found = rows.score(reader, lines[start : start + MAX_ROWS])
                with _signals_held():
                    write(found)
                    sys.stdout.buffer.flush()
    rows.check_drift(1)
    return StreamSummary(rows.n_rows, rows.n_scored, rows.n_flagged, rows.n_drifted)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Hold signals back while lines are written."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    held = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


class _Rows:
    """Scores of a stream, counts, and the drift of windows."""

    def __init__(
        self,
        model: Model,
        outputs: Outputs,
        names: Names,
        window: int,
        say: Callable[[str], object] | None,
    ) -> None:
        self._model, self._outputs, self._names = model, outputs, names
        self._window, self._say = window, say
        self._watch = DriftWatch(model) if outputs.watches_drift(model) else None
        self._first = 1  # row of its window
        self.n_rows = self.n_scored = self.n_flagged = self.n_drifted = 0

    def score(self, reader: LineReader, records: Sequence[str]) -> pa.RecordBatch:
        """Score records, in their order."""
        batch, faults = reader.read(records)
        rows_read = Rows(batch, self.n_rows, faults)
        result, parts = scored_batch(self._model, rows_read, self._outputs, self._names)
        self.n_rows += batch.num_rows
        self.n_scored += sum(len(part.scores) for part in parts)
        self.n_flagged += sum(part.n_flagged for part in parts)
        if self._watch is not None:
            for part in parts:
                if len(part.scores):
                    self._watch.add_records(part.sample, part.scores)
            self.check_drift(self._window)
        return result

    def check_drift(self, min_rows: int) -> None:
        """Report the drift of a window that has so many rows, and begin the next one."""
        if self._watch is None or self.n_rows - self._first + 1 < min_rows:
            return
        drift = drift_of(self._watch)
        self.n_drifted += drift is not None
        if drift is not None and self._say is not None:
            rows = f"rows {self._first:,} to {self.n_rows:,}"
            self._say(f"warning: {rows}: {drift_warning(drift, self._model.unit)}")
        self._watch, self._first = DriftWatch(self._model), self.n_rows + 1
