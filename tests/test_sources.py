"""Readers of tables: accepted files, and the exact message for each refused one."""

import csv
import gzip
import io
import operator
import os
import random
import threading
from itertools import dropwhile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vae_anomaly.data import csv_content
from vae_anomaly.data.cells import MISSING, WEAKLY_MISSING
from vae_anomaly.data.table import csv_reader, reader
from vae_anomaly.data.table.files import open_table
from vae_anomaly.data.table.reader import CellError
from vae_anomaly.data.table.source import matrix_of
from vae_anomaly.exceptions import DataError

NO_NUMBERS = sorted(MISSING | WEAKLY_MISSING)


@pytest.fixture
def table(tmp_path):
    """Write bytes and open them as a table called pump.csv."""
    opened = []

    def open_bytes(content, name="pump.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        os.chdir(tmp_path)
        opened.append(open_table(name))
        return opened[-1]

    before = os.getcwd()  # noqa: PTH109
    yield open_bytes
    os.chdir(before)
    for source in opened:
        source.close()


def read(source, numbers, keep=()):
    parts = [batch.to_pydict() for batch in source.batches(numbers, keep)]
    return {name: [v for part in parts for v in part[name]] for name in (*numbers, *keep)}


def refusal(call, *args):
    with pytest.raises(DataError) as caught:
        call(*args)
    return str(caught.value)


# ----------------------------------------------------------------------- accepted CSV


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,2\n3,4\n",
        "a,b\n1,2\n3,4",
        "a,b\r\n1,2\r\n3,4\r\n",
        "a,b\r1,2\r3,4\r",
        "a,b\n\n1,2\n\n3,4\n\n",
        "\n\na,b\n1,2\n3,4\n",
        "\ufeffa,b\n1,2\n3,4\n",
        '"a","b"\n"1","2"\n"3","4"\n',
        "a,b\n 1,2 \n+3,4.\n",
        "a,b\n1e0,.2e1\n3.0,4E+0\n",
    ],
)
def test_spellings_of_one_table(table, text):
    source = table(text)
    assert source.columns == ("a", "b")
    assert read(source, ["b", "a"]) == {"b": [2.0, 4.0], "a": [1.0, 3.0]}
    assert source.check(["a"]) == 2


def test_kept_columns_are_passed_on_as_text(table):
    source = table('id,a,note\n007,1,"x, ""y""\nz"\nNA,2,\n')
    assert read(source, ["a"], ["id", "note"]) == {
        "a": [1.0, 2.0],
        "id": ["007", "NA"],
        "note": ['x, "y"\nz', ""],
    }
    assert source.type_of("id") == pa.string()


@pytest.mark.parametrize("text", ["a,b\n", "a,b", "a,b\n\n\n"])
def test_header_only_is_a_table_without_rows(table, text):
    assert read(table(text), ["a", "b"]) == {"a": [], "b": []}


def test_numbers_are_read_exactly(table):
    values = ["0.1", "1e-320", "1.7976931348623157e308", "9007199254740993", "-0.0"]
    got = read(table("a\n" + "\n".join(values) + "\n"), ["a"])["a"]
    assert list(map(repr, got)) == [repr(float(value)) for value in values]


def test_text_in_unused_columns_does_not_matter(table):
    assert read(table("a,b\n1,nan\n2,\n"), ["a"]) == {"a": [1.0, 2.0]}


def test_batches_are_bounded(table, monkeypatch):
    monkeypatch.setattr(reader, "MAX_BATCH_ROWS", 100)
    rows = 1000
    source = table("a,b\n" + "".join(f"{i},{i / 7}\n" for i in range(rows)))
    sizes = [batch.num_rows for batch in source.batches(["a", "b"])]
    assert max(sizes) <= 100
    assert sum(sizes) == rows
    assert reader.rows_of_batch(10**6) == 4


# ------------------------------------------------------------------------ refused CSV

