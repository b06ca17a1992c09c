"""Images on disk as batches of pixels: folders, single files, arrays of images.

An image that cannot be read is passed over, and named with the reason; the
others keep their order. Threads decode a little ahead of whoever takes the
batches, so that memory does not grow with the folder.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import display_name
from vae_anomaly.data.image.array_file import ArrayFile, holds_array
from vae_anomaly.data.image.array_labels import Labels, read_labels
from vae_anomaly.data.image.decoder import (
    FORMAT_NAMES,
    Decoded,
    ImageError,
    Layout,
    decode,
    decode_mask,
    is_image,
    resized,
    scale_to_bytes,
)
from vae_anomaly.data.image.listing import Listing, list_images
from vae_anomaly.exceptions import DataError

__all__ = ["NORMAL_FOLDERS", "ImageBatch", "ImageSource", "holds_images", "open_images"]

NORMAL_FOLDERS = ("good", "normal", "ok")
"""Names, in any case, of subfolders with normal images; all others hold anomalies."""

MAX_BATCH_IMAGES = 256
MAX_BATCH_BYTES = 2**24
JOB_IMAGES = 16
SAMPLE_IMAGES = 64

SAMPLE_LAYOUT = Layout(64, 64, 3)

Result = Decoded | ImageError


@dataclass(frozen=True)
class ImageBatch:
    """Some images of a source, in its order.

    Attributes
    ----------
    start, stop : int
        The positions that the batch is about.
    positions : ndarray of int
        Of the images that could be read.
    pixels : ndarray of uint8, shape (n, height, width, channels)
        These images.
    faults : dict of int to str
        Positions of the others, and what is wrong with them.
    """

    start: int
    stop: int
    positions: NDArray[np.int64]
    pixels: NDArray[np.uint8]
    faults: dict[int, str]


class ImageSource(ABC):
    """Images that can be read in batches, as often as needed.

    Attributes
    ----------
    name : str
        What messages call it.
    names : sequence of str
        Of the images: paths inside the folder, or numbers from 1.
    notes : tuple of str
        What a reader should know: what was left out, and why.
    skipped : list of tuple
        Names of the images that could not be read last time, and the reasons.
    animated : list of str
        Names of those of which the first frame was taken.
    strict : bool
        Raise for the first image that cannot be read.
    """

    name: str
    names: Sequence[str]
    notes: tuple[str, ...] = ()
    strict: bool = False

    def __init__(self) -> None:
        self.skipped: list[tuple[str, str]] = []
        self.animated: list[str] = []

    def __len__(self) -> int:
        return len(self.names)

    @property
    def kinds(self) -> list[str] | None:
        """What each image shows, "" where that is not known; None if it is for none.

        Subfolders of a folder, labels of an array.

        Raises
        ------
        DataError
            If the labels of an array do not belong to its images, or are damaged.
        """
        return None

    @property
    def labels(self) -> Labels | None:
        """Where the kinds are from, if not from subfolders."""
        return None

    @abstractmethod
    def _read(self, positions: Sequence[int], layout: Layout) -> Generator[Result]:
        """Read some images, ascending; those that cannot be read give the error."""

    def batches(self, layout: Layout) -> Iterator[ImageBatch]:
        """Yield the images, some at a time.

        Parameters
        ----------
        layout : Layout
            What to turn them into.

        Yields
        ------
        ImageBatch

        Raises
        ------
        DataError
            If an array of images is damaged; if `strict`, for the first
            image that cannot be read.
        """
        self.skipped, self.animated, start = [], [], 0
        size = _images_of_batch(layout)
        with closing(self._read(range(len(self)), layout)) as results:
            while some := list(islice(results, size)):
                yield self._batch(start, some, layout)
                start += len(some)

    def _batch(self, start: int, results: list[Result], layout: Layout) -> ImageBatch:
        faults = {}
        for i, result in enumerate(results, start):
            if isinstance(result, ImageError):
                if self.strict:
                    raise result
                faults[i] = result.reason
                self.skipped.append((self.names[i], result.reason))
            elif result.animated:
                self.animated.append(self.names[i])
        read = [result.pixels for result in results if isinstance(result, Decoded)]
        shape = (len(read), layout.height, layout.width, layout.channels)
        positions = [i for i in range(start, start + len(results)) if i not in faults]
        return ImageBatch(
            start,
            start + len(results),
            np.array(positions, dtype=np.int64),
            np.stack(read) if read else np.empty(shape, dtype=np.uint8),
            faults,
        )

    def look(self) -> tuple[tuple[int, int], bool]:
        """Look at some of the images: their median height and width, and whether all are grey.

        Raises
        ------
        DataError
            If none of them can be read.
        """
        count = min(SAMPLE_IMAGES, len(self))
        results = list(self._read(self._sample(count), SAMPLE_LAYOUT))
        read = [result for result in results if isinstance(result, Decoded)]
        if not read:
            raise DataError(
                f"{self.name}: none of {count} images can be read. The first: {results[0]}"
            )
        height, width = np.median([result.size for result in read], axis=0)
        grey = all((one.pixels == one.pixels[:, :, :1]).all() for one in read)
        return (int(height), int(width)), grey

    def _sample(self, count: int) -> Sequence[int]:
        return [int(i) for i in np.linspace(0, len(self) - 1, count)]

    @property
    def has_masks(self) -> bool:
        """Whether there are images of what is wrong."""
        return False

    def mask(self, position: int, layout: Layout) -> NDArray[np.bool_] | None:
        """Read what is wrong in an image; None if nobody has marked it.

        Raises
        ------
        ImageError
        """
        return None


def _images_of_batch(layout: Layout) -> int:
    size = layout.height * layout.width * layout.channels
    return max(1, min(MAX_BATCH_IMAGES, MAX_BATCH_BYTES // size))


class ImageFolder(ImageSource):
    """Image files.

    Parameters
    ----------
    name : str
    folder : Path
        Where the names start.
    listing : Listing
    strict : bool
    """

    def __init__(self, name: str, folder: Path, listing: Listing, *, strict: bool) -> None:
        super().__init__()
        self.name, self.folder, self.strict = name, folder, strict
        self._files, self._listing = listing.files, listing
        self.names = [_writable(file) for file in listing.files]
        self.notes = listing.notes
        kinds = [listing.kind(file) for file in listing.files]
        self._kinds = [_writable(kind) for kind in kinds] if any(kinds) else None

    @property
    def kinds(self) -> list[str] | None:
        """Subfolders that the images are in, "" for none; None if all are in none."""
        return self._kinds

    def _read(self, positions: Sequence[int], layout: Layout) -> Generator[Result]:
        size = min(JOB_IMAGES, _images_of_batch(layout))
        jobs = (positions[i : i + size] for i in range(0, len(positions), size))
        ahead = 2 * -(-_images_of_batch(layout) // size)
        stop = threading.Event()

        def read(job: Sequence[int]) -> list[Result]:
            return [self._decode(i, layout) for i in job if not stop.is_set()]

        workers = min(8, _cpus())
        with ThreadPoolExecutor(workers, thread_name_prefix="images") as pool:
            waiting: deque[Future[list[Result]]] = deque()
            try:
                for job in jobs:
                    waiting.append(pool.submit(read, job))
                    if len(waiting) > ahead + workers:
                        yield from waiting.popleft().result()
                while waiting:
                    yield from waiting.popleft().result()
            finally:
                stop.set()
                for job_ahead in waiting:
                    job_ahead.cancel()

    def _decode(self, position: int, layout: Layout) -> Result:
        try:
            return decode(self.folder / self._files[position], self._full_name(position), layout)
        except ImageError as error:
            return error

    def _full_name(self, position: int) -> str:
        return display_name(self.folder / self._files[position])

    @property
    def has_masks(self) -> bool:
        """Whether there is a folder ``ground_truth``."""
        return self._listing.masks is not None

    @cached_property
    def _masks(self) -> dict[str, Path]:
        """Masks by the path of their image without its suffix."""
        folder = self._listing.masks
        if folder is None:
            return {}
        files = list_images(folder).files
        return {_stem(file).removesuffix("_mask"): folder / file for file in files}

    def mask(self, position: int, layout: Layout) -> NDArray[np.bool_] | None:
        """Read the mask of an image; see `ImageSource.mask`."""
        file = self._listing.within_part(self._files[position])
        path = self._masks.get(_stem(file))
        return None if path is None else decode_mask(path, display_name(path), layout)


def _stem(file: str) -> str:
    return str(PurePosixPath(file).with_suffix(""))


def _writable(name: str) -> str:
    """Escape the bytes of a file name that are not UTF-8: it is to be written to files."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class ImageArray(ImageSource):
    """An array of images in an idx, npy or npz file.

    Parameters
    ----------
    path : Path
    name : str
    """

    def __init__(self, path: Path, name: str) -> None:
        super().__init__()
        self.name = name
        self._array = ArrayFile.open(path, name)
        self.names = _Numbers(self._array.shape[0])
        self._limits: tuple[float, float] | None = None

    @property
    def kinds(self) -> list[str] | None:
        """Labels of the images, from beside them."""
        return None if self.labels is None else self.labels.texts

    @cached_property
    def labels(self) -> Labels | None:
        """Read when somebody asks: scoring has no use for them."""
        return read_labels(self._array)

    def _read(self, positions: Sequence[int], layout: Layout) -> Generator[Result]:
        low, high = self._low_and_high()
        wanted, start = iter(positions), 0
        position = next(wanted, None)
        for block in self._array.blocks(MAX_BATCH_IMAGES):
            try:
                pixels = scale_to_bytes(block, low, high)
            except ValueError as cause:
                raise DataError(f"{self.name} holds {cause}. Scale its pixels.") from cause
            size = (pixels.shape[1], pixels.shape[2])
            while position is not None and position < start + len(block):
                yield Decoded(_as_laid_out(pixels[position - start], layout), size)
                position = next(wanted, None)
            start += len(block)
            if position is None:
                return

    def _low_and_high(self) -> tuple[float, float]:
        if self._limits is None:
            self._limits = self._array.limits()
        return self._limits

    def _sample(self, count: int) -> Sequence[int]:
        return range(count)  # from the start: the file is read in order


