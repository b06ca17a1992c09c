"""Scoring of batches of Arrow columns, and models by path, digest and bytes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from inspect import signature
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import QUICK, make_rows

from vae_anomaly import (
    DataError,
    ModelFileError,
    ParameterError,
    VAEDetector,
    recalibrate,
    save,
    score_batch,
)
from vae_anomaly.cli import run
from vae_anomaly.pipeline.batch import RowOutputs, outputs_of_rows
from vae_anomaly.pipeline.models import ModelBytes, ModelFile, loaded, portable
from vae_anomaly.pipeline.results import OUTPUTS, concatenated

N = 200


def frame(seed: int = 1, n: int = N) -> pd.DataFrame:
    rows = make_rows(n, seed=seed)
    rows["site"] = np.where(np.arange(n) % 3, "north", "south")
    rows["day"] = pd.Timestamp("2026-05-01") + pd.to_timedelta(np.arange(n) % 60, "D")
    rows.loc[4, "t"] = np.nan
    return rows


def batch_of(rows: pd.DataFrame) -> pa.RecordBatch:
    return pa.RecordBatch.from_pandas(rows, preserve_index=False)


def changed(batch: pa.RecordBatch, name: str, values: pa.Array) -> pa.RecordBatch:
    columns = [values if one == name else batch[one] for one in batch.schema.names]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


@pytest.fixture(scope="module")
def detector() -> VAEDetector:
    return VAEDetector(**QUICK, false_alarm_rate=0.05).fit(frame(0))


@pytest.fixture(scope="module")
def path(detector: VAEDetector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "m.vae"
    save(detector, path)
    return path


@pytest.fixture(scope="module")
def batch() -> pa.RecordBatch:
    rows = frame().assign(id=np.arange(N) + 1000, site="north")
    rows.loc[9, "site"] = "new"
    rows.loc[7, "square"] = -50.0
    return batch_of(rows)


def test_scores_are_those_of_the_command_line(
    path: Path, batch: pa.RecordBatch, tmp_path: Path
) -> None:
    data, out = tmp_path / "data.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.table(batch), data)
    words = ["--explain", "2", "--p-values", "--also", "elbo", "--repair", "--id-column", "id"]
    assert run(["score", str(path), str(data), "-o", str(out), "-q", *words]) == 0
    asked = {"explain": 2, "p_values": True, "also": ["elbo"], "repair": True}
    found = score_batch(path, batch, keep=["id"], **asked)
    assert found.schema.names[-1] == "status"
    assert set(found["status"].to_pylist()) == {"ok"}
    expected = pq.read_table(out).combine_chunks()
    assert pa.table(found).equals(expected)


def test_scores_do_not_depend_on_the_batch(path: Path, batch: pa.RecordBatch) -> None:
    whole = score_batch(path, batch)
    parts = [score_batch(path, batch.slice(start, 7)) for start in range(0, N, 7)]
    assert concatenated(parts).equals(whole)
    shuffled = np.random.RandomState(0).permutation(N)
    columns = batch.select(batch.schema.names[::-1]).take(pa.array(shuffled))
    assert score_batch(path, columns).equals(whole.take(pa.array(shuffled)))


@pytest.mark.parametrize("form", ["detector", "model", "path", "bytes", "digest", "portable"])
def test_models_are_given_in_any_form(
    detector: VAEDetector, path: Path, batch: pa.RecordBatch, form: str
) -> None:
    forms: dict[str, Callable[[], object]] = {
        "detector": lambda: detector,
        "model": lambda: detector.model_,
        "path": lambda: str(path),
        "bytes": path.read_bytes,
        "digest": lambda: ModelFile.of(path),
        "portable": lambda: portable(detector),
    }
    found = score_batch(forms[form](), batch)
    np.testing.assert_array_equal(
        found["anomaly_score"].to_numpy(),
        -detector.score_samples(batch.select([*detector.feature_names_in_]).to_pandas()),
    )


def test_a_model_is_loaded_once_and_again_when_its_file_is_replaced(
    detector: VAEDetector, path: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "m.vae"
    copy.write_bytes(path.read_bytes())
    assert loaded(copy) is loaded(str(copy))
    assert loaded(path.read_bytes()) is loaded(path.read_bytes())
    digest = ModelFile.of(copy)
    save(recalibrate(detector, threshold=1.5), copy)
    assert loaded(copy).calibration.threshold == 1.5
    message = f"another model than expected: its digest is .*, not {digest.sha256[:12]}.* Copy"
    with pytest.raises(ModelFileError, match=message):
        loaded(digest)


def test_bytes_of_a_detector_are_those_of_its_file(detector: VAEDetector, path: Path) -> None:
    assert portable(detector) == portable(path) == ModelBytes.of(path.read_bytes())


def test_rows_with_infinite_numbers_ride_along(path: Path, batch: pa.RecordBatch) -> None:
    few = batch.slice(0, 5)
    bad = changed(few, "t", pa.array([1.0, np.inf, None, 0.0, -np.inf]))
    found = score_batch(path, bad, keep=["id"], explain=1)
    assert found["id"].to_pylist() == few["id"].to_pylist()
    assert found["status"].to_pylist() == [
        "ok",
        "column 't': expected a finite number, got inf",
        "ok",
        "ok",
        "column 't': expected a finite number, got -inf",
    ]
    assert [score is None for score in found["anomaly_score"].to_pylist()] == [
        *(False, True, False, False, True)
    ]
    assert found["is_anomaly"][1].as_py() is None
    sound = score_batch(path, bad.take(pa.array([0, 2, 3])))
    assert sound["anomaly_score"].equals(found["anomaly_score"].take(pa.array([0, 2, 3])))


def test_batches_without_a_row_that_can_be_used(path: Path, batch: pa.RecordBatch) -> None:
    bad = changed(batch.slice(0, 2), "t", pa.array(["1e999", "-inf"]))
    found = score_batch(path, bad)
    assert found["anomaly_score"].to_pylist() == [None, None]
    assert found["status"][0].as_py() == "column 't': expected a finite number, got '1e999'"
    empty = score_batch(path, batch.slice(0, 0), keep=["id"])
    assert empty.num_rows == 0
    assert empty.schema.equals(score_batch(path, batch, keep=["id"]).schema)


def test_text_in_numbers_is_an_unexpected_cell_in_any_share(
    path: Path, batch: pa.RecordBatch
) -> None:
    few = batch.slice(0, 2)
    text = changed(few, "count", pa.array(["off", str(few["count"][1])]))
    found = score_batch(path, text)
    assert found["anomaly_score"][0].as_py() > score_batch(path, few)["anomaly_score"][0].as_py()
    assert found["anomaly_score"][1] == score_batch(path, few)["anomaly_score"][1]


def test_columns_to_keep_do_not_hide_results(path: Path, batch: pa.RecordBatch) -> None:
    names = [*batch.schema.names, "anomaly_score"]
    renamed = pa.RecordBatch.from_arrays([*batch.columns, batch["id"]], names=names)
    found = score_batch(path, renamed, keep=["anomaly_score", "site"])
    assert found.schema.names == [
        *("id_anomaly_score", "site", "anomaly_score", "is_anomaly", "status")
    ]
    assert found["id_anomaly_score"].equals(batch["id"])


def test_what_cannot_be_scored_is_refused(path: Path, batch: pa.RecordBatch) -> None:
    with pytest.raises(DataError, match="the batch lacks 4 columns that the model names: 't'"):
        score_batch(path, batch.select(["square", "site"]))
    with pytest.raises(DataError, match=r"The batch lacks 'key', which is to be kept. Its columns"):
        score_batch(path, batch, keep=["key"])
    with pytest.raises(ParameterError, match="Expected a model: a fitted VAEDetector, or the path"):
        score_batch(3, batch)
    with pytest.raises(
        ModelFileError, match="the model: not a sound vae-anomaly model: it is text"
    ):
        score_batch(b"t,square\n" * 9, batch)
    with pytest.raises(
        ParameterError,
        match=r"There is no argument 'fdr'. Expected one of score, explain",
    ):
        outputs_of_rows({"fdr": 0.1})


def test_arguments_that_are_passed_on_are_those_of_a_batch() -> None:
    assert set(RowOutputs.__annotations__) == set(signature(score_batch).parameters) & set(OUTPUTS)


def test_models_of_images_are_refused(batch: pa.RecordBatch) -> None:
    images = np.random.RandomState(0).uniform(size=(30, 6, 6))
    detector = VAEDetector(max_steps=2, contamination=0.1, random_state=0).fit(images)
    with pytest.raises(ParameterError, match="fitted on images, which are no columns of Arrow"):
        score_batch(detector, batch)


def test_dense_networks_need_no_tensorflow(path: Path, batch: pa.RecordBatch, tmp_path) -> None:
    with pa.ipc.new_file(tmp_path / "batch.arrow", batch.schema) as file:
        file.write_batch(batch)
    code = (
        "import sys, pyarrow as pa; from vae_anomaly import score_batch;"
        f"batch = pa.ipc.open_file({str(tmp_path / 'batch.arrow')!r}).get_batch(0);"
        f"score_batch({str(path)!r}, batch, keep=['id'], explain=1);"
        "print([name for name in ('tensorflow', 'keras', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
