"""Report section of images: galleries, categories, masks, and images that the model generates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_anomaly._text import are, counted
from vae_anomaly.data.image.pixels import ImageShape
from vae_anomaly.displays import ImageGridDisplay, LatentGridDisplay
from vae_anomaly.displays.data import by_category
from vae_anomaly.estimator import VAEDetector
from vae_anomaly.exceptions import DataError
from vae_anomaly.metrics.confusion import Category, category_metrics
from vae_anomaly.metrics.pixels import PixelArea, RegionOverlap, pixel_area, region_overlap
from vae_anomaly.model.model import Model
from vae_anomaly.networks.spec import NetworkSpec
from vae_anomaly.report.data import Context, Figure, Options, ScoredRecords, Tile
from vae_anomaly.report.figures import PLANE, WIDE
from vae_anomaly.report.formatting import area, legible, number, percent
from vae_anomaly.report.sections.image_gallery import Gallery, encoder_of, galleries, maps_of
from vae_anomaly.report.sections.image_generation import (
    LatentComparison,
    compare,
    interpolate,
    latent_grid,
    sample,
)

__all__ = ["MAX_CATEGORIES", "MAX_SKIPPED", "NO_MASKS", "SECTION", "ImageContext", "ImageSection"]
__all__ += ["MaskMetrics", "about_pixels", "by_names", "checked_masks", "image_size"]
__all__ += ["mask_metrics", "mask_tiles"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Masks = Sequence[Flags | None] | Flags

MAX_SKIPPED, MAX_CATEGORIES = 100, 50
CHUNK_CELLS = 2**22
"""Numbers in the images whose contributions are held at once."""


@dataclass(frozen=True)
class ImageContext(Context):
    """Facts about images that are not in their pixels.

    Attributes
    ----------
    categories : sequence of str of shape (n,), optional
        Content of each image, such as "good" or "scratch".
    masks : sequence of shape (n,) of ndarray of bool of shape (height, width), optional
        True where a pixel is anomalous, at the size of the model. None means an empty
        mask for a normal image, and an unknown one for another.
    skipped : iterable of (str, str)
        Files that were left out, and the reasons. 100 are shown, all are counted.
    comparison_model : Model or VAEDetector, optional
        Fitted like the model except for `beta`: its latent codes are shown as well.
    """

    masks: Masks | None = None
    skipped: Iterable[tuple[str, str]] = ()
    comparison_model: Model | VAEDetector | None = None


@dataclass(frozen=True, eq=False)
class ImageSection:
    """Part of a report on images; see `report.data.Section`.

    Attributes
    ----------
    shape : tuple of int
        Height, width and channels.
    network : str
        Description of the networks.
    smoothing : float
        In pixels.
    n_members : int
        Each has a latent space of its own: the two below are of the first.
    most_anomalous, most_normal : Gallery or None
        None if no image is to be shown.
    latent_grid : LatentGridDisplay
    samples : ImageGridDisplay
    interpolation : ImageGridDisplay or None
        From one normal image to another, both at the ends.
    categories : tuple of Category
    n_categories : int
        Number of all categories; `categories` may hold the first of them.
    pixels : PixelArea or None
    regions : RegionOverlap or None
        None without masks.
    skipped : tuple of (str, str)
        Files that were left out, and the reasons.
    n_skipped : int
        Number of all files that were left out; `skipped` may hold the first of them.
    comparison : LatentComparison or None
    """

    context: ClassVar[type[Context]] = ImageContext
    template: ClassVar[str] = "_image.html.j2"
    listed: ClassVar[tuple[tuple[str, ...], ...]] = ()
    figure_names: ClassVar[tuple[str, ...]] = (
        *("most_anomalous", "normal", "latent_grid", "samples", "interpolation"),
        *("latent_compared", "latent_grid_compared"),
    )

    shape: ImageShape
    network: str
    smoothing: float
    n_members: int
    most_anomalous: Gallery | None
    most_normal: Gallery | None
    latent_grid: LatentGridDisplay
    samples: ImageGridDisplay
    interpolation: ImageGridDisplay | None
    categories: tuple[Category, ...]
    n_categories: int
    pixels: PixelArea | None
    regions: RegionOverlap | None
    skipped: tuple[tuple[str, str], ...]
    n_skipped: int
    comparison: LatentComparison | None

    @classmethod
    def collect(cls, scored: ScoredRecords, options: Options, context: Context) -> Self:
        """Collect the values of the section.

        Raises
        ------
        DataError
            If masks do not match the images, or the comparison model is of another
            shape.
        """
        if not isinstance(context, ImageContext):
            context = ImageContext(context.categories)
        model, masks = scored.model, checked_masks(context.masks, scored)
        encoder, spec = encoder_of(model), model.network.spec
        anomalous, normal = galleries(scored, context.categories, masks, options.top)
        skipped = iter(context.skipped)
        first = tuple((str(name), str(why)) for name, why in islice(skipped, MAX_SKIPPED))
        categories = by_names(context.categories)
        shown = dict(islice(categories.items(), MAX_CATEGORIES))
        other = context.comparison_model
        located = NO_MASKS if masks is None else mask_metrics(scored, masks)
        return cls(
            shape=encoder.shape,
            network=_network(spec),
            smoothing=encoder.smoothing,
            n_members=spec.members,
            most_anomalous=anomalous,
            most_normal=normal,
            latent_grid=latent_grid(model, scored.records),
            samples=sample(model, scored.records),
            interpolation=interpolate(scored),
            categories=category_metrics(scored.scores, scored.flagged, scored.labels, shown),
            n_categories=len(categories),
            pixels=located.pixels,
            regions=located.regions,
            skipped=first,
            n_skipped=len(first) + sum(1 for _ in skipped),
            comparison=None if other is None else compare(scored, other, context.categories),
        )

    @property
    def size(self) -> str:
        """Size of an image."""
        return image_size(self.shape)

    @property
    def content(self) -> str:
        """Name of the data that the page shows."""
        return "images"

    @property
    def settings(self) -> tuple[tuple[str, str], ...]:
        """Networks and preprocessing."""
        return (
            ("network", self.network),
            ("images", self.size),
            ("smoothing", f"{self.smoothing:.2g} pixels"),
        )

    def figures(self) -> dict[str, Figure]:
        """Return galleries, generated images and the codes of the comparison model."""
        drawn = {
            "latent_grid": Figure(self.latent_grid.plot, PLANE),
            "samples": Figure(self.samples.plot, _grid_size(self.samples)),
        }
        for name, gallery in (
            ("most_anomalous", self.most_anomalous),
            ("normal", self.most_normal),
        ):
            if gallery is not None:
                size = gallery.figure_size()
                drawn[name] = Figure(gallery.display.plot, size, is_inline=False)
        if self.interpolation is not None:
            size = _grid_size(self.interpolation)
            drawn["interpolation"] = Figure(self.interpolation.plot, size)
        if self.comparison is not None:
            drawn["latent_compared"] = Figure(self.comparison.latent.plot, PLANE)
            drawn["latent_grid_compared"] = Figure(self.comparison.latent_grid.plot, PLANE)
        return drawn

    def why(self) -> str:
        """Return what the score of the most anomalous image is made of, and where."""
        return "" if self.most_anomalous is None else self.most_anomalous.why()

    def sentences(self) -> list[str]:
        """Return the hardest category, the pixel AUROC, the comparison and skipped files."""
        sentences = []
        compared = [category for category in self.categories if category.auroc is not None]
        if len(compared) > 1 and compared[0].auroc is not None:
            sentences.append(
                f"Of {len(compared):,} categories of anomalies, “{legible(compared[0].name, 40)}” "
                f"is the hardest to separate from normal images: an AUROC of "
                f"{area(compared[0].auroc)}."
            )
        if self.pixels is not None:
            sentences.append(about_pixels(self.pixels, self.regions))
        if self.comparison is not None:
            sentences.append(_about_prior(self.comparison))
        if self.n_skipped:
            sentences.append(
                f"{counted(self.n_skipped, 'file')} could not be used and {are(self.n_skipped)} "
                f"listed at the end."
            )
        return sentences

    def tiles(self) -> list[Tile]:
        """Return the pixel AUROC and the overlap of regions."""
        return mask_tiles(self.pixels, self.regions)


SECTION = ImageSection


def image_size(shape: ImageShape) -> str:
    """Return the size of an image: width, height and colour.

    Examples
    --------
    >>> image_size((28, 32, 1)), image_size((64, 64, 3))
    ('32 × 28 pixels, grey', '64 × 64 pixels, colour')
    """
    height, width, channels = shape
    colour = {1: "grey", 3: "colour"}.get(channels, f"{channels:,} channels")
    return f"{width:,} × {height:,} pixels, {colour}"


def _network(spec: NetworkSpec) -> str:
    if spec.custom is not None:
        return "custom Keras models"
    if spec.grid is None:
        return "dense"
    return "convolutional, batch-normalised" if spec.batch_norm else "convolutional"


def _grid_size(shown: ImageGridDisplay) -> tuple[float, float]:
    """Return the size of a figure as wide as the page, in the proportions of its images."""
    n, height, width, _ = shown.images.shape
    columns = min(shown.columns, n)
    return WIDE[0], max(0.5, -(-n // columns) * height * WIDE[0] / (columns * width))


def mask_tiles(pixels: PixelArea | None, regions: RegionOverlap | None) -> list[Tile]:
    """Return what maps have in common with masks."""
    tiles = []
    if pixels is not None:
        tiles.append(Tile(f"{pixels.value:.3f}", "pixel AUROC", "against masks"))
    if regions is not None:
        tiles.append(Tile(f"{regions.value:.3f}", "PRO", f"to {percent(regions.max_rate)} false"))
    return tiles


def about_pixels(pixels: PixelArea, regions: RegionOverlap | None) -> str:
    """Return a sentence on pixel AUROC and overlap of regions."""
    used, total = pixels.n_used, pixels.n_pixels
    of = f"{used:,} pixels" if used == total else f"{used:,} of {total:,} pixels, drawn evenly"
    return (
        f"The chance that a masked pixel adds more to its score than an unmasked one is "
        f"{pixels.value:.3f}: the pixel AUROC, of {of} from {counted(pixels.n_maps, 'image')}. "
        f"Pixels of an image depend on each other, so no interval is given.{_about(regions)}"
    )


def _about(regions: RegionOverlap | None) -> str:
    if regions is None:
        return ""
    return (
        f" The overlap with the {counted(regions.n_regions, 'region')} of the masks, PRO, is "
        f"{regions.value:.3f} up to a share of {percent(regions.max_rate)} false pixels."
    )


def _about_prior(compared: LatentComparison) -> str:
    own, other = compared.own, compared.other
    return (
        f"The energy distance of the latent codes from N(0, I) is "
        f"{number(own.energy, 3)} with the KL weight of {number(own.beta)} (beta), and "
        f"{number(other.energy, 3)} for the same network trained with {number(other.beta)}: zero "
        f"would be no difference."
    )


def by_names(categories: Sequence[str] | None) -> dict[str, Flags]:
    """Return which images are of each category, the most frequent first."""
    return {} if categories is None else by_category([str(name) for name in categories])


def checked_masks(masks: Masks | None, scored: ScoredRecords) -> list[Flags | None] | None:
    """Return masks as arrays of the size of the images."""
    if masks is None:
        return None
    n, size = len(scored.scores), encoder_of(scored.model).shape[:2]
    if len(masks) != n:
        raise DataError(
            f"masks must have one entry for each of the {n} images. Got {len(masks)} instead."
        )
    return [None if mask is None else _checked_mask(mask, size) for mask in masks]


def _checked_mask(mask: ArrayLike, size: tuple[int, int]) -> Flags:
    array = np.asarray(mask, dtype=bool)
    if array.shape != tuple(size):
        raise DataError(
            f"masks must have the size of the images, {size[0]} x {size[1]}. "
            f"Got shape {array.shape} instead."
        )
    return array


class MaskMetrics(NamedTuple):
    """What contribution maps have in common with masks."""

    pixels: PixelArea | None
    regions: RegionOverlap | None


NO_MASKS = MaskMetrics(None, None)


def mask_metrics(scored: ScoredRecords, masks: Sequence[Flags | None]) -> MaskMetrics:
    """Compare the contributions with the masks that are known."""
    n, labels = len(scored.scores), scored.labels
    normal = np.zeros(n, dtype=bool) if labels is None else ~labels
    rows = np.array([i for i in range(n) if masks[i] is not None or normal[i]], dtype=int)
    blank = np.zeros(encoder_of(scored.model).shape[:2], dtype=bool)
    known = [blank if (mask := masks[row]) is None else mask for row in rows]
    maps = list(_maps(scored, rows))
    return MaskMetrics(pixel_area(maps, known), region_overlap(maps, known))


def _maps(scored: ScoredRecords, rows: NDArray[np.int_]) -> Iterator[NDArray[np.float32]]:
    """Yield the contribution maps of some images."""
    chunk = max(1, CHUNK_CELLS // scored.model.encoder.outline.n_features)
    for start in range(0, len(rows), chunk):
        maps = maps_of(scored.model, scored.records[rows[start : start + chunk]]).pixels
        yield from maps.astype(np.float32)
