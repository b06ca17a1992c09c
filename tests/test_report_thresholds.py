"""Thresholds in a report: chosen by labels, and moved in a real browser."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import CHROMIUM, Browser
from conftest import make_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from scipy import stats
from sklearn.metrics import confusion_matrix, fbeta_score, precision_score, recall_score

from vae_anomaly import DataError, VAEDetector
from vae_anomaly.displays import CalibrationDisplay, PValueDisplay
from vae_anomaly.metrics.threshold_search import choose_thresholds, discovery, threshold_steps
from vae_anomaly.report import Criteria, ReportData, build_report, write_report
from vae_anomaly.report.figures import draw_figures
from vae_anomaly.report.formatting import nats, percent
from vae_anomaly.report.render import render_page
from vae_anomaly.report.summary import summarize

SCORES = st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=2, max_size=25)


@pytest.fixture(scope="module")
def mixed() -> tuple[pd.DataFrame, np.ndarray]:
    """Normal rows, and 60 more or less anomalous ones."""
    anomalous = make_rows(60, seed=2)
    anomalous["square"] -= np.linspace(0, 6, 60)
    return pd.concat([make_rows(340, seed=1), anomalous], ignore_index=True), np.arange(400) >= 340


@pytest.fixture(scope="module")
def report(fitted: VAEDetector, mixed: tuple[pd.DataFrame, np.ndarray]) -> ReportData:
    criteria = Criteria(cost_miss=5, min_recall=0.9, min_precision=0.8, f_beta=2)
    return build_report(fitted, *mixed, criteria=criteria)


# --------------------------------------------------------------- thresholds chosen by labels


@settings(deadline=None)
@given(SCORES, st.sampled_from([0.3, 0.5, 1.0]), st.sampled_from([0.5, 1.0, 2.0]))
def test_chosen_thresholds_are_the_best_of_all(
    rows: list[tuple[int, bool]], share: float, beta: float
) -> None:
    scores = np.array([score for score, _ in rows], dtype=float)
    labels = np.array([label for _, label in rows])
    criteria = Criteria(3.0, 2.0, share, share, beta)
    if labels.all() or not labels.any():
        with pytest.raises(DataError, match="needs labels of both classes"):
            choose_thresholds(scores, labels, criteria)
        return
    every = [scores > t for t in np.append(np.unique(scores), -1.0)]
    costs = [3.0 * (labels & ~f).sum() + 2.0 * (f & ~labels).sum() for f in every]
    cheapest, recall, precise, balanced = choose_thresholds(scores, labels, criteria)

    flags = scores > cheapest.threshold
    assert 3.0 * (labels & ~flags).sum() + 2.0 * (flags & ~labels).sum() == min(costs)
    matrix = confusion_matrix(labels, flags)
    c = cheapest.confusion
    assert [[c.passed, c.false_alarms], [c.missed, c.found]] == matrix.tolist()

    assert recall_score(labels, scores > recall.threshold) >= share - 1e-12
    higher = [f for f in every if f.sum() < (scores > recall.threshold).sum()]
    assert all(recall_score(labels, f) < share for f in higher)

    able = [f for f in every if f.any() and precision_score(labels, f) >= share]
    if able:
        flags = scores > precise.threshold
        assert precision_score(labels, flags) >= share
        assert recall_score(labels, flags) == max(recall_score(labels, f) for f in able)
    else:
        assert (precise.threshold, precise.confusion) == (None, None)

    best = max(fbeta_score(labels, f, beta=beta, zero_division=0) for f in every)
    found = fbeta_score(labels, scores > balanced.threshold, beta=beta, zero_division=0)
    assert found == pytest.approx(best)


def test_thresholds_lie_between_scores_however_close() -> None:
    scores = np.array([1.0, np.nextafter(1.0, 2.0), 1e300])
    (choice,) = choose_thresholds(scores, np.array([False, True, True]), Criteria(min_recall=1.0))
    assert choice.confusion.found == 2
    assert choice.confusion.false_alarms == 0
    assert (scores > choice.threshold).tolist() == [False, True, True]


def test_chosen_thresholds_are_stated_beside_that_of_the_model(
    fitted: VAEDetector, report: ReportData
) -> None:
    assert report.threshold.value == -fitted.offset_
    page = render_page(report, draw_figures(report))
    for choice in report.choices:
        assert f'<td class="n">{nats(choice.threshold)}</td>' in page
    stated = [line for line in report.summary if line.startswith("Chosen by these labels (")]
    assert len(stated) == 4
    first = report.choices[0]
    assert stated[0] == (
        f"Chosen by these labels (least cost, 5 a miss and 1 a false alarm), and not used: a "
        f"threshold of {nats(first.threshold)} nats, recall "
        f"{percent(first.confusion.recall.value)}, precision "
        f"{percent(first.confusion.precision.value)}, false alarms "
        f"{percent(first.confusion.false_alarm_rate.value)}."
    )


def test_a_criterion_that_no_threshold_meets_is_stated(fitted: VAEDetector, mixed) -> None:
    rows, labels = mixed
    best = np.argmax(-fitted.score_samples(rows))
    wrong = labels.copy()
    wrong[best] = False  # no threshold flags anomalies only
    report = build_report(fitted, rows, wrong, criteria=Criteria(min_precision=1.0), top=0)
    assert report.summary[-1] == "No threshold has a precision of at least 100 %."
    assert "no such threshold" in render_page(report)


def test_choices_need_labels(fitted: VAEDetector, mixed) -> None:
    with pytest.raises(DataError, match=r"needs labels\. Give them, or leave the criteria out\."):
        build_report(fitted, mixed[0], criteria=Criteria(f_beta=1))


# --------------------------------------------------------------------- calibration and batches


def test_observed_rates_and_their_band(fitted: VAEDetector) -> None:
    rows = make_rows(500, seed=8)
    scores, known = -fitted.score_samples(rows), fitted.calibration_scores_
    shown = CalibrationDisplay.measure(scores, known, rate=0.05)
    p, n = fitted.p_values(rows), len(known)
    for nominal, observed, low, high in zip(
        shown.nominal, shown.observed, shown.low, shown.high, strict=True
    ):
        assert observed == (p <= nominal + 1e-9).mean()
        j = round(nominal * (n + 1))
        # Flags of 500 rows at a rate that is itself drawn from a beta distribution.
        rates = stats.beta(j, n + 1 - j).ppf((np.arange(4000) + 0.5) / 4000)
        inside = stats.binom(500, rates).cdf(high * 500) - stats.binom(500, rates).cdf(
            low * 500 - 1
        )
        assert inside.mean() + 1e-3 >= 0.95
        assert inside.mean() < 0.985


def test_bands_hold_rows_of_the_same_distribution() -> None:
    rng, outside, cases = np.random.RandomState(0), 0, 0
    for _ in range(200):
        shown = CalibrationDisplay.measure(rng.normal(size=300), np.sort(rng.normal(size=99)))
        out = (shown.observed < shown.low) | (shown.observed > shown.high)
        outside, cases = outside + out[20], cases + 1
    assert outside / cases <= 0.05 + 4 * (0.05 * 0.95 / cases) ** 0.5


@pytest.mark.parametrize("n", [7, 30, 99])
def test_bins_of_p_values(fitted: VAEDetector, n: int) -> None:
    rng = np.random.RandomState(n)
    known, scores = np.sort(rng.normal(size=n)), rng.normal(size=5000)
    shown = PValueDisplay.measure(scores, known)
    (counts,) = shown.counts.values()
    p = np.array([(1 + (known >= s).sum()) / (n + 1) for s in scores])
    edges = shown.edges
    expected = [((p > a + 1e-9) & (p <= b + 1e-9)).sum() for a, b in pairwise(edges)]
    assert counts.tolist() == expected
    assert shown.expected.sum() == pytest.approx(1)
    assert len(counts) == min(20, n + 1)


def test_displays_draw_what_they_measured(fitted: VAEDetector, mixed) -> None:
    rows, labels = mixed
    axes = Figure().add_subplot()
    shown = CalibrationDisplay.from_estimator(fitted, rows[~labels], ax=axes)
    assert (shown.rate, shown.n_rows, shown.n_calibration) == (0.05, 340, 59)
    observed = next(line for line in axes.lines if line.get_label() == "observed")
    some = shown.observed > 0
    np.testing.assert_allclose(observed.get_ydata()[some], 100 * shown.observed[some])
    assert axes.get_ylabel() == "rows flagged (%)"

    axes = Figure().add_subplot()
    bars = PValueDisplay.from_estimator(fitted, rows, labels, ax=axes)
    assert {name: counts.sum() for name, counts in bars.counts.items()} == {
        "normal rows": 340,
        "anomalies": 60,
    }
    drawn = [text.get_text() for text in axes.get_legend().get_texts()]
    assert drawn == ["normal rows (340)", "anomalies (60)", "normal, expected"]


def test_without_calibration_rows_there_is_no_calibration(mixed) -> None:
    detector = VAEDetector(max_steps=10, n_members=1, random_state=0, threshold=3.0)
    report = build_report(detector.fit(make_rows(40)), *mixed, top=0)
    assert CalibrationDisplay.from_estimator(detector, mixed[0]) is None
    assert PValueDisplay.from_estimator(detector, mixed[0]) is None
    assert (report.discovery, report.calibration, report.p_values) == (None, None, None)
    assert report.steps.nominal is None
    page = render_page(report)
    assert "Calibration of the threshold" not in page
    assert 'data-show="nominal"' not in page


def test_the_false_discovery_rate_of_a_batch_is_controlled(fitted: VAEDetector, mixed) -> None:
    rows, _ = mixed
    moved = rows.assign(square=rows["square"] - 9 * (np.arange(400) >= 100))
    report = build_report(fitted, moved, top=0)
    flagged = (fitted.flag_batch(moved, fdr=0.05) == -1).sum()
    assert report.discovery.n_flagged == flagged > 250
    share = percent(0.05 * 400 / report.n_flagged)
    assert report.parts.verdict[1] == (
        f"At most 20 of them ({share}) are expected to be false alarms: as many would be flagged "
        f"if all 400 rows were normal."
    )
    assert report.parts.threshold[1] == (
        f"With a false discovery rate of 5 % (Benjamini-Hochberg), {flagged} rows above "
        f"{nats(report.discovery.threshold)} nats would be flagged."
    )
    none = replace(report, discovery=discovery(np.zeros(3), np.arange(50.0)))
    assert summarize(none).threshold[1].endswith("(Benjamini-Hochberg), nothing would be flagged.")


# ------------------------------------------------------------------------------------- slider


@pytest.mark.parametrize("n", [1, 50, 30_000])
@pytest.mark.parametrize("labelled", [False, True])
def test_steps_count_what_thresholds_flag(n: int, labelled: bool) -> None:
    rng = np.random.RandomState(n)
    scores, labels = rng.normal(size=n), rng.uniform(size=n) < 0.1
    known = np.sort(rng.normal(size=99))
    steps = threshold_steps(scores, labels if labelled else None, 1.25, known)
    assert steps.thresholds[steps.start] == 1.25
    assert len(steps.thresholds) <= 401
    assert (np.diff(steps.thresholds) > 0).all()
    for t, found, alarms, nominal in zip(
        steps.thresholds, steps.found, steps.alarms, steps.nominal, strict=True
    ):
        flags = scores > t
        assert found == (flags & labels & labelled).sum()
        assert found + alarms == flags.sum()
        assert nominal == (1 + (known > t).sum()) / 100
    assert steps.alarms[0] + steps.found[0] == n
    assert min(steps.alarms + steps.found) == 0


chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, as Debian packages it")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


SHOWN = (
    "Object.fromEntries([...document.querySelectorAll('#threshold [data-show]')]"
    ".map(e => [e.dataset.show, e.textContent]))"
)


def rendered(page: str) -> dict[str, str]:
    """Return the numbers in the file, before any script."""
    section = page.split('<section id="threshold"')[1].split("</section>")[0]
    return dict(re.findall(r'data-show="(\w+)">([^<]*)<', section))


def number_of(text: str) -> float:
    return float(text.removesuffix(" %").replace(",", ""))


def check_reading(shown: dict[str, str], scores, labels, threshold: float, known) -> None:
    """Compare the numbers of the page at a threshold with those of the scores."""
    flags, n = scores > threshold, len(scores)
    counts = {
        "flagged": flags.sum(),
        "found": (flags & labels).sum(),
        "missed": (~flags & labels).sum(),
        "alarms": (flags & ~labels).sum(),
        "passed": (~flags & ~labels).sum(),
    }
    for name, count in counts.items():
        assert shown[name] == f"{count:,}", name
    nominal = (1 + (known > threshold).sum()) / (len(known) + 1)
    shares = {
        "share": flags.sum() / n,
        "recall": counts["found"] / labels.sum(),
        "rate": counts["alarms"] / (~labels).sum(),
        "nominal": nominal,
    }
    if flags.any():
        shares["precision"] = counts["found"] / flags.sum()
        shares["false"] = min(1, nominal * n / flags.sum())
    else:
        assert shown["precision"] == shown["false"] == "not defined"
    for name, share in shares.items():
        assert number_of(shown[name]) == pytest.approx(100 * share, abs=0.0501), name
    assert shown["threshold"] == nats(threshold)


@chromium
def test_the_slider_shows_the_counts_of_each_threshold(
    browser: Browser, fitted: VAEDetector, mixed, report: ReportData, tmp_path: Path
) -> None:
    rows, labels = mixed
    scores, known = -fitted.score_samples(rows), fitted.calibration_scores_
    browser.requests.clear()
    browser.complaints.clear()
    page = write_report(report, tmp_path)
    before = rendered(page.read_text("utf-8"))
    browser.open(page)
    slider = "document.querySelector('#threshold input')"
    assert browser.value(f"{slider}.offsetWidth > 0")
    start, thresholds = report.steps.start, report.steps.thresholds
    own = browser.value(SHOWN)
    assert own == before  # as without a script
    check_reading(own, scores, labels, -fitted.offset_, known)

    browser.value(f"{slider}.focus()")
    position = start
    for key, times, to in (
        ("ArrowRight", 3, start + 3),
        ("ArrowLeft", 10, start - 7),
        ("Home", 1, 0),
        ("End", 1, len(thresholds) - 1),
        ("ArrowLeft", 1, len(thresholds) - 2),
    ):
        browser.press(key, times)
        position = int(browser.value(f"{slider}.value"))
        assert position == to
        check_reading(browser.value(SHOWN), scores, labels, thresholds[position], known)
    browser.click("#threshold input")  # the middle
    position = int(browser.value(f"{slider}.value"))
    assert abs(position - len(thresholds) / 2) < 0.1 * len(thresholds)
    check_reading(browser.value(SHOWN), scores, labels, thresholds[position], known)
    browser.click("#threshold button")
    assert browser.value(SHOWN) == own

    pages = [url for url in browser.requests if not url.startswith("data:image/")]
    assert pages == [page.as_uri()]
    assert browser.complaints == []


@chromium
def test_without_labels_the_slider_counts_flags(
    browser: Browser, fitted: VAEDetector, mixed, tmp_path: Path
) -> None:
    rows, _ = mixed
    report = build_report(fitted, rows, top=0)
    scores = -fitted.score_samples(rows)
    browser.open(write_report(report, tmp_path))
    browser.value("document.querySelector('#threshold input').focus()")
    browser.press("ArrowLeft", 5)
    threshold = report.steps.thresholds[report.steps.start - 5]
    shown = browser.value(SHOWN)
    assert set(shown) == {"threshold", "flagged", "share", "nominal", "false"}
    assert shown["flagged"] == str((scores > threshold).sum())
    assert shown["threshold"] == nats(threshold)
    nominal = (1 + (fitted.calibration_scores_ > threshold).sum()) / 60
    assert number_of(shown["nominal"]) == pytest.approx(100 * nominal, abs=0.0501)


@chromium
def test_the_policy_of_the_page_lets_no_other_script_run(
    browser: Browser, report: ReportData, tmp_path: Path
) -> None:
    page = write_report(report, tmp_path)
    text = page.read_text("utf-8")
    planted = (
        "<script>document.title = 'planted'</script><img src=x onerror=\"document.title='x'\">"
    )
    page.write_text(text.replace("</body>", f"{planted}</body>"), "utf-8")
    browser.open(page)
    assert browser.value("document.title") == report.title
    assert any("Content Security Policy" in complaint for complaint in browser.complaints)
    assert browser.value("document.querySelector('#threshold .controls').hidden") is False
