"""Listing of the images in a folder, and of what in it is no image, or not read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import counted, listed
from vae_anomaly.data.image.label_file import LABEL_FILE
from vae_anomaly.data.image.signatures import SIGNATURE_BYTES, foreign_image, is_image
from vae_anomaly.data.patterns import matching_files
from vae_anomaly.names import ROW_SUFFIXES

__all__ = [
    "IMAGE_SUFFIXES",
    "Listing",
    "is_folder_of_tables",
    "is_pattern_of_images",
    "list_images",
]

IMAGE_SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".bmp", ".dib"),
    *(".tif", ".tiff", ".webp", ".gif"),
)
"""Suffixes of images that are read: a file that is none is reported as unreadable.

A folder with such a file is no folder of tables."""

UNREAD = (
    *(".svg", ".eps", ".ps", ".pdf", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".psd", ".ico"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".raw", ".dng", ".cr2", ".nef", ".arw"),
    *(".exr", ".hdr", ".dcm", ".fits", ".jxr"),
    *(".mp4", ".avi", ".mov", ".mkv", ".webm"),
)
"""Suffixes of images that are not read: they are reported too, since they are not scored."""

ALL_SUFFIXES = IMAGE_SUFFIXES + UNREAD

SYSTEM_FILES = ("thumbs.db", "desktop.ini", "__macosx")

MASKS = "ground_truth"

OUTSIDE = "a link that leads out of the folder, not followed without --follow-links"
BROKEN = "a link that leads nowhere"

PASSED_OVER = {
    "other": ("file of another type", "files of other types"),
    "hidden": ("hidden image", "hidden images"),
    "special": ("pipe or device", "pipes or devices"),
    "within": ("link to a folder in it", "links to folders in it"),
    "outside": ("link out of it to no image", "links out of it to no images"),
    "broken": ("broken link", "broken links"),
}
"""Reason -> what was passed over, in the singular and in the plural."""


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
    faults : mapping of str to str
        Some of the files -> why they are not to be read.
    follow : Path or None
        Folder; links that lead into it were followed.
    has_labels : bool
        Whether there is a file of labels.
    """

    files: list[str]
    part: str = ""
    masks: Path | None = None
    notes: tuple[str, ...] = field(default=())
    faults: Mapping[str, str] = field(default_factory=dict)
    follow: Path | None = None
    has_labels: bool = False

    def within_part(self, file: str) -> str:
        """Return the path of an image without its part."""
        return file.removeprefix(f"{self.part}/") if self.part else file

    def category(self, file: str) -> str:
        """Return the subfolder of an image; "" if it is in none."""
        folder, slash, _ = self.within_part(file).partition("/")
        return folder if slash else ""

    def noted(self, note: str) -> Listing:
        """Return the same with a further note."""
        return replace(self, notes=(*self.notes, note))

    def without(self, anomalous: NDArray[np.bool_]) -> Listing:
        """Return the images that a file of labels says are normal."""
        files = [file for file, leave in zip(self.files, anomalous, strict=True) if not leave]
        note = f"by {LABEL_FILE}, {len(files):,} of {len(self.files):,} images are normal and used"
        return replace(self, files=files).noted(note)

    def only(self, categories: Sequence[str]) -> Listing:
        """Return the images in subfolders of certain names; all if there are none."""
        counts = Counter(self.category(file) for file in self.files)
        kept = [category for category in counts if category.casefold() in categories]
        if not kept or len(kept) == len(counts):
            return self
        files = [file for file in self.files if self.category(file) in kept]
        note = f"only {listed(kept)} is used: {len(files):,} of {len(self.files):,} images"
        return replace(self, files=files).noted(note)


def list_images(
    folder: Path,
    part: str = "",
    follow: Path | None = None,
    wanted: Collection[str] | None = None,
) -> Listing:
    """List the images of a folder and its subfolders.

    Parameters
    ----------
    folder : Path
    part : {"", "train", "test"}
        Part to list of a data set that has parts.
    follow : Path, optional
        Folder; links that lead into it are followed. Links to images in `folder` always are.
    wanted : collection of str, optional
        Paths inside the folder; other files are passed over without a note.

    Returns
    -------
    Listing
    """
    root = folder.resolve()
    in_parts = (folder / "train").is_dir() and (folder / "test").is_dir()
    part = part if in_parts else ""
    masks = (root if in_parts else root.parent) / MASKS
    walk = _Walk(root, None if follow is None else follow.resolve(), wanted)
    files, faults, passed_over = [], {}, Counter[str]()
    for file, verdict in walk.verdicts(folder / part, f"{part}/" if part else ""):
        if file == LABEL_FILE:
            continue
        if verdict in PASSED_OVER:
            passed_over[verdict] += 1
            continue
        files.append(file)
        if verdict:
            faults[file] = verdict
    notes = [f"a data set in parts: {part} is used"] if part else []
    if passed_over:
        counts = [counted(passed_over[why], *PASSED_OVER[why]) for why in PASSED_OVER]
        some = [words for words in counts if not words.startswith("0 ")]
        notes.append(f"passed over {', '.join(some)}")
    for reason, count in Counter(faults.values()).items():
        notes.append(f"not read: {counted(count, 'image')}, {reason}")
    found = masks if masks.is_dir() else None
    has_labels = (folder / LABEL_FILE).is_file()
    return Listing(files, part, found, tuple(notes), faults, follow, has_labels)


