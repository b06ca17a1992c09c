"""Readers of images by the content of a path."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from vae_anomaly._text import display_name
from vae_anomaly.data.image.array_file import holds_array
from vae_anomaly.data.image.array_reader import ArrayReader
from vae_anomaly.data.image.folder_reader import FolderReader
from vae_anomaly.data.image.label_file import LABEL_FILE
from vae_anomaly.data.image.labels import anomalous_images
from vae_anomaly.data.image.listing import Listing, list_images
from vae_anomaly.data.image.reader import ImageReader
from vae_anomaly.data.image.signatures import FORMAT_NAMES, SIGNATURE_BYTES, is_image
from vae_anomaly.data.patterns import folder_of_pattern, is_pattern, matching_files
from vae_anomaly.exceptions import DataError, ParameterError
from vae_anomaly.names import NORMAL_FOLDERS

__all__ = ["open_images"]


def open_images(
    path: str | Path,
    *,
    fitting: bool = False,
    follow_links: str | None = None,
    normal: Sequence[str] = (),
) -> ImageReader:
    """Open a folder of images, a pattern, an image, or an array of images.

    Subfolders of a folder are read too. Hidden files and files of other types are passed over,
    and counted in `notes`; links to images out of the folder are images that are not readable. Of
    a data set in the MVTec layout, a folder with ``train`` and ``test``, the former is
    read for fitting and the latter otherwise.

    Parameters
    ----------
    path : str or Path
        A folder; a pattern, such as ``photos/*.png``, which chooses among the files of the
        folder above its wildcards; a PNG, JPEG, BMP, TIFF, WebP or GIF file; an idx file, which
        may be gzipped; an npy or npz file, see `array_members.chosen_members`.
    fitting : bool, default=False
        Where subfolders, or a file `labels.csv`, say which images are normal, read only these.
    follow_links : str, optional
        Directory; symbolic links that lead into it are followed.
    normal : sequence of str
        Labels of normal images in `labels.csv`; see `anomalous_images`.

    Returns
    -------
    ImageReader

    Raises
    ------
    DataError
        If there are no images, or a file of labels is not sound.
    ParameterError
        If links are to be followed into what is no directory.
    OSError
        If the path cannot be read.
    """
    path = Path(path)
    name = display_name(path)
    text, only = str(path), None
    if is_pattern(text):
        path, only = folder_of_pattern(text), matching_files(text)
        if not only:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), text)
    if path.is_dir():
        follow = None if follow_links is None else Path(follow_links)
        if follow is not None and not follow.is_dir():
            raise ParameterError(f"follow_links must be a directory. Got {follow_links!r}.")
        listing = list_images(path, "train" if fitting else "test", follow, only)
        if fitting:
            listing = _normal_images(name, path, listing, normal)
        if not listing.files:
            where = "in it or in its subfolders" if only is None else "among those that match"
            raise DataError(
                f"{name} holds no images: no {FORMAT_NAMES} files, {where}."
                + "".join(f" Of what is there: {note}." for note in listing.notes)
            )
        return FolderReader(name, path, listing)
    with path.open("rb") as file:
        start = file.read(SIGNATURE_BYTES)
    if is_image(start) or not holds_array(path):
        return FolderReader(name, path.parent, Listing([path.name]))
    return ArrayReader(path, name, fitting=fitting)


def _normal_images(name: str, folder: Path, listing: Listing, normal: Sequence[str]) -> Listing:
    """Return the images that a file of labels, or their subfolders, say are normal."""
    if not listing.has_labels:
        return listing.only(NORMAL_FOLDERS)
    anomalous = anomalous_images(FolderReader(name, folder, listing), normal=normal)
    if anomalous is None:
        return listing.noted(
            f"no label in {LABEL_FILE} is known to be that of normal images, so that all "
            f"are used. Name it with --normal-label"
        )
    return listing.without(anomalous) if anomalous.any() else listing
