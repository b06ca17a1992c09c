"""Evaluation of time series: labels, metrics by hand, the page, and the command."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from accessibility import check_page, needs_axe
from browser import CHROMIUM, Browser
from sklearn.metrics import average_precision_score

from vae_anomaly import DataError, ParameterError, SeriesDetector, save
from vae_anomaly.data.series.forms import read_series
from vae_anomaly.data.series.series import Gap, Series, SeriesSet
from vae_anomaly.displays.series import SeriesPlot, envelope
from vae_anomaly.metrics.vus import vus_pr
from vae_anomaly.pipeline.series.evaluation import (
    SeriesEvaluation,
    evaluate_series,
    evaluate_series_file,
    series_metrics,
)
from vae_anomaly.pipeline.series.labels import StepLabels, labels_of_column, labels_of_windows
from vae_anomaly.report import render
from vae_anomaly.report.formatting import multiple, number
from vae_anomaly.report.series.page import (
    SeriesReport,
    build_series_report,
    write_series_report,
)
from vae_anomaly.report.series.words import series_summary
from vae_anomaly.report.series.zoom import zoom_data
from vae_anomaly.series.model import Thresholds
from vae_anomaly.storage.container import open_container

# Keras' own way to pickle a model calls NumPy as older versions of it wished.
pytestmark = pytest.mark.filterwarnings("ignore:.*__array__ implementation:DeprecationWarning")

PERIOD, HOUR = 40, 3600 * 10**9
FAULTS = (slice(300, 330), slice(600, 601), slice(800, 805))
"""Time steps of a flat channel, of a spike, and of nothing that can be seen."""


def make_series(n: int, seed: int) -> pd.DataFrame:
    """Return two noisy waves."""
    rng = np.random.RandomState(seed)
    phase = 2 * np.pi * np.arange(n) / PERIOD
    waves = np.column_stack([np.sin(phase), np.cos(phase)]) + 0.1 * rng.normal(size=(n, 2))
    index = pd.date_range("2026-01-01", periods=n, freq="5min", tz="UTC", name="time")
    return pd.DataFrame(waves, index=index, columns=["sine", "cosine"])


def make_faulty() -> pd.DataFrame:
    """Return series with faults, their labels, a missing row and a gap."""
    series = make_series(1000, 1)
    series.iloc[FAULTS[0], 0] = 0.0
    series.iloc[FAULTS[1], 1] = 6.0
    series["state"] = "OK"
    for fault in FAULTS:
        series.iloc[fault, 2] = "broken"
    return series.drop(series.index[[315, *range(700, 720)]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, and a file of labelled series."""
    folder = tmp_path_factory.mktemp("series")
    detector = SeriesDetector(window=PERIOD, max_steps=100, random_state=0)
    save(detector.fit(make_series(3000, 0)), folder / "m.vae")
    make_faulty().to_csv(folder / "faulty.csv")
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> SeriesEvaluation:
    file = open_container(str(folder / "m.vae"))
    return evaluate_series_file(file, str(folder / "faulty.csv"), label_column="state")


@pytest.fixture(scope="module")
def report(found: SeriesEvaluation) -> SeriesReport:
    return build_series_report(found, model_name="m.vae", data_name="faulty.csv", title="Pump")


def flags(n: int, *at: int) -> np.ndarray:
    return np.isin(np.arange(n), at)


def series_of(name: str, n: int, *starts: int) -> Series:
    return Series(
        name=name,
        times=np.arange(n) * HOUR,
        values=np.zeros((n, 1)),
        measured=np.ones(n, dtype=bool),
        rows=np.arange(n),
        starts=(0, *starts),
    )


# ------------------------------------------------------------------------------- metrics


