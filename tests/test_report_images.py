"""Reports on images: the numbers, what is shown of images, and a page that stays small."""

from __future__ import annotations

import io
import re
from base64 import b64decode
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from scipy.stats import energy_distance
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from test_report import ATTRIBUTES, ELEMENTS, HOSTILE, Page

from vae_anomaly import DataError, VAEDetector
from vae_anomaly.displays.painting import THUMBNAIL
from vae_anomaly.report import ReportData, build_image_report, images, write_report
from vae_anomaly.report.images import pixel_area, prior_fit
from vae_anomaly.report.render import FIGURES, IMAGE_FIGURES, draw_figures, render_page

QUICK = {"max_steps": 100, "latent_dim": 2, "false_alarm_rate": 0.05, "random_state": 0}


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Digits of 8 x 8 pixels in 8 bits, and which they are."""
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
    """Zeros that were not learned, and 40 of the other digits, some with a mask."""
    images, digit = digits
    zeros, others = np.flatnonzero(digit == 0)[120:], np.flatnonzero(digit != 0)[:40]
    rows = np.concatenate([zeros, others])
    corner = np.zeros((8, 8), dtype=bool)
    corner[:3, :3] = True
    return {
        "images": images[rows],
        "labels": digit[rows] != 0,
        "names": [f"{digit[row]}/{row:04d}.png" for row in rows],
        "kinds": [f"digit {digit[row]}" for row in rows],
        "masks": [None] * len(zeros) + [corner] * 30 + [None] * 10,
    }


@pytest.fixture(scope="module")
def report(detector: VAEDetector, other: VAEDetector, labelled: dict[str, object]) -> ReportData:
    skipped = [("broken.png", "its first bytes are those of no image")]
    return build_image_report(detector, **labelled, compare=other, skipped=skipped)


@pytest.fixture(scope="module")
def drawn(report: ReportData) -> dict[str, bytes]:
    return draw_figures(report)


# ------------------------------------------------------------------------------ the numbers


def test_scores_are_those_of_the_detector(
    detector: VAEDetector, labelled: dict[str, object], report: ReportData
) -> None:
    scores = -detector.score_samples(labelled["images"])
    assert report.roc.area.value == roc_auc_score(labelled["labels"], scores)
    assert report.n_flagged == (detector.predict(labelled["images"]) == -1).sum()
    assert report.unit == "image"
    assert [group.name for group in report.groups] == ["normal images", "anomalies"]


def test_the_strangest_and_the_most_normal_are_shown(
    detector: VAEDetector, labelled: dict[str, object], report: ReportData
) -> None:
    scores = -detector.score_samples(labelled["images"])
    order = np.argsort(-scores, kind="stable")
    strangest, normal = report.images.strangest, report.images.normal
    assert [p.row_id for p in strangest.images] == [labelled["names"][i] for i in order[:10]]
    assert [p.score for p in normal.images] == sorted(scores)[:6]
    assert strangest.display.top == normal.display.top
    for shown in (*strangest.images, *normal.images):
        np.testing.assert_allclose(shown.reconstruction + shown.kl, shown.score, rtol=1e-6)
    np.testing.assert_array_equal(strangest.display.images[..., 0], labelled["images"][order[:10]])
    assert strangest.display.columns().keys() == {
        "input", "reconstruction", "contribution", "mask"
    }  # fmt: skip
    assert normal.display.masks is None


def test_kinds_are_compared_with_normal_images(
    detector: VAEDetector, labelled: dict[str, object], report: ReportData
) -> None:
    scores, labels = -detector.score_samples(labelled["images"]), labelled["labels"]
    kinds, of = report.images.kinds, np.array(labelled["kinds"])
    assert (kinds[0].name, kinds[0].is_normal, kinds[0].auroc) == ("digit 0", True, None)
    assert sum(kind.n_rows for kind in kinds) == len(labels)
    assert sum(kind.n_flagged for kind in kinds) == report.n_flagged
    found = [kind.auroc.value for kind in kinds[1:]]
    assert found == sorted(found)  # the hardest first
    hardest = of == kinds[1].name
    rows = hardest | ~labels
    assert found[0] == roc_auc_score(labels[rows], scores[rows])
    assert any(f"“{kinds[1].name}” is the hardest" in sentence for sentence in report.summary)


def test_a_normal_image_without_a_mask_has_an_empty_one(
    detector: VAEDetector, labelled: dict[str, object], report: ReportData
) -> None:
    pixels, labels, masks = report.images.pixels, labelled["labels"], labelled["masks"]
    n = int((~labels).sum()) + 30  # ten anomalies have masks that nobody knows
    assert (pixels.n_images, pixels.n_used, pixels.n_pixels) == (n, 64 * n, 64 * n)
    maps, _ = detector.contribution_maps(labelled["images"][:n])
    truth = np.stack([np.zeros((8, 8), bool) if m is None else m for m in masks[:n]])
    assert pixels.value == roc_auc_score(truth.ravel(), maps.ravel())


def test_of_many_pixels_the_same_are_drawn_every_time(
    detector: VAEDetector, labelled: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = (detector, labelled["images"], labelled["masks"], labelled["labels"])
    exact = pixel_area(*given)
    monkeypatch.setattr(images, "MAX_PIXELS", exact.n_pixels // 2)
    drawn = pixel_area(*given)
    assert drawn == pixel_area(*given)
    assert drawn.n_pixels == exact.n_pixels
    assert drawn.n_used == exact.n_pixels // 2
    assert abs(drawn.value - exact.value) < 0.05


def test_masks_without_a_pixel_say_nothing(
    detector: VAEDetector, labelled: dict[str, object]
) -> None:
    X, blank = labelled["images"][:5], np.zeros((5, 8, 8), dtype=bool)
    assert pixel_area(detector, X, blank, None) is None
    assert pixel_area(detector, X, [None] * 5, None) is None


def test_closeness_to_the_prior_is_measured(report: ReportData) -> None:
    rng = np.random.RandomState(1)
    near = prior_fit(rng.normal(size=(1500, 1)), 1.0)
    assert near.mean < 0.1
    assert abs(near.variance - 1) < 0.1
    assert near.energy < 0.01
    codes = rng.normal(3, 2, size=(300, 1))
    prior = np.random.RandomState(0).standard_normal(images.MAX_CODES)
    # SciPy's, of one dimension, is a root.
    np.testing.assert_allclose(
        prior_fit(codes, 0).energy, energy_distance(codes[:, 0], prior) ** 2, rtol=1e-6
    )
    compared = report.images.comparison
    assert (compared.own.beta, compared.other.beta) == (1.0, 0.0)
    assert compared.own.energy < compared.other.energy
    (said,) = (line for line in report.summary if "energy distance" in line)
    assert f"is {compared.own.energy:.3g} with the KL weight of 1 (beta)" in said
    assert f"and {compared.other.energy:.3g} for the same network trained with 0" in said


def test_the_plane_spans_the_two_dimensions_that_are_used_most(
    detector: VAEDetector, labelled: dict[str, object], report: ReportData
) -> None:
    grid = report.images.latent_grid
    assert grid.images.shape == (15, 15, 8, 8, 3)
    code = np.zeros((1, 2))
    code[0, list(grid.dimensions)] = grid.values[3], grid.values[11]
    expected = np.clip(detector.decode(code, member=0), 0, 255).round()
    np.testing.assert_allclose(grid.images[11, 3, ..., 0], expected[0], atol=1)
    np.testing.assert_allclose(grid.values, -grid.values[::-1])


def test_the_ends_of_an_interpolation_are_normal_images(
    labelled: dict[str, object], report: ReportData
) -> None:
    row = report.images.interpolation.images
    assert len(row) == 10
    zeros = labelled["images"][~labelled["labels"]]
    for end in (row[0], row[-1]):
        assert (zeros == end[..., 0]).all(axis=(1, 2)).any()


def test_of_several_members_the_first_one_paints(
    digits: tuple[np.ndarray, np.ndarray],
) -> None:
    X = digits[0][:60]
    detector = VAEDetector(**QUICK | {"max_steps": 10}, n_members=2, threshold=0.0).fit(X)
    report = build_image_report(detector, X[:12], names=list("abcdefghijkl"), top=0)
    assert report.images.strangest is None
    code = np.zeros((1, 2))
    code[0, list(report.images.latent_grid.dimensions)] = report.images.latent_grid.values[7]
    painted = np.clip(detector.decode(code, member=0), 0, 255).round()[0]
    np.testing.assert_allclose(report.images.latent_grid.images[7, 7, ..., 0], painted, atol=1)
    assert len(report.images.samples.images) == 40
    page = render_page(report)
    assert "the first of the model's 2 members paints at each place" in unescape(page)
    assert "Each member has a latent space of its own" in page
    assert "Strangest" not in page


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"names": ["a"]}, "names must have one entry for each of the 3 images. Got 1 instead."),
        ({"kinds": []}, "kinds must have one entry for each of the 3 images. Got 0 instead."),
        (
            {"masks": [np.ones((9, 8), bool)] * 3},
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
        build_image_report(
            detector, labelled["images"][:3], **{"names": ["a", "b", "c"], **arguments}
        )


def test_a_detector_of_rows_is_refused(fitted: VAEDetector) -> None:
    with pytest.raises(DataError, match="needs a detector fitted on images"):
        build_image_report(fitted, np.zeros((3, 2, 2)), names=["a", "b", "c"])


# --------------------------------------------------------------------------------- the page


def check_page(page: str) -> Page:
    parsed = Page(page)
    assert parsed.elements <= set(ELEMENTS.split())
    assert {name for _, name, _ in parsed.attributes} <= set(ATTRIBUTES.split())
    for _, name, value in parsed.attributes:
        assert not re.search("https?:|//|javascript:", value) or name == "src"
    sources = parsed.values("img", "src")
    assert all(re.match("data:image/(png|jpeg);base64,", src) for src in sources)
    assert len(parsed.values("img", "alt")) == len(sources)
    assert "img-src data:; style-src 'sha256-" in parsed.values("meta", "content")[0]
    return parsed


def test_the_page_shows_it_all(report: ReportData, drawn: dict[str, bytes]) -> None:
    parsed = check_page(render_page(report, drawn))
    # Ten images in four parts, six in three, the scale, and figures; two galleries are cards.
    figures = len(FIGURES) + len(IMAGE_FIGURES) - 2
    assert len(parsed.values("img", "src")) == 10 * 4 + 6 * 3 + 1 + figures
    text = parsed.text.replace("\u00a0", " ")
    for word in (
        *report.summary,
        "pixel AUROC",
        "Kinds of images",
        "The same at beta 0",
        "its first bytes are those of no image",
        "8 × 8 pixels, grey",
    ):
        assert word in text
    assert not re.search(r"\brows?\b", text)


def test_without_labels_kinds_have_no_areas(
    detector: VAEDetector, labelled: dict[str, object]
) -> None:
    X, names = labelled["images"][:6], [str(i) for i in range(1, 7)]
    report = build_image_report(detector, X, names=names, kinds=["3", "5"] * 3, top=2)
    text = " ".join(check_page(render_page(report)).text.split())
    assert "share flagged" in text
    assert "AUROC" not in text
    assert "kind 3" in text
    first = report.images.strangest.images[0].row_id
    assert f"1. image {first}" in text  # a bare number would read like another rank


def test_files_beside_the_page_come_and_go(
    report: ReportData, drawn: dict[str, bytes], tmp_path: Path
) -> None:
    write_report(report, tmp_path)
    expected = {"report.html", *(f"{name}.png" for name in (*FIGURES, *IMAGE_FIGURES))}
    assert {path.name for path in tmp_path.iterdir()} == expected
    for name, content in drawn.items():
        assert (tmp_path / f"{name}.png").read_bytes() == content  # drawn twice, equal
    write_report(replace(report, images=replace(report.images, comparison=None)), tmp_path)
    gone = {"latent_compared.png", "latent_grid_compared.png"}
    assert {path.name for path in tmp_path.iterdir()} == expected - gone


@pytest.mark.parametrize("text", HOSTILE, ids=lambda t: ascii(t[:20]))
def test_hostile_names_stay_text(
    detector: VAEDetector, labelled: dict[str, object], drawn: dict[str, bytes], text: str
) -> None:
    kinds = [text] * 4 + ["_"] * 4
    report = build_image_report(
        detector,
        labelled["images"][-8:],
        np.arange(8) < 4,
        names=[text] * 8,
        kinds=kinds,
        skipped=[(text, text)],
        top=2,
    )
    page = render_page(report, drawn)
    page.encode("utf-8")
    parsed = check_page(page)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page)
    assert len(page) - sum(map(len, parsed.values("img", "src"))) < 50_000
    for display in (report.latent, report.images.strangest.display):
        display.plot(Figure().subplots()).figure_.canvas.draw()
    names = [t.get_text() for t in report.latent.ax_.get_legend().get_texts()]
    assert "_" in names


def test_skipped_files_are_counted_and_the_first_listed(
    detector: VAEDetector, labelled: dict[str, object], drawn: dict[str, bytes]
) -> None:
    skipped = ((f"{i}.png", "truncated") for i in range(10_000))
    X = labelled["images"][:4]
    report = build_image_report(detector, X, names=list("abcd"), skipped=skipped, top=1)
    assert len(report.images.skipped) == 100
    text = check_page(render_page(report, drawn)).text
    assert "10,000 files could not be used" in text
    assert "The first 100:" in text


def test_a_page_of_noise_in_colour_stays_small() -> None:
    """Nothing compresses worse; 100 is the most images that are shown."""
    noise = np.random.RandomState(0).randint(256, size=(110, 90, 120, 3), dtype=np.uint8)
    detector = VAEDetector(**QUICK | {"max_steps": 1}, threshold=0.0).fit(noise[:20])
    report = build_image_report(
        detector, noise, names=["x" * 5000] * 110, masks=noise[..., 0] > 127, top=10**6
    )
    assert len(report.images.strangest.images) == 100
    assert report.images.strangest.display.images.shape == (100, 72, THUMBNAIL, 3)
    page = render_page(report)
    sources = check_page(page).values("img", "src")
    first = next(src for src in sources if src.startswith("data:image/jpeg"))
    assert Image.open(io.BytesIO(b64decode(first.split(",")[1]))).size == (THUMBNAIL, 72)
    assert len(page) < 10_000_000
