"""Report section of images that are scored by their patches: maps, categories and masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.data.image.patches import PatchEncoder
from vae_anomaly.displays import ReconstructionDisplay
from vae_anomaly.displays.images import Rgb
from vae_anomaly.displays.painting import as_rgb, shrink, value_range
from vae_anomaly.model.patches import PatchModel
from vae_anomaly.report.data import Context, Figure, Options, ScoredRecords
from vae_anomaly.report.formatting import legible
from vae_anomaly.report.ranking import most_anomalous
from vae_anomaly.report.sections.image_gallery import (
    MAX_NORMAL,
    Gallery,
    TopImage,
    as_images,
    known_masks,
    main_part,
)
from vae_anomaly.report.sections.image_results import ImageContext, ImageResults, checked_masks

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
        return f"its patches are most anomalous in {main_part(excess**2)}"


@dataclass(frozen=True, eq=False)
class PatchSection(ImageResults):
    """Part of a report on images scored by patches; see `report.data.Section`.

    Attributes
    ----------
    source : str
        Network of features.
    grid : tuple of int
        Patches of an image.
    is_mean : bool
        Whether maps are the mean of the distance and of minus the ELBO.
    usual : float
        Median score of a patch of the most normal images, in nats: maps begin there.
    most_anomalous, most_normal : PatchGallery or None
        None if no image is to be shown.
    """

    template: ClassVar[str] = "_image_patches.html.j2"
    figure_names: ClassVar[tuple[str, ...]] = ("most_anomalous", "normal")

    source: str
    grid: tuple[int, int]
    is_mean: bool
    usual: float
    most_anomalous: PatchGallery | None
    most_normal: PatchGallery | None

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
        model = cast("PatchModel", scored.model)
        encoder = cast("PatchEncoder", model.encoder)
        masks = checked_masks(context.masks, scored)
        usual, anomalous, normal = _galleries(scored, context.categories, masks, options.top)
        return cls(
            **vars(ImageResults.of(scored, context, masks)),
            source=encoder.source,
            grid=encoder.grid,
            is_mean=len(model.map_scores) > 1,
            usual=usual,
            most_anomalous=anomalous,
            most_normal=normal,
        )

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
    usual = float(np.median(scored.model.anomaly_maps(scored.records[normal])))
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
    maps = np.maximum(model.anomaly_maps(records[rows]) - usual, 0.0)
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
