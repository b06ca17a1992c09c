"""Sentences about thresholds, drift, and records without a score."""

from __future__ import annotations

from vae_anomaly._text import counted, counted_among, shown
from vae_anomaly.data.base import Source
from vae_anomaly.model.drift import Drift
from vae_anomaly.model.model import Model
from vae_anomaly.stats.thresholds import false_alarm_interval

__all__ = [
    "MIN_MOVEMENT",
    "drift_warning",
    "movement_words",
    "p_value_words",
    "skipped_records",
    "threshold_note",
    "unusable_notes",
]

MAX_NAMED = 3
"""Features that a drift warning names."""

MAX_LISTED_SKIPPED = 10
"""Records that are listed by name where some were skipped."""

MIN_MOVEMENT = 0.25
"""Standard deviations from which on the movement of a feature is named."""


def threshold_note(model: Model) -> str:
    """Return the threshold of a model, and where it comes from."""
    return f"threshold: {model.calibration.threshold:.6g} nats, {_threshold_origin(model)}"


def _threshold_origin(model: Model) -> str:
    """Return where the threshold of a model comes from."""
    calibration, unit = model.calibration, f"{model.unit}s"
    if calibration.method == "threshold":
        above, total = int(calibration.flags(calibration.scores).sum()), len(calibration.scores)
        known = f"{counted_among(above, total, f'calibration {model.unit}')} above it"
        return f"set by hand; {known}" if total else "set by hand"
    if calibration.method == "contamination":
        return f"above which {calibration.value:g} of the training {unit} lie"
    count = len(calibration.scores)
    rate = max(calibration.value, 1 / (count + 1))
    low, high = false_alarm_interval(count, calibration.value)
    return (
        f"false-alarm rate {rate:.2g} (from {counted(count, f'calibration {model.unit}')}; so many "
        f"give {low:.2g} to {high:.2g} in 95 of 100 cases)"
    )


def drift_warning(drift: Drift, unit: str, *, are_normal: bool = False) -> str:
    """Return a warning for the drift of a source, whose records may be known to be normal."""
    rows = f"{drift.n_rows:,} normal {unit}s" if are_normal else f"{drift.n_rows:,} {unit}s"
    others = f"calibration {unit}s" if are_normal else f"normal {unit}s"
    text = (
        f"as a whole, the scores of these {rows} are not those of {others} "
        f"(Kolmogorov-Smirnov, p {p_value_words(drift.p_value)}; of normal {unit}s, one batch in "
        f"{1 / drift.rate:,.0f} would be said to differ)"
    )
    text += movement_words(drift)
    moved_on = "Normal has moved:"
    if not are_normal:
        moved_on = "Either anomalies are many, or normal has moved: then"
    return f"{text}. {moved_on} `vae-anomaly recalibrate` or fit anew."


def movement_words(drift: Drift) -> str:
    """Return a sentence on the features that moved most; empty if none has moved far."""
    moved = [m for m in drift.movements if m.distance >= MIN_MOVEMENT]
    named = "; ".join(_movement(*m) for m in moved[:MAX_NAMED])
    return f". Moved most: {named}" if moved else ""


def skipped_records(source: Source, purpose: str = "") -> list[str]:
    """Return lines about records that were not readable in the last reading, or only in part."""
    lines, count = list(source.reading_notes()), len(source.skipped)
    if count:
        of_all = f"{count:,} of " if source.n_records else ""
        rows = counted(source.n_records or count, source.unit)
        lines.append(f"skipped {of_all}{rows}{purpose}:")
    for name, reason in source.skipped[:MAX_LISTED_SKIPPED]:
        lines.append(f"  {name if name.isprintable() else repr(name)}: {reason}")
    if count > MAX_LISTED_SKIPPED:
        lines.append(f"  and {count - MAX_LISTED_SKIPPED:,} more")
    return lines


def unusable_notes(count: int) -> list[str]:
    """Return a line about rows that have no score, if there are any."""
    note = f"note: {counted(count, 'row')} could not be used; see the column status"
    return [note] if count else []


def p_value_words(p_value: float) -> str:
    """Return how large a p-value is, as in "p = 0.02"."""
    return "< 1e-12" if p_value < 1e-12 else f"= {p_value:.2g}"


def _movement(column: str, shift: float, spread: float) -> str:
    """Return how a feature moved, in its standard deviations in training."""
    if abs(shift) >= abs(spread - 1):
        return f"{shown(column)}, mean {shift:+.1f} deviations"
    return f"{shown(column)}, spread {spread:.2g} times as wide"
