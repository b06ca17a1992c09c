"""Detectors on images: published sizes, maps that sum up, codes that decode."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from network_parts import spec_of
from sklearn.datasets import load_digits

from vae_anomaly import DataError, ModelFileError, ParameterError, VAEDetector, load, save
from vae_anomaly.data.image.encoder import MAX_SHIFTED_CELLS, shift_for, smoothing_for
from vae_anomaly.data.image.pixels import as_images, as_rows, shift_augmented, smooth
from vae_anomaly.data.image.units import PixelRange
from vae_anomaly.networks.spec import ConvPlan
from vae_anomaly.networks.vae import build_vae


def strokes(n: int, seed: int = 0) -> np.ndarray:
    """Draw a bright bar somewhere on each of n dark images: (n, 12, 10), of 8 bits."""
    rng = np.random.RandomState(seed)
    images = rng.randint(0, 30, size=(n, 12, 10))
    for image, row in zip(images, rng.randint(0, 10, size=n), strict=True):
        image[row : row + 3] += 200
    return images.astype(np.uint8)


@pytest.fixture(scope="module")
def fitted() -> VAEDetector:
    return VAEDetector(n_members=1, max_steps=300, false_alarm_rate=0.1, random_state=0).fit(
        strokes(400)
    )


@pytest.fixture(scope="module")
def normalised() -> VAEDetector:
    return VAEDetector(
        architecture="conv_bn",
        n_members=2,
        batch_size=32,
        learning_rate=3e-3,
        max_steps=400,
        threshold=0,
        random_state=0,
    ).fit(strokes(300))


def test_the_published_conv_preset_has_its_published_size() -> None:
    vae = build_vae(spec_of(1, 784, (16,), 2, "bernoulli", grid=(28, 28, 1)))
    assert vae.encoder.count_params() == 69_076
    assert vae.decoder.count_params() == 65_089


def test_the_batch_normalised_preset_has_the_size_of_a_plain_keras_model() -> None:
    layers = keras.layers
    encoder = keras.Sequential([keras.Input((28, 28, 1))])
    for filters in (32, 64):
        encoder.add(layers.Conv2D(filters, 3, strides=2, padding="same"))
        encoder.add(layers.BatchNormalization())
        encoder.add(layers.ReLU())
    encoder.add(layers.Flatten())
    encoder.add(layers.Dense(20, activation="relu"))
    encoder.add(layers.Dense(2 + 2))
    decoder = keras.Sequential([keras.Input((2,))])
    decoder.add(layers.Dense(7 * 7 * 64, activation="relu"))
    decoder.add(layers.Reshape((7, 7, 64)))
    for filters in (64, 32):
        decoder.add(layers.Conv2DTranspose(filters, 3, strides=2, padding="same"))
        decoder.add(layers.BatchNormalization())
        decoder.add(layers.ReLU())
    decoder.add(layers.Conv2DTranspose(1, 3, padding="same"))

    detector = VAEDetector(
        architecture="conv_bn", latent_dim=2, likelihood="bernoulli", max_steps=1, threshold=0
    ).fit(np.random.RandomState(0).uniform(size=(4, 28, 28)))
    spec = detector.network_spec_
    vae = build_vae(spec)
    assert vae.encoder.count_params() == encoder.count_params()
    assert vae.decoder.count_params() == decoder.count_params()
    assert spec.n_weights == encoder.count_params() + decoder.count_params()
    # Mean and variance of each channel of four convolutions.
    assert spec.n_state == 2 * (32 + 64 + 64 + 32)


@pytest.mark.parametrize(
    ("shape", "filters", "last"),
    [
        ((28, 28, 1), (32, 64), (7, 7, 64)),
        ((64, 48, 3), (32, 64, 128), (8, 6, 128)),
        ((5, 4, 1), (32,), (3, 2, 32)),
        ((100, 17, 3), (32, 64, 128, 128), (7, 2, 128)),
    ],
)
def test_depth_grows_with_size(shape, filters, last) -> None:
    plan = ConvPlan.for_grid(shape)
    assert plan.filters == filters
    assert plan.sizes[-1] == last


@pytest.mark.parametrize("image", [(5, 4, 1), (9, 13, 3), (28, 28, 1)])
@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_odd_sizes_come_back_whole(image, members, batch_norm) -> None:
    pixels = int(np.prod(image))
    spec = spec_of(members, pixels, (8,), 3, "gaussian", grid=image, batch_norm=batch_norm)
    vae = build_vae(spec)
    rng = np.random.RandomState(0)
    weights = vae.initial_weights(rng)
    assert weights.shape == (members, spec.n_weights)
    x = rng.normal(size=(members, 6, pixels)).astype(np.float32)
    with vae.with_weights(weights):
        mean, _ = vae.encode(x)
        outputs = vae.decode(mean)
    assert mean.shape == (members, 6, 3)
    assert outputs.shape == (members, 6, pixels)
    assert [tuple(v.shape) for v in vae.trainable_variables if len(v.shape) == 5] == [
        (members, *shape) for shape in spec.weight_shapes().values() if len(shape) == 4
    ]


def test_images_become_rows_and_come_back() -> None:
    colour = np.random.RandomState(0).randint(256, size=(3, 4, 5, 3)).astype(np.uint8)
    rows = as_rows(colour)
    assert rows.values.shape == (3, 60)
    np.testing.assert_array_equal(as_images(rows.values, rows.shape, PixelRange(0, 1)), colour)
    pixel_range = PixelRange(-10.0, 300.0)
    scaled = pixel_range.scaled(rows.values)
    assert 0 < scaled.min() < scaled.max() < 1
    np.testing.assert_allclose(as_images(scaled, rows.shape, pixel_range), colour, atol=1e-12)
    table = np.eye(3)
    assert as_rows(table).values is table


def test_an_anomalous_image_scores_higher_and_the_map_shows_where(fitted: VAEDetector) -> None:
    normal = strokes(50, seed=1)
    broken = normal.copy()
    broken[:, 5:8, 2:4] = 128
    scores = fitted.score_samples(normal)
    assert scores.mean() > fitted.score_samples(broken).mean()
    maps, kl = fitted.contribution_maps(broken)
    np.testing.assert_allclose(maps.sum(axis=(1, 2)) + kl, -fitted.score_samples(broken), rtol=1e-6)
    gain = (maps - fitted.contribution_maps(normal)[0]).mean(axis=0)
    assert gain[5:8, 2:4].mean() > 3 * np.abs(gain).mean()


def test_a_path_is_no_array_of_images(fitted: VAEDetector) -> None:
    said = re.escape(
        "Expected an array of records, got the path 'photos/test'. Read files first, such as with "
        "pandas or Pillow."
    )
    for path in ("photos/test", Path("photos/test")):
        with pytest.raises(DataError, match=said):
            fitted.predict(path)


def test_maps_show_where_images_differ_from_training(fitted: VAEDetector) -> None:
    normal = strokes(50, seed=1)
    broken = normal.copy()
    broken[:, 5:8, 2:4] = 128
    maps = fitted.anomaly_maps(broken)
    assert maps.shape == (50, 12, 10)
    gain = (maps - fitted.anomaly_maps(normal)).mean(axis=0)
    assert gain[5:8, 2:4].mean() > 3 * np.abs(gain).mean()
    assert np.array_equal(fitted.anomaly_maps(broken[7:8])[0], maps[7])
    np.testing.assert_allclose(fitted.anomaly_maps(broken / 1.0), maps)


def test_scores_of_images_do_not_depend_on_batch_or_order(fitted: VAEDetector) -> None:
    images = strokes(300, seed=2)
    scores = fitted.score_samples(images)
    order = np.random.RandomState(0).permutation(300)
    np.testing.assert_array_equal(fitted.score_samples(images[order]), scores[order])
    assert fitted.score_samples(images[7:8])[0] == scores[7]


def test_a_noisy_image_comes_back_cleaner() -> None:
    digits = load_digits().images / 16.0
    clean = digits[1200:]
    detector = VAEDetector(
        architecture="conv",
        latent_dim=16,
        hidden_units=(64,),
        max_steps=600,
        threshold=0,
        random_state=0,
    ).fit(digits[:1200])
    noisy = clean + 0.4 * np.random.RandomState(0).normal(size=clean.shape)
    noisy = noisy.clip(0, 1)

    def psnr(images: np.ndarray) -> float:
        return float(-10 * np.log10(np.mean((images - clean) ** 2)))

    assert psnr(detector.reconstruct(noisy)) > psnr(noisy) + 1.0


def test_codes_decode_and_interpolate(fitted: VAEDetector) -> None:
    images = strokes(2, seed=3)
    ends = fitted.reconstruct(images)
    between = fitted.interpolate(images[0], images[1], steps=5)
    assert between.shape == (5, 12, 10)
    np.testing.assert_allclose(between[[0, -1]], ends, rtol=1e-5)
    decoded = fitted.decode(fitted.transform(images))
    np.testing.assert_allclose(decoded, ends, rtol=1e-5)
    assert fitted.sample(4, random_state=0).shape == (4, 12, 10)
    with pytest.raises(DataError, match=r"Expected codes of shape \(n, 8\), got \(2, 3\)"):
        fitted.decode(np.zeros((2, 3)))


def test_one_member_decodes_alone() -> None:
    images = strokes(60)
    detector = VAEDetector(n_members=2, max_steps=50, threshold=0, random_state=0).fit(images)
    codes = np.random.RandomState(0).normal(size=(5, 8))
    alone = [detector.decode(codes, member=member) for member in (0, 1)]
    assert np.abs(alone[0] - alone[1]).max() > 0.01
    np.testing.assert_allclose(np.mean(alone, axis=0), detector.decode(codes), atol=1e-6)
    for member in (2, -1, 0.0, True):
        with pytest.raises(
            ParameterError,
            match=f"^member must be None or an int from 0 to 1, for the detector has 2. "
            f"Got {member} instead.$",
        ):
            detector.decode(codes, member=member)


def test_dense_networks_take_images_too() -> None:
    detector = VAEDetector(architecture="dense", max_steps=50, threshold=0, random_state=0)
    detector.fit(strokes(50))
    assert detector.image_shape_ == (12, 10, 1)
    assert detector.network_spec_.grid is None
    assert detector.contribution_maps(strokes(2))[0].shape == (2, 12, 10)


def test_a_normalised_network_scores_each_image_by_itself(normalised: VAEDetector) -> None:
    images = strokes(40, seed=2)
    scores = normalised.score_samples(images)
    assert normalised.score_samples(images[7:8])[0] == scores[7]
    np.testing.assert_array_equal(normalised.score_samples(images[::-1]), scores[::-1])


def test_a_normalised_network_learns_and_its_statistics_move(normalised: VAEDetector) -> None:
    arrays = normalised.network_spec_.unpack(normalised.weights_)
    moving = {name: a for name, a in arrays.items() if ".moving_" in name}
    # Height 12 takes one convolution to come down to 6: its mean and variance, on both sides.
    assert len(moving) == 4
    for name, values in moving.items():
        start = 1.0 if name.endswith("variance") else 0.0
        assert np.isfinite(values).all()
        assert (values != start).all()
        assert name.endswith("mean") or (values > 0).all()
    broken = strokes(50, seed=1)
    normal = normalised.score_samples(broken).mean()
    broken[:, 5:8, 2:4] = 128
    assert normal > normalised.score_samples(broken).mean()


def test_saved_normalised_networks_come_back(normalised: VAEDetector, tmp_path: Path) -> None:
    save(normalised, tmp_path / "m.vae")
    images = strokes(20, seed=4)
    np.testing.assert_array_equal(
        load(tmp_path / "m.vae").score_samples(images), normalised.score_samples(images)
    )


def test_variances_of_a_file_must_be_positive(normalised: VAEDetector, tmp_path: Path) -> None:
    spec, model = normalised.network_spec_, normalised.model_
    arrays = spec.unpack(normalised.weights_.copy())
    arrays["encoder_conv_0.moving_variance"][0, 3] = 0.0
    network = replace(model.network, weights=spec.pack(arrays))
    save(VAEDetector.from_model(replace(model, network=network)), tmp_path / "m.vae")
    with pytest.raises(
        ModelFileError, match=r"'encoder_conv_0\.moving_variance' are not all positive"
    ):
        load(tmp_path / "m.vae")


def test_saved_detectors_of_images_come_back(fitted: VAEDetector, tmp_path: Path) -> None:
    save(fitted, tmp_path / "m.vae")
    again = load(tmp_path / "m.vae")
    images = strokes(20, seed=4)
    np.testing.assert_array_equal(again.decision_function(images), fitted.decision_function(images))
    np.testing.assert_array_equal(again.sample(2, 0), fitted.sample(2, 0))


def test_what_does_not_fit_is_refused(fitted: VAEDetector) -> None:
    with pytest.raises(DataError, match="Expected images of 12 x 10 x 1, as in training, got"):
        fitted.predict(strokes(3).transpose(0, 2, 1))
    for name in ("conv", "conv_bn"):
        with pytest.raises(ParameterError, match=f"architecture='{name}' needs a grid"):
            VAEDetector(architecture=name).fit(np.eye(5))
    opaque = np.random.RandomState(0).uniform(size=(9, 6, 6, 2))
    opaque[..., 1] = 1.0
    with pytest.raises(DataError, match="Channel 1 of the images has one value throughout"):
        VAEDetector(architecture="conv", threshold=0).fit(opaque)
    VAEDetector(architecture="dense", max_steps=5, threshold=0).fit(opaque)
    table = VAEDetector(max_steps=5, threshold=0).fit(np.eye(120))
    with pytest.raises(DataError, match="Expected rows of numbers, as in training, got an array"):
        table.predict(strokes(3))
    with pytest.raises(DataError, match="contribution_maps is for images"):
        table.contribution_maps(np.eye(120))
    with pytest.raises(DataError, match="anomaly_maps is for images"):
        table.anomaly_maps(np.eye(120))


def test_smoothing_is_a_gaussian_on_each_channel_by_itself() -> None:
    dot = np.zeros((1, 31, 41, 2))
    dot[0, 15, 20] = [1.0, 3.0]
    smoothed = smooth(dot.reshape(1, -1), (31, 41, 2), 1.5).reshape(31, 41, 2)
    rows, columns = np.mgrid[:31, :41]
    away = (rows - 15) ** 2 + (columns - 20) ** 2
    density = np.exp(-away / (2 * 1.5**2)) / (2 * np.pi * 1.5**2)
    np.testing.assert_allclose(smoothed[..., 0], density, atol=1e-4)
    np.testing.assert_allclose(smoothed[..., 1], 3 * smoothed[..., 0])


def test_smoothing_keeps_images_apart_and_flat_ones_flat() -> None:
    images = np.stack([np.full((9, 7, 1), 0.25), np.random.RandomState(0).rand(9, 7, 1)])
    rows = images.reshape(2, -1)
    together = smooth(rows, (9, 7, 1), 2.0)
    np.testing.assert_array_equal(together[0], 0.25)
    np.testing.assert_array_equal(smooth(rows[1:], (9, 7, 1), 2.0)[0], together[1])
    np.testing.assert_array_equal(smooth(rows, (9, 7, 1), 0.0), rows)


def test_grain_that_smoothing_removes_changes_no_score() -> None:
    bars, anomalous = (100 + strokes(n, seed=n) // 2 for n in (200, 50))  # far from black and white
    board = np.indices((12, 10)).sum(axis=0) % 2 * 2 - 1
    grainy = (anomalous + 20 * board).astype(np.uint8)
    relative = {}
    for smoothing in (0.0, 2.0):
        detector = VAEDetector(
            smoothing=smoothing, max_steps=200, contamination=0.1, random_state=0
        ).fit(bars)
        change = detector.score_samples(anomalous) - detector.score_samples(grainy)
        relative[smoothing] = np.abs(change).mean() / detector.score_samples(bars).std()
    assert relative[2.0] < 0.2 * relative[0.0]


@pytest.mark.parametrize(
    ("architecture", "smoothing", "expected"),
    [("auto", None, 12 / 28), ("dense", None, 12 / 28), ("conv", None, 0.0), ("conv", 1.5, 1.5)],
)
def test_images_are_smoothed_by_a_share_of_their_longer_side(
    architecture: str, smoothing: float | None, expected: float
) -> None:
    detector = VAEDetector(architecture=architecture, smoothing=smoothing)
    assert smoothing_for(detector, (10, 12, 3)) == pytest.approx(expected)


def test_smoothing_leaves_no_image_s_range() -> None:
    white = np.where(np.random.RandomState(0).rand(50, 32 * 32) < 0.5, 1.0, 0.3)
    for deviation in (0.5, 8 / 7, 3.0):
        smoothed = smooth(white, (32, 32, 1), deviation)
        assert smoothed.max() <= 1.0
        assert smoothed.min() >= 0.3
    huge = np.where(white == 1.0, 1.7e308, -1.7e308)
    assert np.isfinite(smooth(huge, (32, 32, 1), 1.0)).all()


def test_images_shift_by_whole_and_by_half_pixels() -> None:
    image = np.arange(12.0).reshape(1, 12)  # 3 x 4
    versions = shift_augmented(image, (3, 4, 1), 1.0)
    still, down, up, right, left = (version.reshape(3, 4) for version in versions)
    np.testing.assert_array_equal(still, np.arange(12).reshape(3, 4))
    np.testing.assert_allclose(down, still[[0, 0, 1]])
    np.testing.assert_allclose(up, still[[1, 2, 2]])
    np.testing.assert_allclose(right, still[:, [0, 0, 1, 2]])
    np.testing.assert_allclose(left, still[:, [1, 2, 3, 3]])
    _, half, *_ = shift_augmented(image, (3, 4, 1), 0.5)
    np.testing.assert_allclose(half.reshape(3, 4)[1:], (still[1:] + still[:-1]) / 2)
    assert len(list(shift_augmented(image, (3, 4, 1), 0.0))) == 1


def test_few_images_are_learned_with_shifted_copies() -> None:
    detector = VAEDetector()
    assert shift_for(detector, (10, 14, 1), 1000) == pytest.approx(0.5)
    assert shift_for(detector, (10, 14, 1), MAX_SHIFTED_CELLS + 1) == 0.0
    assert shift_for(VAEDetector(architecture="conv"), (10, 14, 1), 1000) == 0.0
    assert shift_for(VAEDetector(shift=2.0), (10, 14, 1), 10**9) == 2.0

    # Bars were seen in even rows only: shifts teach that they may be in others.
    bars = np.zeros((60, 12, 10))
    bars += np.random.RandomState(0).normal(scale=0.05, size=bars.shape)
    for i, bar in enumerate(bars):
        bar[2 * (i % 5) : 2 * (i % 5) + 3] += 1
    between = np.roll(bars, 1, axis=1)[::3]
    loss = {}
    for shift in (0.0, 1.0):
        detector = VAEDetector(shift=shift, max_steps=300, contamination=0.1, random_state=0)
        loss[shift] = detector.fit(bars).score(bars) - detector.score(between)
    assert loss[1.0] < 0.5 * loss[0.0]


@pytest.mark.parametrize("name", ["smoothing", "shift"])
def test_pixels_beyond_the_image_are_refused(name: str) -> None:
    with pytest.raises(
        ParameterError, match=f"{name} must not be more pixels than the images have, 12. Got 13.0"
    ):
        VAEDetector(**{name: 13.0}, threshold=0).fit(strokes(9))


def test_smoothing_is_what_it_was_in_fit(tmp_path: Path) -> None:
    detector = VAEDetector(max_steps=5, threshold=0, random_state=0).fit(strokes(30))
    before = detector.score_samples(strokes(5))
    detector.set_params(smoothing=3.0)
    words = r"Parameters were set after fit: smoothing=3\.0, fitted with smoothing=None"
    with pytest.raises(ParameterError, match=words):
        detector.score_samples(strokes(5))
    with pytest.raises(ParameterError, match=words):
        save(detector, tmp_path / "model.vae")
    detector.set_params(smoothing=None)
    np.testing.assert_array_equal(detector.score_samples(strokes(5)), before)
