"""Labels of an array of images: another array of its archive, or a file beside it.

For those of an npz archive see `array_members.chosen_members`; the idx file
``t10k-images-idx3-ubyte`` has its labels in ``t10k-labels-idx1-ubyte``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import display_name
from vae_anomaly.data.image.array_file import (
    DAMAGE,
    ArrayFile,
    check_bytes,
    damaged,
    read_header,
    unpacked,
)
from vae_anomaly.exceptions import DataError

__all__ = ["ArrayLabels", "read_labels"]

IDX_NAME = re.compile(r"(.*)images([-.])idx3-ubyte(\.gz)?", re.IGNORECASE | re.DOTALL)

MAX_LABEL_BYTES = 1024
"""Size of one label; longer text is a description, or an attack."""

LAST_CHARACTER = 0x10FFFF

BINARY = ("0", "1"), ("False", "True")
"""Pairs of labels of an archive that mean normal and anomalous, as y in scikit-learn."""


@dataclass(frozen=True)
class ArrayLabels:
    """Labels of an array of images.

    Attributes
    ----------
    origin : str
        Name of the labels in messages.
    texts : list of str
        One for each image.
    normal : tuple of str
        Labels that are known to mean normal; empty where that depends on their text.
    """

    origin: str
    texts: list[str]
    normal: tuple[str, ...] = ()


def read_labels(array: ArrayFile) -> ArrayLabels | None:
    """Read the labels of an array of images.

    Parameters
    ----------
    array : ArrayFile

    Returns
    -------
    ArrayLabels or None
        None if the array has none.

    Raises
    ------
    DataError
        If they are not one for each image, not numbers or text, or damaged.
    """
    if array.members is not None:
        member = array.members.labels
        if member is None:
            return None
        origin = f"{member.removesuffix('.npy')} in {array.name}"
        texts = _read(array.path, member, origin, array)
        binary = next((pair for pair in BINARY if set(texts) <= set(pair)), None)
        return ArrayLabels(origin, texts, () if binary is None else binary[:1])
    path = _beside(array.path)
    if path is None:
        return None
    origin = display_name(path)
    return ArrayLabels(origin, _read(path, None, origin, array))


def _beside(path: Path) -> Path | None:
    """Return the idx file of labels that belongs to one of images."""
    name = IDX_NAME.fullmatch(path.name)
    if name is None:
        return None
    start, dot, end = name.groups()
    ends = (end or "", "" if end else ".gz")
    paths = [path.with_name(f"{start}labels{dot}idx1-ubyte{suffix}") for suffix in ends]
    return next((beside for beside in paths if beside.is_file()), None)


def _read(path: Path, member: str | None, origin: str, array: ArrayFile) -> list[str]:
    """Read labels as text, integers without a decimal point."""
    n = array.shape[0]
    try:
        with unpacked(path, member) as file:
            dtype, shape = read_header(
                file, origin, dtype_codes="biufU", expected="numbers or text: labels"
            )
            if shape not in ((n,), (n, 1)):
                raise DataError(
                    f"{origin} holds an array of shape {shape}. Expected one label for each of the "
                    f"{n:,} images: shape ({n},)."
                )
            if dtype.itemsize > MAX_LABEL_BYTES:
                raise DataError(
                    f"{origin} holds text of {dtype.itemsize // 4:,} characters. Expected labels, "
                    f"of at most {MAX_LABEL_BYTES // 4}."
                )
            size = prod(shape) * dtype.itemsize
            check_bytes(path, member, origin, size)
            data = file.read(size)
        if len(data) < size:
            raise DataError(f"{origin} is cut off. Copy it again.")
        return _texts(np.frombuffer(data, dtype).reshape(-1), origin)
    except DataError:
        raise
    except DAMAGE as cause:
        raise damaged(origin, cause) from cause


def _texts(values: NDArray[np.generic], origin: str) -> list[str]:
    if values.dtype.kind == "f":
        numbers = values.astype(np.float64)
        missing = ~np.isfinite(numbers)
        if missing.any():
            raise DataError(
                f"{origin}, image {int(np.argmax(missing)) + 1}: expected a label, got "
                f"{numbers[missing][0]:g}. Fill it in or remove the image."
            )
        # From 2**53 on doubles do not hold every integer.
        if ((numbers == np.floor(numbers)) & (np.abs(numbers) < 2**53)).all():
            values = numbers.astype(np.int64)
    if values.dtype.kind == "U":
        points = values.view(np.dtype(np.uint32).newbyteorder(values.dtype.byteorder))
        if ((points > LAST_CHARACTER) | ((points >= 0xD800) & (points < 0xE000))).any():
            raise DataError(f"{origin} is damaged: not all of it is text. Copy it again.")
    return [str(value) for value in values.tolist()]
