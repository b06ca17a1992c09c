"""Fault injection: the k-th system call fails."""

from __future__ import annotations

import errno
import gc
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def system_error(name: str) -> Callable[[], OSError]:
    code = getattr(errno, name)
    return lambda: OSError(code, os.strerror(code))


CODES = ("ENOSPC", "EIO", "EACCES", "EROFS", "EDQUOT", "EMFILE")

ERRORS: dict[str, Callable[[], BaseException]] = {
    **{name: system_error(name) for name in CODES},
    "short write": system_error("ENOSPC"),
    "MemoryError": MemoryError,
    "KeyboardInterrupt": KeyboardInterrupt,
}

CALLS = ("open", "fstat", "fsync", "replace")
"""Functions of `os` that are counted, beside writes and closing of files."""

BUFFER_BYTES = 512
"""Buffer size of files under test, small so that there are many writes."""


class Faults:
    """Counter of calls, of which the k-th fails.

    Attributes
    ----------
    calls : int
        Number of calls so far.
    failed : str or None
        Name of the call that failed.
    """

    def __init__(self, k: int, name: str) -> None:
        self.k, self.error, self.is_short = k, ERRORS[name], name == "short write"
        self.calls = 0
        self.failed: str | None = None

    def is_now(self, name: str) -> bool:
        """Count a call; return whether it has to fail."""
        self.calls += 1
        if self.calls == self.k:
            self.failed = name
        return self.calls == self.k

    def failing(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function of `os`."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if self.is_now(name):
                raise self.error()
            return call(*args, **kwargs)

        return wrapped


class FailingFile(io.FileIO):
    """A file of which one write or the closing fails; a failing write may write a part before."""

    def __init__(self, descriptor: int, faults: Faults) -> None:
        super().__init__(descriptor, "wb")
        self.faults = faults

    def write(self, data: Any) -> int:
        if not self.faults.is_now("write"):
            return super().write(data)
        if self.faults.is_short:
            super().write(bytes(data)[: len(data) // 2])
        raise self.faults.error()

    def close(self) -> None:
        was_open = not self.closed
        super().close()  # on Linux the descriptor is released in any case
        if was_open and self.faults.is_now("close"):
            raise self.faults.error()


@contextmanager
def system_failing(k: int, name: str) -> Iterator[Faults]:
    """Patch `os` so that the k-th system call fails."""
    faults = Faults(k, name)
    before = {call: getattr(os, call) for call in (*CALLS, "fdopen")}

    def fdopen(descriptor: int, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if "w" not in mode:
            return before["fdopen"](descriptor, mode, *args, **kwargs)
        file = io.BufferedWriter(FailingFile(descriptor, faults), BUFFER_BYTES)
        return file if "b" in mode else io.TextIOWrapper(file, **kwargs)

    try:
        for call in CALLS:
            setattr(os, call, faults.failing(call, before[call]))
        os.fdopen = fdopen
        yield faults
    finally:
        for call, real in before.items():
            setattr(os, call, real)


class FaultLoop:
    """Repetition of an operation, each time with a later failing call, until it succeeds.

    Parameters
    ----------
    target : Path
        The file that the operation writes.
    operation : callable
        Returns whether it succeeded, or raises.
    """

    def __init__(self, target: Path, operation: Callable[[], bool]) -> None:
        self.target, self.operation = target, operation
        target.unlink(missing_ok=True)
        assert operation()
        self.new = target.read_bytes()
        self.points = 0

    def run(self, name: str, old: bytes = b"old") -> None:
        """Fail each call in turn; check that the target is old or new and nothing else remains."""
        for k in range(1, 10_000):
            self.target.write_bytes(old)
            beside, descriptors = set(self.target.parent.iterdir()), open_descriptors()
            with system_failing(k, name) as faults:
                try:
                    succeeded = self.operation()
                except (OSError, MemoryError, KeyboardInterrupt):
                    succeeded = False
            content = self.target.read_bytes()
            where = f"{name} at call {k}, {faults.failed}"
            if faults.failed is None:
                assert succeeded, where
                assert content == self.new, where
                return
            self.points += 1
            assert content in (old, self.new), where
            assert content == self.new if succeeded else True, where
            assert set(self.target.parent.iterdir()) == beside, where
            if open_descriptors() > descriptors:
                gc.collect()  # only then: it is slow
                assert open_descriptors() <= descriptors, where
        raise AssertionError("the operation never succeeded")


def open_descriptors() -> int:
    """Return the number of open file descriptors; 0 where /proc is missing."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0
