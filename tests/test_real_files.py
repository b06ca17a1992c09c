"""Traps of real tables: each file, and what is read from it or the message that refuses it."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vae_anomaly import VAEDetector
from vae_anomaly.data import csv_content
from vae_anomaly.data.arrays import as_records
from vae_anomaly.data.base import Source
from vae_anomaly.data.cells import STRAY as STRAY_CODE
from vae_anomaly.data.dialect import Dialect
from vae_anomaly.data.registry import modality, modality_of_array, open_source
from vae_anomaly.data.table import codebook, csv_reader, reader
from vae_anomaly.data.table.encoder import TableEncoder
from vae_anomaly.data.table.training_source import TrainingTable
from vae_anomaly.estimator.validation import validated
from vae_anomaly.exceptions import DataError
from vae_anomaly.pipeline.progress import no_progress
from vae_anomaly.pipeline.reading import read_sample

Open = Callable[..., TrainingTable]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Write a table, or a frame as Parquet, and open it for a fit, or to be scored."""
    monkeypatch.chdir(tmp_path)
    sources = ExitStack()

    def open_table(
        content: str | pd.DataFrame, encoder: TableEncoder | None = None, **options: object
    ) -> Source:
        if isinstance(content, str):
            Path("t.csv").write_text(content, newline="")
        else:
            content.to_parquet("t.csv")
        source = modality("table").open("t.csv", encoder, fitting=encoder is None, **options)
        return sources.enter_context(source)

    with sources:
        yield open_table


def learned(source: Source) -> dict[str, list[object]]:
    """Return the columns that a fit learns from: numbers as floats, texts as they are."""
    records, _ = read_sample(source, no_progress, lambda: None)
    return source.training_data(records).replace({np.nan: None}).to_dict("list")


def refusal(source: Source) -> str:
    with pytest.raises(DataError) as caught:
        list(source.batches())
    return str(caught.value)


def fitted(rows: pd.DataFrame, **parameters: object) -> TableEncoder:
    """Return the encoder that a detector fits to rows, without its networks."""
    detector = VAEDetector(contamination=0.1, **parameters)
    records = as_records(rows)
    table = modality_of_array(records)
    schema = table.schema(records, detector)
    matrix = validated(detector, records, schema, ensure_min_samples=2)
    return table.fit(matrix, schema, getattr(detector, "feature_names_in_", None), detector)


RNG = np.random.RandomState(0)
PLAIN = fitted(pd.DataFrame({"a": RNG.normal(size=50), "b": RNG.normal(size=50)}))
MIXED = fitted(
    pd.DataFrame(
        {
            "a": RNG.normal(size=60),
            "flag": [True, False, True] * 20,
            "zip": ["10", "20", "30"] * 20,
        }
    ),
    column_types={"zip": "category"},
)

# ----------------------------------------------------------------------- types of columns

HEAD = "1,1\n" * 150
"""More rows than those by which types are guessed."""

TYPES = {
    "text below the head": ("a,b\n" + HEAD + "2,x\n" * 151, {"b": "x"}),
    "numbers below a head of text": ("a,b\n" + "1,x\n" * 151 + HEAD, {"b": "1"}),
    "leading zeros below the head": ("a,b\n" + HEAD + "1,007\n", {"b": "007"}),
    "leading zeros in quotes": ("a,b\n" + HEAD + '1,"007"\n', {"b": "007"}),
    "leading zeros after blanks": ("a,b\n" + HEAD + "1,  007\n", {"b": "007"}),
    "zeros and text": ("a,b\n" + HEAD + "1,007\n2,A1\n", {"b": "A1"}),
    "zeros that numbers need": ("a,b\n" + HEAD + "1,0.07\n2,-01\n", {"b": -1.0}),
    "text in both": ("a,b\n" + HEAD + "x,1\n" + "y,z\n" * 153, {"a": "y", "b": "z"}),
    "words for missing": ("a,b\n" + HEAD + "1,unknown\n2,-\n3, NA \n4,.\n", {"b": None}),
    "dates that begin with zeros": ("a,b\n1,01.02.2026\n2,03.04.2026\n", {"a": 2.0}),
}


@pytest.mark.parametrize("case", TYPES)
def test_all_rows_decide_which_columns_are_text(opened: Open, case: str) -> None:
    text, last = TYPES[case]
    columns = learned(opened(text))
    assert len(columns["a"]) == text.count("\n") - 1
    assert {name: columns[name][-1] for name in last} == last
    for cells in columns.values():
        assert {type(cell) for cell in cells if cell is not None} in ({str}, {float})


STRAY = "a,b\n1,2\n3,off\n"
FIX = (
    "Correct the cell, or leave the column out with --ignore b, or make it one of levels with "
    "--type b=category."
)

