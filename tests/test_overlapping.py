"""Reading, working and writing at the same time: in order, in bounded memory, with its failures."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from vae_anomaly.cli.overlapping import AHEAD, overlapping


def test_results_come_in_the_order_of_the_items() -> None:
    later = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert later.wait(10)
        later.set()
        return -item

    assert list(overlapping(work, range(20))) == [(i, -i) for i in range(20)]


def test_no_more_is_read_than_is_under_way() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(20):
            taken += 1
            yield item

    for done, _ in enumerate(overlapping(abs, items()), start=1):
        assert taken <= done + AHEAD


def test_a_failure_comes_at_its_turn_and_ends_the_work() -> None:
    results = overlapping(lambda item: 1 / item, [2, 1, 0, 4, 5, 6, 7])
    assert [result for _, (_, result) in zip(range(2), results, strict=False)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_a_failure_of_the_reader_waits_for_nobody() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(overlapping(abs, items()))
