"""Densities and divergences against scipy, and against their definitions by integration."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops
from network_parts import elbo_terms
from scipy import integrate, stats

from vae_anomaly.data.base import Encoded
from vae_anomaly.inference.network import Network
from vae_anomaly.networks.likelihood_layer import LikelihoodLayer
from vae_anomaly.networks.spec import NetworkSpec
from vae_anomaly.stats.densities import gaussian_kl, numpy_ops
from vae_anomaly.stats.likelihoods import (
    LIKELIHOODS,
    MIN_VARIANCE,
    Bernoulli,
    Block,
    DiscretizedLogistic,
    Gaussian,
    HeteroscedasticGaussian,
    JointLikelihood,
    floored_log_variance,
)
from vae_anomaly.stats.soft_clip import inverse_soft_clip
from vae_anomaly.training.batches import InMemoryData
from vae_anomaly.training.loop import TrainingConfig, train

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


@pytest.mark.parametrize("name", sorted(set(LIKELIHOODS) - {"categorical"}))
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


# ------------------------------------------------------------------------ joint likelihoods

PAIRS = {
    "gaussian and bernoulli": (Block("gaussian", 3), Block("bernoulli", 2)),
    "heteroscedastic and student t": (Block("heteroscedastic", 3), Block("student_t", 2)),
}
MEMBERS = 2


def joint_example(name: str) -> tuple[JointLikelihood, np.ndarray, dict[str, np.ndarray]]:
    """Return a joint likelihood, outputs of (members, 50, n_outputs), and its parameters."""
    joint, rng = JointLikelihood(PAIRS[name]), np.random.RandomState(4)
    parameters = {
        key: rng.normal(size=(MEMBERS, 1, size)) for key, size in joint.parameter_sizes.items()
    }
    return joint, rng.normal(size=(MEMBERS, 50, joint.n_outputs)), parameters


def variance_of(raw: np.ndarray) -> np.ndarray:
    return np.exp(raw) + MIN_VARIANCE


def degrees_of(raw: np.ndarray) -> np.ndarray:
    return 2.1 + 100 / (1 + np.exp(-raw))


def scipy_distributions(name: str, outputs: np.ndarray, parameters: dict) -> tuple:
    """Return the distributions of both blocks."""
    if name == "gaussian and bernoulli":
        deviation = np.sqrt(variance_of(parameters["likelihood_0.log_variance"]))
        coins = stats.bernoulli(1 / (1 + np.exp(-outputs[..., 3:])))
        return stats.norm(outputs[..., :3], deviation), coins
    # The mean and the log-variance of a target are adjacent.
    normal = stats.norm(outputs[..., 0:6:2], np.sqrt(variance_of(outputs[..., 1:6:2])))
    degrees = degrees_of(parameters["likelihood_1.raw_degrees"])
    scale = np.sqrt(variance_of(parameters["likelihood_1.log_variance"]))
    return normal, stats.t(degrees, outputs[..., 6:], scale)


def test_outputs_that_are_means_are_known() -> None:
    joint, outputs, _ = joint_example("heteroscedastic and student t")
    assert joint.mean_outputs is not None
    assert joint.mean_outputs.tolist() == [0, 2, 4, 6, 7]
    found = outputs[..., joint.mean_outputs]
    np.testing.assert_array_equal(found, joint.mean(numpy_ops, outputs))
    assert JointLikelihood(PAIRS["gaussian and bernoulli"]).mean_outputs is None


@pytest.mark.parametrize("name", PAIRS)
def test_joint_log_prob_and_mean_match_scipy(name: str) -> None:
    joint, outputs, parameters = joint_example(name)
    first, second = scipy_distributions(name, outputs, parameters)
    x = np.concatenate([RNG.normal(size=(50, 3)), RNG.randint(2, size=(50, 2))], axis=1)
    logs = second.logpmf if name.endswith("bernoulli") else second.logpdf
    expected = np.concatenate([first.logpdf(x[:, :3]), logs(x[:, 3:])], axis=-1)
    result = joint.log_prob(numpy_ops, x, outputs, parameters)
    np.testing.assert_allclose(result, expected, rtol=1e-9)
    means = np.concatenate([first.mean(), second.mean()], axis=-1)
    np.testing.assert_allclose(joint.mean(numpy_ops, outputs), means, rtol=1e-9)

    layer = LikelihoodLayer(joint, MEMBERS)
    for key, values in parameters.items():
        layer.parameters[key].assign(values)
    shape = (MEMBERS, 1, *x.shape)
    result = ops.convert_to_numpy(layer.log_prob(np.broadcast_to(x, shape), outputs[:, None]))
    np.testing.assert_allclose(result[:, 0], expected, rtol=1e-4)
    trainable = [weight.name for weight in layer.trainable_variables]
    assert trainable == list(joint.learned) == list(parameters)


@pytest.mark.parametrize("name", PAIRS)
def test_joint_residual_scales_match_scipy(name: str) -> None:
    joint, outputs, parameters = joint_example(name)
    means = joint.mean(numpy_ops, outputs).mean(axis=0)
    residual = RNG.normal(size=means.shape)
    stored = {key: values[:, 0] for key, values in parameters.items()}  # (members, size)
    if name == "gaussian and bernoulli":
        deviation = np.sqrt(variance_of(stored["likelihood_0.log_variance"]))
        first = 1 / (1 / deviation).mean(axis=0)
        second = np.sqrt(stats.bernoulli(means[:, 3:]).var().mean(axis=0))
    else:
        first = np.sqrt((residual[:, :3] ** 2).mean(axis=0))
        scale = np.sqrt(variance_of(stored["likelihood_1.log_variance"]))
        t = stats.t(degrees_of(stored["likelihood_1.raw_degrees"]), scale=scale)
        second = 1 / (1 / t.std()).mean(axis=0)
    result = joint.residual_scale(means, residual, stored)
    np.testing.assert_allclose(result, np.concatenate([first, second]), rtol=1e-9)


@pytest.mark.parametrize("name", PAIRS)
def test_joint_samples_have_the_moments_of_their_blocks(name: str) -> None:
    joint, outputs, parameters = joint_example(name)
    n = 100_000
    one = {key: np.tile(values[0, 0], (n, 1)) for key, values in parameters.items()}
    drawn = joint.sample(np.random.RandomState(0), np.tile(outputs[0, 0], (n, 1)), one)
    assert drawn.shape == (n, 5)
    given = {key: values[:1] for key, values in parameters.items()}
    both = scipy_distributions(name, outputs[:1, :1], given)
    deviation = np.concatenate([one.std() + np.zeros((1, 1, 1)) for one in both], axis=-1)[0, 0]
    mean = np.concatenate([one.mean() for one in both], axis=-1)[0, 0]
    assert (np.abs(drawn.mean(axis=0) - mean) < 5 * deviation / np.sqrt(n)).all()
    np.testing.assert_allclose(drawn.std(axis=0), deviation, rtol=0.05)


@pytest.fixture(scope="module", params=PAIRS)
def trained(request: pytest.FixtureRequest) -> tuple[Network, Encoded]:
    """Return networks with two blocks after a short training, and encoded rows."""
    rng = np.random.RandomState(0)
    z = rng.normal(size=(400, 1))
    numbers = z * [1.0, -0.5, 0.2] + 0.1 * rng.normal(size=(400, 3))
    coins = (z + 0.3 * rng.normal(size=(400, 2)) > 0).astype(float)
    encoded = Encoded(numbers, np.concatenate([numbers, coins], axis=1), np.zeros((400, 5)))
    spec = NetworkSpec(2, 3, PAIRS[request.param], (16,), 2)
    config = TrainingConfig(max_steps=300, learning_rate=1e-2, patience=100)
    data = InMemoryData.of([encoded], spec.joint)
    weights, history = train(spec, data, config, np.random.RandomState(0))
    assert history.held_out[-1] < history.held_out[0] - 1.0
    return Network(spec, weights), encoded


@pytest.mark.parametrize("engine", ["tensorflow", "onnx"])
def test_engines_agree_on_trained_networks_with_two_blocks(
    trained: tuple[Network, Encoded], engine: str
) -> None:
    if engine == "onnx":
        pytest.importorskip("onnxruntime", reason="the extra [onnx] is not installed")
    network, encoded = trained
    noise = np.array([[1, -1], [-1, 1]], dtype=np.float32)
    ours = elbo_terms(network, noise, encoded.inputs, encoded.targets)
    other = network.with_engine(engine)
    theirs = elbo_terms(other, noise, encoded.inputs, encoded.targets)
    assert ours.reconstruction.shape == (400, 5)
    np.testing.assert_allclose(theirs.reconstruction, ours.reconstruction, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(theirs.kl, ours.kl, rtol=1e-5, atol=1e-5)
    codes, _ = network.encode(encoded.inputs)
    np.testing.assert_allclose(other.decode(codes), network.decode(codes), rtol=1e-5, atol=1e-5)
    assert network.decode(codes).shape == (400, 5)
    assert network.sample(7, np.random.RandomState(0)).shape == (7, 5)
