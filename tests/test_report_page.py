"""The page of a report: list of flagged rows, histograms, drift, figures, provenance."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from accessibility import check_page, needs_axe
from browser import CHROMIUM, Browser
from conftest import make_rows

from vae_anomaly import VAEDetector
from vae_anomaly.displays import ElboDisplay
from vae_anomaly.displays.drawing import BLUE, INK, ORANGE
from vae_anomaly.model.calibration import Calibration
from vae_anomaly.model.reasons import NormalValues
from vae_anomaly.report import ReportData, build_report, write_report
from vae_anomaly.report.data import Figure, Provenance
from vae_anomaly.report.figures import SQUARE, WIDE, draw_figures, drawn
from vae_anomaly.report.formatting import multiple, number
from vae_anomaly.report.render import _environment, render_page
from vae_anomaly.report.sections.histogram import HEIGHT, MARGIN, N_BINS, WIDTH, TrainingHistogram
from vae_anomaly.report.sections.table_reasons import Reason, cell
from vae_anomaly.report.svg import ELEMENTS, GEOMETRY, PRESENTATION, inline_svg

chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, as Debian packages it")

KEY = 'pump, "old"'


@pytest.fixture(scope="module")
def mixed() -> tuple[pd.DataFrame, np.ndarray]:
    """Normal rows, and 30 anomalies."""
    rows = pd.concat([make_rows(170, seed=1), make_rows(30, seed=2)], ignore_index=True)
    rows.loc[170:, "square"] = np.linspace(-2, -9, 30)
    return rows, np.arange(200) >= 170


@pytest.fixture(scope="module")
def report(fitted: VAEDetector, mixed: tuple[pd.DataFrame, np.ndarray]) -> ReportData:
    keys = [f"{KEY} {i}" for i in range(200)]
    return build_report(fitted, *mixed, keys=keys, model_name="m.vae", data_name="d.csv")


@pytest.fixture(scope="module")
def page(report: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(report, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


# -------------------------------------------------------------------------- flagged rows


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"value": 18.654, "low": 1.0, "high": 3.5, "direction": "above"},
            "x 18.65 (above 1 to 3.5)",
        ),
        ({"value": 2.0, "low": 1.0, "high": 3.5, "direction": "within"}, "x 2 (within 1 to 3.5)"),
        (
            {"value": 2.0, "expected": 3.2, "low": 1.0, "high": 3.5, "direction": "within"},
            "x 2 (within 1 to 3.5, expected 3.2)",
        ),
        (
            {"value": 9.0, "expected": 3.2, "low": 1.0, "high": 3.5, "direction": "above"},
            "x 9 (above 1 to 3.5)",
        ),
        ({"value": 2.0, "low": 0.0, "high": 0.0, "direction": "above"}, "x 2 (above 0)"),
        ({"value": 0.0, "low": 0.0, "high": 0.0, "direction": "within"}, "x 0 (usually 0)"),
        ({"value": "M", "expected": "F", "direction": "within"}, "x M (expected F)"),
        ({"value": "F", "expected": "F", "direction": "within"}, "x F"),
        (
            {"value": "M", "expected": "F", "probability": 0.934, "direction": "within"},
            "x M (expected F, p 0.93)",
        ),
        (
            {"value": "odd", "expected": "F", "direction": "unusual level"},
            "x odd (unusual level, expected F)",
        ),
        ({"direction": "missing"}, "x is missing"),
        ({"value": "2020-01-01"}, "x 2020-01-01"),
    ],
)
def test_reasons_in_words(given: dict[str, Any], words: str) -> None:
    assert Reason("x", 1.0, **given).words == words


@pytest.mark.parametrize(
    ("low", "high", "direction", "words"),
    [
        (1.0, 3.5, "above", ", above 1 to 3.5"),
        (1.0, 3.5, "within", ", within 1 to 3.5"),
        (0.0, 0.0, "above", ", above 0"),
        (0.0, 0.0, "within", ", usually 0"),
    ],
)
def test_normal_ranges_on_cards(low: float, high: float, direction: str, words: str) -> None:
    reason = Reason("x", 1.0, 2.0, low=low, high=high, direction=direction)
    macros = _environment().get_template("_table.html.j2").module
    assert str(macros.normal(reason)) == words


def test_dates_without_a_time_of_day_are_shown_as_days() -> None:
    assert cell(pd.Timestamp("2021-12-23")) == "2021-12-23"
    assert cell(pd.Timestamp("2021-12-23 10:30")) == "2021-12-23 10:30:00"
    assert cell("at 00:00:00") == "at 00:00:00"


def test_all_flagged_rows_are_listed_the_most_anomalous_first(
    fitted: VAEDetector, mixed: tuple[pd.DataFrame, np.ndarray], report: ReportData
) -> None:
    rows, labels = mixed
    scores, p_values = -fitted.score_samples(rows), fitted.p_values(rows)
    order = [i for i in np.argsort(-scores, kind="stable") if scores[i] > -fitted.offset_]
    assert [row.key for row in report.listed] == [f"{KEY} {i}" for i in order]
    np.testing.assert_array_equal([row.score for row in report.listed], scores[order])
    np.testing.assert_allclose([row.p_value for row in report.listed], p_values[order])
    np.testing.assert_allclose(
        [row.multiple for row in report.listed], scores[order] / -fitted.offset_
    )
    assert [row.is_anomaly for row in report.listed] == labels[order].tolist()
    first = report.listed[0]
    assert report.most_anomalous.key == first.key
    value = rows["square"][order[0]]
    assert first.reasons[0].startswith(f"square {number(value, 4)} (below ")
    assert first.reasons[0] in report.parts.verdict[2]


def test_a_list_that_is_too_long_says_what_is_left_out(
    fitted: VAEDetector, mixed: tuple[pd.DataFrame, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vae_anomaly.report.ranking.MAX_LISTED", 4)
    report = build_report(fitted, *mixed, top=1)
    assert len(report.listed) == 4
    rest = report.n_flagged - 4
    assert (
        f"The 4 most anomalous of {report.n_flagged} flagged rows; the other {rest} are left out "
        f"to keep the page small, and are in the output of <code>vae-anomaly score</code>."
    ) in render_page(report)


def test_without_flags_there_is_no_list(fitted: VAEDetector) -> None:
    calm = replace(fitted.model_, calibration=Calibration.fixed(1e6))
    report = build_report(calm, make_rows(20, seed=1))
    assert report.listed == ()
    text = render_page(report)
    assert "No row is flagged." in text
    assert 'id="flagged"' not in text
    assert len(report.parts.verdict) == 2
    assert report.parts.verdict[1].startswith("The most anomalous row is ")


def test_a_threshold_that_is_not_positive_has_no_multiples(fitted: VAEDetector) -> None:
    low = replace(fitted.model_, calibration=Calibration.fixed(-5.0))
    report = build_report(low, make_rows(20, seed=1))
    assert {row.multiple for row in report.listed} == {None}
    text = render_page(report)
    assert "× threshold" not in text
    assert re.search(r"is \d+, [\d.]+ nats: ", report.parts.verdict[2])
    assert "How many of them are false cannot be said" in report.parts.verdict[1]


def test_without_a_script_the_list_is_a_plain_table(page: Path, report: ReportData) -> None:
    text = re.sub("<script>.*?</script>", "", page.read_text("utf-8"), flags=re.DOTALL)
    box = text.split('<div id="flagged">')[1].split("</table>")[0]
    assert box.count("<tr>") == 1 + report.n_flagged
    assert '<div class="controls" hidden>' in box
    assert "<button" not in box.split("<table>")[1]


SAVED = """
URL.createObjectURL = blob => { window.saved = blob; return '#'; };
HTMLAnchorElement.prototype.click = function () { window.file = this.download; };
document.querySelector('#flagged .controls button').click();
window.saved.text()
"""


@chromium
def test_the_list_is_sorted_filtered_and_saved(
    browser: Browser, page: Path, report: ReportData
) -> None:
    browser.complaints.clear()
    browser.open(page)
    places = "[...document.querySelectorAll('#flagged tbody tr:not([hidden])')]"
    keys = f"{places}.map(row => row.cells[1].textContent)"
    own = [row.key for row in report.listed]
    assert browser.value(keys) == own
    assert browser.value("document.querySelector('[role=status]').textContent") == (
        f"{len(own)} of {len(own)} shown"
    )

    saved = list(csv.DictReader(io.StringIO(browser.value(SAVED))))
    assert browser.value("window.file") == "flagged.csv"
    assert [row["row"] for row in saved] == own  # with its comma and quotes
    assert [float(row["nats"]) for row in saved] == [row.score for row in report.listed]
    assert [float(row["p-value"]) for row in saved] == [row.p_value for row in report.listed]
    assert [row["main reasons"] for row in saved] == ["; ".join(r.reasons) for r in report.listed]

    heads = "document.querySelectorAll('#flagged thead th')"
    browser.value(f"{heads}[2].querySelector('button').focus()")
    browser.press("Enter")  # by keyboard: ascending
    assert browser.value(f"{heads}[2].getAttribute('aria-sort')") == "ascending"
    assert browser.value(keys) == own[::-1]
    browser.press("Enter")
    assert browser.value(f"{heads}[2].getAttribute('aria-sort')") == "descending"
    assert browser.value(keys) == own

    wanted = own[3].upper()
    browser.value(
        f"(() => {{ const field = document.querySelector('#flagged input');"
        f"field.value = {wanted!r}; field.dispatchEvent(new Event('input')); }})()"
    )
    shown = [key for key in own if wanted.lower() in key.lower()]
    assert browser.value(keys) == shown
    assert len(list(csv.DictReader(io.StringIO(browser.value(SAVED))))) == len(shown)
    assert browser.complaints == []


@chromium
def test_the_first_screen_answers_three_questions(
    browser: Browser, page: Path, report: ReportData
) -> None:
    for width in (1280, 390):
        browser.show(width)
        browser.open(page)
        lines = "[...document.querySelectorAll('#verdict .summary li')]"
        shown = browser.value(f"{lines}.map(one => one.textContent)")
        assert [line.replace("\u00a0", " ") for line in shown] == list(report.parts.verdict)
        bottom = browser.value(f"{lines}.at(-1).getBoundingClientRect().bottom")
        assert bottom < 844
        assert browser.value("document.documentElement.scrollWidth") <= width


@chromium
def test_print_takes_few_sheets(browser: Browser, page: Path) -> None:
    browser.show(1280)
    browser.open(page)
    assert browser.pages_in_print() <= 6


@needs_axe
def test_the_page_is_accessible(page: Path, tmp_path: Path) -> None:
    check_page(page, tmp_path)


# ---------------------------------------------------------------------------- histograms


def normal_values(**given: object) -> NormalValues:
    """Return values of one feature that are normal."""
    empty = np.full(1, np.nan)
    values = dict.fromkeys(("low", "high", "least", "greatest", "decimals"), empty)
    others = {"level_shares": {}, "records": np.zeros((0, 1)), "named": {}}
    return NormalValues(**{**values, **others, **given})


def bars(histogram: TrainingHistogram) -> dict[float, float]:
    """Return the heights of the bars by their left ends."""
    found = re.findall(rf"M([\d.]+) {HEIGHT}v-([\d.]+)h", histogram.path)
    return {float(left): float(height) for left, height in found}


def test_histograms_of_numbers_have_the_heights_of_their_counts() -> None:
    values = np.r_[np.random.RandomState(0).normal(size=500), -4.0, 4.0]
    low, high = np.quantile(values, [0.05, 0.95])
    found = TrainingHistogram.of(
        normal_values(
            records=values[:, None],
            least=np.array([-4.0]),
            greatest=np.array([4.0]),
            low=np.array([low]),
            high=np.array([high]),
        ),
        0,
    )
    counts, _ = np.histogram(values, N_BINS, (-4.0, 4.0))
    step = (WIDTH - 2 * MARGIN) / N_BINS
    expected = {
        float(f"{MARGIN + i * step:.4g}"): max(1.0, HEIGHT * n / counts.max())
        for i, n in enumerate(counts)
        if n
    }
    assert bars(found).keys() == expected.keys()
    np.testing.assert_allclose([*bars(found).values()], [*expected.values()], rtol=5e-3)
    inner = WIDTH - 2 * MARGIN
    assert found.normal == pytest.approx(
        (MARGIN + inner * (low + 4) / 8, MARGIN + inner * (high + 4) / 8)
    )
    assert found.at(0.0) == pytest.approx(WIDTH / 2)
    assert found.at(4.0) == pytest.approx(WIDTH - MARGIN)
    # Beyond the range, the nearer to the edge the further away, and never outside.
    right = [found.at(value) for value in (4.1, 5.0, 50.0, 1e300)]
    left = [found.at(value) for value in (-4.1, -5.0, -50.0, -1e300)]
    assert WIDTH - MARGIN < right[0] < right[1] < right[2] <= right[3] < WIDTH
    assert MARGIN > left[0] > left[1] > left[2] >= left[3] > 0


def test_histograms_of_levels_show_the_most_frequent_first() -> None:
    found = TrainingHistogram.of(normal_values(level_shares={0: np.array([0.1, 0.6, 0.3])}), 0)
    assert found.levels == (1, 2, 0)
    assert [*bars(found).values()] == pytest.approx([24, 12, 4])
    width = (WIDTH - 2 * MARGIN) / 4
    assert [found.at(code) for code in (1, 2, 0, 7)] == pytest.approx(
        [MARGIN + width * (i + 0.5) for i in range(4)]
    )
    assert found.normal is None


def test_values_that_cannot_be_counted_have_no_histogram() -> None:
    assert TrainingHistogram.of(normal_values(), 0) is None
    one = np.array([3.0])
    constant = TrainingHistogram.of(
        normal_values(records=np.full((5, 1), 3.0), least=one, greatest=one, low=one, high=one), 0
    )
    assert len(bars(constant)) == 1
    assert constant.at(2.0) < MARGIN < constant.at(3.0) < WIDTH - MARGIN < constant.at(4.0)


def test_reasons_have_histograms_with_a_mark(report: ReportData, page: Path) -> None:
    (section,) = report.sections
    reasons = [reason for row in section.rows for reason in row.reasons]
    assert {reason.feature for reason in reasons} == set(section.histograms)
    assert all(reason.mark is not None for reason in reasons)
    text = page.read_text("utf-8")
    for i in section.histograms:
        assert text.count(f'id="h{i}"') == 1
    n_first = min(3, len(section.rows[0].reasons))
    assert text.count('<path class="mark"') == len(reasons) + n_first


# ---------------------------------------------------------------------------------- drift


def test_columns_that_moved_are_measured_on_normal_rows(
    fitted: VAEDetector, rows: pd.DataFrame, mixed: tuple[pd.DataFrame, np.ndarray]
) -> None:
    here, labels = mixed
    moved = here.assign(t=here["t"] + 3.0 * ~labels)
    report = build_report(fitted, moved, labels)
    assert report.drift.is_drift
    assert report.drift.n_rows == 170
    first = report.sections[0].moved[0]
    assert first.name == "t"
    train = rows["t"]
    normal, anomalous = moved["t"][~labels], moved["t"][labels]
    # The model standardizes by the rows that it learned from, four fifths of these.
    assert first.shift == pytest.approx((normal.mean() - train.mean()) / train.std(), abs=0.15)
    assert first.spread == pytest.approx(normal.std() / train.std(), abs=0.1)
    assert first.shift_of_anomalies == pytest.approx(
        (anomalous.mean() - train.mean()) / train.std(), abs=0.15
    )
    assert report.parts.drift[0].startswith("As a whole, the scores of these 170 normal rows are ")
    assert "Moved most: 't', mean +" in report.parts.drift[0]
    assert report.parts.drift[0].endswith(
        "Normal has moved: `vae-anomaly recalibrate` or fit anew."
    )
    text = render_page(report)
    assert "<code>vae-anomaly recalibrate</code>" in text
    assert '<a href="#drift">Columns that moved</a>' in text


def test_without_drift_the_page_says_so(fitted: VAEDetector) -> None:
    report = build_report(fitted, make_rows(150, seed=6))
    assert not report.drift.is_drift
    assert re.fullmatch(
        r"As a whole, the scores of these 150 rows are consistent with those of the calibration "
        r"rows \(Kolmogorov-Smirnov, p = [\d.]+\): no drift\.",
        report.parts.drift[0],
    )
    assert report.sections[0].moved[0].shift_of_anomalies is None


def test_without_calibration_rows_there_is_no_drift() -> None:
    detector = VAEDetector(max_steps=10, n_members=1, random_state=0, threshold=3.0)
    report = build_report(detector.fit(make_rows(40)), make_rows(20, seed=1))
    assert report.drift is None
    assert report.parts.drift == report.sections[0].moved == ()
    assert '<a href="#drift">Columns</a>' in render_page(report)


# -------------------------------------------------------------------------------- figures


def test_figures_take_the_colours_of_the_page(report: ReportData) -> None:
    drawing = draw_figures(report)["scores"]
    assert {color.encode() for color in (BLUE, ORANGE, INK)} <= set(
        re.findall(rb"#[0-9a-f]{6}", drawing.svg)
    )
    shown = inline_svg(drawing.svg, 'a "label" <b>')
    root = ET.fromstring(shown)
    assert root.attrib["aria-label"] == 'a "label" <b>'
    assert root.attrib["class"] == "plot broad"
    allowed = GEOMETRY | PRESENTATION | {"id", "href", "class", "role", "aria-label"}
    for element in root.iter():
        assert element.tag in ELEMENTS
        assert set(element.attrib) <= allowed
    assert not re.search("#[0-9a-f]{6}", shown)
    for color in ("var(--blue)", "var(--orange)", "currentColor"):
        assert color in shown
    texts = "".join(element.text or "" for element in root.iter("text"))
    assert "anomaly score (nats; higher is more anomalous)" in texts
    assert f"normal rows ({report.groups[0].n_rows})" in texts
    names = re.findall(r'(?:href="#|url\(#)([^")]+)', shown)
    assert set(names) <= set(re.findall(r'id="([^"]+)"', shown))


def test_points_are_pixels_where_there_are_many() -> None:
    rng = np.random.RandomState(0)
    shown = [
        ElboDisplay(rng.normal(size=n), rng.normal(size=n), rng.uniform(size=n) < 0.1)
        for n in (50, 5000)
    ]
    few, many = (drawn(Figure(one.plot, SQUARE), "elbo").element("x") for one in shown)
    assert "<image" not in few
    assert many.count('class="points"') >= 1
    assert len(many) < 150_000


def test_photos_in_figures_are_stored_as_jpeg() -> None:
    noise = np.random.RandomState(0).uniform(size=(200, 300))
    figure = Figure(lambda ax: ax.imshow(noise), WIDE)
    assert "data:image/jpeg;base64," in drawn(figure, "noise").element("noise")


def test_reconstruction_error_and_kl_are_the_scores_of_these_names(
    fitted: VAEDetector, mixed: tuple[pd.DataFrame, np.ndarray], report: ReportData
) -> None:
    rows, labels = mixed
    for name, found in (("reconstruction", report.elbo.reconstruction), ("kl", report.elbo.kl)):
        expected = replace(fitted.model_, score_type=name).anomaly_scores(rows.to_numpy())
        np.testing.assert_allclose(found, expected)
    np.testing.assert_array_equal(report.elbo.flagged, fitted.predict(rows) == -1)
    display = ElboDisplay.from_estimator(fitted, rows, labels)
    assert display.ax_.get_xlabel() == "KL divergence (nats)"
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == [
        "normal rows",
        "anomalies",
    ]


# ----------------------------------------------------------------------------- provenance


def test_equal_inputs_give_equal_pages(
    fitted: VAEDetector, mixed: tuple[pd.DataFrame, np.ndarray], tmp_path: Path
) -> None:
    made = Provenance("0123abcd", "vae-anomaly evaluate m.vae <t>.csv -o x")
    pages = [
        write_report(build_report(fitted, *mixed, provenance=made), tmp_path / name).read_bytes()
        for name in "ab"
    ]
    assert pages[0] == pages[1]
    text = pages[0].decode()
    assert "with the model of SHA-256 <code>0123abcd</code>" in text
    assert "by <code>vae-anomaly evaluate m.vae &lt;t&gt;.csv -o x</code>" in text


def test_multiples_stay_short() -> None:
    assert [multiple(value) for value in (0.999, 1.005, 12.34, 2e7)] == [
        *("1.00", "1.00", "12.3", "2e+07"),
    ]
