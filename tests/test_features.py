"""Features of images from an ONNX file or a Keras model, and models of their patches."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from accessibility import check_page, needs_axe
from conftest import Vae
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from vae_anomaly import DataError, ModelFileError, ParameterError, VAEDetector, inspect, load, save
from vae_anomaly._types import JsonObject
from vae_anomaly.data.image.features import as_grid, open_features
from vae_anomaly.data.image.layout import Layout
from vae_anomaly.displays.map_files import map_at_size
from vae_anomaly.model.patch_reference import PlacedPatches, fit_reference
from vae_anomaly.model.patches import pooled
from vae_anomaly.stats.maps import interpolated
from vae_anomaly.storage.container import open_container, write_container

Images = NDArray[np.uint8]

SIDE, PATCH, DEPTH = 32, 4, 6
WEIGHTS = np.random.RandomState(0).normal(size=(DEPTH, 3, PATCH, PATCH)).astype(np.float32)
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def write_network(path: Path, weights: NDArray[np.float32] = WEIGHTS, seen: str = "float") -> Path:
    """Write a network of images: a convolution named "patches", and a mean named "pooled"."""
    depth, _, patch, _ = weights.shape
    number = {"float": TensorProto.FLOAT, "uint8": TensorProto.UINT8}[seen]
    shape = ["n", 3, SIDE, SIDE] if seen == "float" else ["n", SIDE, SIDE, 3]
    nodes = []
    if seen == "uint8":
        nodes += [
            helper.make_node("Cast", ["image"], ["numbers"], to=TensorProto.FLOAT),
            helper.make_node("Transpose", ["numbers"], ["first"], perm=[0, 3, 1, 2]),
        ]
    last = ["grid"] if seen == "float" else ["conv"]
    source = "image" if seen == "float" else "first"
    nodes.append(
        helper.make_node("Conv", [source, "w"], last, name="patches", strides=[patch, patch])
    )
    if seen == "uint8":
        nodes.append(helper.make_node("Transpose", ["conv"], ["grid"], perm=[0, 2, 3, 1]))
    axes = [2, 3] if seen == "float" else [1, 2]
    nodes.append(
        helper.make_node("ReduceMean", ["grid"], ["vector"], "pooled", axes=axes, keepdims=0)
    )
    nodes.append(helper.make_node("Relu", ["vector"], ["score"], "last"))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("image", number, shape)],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", depth])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, path)
    return path


def normal_images(count: int, seed: int, side: int = 48) -> Images:
    """Return images of one scene: a ramp, a bright bar, and noise."""
    rng = np.random.RandomState(seed)
    scene = np.tile(np.linspace(60, 160, side), (side, 1))
    scene[side // 2 - 4 : side // 2 + 4] += 60
    images = scene[None, :, :, None] + rng.normal(scale=4, size=(count, side, side, 3))
    return np.clip(images, 0, 255).astype(np.uint8)


def defective_images(count: int, seed: int) -> tuple[Images, NDArray[np.bool_]]:
    """Return such images with a dark square each, and where it is."""
    images, masks = normal_images(count, seed), np.zeros((count, 48, 48), dtype=bool)
    for image, mask, (i, j) in zip(
        images, masks, np.random.RandomState(seed).randint(2, 34, (count, 2)), strict=True
    ):
        image[i : i + 10, j : j + 10] = 20
        mask[i : i + 10, j : j + 10] = True
    return images, masks


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    return write_network(tmp_path_factory.mktemp("network") / "net.onnx")


@pytest.fixture(scope="module")
def detector(network) -> VAEDetector:
    return VAEDetector(
        features=f"onnx:{network}#patches",
        max_steps=100,
        false_alarm_rate=0.1,
        random_state=0,
    ).fit(normal_images(60, 0))


# ------------------------------------------------------------------------------ networks


def test_a_node_makes_a_grid_of_vectors(network):
    """Against the convolution, written out."""
    image = normal_images(1, 3, side=SIDE)[0]
    found = open_features(f"onnx:{network}#patches").grid(image)
    x = (image / 255 - MEAN) / DEVIATION
    tiles = x.reshape(8, PATCH, 8, PATCH, 3).transpose(0, 2, 4, 1, 3)  # (8, 8, 3, 4, 4)
    expected = np.einsum("hwcij,dcij->hwd", tiles, WEIGHTS)
    assert found.shape == (8, 8, DEPTH)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    by_tensor = open_features(f"onnx:{network}#grid").grid(image)
    assert np.array_equal(by_tensor, found)


def test_without_a_node_the_first_output_counts(network):
    image = normal_images(1, 3, side=SIDE)[0]
    grid = open_features(f"onnx:{network}#patches").grid(image)
    vector = open_features(f"onnx:{network}").grid(image)
    assert vector.shape == (1, 1, DEPTH)
    np.testing.assert_allclose(vector[0, 0], np.maximum(grid.mean((0, 1)), 0), rtol=1e-4, atol=1e-4)


def test_an_input_of_bytes_gets_pixels_as_they_are(tmp_path):
    path = write_network(tmp_path / "bytes.onnx", seen="uint8")
    image = normal_images(1, 3, side=SIDE)[0]
    found = open_features(f"onnx:{path}#grid").grid(image)
    tiles = image.astype(float).reshape(8, PATCH, 8, PATCH, 3).transpose(0, 2, 4, 1, 3)
    expected = np.einsum("hwcij,dcij->hwd", tiles, WEIGHTS)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_keras_model_makes_features_of_numbers_up_to_255():
    import keras

    model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), keras.layers.AveragePooling2D(8)])
    image = normal_images(1, 3, side=SIDE)[0]
    features = open_features(model)
    expected = image.reshape(4, 8, 4, 8, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(features.grid(image), expected, rtol=1e-5)
    assert features.digest == open_features(model).digest


@pytest.mark.parametrize(
    ("shape", "size", "grid"),
    [
        ((1, 256, 5), (224, 224), (16, 16, 5)),
        ((1, 257, 5), (224, 224), (16, 16, 5)),
        ((1, 6 + 4, 5), (28, 42), (2, 3, 5)),
        ((1, 5), (224, 224), (1, 1, 5)),
    ],
)
def test_tokens_are_patches_row_by_row(shape, size, grid):
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    found = as_grid(values, size, channels_first=True)
    assert found.shape == grid
    assert found.reshape(-1)[-1] == values.reshape(-1)[-1]  # others come first
    assert np.array_equal(found.reshape(-1), values.reshape(-1)[-found.size :])


def test_other_features_are_refused():
    with pytest.raises(DataError, match=r"got \(1, 100, 5\). Name another node"):
        as_grid(np.zeros((1, 100, 5), np.float32), (224, 224), channels_first=True)
    with pytest.raises(DataError, match=r"got \(5,\)"):
        as_grid(np.zeros(5, np.float32), (224, 224), channels_first=True)


def test_what_is_wrong_with_a_file_is_said(network, tmp_path):
    with pytest.raises(ParameterError, match=r"has no node or tensor 'patch'. .* 'patches'"):
        open_features(f"onnx:{network}#patch").grid(normal_images(1, 0)[0])
    (tmp_path / "x.onnx").write_bytes(b"no network")
    with pytest.raises(DataError, match=r"x\.onnx is no ONNX file"):
        open_features(f"onnx:{tmp_path / 'x.onnx'}").grid(normal_images(1, 0)[0])
    with pytest.raises(FileNotFoundError):
        open_features(f"onnx:{tmp_path / 'y.onnx'}")
    with pytest.raises(FileNotFoundError):  # nothing is downloaded
        open_features("onnx:https://example.org/net.onnx")
    with pytest.raises(DataError, match=r"Expected images of 1 or 3 channels .*, got 2"):
        open_features(f"onnx:{network}").grid(np.zeros((8, 8, 2), np.uint8))


def test_what_is_not_installed_is_said(network, monkeypatch, tmp_path):
    copy = write_network(tmp_path / "other.onnx", 2 * WEIGHTS)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ParameterError, match="pip install onnx onnxruntime"):
        open_features(f"onnx:{copy}").grid(normal_images(1, 0)[0])


# ------------------------------------------------------------------------------- formulas


def test_the_score_of_an_image_is_the_mean_of_its_most_anomalous_patches():
    scores = np.random.RandomState(0).permutation(256).astype(float)[None]
    assert pooled(scores) == np.mean(np.arange(248, 256))  # 3 in 100 of 256 are 8
    assert pooled(np.array([[3.0]])) == [3.0]


def test_scores_of_patches_are_interpolated_between_their_centres():
    grid = np.array([[0.0, 4.0], [8.0, 12.0]])
    found = interpolated(grid, 4, 8)
    assert found.shape == (4, 8)
    # Centres of patches lie at rows 0.5 and 2.5, columns 1.5 and 5.5.
    for i, j in [(0, 0), (1, 2), (2, 5), (3, 7), (1, 4)]:
        row, column = np.clip((i - 0.5) / 2, 0, 1), np.clip((j - 1.5) / 4, 0, 1)
        assert found[i, j] == pytest.approx(8 * row + 4 * column)
    assert np.array_equal(interpolated(np.array([[7.0]]), 2, 3), np.full((2, 3), 7.0))


def patches_of(shuffled: bool) -> PlacedPatches:
    """Return patches whose features depend on their place, or which lie anywhere."""
    rng, n = np.random.RandomState(0), 20
    place = np.indices((8, 8), dtype=np.float32).reshape(2, -1).T
    of_place = rng.normal(size=(64, 12))
    orders = [rng.permutation(64) if shuffled else np.arange(64) for _ in range(n)]
    features = np.concatenate([of_place[order] for order in orders])
    features += rng.normal(scale=0.1, size=features.shape)
    image = np.arange(n).repeat(64)
    return PlacedPatches(features.astype(np.float32), np.tile(place, (n, 1)), image)


def test_places_count_where_images_are_aligned():
    rng = np.random.RandomState(0)
    learned = np.ones(20 * 64, dtype=bool)
    aligned, anywhere = (
        fit_reference(patches_of(shuffled), learned, rng).place_unit for shuffled in (False, True)
    )
    # A displacement of uniform places on 8 is 3.24 on average, the least that counts is 0.2.
    assert aligned / anywhere == pytest.approx(3.24 / 0.2, rel=0.1)


def test_an_image_can_be_left_out_of_the_exemplars():
    patches, learned = patches_of(shuffled=False), np.arange(20 * 64) < 15 * 64
    found = fit_reference(patches, learned, np.random.RandomState(0))
    assert len(found.points) == 20 * 64
    without = found.without_image(17)
    assert len(without.points) == 19 * 64
    own = patches.only(patches.image == 17)
    assert (without.score(*own[:2]) > 0).all()
    assert not (without.image == 17).any()


# -------------------------------------------------------------------------------- detector


def test_defects_are_found_and_located(detector):
    normal, (defective, masks) = normal_images(40, 1), defective_images(40, 2)
    scores = -detector.score_samples(np.concatenate([normal, defective]))
    assert roc_auc_score([0] * 40 + [1] * 40, scores) == 1.0
    assert (detector.predict(defective) == -1).all()
    assert (detector.predict(normal) == -1).mean() < 0.35
    maps, rest = detector.contribution_maps(defective)
    assert maps.shape == (40, 48, 48)
    assert not rest.any()
    assert roc_auc_score(masks.ravel(), maps.ravel()) > 0.95


def test_scores_depend_on_the_image_alone(detector):
    images = normal_images(9, 1)
    scores = detector.score_samples(images)
    assert np.array_equal(detector.score_samples(images[::-1])[::-1], scores)
    assert np.array_equal([detector.score_samples(one[None])[0] for one in images], scores)
    assert np.array_equal(detector.score_samples(images.reshape(9, -1)), scores)
    again = clone(detector).fit(normal_images(60, 0))
    assert np.array_equal(again.score_samples(images), scores)
    assert np.array_equal(pickle.loads(pickle.dumps(detector)).score_samples(images), scores)


def test_contributions_are_those_of_the_patches_that_count(detector):
    images = defective_images(3, 4)[0]
    parts = detector.explain(images)
    assert list(parts.columns[:2]) == ["patch_1_1", "patch_1_2"]
    assert parts.columns[-1] == "latent_code"
    np.testing.assert_allclose(parts.sum(axis=1), -detector.score_samples(images))
    assert ((parts.iloc[:, :-1] > 0).sum(axis=1) == 2).all()  # 3 in 100 of 64
    patches = detector.model_.patch_scores(images.reshape(3, -1))[0]
    highest = np.sort(patches, axis=1)[:, -2:]
    np.testing.assert_allclose(np.sort(parts.to_numpy(), axis=1)[:, -2:], highest / 2)


def test_every_score_is_one_of_patches(detector):
    images = np.concatenate([normal_images(10, 1), defective_images(10, 2)[0]])
    found = detector.scores(images)
    assert np.array_equal(found["exemplar"], -detector.score_samples(images))
    assert np.isfinite(found).all().all()
    assert roc_auc_score([0] * 10 + [1] * 10, found["elbo"]) > 0.9
    assert detector.transform(images).shape == (20, 32)
    assert np.isfinite(detector.score(images))
    assert detector.image_shape_ == (48, 48, 3)


def test_pooled_vectors_are_images_of_one_patch(network):
    found = VAEDetector(
        features=f"onnx:{network}#vector", max_steps=50, contamination=0.1, random_state=0
    ).fit(normal_images(40, 0))
    normal, defective = normal_images(20, 1), defective_images(20, 2)[0]
    scores = -found.score_samples(np.concatenate([normal, defective]))
    assert roc_auc_score([0] * 20 + [1] * 20, scores) > 0.95
    maps, _ = found.contribution_maps(defective[:6])
    # One patch shows no place: gradients do.
    assert roc_auc_score(defective_images(20, 2)[1][:6].ravel(), maps.ravel()) > 0.95


def test_maps_average_those_of_the_network_and_of_gradients(detector):
    images = defective_images(4, 5)[0]
    model = detector.model_
    of_network = model.patch_scores(images, ["exemplar", "elbo"]).mean(axis=0).reshape(4, 8, 8)
    of_gradients = model.gradients.patch_scores(images, ["exemplar"])[0].reshape(4, 32, 32)
    for found, coarse, fine in zip(
        detector.contribution_maps(images)[0], of_network, of_gradients, strict=True
    ):
        fine = fine * model.deviation / model.gradients.deviation
        expected = (interpolated(coarse, 48, 48) + interpolated(fine, 48, 48)) / 2
        expected = expected - expected.mean() / 2
        np.testing.assert_allclose(found, expected / expected.std() ** 0.25)


def test_network_and_gradients_count_alike_in_maps(detector):
    images, model = normal_images(30, 6), detector.model_
    for one in (model, model.gradients):
        spread = one.patch_scores(images, one.map_scores).mean(axis=0).std()
        assert one.deviation == pytest.approx(spread, rel=0.25)


def test_other_scores_have_maps_of_the_network_alone(network):
    found = VAEDetector(
        features=f"onnx:{network}#patches",
        score_type="elbo",
        max_steps=20,
        contamination=0.1,
        random_state=0,
    ).fit(normal_images(20, 0))
    assert found.model_.gradients is None


def test_grey_images_and_floats_mean_the_same_as_bytes(network):
    grey = normal_images(30, 0)[..., 0]
    given = {"features": f"onnx:{network}#patches", "max_steps": 20, "contamination": 0.1}
    of_bytes = VAEDetector(**given, random_state=0).fit(grey)
    of_floats = VAEDetector(**given, random_state=0).fit(grey / 255)
    fresh = normal_images(5, 1)[..., 0]
    assert np.array_equal(of_bytes.score_samples(fresh), of_floats.score_samples(fresh / 255))


def test_what_features_cannot_do_is_said(detector, network):
    images = normal_images(5, 1)
    for call in (
        lambda: detector.reconstruct(images),
        lambda: detector.sample(2),
        lambda: detector.interpolate(images[0], images[1]),
        lambda: detector.decode(np.zeros((1, 32))),
    ):
        with pytest.raises(ParameterError, match="A model of features knows no pixels"):
            call()
    features = f"onnx:{network}#patches"
    for given, message in [
        ({"architecture": "conv"}, "With features the networks are dense"),
        ({"smoothing": 1.0}, "smoothing is for pixels, not for features"),
        (
            {"features": "net.onnx"},
            "'features' parameter .* 'gradients', 'onnx:path#node' or a Keras",
        ),
    ]:
        with pytest.raises(ParameterError, match=message):
            VAEDetector(**{"features": features} | given).fit(images)
    with pytest.raises(DataError, match=r"features are for images, .* got \(20, 3\)"):
        VAEDetector(features=features).fit(np.zeros((20, 3)))
    with pytest.raises(DataError, match="got images of 40 x 40 x 3"):
        detector.score_samples(images[:, :40, :40])
    with pytest.raises(DataError, match="Expected at least 2 images to learn from, got 1"):
        VAEDetector(features=features, false_alarm_rate=0.4).fit(images[:2])


# ----------------------------------------------------------------------------------- files


def test_a_model_file_finds_its_network_again(detector, network, tmp_path):
    images = normal_images(4, 1)
    save(detector, tmp_path / "m.vae")
    loaded = load(tmp_path / "m.vae")
    assert np.array_equal(loaded.score_samples(images), detector.score_samples(images))
    maps = [one.contribution_maps(images)[0] for one in (loaded, detector)]
    assert np.array_equal(*maps)
    assert loaded.offset_ == detector.offset_
    assert loaded.get_params()["features"] == f"onnx:{network}#patches"
    facts = inspect(tmp_path / "m.vae")
    assert (facts["modality"], facts["grid"], facts["depth"]) == ("patches", [8, 8], DEPTH)
    assert facts["features"] == f"onnx:{network}#patches"
    assert len(facts["features_sha256"]) == 64


def with_settings(
    detector: VAEDetector, folder: Path, change: Callable[[JsonObject], object]
) -> Path:
    """Save a detector with other settings."""
    path = folder / "m.vae"
    save(detector, path)
    file = open_container(path)
    layout = {name: (dtype, shape) for name, dtype, shape in all_arrays(path)}
    arrays = {name: (layout[name][0], one) for name, one in file.arrays(layout).items()}
    config = json.loads(json.dumps(file.config))
    change(config)
    write_container(path, config, arrays)
    return path


def moved(detector: VAEDetector, folder: Path, network: str) -> Path:
    """Save a detector as if its network had been at another path."""

    def move(config: JsonObject) -> None:
        config["parameters"]["features"] = f"onnx:{network}#patches"
        config["encoder"]["source"] = f"onnx:{network}#patches"

    return with_settings(detector, folder, move)


def all_arrays(path: Path) -> list[tuple[str, str, tuple[int, ...]]]:
    """Return name, type and shape of the arrays of a model file."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    del header["__metadata__"]
    by_place = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    return [(name, one["dtype"], tuple(one["shape"])) for name, one in by_place]


