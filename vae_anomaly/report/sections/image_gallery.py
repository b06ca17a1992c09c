"""Galleries of images with their reconstructions and anomaly maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import Records
from vae_anomaly.data.image.encoder import ImageEncoder
from vae_anomaly.displays import ReconstructionDisplay
from vae_anomaly.displays.images import MAX_ROWS
from vae_anomaly.displays.painting import heat, value_range
from vae_anomaly.model.model import Model
from vae_anomaly.report.data import RankedRecord, ScoredRecords
from vae_anomaly.report.figures import embedded_thumbnail
from vae_anomaly.report.formatting import percent
from vae_anomaly.report.ranking import most_anomalous

__all__ = [
    "Gallery",
    "TopImage",
    "as_images",
    "encoder_of",
    "galleries",
    "known_masks",
    "main_part",
]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

MAX_NORMAL = 6
SCALE_PIXELS = 48


@dataclass(frozen=True)
class TopImage(RankedRecord):
    """One of the most anomalous or most normal images.

    Attributes
    ----------
    category : str or None
    reconstruction, kl : float
        Contributions of its pixels and of its latent code, in nats.
    """

    category: str | None
    reconstruction: float
    kl: float


class Thumbnail(NamedTuple):
    """A thumbnail and its address as data."""

    name: str
    src: str


@dataclass(frozen=True, eq=False)
class Gallery:
    """Images and the display of their thumbnails."""

    images: tuple[TopImage, ...]
    display: ReconstructionDisplay

    @cached_property
    def thumbnails(self) -> list[list[Thumbnail]]:
        """What stands side by side in the card of each image."""
        columns = self.display.columns()
        return [
            [Thumbnail(name, embedded_thumbnail(column[i])) for name, column in columns.items()]
            for i in range(len(self.images))
        ]

    def why(self) -> str:
        """Return what the score of the first image is made of, and where the image is unusual."""
        first, nats = self.images[0], np.maximum(self.display.maps[0], 0.0)
        if first.score <= 0 or not nats.any():
            return ""
        pixels = percent(round(min(max(first.reconstruction / first.score, 0.0), 1.0), 2))
        return f"{pixels} of its score belongs to pixels, most anomalous in {main_part(nats**2)}"

    def scale(self) -> str:
        """Return the colour scale of the anomaly maps, as data."""
        strip = (255 * heat(np.linspace(0, 1, SCALE_PIXELS))).round().astype(np.uint8)
        return embedded_thumbnail(strip[None])

    def figure_size(self) -> tuple[float, float]:
        """Return the size of the figure, in inches."""
        images = self.display.images
        n, height, width = min(len(images), MAX_ROWS), *images.shape[1:3]
        across = 1.5 * len(self.display.columns())
        return across + 2.8, max(2.5, 0.6 + n * 1.5 * height / width)


def main_part(nats: Array) -> str:
    """Return which ninth of an image has most of its map.

    Parameters
    ----------
    nats : ndarray of shape (height, width)
        Not negative.

    Examples
    --------
    >>> corner = np.zeros((6, 6))
    >>> corner[5, 0] = 2.0
    >>> main_part(corner)
    'the lower left'
    """
    rows, columns = (np.arange(n) * 3 // n for n in nats.shape)
    parts = np.zeros((3, 3))
    np.add.at(parts, (rows[:, None], columns[None]), nats)
    row, column = np.unravel_index(int(parts.argmax()), parts.shape)
    words = (("upper", "middle", "lower")[row], ("left", "", "right")[column])
    name = {"middle ": "centre", "middle left": "left", "middle right": "right"}
    text = " ".join(words)
    return f"the {name.get(text, text if words[1] else f'{words[0]} middle')}"


def encoder_of(model: Model) -> ImageEncoder:
    """Return the encoder of a model of images."""
    return cast("ImageEncoder", model.encoder)


def as_images(model: Model, records: Records) -> Records:
    """Return records as images: (n, height, width[, channels])."""
    return records if records.ndim > 2 else records.reshape(-1, *encoder_of(model).shape)


def galleries(
    scored: ScoredRecords,
    categories: Sequence[str] | None,
    masks: Sequence[Flags | None] | None,
    top: int,
) -> tuple[Gallery | None, Gallery | None]:
    """Return the most anomalous and the most normal images, on one scale of colours."""
    anomalous = most_anomalous(scored.scores, top)
    if not len(anomalous):
        return None, None
    first = _gallery(scored, anomalous, categories, masks=known_masks(masks, anomalous))
    normal = np.argsort(scored.scores, kind="stable")[: min(MAX_NORMAL, len(anomalous))]
    return first, _gallery(scored, normal, categories, scale=first.display.top)


def _gallery(
    scored: ScoredRecords,
    rows: NDArray[np.intp],
    categories: Sequence[str] | None,
    *,
    masks: Flags | None = None,
    scale: float | None = None,
) -> Gallery:
    model, records = scored.model, scored.records
    shown = records[rows]
    pixels, code = model.contribution_maps(shown)
    display = ReconstructionDisplay.measure(
        as_images(model, shown),
        as_images(model, model.reconstruct(shown, like=shown)),
        model.anomaly_maps(shown),
        names=[str(scored.keys[row]) for row in rows],
        masks=masks,
        values=value_range(records),
        top=scale,
    )
    images = tuple(
        TopImage(
            **vars(scored.ranked(row)),
            category=None if categories is None else str(categories[row]),
            reconstruction=float(nats.sum()),
            kl=float(rest),
        )
        for row, nats, rest in zip(rows, pixels, code, strict=True)
    )
    return Gallery(images, display)


def known_masks(masks: Sequence[Flags | None] | None, rows: NDArray[np.intp]) -> Flags | None:
    """Return the masks of some images, empty where unknown; None if all are unknown."""
    shown = [] if masks is None else [masks[row] for row in rows]
    known = [mask for mask in shown if mask is not None]
    if not known:
        return None
    return np.stack([np.zeros_like(known[0]) if mask is None else mask for mask in shown])
