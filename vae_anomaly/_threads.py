"""Work on many cores, and matrix products that round alike on any number of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Lock, local
from typing import Any, Generic, TypeVar

from threadpoolctl import ThreadpoolController

__all__ = [
    "SINGLE_THREAD",
    "PADDING",
    "ProcessWideSetting",
    "in_parallel",
    "unlocked_cached_property",
]

Task = TypeVar("Task")
Value = TypeVar("Value")

PADDING = 8
"""Columns put around the rows in a product, and cut off again.

Libraries take other steps at the edge of a matrix, which round differently. Four are too
few for OpenBLAS on some processors; eight are enough for its kernels from SSE to AVX-512.
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


class ProcessWideSetting(ABC):
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


class _SingleThread(ProcessWideSetting):
    """Hold products to one thread."""

    _limit: Any = None

    def make(self) -> None:
        _take_control()
        self._limit = _blas().limit(limits=1, user_api="blas")

    def unmake(self) -> None:
        _take_control()
        self._limit.restore_original_limits()
        _take_control()  # and hand it on: the next to limit may be another thread


SINGLE_THREAD = _SingleThread()


_here = local()


def _work_here() -> None:
    _here.is_worker = True


def in_parallel(work: Callable[[Task], object], tasks: Iterable[Task], threads: int) -> None:
    """Do work on tasks, so many at a time; in turn within such work, and a single one here.

    What fails, fails here, and what has not begun by then is dropped.

    Examples
    --------
    >>> squares = [0, 0, 0]
    >>> in_parallel(lambda i: squares.__setitem__(i, i * i), range(3), threads=2)
    >>> squares
    [0, 1, 4]
    """
    waiting = list(tasks)
    if min(threads, len(waiting)) <= 1 or getattr(_here, "is_worker", False):
        for task in waiting:
            work(task)
        return
    with ThreadPoolExecutor(threads, initializer=_work_here) as pool:
        try:
            for done in [pool.submit(work, task) for task in waiting]:
                done.result()
        except BaseException:  # an interrupt as well
            pool.shutdown(cancel_futures=True)
            raise


class unlocked_cached_property(Generic[Value]):  # noqa: N801 - as `functools.cached_property`
    """As `functools.cached_property`, which before Python 3.12 makes all objects wait for one.

    Of the same object two threads may evaluate it, to the same value.
    """

    def __init__(self, evaluate: Callable[[Any], Value]) -> None:
        self._evaluate = evaluate
        self.__doc__ = evaluate.__doc__

    def __get__(self, owner: Any, _: type) -> Value:
        """Evaluate; the value then stands before this among the attributes of `owner`."""
        value = owner.__dict__[self._evaluate.__name__] = self._evaluate(owner)
        return value
