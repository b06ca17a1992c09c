"""Reader of image files in a folder. Threads decode some images ahead of the caller.

Memory does not grow with the folder.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import display_name
from vae_anomaly.data.image.array_labels import ArrayLabels
from vae_anomaly.data.image.decoder import ImageError, decode, decode_mask
from vae_anomaly.data.image.label_file import read_label_file
from vae_anomaly.data.image.layout import Layout
from vae_anomaly.data.image.listing import Listing, list_images
from vae_anomaly.data.image.reader import ImageReader, ReadResult, images_per_batch

__all__ = ["FolderReader"]

JOB_IMAGES = 16
MAX_THREADS = 8


class FolderReader(ImageReader):
    """Image files.

    Parameters
    ----------
    name : str
    folder : Path
        Folder that the names are relative to.
    listing : Listing
    """

    def __init__(self, name: str, folder: Path, listing: Listing) -> None:
        self.name, self.folder = name, folder
        self._files, self._listing = listing.files, listing
        self.names = [_printable_bytes(file) for file in listing.files]
        self.notes = listing.notes
        categories = [listing.category(file) for file in listing.files]
        self._categories = (
            [_printable_bytes(category) for category in categories] if any(categories) else None
        )

    @property
    def categories(self) -> list[str] | None:
        """Labels from a file, or subfolders that the images are in, "" for none.

        None if there are no labels, and all images are in no subfolder.
        """
        return self._categories if self.array_labels is None else self.array_labels.texts

    @cached_property
    def array_labels(self) -> ArrayLabels | None:
        """Labels from a file in the folder; scoring never reads them."""
        if not self._listing.has_labels:
            return None
        return read_label_file(self.folder, self._files)

    def read(self, positions: Sequence[int], layout: Layout) -> Generator[ReadResult]:
        """Yield images; see `ImageReader.read`."""
        size = min(JOB_IMAGES, images_per_batch(layout))
        jobs = (positions[i : i + size] for i in range(0, len(positions), size))
        jobs_ahead = 2 * -(-images_per_batch(layout) // size)
        stop = threading.Event()

        def decode_job(job: Sequence[int]) -> list[ReadResult]:
            return [self._decode(i, layout) for i in job if not stop.is_set()]

        workers = min(MAX_THREADS, _n_cpus())
        with ThreadPoolExecutor(workers, thread_name_prefix="images") as pool:
            pending: deque[Future[list[ReadResult]]] = deque()
            try:
                for job in jobs:
                    pending.append(pool.submit(decode_job, job))
                    if len(pending) > jobs_ahead + workers:
                        yield from pending.popleft().result()
                while pending:
                    yield from pending.popleft().result()
            finally:
                stop.set()
                for future in pending:
                    future.cancel()

    def _decode(self, position: int, layout: Layout) -> ReadResult:
        file = self._files[position]
        path, fault = self.folder / file, self._listing.faults.get(file)
        if fault is not None:
            return ImageError(display_name(path), fault)
        try:
            return decode(path, display_name(path), layout)
        except ImageError as error:
            return error

    def _sample_positions(self, count: int) -> Sequence[int]:
        faults = self._listing.faults
        sound = [i for i, file in enumerate(self._files) if file not in faults]
        if not sound:
            return super()._sample_positions(count)
        return [sound[int(i)] for i in np.linspace(0, len(sound) - 1, min(count, len(sound)))]

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
        found = list_images(folder, follow=self._listing.follow)
        files = [file for file in found.files if file not in found.faults]
        return {_without_suffix(file).removesuffix("_mask"): folder / file for file in files}

    def mask(self, position: int, layout: Layout) -> NDArray[np.bool_] | None:
        """Read the mask of an image; see `ImageReader.mask`."""
        file = self._listing.within_part(self._files[position])
        path = self._masks.get(_without_suffix(file))
        return None if path is None else decode_mask(path, display_name(path), layout)


def _without_suffix(file: str) -> str:
    return str(PurePosixPath(file).with_suffix(""))


def _printable_bytes(name: str) -> str:
    """Escape the bytes of a file name that are not UTF-8, so that it can be written to files."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _n_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