def test_the_network_may_lie_beside_the_model(detector, network, tmp_path):
    path = moved(detector, tmp_path, "elsewhere/net.onnx")
    with pytest.raises(ParameterError, match=r"elsewhere/net\.onnx, which is not there. Put the"):
        load(path)
    (tmp_path / "net.onnx").write_bytes(network.read_bytes())
    images = normal_images(4, 1)
    assert np.array_equal(load(path).score_samples(images), detector.score_samples(images))
    write_network(tmp_path / "net.onnx", 2 * WEIGHTS)
    with pytest.raises(ParameterError, match=r"Expected the network of features .* SHA-256"):
        load(path)
    given = load(path, features=f"onnx:{network}#patches")
    assert np.array_equal(given.score_samples(images), detector.score_samples(images))


def test_a_keras_model_is_not_stored(tmp_path):
    import keras

    def model() -> Any:
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(6, 4, 4)]
        return keras.Sequential([keras.Input((SIDE, SIDE, 3)), *layers])

    network, images = model(), normal_images(20, 0)
    found = VAEDetector(features=network, max_steps=20, contamination=0.1, random_state=0)
    save(found.fit(images), tmp_path / "m.vae")
    with pytest.raises(ParameterError, match=r"a Keras model, .* load\(path, features=model\)"):
        load(tmp_path / "m.vae")
    again = load(tmp_path / "m.vae", features=network)
    assert np.array_equal(again.score_samples(images), found.score_samples(images))
    assert inspect(tmp_path / "m.vae")["features"] == "keras"


