"""Reports: numbers against independent values, and a page that no text from outside can alter."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import make_rows
from scipy.integrate import trapezoid
from scipy.stats import beta, norm
from sklearn.base import clone
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score

from vae_anomaly import DataError, OutputError, VAEDetector
from vae_anomaly.displays import LatentDisplay, ScoreDisplay
from vae_anomaly.inference import network
from vae_anomaly.metrics import intervals
from vae_anomaly.metrics.confusion import confusion
from vae_anomaly.metrics.curves import curves
from vae_anomaly.metrics.intervals import areas, rate
from vae_anomaly.report import Context, ReportData, build_report, render, write_report
from vae_anomaly.report.data import Provenance, Threshold
from vae_anomaly.report.figures import FIGURES, Drawing, draw_figures
from vae_anomaly.report.formatting import multiple, nats, number, percent
from vae_anomaly.report.render import render_page
from vae_anomaly.report.sections.distribution import of_levels
from vae_anomaly.report.sections.image_results import ImageContext
from vae_anomaly.report.sections.table_columns import MAX_DISTRIBUTIONS
from vae_anomaly.report.sections.table_reasons import Neighbor, Reason, TopRow
from vae_anomaly.report.summary import expected_false, summarize

HOSTILE = [
    "<script>alert(1)</script>",
    '" onload="alert(1)',
    "' onmouseover='alert(1)",
    "</style><script>alert(1)</script>",
    "</title><img src=x onerror=alert(1)>",
    "<!--",
    "]]>",
    "{{ 7 * 7 }}{% raw %}",
    "<a href='http://example.org/'>x</a>",
    "javascript:alert(1)",
    "$\\frac{$",
    "\u202egnp.exe",
    "\ud800",
    "a\x00\x1b[31m\r\nb",
    "x" * 100_000,
]


@pytest.fixture(scope="module")
def mixed() -> tuple[pd.DataFrame, np.ndarray]:
    """Normal rows, and 30 anomalies whose columns were shuffled independently."""
    normal, anomalous = make_rows(170, seed=1), make_rows(30, seed=2)
    anomalous["square"] = anomalous["square"].to_numpy()[::-1]
    anomalous.loc[:4, "t"] = 50.0
    return pd.concat([normal, anomalous], ignore_index=True), np.arange(200) >= 170


@pytest.fixture(scope="module")
def report(fitted: VAEDetector, mixed: tuple[pd.DataFrame, np.ndarray]) -> ReportData:
    return build_report(fitted, *mixed, model_name="m.vae", data_name="d.csv")


@pytest.fixture(scope="module")
def drawn(report: ReportData) -> dict[str, Drawing]:
    return draw_figures(report)


def top_rows(report: ReportData) -> tuple[TopRow, ...]:
    """Return the most anomalous rows of a report on a table."""
    (section,) = report.sections
    return section.rows


def with_rows(report: ReportData, *rows: TopRow) -> ReportData:
    """Return a report with other rows as the most anomalous ones."""
    return replace(report, sections=(replace(report.sections[0], rows=rows),))


# ------------------------------------------------------------------------------- intervals


def binormal(n: int, seed: int, shift: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.RandomState(seed)
    labels = np.arange(n) % 3 == 0
    return rng.normal(size=n) + shift * labels, labels


@pytest.mark.parametrize("decimals", [8, 0])
def test_areas_are_those_of_scikit_learn(decimals: int) -> None:
    scores, labels = binormal(500, 0)
    scores = scores.round(decimals)  # 0: nearly all are ties
    auroc, precision = areas(scores, labels, resamples=20)
    assert auroc.value == roc_auc_score(labels, scores)
    assert precision.value == average_precision_score(labels, scores)
    cells = intervals._cells(scores[~labels], scores[labels])
    ours = intervals._areas_of_cells(*(c[None] for c in cells))[0]
    np.testing.assert_allclose(ours, [auroc.value, precision.value], rtol=1e-12)


def test_areas_resample_as_the_plain_bootstrap_does() -> None:
    scores, labels = binormal(150, 1)
    rng = np.random.RandomState(0)
    normal, anomalous = np.flatnonzero(~labels), np.flatnonzero(labels)
    plain = []
    for _ in range(400):
        chosen = [rng.choice(rows, len(rows)) for rows in (normal, anomalous)]
        rows = np.concatenate(chosen)
        pair = labels[rows], scores[rows]
        plain.append([roc_auc_score(*pair), average_precision_score(*pair)])
    expected = np.percentile(plain, [2.5, 97.5], axis=0).T
    found = [[e.low, e.high] for e in areas(scores, labels)]
    np.testing.assert_allclose(found, expected, atol=0.025)


@pytest.mark.parametrize("seed", range(5))
def test_intervals_of_areas_contain_the_estimate(seed: int) -> None:
    scores, labels = binormal(400, seed)
    labels[:] = False
    labels[np.random.RandomState(seed).permutation(400)[:8]] = True
    for few in areas(scores, labels, resamples=1):  # one resample is beside the estimate
        assert few.low <= few.value <= few.high


def test_intervals_of_areas_cover_the_truth_and_repeat() -> None:
    truth = norm.cdf(1 / np.sqrt(2))  # AUROC of two unit normals, one apart
    found = [areas(*binormal(240, seed), resamples=200)[0] for seed in range(100)]
    coverage = np.mean([e.low <= truth <= e.high for e in found])
    assert 0.88 <= coverage <= 1.0
    assert areas(*binormal(240, 0), resamples=200)[0] == found[0]


def test_intervals_of_many_anomalies_come_from_neighbours_taken_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores, labels = binormal(3000, 2)
    fine = areas(scores, labels, resamples=200)
    monkeypatch.setattr(intervals, "MAX_LEVELS", 200)
    for exact, coarse in zip(fine, areas(scores, labels, resamples=200), strict=True):
        assert coarse.value == exact.value
        np.testing.assert_allclose([coarse.low, coarse.high], [exact.low, exact.high], atol=0.01)


@pytest.mark.parametrize(("hits", "n"), [(0, 20), (3, 40), (20, 20)])
def test_rates_have_exact_binomial_intervals(hits: int, n: int) -> None:
    estimate = rate(hits, n)
    low = beta.ppf(0.025, hits, n - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, n - hits) if hits < n else 1.0
    np.testing.assert_allclose([estimate.low, estimate.high], [low, high], rtol=1e-6)
    assert rate(0, 0) is None


# ------------------------------------------------------------------------------- values


def test_numbers_are_those_of_scikit_learn(
    fitted: VAEDetector, mixed: tuple[pd.DataFrame, np.ndarray], report: ReportData
) -> None:
    X, labels = mixed
    scores, flagged = -fitted.score_samples(X), fitted.predict(X) == -1
    assert report.roc.area.value == roc_auc_score(labels, scores)
    assert report.precision_recall.area.value == average_precision_score(labels, scores)
    assert report.roc.area.low <= report.roc.area.value <= report.roc.area.high
    c = report.confusion
    matrix = [[c.passed, c.false_alarms], [c.missed, c.found]]
    np.testing.assert_array_equal(matrix, confusion_matrix(labels, flagged))
    assert report.n_flagged == flagged.sum()
    assert report.threshold == Threshold(-fitted.offset_, "false_alarm_rate", 0.05, 59)
    normal, anomalous = report.groups
    assert (normal.n_rows, anomalous.n_rows) == (170, 30)
    assert normal.median == np.median(scores[:170])
    assert anomalous.highest == scores[170:].max()
    assert anomalous.n_flagged == c.found


def test_curves_end_where_curves_end(report: ReportData) -> None:
    roc = report.roc
    assert (roc.x[0], roc.y[0], roc.x[-1], roc.y[-1]) == (0, 0, 1, 1)
    np.testing.assert_allclose(trapezoid(roc.y, roc.x), roc.area.value, atol=1e-9)


def test_curves_of_many_rows_are_thinned_without_loss_of_shape() -> None:
    scores, labels = binormal(60_000, 3)
    roc, precision_recall = curves(scores, labels)
    assert len(roc.x) <= 1000
    assert len(precision_recall.x) <= 1000
    np.testing.assert_allclose(trapezoid(roc.y, roc.x), roc.area.value, atol=2e-3)


def test_top_rows_are_the_most_anomalous_and_are_explained(
    fitted: VAEDetector, mixed: tuple[pd.DataFrame, np.ndarray], report: ReportData
) -> None:
    X, labels = mixed
    scores = -fitted.score_samples(X)
    order = np.argsort(-scores, kind="stable")[:10]
    top = top_rows(report)
    assert [row.key for row in top] == [str(i) for i in order]
    np.testing.assert_array_equal([row.score for row in top], scores[order])
    assert [row.is_anomaly for row in top] == labels[order].tolist()
    first, row = top[0], X.iloc[[order[0]]]
    explained = fitted.explain(row).iloc[0].sort_values(ascending=False)
    assert [r.contribution for r in first.reasons] == [v for v in explained if v > 0][:5]
    reason = next(r for r in first.reasons if r.column == "t")
    assert reason.value == 50.0
    expected = fitted.model_.expected(row.to_numpy())[0, 0]
    assert reason.expected == pytest.approx(expected, abs=0.005)  # rounded
    assert X["t"].min() <= reason.expected <= X["t"][~labels].max()
    assert reason.low < reason.expected < reason.high
    assert reason.direction == "above"
    found = fitted.neighbors(row, k=3)
    assert [one.distance for one in first.neighbors] == found["distance"].tolist()
    names = [one.column for one in first.reasons]
    assert [list(one.values) for one in first.neighbors] == found[names].to_numpy().tolist()


def test_rows_are_named_by_their_keys(
    fitted: VAEDetector, mixed: tuple[pd.DataFrame, np.ndarray]
) -> None:
    X, _ = mixed
    ids = [f"pump-{i}" for i in range(200)]
    report = build_report(fitted, X, keys=ids, top=3, reasons=1)
    position = int(np.argmin(fitted.score_samples(X)))
    assert top_rows(report)[0].key == f"pump-{position}"
    assert [len(row.reasons) for row in top_rows(report)] == [1, 1, 1]
    indexed = build_report(fitted, X.set_index(pd.Index(ids)), top=1)
    assert top_rows(indexed)[0].key == f"pump-{position}"


def test_top_rows_may_have_no_reasons(fitted: VAEDetector) -> None:
    report = build_report(fitted, make_rows(50), top=2, reasons=0)
    assert [row.reasons for row in top_rows(report)] == [(), ()]
    assert "Most similar training rows" not in render_page(report)


def test_top_rows_and_reasons_are_bounded(fitted: VAEDetector) -> None:
    report = build_report(fitted, make_rows(150), top=10**6, reasons=10**6)
    assert len(top_rows(report)) == 100
    assert max(len(row.reasons) for row in top_rows(report)) <= 10


def test_scoring_in_chunks_changes_nothing(
    fitted: VAEDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = make_rows(600, seed=3)
    scores = -fitted.score_samples(X)
    monkeypatch.setattr(network, "CHUNK_CELLS", 1)
    report = build_report(fitted, X, top=0)
    low, median, _, high = np.percentile(scores, [0, 50, 95, 100])
    assert (report.groups[0].lowest, report.groups[0].median) == (low, median)
    assert report.groups[0].highest == high


def test_a_model_is_reported_on_like_its_detector(
    fitted: VAEDetector, mixed: tuple[pd.DataFrame, np.ndarray], report: ReportData
) -> None:
    X, labels = mixed
    names = {"model_name": "m.vae", "data_name": "d.csv"}
    same = build_report(fitted.model_, X.to_numpy(np.float64), labels, **names)
    assert render_page(same) == render_page(report)


def test_a_modality_without_a_section_has_the_common_part(
    fitted: VAEDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vae_anomaly.report.sections.SECTIONS", {})
    report = build_report(fitted, make_rows(60, seed=3), context=Context(["a", "b"] * 30))
    assert report.sections == ()
    assert report.latent.categories == ["a", "b"] * 30
    text = check_page(render_page(report)).text
    assert "60 rows\n" in text
    assert "Most anomalous" not in text


# -------------------------------------------------------------------------------- summary


def test_summary_states_the_main_results(report: ReportData) -> None:
    c = report.confusion
    first, false, why, drift, threshold, batch, recall, precision, alarms, areas = report.summary
    assert first.startswith(f"{report.n_flagged} of 200 rows ({percent(report.n_flagged / 200)})")
    assert f"above the threshold of {nats(report.threshold.value)} nats" in first
    share = 0.05 * 200 / report.n_flagged
    some = f"At most 10 of them ({percent(share)}) are expected to be false alarms: as many would"
    assert false.startswith(some if share < 1 else "All of them may be false alarms: as many")
    few = replace(report, threshold=replace(report.threshold, requested=0.001, n_calibration=999))
    assert expected_false(few).startswith("At most one of them (")
    assert " is expected to be a false alarm: as many would be" in expected_false(few)
    row, (reason, *_) = top_rows(report)[0], top_rows(report)[0].reasons
    times = multiple(row.score / report.threshold.value)
    assert why.startswith(
        f"The most anomalous row is {row.key}, {times} times the threshold (p = 0.017): "
        f"{reason.column} {number(reason.value, 4)} (above {number(reason.low, 4)} to "
    )
    assert drift.startswith("As a whole, the scores of these 170 normal rows are ")
    assert "59 calibration rows: at most 5 % of fresh normal rows" in threshold
    assert batch.startswith("With a false discovery rate of 5 % (Benjamini-Hochberg), ")
    assert recall.startswith(f"Of 30 anomalies, {c.found} are found")
    assert f"a precision of {percent(c.precision.value)} (95 % interval" in precision
    assert re.match(
        rf"Of 170 normal rows, {c.false_alarms} (is|are) flagged: a false-alarm", alarms
    )
    assert alarms.endswith("consistent with the nominal 5 %.")
    assert f"{report.roc.area.value:.3f} (95 % interval {report.roc.area.low:.3f}" in areas
    assert areas.endswith("random scores would reach 0.150.")


def test_an_area_below_a_half_asks_which_label_is_normal(
    fitted: VAEDetector, mixed: tuple[pd.DataFrame, np.ndarray]
) -> None:
    rows, labels = mixed
    note = (
        " An AUROC below 0.5 says that anomalies score lower than normal rows: check which label "
        "is the normal one (--normal-label)."
    )
    assert not any(note in line for line in build_report(fitted, rows, labels).summary)
    reversed_labels = build_report(fitted, rows, ~labels).summary
    assert sum(line.endswith(note) for line in reversed_labels) == 1


def test_without_labels_nothing_is_claimed(
    fitted: VAEDetector, mixed: tuple[pd.DataFrame, np.ndarray]
) -> None:
    report = build_report(fitted, mixed[0])
    assert report.confusion is report.roc is report.precision_recall is None
    assert "if all rows here were normal, that would be about 10." in report.parts.threshold[0]
    assert report.summary[-1].startswith("There are no labels")
    assert [group.name for group in report.groups] == ["all rows"]
    parsed = check_page(render_page(report))
    assert len(parsed.labels) == 7
    for word in ("ROC", "recall", "Labels against flags"):
        assert word not in parsed.text


@pytest.mark.parametrize("anomalous", [False, True])
def test_labels_of_one_class_leave_the_curves_out(
    fitted: VAEDetector, mixed: tuple[pd.DataFrame, np.ndarray], anomalous: bool
) -> None:
    X, labels = mixed
    rows = X[labels == anomalous]
    report = build_report(fitted, rows, np.full(len(rows), anomalous), top=1)
    assert report.roc is report.precision_recall is None
    word = "anomalous" if anomalous else "normal"
    assert report.summary[-1].startswith(f"All rows are labelled {word}: ROC and")
    assert (report.confusion.recall is None) == (not anomalous)
    assert (report.confusion.false_alarm_rate is None) == anomalous
    assert "not defined" in render_page(report)


def test_few_calibration_rows_explain_more_false_alarms_than_nominal(
    fitted: VAEDetector, mixed: tuple[pd.DataFrame, np.ndarray]
) -> None:
    """Of 40 normal rows 5 are flagged: of 36 calibration rows that is no rare draw."""
    report = build_report(fitted, *mixed)
    flagged = confusion(found=3, alarms=5, n_anomalies=3, n_normal=40)
    given = replace(report, confusion=flagged)

    def said(n_calibration: int) -> str:
        threshold = replace(report.threshold, requested=0.027, n_calibration=n_calibration)
        lines = summarize(replace(given, threshold=threshold)).quality
        return next(line for line in lines if line.startswith("Of 40 normal rows"))

    assert said(36).endswith(
        "consistent with the nominal 2.7 %: a threshold from 36 calibration rows gives 0.1 % to "
        "9.7 % in 95 of 100 cases."
    )
    assert said(3600).endswith("seem to differ from the training rows.")


def test_more_false_alarms_than_nominal_are_reported(
    fitted: VAEDetector, mixed: tuple[pd.DataFrame, np.ndarray]
) -> None:
    anomalous = mixed[0][mixed[1]]
    report = build_report(fitted, anomalous, np.zeros(len(anomalous), dtype=bool), top=0)
    assert "That is more than the nominal 5 %: these normal rows seem to differ" in " ".join(
        report.summary
    )
    assert top_rows(report) == ()


@pytest.mark.parametrize(
    ("hits", "said"),
    [
        (500, "That is more than the nominal 1 %: these normal rows seem to differ from the"),
        (300, "the nominal 1 %: a threshold from 499 calibration rows gives {} to {} in 95 of 100"),
        (200, "consistent with the nominal 1 %."),
        (100, "the nominal 1 %: a threshold from 499 calibration rows gives {} to {} in 95 of 100"),
        (20, "That is less than the nominal 1 %: anomalies among the training rows may have"),
    ],
)
def test_false_alarms_are_judged_by_what_so_few_calibration_rows_give(
    report: ReportData, hits: int, said: str
) -> None:
    found = confusion(8, hits, 9, 20_000)
    threshold = Threshold(5.0, "false_alarm_rate", 0.01, 499)
    low, high = beta(5, 495).ppf([0.025, 0.975])
    assert said.format(percent(low), percent(high)) in " ".join(
        summarize(replace(report, confusion=found, threshold=threshold)).quality
    )


@pytest.mark.parametrize(
    ("threshold", "sentence"),
    [
        (Threshold(1.0, "threshold", None), "The threshold was set by hand."),
        (Threshold(1.0, "contamination", 0.1), "The threshold flags 10 % of the training rows."),
        (
            Threshold(1.0, "false_alarm_rate", 0.01, 49),
            "The threshold comes from 49 calibration rows: at most 2 % of fresh normal rows "
            "should be flagged (too few rows for the requested 1 %).",
        ),
    ],
)
def test_the_origin_of_the_threshold_is_stated(
    report: ReportData, threshold: Threshold, sentence: str
) -> None:
    assert sentence in summarize(replace(report, threshold=threshold)).threshold


def test_settings_are_those_of_the_model(fitted: VAEDetector) -> None:
    X = make_rows(60, seed=4)
    detector = clone(fitted).set_params(
        max_steps=20, threshold=7.5, n_members=1, variance=0.5, latent_dim=1, false_alarm_rate=0.01
    )
    report = build_report(detector.fit(X), X.iloc[:1], np.array([False]))
    assert report.threshold == Threshold(7.5, "threshold", None)
    assert ("likelihood", "gaussian, variance of 0.5") in report.model
    assert ("training steps", "20") in report.model
    assert ("prior", "codes of training records") in report.model
    assert "of 1 latent dimension " in render_page(report)


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0, "0 %"), (1, "100 %"), (0.1, "10 %"), (0.0004, "0.04 %"), (0.99996, "99.996 %")],
)
def test_percent_never_rounds_to_certainty(share: float, shown: str) -> None:
    assert percent(share) == shown


def test_numbers_stay_short() -> None:
    assert (nats(1e300), nats(-0.04)) == ("1e+300", "-0.0")
    assert (number(1e300), number(1 / 3, 4)) == ("1e+300", "0.3333")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            {"labels": [1, 0, 0]},
            "labels must be booleans, True for an anomaly. Got int64 instead. "
            "Compare them with the label of anomalies, as in y == 1.",
        ),
        (
            {"labels": [True, False]},
            r"labels must have one entry for each of the 3 rows. Got shape \(2,\) instead.",
        ),
        (
            {"keys": ["a"]},
            "keys must have one entry for each of the 3 rows. Got 1 instead.",
        ),
        (
            {"context": Context(["a", "b"])},
            "categories must have one entry for each of the 3 rows. Got 2 instead.",
        ),
        (
            {"context": ImageContext()},
            "context must be Context for a model of the modality 'table'. "
            "Got ImageContext instead.",
        ),
    ],
)
def test_what_does_not_match_the_rows_is_refused(
    fitted: VAEDetector, arguments: dict[str, list[object]], sentence: str
) -> None:
    with pytest.raises(DataError, match=f"^{sentence}$"):
        build_report(fitted, make_rows(3), **arguments)


def test_no_rows_are_refused_by_the_detector(fitted: VAEDetector) -> None:
    with pytest.raises(ValueError, match="0 sample"):
        build_report(fitted, make_rows(3).iloc[:0])


# ------------------------------------------------------------------------------------ page


class Page(HTMLParser):
    """Elements, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if self.cdata_elem is None:  # the style and the script are not text
            self.text += data

    def values(self, tag: str, name: str) -> list[str]:
        return [v for t, n, v in self.attributes if (t, n) == (tag, name)]

    @property
    def labels(self) -> list[str]:
        """Descriptions of the figures."""
        return self.values("svg", "aria-label")


