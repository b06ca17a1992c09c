"""Nearest exemplars, found by bounds, against plain sorting of all distances."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from vae_anomaly.stats import nearest
from vae_anomaly.stats.kd_tree import KDTree
from vae_anomaly.stats.nearest import NearestSearch

COUNT = 18
N = 700


def plane(n: int, seed: int) -> np.ndarray:
    """Return points near a plane of three dimensions in twelve."""
    rng = np.random.RandomState(seed)
    axes = np.random.RandomState(99).normal(size=(3, 12)) * 6
    return (rng.normal(size=(n, 3)) @ axes + 0.2 * rng.normal(size=(n, 12))).astype(np.float32)


def noise(n: int, seed: int) -> np.ndarray:
    return np.random.RandomState(seed).normal(size=(n, 12)).astype(np.float32)


def lattice(n: int, seed: int) -> np.ndarray:
    """Return points that are often equal, and often equally far from others."""
    return np.random.RandomState(seed).randint(0, 2, size=(n, 12)).astype(np.float32)


def far_from_zero(n: int, seed: int) -> np.ndarray:
    return plane(n, seed) + np.float32(1e4)


DATA = [plane, noise, lattice, far_from_zero]


def search_among(points: np.ndarray) -> NearestSearch:
    bandwidth = np.random.RandomState(5).uniform(0.4, 3.0, size=len(points)).astype(np.float32)
    return NearestSearch.among(points, bandwidth, COUNT)


def sorted_energies(points: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the least energies of rows by SciPy, in float64."""
    bandwidth = np.random.RandomState(5).uniform(0.4, 3.0, size=len(points)).astype(np.float32)
    squares = cdist(rows.astype(float), points.astype(float), "sqeuclidean")
    return np.sort(0.5 * squares / bandwidth, axis=1)[:, :COUNT]


def search_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search few rows as many are."""
    monkeypatch.setattr(nearest, "MIN_ROWS", 1)
    monkeypatch.setattr(nearest, "MIN_ROWS_AT_ONCE", 1)


@pytest.fixture
def always_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    search_as_many(monkeypatch)


@pytest.mark.parametrize("make", DATA)
def test_energies_are_those_of_all_exemplars_sorted(make) -> None:
    points, rows = make(1500, 0), make(100, 1)
    found = search_among(points).energies(rows, COUNT)
    np.testing.assert_allclose(found, sorted_energies(points, rows), rtol=2e-6, atol=1e-9)


@pytest.mark.parametrize("make", DATA)
def test_boxes_change_no_bit(make, monkeypatch: pytest.MonkeyPatch) -> None:
    points = make(1500, 0)
    rows = np.concatenate([make(N, 1), points[:50], 3 * make(50, 2), make(50, 3) + 1e3])
    search = search_among(points)
    expected = search.energies(rows, COUNT)
    search_as_many(monkeypatch)
    np.testing.assert_array_equal(search.energies(rows, COUNT), expected)


@pytest.mark.usefixtures("always_boxes")
def test_boxes_hold_a_part_of_the_exemplars_where_there_are_few_dimensions() -> None:
    _, boxes = search_among(plane(1500, 0))._divided
    assert boxes is not None
    assert boxes.shortlists.members.shape[1] < 500
    assert search_among(noise(1500, 0))._divided[1] is None


def test_many_calls_together_are_worth_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "MIN_ROWS", 300)
    monkeypatch.setattr(nearest, "MIN_ROWS_AT_ONCE", 100)
    search, rows = search_among(plane(600, 0)), plane(100, 1)
    for _ in range(2):
        search.energies(rows, COUNT)
    search.energies(rows[:99], COUNT)
    assert "_divided" not in vars(search)
    search.energies(rows[:99], COUNT)
    assert "_divided" not in vars(search)  # of no use for so few rows
    search.energies(rows, COUNT)
    assert "_divided" in vars(search)


@pytest.mark.parametrize("make", DATA)
def test_a_row_has_the_same_energies_alone_and_in_any_order(make) -> None:
    points, rows = make(600, 0), make(300, 1)
    search = search_among(points)
    expected = search.energies(rows, COUNT)
    order = np.random.RandomState(0).permutation(len(rows))
    np.testing.assert_array_equal(search.energies(rows[order], COUNT), expected[order])
    for i in (0, 7, 299):
        np.testing.assert_array_equal(search.energies(rows[i : i + 1], COUNT), expected[i : i + 1])


@pytest.mark.parametrize("many", [False, True])
def test_copies_of_points_count_as_often_as_they_occur(
    many: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = np.concatenate([np.tile(plane(1, 0), (900, 1)), plane(300, 1), plane(300, 1)])
    rows = np.concatenate([points[::40], plane(60, 2)])
    if many:
        search_as_many(monkeypatch)
    search = search_among(points)
    assert len(search.points) == COUNT + 600
    found = search.energies(rows, COUNT)
    np.testing.assert_allclose(found, sorted_energies(points, rows), rtol=2e-6, atol=1e-9)


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("scale", [1e-12, 1e6, 1e12, 1e17])
def test_rows_of_any_size_are_found(
    scale: float, many: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if many:
        search_as_many(monkeypatch)
    points = plane(400, 0)
    rows = (np.float32(scale) * plane(20, 1)).astype(np.float32)
    found = search_among(points).energies(rows, COUNT)
    np.testing.assert_allclose(found, sorted_energies(points, rows), rtol=3e-6)


@pytest.mark.usefixtures("always_boxes")
@pytest.mark.parametrize("m", [1, 2, 5, COUNT, COUNT + 1, 40])
def test_few_exemplars_are_all_compared(m: int) -> None:
    points, rows = plane(m, 0), plane(30, 1)
    count = min(m, COUNT)
    found = search_among(points).energies(rows, count)
    np.testing.assert_allclose(found, sorted_energies(points, rows)[:, :count], rtol=2e-6)


def test_boxes_cover_the_space_and_hold_equally_many_points() -> None:
    points, levels = noise(1024, 0)[:, :3].astype(float), 4
    tree = KDTree.fit(points, levels)
    assert [len(inside) for inside in tree.members] == [64] * 16
    rows = np.concatenate([noise(500, 1)[:, :3], 100 * noise(20, 2)[:, :3]])
    box = tree.box_of(rows)
    assert ((rows >= tree.low[box]) & (rows <= tree.high[box])).all()
    np.testing.assert_array_equal(tree.box_of(points.astype(np.float32))[tree.members[3]], 3)


def test_distances_from_a_box_are_those_from_its_nearest_point() -> None:
    tree = KDTree.fit(noise(256, 0)[:, :2].astype(float), 3)
    rows = noise(50, 1)[:, :2].astype(float)
    for box in range(8):
        nearest_points = np.clip(rows, tree.low[box], tree.high[box])
        expected = ((rows - nearest_points) ** 2).sum(axis=1)
        np.testing.assert_allclose(tree.squared_distances(box, rows), expected)