def test_features_are_refused_where_there_are_none(tmp_path, network):
    plain = VAEDetector(max_steps=5, contamination=0.1).fit(np.random.RandomState(0).rand(20, 3))
    save(plain, tmp_path / "m.vae")
    with pytest.raises(ParameterError, match="was fitted without features, and needs no features"):
        load(tmp_path / "m.vae", features=f"onnx:{network}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": None}, "threshold must be a finite number"),
        ({"n_exemplars": 1}, "n_exemplars must be an int from 2 to 6,144"),
        ({"n_coordinates": True}, "n_coordinates must be an int"),
        ({"extra": 1}, "its settings are not those of a model of features"),
        ({"encoder": {}}, "the settings of its encoder are not those of its modality"),
        ({"patch": {"modality": "image"}}, "the settings of its networks are not those of a model"),
        ({"parameters": {}}, "its parameters are not those of a detector"),
        ({"created_with": []}, "created_with must map names to texts"),
        ({"deviation": 0.0}, "deviation must be a finite number above 0"),
        ({"gradients": []}, "the settings of its gradients are not those of a model"),
        ({"gradients": {}}, "its settings are not those of a model of features"),
    ],
)
def test_damaged_settings_are_refused(detector, tmp_path, change, message):
    path = with_settings(detector, tmp_path, lambda config: config.update(change))
    with pytest.raises(ModelFileError, match=message):
        load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "keras"}, "its model of gradients is another one"),
        ({"pixel_range": [0.0, 1.0]}, "its model of gradients is one of other images"),
        ({"digest": "0"}, "Expected the network of features that the model was fitted with"),
    ],
)
def test_gradients_of_other_images_are_refused(detector, tmp_path, change, message):
    path = with_settings(
        detector, tmp_path, lambda config: config["gradients"]["encoder"].update(change)
    )
    with pytest.raises((ModelFileError, ParameterError), match=message):
        load(path)


