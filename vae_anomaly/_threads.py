"""Thread pools, and matrix products with the same rounding on any number of threads."""

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
"""Columns added at either side of a matrix before a product, and removed afterwards.

BLAS libraries use other kernels at the edge of a matrix, which round differently. Four are too
few for OpenBLAS on some processors; eight suffice for its kernels from SSE to AVX-512.
"""


@cache
def _blas() -> ThreadpoolController:
    """Return the controller of BLAS libraries, cached because finding them takes a while."""
    return ThreadpoolController()


def _clear_controlling_thread() -> None:
    """Allow the next thread to set limits; threadpoolctl ignores all but the first that did."""
    for library in _blas().lib_controllers:
        clear = getattr(library, "clear_controlling_thread", None)  # since threadpoolctl 3.8
        if clear is not None:
            clear(force=True)


class ProcessWideSetting(ABC):
    """Process-wide setting for a ``with`` block, reference-counted over threads.

    The first thread to enter changes the setting, the last to leave restores it.
    """

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
        """Change the setting and store the previous value."""

    @abstractmethod
    def unmake(self) -> None:
        """Restore the previous value."""


class _SingleThread(ProcessWideSetting):
    """Limit matrix products to one thread."""

    _limit: Any = None

    def make(self) -> None:
        _clear_controlling_thread()
        self._limit = _blas().limit(limits=1, user_api="blas")

    def unmake(self) -> None:
        _clear_controlling_thread()
        self._limit.restore_original_limits()
        _clear_controlling_thread()  # the next thread to set a limit may be another one


SINGLE_THREAD = _SingleThread()

_thread_state = local()


def _mark_worker() -> None:
    _thread_state.is_worker = True


def in_parallel(work: Callable[[Task], object], tasks: Iterable[Task], threads: int) -> None:
    """Run `work` on each task, with at most `threads` at a time.

    A single task, and tasks of a call from within a worker, run in the calling thread.
    The first exception is raised here, and tasks that have not started are cancelled.

    Examples
    --------
    >>> squares = [0, 0, 0]
    >>> in_parallel(lambda i: squares.__setitem__(i, i * i), range(3), threads=2)
    >>> squares
    [0, 1, 4]
    """
    queued = list(tasks)
    if min(threads, len(queued)) <= 1 or getattr(_thread_state, "is_worker", False):
        for task in queued:
            work(task)
        return
    with ThreadPoolExecutor(threads, initializer=_mark_worker) as pool:
        try:
            for future in [pool.submit(work, task) for task in queued]:
                future.result()
        except BaseException:  # KeyboardInterrupt too
            pool.shutdown(cancel_futures=True)
            raise


class unlocked_cached_property(Generic[Value]):  # noqa: N801 - as `functools.cached_property`
    """A `functools.cached_property` without its lock, which all objects share before Python 3.12.

    Two threads may evaluate the property of one object at the same time, to the same value.
    """

    def __init__(self, evaluate: Callable[[Any], Value]) -> None:
        self._evaluate = evaluate
        self.__doc__ = evaluate.__doc__

    def __get__(self, owner: Any, _: type) -> Value:
        """Return the value, and store it as an attribute of `owner` that shadows the property."""
        value = owner.__dict__[self._evaluate.__name__] = self._evaluate(owner)
        return value
