"""Distances from single training rows against plain sums, scipy and scikit-learn."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import logsumexp, rel_entr
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from vae_anomaly import VAEDetector, load, save
from vae_anomaly.model.fitting import N_SKIPPED_NEIGHBORS
from vae_anomaly.stats.exemplars import (
    MAX_BANDWIDTH,
    MAX_CELLS,
    MAX_EXEMPLARS,
    MIN_SQUARED_BANDWIDTH,
    N_KERNELS,
    N_NEIGHBORS,
    Exemplars,
    max_exemplars,
    sparse_first,
)
from vae_anomaly.stats.thresholds import TooFewCalibrationRowsWarning

RNG = np.random.RandomState(0)
POINTS = RNG.normal(size=(60, 7)).astype(np.float32)
FRESH = RNG.normal(scale=1.5, size=(9, 7)).astype(np.float32)
EXEMPLARS = Exemplars(POINTS, RNG.uniform(0.5, 2.0, size=60).astype(np.float32))


def energies(exemplars: Exemplars, points: np.ndarray) -> np.ndarray:
    squares = cdist(exemplars.points.astype(float), points.astype(float), "sqeuclidean")
    return 0.5 * squares / exemplars.bandwidth[:, None]


def score(energy: np.ndarray, used: int = N_KERNELS) -> np.ndarray:
    """Return the scores of energies, (some of m, n)."""
    nearest = np.sort(energy, axis=0)[:used]
    kernel = logsumexp(-nearest, axis=0) - np.log(len(nearest))
    return 0.5 * (nearest[:N_NEIGHBORS].mean(axis=0) - kernel)


def test_the_score_is_the_mean_of_a_mean_kernel_and_of_neighbours() -> None:
    expected = score(energies(EXEMPLARS, FRESH))
    np.testing.assert_allclose(EXEMPLARS.score(FRESH), expected, rtol=1e-5)


@pytest.mark.parametrize("m", [7, 18, 32, 33, 200, 257, 1100])
def test_the_nearest_are_found_wherever_they_are(m: int) -> None:
    rng = np.random.RandomState(m)
    exemplars = Exemplars(
        rng.normal(size=(m, 3)).astype(np.float32), rng.uniform(0.5, 2.0, size=m).astype(np.float32)
    )
    new = rng.normal(scale=2, size=(40, 3)).astype(np.float32)
    expected = score(energies(exemplars, new), min(N_KERNELS, m - 2))
    np.testing.assert_allclose(exemplars.score(new), expected, rtol=1e-4, atol=1e-5)


def distributions(energy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Over exemplars, (m, n): by the kernels of those that count, and even over the nearest."""
    rank = energy.argsort(axis=0).argsort(axis=0)
    kernel = np.where(rank < N_KERNELS, np.exp(-energy), 0.0)
    return kernel / kernel.sum(axis=0), (rank < N_NEIGHBORS) / N_NEIGHBORS


def test_the_score_is_made_of_energies_and_a_divergence() -> None:
    energy = energies(EXEMPLARS, FRESH)
    r, even = distributions(energy)
    divergence = rel_entr(r, 1 / N_KERNELS).sum(axis=0)
    expected = 0.5 * (((r + even) * energy).sum(axis=0) + divergence)
    np.testing.assert_allclose(EXEMPLARS.score(FRESH), expected, rtol=1e-5)


def test_bandwidths_are_roots_of_mean_energies_of_neighbours() -> None:
    distances, _ = NearestNeighbors(n_neighbors=N_NEIGHBORS).fit(POINTS).kneighbors()
    spacing = 0.5 * (distances**2).mean(axis=1)
    expected = np.sqrt(spacing / np.median(spacing) + MIN_SQUARED_BANDWIDTH)
    np.testing.assert_allclose(Exemplars.fit(POINTS).bandwidth, expected, rtol=1e-4)


def test_the_bandwidth_of_a_stray_point_is_bounded() -> None:
    stray = Exemplars.fit(np.concatenate([POINTS, 1e4 * POINTS[:1]]))
    assert stray.bandwidth[-1] == MAX_BANDWIDTH
    assert stray.bandwidth[:-1].max() < MAX_BANDWIDTH


