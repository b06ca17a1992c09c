"""Maps by local comparison with training records on a grid."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from vae_anomaly.model.local_maps import DEVIATION, LocalReference
from vae_anomaly.stats.maps import balanced, interpolated


def by_hand(own: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Compare a square grid, (s, s), with others, (m, s, s), step by step: (s, s)."""

    def channels(grid: np.ndarray) -> np.ndarray:
        return np.stack([grid, *gradients(grid)])

    def gradients(grid: np.ndarray) -> list[np.ndarray]:
        edged = np.pad(grid, 1, mode="edge")
        return [
            (edged[2:, 1:-1] - edged[:-2, 1:-1]) / 2,
            (edged[1:-1, 2:] - edged[1:-1, :-2]) / 2,
        ]

    of_training = np.stack([channels(grid) for grid in training])  # (m, 3, s, s)
    scale = of_training.std(axis=(0, 2, 3))[:, None, None]
    least = np.full(own.shape, np.inf)
    for grid in of_training / scale:
        edged = np.pad(grid, ((0, 0), (1, 1), (1, 1)), mode="edge")
        for i in range(3):
            for j in range(3):
                moved = edged[:, i : i + len(own), j : j + len(own)]
                squares = ((moved - channels(own) / scale) ** 2).mean(axis=0)
                least = np.minimum(least, gaussian_filter(squares, DEVIATION, mode="nearest"))
    return 0.5 * least


def test_a_map_is_the_least_difference_of_the_surroundings():
    rng = np.random.RandomState(0)
    training, own = rng.normal(size=(5, 9, 9)), rng.normal(size=(9, 9))
    reference = LocalReference.of(training[..., None])
    expected = by_hand(own, training)
    found = reference.maps(own[None, ..., None])
    np.testing.assert_allclose(found, balanced(expected[None]), rtol=1e-4, atol=1e-5)


def test_a_training_record_is_not_compared_with_itself():
    training = np.random.RandomState(1).normal(size=(6, 8, 8, 1))
    found = LocalReference.of(training).maps(training[2:3])[0]
    others = np.delete(training, 2, axis=0)[..., 0]
    scale_of_all = LocalReference.of(training).scale
    own = LocalReference.of(others[..., None])._replace(scale=scale_of_all)
    own = own._replace(channels=np.delete(LocalReference.of(training).channels, 2, axis=0))
    np.testing.assert_allclose(found, own.maps(training[2:3])[0], rtol=1e-6)
    alike = np.repeat(training[:1], 3, axis=0)
    assert not LocalReference.of(alike).maps(alike[:1]).any()


def test_anomalies_among_the_training_records_can_be_skipped():
    rng = np.random.RandomState(2)
    training = rng.normal(scale=0.1, size=(20, 10, 10, 1))
    training[0, 4:7, 4:7] += 5
    fresh = rng.normal(scale=0.1, size=(1, 10, 10, 1))
    fresh[0, 4:7, 4:7] += 5
    known, skipped = (LocalReference.of(training, n).maps(fresh)[0] for n in (0, 1))
    assert skipped[5, 5] > 5 * known[5, 5]


def test_large_grids_are_shrunk_and_maps_have_their_size():
    rng = np.random.RandomState(3)
    small = rng.normal(size=(7, 32, 16, 3))
    large = small.repeat(4, axis=1).repeat(4, axis=2)
    found = LocalReference.of(large[:6]).maps(large[6:])
    own = LocalReference.of(small[:6]).maps(small[6:])[0]
    assert found.shape == (1, 128, 64)
    unit = interpolated(own, 128, 64)
    # Interpolation makes contrasts a little less, and so is what maps are divided by.
    assert np.corrcoef(found.ravel(), unit.ravel())[0, 1] > 0.9999
    odd = rng.normal(size=(7, 45, 33, 1))
    assert np.isfinite(LocalReference.of(odd[:6]).maps(odd[6:])).all()


def test_maps_are_balanced_by_their_mean_and_deviation():
    maps = np.random.RandomState(4).normal(size=(3, 4, 5)) * [[[1]], [[5]], [[25]]] + 2
    for own, found in zip(maps, balanced(maps), strict=True):
        deviation = np.sqrt(((own - own.mean()) ** 2).mean())
        np.testing.assert_allclose(found, (own - own.sum() / 40) / np.sqrt(np.sqrt(deviation)))
    assert np.array_equal(balanced(np.full((1, 2, 2), 6.0)), np.full((1, 2, 2), 3.0))
