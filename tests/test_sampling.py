"""Samples of rows that go by in batches."""

import numpy as np
import pytest
from scipy.stats import chi2

from vae_anomaly.data.sampling import RowSample


def sampled(rows, most, seed=0, batch=7):
    sample = RowSample(rows.shape[1], most, seed)
    for start in range(0, len(rows), batch):
        sample.add(rows[start : start + batch])
    assert sample.seen == len(rows)
    return sample.rows()


ROWS = np.arange(600.0).reshape(300, 2)


@pytest.mark.parametrize("most", [None, 300, 1000])
def test_all_rows_are_kept_where_there_is_room(most):
    assert np.array_equal(sampled(ROWS, most), ROWS)


def test_a_table_without_rows():
    assert sampled(ROWS[:0], 5).shape == (0, 2)


@pytest.mark.parametrize("most", [1, 40, 299])
def test_as_many_rows_as_asked_for_in_their_order_and_each_once(most):
    kept = sampled(ROWS, most)
    assert kept.shape == (most, 2)
    assert (np.diff(kept[:, 0]) > 0).all()
    assert set(map(tuple, kept)) <= set(map(tuple, ROWS))


@pytest.mark.parametrize("batch", [1, 3, 100, 300])
def test_the_batches_make_no_difference(batch):
    assert np.array_equal(sampled(ROWS, 40, batch=batch), sampled(ROWS, 40))


def test_the_seed_makes_all_the_difference():
    assert np.array_equal(sampled(ROWS, 40, seed=1), sampled(ROWS, 40, seed=1))
    assert not np.array_equal(sampled(ROWS, 40, seed=1), sampled(ROWS, 40, seed=2))


def test_every_row_is_as_likely_as_any_other():
    n, most, times = 60, 12, 2000
    counts = np.zeros(n)
    for seed in range(times):
        counts[sampled(np.arange(float(n))[:, None], most, seed)[:, 0].astype(int)] += 1
    share = most / n
    # Of n counts with a fixed sum, as in the usual test; but one row is drawn once at most.
    squares = (counts - times * share) ** 2 / (times * share * (1 - share))
    assert chi2.sf(squares.sum() * (n - 1) / n, n - 1) > 1e-3