def test_metrics_are_those_computed_by_hand() -> None:
    """Two series; an event goes on in a gap of two steps, and a false alarm is in the other."""
    data = SeriesSet(
        series=(series_of("a", 10, 5), series_of("b", 4)),
        channels=("flow",),
        step=HOUR,
        n_rows=14,
        status=("",) * 14,
        points=np.arange(14),
        gaps=(Gap("a", 4 * HOUR, 7 * HOUR, 2),),
    )
    totals = [np.full(10, 0.1), np.full(4, 0.1)]
    totals[0][[4, 5]], totals[1][0] = (0.5, 2.0), 1.5
    labels = [flags(10, 4, 5), flags(4)]
    alarms = [flags(10, 5), flags(4, 0)]
    metrics = series_metrics(data, totals, labels, alarms, window=0)
    # From the top: labelled, normal, labelled.
    assert metrics.average_precision == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.vus_pr is not None
    assert metrics.vus_pr.value == pytest.approx((1 + 2 / 3) / 2)  # one event, no buffer
    assert metrics.labelled_share == pytest.approx(2 / 14)
    found = metrics.alarms
    assert (found.n_events, found.n_detected, found.n_alarms, found.n_false) == (1, 1, 2, 1)
    assert metrics.delay == 3  # the step after the first label, and the two missing ones
    assert metrics.false_per_week == pytest.approx(7 * 24 / 12)
    assert found.share_in_alarm == pytest.approx(2 / 14)


def test_buffers_do_not_cross_from_series_to_series() -> None:
    pair = (series_of("a", 30), series_of("b", 30))
    data = SeriesSet(pair, ("flow",), HOUR, 60, ("",) * 60, np.arange(60))
    totals = list(np.random.RandomState(0).uniform(size=(2, 30)))
    labels, alarms = [flags(30, 28, 29), flags(30)], [flags(30), flags(30)]
    metrics = series_metrics(data, totals, labels, alarms, window=8)
    # The same with the second series long after the first.
    far = np.concatenate([totals[0], np.full(500, np.nan), totals[1]])
    expected = vus_pr(flags(560, 28, 29), far, 8)
    assert metrics.vus_pr is not None
    assert expected is not None
    assert metrics.vus_pr.value == pytest.approx(expected.value)
    assert metrics.alarms.recall is not None
    assert metrics.alarms.recall.value == 0.0
    assert metrics.delay is None


def test_labels_are_compared_with_events(found: SeriesEvaluation) -> None:
    metrics, total = found.metrics, found.totals[0]
    assert metrics is not None
    assert found.labels is not None
    label, series = found.labels[0], found.data.series[0]
    assert len(total) == 980  # the missing row is bridged, the gap is not
    assert label[300:330].all()  # also where the row is missing
    assert label.sum() == 36
    scored = series.measured & np.isfinite(total)
    assert not scored[315]
    assert found.n_scored == scored.sum() == 979
    assert found.n_flagged == (total[scored] > 1).sum()
    expected = average_precision_score(label[scored], total[scored])
    assert metrics.average_precision == pytest.approx(expected)
    events = [one.event for one in found.events]
    spans = [(300, 330), (600, 601), (780, 785)]
    hit = [[e for e in events if e.start < b and e.stop > a] for a, b in spans]
    assert metrics.alarms.n_events == 3
    assert metrics.alarms.n_detected == sum(map(bool, hit))
    assert hit[0]
    assert hit[1]
    false = [e for e in events if not any(e.start < b and e.stop > a for a, b in spans)]
    assert metrics.alarms.n_false == len(false)
    assert [one.is_labelled for one in found.events] == [e not in false for e in events]
    for one, of in zip(found.labelled, hit, strict=True):
        number = None if not of else events.index(of[0]) + 1
        assert one.event_id == number
    spike = next(one for one in found.events if one.event.start <= 600 < one.event.stop)
    assert spike.event.channels[0] == "cosine"


