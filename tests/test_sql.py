"""Results of SQL as tables."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from conftest import QUICK, make_rows

from vae_anomaly import DataError, VAEDetector, save
from vae_anomaly.cli import run
from vae_anomaly.data.table import database
from vae_anomaly.data.table.files import open_table


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "m.vae"
    save(VAEDetector(**QUICK, false_alarm_rate=0.05).fit(make_rows(300)), path)
    return path


@pytest.fixture
def rows(tmp_path: Path) -> pd.DataFrame:
    rows = make_rows(60, seed=1).assign(id=range(60))
    rows.to_parquet(tmp_path / "rows.parquet", index=False)
    return rows


def scores(model: Path, data: str, out: Path, *words: str) -> pd.DataFrame:
    line = ["score", str(model), data, "-o", str(out), "--id-column", "id", "-q", *words]
    assert run(line) == 0
    return pd.read_parquet(out)


def test_sqlite(
    model: Path, rows: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BATCH_ROWS", 17)
    path = tmp_path / "pumps ?.db"
    with closing(sqlite3.connect(path)) as connection:
        rows.to_sql("pumps", connection, index=False)
    query = "select * from pumps where id >= 10 order by id"
    found = scores(model, f"sqlite:///{path}", tmp_path / "a.parquet", "--sql", query)
    expected = scores(model, str(tmp_path / "rows.parquet"), tmp_path / "b.parquet")
    pd.testing.assert_frame_equal(found, expected[10:].reset_index(drop=True))


def test_duckdb(model: Path, rows: pd.DataFrame, tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="the extra [sql] is not installed")
    path = tmp_path / "pumps.db"
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"create table pumps as from '{tmp_path}/rows.parquet'")
    expected = scores(model, str(tmp_path / "rows.parquet"), tmp_path / "b.parquet")
    query = "from pumps order by id"
    found = scores(model, f"duckdb:///{path}", tmp_path / "a.parquet", "--sql", query)
    pd.testing.assert_frame_equal(found, expected)
    query = f"from '{tmp_path}/rows.parquet' order by id"
    found = scores(model, "duckdb://", tmp_path / "a.parquet", "--sql", query)
    pd.testing.assert_frame_equal(found, expected)
    with pytest.raises(DataError, match=r"pumps.db refuses the query: Invalid Input.*read-only"):
        open_table(f"duckdb:///{path}", sql="drop table pumps")


def test_cells_of_several_types_are_text(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table t (a, b, c)")
        connection.execute("insert into t values (1, 1, x'41'), (2.5, 'x', null)")
        connection.commit()
    with open_table(f"sqlite:///{path}", sql="select * from t") as table:
        [batch] = table.batches(["a"], ["b", "c"])
    assert batch.to_pydict() == {"a": [1.0, 2.5], "b": ["1", "x"], "c": ["A", None]}


@pytest.mark.parametrize(
    ("url", "sql", "words"),
    [
        ("sqlite:///{}/none.db", "select 1", r"none.db refuses the query: unable to open database"),
        ("sqlite:///{}/t.db", "select", r"t.db refuses the query: incomplete input"),
        ("sqlite:///{}/t.db", "select 1 where 0", r"The query on .*t.db gives no rows. Expected"),
        ("sqlite:///{}/t.db", "create table u (a)", r"refuses the query: attempt to write a read"),
        ("rows.csv", "select 1", r"--sql is for databases, duckdb:///FILE or .* Got 'rows.csv'"),
        ("sqlite:///{}/t.db", None, r"t.db is a database. Say with --sql what to read of it."),
    ],
)
def test_what_is_refused(tmp_path: Path, url: str, sql: str | None, words: str) -> None:
    with closing(sqlite3.connect(tmp_path / "t.db")) as connection:
        connection.execute("create table t (a)")
    with pytest.raises(DataError, match=words):
        open_table(url.format(tmp_path), sql=sql)
