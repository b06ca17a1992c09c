"""What reports show of images, whatever scores them: categories, masks and skipped files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_anomaly._text import are, counted
from vae_anomaly.data.image.pixels import ImageShape
from vae_anomaly.displays.data import by_category
from vae_anomaly.estimator import VAEDetector
from vae_anomaly.exceptions import DataError
from vae_anomaly.metrics.confusion import Category, category_metrics
from vae_anomaly.metrics.pixels import PixelArea, RegionOverlap, pixel_area, region_overlap
from vae_anomaly.model.model import Model
from vae_anomaly.report.data import Context, ScoredRecords, Tile
from vae_anomaly.report.formatting import area, legible, percent
from vae_anomaly.report.sections.image_gallery import encoder_of

__all__ = ["ImageContext", "ImageResults", "checked_masks"]

Flags = NDArray[np.bool_]
Masks = Sequence[Flags | None] | Flags

MAX_SKIPPED, MAX_CATEGORIES = 100, 50
CHUNK_CELLS = 2**22
"""Numbers in the images whose maps are computed at once."""


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
class ImageResults:
    """Results of images that need no more than their scores, maps and labels.

    Attributes
    ----------
    shape : tuple of int
        Height, width and channels.
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
    """

    context: ClassVar[type[Context]] = ImageContext
    listed: ClassVar[tuple[tuple[str, ...], ...]] = ()

    shape: ImageShape
    categories: tuple[Category, ...]
    n_categories: int
    pixels: PixelArea | None
    regions: RegionOverlap | None
    skipped: tuple[tuple[str, str], ...]
    n_skipped: int

    @classmethod
    def of(
        cls, scored: ScoredRecords, context: ImageContext, masks: Sequence[Flags | None] | None
    ) -> ImageResults:
        """Measure scores by category, and maps against masks."""
        skipped = iter(context.skipped)
        first = tuple((str(name), str(why)) for name, why in islice(skipped, MAX_SKIPPED))
        categories = _by_names(context.categories)
        shown = dict(islice(categories.items(), MAX_CATEGORIES))
        located = _NO_MASKS if masks is None else _mask_metrics(scored, masks)
        return ImageResults(
            shape=encoder_of(scored.model).shape,
            categories=category_metrics(scored.scores, scored.flagged, scored.labels, shown),
            n_categories=len(categories),
            pixels=located.pixels,
            regions=located.regions,
            skipped=first,
            n_skipped=len(first) + sum(1 for _ in skipped),
        )

    @property
    def size(self) -> str:
        """Size of an image."""
        return image_size(self.shape)

    @property
    def content(self) -> str:
        """Name of the data that the page shows."""
        return "images"

    def sentences(self) -> list[str]:
        """Return the hardest category, what maps have in common with masks, and skipped files."""
        sentences = []
        compared = [category for category in self.categories if category.auroc is not None]
        if len(compared) > 1 and compared[0].auroc is not None:
            sentences.append(
                f"Of {len(compared):,} categories of anomalies, “{legible(compared[0].name, 40)}” "
                f"is the hardest to separate from normal images: an AUROC of "
                f"{area(compared[0].auroc)}."
            )
        if self.pixels is not None:
            sentences.append(_about_pixels(self.pixels, self.regions))
        sentences += self.further_sentences()
        if self.n_skipped:
            sentences.append(
                f"{counted(self.n_skipped, 'file')} could not be used and {are(self.n_skipped)} "
                f"listed at the end."
            )
        return sentences

    def further_sentences(self) -> list[str]:
        """Return what else the summary says of a section."""
        return []

    def tiles(self) -> list[Tile]:
        """Return the pixel AUROC and the overlap of regions."""
        tiles = []
        if self.pixels is not None:
            tiles.append(Tile(f"{self.pixels.value:.3f}", "pixel AUROC", "against masks"))
        if self.regions is not None:
            to = f"to {percent(self.regions.max_rate)} false"
            tiles.append(Tile(f"{self.regions.value:.3f}", "PRO", to))
        return tiles


def image_size(shape: ImageShape) -> str:
    """Return the size of an image: height, width and colour.

    Examples
    --------
    >>> image_size((28, 32, 1)), image_size((64, 64, 3))
    ('28 × 32 pixels, grey', '64 × 64 pixels, colour')
    """
    height, width, channels = shape
    colour = {1: "grey", 3: "colour"}.get(channels, f"{channels:,} channels")
    return f"{height:,} × {width:,} pixels, {colour}"


def _about_pixels(pixels: PixelArea, regions: RegionOverlap | None) -> str:
    """Return a sentence on pixel AUROC and overlap of regions."""
    used, total = pixels.n_used, pixels.n_pixels
    of = f"{used:,} pixels" if used == total else f"{used:,} of {total:,} pixels, drawn evenly"
    return (
        f"The chance that a masked pixel is higher in its map than an unmasked one is "
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


def _by_names(categories: Sequence[str] | None) -> dict[str, Flags]:
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


class _MaskMetrics(NamedTuple):
    """What anomaly maps have in common with masks."""

    pixels: PixelArea | None
    regions: RegionOverlap | None


_NO_MASKS = _MaskMetrics(None, None)


def _mask_metrics(scored: ScoredRecords, masks: Sequence[Flags | None]) -> _MaskMetrics:
    """Compare the maps with the masks that are known."""
    n, labels = len(scored.scores), scored.labels
    normal = np.zeros(n, dtype=bool) if labels is None else ~labels
    rows = np.array([i for i in range(n) if masks[i] is not None or normal[i]], dtype=int)
    blank = np.zeros(encoder_of(scored.model).shape[:2], dtype=bool)
    known = [blank if (mask := masks[row]) is None else mask for row in rows]
    maps = list(_maps(scored, rows))
    return _MaskMetrics(pixel_area(maps, known), region_overlap(maps, known))


def _maps(scored: ScoredRecords, rows: NDArray[np.int_]) -> Iterator[NDArray[np.float32]]:
    """Yield the anomaly maps of some images."""
    chunk = max(1, CHUNK_CELLS // scored.model.encoder.outline.n_features)
    for start in range(0, len(rows), chunk):
        maps = scored.model.anomaly_maps(scored.records[rows[start : start + chunk]])
        yield from maps.astype(np.float32)
