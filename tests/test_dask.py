"""Dask: data frames, folders scored by workers, kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import QUICK, make_rows

from vae_anomaly import DataError, OutputError, ParameterError, VAEDetector, save, score_batch
from vae_anomaly import recalibrate as recalibrate_here
from vae_anomaly.cli import run
from vae_anomaly.data.registry import open_source
from vae_anomaly.data.table import partitions
from vae_anomaly.data.table.summary import SampleWarning, TableSummary
from vae_anomaly.model.file import restored
from vae_anomaly.pipeline.partitions import PartitionsSummary, score_partitions
from vae_anomaly.pipeline.results import Outputs
from vae_anomaly.pipeline.score import score_file
from vae_anomaly.storage.container import open_container

dask = pytest.importorskip("dask", reason="the extra [dask] is not installed")
distributed = pytest.importorskip("distributed", reason="the extra [dask] is not installed")
dd = pytest.importorskip("dask.dataframe", reason="the extra [dask] is not installed")

import vae_anomaly.dask as on_dask  # noqa: E402 - after it is known to be there

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:distributed", "ignore::ResourceWarning", "ignore::FutureWarning"
)

N = 300


def frame(n: int = N, seed: int = 1) -> pd.DataFrame:
    rows = make_rows(n, seed=seed)
    rows["site"] = np.where(np.arange(n) % 3, "north", "south")
    rows["id"] = np.arange(n) + 1000
    rows.loc[4, "t"] = np.nan
    return rows


@pytest.fixture(scope="module")
def detector() -> VAEDetector:
    return VAEDetector(**QUICK, false_alarm_rate=0.05).fit(frame(seed=0).drop(columns="id"))


@pytest.fixture(scope="module")
def model(detector: VAEDetector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "m.vae"
    save(detector, path)
    return path


@pytest.fixture(scope="module")
def client() -> Iterator[distributed.Client]:
    """A client of two processes."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def expected(detector: VAEDetector) -> pa.RecordBatch:
    return score_batch(detector, pa.RecordBatch.from_pandas(frame()), keep=["id"])


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of five files, one of which is divided by its row groups."""
    monkeypatch.setattr(partitions, "PARTITION_ROWS", 60)
    folder = tmp_path / "parts"
    folder.mkdir()
    for i, (start, end) in enumerate([(0, 50), (50, 50), (50, 100), (100, 290), (290, N)]):
        part = pa.Table.from_pandas(frame().iloc[start:end], preserve_index=False)
        pq.write_table(part, folder / f"part-{i}.parquet", row_group_size=40)
    return folder


# ------------------------------------------------------------------------------ frames


@pytest.mark.parametrize("n_partitions", [1, 4])
def test_frames_score_as_batches_do(
    client: distributed.Client,
    detector: VAEDetector,
    expected: pa.RecordBatch,
    n_partitions: int,
) -> None:
    rows = frame().set_index(np.arange(N) * 2)
    found = on_dask.score(dd.from_pandas(rows, npartitions=n_partitions), detector, keep=["id"])
    scores = found.compute()
    assert list(scores.columns) == expected.schema.names
    assert (scores.index == rows.index).all()
    assert scores.dtypes.equals(found._meta.dtypes)
    np.testing.assert_array_equal(scores["anomaly_score"], expected["anomaly_score"].to_numpy())
    assert scores["is_anomaly"].tolist() == expected["is_anomaly"].to_pylist()


def test_no_made_up_rows_are_scored(detector: VAEDetector, monkeypatch: pytest.MonkeyPatch) -> None:
    from vae_anomaly.model.model import Model

    sizes = []
    evaluate = Model.evaluate

    def counting(self: Model, records: np.ndarray, **options: object) -> object:
        sizes.append(len(records))
        return evaluate(self, records, **options)

    monkeypatch.setattr(Model, "evaluate", counting)
    found = on_dask.score(dd.from_pandas(frame(), npartitions=3), detector)
    assert sum(sizes) == 0
    found.compute(scheduler="synchronous")
    assert sum(sizes) == N


def test_rows_with_infinite_numbers_ride_along(detector: VAEDetector) -> None:
    rows = frame()
    rows.loc[200, "t"] = np.inf
    found = on_dask.score(dd.from_pandas(rows, npartitions=3), detector)
    scores = found.compute(scheduler="synchronous")
    assert scores.dtypes.equals(found._meta.dtypes)
    assert scores["status"][200] == "column 't': expected a finite number, got inf"
    assert scores["anomaly_score"].isna().sum() == 1
    assert scores["is_anomaly"].isna().sum() == 1


def test_frames_return_what_is_asked_for(detector: VAEDetector) -> None:
    wanted = {"explain": 1, "also": ["kl"], "parts": True}
    rows = frame()
    found = on_dask.score(dd.from_pandas(rows, npartitions=2), detector, **wanted)
    scores = found.compute(scheduler="synchronous")
    batch = pa.RecordBatch.from_pandas(rows, preserve_index=False)
    expected = score_batch(detector, batch, **wanted)
    assert list(scores.columns) == expected.schema.names
    np.testing.assert_array_equal(scores["kl_divergence"], expected["kl_divergence"].to_numpy())
    with pytest.raises(ParameterError, match=r"There is no argument 'fdr'. Expected one of score,"):
        on_dask.score(dd.from_pandas(rows, npartitions=2), detector, fdr=0.1)


def test_columns_to_keep_must_be_there(detector: VAEDetector) -> None:
    with pytest.raises(DataError, match=r"The frame lacks 'key', which is to be kept. Its columns"):
        on_dask.score(dd.from_pandas(frame(), npartitions=1), detector, keep=["key"])


# -------------------------------------------------------------------------------- fits


@pytest.mark.parametrize("n_partitions", [1, 5])
def test_a_fit_is_that_to_a_frame_in_memory(client: distributed.Client, n_partitions: int) -> None:
    rows = frame().drop(columns="id")
    detector = VAEDetector(max_steps=20, n_members=1, false_alarm_rate=0.05, random_state=3)
    found = on_dask.fit(dd.from_pandas(rows, npartitions=n_partitions), detector)
    here = detector.fit(rows)
    np.testing.assert_array_equal(found.score_samples(rows), here.score_samples(rows))
    assert found.offset_ == here.offset_


@pytest.mark.filterwarnings("ignore::vae_anomaly.data.table.summary.SampleWarning")
def test_a_fit_to_a_sample_is_that_of_one_process(client: distributed.Client) -> None:
    rows = frame(400).drop(columns="id")
    sample = TableSummary.of(rows, 120, seed=3).sample
    detector = VAEDetector(max_steps=20, n_members=1, false_alarm_rate=0.05, random_state=3)
    here = detector.fit(sample)
    for n_partitions in (1, 5):
        found = on_dask.fit(dd.from_pandas(rows, npartitions=n_partitions), detector, max_rows=120)
        np.testing.assert_array_equal(found.score_samples(rows), here.score_samples(rows))
        assert found.offset_ == here.offset_


@pytest.mark.parametrize("n_partitions", [2, 7])
def test_a_summary_is_that_of_one_process(n_partitions: int) -> None:
    rows = frame().assign(at=pd.date_range("2024-01-01", periods=N, freq="h"))
    many = dd.from_pandas(rows, npartitions=n_partitions)
    whole = TableSummary.of(many.compute(), 40, seed=2)  # Dask stores texts as Arrow does
    found = on_dask.summary(many, max_rows=40, seed=2)
    assert (found.n_rows, found.columns) == (N, whole.columns)
    pd.testing.assert_frame_equal(found.sample, whole.sample)


def test_a_sample_that_lacks_something_is_warned_of() -> None:
    rows = pd.DataFrame({"x": np.arange(300.0) ** 2 % 7, "valve": [0.0] * 299 + [1.0]})
    rows["site"] = ["north", "south"] * 149 + ["west", "north"]
    many = dd.from_pandas(rows, npartitions=3)
    words = (
        r"The sample of 100 of 300 rows does not tell all: 'valve' is constant in it, but not in "
        r"all rows; 'site' has 2 of 3 levels\. What it lacks will count as anomalous"
    )
    brief = VAEDetector(max_steps=20, n_members=1, contamination=0.1, random_state=1)
    with pytest.warns(SampleWarning, match=words):
        on_dask.fit(many, brief, max_rows=100)


def test_a_fit_checks_all_rows() -> None:
    rows = frame()
    rows.loc[222, "square"] = -np.inf
    many = dd.from_pandas(rows, npartitions=3)
    with pytest.raises(DataError, match=r"index 222, column 'square': expected a finite .*-inf"):
        on_dask.fit(many, VAEDetector(), max_rows=10)
    with pytest.raises(ParameterError, match=r"max_rows must be None or an int.* Got 1 inst"):
        on_dask.fit(many, VAEDetector(), max_rows=1)


def test_a_recalibration_is_that_of_a_frame_in_memory(detector: VAEDetector) -> None:
    rows = frame(seed=5).drop(columns="id")
    found = on_dask.recalibrate(dd.from_pandas(rows, npartitions=4), detector, false_alarm_rate=0.1)
    here = recalibrate_here(detector, rows, false_alarm_rate=0.1)
    assert found.offset_ == here.offset_ != detector.offset_
    with pytest.raises(ParameterError, match=r"false_alarm_rate must be .* Got 2 instead"):
        on_dask.recalibrate(dd.from_pandas(rows, npartitions=1), detector, false_alarm_rate=2)


# ----------------------------------------------------------------------------- folders


def score_folder(
    client: distributed.Client, model: Path, parts: Path, out: Path
) -> PartitionsSummary:
    cluster = on_dask.Cluster(client)
    return score_partitions(model, str(parts), str(out), key="id", executor=cluster)


def test_a_folder_of_scores_appears_whole(
    client: distributed.Client,
    model: Path,
    parts: Path,
    tmp_path: Path,
    expected: pa.RecordBatch,
) -> None:
    out = tmp_path / "scores"
    summary = score_folder(client, model, parts, out)
    n_flagged = expected["is_anomaly"].true_count
    assert summary == PartitionsSummary(7, 0, N, N, n_flagged, str(out))
    assert pq.read_table(out).combine_chunks().to_batches()[0].equals(expected)
    assert not (tmp_path / ".scores.partial").exists()
    assert score_folder(client, model, parts, out) == PartitionsSummary(
        *(7, 7, N, N, n_flagged), str(out)
    )


def test_rows_are_numbered_through_all_partitions(
    client: distributed.Client, model: Path, parts: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scores"
    score_partitions(model, str(parts), str(out), executor=on_dask.Cluster(client))
    assert pq.read_table(out)["row"].to_pylist() == list(range(1, N + 1))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_folders_may_bring_columns(
    model: Path, tmp_path: Path, expected: pa.RecordBatch, suffix: str
) -> None:
    for site, part in frame().groupby("site"):
        path = tmp_path / "pumps" / f"site={site}" / f"part.{suffix}"
        path.parent.mkdir(parents=True)
        rows = part.drop(columns="site")
        rows.to_csv(path, index=False) if suffix == "csv" else rows.to_parquet(path, index=False)
    out = tmp_path / "scores"
    score_partitions(model, str(tmp_path / "pumps"), str(out), key="id", executor=map)
    found = {int(row["id"]): row["anomaly_score"] for row in pq.read_table(out).to_pylist()}
    assert found == dict(
        zip(expected["id"].to_pylist(), expected["anomaly_score"].to_pylist(), strict=True)
    )


def test_drift_is_watched_over_all_partitions(model: Path, parts: Path, tmp_path: Path) -> None:
    for path in parts.iterdir():
        rows = pd.read_parquet(path)
        rows.assign(square=rows["square"] + 3).to_parquet(path, index=False)
    with open_source(str(parts), restored(open_container(model)).encoder) as source:
        alone = score_file(restored(open_container(model)), source, str(tmp_path / "s.csv")).drift
    assert alone is not None
    found = []
    for out, executor in (("a", map), ("b", backwards)):
        summary = score_partitions(model, str(parts), str(tmp_path / out), executor=executor)
        found.append(summary.drift)
    # From receipts alone.
    found.append(score_partitions(model, str(parts), str(tmp_path / "b"), executor=map).drift)
    assert found[0] == found[1] == found[2]
    assert found[0][:4] == alone[:4]
    assert found[0].movements[0].column == "square"
    assert found[0].movements[0].shift == pytest.approx(alone.movements[0].shift, rel=0.01)
    assert summary.notes()[-2].startswith("warning: as a whole, the scores of these 300 rows are n")
    assert summary.facts()["drift"]["p_value"] == alone.p_value


def backwards(function, items):
    """Executor whose last worker is done first."""
    yield from reversed([function(item) for item in items])


def test_another_folder_is_not_replaced(model: Path, parts: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores"
    score_partitions(model, str(parts), str(out), executor=map)
    with pytest.raises(OutputError, match=r"scores: it is there already\. Remove it, or choose"):
        score_partitions(model, str(parts), str(out), Outputs(explain=1), executor=map)


def test_what_needs_all_rows_is_refused(model: Path, parts: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"fdr needs the scores of all rows before"):
        score_partitions(model, str(parts), str(tmp_path / "s"), Outputs(fdr=0.1), executor=map)
    frame().to_csv(parts / "z.csv", index=False)
    with pytest.raises(DataError, match=r"z.csv is CSV, whose rows are counted only by reading"):
        score_partitions(model, str(parts / "z.csv"), str(tmp_path / "s"), executor=map)


def test_an_interrupted_run_goes_on(
    model: Path, parts: Path, tmp_path: Path, expected: pa.RecordBatch
) -> None:
    out = tmp_path / "scores"

    def interrupted(function, items):
        for i, item in enumerate(items):
            if i == 3:
                raise KeyboardInterrupt
            yield function(item)

    def score_by(executor) -> PartitionsSummary:
        return score_partitions(model, str(parts), str(out), key="id", executor=executor)

    with pytest.raises(KeyboardInterrupt):
        score_by(interrupted)
    assert not out.exists()
    partial = tmp_path / ".scores.partial"
    damaged = next(partial.glob("part-*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-9])
    assert score_by(map)[:2] == (7, 2)
    assert pq.read_table(out).combine_chunks().to_batches()[0].equals(expected)


def test_a_killed_worker_loses_no_rows(
    client: distributed.Client, model: Path, tmp_path: Path, detector: VAEDetector
) -> None:
    folder, n = tmp_path / "parts", 8
    folder.mkdir()
    rows = frame(2000)
    for i in range(n):
        rows.assign(id=i * 2000 + rows["id"]).to_parquet(folder / f"{i:02}.parquet", index=False)
    workers = client.run(os.getpid)
    killed = []

    def killing(function, items):
        for i, result in enumerate(on_dask.Cluster(client)(function, items)):
            if i == 1:
                killed.append(next(iter(workers.values())))
                os.kill(killed[0], signal.SIGKILL)
            yield result

    summary = score_partitions(
        model, str(folder), str(tmp_path / "scores"), key="id", executor=killing
    )
    assert killed
    assert summary[:3] == (n, 0, 2000 * n)
    found = pq.read_table(tmp_path / "scores")
    assert found["id"].to_pylist() == [1000 + i for i in range(2000 * n)]
    one = score_batch(detector, pa.RecordBatch.from_pandas(rows))["anomaly_score"]
    assert pa.chunked_array([one] * n).equals(found["anomaly_score"])


def test_a_killed_command_goes_on(model: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "parts", tmp_path / "scores"
    folder.mkdir()
    for i in range(6):
        frame(2000, seed=i).to_parquet(folder / f"{i}.parquet", index=False)
    code = (
        "import sys; from vae_anomaly.pipeline.partitions import score_partitions\n"
        "score_partitions(*sys.argv[1:], key='id', executor=map)"
    )
    words = [sys.executable, "-c", code, str(model), str(folder), str(out)]
    receipts = tmp_path / ".scores.partial" / "_receipts"
    for n_receipts in (1, 4):
        process = subprocess.Popen(words)
        while process.poll() is None and len(list(receipts.glob("*.json"))) < n_receipts:
            time.sleep(0.005)
        process.kill()
        process.wait()
        assert not out.exists()
    subprocess.run(words, check=True)
    scores = pq.read_table(out, columns=["id", "anomaly_score"])
    assert scores["id"].to_pylist() == [1000 + i for i in range(2000)] * 6


def test_functions_of_the_pipeline_run_on_a_cluster(
    client: distributed.Client,
    detector: VAEDetector,
    parts: Path,
    tmp_path: Path,
    expected: pa.RecordBatch,
) -> None:
    cluster = on_dask.Cluster(client)
    with open_source(str(parts), detector.model_.encoder, id_column="id") as source:
        score_file(detector.model_, source, str(tmp_path / "s.parquet"), executor=cluster)
    found = pq.read_table(tmp_path / "s.parquet")
    assert found["anomaly_score"].to_pylist() == expected["anomaly_score"].to_pylist()


def test_rows_left_out_columns_kept_and_rows_that_cannot_be_parsed(
    model: Path, tmp_path: Path, expected: pa.RecordBatch, capsys, monkeypatch
) -> None:
    rows = frame()
    (tmp_path / "in").mkdir()
    for i, part in enumerate((rows[:100], rows[100:])):
        text = part.to_csv(index=False)
        (tmp_path / "in" / f"{i}.csv").write_text(text + "1,2\n" * i)
    monkeypatch.setattr(on_dask, "connected", lambda scheduler: nullcontext(map))
    words = ["score", str(model), str(tmp_path / "in"), "--scheduler", "local:1"]
    words += ["--id-column", "id", "--keep", "all", "--fail-if", "flagged>=90%"]
    assert run([*words, "-o", str(tmp_path / "all")]) == 6
    found = pq.read_table(tmp_path / "all")
    assert found.column_names[: rows.shape[1]] == ["id", *rows.columns.drop("id")]
    assert found["status"].to_pylist() == [
        *["ok"] * N,
        f"row 201: expected {rows.shape[1]} fields, as in the header, got 2",
    ]
    assert found["anomaly_score"].to_pylist() == [*expected["anomaly_score"].to_pylist(), None]
    few_words = ["-o", str(tmp_path / "few"), "--only-flagged", "--fail-if", "flagged>0"]
    assert run([*words, *few_words]) == 7
    few = pq.read_table(tmp_path / "few")
    n_flagged = expected["is_anomaly"].true_count
    assert few.num_rows == n_flagged > 0
    assert few.to_pylist() == [row for row in found.to_pylist() if row["is_anomaly"]]
    assert f"failed: flagged>0: {n_flagged} of 300 rows" in capsys.readouterr().err
    assert run([*words, "-o", str(tmp_path / "no"), "--sort"]) == 2
    assert "error: sort needs all rows in one place, which partitions do not have." in (
        capsys.readouterr().err
    )


def test_addresses_are_checked() -> None:
    with (
        pytest.raises(ParameterError, match=r"Expected a number of processes, such as local:4"),
        on_dask.connected("local:none"),
    ):
        pass


def test_the_command_line_scores_on_processes(
    model: Path, parts: Path, tmp_path: Path, expected: pa.RecordBatch, capsys, monkeypatch
) -> None:
    words = ["score", str(model), str(parts), "-o", str(tmp_path / "scores"), "--id-column", "id"]
    assert run([*words, "--scheduler", "local:1"]) == 0
    assert capsys.readouterr().err.splitlines()[-2:] == [
        f"scored 300 rows in 7 partitions; {expected['is_anomaly'].true_count} are flagged",
        f"scores: {tmp_path / 'scores'}",
    ]
    assert pq.read_table(tmp_path / "scores").combine_chunks().to_batches()[0].equals(expected)
    words[4] = str(tmp_path / "failed")
    assert run([*words, "--scheduler", "local:1", "--fail-if", "flagged>0", "--json"]) == 7
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1].startswith("failed: flagged>0: ")
    assert json.loads(captured.out)["drift"] is None
    monkeypatch.setattr(on_dask, "CONNECT_TIMEOUT", "1s")
    assert run([*words, "--scheduler", "tcp://127.0.0.1:1"]) == 2
    assert "There is no scheduler of Dask at 'tcp://127.0.0.1:1'" in capsys.readouterr().err
    assert run([*words, "--scheduler", "local:1", "--strict"]) == 2
    assert capsys.readouterr().err == "error: --strict does not go with --scheduler.\n"


def test_parallel_post_fit(detector: VAEDetector) -> None:
    wrappers = pytest.importorskip("dask_ml.wrappers", reason="dask-ml is not installed")
    rows = frame().drop(columns="id")
    many = dd.from_pandas(rows, npartitions=3)
    wrapped = wrappers.ParallelPostFit(detector, predict_meta=pd.Series(dtype="int64"))
    found = wrapped.predict(many).compute(scheduler="synchronous")
    np.testing.assert_array_equal(found, detector.predict(rows))
