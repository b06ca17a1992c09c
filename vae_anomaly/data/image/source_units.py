"""Range of the pixels of a source: measured for a fit, and checked for a fitted model."""

from __future__ import annotations

import numpy as np

from vae_anomaly.data.base import Records
from vae_anomaly.data.image.decoder import Decoded, Pixels, with_surroundings
from vae_anomaly.data.image.layout import Layout
from vae_anomaly.data.image.units import (
    BYTE_VALUES,
    BYTES,
    PixelRange,
    PixelValues,
    RangeCheck,
    chosen_range,
)
from vae_anomaly.exceptions import DataError

__all__ = ["SourceUnits"]


class SourceUnits:
    """Numbers of the images of one reading.

    Parameters
    ----------
    name : str
        Name of the source in messages.
    given : PixelRange or None
        Range of a fitted model, or one that the user chose.
    check : bool
        Whether to count the images that leave it.
    """

    def __init__(self, name: str, given: PixelRange | None, *, check: bool) -> None:
        self.name, self.given = name, given
        self._check = RangeCheck(given) if check and given is not None else None
        self._first_of_bytes: str | None = None  # the first image file of 8 bits
        self._first_of_others = ""
        self._others: PixelValues | None = None

    def unread(self) -> SourceUnits:
        """Return the value before a reading."""
        return SourceUnits(self.name, self.given, check=self._check is not None)

    def add(self, image: Decoded, name: str, layout: Layout) -> Pixels:
        """Add an image, and return its pixels: in mid grey around it, where that is known."""
        if image.values is None:
            self._first_of_bytes = self._first_of_bytes or name
        else:
            self._first_of_others = self._first_of_others or name
            self._others = image.values.union(self._others)
        if self._check is not None and self._check.expected.holds(0.0, 255.0):
            self._check.add(image.values or BYTE_VALUES, name)
        elif self._check is not None:
            self._check.add(image.values or PixelValues.of(image.pixels), name)
        bytes_already = image.values is None and self.given == BYTES
        if self.given is None or layout.resize == "stretch" or bytes_already:
            return image.pixels
        return with_surroundings(image.pixels, image.size, layout, self.given.middle)

    def check_notes(self) -> list[str]:
        """Return a sentence if images leave the range that is given."""
        return [] if self._check is None else [f"{self.name}: {n}" for n in self._check.notes()]

    def measured(self) -> PixelRange:
        """Return the range of the images.

        Raises
        ------
        DataError
            If some are files of 8 bits, and the numbers of others mean something else.
        """
        others = self._others
        if others is None:
            return BYTES
        if self._first_of_bytes is None:
            return chosen_range(others)
        if others.fit_bytes:
            return BYTES
        raise DataError(
            f"{self.name}: {self._first_of_bytes} has 8 bits, and the numbers of others, such as "
            f"{self._first_of_others}, are {chosen_range(others)}: do they mean the same? Convert "
            f"them to one type, or give the range of all, as in --pixel-range 0:65535."
        )

    def filled(self, records: Records) -> Records:
        """Return images with mid grey around them, where they are letterboxed."""
        if records.dtype == np.uint8:
            return records
        return np.where(np.isnan(records), (self.given or self.measured()).middle, records)