def test_an_exemplar_is_scored_as_if_it_were_a_fresh_row() -> None:
    scores = EXEMPLARS.score(POINTS[:5])
    for i in range(5):
        others = np.delete(energies(EXEMPLARS, POINTS[i : i + 1]), i, axis=0)
        assert scores[i] == pytest.approx(score(others)[0], rel=1e-4)


def test_a_row_that_occurs_twice_is_compared_with_its_duplicate() -> None:
    doubled = Exemplars.fit(np.concatenate([POINTS, POINTS[:1]]))
    others = energies(doubled, POINTS[:1])[1:]  # the last is the duplicate, at no distance
    assert doubled.score(POINTS[:1]) == pytest.approx(score(others), rel=1e-4)


def test_equal_rows_have_the_minimum_bandwidth() -> None:
    alike = Exemplars.fit(np.tile(POINTS[:1], (8, 1)))
    np.testing.assert_allclose(alike.bandwidth, np.sqrt(MIN_SQUARED_BANDWIDTH), rtol=1e-3)
    assert alike.score(POINTS[:1]) == pytest.approx(0, abs=1e-3)


def test_two_points_are_enough() -> None:
    pair = Exemplars.fit(POINTS[:2])
    assert np.isfinite(pair.score(np.concatenate([POINTS[:2], FRESH]))).all()


def test_scores_rise_and_stay_finite_far_out() -> None:
    far = np.outer([1.0, 10.0, 1e3, 1e6, 1e9], np.ones(7)).astype(np.float32)
    scores = EXEMPLARS.score(far)
    assert np.isfinite(scores).all()
    assert (np.diff(scores) > 0).all()


@pytest.mark.parametrize("far", [3e4, 1e6, 1e9, 1e16])
def test_exemplars_far_from_the_others_have_scores_that_are_no_less_than_zero(far: float) -> None:
    points = RNG.normal(size=(200, 4)).astype(np.float32)
    points[:6] += far
    exemplars = Exemplars.fit(points)
    near = points[:6] + RNG.normal(size=(6, 4)).astype(np.float32)
    for rows in (near, points, FRESH[:, :4]):
        scores = exemplars.score(rows)
        assert np.isfinite(scores).all()
        assert (scores >= 0).all()


@pytest.mark.parametrize("variance", [1e-30, 1e-28, 1e-10])
def test_units_as_small_as_they_may_be_score_and_explain(variance: float) -> None:
    rows = np.random.RandomState(0).randint(0, 4, (60, 3)).astype(float)
    options = {"variance": variance, "max_steps": 20, "random_state": 0}
    detector = VAEDetector(**options, contamination=0.1).fit(rows)
    scores = detector.score_samples([[0, 1, 2], [50, 0, 0], [1e300, 0, 0]])
    assert np.isfinite(scores).all()
    assert (np.diff(scores) < 0).all()
    assert np.isfinite(detector.explain(rows)).all(axis=None)


def test_wide_rows_leave_room_for_fewer_exemplars() -> None:
    assert max_exemplars(50) == MAX_EXEMPLARS
    assert max_exemplars(1000) == MAX_CELLS // 1000
    assert max_exemplars(10 * MAX_CELLS) == 2


def test_clusters_are_found_that_the_elbo_has_not_learned_yet() -> None:
    rng = np.random.RandomState(0)
    centers = rng.uniform(-4, 4, size=(12, 6))
    rows = centers[rng.randint(12, size=1200)] + 0.3 * rng.normal(size=(1200, 6))
    odd = rng.uniform(-4, 4, size=(300, 6))
    detector = VAEDetector(max_steps=600, random_state=0).fit(rows[:900])
    scores = detector.scores(np.concatenate([rows[900:], odd]), ["exemplar", "elbo"])
    area = {name: roc_auc_score(np.repeat([0, 1], 300), scores[name]) for name in scores}
    assert area["exemplar"] > 0.95
    assert area["exemplar"] > area["elbo"] + 0.05


def test_only_residuals_count_where_codes_do_not() -> None:
    rows = RNG.normal(size=(80, 3))
    detector = VAEDetector(beta=0, max_steps=20, threshold=0, random_state=0).fit(rows)
    assert detector.reference_.points.shape == (80, 3)
    assert np.isfinite(detector.score_samples(rows)).all()


