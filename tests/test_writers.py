"""Result tables in CSV, byte for byte."""

from __future__ import annotations

import csv
import datetime as dt
import decimal
import uuid
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from vae_anomaly.pipeline.writers import SpreadsheetWarning, result_writer

SCHEMA = pa.schema([("a, b", pa.string()), ("score", pa.float64()), ("flag", pa.bool_())])


def written(path: Path, *texts: str | None) -> str:
    with result_writer(str(path), SCHEMA) as write:
        for i, text in enumerate(texts):
            write(pa.record_batch([[text], [0.1 + i], [i % 2 == 0]], schema=SCHEMA))
    return path.read_bytes().decode()


def test_text_is_quoted_where_it_must_be(tmp_path: Path) -> None:
    table = written(tmp_path / "s.csv", "plain", 'say "a,b"', "two\nlines", "ä", None)
    assert table == (
        '"a, b",score,flag\nplain,0.1,1\n"say ""a,b""",1.1,0\n"two\nlines",2.1,1\nä,3.1,0\n,4.1,1\n'
    )


TEXTS = ["a\rb", "x\r", "x\r\ny", "two\nlines", 'say "a"', "a,b", "plain", "\u2028", "ä", ""]


def test_every_end_of_line_in_text_is_read_back_by_three_readers(tmp_path: Path) -> None:
    written(tmp_path / "s.csv", *TEXTS)
    with (tmp_path / "s.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows] == ["a, b", *TEXTS]
    frame = pd.read_csv(tmp_path / "s.csv", keep_default_na=False)
    assert frame["a, b"].tolist() == TEXTS
    options = pa_csv.ParseOptions(newlines_in_values=True)
    table = pa_csv.read_csv(tmp_path / "s.csv", parse_options=options)
    assert table["a, b"].to_pylist() == TEXTS


def test_every_end_of_line_in_a_column_name_is_read_back(tmp_path: Path) -> None:
    names = ["a\rb", "c\r\nd", 'e"', "score"]
    schema = pa.schema([(name, pa.int64()) for name in names])
    with result_writer(str(tmp_path / "s.csv"), schema) as write:
        write(pa.record_batch([[1]] * 4, schema=schema))
    with (tmp_path / "s.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [names, ["1"] * 4]


BERLIN = ZoneInfo("Europe/Berlin")

SPELLINGS = {
    "whole floats": (pa.array([65529.0, 0.1, 1e300, -0.0]), ["65529", "0.1", "1e+300", "-0"]),
    "half floats": (pa.array(np.array([1, 0.5], np.float16)), ["1", "0.5"]),
    "single floats": (pa.array([0.1, 3.0], pa.float32()), ["0.1", "3"]),
    "uint64": (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
    "decimals": (pa.array([decimal.Decimal("1.50")]), ["1.50"]),
    "flags": (pa.array([True, False]), ["1", "0"]),
    "UTC": (pa.array([0], pa.timestamp("s", "UTC")), ["1970-01-01 00:00:00Z"]),
    "zone": (
        pa.array([dt.datetime(2001, 7, 1, tzinfo=BERLIN)], pa.timestamp("s", "Europe/Berlin")),
        ["2001-07-01 00:00:00+0200"],
    ),
    "beyond year 9999": (
        pa.array([2**58], pa.timestamp("us")),
        ["11103-08-29 17:22:31.711744"],
    ),
    "dates": (pa.array([0, 4 * 10**6], pa.date32()), ["1970-01-01", "12921-08-18"]),
    "durations": (pa.array([90], pa.duration("s")), ["90"]),
    "dictionary": (pa.array([2.0, 2.5]).dictionary_encode(), ["2", "2.5"]),
    "bytes": (pa.array([b"pump", b"\xff"]), ["pump", "\\xff"]),
    "fixed bytes": (pa.array([b"ab"], pa.binary(2)), ["ab"]),
    "large text": (pa.array(["a"], pa.large_string()), ["a"]),
    "views": (pa.array(["a"], pa.string_view()), ["a"]),
    "lists": (pa.array([[1, 2]]), ["[1, 2]"]),
    "structs": (pa.array([{"a": 1}]), ["{'a': 1}"]),
    "nulls": (pa.nulls(1), [""]),
}


if hasattr(pa, "uuid"):  # since PyArrow 18
    storage = pa.array([bytes(16)], pa.binary(16))
    SPELLINGS["identifiers"] = (
        pa.ExtensionArray.from_storage(pa.uuid(), storage),
        [str(uuid.UUID(int=0))],
    )


@pytest.mark.parametrize("case", SPELLINGS)
def test_a_type_has_one_spelling_beside_text_of_any_content(tmp_path: Path, case: str) -> None:
    """Whether a batch needs quotes changes nothing for its other cells."""
    column, expected = SPELLINGS[case]
    schema = pa.schema([("key", column.type), ("text", pa.string())])
    with result_writer(str(tmp_path / "s.csv"), schema) as write:
        for text in ("plain", 'quoted, "so"'):
            write(pa.record_batch([column, [text] * len(column)], schema=schema))
    with (tmp_path / "s.csv").open(encoding="utf-8", newline="") as file:
        _, *rows = csv.reader(file)
    assert [row[0] for row in rows] == expected * 2


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"=1+1"]),
        pa.array([b"=1+1"], pa.binary(4)),
        pa.array(["=1+1"], pa.large_string()),
        pa.array(["=1+1"]).dictionary_encode(),
        pa.array(["=1+1"], pa.string_view()),
    ],
    ids=lambda column: str(column.type),
)
def test_text_of_any_type_is_no_formula(tmp_path: Path, column: pa.Array) -> None:
    schema = pa.schema([("key", column.type), ("score", pa.float64())])
    with (
        result_writer(str(tmp_path / "s.csv"), schema) as write,
        pytest.warns(SpreadsheetWarning, match="a ' was put before text"),
    ):
        write(pa.record_batch([column, [1.0]], schema=schema))
    assert (tmp_path / "s.csv").read_text().splitlines()[1] == "'=1+1,1"


def test_parquet_has_dictionaries_of_values_that_repeat(tmp_path: Path) -> None:
    schema = pa.schema(
        [("id", pa.string()), ("anomaly_score", pa.float64()), ("reason_1", pa.string())]
    )
    rows = pa.record_batch([["a", "b"], [0.5, 0.25], pa.array(["flow", None])], schema=schema)
    path = tmp_path / "s.parquet"
    with result_writer(str(path), schema) as write:
        write(rows)
    assert pq.read_table(path).equals(pa.table(rows))
    group = pq.ParquetFile(path).metadata.row_group(0)
    has = [group.column(i).has_dictionary_page for i in range(3)]
    assert has == [False, False, True]