# ---------------------------------------------------------------------------- command line


@pytest.fixture
def folders(tmp_path) -> Path:
    """Write train/good, test/good and test/dark."""
    for name, images in [
        ("train/good", normal_images(40, 0)),
        ("test/good", normal_images(6, 1)),
        ("test/dark", defective_images(6, 2)[0]),
    ]:
        (tmp_path / name).mkdir(parents=True)
        for i, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / name / f"{i}.png")
    return tmp_path


def test_the_command_line_learns_features(vae: Vae, folders, network):
    model, scores = folders / "m.vae", folders / "s.csv"
    features = f"onnx:{network}#patches"
    code, _, err = vae(
        *("fit", folders / "train", "-o", model, "--features", features),
        *("--max-steps", 100, "--false-alarm-rate", 0.1),
    )
    assert code == 0, err
    assert "fitting on 40 images of 48 x 48 pixels, colour, stretched" in err
    code, _, err = vae("score", model, folders / "test", "-o", scores)
    assert code == 0, err
    table = pd.read_csv(scores)
    is_dark = table["file"].str.startswith("dark")
    assert roc_auc_score(is_dark, table["anomaly_score"]) == 1.0
    code, out, _ = vae("inspect", model)
    assert code == 0
    assert f"features     {features}" in out
    assert "patches      8 x 8, of 6 features" in out
    code, _, err = vae("recalibrate", model, folders / "test/good", "-o", folders / "r.vae")
    assert code == 0, err
    code, _, err = vae("export", model, "-o", folders / "m.onnx")
    assert code == 2
    assert "A model of features has no export" in err


