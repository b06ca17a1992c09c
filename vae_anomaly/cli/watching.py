"""What is said of a whole file of scores: its own threshold, and whether normal has moved."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import shown
from vae_anomaly.cli.console import Console
from vae_anomaly.model.drift import Drift, DriftWatch
from vae_anomaly.stats.thresholds import ranks_among

__all__ = ["Watch", "check_p_values", "for_batch", "verdict"]

Array = NDArray[np.float64]

NAMED = 3
LEAST_MOVE = 0.25
"""Standard deviations from which on the movement of a column is worth its name."""


def check_p_values(detector: Any, *, flags: bool, **asked: Any) -> None:
    """Refuse options that need calibration scores where there are none of this score.

    Parameters
    ----------
    detector : VAEDetector
    flags : bool
        Whether its own score is used.
    **asked
        Options by name, and what was given for them.
    """
    for name, value in asked.items():
        if not value:
            continue
        option = f"--{name.replace('_', '-')}"
        if not flags:
            raise click.UsageError(
                f"{option} goes with the score that the model was fitted with: there are "
                f"calibration rows of that one. Leave --score out."
            )
        detector.model_.calibration.require(option)


def for_batch(detector: Any, fdr: float, scores: Iterable[Array]) -> Any:
    """Give a copy of a detector with the threshold that holds `fdr` for a batch of scores."""
    calibration = detector.calibration_scores_
    ranks = np.zeros(len(calibration) + 1, dtype=np.int64)
    for part in scores:
        ranks += np.bincount(ranks_among(calibration, part), minlength=len(ranks))
    model = detector.model_
    calibrated = model.calibration.with_fdr(ranks, fdr)
    return type(detector).from_model(replace(model, calibration=calibrated))


def verdict(detector: Any, strange: int, count: int, unit: str, fdr: float | None) -> str:
    """Say how many were flagged, and above what."""
    text = f"{strange:,} of {count:,} {unit} are anomalies"
    if np.isfinite(detector.offset_):
        text += f", above {-detector.offset_:.4g} nats"
    if fdr is None or not strange:
        return text
    return f"{text}; at most {100 * fdr:g} % of them are expected to be false"


class Watch:
    """Look at scores as they go by, and warn at the end if they are not those of normal rows.

    Parameters
    ----------
    detector : VAEDetector
    flags : bool
        Whether the scores are those that it was calibrated by.
    unit : str
        What rows are called, more than one.
    """

    def __init__(self, detector: Any, *, flags: bool, unit: str) -> None:
        watches = flags and len(detector.calibration_scores_)
        self._drift = DriftWatch(detector) if watches else None
        self._unit, self._any = unit, False

    def add(self, rows: Any, scores: Array) -> None:
        """Look at anomaly scores, and at the rows that they are of, or at some of them."""
        if self._drift is not None and len(scores):
            self._drift.add(rows, scores)
            self._any = True

    def say(self, console: Console) -> None:
        """Warn if there is something to warn of."""
        if self._drift is None or not self._any or not self._drift.may_differ():
            return
        found = self._drift.result()
        if found.is_drift:
            console.say(f"warning: {_warning(found, self._unit)}")


def _warning(found: Drift, unit: str) -> str:
    text = (
        f"as a whole, the scores of these {found.n_rows:,} {unit} are not those of normal {unit} "
        f"(Kolmogorov-Smirnov, p {_small(found.p_value)}; of normal {unit}, one batch in "
        f"{1 / found.rate:,.0f} would be said to differ)"
    )
    moved = [m for m in found.movements if max(abs(m.shift), abs(m.spread - 1)) >= LEAST_MOVE]
    if moved:
        text += f". Moved most: {'; '.join(_movement(*m) for m in moved[:NAMED])}"
    return (
        f"{text}. Either anomalies are many, or normal has moved: then `vae-anomaly recalibrate` "
        f"or fit anew."
    )


def _small(p_value: float) -> str:
    return "< 1e-12" if p_value < 1e-12 else f"= {p_value:.2g}"


def _movement(column: str, shift: float, spread: float) -> str:
    """Spell how a column moved, in its standard deviations in training."""
    if abs(shift) >= abs(spread - 1):
        return f"{shown(column)}, mean {shift:+.1f} deviations"
    return f"{shown(column)}, spread {spread:.2g} times as wide"
