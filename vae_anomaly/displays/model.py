"""Model plots: training curves, latent use, contributions to a score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_anomaly.data.arrays import take
from vae_anomaly.displays.drawing import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    Display,
    distinct,
    legend,
    own_axes,
    tidy,
)
from vae_anomaly.estimator import VAEDetector
from vae_anomaly.training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ContributionDisplay", "LatentUseDisplay", "TrainingCurveDisplay"]

Array = NDArray[np.float64]

MAX_BARS = 50

USED_NATS = 0.01
"""Mean KL divergence above which a latent dimension counts as used."""


class TrainingCurveDisplay(Display):
    """Training and validation losses by gradient step.

    Parameters
    ----------
    history : History
        `history_` of a fitted detector.
    unit : str, default="row"
        Name of a record.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        Axes and figure of the last plot.

    Examples
    --------
    >>> TrainingCurveDisplay(History(step=[100], loss=[2.0])).history.step
    [100]
    """

    def __init__(self, history: History, *, unit: str = "row") -> None:
        self.history = history
        self.unit = unit

    @classmethod
    def from_estimator(cls, detector: VAEDetector, *, ax: Axes | None = None) -> Self:
        """Draw the losses of a fitted detector."""
        return cls(detector.history_).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw on `ax`, or on new axes."""
        ax = own_axes(ax)
        history = self.history
        lines = (
            ("total", history.loss, INK, "-"),
            (f"held-out {self.unit}s, total", history.held_out, ORANGE, "--"),
            ("reconstruction", history.reconstruction, BLUE, "-"),
            ("KL", history.kl, GREY, "-"),
        )
        marker = "o" if len(history.step) == 1 else None  # one point makes no line
        for label, values, color, style in lines:
            if values:
                ax.plot(
                    history.step[-len(values) :],
                    values,
                    color=color,
                    linestyle=style,
                    linewidth=1.6,
                    label=label,
                    marker=marker,
                )
        ax.set_xlabel("gradient steps")
        ax.set_ylabel(f"mean loss (nats per {self.unit})")
        tidy(ax)
        if ax.lines:
            legend(ax)
        return self._drawn_on(ax)


class LatentUseDisplay(Display):
    """Mean KL divergence of each latent dimension.

    Dimensions are sorted within each member, since their order is arbitrary. Bars are
    means over members, whiskers the range.

    Parameters
    ----------
    latent_kl : ndarray of shape (n_members, latent_dim)
        `latent_kl_` of a fitted detector, in nats.

    Attributes
    ----------
    sorted_kl : ndarray of shape (n_members, latent_dim)
        Descending within each member.
    used : ndarray of int of shape (n_members,)
        Number of dimensions above 0.01 nats, for each member.
    ax_, figure_ : Axes, Figure
        Axes and figure of the last plot.

    Examples
    --------
    >>> LatentUseDisplay([[0.0, 1.5, 0.2], [1.1, 0.0, 0.0]]).used.tolist()
    [2, 1]
    """

    def __init__(self, latent_kl: ArrayLike) -> None:
        self.sorted_kl: Array = -np.sort(-np.atleast_2d(np.asarray(latent_kl, np.float64)), axis=1)
        self.used: NDArray[np.int_] = (self.sorted_kl > USED_NATS).sum(axis=1)

    @classmethod
    def from_estimator(cls, detector: VAEDetector, *, ax: Axes | None = None) -> Self:
        """Draw the latent dimensions of a fitted detector."""
        return cls(detector.latent_kl_).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw on `ax`, or on new axes, at most 50 dimensions."""
        ax = own_axes(ax)
        shown = self.sorted_kl[:, :MAX_BARS]
        mean = shown.mean(axis=0)
        rank = np.arange(1, len(mean) + 1)
        colors = [BLUE if kl > USED_NATS else GREY for kl in mean]
        whiskers = np.stack([mean - shown.min(axis=0), shown.max(axis=0) - mean])
        ax.bar(rank, mean, color=colors, width=0.7)
        if len(shown) > 1:
            ax.errorbar(rank, mean, whiskers, fmt="none", ecolor=INK, elinewidth=1, capsize=3)
        ax.set_xticks(rank if len(rank) <= 16 else rank[:: len(rank) // 8])
        ax.set_xlabel("latent dimension, most used first")
        ax.set_ylabel("mean KL (nats)")
        tidy(ax)
        return self._drawn_on(ax)


class ContributionDisplay(Display):
    """Contributions of the columns to the anomaly score of one row.

    Parameters
    ----------
    names : sequence of str
        Columns, and last the latent code.
    contributions : array-like of shape (n_names,)
        In nats; their sum is the anomaly score.
    top : int, default=10
        Number of bars, largest contributions first. One more bar sums the others.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        Axes and figure of the last plot.

    Examples
    --------
    >>> ContributionDisplay(["a", "b", "latent_code"], [1.0, 7.0, 2.0]).bars(top=2)
    [('b', 7.0), ('latent_code', 2.0), ('1 other', 1.0)]
    """

    def __init__(self, names: Sequence[str], contributions: ArrayLike, *, top: int = 10) -> None:
        self.names = list(names)
        self.contributions = np.asarray(contributions, dtype=np.float64)
        self.top = top

    @classmethod
    def from_estimator(
        cls,
        detector: VAEDetector,
        X: ArrayLike,
        row: int = 0,
        *,
        top: int = 10,
        ax: Axes | None = None,
    ) -> Self:
        """Explain the row of `X` at position `row` and draw it."""
        explained = detector.explain(take(X, np.array([row])))
        return cls([str(name) for name in explained], explained.to_numpy()[0], top=top).plot(ax)

    def bars(self, top: int | None = None) -> list[tuple[str, float]]:
        """Return names and contributions as drawn, the largest first, the others summed."""
        order = np.argsort(-self.contributions, kind="stable")
        first, rest = np.split(order, [self.top if top is None else top])
        bars = [(self.names[i], float(self.contributions[i])) for i in first]
        if len(rest):
            name = f"{len(rest):,} other" + ("s" if len(rest) > 1 else "")
            bars.append((name, float(self.contributions[rest].sum())))
        return bars

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw on `ax`, or on new axes."""
        ax = own_axes(ax)
        bars = self.bars()
        values = [value for _, value in bars]
        rest = len(self.names) > self.top
        colors = [ORANGE if value > 0 else BLUE for value in values]
        if rest:
            colors[-1] = GREY
        position = np.arange(len(bars))
        ax.barh(position, values, color=colors, height=0.7)
        # Names such as "$\frac{$" are text, never formulas.
        ax.set_yticks(position, distinct((name for name, _ in bars), 40), parse_math=False)
        ax.invert_yaxis()
        ax.axvline(0, color=GREY, linewidth=1)
        ax.set_xlabel("contribution to the anomaly score (nats)")
        ax.set_title(f"anomaly score {self.contributions.sum():,.4g} nats", loc="left", fontsize=11)
        tidy(ax, "x")
        return self._drawn_on(ax)
