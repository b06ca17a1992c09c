"""Results of SQL as tables."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import QUICK, make_rows

from vae_anomaly import DataError, ParameterError, VAEDetector, save
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
        ("rows.csv", "select 1", r"--sql is for databases, duckdb:///FILE, .* Got 'rows.csv'"),
        ("sqlite:///{}/t.db", None, r"t.db is a database. Say with --sql what to read of it."),
    ],
)
def test_what_is_refused(tmp_path: Path, url: str, sql: str | None, words: str) -> None:
    with closing(sqlite3.connect(tmp_path / "t.db")) as connection:
        connection.execute("create table t (a)")
    with pytest.raises(DataError, match=words):
        open_table(url.format(tmp_path), sql=sql)


# ------------------------------------------------------------------------- PostgreSQL


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """URL of a server on loopback, without the password."""
    pytest.importorskip("adbc_driver_postgresql", reason="the extra [postgresql] is not installed")
    debian = ":".join(map(str, Path("/usr/lib/postgresql").glob("*/bin")))
    path = f"{os.environ['PATH']}:{debian}"
    if not shutil.which("postgres", path=path) or not shutil.which("initdb", path=path):
        pytest.skip("no PostgreSQL server: apt install postgresql")
    # The server refuses to run as root.
    other = {"user": "nobody"} if os.getuid() == 0 else {}
    with TemporaryDirectory() as folder, socket.socket() as probe:
        Path(folder).chmod(0o777)
        (Path(folder) / "password").write_text("secret word")
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        options = {"env": {**os.environ, "PATH": path}, "stderr": subprocess.DEVNULL, **other}
        words = ["initdb", "-D", f"{folder}/data", "-N", "-U", "reader", "--auth=scram-sha-256"]
        words = [*words, f"--pwfile={folder}/password", "--no-locale", "--encoding=UTF8"]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, **options)
        probe.close()
        words = ["postgres", "-F", "-D", f"{folder}/data", "-k", folder, "-h", "127.0.0.1"]
        server = subprocess.Popen([*words, f"-p{port}"], **options)
        try:
            yield f"postgresql://reader@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            server.wait()
            # Its files belong to that other user, whose folders root may be unable to clear.
            subprocess.run(["rm", "-r", f"{folder}/data"], check=True, **other)


@pytest.fixture(scope="module")
def pumps(postgresql: str) -> Iterator[str]:
    """URL of a server that has a table, with the password in the environment."""
    from adbc_driver_postgresql import dbapi

    rows = make_rows(60, seed=1).assign(id=range(60))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPASSWORD", "secret word")
        for _ in range(600):
            try:
                connection = dbapi.connect(postgresql)
                break
            except dbapi.Error:
                time.sleep(0.05)
        with connection, connection.cursor() as cursor:
            cursor.adbc_ingest("pumps", pa.Table.from_pandas(rows, preserve_index=False))
            cursor.execute(
                "create table types as select id, count::numeric / 4 as price, 'NaN'::numeric as "
                "nothing, id % 2 = 0 as even, date '2024-02-03' + id::int as day, "
                "timestamptz '2024-02-03 04:05:06+01' as at, null::text as note, "
                "'[1]'::json as list from pumps"
            )
            connection.commit()
        yield postgresql


def test_postgresql(model: Path, rows: pd.DataFrame, pumps: str, tmp_path: Path) -> None:
    expected = scores(model, str(tmp_path / "rows.parquet"), tmp_path / "b.parquet")
    query = "select * from pumps order by id"
    found = scores(model, pumps, tmp_path / "a.parquet", "--sql", query)
    pd.testing.assert_frame_equal(found, expected)


def test_types_of_postgresql(pumps: str) -> None:
    query = "select * from types where id in (4, 5) order by id"
    with open_table(pumps, sql=query) as table:
        rows = pq.read_table(table.path)
    counts = make_rows(60, seed=1)["count"]
    assert rows["price"].to_pylist() == [counts[4] / 4, counts[5] / 4]
    assert [str(value) for value in rows["nothing"].to_pylist()] == ["nan", "nan"]
    assert rows["even"].to_pylist() == [True, False]
    assert [str(day) for day in rows["day"].to_pylist()] == ["2024-02-07", "2024-02-08"]
    assert rows["at"][0].as_py().isoformat() == "2024-02-03T03:05:06+00:00"
    assert rows["note"].to_pylist() == [None, None]
    assert rows["list"].to_pylist() == ["[1]", "[1]"]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("select x from pumps", r'refuses the query: column "x" does not exist\. Correct it'),
        ("select 1 / 0 as a", r"refuses the query: division by zero\. Correct it"),
        ("delete from pumps", r"refuses the query: cannot execute DELETE in a read-only trans"),
        ("select 1; select 2", r"refuses the query: cannot insert multiple commands"),
        ("select", r"The query on postgresql://.* gives no columns\. Expected some"),
        (
            "select interval '1 day' as gap",
            r"The column 'gap' of the query has the type .*interval\. Convert .* gap::text",
        ),
        (
            "select inet '10.0.0.1' as host",
            r"The column 'host' of the query has the type inet\. Convert it in the query",
        ),
    ],
)
def test_what_postgresql_refuses(pumps: str, sql: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        open_table(pumps, sql=sql)


def test_addresses_and_users_of_postgresql(pumps: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r'cannot be opened: database "none" does not exist\. Chec'):
        open_table(pumps.removesuffix("postgres") + "none", sql="select 1")
    with pytest.raises(DataError, match=r"cannot be opened: .*Connection refused\. Check the addr"):
        open_table("postgresql://127.0.0.1:1/postgres", sql="select 1")
    monkeypatch.setenv("PGPASSWORD", "another")
    with pytest.raises(DataError, match=r'password authentication failed for user "reader"\. Che'):
        open_table(pumps, sql="select 1")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://reader:secret%20word@db/pumps",
        "postgres://reader:secret@db/pumps",
        "postgresql://db/pumps?user=reader&password=secret",
    ],
)
@pytest.mark.parametrize("query", [["--sql", "select 1"], []])
def test_passwords_in_urls_are_refused(
    model: Path, url: str, query: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["score", str(model), url, "-o", str(tmp_path / "a.csv"), *query]) == 3
    assert capsys.readouterr().err == (
        "error: The URL of the database holds a password, which the list of processes shows to all "
        "users of this machine. Leave it out: PostgreSQL's library reads it from PGPASSWORD, or "
        "from the file .pgpass of your home.\n"
    )


def test_the_driver_of_postgresql_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql.dbapi", None)
    with pytest.raises(ParameterError, match=r"--sql on postgresql:// needs adbc_driver"):
        open_table("postgresql://db/pumps", sql="select 1")
