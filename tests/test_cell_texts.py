"""Texts of unseen levels and stray cells in results and reports."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from vae_anomaly import VAEDetector, save, score_batch
from vae_anomaly.cli import run
from vae_anomaly.data.base import Source
from vae_anomaly.data.cell_texts import MAX_TEXT_LENGTH, CellTexts, ColumnTexts
from vae_anomaly.data.registry import open_source
from vae_anomaly.data.table import reader
from vae_anomaly.pipeline.progress import no_progress
from vae_anomaly.pipeline.reading import read_all
from vae_anomaly.pipeline.results import Outputs
from vae_anomaly.pipeline.score import score
from vae_anomaly.report.build import build_report

T, R = TypeVar("T"), TypeVar("R")

BRIEF = {"max_steps": 60, "n_members": 1, "false_alarm_rate": 0.1, "random_state": 0}

TEXTS = {  # row -> column and its text
    2: ("colour", "blu"),
    5: ("load", "high"),
    7: ("day", "soon"),
    9: ("is_open", "maybe"),
    11: ("floor", "13"),
    13: ("colour", "<b>x\x1b[31m</b>"),
}
SHOWN = {row: text.replace("\x1b", "\\x1b") for row, (_, text) in TEXTS.items()}


def houses(n: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.RandomState(seed)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.randint(0, 9000, n), unit="h")
    return pd.DataFrame(
        {
            "colour": rng.choice(["blue", "red", "green"], n),
            "load": rng.normal(size=n).round(3),
            "is_open": rng.choice(["yes", "no"], n),
            "floor": rng.choice(["1", "2", "3"], n),
            "day": days.strftime("%Y-%m-%d %H:%M"),
        }
    )


class Houses(NamedTuple):
    detector: VAEDetector
    rows: pd.DataFrame  # with the cells of TEXTS


@pytest.fixture(scope="module")
def known() -> Houses:
    detector = VAEDetector(**BRIEF, column_types={"floor": "category"}).fit(houses(400))
    rows = houses(20, seed=1).astype(object)
    for row, (column, text) in TEXTS.items():
        rows.loc[row, column] = text
    return Houses(detector, rows)


def opened(known: Houses, path: Path) -> Source:
    return open_source(str(path), known.detector.model_.encoder)


def written(rows: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".csv":
        rows.to_csv(path, index=False)
    elif path.suffix == ".jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows.to_dict("records")))
    else:
        types = dict.fromkeys(rows.columns, str) | {"colour": "category"}
        rows.astype(types).to_parquet(path)
    return path


def as_in_another_process(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Call a function with items as a process gets them."""
    return (function(pickle.loads(pickle.dumps(item))) for item in items)


def first_values(result: pa.Table) -> dict[int, tuple[str, str]]:
    names, values = result["reason_1"].to_pylist(), result["value_1"].to_pylist()
    return {row: (names[row], values[row]) for row in TEXTS}


EXPECTED = {row: (column, SHOWN[row]) for row, (column, _) in TEXTS.items()}


@pytest.mark.parametrize("name", ["new.csv", "new.parquet", "new.jsonl"])
def test_reasons_of_files_have_the_texts_of_python(
    known: Houses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(reader, "MAX_BATCH_ROWS", 6)
    path = written(known.rows, tmp_path / name)
    with opened(known, path) as source:
        found = [
            one.batch
            for one in score(known.detector.model_, source, Outputs(explain=5, repair=True))
        ]
    result = pa.Table.from_batches(found)
    assert first_values(result) == EXPECTED
    by_python = known.detector.reasons(known.rows, top=5)
    texts = by_python[by_python["column"].isin(["colour", "is_open", "floor"])]
    for row, rank, value in texts[["row", "rank", "value"]].itertuples(index=False):
        assert result[f"value_{rank}"][row].as_py() == str(value).replace("\x1b", "\\x1b")
    repairs = result["repair"].to_pylist()
    for row in (2, 9, 11):
        assert f"(it is {SHOWN[row]})" in repairs[row]


def test_texts_are_there_in_processes_batches_of_arrow_and_flagged_rows(
    known: Houses, tmp_path: Path
) -> None:
    path, model = written(known.rows, tmp_path / "new.csv"), known.detector.model_
    outputs = Outputs(explain=1, only_flagged=True)
    with opened(known, path) as source:
        assert len(pickle.dumps(next(source.batches()).texts)) < 2_000
        (found,) = score(model, source, outputs, executor=as_in_another_process)
    flagged = pa.Table.from_batches([found.batch])
    values = dict(zip(flagged["row"].to_pylist(), flagged["value_1"].to_pylist(), strict=True))
    assert {row: values[row + 1] for row in TEXTS} == SHOWN
    batch = pa.RecordBatch.from_pandas(known.rows.astype(str))
    assert first_values(pa.table(score_batch(known.detector, batch, explain=1))) == EXPECTED


def test_rows_that_are_skipped_move_no_text(known: Houses, tmp_path: Path) -> None:
    path = written(known.rows, tmp_path / "new.csv")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:2], "too,few\n", *lines[2:]]))
    with opened(known, path) as source:
        (found,) = score(known.detector.model_, source, Outputs(explain=1))
    values = found.batch.column("value_1").to_pylist()
    assert values[1] is None
    assert [values[row + 1] for row in TEXTS] == list(SHOWN.values())


