"""Plot of the two terms of the ELBO: reconstruction error against KL divergence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_anomaly._types import Records
from vae_anomaly.data.arrays import take
from vae_anomaly.displays.data import ANOMALIES, MAX_VECTOR_POINTS, by_label, shown_rows
from vae_anomaly.displays.drawing import BLUE, ORANGE, AsinhScale, Display, legend, own_axes, tidy
from vae_anomaly.estimator import VAEDetector
from vae_anomaly.model.model import Model

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ElboDisplay"]

Array = NDArray[np.float64]

MAX_POINTS = 10_000
"""Maximum number of points of one label."""


class ElboDisplay(Display):
    """Reconstruction error against KL divergence of each row.

    Their sum, with `beta` as the weight of the KL divergence, is minus the ELBO (Kingma and
    Welling, "Auto-encoding variational Bayes", :arxiv:`1312.6114`, equation 3). Rows at the top
    are poorly reconstructed, rows on the right have an unusual code.

    Parameters
    ----------
    reconstruction, kl : ndarray of shape (n_points,)
        In nats.
    flagged : ndarray of bool of shape (n_points,)
        Which rows are above the threshold.
    labels : ndarray of bool of shape (n_points,), optional
        True for anomalies.
    n_rows : int, optional
        Total number of rows, of which the points may be a subsample.
    unit : str, default="row"
        Name of a record.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        Axes and figure of the last plot.

    Examples
    --------
    >>> display = ElboDisplay(np.array([3.0, 40.0]), np.ones(2), np.array([False, True]))
    >>> display.n_rows
    2
    """

    def __init__(
        self,
        reconstruction: Array,
        kl: Array,
        flagged: NDArray[np.bool_],
        labels: NDArray[np.bool_] | None = None,
        *,
        n_rows: int | None = None,
        unit: str = "row",
    ) -> None:
        self.reconstruction, self.kl, self.flagged = reconstruction, kl, flagged
        self.labels = labels
        self.n_rows = len(kl) if n_rows is None else n_rows
        self.unit = unit

    @classmethod
    def measure(
        cls,
        model: Model,
        records: Records,
        flagged: NDArray[np.bool_],
        labels: ArrayLike | None = None,
    ) -> Self:
        """Compute both terms, of at most `MAX_POINTS` records of each label.

        Parameters
        ----------
        model : Model
        records : array-like of length n
            As the encoder of the model takes them.
        flagged : ndarray of bool of shape (n,)
        labels : array-like of bool of shape (n,), optional
        """
        known = None if labels is None else np.asarray(labels, dtype=bool)
        rows = shown_rows(len(flagged), known, MAX_POINTS)
        found = model.evaluate(records[rows], also=("reconstruction", "kl")).also
        return cls(
            found["reconstruction"],
            found["kl"],
            flagged[rows],
            None if known is None else known[rows],
            n_rows=len(flagged),
            unit=model.unit,
        )

    @classmethod
    def from_estimator(
        cls,
        detector: VAEDetector,
        X: ArrayLike,
        labels: ArrayLike | None = None,
        *,
        ax: Axes | None = None,
    ) -> Self:
        """Compute both terms of rows and draw them."""
        records = detector._records(take(X, slice(None)))
        flagged = detector.predict(X) == -1
        return cls.measure(detector.model_, records, flagged, labels).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw on `ax`, or on new axes: flagged rows are filled, the others are outlines."""
        ax = own_axes(ax)
        names: list[str] = []
        for name, mask in by_label(len(self.kl), self.labels, self.unit).items():
            color, marker = (ORANGE, "^") if name == ANOMALIES else (BLUE, "o")
            names.append(name)
            for of_flag in (False, True):
                rows = mask & (self.flagged == of_flag)
                if not rows.any():
                    continue
                ax.scatter(
                    self.kl[rows],
                    self.reconstruction[rows],
                    s=16,
                    marker=marker,
                    facecolors=color if of_flag else "none",
                    edgecolors=color,
                    alpha=0.75,
                    linewidths=0.8,
                    rasterized=len(self.kl) > MAX_VECTOR_POINTS,
                )
            ax.scatter([], [], s=16, marker=marker, color=color, label=f"{len(names)}")
        for axis, values in (("x", self.kl), ("y", self.reconstruction)):
            low, high = float(values.min()), float(values.max())
            AsinhScale.fit(values, low, high).apply(ax, axis, low, high, max_ticks=6)
        ax.set_xlabel("KL divergence (nats)")
        ax.set_ylabel("reconstruction error (nats)")
        tidy(ax, "both")
        legend(ax, self._note(), names)
        return self._drawn_on(ax)

    def _note(self) -> str:
        flagged = "filled: flagged"
        if len(self.kl) == self.n_rows:
            return flagged
        return f"{len(self.kl):,} of {self.n_rows:,} {self.unit}s; {flagged}"
