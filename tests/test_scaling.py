"""Scaling of columns and the soft clip, up to the largest doubles."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from vae_anomaly import DataError, PrecisionWarning, VAEDetector
from vae_anomaly.data.scaling import ColumnScaler
from vae_anomaly.stats.soft_clip import (
    CLIP_THRESHOLD,
    inverse_soft_clip,
    soft_clip,
    soft_clip_with_jacobian,
)

finite = st.floats(allow_nan=False, allow_infinity=False)


def inputs_of(columns: ColumnScaler, rows: np.ndarray) -> np.ndarray:
    return columns.encode(rows, "gaussian").inputs


@given(st.lists(finite, min_size=2, max_size=20))
def test_soft_clip_is_finite_odd_and_increasing(values: list[float]) -> None:
    z = np.sort(np.clip(values, -1e300, 1e300))
    clipped = soft_clip(z)
    assert np.isfinite(clipped).all()
    assert (np.diff(clipped) >= 0).all()
    np.testing.assert_array_equal(soft_clip(-z), -clipped)


@given(st.floats(-1e15, 1e15))
def test_inverse_soft_clip_inverts_soft_clip(z: float) -> None:
    again = inverse_soft_clip(soft_clip(np.array([z])))[0]
    assert again == pytest.approx(z, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("z", [-1e6, -9.0, -3.0, 0.5, 7.99, 8.01, 100.0])
def test_log_jacobian_is_minus_the_log_of_the_slope(z: float) -> None:
    slope = optimize.approx_fprime([z], lambda x: soft_clip(x)[0], 1e-6 * max(1, abs(z)))[0]
    clipped, nats = soft_clip_with_jacobian(np.array([z]))
    assert clipped[0] == soft_clip(np.array([z]))[0]
    assert nats[0] == pytest.approx(-np.log(slope), abs=1e-4)


def test_moments_are_those_of_numpy() -> None:
    rows = np.random.RandomState(0).normal(3, 2, size=(500, 4))
    columns = ColumnScaler.from_rows(rows)
    np.testing.assert_allclose(columns.center, rows.mean(axis=0))
    np.testing.assert_allclose(columns.scale, rows.std(axis=0))
    np.testing.assert_array_equal(columns.low, rows.min(axis=0))


@pytest.mark.parametrize("wild", [1e30, -1e300, 1.7e308])
def test_one_wild_cell_does_not_flatten_its_column(wild: float) -> None:
    rows = np.random.RandomState(0).normal(size=(500, 2))
    calm = ColumnScaler.from_rows(rows)
    rows[0, 0] = wild
    columns = ColumnScaler.from_rows(rows)
    assert columns.scale[0] == pytest.approx(calm.scale[0], rel=0.2)
    assert np.isfinite(inputs_of(columns, rows)).all()


def test_one_wild_cell_does_not_flatten_a_column_of_mostly_zeros() -> None:
    rng = np.random.RandomState(0)
    rows = np.where(rng.uniform(size=(500, 1)) < 0.8, 0.0, rng.normal(10, 2, size=(500, 1)))
    calm = ColumnScaler.from_rows(rows)
    rows[0] = 1e30
    assert ColumnScaler.from_rows(rows).scale[0] < 2 * calm.scale[0]
    flags = (np.arange(500) % 100 == 0).astype(float)[:, None]
    assert ColumnScaler.from_rows(flags).scale[0] == pytest.approx(flags.std())


def test_a_column_far_from_zero_keeps_its_digits() -> None:
    rows = np.random.RandomState(0).normal(size=(500, 1)).round(3)
    near = inputs_of(ColumnScaler.from_rows(rows), rows)
    far = inputs_of(ColumnScaler.from_rows(rows + 1e8), rows + 1e8)
    np.testing.assert_allclose(far, near, atol=1e-6)


def test_a_constant_column_stays_out_of_the_network_but_counts() -> None:
    rows = np.column_stack([np.arange(99.0), np.full(99, 20.0)])
    columns = ColumnScaler.from_rows(rows)
    assert columns.varies.tolist() == [True, False]
    assert inputs_of(columns, rows).shape == (99, 1)
    # One pseudo-row that is a unit (20) away among 100 rows: a deviation of 20 / sqrt(100) = 2.
    assert columns.scale[1] == pytest.approx(2.0)
    others = np.array([[0.0, 20.0], [0.0, 22.0], [0.0, 40.0]])
    penalty = columns.encode(others, "gaussian").penalty[:, 1]
    np.testing.assert_allclose(penalty, [0.0, 0.5, 0.5 * (8 + np.log(3)) ** 2 + np.log(3)])


def test_bernoulli_targets_leave_the_unit_interval_alone_and_scale_others() -> None:
    rows = np.array([[0.2, -5.0], [0.9, 5.0], [0.5, 0.0]])
    columns = ColumnScaler.from_rows(rows)
    encoded = columns.encode(rows, "bernoulli")
    np.testing.assert_allclose(encoded.targets, [[0.2, 0.0], [0.9, 1.0], [0.5, 0.5]])
    np.testing.assert_allclose(columns.decode(encoded.targets, "bernoulli"), rows)
    assert not encoded.penalty.any()

    others = np.array([[0.2, 6.0], [0.2, 1e300], [2.0, 0.0]])
    beyond = columns.encode(others, "bernoulli").penalty
    z = 1.0 / columns.scale[1]
    assert beyond[0, 1] == pytest.approx(0.5 * z**2)
    assert np.isfinite(beyond).all()
    assert beyond[1, 1] > 1e5
    assert beyond[2, 0] > 1


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9))
def test_gaussian_targets_come_back(values: list[float]) -> None:
    columns = ColumnScaler.from_rows(np.array([[0.0, 3.0], [2.0, 3.0], [5.0, 3.0]]))
    rows = np.column_stack([values, np.full(len(values), 3.0)])
    again = columns.decode(columns.encode(rows, "gaussian").targets, "gaussian")
    np.testing.assert_allclose(again, rows, rtol=1e-6, atol=1e-9)


def test_soft_clip_is_the_identity_up_to_its_threshold() -> None:
    np.testing.assert_array_equal(
        soft_clip(np.array([CLIP_THRESHOLD, -CLIP_THRESHOLD])), [CLIP_THRESHOLD, -CLIP_THRESHOLD]
    )
    assert soft_clip(np.array([CLIP_THRESHOLD + 1e-6]))[0] == pytest.approx(
        CLIP_THRESHOLD + 1e-6, abs=1e-11
    )


def test_numbers_of_which_a_half_underflows_count_as_zeros() -> None:
    tiny = 5e-324
    rows = np.array([[0.0, tiny, 1.0], [tiny, tiny, 2.0], [tiny, tiny, 3.0], [tiny, -tiny, 4.0]])
    columns = ColumnScaler.from_rows(rows)
    assert columns.varies.tolist() == [False, False, True]
    assert (columns.low[:2] == 0).all()
    assert np.isfinite(inputs_of(columns, rows)).all()


CLOSE = {
    "unsigned whole numbers": (np.uint64(2**63) + np.arange(60, dtype=np.uint64), 2048),
    "whole numbers": (np.int64(2**62) + np.arange(60), 1024),
    "negative ones": (np.int64(-(2**62)) - np.arange(60), 1024),
    "a few steps apart": (np.int64(2**60) + 300 * (np.arange(60) % 3), 256),
    "floats": (1e18 + 16.0 * np.arange(60), 128),
}


@pytest.mark.parametrize("case", CLOSE)
@pytest.mark.parametrize("container", ["array", "frame", "mixed frame"])
def test_numbers_closer_than_float64_can_tell_are_said(case: str, container: str) -> None:
    numbers, step = CLOSE[case]
    frame = pd.DataFrame({"id": numbers, "flow": np.random.RandomState(0).normal(size=60)})
    name = "id"
    if container == "array":
        frame, name = frame.to_numpy(), "x0"  # floats
    if container == "mixed frame":
        frame["site"] = ["north", "south", "west"] * 20
    with pytest.warns(PrecisionWarning) as caught:
        VAEDetector(max_steps=5, threshold=1.0, random_state=0).fit(frame)
    (warning,) = (one for one in caught if one.category is PrecisionWarning)
    assert str(warning.message) == (
        f"The numbers of {name!r} are so large that float64 tells them apart in steps of {step} "
        f"only: smaller differences are lost. Subtract an offset from the column before, or "
        f"leave it out."
    )


def test_numbers_that_float64_tells_apart_are_not_warned_of() -> None:
    rng = np.random.RandomState(0)
    times = 1_780_000_000_000_000_000 + 3_600_000_000_000 * rng.randint(10_000, size=60)
    frame = pd.DataFrame({"nanoseconds": times, "constant": 7.0, "large": 1e300 * rng.rand(60)})
    with warnings.catch_warnings():
        warnings.simplefilter("error", PrecisionWarning)
        VAEDetector(max_steps=5, threshold=1.0, random_state=0).fit(frame)


def test_many_columns_are_counted_and_nothing_to_learn_is_refused_after_the_warning() -> None:
    rows = np.uint64(2**63) + np.arange(720, dtype=np.uint64).reshape(60, 12) // 12
    with (
        pytest.warns(PrecisionWarning, match="'x9' and 2 more are so large"),
        pytest.raises(DataError, match="All 12 columns are constant"),
    ):
        VAEDetector(max_steps=5, threshold=1.0, random_state=0).fit(rows)