def test_duplicates_have_no_bandwidth_from_rounding() -> None:
    distinct = 3 * RNG.normal(size=(20, 30)).astype(np.float32)
    many = Exemplars.fit(np.repeat(distinct, 15, axis=0))
    np.testing.assert_allclose(many.bandwidth, np.sqrt(MIN_SQUARED_BANDWIDTH), rtol=1e-3)


@pytest.mark.parametrize("parameters", [{"beta": 1e-80}, {"variance": 1e80}])
def test_units_beyond_float32_come_back_from_a_file(parameters, tmp_path) -> None:
    rows = RNG.normal(size=(40, 3))
    detector = VAEDetector(**parameters, max_steps=5, threshold=0.0, random_state=0).fit(rows)
    save(detector, tmp_path / "m.vae")
    again = load(tmp_path / "m.vae")
    np.testing.assert_array_equal(again.score_samples(rows), detector.score_samples(rows))


def test_a_single_column_with_a_code_scores_the_same_from_a_file(tmp_path) -> None:
    rows = np.random.RandomState(0).normal(size=(60, 1))
    options = {"max_steps": 50, "learning_rate": 5e-3, "beta": 0.1, "random_state": 0}
    with pytest.warns(TooFewCalibrationRowsWarning):
        detector = VAEDetector(**options).fit(rows)
    assert detector.reference_.code_unit.any()
    save(detector, tmp_path / "m.vae")
    again = load(tmp_path / "m.vae")
    np.testing.assert_array_equal(again.score_samples(rows), detector.score_samples(rows))


def test_contamination_is_left_out_of_the_prior() -> None:
    rows = np.concatenate([RNG.normal(size=(90, 3)), 9 + RNG.normal(size=(10, 3))])
    detector = VAEDetector(contamination=0.1, max_steps=100, random_state=0).fit(rows)
    assert detector.prior_.shape[1] == 1 + 90


def test_threads_do_not_matter_to_networks_that_run_elsewhere() -> None:
    rows = RNG.normal(size=(300, 6))
    encoder = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8)])
    decoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6)])
    own = {"architecture": (encoder, decoder), "max_steps": 5, "threshold": 0.0}
    detector = VAEDetector(**own, random_state=0).fit(rows)
    with threadpool_limits(1):
        alone = detector.score_samples(rows)
    with threadpool_limits(2):
        np.testing.assert_array_equal(detector.score_samples(rows), alone)


def test_contamination_gives_no_support_to_other_rows() -> None:
    rng = np.random.RandomState(0)
    normal, odd = rng.normal(size=(360, 5)), 6 + 0.3 * rng.normal(size=(40, 5))
    told = VAEDetector(contamination=0.1, max_steps=300, random_state=0)
    told.fit(np.concatenate([normal, odd]))
    assert len(told.reference_.points) == 360
    assert told.reference_.n_skipped_neighbors == N_SKIPPED_NEIGHBORS
    untold = VAEDetector(threshold=0.0, max_steps=300, random_state=0)
    untold.fit(np.concatenate([normal, odd]))
    assert len(untold.reference_.points) == 400
    assert untold.reference_.n_skipped_neighbors == 0
    fresh = np.concatenate([rng.normal(size=(200, 5)), 6 + 0.3 * rng.normal(size=(200, 5))])
    area = [
        roc_auc_score(np.repeat([0, 1], 200), -one.score_samples(fresh)) for one in (told, untold)
    ]
    assert area[0] > 0.95
    assert area[0] >= area[1]


def test_calibration_points_are_exemplars_that_determine_no_other_bandwidth() -> None:
    alone, both = Exemplars.fit(POINTS), Exemplars.fit(POINTS, FRESH)
    np.testing.assert_array_equal(both.points, np.concatenate([POINTS, FRESH]))
    np.testing.assert_allclose(both.bandwidth[:60], alone.bandwidth, rtol=1e-6)
    distances, _ = NearestNeighbors(n_neighbors=N_NEIGHBORS).fit(POINTS).kneighbors(FRESH)
    own, _ = NearestNeighbors(n_neighbors=N_NEIGHBORS).fit(POINTS).kneighbors()
    spacing = (distances**2).mean(axis=1) / np.median((own**2).mean(axis=1))
    np.testing.assert_allclose(
        both.bandwidth[60:],
        np.minimum(np.sqrt(spacing + MIN_SQUARED_BANDWIDTH), MAX_BANDWIDTH),
        rtol=1e-4,
    )


