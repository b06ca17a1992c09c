"""Reports on images: numbers, galleries, and the size of the page."""

from __future__ import annotations

import io
import re
from base64 import b64decode
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from accessibility import check_page as check_accessible
from accessibility import needs_axe
from matplotlib.figure import Figure
from PIL import Image
from scipy.stats import energy_distance
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from test_report import ATTRIBUTES, ELEMENTS, HOSTILE, Page

from vae_anomaly import DataError, VAEDetector
from vae_anomaly.displays.painting import THUMBNAIL
from vae_anomaly.metrics import pixels
from vae_anomaly.metrics.pixels import PixelArea, pixel_area
from vae_anomaly.metrics.prior_fit import MAX_CODES, prior_fit
from vae_anomaly.report import ReportData, build_report, write_report
from vae_anomaly.report.figures import FIGURES, Drawing, draw_figures
from vae_anomaly.report.render import render_page
from vae_anomaly.report.sections.image import ImageSection
from vae_anomaly.report.sections.image_results import ImageContext

QUICK = {"max_steps": 100, "latent_dim": 2, "false_alarm_rate": 0.05, "random_state": 0}


def image_section(report: ReportData) -> ImageSection:
    """Return the section of a report on images."""
    (section,) = report.sections
    return section


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Digits of 8 x 8 pixels in 8 bits, and their classes."""
    data = load_digits()
    return (data.images * 255 / 16).astype(np.uint8), data.target


@pytest.fixture(scope="module")
def detector(digits: tuple[np.ndarray, np.ndarray]) -> VAEDetector:
    images, digit = digits
    return VAEDetector(**QUICK).fit(images[digit == 0][:120])


@pytest.fixture(scope="module")
def other(digits: tuple[np.ndarray, np.ndarray], detector: VAEDetector) -> VAEDetector:
    images, digit = digits
    return clone(detector).set_params(beta=0).fit(images[digit == 0][:120])


@pytest.fixture(scope="module")
def labelled(digits: tuple[np.ndarray, np.ndarray]) -> dict[str, object]:
    """Zeros that were not trained on, and 40 other digits, some with a mask."""
    images, digit = digits
    zeros, others = np.flatnonzero(digit == 0)[120:], np.flatnonzero(digit != 0)[:40]
    rows = np.concatenate([zeros, others])
    corner = np.zeros((8, 8), dtype=bool)
    corner[:3, :3] = True
    return {
        "images": images[rows],
        "labels": digit[rows] != 0,
        "keys": [f"{digit[row]}/{row:04d}.png" for row in rows],
        "categories": [f"digit {digit[row]}" for row in rows],
        "masks": [None] * len(zeros) + [corner] * 30 + [None] * 10,
    }


@pytest.fixture(scope="module")
def report(detector: VAEDetector, other: VAEDetector, labelled: dict[str, object]) -> ReportData:
    context = ImageContext(
        categories=labelled["categories"],
        masks=labelled["masks"],
        skipped=[("broken.png", "its first bytes are those of no image")],
        comparison_model=other,
    )
    return build_report(
        detector, labelled["images"], labelled["labels"], keys=labelled["keys"], context=context
    )


@pytest.fixture(scope="module")
def drawn(report: ReportData) -> dict[str, Drawing]:
    return draw_figures(report)


# ---------------------------------------------------------------------------------- numbers


def test_scores_are_those_of_the_detector(
    detector: VAEDetector, labelled: dict[str, object], report: ReportData
) -> None:
    scores = -detector.score_samples(labelled["images"])
    assert report.roc.area.value == roc_auc_score(labelled["labels"], scores)
    assert report.n_flagged == (detector.predict(labelled["images"]) == -1).sum()
    assert report.unit == "image"
    assert [group.name for group in report.groups] == ["normal images", "anomalies"]


def test_the_most_anomalous_and_the_most_normal_are_shown(
    detector: VAEDetector, labelled: dict[str, object], report: ReportData
) -> None:
    scores = -detector.score_samples(labelled["images"])
    order = np.argsort(-scores, kind="stable")
    section = image_section(report)
    anomalous, normal = section.most_anomalous, section.most_normal
    assert [p.key for p in anomalous.images] == [labelled["keys"][i] for i in order[:10]]
    assert [p.score for p in normal.images] == sorted(scores)[:6]
    assert anomalous.display.top == normal.display.top
    for shown in (*anomalous.images, *normal.images):
        np.testing.assert_allclose(shown.reconstruction + shown.kl, shown.score, rtol=1e-6)
    np.testing.assert_array_equal(anomalous.display.images[..., 0], labelled["images"][order[:10]])
    assert anomalous.display.columns().keys() == {
        "input", "reconstruction", "anomaly map", "mask"
    }  # fmt: skip
    assert normal.display.masks is None


def test_categories_are_compared_with_normal_images(
    detector: VAEDetector, labelled: dict[str, object], report: ReportData
) -> None:
    scores, labels = -detector.score_samples(labelled["images"]), labelled["labels"]
    normal, *others = image_section(report).categories
    assert (normal.name, normal.is_normal, normal.auroc) == ("digit 0", True, None)
    assert sum(category.n_rows for category in (normal, *others)) == len(labels)
    assert sum(category.n_flagged for category in (normal, *others)) == report.n_flagged
    found = [category.auroc.value for category in others]
    assert found == sorted(found)  # the hardest first
    hardest = np.array(labelled["categories"]) == others[0].name
    rows = hardest | ~labels
    assert found[0] == roc_auc_score(labels[rows], scores[rows])
    assert any(f"“{others[0].name}” is the hardest" in sentence for sentence in report.summary)


def test_a_normal_image_without_a_mask_has_an_empty_one(
    detector: VAEDetector, labelled: dict[str, object], report: ReportData
) -> None:
    found, labels, masks = image_section(report).pixels, labelled["labels"], labelled["masks"]
    n = int((~labels).sum()) + 30  # the masks of ten anomalies are unknown
    assert (found.n_maps, found.n_used, found.n_pixels) == (n, 64 * n, 64 * n)
    maps = detector.anomaly_maps(labelled["images"][:n])
    truth = np.stack([np.zeros((8, 8), bool) if m is None else m for m in masks[:n]])
    assert found.value == roc_auc_score(truth.ravel(), maps.astype(np.float32).ravel())


def test_of_many_pixels_the_same_are_drawn_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.RandomState(0)
    masks = rng.uniform(size=(90, 8, 8)) < 0.1
    maps = rng.normal(size=(90, 8, 8)) + masks
    exact = pixel_area(maps, masks)
    assert exact == PixelArea(roc_auc_score(masks.ravel(), maps.ravel()), 5760, 5760, 90)
    monkeypatch.setattr(pixels, "MAX_PIXELS", exact.n_pixels // 2)
    drawn = pixel_area(maps, masks)
    assert drawn == pixel_area(iter(maps), list(masks))
    assert drawn.n_pixels == exact.n_pixels
    assert drawn.n_used == exact.n_pixels // 2
    assert abs(drawn.value - exact.value) < 0.05


@pytest.mark.parametrize("masks", [np.zeros((5, 8, 8), bool), np.ones((5, 8, 8), bool), [None] * 5])
def test_masks_without_two_classes_of_pixels_have_no_area(
    detector: VAEDetector, labelled: dict[str, object], masks: object
) -> None:
    X = labelled["images"][:5]
    report = build_report(detector, X, context=ImageContext(masks=masks))
    assert image_section(report).pixels is None
    assert not any("pixel AUROC" in line for line in report.summary)


def test_maps_are_computed_in_chunks_without_a_change(
    detector: VAEDetector,
    labelled: dict[str, object],
    report: ReportData,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = "vae_anomaly.report.sections.image_results.CHUNK_CELLS"
    monkeypatch.setattr(path, 200)  # three images
    X, context = labelled["images"], ImageContext(masks=labelled["masks"])
    chunked = build_report(detector, X, labelled["labels"], context=context, top=1)
    assert image_section(chunked).pixels == image_section(report).pixels


def test_the_distance_from_the_prior_is_measured(report: ReportData) -> None:
    rng = np.random.RandomState(1)
    near = prior_fit(rng.normal(size=(1500, 1)), 1.0)
    assert near.mean < 0.1
    assert abs(near.variance - 1) < 0.1
    assert near.energy < 0.01
    codes = rng.normal(3, 2, size=(300, 1))
    prior = np.random.RandomState(0).standard_normal(MAX_CODES)
    # SciPy's, of one dimension, is a root.
    np.testing.assert_allclose(
        prior_fit(codes, 0).energy, energy_distance(codes[:, 0], prior) ** 2, rtol=1e-6
    )
    compared = image_section(report).comparison
    assert (compared.own.beta, compared.other.beta) == (1.0, 0.0)
    assert compared.own.energy < compared.other.energy
    (stated,) = (line for line in report.summary if "energy distance" in line)
    assert f"is {compared.own.energy:.3g} with the KL weight of 1 (beta)" in stated
    assert f"and {compared.other.energy:.3g} for the same network trained with 0" in stated


def test_the_latent_grid_spans_the_two_most_used_dimensions(
    detector: VAEDetector, labelled: dict[str, object], report: ReportData
) -> None:
    grid = image_section(report).latent_grid
    assert grid.images.shape == (15, 15, 8, 8, 3)
    code = np.zeros((1, 2))
    code[0, list(grid.dimensions)] = grid.values[3], grid.values[11]
    expected = np.clip(detector.decode(code, member=0), 0, 255).round()
    np.testing.assert_allclose(grid.images[11, 3, ..., 0], expected[0], atol=1)
    np.testing.assert_allclose(grid.values, -grid.values[::-1])


def test_the_ends_of_an_interpolation_are_normal_images(
    labelled: dict[str, object], report: ReportData
) -> None:
    row = image_section(report).interpolation.images
    assert len(row) == 10
    zeros = labelled["images"][~labelled["labels"]]
    for end in (row[0], row[-1]):
        assert (zeros == end[..., 0]).all(axis=(1, 2)).any()


def test_of_several_members_the_first_one_generates(
    digits: tuple[np.ndarray, np.ndarray],
) -> None:
    X = digits[0][:60]
    options = QUICK | {"max_steps": 10, "false_alarm_rate": 0.01}
    detector = VAEDetector(**options, n_members=2, threshold=0.0).fit(X)
    report = build_report(detector, X[:12], keys=list("abcdefghijkl"), top=0)
    section = image_section(report)
    assert section.most_anomalous is None
    assert section.most_normal is None
    grid, code = section.latent_grid, np.zeros((1, 2))
    code[0, list(grid.dimensions)] = grid.values[7]
    decoded = np.clip(detector.decode(code, member=0), 0, 255).round()[0]
    np.testing.assert_allclose(grid.images[7, 7, ..., 0], decoded, atol=1)
    assert len(section.samples.images) == 40
    page = render_page(report)
    assert "the first of the model's 2 members decodes at even steps" in unescape(page)
    assert "Each member has a latent space of its own" in page
    assert "Most anomalous" not in page


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"keys": ["a"]}, "keys must have one entry for each of the 3 images. Got 1 instead."),
        (
            {"context": ImageContext(categories=[])},
            "categories must have one entry for each of the 3 images. Got 0 instead.",
        ),
        (
            {"context": ImageContext(masks=[None])},
            "masks must have one entry for each of the 3 images. Got 1 instead.",
        ),
        (
            {"context": ImageContext(masks=[np.ones((9, 8), bool)] * 3)},
            r"masks must have the size of the images, 8 x 8. Got shape \(9, 8\) instead.",
        ),
        ({"labels": [0, 1, 1]}, "labels must be booleans, .*"),
    ],
)
def test_what_does_not_match_the_images_is_refused(
    detector: VAEDetector,
    labelled: dict[str, object],
    arguments: dict[str, object],
    sentence: str,
) -> None:
    with pytest.raises(DataError, match=f"^{sentence}$"):
        build_report(detector, labelled["images"][:3], **arguments)


def test_images_are_refused_by_a_detector_of_rows(fitted: VAEDetector) -> None:
    with pytest.raises(DataError, match="Expected rows of numbers, as in training, got"):
        build_report(fitted, np.zeros((3, 2, 2)), keys=["a", "b", "c"])


def test_a_comparison_model_of_another_shape_is_refused(
    detector: VAEDetector, labelled: dict[str, object]
) -> None:
    small = VAEDetector(**QUICK | {"max_steps": 1}).fit(labelled["images"][:, :4])
    context = ImageContext(comparison_model=small)
    with pytest.raises(DataError, match=r"one shape. Got \(8, 8, 1\) and \(4, 8, 1\)"):
        build_report(detector, labelled["images"][:5], context=context)


def test_flattened_images_are_shown_as_images(
    detector: VAEDetector, labelled: dict[str, object], report: ReportData
) -> None:
    flat = labelled["images"].reshape(-1, 64)
    same = build_report(detector.model_, flat, labelled["labels"], keys=labelled["keys"])
    assert same.roc.area == report.roc.area
    shown, expected = (
        image_section(each).most_anomalous.display.reconstructions for each in (same, report)
    )
    np.testing.assert_allclose(shown.astype(int), expected.astype(int), atol=1)


# ------------------------------------------------------------------------------------ page


def check_page(page: str) -> Page:
    parsed = Page(page)
    assert parsed.elements <= set(ELEMENTS.split())
    assert {name for _, name, _ in parsed.attributes} <= set(ATTRIBUTES.split())
    for _, name, value in parsed.attributes:
        is_data = name in ("src", "href") and value.startswith("data:image/")
        assert is_data or not re.search("https?:|//|javascript:", value)
    sources = parsed.values("img", "src")
    assert all(re.match("data:image/(png|jpeg);base64,", src) for src in sources)
    assert len(parsed.values("img", "alt")) == len(sources)
    assert "img-src data:; style-src 'sha256-" in parsed.values("meta", "content")[0]
    return parsed


def test_the_page_shows_it_all(report: ReportData, drawn: dict[str, Drawing]) -> None:
    parsed = check_page(render_page(report, drawn))
    # Ten images and again the first in four parts, six in three, and the scale.
    assert len(parsed.values("img", "src")) == 11 * 4 + 6 * 3 + 1
    # Two figures are files only: their images are cards.
    assert len(parsed.labels) == len(FIGURES) + len(ImageSection.figure_names) - 2
    text = parsed.text.replace("\u00a0", " ")
    for word in (
        *report.summary,
        "pixel AUROC",
        "Categories of images",
        "Comparison model with beta 0",
        "its first bytes are those of no image",
        "8 × 8 pixels, grey",
    ):
        assert word in text
    assert not re.search(r"\brows?\b", text)


@needs_axe
def test_the_page_is_accessible(report: ReportData, tmp_path: Path) -> None:
    check_accessible(write_report(report, tmp_path / "out"), tmp_path / "profile")


def test_without_labels_categories_have_no_areas(
    detector: VAEDetector, labelled: dict[str, object]
) -> None:
    X, names = labelled["images"][:6], [str(i) for i in range(1, 7)]
    context = ImageContext(categories=["3", "5"] * 3)
    report = build_report(detector, X, keys=names, context=context, top=2)
    text = " ".join(check_page(render_page(report)).text.split())
    assert "share flagged" in text
    assert "AUROC" not in text
    assert "category 3" in text
    first = image_section(report).most_anomalous.images[0].key
    assert f"1. image {first}" in text  # a bare number would read like another rank


def test_files_beside_the_page_come_and_go(
    report: ReportData, drawn: dict[str, Drawing], tmp_path: Path
) -> None:
    write_report(report, tmp_path)
    expected = {"report.html", *(f"{name}.png" for name in (*FIGURES, *ImageSection.figure_names))}
    assert {path.name for path in tmp_path.iterdir()} == expected
    for name, drawing in drawn.items():
        assert (tmp_path / f"{name}.png").read_bytes() == drawing.png  # drawn twice, equal
    section = replace(image_section(report), comparison=None)
    write_report(replace(report, sections=(section,)), tmp_path)
    gone = {"latent_compared.png", "latent_grid_compared.png"}
    assert {path.name for path in tmp_path.iterdir()} == expected - gone


@pytest.mark.parametrize("text", HOSTILE, ids=lambda t: ascii(t[:20]))
def test_hostile_names_stay_text(
    detector: VAEDetector, labelled: dict[str, object], drawn: dict[str, Drawing], text: str
) -> None:
    context = ImageContext(categories=[text] * 4 + ["_"] * 4, skipped=[(text, text)])
    X, labels = labelled["images"][-8:], np.arange(8) < 4
    report = build_report(detector, X, labels, keys=[text] * 8, context=context, top=2)
    page = render_page(report, drawn)
    page.encode("utf-8")
    check_page(page)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page)
    assert len(page) < 600_000
    for display in (report.latent, image_section(report).most_anomalous.display):
        display.plot(Figure().subplots()).figure_.canvas.draw()
    names = [t.get_text() for t in report.latent.ax_.get_legend().get_texts()]
    assert "_" in names


def test_skipped_files_are_counted_and_the_first_listed(
    detector: VAEDetector, labelled: dict[str, object], drawn: dict[str, Drawing]
) -> None:
    skipped = ((f"{i}.png", "truncated") for i in range(10_000))
    X = labelled["images"][:4]
    context = ImageContext(skipped=skipped)
    report = build_report(detector, X, keys=list("abcd"), context=context, top=1)
    assert len(image_section(report).skipped) == 100
    text = check_page(render_page(report, drawn)).text
    assert "10,000 files could not be used" in text
    assert "The first 100:" in text


def test_a_page_of_noise_in_colour_stays_small() -> None:
    """Noise compresses worst; a page shows at most 100 images."""
    noise = np.random.RandomState(0).randint(256, size=(110, 90, 120, 3), dtype=np.uint8)
    options = QUICK | {"max_steps": 1, "hidden_units": (2,), "false_alarm_rate": 0.01}
    detector = VAEDetector(**options, threshold=0.0).fit(noise[:20])
    context = ImageContext(masks=noise[..., 0] > 127)
    report = build_report(detector, noise, keys=["x" * 5000] * 110, context=context, top=10**6)
    gallery = image_section(report).most_anomalous
    assert len(gallery.images) == 100
    assert gallery.display.images.shape == (100, 72, THUMBNAIL, 3)
    page = render_page(report)
    sources = check_page(page).values("img", "src")
    first = next(src for src in sources if src.startswith("data:image/jpeg"))
    assert Image.open(io.BytesIO(b64decode(first.split(",")[1]))).size == (THUMBNAIL, 72)
    assert len(page) < 10_000_000
