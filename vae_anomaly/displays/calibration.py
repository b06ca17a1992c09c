"""Calibration plots: false-alarm rates and p-values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import betabinom

from vae_anomaly.displays.data import ANOMALIES, by_label
from vae_anomaly.displays.drawing import BLUE, GREY, INK, ORANGE, Display, own_axes, tidy
from vae_anomaly.estimator import VAEDetector
from vae_anomaly.stats.thresholds import conformal_p_values, ranks_among

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CalibrationDisplay", "PValueDisplay"]

Array = NDArray[np.float64]

MAX_RATES = 60
MAX_BINS = 20
BAND = 0.95


class CalibrationDisplay(Display):
    """Nominal against observed false-alarm rate, with a confidence band.

    If normal rows are distributed like the calibration rows, the observed rate lies in
    the band with probability 95 % at each nominal rate. The number of flagged rows has
    a beta-binomial distribution, since the true rate of a threshold from n calibration
    rows has a beta distribution
    (`vae_anomaly.stats.thresholds.false_alarm_interval`).

    Parameters
    ----------
    nominal, observed : ndarray of shape (n_rates,)
    low, high : ndarray of shape (n_rates,)
        Limits of the band.
    n_rows, n_calibration : int
        Number of rows scored, and of calibration rows.
    rate : float, optional
        Nominal rate of the detector.
    unit : str, default="row"
        Name of a record.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        Axes and figure of the last plot.

    Examples
    --------
    >>> display = CalibrationDisplay.measure(np.arange(200.0), np.arange(99.0) * 2)
    >>> bool(((display.low <= display.observed) & (display.observed <= display.high)).all())
    True
    """

    def __init__(
        self,
        nominal: Array,
        observed: Array,
        low: Array,
        high: Array,
        *,
        n_rows: int,
        n_calibration: int,
        rate: float | None = None,
        unit: str = "row",
    ) -> None:
        self.nominal, self.observed, self.low, self.high = nominal, observed, low, high
        self.n_rows, self.n_calibration = n_rows, n_calibration
        self.rate, self.unit = rate, unit

    @classmethod
    def measure(
        cls,
        scores: ArrayLike,
        calibration_scores: Array,
        *,
        rate: float | None = None,
        unit: str = "row",
    ) -> Self | None:
        """Compare scores of normal rows with ascending calibration scores.

        Return None if either is empty.
        """
        given, n = np.asarray(scores, dtype=np.float64), len(calibration_scores)
        if not (n and len(given)):
            return None
        beyond = np.unique(np.geomspace(1, n, MAX_RATES).round().astype(int))
        ranks = ranks_among(calibration_scores, given)
        counts = np.cumsum(np.bincount(ranks, minlength=n + 1))
        chance = betabinom(len(given), beyond, n + 1 - beyond)
        tail = (1 - BAND) / 2
        return cls(
            beyond / (n + 1),
            counts[beyond - 1] / len(given),
            chance.ppf(tail) / len(given),
            chance.ppf(1 - tail) / len(given),
            n_rows=len(given),
            n_calibration=n,
            rate=rate,
            unit=unit,
        )

    @classmethod
    def from_estimator(
        cls, detector: VAEDetector, X: ArrayLike, *, ax: Axes | None = None
    ) -> Self | None:
        """Score normal rows, compare and draw; return None without calibration scores."""
        scores = -detector.score_samples(X)
        measured = cls.measure(scores, detector.calibration_scores_, rate=detector.false_alarm_rate)
        return None if measured is None else measured.plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw on `ax`, or on new axes."""
        ax = own_axes(ax)
        percent = 100 * np.stack([self.nominal, self.observed, self.low, self.high])
        nominal, observed, low, high = percent
        # Zero has no place on a logarithmic axis and is drawn at its lower end.
        floor = 50 * min(self.nominal[0], 1 / self.n_rows)
        label = f"{BAND:.0%} of normal {self.unit}s".replace("%", " %")
        ax.fill_between(
            *(nominal, np.maximum(low, floor), np.maximum(high, floor)),
            color=GREY, alpha=0.3, linewidth=0, label=label,
        )  # fmt: skip
        ax.plot(nominal, nominal, color=GREY, linestyle=":", linewidth=1)
        ax.plot(nominal, np.maximum(observed, floor), color=BLUE, linewidth=2, label="observed")
        if self.rate is not None:
            ax.axvline(
                100 * self.rate, color=INK, linestyle="--", linewidth=1, label="nominal rate"
            )
        ax.set(xscale="log", yscale="log", ylim=(floor, 110))
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter("{x:g}")
        ax.set_xlabel("nominal false-alarm rate (%)")
        ax.set_ylabel(f"{self.unit}s flagged (%)")
        tidy(ax, "both")
        ax.legend(frameon=False, loc="lower right")
        return self._drawn_on(ax)