ADVICE = "Correct the cell or remove the row."


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("off", "expected a number, got 'off'."),
        ("inf", "expected a finite number, got 'inf'."),
        ("-Infinity", "expected a finite number, got '-Infinity'."),
        ("1e400", "expected a finite number, got '1e400'."),
        ("1_000", "expected a number, got '1_000'."),
        ("0x10", "expected a number, got '0x10'."),
        ("TRUE", "expected a number, got 'TRUE'."),
        ("2026-11-21", "expected a number, got '2026-11-21'."),
        ("\u0661", "expected a number, got '\u0661'."),
        ('"1,5"', "expected a number, got '1,5'."),
        ("a\x1b[31mb", r"expected a number, got 'a\x1b[31mb'."),
        ("x" * 100, "expected a number, got 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...'."),
    ],
)
@pytest.mark.parametrize("before", ["1,2\n", '\n"1","2"\n'], ids=["plain", "quoted"])
def test_a_cell_that_is_no_number(table, value, words, before):
    source = table(f"flow,pressure\n{before}3,4\n5,{value}\n6,oops\n")
    line = 4 if before == "1,2\n" else 5
    message = refusal(source.check, ["flow", "pressure"])
    assert message == f"pump.csv, line {line}, column 'pressure': {words} {ADVICE}"
    assert source.check(["flow"]) == 4


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ('"a","b"\n1,2\n', False),
        ('\ufeff"a","b"\r\n1,2\r\n', False),
        ('a,b\n1,"2"\n', True),
        ('"a","b\nc"\n1,2\n', True),
        ('"a","b"\r1,"2"\r\n3,4\n', True),
    ],
)
def test_quotes_around_names_alone_do_not_make_reading_slow(table, text, has):
    source = table(text)
    assert source._content.has_quotes == has
    assert source.check(["a"]) == text.count("1,") + text.count("3,")


def test_a_cell_error_knows_its_column(table):
    with pytest.raises(CellError) as caught:
        table("a,b c\n1,x\n").check(["a", "b c"])
    assert caught.value.column == "b c"
    assert caught.value.fact == "pump.csv, line 2, column 'b c': expected a number, got 'x'."


def test_lines_are_counted_through_quoted_line_ends(table):
    source = table('a,b\n1,"x\ny"\n\n2,z\nbad,w\n')
    assert refusal(source.check, ["a"]).startswith("pump.csv, line 6, column 'a': ")


def test_a_bad_cell_far_down_is_found(table):
    rows = 300_000
    source = table("a,b\n" + "1.5,2.5\n" * rows + "1.5,off\n")
    assert refusal(source.check, ["a", "b"]).startswith(f"pump.csv, line {rows + 2}, column 'b': ")


