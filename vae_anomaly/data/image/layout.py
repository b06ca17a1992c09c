"""Layout of images: the size, channels and resizing that every image is brought to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.data.image.pixels import ImageShape
from vae_anomaly.exceptions import ParameterError

__all__ = ["MAX_FEATURE_SIDE", "MAX_LONGER_SIDE", "MAX_PIXELS", "MAX_SIDE", "Box", "Layout"]
__all__ += ["box_of", "chosen_layout", "turned"]


MAX_PIXELS = 25_000_000
"""Pixels of an image file: a few bytes can declare a size that fills the memory."""

MAX_SIDE = 2048
"""Pixels of a side of a layout."""

MAX_LONGER_SIDE = 32
"""Pixels of the longer side of a layout for which no size was given."""

MAX_FEATURE_SIDE = 512
"""The same for a network of features, which sees more in a larger image."""


@dataclass(frozen=True)
class Layout:
    """Size, channels and resizing of images.

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
    >>> print(Layout(48, 64, 3))
    48 x 64 pixels, colour, stretched
    """

    height: int
    width: int
    channels: int
    resize: str = "stretch"

    @property
    def shape(self) -> ImageShape:
        """Height, width and channels."""
        return self.height, self.width, self.channels

    def __str__(self) -> str:
        colours = "grey" if self.channels == 1 else "colour"
        resized = "stretched" if self.resize == "stretch" else "letterboxed"
        return f"{self.height} x {self.width} pixels, {colours}, {resized}"


class Box(NamedTuple):
    """Place of an image in a layout, in pixels."""

    top: int
    left: int
    height: int
    width: int


def box_of(height: int, width: int, layout: Layout) -> Box:
    """Return where an image lies in a layout; letterboxing keeps its proportions."""
    if layout.resize == "stretch":
        return Box(0, 0, layout.height, layout.width)
    scale = min(layout.width / width, layout.height / height)
    inner_height, inner_width = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (layout.height - inner_height) // 2, (layout.width - inner_width) // 2
    return Box(top, left, inner_height, inner_width)


def turned(numbers: NDArray[np.generic], orientation: int) -> NDArray[np.generic]:
    """Return the numbers of an image, (h, w[, c]), upright, by an EXIF orientation."""
    if orientation in (5, 7):
        orientation, numbers = {5: 6, 7: 8}[orientation], numbers[::-1]
    if orientation == 2:
        return numbers[:, ::-1]
    if orientation == 4:
        return numbers[::-1]
    return np.rot90(numbers, {3: 2, 6: -1, 8: 1}.get(orientation, 0))


def chosen_layout(
    median_size: tuple[int, int],
    *,
    grey: bool,
    image_size: int | tuple[int, int] | None = None,
    resize: str = "stretch",
    max_side: int = MAX_LONGER_SIDE,
) -> Layout:
    """Choose the layout of images.

    Parameters
    ----------
    median_size : tuple of int
        Height and width of the images.
    grey : bool
        Whether all of them are grey.
    image_size : int, (height, width) or None, default=None
        An int makes a square. None is the median size, scaled down where the longer side
        is above `max_side`.
    resize : {"stretch", "letterbox"}, default="stretch"
    max_side : int, default=32
        Pixels.

    Returns
    -------
    Layout

    Raises
    ------
    ParameterError
        If the size is out of range.
    """
    if image_size is None:
        scale = min(1.0, max_side / max(median_size))
        height, width = (max(1, round(scale * side)) for side in median_size)
    elif isinstance(image_size, int):
        height, width = image_size, image_size
    else:
        height, width = image_size
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        size = (height, width)
        raise ParameterError(f"image_size must be 1 to {MAX_SIDE} pixels. Got {size}.")
    return Layout(height, width, 1 if grey else 3, resize)