class PValueDisplay(Display):
    """Histogram of conformal p-values: uniform for normal rows, near zero for anomalies.

    Parameters
    ----------
    edges : ndarray of shape (n_bins + 1,)
        Bin edges from 0 to 1; a p-value on an edge belongs to the lower bin.
    counts : dict of str to ndarray of shape (n_bins,)
        Rows per bin, by group.
    expected : ndarray of shape (n_bins,)
        Expected shares of normal rows. They may differ between bins because p-values
        are multiples of 1 / (n + 1).

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        Axes and figure of the last plot.

    Examples
    --------
    >>> display = PValueDisplay.measure(np.arange(100.0), np.arange(99.0))
    >>> display.expected.round(2).tolist() == [0.05] * 20
    True
    """

    def __init__(
        self, edges: Array, counts: dict[str, NDArray[np.int_]], *, expected: Array
    ) -> None:
        self.edges, self.counts, self.expected = edges, counts, expected

    @classmethod
    def measure(
        cls,
        scores: ArrayLike,
        calibration_scores: Array,
        labels: ArrayLike | None = None,
        *,
        unit: str = "row",
    ) -> Self | None:
        """Count the p-values of scores, by label if given; None without calibration scores."""
        given, n = np.asarray(scores, dtype=np.float64), len(calibration_scores)
        if not n:
            return None
        known = None if labels is None else np.asarray(labels, dtype=bool)
        bins = min(MAX_BINS, n + 1)

        def count(p: Array) -> NDArray[np.int_]:
            # Rounded first, since 0.15 * 20 exceeds 3 by an ulp.
            return np.bincount(np.ceil((p * bins).round(9)).astype(int) - 1, minlength=bins)

        p = conformal_p_values(calibration_scores, given)
        counts = {name: count(p[mask]) for name, mask in by_label(len(p), known, unit).items()}
        expected = count(np.arange(1, n + 2) / (n + 1)) / (n + 1)
        return cls(np.linspace(0, 1, bins + 1), counts, expected=expected)

    @classmethod
    def from_estimator(
        cls,
        detector: VAEDetector,
        X: ArrayLike,
        labels: ArrayLike | None = None,
        *,
        ax: Axes | None = None,
    ) -> Self | None:
        """Score rows and draw their p-values; return None without calibration scores."""
        scores = -detector.score_samples(X)
        measured = cls.measure(scores, detector.calibration_scores_, labels)
        return None if measured is None else measured.plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw on `ax`, or on new axes."""
        ax = own_axes(ax)
        for name, counts in self.counts.items():
            share = 100 * counts / counts.sum()
            color = ORANGE if name == ANOMALIES else BLUE
            ax.stairs(share, self.edges, fill=True, color=color, alpha=0.35)
            label = f"{name} ({counts.sum():,})"
            ax.stairs(share, self.edges, color=color, linewidth=1.5, label=label)
        ax.stairs(
            100 * self.expected, self.edges, color=INK, linestyle="--", label="normal, expected"
        )
        ax.set(xlim=(0, 1), ylim=(0, None), xlabel="p-value", ylabel="share of the group (%)")
        tidy(ax)
        ax.legend(frameon=False, loc="upper right")
        return self._drawn_on(ax)
