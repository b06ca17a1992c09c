"""Images as a source: a reader, and the layout that its images are brought to.

An image that is not readable is skipped, and reported with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_anomaly._text import counted
from vae_anomaly._types import Json
from vae_anomaly.data.base import Batch, DataParameters, Encoder, Masks, Records, Source
from vae_anomaly.data.image.decoder import ImageError
from vae_anomaly.data.image.encoder import ImageEncoder
from vae_anomaly.data.image.files import open_images
from vae_anomaly.data.image.folder_reader import FolderReader
from vae_anomaly.data.image.labels import anomalous_images, label_notes
from vae_anomaly.data.image.layout import (
    MAX_FEATURE_SIDE,
    MAX_LONGER_SIDE,
    Layout,
    chosen_layout,
)
from vae_anomaly.data.image.reader import ImageReader, ReadResult, images_per_batch
from vae_anomaly.data.image.source_units import SourceUnits
from vae_anomaly.data.image.units import PixelRange
from vae_anomaly.exceptions import DataError, ParameterError
from vae_anomaly.names import RESIZES

__all__ = ["ImageSource", "measured_layout", "open_source"]


class ImageSource(Source):
    """Images of one layout.

    Parameters
    ----------
    reader : ImageReader
    layout : Layout
    strict : bool, default=False
        Raise for the first image that is not readable.
    flags : ndarray of bool, optional
        True for anomalies, one for each image, readable or not.
    pixel_range : PixelRange, optional
        Numbers of black and white, where they are known before reading.
    check_range : bool, default=False
        Report images whose numbers leave the range.
    notes : sequence of str
        Lines to report before reading, after those of the reader.

    Attributes
    ----------
    reader : ImageReader
    layout : Layout
    animated : list of str
        Names of images of which only the first frame was read in the last reading.
    sizes : list of (height, width)
        Of the readable images of the last batch, before they were resized.
    """

    unit = "image"
    key_name = "file"
    key_type = pa.string()
    may_skip = True

    def __init__(
        self,
        reader: ImageReader,
        layout: Layout,
        *,
        strict: bool = False,
        flags: NDArray[np.bool_] | None = None,
        pixel_range: PixelRange | None = None,
        check_range: bool = False,
        notes: Sequence[str] = (),
    ) -> None:
        self.reader, self.layout = reader, layout
        self.name, self.n_records = reader.name, len(reader.names)
        self.notes = (*(f"note: {self.name}: {note}" for note in reader.notes), *notes)
        self.skipped: list[tuple[str, str]] = []
        self.animated: list[str] = []
        self.sizes: list[tuple[int, int]] = []
        self._strict, self._flags = strict, flags
        self._units = SourceUnits(self.name, pixel_range, check=check_range)
        self._positions: NDArray[np.int64] | None = None

    @property
    def record_shape(self) -> tuple[int, ...]:
        """Height, width and channels."""
        return self.layout.shape

    @property
    def description(self) -> str:
        """Layout, in words."""
        return str(self.layout)

    @property
    def labels(self) -> NDArray[np.bool_] | None:
        """True for anomalies, one for each readable image, after a complete reading."""
        if self._flags is None or self._positions is None:
            return None
        return self._flags[self._positions]

    @property
    def categories(self) -> list[str] | None:
        """Subfolder or label of each readable image, after a complete reading."""
        categories = self.reader.categories
        if categories is None or self._positions is None:
            return None
        return [categories[i] for i in self._positions]

    def batches(self) -> Iterator[Batch]:
        """Yield the images, (n, height, width, channels), as uint8 where 8 bits hold them.

        Yields
        ------
        Batch

        Raises
        ------
        DataError
            If an array of images is damaged; if `strict`, for the first
            image that is not readable.
        """
        self.skipped, self.animated, self._positions = [], [], None
        self._units = self._units.unread()
        readable: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        size, start = images_per_batch(self.layout), 0
        with closing(self.reader.read(range(len(self.reader.names)), self.layout)) as results:
            while chunk := list(islice(results, size)):
                batch, positions = self._batch(start, chunk)
                readable.append(start + positions)
                yield batch
                start += len(chunk)
        self._positions = np.concatenate(readable)

    def _batch(self, start: int, results: list[ReadResult]) -> tuple[Batch, NDArray[np.int64]]:
        """Return a batch, and the positions of its records among its keys."""
        names = self.reader.names[start : start + len(results)]
        faults, pixels, sizes = {}, [], []
        for i, result in enumerate(results):
            if isinstance(result, ImageError):
                if self._strict:
                    raise result
                faults[i] = result.reason
                self.skipped.append((names[i], result.reason))
                continue
            if result.animated:
                self.animated.append(names[i])
            sizes.append(result.size)
            pixels.append(self._units.add(result, names[i], self.layout))
        positions = np.array([i for i in range(len(results)) if i not in faults], dtype=np.int64)
        records = np.stack(pixels) if pixels else np.empty((0, *self.layout.shape), np.uint8)
        keys = pa.array(names, type=pa.string())
        self.sizes = sizes
        return Batch(start, keys, records, positions if faults else None, faults), positions

    def check(self) -> int:
        """Read all images if one that is not readable, or a damaged array, raises."""
        if isinstance(self.reader, FolderReader) and not self._strict:
            return len(self.reader.names)
        return super().check()

    def require(self, count: int, minimum: int, need: str) -> None:
        """Raise if too few images are readable; see `Source.require`."""
        if count >= minimum:
            return
        first = "The first that cannot" if count else "The first"
        why = "".join(f"{first}, {name}: {reason}. " for name, reason in self.skipped[:1])
        raise DataError(
            f"{self.name}: {count or 'none'} of {self.n_records} images can be read. {why}{need}"
        )

    def reading_notes(self) -> Sequence[str]:
        """Return lines about images that leave the range, and of which one frame was read."""
        lines = [f"warning: {note}" for note in self._units.check_notes()]
        if self.animated:
            several, first = counted(len(self.animated), "image"), _printable(self.animated[0])
            lines.append(f"note: only the first frame of {several} was read: {first} ...")
        return tuple(lines)

    def parameters(self, given: DataParameters) -> Mapping[str, Json]:
        """Return the range of the pixels, where the records alone do not say it.

        Raises
        ------
        DataError
            If some images have 8 bits, and others do not mean the same by their numbers.
        """
        if given.pixel_range is not None:
            self._units.given = PixelRange(*given.pixel_range)
        return {"pixel_range": tuple(self._units.given or self._units.measured())}

    def training_data(self, records: Records) -> Records:
        """Return images as `VAEDetector.fit` takes them: in mid grey if letterboxed."""
        return self._units.filled(records)

    def fit_notes(self, encoder: Encoder) -> Sequence[str]:
        """Return a line about the range of the pixels."""
        return (f"pixels: {cast('ImageEncoder', encoder).pixel_range}",)

    def training_notes(self, records: Records) -> Sequence[str]:
        """Return a warning if labels of an array say that some images are anomalies."""
        try:
            if self.reader.array_labels is None:
                return ()
            flags = anomalous_images(self.reader)
        except DataError as error:
            return (f"note: {error} To learn, labels are not needed.",)
        if flags is None or self._positions is None:
            return ()
        count = np.count_nonzero(flags[self._positions])
        if not count:
            return ()
        return (
            f"warning: {count:,} of {len(self._positions):,} images are labelled as anomalies, "
            f"and are learned as if they were normal. Leave them out of the file.",
        )

    def masks(self) -> Masks:
        """Read the masks of the anomalies, after a complete reading with labels.

        Raises
        ------
        ImageError
            If `strict`, for the first mask that is not readable.
        """
        labels = self.labels
        if labels is None or self._positions is None or not self.reader.has_masks:
            return Masks(None, [])
        masks: list[NDArray[np.bool_] | None] = [None] * len(labels)
        notes = []
        for i in np.flatnonzero(labels):
            position = int(self._positions[i])
            try:
                masks[i] = self.reader.mask(position, self.layout)
            except ImageError as error:
                if self._strict:
                    raise
                name = _printable(self.reader.names[position])
                notes.append(f"warning: no mask for {name}: {error}")
        found = sum(mask is not None for mask in masks)
        notes.append(f"masks: {found:,} for {np.count_nonzero(labels):,} anomalies")
        return Masks(masks if found else None, notes)


def _printable(name: str) -> str:
    return name if name.isprintable() else repr(name)


def measured_layout(
    reader: ImageReader,
    image_size: int | tuple[int, int] | None = None,
    resize: str = "stretch",
    max_side: int = MAX_LONGER_SIDE,
) -> Layout:
    """Choose a layout by a sample of images; see `chosen_layout`.

    It is grey if every image of the sample is.

    Raises
    ------
    DataError
        If no image of the sample is readable.
    ParameterError
        If the size is out of range, or `resize` unknown.
    """
    if resize not in RESIZES:
        raise ParameterError(f"resize must be one of {', '.join(RESIZES)}. Got {resize!r}.")
    median_size, grey = reader.survey()
    return chosen_layout(
        median_size, grey=grey, image_size=image_size, resize=resize, max_side=max_side
    )


def size_notes(reader: ImageReader, layout: Layout) -> list[str]:
    """Return a line if images are shrunk to a layout for which no size was given."""
    height, width = reader.survey().median_size
    if (layout.height, layout.width) == (height, width):
        return []
    return [
        f"note: {reader.name}: images are shrunk from {height} x {width} to {layout.height} x "
        f"{layout.width} pixels, where small defects may vanish. For more, --image-size HxW"
    ]


def open_source(
    path: str,
    encoder: ImageEncoder | None = None,
    *,
    fitting: bool = False,
    labelled: bool = False,
    image_size: int | tuple[int, int] | None = None,
    resize: str | None = None,
    features: str | None = None,
    pixel_range: tuple[float, float] | None = None,
    follow_links: str | None = None,
    strict: bool = False,
    normal_label: Sequence[str] = (),
) -> ImageSource:
    """Open images in the layout of an encoder, or in a layout to fit one to.

    Parameters
    ----------
    path : str
        See `open_images`.
    encoder : ImageEncoder, optional
    fitting, labelled : bool, default=False
        See `data.base.Modality.open`.
    image_size : int or (height, width), optional
        Size of the images without an encoder; by default measured, see `chosen_layout`.
    resize : {"stretch", "letterbox"}, optional
        Way of resizing without an encoder; by default "stretch".
    features : str, optional
        Network of features that the images are for: they are then shrunk less by default.
    pixel_range : (low, high), optional
        Numbers of black and white without an encoder; by default they are measured.
    follow_links : str, optional
        Directory; symbolic links that lead into it are followed.
    strict : bool, default=False
        Raise for the first image that is not readable.
    normal_label : sequence of str
        Subfolders or labels of normal images; see `anomalous_images`.

    Returns
    -------
    ImageSource

    Raises
    ------
    DataError
        If there are no images, none of a sample is readable, or labels are not sound.
    ParameterError
        If the size or the way of resizing is out of range.
    OSError
        If the path cannot be read.
    """
    if encoder is not None and encoder.shape[2] not in (1, 3):
        raise DataError(
            f"The model was fitted on images of {encoder.shape[2]} channels. Files give 1 or 3: "
            f"score arrays in Python."
        )
    reader = open_images(
        path, fitting=fitting, follow_links=follow_links, normal=normal_label if fitting else ()
    )
    flags = anomalous_images(reader, normal=normal_label) if labelled else None
    notes = label_notes(reader, flags) if labelled else []
    if encoder is None:
        max_side = MAX_LONGER_SIDE if features is None else MAX_FEATURE_SIDE
        layout = measured_layout(reader, image_size, resize or "stretch", max_side)
        notes += size_notes(reader, layout) if image_size is None else []
        unit = None if pixel_range is None else PixelRange(*pixel_range)
    else:
        layout, unit = (
            Layout(*encoder.shape, resize=encoder.resize or "stretch"),
            encoder.pixel_range,
        )
    return ImageSource(
        reader,
        layout,
        strict=strict,
        flags=flags,
        pixel_range=unit,
        check_range=encoder is not None,
        notes=notes,
    )
