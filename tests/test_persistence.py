"""Model files: what is saved comes back to the last bit, and nothing else gets in."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import QUICK
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from sklearn.exceptions import NotFittedError

import vae_anomaly
from vae_anomaly import (
    DataError,
    ModelFileError,
    ParameterError,
    VAEDetector,
    inspect,
    load,
    recalibrate,
    save,
)
from vae_anomaly.report import build_report
from vae_anomaly.storage.container import MODEL, write_container


@pytest.fixture(scope="module")
def small() -> VAEDetector:
    """A detector whose file is small enough to damage in every place."""
    X = pd.DataFrame(np.random.RandomState(0).normal(size=(12, 2)), columns=["a", "b"])
    return VAEDetector(
        hidden_units=(2,), latent_dim=1, n_members=1, n_draws=1, max_steps=5,
        false_alarm_rate=0.5, random_state=0,
    ).fit(X)  # fmt: skip


@pytest.fixture
def model(small: VAEDetector, tmp_path: Path) -> Path:
    path = tmp_path / "model.vae"
    save(small, path)
    return path


# ------------------------------------------------------------------------------ round trips


def test_scores_after_reload_are_the_same_bits_in_a_fresh_process(
    fitted: VAEDetector, rows: pd.DataFrame, tmp_path: Path
) -> None:
    save(fitted, tmp_path / "model.vae")
    rows.to_pickle(tmp_path / "rows")
    code = (
        "import numpy as np, pandas as pd, vae_anomaly; rows = pd.read_pickle('rows'); "
        "detector = vae_anomaly.load('model.vae'); "
        "np.savez('out', scores=detector.score_samples(rows), flags=detector.predict(rows))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    with np.load(tmp_path / "out.npz") as out:
        np.testing.assert_array_equal(out["scores"], fitted.score_samples(rows))
        np.testing.assert_array_equal(out["flags"], fitted.predict(rows))


@pytest.mark.parametrize(
    "parameters",
    [
        {"likelihood": "bernoulli", "contamination": 0.1},
        {"likelihood": "heteroscedastic"},
        {"likelihood": "student_t"},
        {"likelihood": "discretized_logistic"},
        {"optimizer": "rmsprop", "contamination": 0.1},
        {"beta": 0, "variance": np.float32(0.5), "threshold": 3},
        {"score_type": "kl", "n_members": np.int64(2), "random_state": np.random.RandomState(0)},
    ],
)
def test_detectors_with_other_parameters_come_back(
    rows: pd.DataFrame, parameters: dict[str, Any], tmp_path: Path
) -> None:
    X = rows.to_numpy()
    chosen = {"contamination", "threshold"} & set(parameters)
    rate = {} if chosen else {"false_alarm_rate": 0.1}
    detector = VAEDetector(**QUICK | rate | parameters).fit(X)
    save(detector, tmp_path / "m.vae")
    again = load(tmp_path / "m.vae")
    np.testing.assert_array_equal(again.decision_function(X), detector.decision_function(X))
    np.testing.assert_array_equal(again.transform(X), detector.transform(X))
    assert not hasattr(again, "feature_names_in_")
    assert again.history_ == detector.history_
    assert again.get_params()["beta"] == detector.beta
    save(again, tmp_path / "n.vae")
    if not isinstance(parameters.get("random_state"), np.random.RandomState):
        assert (tmp_path / "n.vae").read_bytes() == (tmp_path / "m.vae").read_bytes()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("likelihood_0.log_variance", 2000.0, "its columns have variances out of range"),
        ("likelihood_0.step", -1.0, "a column has a step that is negative"),
    ],
)
def test_parameters_of_a_likelihood_are_checked(name, value, sentence, tmp_path: Path) -> None:
    X = np.random.RandomState(0).randint(5, size=(60, 2)).astype(float)
    options = {"likelihood": "discretized_logistic", "max_steps": 5, "threshold": 0.0}
    detector = VAEDetector(**options, random_state=0).fit(X)
    spec, model = detector.network_spec_, detector.model_
    arrays = spec.unpack(detector.weights_)
    assert (arrays["likelihood_0.step"] > 0).all()
    arrays[name] = np.full_like(arrays[name], value)
    network = replace(model.network, weights=spec.pack(arrays))
    save(VAEDetector.from_model(replace(model, network=network)), tmp_path / "m.vae")
    with pytest.raises(ModelFileError, match=sentence):
        load(tmp_path / "m.vae")


def test_columns_are_checked_by_name_after_reload(model: Path) -> None:
    with pytest.raises(ValueError, match="feature names should match"):
        load(model).predict(pd.DataFrame({"b": [0.0], "a": [0.0]}))


def test_the_safetensors_library_reads_the_file(fitted: VAEDetector, tmp_path: Path) -> None:
    save(fitted, tmp_path / "model.vae")
    arrays = load_file(tmp_path / "model.vae")
    np.testing.assert_array_equal(arrays["noise"], fitted.noise_)
    assert arrays["encoder_0.kernel"].shape == (2, 3, 128)


def test_a_file_that_safetensors_wrote_again_is_refused_for_its_order(
    fitted: VAEDetector, tmp_path: Path
) -> None:
    save(fitted, tmp_path / "m.vae")
    with safe_open(tmp_path / "m.vae", "numpy") as file:
        metadata = file.metadata()
    save_file(load_file(tmp_path / "m.vae"), tmp_path / "again.vae", metadata=metadata)
    with pytest.raises(ModelFileError, match=r"another order: another program wrote it again, suc"):
        load(tmp_path / "again.vae")


def test_inspect_describes_in_plain_values(fitted: VAEDetector, tmp_path: Path) -> None:
    sha256 = save(fitted, tmp_path / "model.vae")
    described = inspect(tmp_path / "model.vae")
    json.dumps(described)
    assert described["sha256"] == sha256
    assert described["threshold"] == -fitted.offset_
    assert described["steps"] == 150
    assert described["weights"] == fitted.weights_.size
    assert [column["constant"] for column in described["columns"]] == [False, False, True, False]
    assert described["created_with"] == {"vae_anomaly": vae_anomaly.__version__}


def test_only_fitted_detectors_with_distinct_columns_are_saved(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        save(VAEDetector(), tmp_path / "m.vae")
    detector = VAEDetector(**QUICK, contamination=0.1).fit(np.eye(20))
    model = detector.model_
    encoder = replace(model.encoder, names=("a",) * 20)
    with pytest.raises(DataError, match="Two columns share a name"):
        save(VAEDetector.from_model(replace(model, encoder=encoder)), tmp_path / "m.vae")
    assert not list(tmp_path.iterdir())


CHANGES: list[dict[str, Any]] = [
    {"score_type": "elbo"},
    {"beta": 2.0},
    {"false_alarm_rate": 0.1},
    {"contamination": 0.1},
    {"threshold": 3.0},
    {"prior": "normal"},
    {"variance": 0.5},
    {"likelihood": "bernoulli", "n_draws": 7},
    {"hidden_units": [3]},
    {"column_types": {"a": "ignore"}},
]

ROWS = pd.DataFrame([[0.0, 1.0], [9.0, 9.0]], columns=["a", "b"])


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_parameters_set_after_fit_neither_score_nor_are_saved(small, change, tmp_path) -> None:
    scores, fitted = small.score_samples(ROWS), small.get_params()
    changed = pickle.loads(pickle.dumps(small)).set_params(**change)
    given = ", ".join(f"{name}={value!r}" for name, value in change.items())
    before = ", ".join(f"{name}={fitted[name]!r}" for name in change)
    words = f"Parameters were set after fit: {given}, fitted with {before}. Fit again, or"
    for use in (
        changed.predict,
        changed.score_samples,
        changed.decision_function,
        changed.explain,
        changed.p_values,
        changed.flag_batch,
        changed.transform,
        partial(recalibrate, changed),
        partial(build_report, changed),
    ):
        with pytest.raises(ParameterError, match=re.escape(words)):
            use(ROWS)
    with pytest.raises(ParameterError, match=re.escape(words)):
        save(changed, tmp_path / "m.vae")
    assert not list(tmp_path.iterdir())
    changed.set_params(**{name: fitted[name] for name in change})
    np.testing.assert_array_equal(changed.score_samples(ROWS), scores)


def test_a_dictionary_or_list_that_changes_after_fit_is_noticed() -> None:
    types, units = {"a": "number"}, [2]
    options = {"latent_dim": 1, "n_members": 1, "max_steps": 5, "random_state": 0}
    X = pd.DataFrame(np.random.RandomState(0).normal(size=(12, 2)), columns=["a", "b"])
    detector = VAEDetector(
        column_types=types, hidden_units=units, contamination=0.1, **options
    ).fit(X)
    detector.predict(ROWS)
    types["b"] = "ignore"
    with pytest.raises(ParameterError, match="were set after fit: column_types="):
        detector.predict(ROWS)
    del types["b"]
    units.append(2)
    with pytest.raises(ParameterError, match=r"hidden_units=\[2, 2\], fitted with"):
        detector.predict(ROWS)


@pytest.mark.parametrize("value", [np.array([1.0, 2.0]), "0.1", float("nan"), True])
def test_values_that_are_no_parameters_are_noticed_too(small, value) -> None:
    changed = pickle.loads(pickle.dumps(small)).set_params(threshold=value)
    with pytest.raises(ParameterError, match="Parameters were set after fit: threshold="):
        changed.predict(ROWS)


def test_what_no_score_depends_on_may_change_after_fit(small, tmp_path) -> None:
    scores = small.score_samples(ROWS)
    changed = pickle.loads(pickle.dumps(small))
    changed.set_params(random_state=7, callback=print, checkpoint=tmp_path)
    np.testing.assert_array_equal(changed.score_samples(ROWS), scores)
    assert recalibrate(changed, ROWS, false_alarm_rate=0.5).false_alarm_rate == 0.5


def test_parameters_out_of_range_are_not_saved(small, tmp_path: Path) -> None:
    changed = pickle.loads(pickle.dumps(small)).set_params(latent_dim=0)
    with pytest.raises(ParameterError, match="'latent_dim' parameter of VAEDetector must be None"):
        save(changed, tmp_path / "m.vae")


def test_models_larger_than_load_accepts_are_not_saved(small, model, monkeypatch) -> None:
    before = model.read_bytes()
    smaller = partial(write_container, file_type=MODEL._replace(max_bytes=len(before) - 1))
    monkeypatch.setattr("vae_anomaly.model.file.write_container", smaller)
    with pytest.raises(vae_anomaly.OutputError, match="Use fewer or smaller networks"):
        save(small, model)
    assert model.read_bytes() == before


def test_a_failed_save_leaves_the_old_model(small: VAEDetector, model: Path, monkeypatch) -> None:
    before = model.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(vae_anomaly.OutputError):
        save(small, model)
    assert model.read_bytes() == before
    assert list(model.parent.iterdir()) == [model]
