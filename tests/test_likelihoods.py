"""Densities and divergences against scipy, and against their definitions by integration."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops
from scipy import integrate, stats

from vae_anomaly.networks.likelihood_layer import LikelihoodLayer
from vae_anomaly.stats.densities import MIN_VARIANCE, floored_log_variance, gaussian_kl, numpy_ops
from vae_anomaly.stats.likelihoods import (
    LIKELIHOODS,
    Bernoulli,
    Block,
    DiscretizedLogistic,
    Gaussian,
    HeteroscedasticGaussian,
    JointLikelihood,
)
from vae_anomaly.stats.soft_clip import inverse_soft_clip

RNG = np.random.RandomState(0)


def layer_of(name: str, **parameters: np.ndarray) -> LikelihoodLayer:
    """Build the layer of one block, with parameters of shape (members, 1, columns)."""
    members, _, columns = next(iter(parameters.values()), np.empty((1, 1, 4))).shape
    layer = LikelihoodLayer(JointLikelihood((Block(name, columns),)), members)
    for key, values in parameters.items():
        layer.parameters[f"likelihood_0.{key}"].assign(values)
    return layer


@pytest.mark.parametrize(("mean", "log_variance"), [(0.0, 0.0), (1.5, -2.0), (-0.3, 1.2)])
def test_gaussian_kl_is_the_integral_that_defines_it(mean: float, log_variance: float) -> None:
    q, p = stats.norm(mean, np.exp(log_variance / 2)), stats.norm()
    expected, _ = integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), -15, 15)
    assert float(gaussian_kl(numpy_ops, np.array(mean), np.array(log_variance))) == pytest.approx(
        expected
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gaussian_log_prob_matches_scipy(dtype: str) -> None:
    raw = RNG.normal(size=(2, 1, 3))
    x, outputs = RNG.normal(size=(2, 2, 5, 4, 3)).astype(dtype)

    result = ops.convert_to_numpy(layer_of("gaussian", log_variance=raw).log_prob(x, outputs))

    deviation = np.sqrt(np.exp(raw) + MIN_VARIANCE)[:, None]
    assert result.dtype == dtype
    np.testing.assert_allclose(result, stats.norm(outputs, deviation).logpdf(x), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_student_t_log_prob_matches_scipy(dtype: str) -> None:
    raw, raw_degrees = RNG.normal(size=(2, 1, 3)), np.array([-9.0, 0.0, 9.0]) + np.zeros((2, 1, 3))
    x, outputs = 9 * RNG.normal(size=(2, 2, 5, 4, 3)).astype(dtype)

    likelihood = layer_of("student_t", log_variance=raw, raw_degrees=raw_degrees)
    result = ops.convert_to_numpy(likelihood.log_prob(x, outputs))

    scale = np.sqrt(np.exp(raw) + MIN_VARIANCE)[:, None]
    degrees = 2.1 + 100 / (1 + np.exp(-raw_degrees))[:, None]
    assert result.dtype == dtype
    np.testing.assert_allclose(result, stats.t(degrees, outputs, scale).logpdf(x), rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_heteroscedastic_log_prob_matches_scipy(dtype: str) -> None:
    x, mean, raw = RNG.normal(size=(3, 2, 2, 5, 4, 3)).astype(dtype)
    outputs = np.stack([mean, raw], axis=-1).reshape(*x.shape[:-1], 6)  # side by side

    likelihood = LikelihoodLayer(JointLikelihood((Block("heteroscedastic", 3),)), members=2)
    result = ops.convert_to_numpy(likelihood.log_prob(x, outputs))

    deviation = np.sqrt(np.exp(raw) + MIN_VARIANCE)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, stats.norm(mean, deviation).logpdf(x), rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_discretized_logistic_log_prob_matches_scipy(dtype: str) -> None:
    raw, step = RNG.normal(size=(2, 1, 3)), np.array([0.5, 0.0, 2.0])
    x, outputs = 2 * RNG.normal(size=(2, 2, 5, 4, 3)).astype(dtype)

    given = {"step": np.tile(step, (2, 1, 1)), "origin": np.zeros((2, 1, 3))}
    likelihood = layer_of("discretized_logistic", log_variance=raw, **given)
    result = ops.convert_to_numpy(likelihood.log_prob(x, outputs))

    # scipy takes a scale, whose square times pi^2 / 3 is the variance.
    scale = np.sqrt((np.exp(raw) + MIN_VARIANCE) * 3) / np.pi
    logistic = stats.logistic(outputs.astype(float), scale[:, None])
    mass = logistic.cdf(x + step / 2) - logistic.cdf(x - step / 2)
    expected = np.where(step > 0, np.log(np.where(step > 0, mass, 1.0)), logistic.logpdf(x))
    assert result.dtype == dtype
    np.testing.assert_allclose(result, expected, rtol=2e-4)


def test_a_step_far_out_costs_its_distance_and_one_that_is_certain_nothing() -> None:
    parameters = {"log_variance": np.log(1e-12), "step": 1.0, "origin": 0.0}
    x, mean = np.array([0.0, 1000.0]), (np.zeros(2),)
    result = DiscretizedLogistic().log_prob(numpy_ops, x, mean, parameters)
    scale = 0.01 * np.sqrt(3) / np.pi
    np.testing.assert_allclose(result, [0.0, -999.5 / scale], atol=1e-12)


def test_lattices_are_told_from_continuous_columns() -> None:
    rng = np.random.RandomState(3)
    columns = {
        "counts": (rng.poisson(3.0, size=500), 1.0),
        "codes with a gap": (rng.choice([2, 5, 11], size=500), 3.0),
        "codes whose least gap is no step": (rng.choice([0, 4, 10], size=500), 2.0),
        "thirds, rounded": (rng.randint(30, size=500) / 3, 1 / 3),
        "a coin": (rng.randint(2, size=500), 1.0),
        "continuous": (rng.normal(size=500), 0.0),
        "too fine": (rng.normal(size=500).round(5), 0.0),
        "three numbers": (rng.choice([0.0, 1.0, np.pi], size=500), 0.0),
        "constant": (np.full(500, 7.0), 0.0),
    }
    for name, (values, step) in columns.items():
        scale = values.std() or 1.0
        target = ((values - values.mean()) / scale)[:, None]
        estimated = DiscretizedLogistic().estimate(target)
        np.testing.assert_allclose(estimated["step"] * scale, step, rtol=1e-6, err_msg=name)
        if step:
            on = (target[:, 0] - estimated["origin"]) / estimated["step"]
            np.testing.assert_allclose(on, on.round(), atol=1e-6, err_msg=name)


def test_values_drawn_of_a_lattice_lie_on_it_as_often_as_they_should() -> None:
    n, step = 100_000, 0.75
    parameters = {"log_variance": np.zeros((n, 1)), "step": step, "origin": 0.25}
    drawn = DiscretizedLogistic().sample(RNG, (np.full((n, 1), 0.4),), parameters)
    values, counts = np.unique(drawn, return_counts=True)
    np.testing.assert_allclose((values - 0.25) / step % 1, 0.0, atol=1e-9)
    mass = np.exp(
        DiscretizedLogistic().log_prob(
            numpy_ops, values, (0.4,), {**parameters, "log_variance": 0.0}
        )
    )
    np.testing.assert_allclose(counts / n, mass, atol=0.005)


def test_fixed_variance_of_one_half_is_the_squared_error() -> None:
    likelihood = LikelihoodLayer(JointLikelihood((Block("gaussian", 2),), variance=0.5), members=1)
    x, outputs = RNG.normal(size=(2, 1, 1, 6, 2))
    result = -ops.convert_to_numpy(likelihood.log_prob(x, outputs))
    np.testing.assert_allclose(result, (x - outputs) ** 2 + 0.5 * np.log(np.pi), rtol=1e-6)
    assert not likelihood.trainable_variables


def test_learned_variance_has_a_floor() -> None:
    assert np.exp(floored_log_variance(numpy_ops, -1e4)) == pytest.approx(1e-4, rel=1e-4)


def test_bernoulli_log_prob_matches_scipy_on_coins_and_the_log_loss_between() -> None:
    likelihood = layer_of("bernoulli")
    logits = RNG.normal(scale=3, size=(1, 1, 5, 4))
    p = 1 / (1 + np.exp(-logits))

    coins = RNG.randint(2, size=logits.shape).astype(float)
    result = ops.convert_to_numpy(likelihood.log_prob(coins, logits))
    np.testing.assert_allclose(result, stats.bernoulli(p).logpmf(coins), rtol=1e-9)

    grey = RNG.uniform(size=logits.shape)
    result = ops.convert_to_numpy(likelihood.log_prob(grey, logits))
    np.testing.assert_allclose(result, grey * np.log(p) + (1 - grey) * np.log1p(-p), rtol=1e-9)


def test_values_drawn_beyond_the_clip_threshold_lie_on_the_lattice_as_well() -> None:
    parameters = {"log_variance": np.log(9.0), "step": 4.2, "origin": 0.0}
    drawn = DiscretizedLogistic().sample(RNG, (np.full((1000, 1), 8.2),), parameters)
    on = inverse_soft_clip(drawn) / 4.2
    np.testing.assert_allclose(on, on.round(), atol=1e-9)
    assert on.max() > 2.5  # the clip threshold is 8 deviations


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_samples_have_the_residual_scale(name: str) -> None:
    likelihood = LIKELIHOODS[name]()
    outputs = [np.tile([0.1, 0.5, 0.8], (100_000, 1))]
    outputs += [np.zeros_like(outputs[0])] * (likelihood.n_outputs - 1)
    means = likelihood.mean(numpy_ops, outputs)
    start = dict.fromkeys(likelihood.fixed_parameters, 0.0) | dict(likelihood.learned_parameters)
    parameters = {key: np.full_like(means, value) for key, value in start.items()}
    drawn = likelihood.sample(RNG, outputs, parameters)
    few = {key: value[:2] for key, value in parameters.items()}
    np.testing.assert_allclose(drawn.mean(axis=0), means[0], atol=0.02)
    unit = likelihood.residual_scale(means, drawn - means, few)
    np.testing.assert_allclose(drawn.std(axis=0), unit, rtol=0.02)


def test_residual_scales_are_averaged_over_members_as_squared_errors_weigh_them() -> None:
    means, raw = np.zeros((5, 2)), np.log([[0.25, 1.0], [1.0, 1.0]])
    for one in (Gaussian(), DiscretizedLogistic()):
        np.testing.assert_allclose(
            one.residual_scale(means, means, {"log_variance": raw}), [1 / 1.5, 1.0], rtol=1e-3
        )
    np.testing.assert_allclose(Gaussian(variance=0.25).residual_scale(means, means, {}), 0.5)
    coins = np.array([[0.5, 0.2, 0.0], [0.5, 0.4, 0.0]])
    unit = Bernoulli().residual_scale(coins, coins, {})
    np.testing.assert_allclose(unit, [0.5, np.sqrt(0.2), 0.01], rtol=1e-6)


def test_residual_scales_of_variances_that_differ_by_row_are_those_of_the_residuals() -> None:
    residual = np.array([[3.0, 0.0], [-4.0, 0.0]])
    unit = HeteroscedasticGaussian().residual_scale(np.zeros((2, 2)), residual, {})
    np.testing.assert_allclose(unit, [np.sqrt(12.5), 0.01])
