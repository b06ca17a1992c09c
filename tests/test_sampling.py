"""Uniform samples of rows that come in batches."""

import numpy as np
import pytest
from scipy.stats import chi2

from vae_anomaly.data.sampling import RowSample


def sampled(rows, max_rows, seed=0, batch=7):
    sample = RowSample(rows.shape[1:], max_rows, seed)
    for start in range(0, len(rows), batch):
        sample.add(rows[start : start + batch])
    assert sample.seen == len(rows)
    return sample.rows()


ROWS = np.arange(600.0).reshape(300, 2)


@pytest.mark.parametrize("max_rows", [None, 300, 1000])
def test_all_rows_are_kept_if_there_is_no_limit_or_a_larger_one(max_rows):
    assert np.array_equal(sampled(ROWS, max_rows), ROWS)


def test_a_table_without_rows():
    assert sampled(ROWS[:0], 5).shape == (0, 2)


@pytest.mark.parametrize("max_rows", [1, 40, 299])
def test_a_sample_has_its_size_keeps_the_order_and_holds_each_row_once(max_rows):
    kept = sampled(ROWS, max_rows)
    assert kept.shape == (max_rows, 2)
    assert (np.diff(kept[:, 0]) > 0).all()
    assert set(map(tuple, kept)) <= set(map(tuple, ROWS))


@pytest.mark.parametrize("batch", [1, 3, 100, 300])
def test_samples_do_not_depend_on_the_batches(batch):
    assert np.array_equal(sampled(ROWS, 40, batch=batch), sampled(ROWS, 40))


@pytest.mark.parametrize("at", [0, 20, 41])
def test_a_sample_that_is_made_smaller_is_the_one_of_that_size(at):
    sample = RowSample(ROWS.shape[1:], None if at == 0 else 200, seed=0)
    for i, start in enumerate(range(0, len(ROWS), 7)):
        if i == at:
            sample.limit(40)
        sample.limit(250)  # no smaller one
        sample.add(ROWS[start : start + 7])
    assert np.array_equal(sample.rows(), sampled(ROWS, 40))


def test_images_keep_their_shape_and_type():
    images = np.arange(200, dtype=np.uint8).reshape(50, 2, 2, 1)
    kept = sampled(images, 20)
    assert (kept.shape, kept.dtype) == ((20, 2, 2, 1), np.uint8)
    assert np.array_equal(sampled(images, None), images)


def test_samples_depend_on_the_seed():
    assert np.array_equal(sampled(ROWS, 40, seed=1), sampled(ROWS, 40, seed=1))
    assert not np.array_equal(sampled(ROWS, 40, seed=1), sampled(ROWS, 40, seed=2))


def test_every_row_is_as_likely_as_any_other():
    n, size, times = 60, 12, 2000
    counts = np.zeros(n)
    for seed in range(times):
        counts[sampled(np.arange(float(n))[:, None], size, seed)[:, 0].astype(int)] += 1
    share = size / n
    # Of n counts with a fixed sum, as in the usual test; but one row is drawn once at most.
    squares = (counts - times * share) ** 2 / (times * share * (1 - share))
    assert chi2.sf(squares.sum() * (n - 1) / n, n - 1) > 1e-3
