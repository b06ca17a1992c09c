"""Invalid tables, and unusual valid ones: cases 1 to 56."""

# ruff: noqa: E501 - a case should fit on a line
from __future__ import annotations

import csv
import gzip
import io
import os
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vae_anomaly import load
from vae_anomaly.model.model import Model

H = b"flow,pressure\n"
SCORE = "score flow.vae t.csv -o out.csv"
STRICT = f"{SCORE} --strict"
FIT = "fit t.csv -o out.vae --max-steps 5 --members 1 --contamination 0.1"
FIX = "Correct the cell or remove the row."
NO_SUCH = "t.csv lacks 2 columns that the model names: 'flow', 'pressure'."
EMPTY = "t.csv is empty. Expected a line of column names, then rows."
RAGGED = "expected 2 fields, as in the header, got"


def parquet(columns, **options) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(
        columns if isinstance(columns, pa.Table) else pa.table(columns), buffer, **options
    )
    return buffer.getvalue()


def flows(array, **others) -> bytes:
    """Return a Parquet file with an array as column "flow"."""
    return parquet({"flow": array, "pressure": [2.0] * len(array)} | others)


def cell(value: str, message: str):
    """Return the case of an invalid cell."""
    content = H + f"1,2\n3,{value}\n".encode()
    return content, STRICT, 3, f"t.csv, line 3, column 'pressure': {message} {FIX}"


def no_number(value: str, shown: str | None = None):
    return cell(value, f"expected a number, got {shown or repr(value)}.")


def typed(array, dtype: str):
    return (
        flows(array),
        SCORE,
        3,
        f"t.csv, column 'flow': expected numbers, got the type {dtype}. Con",
    )


FLIPPED = bytearray(parquet({"flow": np.arange(1000.0), "pressure": np.arange(1000.0)},
                            write_page_checksum=True, compression="none"))  # fmt: skip
