"""Atomic file writes, directories at any depth, and paths that no file can have.

A file is written under a temporary name in the directory of its target, synced,
and renamed over the target. After a full disk, Ctrl-C or a power cut the target
is the old file or the new one, never a part. The writer locks its temporary
file. An unlocked one was left by a killed process; the next writer of the same
target removes it.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from vae_anomaly._text import display_name
from vae_anomaly.exceptions import OutputError

try:
    import fcntl
except ImportError:  # Windows has no flock: stale files are recognised by their age alone
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "atomic_write",
    "check_name",
    "check_path",
    "check_writable",
    "make_folder",
    "output_error",
]

STALE_SECONDS = 24 * 3600
"""Age from which a temporary file is stale where locks do not work."""

MAX_NAME_BYTES = 200
"""Bytes of the target's name that its temporary files repeat; file systems allow 255 in total."""

REASONS = {
    errno.ENOENT: "there is no directory {folder!r}. Create it, or choose another output.",
    errno.ENOTDIR: "{folder!r} is not a directory. Choose another output.",
    errno.EISDIR: "it is a directory. Name a file.",
    errno.EACCES: "no permission to write in {folder!r}. Choose another output.",
    errno.EPERM: "no permission to write in {folder!r}. Choose another output.",
    errno.EROFS: "the file system is read-only. Choose another output.",
    errno.ENOSPC: "the disk is full. Free some space and run it again.",
    errno.EDQUOT: "the disk quota is used up. Free some space and run it again.",
    errno.EFBIG: "the file would be larger than the system allows. Choose another output.",
    errno.ENAMETOOLONG: "its name is too long. Choose a shorter one.",
    errno.ELOOP: "its symbolic links go round in circles. Choose another output.",
    errno.EPIPE: "its reader has closed it.",
}


@contextmanager
def atomic_write(
    path: str | os.PathLike[str], mode: str = "wb", **kwargs: Any
) -> Iterator[IO[Any]]:
    """Open a file for writing that replaces its target once it is complete.

    Any exception in the ``with`` block, KeyboardInterrupt included, removes the
    temporary file and leaves the target unchanged. The new file keeps the
    permissions of the one it replaces. Symbolic links are followed. Devices and
    pipes, which cannot be replaced, are written directly.

    Parameters
    ----------
    path : str or path-like
        The target. Its directory must exist.
    mode : {"wb", "w"}, default="wb"
    **kwargs
        Passed on to `open`: encoding, newline.

    Yields
    ------
    file object

    Raises
    ------
    OutputError
        If the file cannot be written; `errno` is that of the cause. An OSError of
        the ``with`` block is converted too unless it names a file.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "out.txt"
    >>> with atomic_write(path, "w", encoding="utf-8") as file:
    ...     _ = file.write("complete")
    >>> path.read_text()
    'complete'
    """
    target = Path(path)
    check_name(target)
    with _explained(target):
        _refuse_directory(target)
        if target.exists() and not target.is_file():
            with _about_target():
                device = target.open(mode, **kwargs)
            with device:
                yield device
            return
        with _replacement(_resolved(target), mode, **kwargs) as file:
            yield file


def check_path(path: str | os.PathLike[str]) -> None:
    r"""Raise for a path that no file can have: with a NUL, or with text that is no bytes.

    Python raises a ValueError for it where it is opened, and finds that it does not exist.

    Raises
    ------
    OSError

    Examples
    --------
    >>> check_path("a\0b")
    Traceback (most recent call last):
        ...
    OSError: [Errno 22] its name holds a character that no file name has: 'a\x00b'
    """
    try:
        possible = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        words = "its name holds a character that no file name has"
        raise OSError(errno.EINVAL, words, os.fspath(path))


def make_folder(path: Path) -> None:
    """Create a directory and those above it, however many there are.

    Raises
    ------
    OSError
    """
    check_path(path)
    for folder in reversed(path.parents):
        if not folder.exists():
            folder.mkdir(exist_ok=True)
    path.mkdir(exist_ok=True)


