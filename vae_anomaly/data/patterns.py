"""Patterns of file names, such as ``photos/*.png``, as sources."""

from __future__ import annotations

import glob
from fnmatch import fnmatchcase
from pathlib import Path

__all__ = [
    "before_wildcards",
    "files_within",
    "folder_of_pattern",
    "is_pattern",
    "matches_within",
    "matching_files",
]


def is_pattern(path: str | Path) -> bool:
    """Return whether a path has wildcards, and is not the name of something that exists."""
    return glob.has_magic(str(path)) and not Path(path).exists()


def folder_of_pattern(pattern: str) -> Path:
    """Return the folder above the first wildcard of a pattern.

    Examples
    --------
    >>> folder_of_pattern("photos/2026-*/*.png").as_posix(), folder_of_pattern("*.csv").as_posix()
    ('photos', '.')
    """
    above = before_wildcards(pattern)
    return Path(above or ("/" if pattern.startswith("/") else "."))


def before_wildcards(pattern: str) -> str:
    """Return the part of a pattern, or of a URL with one, before the name with a wildcard."""
    first = min(pattern.find(sign) for sign in "*?[" if sign in pattern)
    return pattern[: pattern.rfind("/", 0, first) + 1].rstrip("/")


def files_within(folder: Path, pattern: str = "**/*") -> list[str]:
    """Return the files in a folder that match a pattern, in order, without its own path."""
    files = sorted(file for file in folder.glob(pattern) if file.is_file())
    return [file.relative_to(folder).as_posix() for file in files]


def matching_files(pattern: str) -> list[str]:
    """Return the files that match a pattern, in order, inside the folder above its wildcards."""
    return files_within(folder_of_pattern(pattern), _inside(pattern))


def matches_within(pattern: str, folder: Path) -> bool:
    """Return whether files that are written to a folder may match a pattern.

    Examples
    --------
    >>> [matches_within("photos/*.png", Path(name)) for name in ("photos", "photos/maps", "maps")]
    [True, False, False]
    >>> matches_within("photos/**/*.png", Path("photos/maps"))
    True
    """
    base, target = folder_of_pattern(pattern).resolve(), folder.resolve()
    if not target.is_relative_to(base):
        return False
    places, levels = target.relative_to(base).parts, _inside(pattern).split("/")[:-1]
    if not places or "**" in levels:
        return True
    return len(places) == len(levels) and all(map(fnmatchcase, places, levels))


def _inside(pattern: str) -> str:
    return pattern.removeprefix(before_wildcards(pattern)).lstrip("/")
