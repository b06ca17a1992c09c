"""Tables in several files: folders, patterns, partitions, and an object store."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import QUICK, make_rows

from vae_anomaly import DataError, VAEDetector, load, save
from vae_anomaly.cli import run
from vae_anomaly.data.registry import modality_of, open_source
from vae_anomaly.data.table import reader
from vae_anomaly.data.table.files import open_table
from vae_anomaly.storage.remote import remote_files

N = 90


def frame(seed: int = 1) -> pd.DataFrame:
    rows = make_rows(N, seed=seed)
    return rows.assign(id=np.arange(N) + 1000, site=np.where(np.arange(N) % 3, "north", "south"))


def write_parts(folder: Path, rows: pd.DataFrame, suffix: str = "parquet") -> None:
    """Write rows in three parts, beside files that other programs leave."""
    folder.mkdir()
    for i, part in enumerate(np.array_split(np.arange(len(rows)), 3)):
        chosen, path = rows.iloc[part], folder / f"part-{i}.{suffix}"
        if suffix == "csv":
            chosen.to_csv(path, index=False)
        elif suffix == "jsonl":
            chosen.to_json(path, orient="records", lines=True, double_precision=15)
        else:
            chosen.to_parquet(path, index=False)
    (folder / "_SUCCESS").write_text("")
    (folder / ".part-0.parquet.crc").write_bytes(b"crc")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "m.vae"
    rows = frame(0).drop(columns="id")
    save(VAEDetector(**QUICK, false_alarm_rate=0.05).fit(rows), path)
    return path


def scores(model: Path, data: str | Path, out: Path) -> pd.DataFrame:
    assert run(["score", str(model), str(data), "-o", str(out), "--id-column", "id", "-q"]) == 0
    return pd.read_parquet(out)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize("pattern", ["{}", "{}/*.{}", "{}/part-[012].{}", "file://{}"])
def test_parts_score_as_one_file(
    model: Path, tmp_path: Path, suffix: str, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "MAX_BATCH_ROWS", 17)
    whole, folder = tmp_path / f"whole.{suffix}", tmp_path / "parts"
    frame().to_csv(whole, index=False) if suffix == "csv" else frame().to_parquet(whole)
    write_parts(folder, frame(), suffix)
    expected = scores(model, whole, tmp_path / "a.parquet")
    found = scores(model, pattern.format(folder, suffix), tmp_path / "b.parquet")
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        ("csv", "a,b\n1,2\n3,4\n"),
        ("tsv", "a\tb\n1\t2\n3\t4\n"),
        ("ndjson", '{"a": 1, "b": 2}\n{"a": 3, "b": 4}\n'),
    ],
)
def test_a_folder_of_tables_is_known_without_a_model(
    tmp_path: Path, suffix: str, text: str
) -> None:
    (tmp_path / f"part.{suffix}").write_text(text)
    assert modality_of(str(tmp_path)).name == "table"
    with open_table(tmp_path) as table:
        assert table.check(["a", "b"]) == 2


def test_packed_parts_are_named(tmp_path: Path) -> None:
    (tmp_path / "part.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n"))
    assert modality_of(str(tmp_path)).name == "table"
    with pytest.raises(DataError, match=r"part\.csv\.gz looks like a gzip archive\. Unpack it"):
        open_table(tmp_path)


def test_parts_may_be_json_lines(model: Path, tmp_path: Path) -> None:
    write_parts(tmp_path / "parts", frame(), "jsonl")
    frame().to_parquet(tmp_path / "whole.parquet")
    expected = scores(model, tmp_path / "whole.parquet", tmp_path / "a.parquet")
    found = scores(model, tmp_path / "parts", tmp_path / "b.parquet")
    assert found["id"].astype("int64").tolist() == expected["id"].tolist()
    np.testing.assert_allclose(found["anomaly_score"], expected["anomaly_score"], rtol=1e-5)


def test_a_folder_is_a_table_by_its_files_or_its_name(tmp_path: Path) -> None:
    write_parts(tmp_path / "day", frame())
    assert modality_of(str(tmp_path / "day")).name == "table"
    (tmp_path / "empty.parquet").mkdir()
    assert modality_of(str(tmp_path / "empty.parquet")).name == "table"
    (tmp_path / "day" / "one.png").write_bytes(b"")
    assert modality_of(str(tmp_path / "day")).name == "image"


def test_parts_are_fitted_as_one_file(tmp_path: Path) -> None:
    rows = make_rows(N)
    write_parts(tmp_path / "parts", rows)
    rows.to_parquet(tmp_path / "whole.parquet", index=False)
    for name in ("parts", "whole.parquet"):
        words = ["fit", str(tmp_path / name), "-o", str(tmp_path / f"{name}.vae"), "-q"]
        assert run([*words, "--max-steps", "20", "--random-state", "1"]) == 0
    one, other = (load(tmp_path / f"{name}.vae") for name in ("parts", "whole.parquet"))
    np.testing.assert_array_equal(one.score_samples(rows), other.score_samples(rows))


def test_partitions_are_columns_that_are_chosen(tmp_path: Path) -> None:
    rows = frame()
    for site, part in rows.groupby("site"):
        folder = tmp_path / "pumps" / f"site={site}" / "line=7"
        folder.mkdir(parents=True)
        part.drop(columns="site").to_parquet(folder / "part.parquet", index=False)
    with open_table(tmp_path / "pumps") as table:
        assert table.columns == ("t", "square", "constant", "count", "id", "site", "line")
        assert table.left_out["site"] == "a partition: the name of a folder"
        assert table.type_of("line") == pa.int64()
        [*batches] = table.batches(["t", "line"], ["site"])
    assert pa.Table.from_batches(batches)["site"].to_pylist() == ["north"] * 60 + ["south"] * 30
    assert batches[0]["line"].to_pylist() == [7.0] * 60
    with open_source(str(tmp_path / "pumps")) as source:
        assert source.record_shape == (5,)
    with open_source(str(tmp_path / "pumps"), column_types={"site": "category"}) as source:
        assert source.record_shape == (6,)


def test_a_partition_that_was_learned_is_scored(model: Path, tmp_path: Path) -> None:
    rows = frame()
    for site, part in rows.groupby("site"):
        (tmp_path / "pumps" / f"site={site}").mkdir(parents=True)
        path = tmp_path / "pumps" / f"site={site}" / "part.parquet"
        part.drop(columns="site").to_parquet(path, index=False)
    rows.to_parquet(tmp_path / "whole.parquet")
    found = scores(model, tmp_path / "pumps", tmp_path / "a.parquet").sort_values("id")
    expected = scores(model, tmp_path / "whole.parquet", tmp_path / "b.parquet")
    pd.testing.assert_frame_equal(found.reset_index(drop=True), expected)


def test_types_may_differ_among_parts(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    for i, ids in enumerate((pa.array([1, 2], pa.int32()), pa.array([3], pa.int64()))):
        part = pa.table({"x": pa.array([1.0] * len(ids)), "id": ids, "mixed": ids})
        if i:
            part = part.set_column(2, "mixed", pa.array(["a"]))
        pq.write_table(part, folder / f"{i}.parquet")
    with open_table(folder) as table:
        assert table.rows == 3
        assert table.type_of("id") == pa.int64()
        rows = pa.Table.from_batches(table.batches(["x"], ["id"], texts=["mixed"]))
    assert rows["id"].to_pylist() == [1, 2, 3]
    assert rows["mixed"].to_pylist() == ["1", "2", "a"]


def test_a_fault_names_its_part(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    write_parts(folder, frame())
    frame().assign(t=np.inf).to_parquet(folder / "part-1.parquet", index=False)
    source = open_source(str(folder), load(model).model_.encoder, id_column="id", strict=True)
    with source, pytest.raises(DataError, match=r"part-1\.parquet, row 1, column 't'"):
        source.check()


def test_parts_with_other_columns_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    write_parts(folder, frame())
    frame().drop(columns="square").to_parquet(folder / "part-1.parquet", index=False)
    message = r"part-1\.parquet lacks the column 'square', which .*part-0\.parquet has. Write all"
    with pytest.raises(DataError, match=message):
        open_table(folder)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No such file"):
        open_table(tmp_path / "*.parquet")
    (tmp_path / "t.parquet").mkdir()
    (tmp_path / "t.parquet" / "rows.txt").write_text("")
    with pytest.raises(DataError, match=r"1 files, and none whose name ends with .parquet,"):
        open_table(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"nowhere://a/b cannot be opened: .* Install fsspec and"):
        open_table("nowhere://a/b")


# -------------------------------------------------------------------------- object store


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket on an S3 server of this machine, and its address for pyarrow."""
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    import boto3

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = server.ThreadedMotoServer("127.0.0.1", port)
    running.start()
    address = f"http://127.0.0.1:{port}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", address)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        client = boto3.client("s3", endpoint_url=address, region_name="us-east-1")
        client.create_bucket(Bucket="pumps")
        yield "pumps"
    running.stop()


