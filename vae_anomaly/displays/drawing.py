"""Common parts of all displays: colours, axis scales, legends, safe text."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_anomaly import _text
from vae_anomaly._matplotlib import import_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["AsinhScale", "Display", "distinct", "escaped", "legend", "legible", "own_axes", "tidy"]

Array = NDArray[np.float64]

BLUE, ORANGE, INK, GREY = "#2f6f9f", "#d9661f", "#243240", "#8a97a3"
"""Blue and orange are distinguishable with any colour vision and in grey print."""

CATEGORY_COLORS = (
    *("#d9661f", "#2a9d74", "#c4569b", "#e0ab1f", "#6a51a3"),
    *("#52b5d9", "#8c4a21", "#333333", "#a3c14a"),
)
"""Colours of categories of anomalies, the most frequent first; after Okabe and Ito."""

MAX_TEXT_LENGTH = 120

MAX_ESCAPE = 8
"""Characters of the longest escape, that of a smiley."""

LEGEND_WIDTH = 56
"""Characters that fit in one line above the narrowest axes of a report."""


def legible(text: object, max_length: int = MAX_TEXT_LENGTH) -> str:
    r"""Return text from data with hidden characters escaped and its length limited.

    Control characters, lone surrogates and marks that reorder or hide text are
    escaped; the joiners that some scripts need stay.

    Parameters
    ----------
    text : object
        Converted by `str`.
    max_length : int, default=120
        Longer text is truncated.

    Returns
    -------
    str

    Examples
    --------
    >>> legible("a\x1b[31m\u202eb")
    'a\\x1b[31m\\u202eb'
    """
    return _text.escaped(str(text), max_length, _undrawable.get())


_undrawable: ContextVar[frozenset[str]] = ContextVar("undrawable", default=frozenset())


@contextmanager
def escaped(characters: frozenset[str]) -> Iterator[None]:
    """Escape characters that no font has in what `legible` returns."""
    token = _undrawable.set(characters)
    try:
        yield
    finally:
        _undrawable.reset(token)


def distinct(names: Iterable[object], max_length: int = MAX_TEXT_LENGTH) -> list[str]:
    """Return names as `legible` does, different ones always differently.

    Long names lose their middle where their beginnings are the same. What still looks the same,
    such as letters with accents apart, gets a number.

    Examples
    --------
    >>> distinct(["pump inlet pressure", "pump inlet flow", "pump"], max_length=10)
    ['pump …sure', 'pump …flow', 'pump']
    """
    given = list(map(str, names))
    shown = {name: legible(name, max_length) for name in given}
    for name in _alike(shown):
        whole = legible(name, MAX_ESCAPE * len(name))
        half = (max_length - 1) // 2
        if len(whole) > max_length:
            shown[name] = f"{whole[: max_length - 1 - half]}…{whole[-half:]}"
    for i, name in enumerate(_alike(shown), 1):
        number = f" ({i})"
        shown[name] = f"{shown[name][: max(1, max_length - len(number))]}{number}"
    return [shown[name] for name in given]


def _alike(shown: Mapping[str, str]) -> list[str]:
    """Return the names that are shown like others."""
    looks = {name: unicodedata.normalize("NFKC", text) for name, text in shown.items()}
    counts = Counter(looks.values())
    return [name for name, look in looks.items() if counts[look] > 1]


@dataclass(frozen=True)
class AsinhScale:
    """Axis scale, linear around `center` and logarithmic further away than `width`.

    Scores of 1e6 and differences of 1 are then visible in one figure.

    Examples
    --------
    >>> scale = AsinhScale(0.0, 1.0)
    >>> scale.forward(np.array([0.0, 0.1, 1e6])).round(2).tolist()
    [0.0, 0.1, 14.51]
    """

    center: float
    width: float

    @classmethod
    def fit(cls, values: Array, low: float, high: float) -> Self:
        """Choose a scale from `low` to `high`: logarithmic in long tails, otherwise linear."""
        first, center, third = np.percentile(values, [10, 50, 90])
        bulk, span = third - first, max(high - low, 1e-9)
        if bulk <= 1e-9 * max(abs(center), 1.0):  # mostly one value: no bulk to resolve
            bulk = span
        # The arsinh of small arguments is linear: one formula covers both cases.
        width = bulk if span > 12 * bulk else 10 * span
        return cls(float(center), float(width))

    def forward(self, values: ArrayLike) -> Array:
        """Convert values to positions."""
        return np.asarray(np.arcsinh((np.asarray(values) - self.center) / self.width))

    def inverse(self, positions: ArrayLike) -> Array:
        """Convert positions to values."""
        # Matplotlib may pass any position; the clip keeps the values finite.
        return self.center + self.width * np.sinh(np.clip(positions, -500, 500))

    def ticks(self, low: float, high: float, max_ticks: int = 8) -> list[float]:
        """Return round values between `low` and `high`, evenly spaced as drawn."""
        from matplotlib.ticker import MaxNLocator

        inner = (max(low, self.center - self.width), min(high, self.center + self.width))
        near = list(MaxNLocator(4).tick_values(*inner))
        if inner == (low, high):
            values = MaxNLocator(max_ticks - 1).tick_values(low, high)
            return [t for t in values if low <= t <= high]
        decades = [m * 10.0**k for m in (1, -1, 2, -2, 5, -5) for k in range(300, -3, -1)]
        gap = np.ptp(self.forward([low, high])) / max_ticks
        chosen: list[float] = []
        for tick in [*near, *decades]:
            position = self.forward([*chosen, tick])
            if low <= tick <= high and np.all(np.abs(position[:-1] - position[-1]) >= gap):
                chosen.append(float(tick))
        return sorted(chosen)

    def apply(self, ax: Axes, name: str, low: float, high: float, max_ticks: int = 8) -> None:
        """Set the scale and the ticks of an axis, "x" or "y"."""
        from matplotlib.ticker import NullLocator

        set_scale = ax.set_xscale if name == "x" else ax.set_yscale
        set_scale("function", functions=(self.forward, self.inverse))
        axis = ax.xaxis if name == "x" else ax.yaxis
        ticks = self.ticks(low, high, max_ticks)
        axis.set_ticks(ticks, labels=[_tick_label(t) for t in ticks])
        axis.set_minor_locator(NullLocator())


def _tick_label(value: float) -> str:
    if abs(value) < 1e5:
        return f"{value:,.10g}".replace("-", "\N{MINUS SIGN}")
    sign = "-" if value < 0 else ""
    exponent = round(np.log10(abs(value)), 6)
    return f"${sign}10^{{{exponent:g}}}$"


def tidy(ax: Axes, grid: str = "y") -> None:
    """Remove the box around the axes, lighten ticks and grid."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GREY)
    ax.tick_params(color=GREY, labelcolor=INK)
    ax.grid(axis=grid, color=GREY, alpha=0.25, linewidth=0.8)  # type: ignore[arg-type]
    ax.set_axisbelow(True)


