"""Every score against an independent value, and what all scores have in common."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import QUICK
from scipy import stats
from scipy.special import logsumexp
from sklearn.covariance import LedoitWolf

from vae_anomaly import VAEDetector, load, save
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.stats.scores import SCORES

RNG = np.random.RandomState(0)
ROWS = RNG.normal(size=(200, 3))
ROWS[:, 2] += 2 * ROWS[:, 0]
FRESH = RNG.normal(scale=1.5, size=(12, 3))


@pytest.fixture(scope="module")
def detector() -> VAEDetector:
    return VAEDetector(**QUICK, false_alarm_rate=0.1).fit(ROWS)


@pytest.fixture(scope="module")
def narrow() -> VAEDetector:
    """One member with one latent dimension, over which tests can integrate."""
    return VAEDetector(
        latent_dim=1, n_members=1, prior="normal", max_steps=300, threshold=0.0, random_state=0
    ).fit(ROWS)


@pytest.mark.parametrize("name", SCORES)
def test_contributions_sum_to_the_score(detector: VAEDetector, name: str) -> None:
    other = VAEDetector.from_model(replace(detector.model_, score_type=name))
    scores = detector.scores(FRESH, [name])[name]
    np.testing.assert_array_equal(-other.score_samples(FRESH), scores)
    np.testing.assert_allclose(other.explain(FRESH).sum(axis=1), scores, rtol=1e-9)


@pytest.mark.parametrize("name", SCORES)
def test_scores_do_not_depend_on_neighbours_or_order(detector: VAEDetector, name: str) -> None:
    whole = detector.scores(ROWS, [name]).to_numpy()
    order = RNG.permutation(len(ROWS))
    np.testing.assert_array_equal(detector.scores(ROWS[order], [name]).to_numpy(), whole[order])
    np.testing.assert_array_equal(detector.scores(ROWS[:3], [name]).to_numpy(), whole[:3])


def test_scores_come_back_from_a_file(detector: VAEDetector, tmp_path) -> None:
    save(detector, tmp_path / "model.vae")
    again = load(tmp_path / "model.vae").scores(FRESH)
    assert list(again) == list(SCORES)
    np.testing.assert_array_equal(again, detector.scores(FRESH))


def test_elbo_is_reconstruction_and_kl(detector: VAEDetector) -> None:
    scores = detector.scores(FRESH)
    np.testing.assert_allclose(scores["elbo"], scores["reconstruction"] + scores["kl"], rtol=1e-12)


def test_the_weighted_bound_comes_close_to_the_integral(narrow: VAEDetector) -> None:
    z = np.linspace(-9, 9, 4001)[:, None]
    means = narrow.model_.encoder.encode(narrow.decode(z)).inputs  # (grid, columns)
    x = narrow.model_.encoder.encode(FRESH).inputs
    unit = narrow.reference_.residual_unit.astype(float)
    log_joint = stats.norm(means, unit).logpdf(x[:, None]).sum(axis=-1) + stats.norm.logpdf(z[:, 0])
    expected = -(logsumexp(log_joint, axis=1) + np.log(z[1, 0] - z[0, 0]))
    scores = narrow.scores(FRESH, ["elbo", "importance_weighted"])
    # An upper bound up to the chance of its 64 draws, and far tighter than the ELBO.
    gap = scores["importance_weighted"] - expected
    assert (gap > -0.3).all()
    assert gap.mean() < 0.25 * (scores["elbo"] - expected).mean()


def test_typicality_is_the_distance_from_the_mean_elbo(detector: VAEDetector) -> None:
    scores = detector.scores(FRESH, ["elbo", "typicality"])
    typical = detector.reference_.typical.sum()
    np.testing.assert_allclose(scores["typicality"], np.abs(scores["elbo"] - typical), rtol=1e-9)
    whole = VAEDetector(**QUICK, threshold=0.0).fit(ROWS)  # no row is kept from training
    mean = whole.scores(ROWS, ["elbo"]).to_numpy().mean()
    assert whole.reference_.typical.sum() == pytest.approx(mean, rel=1e-9)


def test_latent_distance_is_that_of_a_normal_distribution() -> None:
    whole = VAEDetector(**QUICK, latent_dim=2, threshold=0.0).fit(ROWS)
    expected = np.zeros(len(FRESH))
    for known, new in zip(
        np.split(whole.transform(ROWS), 2, axis=1),
        np.split(whole.transform(FRESH), 2, axis=1),
        strict=True,
    ):
        shrunk = LedoitWolf().fit(known)
        normal = stats.multivariate_normal(shrunk.location_, shrunk.covariance_)
        expected += 0.5 * (normal.logpdf(shrunk.location_) - normal.logpdf(new))
    result = whole.scores(FRESH, ["latent_distance"])["latent_distance"]
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_auto_is_exemplar_for_rows_and_elbo_for_images(detector: VAEDetector) -> None:
    np.testing.assert_array_equal(
        -detector.score_samples(FRESH), detector.scores(FRESH)["exemplar"]
    )
    images = RNG.uniform(size=(30, 6, 6))
    of_images = VAEDetector(**QUICK, threshold=0.0).fit(images)
    np.testing.assert_array_equal(
        -of_images.score_samples(images), of_images.scores(images)["elbo"]
    )


def test_contamination_flags_its_share_of_training_rows() -> None:
    flagging = VAEDetector(**QUICK, contamination=0.1)
    assert (flagging.fit_predict(ROWS) == -1).sum() == 20


def test_the_index_of_a_frame_is_kept(rows, fitted: VAEDetector) -> None:
    part = rows.iloc[5:9]
    assert fitted.scores(part, ["kl"]).index.tolist() == [5, 6, 7, 8]


def test_an_unknown_score_is_refused(detector: VAEDetector) -> None:
    with pytest.raises(ParameterError, match=r"score_types must be some of 'exemplar', .*'speed'"):
        detector.scores(FRESH, ["speed"])
