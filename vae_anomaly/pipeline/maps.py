"""Contribution maps of images in files, at the size of the images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import cast

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import counted
from vae_anomaly.data.base import Source
from vae_anomaly.data.image.layout import Layout, box_of
from vae_anomaly.data.image.source import ImageSource
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.model.model import Model
from vae_anomaly.pipeline.progress import Progress, no_progress
from vae_anomaly.storage.atomic import atomic_write, output_error

__all__ = ["map_at_size", "write_maps"]

Array = NDArray[np.float64]

SUFFIX = ".tiff"
"""Of maps: TIFF holds floats of 32 bits."""


def write_maps(
    model: Model, source: Source, folder: str, *, progress: Progress = no_progress
) -> Sequence[str]:
    """Write the contribution map of each readable image, and return lines to report.

    The images are read and scored a second time. A map has the size of its image and its path
    in the source, with the end ``.tiff``: floats of 32 bits, in nats.

    Raises
    ------
    ParameterError
        If a map would be written outside of the folder, or over an image.
    OutputError
        If a map cannot be written.
    """
    images, count = cast("ImageSource", source), 0
    with progress("maps", source.n_records, unit=f"{source.unit}s") as update:
        for batch in images.batches():
            maps, _ = model.contribution_maps(batch.records)
            names = batch.keys.to_pylist()
            places = range(len(names)) if batch.positions is None else batch.positions
            for place, one, size in zip(places, maps, images.sizes, strict=True):
                _write(_target(folder, names[place]), map_at_size(one, images.layout, size))
            count += len(maps)
            update(batch.start + len(names))
    return (f"maps: {counted(count, source.unit)} in {folder}",)


def map_at_size(values: Array, layout: Layout, size: tuple[int, int]) -> NDArray[np.float32]:
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


def _target(folder: str, name: str) -> Path:
    """Return the path of the map of an image."""
    inner = PurePosixPath(name.replace(os.sep, "/"))
    if inner.is_absolute() or ".." in inner.parts:
        raise ParameterError(f"The map of {name!r} would lie outside of {folder}. Rename it.")
    return Path(folder) / inner.parent / f"{inner.name}{SUFFIX}"


def _write(target: Path, values: NDArray[np.float32]) -> None:
    from PIL import Image

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(target.parent, error) from error
    with atomic_write(target) as file:
        Image.fromarray(values).save(file, format="TIFF")
