"""What each network gets to see: all of its rows, in an order of its own, and others to watch."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from vae_anomaly.training.batches import InMemoryData, shuffled_batches


@pytest.mark.parametrize("batch_size", [3, 10, 64])
def test_every_row_comes_once_an_epoch_for_every_member(batch_size: int) -> None:
    learned = np.stack([np.arange(0, 20, 2), np.arange(1, 21, 2)])
    batches = shuffled_batches(learned, batch_size, np.random.RandomState(0))
    taken = np.concatenate(list(islice(batches, 30)), axis=1)
    for member, rows in zip(taken, learned, strict=True):
        for epoch in range(3):
            assert sorted(member[10 * epoch : 10 * epoch + 10]) == list(rows)
    assert not np.array_equal(taken[0, :10] + 1, taken[1, :10])


def test_each_member_watches_rows_that_it_does_not_learn_from() -> None:
    data = InMemoryData(*np.zeros((2, 100, 3), dtype=np.float32))
    learned, validation = data.divide(4, np.random.RandomState(0))
    assert learned.shape == (4, 90)
    for m in range(4):
        assert set(learned[m]) | set(validation[m]) == set(range(100))
    assert len(set(map(tuple, validation))) == 4
    assert data._replace(x=data.x[:9]).divide(2, np.random.RandomState(0))[1].shape == (2, 0)


def test_blocks_hold_the_rows_that_their_numbers_say() -> None:
    x = np.arange(60, dtype=np.float32).reshape(30, 2)
    stream = InMemoryData(x, -x).stream(3, 4, 5, np.random.RandomState(0))
    assert stream.validates
    assert stream.held_out.x.shape == (3, 3, 2)
    seen = []
    for batch in islice(stream.batches, 6):
        assert batch.x.shape == (5, 3, 4, 2)
        np.testing.assert_array_equal(batch.x, -batch.target)
        seen.append(batch.x[:, :, :, 0].swapaxes(0, 1).reshape(3, -1))
    for member, held_out in zip(np.concatenate(seen, axis=1), stream.held_out.x, strict=True):
        learned = set(x[:, 0]) - set(held_out[:, 0])
        assert set(member) == learned
        assert sorted(member[:27]) == sorted(learned)  # the first epoch


def test_what_encoder_and_likelihood_see_is_one_array_where_it_is_alike() -> None:
    x = np.zeros((30, 2), dtype=np.float32)
    stream = InMemoryData(x, x).stream(1, 4, 5, np.random.RandomState(0))
    for batch in (stream.held_out, next(stream.batches)):
        assert batch.x is batch.target
