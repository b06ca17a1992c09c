"""Reader of an array of images in an idx, npy or npz file."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import cached_property
from pathlib import Path
from typing import overload

from vae_anomaly.data.image.array_file import ArrayFile
from vae_anomaly.data.image.array_labels import ArrayLabels, read_labels
from vae_anomaly.data.image.decoder import decode_numbers
from vae_anomaly.data.image.deep import Numbers
from vae_anomaly.data.image.errors import ImageError
from vae_anomaly.data.image.layout import Layout
from vae_anomaly.data.image.reader import MAX_BATCH_IMAGES, ImageReader, ReadResult

__all__ = ["ArrayReader"]


class ArrayReader(ImageReader):
    """An array of images in a file.

    Parameters
    ----------
    path : Path
    name : str
    fitting : bool, default=False
        Whether an archive with parts is read for a fit.
    """

    def __init__(self, path: Path, name: str, *, fitting: bool = False) -> None:
        self.name = name
        self._array = ArrayFile.open(path, name, fitting=fitting)
        members = self._array.members
        self.notes = () if members is None else (members.note,)
        self.names = _Numbers(self._array.shape[0])

    @property
    def categories(self) -> list[str] | None:
        """Labels of the images, from beside them."""
        return None if self.array_labels is None else self.array_labels.texts

    @cached_property
    def array_labels(self) -> ArrayLabels | None:
        """Labels of the images; scoring never reads them."""
        return read_labels(self._array)

    def read(self, positions: Sequence[int], layout: Layout) -> Generator[ReadResult]:
        """Yield images; see `ImageReader.read`."""
        wanted, start = iter(positions), 0
        position = next(wanted, None)
        for chunk in self._array.chunks(MAX_BATCH_IMAGES):
            while position is not None and position < start + len(chunk):
                yield self._decode(chunk[position - start], position, layout)
                position = next(wanted, None)
            start += len(chunk)
            if position is None:
                return

    def _decode(self, image: Numbers, position: int, layout: Layout) -> ReadResult:
        try:
            return decode_numbers(image, f"{self.name}, image {position + 1}", layout)
        except ImageError as error:
            return error

    def _sample_positions(self, count: int) -> Sequence[int]:
        return range(count)  # from the start: the file is read in order


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
