"""What a report consists of: values, and no markup."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.displays import (
    LatentDisplay,
    LatentUseDisplay,
    ScoreDisplay,
    TrainingCurveDisplay,
)

__all__ = [
    "Confusion",
    "Curve",
    "Estimate",
    "Group",
    "Reason",
    "ReportData",
    "Threshold",
    "TopRow",
]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Threshold:
    """Where rows begin to be flagged, and who decided so.

    Attributes
    ----------
    value : float
        In nats.
    kind : {"false_alarm_rate", "contamination", "threshold"}
        The detector's parameter that chose it.
    asked : float or None
        The rate or share asked for; None when set by hand.
    calibration_rows : int
        Rows that it comes from, with "false_alarm_rate".
    """

    value: float
    kind: str
    asked: float | None
    calibration_rows: int = 0

    @property
    def promised(self) -> float | None:
        """Share of fresh normal rows that may be flagged, as fine as calibration can tell."""
        if self.kind != "false_alarm_rate" or self.asked is None:
            return None
        return max(self.asked, 1 / (self.calibration_rows + 1))


@dataclass(frozen=True)
class Group:
    """Anomaly scores of some rows, in nats.

    Attributes
    ----------
    name : str
    n_rows, n_flagged : int
    lowest, median, p95, highest : float
        Of the scores; `p95` is the 95th percentile.
    """

    name: str
    n_rows: int
    n_flagged: int
    lowest: float
    median: float
    p95: float
    highest: float


@dataclass(frozen=True)
class Confusion:
    """Labels against flags, in rows; rates where they are defined."""

    found: int
    missed: int
    false_alarms: int
    passed: int
    recall: Estimate | None
    precision: Estimate | None
    false_alarm_rate: Estimate | None

    @property
    def n_anomalies(self) -> int:
        """Rows labelled as anomalies."""
        return self.found + self.missed

    @property
    def n_normal(self) -> int:
        """Rows labelled as normal."""
        return self.false_alarms + self.passed


@dataclass(frozen=True, eq=False)
class Curve:
    """A ROC or precision-recall curve, thinned for drawing, and its exact area."""

    x: Array
    y: Array
    area: Estimate


@dataclass(frozen=True)
class Reason:
    """What one column adds to the score of one row.

    Attributes
    ----------
    column : str
    contribution : float
        In nats.
    value, expected : float or None
        What the row holds, and what the model would have expected; None for
        the latent code, which is no column.
    """

    column: str
    contribution: float
    value: float | None = None
    expected: float | None = None


@dataclass(frozen=True)
class TopRow:
    """One of the strangest rows, and why it is."""

    row_id: str
    score: float
    is_flagged: bool
    is_anomaly: bool | None
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, eq=False)
class ReportData:
    """All that a report says.

    Attributes
    ----------
    title, model_name, data_name : str
        Text from outside, as it came.
    created : str or None
        When; None leaves the time out, so that equal inputs give equal pages.
    summary : tuple of str
        What a colleague should know, a sentence or two each.
    n_rows, n_columns, n_flagged : int
    threshold : Threshold
    groups : tuple of Group
        All rows, or with labels the normal ones and the anomalies.
    confusion : Confusion or None
        None without labels.
    roc, precision_recall : Curve or None
        None without labels of both kinds.
    scores, latent, training, latent_use : displays
        What the pictures show.
    top : tuple of TopRow
        The strangest rows, the strangest first.
    model : tuple of (str, str)
        Settings of the model.
    """

    title: str
    model_name: str | None
    data_name: str | None
    created: str | None
    summary: tuple[str, ...]
    n_rows: int
    n_columns: int
    n_flagged: int
    threshold: Threshold
    groups: tuple[Group, ...]
    confusion: Confusion | None
    roc: Curve | None
    precision_recall: Curve | None
    scores: ScoreDisplay
    latent: LatentDisplay
    training: TrainingCurveDisplay
    latent_use: LatentUseDisplay
    top: tuple[TopRow, ...]
    model: tuple[tuple[str, str], ...]