def test_maps_have_the_size_of_their_images(vae: Vae, folders, network):
    """Of an image twice as large as the others, and of letterboxed ones."""
    model, scores = folders / "m.vae", folders / "s.csv"
    images, masks = defective_images(2, 5)
    for i, image in enumerate(images):
        double = Image.fromarray(image).resize((96, 96), Image.Resampling.NEAREST)
        double.save(folders / f"test/dark/large{i}.png")
    command = ("fit", folders / "train", "-o", model, "--features", f"onnx:{network}#patches")
    code, _, err = vae(*command, "--max-steps", 50, "--contamination", 0.1)
    assert code == 0, err
    code, _, err = vae("score", model, folders / "test", "-o", scores, "--maps", folders / "maps")
    assert code == 0, err
    assert f"maps: 14 images in {folders / 'maps'}" in err
    found = np.asarray(Image.open(folders / "maps/dark/large1.png.tiff"))
    assert (found.shape, found.dtype) == ((96, 96), np.float32)
    assert roc_auc_score(masks[1].repeat(2, 0).repeat(2, 1).ravel(), found.ravel()) > 0.95
    painted = np.asarray(Image.open(folders / "maps/dark/large1.png.png"))
    assert (painted.shape, painted.dtype) == ((96, 96, 3), np.uint8)
    brightest = found >= np.quantile(found, 0.99)
    assert painted[brightest].mean() > 2 * painted[found <= np.median(found)].mean()
    small = np.asarray(Image.open(folders / "maps/dark/0.png.tiff"))
    maps, _ = load(model).contribution_maps(defective_images(6, 2)[0])
    np.testing.assert_allclose(small, maps[0], rtol=1e-5)
    code, _, err = vae("evaluate", model, folders / "test", "-o", folders / "report")
    assert code == 0, err
    page = (folders / "report/report.html").read_text(encoding="utf-8")
    assert "8 × 8 patches, interpolated, less half of their mean and divided" in page
    assert "fourth root of their deviation: of their distance" in page


