"""Report section of images that are scored by their patches: maps, categories and masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import are, counted
from vae_anomaly.data.image.patches import PatchEncoder
from vae_anomaly.data.image.pixels import ImageShape
from vae_anomaly.displays import ReconstructionDisplay
from vae_anomaly.displays.images import Rgb
from vae_anomaly.displays.painting import as_rgb, shrink, value_range
from vae_anomaly.metrics.confusion import Category, category_metrics
from vae_anomaly.metrics.pixels import PixelArea, RegionOverlap
from vae_anomaly.report.data import Context, Figure, Options, ScoredRecords, Tile
from vae_anomaly.report.formatting import area, legible
from vae_anomaly.report.ranking import most_anomalous
from vae_anomaly.report.sections.image import (
    MAX_CATEGORIES,
    MAX_SKIPPED,
    NO_MASKS,
    ImageContext,
    about_pixels,
    by_names,
    checked_masks,
    image_size,
    mask_metrics,
    mask_tiles,
)
from vae_anomaly.report.sections.image_gallery import (
    MAX_NORMAL,
    Gallery,
    TopImage,
    as_images,
    known_masks,
    main_part,
    maps_of,
)

__all__ = ["SECTION", "MapDisplay", "PatchGallery", "PatchSection"]

Flags = NDArray[np.bool_]

SIDE = 320
"""Longer side of images and maps on the page, in pixels."""


class MapDisplay(ReconstructionDisplay):
    """Images and maps of the scores of their patches, a row for each image."""

    def columns(self) -> dict[str, Rgb]:
        """Return the columns of the display by name, from left to right."""
        return {name: part for name, part in super().columns().items() if name != "reconstruction"}


@dataclass(frozen=True, eq=False)
class PatchGallery(Gallery):
    """Images and the display of their maps."""

    def why(self) -> str:
        """Return where the most anomalous patches of the first image lie."""
        excess = np.maximum(self.display.maps[0], 0.0)
        if not excess.any():
            return ""
        return f"its patches are most anomalous in {main_part(excess**2)[0]}"


@dataclass(frozen=True, eq=False)
class PatchSection:
    """Part of a report on images scored by patches; see `report.data.Section`.

    Attributes
    ----------
    shape : tuple of int
        Height, width and channels.
    source : str
        Network of features.
    grid : tuple of int
        Patches of an image.
    usual : float
        Median score of a patch of the most normal images, in nats: maps begin there.
    most_anomalous, most_normal : PatchGallery or None
        None if no image is to be shown.
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
    template: ClassVar[str] = "_image_patches.html.j2"
    listed: ClassVar[tuple[tuple[str, ...], ...]] = ()
    figure_names: ClassVar[tuple[str, ...]] = ("most_anomalous", "normal")

    shape: ImageShape
    source: str
    grid: tuple[int, int]
    usual: float
    most_anomalous: PatchGallery | None
    most_normal: PatchGallery | None
    categories: tuple[Category, ...]
    n_categories: int
    pixels: PixelArea | None
    regions: RegionOverlap | None
    skipped: tuple[tuple[str, str], ...]
    n_skipped: int

    @classmethod
    def collect(cls, scored: ScoredRecords, options: Options, context: Context) -> Self:
        """Collect the values of the section.

        Raises
        ------
        DataError
            If masks do not match the images.
        """
        if not isinstance(context, ImageContext):
            context = ImageContext(context.categories)
        encoder = cast("PatchEncoder", scored.model.encoder)
        masks = checked_masks(context.masks, scored)
        skipped = iter(context.skipped)
        first = tuple((str(name), str(why)) for name, why in islice(skipped, MAX_SKIPPED))
        categories = by_names(context.categories)
        shown = dict(islice(categories.items(), MAX_CATEGORIES))
        located = NO_MASKS if masks is None else mask_metrics(scored, masks)
        usual, anomalous, normal = _galleries(scored, context.categories, masks, options.top)
        return cls(
            shape=encoder.shape,
            source=encoder.source,
            grid=encoder.grid,
            usual=usual,
            most_anomalous=anomalous,
            most_normal=normal,
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

    @property
    def settings(self) -> tuple[tuple[str, str], ...]:
        """Images, and the network of features."""
        height, width = self.grid
        return (
            ("images", self.size),
            ("features", legible(self.source, 80)),
            ("patches", f"{height} × {width}"),
        )

    def figures(self) -> dict[str, Figure]:
        """Return the galleries."""
        shown = (("most_anomalous", self.most_anomalous), ("normal", self.most_normal))
        return {
            name: Figure(gallery.display.plot, gallery.figure_size(), is_inline=False)
            for name, gallery in shown
            if gallery is not None
        }

    def why(self) -> str:
        """Return where the most anomalous image is anomalous."""
        return "" if self.most_anomalous is None else self.most_anomalous.why()

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
            sentences.append(about_pixels(self.pixels, self.regions))
        if self.n_skipped:
            sentences.append(
                f"{counted(self.n_skipped, 'file')} could not be used and {are(self.n_skipped)} "
                f"listed at the end."
            )
        return sentences

    def tiles(self) -> list[Tile]:
        """Return the pixel AUROC and the overlap of regions."""
        return mask_tiles(self.pixels, self.regions)


SECTION = PatchSection


def _galleries(
    scored: ScoredRecords,
    categories: Sequence[str] | None,
    masks: Sequence[Flags | None] | None,
    top: int,
) -> tuple[float, PatchGallery | None, PatchGallery | None]:
    """Return the usual score of a patch, and the most anomalous and the most normal images."""
    anomalous = most_anomalous(scored.scores, top)
    if not len(anomalous):
        return 0.0, None, None
    normal = np.argsort(scored.scores, kind="stable")[: min(MAX_NORMAL, len(anomalous))]
    usual = float(np.median(maps_of(scored.model, scored.records[normal]).pixels))
    first = _gallery(scored, anomalous, categories, usual, known_masks(masks, anomalous))
    scale = first.display.top
    return usual, first, _gallery(scored, normal, categories, usual, None, scale)


def _gallery(
    scored: ScoredRecords,
    rows: NDArray[np.intp],
    categories: Sequence[str] | None,
    usual: float,
    masks: Flags | None,
    scale: float | None = None,
) -> PatchGallery:
    model, records = scored.model, scored.records
    images = as_images(model, records[rows])
    maps = np.maximum(maps_of(model, records[rows]).pixels - usual, 0.0)
    rgb = as_rgb(images, *value_range(records))
    display = MapDisplay(
        shrink(rgb, SIDE),
        shrink(rgb, SIDE),
        shrink(maps, SIDE),
        names=[str(scored.keys[row]) for row in rows],
        masks=None if masks is None else shrink(masks.astype(np.float64), SIDE) >= 0.5,
        top=float(maps.max()) if scale is None else scale,
    )
    shown = tuple(
        TopImage(
            **vars(scored.ranked(row)),
            category=None if categories is None else str(categories[row]),
            reconstruction=float(scored.scores[row]),
            kl=0.0,
        )
        for row in rows
    )
    return PatchGallery(shown, display)
