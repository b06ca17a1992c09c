"""Executors: how a function is applied to the batches of a source.

An executor is a callable ``(function, items) -> results``. It returns the results in the order
of the items. `map`, the ``map`` of a pool of `concurrent.futures`, and that of a cluster client
all fit. What the pipeline runs are picklable pure functions.

Many such ``map`` methods submit all items at once, and so read all of a source. `Pool` wraps
anything with a ``submit`` method and keeps memory bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

__all__ = ["Executor", "Pool", "overlapped"]

Item = TypeVar("Item")
Result = TypeVar("Result")
Final = TypeVar("Final", covariant=True)

MAX_PENDING = 2
"""Items that the default executor works on at a time: reading and writing hide behind them."""


class Executor(Protocol):
    """Callable that applies a function to items, and returns the results in their order."""

    def __call__(
        self, function: Callable[[Item], Result], items: Iterable[Item], /
    ) -> Iterator[Result]:
        """Apply the function."""


class Pending(Protocol[Final]):
    """Result that may not be there yet."""

    def result(self) -> Final:
        """Wait for the result, and return it or raise the error."""


class Submitter(Protocol):
    """Pool of workers, such as those of `concurrent.futures`, or the client of a cluster."""

    def submit(self, function: Callable[[Item], Result], item: Item, /) -> Pending[Result]:
        """Start a call."""


class Pool:
    """Executor over a pool of workers, in bounded memory.

    Items are taken, and results are yielded, by the calling thread; the function runs on the
    workers. An error is raised at the turn of its item. The pool is not shut down.

    Parameters
    ----------
    workers : object with a method submit
        For example a `concurrent.futures.ProcessPoolExecutor`.
    max_pending : int, default=2
        Items that are submitted and not yet yielded.

    Examples
    --------
    >>> with ThreadPoolExecutor() as threads:
    ...     list(Pool(threads, max_pending=8)(abs, [-1, 2, -3]))
    [1, 2, 3]
    """

    def __init__(self, workers: Submitter, max_pending: int = MAX_PENDING) -> None:
        self._workers = workers
        self._max_pending = max_pending

    def __call__(
        self, function: Callable[[Item], Result], items: Iterable[Item], /
    ) -> Iterator[Result]:
        """Yield the results, in the order of the items."""
        pending: deque[Pending[Result]] = deque()
        for item in items:
            pending.append(self._workers.submit(function, item))
            if len(pending) > self._max_pending:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def overlapped(function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
    """Apply a function on threads, while the calling thread reads items and takes results.

    This is the default executor.

    Examples
    --------
    >>> list(overlapped(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    threads = ThreadPoolExecutor(MAX_PENDING)
    try:
        yield from Pool(threads)(function, items)
    finally:
        threads.shutdown(cancel_futures=True)
