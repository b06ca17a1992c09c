"""The size and colours that images are brought to, and what their labels mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import listed, shown
from vae_anomaly.data.image.decoder import RESIZES, Layout
from vae_anomaly.data.image.source import NORMAL_FOLDERS, ImageSource
from vae_anomaly.exceptions import DataError, ParameterError

__all__ = ["ImageSchema", "MAX_LONGER_SIDE", "MAX_SIDE", "anomalous_folders"]

MAX_LONGER_SIDE = 32
"""Of the images that a detector sees, unless somebody says otherwise."""


MAX_SIDE = 2048


@dataclass(frozen=True)
class ImageSchema(Layout):
    """What every image is turned into before a detector sees it; kept in the model file.

    Attributes
    ----------
    height, width : int
        Pixels.
    channels : {1, 3}
        Grey, or red, green and blue.
    resize : {"stretch", "letterbox"}
        Letterboxing keeps the proportions and fills the rest with mid grey.

    Examples
    --------
    >>> print(ImageSchema(48, 64, 3))
    48 x 64 pixels, colour, stretched
    """

    @classmethod
    def measure(
        cls,
        source: ImageSource,
        image_size: int | tuple[int, int] | None = None,
        resize: str = "stretch",
    ) -> ImageSchema:
        """Choose a size for the images of a source, and whether colour matters.

        Parameters
        ----------
        source : ImageSource
        image_size : int, (height, width) or None, default=None
            An int makes a square. None is the median size of the images,
            made smaller where the longer side is above 32.
        resize : {"stretch", "letterbox"}, default="stretch"

        Returns
        -------
        ImageSchema
            Grey if every image of a sample is.

        Raises
        ------
        DataError
            If no image of the sample can be read.
        ParameterError
            If the size or the way of resizing makes no sense.
        """
        if resize not in RESIZES:
            raise ParameterError(f"resize must be one of {', '.join(RESIZES)}. Got {resize!r}.")
        (height, width), grey = source.look()
        if image_size is None:
            scale = min(1.0, MAX_LONGER_SIDE / max(height, width))
            image_size = (max(1, round(scale * height)), max(1, round(scale * width)))
        elif isinstance(image_size, int):
            image_size = (image_size, image_size)
        if not all(1 <= side <= MAX_SIDE for side in image_size):
            raise ParameterError(f"image_size must be 1 to {MAX_SIDE} pixels. Got {image_size}.")
        return cls(*image_size, 1 if grey else 3, resize)

    def __str__(self) -> str:
        colours = "grey" if self.channels == 1 else "colour"
        way = "stretched" if self.resize == "stretch" else "letterboxed"
        return f"{self.height} x {self.width} pixels, {colours}, {way}"

    def read(
        self, source: ImageSource, update: Callable[[int], None] | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Read all images of a source into memory.

        Parameters
        ----------
        source : ImageSource
        update : callable, optional
            Told how many images are done.

        Returns
        -------
        pixels : ndarray of uint8, shape (n, height, width, channels)
        positions : ndarray of int
            Of these images in the source; the others could not be read.
        """
        pixels = np.empty((len(source), self.height, self.width, self.channels), np.uint8)
        positions = np.empty(len(source), np.int64)
        count = 0
        for batch in source.batches(self):
            here = slice(count, count + len(batch.pixels))
            pixels[here], positions[here] = batch.pixels, batch.positions
            count = here.stop
            if update is not None:
                update(batch.stop)
        return pixels[:count], positions[:count]


def anomalous_folders(
    source: ImageSource, *, normal: Sequence[str] = ()
) -> NDArray[np.bool_] | None:
    """Tell from its subfolder, or the label in an array, whether an image is an anomaly.

    Parameters
    ----------
    source : ImageSource
    normal : sequence of str
        Subfolders or labels of normal images, in this case; by default
        `NORMAL_FOLDERS`, in any case, and 0 or False where an archive of
        arrays has labels 0 and 1 or booleans.

    Returns
    -------
    ndarray of bool or None
        For each image of the source; None if no subfolder or label is a normal one.

    Raises
    ------
    DataError
        If `normal` matches none, some images are in no subfolder, or labels
        do not belong to the images.
    """
    kinds, labels = source.kinds or [], source.labels
    known = labels.normal if labels is not None else ()
    is_normal = [
        kind in (normal or known) if normal or known else kind.casefold() in NORMAL_FOLDERS
        for kind in kinds
    ]
    if not any(is_normal) and normal:
        there = listed(sorted(set(kinds)))
        if labels is not None:
            raise DataError(
                f"{labels.origin}: no image has the normal label {listed(list(normal))}. The "
                f"labels are {there}."
            )
        raise DataError(
            f"{source.name}: no subfolder with images is called {listed(list(normal))}. "
            f"{f'Its subfolders are {there}.' if kinds else 'It has none.'}"
        )
    if not any(is_normal) and not known:
        return None
    if "" in kinds and labels is not None:
        raise DataError(
            f"{labels.origin}: image {kinds.index('') + 1} has an empty label. Fill it in or "
            f"remove the image."
        )
    if "" in kinds:
        raise DataError(
            f"{source.name}: {shown(source.names[kinds.index('')])} lies beside the subfolders "
            f"that say what is normal. Move it into one of them."
        )
    return ~np.array(is_normal)
