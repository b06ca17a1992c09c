"""Listing of the images in a folder, and of their subfolders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vae_anomaly._text import listed
from vae_anomaly.data.image.signatures import SIGNATURE_BYTES, is_image

__all__ = ["Listing", "list_images"]

IMAGES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib"),
    *(".tif", ".tiff", ".webp", ".gif"),
)
"""Suffixes of images that are read: a file that is none is reported as unreadable."""

UNREAD = (
    *(".svg", ".eps", ".ps", ".pdf", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".psd", ".ico"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".raw", ".dng", ".cr2", ".nef"),
    *(".mp4", ".avi", ".mov", ".mkv", ".webm"),
)
"""Suffixes of images that are not read: they are reported too, since they are not scored."""

SYSTEM_FILES = ("thumbs.db", "desktop.ini", "__macosx")

MASKS = "ground_truth"


@dataclass(frozen=True)
class Listing:
    """Images in a folder.

    Attributes
    ----------
    files : list of str
        Sorted paths inside the folder, with "/".
    part : str
        Subfolder that all of them are in: "train", "test", or "" for none.
    masks : Path or None
        Folder with images that mark defects.
    notes : tuple of str
        Facts about what was left out.
    """

    files: list[str]
    part: str = ""
    masks: Path | None = None
    notes: tuple[str, ...] = field(default=())

    def within_part(self, file: str) -> str:
        """Return the path of an image without its part."""
        return file.removeprefix(f"{self.part}/") if self.part else file

    def category(self, file: str) -> str:
        """Return the subfolder of an image; "" if it is in none."""
        folder, slash, _ = self.within_part(file).partition("/")
        return folder if slash else ""

    def only(self, categories: Sequence[str]) -> Listing:
        """Return the images in subfolders of certain names; all if there are none."""
        counts = Counter(self.category(file) for file in self.files)
        kept = [category for category in counts if category.casefold() in categories]
        if not kept or len(kept) == len(counts):
            return self
        files = [file for file in self.files if self.category(file) in kept]
        note = f"only {listed(kept)} is used: {len(files):,} of {len(self.files):,} images"
        return replace(self, files=files, notes=(*self.notes, note))


def list_images(folder: Path, part: str = "") -> Listing:
    """List the images of a folder and its subfolders.

    Parameters
    ----------
    folder : Path
    part : {"", "train", "test"}
        Part to list of a data set that has parts.

    Returns
    -------
    Listing
    """
    root = folder.resolve()
    in_parts = (folder / "train").is_dir() and (folder / "test").is_dir()
    part = part if in_parts else ""
    masks = (root if in_parts else root.parent) / MASKS
    files, others = [], 0
    for file, is_image_file in _walk(folder / part, root, f"{part}/" if part else ""):
        if is_image_file:
            files.append(file)
        else:
            others += 1
    notes = [f"a data set in parts: {part} is used"] if part else []
    if others:
        notes.append(f"{others:,} other file{'s' * (others > 1)} passed over")
    return Listing(files, part, masks if masks.is_dir() else None, tuple(notes))


def _walk(folder: Path, root: Path, prefix: str) -> Iterator[tuple[str, bool]]:
    """Yield the visible files below a folder, in order, and whether each is to be read."""
    pending = _entries(folder, prefix)
    while pending:
        path, entry = pending.pop()
        if not entry.is_dir(follow_symlinks=False):
            yield path, _is_regular(entry, root) and _should_be_image(Path(entry.path))
        elif path != MASKS:
            pending += _entries(Path(entry.path), f"{path}/")


def _entries(folder: Path, prefix: str) -> list[tuple[str, os.DirEntry[str]]]:
    """Return the visible entries of a folder, the last one first, with their paths."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name, reverse=True)
    return [
        (f"{prefix}{entry.name}", entry)
        for entry in found
        if not entry.name.startswith(".") and entry.name.casefold() not in SYSTEM_FILES
    ]


def _is_regular(entry: os.DirEntry[str], root: Path) -> bool:
    """Return whether an entry is a file: no pipe or device, no link that leads out of `root`."""
    if not entry.is_symlink():
        return entry.is_file(follow_symlinks=False)
    try:
        target = Path(entry.path).resolve(strict=True)
    except (OSError, RuntimeError):  # a dangling link, or a cycle of links
        return False
    return target.is_file() and target.is_relative_to(root)


def _should_be_image(path: Path) -> bool:
    """Return whether the suffix is that of an image, or else the content is one."""
    if path.suffix.lower() in IMAGES + UNREAD:
        return True
    try:
        with path.open("rb") as file:
            return is_image(file.read(SIGNATURE_BYTES))
    except OSError:
        return False