def test_rows_without_a_score_are_counted_by_reason(folder: Path) -> None:
    series = make_series(200, 2)
    series.iloc[5] = np.nan
    series = series.drop(series.index[range(180, 190)])
    series.to_csv(folder / "short.csv")
    file = open_container(str(folder / "m.vae"))
    found = evaluate_series_file(file, str(folder / "short.csv"))
    assert found.unscored == {"no window without a break": 10, "all values missing": 1}
    assert found.metrics is None
    sentences = series_summary(found).sentences
    assert (
        "11 of 190 rows have no score: 10 (no window without a break), 1 (all values missing)."
        in sentences
    )
    assert sentences[-1] == "Without labels, recall, precision and VUS-PR are not known."


def test_an_evaluation_without_events_and_labels_is_reported(
    found: SeriesEvaluation, tmp_path: Path
) -> None:
    fitted = found.detector
    model = replace(fitted.model_, thresholds=Thresholds(1e6, 1e6, 1e6))
    calm = SeriesDetector.from_model(model, fitted.promise_, fitted.step_)
    empty = evaluate_series(calm, calm.read(make_series(100, 1)))
    report = build_series_report(empty, model_name="m", data_name="d")
    assert report.summary[0] == "0 of 100 time steps are flagged (0 %), in 0 events."
    assert report.details == report.events == report.metrics == []
    page = page_of(report, tmp_path)
    assert "No time step is flagged." in page
    assert "Labels against events" not in page


def test_a_constant_channel_that_changes_is_said_to_do_so() -> None:
    normal = make_series(1000, 0).assign(valve=1.0)
    fitted = SeriesDetector(window=PERIOD, max_steps=20, random_state=0).fit(normal)
    model = replace(fitted.model_, thresholds=Thresholds(1e6, 1e6))  # runs alone are flagged
    detector = SeriesDetector.from_model(model, fitted.promise_, fitted.step_)
    normal.iloc[500:520, 2] = 0.0
    verdict = " ".join(series_summary(evaluate_series(detector, detector.read(normal))).sentences)
    assert "times the threshold: another value than the only one in training, above" in verdict
    assert "above all in valve, 0 at the peak where 1 was expected." in verdict
    normal.iloc[500:520, 2] = 1.0
    normal.iloc[500:515, 1] = normal.iloc[500, 1]
    verdict = " ".join(series_summary(evaluate_series(detector, detector.read(normal))).sentences)
    assert "times the threshold: a value that is repeated for too long, above" in verdict


# -------------------------------------------------------------------------------- labels


def windows_file(tmp_path: Path, name: str, content: object) -> str:
    path = tmp_path / name
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(text.encode(errors="surrogateescape"))
    return str(path)


START, END = "2026-01-01 00:10:00", "2026-01-01 00:20:00"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("w.csv", f"start,end\n{START},{END}\n"),
        ("w.csv", "start;end\n2026-01-01T01:10+01:00;2026-01-01T01:20+01:00\n"),
        ("w.json", [[START, END]]),
        ("w.json", [{"start": START, "end": END}]),
        ("w.json", [[1767226200, 1767226800]]),
        ("nab.json", {"real/faulty.csv": [[f"{START}.000000", f"{END}.000000"]], "real/b.csv": []}),
    ],
)
def test_windows_label_time_steps(tmp_path: Path, name: str, content: object) -> None:
    data = read_series(make_series(6, 0))
    path = windows_file(tmp_path, name, content)
    found = labels_of_windows(path, data, data_name="faulty.csv")
    assert found.of_series[0].tolist() == [False, False, True, True, True, False]
    assert found.note == "labels: 1 window"


def test_windows_are_in_the_time_zone_of_the_data(tmp_path: Path) -> None:
    data = read_series(make_series(24, 0))
    path = windows_file(tmp_path, "w.json", [["2026-01-01 02:00", "2026-01-01 02:05"]])
    found = labels_of_windows(path, data, data_name="f", timezone="Europe/Berlin")
    assert np.flatnonzero(found.of_series[0]).tolist() == [12, 13]