@needs_axe
def test_the_page_of_patches_is_accessible(vae: Vae, folders, network):
    model = folders / "m.vae"
    command = ("fit", folders / "train", "-o", model, "--features", f"onnx:{network}#patches")
    code, _, err = vae(*command, "--max-steps", 50, "--contamination", 0.1)
    assert code == 0, err
    code, _, err = vae("evaluate", model, folders / "test", "-o", folders / "report")
    assert code == 0, err
    check_page(folders / "report/report.html", folders / "profile")


def test_letterboxed_maps_are_cut_to_their_images():
    layout = Layout(10, 20, 1, "letterbox")
    values = np.zeros((10, 20))
    values[:, 5:15] = 3.0  # where a square image lies
    assert np.array_equal(map_at_size(values, layout, (40, 40)), np.full((40, 40), 3.0))
    assert map_at_size(values, Layout(10, 20, 1), (40, 40)).shape == (40, 40)


def test_the_command_line_refuses_what_is_no_address(vae: Vae, folders, tmp_path):
    code, _, err = vae("fit", folders / "train", "-o", folders / "m.vae", "--features", "net.onnx")
    assert code == 2
    assert "expected onnx:PATH#NODE, the node of an ONNX file, or gradients, got 'net.onnx'" in err
    pd.DataFrame({"a": range(20)}).to_csv(tmp_path / "t.csv", index=False)
    code, _, err = vae(
        "fit", tmp_path / "t.csv", "-o", folders / "m.vae", "--features", "onnx:a.onnx#b"
    )
    assert code == 2
    assert "--features is for images" in err
