"""Readers of images: files in a folder, or an array in a file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.data.image.array_labels import ArrayLabels
from vae_anomaly.data.image.decoder import Decoded, ImageError
from vae_anomaly.data.image.layout import Layout
from vae_anomaly.exceptions import DataError

__all__ = ["MAX_BATCH_IMAGES", "ImageReader", "ReadResult", "Survey", "images_per_batch"]

MAX_BATCH_IMAGES = 256
MAX_BATCH_BYTES = 2**24

SURVEY_IMAGES = 64
SURVEY_LAYOUT = Layout(64, 64, 3)

ReadResult = Decoded | ImageError
"""An image, or why it is not readable."""


class Survey(NamedTuple):
    """Size and colours of a sample of images."""

    median_size: tuple[int, int]  # height, width
    grey: bool  # whether all are


class ImageReader(ABC):
    """Images in order, each with a name.

    Attributes
    ----------
    name : str
        Name of all of them in messages.
    names : sequence of str
        Paths inside a folder, or numbers from 1.
    notes : tuple of str
        Facts about what was left out.
    """

    name: str
    names: Sequence[str]
    notes: tuple[str, ...] = ()

    @property
    def categories(self) -> list[str] | None:
        """Subfolder or label of each image, "" where there is none; None if all have none.

        Raises
        ------
        DataError
            If the labels of an array do not belong to its images, or are damaged.
        """
        return None

    @property
    def array_labels(self) -> ArrayLabels | None:
        """Origin of the categories, if they are labels of an array or from a file."""
        return None

    @abstractmethod
    def read(self, positions: Sequence[int], layout: Layout) -> Generator[ReadResult]:
        """Yield the images at ascending positions, or the error for one that is not readable.

        Raises
        ------
        DataError
            If an array is damaged.
        """

    def survey(self) -> Survey:
        """Read a sample of the images, once.

        Raises
        ------
        DataError
            If none of them is readable.
        """
        return self._survey

    @cached_property
    def _survey(self) -> Survey:
        count = min(SURVEY_IMAGES, len(self.names))
        results = list(self.read(self._sample_positions(count), SURVEY_LAYOUT))
        images = [result for result in results if isinstance(result, Decoded)]
        if not images:
            raise DataError(
                f"{self.name}: none of {count} images can be read. The first: {results[0]}"
            )
        height, width = np.median([image.size for image in images], axis=0)
        grey = all((image.pixels == image.pixels[:, :, :1]).all() for image in images)
        return Survey((int(height), int(width)), grey)

    def _sample_positions(self, count: int) -> Sequence[int]:
        return [int(i) for i in np.linspace(0, len(self.names) - 1, count)]

    @property
    def has_masks(self) -> bool:
        """Whether there are images that mark defects."""
        return False

    def mask(self, position: int, layout: Layout) -> NDArray[np.bool_] | None:
        """Read the mask of an image, true where it is defective; None if there is none.

        Raises
        ------
        ImageError
            If the mask is not readable.
        """
        return None


def images_per_batch(layout: Layout) -> int:
    """Return the number of images in a batch: fewer where they are large."""
    size = layout.height * layout.width * layout.channels
    return max(1, min(MAX_BATCH_IMAGES, MAX_BATCH_BYTES // size))
