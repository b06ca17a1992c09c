"""Values of a comparison of two models, without markup."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.metrics.confusion import Confusion
from vae_anomaly.metrics.curves import Curves
from vae_anomaly.metrics.intervals import Estimate
from vae_anomaly.metrics.paired import Agreement
from vae_anomaly.report.data import UNKNOWN, Provenance, Threshold

__all__ = ["ComparedModel", "ComparisonReport", "Disputed"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ComparedModel:
    """One of the models, and how it does.

    Attributes
    ----------
    name : str
        "A" or "B".
    file : str
        Name of its file.
    threshold : Threshold
    scores, multiples : ndarray of shape (n,)
        In nats, and as multiples of the threshold; those are scores if it is not positive.
    flagged : ndarray of bool of shape (n,)
    confusion : Confusion or None
        None without labels.
    curves : Curves or None
        None without labels of both classes.
    settings : tuple of (str, str)
    digest : str or None
        Checksum of its file.
    """

    name: str
    file: str
    threshold: Threshold
    scores: Array
    multiples: Array
    flagged: Flags
    confusion: Confusion | None
    curves: Curves | None
    settings: tuple[tuple[str, str], ...]
    digest: str | None

    @property
    def n_flagged(self) -> int:
        """Number of flagged records."""
        return int(self.flagged.sum())

    @property
    def expected_false(self) -> float | None:
        """Share of its flagged records that are expected to be false, at most."""
        nominal = self.threshold.nominal_rate
        if nominal is None or not self.n_flagged:
            return None
        return min(1.0, nominal * len(self.flagged) / self.n_flagged)


class Disputed(NamedTuple):
    """A record that one of the models flags and the other does not."""

    key: str
    by: str
    multiples: tuple[float, float]
    is_anomaly: bool | None


@dataclass(frozen=True, eq=False)
class ComparisonReport:
    """All values of a page that compares two models.

    Attributes
    ----------
    title, data_name, unit : str
    n_rows : int
    first, second : ComparedModel
    labels : ndarray of bool of shape (n,) or None
    agreements : tuple of Agreement
        Of all records, with labels also of the two classes.
    difference : Estimate or None
        AUROC of the first model minus that of the second.
    correlation : float
        Spearman's, of the scores.
    disputed : tuple of Disputed
        The greatest differences first, at most `MAX_LISTED`.
    n_disputed : int
    provenance : Provenance
    """

    title: str
    data_name: str
    unit: str
    n_rows: int
    first: ComparedModel
    second: ComparedModel
    labels: Flags | None
    agreements: tuple[Agreement, ...]
    difference: Estimate | None
    correlation: float
    disputed: tuple[Disputed, ...]
    n_disputed: int
    provenance: Provenance = UNKNOWN

    @property
    def models(self) -> tuple[ComparedModel, ComparedModel]:
        """Both models."""
        return self.first, self.second