ELEMENTS = """html head meta title style body header main footer section article details
summary h1 h2 h3 p b strong span ul li dl div dt dd figure figcaption img table caption thead
tbody tr th td svg rect path script input button code nav a ol small label wbr g use defs
clippath text tspan image"""
ATTRIBUTES = """lang charset http-equiv content name class src alt width height scope aria-hidden
focusable rx id data-steps data-show hidden type min max step value aria-label autocomplete
colspan viewbox preserveaspectratio d tabindex role href data-value x y transform clip-path fill
fill-opacity stroke stroke-opacity stroke-width stroke-dasharray stroke-dashoffset stroke-linecap
stroke-linejoin opacity text-anchor font-size"""
TEMPLATES = Path(render.__file__).parent / "templates"
SCRIPTS = [(TEMPLATES / name).read_text("utf-8") for name in render.SCRIPTS]


def check_page(page: str) -> Page:
    parsed = Page(page)
    assert parsed.elements <= set(ELEMENTS.split())
    assert {name for _, name, _ in parsed.attributes} <= set(ATTRIBUTES.split())
    for tag, name, value in parsed.attributes:
        is_data = tag in ("img", "image") and value.startswith("data:image/")
        assert is_data or not re.search("https?:|//|javascript:", value)
        assert name != "href" or is_data or value.startswith("#")
    names = parsed.values("a", "href") + parsed.values("use", "href")
    ids = [value for _, name, value in parsed.attributes if name == "id"]
    assert {name.removeprefix("#") for name in names} <= set(ids)
    assert len(ids) == len(set(ids))
    assert len(parsed.values("img", "alt")) == len(parsed.values("img", "src"))
    assert parsed.values("meta", "http-equiv") == ["Content-Security-Policy"]
    style = page.split("<style>")[1].split("</style>")[0]
    assert not re.search(r"url\(|@import|http", style)
    scripts = re.findall("<script[^>]*>(.*?)</script>", page, flags=re.DOTALL)
    assert scripts == SCRIPTS
    assert parsed.values("script", "src") == []
    digests = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (style, *SCRIPTS)
    )
    assert parsed.values("meta", "content")[0] == (
        "default-src 'none'; img-src data:; style-src 'sha256-{}'; script-src 'sha256-{}' "
        "'sha256-{}'; base-uri 'none'; form-action 'none'".format(*digests)
    )
    return parsed