REFUSED = {
    "one cell": (STRAY, f"t.csv, line 3, column 'b': expected a number, got 'off'. {FIX}"),
    "below the head": (
        "a,b\n" + HEAD + "1,off\n",
        f"t.csv, line 152, column 'b': expected a number, got 'off'. {FIX}",
    ),
    "a head of text": (
        "a,b\n" + "1,off\n" * 120 + HEAD,
        "t.csv, line 2, column 'b': expected a number, got 'off'. Text is in 120 cells of a column "
        "of numbers. Correct the cells, or leave the column out with --ignore b, or make it one of "
        "levels with --type b=category.",
    ),
    "two columns": (
        "my a,b\n1,2\nx,2\n\n1,2\n1,y\n1,z\n1,2\n",
        "t.csv, line 3, column 'my a': expected a number, got 'x'. t.csv, line 6, column 'b': "
        "expected a number, got 'y'. Text is in 3 cells of 2 columns of numbers. Correct the "
        "cells, or leave the columns out with --ignore 'my a,b', or make them some of "
        "levels with --type 'my a=category' --type b=category.",
    ),
    "infinite": (
        "a,b\n1,2\n1,-inf\n1,3\n",
        f"t.csv, line 3, column 'b': expected a finite number, got '-inf'. {FIX}",
    ),
    "infinite below text": (
        "a,b\n1,2\n1,1e999\n1,x\n",
        "t.csv, line 3, column 'b': expected a finite number, got '1e999'. Text is in 2 cells of a "
        "column of numbers. Correct the cells, or leave the column out with --ignore b, or make it "
        "one of levels with --type b=category.",
    ),
    "a row too long below text": (
        "a,b\n1,2\n1,x\n1,2,3\n",
        "t.csv, line 4: expected 2 fields, as in the header, got 3. Quote cells that hold a comma, "
        "or remove the row.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_text_in_a_column_of_numbers_is_refused_before_a_fit(opened: Open, case: str) -> None:
    text, message = REFUSED[case]
    assert refusal(opened(text)) == message


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "007"], True),
        (["1", '"007"'], True),
        (["1", "  01.5"], True),
        (["01"], True),
        (["0", "0.07", "-01", "1000", "1e07"], False),
        (["01.02.2026", '"03.04.2026"', "08:30", "2026-01-01 08:00", "01/02/26", "007-1"], False),
    ],
)
def test_leading_zeros_are_found_in_bytes(tmp_path: Path, cells: list[str], expected: bool) -> None:
    for text in ("x,y\n" + "".join(f"{cell},1\n" for cell in cells), "y\n" + "\n".join(cells)):
        (tmp_path / "t.csv").write_text(text)
        assert csv_content.may_have_codes(tmp_path / "t.csv", ",") == expected


def test_half_of_the_cells_decide_what_a_column_is(opened: Open) -> None:
    assert learned(opened("a,b\n1,2\n2,x\n3,\n4,y\n"))["b"] == ["2", "x", None, "y"]
    assert "got 'x'" in refusal(opened("a,b\n1,2\n2,x\n3,\n4,3\n"))
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": ["1", "x", "2"]})
    assert "t.csv, row 2, column 'b': expected a number, got 'x'." in refusal(opened(frame))


def test_chosen_types_are_not_judged(opened: Open) -> None:
    chosen = opened(STRAY, column_types={"b": "category", "a": "category"})
    assert learned(chosen) == {"a": ["1", "3"], "b": ["2", "off"]}
    assert "line 3, column 'b': expected a number, got 'off'" in refusal(
        opened(STRAY, column_types={"b": "number"})
    )
    zeros = opened("a,b\n1,007\n2,008\n", column_types={"b": "number"})
    assert learned(zeros) == {"a": [1.0, 2.0], "b": [7.0, 8.0]}