RAGGED = "expected 2 fields, as in the header, got"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3\n", f"line 3: {RAGGED} 1. Complete the row or remove it."),
        ("a,b\n1,2\n3", f"line 3: {RAGGED} 1. Complete the row or remove it."),
        (
            "a,b\n1,2,3\n",
            f"line 2: {RAGGED} 3. Quote cells that hold a comma, or remove the row.",
        ),
        ("a,b\n1,2,\n", f"line 2: {RAGGED} 3. Remove the comma at the end of the line."),
        ('a,b\n1,"2\n3,4\n', "line 2: a quote is opened and never closed. Close it."),
        ('a,b\n1,"2\n3,"4\n', "line 2: text after a closing quote. Double the quotes"),
        ("a,b\n1,\x002\n", "line 2: a NUL byte. This is not a text file, or it is UTF-16"),
        (b"a,b\n1,2\n\xe9,3\n", "line 3: the byte 0xe9 is not UTF-8 text. Save the file as UTF-8."),
        (b"a,b\n1,2\n3,\xc3", "line 3: the byte 0xc3 is not UTF-8 text. Save the file as UTF-8."),
    ],
)
def test_damaged_rows(table, text, message):
    def use():
        table(text).check(["a"])

    assert refusal(use).startswith(f"pump.csv, {message}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "pump.csv is empty. Expected a line of column names, then rows."),
        (b"\n\r\n \n", "pump.csv is empty. Expected a line of column names, then rows."),
        (b"\xef\xbb\xbf", "pump.csv is empty. Expected a line of column names, then rows."),
        ("a,b\n1,2\n".encode("utf-16"), "pump.csv is UTF-16 text. Save it as UTF-8."),
        ("a,b\n1,2\n".encode("utf-32"), "pump.csv is UTF-32 text. Save it as UTF-8."),
        ("a,b\n".encode("utf-16-le"), "pump.csv, line 1: a NUL byte."),
        (b"caf\xe9,b\n1,2\n", "pump.csv, line 1: the byte 0xe9 is not UTF-8 text."),
        (b"a,b,a\n1,2,3\n", "pump.csv has more than one column called 'a'. Rename them"),
        (b"a,,\n1,2,3\n", "pump.csv has more than one column called ''. Rename them"),
        (b"# made by x\na,b\n1,2\n", "pump.csv begins with a comment, '# made by x'. Remove it"),
        (b"sep=;\na;b\n1;2\n", "pump.csv begins with a line for spreadsheets, 'sep='. Remove it"),
        (
            b"1,2\n3,4\n",
            "pump.csv begins with numbers, '1,2'. Put a line of column names above them, or, if",
        ),
        (
            gzip.compress(b"a,b\n1,2\n", mtime=0),
            "pump.csv looks like a gzip archive. Unpack it first",
        ),
        (b"PK\x03\x04xxxx", "pump.csv looks like a zip archive or an Excel workbook."),
        (b"\x89PNG\r\n\x1a\n", "pump.csv looks like a PNG image. Expected a CSV or Parquet table."),
        (b"PAR1", "pump.csv is not a sound Parquet file"),
        (b"PAR1" + b"x" * 100 + b"PAR1", "pump.csv is not a sound Parquet file"),
    ],
)
def test_files_that_are_no_tables(table, content, message):
    assert refusal(table, content).startswith(message)


def test_a_name_alone_makes_no_parquet(table):
    assert refusal(table, b"a,b\n1,2\n", "x.parquet") == (
        "x.parquet is not a Parquet file, in spite of its name."
    )


def test_text_columns_are_recognised_by_their_first_rows(table):
    source = table("id,a,gap,mixed\nx1,1,,2\nx2,2,NA,oops\n")
    assert source.text_columns() == {"id": "x1"}


def test_an_encoding_error_beyond_the_first_block(table, monkeypatch):
    monkeypatch.setattr(csv_reader, "CHUNK_BYTES", 16)
    monkeypatch.setattr(csv_reader, "BLOCK_BYTES", 16)
    monkeypatch.setattr(csv_content, "CHUNK_BYTES", 16)
    good = table("a,b\n" + "1,é\n" * 20)
    assert good.check(["a"]) == 20
    for rows in (20, 20_000):
        content = b"a,b\n" + b"1,2\n" * rows + b"\xe9,1\n" + b"1,2\n" * 20
        message = refusal(lambda content=content: table(content).check(["a"]))
        assert message.startswith(f"pump.csv, line {rows + 2}: the byte 0xe9")


@pytest.mark.parametrize("name", ["missing.csv", "."])
def test_files_that_cannot_be_opened(tmp_path, name):
    with pytest.raises(OSError, match=r"No such file|Is a directory"):
        open_table(tmp_path / name)