def test_the_page_is_self_contained(report: ReportData, drawn: dict[str, Drawing]) -> None:
    page = render_page(report, drawn)
    assert page.startswith('<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n')
    parsed = check_page(page)
    assert len(parsed.labels) == len(FIGURES)
    for word in ("m.vae", "d.csv", "AUROC", "latent code", report.summary[0]):
        assert word in parsed.text.replace("\u00a0", " ")
    assert "created" not in parsed.text


@pytest.mark.parametrize("text", HOSTILE, ids=lambda t: ascii(t[:20]))
def test_hostile_text_stays_text(report: ReportData, drawn: dict[str, Drawing], text: str) -> None:
    row = replace(top_rows(report)[0], key=text, reasons=(Reason(text, 1.0, 2.0, 3.0),))
    listed = replace(report.listed[0], key=text, category=text)
    names = {"title": text, "model_name": text, "data_name": text, "created": text}
    shown = replace(with_rows(report, row), listed=(listed,), **names)
    page = render_page(replace(shown, provenance=Provenance(text, text)), drawn)
    page.encode("utf-8")
    parsed = check_page(page)
    assert len(page) < 400_000
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page)
    if text.isprintable() and len(text) <= 120:
        assert parsed.text.count(text) >= 6


def test_hostile_columns_pass_from_table_to_page() -> None:
    names = HOSTILE[:4]
    X = make_rows(60).set_axis(names, axis=1)
    detector = VAEDetector(max_steps=10, n_members=1, random_state=0, threshold=0.0).fit(X)
    parsed = check_page(render_page(build_report(detector, X, keys=HOSTILE * 4, top=15)))
    assert any(name in parsed.text for name in names)


