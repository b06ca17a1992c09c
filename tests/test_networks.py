"""Layers that hold several networks, against the layers of Keras that hold one."""

from __future__ import annotations

import keras
import numpy as np

from vae_anomaly.networks.conv import MemberBatchNorm


def test_batch_normalisation_is_that_of_keras_for_each_member() -> None:
    rng = np.random.RandomState(0)
    ours = MemberBatchNorm(2, 3, name="norm")
    theirs = [keras.layers.BatchNormalization() for _ in range(2)]
    start = {
        "gamma": rng.uniform(0.5, 2, size=(2, 3)),
        "beta": rng.normal(size=(2, 3)),
        "moving_mean": rng.normal(size=(2, 3)),
        "moving_variance": rng.uniform(0.5, 2, size=(2, 3)),
    }
    for m, layer in enumerate(theirs):
        layer.build((None, 5, 4, 3))
        for name, values in start.items():
            getattr(layer, name).assign(values[m])
    for name, values in start.items():
        getattr(ours, name).assign(values)

    for training in (True, True, False):
        x = rng.normal(3.0, 2.0, size=(2, 6, 5, 4, 3)).astype(np.float32)
        out = np.asarray(ours(x, training=training))
        for m, layer in enumerate(theirs):
            np.testing.assert_allclose(out[m], layer(x[m], training=training), rtol=1e-4, atol=1e-5)
            for name in start:
                np.testing.assert_allclose(
                    np.asarray(getattr(ours, name))[m], getattr(layer, name).numpy(), rtol=1e-5
                )


def test_the_variance_of_a_channel_that_never_moves_stays_positive() -> None:
    norm = MemberBatchNorm(1, 1, name="norm")
    norm.moving_variance.assign([[1e-20]])
    norm(np.zeros((1, 4, 1), dtype=np.float32), training=True)
    assert norm.moving_variance.numpy().item() > 0
