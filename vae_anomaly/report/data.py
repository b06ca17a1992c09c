"""What a report consists of: values, and no markup."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.displays import (
    CalibrationDisplay,
    ImageGridDisplay,
    LatentDisplay,
    LatentGridDisplay,
    LatentUseDisplay,
    PValueDisplay,
    ReconstructionDisplay,
    ScoreDisplay,
    TrainingCurveDisplay,
)

__all__ = [
    "Choice",
    "Confusion",
    "Curve",
    "Discovery",
    "Estimate",
    "Gallery",
    "Group",
    "ImageFindings",
    "Kind",
    "LatentComparison",
    "PixelArea",
    "PriorFit",
    "Reason",
    "ReportData",
    "Steps",
    "Threshold",
    "TopImage",
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


@dataclass(frozen=True)
class Choice:
    """A threshold that labels ask for.

    Attributes
    ----------
    words : str
        What it was chosen by.
    threshold : float or None
        In nats; None if no threshold does what was asked.
    confusion : Confusion or None
        At that threshold.
    """

    words: str
    threshold: float | None
    confusion: Confusion | None


@dataclass(frozen=True)
class Discovery:
    """What is flagged when a share of false flags is held, in expectation.

    Attributes
    ----------
    fdr : float
        That share.
    threshold : float
        In nats, infinite if nothing is flagged.
    n_flagged : int
    """

    fdr: float
    threshold: float
    n_flagged: int


@dataclass(frozen=True, eq=False)
class Steps:
    """Thresholds to try, and what each flags.

    Attributes
    ----------
    thresholds : ndarray of shape (n_steps,)
        Ascending, in nats; rows above are flagged.
    found, alarms : ndarray of int of shape (n_steps,)
        Anomalies and normal rows that are flagged; without labels all rows
        count as normal.
    n_anomalies : int or None
        None without labels.
    n_normal : int
    promised : ndarray of shape (n_steps,) or None
        Probability that a fresh normal row is flagged, by the calibration rows.
    start : int
        Which is the detector's own.
    """

    thresholds: Array
    found: NDArray[np.int_]
    alarms: NDArray[np.int_]
    n_anomalies: int | None
    n_normal: int
    promised: Array | None
    start: int


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
class Top:
    """A row worth a look."""

    row_id: str
    score: float
    is_flagged: bool
    is_anomaly: bool | None


@dataclass(frozen=True)
class TopRow(Top):
    """One of the strangest rows, and why it is."""

    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class TopImage(Top):
    """One of the strangest or most normal images.

    Attributes
    ----------
    kind : str or None
    reconstruction, kl : float
        What its pixels and its latent code add, in nats.
    """

    kind: str | None
    reconstruction: float
    kl: float


@dataclass(frozen=True, eq=False)
class Gallery:
    """Some images, and what is shown of each."""

    images: tuple[TopImage, ...]
    display: ReconstructionDisplay


@dataclass(frozen=True)
class Kind:
    """Images of one kind, and how well they are told from normal ones.

    Attributes
    ----------
    name : str
    n_rows, n_flagged : int
    is_normal : bool or None
        None without labels.
    auroc : Estimate or None
        Of its anomalies against all normal images.
    """

    name: str
    n_rows: int
    n_flagged: int
    is_normal: bool | None
    auroc: Estimate | None


@dataclass(frozen=True)
class PixelArea:
    """How well contributions tell masked pixels from others.

    Attributes
    ----------
    value : float
        AUROC over pixels.
    n_used, n_pixels : int
        Pixels it comes from, and pixels there are.
    n_images : int
        Images that they belong to.
    """

    value: float
    n_used: int
    n_pixels: int
    n_images: int


@dataclass(frozen=True)
class PriorFit:
    """How close the latent codes of a detector lie to the prior, N(0, I).

    Attributes
    ----------
    beta : float
        Weight of the KL divergence.
    mean : float
        Length of the mean code; 0 under the prior.
    variance : float
        Mean over dimensions; 1 under the prior.
    energy : float
        Energy distance between codes and draws from the prior; 0 if they are
        distributed alike.
    n_codes : int
        Codes that it comes from.
    """

    beta: float
    mean: float
    variance: float
    energy: float
    n_codes: int


@dataclass(frozen=True, eq=False)
class LatentComparison:
    """The latent codes of another detector beside those of the one reported on."""

    own: PriorFit
    other: PriorFit
    latent: LatentDisplay
    latent_grid: LatentGridDisplay


@dataclass(frozen=True, eq=False)
class ImageFindings:
    """What only a report on images says.

    Attributes
    ----------
    shape : tuple of int
        Height, width and channels.
    strangest, normal : Gallery or None
        None where there is nothing to show.
    n_members : int
        Each has a latent space of its own: the two below are of the first.
    latent_grid : LatentGridDisplay
    samples : ImageGridDisplay
    interpolation : ImageGridDisplay or None
        From one normal image to another, both at the ends.
    kinds : tuple of Kind
    n_kinds : int
        How many there are, of which `kinds` may be the first.
    pixels : PixelArea or None
        None without masks.
    skipped : tuple of (str, str)
        Files that were left out, and why.
    n_skipped : int
        How many there are, of which `skipped` may be the first.
    comparison : LatentComparison or None
    """

    shape: tuple[int, int, int]
    n_members: int
    strangest: Gallery | None
    normal: Gallery | None
    latent_grid: LatentGridDisplay
    samples: ImageGridDisplay
    interpolation: ImageGridDisplay | None
    kinds: tuple[Kind, ...]
    n_kinds: int
    pixels: PixelArea | None
    skipped: tuple[tuple[str, str], ...]
    n_skipped: int
    comparison: LatentComparison | None


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
        What the images show.
    top : tuple of TopRow
        The strangest rows, the strangest first.
    model : tuple of (str, str)
        Settings of the model.
    steps : Steps
        Thresholds to try.
    choices : tuple of Choice
        Thresholds that were asked for by labels.
    discovery : Discovery or None
        The rows as one batch; None without calibration rows.
    calibration : CalibrationDisplay or None
        Of the normal rows, without labels of all; None without calibration rows.
    p_values : PValueDisplay or None
        None without calibration rows.
    images : ImageFindings or None
        None for a table.
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
    steps: Steps
    choices: tuple[Choice, ...] = ()
    discovery: Discovery | None = None
    calibration: CalibrationDisplay | None = None
    p_values: PValueDisplay | None = None
    images: ImageFindings | None = None

    @property
    def unit(self) -> str:
        """What a row is called."""
        return "row" if self.images is None else "image"