def test_windows_belong_to_series_and_may_be_row_numbers(tmp_path: Path) -> None:
    data = read_series({"a": np.arange(6.0)[:, None], "b": np.arange(4.0)[:, None]})
    path = windows_file(tmp_path, "w.csv", "series,start,end\na,1,2\nb,9,9\n")
    found = labels_of_windows(path, data, data_name="f")
    pairs = zip(data.series, found.of_series, strict=True)
    at = [one.rows[flagged].tolist() for one, flagged in pairs]
    assert at == [[1, 2], [9]]
    path = windows_file(tmp_path, "w.csv", "start,end\n0,0\n50,60\n")
    note = labels_of_windows(path, data, data_name="f").note
    assert note == "labels: 2 windows, of which 1 is outside of the data"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "w.txt is empty. Expected labels."),
        ("from,to\n1,2\n", "w.txt has the columns 'from', 'to'. Expected a CSV file with the"),
        ("[[1, 2, 3]]", r"w.txt has the entry \[1, 2, 3\]. Expected a CSV file with the columns"),
        ("[[", "w.txt is not sound JSON: Expecting value"),
        ("\udcff", "w.txt is not text in UTF-8. Save it as UTF-8."),
        ('{"other.csv": []}', "the labels must have exactly one entry for 'faulty.csv'"),
        ("start,end\n2026-01-01,\n", "w.txt, window 1: expected a start and an end, got"),
        ("start,end\nsoon,later\n", "w.txt, window 1, column 'start, end': expected a time"),
        ("start,end\n2026-01-02,2026-01-01\n", "a window must end after its start"),
        ("series,start,end\nx,2026-01-01,2026-01-01\n", "labels the series 'x', which the data"),
    ],
)
def test_unsound_windows_are_refused(tmp_path: Path, content: str, message: str) -> None:
    data = read_series(make_series(6, 0))
    path = windows_file(tmp_path, "w.txt", content)
    with pytest.raises(DataError, match=message):
        labels_of_windows(path, data, data_name="faulty.csv")


def test_labels_of_a_column_are_those_of_its_rows(folder: Path, tmp_path: Path) -> None:
    frame = make_faulty()
    frame.reset_index().to_parquet(tmp_path / "f.parquet")
    data = read_series(str(folder / "faulty.csv"), channels=("sine", "cosine"))
    csv = labels_of_column(str(folder / "faulty.csv"), "state", data)
    parquet = labels_of_column(str(tmp_path / "f.parquet"), "state", data, ["OK"])
    np.testing.assert_array_equal(csv.of_series[0], parquet.of_series[0])
    assert csv.note == "labels: 'OK' normal, 944 rows; 'broken' anomalous, 35 rows"
    with pytest.raises(DataError, match="no column 'fault' of labels"):
        labels_of_column(str(folder / "faulty.csv"), "fault", data)
    with pytest.raises(DataError, match="The label column 'sine' is a channel that the model was"):
        labels_of_column(str(folder / "faulty.csv"), "sine", data)


def test_labels_are_given_once(folder: Path) -> None:
    file, path = open_container(str(folder / "m.vae")), str(folder / "faulty.csv")
    with pytest.raises(ParameterError, match="--label-column and --labels are both labels"):
        evaluate_series_file(file, path, label_column="state", labels=path)
    with pytest.raises(ParameterError, match="--normal-label needs --label-column"):
        evaluate_series_file(file, path, normal_label=("OK",))


# --------------------------------------------------------------------------------- page


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
        if self.cdata_elem is None:  # the style is not text
            self.text += f"{data} "


def page_of(report: SeriesReport, folder: Path) -> str:
    return write_series_report(report, folder).read_text(encoding="utf-8")