def legend(ax: Axes, title: str | None = None, names: Sequence[str] = ()) -> None:
    """Draw the legend above the axes, where it hides no data.

    `names` from data replace the labels: Matplotlib would hide a label that starts
    with an underscore and typeset formulas between dollar signs.
    """
    shown = distinct(names, 24)
    longest = max(map(len, shown), default=0)
    ncols = 4 if len(shown) <= 3 else max(1, LEGEND_WIDTH // (longest + 5))
    drawn = ax.legend(
        frameon=False,
        ncols=ncols,
        title=title,
        columnspacing=1.4,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.2,
    )
    drawn.set_alignment("left")
    for text, name in zip(drawn.get_texts(), shown, strict=False):
        text.set_parse_math(False)
        text.set_text(name)


def own_axes(ax: Axes | None) -> Axes:
    """Return the given axes, or new ones."""
    if ax is not None:
        return ax
    import_matplotlib()
    from matplotlib import pyplot as plt

    return plt.subplots(layout="constrained")[1]


class Display:
    """Base class of displays. `ax_` and `figure_` are those of the last plot."""

    ax_: Axes
    figure_: Figure

    def _drawn_on(self, ax: Axes) -> Self:
        figure = ax.get_figure(root=True)
        if figure is not None:
            self.ax_, self.figure_ = ax, figure
        return self
