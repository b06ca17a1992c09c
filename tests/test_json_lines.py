"""Tables as JSON Lines: what is read, kept and written."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import COLUMNS, Vae, make_rows

from vae_anomaly.cli import run
from vae_anomaly.data.table.files import open_table
from vae_anomaly.data.table.jsonl_reader import JsonLinesReader


def records(n: int, seed: int) -> list[dict[str, object]]:
    """Return rows of numbers and of a site, of which some lack a key or have null."""
    rows = make_rows(n, seed=seed)[COLUMNS]
    found: list[dict[str, object]] = []
    for i, row in enumerate(rows.to_dict("records")):
        row |= {"site": "abc"[i % 3], "open": i % 2 == 0}
        if i % 7 == 0:
            row["count"] = None
        if i % 11 == 5:
            del row["site"]
        found.append(row)
    return found


def lines(rows: list[dict[str, object]]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def frame(rows: list[dict[str, object]]) -> pd.DataFrame:
    """Return rows as a CSV file has them."""
    spelled = [
        {key: str(v).lower() if isinstance(v, bool) else v for key, v in row.items()}
        for row in rows
    ]
    return pd.DataFrame(spelled, columns=[*COLUMNS, "site", "open"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same rows as CSV and as JSON Lines, and a model of each."""
    folder = tmp_path_factory.mktemp("lines")
    for name, n, seed in (("normal", 200, 0), ("today", 30, 1)):
        rows = records(n, seed)
        (folder / f"{name}.jsonl").write_text(lines(rows))
        frame(rows).to_csv(folder / f"{name}.csv", index=False)
    for suffix in ("csv", "jsonl"):
        line = (
            f"fit {folder}/normal.{suffix} -o {folder}/{suffix}.vae --max-steps 20 --members 1 -q"
        )
        assert run(line.split()) == 0
    return folder


def test_a_model_is_that_of_the_same_rows_as_csv(folder: Path) -> None:
    assert (folder / "csv.vae").read_bytes() == (folder / "jsonl.vae").read_bytes()


def test_scores_are_those_of_csv_also_through_pipes(folder: Path, vae: Vae) -> None:
    words = f"score {folder}/csv.vae"
    code, out, _ = vae(f"{words} {folder}/today.csv -o - --explain 2")
    assert code == 0
    assert vae(f"{words} {folder}/today.jsonl -o {folder}/s.csv --explain 2")[0] == 0
    assert (folder / "s.csv").read_text() == out
    content = (folder / "today.jsonl").read_bytes()
    code, piped, _ = vae(f"{words} - -o - --explain 2", stdin=content)
    assert code == 0
    assert vae(f"{words} {folder}/today.csv -o {folder}/s.jsonl --explain 2")[0] == 0
    assert (folder / "s.jsonl").read_text() == piped
    of_csv = pd.read_csv(io.StringIO(out), dtype={"anomaly_score": str})
    of_lines = pd.DataFrame([json.loads(line) for line in piped.splitlines()])
    np.testing.assert_array_equal(of_lines["anomaly_score"], of_csv["anomaly_score"].astype(float))
    assert of_lines["is_anomaly"].tolist() == of_csv["is_anomaly"].astype(bool).tolist()
    assert list(of_lines) == list(of_csv)


def test_values_are_kept_in_their_types(folder: Path, vae: Vae) -> None:
    code, out, _ = vae(f"score {folder}/jsonl.vae {folder}/today.jsonl -o - --keep all")
    assert code == 0
    written = [json.loads(line) for line in out.splitlines()]
    for row, given in zip(written, records(30, 1), strict=True):
        for name in (*COLUMNS, "site", "open"):
            assert row[name] == given.get(name), name
            assert isinstance(row[name], bool) == isinstance(given.get(name), bool)


def test_infinite_numbers_have_a_status_and_null(folder: Path, vae: Vae) -> None:
    rows = records(5, 1)
    rows[2]["t"] = float("inf")
    content = lines(rows).encode()
    code, out, _ = vae(f"score {folder}/csv.vae - -o -", stdin=content)
    written = [json.loads(line) for line in out.splitlines()]
    assert code == 6
    assert written[2]["anomaly_score"] is None
    assert written[2]["status"] == "column 't': expected a finite number, got inf"


def test_columns_are_all_keys_and_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n{"b": "x, \\"y\\"", "a": 2.50}\n \n{"c": true}')
    with open_table(path) as reader:
        assert isinstance(reader, JsonLinesReader)
        assert reader.columns == ("a", "b", "c")
        assert reader.rows == 3
        assert [reader.place_of(row) for row in range(3)] == ["line 1", "line 3", "line 5"]
        (batch,) = reader.batches(["a"], texts=["b", "c"])
        assert batch.column("a").to_pylist() == [1.0, 2.5, None]
        assert batch.column("b").to_pylist() == ["", 'x, "y"', ""]
        assert batch.column("c").to_pylist() == ["", "", "true"]
        assert [reader.type_of(name) for name in "abc"] == [
            pa.float64(),
            pa.string(),
            pa.bool_(),
        ]


def test_an_empty_file_is_known_by_its_name(tmp_path: Path, vae: Vae) -> None:
    (tmp_path / "t.ndjson").write_text("\n")
    code, _, err = vae(f"fit {tmp_path}/t.ndjson -o {tmp_path}/m.vae")
    assert code == 3
    assert "t.ndjson is empty. Expected a JSON object on each line." in err


def test_a_fault_in_a_cell_names_its_line(tmp_path: Path, vae: Vae) -> None:
    (tmp_path / "t.jsonl").write_text('{"a": 1, "b": 1}\n\n{"a": 1e999, "b": 2}\n')
    code, _, err = vae(f"fit {tmp_path}/t.jsonl -o {tmp_path}/m.vae")
    assert code == 3
    assert "t.jsonl, line 3, column 'a': expected a finite number, got '1e999'." in err