def test_write_report_writes_the_page_and_its_figures(
    report: ReportData, drawn: dict[str, Drawing], tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "report"
    page = write_report(report, folder)
    assert page == folder / "report.html"
    assert {path.name for path in folder.iterdir()} == {
        "report.html",
        *(f"{name}.png" for name in FIGURES),
    }
    for name in FIGURES:
        content = (folder / f"{name}.png").read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        assert content == drawn[name].png  # drawn twice, equal to the last bit
    assert str(tmp_path) not in page.read_text("utf-8")
    assert page.stat().st_size < 2_000_000


def test_figures_of_an_earlier_report_are_removed(
    fitted: VAEDetector, report: ReportData, tmp_path: Path
) -> None:
    write_report(report, tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    write_report(replace(report, roc=None, precision_recall=None), tmp_path)
    assert not (tmp_path / "roc.png").exists()
    assert (tmp_path / "scores.png").exists()
    assert (tmp_path / "notes.txt").exists()


def test_a_directory_that_cannot_be_made_is_an_output_error(
    report: ReportData, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Cannot write"):
        write_report(report, tmp_path / "file" / "report")


def test_the_page_stays_small_for_many_rows(report: ReportData) -> None:
    scores, labels = binormal(300_000, 5)
    roc, precision_recall = curves(scores, labels)
    points, anomalous = np.random.RandomState(0).normal(size=(8000, 2)), np.arange(8000) < 4000
    reasons = tuple(Reason('"' * 500, 1e300, -1e300, 1.23456e-300) for _ in range(10))
    neighbors = (Neighbor(1e300, ("x" * 500,) * 10),) * 3
    rows = (replace(top_rows(report)[0], reasons=reasons, neighbors=neighbors) for _ in range(100))
    big = replace(
        with_rows(report, *rows),
        scores=ScoreDisplay.measure(scores, labels, threshold=1.0),
        latent=LatentDisplay(points, anomalous, axis_names=("a", "b"), n_rows=300_000),
        roc=roc,
        precision_recall=precision_recall,
    )
    assert len(render_page(big)) < 2_000_000


def test_drawing_ignores_and_keeps_the_settings_of_the_caller(
    report: ReportData, drawn: dict[str, Drawing]
) -> None:
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        assert draw_figures(report)["training"] == drawn["training"]
        assert mpl.rcParams["font.size"] == 30


def test_columns_are_described_with_their_missing_cells(tmp_path: Path) -> None:
    rng = np.random.RandomState(0)
    table = pd.DataFrame(
        {
            "flow": np.tile([1.0, 2.0, 3.0, 2.0], 100),
            "site": rng.choice(["a", "b", "c", "d", "e", "f", "<q>"], 400, p=[0.4, *[0.1] * 6]),
            "serial": [f"n{i}" for i in range(400)],
            "always": 7.0,
        }
    )
    detector = VAEDetector(max_steps=20, n_members=1, threshold=1.0).fit(table)
    table.loc[:99, "flow"] = np.nan
    section = build_report(detector, table).sections[0]
    flow, site, serial, always = section.columns
    assert (flow.role, flow.missing_in_training, flow.missing) == ("number", 0.0, 0.25)
    assert flow.content == "1 to 3, mean 2"
    share = percent((table["site"] == "a").mean())
    assert site.content.startswith(f"a {share}, ")
    assert site.content.endswith(" and 2 others")
    assert (serial.role, serial.missing) == ("left out", None)
    assert serial.content == "identifier: 400 different texts in 400 cells"
    assert always.content == "always 7"
    page = render_page(build_report(detector, table))
    assert "<q>" not in page
    assert "missing in training" in page


def test_columns_show_how_their_cells_are_distributed(tmp_path: Path) -> None:
    rng = np.random.RandomState(0)
    when = pd.Timestamp("2022-01-01") + pd.to_timedelta(rng.randint(0, 365, 400), unit="D")
    table = pd.DataFrame(
        {
            "flow": np.r_[0.0, 16.0, rng.uniform(1, 15, 398)],
            "site": np.repeat([*"abcdefghijklmnopqrstuvwxy"], 16),
            "when": when,
            "always": 7.0,
        }
    )
    detector = VAEDetector(max_steps=20, n_members=1, threshold=1.0, random_state=0).fit(table)
    here = table.iloc[:40].copy()
    here["flow"] = np.r_[[-1.0] * 4, [0.5] * 8, [15.5] * 8, [99.0] * 10, [np.nan] * 10]
    here["site"] = ["a"] * 10 + ["never"] * 30
    report = build_report(detector, here)
    flow, site, date, always = (column.distribution for column in report.sections[0].columns)
    expected = np.zeros(18)  # below the range of training, sixteen steps, above it
    expected[[0, 1, 16, 17]] = np.array([4, 8, 8, 10]) / 30
    np.testing.assert_allclose(flow.here, expected)
    assert flow.is_new == (True, *[False] * 16, True)
    assert sum(flow.training) == pytest.approx(1)
    assert flow.training[0] == flow.training[-1] == 0
    # The sixteen most frequent levels in training, and all others.
    np.testing.assert_allclose(site.here, [0.25, *[0.0] * 15, 0.75])
    np.testing.assert_allclose(site.training, [0.04] * 16 + [0.36])
    assert len(date.here) == 18
    assert (
        report.sections[0]
        .columns[2]
        .content.endswith(f"here {here['when'].min():%Y-%m-%d} to {here['when'].max():%Y-%m-%d}")
    )
    assert always is None

    page = render_page(report)
    # Below and above the range: bars of another color, as high as they are frequent.
    assert 'class="new" d="M1 20v-8h2v8zM86 20v-20h2v20z"' in page
    assert flow.known_path == "M6 20v-16h2v16zM81 20v-16h2v16z"


def test_a_new_level_is_drawn_as_new() -> None:
    found = of_levels(np.array([0.0, 2.0, 2.0]), (3, 1), n_others=0)
    assert found.is_new == (False, False, True)
    assert found.new_path == "M11 20v-17.8h2v17.8z"
    assert of_levels(np.array([2.0]), (3, 1), n_others=1).is_new == (False, False, False)
    nothing = of_levels(np.array([np.nan]), (3, 1), n_others=0)
    assert nothing.here == (0.0, 0.0, 0.0)
    assert nothing.known_path == ""


def test_distributions_of_many_columns_keep_the_page_small() -> None:
    rows = np.random.RandomState(0).normal(size=(200, 1000))
    detector = VAEDetector(max_steps=5, n_members=1, threshold=1.0, random_state=0).fit(rows)
    report = build_report(detector, rows)
    drawn = [one.distribution is not None for one in report.sections[0].columns]
    assert drawn == [True] * MAX_DISTRIBUTIONS + [False] * (1000 - MAX_DISTRIBUTIONS)
    assert len(render_page(report)) < 1_000_000


def test_shares_are_rounded_as_the_script_of_the_page_rounds_them() -> None:
    # Half to even, of the shortest decimal notation: 1.15 lies below 1.15 in binary.
    assert [percent(k / 2000) for k in (23, 25, 1)] == ["1.2 %", "1.2 %", "0.05 %"]
    assert nats(0.25) == "0.2"
    assert nats(1234.75) == "1,234.8"
