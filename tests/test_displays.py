"""Displays: their numbers, and drawing with hostile data."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from conftest import make_rows
from sklearn.decomposition import PCA

from vae_anomaly import VAEDetector
from vae_anomaly.displays import (
    ContributionDisplay,
    ImageGridDisplay,
    LatentDisplay,
    LatentGridDisplay,
    LatentUseDisplay,
    ReconstructionDisplay,
    ScoreDisplay,
    TrainingCurveDisplay,
)
from vae_anomaly.displays.data import MAX_POINTS, shown_rows
from vae_anomaly.displays.drawing import CATEGORY_COLORS, AsinhScale, legible
from vae_anomaly.displays.painting import GREY_WEIGHTS, as_rgb, heat, overlay, shrink, tile
from vae_anomaly.training.history import History

HOSTILE = [
    "<script>alert(1)</script>",
    '" onload="alert(1)',
    "</style><b>",
    "$\\frac{$",
    "a$b$c",
    "_hidden",
    "\u202egnp.exe",
    "\ud800",
    "a\x1b[31m\x00",
    "x" * 5000,
]


@pytest.fixture(autouse=True)
def canvas() -> Iterator[None]:
    from matplotlib import pyplot as plt

    mpl.use("Agg")
    yield
    plt.close("all")


def test_importing_displays_and_reports_does_not_load_matplotlib() -> None:
    code = (
        "import sys, vae_anomaly.displays, vae_anomaly.report; "
        "print([m for m in sys.modules if m.startswith('matplotlib')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("流量 é \u200d", "流量 é \u200d"),
        ("a\x00b\nc", "a\\x00b\\x0ac"),
        ("\u202e\u2066\u2028", "\\u202e\\u2066\\u2028"),
        ("\ud800", "\\ud800"),
        ("x" * 120, "x" * 120),
        ("x" * 121, "x" * 119 + "…"),
        (12, "12"),
    ],
)
def test_legible(text: object, shown: str) -> None:
    assert legible(text) == shown


def test_legible_limits_the_length_of_escaped_text() -> None:
    assert len(legible("\x00" * 10_000)) == 120


# --------------------------------------------------------------------------------- scale


def test_scale_is_linear_without_tails_and_invertible() -> None:
    values = np.linspace(-5.0, 7.0, 50)
    scale = AsinhScale.fit(values, -5.0, 7.0)
    positions = scale.forward(values)
    np.testing.assert_allclose(np.diff(positions), np.diff(positions)[0], rtol=0.01)
    np.testing.assert_allclose(scale.inverse(positions), values)


def test_scale_leaves_room_for_the_bulk_beside_a_tail() -> None:
    values = np.append(np.random.RandomState(0).normal(size=999), 1e9)
    scale = AsinhScale.fit(values, values.min(), 1e9)
    low, first, third, high = scale.forward([values.min(), -1.0, 1.0, 1e9])
    assert (third - first) / (high - low) > 0.03
    np.testing.assert_allclose(scale.inverse(scale.forward(values)), values, rtol=1e-9)
    ticks = scale.ticks(float(values.min()), 1e9)
    assert 4 <= len(ticks) <= 9
    assert ticks == sorted(ticks)
    assert 1e9 in ticks


# --------------------------------------------------------------------------------- scores


def test_scores_are_counted_by_label() -> None:
    rng = np.random.RandomState(0)
    scores, labels = rng.normal(size=300), np.arange(300) < 40
    display = ScoreDisplay.measure(scores, labels, threshold=1.5)
    assert list(display.counts) == ["normal rows", "anomalies"]
    assert display.counts["anomalies"].sum() == 40
    expected = np.histogram(scores[~labels], display.edges)[0]
    np.testing.assert_array_equal(display.counts["normal rows"], expected)
    assert expected.sum() == 260
    assert not display.is_stretched


def test_the_bulk_stays_readable_beside_huge_scores() -> None:
    scores = np.concatenate([np.random.RandomState(0).normal(3, 1, size=1000), [1e6, 1e9]])
    display = ScoreDisplay.from_predictions(scores, threshold=5.0)
    assert display.is_stretched
    assert (display.counts["all rows"] > 5).sum() >= 5
    assert display.counts["all rows"].sum() == 1002


@pytest.mark.parametrize("scores", [[3.0], [3.0, 3.0], [0.0] * 99 + [1e6], [-1e9, 0.0, 1e9]])
@pytest.mark.parametrize("threshold", [None, 3.0, 1e12])
def test_degenerate_scores_are_drawn(scores: list[float], threshold: float | None) -> None:
    display = ScoreDisplay.from_predictions(scores, threshold=threshold)
    display.figure_.canvas.draw()
    assert sum(c.sum() for c in display.counts.values()) == len(scores)


def test_scores_from_estimator(fitted: VAEDetector, rows: pd.DataFrame) -> None:
    labels = np.arange(len(rows)) < 10
    display = ScoreDisplay.from_estimator(fitted, rows, labels)
    assert display.threshold == -fitted.offset_
    same = ScoreDisplay.measure(-fitted.score_samples(rows), labels, threshold=-fitted.offset_)
    np.testing.assert_array_equal(display.edges, same.edges)
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts[:2] == ["normal rows (290)", "anomalies (10)"]
    assert display.ax_.get_xlabel().startswith("anomaly score (nats")


# --------------------------------------------------------------------------------- latent


def test_shown_rows_keep_rare_labels_and_are_reproducible() -> None:
    labels = np.arange(50_000) % 1000 == 0
    shown = shown_rows(50_000, labels)
    assert labels[shown].sum() == 50
    assert (~labels[shown]).sum() == MAX_POINTS
    np.testing.assert_array_equal(shown, shown_rows(50_000, labels))


def test_latent_points_are_the_first_two_principal_components(
    fitted: VAEDetector, rows: pd.DataFrame
) -> None:
    display = LatentDisplay.from_estimator(fitted, rows)
    expected = PCA(2).fit_transform(fitted.transform(rows))
    np.testing.assert_allclose(np.abs(display.points), np.abs(expected), atol=1e-6)
    assert display.axis_names[0].startswith("principal component 1 (")


@pytest.mark.parametrize(("width", "name"), [(1, "row shown"), (2, "latent dimension 1")])
def test_narrow_codes_are_shown_as_they_are(width: int, name: str) -> None:
    X = np.random.RandomState(0).normal(size=(20, 3))
    display = LatentDisplay.measure(lambda rows: X[rows, :width], len(X))
    np.testing.assert_array_equal(display.points[:, -width:], X[:, :width])
    assert display.axis_names[0] == name
    display.plot().figure_.canvas.draw()


def test_a_subsample_of_points_is_stated() -> None:
    names = ("a", "b")
    display = LatentDisplay(np.eye(2), np.array([True, False]), axis_names=names, n_rows=9000)
    assert display.plot().ax_.get_legend().get_title().get_text() == "2 of 9,000 rows"


def test_categories_have_colours_and_names_are_text() -> None:
    categories = [*(["good"] * 5), *HOSTILE, "more"]
    labels = np.arange(len(categories)) >= 5
    points = np.random.RandomState(0).normal(size=(len(categories), 2))
    display = LatentDisplay(points, labels, axis_names=("a", "b"), categories=categories).plot()
    display.figure_.canvas.draw()
    groups = display.groups()
    assert [g.name for g in groups[:2]] == ["good", HOSTILE[0]]
    assert [g.name for g in groups[-1:]] == ["other categories"]
    assert len(groups) == 1 + len(CATEGORY_COLORS) + 1
    assert len({g.color for g in groups}) == len(groups)
    assert np.sum([g.mask for g in groups], axis=0).tolist() == [1] * len(categories)
    names = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert "_hidden" in names
    assert "$\\frac{$" in names
    assert max(map(len, names)) == 24


def test_ten_categories_have_a_colour_each_where_none_is_known_to_be_normal() -> None:
    categories = [f"class {i}" for i in range(10)]
    display = LatentDisplay(np.zeros((10, 2)), axis_names=("a", "b"), categories=categories)
    groups = display.groups()
    assert [group.name for group in groups] == categories
    assert len({group.color for group in groups}) == 10


def test_the_prior_is_outlined_if_the_axes_are_latent_dimensions() -> None:
    names = ("latent dimension 1", "latent dimension 2")
    display = LatentDisplay(np.zeros((3, 2)), axis_names=names).plot()
    radius = np.hypot(*display.ax_.lines[0].get_data())
    inside = np.hypot(*np.random.RandomState(0).normal(size=(2, 100_000))) < radius[0]
    assert abs(inside.mean() - 0.95) < 0.005
    assert not LatentDisplay(np.zeros((3, 2)), axis_names=("a", "b")).plot().ax_.lines


# ------------------------------------------------------------------------------- images


class StubDetector:
    """Stub of a detector: decodes two latent dimensions to grey levels, reconstructs black."""

    latent_kl_ = np.array([[0.1, 2.0, 0.0, 1.0]])

    def decode(self, z: np.ndarray, member: int) -> np.ndarray:
        return np.repeat(z[:, [1, 3]], 8, axis=1).reshape(len(z), 4, 4)

    def reconstruct(self, X: np.ndarray) -> np.ndarray:
        return 0.0 * X

    def anomaly_maps(self, X: np.ndarray) -> np.ndarray:
        return X.reshape(*X.shape[:3], -1).sum(axis=3) / 255

    def sample(self, n_samples: int, random_state: int) -> np.ndarray:
        return np.random.RandomState(random_state).uniform(size=(n_samples, 6, 4))


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (np.array([[[0, 255]]], dtype=np.uint8), [[0, 0, 0], [255, 255, 255]]),
        (np.array([[[0.5, 2.0]]]), [[128, 128, 128], [255, 255, 255]]),
        (np.array([[[[1.0, 0.0, -3.0]]]]), [[255, 0, 0]]),
        (np.array([[[[1.0, 0.0]]]]), [[128, 128, 128]]),  # neither grey nor RGB
    ],
)
def test_images_are_converted_to_bytes(images: np.ndarray, expected: list[list[int]]) -> None:
    high = 255.0 if images.dtype == np.uint8 else 1.0
    shown = as_rgb(images, 0.0, high)
    assert shown.dtype == np.uint8
    np.testing.assert_array_equal(shown[0, 0], expected)


def test_shrinking_averages_and_keeps_small_images() -> None:
    small = np.zeros((2, 96, 5))
    assert shrink(small) is small
    wide = np.tile(np.array([0.0, 10.0]), (1, 96, 96))  # (1, 96, 192)
    np.testing.assert_allclose(shrink(wide), np.full((1, 48, 96), 5.0))
    assert shrink(np.zeros((1, 400, 2, 3), np.uint8)).shape == (1, 96, 1, 3)


def test_maps_are_transparent_at_zero_and_get_lighter() -> None:
    grey = np.full((1, 1, 4, 3), 200, dtype=np.uint8)
    shown = overlay(grey, np.array([[[-5.0, 0.0, 2.0, 99.0]]]), top=2.0)[0, 0]
    assert len(set(shown[0].tolist())) == 1  # dimmed grey only
    np.testing.assert_array_equal(shown[0], shown[1])
    np.testing.assert_array_equal(shown[2], shown[3])
    lightness = heat(np.linspace(0, 1, 50)) @ GREY_WEIGHTS
    assert (np.diff(lightness) > 0).all()


def test_tiling_keeps_every_pixel() -> None:
    images = np.random.RandomState(0).randint(255, size=(5, 10, 20, 3), dtype=np.uint8)
    tiled, x, y = tile(images, 3)
    assert tiled.shape == (21, 62, 3)
    np.testing.assert_array_equal(tiled[11:, 21:41], images[4])
    assert (x.tolist(), y.tolist()) == ([9.5, 30.5, 51.5], [4.5, 15.5])
    assert (tiled[11:, 42:] == 255).all()


def test_reconstructions_are_drawn_beside_their_images() -> None:
    X = np.random.RandomState(0).randint(256, size=(12, 9, 9), dtype=np.uint8)
    display = ReconstructionDisplay.from_estimator(StubDetector(), X, names=[*HOSTILE, "a", "b"])
    display.figure_.canvas.draw()
    np.testing.assert_array_equal(display.images[..., 0], X)
    assert not display.reconstructions.any()
    np.testing.assert_allclose(display.maps, X / 255)
    assert display.top <= 1.0
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert len(labels) == 10  # of twelve
    assert max(map(len, labels)) == 28
    heads = [label.get_text() for label in display.ax_.get_xticklabels()]
    assert heads == ["input", "reconstruction", "anomaly map"]


def test_a_map_of_zeros_has_a_scale() -> None:
    blank = np.zeros((1, 4, 4, 3), dtype=np.uint8)
    display = ReconstructionDisplay(blank, blank, np.zeros((1, 4, 4))).plot()
    assert display.top == 1.0


def test_the_latent_grid_spans_the_most_used_dimensions() -> None:
    display = LatentGridDisplay.from_estimator(StubDetector(), 5, values=(-3.0, 3.0))
    display.figure_.canvas.draw()
    assert display.dimensions == (1, 3)
    assert display.ax_.get_xlabel() == "latent dimension 2"
    expected = np.round(255 * (display.values + 3) / 6)
    np.testing.assert_allclose(display.images[2, :, 0, 0, 0], expected)
    np.testing.assert_allclose(display.images[:, 2, 3, 0, 0], expected)
    first_drawn = display.ax_.images[0].get_array()[3, 0, 0]
    assert first_drawn == display.images[-1, 0, 3, 0, 0]  # upwards, like axes


def test_a_single_latent_dimension_makes_one_row() -> None:
    class Line(StubDetector):
        latent_kl_ = np.array([[0.5]])

        def decode(self, z: np.ndarray, member: int) -> np.ndarray:
            return np.repeat(z, 16, axis=1).reshape(-1, 4, 4)

    display = LatentGridDisplay.from_estimator(Line(), 7)
    display.figure_.canvas.draw()
    assert display.images.shape == (1, 7, 4, 4, 3)
    assert np.diff(display.images[0, :, 0, 0, 0].astype(int)).min() > 0


def test_samples_are_drawn_in_a_grid() -> None:
    display = ImageGridDisplay.from_estimator(StubDetector(), 7, columns=3)
    assert display.images.shape == (7, 6, 4, 3)
    same = ImageGridDisplay.measure(StubDetector().sample(7, 0))
    np.testing.assert_array_equal(display.images, same.images)


# ---------------------------------------------------------------------------------- model


def test_training_curves_equal_the_history(fitted: VAEDetector) -> None:
    display = TrainingCurveDisplay.from_estimator(fitted)
    drawn = {line.get_label(): line.get_ydata() for line in display.ax_.lines}
    np.testing.assert_array_equal(drawn["total"], fitted.history_.loss)
    np.testing.assert_array_equal(drawn["KL"], fitted.history_.kl)
    np.testing.assert_array_equal(drawn["held-out rows, total"], fitted.history_.held_out)


def test_an_empty_history_is_drawn() -> None:
    TrainingCurveDisplay(History()).plot().figure_.canvas.draw()


def test_latent_use_sorts_within_each_member(fitted: VAEDetector) -> None:
    display = LatentUseDisplay([[0.0, 1.5, 0.2], [1.1, 0.011, 0.009]])
    np.testing.assert_array_equal(display.sorted_kl, [[1.5, 0.2, 0.0], [1.1, 0.011, 0.009]])
    np.testing.assert_array_equal(display.used, [2, 2])
    drawn = LatentUseDisplay.from_estimator(fitted)
    np.testing.assert_array_equal(drawn.used, (fitted.latent_kl_ > 0.01).sum(axis=1))
    heights = [patch.get_height() for patch in drawn.ax_.patches]
    np.testing.assert_allclose(heights, drawn.sorted_kl.mean(axis=0))


def test_at_most_fifty_latent_dimensions_are_drawn() -> None:
    display = LatentUseDisplay(np.ones((1, 300))).plot()
    assert len(display.ax_.patches) == 50


def test_contributions_sum_to_the_score(fitted: VAEDetector) -> None:
    X = make_rows(5, seed=1)
    display = ContributionDisplay.from_estimator(fitted, X, 3, top=2)
    bars = display.bars()
    assert [name for name, _ in bars][-1] == "2 others"
    np.testing.assert_allclose(sum(v for _, v in bars), -fitted.score_samples(X)[3])
    assert bars[0][1] == fitted.explain(X).iloc[3].max()


def test_hostile_names_are_text_not_formulas() -> None:
    display = ContributionDisplay(HOSTILE, np.arange(len(HOSTILE)), top=len(HOSTILE)).plot()
    display.figure_.canvas.draw()
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert "$\\frac{$" in labels
    assert max(map(len, labels)) == 40


def test_plot_draws_on_the_given_axes(fitted: VAEDetector, rows: pd.DataFrame) -> None:
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    displays = [
        ScoreDisplay.from_estimator(fitted, rows, ax=ax),
        LatentDisplay.from_estimator(fitted, rows, ax=ax),
        TrainingCurveDisplay.from_estimator(fitted, ax=ax),
        LatentUseDisplay.from_estimator(fitted, ax=ax),
        ContributionDisplay.from_estimator(fitted, rows, ax=ax),
    ]
    for display in displays:
        assert display.ax_ is ax
        assert display.figure_ is ax.figure
        assert display.plot(ax) is display
