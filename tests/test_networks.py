"""Layers of an ensemble against the Keras layers of a single network."""

from __future__ import annotations

import keras
import numpy as np

from vae_anomaly.networks.conv import MemberBatchNorm


def test_batch_normalisation_of_each_member_equals_that_of_keras() -> None:
    rng = np.random.RandomState(0)
    ensemble = MemberBatchNorm(2, 3, name="norm")
    layers = [keras.layers.BatchNormalization() for _ in range(2)]
    initial = {
        "gamma": rng.uniform(0.5, 2, size=(2, 3)),
        "beta": rng.normal(size=(2, 3)),
        "moving_mean": rng.normal(size=(2, 3)),
        "moving_variance": rng.uniform(0.5, 2, size=(2, 3)),
    }
    for m, layer in enumerate(layers):
        layer.build((None, 5, 4, 3))
        for name, values in initial.items():
            getattr(layer, name).assign(values[m])
    for name, values in initial.items():
        getattr(ensemble, name).assign(values)

    for training in (True, True, False):
        x = rng.normal(3.0, 2.0, size=(2, 6, 5, 4, 3)).astype(np.float32)
        out = np.asarray(ensemble(x, training=training))
        for m, layer in enumerate(layers):
            np.testing.assert_allclose(out[m], layer(x[m], training=training), rtol=1e-4, atol=1e-5)
            for name in initial:
                np.testing.assert_allclose(
                    np.asarray(getattr(ensemble, name))[m], getattr(layer, name).numpy(), rtol=1e-5
                )


def test_the_moving_variance_of_a_constant_channel_stays_positive() -> None:
    norm = MemberBatchNorm(1, 1, name="norm")
    norm.moving_variance.assign([[1e-20]])
    norm(np.zeros((1, 4, 1), dtype=np.float32), training=True)
    assert norm.moving_variance.numpy().item() > 0
