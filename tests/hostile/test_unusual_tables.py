"""Sound tables that are unusual: long cells, odd headers, names that look alike; and bad text."""

from __future__ import annotations

import csv
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hostile.test_tables import FIT, SCORE
from vae_anomaly import DataError, VAEDetector
from vae_anomaly.data.table.files import open_table

N = 60
RNG = np.random.RandomState(0)
FLOWS = np.column_stack([RNG.normal(10, 2, N), RNG.normal(20, 4, N)])


def table(**columns) -> pd.DataFrame:
    return pd.DataFrame(FLOWS, columns=["flow", "pressure"]).assign(**columns)


# ------------------------------------------------------------------------------- long cells

LONG = {
    "beyond the limit of the csv module": "y" * 200_000,
    "with quotes": 'y"' * 100_000,
    "with lines": "y\n" * 100_000,
    "longer than a block": "y" * 5_000_000,
    "longer than several blocks": "y," * 10_000_000,
}


@pytest.mark.parametrize("cell", LONG.values(), ids=LONG)
def test_long_cells_of_columns_that_are_not_used(place, vae, cell) -> None:
    limit = csv.field_size_limit()
    notes = ["short"] * N
    notes[5] = notes[40] = cell
    table(note=notes).to_csv("t.csv", index=False)
    table().to_csv("short.csv", index=False)
    assert vae(SCORE.replace(" t.csv", " short.csv")).code == 0
    expected = Path("out.csv").read_bytes()
    assert vae(SCORE).code == 0
    assert Path("out.csv").read_bytes() == expected
    assert vae(f"{FIT} --ignore note").code == 0
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("option", ["--id-column note", "--explain 1"])
def test_long_identifiers_come_back_whole(place, vae, option) -> None:
    notes = [str(i) * 150_000 for i in range(3)]
    table(note=(notes * N)[:N]).to_csv("t.csv", index=False)
    assert vae(f"{SCORE} {option}").code == 0
    csv.field_size_limit(2**20)
    try:
        with Path("out.csv").open(newline="") as file:
            keys = [row[0] for row in csv.reader(file)][1:4]
    finally:
        csv.field_size_limit(2**17)
    assert keys == (notes if "id" in option else ["1", "2", "3"])


@pytest.mark.parametrize("option", ["", "--type note=category"])
def test_levels_are_no_longer_than_a_model_file_holds(place, vae, option) -> None:
    for length in (10_000, 10_001, 200_000):
        notes = [letter * length for letter in "xyz"] * N
        table(note=notes[:N]).to_csv("t.csv", index=False)
        outcome = vae(f"{FIT} {option}")
        assert outcome.code == 0
        left_out = f"'note': left out, text: cells of up to {length:,} characters"
        assert (left_out in outcome.lines) == (length > 10_000)
        assert vae("score out.vae t.csv -o out.csv").code == 0


def test_a_long_name_is_one(place) -> None:
    Path("t.csv").write_text(f"flow,{'n' * 200_000}\n1,2\n")
    with open_table("t.csv") as reader:
        assert [len(name) for name in reader.columns] == [4, 200_000]


def test_rows_after_a_long_one_keep_their_lines(place, vae) -> None:
    """A cell that is refused is in the line that the file has it in."""
    notes = ["short"] * N
    notes[5] = "y" * 9_000_000
    text = table(note=notes).to_csv(index=False).splitlines()
    text[50] = "off,1,short"
    Path("t.csv").write_text("\n".join(text))
    outcome = vae(f"{SCORE} --strict")
    assert outcome.code == 3
    assert "'note'" in outcome.error
    outcome = vae(SCORE)
    assert outcome.code == 0
    assert any("'off' in line 51" in line for line in outcome.lines)


# ------------------------------------------------------------------------------ odd headers


def test_positions_are_names_as_pandas_writes_them(place, vae) -> None:
    for n in (2, 12):
        rows = RNG.normal(size=(N, n))
        pd.DataFrame(rows).to_csv("t.csv", index=False)
        with open_table("t.csv") as reader:
            assert reader.columns == tuple(str(i) for i in range(n))
            assert reader.check(["0"]) == N
        assert vae(FIT).code == 0


@pytest.mark.parametrize("header", ["1,2", "0,2", "0", "2001,2002", "1.5,2.5", "0,1,1"])
def test_other_numbers_are_no_header(place, vae, header) -> None:
    row = ",".join("7" for _ in header.split(","))
    Path("t.csv").write_text(f"{header}\n{row}\n{row}\n")
    outcome = vae(FIT)
    assert outcome.code == 3
    assert outcome.error == (
        f"t.csv begins with numbers, {header!r}. Put a line of column names above them, or, if "
        f"they are names, add a letter to each."
    )


@pytest.mark.parametrize(
    "text",
    ["#id,flow\n1,2\n3,4\n", "#id;flow\n1;2\n3;4\n", "# id,flow\n1,2\n", "#id,site\nx,y\nx,z\n"],
)
def test_a_name_may_begin_with_a_hash(place, text) -> None:
    Path("t.csv").write_text(text)
    with open_table("t.csv") as reader:
        assert reader.columns[0] in ("#id", "# id")
        assert len(reader.columns) == 2


