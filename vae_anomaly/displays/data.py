"""Data plots: histogram of anomaly scores, scatter of latent codes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_anomaly.data.arrays import take
from vae_anomaly.displays.drawing import (
    BLUE,
    CATEGORY_COLORS,
    GREY,
    INK,
    ORANGE,
    AsinhScale,
    Display,
    legend,
    own_axes,
    tidy,
)
from vae_anomaly.estimator import VAEDetector

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ANOMALIES", "LatentDisplay", "ScoreDisplay", "by_category", "by_label", "shown_rows"]

Array = NDArray[np.float64]

ANOMALIES = "anomalies"

MAX_POINTS = 4000
"""Maximum number of points of one label in a scatter plot."""

MAX_VECTOR_POINTS = 1_000
"""Points from which on drawings in a vector format hold them as pixels, to stay small."""

CODE_AXES = ("latent dimension 1", "latent dimension 2")
"""Axis names of a latent space with two dimensions."""

PRIOR_SHARE, PRIOR_RADIUS = 95, 2.4477
"""Percentage of N(0, I) in two dimensions within a circle of this radius."""


def by_label(
    n: int, labels: NDArray[np.bool_] | None, unit: str = "row"
) -> dict[str, NDArray[np.bool_]]:
    """Return the mask of each group of rows by name; without labels there is one group."""
    if labels is None:
        return {f"all {unit}s": np.ones(n, dtype=bool)}
    groups = {f"normal {unit}s": ~labels, ANOMALIES: labels}
    return {name: mask for name, mask in groups.items() if mask.any()}


def by_category(categories: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Return a mask of the rows of each category, the most frequent category first."""
    order = [category for category, _ in Counter(categories).most_common()]
    # NumPy takes "a" and "a\0" for the same text, a dict does not.
    numbers = {category: number for number, category in enumerate(order)}
    codes = np.array([numbers[category] for category in categories])
    return {category: codes == number for category, number in numbers.items()}


def shown_rows(
    n: int, labels: NDArray[np.bool_] | None, max_points: int = MAX_POINTS
) -> NDArray[np.intp]:
    """Return a reproducible subsample of at most `max_points` rows of each label."""
    labels = np.zeros(n, dtype=bool) if labels is None else labels
    rng = np.random.RandomState(0)
    groups = (np.flatnonzero(labels == label) for label in (False, True))
    chosen = [
        g if len(g) <= max_points else rng.choice(g, max_points, replace=False) for g in groups
    ]
    return np.sort(np.concatenate(chosen))


