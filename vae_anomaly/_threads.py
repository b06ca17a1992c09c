"""Thread pools, threads lost in a fork, and matrix products that round alike on any number."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from threading import Lock, current_thread
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

from vae_anomaly.exceptions import ParameterError

__all__ = [
    "SINGLE_THREAD",
    "PADDING",
    "TENSORFLOW_THREADS",
    "ProcessWideSetting",
    "Swapped",
    "on_one_thread",
    "only_fit_of",
    "parallel_map",
]

Task = TypeVar("Task")
Result = TypeVar("Result")

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
                self.apply()
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self.restore()

    @abstractmethod
    def apply(self) -> None:
        """Change the setting and store the previous value."""

    @abstractmethod
    def restore(self) -> None:
        """Restore the previous value."""


class Swapped(ProcessWideSetting):
    """Value of a setting that a function changes, which returns the value before.

    Parameters
    ----------
    swap : callable
    value : object
    """

    def __init__(self, swap: Callable[[Any], Any], value: Any) -> None:
        super().__init__()
        self._swap, self._value = swap, value

    def apply(self) -> None:
        self._before = self._swap(self._value)

    def restore(self) -> None:
        self._swap(self._before)


class _SingleThread(ProcessWideSetting):
    """Limit matrix products to one thread."""

    _limit: Any = None

    def apply(self) -> None:
        _clear_controlling_thread()
        self._limit = _blas().limit(limits=1, user_api="blas")

    def restore(self) -> None:
        _clear_controlling_thread()
        self._limit.restore_original_limits()
        _clear_controlling_thread()  # the next thread to set a limit may be another one


SINGLE_THREAD = _SingleThread()


class _TensorFlowThreads:
    """Threads of TensorFlow, which a forked process lacks: it would wait for them for ever.

    Attributes
    ----------
    are_lost : bool
        Whether TensorFlow ran in the process that this one was forked from.
    """

    are_lost = False

    def after_fork(self) -> None:
        """Note in a new process whether TensorFlow has begun to run, here or in other code."""
        context = getattr(sys.modules.get("tensorflow.python.eager.context"), "_context", None)
        if getattr(context, "_context_handle", None) is not None:
            self.are_lost = True


TENSORFLOW_THREADS = _TensorFlowThreads()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=TENSORFLOW_THREADS.after_fork)

_in_fit: set[int] = set()
"""Identities of the detectors that are being fitted."""


@contextmanager
def only_fit_of(detector: object) -> Iterator[None]:
    """Refuse to fit a detector within a fit of the same one, which would mix two models.

    Raises
    ------
    ParameterError
    """
    if id(detector) in _in_fit:
        raise ParameterError(
            "This detector is being fitted already: its callback, or another thread, called fit "
            "again. Fit a clone instead."
        )
    _in_fit.add(id(detector))
    try:
        yield
    finally:
        _in_fit.remove(id(detector))


WORKER = "vae-anomaly-worker"
"""Start of the names of threads that work for others."""

_is_alone: ContextVar[bool] = ContextVar("is_alone", default=False)


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Work in the calling thread alone, where a scheduler has a worker for each core."""
    token = _is_alone.set(True)
    try:
        yield
    finally:
        _is_alone.reset(token)


def parallel_map(
    work: Callable[[Task], Result], tasks: Sequence[Task], threads: int
) -> Iterable[Result]:
    """Return the results of `work` on each task, in order, with at most `threads` at a time.

    A single task, and tasks of a call from within a worker, run in the calling thread when
    their results are iterated over. The first exception is raised here, and tasks that have
    not started are cancelled.

    Examples
    --------
    >>> list(parallel_map(abs, [-1, 2, -3], threads=2))
    [1, 2, 3]
    """
    is_worker = _is_alone.get() or current_thread().name.startswith(WORKER)
    if min(threads, len(tasks)) <= 1 or is_worker:
        return map(work, tasks)
    pool, futures = _workers(threads), list[Future[Result]]()
    try:
        for task in tasks:
            futures.append(pool.submit(work, task))
        return [future.result() for future in futures]
    finally:  # KeyboardInterrupt too
        for future in futures:
            future.cancel()
        wait(futures)


@cache
def _workers(threads: int) -> ThreadPoolExecutor:
    """Return a pool that all calls share: its threads keep their memory for results."""
    return ThreadPoolExecutor(threads, thread_name_prefix=WORKER)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.cache_clear)
