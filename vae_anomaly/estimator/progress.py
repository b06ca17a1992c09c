"""Progress of a fit on standard output."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from vae_anomaly._text import counted
from vae_anomaly.model.model import Model
from vae_anomaly.training.history import History

__all__ = ["FitProgress", "write_line"]

Callback = Callable[[History], object]

MAX_LINES = 20
"""Lines of a training with ``verbose=1``."""


def write_line(text: str) -> None:
    """Write a line to standard output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class FitProgress:
    """Lines about a fit.

    Parameters
    ----------
    verbose : int
        0 writes nothing, 1 up to twenty lines of training, 2 one for each validation interval.
    max_steps : int
    unit : str
        Name of a record.
    """

    def __init__(self, verbose: int, max_steps: int, unit: str) -> None:
        self._verbose, self._max_steps, self._unit = verbose, max_steps, unit
        self._start, self._next = time.monotonic(), 0.0

    def begin(self, n_records: int, n_columns: int) -> None:
        """Write what is fitted to."""
        if self._verbose:
            rows, columns = counted(n_records, self._unit), counted(n_columns, "column")
            write_line(f"fitting on {rows} of {columns}")

    def around(self, callback: Callback | None) -> Callback | None:
        """Return a callback that writes a line where one is due, and calls another."""
        if not self._verbose:
            return callback

        def after_interval(history: History) -> object:
            self._write(history)
            return None if callback is None else callback(history)

        return after_interval

    def _write(self, history: History) -> None:
        step = history.step[-1]
        if step < self._next and self._verbose == 1 and step < self._max_steps:
            return
        self._next = step + self._max_steps / MAX_LINES
        held_out = history.held_out[-1:]
        further = f", on held-out {self._unit}s {held_out[0]:.4g}" if held_out else ""
        write_line(
            f"step {step:,} of {self._max_steps:,}: loss {history.loss[-1]:.4g} nats{further}, "
            f"{time.monotonic() - self._start:.1f} s"
        )

    def end(self, model: Model) -> None:
        """Write what came of the training, and the threshold unless it was given."""
        if not self._verbose:
            return
        write_line(model.history.describe(self._unit))
        calibration = model.calibration
        if calibration.method != "threshold":
            rows = counted(len(calibration.scores), f"calibration {self._unit}")
            origin = f", from {rows}" if len(calibration.scores) else ""
            write_line(f"threshold {calibration.threshold:.4g} nats{origin}")