def check_name(path: str | os.PathLike[str]) -> None:
    """Check that a file may have this name.

    Raises
    ------
    OutputError
    """
    with _explained(Path(path)), _about_target():
        check_path(path)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Check that `atomic_write` could write `path`, before long work begins.

    Raises
    ------
    OutputError
        As `atomic_write` would.
    """
    target = Path(path)
    check_name(target)
    with _explained(target):
        _refuse_directory(target)
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if target.is_file() or not target.exists():
            fd, temporary = _create(_resolved(target))
            try:
                temporary.unlink()
            finally:
                os.close(fd)


def _refuse_directory(target: Path) -> None:
    with _about_target():
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


def _resolved(target: Path) -> Path:
    """Return `target` with symbolic links followed."""
    try:
        return target.resolve()
    except RuntimeError as cause:  # Python before 3.13 raises it for a loop of links
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from cause


@contextmanager
def _explained(target: Path) -> Iterator[None]:
    """Convert an OSError about `target` to an OutputError."""
    try:
        yield
    except OutputError:
        raise
    except OSError as cause:
        if cause.filename is not None:  # another file, which the block reads
            raise
        raise output_error(target, cause) from cause


@contextmanager
def _about_target() -> Iterator[None]:
    """Remove the file name from an OSError, so that it counts as one about the target."""
    try:
        yield
    except OSError as cause:
        cause.filename = None
        raise


def output_error(target: str | os.PathLike[str], cause: OSError) -> OutputError:
    """Return the error for a `target` that could not be written: the reason and what to do.

    Examples
    --------
    >>> output_error("x/out.csv", OSError(errno.ENOSPC, "No space left on device"))
    OutputError('Cannot write x/out.csv: the disk is full. Free some space and run it again.')
    """
    reason = REASONS.get(cause.errno or 0, f"{cause.strerror or cause}.")
    if cause.errno in (errno.EACCES, errno.EPERM) and os.path.lexists(target):
        reason = "the file is write-protected. Choose another output."
    folder = str(Path(target).parent)
    name = display_name(os.fspath(target))
    error = OutputError(f"Cannot write {name}: {reason.format(folder=folder)}")
    error.errno = cause.errno
    return error


@contextmanager
def _replacement(target: Path, mode: str, **kwargs: Any) -> Iterator[IO[Any]]:
    """Write a temporary file beside `target`, then rename it."""
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    _remove_stale(target)
    fd, temporary = _create(target)
    try:
        with os.fdopen(fd, mode, **kwargs) as file:
            with suppress(OSError):  # a new file keeps the permissions of the umask
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
            yield file
            file.flush()
            os.fsync(fd)
            if fcntl is None:  # Windows does not rename open files
                file.close()
            with _about_target():
                temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync_directory(target.parent)


def _create(target: Path) -> tuple[int, Path]:
    """Create and lock a temporary file, so that no other process takes it for a stale one."""
    name = os.fsdecode(os.fsencode(target.name)[:MAX_NAME_BYTES])
    while True:
        temporary = target.with_name(f".{name}.{os.urandom(8).hex()}.tmp")
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
        with _about_target():
            fd = os.open(temporary, flags, 0o666)
        try:
            _lock(fd, wait=True)
            if os.fstat(fd).st_nlink:  # else another process removed it before it was locked
                return fd, temporary
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            os.close(fd)
            raise
        os.close(fd)


def _lock(fd: int, *, wait: bool) -> bool:
    """Lock an open file exclusively; return whether that succeeded."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # locked by its writer, or a file system without locks
        return False
    return True


def _remove_stale(target: Path) -> None:
    """Remove temporary files of `target` whose writers were killed."""
    prefix = f".{os.fsdecode(os.fsencode(target.name)[:MAX_NAME_BYTES])}."
    with suppress(OSError):
        for entry in list(target.parent.iterdir()):
            token = entry.name.removeprefix(prefix).removesuffix(".tmp")
            if entry.name == f"{prefix}{token}.tmp" and _is_token(token):
                _remove_if_stale(entry)


def _is_token(text: str) -> bool:
    return len(text) == 16 and set(text) <= set("0123456789abcdef")


def _remove_if_stale(temporary: Path) -> None:
    with suppress(OSError):
        fd = os.open(temporary, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        try:
            old = time.time() - os.fstat(fd).st_mtime > STALE_SECONDS
            if _lock(fd, wait=False) or old:
                temporary.unlink()
        finally:
            os.close(fd)


def _sync_directory(folder: Path) -> None:
    """Sync a directory, so that a rename in it survives a power cut."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