def test_a_calibration_row_leaves_itself_out_and_then_one_like_it() -> None:
    doubled = Exemplars.fit(POINTS, np.concatenate([FRESH[:1], FRESH[:1]]))
    others = energies(doubled, FRESH[:1])[:60]
    assert doubled.score(FRESH[:1], 2) == pytest.approx(score(others), rel=1e-4)


def test_exemplars_are_chosen_with_probabilities_proportional_to_bandwidths() -> None:
    bandwidth, rng = np.array([0.5, 1.0, 2.5], dtype=np.float32), np.random.RandomState(0)
    first = [sparse_first(bandwidth, 1, rng)[0] for _ in range(4000)]
    np.testing.assert_allclose(np.bincount(first) / 4000, bandwidth / bandwidth.sum(), atol=0.025)
    order = sparse_first(EXEMPLARS.bandwidth, 20, rng)
    assert (np.diff(order[:20]) > 0).all()
    assert (np.diff(order[20:]) > 0).all()
    assert sorted(order) == list(range(60))


def test_skipped_neighbours_give_no_support() -> None:
    skipping = Exemplars(POINTS, EXEMPLARS.bandwidth, n_skipped_neighbors=2)
    kept = np.sort(energies(EXEMPLARS, FRESH), axis=0)[2:]
    np.testing.assert_allclose(skipping.score(FRESH), score(kept), rtol=1e-5)
    own = np.sort(energies(EXEMPLARS, POINTS[:5]), axis=0)[3:]  # the row itself goes before them
    np.testing.assert_allclose(skipping.score(POINTS[:5]), score(own), rtol=1e-4)


@pytest.mark.parametrize("skipped", [0, 1, 2, 16])
@pytest.mark.parametrize("m", [2, 3, 4, 6, 9])
def test_few_exemplars_leave_as_many_neighbours_to_each_row(m: int, skipped: int) -> None:
    few = Exemplars(POINTS[:m], EXEMPLARS.bandwidth[:m], skipped)
    others = max(1, m - 2)
    skips = min(skipped, others - 1)
    used = min(N_KERNELS, others - skips)
    assert few.support == (skips, used)
    kept = np.sort(energies(few, FRESH), axis=0)[skips:]
    np.testing.assert_allclose(few.score(FRESH), score(kept, used), rtol=1e-4)
    own = np.sort(energies(few, POINTS[:m]), axis=0)[1 + skips :]
    for n_left_out in (1, 2):
        result = few.score(POINTS[:m], n_left_out)
        np.testing.assert_allclose(result, score(own, used), rtol=1e-4)


@pytest.mark.parametrize("few_values", [False, True])
def test_calibration_rows_as_exemplars_keep_the_rate_of_false_alarms(few_values: bool) -> None:
    """Scores are no lower than those of full conformal prediction: valid, and hardly more."""
    rng = np.random.RandomState(0)
    rows = rng.normal(size=(21 + 1500 * 39, 2))
    rows = (rows.round() if few_values else rows).astype(np.float32)
    whole = Exemplars.fit(rows[:21], rows[21:])
    flagged = 0
    for trial in range(1500):
        there = np.r_[:21, 21 + 39 * trial + np.arange(38)]
        exemplars = Exemplars(rows[there], whole.bandwidth[there])
        known = exemplars.score(rows[there[21:]], 2)
        fresh = exemplars.score(rows[there[-1] + 1 : there[-1] + 2])
        flagged += fresh[0] > known.max()
    exact = 1 / 39
    error = np.sqrt(exact / 1500)
    assert flagged / 1500 < exact + 3 * error
    assert few_values or flagged / 1500 > exact - 3 * error  # of few values many scores are equal
