"""Matrix products that round alike on any number of cores, and every row of them alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController

__all__ = ["ONE_THREAD", "RIM", "ForAll"]

RIM = 16
"""Columns put around the rows in a product, and cut off again.

Libraries take other steps at the edge of a matrix, which round differently.
"""


@cache
def _blas() -> ThreadpoolController:
    """Libraries of matrix products; looking for them takes a while."""
    return ThreadpoolController()


def _take_control() -> None:
    """Let this thread set limits: from any but the first that did, they are passed over."""
    for library in _blas().lib_controllers:
        clear = getattr(library, "clear_controlling_thread", None)  # since threadpoolctl 3.8
        if clear is not None:
            clear(force=True)


class ForAll(ABC):
    """A setting of the whole process, made when the first comes in and unmade by the last out."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self.make()
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self.unmake()

    @abstractmethod
    def make(self) -> None:
        """Change the setting, and remember what it was."""

    @abstractmethod
    def unmake(self) -> None:
        """Put back what it was."""


class _OneThread(ForAll):
    """Hold products to one thread."""

    _limit: Any = None

    def make(self) -> None:
        _take_control()
        self._limit = _blas().limit(limits=1, user_api="blas")

    def unmake(self) -> None:
        _take_control()
        self._limit.restore_original_limits()
        _take_control()  # and hand it on: the next to limit may be another thread


ONE_THREAD = _OneThread()
