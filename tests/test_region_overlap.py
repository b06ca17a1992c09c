"""Per-region overlap of contribution maps, against cases computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vae_anomaly.metrics.pixels import RegionOverlap, region_overlap


def test_regions_weigh_alike_whatever_their_size():
    """Of two regions one is found at once and one never, before 30 in 100 normal pixels are."""
    maps, masks = np.zeros((1, 10, 10)), np.zeros((1, 10, 10), dtype=bool)
    masks[0, :1, :4] = True  # 4 pixels, found
    masks[0, 6:9, :5] = True  # 15 pixels, missed
    maps[0] = np.linspace(1, 2, 100).reshape(10, 10)
    maps[0, :1, :4] = 9.0
    maps[0, 6:9, :5] = 0.0
    assert region_overlap(maps, masks) == RegionOverlap(pytest.approx(0.5), 0.3, 2)


def test_the_curve_is_linear_between_thresholds():
    """Four regions of one pixel and ten normal ones, in this order of scores: the curve is
    0.5 at a rate of 0, from 0.1 on 0.75, from 0.4 on 1.
    """
    order = [True, True, False, True, False, False, False, True] + [False] * 6
    masks, maps = np.zeros((1, 3, 28), dtype=bool), np.full((1, 3, 28), np.nan)
    masks[0, 1, ::2] = order
    maps[0, 1, ::2] = np.arange(14)[::-1]
    # The pixels between are as many normal ones below all others: rates divide by 80.
    maps = np.nan_to_num(maps, nan=-1.0)
    found = region_overlap(maps, masks, max_rate=0.05)
    assert found is not None
    # At rates of 0, 1/80, 2/80, 3/80 and 4/80 the shares are 0.5, 0.5 -> 0.75, 0.75, 0.75 and 1.
    rates = np.array([0, 1, 2, 3, 4]) / 80
    by_hand = np.trapezoid([0.5, 0.5, 0.75, 0.75, 0.75], rates) / 0.05
    assert found.n_regions == 4
    assert found.value == pytest.approx(by_hand, abs=0.02)


def test_maps_that_say_nothing_have_half_of_the_rate():
    rng = np.random.RandomState(0)
    masks = np.zeros((20, 40, 40), dtype=bool)
    masks[:, 5:15, 5:15] = True
    found = region_overlap(rng.uniform(size=masks.shape), masks)
    assert found is not None
    assert found.value == pytest.approx(0.15, abs=0.01)
    assert region_overlap(np.zeros(masks.shape), masks) == RegionOverlap(
        pytest.approx(0.15), 0.3, 20
    )


def test_pixels_that_touch_at_a_corner_are_one_region():
    masks = np.zeros((1, 6, 6), dtype=bool)
    masks[0, 1, 1] = masks[0, 2, 2] = masks[0, 5, 5] = True
    found = region_overlap(masks.astype(float), masks)
    assert found == RegionOverlap(pytest.approx(1.0), 0.3, 2)


def test_without_regions_or_normal_pixels_there_is_none():
    masks = np.zeros((2, 4, 4), dtype=bool)
    assert region_overlap(np.zeros(masks.shape), masks) is None
    assert region_overlap(np.zeros(masks.shape), ~masks) is None
    assert region_overlap([], []) is None
