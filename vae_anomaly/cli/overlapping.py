"""Work on some items while the next are being read and the last are being written."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["overlapping"]

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 2
"""Items that are worked on at a time: one hides what the other does on a single core."""


def overlapping(
    work: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[tuple[Item, Result]]:
    """Yield items and what work makes of them, in order.

    Items are taken, and results handed out, by the caller's thread; work runs on
    others. What fails, fails here, at the item's turn. Memory is bounded: no more
    than `AHEAD` items are under way.

    Examples
    --------
    >>> list(overlapping(abs, [-1, 2, -3]))
    [(-1, 1), (2, 2), (-3, 3)]
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    pool = ThreadPoolExecutor(AHEAD)
    try:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) > AHEAD:
                first, result = waiting.popleft()
                yield first, result.result()
        while waiting:
            first, result = waiting.popleft()
            yield first, result.result()
    finally:
        pool.shutdown(cancel_futures=True)
