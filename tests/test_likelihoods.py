"""Densities and divergences against scipy, and against their definitions by integration."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops
from scipy import integrate, stats

from vae_anomaly.densities import MIN_VARIANCE, PLAIN, floored_log_variance, gaussian_kl
from vae_anomaly.families import FAMILIES, Bernoulli, Family, Gaussian, StudentT
from vae_anomaly.likelihoods import Likelihood

RNG = np.random.RandomState(0)


def of_family(family: Family, **learned: np.ndarray) -> Likelihood:
    """Make the layer for parameters of shape (members, 1, columns)."""
    members, _, columns = next(iter(learned.values()), np.empty((1, 1, 4))).shape
    likelihood = Likelihood(family, members, columns)
    for name, values in learned.items():
        likelihood.parameters[name].assign(values)
    return likelihood


@pytest.mark.parametrize(("mean", "log_variance"), [(0.0, 0.0), (1.5, -2.0), (-0.3, 1.2)])
def test_gaussian_kl_is_the_integral_that_defines_it(mean: float, log_variance: float) -> None:
    q, p = stats.norm(mean, np.exp(log_variance / 2)), stats.norm()
    expected, _ = integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), -15, 15)
    assert float(gaussian_kl(PLAIN, np.array(mean), np.array(log_variance))) == pytest.approx(
        expected
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gaussian_log_prob_matches_scipy(dtype: str) -> None:
    raw = RNG.normal(size=(2, 1, 3))
    x, outputs = RNG.normal(size=(2, 2, 5, 4, 3)).astype(dtype)

    result = ops.convert_to_numpy(of_family(Gaussian(), log_variance=raw).log_prob(x, outputs))

    deviation = np.sqrt(np.exp(raw) + MIN_VARIANCE)[:, None]
    assert result.dtype == dtype
    np.testing.assert_allclose(result, stats.norm(outputs, deviation).logpdf(x), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_student_t_log_prob_matches_scipy(dtype: str) -> None:
    raw, raw_degrees = RNG.normal(size=(2, 1, 3)), np.array([-9.0, 0.0, 9.0]) + np.zeros((2, 1, 3))
    x, outputs = 9 * RNG.normal(size=(2, 2, 5, 4, 3)).astype(dtype)

    likelihood = of_family(StudentT(), log_variance=raw, raw_degrees=raw_degrees)
    result = ops.convert_to_numpy(likelihood.log_prob(x, outputs))

    scale = np.sqrt(np.exp(raw) + MIN_VARIANCE)[:, None]
    degrees = 2.1 + 100 / (1 + np.exp(-raw_degrees))[:, None]
    assert result.dtype == dtype
    np.testing.assert_allclose(result, stats.t(degrees, outputs, scale).logpdf(x), rtol=1e-4)


def test_fixed_variance_of_one_half_is_the_squared_error() -> None:
    likelihood = Likelihood(Gaussian(variance=0.5), members=1, columns=2)
    x, outputs = RNG.normal(size=(2, 1, 1, 6, 2))
    result = -ops.convert_to_numpy(likelihood.log_prob(x, outputs))
    np.testing.assert_allclose(result, (x - outputs) ** 2 + 0.5 * np.log(np.pi), rtol=1e-6)
    assert not likelihood.trainable_variables


def test_learned_variance_has_a_floor() -> None:
    assert np.exp(floored_log_variance(PLAIN, -1e4)) == pytest.approx(1e-4, rel=1e-4)


def test_bernoulli_log_prob_matches_scipy_on_coins_and_the_log_loss_between() -> None:
    likelihood = of_family(Bernoulli())
    logits = RNG.normal(scale=3, size=(1, 1, 5, 4))
    p = 1 / (1 + np.exp(-logits))

    coins = RNG.randint(2, size=logits.shape).astype(float)
    result = ops.convert_to_numpy(likelihood.log_prob(coins, logits))
    np.testing.assert_allclose(result, stats.bernoulli(p).logpmf(coins), rtol=1e-9)

    grey = RNG.uniform(size=logits.shape)
    result = ops.convert_to_numpy(likelihood.log_prob(grey, logits))
    np.testing.assert_allclose(result, grey * np.log(p) + (1 - grey) * np.log1p(-p), rtol=1e-9)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_drawn_has_the_deviation_that_is_told(name: str) -> None:
    family = FAMILIES[name]()
    means = np.tile([0.1, 0.5, 0.8], (100_000, 1))
    parameters = {key: np.full_like(means, value) for key, value in family.start.items()}
    drawn = family.draw(RNG, means, parameters)
    few = {key: value[:2] for key, value in parameters.items()}
    np.testing.assert_allclose(drawn.mean(axis=0), [0.1, 0.5, 0.8], atol=0.02)
    np.testing.assert_allclose(drawn.std(axis=0), family.unit(means, few), rtol=0.02)


def test_units_are_averaged_over_members_as_squared_errors_weigh_them() -> None:
    means, raw = np.zeros((5, 2)), np.log([[0.25, 1.0], [1.0, 1.0]])
    np.testing.assert_allclose(
        Gaussian().unit(means, {"log_variance": raw}), [1 / 1.5, 1.0], rtol=1e-3
    )
    np.testing.assert_allclose(Gaussian(variance=0.25).unit(means, {}), 0.5)
    coins = np.array([[0.5, 0.2, 0.0], [0.5, 0.4, 0.0]])
    np.testing.assert_allclose(Bernoulli().unit(coins, {}), [0.5, np.sqrt(0.2), 0.01], rtol=1e-6)
