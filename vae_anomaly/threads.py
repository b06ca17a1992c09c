"""Matrix products that round alike on any number of cores, and every row of them alike."""

from __future__ import annotations

from functools import cache
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController

__all__ = ["ONE_THREAD", "RIM"]

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


class _OneThread:
    """Hold products to one thread while anybody is inside; the setting is the process's."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._limit: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                _take_control()
                self._limit = _blas().limit(limits=1, user_api="blas")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                _take_control()
                self._limit.restore_original_limits()
                _take_control()  # and hand it on: the next to limit may be another thread


ONE_THREAD = _OneThread()
