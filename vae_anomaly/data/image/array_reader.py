"""Reader of an array of images in an idx, npy or npz file."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.data.image.array_file import ArrayFile
from vae_anomaly.data.image.array_labels import ArrayLabels, read_labels
from vae_anomaly.data.image.decoder import Decoded, resized, scale_to_bytes
from vae_anomaly.data.image.layout import Layout
from vae_anomaly.data.image.reader import MAX_BATCH_IMAGES, ImageReader, ReadResult
from vae_anomaly.exceptions import DataError

__all__ = ["ArrayReader"]


class ArrayReader(ImageReader):
    """An array of images in a file.

    Parameters
    ----------
    path : Path
    name : str
    """

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self._array = ArrayFile.open(path, name)
        self.names = _Numbers(self._array.shape[0])

    @property
    def categories(self) -> list[str] | None:
        """Labels of the images, from beside them."""
        return None if self.array_labels is None else self.array_labels.texts

    @cached_property
    def array_labels(self) -> ArrayLabels | None:
        """Labels of the images; scoring never reads them."""
        return read_labels(self._array)

    @cached_property
    def _limits(self) -> tuple[float, float]:
        return self._array.limits()

    def read(self, positions: Sequence[int], layout: Layout) -> Generator[ReadResult]:
        """Yield images; see `ImageReader.read`."""
        low, high = self._limits
        wanted, start = iter(positions), 0
        position = next(wanted, None)
        for chunk in self._array.chunks(MAX_BATCH_IMAGES):
            try:
                pixels = scale_to_bytes(chunk, low, high)
            except ValueError as cause:
                raise DataError(f"{self.name} holds {cause}. Scale its pixels.") from cause
            size = (pixels.shape[1], pixels.shape[2])
            while position is not None and position < start + len(chunk):
                yield Decoded(_laid_out(pixels[position - start], layout), size)
                position = next(wanted, None)
            start += len(chunk)
            if position is None:
                return

    def _sample_positions(self, count: int) -> Sequence[int]:
        return range(count)  # from the start: the file is read in order


def _laid_out(pixels: NDArray[np.uint8], layout: Layout) -> NDArray[np.uint8]:
    full = pixels if pixels.ndim == 3 else pixels[:, :, np.newaxis]
    return full if full.shape == layout.shape else resized(pixels, layout)


class _Numbers(Sequence[str]):
    """The names "1", "2", ... without storing them."""

    def __init__(self, count: int) -> None:
        self._range = range(1, count + 1)

    def __len__(self) -> int:
        return len(self._range)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [str(i) for i in self._range[index]]
        return str(self._range[index])