def test_reports_have_the_texts(
    known: Houses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "MAX_BATCH_ROWS", 6)
    save(known.detector, tmp_path / "m.vae")
    path = written(known.rows, tmp_path / "new.csv")
    assert run(["evaluate", str(tmp_path / "m.vae"), str(path), "-o", str(tmp_path / "r")]) == 0
    page = (tmp_path / "r" / "report.html").read_text()
    for text in ("blu", "high", "soon", "maybe", "13"):
        assert f"{text} (un" in page, text
    assert "&lt;b&gt;x\\x1b[31m&lt;/b&gt;" in page
    assert "(new level)" not in page
    assert "<b>x" not in page

    (section,) = build_report(known.detector, known.rows).sections
    with opened(known, path) as source:
        records, _, texts = read_all(source, no_progress)
    (from_file,) = build_report(known.detector.model_, records, texts=texts).sections
    assert [one.reasons for one in section.rows] == [one.reasons for one in from_file.rows]
    words = {row.key: row.reasons[0].words for row in section.rows}
    assert words["2"].startswith("colour blu (unusual level, expected ")
    assert words["5"].startswith("load high (unreadable, usually -1.")


def test_text_in_a_table_of_numbers_is_no_number_in_the_result(tmp_path: Path) -> None:
    rows = pd.DataFrame(np.random.RandomState(0).normal(size=(200, 2)), columns=["a", "b"])
    rows.loc[::20, "a"] = np.nan
    detector = VAEDetector(**BRIEF | {"max_steps": 20}).fit(rows)
    batch = pa.RecordBatch.from_pydict({"a": ["high", "0.5"], "b": [0.0, 9.0]})
    found = score_batch(detector, batch, explain=1)
    assert found.column("reason_1").to_pylist() == ["a", "b"]
    assert found.column("value_1").to_pylist() == [None, 9.0]
    assert found.column("direction_1").to_pylist() == ["unreadable", "above"]
    given = pd.DataFrame({"a": ["high", 0.5], "b": [0.0, 9.0]})
    (section,) = build_report(detector, given).sections
    assert {"a high", "b 9"} == {row.reasons[0].words.split(" (")[0] for row in section.rows}


def test_missing_booleans_have_no_text() -> None:
    rng = np.random.RandomState(0)
    flags = pd.Series(rng.choice([True, False], 200)).astype("boolean")
    rows = pd.DataFrame({"ok": flags, "a": rng.normal(size=200)})
    detector = VAEDetector(**BRIEF | {"max_steps": 20}).fit(rows)
    batch = pa.RecordBatch.from_pydict({"ok": [None, True], "a": [0.0, 0.1]})
    found = score_batch(detector, batch, explain=2, repair=True)
    assert [found.column(f"{name}_1")[0].as_py() for name in ("reason", "value")] == ["ok", None]
    assert found.column("direction_1")[0].as_py() == "missing"


def test_texts_are_bounded() -> None:
    rows = np.arange(2)
    texts = CellTexts({0: ColumnTexts(rows, pa.array(["x" * 500, "y"]))})
    long, short = texts.shown([None, None], rows, np.zeros(2, dtype=np.intp))
    assert (long, short) == ("x" * (MAX_TEXT_LENGTH - 1) + "…", "y")
