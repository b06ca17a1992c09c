"""Executors: reading, working and writing at once, in order, in bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from vae_anomaly.pipeline.executors import MAX_PENDING, Pool, overlapped


def test_results_come_in_the_order_of_the_items() -> None:
    later = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert later.wait(10)
        later.set()
        return -item

    assert list(overlapped(work, range(20))) == [-i for i in range(20)]


def test_no_more_is_read_than_is_under_way() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(20):
            taken += 1
            yield item

    for done, _ in enumerate(overlapped(abs, items()), start=1):
        assert taken <= done + MAX_PENDING


def test_a_pool_reads_no_more_than_it_is_allowed() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(20):
            taken += 1
            yield item

    with ThreadPoolExecutor(2) as threads:
        for done, _ in enumerate(Pool(threads, max_pending=5)(abs, items()), start=1):
            assert taken <= done + 5
    assert done == 20


def test_processes_are_workers_as_well() -> None:
    with ProcessPoolExecutor(1) as processes:
        assert list(Pool(processes)(abs, [-1, 2, -3])) == [1, 2, 3]


def test_a_failure_comes_at_its_turn_and_ends_the_work() -> None:
    results = overlapped(lambda item: 1 / item, [2, 1, 0, 4, 5, 6, 7])
    assert [result for _, result in zip(range(2), results, strict=False)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_a_failure_of_the_reader_does_not_wait() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(overlapped(abs, items()))
