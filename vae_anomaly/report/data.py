"""Values of a report, without markup."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import Records
from vae_anomaly.data.cell_texts import NO_TEXTS, CellTexts
from vae_anomaly.displays import (
    CalibrationDisplay,
    ElboDisplay,
    LatentDisplay,
    LatentUseDisplay,
    PValueDisplay,
    ScoreDisplay,
    TrainingCurveDisplay,
)
from vae_anomaly.metrics.confusion import Confusion, Group
from vae_anomaly.metrics.curves import Curve
from vae_anomaly.metrics.threshold_search import Choice, Discovery, Steps
from vae_anomaly.model.calibration import Calibration
from vae_anomaly.model.drift import Drift
from vae_anomaly.model.model import Model

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "UNKNOWN",
    "Context",
    "Figure",
    "ListedRecord",
    "Options",
    "Provenance",
    "RankedRecord",
    "ReportData",
    "ScoredRecords",
    "Section",
    "Summary",
    "Threshold",
    "Tile",
]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Figure(NamedTuple):
    """A figure: a function that draws it, its size in inches, and whether the page shows it."""

    draw: Callable[[Axes], object]
    size: tuple[float, float]
    is_inline: bool = True


class Tile(NamedTuple):
    """A number at the top of the page."""

    value: str
    label: str
    note: str = ""


class Summary(NamedTuple):
    """Main results in sentences, by the part of the page that they open.

    Attributes
    ----------
    verdict : tuple of str
        How many records are flagged, how many of them to expect to be false, and why the most
        anomalous one is.
    drift, threshold, quality : tuple of str
    """

    verdict: tuple[str, ...] = ()
    drift: tuple[str, ...] = ()
    threshold: tuple[str, ...] = ()
    quality: tuple[str, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """All of them, in order."""
        return tuple(sentence for part in self for sentence in part)


class Provenance(NamedTuple):
    """What a report was made with.

    Attributes
    ----------
    model_digest : str or None
        SHA-256 checksum of the contents of the model file, as `vae-anomaly inspect` prints it.
    command : str or None
        Command line, without folders.
    """

    model_digest: str | None = None
    command: str | None = None


NOTHING_SAID, UNKNOWN = Summary(), Provenance()


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

    @classmethod
    def of(cls, calibration: Calibration) -> Self:
        """Return the threshold of a calibration."""
        value, method = calibration.threshold, calibration.method
        if method == "threshold":
            return cls(value, method, None)
        return cls(value, method, calibration.value, len(calibration.scores))

    @property
    def nominal_rate(self) -> float | None:
        """Nominal false-alarm rate, limited by the number of calibration rows."""
        if self.method != "false_alarm_rate" or self.requested is None:
            return None
        return max(self.requested, 1 / (self.n_calibration + 1))


@dataclass(frozen=True)
class RankedRecord:
    """A record that the page shows by itself.

    Attributes
    ----------
    key : str
    score : float
        In nats.
    multiple : float or None
        The score as a multiple of the threshold; None where that is not positive.
    p_value : float or None
        Share of calibration records that are at least as anomalous; None without them.
    is_flagged : bool
    is_anomaly : bool or None
        None without labels.
    """

    key: str
    score: float
    multiple: float | None
    p_value: float | None
    is_flagged: bool
    is_anomaly: bool | None


@dataclass(frozen=True)
class ListedRecord(RankedRecord):
    """A flagged record in the list of all.

    Attributes
    ----------
    category : str or None
    reasons : tuple of str
        In words, the main one first.
    """

    category: str | None
    reasons: tuple[str, ...]


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
    drift : Drift or None
        Of the normal records, without labels of all; None without calibration records.
    texts : CellTexts
        Of unseen levels and stray cells.
    """

    model: Model
    records: Records
    keys: Sequence[object]
    scores: Array
    flagged: Flags
    labels: Flags | None
    threshold: Threshold
    drift: Drift | None = None
    texts: CellTexts = NO_TEXTS

    @property
    def n_flagged(self) -> int:
        """Number of flagged records."""
        return int(self.flagged.sum())

    def ranked(self, row: int) -> RankedRecord:
        """Return the key, score, flag and label of a record."""
        score, known = float(self.scores[row]), self.model.calibration
        multiple = score / self.threshold.value if self.threshold.value > 0 else None
        return RankedRecord(
            key=str(self.keys[row]),
            score=score,
            multiple=multiple if multiple is not None and isfinite(multiple) else None,
            p_value=float(known.p_values(self.scores[[row]])[0]) if len(known.scores) else None,
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
    listed : int
        Number of flagged records to give reasons for in words.
    """

    top: int
    reasons: int
    listed: int = 0


class Section(Protocol):
    """Part of a report on records of one modality, a frozen dataclass.

    Attributes
    ----------
    context : type of Context
        Class of the context that `collect` takes.
    template : str
        Jinja template with some of the macros ``definitions`` (at the top), ``first`` (why the
        most anomalous record is), ``records``, ``columns``, ``groups``, ``model`` and
        ``appendix``; the page calls each with the section and the embedded figures.
    figure_names : tuple of str
        Names of all figures that a section may have.
    """

    context: ClassVar[type[Context]]
    template: ClassVar[str]
    figure_names: ClassVar[tuple[str, ...]]

    @property
    def listed(self) -> tuple[tuple[str, ...], ...]:
        """Reasons in words for the first flagged records, most anomalous first; or ()."""

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

    def why(self) -> str:
        """Return why the most anomalous record is, or an empty string."""

    def sentences(self) -> list[str]:
        """Return sentences on quality for the summary."""

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
        Main results, one or two sentences each: `parts` in order.
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
    scores, latent, training, latent_use, elbo : displays
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
    most_anomalous : RankedRecord
    listed : tuple of ListedRecord
        The flagged records, most anomalous first, at most `ranking.MAX_LISTED`.
    drift : Drift or None
        See `ScoredRecords`.
    parts : Summary
        The summary by parts of the page.
    provenance : Provenance
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
    elbo: ElboDisplay
    most_anomalous: RankedRecord
    model: tuple[tuple[str, str], ...]
    steps: Steps
    sections: tuple[Section, ...] = ()
    choices: tuple[Choice, ...] = ()
    discovery: Discovery | None = None
    calibration: CalibrationDisplay | None = None
    p_values: PValueDisplay | None = None
    listed: tuple[ListedRecord, ...] = ()
    drift: Drift | None = None
    parts: Summary = NOTHING_SAID
    provenance: Provenance = UNKNOWN