def is_folder_of_tables(folder: Path) -> bool:
    """Return whether a folder holds tables and no images, or has the name of a table."""
    tables = folder.name.lower().endswith(ROW_SUFFIXES)
    for file, verdict in _Walk(folder.resolve(), None).verdicts(folder, ""):
        if verdict not in PASSED_OVER:
            return False
        tables = tables or (verdict == "other" and file.lower().endswith(ROW_SUFFIXES))
    return tables


def is_pattern_of_images(pattern: str) -> bool:
    """Return whether images are among the files that match a pattern, by their suffixes."""
    return any(file.lower().endswith(IMAGE_SUFFIXES) for file in matching_files(pattern))


class _Walk:
    """Walk through a folder, without endless circles of links.

    Parameters
    ----------
    root : Path
        The folder, resolved.
    follow : Path or None
        Folder, resolved, into which links are followed.
    wanted : collection of str, optional
        Files to list; all without it.
    """

    def __init__(
        self, root: Path, follow: Path | None, wanted: Collection[str] | None = None
    ) -> None:
        self.root, self.follow = root, follow
        self._wanted = None if wanted is None else _with_folders(wanted)
        self._followed: set[Path] = set()

    def verdicts(self, folder: Path, prefix: str) -> Iterator[tuple[str, str]]:
        """Yield the files below a folder, in order, with a verdict.

        It is "" for an image to read, a name in `PASSED_OVER`, or else the reason why an image is
        not read.
        """
        pending = _entries(folder, prefix)
        while pending:
            path, entry = pending.pop()
            if self._wanted is not None and path not in self._wanted:
                continue
            if entry.name.startswith("."):
                yield from ((path, "hidden") for _ in range(_count_images(entry)))
            elif entry.is_symlink():
                target = _target(entry)
                if target is not None and target.is_dir() and self._may_follow(target):
                    self._followed.add(target)
                    pending += _entries(target, f"{path}/")
                else:
                    yield path, self._verdict_of_link(entry, target)
            elif not entry.is_dir(follow_symlinks=False):
                yield path, _verdict(Path(entry.path))
            elif path != MASKS:
                pending += _entries(Path(entry.path), f"{path}/")

    def _may_follow(self, target: Path) -> bool:
        """Return whether a link to a folder is followed: not into what is walked through anyway."""
        allowed = self.follow is not None and target.is_relative_to(self.follow)
        known = any(target.is_relative_to(other) for other in (self.root, *self._followed))
        return allowed and not known and not self.root.is_relative_to(target)

    def _verdict_of_link(self, entry: os.DirEntry[str], target: Path | None) -> str:
        """Return the verdict of a link that is not followed, or leads to a file."""
        expected = Path(entry.name).suffix.lower() in ALL_SUFFIXES
        if target is None:
            return BROKEN if expected else "broken"
        within = target.is_relative_to(self.root)
        if target.is_dir():
            known = within or any(target.is_relative_to(other) for other in self._followed)
            return "within" if known or self.root.is_relative_to(target) else OUTSIDE
        allowed = within or (self.follow is not None and target.is_relative_to(self.follow))
        if allowed or not target.is_file():
            return _verdict(Path(entry.path))
        return OUTSIDE if expected or target.suffix.lower() in ALL_SUFFIXES else "outside"


def _with_folders(files: Collection[str]) -> set[str]:
    """Return paths, and those of all folders that they are in."""
    folders = {str(folder) for file in files for folder in PurePosixPath(file).parents}
    return folders.union(files)


def _entries(folder: Path, prefix: str) -> list[tuple[str, os.DirEntry[str]]]:
    """Return the entries of a folder, the last one first, with their paths."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name, reverse=True)
    return [
        (f"{prefix}{entry.name}", entry)
        for entry in found
        if entry.name.casefold() not in SYSTEM_FILES
    ]


def _count_images(entry: os.DirEntry[str]) -> int:
    """Return the number of images in a hidden file or folder, by their suffixes."""
    if not entry.is_dir(follow_symlinks=False):
        return int(_is_named_as_image(entry.name))
    return sum(_is_named_as_image(name) for _, _, names in os.walk(entry.path) for name in names)


def _is_named_as_image(name: str) -> bool:
    # "._a.png" holds what macOS knows about a.png.
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith("._")


def _target(entry: os.DirEntry[str]) -> Path | None:
    """Return where a link leads; None for one that leads nowhere, or in a circle."""
    try:
        return Path(entry.path).resolve(strict=True)
    except (OSError, RuntimeError):
        return None


def _verdict(path: Path) -> str:
    """Return the verdict of a file: its suffix is that of an image, or else its content is one."""
    if not path.is_file():
        return "special"
    if path.suffix.lower() in ALL_SUFFIXES:
        return ""
    try:
        with path.open("rb") as file:
            start = file.read(SIGNATURE_BYTES)
    except OSError:
        return "other"
    return "" if is_image(start) or foreign_image(start) else "other"