@pytest.mark.parametrize(
    "text",
    [
        "# made by x\nflow,pressure\n1,2\n",
        "# made, by x\nflow,pressure\n1,2\n",
        "# made by x\nflow\n1\n",
        "#a,b,c\nflow,pressure\n1,2\n",
    ],
)
def test_a_comment_is_no_header(place, vae, text) -> None:
    Path("t.csv").write_text(text)
    outcome = vae(FIT)
    assert outcome.code == 3
    assert outcome.error.startswith("t.csv begins with a comment, '#")
    assert outcome.error.endswith(". Remove it: the first line holds the column names.")


# --------------------------------------------------------------------- names that look alike

LOOKS_ALIKE = {
    "accents": ("d\u00e9bit", unicodedata.normalize("NFD", "d\u00e9bit")),
    "umlauts": (unicodedata.normalize("NFD", "gr\u00f6\u00dfe"), "gr\u00f6\u00dfe"),
    "Hangul": ("\uc628\ub3c4", unicodedata.normalize("NFD", "\uc628\ub3c4")),
    "full width": ("flow", "\uff46\uff4c\uff4f\uff57"),
    "Cyrillic": ("pressure", "pr\u0435ssure"),
}


@pytest.mark.parametrize(("known", "given"), LOOKS_ALIKE.values(), ids=LOOKS_ALIKE)
def test_names_that_look_alike_are_told_apart(place, vae, known, given) -> None:
    rows = pd.DataFrame(FLOWS, columns=[known, "b"])
    rows.to_csv("t.csv", index=False)
    assert vae(FIT).code == 0
    rows.columns = [given, "b"]
    rows.to_csv("t.csv", index=False)
    outcome = vae("score out.vae t.csv -o out.csv")
    assert outcome.code == 3
    hint = f"Did you mean {given!a} for {known!a}? Names must agree exactly."
    assert outcome.error.endswith(hint)


@pytest.mark.parametrize("case", ["accents", "umlauts", "Hangul", "full width"])
def test_names_that_look_alike_in_a_frame(case) -> None:
    known, given = LOOKS_ALIKE[case]
    detector = VAEDetector(max_steps=2, n_members=1, contamination=0.1, random_state=0)
    detector.fit(pd.DataFrame(FLOWS, columns=[known, "b"]))
    with pytest.raises(DataError) as caught:
        detector.model_.records(pd.DataFrame(FLOWS, columns=[given, "b"]))
    assert str(caught.value) == (
        f"Expected the columns of training, {(known, 'b')!a}, in this order, got "
        f"{(given, 'b')!a}. Select them by name."
    )


# --------------------------------------------------------------------- text that is not UTF-8

BAD = {
    "Latin-1": b"caf\xe9",
    "surrogate": b"\xed\xa0\x80",
    "cut off": b"\xe2\x82",
    "alone": b"\xff",
}
OTHER = {
    "score": "score flow.vae t.parquet -o out.csv --id-column x",
    "score to Parquet": "score flow.vae t.parquet -o new.parquet --id-column x",
    "label": "evaluate flow.vae t.parquet -o report --label-column x",
    "learn": "fit t.parquet -o out.vae --max-steps 5 --members 1 --contamination 0.1",
}


def raw_text(cells: list[bytes]) -> pa.Array:
    """Return texts of any bytes, as a faulty writer leaves them."""
    ends = np.cumsum([0, *map(len, cells)]).astype(np.int32)
    return pa.Array.from_buffers(
        pa.string(), len(cells), [None, pa.py_buffer(ends.tobytes()), pa.py_buffer(b"".join(cells))]
    )


@pytest.mark.parametrize("use", OTHER)
@pytest.mark.parametrize("bad", BAD)
def test_text_in_parquet_that_is_not_utf_8(place, vae, bad, use) -> None:
    cells = [b"good"] * N
    cells[7] = BAD[bad]
    column = raw_text(cells)
    for one in (column, column.dictionary_encode()):
        pq.write_table(
            pa.table({"flow": FLOWS[:, 0], "pressure": FLOWS[:, 1], "x": one}), "t.parquet"
        )
        outcome = vae(OTHER[use])
        assert outcome.code == 3, outcome
        place_of = "row 8" if one is column else "row "
        assert outcome.error.startswith(f"t.parquet, {place_of}")
        assert outcome.error.endswith(
            "column 'x': expected text in UTF-8, got other bytes. Write the column as UTF-8, or as "
            "binary."
        )


def test_text_that_is_not_used_may_be_any(place, vae) -> None:
    column = raw_text([b"\xff"] * N)
    pq.write_table(
        pa.table({"flow": FLOWS[:, 0], "pressure": FLOWS[:, 1], "x": column}), "t.parquet"
    )
    assert vae("score flow.vae t.parquet -o out.csv").code == 0


@pytest.mark.parametrize("command", ["score flow.vae t.parquet -o o.csv", "fit t.parquet -o o.vae"])
def test_names_in_parquet_that_are_not_utf_8(place, vae, command) -> None:
    columns = {"flow": FLOWS[:, 0], "pressure": FLOWS[:, 1], "zzzz": FLOWS[:, 0]}
    pq.write_table(pa.table(columns), "t.parquet", store_schema=False)
    path = Path("t.parquet")
    path.write_bytes(path.read_bytes().replace(b"zzzz", b"z\xffzz"))
    outcome = vae(command)
    assert outcome.code == 3
    assert outcome.error == (
        "t.parquet: the name of a column or field is not UTF-8, b'z\\xffzz'. Rename it."
    )
