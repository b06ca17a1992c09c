"""Image plots: reconstructions with anomaly maps, samples, latent grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from vae_anomaly._types import AnyArray
from vae_anomaly.displays.drawing import GREY, INK, Display, distinct, own_axes
from vae_anomaly.displays.painting import (
    THUMBNAIL,
    as_rgb,
    heat,
    overlay,
    shrink,
    tile,
    value_range,
)
from vae_anomaly.estimator import VAEDetector

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LatentGridDisplay", "ImageGridDisplay", "ReconstructionDisplay", "map_scale"]

Array = NDArray[np.float64]
Rgb = NDArray[np.uint8]

MAX_ROWS = 10
"""Maximum number of images that `ReconstructionDisplay.plot` draws."""

SATURATED = 99.8
"""Percentile of maps at the end of the colour scale, robust to single pixels."""

MAX_TILED = 1200
"""Approximate length of the longer side of a latent grid, in pixels."""


def map_scale(maps: ArrayLike) -> float:
    """Return the upper end of the colour scale of anomaly maps, in nats."""
    positive = np.maximum(np.asarray(maps, dtype=np.float64), 0.0)
    top = float(np.percentile(positive, SATURATED)) if positive.size else 0.0
    return top or float(positive.max(initial=0.0)) or 1.0


class ImageGridDisplay(Display):
    """Images in a grid.

    Parameters
    ----------
    images : ndarray of uint8 of shape (n, h, w, 3)
    columns : int, default=10
        Images per row.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        Axes and figure of the last plot.

    Examples
    --------
    >>> ImageGridDisplay.measure(np.zeros((12, 8, 8))).images.shape
    (12, 8, 8, 3)
    """

    def __init__(self, images: Rgb, *, columns: int = 10) -> None:
        self.images = images
        self.columns = columns

    @classmethod
    def measure(
        cls,
        images: ArrayLike,
        *,
        values: tuple[float, float] | None = None,
        columns: int = 10,
    ) -> Self:
        """Convert images, (n, h, w[, c]), to 8-bit RGB; `values` are black and white."""
        raw = np.asarray(images)
        low, high = value_range(raw) if values is None else values
        return cls(shrink(as_rgb(raw, low, high)), columns=columns)

    @classmethod
    def from_estimator(
        cls,
        detector: VAEDetector,
        n_samples: int = 40,
        *,
        values: tuple[float, float] | None = None,
        columns: int = 10,
        random_state: int | np.random.RandomState | None = 0,
        ax: Axes | None = None,
    ) -> Self:
        """Sample images from the model and draw them.

        Parameters
        ----------
        detector : VAEDetector
            Fitted on images.
        n_samples : int, default=40
        values : tuple of float, optional
            Values of black and white; by default `painting.value_range`.
        columns : int, default=10
        random_state : int, RandomState or None, default=0
        ax : Axes, optional
            New axes if not given.

        Returns
        -------
        ImageGridDisplay
        """
        drawn = detector.sample(n_samples, random_state=random_state)
        return cls.measure(drawn, values=values, columns=columns).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw on `ax`, or on new axes."""
        ax = own_axes(ax)
        tiled, _, _ = tile(self.images, min(self.columns, len(self.images)))
        ax.imshow(tiled)
        ax.set_axis_off()
        return self._drawn_on(ax)