@pytest.mark.parametrize("chunk_bytes", [64, 2**22])
def test_a_reading_that_begins_again_counts_each_row_once(
    opened: Open, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int
) -> None:
    monkeypatch.setattr(csv_reader, "CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr(csv_reader, "BLOCK_BYTES", chunk_bytes)
    monkeypatch.setattr(csv_content, "CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr(reader, "MAX_BATCH_ROWS", 7)
    rows = [(str(i), f"{i % 3}" if i < 400 else "xyz"[i % 3]) for i in range(900)]
    source = opened("a,b\n" + "".join(f"{a},{b}\n" for a, b in rows))
    asked = []
    records, n_seen = read_sample(source, no_progress, lambda: asked.append(source.max_numbers))
    assert n_seen == 900
    assert asked == [2, 2 + len("012") + 2, 2 + len("012xyz") + 2]
    cells = source.training_data(records)
    assert list(zip(cells["a"], cells["b"], strict=True)) == [(float(a), b) for a, b in rows]


# ------------------------------------------------------------------------- stray text

STRAYS = {
    "text": ("off", "'off'"),
    "a date": ("2026-01-01", "'2026-01-01'"),
    "thousands": ('"1,000"', "'1,000'"),
    "a boolean": ("TRUE", "'TRUE'"),
}


@pytest.mark.parametrize("case", STRAYS)
@pytest.mark.parametrize("encoder", [PLAIN, MIXED], ids=["plain", "mixed"])
def test_text_is_an_unexpected_cell_while_a_file_is_scored(
    opened: Open, case: str, encoder: TableEncoder
) -> None:
    cell, shown = STRAYS[case]
    names = encoder.features
    rows = ["1", cell, "", " NA", "3"]
    text = ",".join(names) + "\n" + "".join(f"{a}{',1' * (len(names) - 1)}\n" for a in rows)
    source = opened(text, encoder)
    (batch,) = source.batches()
    penalty = encoder.encode(batch.records).penalty[:, 0]
    assert penalty[1] == pytest.approx(np.log(encoder.n_rows + 1))
    assert np.isnan(batch.records[2:4, 0]).all()
    assert batch.records[[0, 4], 0].tolist() == [1.0, 3.0]
    assert source.reading_notes() == [
        f"note: t.csv: 1 cell of column 'a' is no number and counts as unexpected: {shown} in "
        f"line 3"
    ]
    strict = opened(text, encoder, strict=True)
    assert f"line 3, column 'a': expected a number, got {shown}" in refusal(strict)


@pytest.mark.parametrize("batch_rows", [1, 3, 65_536])
def test_more_text_than_numbers_is_another_column(
    opened: Open, monkeypatch: pytest.MonkeyPatch, batch_rows: int
) -> None:
    monkeypatch.setattr(reader, "MAX_BATCH_ROWS", batch_rows)
    half = "a,b\nx,1\ny,1\n1,1\n2,1\n"
    source = opened(half, PLAIN)
    assert source.check() == 4
    assert source.reading_notes() == [
        "note: t.csv: 2 cells of column 'a' are no numbers and count as unexpected: 'x' in line 2 "
        "and others"
    ]
    message = (
        "t.csv, column 'a': expected numbers, as in training, got text in 3 of 5 cells, the first "
        "'x' in line 2. Check that it is the column that was meant."
    )
    assert refusal(opened(half + "z,1\n", PLAIN)) == message
    with pytest.raises(DataError):
        opened(half + "z,1\n", PLAIN).check()


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e999", " inf"])
def test_infinite_numbers_beside_text_are_faults(opened: Open, cell: str) -> None:
    source = opened(f"a,b\n1,1\nx,1\n{cell},1\n", PLAIN)
    (batch,) = source.batches()
    assert batch.faults == {2: f"column 'a': expected a finite number, got {cell!r}"}
    assert batch.positions is not None
    assert batch.positions.tolist() == [0, 1]
    assert list(source.skipped) == [("row 3", batch.faults[2])]


# -------------------------------------------------------------------------- CSV dialects

DIALECTS = {
    "semicolons": ("a;b\n1.5;x\n2;y\n3;x\n", [1.5, 2, 3], "semicolons separate its columns"),
    "tabs": ("a\tb\n1.5\tx, y\n2\tz\n3\tz\n", [1.5, 2, 3], "tabs separate its columns"),
    "bars": ("a|b\n1|x\n2|y\n3|z\n", [1, 2, 3], "bars separate its columns"),
    "commas win": ("a,b;c\n1,x;y\n2,z;x\n3,;\n", [1, 2, 3], None),
    "names with commas": ("a;b, in bar\n1;x\n2;y\n3;y\n", [1, 2, 3], "semicolons separate its "),
    "header only by semicolons": ("a;b\n", [], "semicolons separate its columns"),
    "quoted semicolons": ('a,b\n1,"x;y"\n2,"z;"\n3,x\n', [1, 2, 3], None),
    "a decimal comma": (
        "a;b\n1,5;x\n-,25;y\n1,5e3;z\n",
        [1.5, -0.25, 1500],
        "semicolons separate its columns, and a comma is the decimal mark",
    ),
    "a decimal comma, tabs": ("a\tb\n1,5\tx\n2\ty\n3\tz\n", [1.5, 2, 3], "tabs separate its col"),
    "a decimal comma in quotes": ('a;b\n"1,5";x\n"2";y\n3,;z\n', [1.5, 2, 3], "semicolons separ"),
    "three decimals": ("a;b\n0,125;x\n2,125;y\n3;z\n", [0.125, 2.125, 3], "semicolons separate"),
    "a byte-order mark": ("\ufeffa;b\n1;x\n2;y\n3;z\n", [1, 2, 3], "semicolons separate its col"),
    "blanks after commas": ('a, b\n1, "x, y"\n 2,  "z"\n3 , u\n', [1, 2, 3], None),
    "blanks before all quotes": ('"a", "b"\n "1", "x"\n"2", "y"\n"3", "z"\n', [1, 2, 3], None),
    "a quote within a cell": ('a,b\n1,5" pipe\n2,x\n3,"y"\n', [1, 2, 3], None),
    "old line ends": ("a;b\r1;x\r2;y\r3;z\r", [1, 2, 3], "semicolons separate its columns"),
}


@pytest.mark.parametrize("case", DIALECTS)
def test_dialects_of_csv_are_recognised(opened: Open, case: str) -> None:
    text, numbers, note = DIALECTS[case]
    source = opened(text)
    assert source.columns.features[0] == "a"
    assert len(source.columns.features) == 2
    assert learned(source)["a"] == numbers
    assert len(source.notes) == (note is not None)
    assert all(line.startswith(f"note: t.csv: {note}") for line in source.notes)


def test_tables_are_read_as_they_were_written_in_any_dialect(opened: Open) -> None:
    rng = random.Random(0)
    for _ in range(300):
        delimiter = rng.choice(",;\t|")
        has_commas = delimiter in ";\t" and rng.random() < 0.5
        numbers = [f"{rng.gauss(0, 1000):.2f}" for _ in range(rng.randint(2, 9))]
        texts = ["t" + "".join(rng.choices('ab ",;|\t\n', k=4)) for _ in numbers]
        blanks = "  " if rng.random() < 0.3 else ""
        if blanks:  # they can be put into what was written
            texts = [text.translate(str.maketrans('"' + delimiter, "xy")) for text in texts]
        buffer = io.StringIO()
        writer = csv.writer(
            buffer,
            delimiter=delimiter,
            quoting=rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
            lineterminator=rng.choice(["\n", "\r\n"]),
        )
        writer.writerow(["a", "b"])
        for number, text in zip(numbers, texts, strict=True):
            writer.writerow([number.replace(".", ",") if has_commas else number, text])
        written = buffer.getvalue().replace(delimiter, delimiter + blanks)
        columns = learned(opened(written, column_types={"b": "category"}))
        assert columns["a"] == [float(number) for number in numbers], written
        assert columns["b"] == [text.strip() for text in texts], written


CONTRADICTED = {
    "points": "a;b\n1;x\n2;y\n1.5;z\n1,5;x\n",
    "thousands": "a;b\n1;x\n1,234;y\n999;z\n12,345;y\n",
    "more thousands": "a;b\n1;x\n1,5;y\n2;z\n1,234,567;y\n",
    "commas between columns": 'a,b\n1,x\n2,y\n3,z\n"1,5",z\n',
    "bars": "a|b\n1|x\n2|y\n3|z\n1,5|z\n",
}


@pytest.mark.parametrize("case", CONTRADICTED)
def test_a_decimal_comma_is_never_guessed(opened: Open, case: str) -> None:
    assert "expected a number, got '1" in refusal(opened(CONTRADICTED[case]))


def test_quotes_after_blanks_far_down_and_their_lines(opened: Open) -> None:
    text = "a,b\n" + "1,x\n" * 3000 + '2, "u, v"\n' + "1,x\n" * 3000
    source = opened(text + "oops,x\n")
    assert refusal(source).startswith("t.csv, line 6003, column 'a': expected a number, got 'oops'")
    assert learned(opened(text))["b"][3000] == "u, v"
    ragged = refusal(opened('a,b\n1, "x"\n2\n'))
    assert ragged.startswith("t.csv, line 3: expected 2 fields, as in the header, got 1.")
    with pytest.raises(DataError) as caught:
        opened('a,b\n1, "x"\n2, "y\n')
    assert str(caught.value) == "t.csv, line 3: a quote is opened and never closed. Close it."


def test_a_ragged_row_names_the_delimiter(opened: Open) -> None:
    text = "a;b\n1;x\n2;y\n3;z;\n"
    assert refusal(opened(text)) == (
        "t.csv, line 4: expected 2 fields, as in the header, got 3. Remove the semicolon at the "
        "end of the line."
    )


def test_a_decimal_comma_is_read_in_late_text(opened: Open) -> None:
    column = "".join(f"{i},5;{i}\n" for i in range(150))
    source = opened("a;b\n" + column + "1;off\n")
    assert "line 152, column 'b': expected a number, got 'off'" in refusal(source)
    source = opened("a;b\n" + "1,5;1\nx;1\n3,5;2\n", PLAIN)
    (batch,) = source.batches()
    assert batch.records[[0, 2], 0].tolist() == [1.5, 3.5]


LATE = {
    "a comma": (["1,5"], [1.5]),
    "a comma in quotes": (['"-,5"'], [-0.5]),
    "a comma after thousandths": (["1,234", " 2,5 "], [1.234, 2.5]),
    "a comma with an exponent": (["1,5e3"], [1500.0]),
    "a point": (["1.5"], [1.5]),
    "neither": (["3", "4"], [3.0, 4.0]),
}


@pytest.mark.parametrize("chunk_bytes", [64, 2**22])
@pytest.mark.parametrize("delimiter", [";", "\t"])
@pytest.mark.parametrize("case", LATE)
def test_the_decimal_mark_may_come_late(
    opened: Open, case: str, delimiter: str, chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_reader, "CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr(csv_reader, "BLOCK_BYTES", chunk_bytes)
    cells, numbers = LATE[case]
    late = "".join(f"{cell};0;24.12.2023\n" for cell in cells)
    text = ("a;b;c\n" + "7;1;x, 1.5 y\n" * 500 + late).replace(";", delimiter)
    columns = learned(opened(text, column_types={"c": "category"}))
    assert columns["a"] == [7.0] * 500 + numbers
    # At scoring as well.
    rows = np.concatenate([batch.records for batch in opened(text, PLAIN).batches()])
    assert rows[500:, 0].tolist() == numbers


def test_the_first_cell_that_tells_the_decimal_mark_decides(tmp_path: Path) -> None:
    few, path = "a;b\n" + "1;2\n" * 200, tmp_path / "rows.csv"

    def found(later: bytes) -> Dialect:
        path.write_bytes(few.encode() + later)
        return Dialect.of(few, path)

    for later, mark in ((b"1,5;3.5\n", ","), (b"3.5;1,5\n", "."), (b"1,234,567;1,5\n", ".")):
        assert found(later) == Dialect(";", mark)
    # Neither thousands, versions, dates nor parts of text.
    others = b'1,234;1.2.3\n24.12.2023;"about 1,5"\nx 1,5;1,5 y\n;,\n'
    assert found(others) == Dialect(";", ".")
    # Time is linear in the length of a cell.
    assert found(b"1," * 200_000 + b"x;\n") == Dialect(";", ".")


# ----------------------------------------------------------------------- bounded memory


def test_the_texts_of_a_column_are_bounded(
    opened: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(codebook, "MAX_TEXTS", 20)
    monkeypatch.setattr(reader, "MAX_BATCH_ROWS", 10)
    levels = ["red", "green", "blue"]
    rows = [(f"id {i}", levels[i % 3] if i % 5 else f"rare {i}", i / 7) for i in range(900)]
    frame = pd.DataFrame(rows, columns=["name", "color", "x"])
    source = opened(frame.to_csv(index=False))
    records, _ = read_sample(source, no_progress, lambda: None)
    books = source._coding.codebooks
    assert max(len(book._texts) for book in books.values()) <= 2 * 20 + 10
    cells = source.training_data(records)
    common = frame["color"].isin(levels)
    assert cells["color"][common].tolist() == frame["color"][common].tolist()
    assert cells["name"].nunique() == 900  # each still differs from all others
    assert cells["color"].nunique() == frame["color"].nunique()
    columns = dict(zip(frame.columns, fitted(cells).schema.columns, strict=True))
    assert columns["name"].type == "identifier"
    assert set(levels) <= set(columns["color"].levels[:3])


def test_codes_of_texts_are_the_same_in_every_process() -> None:
    import pyarrow as pa

    assert codebook.Codebook().codes(pa.array(["x"]), 0).tolist() == [
        float(int(pd.util.hash_array(np.array(["x"], dtype=object))[0]) >> 11)
    ]


def test_open_source_reads_by_content(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a;b\n1;2\n3;x\n4;y\n5;z\n")
    with open_source(str(tmp_path / "t.csv"), fitting=True) as source:
        assert learned(source) == {"a": [1.0, 3.0, 4.0, 5.0], "b": ["2", "x", "y", "z"]}


# --------------------------------------------------------------------------- missing cells

EVERYWHERE = [
    "",
    "?",
    "NA",
    "na",
    "N/A",
    "n/a",
    "NaN",
    "nan",
    "NAN",
    "null",
    "NULL",
    "Null",
    "<NA>",
]
IN_NUMBERS = ["none", "None", "NONE", "unknown", "UNKNOWN", "-", ".", " - ", "  "]


@pytest.mark.parametrize("cell", EVERYWHERE + IN_NUMBERS)
def test_cells_that_are_missing(opened: Open, cell: str) -> None:
    columns = learned(opened(f"n,text,day\n1,red,2026-01-01\n{cell},{cell},{cell}\n3,blue,\n"))
    assert columns["n"] == [1.0, None, 3.0]
    assert columns["text"][1] == (None if cell.strip() in EVERYWHERE else cell.strip())
    source = opened(f"a,flag,zip\n{cell},true,{cell}\n", MIXED)
    (batch,) = source.batches()
    level = np.nan if cell.strip() in EVERYWHERE else 3.0
    np.testing.assert_array_equal(batch.records, [[np.nan, 0.0, level]])
    assert source.reading_notes() == []


GIVEN = ("-9", "no answer", "999")


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "-9", "-9.0", "no answer", "999", "99"], [1.0, None, None, None, None, 99.0]),
        (["x", "-9", " no answer", "y", "999.0", "NA"], ["x", None, None, "y", None, None]),
    ],
    ids=["numbers", "texts"],
)
def test_further_missing_values_of_files_and_frames(
    opened: Open, cells: list[str], expected: list[object]
) -> None:
    text = "a,b\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate(cells))
    assert learned(opened(text, missing_values=GIVEN))["b"] == expected

    rows = pd.DataFrame({"a": RNG.normal(size=60), "b": [cells[i % 6] for i in range(60)]})
    chosen = {"b": "number" if "1" in cells else "category"}
    encoder = fitted(rows, missing_values=GIVEN, column_types=chosen)
    assert encoder.n_missing[1] == 10 * expected.count(None)
    matrix = encoder.matrix(rows[:6]).to_numpy()
    np.testing.assert_array_equal(np.isnan(matrix[:, 1]), [cell is None for cell in expected])
    source = opened(text, TableEncoder.from_state(encoder.to_state()))
    (batch,) = source.batches()
    np.testing.assert_array_equal(batch.records[:, 1], matrix[:, 1])
    assert source.reading_notes() == []


def test_missing_values_of_plain_numbers() -> None:
    X = RNG.normal(size=(60, 2))
    holes = np.where([[True, False]] * 2, -9, X[:2])
    for rows in (X, np.append(X, holes, axis=0)):  # missing in training, or not
        encoder = fitted(rows, missing_values=["-9"])
        again = TableEncoder.from_state(encoder.to_state())
        assert again.schema.missing.texts == ("-9",)
        np.testing.assert_array_equal(np.isnan(again.matrix(holes)), holes == -9)
    assert encoder.n_missing.tolist() == [2, 0]
    assert fitted(X).matrix(holes) is holes
    plain = fitted(pd.DataFrame(X, columns=["a", "b"]), missing_values=["-9"])
    frame = pd.DataFrame({"a": [-9, 1], "b": [1, 2]})
    assert np.isnan(plain.matrix(frame)).to_numpy().tolist() == [[True, False], [False, False]]


def test_missing_values_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vae_anomaly import load
    from vae_anomaly.cli import run

    monkeypatch.chdir(tmp_path)
    rows = pd.DataFrame({"a": RNG.normal(size=60), "b": [1, 2, -9] * 20})
    rows.to_csv("t.csv", index=False)
    brief = ["--max-steps", "2", "--members", "1", "--contamination", "0.1", "--quiet"]
    assert run(["fit", "t.csv", "-o", "m.vae", "--missing", "-9", "--missing", "x", *brief]) == 0
    detector = load("m.vae")
    assert detector.missing_values == ("-9", "x")
    assert detector.model_.encoder.n_missing.tolist() == [0, 20]
    assert run(["score", "m.vae", "t.csv", "-o", "s.csv", "--quiet"]) == 0
    scored = pd.read_csv("s.csv")["anomaly_score"]
    np.testing.assert_allclose(scored, -detector.score_samples(rows), rtol=1e-12)


# ------------------------------------------------------------------ spellings of levels

PAIRS = {
    "true": ("True", "False", ["TRUE", "true", "t", "1", "1.0", "yes", "Y"]),
    "text": ("yes", "no", ["YES", "Yes", "y", "True", "1"]),
    "numbers": ("1", "0", ["1.0", "true", "yes"]),
}


@pytest.mark.parametrize("case", PAIRS)
def test_spellings_of_booleans_are_one_level(opened: Open, case: str) -> None:
    true, false, spellings = PAIRS[case]
    rows = pd.DataFrame({"x": RNG.normal(size=60), "flag": [true, true, false] * 20})
    encoder = fitted(rows, column_types={"flag": "category"})
    levels = encoder.schema.columns[1].levels
    assert levels == (true, false)
    source = opened("x,flag\n" + "".join(f"1,{cell}\n" for cell in [*spellings, "maybe"]), encoder)
    (batch,) = source.batches()
    assert batch.records[:, 1].tolist() == [0.0] * len(spellings) + [2.0]
    for flags in ([True, False], [1, 0]):
        frame = pd.DataFrame({"x": [1.0, 2.0], "flag": flags})
        assert encoder.matrix(frame)["flag"].tolist() == [0.0, 1.0]
        (batch,) = opened(frame, encoder).batches()
        assert batch.records[:, 1].tolist() == [0.0, 1.0]


def test_levels_that_are_no_pair_of_booleans_keep_their_spelling(opened: Open) -> None:
    for cells in (["yes", "true", "no"], ["yes", "on", "x"], ["Yes", "Yes", "Yes"]):
        rows = pd.DataFrame({"x": RNG.normal(size=60), "flag": cells * 20})
        encoder = fitted(rows)
        (batch,) = opened("x,flag\n1,YES\n2,y\n3,1\n", encoder).batches()
        assert batch.records[:, 1].tolist() == [len(encoder.schema.columns[1].levels)] * 3


def test_spellings_of_booleans_in_training_are_merged() -> None:
    rows = pd.DataFrame({"x": RNG.normal(size=60), "flag": ["TRUE", "True", "FALSE"] * 20})
    rows.loc[0, "flag"] = "True"
    column = fitted(rows).schema.columns[1]
    assert (column.type, column.levels) == ("category", ("True", "FALSE"))


def test_whole_numbers_are_one_level_however_they_are_written(opened: Open) -> None:
    rows = pd.DataFrame({"x": RNG.normal(size=60), "zip": [10, 20, 30] * 20})
    encoder = fitted(rows, column_types={"zip": "category"})
    levels = encoder.schema.columns[1].levels
    with_blank = pd.DataFrame({"x": [1.0, 2.0, 3.0], "zip": [20.0, None, 30.0]})
    expected = [float(levels.index("20")), np.nan, float(levels.index("30"))]
    for content in (with_blank, with_blank.to_csv(index=False), with_blank.astype({"zip": object})):
        (batch,) = opened(content, encoder).batches()
        np.testing.assert_array_equal(batch.records[:, 1], expected)
    np.testing.assert_array_equal(encoder.matrix(with_blank)["zip"], expected)
    floats = fitted(
        rows.astype({"zip": str}) + {"x": 0.0, "zip": ".0"}, column_types={"zip": "category"}
    )
    (batch,) = opened("x,zip\n1,20\n2,\n3,30.0\n", floats).batches()
    order = [floats.schema.columns[1].levels.index(level) for level in ("20.0", "30.0")]
    np.testing.assert_array_equal(batch.records[:, 1], [order[0], np.nan, order[1]])


def test_the_index_that_pandas_writes_is_left_out(opened: Open) -> None:
    rows = pd.DataFrame({"a": RNG.normal(size=60), "b": RNG.normal(size=60)}).round(3)
    plain, text = fitted(rows), rows.sample(frac=1, random_state=0).to_csv()
    assert text.startswith(",a,b")
    source = opened(text)
    assert source.columns.features == ("a", "b")
    assert source.fit_notes(plain) == ["'': left out, the index of a pandas data frame"]
    assert opened(text, plain, strict=True).notes == ()
    assert opened(text, fitted(rows.to_numpy())).columns.features == ("a", "b")
    assert opened(text, plain, id_column="").key_name == ""
    with pytest.raises(DataError, match=r"column 1 has no name\. Name it, or leave it out"):
        opened(text, column_types={"": "number"})


# ------------------------------------------------------------------------------- Parquet


def write(columns: dict[str, pa.Array], **options: object) -> None:
    pq.write_table(pa.table(columns), "t.csv", **options)


def test_columns_of_parquet_that_are_no_features(opened: Open, tmp_path: Path) -> None:
    rows = pd.DataFrame({"a": RNG.normal(size=60), "b": RNG.normal(size=60)})
    indexed = rows.assign(key=[f"k{i}" for i in range(60)], tags=[[1], [2, 3]] * 30)
    plain = fitted(rows)
    for frame, index in (
        (indexed.set_index("key"), "key"),
        (indexed.drop(columns="key").sample(frac=1, random_state=0), "__index_level_0__"),
    ):
        source = opened(frame)
        assert source.columns.features == ("a", "b")
        assert source.fit_notes(plain) == [
            "'tags': left out, the type list<element: int64>",
            f"'{index}': left out, the index of a pandas data frame",
        ]
        scored = opened(frame.drop(columns="tags"), plain, strict=True)
        assert scored.notes == ()
        assert opened(frame, column_types={index: "category"}).columns.features[-1] == index
        assert opened(frame, id_column=index).columns.features == ("a", "b")
        assert opened(frame, plain, id_column=index).key_name == index
        unnamed = fitted(rows.to_numpy())
        assert opened(frame.drop(columns="tags"), unnamed).columns.features == ("a", "b")
    assert opened(rows).columns.features == ("a", "b")  # a range is no column
    with pytest.raises(DataError, match="column 'tags': expected numbers, got the type list"):
        list(opened(indexed, column_types={"tags": "category"}).batches())


def test_types_of_parquet_are_those_of_frames(opened: Open) -> None:
    day = datetime(2026, 1, 1)
    n = 60
    columns = {
        "number": pa.array(RNG.normal(size=n)),
        "decimal": pa.array([Decimal(f"{i % 7}.25") for i in range(n)]),
        "level": pa.array(["red", "green", None] * 20).dictionary_encode(),
        "flag": pa.array([True, None, False] * 20),
        "text": pa.array([f"{i % 7}.5" for i in range(n)]),
        "holes": pa.array([1, None, 3] * 20),
        "when": pa.array([day + timedelta(hours=i) for i in range(n)], pa.timestamp("us")),
    }
    opened(pd.DataFrame({"a": [1]}))
    write(columns)
    with modality("table").open("t.csv", fitting=True) as source:
        records, _ = read_sample(source, no_progress, lambda: None)
        encoder = fitted(source.training_data(records))
    types = {name: one.type for name, one in zip(columns, encoder.schema.columns, strict=True)}
    assert types == {
        "number": "number",
        "decimal": "number",
        "level": "category",
        "flag": "category",
        "text": "number",
        "holes": "number",
        "when": "date",
    }
    with modality("table").open("t.csv", encoder) as source:
        from_file = np.concatenate([batch.records for batch in source.batches()])
    frame = pa.table(columns).to_pandas()
    np.testing.assert_array_equal(encoder.matrix(frame).to_numpy(), from_file)
    assert np.isnan(from_file).sum(axis=0).tolist() == [0, 0, 20, 20, 0, 20, 0]


@pytest.mark.parametrize("year", [1600, 2026, 2262, 2300, 9999])
def test_timestamps_of_96_bits_are_not_shifted(opened: Open, year: int) -> None:
    if year < 1677 and int(pa.__version__.split(".")[0]) < 24:
        pytest.skip("this pyarrow writes such dates wrong")
    dates = [datetime(year, 1 + i % 12, 1 + i % 28, i % 24) for i in range(60)]
    opened(pd.DataFrame({"a": [1]}))
    write(
        {"a": pa.array(RNG.normal(size=60)), "when": pa.array(dates, pa.timestamp("us"))},
        use_deprecated_int96_timestamps=True,
    )
    assert pq.ParquetFile("t.csv").schema.column(1).physical_type == "INT96"
    with modality("table").open("t.csv", fitting=True) as source:
        assert list(learned(source)["when"]) == dates


def test_whole_numbers_floats_and_their_text_are_one_column(opened: Open) -> None:
    encoder = fitted(pd.DataFrame({"a": RNG.randint(9, size=60), "b": RNG.randint(9, size=60)}))
    whole = pd.DataFrame({"b": [1, 2, 3], "a": [4, 5, 6]})
    blank = pd.DataFrame({"b": [1.0, None, 3.0], "a": [4, 5, 6]})
    text = blank.astype(str).replace("nan", "")
    for content in (whole, blank, text, blank.to_csv(index=False), blank.astype("float32")):
        with opened(content, encoder) as source:
            (batch,) = source.batches()
            second = np.nan if content is not whole else 2.0
            np.testing.assert_array_equal(batch.records, [[4, 1], [5, second], [6, 3]])
            assert source.reading_notes() == []
    message = "column 'a': expected numbers, got the type bool. Convert the column."
    with pytest.raises(DataError, match=message):
        list(opened(whole.astype({"a": bool}), encoder).batches())


def test_text_in_dates_is_counted_too(opened: Open) -> None:
    days = pd.date_range("2026-01-01", periods=400).strftime("%Y-%m-%d")
    encoder = fitted(pd.DataFrame({"a": RNG.normal(size=400), "day": days}))
    text = "a,day\n1,2026-03-01\n2,soon\n3,\n4,2026-03-04\n"
    source = opened(text, encoder)
    (batch,) = source.batches()
    assert batch.records[1, 1] == STRAY_CODE
    assert source.reading_notes() == [
        "note: t.csv: 1 cell of column 'day' is no date and counts as unexpected: 'soon' in line 3"
    ]
    words = "t.csv, line 3, column 'day': expected a date, got 'soon'."
    assert refusal(opened(text, encoder, strict=True)).startswith(words)
    assert refusal(opened("a,day\n1,x\n2,y\n3,\n", encoder)).startswith(
        "t.csv, column 'day': expected dates, as in training, got text in 2 of 3 cells, the first"
    )