def _as_laid_out(pixels: NDArray[np.uint8], layout: Layout) -> NDArray[np.uint8]:
    full = pixels if pixels.ndim == 3 else pixels[:, :, np.newaxis]
    if full.shape == (layout.height, layout.width, layout.channels):
        return full
    return resized(pixels, layout)


class _Numbers(Sequence[str]):
    """The names "1", "2", ..., none of which is kept."""

    def __init__(self, count: int) -> None:
        self._range = range(1, count + 1)

    def __len__(self) -> int:
        return len(self._range)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        chosen: Any = self._range[index]
        # Whatever counts as an index, NumPy's integers too.
        return [str(i) for i in chosen] if isinstance(index, slice) else str(chosen)


# ------------------------------------------------------------------------------- opening


def holds_images(path: str | Path) -> bool:
    """Tell whether a path is a folder or a file of images; the content decides.

    What is not there, or is no regular file, holds none.
    """
    path = Path(path)
    if path.is_dir():
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(16)
    return is_image(start) or holds_array(path)


def open_images(path: str | Path, *, fitting: bool = False, strict: bool = False) -> ImageSource:
    """Open a folder of images, an image, or an array of images.

    Folders are searched through with their subfolders; hidden files, what
    systems leave behind, other kinds of files, and links that lead out of the
    folder are passed over. A data set in the MVTec layout, a folder with
    ``train`` and ``test``, gives the one when fitting and else the other.

    Parameters
    ----------
    path : str or Path
        A folder; a PNG, JPEG, BMP, TIFF, WebP or GIF file; an idx file, which
        may be gzipped; an npy or npz file, in which X or else the first array
        is meant.
    fitting : bool, default=False
        Where subfolders say which images are normal, take only these.
    strict : bool, default=False
        Raise for the first image that cannot be read.

    Returns
    -------
    ImageSource

    Raises
    ------
    DataError
        If there are no images.
    OSError
        If the path cannot be read.
    """
    path = Path(path)
    name = display_name(path)
    if path.is_dir():
        listing = list_images(path, "train" if fitting else "test")
        if fitting:
            listing = listing.only(NORMAL_FOLDERS)
        if not listing.files:
            raise DataError(
                f"{name} holds no images: no {FORMAT_NAMES} files, in it or in its subfolders."
            )
        return ImageFolder(name, path, listing, strict=strict)
    with path.open("rb") as file:
        start = file.read(16)
    if is_image(start) or not holds_array(path):
        return ImageFolder(name, path.parent, Listing([path.name]), strict=strict)
    return ImageArray(path, name)