class ReconstructionDisplay(Display):
    """Images, their reconstructions and anomaly maps, a row for each image.

    Parameters
    ----------
    images, reconstructions : ndarray of uint8 of shape (n, h, w, 3)
    maps : ndarray of shape (n, h, w)
        How anomalous each pixel is, in nats; see `VAEDetector.anomaly_maps`.
    names : sequence of str, optional
        Names of the images.
    masks : ndarray of bool of shape (n, h, w), optional
        Ground truth: anomalous pixels.
    top : float, optional
        Upper end of the colour scale, in nats; by default a high percentile of `maps`.

    Attributes
    ----------
    overlays : ndarray of uint8 of shape (n, h, w, 3)
        Maps overlaid on their images.
    ax_, figure_ : Axes, Figure
        Axes and figure of the last plot.

    Examples
    --------
    >>> blank = np.zeros((1, 8, 8, 3), dtype=np.uint8)
    >>> ReconstructionDisplay(blank, blank, np.full((1, 8, 8), 2.5)).top
    2.5
    """

    def __init__(
        self,
        images: Rgb,
        reconstructions: Rgb,
        maps: AnyArray,
        *,
        names: Sequence[str] | None = None,
        masks: NDArray[np.bool_] | None = None,
        top: float | None = None,
    ) -> None:
        self.images = images
        self.reconstructions = reconstructions
        self.maps = maps
        self.names = [str(i) for i in range(len(images))] if names is None else list(names)
        self.masks = masks
        self.top = map_scale(maps) if top is None else top

    @property
    def overlays(self) -> Rgb:
        """Maps overlaid on their images."""
        return overlay(self.images, self.maps, self.top)

    def height_at(self, width: int) -> int:
        """Return the displayed height of an image for a displayed width."""
        height, across = self.images.shape[1:3]
        return max(1, round(width * height / across))

    def columns(self) -> dict[str, Rgb]:
        """Return the columns of the display by name, from left to right."""
        shown = {
            "input": self.images,
            "reconstruction": self.reconstructions,
            "anomaly map": self.overlays,
        }
        if self.masks is not None:
            shown["mask"] = np.repeat(np.uint8(255) * self.masks[..., None], 3, axis=3)
        return shown

    @classmethod
    def measure(
        cls,
        images: ArrayLike,
        reconstructions: ArrayLike,
        maps: Array,
        *,
        names: Sequence[str] | None = None,
        masks: NDArray[np.bool_] | None = None,
        values: tuple[float, float] | None = None,
        top: float | None = None,
    ) -> Self:
        """Shrink images, their reconstructions and anomaly maps to thumbnails."""
        raw = np.asarray(images)
        low, high = value_range(raw) if values is None else values
        scale = map_scale(maps) if top is None else top
        small = None if masks is None else shrink(masks.astype(np.float64)) >= 0.5
        return cls(
            shrink(as_rgb(raw, low, high)),
            shrink(as_rgb(reconstructions, low, high)),
            shrink(maps),
            names=names,
            masks=small,
            top=scale,
        )

    @classmethod
    def from_estimator(
        cls,
        detector: VAEDetector,
        X: ArrayLike,
        *,
        names: Sequence[str] | None = None,
        masks: NDArray[np.bool_] | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw images, reconstructions and anomaly maps.

        Parameters
        ----------
        detector : VAEDetector
            Fitted on images.
        X : array-like of shape (n, h, w[, c])
        names : sequence of str, optional
        masks : ndarray of bool of shape (n, h, w), optional
            Ground truth: anomalous pixels.
        ax : Axes, optional

        Returns
        -------
        ReconstructionDisplay
        """
        maps = detector.anomaly_maps(X)
        measured = cls.measure(X, detector.reconstruct(X), maps, names=names, masks=masks)
        return measured.plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw on `ax`, or on new axes, at most 10 images."""
        ax = own_axes(ax)
        columns = self.columns()
        shown = np.stack([column[:MAX_ROWS] for column in columns.values()], axis=1)
        tiled, x, y = tile(shown.reshape(-1, *shown.shape[2:]), len(columns))
        ax.imshow(tiled)
        ax.set_xticks(x, list(columns))
        # Names such as "$\frac{$" are text, never formulas.
        ax.set_yticks(y, distinct(self.names[:MAX_ROWS], 28), parse_math=False)
        ax.tick_params(length=0, labelcolor=INK, top=True, labeltop=True, labelbottom=False)
        ax.spines[:].set_visible(False)
        self._draw_scale(ax)
        return self._drawn_on(ax)

    def _draw_scale(self, ax: Axes) -> None:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import ListedColormap, Normalize

        figure = ax.get_figure(root=True)
        if figure is None:
            return
        colors = ListedColormap(heat(np.linspace(0, 1, 256)).tolist())
        mappable = ScalarMappable(Normalize(0, self.top), colors)
        bar = figure.colorbar(mappable, ax=ax, shrink=0.6, aspect=30, pad=0.03, extend="max")
        bar.set_label("anomaly map (nats)", color=INK)
        bar.outline.set_visible(False)
        bar.ax.tick_params(color=GREY, labelcolor=INK)


class LatentGridDisplay(Display):
    """Decoded images on a grid in the latent plane.

    Grid points are quantiles of N(0, I), so that each image covers an equal share of
    it. With more than two latent dimensions, the two most used span the plane and the
    others are zero. Members have separate latent spaces; the first one is shown.

    Parameters
    ----------
    images : ndarray of uint8 of shape (n, n, h, w, 3)
        Decoded images; the first axis is the second dimension, in ascending order.
    values : ndarray of shape (n,)
        Grid values of both dimensions.
    dimensions : tuple of int
        The two dimensions, counted from 0.
    latent_dim : int
        Number of latent dimensions.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        Axes and figure of the last plot.

    Examples
    --------
    >>> blank = np.zeros((2, 2, 8, 8, 3), dtype=np.uint8)
    >>> LatentGridDisplay(blank, np.array([-1.0, 1.0]), (0, 1), 2).values.tolist()
    [-1.0, 1.0]
    """

    def __init__(
        self, images: Rgb, values: Array, dimensions: tuple[int, int], latent_dim: int
    ) -> None:
        self.images = images
        self.values = values
        self.dimensions = dimensions
        self.latent_dim = latent_dim

    @classmethod
    def measure(
        cls,
        decode: Callable[[Array], ArrayLike],
        latent_kl: ArrayLike,
        n: int = 15,
        *,
        values: tuple[float, float] | None = None,
    ) -> Self:
        """Decode the plane on an n x n grid; codes of one dimension make one row.

        `decode` takes codes, (m, latent), and returns images; `latent_kl`, (latent,), is
        the mean KL divergence of each dimension.
        """
        kl = np.asarray(latent_kl)
        used = np.argsort(-kl, kind="stable")[:2]
        first, second = (int(used[0]), int(used[-1])) if len(used) < 2 else sorted(map(int, used))
        at = norm.ppf((np.arange(n) + 0.5) / n)
        rows = at if len(kl) > 1 else np.zeros(1)
        codes = np.zeros((len(rows), n, len(kl)))
        codes[..., second] = rows[:, None]
        codes[..., first] = at
        decoded = np.asarray(decode(codes.reshape(-1, len(kl))))
        low, high = value_range(decoded) if values is None else values
        small = shrink(as_rgb(decoded, low, high), min(THUMBNAIL, MAX_TILED // n))
        return cls(small.reshape(len(rows), n, *small.shape[1:]), at, (first, second), len(kl))

    @classmethod
    def from_estimator(
        cls,
        detector: VAEDetector,
        n: int = 15,
        *,
        values: tuple[float, float] | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Decode the latent plane of the first member and draw it.

        Parameters
        ----------
        detector : VAEDetector
            Fitted on images.
        n : int, default=15
            Number of images along each side.
        values : tuple of float, optional
            Values of black and white; by default `painting.value_range`.
        ax : Axes, optional

        Returns
        -------
        LatentGridDisplay
        """
        decode = partial(detector.decode, member=0)
        return cls.measure(decode, detector.latent_kl_[0], n, values=values).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw on `ax`, or on new axes."""
        ax = own_axes(ax)
        rows, n = self.images.shape[:2]
        upwards = self.images[::-1].reshape(-1, *self.images.shape[2:])
        tiled, x, y = tile(upwards, n)
        ax.imshow(tiled)
        step = max(1, -(-n // 8))
        marked = np.arange((n - 1) % step // 2, n, step)
        text = [f"{v:.1f}".replace("-", "\N{MINUS SIGN}") for v in self.values[marked]]
        ax.set_xticks(x[marked], text)
        if rows == n:
            ax.set_yticks(y[::-1][marked], text)
        else:
            ax.set_yticks([])
        ax.tick_params(length=0, labelcolor=INK)
        ax.spines[:].set_visible(False)
        first, second = self.dimensions
        ax.set_xlabel(f"latent dimension {first + 1}")
        if rows == n:
            ax.set_ylabel(f"latent dimension {second + 1}")
        return self._drawn_on(ax)
