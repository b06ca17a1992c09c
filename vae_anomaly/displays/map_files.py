"""Anomaly maps of images in files, at the size of the images: numbers, and overlays."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import counted
from vae_anomaly.data.base import Source
from vae_anomaly.data.image.decoder import ImageError
from vae_anomaly.data.image.encoder import ImageEncoder
from vae_anomaly.data.image.layout import Layout, box_of
from vae_anomaly.data.image.source import ImageSource
from vae_anomaly.displays.painting import Rgb, as_rgb, overlay
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.model.model import Model
from vae_anomaly.pipeline.progress import Progress, no_progress
from vae_anomaly.storage.atomic import atomic_write, output_error

__all__ = ["map_at_size", "overlay_of", "write_maps"]

Array = NDArray[np.float64]
Map = NDArray[np.float32]

NUMBERS, OVERLAY = ".tiff", ".png"
"""Ends of the files of an image. TIFF holds floats of 32 bits."""

SATURATED = 99.8
"""Percentile of the map of an image that counts as its largest value, robust to pixels."""

MAX_BAND_PIXELS = 2**20
"""Pixels that are painted at once."""


class _Mapped(NamedTuple):
    """An image whose map is written."""

    position: int
    name: str
    size: tuple[int, int]
    top: float  # the largest value of its map, in nats
    is_flagged: bool


def write_maps(
    model: Model,
    source: Source,
    folder: str,
    *,
    flagged: Collection[object] = (),
    only_flagged: bool = False,
    progress: Progress = no_progress,
) -> Sequence[str]:
    """Write the anomaly map of each readable image twice, and return lines to report.

    The images are read and scored a second time. What is written has the size of the image, and
    its path in the source with a further end: ``.tiff`` for floats of 32 bits, in nats, and
    ``.png`` for the image in grey with the map over it. All overlays have one scale of colours: it
    ends at the median of the largest values of the maps of flagged images, and if none is flagged
    at twice the largest of all.

    Parameters
    ----------
    model : Model
    source : ImageSource
    folder : str
    flagged : collection, optional
        Names of the flagged images.
    only_flagged : bool, default=False
        Whether to leave out the other images.
    progress : Progress, optional

    Raises
    ------
    ParameterError
        If a map would be written outside of the folder.
    ImageError
        If an image is not readable the second time.
    OutputError
        If a map cannot be written.
    """
    images = cast("ImageSource", source)
    with progress("maps", source.n_records, unit=f"{source.unit}s") as update:
        mapped = []
        for one in _write_numbers(model, images, folder, flagged, only_flagged):
            mapped.append(one)
            update(one.position + 1)
    top = _scale(mapped)
    with progress("overlays", len(mapped), unit=f"{source.unit}s") as update:
        for count, (one, pixels) in enumerate(_pixels_of(images, mapped, model), 1):
            nats = _read(_target(folder, one.name, NUMBERS))
            _write(_target(folder, one.name, OVERLAY), overlay_of(pixels, nats, top))
            update(count)
    if not mapped:
        return (f"maps: none, as no {source.unit} is flagged",) if only_flagged else ()
    scale = f"brightest from {top:.3g} nats on"
    return (f"maps: {counted(len(mapped), source.unit)} in {folder}, as TIFF and PNG ({scale})",)


def _write_numbers(
    model: Model,
    images: ImageSource,
    folder: str,
    flagged: Collection[object],
    only_flagged: bool,
) -> Iterator[_Mapped]:
    """Write the maps as numbers."""
    known = frozenset(flagged)
    for batch in images.batches():
        names = batch.keys.to_pylist()
        places = range(len(names)) if batch.positions is None else batch.positions.tolist()
        chosen = [i for i, at in enumerate(places) if not only_flagged or names[at] in known]
        if not chosen:
            continue
        sizes = images.sizes
        for i, one in zip(chosen, model.anomaly_maps(batch.records[chosen]), strict=True):
            place, size = places[i], sizes[i]
            name = names[place]
            top = float(np.percentile(one, SATURATED))
            _write(_target(folder, name, NUMBERS), map_at_size(one, images.layout, size))
            yield _Mapped(batch.start + place, name, size, top, name in known)


def _scale(mapped: Sequence[_Mapped]) -> float:
    """Return the end of the colour scale, in nats."""
    tops = [one.top for one in mapped if one.is_flagged]
    top = float(np.median(tops)) if tops else 2 * max((one.top for one in mapped), default=0.0)
    return top if top > 0 else 1.0


def _pixels_of(
    images: ImageSource, mapped: Sequence[_Mapped], model: Model
) -> Iterator[tuple[_Mapped, Rgb]]:
    """Read images at their own size, in grey: (height, width, 3)."""
    pixel_range = cast("ImageEncoder", model.encoder).pixel_range
    for size, group in groupby(mapped, key=lambda one: one.size):
        alike = list(group)
        positions = [one.position for one in alike]
        with closing(images.reader.read(positions, Layout(size[0], size[1], 1))) as results:
            for one, result in zip(alike, results, strict=True):
                if isinstance(result, ImageError):
                    raise result
                yield one, as_rgb(result.pixels[None], *pixel_range)[0]


def overlay_of(pixels: Rgb, nats: Map, top: float) -> Rgb:
    """Return an image with a map over it, painted in bands: (height, width, 3)."""
    height, width = nats.shape
    n_rows = max(1, MAX_BAND_PIXELS // width)
    bands = [slice(start, start + n_rows) for start in range(0, height, n_rows)]
    painted = [overlay(pixels[None, band], nats[None, band], top)[0] for band in bands]
    return np.concatenate(painted)


def map_at_size(values: Array, layout: Layout, size: tuple[int, int]) -> Map:
    """Return a map in a layout at the size of its image, without what letterboxing added.

    Parameters
    ----------
    values : ndarray of the size of the layout
    layout : Layout
    size : tuple of int
        Height and width of the image.
    """
    from PIL import Image

    top, left, height, width = box_of(*size, layout)
    part = values[top : top + height, left : left + width].astype(np.float32)
    resized = Image.fromarray(part).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def _target(folder: str, name: str, end: str) -> Path:
    """Return the path of a file of an image."""
    inner = PurePosixPath(name.replace(os.sep, "/"))
    if inner.is_absolute() or ".." in inner.parts:
        raise ParameterError(f"The map of {name!r} would lie outside of {folder}. Rename it.")
    return Path(folder) / inner.parent / f"{inner.name}{end}"


def _read(path: Path) -> Map:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image)


def _write(target: Path, values: Map | Rgb) -> None:
    from PIL import Image

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(target.parent, error) from error
    with atomic_write(target) as file:
        Image.fromarray(values).save(file, format="TIFF" if target.suffix == NUMBERS else "PNG")
