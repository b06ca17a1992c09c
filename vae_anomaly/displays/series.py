"""Time series with their anomaly scores, events and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.displays.drawing import BLUE, GREY, INK, ORANGE, AsinhScale, legible, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["SeriesPlot", "envelope"]

Array = NDArray[np.float64]
Span = tuple[float, float]

N_COLUMNS = 1200
"""Columns of pixels that a series is reduced to."""

CHANNEL_HEIGHT, SCORE_HEIGHT, LANE_HEIGHT, MARGIN = 0.75, 1.15, 0.16, 0.7  # inches

MIN_WIDTH = 1 / 600
"""Least width of an event in a figure, relative to that of the axes: it must be seen."""


def envelope(x: Array, y: Array, breaks: Sequence[int] = (), columns: int = N_COLUMNS) -> Array:
    """Return a line that looks like the given one, with at most two points in each column.

    These are the least and the greatest value there, so that no spike is lost.

    Parameters
    ----------
    x, y : ndarray of shape (n,)
        Ascending positions, and values; NaN interrupts the line.
    breaks : sequence of int
        Points that the line does not come to from the one before.
    columns : int, default=1200

    Returns
    -------
    ndarray of shape (n_points, 2)

    Examples
    --------
    >>> x, y = np.arange(6.0), np.array([0.0, 9.0, 1.0, 2.0, -5.0, 3.0])
    >>> envelope(x, y, columns=2).tolist()
    [[0.0, 0.0], [0.0, 9.0], [3.0, -5.0], [3.0, 3.0]]
    """
    bounds = [0, *breaks, len(x)]
    width = (x[-1] - x[0]) / columns if len(x) > 1 else 0.0
    parts: list[Array] = []
    for start, stop in pairwise(bounds):
        here, values = x[start:stop], y[start:stop]
        if parts:
            parts.append(np.array([[here[0], np.nan]]))
        if len(x) <= 2 * columns or width <= 0:
            parts.append(np.column_stack([here, values]))
            continue
        column = np.minimum((here - x[0]) // width, columns - 1)
        firsts = np.flatnonzero(np.r_[True, np.diff(column) != 0])
        reduced = np.column_stack(
            [np.fmin.reduceat(values, firsts), np.fmax.reduceat(values, firsts)]
        )
        parts.append(np.column_stack([np.repeat(here[firsts], 2), reduced.ravel()]))
    return np.concatenate(parts)


@dataclass(frozen=True, eq=False)
class SeriesPlot:
    """A series, its score and its events, one above the other.

    Attributes
    ----------
    x : ndarray of shape (n,)
        Days since 1970, or numbers of time steps.
    is_time : bool
    values : ndarray of shape (n, k)
    names : tuple of str
        Of these channels.
    scores : ndarray of shape (n,)
        Multiples of the threshold, NaN where a time step has none.
    breaks : tuple of int
        First time steps after gaps.
    events, labelled : tuple of (int, int)
        Starts, and ends outside of them.
    has_labels : bool
    expected : ndarray of shape (n, k), optional
    in_utc : bool
        Whether times are known to be in UTC.
    """

    x: Array
    is_time: bool
    values: Array
    names: tuple[str, ...]
    scores: Array
    breaks: tuple[int, ...]
    events: tuple[tuple[int, int], ...]
    labelled: tuple[tuple[int, int], ...]
    has_labels: bool
    expected: Array | None = None
    in_utc: bool = False

    @property
    def height(self) -> float:
        """Height of the figure in inches."""
        return MARGIN + sum(self._heights)

    @property
    def _heights(self) -> list[float]:
        lanes = LANE_HEIGHT * (1 + self.has_labels)
        return [*[CHANNEL_HEIGHT] * len(self.names), SCORE_HEIGHT, lanes]

    def draw(self, ax: Axes) -> None:
        """Draw in place of empty axes."""
        figure = ax.get_figure(root=True)
        if figure is None:  # axes of a figure have one
            return
        ax.remove()
        axes = figure.subplots(
            len(self._heights), 1, sharex=True, height_ratios=self._heights, squeeze=False
        )[:, 0]
        for k, name in enumerate(self.names):
            self._draw_channel(axes[k], k, name)
        self._draw_score(axes[-2])
        self._draw_lanes(axes[-1])
        for one in axes[:-1]:
            self._shade(one)
            one.tick_params(labelbottom=False, bottom=False)
        self._label_times(axes[-1])

    def _draw_channel(self, ax: Axes, k: int, name: str) -> None:
        if self.expected is not None:
            line = envelope(self.x, self.expected[:, k], self.breaks)
            ax.plot(*line.T, color=GREY, linewidth=1.2, linestyle=(0, (4, 2)))
        line = envelope(self.x, self.values[:, k], self.breaks)
        ax.plot(*line.T, color=BLUE, linewidth=0.9)
        if len(self.x) < N_COLUMNS:  # a value between missing ones is a point
            ax.plot(*line.T, color=BLUE, linestyle="", marker=".", markersize=1.5)
        self._finish(ax, name)

    def _draw_score(self, ax: Axes) -> None:
        known = self.scores[np.isfinite(self.scores)]
        top = max(1.3, 1.1 * float(known.max(initial=0.0)))
        if top > 5:  # linear up to the threshold, logarithmic beyond
            AsinhScale(0.0, 1.0).apply(ax, "y", 0.0, top, max_ticks=4)
        ax.set_ylim(0.0, top)
        ax.plot(*envelope(self.x, self.scores, self.breaks).T, color=INK, linewidth=0.9)
        ax.axhline(1.0, color=ORANGE, linewidth=1.1, linestyle="--")
        self._finish(ax, "anomaly score, threshold at 1")

    def _draw_lanes(self, ax: Axes) -> None:
        """Draw events, and labels below them, as bars."""
        ax.broken_barh(self._spans(self.events), (0.1, 0.8), color=ORANGE, linewidth=0)
        names, at = ["events"], [0.5]
        if self.has_labels:
            ax.broken_barh(self._spans(self.labelled), (-0.9, 0.8), color=INK, linewidth=0)
            names, at = [*names, "labels"], [*at, -0.5]
        ax.set_yticks(at, labels=names, fontsize=7)
        ax.set_ylim(-1.0 if self.has_labels else 0.0, 1.0)
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.spines["bottom"].set_color(GREY)
        ax.tick_params(axis="y", length=0)

    def _shade(self, ax: Axes) -> None:
        below = ax.get_xaxis_transform()
        marks = ((self._spans(self.events), ORANGE, 0.22), (self._gap_spans(), GREY, 0.3))
        for spans, color, alpha in marks:
            ax.broken_barh(
                spans, (0, 1), transform=below, color=color, alpha=alpha, linewidth=0, zorder=0
            )

    def _spans(self, steps: Sequence[tuple[int, int]]) -> list[Span]:
        """Return starts and widths in units of the axis, wide enough to be seen."""
        least = MIN_WIDTH * (self.x[-1] - self.x[0])
        found = []
        for start, stop in steps:
            first, width = self.x[start], self.x[stop - 1] - self.x[start]
            extra = max(0.0, least - width)
            found.append((float(first - extra / 2), float(width + extra)))
        return found

    def _gap_spans(self) -> list[Span]:
        return [(float(self.x[i - 1]), float(self.x[i] - self.x[i - 1])) for i in self.breaks]

    def _finish(self, ax: Axes, name: str) -> None:
        tidy(ax)
        ax.tick_params(labelsize=7)
        ax.set_title(legible(name, 60), loc="left", fontsize=8, pad=2, parse_math=False)

    def _label_times(self, ax: Axes) -> None:
        ax.tick_params(axis="x", labelsize=8, color=GREY)
        ax.set_xlim(*(self.x[[0, -1]] if len(self.x) > 1 else (self.x[0] - 1, self.x[0] + 1)))
        if not self.is_time:
            ax.set_xlabel("time step", fontsize=8)
            return
        if self.in_utc:
            ax.set_xlabel("time in UTC", fontsize=8)
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator()  # type: ignore[no-untyped-call]
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.get_offset_text().set_fontsize(8)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