SEEDS = (
    b'a,b,c\n1,2,x\n3,4,"y ""z"""\n5,6,\n',
    b"\xef\xbb\xbfid,a\r\n1,2.5\r\n2,1e3\r\n",
    b"a\n1\n",
)
TOKENS = (
    *(b'"', b'""', b",", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xc3", b"\xef\xbb\xbf"),
    *(b"nan", b"inf", b"1e999", b" ", b";", b"\t", b"-", b".", b"e", b"_", b"#", b"\x1c"),
)


def mutated(rng):
    content = bytearray(rng.choice(SEEDS))
    for _ in range(rng.randint(1, 4)):
        i = rng.randrange(len(content) + 1)
        match rng.randrange(3):
            case 0:
                content[i:i] = rng.choice(TOKENS)
            case 1:
                del content[i : i + rng.randint(1, 3)]
            case 2:
                content[i : i + 1] = bytes([rng.randrange(256)])
    return bytes(content)


def test_mutated_tables_are_read_as_python_reads_them_or_refused(tmp_path):
    rng, path, read_well = random.Random(0), tmp_path / "t.csv", 0
    for _ in range(1000):
        path.write_bytes(mutated(rng))
        try:
            with open_table(path) as source:
                numbers = [name for name in source.columns if name in "ab"]
                got = read(source, numbers, [n for n in source.columns if n not in numbers])
        except DataError as error:
            if "cannot be read as CSV" in str(error):  # the cause was not found
                raise
            continue
        with path.open(encoding="utf-8-sig", newline="") as file:
            records = dropwhile(operator.not_, csv.reader(file, strict=True))
            # A blank line is a missing cell where there is one column.
            _, *rows = [row or [""] for row in records if row or len(source.columns) == 1]
        for name, want in zip(source.columns, zip(*rows, strict=True), strict=bool(rows)):
            as_read = list(want)
            if name in numbers:
                as_read = [None if cell in NO_NUMBERS else float(cell) for cell in want]
            assert got[name] == as_read, path.read_bytes()
        read_well += 1
    assert read_well > 100


# ----------------------------------------------------------------- pipes and Parquet


def test_standard_input_can_be_read_twice():
    with open_table("-", stdin=io.BytesIO(b"a\n1\n2\n")) as source:
        assert source.name == "standard input"
        assert source.check(["a"]) == source.check(["a"]) == 2
        copy = source.path
        assert copy.exists()
    assert not copy.exists()


def test_a_refused_standard_input_leaves_no_copy(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert refusal(lambda: open_table("-", stdin=io.BytesIO(b""))).startswith(
        "standard input is empty."
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_named_pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(b"a\n1\n",))
    writer.start()
    with open_table(path) as source:
        writer.join()
        assert source.check(["a"]) == source.check(["a"]) == 1


@pytest.fixture
def parquet(tmp_path):
    def write(columns, **options):
        path = tmp_path / "pump.parquet"
        pq.write_table(pa.table(columns), path, **options)
        return open_table(path)

    return write


def test_parquet_numbers_of_every_type(parquet):
    values = [0, 1, 1]
    types = [pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64()]
    columns = {
        str(t): pa.array(np.array(values), pa.int64()).cast(t) for t in types if t != pa.float16()
    }
    columns["halffloat"] = pa.array(np.array(values, np.float16))
    columns["decimal"] = pa.array(values, pa.int64()).cast(pa.decimal128(20, 1))
    columns["dictionary"] = pa.array(values).dictionary_encode()
    source = parquet(columns)
    assert source.text_columns() == {}
    assert read(source, list(columns)) == {name: [0.0, 1.0, 1.0] for name in columns}


def test_parquet_cells_that_are_no_numbers(parquet, monkeypatch):
    monkeypatch.setattr(reader, "MAX_BATCH_ROWS", 2)
    source = parquet({"a": [1.0, 2.0, 3.0, float("-inf")], "b": [1, 2, 3, 4]})
    message = refusal(source.check, ["b", "a"])
    words = "expected a finite number, got -inf."
    assert message == f"{source.name}, row 4, column 'a': {words} {ADVICE}"
    assert source.check(["b"]) == 4


@pytest.mark.parametrize("value", [None, float("nan")])
def test_missing_cells_of_parquet_are_nan(parquet, value):
    source = parquet({"a": [1.0, value, 3.0], "b": [1, 2, 3]})
    (batch,) = source.batches(["a", "b"])
    rows = matrix_of(batch.slice(1), ["a", "b"])
    np.testing.assert_array_equal(rows, [[np.nan, 2.0], [3.0, 3.0]])


@pytest.mark.parametrize("cell", NO_NUMBERS)
def test_missing_cells_of_csv_are_nan(table, cell):
    (batch,) = table(f"a,b\n1,2\n{cell},4\n").batches(["a", "b"])
    np.testing.assert_array_equal(matrix_of(batch, ["a", "b"]), [[1.0, 2.0], [np.nan, 4.0]])


def test_parquet_text_is_no_number(parquet):
    source = parquet({"a": ["x"], "b": pa.array([[1]]), "c": [1]})
    assert source.text_columns() == {"a": "string", "b": "list<element: int64>"}
    assert "column 'a': expected numbers, got the type string. Convert" in refusal(
        source.check, ["a"]
    )


def test_parquet_keeps_types(parquet):
    source = parquet({"id": [7, 8], "a": [1.0, 2.0]})
    assert source.type_of("id") == pa.int64()
    assert read(source, ["a"], ["id"]) == {"a": [1.0, 2.0], "id": [7, 8]}


def test_a_flipped_bit_in_parquet_is_found(parquet):
    source = parquet({"a": np.arange(1000.0)}, write_page_checksum=True, compression="none")
    content = bytearray(source.path.read_bytes())
    content[len(content) // 2] ^= 1
    source.path.write_bytes(content)
    assert "is not a sound Parquet file" in refusal(open_table(source.path).check, ["a"])


def test_a_truncated_parquet_file(parquet):
    source = parquet({"a": np.arange(1000.0)})
    source.path.write_bytes(source.path.read_bytes()[:-100])
    assert "is not a sound Parquet file" in refusal(open_table, source.path)


def test_duplicate_names_in_parquet(tmp_path):
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, tmp_path / "t.parquet")
    assert "has more than one column called 'a'" in refusal(open_table, tmp_path / "t.parquet")


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_file_that_vanishes_is_named(tmp_path, name):
    path = tmp_path / name
    if name == "t.csv":
        path.write_text("a\n1\n")
    else:
        pq.write_table(pa.table({"a": [1]}), path)
    source = open_table(path)
    assert source.check(["a"]) == 1
    path.unlink()
    with pytest.raises(FileNotFoundError) as caught:
        source.check(["a"])
    assert caught.value.filename == str(path)


@pytest.mark.parametrize("groups", [1, 20])
def test_a_parquet_file_is_never_in_memory_as_a_whole(tmp_path, groups):
    rows = 800_000
    columns = {f"x{i}": np.random.RandomState(i).normal(size=rows) for i in range(5)}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet", row_group_size=rows // groups)
    size = (tmp_path / "t.parquet").stat().st_size
    del columns
    before, peak = pa.total_allocated_bytes(), 0
    with open_table(tmp_path / "t.parquet") as source:
        for _ in source.batches(source.columns):
            peak = max(peak, pa.total_allocated_bytes() - before)
    assert peak < size / 2


def test_a_csv_file_is_never_in_memory_as_a_whole_case_40(tmp_path, monkeypatch):
    """Only the chunks that are read ahead are."""
    monkeypatch.setattr("vae_anomaly.data.table.csv_reader.BLOCK_BYTES", 2**16)
    monkeypatch.setattr(reader, "MAX_BATCH_ROWS", 4096)
    line = b",".join([b"1.25"] * 20) + b"\n"
    path = tmp_path / "long.csv"
    path.write_bytes(b",".join(b"c%d" % i for i in range(20)) + b"\n" + line * 300_000)  # 30 MB
    before, peak, rows = pa.total_allocated_bytes(), 0, 0
    with open_table(path) as table:
        for batch in table.batches(table.columns):
            rows += batch.num_rows
            peak = max(peak, pa.total_allocated_bytes() - before)
    assert rows == 300_000
    assert peak < 10e6  # as numbers it is 48 MB


def test_a_parquet_file_that_swells_when_decoded_case_56(tmp_path):
    rows = 5_000_000
    table = pa.table({"a": np.full(rows, 1.25)})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=rows)
    assert 1000 * (tmp_path / "t.parquet").stat().st_size < 8 * rows
    del table
    before, peak, read = pa.total_allocated_bytes(), 0, 0
    with open_table(tmp_path / "t.parquet") as source:
        for batch in source.batches(["a"]):
            read += batch.num_rows
            peak = max(peak, pa.total_allocated_bytes() - before)
    assert read == rows
    assert peak < 10e6  # as numbers it is 40 MB