def test_the_page_is_self_contained(report: SeriesReport, tmp_path: Path) -> None:
    page = page_of(report, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.html"]
    assert len(page) < 1_000_000
    parsed = Page(page)
    style = page.split("<style>")[1].split("</style>")[0]
    scripts = re.findall("<script[^>]*>(.*?)</script>", page, flags=re.DOTALL)
    files = ("listing.js", "zoom.js")
    assert scripts == [(render.TEMPLATES / name).read_text("utf-8") for name in files]
    digests = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (style, *scripts)
    ]
    assert (
        "default-src 'none'; img-src data:; style-src 'sha256-{}'; script-src 'sha256-{}' "
        "'sha256-{}';".format(*digests)
        in page
    )
    assert not re.search(r"url\(|@import|http:", style)
    names = {name for _, name, _ in parsed.attributes}
    assert not {name for name in names if name.startswith("on") or name == "style"}
    links = [value for _, name, value in parsed.attributes if name in ("href", "src")]
    assert links
    assert all(value.startswith(("#", "data:image/")) for value in links)
    assert len(re.findall('<svg [^>]*class="plot broad" role="img" aria-label="', page)) == len(
        report.overviews + report.details
    )


def test_the_page_holds_the_time_steps_that_it_zooms_into(found: SeriesEvaluation) -> None:
    data = json.loads(build_series_report(found, model_name="m", data_name="d").overviews[0].zoom)
    series = found.data.series[0]
    assert series.times is not None
    assert data["start"] == series.times[0] / 1e6
    assert data["end"] == series.times[-1] / 1e6
    assert data["columns"] == 1000  # five minutes each, with those of the gap
    assert [row["name"] for row in data["rows"]] == ["sine", "cosine", "anomaly score"]
    column = np.rint((series.times - series.times[0]) / (300 * 10**9)).astype(int)
    for row, values in zip(data["rows"], series.values.T, strict=False):
        levels = np.frombuffer(base64.b64decode(row["least"]), "<u2")
        assert "most" not in row  # one time step in each column
        unit = (row["high"] - row["low"]) / 65_534
        known = np.isfinite(values)
        near = row["low"] + unit * levels[column[known]]
        np.testing.assert_allclose(near, values[known], atol=unit)
        assert (levels == 65_535).sum() == 1000 - known.sum()
    assert len(data["events"]) == len(found.events)
    assert len(data["gaps"]) == 1


def test_long_series_keep_every_spike_in_their_columns() -> None:
    values = np.random.RandomState(0).normal(size=(100_000, 1))
    values[77_777] = 50.0
    plot = SeriesPlot(
        x=np.arange(100_000.0),
        is_time=False,
        values=values,
        names=("a",),
        scores=np.linspace(0.0, np.e, 100_000),
        breaks=(),
        events=((5, 9),),
        labelled=(),
        has_labels=False,
    )
    data = json.loads(zoom_data(plot))
    row, score = data["rows"]
    assert row["high"] == 50.0
    most = np.frombuffer(base64.b64decode(row["most"]), "<u2")
    assert len(most) == data["columns"] == 4000
    assert (most == 65_534).sum() == 1
    assert abs(most.argmax() - 77_777 / 100_000 * 4000) < 2
    assert score["high"] == pytest.approx(2.0)  # 1 + log(e)
    assert data["events"] == [[5.0, 8.0]]
    assert len(zoom_data(plot)) < 70_000


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_the_page_zooms_with_keys_and_mouse(report: SeriesReport, tmp_path: Path) -> None:
    page_of(report, tmp_path / "out")
    with Browser(tmp_path / "profile") as browser:
        browser.show(1280)
        browser.open(tmp_path / "out" / "report.html")
        shown = "document.querySelector('[data-zoom] [role=status]').textContent"
        lines = "document.querySelectorAll('[data-zoom] .frame > svg:not([hidden])').length"
        assert browser.value(shown) == "the whole series"
        browser.click("[data-zoom] [data-action=in]")
        assert browser.value(shown) == "2026-01-01 20:48 to 2026-01-03 14:26"
        browser.value("document.querySelector('[data-zoom] .frame').focus()")
        browser.press("ArrowRight")
        assert browser.value(shown) == "2026-01-02 17:37 to 2026-01-04 11:15"
        assert browser.value(lines) == 1
        browser.press("Home")
        assert browser.value(shown) == "the whole series"
        choice = "document.querySelector('[data-zoom] select')"
        browser.value(f"{choice}.value = '0'; {choice}.dispatchEvent(new Event('change'))")
        assert browser.value(shown).startswith("2026-01-0")
        drag = (
            "(() => {const box = document.querySelector('[data-zoom] .frame > svg:not([hidden])')"
            ".getBoundingClientRect(); const at = (name, share) => new PointerEvent(name, {bubbles:"
            " true, button: 0, clientX: box.left + share * box.width, clientY: box.top + 40});"
            "const frame = document.querySelector('[data-zoom] .frame');"
            "frame.dispatchEvent(at('pointerdown', 0.25)); window.dispatchEvent(at('pointermove',"
            " 0.5)); window.dispatchEvent(at('pointerup', 0.75));})()"
        )
        before = browser.value(shown)
        browser.value(drag)
        assert browser.value(shown) != before
        assert browser.complaints == []


