"""Densities and divergences against scipy, and against their definitions by integration."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops
from scipy import integrate, stats

from vae_anomaly.densities import MIN_VARIANCE, PLAIN, gaussian_kl
from vae_anomaly.likelihoods import Bernoulli, Gaussian

RNG = np.random.RandomState(0)


@pytest.mark.parametrize(("mean", "log_variance"), [(0.0, 0.0), (1.5, -2.0), (-0.3, 1.2)])
def test_gaussian_kl_is_the_integral_that_defines_it(mean: float, log_variance: float) -> None:
    q, p = stats.norm(mean, np.exp(log_variance / 2)), stats.norm()
    expected, _ = integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), -15, 15)
    assert float(gaussian_kl(PLAIN, np.array(mean), np.array(log_variance))) == pytest.approx(
        expected
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gaussian_log_prob_matches_scipy(dtype: str) -> None:
    likelihood = Gaussian(members=2, columns=3)
    raw = RNG.normal(size=(2, 1, 3))
    likelihood.raw_log_variance.assign(raw)
    x, outputs = RNG.normal(size=(2, 2, 5, 4, 3)).astype(dtype)

    result = ops.convert_to_numpy(likelihood.log_prob(x, outputs))

    deviation = np.sqrt(np.exp(raw) + MIN_VARIANCE)[:, None]
    assert result.dtype == dtype
    np.testing.assert_allclose(result, stats.norm(outputs, deviation).logpdf(x), rtol=1e-5)


def test_fixed_variance_of_one_half_is_the_squared_error() -> None:
    likelihood = Gaussian(members=1, columns=2, variance=0.5)
    x, outputs = RNG.normal(size=(2, 1, 1, 6, 2))
    result = -ops.convert_to_numpy(likelihood.log_prob(x, outputs))
    np.testing.assert_allclose(result, (x - outputs) ** 2 + 0.5 * np.log(np.pi), rtol=1e-6)
    assert not likelihood.trainable_variables


def test_learned_variance_has_a_floor() -> None:
    likelihood = Gaussian(members=1, columns=1)
    likelihood.raw_log_variance.assign([[[-1e4]]])
    assert float(ops.exp(likelihood.log_variance)[0, 0, 0]) == pytest.approx(1e-4, rel=1e-4)


def test_bernoulli_log_prob_matches_scipy_on_coins_and_the_log_loss_between() -> None:
    likelihood = Bernoulli(members=1, columns=4)
    logits = RNG.normal(scale=3, size=(1, 1, 5, 4))
    p = 1 / (1 + np.exp(-logits))

    coins = RNG.randint(2, size=logits.shape).astype(float)
    result = ops.convert_to_numpy(likelihood.log_prob(coins, logits))
    np.testing.assert_allclose(result, stats.bernoulli(p).logpmf(coins), rtol=1e-9)

    grey = RNG.uniform(size=logits.shape)
    result = ops.convert_to_numpy(likelihood.log_prob(grey, logits))
    np.testing.assert_allclose(result, grey * np.log(p) + (1 - grey) * np.log1p(-p), rtol=1e-9)
