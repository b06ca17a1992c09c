"""The search for training windows that are nearest to a window."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from vae_anomaly.series.training_windows import TrainingWindows

Weights = NDArray[np.float32]


def waves(n_steps: int, window: int, seed: int, noise: float = 0.05) -> Weights:
    """Return flat windows of two channels, (n, window * 2)."""
    rng = np.random.RandomState(seed)
    t = np.arange(n_steps)[:, None]
    steps = np.sin(t / (7.0, 11.0)) + noise * rng.normal(size=(n_steps, 2))
    view = np.lib.stride_tricks.sliding_window_view(steps, window, axis=0)
    return view.swapaxes(1, 2).reshape(len(view), -1).astype(np.float32)


@pytest.mark.parametrize(("n_steps", "window"), [(2000, 40), (300, 100), (60, 20), (23, 20)])
def test_the_nearest_windows_are_those_of_the_least_distances(n_steps: int, window: int) -> None:
    training, fresh = waves(n_steps, window, 0), waves(150, window, 1)
    found = TrainingWindows(training).nearest(fresh, 3)
    apart = cdist(fresh, training, "sqeuclidean")
    least = np.sort(apart, axis=1)[:, :3]
    np.testing.assert_allclose(np.take_along_axis(apart, found, axis=1), least, rtol=1e-4)


def test_noise_alone_has_neighbours_that_are_nearly_the_nearest() -> None:
    rng = np.random.RandomState(0)
    training, fresh = rng.normal(size=(3000, 300)), rng.normal(size=(50, 300))
    found = TrainingWindows(training.astype(np.float32)).nearest(fresh.astype(np.float32), 5)
    apart = cdist(fresh, training, "sqeuclidean")
    got = np.take_along_axis(apart, found, axis=1).mean()
    assert got < 1.05 * np.sort(apart, axis=1)[:, :5].mean() < 0.9 * apart.mean()


def test_the_nearest_windows_by_what_is_known_have_the_least_distances_there() -> None:
    training, fresh = waves(1500, 40, 0), waves(180, 40, 1)
    known = np.random.RandomState(0).random_sample(fresh.shape) < 0.6
    found = TrainingWindows(training).nearest_by(fresh, known, 3)
    apart = (((fresh[:, None] - training) * known[:, None]) ** 2).sum(axis=2)
    least = np.sort(apart, axis=1)[:, :3]
    np.testing.assert_allclose(np.take_along_axis(apart, found, axis=1), least, rtol=1e-4)


def test_a_training_window_is_not_its_own_neighbour() -> None:
    training = waves(500, 30, 0)
    found = TrainingWindows(training).nearest(training, 5)
    assert not (found == np.arange(len(training))[:, None]).any()
    # One that is there twice has the other one as its neighbour.
    twice = np.concatenate([training, training[7:8]])
    assert TrainingWindows(twice).nearest(training[7:8], 1)[0, 0] in (7, len(training))


def test_no_more_windows_are_found_than_there_are_others() -> None:
    few = TrainingWindows(waves(23, 20, 0))  # four windows
    assert np.sort(few.nearest(few.points, 5), axis=1).tolist() == [
        [j for j in range(4) if j != i] for i in range(4)
    ]
    alike = TrainingWindows(np.ones((3, 8), dtype=np.float32))
    assert alike.nearest(np.zeros((1, 8), dtype=np.float32), 2).shape == (1, 2)


def test_what_is_found_does_not_depend_on_the_other_windows() -> None:
    training, fresh = TrainingWindows(waves(1500, 40, 0)), waves(180, 40, 1)
    together = training.nearest(fresh, 5)
    for n in (1, 7, 64, 100):
        np.testing.assert_array_equal(training.nearest(fresh[:n], 5), together[:n])
        np.testing.assert_array_equal(training.nearest(fresh[n:], 5), together[n:])
