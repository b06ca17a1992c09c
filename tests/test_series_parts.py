"""Time series part by part: grids, scores, events and results are those of the whole."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from vae_anomaly import DataError, SeriesDetector
from vae_anomaly.cli import run
from vae_anomaly.data.series.forms import read_series
from vae_anomaly.data.series.notes import merged
from vae_anomaly.data.series.parts import Part, WholeNeeded, joined, parts_of_file
from vae_anomaly.data.series.segments import Segment, in_memory, stored
from vae_anomaly.data.series.series import SeriesSet
from vae_anomaly.pipeline.series.evaluation import evaluate_series_file
from vae_anomaly.pipeline.series.fit import training_series
from vae_anomaly.pipeline.series.score import score_series_file
from vae_anomaly.series import fitting
from vae_anomaly.series.events import EventStream, events_of
from vae_anomaly.series.file import save
from vae_anomaly.series.fitting import WindowSettings
from vae_anomaly.series.model import StepScores, step_errors
from vae_anomaly.series.stream import SegmentScorer, expected_steps
from vae_anomaly.storage.container import open_container

Array = NDArray[np.float64]

STEP = 10 * 10**9
CHANNELS = ("a", "b", "c")
BLOCK_BYTES = 40_000


def waves(n: int, seed: int) -> Array:
    """Return three noisy waves, of which one has changes only now and then."""
    rng = np.random.RandomState(seed)
    phase = 2 * np.pi * np.arange(n)[:, None] / np.array([40, 25, 60])
    values = np.sin(phase) + 0.1 * rng.normal(size=(n, 3))
    values[:, 2] = np.round(values[:, 2])
    return values


def frame_of(n: int, seed: int, unit: str = "pump", jitter: int = 0) -> pd.DataFrame:
    """Return a series with times in milliseconds."""
    rng = np.random.RandomState(seed)
    times = 1_700_000_000_000 + 10_000 * np.arange(n) + rng.randint(-jitter, jitter + 1, n)
    frame = pd.DataFrame(waves(n, seed), columns=list(CHANNELS)).round(4)
    return frame.assign(unit=unit, time=times)[["unit", "time", *CHANNELS]]


def untidy(n: int, seed: int, unit: str) -> pd.DataFrame:
    """Return a series with late rows, gaps, missing cells, rows without values, and repeats."""
    rng = np.random.RandomState(seed)
    frame = frame_of(n, seed, unit, jitter=1500)
    frame.loc[50:60, list(CHANNELS)] = np.nan
    frame.loc[::37, "b"] = np.nan
    frame.loc[n // 5 : n // 5 + 60, "a"] = np.nan
    frame.loc[n // 4 : n // 4 + 30, "c"] = 7.0
    kept = np.ones(n, dtype=bool)
    kept[rng.choice(n, n // 50)] = False
    kept[n // 2 : n // 2 + 40] = False
    kept[n // 3 : n // 3 + 8] = False
    frame = frame[kept]
    repeated = frame.iloc[rng.choice(len(frame), 20)]
    return pd.concat([frame, repeated]).sort_values("time", kind="stable")


@pytest.fixture(scope="module")
def detector() -> SeriesDetector:
    """A fitted detector; do not change it."""
    frame = frame_of(2000, 0).drop(columns="unit")
    frame["time"] = pd.to_datetime(frame["time"], unit="ms", utc=True)
    settings = {"window": 20, "max_steps": 50, "random_state": 0}
    return SeriesDetector(**settings).fit(read_series(frame, time_column="time"))


@pytest.fixture(scope="module")
def model(detector: SeriesDetector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model file of the detector, for files with a column of units."""
    path = tmp_path_factory.mktemp("model") / "m.vae"
    save(detector, path, {"time_column": "time", "series_column": "unit"})
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of untidy series, in three forms."""
    folder = tmp_path_factory.mktemp("files")
    whole = pd.concat([untidy(3000, 1, "x"), untidy(2200, 2, "y"), untidy(150, 3, "z")])
    whole.to_csv(folder / "rows.csv", index=False)
    whole.to_parquet(folder / "rows.parquet", index=False)
    with gzip.open(folder / "rows.csv.gz", "wb") as packed:
        packed.write((folder / "rows.csv").read_bytes())
    return folder


# -------------------------------------------------------------------------------- scores


@pytest.mark.parametrize("causal", [False, True])
def test_scores_of_parts_are_those_of_the_whole(causal: bool) -> None:
    settings = {"window": 20, "max_steps": 20, "random_state": 0, "causal": causal}
    model = SeriesDetector(**settings).fit(waves(1500, 0)).model_
    values = waves(5000, 1)
    values[1000:1100, 0] = 0.5  # stuck
    values[200:2600, 1] = np.nan  # longer than values stand in for others
    values[4900:, 2] = np.nan
    values[np.random.RandomState(0).uniform(size=values.shape) < 0.01] = np.nan
    whole = model.score(values)
    for cuts in ([0, 5000], [0, 10, 1050, 1051, 5000], range(0, 5001, 250)):
        scorer = SegmentScorer(model, max_steps=200)
        found = [
            scored.scores
            for start, stop in pairwise(cuts)
            for scored in scorer.add(values[start:stop])
        ]
        assert cuts[1] == 5000 or len(found) > 5  # scores do not wait for the end
        found += [scored.scores for scored in scorer.finish()]
        parts = [one for one in found if one is not None]
        for name in StepScores._fields:
            joined = np.concatenate([getattr(one, name) for one in parts])
            np.testing.assert_array_equal(joined, getattr(whole, name))


def test_a_segment_shorter_than_a_window_has_no_scores(detector: SeriesDetector) -> None:
    scorer = SegmentScorer(detector.model_)
    assert not list(scorer.add(waves(19, 0)))
    (rest,) = scorer.finish()
    assert len(rest.values) == 19
    assert rest.scores is None


@pytest.mark.parametrize(("min_steps", "cool_down"), [(1, 1), (1, 7), (3, 4), (5, 40)])
def test_events_of_parts_are_those_of_the_whole(min_steps: int, cool_down: int) -> None:
    rng = np.random.RandomState(0)
    n = 600
    total = np.where(rng.uniform(size=n) < 0.15, 1.0 + rng.uniform(size=n), 0.5)
    total[:10] = np.nan
    shares = total[:, None] * rng.dirichlet(np.ones(3), size=n)
    scores = StepScores(np.zeros((n, 3)), total, rng.randint(0, 3, n), shares, shares)
    whole = list(events_of(scores, CHANNELS, min_steps, cool_down))
    times = np.arange(n) * 7 + 3
    for size in (1, 13, 600):
        stream = EventStream(CHANNELS, min_steps, cool_down)
        found = []
        for start in range(0, n, size):
            part = slice(start, start + size)
            found += list(stream.add(scores.part(part), times[part]))
        found += list(stream.finish())
        assert [one.event for one in found] == whole
        for event, *moments in found:
            assert moments == [times[i] for i in (event.start, event.stop - 1, event.peak)]


# --------------------------------------------------------------------------------- grids


def flat(sets: list[SeriesSet], of: Callable[[SeriesSet], Iterator[Array]]) -> Array:
    return np.concatenate([array for one in sets for array in of(one)])


def check_joined(found: SeriesSet, whole: SeriesSet) -> None:
    """Check that series are those of a whole file, but for the text of times."""
    for name in ("channels", "step", "n_rows", "status", "gaps", "notes", "goes_on"):
        assert getattr(found, name) == getattr(whole, name), name
    np.testing.assert_array_equal(found.points, whole.points)
    for own, other in zip(found.series, whole.series, strict=True):
        assert (own.name, own.starts, own.max_gap) == (other.name, other.starts, other.max_gap)
        for name in ("values", "times", "measured", "rows"):
            np.testing.assert_array_equal(getattr(own, name), getattr(other, name))


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "rows.parquet"])
@pytest.mark.parametrize("block_bytes", [BLOCK_BYTES, 90_000])
def test_grids_of_parts_are_those_of_the_whole(files: Path, name: str, block_bytes: int) -> None:
    reading = {"time_column": "time", "series_column": "unit", "channels": CHANNELS, "step": STEP}
    whole = read_series(files / name, **reading)
    parts = parts_of_file(files / name, block_bytes=block_bytes, **reading)
    assert parts is not None
    found = list(parts)
    assert len(found) > 1
    sets = [part.data for part in found]
    of_whole = flat([whole], lambda one: (series.values for series in one.series))
    of_parts = flat(sets, lambda one: (series.values for series in one.series))
    np.testing.assert_array_equal(of_parts, of_whole)
    np.testing.assert_array_equal(
        flat(sets, lambda one: (series.times for series in one.series if series.times is not None)),
        flat(
            [whole], lambda one: (series.times for series in one.series if series.times is not None)
        ),
    )
    check_joined(joined(found), whole)
    check_joined(joined([Part(whole, 0)]), whole)
    assert [part.n_before for part in found] == list(
        np.cumsum([0, *(one.n_rows for one in sets[:-1])])
    )


def test_rows_without_times_go_on(tmp_path: Path) -> None:
    frame = pd.DataFrame(waves(4000, 0), columns=list(CHANNELS))
    frame.iloc[1500:1520] = np.nan
    frame.to_csv(tmp_path / "rows.csv", index=False)
    reading = {"channels": CHANNELS, "step": None}
    whole = read_series(tmp_path / "rows.csv", **reading)
    parts = parts_of_file(tmp_path / "rows.csv", block_bytes=BLOCK_BYTES, **reading)
    assert parts is not None
    sets = [part.data for part in parts]
    assert len(sets) > 3
    assert sum((one.gaps for one in sets), ()) == whole.gaps
    np.testing.assert_array_equal(
        flat(sets, lambda one: (series.rows for series in one.series)), whole.series[0].rows
    )


def test_small_files_and_other_forms_are_read_as_a_whole(files: Path, tmp_path: Path) -> None:
    reading = {"channels": CHANNELS, "step": STEP}
    assert parts_of_file(files / "rows.csv", **reading) is None
    long = {"metric_column": "metric", "value_column": "value"}
    assert parts_of_file(files / "rows.csv", block_bytes=99, **reading, **long) is None
    lines = "\n".join(f"cpu,host=a a={i} {1_700_000_000 + i}" for i in range(100))
    (tmp_path / "lines").write_text(lines)
    assert parts_of_file(tmp_path / "lines", block_bytes=500, **reading) is None


def late(frame: pd.DataFrame) -> pd.DataFrame:
    """Return rows each of which is a little later than a step after the one before."""
    return frame.assign(time=frame["time"] + 5 * np.arange(len(frame)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda frame: frame.iloc[::-1], "the rows are not in order of time"),
        (lambda frame: frame.iloc[[1, 0, *range(2, len(frame))]], "the rows are not in order"),
        (late, "its times drift from a regular grid"),
        (
            lambda frame: frame.assign(unit=np.where(np.arange(len(frame)) % 2, "x", "y")),
            "the rows of a series do not follow each other",
        ),
        (lambda frame: frame.assign(a=np.nan, b=np.nan, c=np.nan), "many rows have no value"),
        (lambda frame: frame.assign(a="eco"), "a row cannot be used by itself"),
    ],
)
def test_other_files_are_read_as_a_whole_and_this_is_said(
    change: Callable[[pd.DataFrame], pd.DataFrame], reason: str, tmp_path: Path
) -> None:
    change(frame_of(3000, 1)).to_csv(tmp_path / "rows.csv", index=False)
    reading = {"time_column": "time", "series_column": "unit", "channels": CHANNELS, "step": STEP}
    parts = parts_of_file(tmp_path / "rows.csv", block_bytes=BLOCK_BYTES, **reading)
    assert parts is not None
    with pytest.raises(WholeNeeded, match=reason):
        list(parts)


def test_rows_of_one_time_are_in_one_part(tmp_path: Path) -> None:
    frame = frame_of(3000, 1)
    frame = frame.loc[np.repeat(frame.index, 2)].reset_index(drop=True)
    frame.loc[1::2, "a"] += 1.0
    frame.to_csv(tmp_path / "rows.csv", index=False)
    reading = {"time_column": "time", "series_column": "unit", "channels": CHANNELS, "step": STEP}
    whole = read_series(tmp_path / "rows.csv", duplicates="last", **reading)
    parts = parts_of_file(
        tmp_path / "rows.csv", block_bytes=BLOCK_BYTES, duplicates="last", **reading
    )
    assert parts is not None
    sets = [part.data for part in parts]
    assert sum((one.status for one in sets), ()) == whole.status
    assert whole.status[2998] == "same time as row 3000"
    assert "Different rows have 3,000 times in common; the last one counts." in merged(
        note for one in sets for note in one.notes
    )


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 5), (3, 44), (250, 301), (470, 501), (498, 501), (0, 501)]
)
def test_expected_values_of_some_steps_are_those_of_all(
    detector: SeriesDetector, start: int, stop: int
) -> None:
    values = waves(501, 6)
    values[240:260, 0] = np.nan
    expected = detector.model_.score(values).expected
    found = expected_steps(detector.model_, Segment.of(values), start, stop)
    np.testing.assert_array_equal(found, expected[start:stop])
    short = Segment.of(values[:15])
    assert np.isnan(expected_steps(detector.model_, short, 2, 9)).all()


# ---------------------------------------------------------------------------------- fits


def tidy(n: int, seed: int, unit: str) -> pd.DataFrame:
    """Return a series with gaps and missing cells."""
    frame = frame_of(n, seed, unit)
    frame.loc[::37, "b"] = np.nan
    frame.loc[n // 3 : n // 3 + 500, "c"] = np.nan
    return frame.drop(index=[*range(100, 103), *range(n // 2, n // 2 + 40)])


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """File of two series."""
    path = tmp_path_factory.mktemp("training") / "rows.csv"
    pd.concat([tidy(3000, 1, "x"), tidy(2200, 2, "y")]).to_csv(path, index=False)
    return path


def test_time_steps_of_parts_are_those_of_the_whole(training: Path) -> None:
    reading = {"time_column": "time", "series_column": "unit"}
    whole = in_memory(read_series(training, **reading))
    parts = parts_of_file(training, block_bytes=BLOCK_BYTES, **reading)
    assert parts is not None
    with TemporaryFile() as file:
        found = stored(parts, file)
        assert (found.channels, found.step, found.notes) == (CHANNELS, STEP, whole.notes)
        assert found.n_steps == whole.n_steps
        for name in ("series", "segments"):
            pairs = zip(getattr(found, name), getattr(whole, name), strict=True)
            for own, other in pairs:
                np.testing.assert_array_equal(own.read(0, len(own)), other.read(0, len(other)))
                np.testing.assert_array_equal(own.read(-5, 7), other.read(0, 7))
    assert len(whole.segments) == 4


def test_a_fit_of_parts_is_that_of_the_whole(training: Path, tmp_path: Path) -> None:
    reading = {"time_column": "time", "series_column": "unit"}
    found = []
    for block_bytes in (2**30, BLOCK_BYTES):
        with TemporaryFile() as file:
            data = training_series(str(training), reading, file, block_bytes=block_bytes)
            detector = SeriesDetector(window=20, max_steps=20, random_state=0).fit(data)
            assert (file.tell() > 0) == (block_bytes == BLOCK_BYTES)
        save(detector, tmp_path / "m.vae", reading)
        found.append((tmp_path / "m.vae").read_bytes())
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda frame: frame.assign(state=np.where(np.arange(len(frame)) < 2000, "on", "5")),
            "its columns of numbers are not the same throughout",
        ),
        (lambda frame: frame.iloc[::-1], "the rows are not in order of time"),
    ],
)
def test_a_fit_to_other_files_reads_them_as_a_whole(
    change: Callable[[pd.DataFrame], pd.DataFrame], reason: str, tmp_path: Path
) -> None:
    change(frame_of(3000, 1).drop(columns="unit")).to_csv(tmp_path / "rows.csv", index=False)
    with TemporaryFile() as file:
        data = training_series(str(tmp_path / "rows.csv"), {}, file, block_bytes=BLOCK_BYTES)
    assert data.notes[0] == f"The file is read as a whole: {reason}."
    assert (data.channels, data.n_steps) == (CHANNELS, 3000)


@pytest.mark.parametrize(("n_steps", "causal"), [(400, False), (403, False), (90, True)])
def test_errors_of_parts_are_those_of_the_whole(
    detector: SeriesDetector, n_steps: int, causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, values = detector.model_, waves(n_steps, 5)
    values[120:150, 1] = np.nan
    settings = WindowSettings(model.window, causal)
    whole = step_errors(model.scaler, model.comparison, values, model.window, settings.hop)
    monkeypatch.setattr(fitting, "PART_STEPS", 60)
    parts = fitting._errors(model.scaler, model.comparison, Segment.of(values), settings)
    energy, residual = zip(*((one.energy, one.residual) for one in parts), strict=True)
    np.testing.assert_array_equal(np.concatenate(energy), whole.energy)
    np.testing.assert_array_equal(np.concatenate(residual), whole.residual)
    assert len(energy) > 1


# ------------------------------------------------------------------------------- results


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_results_of_parts_are_those_of_the_whole(
    model: Path, files: Path, name: str, tmp_path: Path
) -> None:
    found = []
    for block_bytes in (2**30, BLOCK_BYTES):
        scores, events = tmp_path / f"{block_bytes}.csv", tmp_path / f"{block_bytes}.events.csv"
        summary = score_series_file(
            open_container(model),
            str(files / name),
            str(scores),
            explain=2,
            events=str(events),
            block_bytes=block_bytes,
        )
        found.append((summary, scores.read_bytes(), events.read_bytes()))
    assert found[0] == found[1]
    assert found[0][0].n_events > 0


def test_events_say_in_which_zone_their_times_are(detector: SeriesDetector, tmp_path: Path) -> None:
    local = pd.date_range("2026-03-29 00:00", periods=1500, freq="10s", tz="Europe/Berlin")
    rows = pd.DataFrame(waves(1500, 3), columns=list(CHANNELS)).round(4)
    rows.loc[1000, "a"] += 9.0  # 2:46:40 after the start, of which clocks skip an hour
    naive = local.tz_localize(None).astype(str)
    texts = {"naive": naive, "offset": local.astype(str), "epoch": local.as_unit("s").asi8}
    peaks = {}
    for name, times in texts.items():
        reading = {"time_column": "time", "timezone": "Europe/Berlin"}
        save(detector, str(tmp_path / "m.vae"), reading)
        rows.assign(time=times).to_csv(tmp_path / f"{name}.csv", index=False)
        words = ("score", tmp_path / "m.vae", tmp_path / f"{name}.csv", "-o", tmp_path / "s.csv")
        assert run([*map(str, words), "--events", str(tmp_path / f"{name}.events.csv")]) == 0
        found = pd.read_csv(tmp_path / f"{name}.events.csv")
        peaks[name] = found["peak"].tolist()
    assert "2026-03-29 03:46:40+02:00" in peaks["naive"]
    assert "2026-03-29 01:46:40Z" in peaks["offset"]
    assert "2026-03-29 01:46:40Z" in peaks["epoch"]
    again = evaluate_series_file(  # events are labels of the same time steps
        open_container(tmp_path / "m.vae"),
        str(tmp_path / "naive.csv"),
        labels=str(tmp_path / "naive.events.csv"),
    )
    assert all(one.is_labelled for one in again.events)


def test_a_file_may_be_read_otherwise_than_that_of_the_fit(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    local = pd.date_range("2026-03-29 00:00", periods=1500, freq="10s", tz="Europe/Berlin")
    rows = pd.DataFrame(waves(1500, 3), columns=list(CHANNELS)).round(4).astype(object)
    rows.insert(0, "time", local.tz_localize(None).astype(str))
    rows.insert(0, "unit", "pump")
    rows.loc[700, "b"] = "sensor off"
    pd.concat([rows, rows[-1:].assign(a=0.0)]).to_csv(tmp_path / "t.csv", index=False)
    words, given = ["score", str(model), str(tmp_path / "t.csv"), "-o", str(tmp_path / "s.csv")], []
    for said, *option in (
        (
            "got 'sensor off'. Correct the cell, or give the text in missing",
            "--missing",
            "sensor off",
        ),
        ("give timezone, such as 'Europe/Berlin'", "--timezone", "Europe/Berlin"),
        ("Give duplicates: 'mean', 'first' or 'last'", "--duplicates", "last"),
    ):
        assert run([*words, *given]) == 3
        assert said in capsys.readouterr().err
        given += option
    assert run([*words, *given]) == 0
    scored = pd.read_csv(tmp_path / "s.csv")
    assert scored["anomaly_score"].notna().sum() == 1500
    assert scored["status"].iloc[1499] == "same time as row 1501"

    evaluation = ["evaluate", *words[1:3], "-o", str(tmp_path / "report")]
    assert run(evaluation) == 3
    assert run([*evaluation, *given]) == 0
    assert "--duplicates last" in (tmp_path / "report" / "report.html").read_text()

    other = str(tmp_path / "other.vae")  # which reads like this from now on
    assert run(["recalibrate", *words[1:3], "-o", other, *given]) == 0
    assert run([words[0], other, *words[2:]]) == 0


def test_how_series_are_read_is_not_for_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, model = str(tmp_path / "t.csv"), str(tmp_path / "m.vae")
    pd.DataFrame(waves(300, 0), columns=list(CHANNELS)).to_csv(path, index=False)
    assert run(["fit", path, "-o", model, "--max-steps", "20"]) == 0
    for option in ("--timezone", "--time-format", "--missing", "--duplicates"):
        capsys.readouterr()
        assert run(["score", model, path, "-o", str(tmp_path / "s.csv"), option, "mean"]) == 2
        assert f"{option} is for time series; {model} was fitted on" in capsys.readouterr().err


def test_an_evaluation_of_parts_is_that_of_the_whole(
    model: Path, files: Path, tmp_path: Path
) -> None:
    first = pd.to_datetime(pd.read_csv(files / "rows.csv")["time"].iloc[[700, 760]], unit="ms")
    windows = [{"series": "x", "start": str(first.iloc[0]), "end": str(first.iloc[1])}]
    (tmp_path / "labels.json").write_text(json.dumps(windows))
    found = []
    for block_bytes in (2**30, BLOCK_BYTES):
        one = evaluate_series_file(
            open_container(model),
            str(files / "rows.csv"),
            labels=str(tmp_path / "labels.json"),
            block_bytes=block_bytes,
        )
        found.append((one.events, one.unscored, one.labelled, one.notes, one.n_flagged))
        found[-1] += (np.concatenate(one.totals).tobytes(), one.metrics.vus_pr)
    assert found[0] == found[1]
    assert found[0][0]


def test_a_file_out_of_order_has_the_same_scores(model: Path, files: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(files / "rows.csv")
    rows.iloc[::-1].to_csv(tmp_path / "back.csv", index=False)
    results = []
    for path in (files / "rows.csv", tmp_path / "back.csv"):
        summary = score_series_file(
            open_container(model), str(path), str(tmp_path / "s.csv"), block_bytes=BLOCK_BYTES
        )
        results.append((summary, pd.read_csv(tmp_path / "s.csv")))
    (_, first), (summary, second) = results
    assert summary.notes[0] == ("The file is read as a whole: the rows are not in order of time.")
    assert any("they are sorted by time" in note for note in summary.notes)
    np.testing.assert_array_equal(
        first["anomaly_score"].dropna(), second["anomaly_score"].dropna()[::-1]
    )


def test_a_fault_far_into_a_file_is_named_and_nothing_is_written(
    model: Path, tmp_path: Path
) -> None:
    frame = frame_of(3000, 1).astype({"b": object})
    frame.loc[2900, "b"] = "broken"
    frame.to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(DataError, match="line 2902, column 'b': expected a number, got 'broken'"):
        score_series_file(
            open_container(model),
            str(tmp_path / "rows.csv"),
            str(tmp_path / "s.csv"),
            block_bytes=BLOCK_BYTES,
        )
    assert not (tmp_path / "s.csv").exists()


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    reading = {"time_column": "time", "ignore": ["unit"], "channels": CHANNELS, "step": STEP}
    peaks = []
    for n in (10_000, 50_000):
        frame_of(n, 1).to_csv(tmp_path / "rows.csv", index=False)
        parts = parts_of_file(tmp_path / "rows.csv", block_bytes=100_000, **reading)
        assert parts is not None
        largest, count = 0, 0
        before = pa.total_allocated_bytes()
        for part in parts:
            largest = max(largest, pa.total_allocated_bytes() - before)
            count += part.data.n_rows
        peaks.append(largest)
        assert count == n
    assert peaks[1] < 2 * peaks[0]  # blocks differ a little


def test_the_command_scores_to_standard_output(
    model: Path, files: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run(["score", str(model), str(files / "rows.csv"), "-o", "-"]) == 0
    out = capfdbinary.readouterr().out
    assert out.startswith(b"row,time,series,anomaly_score,is_anomaly,event_id,status\n")
    assert out.count(b"\n") == len(pd.read_csv(files / "rows.csv")) + 1


def test_flagged_rows_alone_and_sorted(model: Path, files: Path, tmp_path: Path) -> None:
    scores, some = tmp_path / "all.csv", tmp_path / "some.csv"
    command = ["score", str(model), str(files / "rows.csv"), "-o"]
    assert run([*command, str(scores)]) == 0
    assert run([*command, str(some), "--only-flagged", "--sort"]) == 0
    whole = pd.read_csv(scores)
    flagged = whole[whole["is_anomaly"] == 1]
    assert 0 < len(flagged) < len(whole)
    expected = flagged.sort_values("anomaly_score", ascending=False, kind="stable")
    assert pd.read_csv(some)["row"].tolist() == expected["row"].tolist()
    assert run([*command, str(some), "--keep", "all"]) == 2
