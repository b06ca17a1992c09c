"""Arrays of an npz archive: which are images, and which are their labels."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from vae_anomaly._text import listed

__all__ = ["Members", "chosen_members"]

NAMES_OF_IMAGES = ("x", "images", "image", "imgs", "img", "data")

NAMES_OF_LABELS = ("y", "label", "labels", "target", "targets")

WORDS = "|".join(NAMES_OF_IMAGES + NAMES_OF_LABELS)

PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test"}

IN_PARTS = re.compile(rf"(?:({WORDS})_?)?({'|'.join(PARTS)})(?:_?({WORDS}))?")
"""Names such as x_train, train_images or test."""


class Members(NamedTuple):
    """Arrays of an archive, by the names of its members.

    Attributes
    ----------
    images : str
    labels : str or None
    note : str
        Which array is read.
    """

    images: str
    labels: str | None
    note: str


def chosen_members(
    members: Sequence[str], *, fitting: bool, has_images: Callable[[str], bool]
) -> Members:
    """Choose the arrays of an archive that has some.

    Of one with parts, such as ``x_train``, ``y_train``, ``x_test`` and ``y_test``, a fit takes the
    former two, and scoring and evaluation the latter. Else images are ``X``, or an array that is
    called ``images`` or the like, or the first one of the shape of images; labels are ``y``,
    ``label``, ``labels`` or ``targets``.

    Parameters
    ----------
    members : sequence of str
        With ".npy" at their ends.
    fitting : bool
    has_images : callable
        Returns whether an array has the shape of images; called where names do not say it.

    Examples
    --------
    >>> names = ["x_train.npy", "y_train.npy", "x_test.npy"]
    >>> chosen_members(names, fitting=True, has_images=lambda name: True)[:2]
    ('x_train.npy', 'y_train.npy')
    """
    names = {member: member.removesuffix(".npy").casefold() for member in members}
    parts = {member: _part_of(name) for member, name in names.items()}
    wanted = "train" if fitting else "test"
    by_name = next((m for name in NAMES_OF_IMAGES for m in members if names[m] == name), None)
    in_part = next((m for m in members if parts[m] == (wanted, True)), None)
    if by_name is None and in_part is not None:
        images, labels = in_part, next((m for m in members if parts[m] == (wanted, False)), None)
    else:
        others = (m for m in members if names[m] not in NAMES_OF_LABELS and has_images(m))
        images = by_name or next(others, members[0])
        found = (m for name in NAMES_OF_LABELS for m in members if names[m] == name)
        labels = next((m for m in found if m != images), None)
    given = [member.removesuffix(".npy") for member in members]
    note = f"the array {listed([images.removesuffix('.npy')])} is read"
    return Members(images, labels, note if len(given) == 1 else f"{note}, of {listed(given)}")


def _part_of(name: str) -> tuple[str, bool] | None:
    """Return the part that an array belongs to, and whether its name is that of images."""
    found = IN_PARTS.fullmatch(name)
    if found is None or None not in found.group(1, 3):
        return None
    return PARTS[found.group(2)], (found.group(1) or found.group(3)) not in NAMES_OF_LABELS