class ScoreDisplay(Display):
    """Histogram of anomaly scores with the threshold.

    The axis is linear around the bulk of the normal rows, and logarithmic further away
    if scores extend that far. Bars are equally wide as drawn and show shares of
    their group, so that few anomalies are visible beside many normal rows.

    Parameters
    ----------
    edges : ndarray of shape (n_bins + 1,)
        Bin edges, in nats.
    counts : dict of str to ndarray of shape (n_bins,)
        Rows per bin, by group.
    scale : AsinhScale
        Scale of the axis.
    threshold : float, optional
        In nats; rows above it are flagged.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        Axes and figure of the last plot.

    See Also
    --------
    sklearn.metrics.RocCurveDisplay : Rates at all thresholds.

    Examples
    --------
    >>> display = ScoreDisplay.measure(np.arange(100.0), threshold=90.0)
    >>> display.counts["all rows"].sum()
    np.int64(100)
    """

    def __init__(
        self,
        edges: Array,
        counts: dict[str, NDArray[np.int_]],
        *,
        scale: AsinhScale,
        threshold: float | None = None,
    ) -> None:
        self.edges = edges
        self.counts = counts
        self.scale = scale
        self.threshold = threshold

    @property
    def is_stretched(self) -> bool:
        """Whether the axis is logarithmic far from the bulk."""
        return bool(self.scale.width < self.edges[-1] - self.edges[0])

    @classmethod
    def measure(
        cls,
        scores: ArrayLike,
        labels: ArrayLike | None = None,
        *,
        threshold: float | None = None,
        bins: int = 60,
        unit: str = "row",
    ) -> Self:
        """Count anomaly scores, higher being more anomalous, by label if given (True: anomaly)."""
        scores = np.asarray(scores, dtype=np.float64)
        known = None if labels is None else np.asarray(labels, dtype=bool)
        groups = {k: scores[mask] for k, mask in by_label(len(scores), known, unit).items()}
        seen = scores if threshold is None else np.append(scores, threshold)
        low, high = seen.min(), seen.max()
        pad = 0.5 if low == high else 0.0
        low, high = low - pad, high + pad
        scale = AsinhScale.fit(next(iter(groups.values())), low, high)
        first, last = scale.forward([low, high])
        edges = scale.inverse(np.linspace(first, last, bins + 1))
        edges[[0, -1]] = low, high  # rounding must not exclude the extreme rows
        counts = {name: np.histogram(values, edges)[0] for name, values in groups.items()}
        return cls(edges, counts, scale=scale, threshold=threshold)

    @classmethod
    def from_predictions(
        cls,
        scores: ArrayLike,
        labels: ArrayLike | None = None,
        *,
        threshold: float | None = None,
        bins: int = 60,
        ax: Axes | None = None,
    ) -> Self:
        """Count anomaly scores and draw them.

        Parameters
        ----------
        scores : array-like of shape (n_samples,)
            Anomaly scores in nats: higher is more anomalous.
        labels : array-like of bool, optional
            True for anomalies.
        threshold : float, optional
            In nats.
        bins : int, default=60
        ax : Axes, optional
            New axes if not given.

        Returns
        -------
        ScoreDisplay
        """
        return cls.measure(scores, labels, threshold=threshold, bins=bins).plot(ax)

    @classmethod
    def from_estimator(
        cls,
        detector: VAEDetector,
        X: ArrayLike,
        labels: ArrayLike | None = None,
        *,
        bins: int = 60,
        ax: Axes | None = None,
    ) -> Self:
        """Score rows and draw their histogram with the detector's threshold."""
        scores, threshold = -detector.score_samples(X), -detector.offset_
        return cls.from_predictions(scores, labels, threshold=threshold, bins=bins, ax=ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw on `ax`, or on new axes."""
        ax = own_axes(ax)
        for name, counts in self.counts.items():
            share = 100.0 * counts / counts.sum()
            color = ORANGE if name == ANOMALIES else BLUE
            label = f"{name} ({counts.sum():,})"
            ax.stairs(share, self.edges, fill=True, color=color, alpha=0.35)
            ax.stairs(share, self.edges, color=color, linewidth=1.5, label=label)
        if self.threshold is not None:
            label = f"threshold, {self.threshold:,.4g} nats"
            ax.axvline(self.threshold, color=INK, linewidth=1.5, linestyle="--", label=label)
        low, high = self.edges[0], self.edges[-1]
        self.scale.apply(ax, "x", low, high)
        position = self.scale.forward([low, high])
        margin = 0.02 * np.ptp(position)
        ax.set_xlim(*self.scale.inverse(np.add(position, [-margin, margin])))
        ax.set_ylim(bottom=0)
        ax.set_xlabel("anomaly score (nats; higher is more anomalous)")
        ax.set_ylabel("share of the group (%)")
        tidy(ax)
        legend(ax)
        return self._drawn_on(ax)


class PointGroup(NamedTuple):
    """Points of a scatter plot with the same colour and marker."""

    name: str
    mask: NDArray[np.bool_]
    color: str
    marker: str


class LatentDisplay(Display):
    """Scatter of the latent codes: two dimensions, or the first two principal components.

    Parameters
    ----------
    points : ndarray of shape (n_points, 2)
        Positions of the rows shown.
    labels : ndarray of bool of shape (n_points,), optional
        True for anomalies.
    axis_names : tuple of str
        Names of the two axes.
    n_rows : int, optional
        Total number of rows, of which `points` may be a subsample.
    categories : sequence of str of shape (n_points,), optional
        Finer classes than labels: each of the most frequent gets a colour.
    unit : str, default="row"
        Name of a record.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        Axes and figure of the last plot.

    Examples
    --------
    >>> display = LatentDisplay(np.zeros((3, 2)), axis_names=("a", "b"), n_rows=10)
    >>> display.n_rows
    10
    """

    def __init__(
        self,
        points: Array,
        labels: NDArray[np.bool_] | None = None,
        *,
        axis_names: tuple[str, str],
        n_rows: int | None = None,
        categories: Sequence[str] | None = None,
        unit: str = "row",
    ) -> None:
        self.points = points
        self.labels = labels
        self.axis_names = axis_names
        self.n_rows = len(points) if n_rows is None else n_rows
        self.categories = categories
        self.unit = unit

    @classmethod
    def measure(
        cls,
        encode: Callable[[NDArray[np.intp]], ArrayLike],
        n_rows: int,
        labels: ArrayLike | None = None,
        *,
        categories: Sequence[str] | None = None,
        unit: str = "row",
    ) -> Self:
        """Encode at most `MAX_POINTS` rows of each label and project their codes on two axes.

        `encode` takes positions of rows and returns their codes, (n, width).
        """
        known = None if labels is None else np.asarray(labels, dtype=bool)
        rows = shown_rows(n_rows, known)
        points, names = _flatten(np.asarray(encode(rows), dtype=np.float64))
        return cls(
            points,
            None if known is None else known[rows],
            axis_names=names,
            n_rows=n_rows,
            categories=None if categories is None else [str(categories[row]) for row in rows],
            unit=unit,
        )

    @classmethod
    def from_estimator(
        cls,
        detector: VAEDetector,
        X: ArrayLike,
        labels: ArrayLike | None = None,
        *,
        categories: Sequence[str] | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Encode rows and draw their codes.

        Labels with more than `MAX_POINTS` rows are shown by a reproducible subsample.

        Parameters
        ----------
        detector : VAEDetector
        X : array-like of shape (n_samples, n_features)
        labels : array-like of bool, optional
            True for anomalies.
        categories : sequence of str, optional
            Colours by category instead of by label.
        ax : Axes, optional

        Returns
        -------
        LatentDisplay
        """
        given = take(X, slice(None))

        def encode(rows: NDArray[np.intp]) -> Array:
            return detector.transform(take(given, rows))

        return cls.measure(encode, len(given), labels, categories=categories).plot(ax)

    def groups(self) -> list[PointGroup]:
        """Return the groups of points: by category if there are categories, else by label."""
        labels = np.zeros(len(self.points), dtype=bool) if self.labels is None else self.labels
        if self.categories is None:
            masks = by_label(len(self.points), self.labels, self.unit)
            return [
                PointGroup(name, mask, *((ORANGE, "^") if name == ANOMALIES else (BLUE, "o")))
                for name, mask in masks.items()
            ]
        masks = by_category(self.categories)
        # Normal categories come first, and keep the blue of normal rows in all figures.
        order = sorted(masks, key=lambda category: bool(labels[masks[category]].any()))
        # If nothing is known to be normal, blue is free for a category.
        free = CATEGORY_COLORS if self.labels is not None else (*CATEGORY_COLORS, BLUE)
        colors = iter(free)
        groups: list[PointGroup] = []
        for number, category in enumerate(order):
            anomalous = bool(labels[masks[category]].any())
            blue = number == 0 and self.labels is not None and not anomalous
            color = BLUE if blue else next(colors, None)
            if color is None:
                rest = np.any([masks[other] for other in order[number:]], axis=0)
                groups.append(PointGroup("other categories", rest, GREY, "x"))
                break
            marker = "^" if anomalous else "o"
            groups.append(PointGroup(category, masks[category], color, marker))
        return groups

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw on `ax`, or on new axes."""
        ax = own_axes(ax)
        groups = self.groups()
        for number, group in enumerate(groups):
            points = self.points[group.mask]
            ax.scatter(
                points[:, 0],
                points[:, 1],
                s=16,
                marker=group.marker,
                color=group.color,
                alpha=0.6,
                linewidths=1 if group.marker == "x" else 0,
                rasterized=len(self.points) > MAX_VECTOR_POINTS,
                label=f"{number}",
            )
        circle = self._prior()
        for name, values, outline in zip("xy", self.points.T, circle.T, strict=True):
            low, high = min([values.min(), *outline]), max([values.max(), *outline])
            AsinhScale.fit(values, low, high).apply(ax, name, low, high, max_ticks=6)
        if len(circle):
            ax.plot(*circle.T, color=INK, linewidth=1.2, linestyle=":", label=f"{len(groups)}")
        ax.set_xlabel(self.axis_names[0])
        ax.set_ylabel(self.axis_names[1])
        tidy(ax, "both")
        names = [group.name for group in groups]
        legend(ax, self._note(), [*names, f"N(0, I), {PRIOR_SHARE} %"])
        return self._drawn_on(ax)

    def _prior(self) -> Array:
        """Return the outline of N(0, I), (n, 2); empty if the axes are not latent dimensions."""
        if self.axis_names != CODE_AXES:
            return np.empty((0, 2))
        angle = np.linspace(0, 2 * np.pi, 181)
        return PRIOR_RADIUS * np.column_stack([np.cos(angle), np.sin(angle)])

    def _note(self) -> str | None:
        if len(self.points) == self.n_rows:
            return None
        return f"{len(self.points):,} of {self.n_rows:,} {self.unit}s"


def _flatten(codes: Array) -> tuple[Array, tuple[str, str]]:
    """Project codes, (n, width), to a plane: (n, 2) and the names of the axes."""
    if codes.shape[1] == 1:
        return np.column_stack([np.arange(len(codes)), codes]), ("row shown", "latent dimension 1")
    if codes.shape[1] == 2:
        return codes, CODE_AXES
    centered = codes - codes.mean(axis=0)
    variances, axes = np.linalg.eigh(centered.T @ centered)
    axes = axes[:, :-3:-1]  # (width, 2), largest variance first
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])  # eigenvectors have no sign
    shares = variances[:-3:-1] / max(variances.sum(), np.finfo(float).tiny)
    first, second = (
        f"component {i} ({100 * s:.0f} % of variance)" for i, s in enumerate(shares, 1)
    )
    return centered @ (axes * signs), (f"principal {first}", f"principal {second}")
