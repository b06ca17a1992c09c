"""Pipeline as a Python API: executors, results, bounded memory."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import COLUMNS, QUICK, make_rows
from PIL import Image

from vae_anomaly import ParameterError, VAEDetector, load, recalibrate
from vae_anomaly.data.base import Batch, Source
from vae_anomaly.data.registry import modality_of
from vae_anomaly.data.table import reader
from vae_anomaly.model.model import Model
from vae_anomaly.pipeline import fit as fitting
from vae_anomaly.pipeline.executors import Pool
from vae_anomaly.pipeline.recalibrate import recalibrate as recalibrate_model
from vae_anomaly.pipeline.results import Outputs
from vae_anomaly.pipeline.score import score, score_file

EVERYTHING = Outputs(explain=2, p_values=True, also=("elbo", "kl"), fdr=0.2)


@pytest.fixture(scope="module")
def model() -> Model:
    detector = VAEDetector(**QUICK, false_alarm_rate=0.05).fit(make_rows(300)[COLUMNS])
    return detector.model_


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of normal rows and some anomalies, that is read in eleven batches."""
    monkeypatch.setattr(reader, "MAX_BATCH_ROWS", 50)
    path = tmp_path / "t.parquet"
    anomalies = make_rows(60, seed=2).assign(square=-9.0)
    pd.concat([make_rows(441, seed=1), anomalies]).to_parquet(path, index=False)
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images, one of which is not readable."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.RandomState(0)
    for i in range(40):
        pixels = rng.randint(100, 156, size=(6, 8)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    (folder / "07.png").write_bytes(b"")
    return folder


def opened(path: Path, model: Model, **options: Any) -> Source:
    return modality_of(str(path)).open(str(path), model.encoder, **options)


def rows_of(model: Model, source: Source, outputs: Outputs, **options: Any) -> pa.Table:
    """Score a source, and return the whole result."""
    with source:
        return pa.Table.from_batches([s.batch for s in score(model, source, outputs, **options)])


# ------------------------------------------------------------------------------ executors


def test_executors_give_identical_results(model: Model, table: Path) -> None:
    expected = rows_of(model, opened(table, model), EVERYTHING)
    assert expected.num_rows == 501
    spawn = multiprocessing.get_context("spawn")
    with ThreadPoolExecutor(2) as threads, ProcessPoolExecutor(2, mp_context=spawn) as processes:
        for executor in (map, threads.map, Pool(threads, 5), processes.map, Pool(processes)):
            found = rows_of(model, opened(table, model), EVERYTHING, executor=executor)
            assert found.equals(expected)


def test_a_model_is_pickled_without_its_engine(model: Model) -> None:
    model.anomaly_scores(np.zeros((2, 3)))
    again = pickle.loads(pickle.dumps(model))
    rows = make_rows(20)[COLUMNS].to_numpy()
    np.testing.assert_array_equal(again.anomaly_scores(rows), model.anomaly_scores(rows))


def test_no_more_batches_are_read_than_are_scored(model: Model) -> None:
    taken = 0

    class Counted(Source):
        name = "counted"

        def batches(self) -> Iterator[Batch]:
            nonlocal taken
            for start in range(0, 2000, 20):
                taken += 1
                keys = pa.array(range(start, start + 20))
                yield Batch(start, keys, make_rows(20, seed=start)[COLUMNS].to_numpy())

    for done, rows in enumerate(score(model, Counted()), start=1):
        assert taken <= done + 2
        assert rows.batch["row"].to_pylist() == list(range(20 * done - 20, 20 * done))
    assert taken == 100


# -------------------------------------------------------------------------------- results


def test_results_are_those_of_the_detector(model: Model, table: Path) -> None:
    detector = VAEDetector.from_model(model)
    X = pd.read_parquet(table)[COLUMNS]
    found = rows_of(model, opened(table, model), Outputs(explain=3, p_values=True, also=("kl",)))
    np.testing.assert_array_equal(found["anomaly_score"], -detector.score_samples(X))
    np.testing.assert_array_equal(found["p_value"], detector.p_values(X))
    np.testing.assert_array_equal(found["is_anomaly"], detector.predict(X) == -1)
    np.testing.assert_array_equal(found["score_kl"], detector.scores(X, ["kl"])["kl"])
    contributions = detector.explain(X)
    assert "latent_code" not in found.column_names
    first = contributions[COLUMNS].to_numpy().max(axis=1)
    given = found["contribution_1"].to_numpy()
    np.testing.assert_array_equal(given[first > 0], first[first > 0])
    assert np.isnan(given[first <= 0]).all()
    reasons = detector.reasons(X, top=3)
    reasons["row"] += 1
    for k, some in reasons.groupby("rank"):
        there = found.filter(pa.compute.is_in(found["row"], pa.array(some["row"])))
        for name in ("contribution", "value", "expected", "low", "high", "direction"):
            np.testing.assert_array_equal(there[f"{name}_{k}"].to_pylist(), some[name].tolist())
        np.testing.assert_array_equal(there[f"reason_{k}"].to_pylist(), some["column"].tolist())


def test_reasons_of_mixed_rows_are_texts(tmp_path: Path) -> None:
    rng = np.random.RandomState(0)
    site = rng.choice(["north", "south"], size=600)
    load = np.where(site == "north", 2.0, 8.0) + 0.1 * rng.normal(size=600)
    frame = pd.DataFrame({"site": site, "load": load, "speed": rng.normal(size=600)})
    frame.loc[frame.index[::50], "speed"] = np.nan
    brief = {"max_steps": 600, "n_members": 2, "false_alarm_rate": 0.05, "random_state": 0}
    model = VAEDetector(**brief).fit(frame).model_
    faulty = pd.DataFrame(
        {"site": ["north", "west", None], "load": [8.0, 2.0, 800.0], "speed": [0.0, 0.5, np.nan]}
    )
    faulty.to_parquet(tmp_path / "t.parquet")
    source = opened(tmp_path / "t.parquet", model)
    found = rows_of(model, source, Outputs(explain=1, repair=True)).to_pandas()
    assert found["reason_1"].isin(["site", "load"]).all()
    assert found["value_1"].isin(["north", "8", "west", "800"]).all()
    assert found.loc[1, ["reason_1", "value_1", "direction_1"]].tolist() == [
        *("site", "west", "unusual level")
    ]
    assert found.loc[2, ["reason_1", "value_1", "direction_1"]].tolist() == ["load", "800", "above"]
    numbers = found["reason_1"] == "load"
    assert found.loc[numbers, "probability_1"].isna().all()
    assert found.loc[~numbers, "probability_1"].between(0.5, 1.0).all()
    assert found.loc[1, "expected_1"] == "north"
    assert 1.5 < found.loc[2, "low_1"] < found.loc[2, "high_1"] < 8.5
    assert found.loc[1, "repair"] == "normal if site were north (it is west)"
    assert "load were " in found.loc[2, "repair"]


def test_repairs_are_those_of_the_detector(model: Model, table: Path) -> None:
    detector = VAEDetector.from_model(model)
    X = pd.read_parquet(table)[COLUMNS]
    found = rows_of(model, opened(table, model), Outputs(repair=True))
    steps = detector.repair(X).steps
    texts = dict(enumerate(found["repair"].to_pylist()))
    assert {row for row, text in texts.items() if text is not None} == set(steps["row"])
    assert len(set(steps["row"])) > 60
    for row, changes in steps.groupby("row"):
        clauses = [
            f"{one.column} were {short(one.repaired)} (it is {short(one.value)})"
            for one in changes.itertuples()
        ]
        assert changes["is_normal"].iloc[-1]
        assert texts[row] == "normal if " + " and ".join(clauses).replace(
            " and ", ", ", len(clauses) - 2
        )


def short(value: float) -> str:
    """Return a number without needless digits."""
    return repr(float(value)).removesuffix(".0")


def test_a_row_that_cannot_become_normal_says_so(table: Path) -> None:
    X = make_rows(200)[COLUMNS]
    model = VAEDetector(**QUICK, threshold=-1.0).fit(X).model_
    found = rows_of(model, opened(table, model), Outputs(repair=True))
    assert set(found["repair"].to_pylist()) == {"not normal whatever changes"}


@pytest.mark.parametrize("name", ["row", "anomaly_score", "reason_1", "score_kl", "latent_code"])
def test_features_with_names_of_the_output_are_not_confused(tmp_path: Path, name: str) -> None:
    renamed = make_rows(200)[COLUMNS].rename(columns={"count": name})
    model = VAEDetector(**QUICK, contamination=0.1).fit(renamed).model_
    renamed.to_parquet(tmp_path / "t.parquet")
    outputs = Outputs(explain=2, also=("kl",))
    found = rows_of(model, opened(tmp_path / "t.parquet", model), outputs)
    assert found.column_names == [
        *("row", "anomaly_score", "is_anomaly", "score_kl"),
        *(
            f"{name}_{k}"
            for k in (1, 2)
            for name in (
                *("reason", "contribution", "value", "expected", "low", "high", "direction"),
            )
        ),
        "status",
    ]
    detector = VAEDetector.from_model(model)
    assert found["row"].to_pylist() == list(range(1, 201))
    np.testing.assert_array_equal(found["anomaly_score"], -detector.score_samples(renamed))
    assert name in found["reason_1"].to_pylist()


@pytest.mark.parametrize("name", ["p_value", "status", "contribution_1", "score_kl", "id_p_value"])
def test_what_an_output_column_means_does_not_depend_on_the_name_of_the_keys(
    model: Model, table: Path, name: str
) -> None:
    source = opened(table, model)
    outputs = Outputs(explain=1, p_values=True, also=("kl",))
    expected = rows_of(model, source, outputs)
    source.key_name = name
    found = rows_of(model, source, outputs)
    taken = name != "id_p_value"
    first, *others = found.column_names
    assert first == (f"id_{name}" if taken else name)
    assert others == expected.column_names[1:]
    for i in range(found.num_columns):
        assert found.column(i) == expected.column(i)


def test_records_that_are_not_readable_have_a_status(images: Path) -> None:
    source = modality_of(str(images)).open(str(images), fitting=True)
    with source:
        parameters = {**QUICK, "false_alarm_rate": 0.1, "max_steps": 20}
        model = fitting.fit(parameters, source).model
    found = rows_of(model, opened(images, model), Outputs(explain=1, p_values=True, also=("kl",)))
    assert found.num_rows == 40
    assert found["file"][7].as_py() == "07.png"
    assert found["status"][7].as_py() == "it is empty"
    for name in set(found.column_names) - {"file", "status"}:
        missing = np.flatnonzero(found[name].is_null())
        assert 7 in missing
        if not name.endswith("_1"):  # a record may have no reason
            assert list(missing) == [7]
    assert set(found["status"].to_pylist()) == {"ok", "it is empty"}


def test_outputs_that_a_model_does_not_have_are_refused(model: Model, table: Path) -> None:
    source = opened(table, model)
    for outputs, message in (
        (
            Outputs(score="kl", repair=True),
            "repair needs a threshold, and that of the model is one of another score",
        ),
        (Outputs(score="kl", fdr=0.1), "fdr goes with the score that the model was fitted with"),
    ):
        with pytest.raises(ParameterError, match=message):
            next(score(model, source, outputs))
    bare = replace(model, calibration=replace(model.calibration, scores=np.empty(0)))
    with pytest.raises(ParameterError, match="p_values needs calibration rows"):
        next(score(bare, source, Outputs(p_values=True)))


# ---------------------------------------------------------------------------------- files


def test_a_file_of_scores_comes_with_a_summary(model: Model, table: Path, tmp_path: Path) -> None:
    make_rows(501, seed=1).to_parquet(table)
    path = tmp_path / "s.parquet"
    with opened(table, model) as source:
        summary = score_file(model, source, str(path), Outputs(p_values=True))
    found = pq.read_table(path)
    assert summary.n_scored == found.num_rows == 501
    assert summary.n_flagged == sum(found["is_anomaly"].to_pylist())
    assert summary.threshold == model.calibration.threshold
    assert summary.drift is None
    assert list(summary.skipped) == []


def test_drift_is_found_in_the_source_as_a_whole(model: Model, table: Path, tmp_path: Path) -> None:
    moved = make_rows(400, seed=2).assign(count=lambda rows: rows["count"] + 9)
    moved.to_parquet(table)
    with opened(table, model) as source:
        summary = score_file(model, source, str(tmp_path / "s.csv"))
    assert summary.drift is not None
    assert summary.drift.n_rows == 400
    assert summary.drift.movements[0].column == "count"


def test_recalibration_is_that_of_the_detector(model: Model, table: Path) -> None:
    with opened(table, model) as source:
        result = recalibrate_model(model, source, false_alarm_rate=0.1)
    X = pd.read_parquet(table)[COLUMNS]
    expected = recalibrate(VAEDetector.from_model(model), X, false_alarm_rate=0.1).model_
    assert result.model.calibration.threshold == expected.calibration.threshold
    np.testing.assert_array_equal(result.model.calibration.scores, expected.calibration.scores)
    assert result.model.parameters["false_alarm_rate"] == 0.1
    assert result.n_records == 501
    with opened(table, model) as source, pytest.raises(ParameterError, match="false_alarm_rate"):
        recalibrate_model(model, source, false_alarm_rate=1.5)


# ------------------------------------------------------------------------------------ fit


def test_a_fit_to_a_source_is_that_of_the_detector(table: Path, tmp_path: Path) -> None:
    with modality_of(str(table)).open(str(table), fitting=True) as source:
        result = fitting.fit(QUICK, source)
        again = fitting.fit(VAEDetector(**QUICK), source)
    expected = VAEDetector(**QUICK).fit(pd.read_parquet(table)).model_
    for model in (result.model, again.model):
        np.testing.assert_array_equal(model.network.weights, expected.network.weights)
        assert model.calibration.threshold == expected.calibration.threshold
    assert result.seconds > 0
    assert not result.interrupted


def test_a_fit_ends_early_if_it_is_told_to(table: Path) -> None:
    seen = []
    with modality_of(str(table)).open(str(table), fitting=True) as source:
        detector = VAEDetector(**QUICK | {"max_steps": 10_000}, callback=seen.append)
        model = fitting.fit(detector, source, stop=lambda: len(seen) == 2).model
    assert len(seen) == len(model.history.step) == 2
    assert detector.callback is not None
    assert not hasattr(detector, "model_")


def test_a_fitted_file_is_loaded_as_a_detector(table: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.vae"
    parameters = {**QUICK, "checkpoint": str(tmp_path / "kept")}
    with modality_of(str(table)).open(str(table), fitting=True) as source:
        training = fitting.read_training_data(source, parameters)
    result = fitting.fit_file(parameters, training, str(path))
    X = pd.read_parquet(table)
    np.testing.assert_array_equal(
        -load(path).score_samples(X), result.model.anomaly_scores(X.to_numpy())
    )
    assert not list((tmp_path / "kept").iterdir())