def upload(bucket: str, folder: Path) -> None:
    import boto3

    client = boto3.client("s3")
    for path in folder.iterdir():
        client.upload_file(str(path), bucket, f"{folder.name}/{path.name}")


def test_an_object_store_scores_as_files_do(bucket: str, model: Path, tmp_path: Path) -> None:
    frame().to_parquet(tmp_path / "whole.parquet")
    expected = scores(model, tmp_path / "whole.parquet", tmp_path / "a.parquet")
    for suffix in ("parquet", "csv"):
        write_parts(tmp_path / suffix, frame(), suffix)
        upload(bucket, tmp_path / suffix)
        for data in (f"s3://{bucket}/{suffix}", f"s3://{bucket}/{suffix}/*.{suffix}"):
            found = scores(model, data, tmp_path / "b.parquet")
            pd.testing.assert_frame_equal(found.astype({"id": "int64"}), expected)
    one = f"s3://{bucket}/parquet/part-0.parquet"
    assert len(scores(model, one, tmp_path / "b.parquet")) == 30
    names = [file.url.rpartition("/")[2] for file in remote_files(f"s3://{bucket}/**/*[01].csv")]
    assert names == ["part-0.csv", "part-1.csv"]


def test_a_missing_object_is_named(
    bucket: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["score", str(model), f"s3://{bucket}/none.parquet", "-o", str(tmp_path / "b.csv")]
    assert run(words) == 5
    assert capsys.readouterr().err == (
        f"error: Cannot read s3://{bucket}/none.parquet: there is no such file. Check the path.\n"
    )
