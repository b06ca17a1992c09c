"""Labels of images: which subfolders, or labels of an array, are those of normal images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import listed, shown
from vae_anomaly.data.image.reader import ImageReader
from vae_anomaly.data.labels import label_summary
from vae_anomaly.exceptions import DataError
from vae_anomaly.names import NORMAL_FOLDERS

__all__ = ["anomalous_images", "label_notes"]


def anomalous_images(
    images: ImageReader, *, normal: Sequence[str] = ()
) -> NDArray[np.bool_] | None:
    """Return which images are anomalies, by their subfolders or the labels of their array.

    Parameters
    ----------
    images : ImageReader
    normal : sequence of str
        Subfolders or labels of normal images, in this case; by default
        `NORMAL_FOLDERS`, in any case, and 0 or False where an archive of
        arrays has labels 0 and 1 or booleans.

    Returns
    -------
    ndarray of bool or None
        For each image; None if no subfolder or label is a normal one.

    Raises
    ------
    DataError
        If `normal` matches none, some images are in no subfolder, or labels
        do not belong to the images.
    """
    categories, labels = images.categories or [], images.array_labels
    known = labels.normal if labels is not None else ()
    is_normal = [
        category in (normal or known) if normal or known else category.casefold() in NORMAL_FOLDERS
        for category in categories
    ]
    if not any(is_normal) and normal:
        there = listed(sorted(set(categories)))
        if labels is not None:
            raise DataError(
                f"{labels.origin}: no image has the normal label {listed(list(normal))}. The "
                f"labels are {there}."
            )
        raise DataError(
            f"{images.name}: no subfolder with images is called {listed(list(normal))}. "
            f"{f'Its subfolders are {there}.' if categories else 'It has none.'}"
        )
    if not any(is_normal) and not known:
        return None
    if "" in categories and labels is not None:
        raise DataError(
            f"{labels.origin}: image {categories.index('') + 1} has an empty label. Fill it in or "
            f"remove the image."
        )
    if "" in categories:
        raise DataError(
            f"{images.name}: {shown(images.names[categories.index('')])} lies beside the "
            f"subfolders that say what is normal. Move it into one of them."
        )
    return ~np.array(is_normal)


def label_notes(images: ImageReader, flags: NDArray[np.bool_] | None) -> list[str]:
    """Return lines about the labels of images: their origin, or why none is known."""
    notes, labels = [], images.array_labels
    origin = "labels" if labels is None else f"labels: {labels.origin}"
    if flags is not None and images.categories is not None:
        notes.append(f"{origin}: {label_summary(images.categories, flags, 'image')}")
    elif labels is not None:
        notes.append(f"{origin}, {len(set(labels.texts)):,} categories")
    if flags is None and images.categories is not None:
        what, example = ("subfolder", "one") if labels is None else ("label", "normal ones")
        notes.append(
            f"note: no {what} is called {', '.join(NORMAL_FOLDERS[:-1])} or {NORMAL_FOLDERS[-1]}, "
            f"so that nothing is known to be an anomaly. Name {example} with --normal-label."
        )
    return notes
