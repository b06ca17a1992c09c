"""The KL divergence from the prior against closed forms and integrals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from vae_anomaly import VAEDetector
from vae_anomaly.stats.priors import (
    MAX_COMPONENTS,
    STANDARD_NORMAL_WEIGHT,
    as_components,
    draw_codes,
    kl_from_prior,
    subsample,
)

RNG = np.random.RandomState(0)
SIGNS = np.array([[1, -1, 1], [-1, 1, -1]], dtype=np.float32)
SIGNS_OF_8 = np.array([[1, -1] * 4, [-1, 1] * 4], dtype=np.float32)


def gaussian_kl(mean: float, sd: float, other_mean: float, other_sd: float) -> float:
    """KL divergence of one normal distribution from another, by integration."""
    q, p = stats.norm(mean, sd), stats.norm(other_mean, other_sd)
    return integrate.quad(
        lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), mean - 12 * sd, mean + 12 * sd
    )[0]


def test_kl_from_one_gaussian_with_antithetic_draws_is_exact() -> None:
    mean, log_variance = RNG.normal(size=(2, 1, 5, 3)).astype(np.float32)
    component = RNG.normal(size=(1, 1, 6)).astype(np.float32)
    result = kl_from_prior(mean, log_variance, SIGNS, component)
    expected = [
        sum(
            gaussian_kl(
                mean[0, i, k],
                np.exp(log_variance[0, i, k] / 2),
                component[0, 0, k],
                np.exp(component[0, 0, 3 + k] / 2),
            )
            for k in range(3)
        )
        for i in range(5)
    ]
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_the_normal_prior_equals_the_mixture_without_rows() -> None:
    mean, log_variance = RNG.normal(size=(2, 2, 7, 3)).astype(np.float32)
    origin = as_components(np.empty((0, 2, 3)), np.empty((0, 2, 3)))
    np.testing.assert_allclose(
        kl_from_prior(mean, log_variance, SIGNS, origin),
        kl_from_prior(mean, log_variance, SIGNS, None),
        rtol=1e-6,
    )


def test_kl_from_a_mixture_is_the_integral_that_defines_it() -> None:
    means, sds = np.array([0.0, -1.5, 2.0]), np.array([1.0, 0.3, 0.6])
    components = np.stack([means, 2 * np.log(sds)], axis=-1)[None].astype(np.float32)
    shares = [
        STANDARD_NORMAL_WEIGHT,
        (1 - STANDARD_NORMAL_WEIGHT) / 2,
        (1 - STANDARD_NORMAL_WEIGHT) / 2,
    ]
    q = stats.norm(1.6, 0.5)

    def integrand(z: float) -> float:
        return q.pdf(z) * (q.logpdf(z) - np.log(shares @ stats.norm(means, sds).pdf(z)))

    expected, _ = integrate.quad(integrand, -5, 8)
    # A fine grid of quantiles instead of random draws.
    noise = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)[:, None].astype(np.float32)
    result = kl_from_prior(
        np.full((1, 1, 1), 1.6), np.full((1, 1, 1), np.log(0.25)), noise, components
    )
    assert result[0] == pytest.approx(expected, abs=1e-3)


def test_kl_of_distant_codes_is_finite_and_increases() -> None:
    components = as_components(RNG.normal(size=(50, 1, 2)), np.full((50, 1, 2), -12.0))
    mean = np.array([1.0, 10.0, 1e3, 1e6], dtype=np.float32)[None, :, None].repeat(2, axis=2)
    kl = kl_from_prior(mean, np.zeros_like(mean), SIGNS[:, :2], components)
    assert np.isfinite(kl).all()
    assert (np.diff(kl) > 0).all()


def test_codes_between_clusters_have_larger_kl_than_those_within() -> None:
    clusters = RNG.choice([-2.0, 2.0], size=(200, 1, 1)) + 0.1 * RNG.normal(size=(200, 1, 1))
    components = as_components(clusters, np.full_like(clusters, np.log(0.01)))
    mean = np.array([[[-2.0], [0.0], [2.0]]], dtype=np.float32)
    log_variance = np.full_like(mean, np.log(0.01))
    kl = kl_from_prior(mean, log_variance, SIGNS[:, :1], components)
    assert kl[1] > kl[0] + 1
    assert kl[1] > kl[2] + 1
    normal = kl_from_prior(mean, log_variance, SIGNS[:, :1], None)
    assert normal[1] < min(normal[0], normal[2])


def test_drawn_codes_have_the_moments_of_the_mixture() -> None:
    components = np.array([[[0.0, 0.0], [4.0, np.log(0.25)]]], dtype=np.float32)
    codes = draw_codes(components, 200_000, np.random.RandomState(0))
    assert codes.shape == (200_000, 1, 1)
    share = STANDARD_NORMAL_WEIGHT
    assert codes.mean() == pytest.approx(4 * (1 - share), abs=0.02)
    expected = share + (1 - share) * 0.25 + share * (1 - share) * 16
    assert codes.var() == pytest.approx(expected, rel=0.01)


def test_the_prior_of_a_detector_holds_codes_of_a_subsample() -> None:
    rows = RNG.normal(size=(800, 4))
    detector = VAEDetector(latent_dim=8, max_steps=5, contamination=0.1, random_state=0).fit(rows)
    assert detector.prior_.shape == (4, 1 + MAX_COMPONENTS, 16)  # N(0, I) and a subsample
    codes = detector.transform(rows).reshape(800, 4, 8)
    for component in detector.prior_[:, 1::50].swapaxes(0, 1):
        assert np.abs(codes - component[:, :8]).max(axis=(1, 2)).min() < 1e-5
    assert not detector.prior_[:, 0].any()
    few = VAEDetector(max_steps=5, threshold=0).fit(rows[:40])
    assert few.prior_.shape[1] == 41
    for parameters in ({"prior": "normal"}, {"beta": 0}):
        other = VAEDetector(**parameters, max_steps=5, threshold=0).fit(rows)
        assert other.prior_ is None


def test_the_prior_affects_the_divergence_only() -> None:
    rows = RNG.normal(size=(300, 4))
    found = {}
    for prior in ("normal", "aggregated"):
        detector = VAEDetector(
            prior=prior, score_type="elbo", max_steps=50, contamination=0.1, random_state=0
        )
        found[prior] = detector.fit(rows).scores(rows, ["reconstruction", "kl"])
    normal, aggregated = found["normal"], found["aggregated"]
    np.testing.assert_array_equal(normal["reconstruction"], aggregated["reconstruction"])
    assert (normal["kl"] != aggregated["kl"]).all()
    assert (normal["kl"] >= 0).all()


def test_the_subsample_is_random_for_periodic_rows() -> None:
    period = np.arange(1024) % 4  # every fourth row would have one value
    rows = np.eye(4)[period] + 0.01 * RNG.normal(size=(1024, 4))
    taken = subsample(np.column_stack([rows, period]), 256, np.random.RandomState(0))
    assert len(taken) == 256
    assert (np.bincount(taken[:, -1].astype(int)) > 40).all()
    np.testing.assert_array_equal(subsample(rows, 5000, RNG), rows)


def test_very_narrow_components_are_summed_exactly() -> None:
    # Their density is more than e**88 times that of N(0, I), beyond the range of float32.
    latent, n = 8, 5
    mean = RNG.normal(size=(1, n, latent))
    log_variance = np.full((1, n, latent), -30.0)
    components = as_components(mean.swapaxes(0, 1)[:3], log_variance.swapaxes(0, 1)[:3])
    mean = components[:, [1, 2, 3, 0, 0], :latent]  # at three of them, and at the origin
    kl = kl_from_prior(mean, log_variance, SIGNS_OF_8, components)
    spread = np.exp(0.5 * log_variance[0, 0, 0])
    for i in range(n):
        expected = []
        for signs in SIGNS_OF_8:
            z = mean[0, i] + spread * signs.astype(np.float64)
            parts = [np.log(0.1) + stats.norm.logpdf(z).sum()] + [
                np.log(0.3) + stats.norm.logpdf(z, c[:latent], spread).sum()
                for c in components[0, 1:]
            ]
            q = stats.norm.logpdf(z, mean[0, i], spread).sum()
            expected.append(q - np.logaddexp.reduce(parts))
        # Squares of numbers near one over a variance of e**-30 lose twelve digits.
        assert kl[i] == pytest.approx(np.mean(expected), abs=0.2)
