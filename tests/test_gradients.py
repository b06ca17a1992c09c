"""Features of images without a network: gradients and brightness around patches."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from vae_anomaly import DataError, VAEDetector, inspect, load, save
from vae_anomaly.cli import run
from vae_anomaly.data.image.features import open_features
from vae_anomaly.data.image.gradients import DEVIATION, GRID, N_DIRECTIONS, GradientFeatures

Images = NDArray[np.uint8]

CENTER = 4
"""Position of the patch itself among the nine places."""


def described(image: Images) -> NDArray[np.float32]:
    """Return features by scale, place and channel: (h, w, 3, 9, c)."""
    return GradientFeatures().grid(image).reshape(GRID, GRID, 3, 9, -1)


def scenes(count: int, seed: int) -> Images:
    """Return images of a bright disc on a ramp, with noise."""
    rng = np.random.RandomState(seed)
    y, x = np.mgrid[:96, :128]
    scene = 60 + 0.5 * x + 80 * ((y - 48) ** 2 + (x - 64) ** 2 < 900)
    images = scene + rng.normal(scale=3, size=(count, 96, 128))
    return np.clip(images, 0, 255).astype(np.uint8)


def with_defects(images: Images, seed: int) -> tuple[Images, NDArray[np.bool_]]:
    """Return images with a dark spot at a random place, and where it is."""
    rng = np.random.RandomState(seed)
    y, x = np.mgrid[:96, :128]
    masks = np.array(
        [(y - rng.randint(10, 86)) ** 2 + (x - rng.randint(10, 118)) ** 2 < 50 for _ in images]
    )
    return np.where(masks, images // 2, images), masks


@pytest.fixture(scope="module")
def detector() -> VAEDetector:
    given = VAEDetector(features="gradients", contamination=0.05, max_steps=60, random_state=0)
    return given.fit(scenes(12, 0))


def test_a_flat_image_has_its_brightness_and_no_gradients() -> None:
    found = described(np.full((20, 30, 3), (51, 102, 204), np.uint8))
    np.testing.assert_allclose(found[..., :N_DIRECTIONS], 0, atol=1e-7)
    np.testing.assert_allclose(
        found[..., N_DIRECTIONS:],
        np.broadcast_to([0.2, 0.4, 0.8], (*found.shape[:4], 3)),
        rtol=1e-5,
    )


def test_a_slope_counts_by_the_cube_of_the_cosine() -> None:
    right = np.tile(np.arange(256, dtype=np.uint8), (256, 1))[:, :, None]
    cosine = np.maximum(np.cos(2 * np.pi * np.arange(N_DIRECTIONS) / N_DIRECTIONS), 0)
    inside = described(right)[12:20, 12:20, 0, CENTER, :N_DIRECTIONS]
    np.testing.assert_allclose(
        inside, np.broadcast_to(cosine**3 / 255, inside.shape), rtol=1e-3, atol=1e-6
    )
    down = described(right.transpose(1, 0, 2))[12:20, 12:20, 0, CENTER, :N_DIRECTIONS]
    np.testing.assert_allclose(down, np.roll(inside, N_DIRECTIONS // 4, axis=-1), atol=1e-6)


def test_places_are_averaged_with_gaussian_weights() -> None:
    image = np.zeros((256, 256, 1), np.uint8)
    image[100, 140] = 255
    found = described(image)[..., 0, :, N_DIRECTIONS]
    centers = (np.arange(GRID) + 0.5) * 8 - 0.5
    for place, (down, right) in enumerate(np.ndindex(3, 3)):
        weight = [
            norm.pdf(at, np.clip(centers + 6 * (offset - 1), 0, 255), DEVIATION)
            for at, offset in ((100, down), (140, right))
        ]
        np.testing.assert_allclose(found[:, :, place], np.outer(*weight), rtol=1e-3, atol=1e-6)


def test_a_mirrored_image_has_mirrored_features() -> None:
    image = np.random.RandomState(0).randint(0, 256, (256, 256, 1)).astype(np.uint8)
    found = described(image)
    mirrored = described(np.ascontiguousarray(image[:, ::-1]))[:, ::-1]
    places = np.arange(9).reshape(3, 3)[:, ::-1].reshape(-1)
    directions = np.append((N_DIRECTIONS // 2 - np.arange(N_DIRECTIONS)) % N_DIRECTIONS, 8)
    np.testing.assert_allclose(mirrored[..., places, :][..., directions], found, atol=1e-4)


def test_other_channels_are_refused() -> None:
    with pytest.raises(DataError, match="1 or 3 channels for features of patches, got 2"):
        GradientFeatures().grid(np.zeros((8, 8, 2), np.uint8))


def test_defects_are_found_and_located_without_a_network(detector: VAEDetector) -> None:
    normal = scenes(6, 1)
    defective, masks = with_defects(scenes(6, 2), 3)
    scores = -detector.score_samples(np.concatenate([normal, defective]))
    assert roc_auc_score([0] * 6 + [1] * 6, scores) > 0.9
    maps, rest = detector.contribution_maps(defective)
    assert maps.shape == defective.shape
    assert not rest.any()
    assert roc_auc_score(masks.reshape(-1), maps.reshape(-1)) > 0.95


def test_maps_are_those_of_the_exemplar_score_alone(detector: VAEDetector) -> None:
    assert detector.model_.map_scores == ("exemplar",)


def test_a_model_needs_no_file_besides_its_own(detector: VAEDetector, tmp_path: Path) -> None:
    save(detector, tmp_path / "m.vae")
    loaded, images = load(tmp_path / "m.vae"), scenes(3, 4)
    np.testing.assert_array_equal(loaded.score_samples(images), detector.score_samples(images))
    facts = inspect(tmp_path / "m.vae")
    assert (facts["features"], facts["grid"]) == ("gradients", [GRID, GRID])
    assert facts["features_sha256"] == open_features("gradients").digest


def test_the_command_line_learns_gradients(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    defective, _ = with_defects(scenes(3, 2), 3)
    for name, images in (
        ("train/good", scenes(8, 0)),
        ("test/good", scenes(3, 1)),
        ("test/dark", defective),
    ):
        (tmp_path / name).mkdir(parents=True)
        for i, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / name / f"{i}.png")
    model, report = tmp_path / "m.vae", tmp_path / "report"
    fit = ["fit", tmp_path / "train", "-o", model, "--features", "gradients"]
    assert run([str(one) for one in [*fit, "--max-steps", 20, "--contamination", 0.1]]) == 0
    maps = [
        "score",
        model,
        tmp_path / "test",
        "-o",
        tmp_path / "s.csv",
        "--maps",
        tmp_path / "maps",
    ]
    assert run([str(one) for one in maps]) == 0
    found = np.asarray(Image.open(tmp_path / "maps/dark/0.png.tiff"))
    assert (found.shape, found.dtype) == ((96, 128), np.float32)
    assert run([str(one) for one in ["evaluate", model, tmp_path / "test", "-o", report]]) == 0
    capsys.readouterr()
    assert run(["inspect", str(model)]) == 0
    assert "features     gradients" in capsys.readouterr().out
    page = (report / "report.html").read_text(encoding="utf-8")
    assert "32 × 32 patches, interpolated, less half of their mean and divided" in page
    assert "fourth root of their deviation. None above" in page


def test_neither_onnx_nor_keras_is_imported_for_them() -> None:
    code = (
        "import sys, numpy as np; from vae_anomaly.data.image.features import open_features; "
        "open_features('gradients').grid(np.zeros((9, 9, 1), np.uint8)); "
        "print({'onnx', 'onnxruntime', 'keras', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
