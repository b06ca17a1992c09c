"""Settings of a user's keras.json, which change nothing of ours."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import pytest

from vae_anomaly import VAEDetector, load, save


@pytest.fixture
def channels_first() -> Iterator[None]:
    """Set what ``"image_data_format": "channels_first"`` in keras.json sets."""
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format(before)


@pytest.mark.parametrize("architecture", ["conv", "conv_bn"])
def test_images_have_their_channels_last(channels_first, tmp_path, architecture) -> None:
    # Sizes that no other test has: networks are built once for each size.
    images = np.random.RandomState(0).rand(30, 9, 14, 3)
    options = {"latent_dim": 3, "max_steps": 5, "threshold": 0, "random_state": 0}
    detector = VAEDetector(architecture=architecture, **options).fit(images)
    scores = detector.score_samples(images)
    save(detector, tmp_path / "m.vae")
    keras.config.set_image_data_format("channels_last")
    np.testing.assert_array_equal(load(tmp_path / "m.vae").score_samples(images), scores)
    again = VAEDetector(architecture=architecture, **options).fit(images)
    np.testing.assert_array_equal(again.score_samples(images), scores)