@needs_axe
def test_the_page_is_accessible(report: SeriesReport, tmp_path: Path) -> None:
    page_of(report, tmp_path / "out")
    check_page(tmp_path / "out" / "report.html", tmp_path / "profile")


def test_the_page_shows_what_was_found(
    report: SeriesReport, found: SeriesEvaluation, tmp_path: Path
) -> None:
    text = " ".join(Page(page_of(report, tmp_path)).text.replace("\u00a0", " ").split())
    assert "Pump model m.vae data faulty.csv 980 time steps of 2 channels" in text
    for sentence in report.summary:
        assert sentence in text
    n_flagged, n_events = found.n_flagged, len(found.events)
    assert report.summary[0].startswith(f"{n_flagged} of 979 time steps are flagged (")
    assert report.summary[0].endswith(f"in {n_events} events.")
    false, first = report.summary[1:3]
    accepted = round(found.detector.promise_.budget.rate(found.n_scored))
    assert false == f"At most {accepted} of these events are expected to be false."
    highest = max(found.events, key=lambda one: one.event.score)
    assert f"{multiple(highest.event.score)} times the threshold: a stretch unlike all" in first
    assert (
        f"{number(highest.value, 4)} at the peak where {number(highest.expected, 4)} was" in first
    )
    promise = report.parts.threshold[0]
    assert "on average, if the coming time is like the calibration part" in promise
    assert re.search(r"of 3 labelled events are detected: recall .* %\), median delay", text)
    budget = found.detector.promise_.budget
    promised = f"{budget.episodes * 7 * 24 * 12 / budget.steps:.3g}"
    assert f"a week; promised are at most {promised}. Alarms last" in text
    assert "VUS-PR is 0." in text
    assert "with buffers up to 3.33 hours" in text
    row = next(row for row in report.events if row.channels.startswith("cosine"))
    for cell in (row.start, row.end, row.peak, row.score, row.channels):
        assert cell in text
    assert "2026-01-03 10:15:00Z 2026-01-03 12:00:00Z 20" in text  # the gap
    assert "window 40 time steps" in text
    assert "networks dense" in text
    assert "gradient steps 100" in text
    assert len(report.details) == min(n_events, 10)
    for word in ("F1", "affiliation", "adjusted"):
        assert word not in text


