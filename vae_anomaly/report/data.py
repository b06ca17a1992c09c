"""Values of a report, without markup."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import Records
from vae_anomaly.displays import (
    CalibrationDisplay,
    LatentDisplay,
    LatentUseDisplay,
    PValueDisplay,
    ScoreDisplay,
    TrainingCurveDisplay,
)
from vae_anomaly.metrics.confusion import Confusion, Group
from vae_anomaly.metrics.curves import Curve
from vae_anomaly.metrics.threshold_search import Choice, Discovery, Steps
from vae_anomaly.model.model import Model

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "Context",
    "Figure",
    "Options",
    "RankedRecord",
    "ReportData",
    "ScoredRecords",
    "Section",
    "Threshold",
    "Tile",
]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Figure(NamedTuple):
    """A figure of the page: a function that draws it, and its size in inches."""

    draw: Callable[[Axes], object]
    size: tuple[float, float]


class Tile(NamedTuple):
    """A number at the top of the page."""

    value: str
    label: str
    note: str = ""


@dataclass(frozen=True)
class Threshold:
    """Threshold of a model, and the parameter that determined it.

    Attributes
    ----------
    value : float
        In nats.
    method : {"false_alarm_rate", "contamination", "threshold"}
        Parameter of the detector that determined the threshold.
    requested : float or None
        Requested rate or share; None if the threshold was set by hand.
    n_calibration : int
        Number of calibration rows, with "false_alarm_rate".
    """

    value: float
    method: str
    requested: float | None
    n_calibration: int = 0

    @property
    def nominal_rate(self) -> float | None:
        """Nominal false-alarm rate, limited by the number of calibration rows."""
        if self.method != "false_alarm_rate" or self.requested is None:
            return None
        return max(self.requested, 1 / (self.n_calibration + 1))


@dataclass(frozen=True)
class RankedRecord:
    """A record that the page shows by itself."""

    key: str
    score: float
    is_flagged: bool
    is_anomaly: bool | None


@dataclass(frozen=True, eq=False)
class ScoredRecords:
    """Records with their scores, flags and labels.

    Attributes
    ----------
    model : Model
    records : ndarray of shape (n, ...)
        As the encoder of the model takes them.
    keys : sequence of shape (n,)
        Names of the records.
    scores : ndarray of shape (n,)
        Anomaly scores.
    flagged : ndarray of bool of shape (n,)
    labels : ndarray of bool of shape (n,) or None
        True for anomalies.
    threshold : Threshold
    """

    model: Model
    records: Records
    keys: Sequence[object]
    scores: Array
    flagged: Flags
    labels: Flags | None
    threshold: Threshold

    def ranked(self, row: int) -> RankedRecord:
        """Return the key, score, flag and label of a record."""
        return RankedRecord(
            key=str(self.keys[row]),
            score=float(self.scores[row]),
            is_flagged=bool(self.flagged[row]),
            is_anomaly=None if self.labels is None else bool(self.labels[row]),
        )


@dataclass(frozen=True)
class Context:
    """Facts about the records that are not in them; sections may define further ones.

    Attributes
    ----------
    categories : sequence of str of shape (n,), optional
        Finer classes than labels; they colour the latent codes.
    """

    categories: Sequence[str] | None = None


class Options(NamedTuple):
    """Options of a section.

    Attributes
    ----------
    top : int
        Number of most anomalous records to show.
    reasons : int
        Number of contributions to show for each.
    """

    top: int
    reasons: int


class Section(Protocol):
    """Part of a report on records of one modality, a frozen dataclass.

    Attributes
    ----------
    context : type of Context
        Class of the context that `collect` takes.
    template : str
        Jinja template with some of the macros ``groups``, ``records`` and
        ``appendix``; the page calls each with the section and the embedded figures.
    figure_names : tuple of str
        Names of all figures that a section may have.
    """

    context: ClassVar[type[Context]]
    template: ClassVar[str]
    figure_names: ClassVar[tuple[str, ...]]

    @classmethod
    def collect(cls, scored: ScoredRecords, options: Options, context: Context) -> Self:
        """Collect the values of the section."""

    @property
    def size(self) -> str:
        """Size of a record, for the head of the page."""

    @property
    def content(self) -> str:
        """Name of the data that the page shows, or an empty string."""

    @property
    def settings(self) -> tuple[tuple[str, str], ...]:
        """Settings of the model that only this modality has."""

    def figures(self) -> Mapping[str, Figure]:
        """Return the figures by name."""

    def sentences(self) -> list[str]:
        """Return sentences for the summary."""

    def tiles(self) -> list[Tile]:
        """Return numbers for the top of the page."""


@dataclass(frozen=True, eq=False)
class ReportData:
    """All values of a report.

    Attributes
    ----------
    title, model_name, data_name : str
        Text from outside, unchanged.
    created : str or None
        Time of creation; None leaves it out, so that equal inputs give equal pages.
    summary : tuple of str
        Main results, one or two sentences each.
    unit : str
        Name of a record, such as "row".
    n_rows, n_flagged : int
    threshold : Threshold
    groups : tuple of Group
        All records, or with labels the normal ones and the anomalies.
    confusion : Confusion or None
        None without labels.
    roc, precision_recall : Curve or None
        None without labels of both classes.
    scores, latent, training, latent_use : displays
        Figures of the common part.
    model : tuple of (str, str)
        Settings of the model.
    steps : Steps
        Thresholds of the slider.
    sections : tuple of Section
        Parts of the modality.
    choices : tuple of Choice
        Thresholds chosen by labels.
    discovery : Discovery or None
        The records as one batch; None without calibration rows.
    calibration : CalibrationDisplay or None
        Of the normal records, without labels of all; None without calibration rows.
    p_values : PValueDisplay or None
        None without calibration rows.
    """

    title: str
    model_name: str | None
    data_name: str | None
    created: str | None
    summary: tuple[str, ...]
    unit: str
    n_rows: int
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
    model: tuple[tuple[str, str], ...]
    steps: Steps
    sections: tuple[Section, ...] = ()
    choices: tuple[Choice, ...] = ()
    discovery: Discovery | None = None
    calibration: CalibrationDisplay | None = None
    p_values: PValueDisplay | None = None
