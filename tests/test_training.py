"""Training loop: optimizers against Keras, trimming, early stopping, compilation."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from network_parts import elbo_terms, spec_of

from vae_anomaly.inference.network import Network
from vae_anomaly.networks.vae import ElboTerms
from vae_anomaly.training import loop as training
from vae_anomaly.training.batches import InMemoryData
from vae_anomaly.training.loop import (
    Best,
    TrainingConfig,
    clipped,
    losses_of_members,
    pays_to_compile,
    steps_per_call,
    train,
)
from vae_anomaly.training.optimizers import OPTIMIZERS, Adam, RMSprop


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Adam(tf.constant(0.01)), keras.optimizers.Adam(0.01)),
        (RMSprop(tf.constant(0.01)), keras.optimizers.RMSprop(0.01)),
    ],
    ids=["adam", "rmsprop"],
)
def test_optimizers_take_the_steps_of_keras(ours, theirs) -> None:
    rng = np.random.RandomState(0)
    start = rng.normal(size=(2, 5)).astype(np.float32)
    gradients = rng.normal(scale=0.1, size=(20, 2, 5)).astype(np.float32)

    variable = keras.Variable(start)
    weights, state = tf.constant(start), ours.start(tf.constant(start))
    for gradient in gradients:
        theirs.apply([gradient], [variable])
        weights, state = ours.update(weights, tf.constant(gradient), state)
        np.testing.assert_allclose(weights, variable.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_learns(optimizer: str) -> None:
    rng = np.random.RandomState(0)
    line = (rng.normal(size=(300, 1)) * [1.0, -1.0, 0.5]).astype(np.float32)
    spec = spec_of(2, 3, (16,), 1, "gaussian")
    config = TrainingConfig(optimizer=optimizer, learning_rate=1e-2, max_steps=300)
    _, history = train(spec, InMemoryData(line, line), config, rng)
    # A model without the dependence needs the entropy of each column separately.
    entropy = 3 * 0.5 * np.log(2 * np.pi * np.e) + np.log(0.5)
    assert history.held_out[-1] < entropy - 1.0


def test_a_trimmed_loss_excludes_the_rows_of_largest_loss() -> None:
    rng = np.random.RandomState(0)
    terms = ElboTerms(tf.constant(rng.normal(size=(2, 1, 10, 4))), tf.constant(rng.rand(2, 10, 3)))
    error, kl = -terms.log_likelihood.numpy()[:, 0].sum(axis=-1), terms.kl.numpy().sum(axis=-1)
    for trimmed, kept in ((0.0, 10), (0.1, 9), (0.25, 8), (0.5, 5)):
        result = losses_of_members(terms, 0.5, trimmed).numpy()  # (3, members)
        for member in range(2):
            rows = np.argsort(error[member] + 0.5 * kl[member])[:kept]
            expected = error[member, rows].mean(), kl[member, rows].mean()
            np.testing.assert_allclose(result[1:, member], expected, rtol=1e-6)
            np.testing.assert_allclose(
                result[0, member], expected[0] + 0.5 * expected[1], rtol=1e-6
            )


def test_trimming_keeps_contamination_from_being_learned() -> None:
    rng = np.random.RandomState(0)
    line = rng.normal(size=(280, 1)) * [1.0, -1.0, 0.5]
    anomalies = rng.normal(size=(120, 1)) * [1.0, 1.0, 1.0]
    rows = np.concatenate([line, anomalies]).astype(np.float32)
    spec = spec_of(2, 3, (16,), 1, "gaussian", variance=0.1)
    noise = np.zeros((1, 1), dtype=np.float32)
    gaps = {}
    for contamination in (None, 0.3):
        config = TrainingConfig(
            learning_rate=1e-2, max_steps=600, patience=60, contamination=contamination
        )
        weights, _ = train(spec, InMemoryData(rows, rows), config, np.random.RandomState(0))
        error = elbo_terms(Network(spec, weights), noise, rows, rows).reconstruction.sum(axis=1)
        gaps[contamination] = error[280:].mean() - error[:280].mean()
    assert gaps[0.3] > 1.5 * gaps[None]


def test_gradients_are_clipped_for_each_member_separately() -> None:
    small = np.array([[0.1, 0.2, 0.3]], dtype=np.float32)
    together = clipped(tf.constant(np.vstack([small, small * 1e9])))
    np.testing.assert_array_equal(together[:1], small)
    np.testing.assert_allclose(np.linalg.norm(together[1]), 5.0, rtol=1e-6)


def test_the_best_weights_of_each_member_are_kept() -> None:
    best = Best(tf.zeros((2, 1)))
    best = best.or_better(tf.constant([[1.0], [1.0]]), np.array([5.0, 5.0], dtype=np.float32))
    best = best.or_better(tf.constant([[2.0], [2.0]]), np.array([4.0, 6.0], dtype=np.float32))
    assert best.intervals_since_best == 0
    best = best.or_better(tf.constant([[3.0], [3.0]]), np.array([np.nan, 7.0], dtype=np.float32))
    assert best.intervals_since_best == 1
    assert best.weights.numpy().ravel().tolist() == [2.0, 1.0]


def test_training_stops_when_the_validation_loss_stalls() -> None:
    noise = np.random.RandomState(0).normal(size=(60, 5)).astype(np.float32)
    spec = spec_of(2, 5, (64,), 4, "gaussian")
    config = TrainingConfig(
        max_steps=20_000, validation_interval=50, patience=4, learning_rate=3e-3
    )
    _, history = train(spec, InMemoryData(noise, noise), config, np.random.RandomState(0))
    assert history.step[-1] < config.max_steps
    assert len(history.held_out) == len(history.loss)
    assert int(np.argmin(history.held_out)) < len(history.loss) - config.patience


def test_training_learns_the_variance_of_noise() -> None:
    # Without dependence the best ELBO is the negative entropy of the noise.
    rng = np.random.RandomState(0)
    noise = (0.3 * rng.normal(size=(4000, 2))).astype(np.float32)
    spec = spec_of(1, 2, (8,), 1, "gaussian")
    config = TrainingConfig(learning_rate=1e-2, max_steps=1500)
    weights, history = train(spec, InMemoryData(noise, noise), config, rng)
    entropy = 2 * 0.5 * np.log(2 * np.pi * np.e * 0.3**2)
    assert history.held_out[-1] == pytest.approx(entropy, abs=0.1)
    variance = np.exp(spec.unpack(weights)["likelihood_0.log_variance"])
    np.testing.assert_allclose(variance, 0.09, rtol=0.15)


def test_compiled_training_differs_by_rounding_only(monkeypatch) -> None:
    rows = np.random.RandomState(0).normal(size=(200, 3)).astype(np.float32)
    spec, data, config = (
        spec_of(2, 3, (8,), 2, "gaussian"),
        InMemoryData(rows, rows),
        TrainingConfig(),
    )

    def fit(min_steps: int) -> tuple[np.ndarray, list[float]]:
        monkeypatch.setattr(training, "MIN_COMPILED_STEPS", min_steps)
        assert pays_to_compile(spec, config) == (config.max_steps >= min_steps)
        weights, history = train(
            spec, data, config, np.random.RandomState(0), lambda history: history.step[-1] == 200
        )
        return weights, history.loss

    (plain, losses), (compiled, again) = fit(config.max_steps + 1), fit(config.max_steps)
    np.testing.assert_allclose(compiled, plain, atol=1e-3)
    np.testing.assert_allclose(again, losses, rtol=1e-4)


def test_only_long_training_of_dense_networks_is_compiled() -> None:
    dense = spec_of(4, 20, (128, 64), 8, "gaussian")
    assert pays_to_compile(dense, TrainingConfig())
    assert not pays_to_compile(dense, TrainingConfig(max_steps=500))
    assert not pays_to_compile(replace(dense, grid=(5, 4, 1)), TrainingConfig())


@pytest.mark.parametrize("validation_interval", [1, 20, 100])
def test_the_number_of_steps_per_call_does_not_change_the_weights(
    monkeypatch, validation_interval: int
) -> None:
    rows = np.random.RandomState(0).normal(size=(90, 3)).astype(np.float32)
    spec, config = (
        spec_of(1, 3, (4,), 2, "gaussian"),
        TrainingConfig(max_steps=250, batch_size=16),
    )

    def fit() -> np.ndarray:
        return train(spec, InMemoryData(rows, rows), config, np.random.RandomState(0))[0]

    whole = fit()
    monkeypatch.setattr(training, "MAX_BATCH_CELLS", validation_interval * 16 * 3)
    assert steps_per_call(spec, config) == validation_interval
    np.testing.assert_array_equal(fit(), whole)


def test_a_callback_that_returns_true_stops_training_with_the_best_weights() -> None:
    rows = np.random.RandomState(0).normal(size=(200, 3)).astype(np.float32)
    spec, data = spec_of(2, 3, (8,), 2, "gaussian"), InMemoryData(rows, rows)
    config = TrainingConfig(max_steps=1900, learning_rate=0.05, patience=100)

    def fit(end: int) -> tuple[np.ndarray, list[int]]:
        stop = lambda history: history.step[-1] == end  # noqa: E731
        weights, history = train(spec, data, config, np.random.RandomState(0), stop)
        return weights, history.step

    kept, steps = fit(300)
    assert steps == [100, 200, 300]
    best, _ = train(
        spec, data, replace(config, max_steps=300), np.random.RandomState(0), lambda _: None
    )
    np.testing.assert_array_equal(kept, best)