def test_names_from_outside_stay_text(found: SeriesEvaluation, tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>\u202e$\\frac{$"
    report = build_series_report(found, model_name=hostile, data_name=hostile, title=hostile)
    page = page_of(report, tmp_path)
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;" in page


def test_a_long_series_of_many_channels_keeps_the_page_small(tmp_path: Path) -> None:
    """The curves are reduced: white noise is the worst that can be drawn."""
    rng = np.random.RandomState(0)
    names = [f"sensor_{i}" for i in range(9)]
    detector = SeriesDetector(window=8, max_steps=5, random_state=0)
    detector.fit(pd.DataFrame(rng.normal(size=(2000, 9)), columns=names))
    values = rng.normal(size=(30_000, 9))
    values[5000:5100] += 9
    found = evaluate_series(detector, detector.read(pd.DataFrame(values, columns=names)))
    report = build_series_report(found, model_name="m", data_name="d", top=100)
    assert len(page_of(report, tmp_path)) < 1_000_000
    assert "The 8 channels that the events name most of 9." in report.overviews[0].caption
    assert report.events[0].start.startswith("row ")


def test_several_series_are_named(found: SeriesEvaluation, tmp_path: Path) -> None:
    calm, faulty = make_series(200, 3), make_faulty().drop(columns="state").iloc[200:400]
    data = read_series({"calm": calm, "faulty": faulty})
    labels = [flags(len(one.values), *range(100, 130)) for one in data.series]
    labels[0][:] = False
    both = evaluate_series(found.detector, data, StepLabels(labels, "labels: by hand"))
    assert [one.series for one in both.labelled] == [1]
    assert both.metrics is not None
    assert both.metrics.alarms.n_detected == 1
    report = build_series_report(both, model_name="m", data_name="d")
    assert report.has_names
    assert report.size == "401 time steps of 2 channels, series 'calm', 'faulty'"
    assert report.overviews[0].name == "faulty"  # the most anomalous one is first
    assert {row.series for row in report.events} <= {"calm", "faulty"}
    text = Page(page_of(report, tmp_path)).text
    assert re.search(r"Event \d+ in faulty", text)


def test_reduced_lines_keep_every_spike() -> None:
    x, y = np.arange(10_000.0), np.zeros(10_000)
    y[[1234, 8765]] = 5.0, -7.0
    y[4000:6000] = np.nan
    line = envelope(x, y, breaks=[3000], columns=100)
    assert len(line) <= 2 * 101 + 3
    assert (np.nanmax(line[:, 1]), np.nanmin(line[:, 1])) == (5.0, -7.0)
    assert abs(line[np.nanargmax(line[:, 1]), 0] - 1234) <= 100
    assert np.isnan(line[(line[:, 0] > 4100) & (line[:, 0] < 5900), 1]).all()
    np.testing.assert_array_equal(envelope(x[:9], y[:9]), np.column_stack([x[:9], y[:9]]))


# ------------------------------------------------------------------------------- command


def test_the_command_writes_a_page_and_prints_the_summary(
    folder: Path,
    report: SeriesReport,
    tmp_path: Path,
    vae: Callable[..., tuple[int, str, str]],
) -> None:
    model, data, out = folder / "m.vae", folder / "faulty.csv", tmp_path / "out"
    code, printed, err = vae("evaluate", model, data, "-o", out, "--label-column", "state")
    assert (code, printed) == (0, ""), err
    for sentence in report.summary:
        assert sentence in err
    assert "labels: 'OK' normal, 944 rows; 'broken' anomalous, 35 rows" in err
    assert (out / "report.html").is_file()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--cost-miss", "2"), 2, "--cost-miss is not for time series, as in "),
        (("--label-column", "fault"), 3, "has no column 'fault' of labels."),
        (("--labels", "absent.csv"), 5, "absent.csv"),
    ],
)
def test_the_command_refuses_what_does_not_fit(
    words: tuple[str, ...],
    code: int,
    message: str,
    folder: Path,
    tmp_path: Path,
    vae: Callable[..., tuple[int, str, str]],
) -> None:
    model, data = folder / "m.vae", folder / "faulty.csv"
    found, _, err = vae("evaluate", model, data, "-o", tmp_path / "out", *words)
    assert found == code
    assert message in err
    assert not (tmp_path / "out").exists()