FLIPPED[len(FLIPPED) // 3] ^= 1
SOUND = flows([1.0, 2.0])
TWICE = pa.Table.from_arrays([pa.array([1.0])] * 3, names=["flow", "flow", "pressure"])
UNSOUND = "t.csv is not a sound Parquet file: "

REFUSED = {
    "1 empty": (b"", SCORE, 3, EMPTY),
    "2 newlines": (b"\n\r\n\n", SCORE, 3, EMPTY),
    "3 header only": (H, FIT, 3, "t.csv has 0 rows below its column names. Expected at least 2"),
    "4 columns missing": (b"x,y\n1,2\n", SCORE, 3, f"{NO_SUCH} Its columns are 'x', 'y'."),
    "5 extra, strict": (b"flow,pressure,x\n1,2,3\n", f"{SCORE} --strict", 3,
                        "t.csv: the model does not know 'x'. Remove what is extra, or score witho"),
    "7 name twice": (b"flow,flow,pressure\n1,2,3\n", SCORE, 3,
                     "t.csv has more than one column called 'flow'. Rename them: columns are to"),
    "8 no name": (b"flow,\n1,2\n2,3\n", FIT, 3, "t.csv: column 2 has no name. Name it, or leave"),
    "9 spelled differently": (b"Flow, Pressure\n1,2\n", SCORE, 3, f"{NO_SUCH} Did you mean 'Flow' for "
                            "'flow', 'Pressure' for 'pressure'? Names must agree exactly."),
    "10 no header": (b"1,2\n3,4\n", SCORE, 3, "t.csv begins with numbers, '1,2'. Put a line of"),
    "11 text": no_number("off"),
    "11 text far down": (H + b"1.5,2.5\n" * 200_000 + b"1,x\n", STRICT, 3,
                         "t.csv, line 200002, column 'pressure': expected a number, got 'x'."),
    "11 long text": no_number("x" * 100, "'" + "x" * 35 + "...'"),
    "11 escapes": no_number("\x1b[31m2"),
    "12 infinite": cell("inf", "expected a finite number, got 'inf'."),
    "12 too large": cell("1e400", "expected a finite number, got '1e400'."),
    "15 thousands": no_number('"1,000"', "'1,000'"),
    "15 underscore": no_number("1_000"),
    "15 hexadecimal": no_number("0x10"),
    "15 Arabic digit": no_number("\u0661"),
    "16 decimal comma": no_number('"1,5"', "'1,5'"),
    "18 UTF-16": ("flow,pressure\n".encode("utf-16"), SCORE, 3, "t.csv is UTF-16 text. Save it as"),
    "18 UTF-16, unmarked": ("flow\n".encode("utf-16-le"), SCORE, 3, "t.csv, line 1: a NUL byte."),
    "18 UTF-32": ("flow,pressure\n".encode("utf-32"), SCORE, 3, "t.csv is UTF-32 text. Save it as"),
    "19 Latin-1 in an unused column": (b"flow,pressure,n\n1,2,caf\xe9\n", SCORE, 3,
                                       "t.csv, line 2: the byte 0xe9 is not UTF-8 text. Save the"),
    "20 two encodings": (b"flow,pressure,n\n1,2,\xc3\xa9\n1,2,\xe9\n", SCORE, 3,
                         "t.csv, line 3: the byte 0xe9 is not UTF-8 text."),
    "21 long row": (H + b"1,2\n1,2,3\n", STRICT, 3, f"t.csv, line 3: {RAGGED} 3. Quote cells that"),
    "22 short row": (H + b"1,2\n1\n", STRICT, 3, f"t.csv, line 3: {RAGGED} 1. Complete the row or"),
    "23 every row long": (H + b"1,2,3\n4,5,6\n", SCORE, 3, f"t.csv, line 2: {RAGGED} 3. Line 3 is "
                          "wrong as well. Quote cells that hold a comma, or remove the row."),
    "24 commas at the ends": (H + b"1,2,\n3,4,\n", SCORE, 3, f"t.csv, line 2: {RAGGED} 3. Line 3 is "
                              "wrong as well. Remove the comma at the end of the line."),
    "25 cut off": (H + b"1,2\n3", STRICT, 3, f"t.csv, line 3: {RAGGED} 1. Complete the row"),
    "26 NUL": (H + b"1,2\n3,\x004\n", SCORE, 3, "t.csv, line 3: a NUL byte. This is not a text"),
    "27 quote open": (H + b'1,2\n1,"2\n3,4\n', STRICT, 3,
                      "t.csv, line 3: a quote is opened and never closed. Close it."),
    "27 long quoted cell": (H + b'1,"' + b"2" * 200_000 + b'"\n', f"{SCORE} --strict", 3,
                            "t.csv, line 2, column 'pressure': expected a finite number, got '222"),
    "28 lines in quotes": (b'flow,pressure,n\n1,2,"a\nb"\nx,2,c\n', FIT, 3,
                           "t.csv, line 4, column 'flow': expected a number, got 'x'."),
    "30 comment": (b"# made by x\nflow,pressure\n1,2\n", SCORE, 3,
                   "t.csv begins with a comment, '# made by x'. Remove it: the first line holds"),
    "30 comment below": (H + b"# units\n1,2\n", STRICT, 3, f"t.csv, line 2: {RAGGED} 1."),
    "32 booleans in text": no_number("TRUE"),
    "36 all constant": (H + b"1,7\n1,7\n1,7\n", FIT, 3, "All 2 columns are constant in the 3 training"),
    "41 gzip": (gzip.compress(H + b"1,2\n"), SCORE, 3, "t.csv looks like a gzip archive. Unpack it "
                "first, or pipe it in: gzip -dc FILE | ..."),
    "41 gzip, cut off": (gzip.compress(H)[:12], SCORE, 3, "t.csv looks like a gzip archive."),
    "41 zstd": (b"\x28\xb5\x2f\xfd12", SCORE, 3, "t.csv looks like a zstd archive."),
    "41 bzip2": (b"BZh91AY", SCORE, 3, "t.csv looks like a bzip2 archive."),
    "45 missing": (b"", "score flow.vae no.csv -o out.csv", 5, "Cannot read no.csv: there is no such"),
    "45 missing folder": (b"", "score flow.vae t.csv/x -o out.csv", 5, "Cannot read t.csv/x: there is"),
    "45 links in a circle": (b"", "score flow.vae loop -o out.csv", 5,
                             "Cannot read loop: its symbolic links go round in circles."),
    "45 long name": (b"", f"score flow.vae {'x' * 300} -o out.csv", 5, f"Cannot read {'x' * 300}: its"),
    "45 directory": (b"", "score flow.vae folder -o out.csv", 3, "folder holds images, but the mode"),
    "46 image": (b"\x89PNG\r\n\x1a\n" + bytes(9), SCORE, 3, "t.csv holds images, but the model "
                   "was fitted on a table. Give it a table, or fit a model on images."),
    "46 program": (b"\x7fELF\x02\x01\x01\0\0", SCORE, 3, "t.csv, line 1: a NUL byte. This is not a"),
    "46 pickle": (b"\x80\x04\x95", SCORE, 3, "t.csv, line 1: the byte 0x80 is not UTF-8 text."),
    "46 workbook": (b"PK\x03\x04\x14\0", SCORE, 3, "t.csv looks like a zip archive or an Excel workb"),
    "46 web page": (b"<!DOCTYPE html>\n<p>Sign in\n", SCORE, 3, f"{NO_SUCH} Its columns are '<!DOC"),
    "48 no Parquet": (H, "score flow.vae t.parquet -o out.csv", 3, "t.parquet is not a Parquet file"),
    "48 magic only": (b"PAR1", SCORE, 3, UNSOUND),
    "48 magic twice": (b"PAR1PAR1", SCORE, 3, UNSOUND),
    "48 cut off": (SOUND[:-40], SCORE, 3, UNSOUND),
    "48 footer forged": (SOUND[:-8] + b"\xff\xff\xff\x7fPAR1", SCORE, 3, UNSOUND),
    "48 footer of noise": (SOUND[:-60] + b"\xa5" * 52 + SOUND[-8:], SCORE, 3, UNSOUND),
    "49 encrypted": (b"PARE" + bytes(50) + b"PARE", SCORE, 3, "t.csv looks like an encrypted Parquet "
                     "file. Decrypt it first."),
    "50 list": typed(pa.array([[1.0]]), "list<element: double>"),
    "50 struct": typed(pa.array([{"a": 1}]), "struct<a: int64>"),
    "50 binary": typed(pa.array([b"1"]), "binary"),
    "50 text": (flows(pa.array(["a"])), SCORE, 3, "t.csv, column 'flow': expected numbers, as in training, "
                "got text in 1 of 1 cells, the first 'a' in row 1. Check that it is the column"),
    "51 timestamp": typed(pa.array([1], pa.timestamp("ns")), "timestamp[ns]"),
    "51 date": typed(pa.array([1], pa.date32()), "date32[day]"),
    "51 duration": typed(pa.array([1], pa.duration("s")), "duration[s]"),
    "51 infinite half": (flows(pa.array(np.array([np.inf], np.float16))), f"{SCORE} --strict", 3,
                         f"t.csv, row 1, column 'flow': expected a finite number, got inf. {FIX}"),
    "53 name twice": (parquet(TWICE), SCORE, 3, "t.csv has more than one column called 'flow'."),
    "55 checksum": (bytes(FLIPPED), SCORE, 3, UNSOUND),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(place, vae, case):
    content, line, code, message = REFUSED[case]
    (place / "t.csv").write_bytes(content)
    (place / "t.parquet").write_bytes(content)
    (place / "folder").mkdir()
    (place / "loop").symlink_to("loop")
    outcome = vae(line)
    assert outcome.code == code, outcome
    assert outcome.error.startswith(message), outcome.error
    assert len(outcome.error) < 700


def scores(path="out.csv") -> list[str]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return [row["anomaly_score"] for row in csv.DictReader(file)]


TWO = H + b"10,20\n11,25\n"
NOTE = "note: t.csv: the model does not know {}; ignored"

ACCEPTED = {
    "5 extra columns": (b"x,flow,pressure\nq,10,20\nr,11,25\n", NOTE.format("'x'")),
    "6 other order": (b"pressure,flow\n20,10\n25,11\n", None),
    "8 the index of pandas": (b",flow,pressure\n0,10,20\n1,11,25\n", None),
    "8 a column without a name": (b"flow,pressure,\n10,20,0\n11,25,1\n", NOTE.format("''")),
    "17 byte-order mark": (b"\xef\xbb\xbf" + TWO, None),
    "28 lines in quotes": (b'flow,pressure,n\n10,20,"a\nb"\n11,25,"c"\n', NOTE.format("'n'")),
    "29 CRLF": (TWO.replace(b"\n", b"\r\n"), None),
    "29 CR": (TWO.replace(b"\n", b"\r"), None),
    "29 mixed": (b"flow,pressure\r\n10,20\n11,25\r", None),
    "31 blank lines": (b"\n" + TWO.replace(b"\n", b"\n\n\n"), None),
    "spaces, signs, exponents": (H + b" 1e1,+20.\n11 ,.25e2\n", None),
    "16 semicolons": (b"flow;pressure\n10;20,0\n11,0;2,5e1\n", "note: t.csv: semicolons separate its "
                      "columns, and a comma is the decimal mark"),
    "16 tabs": (TWO.replace(b",", b"\t"), "note: t.csv: tabs separate its columns"),
    "16 blanks": (b'flow, pressure\n10, "20"\n 11, 25\n', None),
    "46 Parquet with another suffix": (parquet({"flow": [10, 11], "pressure": [20, 25]}), None),
    "50 nested, unused": (parquet({"flow": [10, 11], "pressure": [20, 25], "l": [[1], []]}),
                          NOTE.format("'l'")),
    "50 text": (parquet({"flow": ["10", "11"], "pressure": ["20.0", " 25"]}), None),
    "51 whole numbers": (parquet({"flow": pa.array([10, 11], pa.int8()),
                                  "pressure": pa.array([20, 25], pa.uint64())}), None),
    "51 decimals": (parquet({"flow": pa.array([10, 11]).cast(pa.decimal256(50, 3)),
                             "pressure": pa.array([20, 25]).cast(pa.decimal128(30, 9))}), None),
    "51 floats": (parquet({"flow": pa.array(np.array([10, 11], np.float16)),
                           "pressure": pa.array(np.array([20, 25], np.float32))}), None),
    "51 dictionaries": (parquet({"flow": pa.array([10, 11]).dictionary_encode(),
                                 "pressure": pa.array([20.0, 25.0]).dictionary_encode()}), None),
}  # fmt: skip


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted_with_identical_scores(place, vae, case):
    (place / "t.csv").write_bytes(TWO)
    assert vae(SCORE).code == 0
    expected = scores()
    content, note = ACCEPTED[case]
    (place / "t.csv").write_bytes(content)
    outcome = vae(SCORE)
    assert outcome.code == 0
    assert scores() == expected
    assert [line for line in outcome.lines if line.startswith("note")] == ([note] if note else [])


def test_header_only_scores_nothing_case_3(place, vae):
    (place / "t.csv").write_bytes(H)
    assert vae(SCORE).code == 0
    assert Path("out.csv").read_bytes() == b"row,anomaly_score,is_anomaly,status\n"


MISSING = {
    "13 NaN": H + b"1,2\nNaN,2\n",
    "13 empty cell": H + b"1,2\n,2\n",
    "14 NA": H + b"1,2\nNA,2\n",
    "14 null": H + b"1,2\nnull,2\n",
    "14 dash": H + b"1,2\n-,2\n",
    "25 cut off at a comma": H + b"1,2\n3,",
    "51 missing in a dictionary": flows(pa.array([1.0, None]).dictionary_encode()),
    "51 NaN": flows(pa.array([1.0, float("nan")])),
}


@pytest.mark.parametrize("case", MISSING)
def test_a_missing_cell_is_unexpected_where_none_was_missing_in_training(place, vae, case):
    (place / "t.csv").write_bytes(MISSING[case])
    assert vae(f"{SCORE} --explain 2").code == 0
    result = pd.read_csv("out.csv")
    assert np.isfinite(result["anomaly_score"]).all()
    assert result["reason_1"][1] == ("pressure" if "comma" in case else "flow")


def test_booleans_of_parquet_are_no_numbers_case_32(place, vae):
    (place / "t.csv").write_bytes(flows(pa.array([True, False])))
    outcome = vae(SCORE)
    assert outcome.code == 3
    assert "column 'flow': expected numbers, got the type bool. Convert" in outcome.lines[-1]


def test_a_constant_column_contributes_only_when_it_varies_case_35(place, vae):
    rng = np.random.RandomState(0)
    rows = [f"{value!r},7" for value in rng.normal(size=40).tolist()]
    (place / "t.csv").write_text("a,b\n" + "\n".join(rows))
    outcome = vae(FIT)
    assert outcome.code == 0
    assert "constant in training, any other value will count as anomalous: 'b'" in outcome.lines
    detector = load("out.vae")
    same, near, far = -detector.score_samples(_frame([[0.5, 7.0], [0.5, 8.0], [0.5, 1e300]]))
    assert same < near < far
    assert np.isfinite(far)
    assert detector.explain(_frame([[0.5, 7.0]]))["b"][0] == 0


def _frame(rows):
    import pandas as pd

    return pd.DataFrame(rows, columns=["a", "b"])


def test_large_integers_and_offsets_keep_their_precision_cases_37_38(place, vae):
    rng = np.random.RandomState(0)
    steps = rng.randint(-(10**6), 10**6, size=(60, 2))
    scores_by_offset = []
    for offset in (0, 2**40):
        lines = [f"{a + offset},{b + offset}" for a, b in steps.tolist()]
        (place / "t.csv").write_text("a,b\n" + "\n".join(lines))
        assert vae(FIT).code == 0
        frame = _frame((steps + offset).astype(float))
        scores_by_offset.append(load("out.vae").score_samples(frame))
    np.testing.assert_allclose(*scores_by_offset, rtol=1e-6, atol=1e-6)
    (place / "t.csv").write_text("flow,pressure\n9007199254740993,2\n")
    assert vae(SCORE).code == 0
    assert np.isfinite(float(scores()[0]))


def test_many_columns_case_39(place, vae):
    names = ",".join(f"c{i}" for i in range(50_000))
    row = ",".join("1" for _ in range(50_000))
    (place / "t.csv").write_text(f"{names}\n{row}\n")
    outcome = vae(SCORE)
    assert outcome.code == 3
    assert outcome.error.endswith("'c8', 'c9' and 49990 more.")
    (place / "t.csv").write_text(f"flow,pressure,{names}\n10,20,{row}\n")
    assert vae(SCORE).code == 0


def test_tables_are_read_from_pipes_case_42(place, vae):
    assert vae("score flow.vae - -o out.csv", stdin=TWO).code == 0
    expected = scores()
    os.mkfifo("pipe")
    writer = threading.Thread(target=Path("pipe").write_bytes, args=(TWO,))
    writer.start()
    (place / "out.csv").unlink()
    outcome = vae("score flow.vae pipe -o out.csv")
    writer.join()
    assert outcome.code == 0
    assert scores() == expected


@pytest.mark.parametrize("file_type", ["csv", "parquet"])
@pytest.mark.parametrize("change", ["grows", "shrinks", "is replaced"])
def test_a_file_that_changes_while_it_is_read_cases_43_44(
    place, vae, monkeypatch, file_type, change
):
    columns = {"flow": np.arange(9000.0), "pressure": np.arange(9000.0)}
    is_parquet = file_type == "parquet"
    content = parquet(columns, row_group_size=1000) if is_parquet else H + b"10,20\n" * 9000
    (place / "t.csv").write_bytes(content)
    # Batches are read ahead of scoring: small ones, so that a part of the file is still unread.
    monkeypatch.setattr("vae_anomaly.data.table.reader.MAX_BATCH_ROWS", 1000)
    evaluate = Model.evaluate

    def change_file(*args, **options):
        if change == "shrinks":
            os.truncate("t.csv", 8000)
        elif change == "grows":
            with Path("t.csv").open("ab") as file:
                file.write(b"10,20\n")
        else:
            Path("other.csv").write_bytes(content.replace(b"10,20", b"99,99"))
            Path("other.csv").replace("t.csv")
        return evaluate(*args, **options)

    monkeypatch.setattr(Model, "evaluate", change_file)
    from vae_anomaly.cli import run

    assert run(SCORE.split()) == 5
    assert (place / "out.csv").read_bytes() == b"old output\n"
    assert not list(place.glob(".*.tmp"))


def test_a_file_name_that_is_not_utf_8(place, vae):
    for name, content in (("n\udcff.csv", TWO), ("n\udcff.pq", flows([10.0, 11.0]))):
        (place / name).write_bytes(content)
        assert vae(f"score flow.vae {name} -o out.csv").code == 0
        assert len(scores()) == 2
    outcome = vae("score flow.vae gone\udcff.csv -o out.csv")
    assert outcome.code == 5


def test_columns_that_only_count_are_left_out_case_47(place, vae):
    rows = [f"{i},{v!r}" for i, v in enumerate(np.random.RandomState(0).normal(size=30).tolist())]
    (place / "t.csv").write_text("serial,flow\n" + "\n".join(rows))
    outcome = vae(FIT)
    assert outcome.code == 0
    assert "'serial': left out, counter: counts up from row to row" in outcome.lines


def test_row_groups_are_read_in_batches_cases_52_56(tmp_path):
    """A few bytes of run-length encoding can hold any number of rows."""
    from vae_anomaly.data.table.files import open_table

    pq.write_table(pa.table({"a": pa.array(np.zeros(3_000_000))}), tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 20_000
    with open_table(tmp_path / "t.parquet") as table:
        sizes = [batch.num_rows for batch in table.batches(["a"])]
    assert sum(sizes) == 3_000_000
    assert max(sizes) <= 65_536


# ----------------------------------------------------------------------- spreadsheet formulas

FORMULAS = {
    "=1+1": "'=1+1",
    "=cmd|' /C calc'!A0": "'=cmd|' /C calc'!A0",
    "@SUM(A1)": "'@SUM(A1)",
    "+cmd": "'+cmd",
    "-cmd": "'-cmd",
    "\t=1": "'\t'=1",
    "\uff1d1": "'\uff1d1",
    "a;=1": "a;'=1",
    "-5": "-5",
    "+1e3": "+1e3",
    "pump = 1": "pump = 1",
    "'=1": "'=1",
}


def test_identifiers_in_csv_are_not_formulas(place, vae):
    with (place / "t.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["=id", "flow", "pressure"])
        writer.writerows([text, 10, 20] for text in FORMULAS)
    outcome = vae(f"{SCORE} --id-column '=id'")
    assert outcome.code == 0
    assert [line for line in outcome.lines if line.startswith("warning: a ' was put before text")]
    with Path("out.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header[0] == "'=id"
    assert [row[0] for row in rows] == list(FORMULAS.values())
    assert vae("score flow.vae t.csv -o out.parquet --id-column '=id'").code == 0
    assert pq.read_table("out.parquet")["=id"].to_pylist() == list(FORMULAS)


def test_column_names_in_csv_are_not_formulas(place, vae):
    table = {"=cmd|'x'!A0": np.arange(9.0) ** 2, "+b": np.cos(np.arange(9.0))}
    (place / "t.csv").write_bytes(parquet(table))
    assert vae(FIT).code == 0
    assert vae("score out.vae t.csv -o out.csv --explain 2").code == 0
    with Path("out.csv").open(encoding="utf-8", newline="") as file:
        reasons = {row[f"reason_{k}"] for row in csv.DictReader(file) for k in (1, 2)}
    assert reasons - {""} <= {"'=cmd|'x'!A0", "'+b"}
