"""Rows that cannot be parsed: skipped with a status where a file is scored, else refused."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import COLUMNS, Vae, make_rows, read_cells

import vae_anomaly
from vae_anomaly.data.registry import open_source
from vae_anomaly.data.table import csv_reader
from vae_anomaly.data.table.files import open_table

N = 30


@pytest.fixture
def place(brief: vae_anomaly.VAEDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    vae_anomaly.save(brief, tmp_path / "m.vae")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines_of(n: int = N) -> list[str]:
    """Return lines of CSV with the column names; cells of pump are quoted, some on two lines."""
    rows = make_rows(n, seed=1)[COLUMNS]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["pump", *COLUMNS])
    for i, row in enumerate(rows.to_numpy().tolist()):
        writer.writerow([f"p{i}\nhall, {i}" if i % 5 == 0 else f"p{i}", *row])
    text = file.getvalue()
    records, record = [], ""
    for line in text.splitlines(keepends=True):
        record += line
        if record.count('"') % 2 == 0:
            records.append(record)
            record = ""
    return records


BAD = {
    "1,2,3\n": "expected 4 fields, as in the header, got 3",
    "p,1,2,3,4\n": "expected 4 fields, as in the header, got 5",
    '"p\nq",1,2,3,4,5\n': "expected 4 fields, as in the header, got 6",
    '"p,1,2,3\n': "text after a closing quote",
    '"p"q,1,2,3\n': "text after a closing quote",
}


@pytest.mark.parametrize("bad", [[0], [4, 4, 4], [29], [0, 1, 2, 10, 11, 28, 30]])
@pytest.mark.parametrize("examples", [slice(0, 3), slice(0, 5)])
def test_other_rows_have_the_scores_of_a_sound_file(
    place: Path, vae: Vae, bad: list[int], examples: slice
) -> None:
    header, *rows = lines_of()
    (place / "sound.csv").write_text(header + "".join(rows))
    sound = read_cells(vae("score m.vae sound.csv -o - --keep all --explain 1")[1])
    faults = list(BAD.items())[examples]
    mixed, expected = [], []
    for i in range(N + 1):
        for place_of_bad in bad:
            if place_of_bad == i:
                line, fault = faults[len(expected) % len(faults)]
                mixed.append(line)
                expected.append((len(mixed), fault))
        mixed += rows[i : i + 1]
    (place / "mixed.csv").write_text(header + "".join(mixed))
    code, out, err = vae("score m.vae mixed.csv -o - --keep all --explain 1")
    found = read_cells(out)
    assert code == 6
    assert found["row"].tolist() == [str(i + 1) for i in range(len(mixed))]
    is_bad = found["status"] != "ok"
    assert [(int(row), status) for row, status in found.loc[is_bad, ["row", "status"]].values] == (
        expected
    )
    assert (found.loc[is_bad, "pump":"direction_1"] == "").all(axis=None)
    columns = sound.columns.drop("row")
    pd.testing.assert_frame_equal(
        found.loc[~is_bad, columns].reset_index(drop=True), sound[columns]
    )
    assert f"skipped {len(expected)} row" in err
    assert f"  row {expected[0][0]}: {expected[0][1]}" in err
    assert vae("score m.vae mixed.csv -o x.csv --strict")[0] == 3


def test_rows_keep_their_places_across_blocks(
    brief: vae_anomaly.VAEDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_reader, "CHUNK_BYTES", 200)
    monkeypatch.setattr(csv_reader, "BLOCK_BYTES", 200)
    good = "".join(f"{i}.5,1,{i}\n" if i % 37 else f"{i}\n" for i in range(2000))
    run_of_bad = "x\n" * 500  # whole blocks of them
    content = "t,square,count\n" + good + run_of_bad + "1,text,2\n" + "y\n" * 3
    (tmp_path / "t.csv").write_text(content)
    with open_source(str(tmp_path / "t.csv"), brief.model_.encoder) as source:
        for _ in range(2):
            batches = list(source.batches())
            faults = {b.start + i: why for b in batches for i, why in b.faults.items()}
            expected = [*range(0, 2000, 37), *range(2000, 2500), *range(2501, 2504)]
            assert sorted(faults) == expected
            assert set(faults.values()) == {"expected 3 fields, as in the header, got 1"}
            assert sum(len(b.keys) for b in batches) == 2504
            cells = [cell for b in batches for cell in b.records[:, 2]]
            assert cells == [*(float(i) for i in range(2000) if i % 37), 2.0]
            assert source.reading_notes() == [
                f"note: {source.name}: 1 cell of column 'square' is no number and counts as "
                "unexpected: 'text' in line 2502"
            ]


def test_identifiers_of_rows_that_cannot_be_parsed(place: Path, vae: Vae) -> None:
    header, *rows = lines_of()
    (place / "t.csv").write_text(header + "".join([*rows[:2], "p,1\n", *rows[2:]]))
    code, out, err = vae("score m.vae t.csv -o - --id-column pump")
    assert code == 6
    assert out.splitlines()[-N + 1 :][1].endswith("ok")
    fault = "row 3: expected 4 fields, as in the header, got 2"
    assert read_cells(out).loc[2].tolist() == ["", "", "", fault]
    assert f"  without an identifier: {fault}" in err
    flagged = read_cells(vae("score m.vae t.csv -o - --only-flagged")[1])
    assert (flagged["status"] == "ok").all()
    assert read_cells(vae("score m.vae t.csv -o - --sort")[1])["row"].iloc[-1] == "3"


def test_other_tables_of_files(place: Path, vae: Vae) -> None:
    header, *rows = lines_of(12)
    (place / "parts").mkdir()
    (place / "parts" / "a.csv").write_text(header + "".join([*rows[:6], "1\n"]))
    (place / "parts" / "b.csv").write_text(header + "".join(["2\n", *rows[6:]]))
    code, out, _ = vae("score m.vae parts -o -")
    assert code == 6
    assert read_cells(out).loc[lambda found: found["status"] != "ok", "row"].tolist() == ["7", "8"]
    blanks = header.replace("\n", ',"q"\n') + "".join(
        row.replace("\n", ' , "x"\n') if '"' not in row else "bad\n" for row in rows
    )
    (place / "blanks.csv").write_text(blanks)
    found = read_cells(vae("score m.vae blanks.csv -o -")[1])
    assert found.loc[found["status"] != "ok", "row"].tolist() == ["1", "6", "11"]
    (place / "one.csv").write_text("t\n1\n\n2,3\n4\n")
    with open_table(place / "one.csv") as reader:
        reader.may_skip = True
        (rows_read,) = reader.batches(["t"])
        assert rows_read.column("t").to_pylist() == [1.0, None, None, 4.0]
        assert reader.faults == {2: "expected 1 field, as in the header, got 2"}


def test_lines_of_json(place: Path, vae: Vae) -> None:
    records = make_rows(12, seed=1)[COLUMNS].to_dict("records")
    good = [json.dumps(record) for record in records]
    bad = ["[1, 2]", '{"t": 1, ', '{"t": "\\u0000"}']
    lines = [bad[0], *good[:4], "", bad[1], *good[4:], bad[2]]
    (place / "t.jsonl").write_text("\n".join(lines))
    code, out, _ = vae("score m.vae t.jsonl -o out.jsonl")
    assert (code, out) == (6, "")
    found = [json.loads(line) for line in (place / "out.jsonl").read_text().splitlines()]
    status = {row["row"]: row["status"] for row in found if row["status"] != "ok"}
    assert status == {
        1: "expected a JSON object, got '[1, 2]'",
        6: "expected a JSON object, got '{\"t\": 1,'",
        15: "column 't': expected text in UTF-8, got '\\x00'",
    }
    (place / "sound.jsonl").write_text("\n".join(good))
    vae("score m.vae sound.jsonl -o sound.csv")
    sound = pd.read_csv(place / "sound.csv", dtype=str)["anomaly_score"].astype(float).tolist()
    assert [row["anomaly_score"] for row in found if row["status"] == "ok"] == sound
    code, _, err = vae("score m.vae t.jsonl -o x.csv --strict")
    assert code == 3
    assert err == (
        "error: t.jsonl, line 1: expected a JSON object, got '[1, 2]'. Lines 7, 16 are wrong as "
        'well. Write one on each line, such as {"flow": 1.5, "site": "a"}.\n'
    )


@pytest.mark.parametrize("command", ["fit t.csv -o n.vae", "recalibrate m.vae t.csv -o n.vae"])
def test_what_is_learned_is_refused_with_its_lines(place: Path, vae: Vae, command: str) -> None:
    header, *rows = lines_of()
    (place / "t.csv").write_text(header + "".join([rows[0], "p,1\n", *rows[1:], "q\n", "r\n"]))
    code, _, err = vae(command)
    assert code == 3
    assert (
        "error: t.csv, line 4: expected 4 fields, as in the header, got 2. Lines 39, 40 are wrong "
        "as well. Complete the row or remove it.\n"
    ) in err
    assert "error: t.csv, line 4: expected 4" in vae("evaluate m.vae t.csv -o report")[2]
    assert not (place / "n.vae").exists()


def test_a_table_most_of_whose_rows_cannot_be_parsed_is_refused(place: Path, vae: Vae) -> None:
    header, *rows = lines_of()
    wrong = [f"{row[:-1]},\n" for row in rows[:16]]
    (place / "t.csv").write_text(header + "".join([*wrong, *rows[16:]]))
    code, _, err = vae("score m.vae t.csv -o out.csv")
    assert code == 3
    assert "error: t.csv, line 2: expected 4 fields, as in the header, got 5. Lines 4, " in err
    assert err.endswith("Remove the comma at the end of the line.\n")
    assert not (place / "out.csv").exists()
    (place / "t.csv").write_text(header + "".join([*wrong[:15], *rows[15:]]))
    assert vae("score m.vae t.csv -o out.parquet")[0] == 6
    assert pq.read_table(place / "out.parquet")["anomaly_score"].null_count == 15
