"""The fitted model: a frozen value, evaluated in one pass on any engine, without scikit-learn."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections import Counter
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import make_rows

from vae_anomaly import VAEDetector, load
from vae_anomaly.data.base import Encoded
from vae_anomaly.inference.base import Codes
from vae_anomaly.model.calibration import Calibration
from vae_anomaly.model.file import model_of, save_model
from vae_anomaly.model.model import Model
from vae_anomaly.stats.scores import SCORES
from vae_anomaly.storage.container import open_container

N = 700
ROWS = make_rows(N, seed=3).to_numpy()
ROWS[:5] *= [[9.0, 1.0, 1.0, 1.0]]  # beyond the soft clip
ROWS[5:9, 2] = 8.0  # off a constant column


@pytest.fixture(scope="module")
def model(fitted: VAEDetector) -> Model:
    return fitted.model_


class CountingEngine:
    """An engine that counts its calls."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def encode(self, x: np.ndarray) -> Codes:
        self.calls["encode"] += 1
        return self._engine.encode(x)

    def decode(self, z: np.ndarray) -> np.ndarray:
        self.calls["decode"] += 1
        return self._engine.decode(z)

    def encode_means(self, x: np.ndarray) -> np.ndarray:
        self.calls["encode"] += 1
        return self._engine.encode_means(x)

    def expected(self, z: np.ndarray) -> np.ndarray:
        self.calls["decode"] += 1
        return self._engine.expected(z)

    def reconstruction_error(self, *arguments: Any) -> np.ndarray:
        self.calls["reconstruction_error"] += 1
        return self._engine.reconstruction_error(*arguments)


def counted(model: Model) -> tuple[Model, Counter[str]]:
    """Return the model on an engine that counts its calls."""
    network = replace(model.network)
    engine = CountingEngine(model.network.engine)
    vars(network)["engine"] = engine
    return replace(model, network=network), engine.calls


@dataclass(frozen=True, eq=False)
class MaskingEncoder:
    """An encoder of rows in which some features are not observed."""

    encoder: Any
    observed: np.ndarray  # (n_features,)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.encoder, name)

    def encode(self, records: np.ndarray) -> Encoded:
        encoded = self.encoder.encode(records)
        return encoded._replace(observed=np.tile(self.observed, (len(records), 1)))


# ---------------------------------------------------------------------------------- a value


def test_models_and_their_parts_are_frozen(model: Model) -> None:
    for value in (model, model.network, model.calibration, model.reference, model.encoder):
        for field in fields(value):
            with pytest.raises(FrozenInstanceError):
                setattr(value, field.name, None)
    with pytest.raises(FrozenInstanceError):
        model.further = 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["model_", "offset_", "weights_", "noise_", "calibration_scores_"])
def test_fitted_attributes_of_a_detector_are_views_of_its_model(
    fitted: VAEDetector, name: str
) -> None:
    assert getattr(VAEDetector.from_model(fitted.model_), name) is not None
    if name != "model_":
        with pytest.raises(AttributeError):
            setattr(fitted, name, None)


def test_replacing_other_parts_keeps_scores(model: Model) -> None:
    scores = model.anomaly_scores(ROWS)
    other = replace(model, calibration=Calibration.fixed(1.5), latent_kl=model.latent_kl * 2)
    np.testing.assert_array_equal(other.anomaly_scores(ROWS), scores)
    assert other.calibration.threshold == 1.5
    assert model.calibration.threshold != 1.5
    detector = VAEDetector.from_model(other)
    frame = pd.DataFrame(ROWS, columns=detector.feature_names_in_)
    np.testing.assert_array_equal(detector.predict(frame) == -1, scores > 1.5)


@pytest.mark.parametrize("name", SCORES)
def test_replacing_the_score_type_changes_what_is_computed(model: Model, name: str) -> None:
    assert model.score_type == "exemplar"
    other = replace(model, score_type=name)
    assert other.has_own_score is (name == "exemplar")
    expected = model.evaluate(ROWS, also=[name]).also[name]
    np.testing.assert_array_equal(other.anomaly_scores(ROWS), expected)


# -------------------------------------------------------------------------------- evaluation


@pytest.mark.parametrize("name", SCORES)
def test_contributions_take_one_pass_and_sum_to_the_scores(model: Model, name: str) -> None:
    nothing_is_high = Calibration.fixed(np.inf)
    counting, calls = counted(replace(model, score_type=name, calibration=nothing_is_high))
    evaluated = counting.evaluate(ROWS, contributions=True)
    batches = -(-N // counting.network.batch_rows(len(model.noise)))
    assert batches == 3
    assert calls["encode"] == batches
    assert calls["decode"] == batches
    if name not in ("importance_weighted", "exemplar", "latent_distance"):
        assert calls["reconstruction_error"] == batches
    assert evaluated.contributions.shape == (N, 4)
    np.testing.assert_allclose(evaluated.contributions.sum(axis=1), evaluated.scores, rtol=1e-9)
    np.testing.assert_array_equal(counting.anomaly_scores(ROWS), evaluated.scores)
    np.testing.assert_array_equal(counting.contributions(ROWS), evaluated.contributions)
    assert calls["encode"] == 3 * batches


def test_further_scores_share_the_pass(model: Model) -> None:
    counting, calls = counted(replace(model, calibration=Calibration.fixed(np.inf)))
    evaluated = counting.evaluate(ROWS, contributions=True, also=list(SCORES))
    assert calls["encode"] == calls["decode"] == 3
    assert calls["reconstruction_error"] == 3 * (1 + 64)  # once, and for each importance draw
    assert list(evaluated.also) == list(SCORES)
    for name, scores in evaluated.also.items():
        alone = replace(model, score_type=name).anomaly_scores(ROWS)
        np.testing.assert_array_equal(scores, alone)
    np.testing.assert_array_equal(evaluated.also["exemplar"], evaluated.scores)


def test_no_records_have_no_scores(model: Model) -> None:
    evaluated = model.evaluate(ROWS[:0], contributions=True, expected=True, also=["kl"])
    assert evaluated.scores.shape == evaluated.also["kl"].shape == (0,)
    assert evaluated.contributions.shape == (0, 4)
    assert evaluated.expected.shape == (0, model.network.spec.joint.n_targets)


@pytest.mark.parametrize("name", ["elbo", "reconstruction", "importance_weighted", "exemplar"])
@pytest.mark.parametrize("hidden", [[0], [1, 2], [0, 1, 2, 3]])
def test_features_that_are_not_observed_contribute_their_penalty(
    model: Model, name: str, hidden: list[int]
) -> None:
    plain = replace(model, score_type=name)
    observed = ~np.isin(np.arange(4), hidden)
    masked = replace(plain, encoder=MaskingEncoder(model.encoder, observed))
    before, after = (one.evaluate(ROWS, contributions=True) for one in (plain, masked))
    penalty = model.encoder.encode(ROWS).penalty
    assert (penalty[:5, 0] > 0).any()
    assert (penalty[5:9, 2] > 0).all()
    np.testing.assert_allclose(after.contributions.sum(axis=1), after.scores, rtol=1e-9)
    if observed.any():
        np.testing.assert_array_equal(after.contributions[:, hidden], penalty[:, hidden])
    else:  # what belongs to no feature is divided evenly
        rest = after.contributions - penalty
        np.testing.assert_allclose(rest, np.tile(rest[:, :1], 4), rtol=1e-9)
    if name == "reconstruction":
        others = np.flatnonzero(observed)
        np.testing.assert_array_equal(
            after.contributions[:, others], before.contributions[:, others]
        )


@pytest.mark.parametrize("name", ["elbo", "importance_weighted", "exemplar"])
def test_values_that_are_not_observed_do_not_matter_to_the_likelihood(
    model: Model, name: str
) -> None:
    """The encoder network sees the inputs as they are; targets count where they are observed."""
    observed = np.array([True, True, True, False])

    @dataclass(frozen=True, eq=False)
    class Changing(MaskingEncoder):
        def encode(self, records: np.ndarray) -> Encoded:
            encoded = super().encode(records)
            targets = encoded.targets.copy()
            targets[:, -1] += 3.0
            return encoded._replace(targets=targets)

    scores = [
        replace(model, score_type=name, encoder=one(model.encoder, observed)).anomaly_scores(ROWS)
        for one in (MaskingEncoder, Changing)
    ]
    np.testing.assert_array_equal(*scores)


# ----------------------------------------------------------------------------------- engines


@pytest.mark.parametrize("engine", ["numpy", "tensorflow", "onnx"])
def test_other_engines_give_the_same_scores(model: Model, engine: str) -> None:
    if engine == "onnx":
        pytest.importorskip("onnxruntime", reason="the extra [onnx] is not installed")
    other = model.with_engine(engine)
    assert other.network.needs_tensorflow is (engine == "tensorflow")
    assert not model.network.needs_tensorflow
    expected = model.evaluate(ROWS, contributions=True, also=list(SCORES))
    result = other.evaluate(ROWS, contributions=True, also=list(SCORES))
    np.testing.assert_allclose(result.scores, expected.scores, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(result.contributions, expected.contributions, rtol=1e-4, atol=1e-4)
    for name, scores in expected.also.items():
        np.testing.assert_allclose(result.also[name], scores, rtol=1e-5, atol=1e-5, err_msg=name)
    again = other.with_engine("auto").anomaly_scores(ROWS)
    np.testing.assert_array_equal(again, expected.scores)


def test_pickles_of_models_and_detectors_score_the_same(fitted: VAEDetector) -> None:
    frame = pd.DataFrame(ROWS, columns=fitted.feature_names_in_)
    scores = fitted.score_samples(frame)  # opens the engine, which is not pickled
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.score_samples(frame), scores)
    np.testing.assert_array_equal(again.p_values(frame), fitted.p_values(frame))
    model = pickle.loads(pickle.dumps(fitted.model_))
    assert "engine" not in vars(model.network)
    np.testing.assert_array_equal(model.anomaly_scores(ROWS), -scores)
    assert model.encoder.features == fitted.model_.encoder.features
    other = pickle.loads(pickle.dumps(fitted.model_.with_engine("tensorflow")))
    assert other.network.engine_name == "tensorflow"


# ------------------------------------------------------------------------------------- files

LOADING = """
import sys
import numpy as np
from vae_anomaly.model.file import model_of
from vae_anomaly.storage.container import open_container

model = model_of(open_container("m.vae"))
evaluated = model.evaluate(np.load("rows.npy"), contributions=True, also=["elbo"])
np.save("scores.npy", evaluated.scores)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_models_are_loaded_and_evaluated_without_frameworks(model: Model, tmp_path: Path) -> None:
    save_model(model, tmp_path / "m.vae")
    np.save(tmp_path / "rows.npy", ROWS)
    done = subprocess.run(
        [sys.executable, "-c", LOADING], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    heavy = {"sklearn", "pandas", "pyarrow", "PIL", "tensorflow", "keras", "matplotlib", "onnx"}
    assert not heavy & set(done.stdout.split())
    np.testing.assert_array_equal(np.load(tmp_path / "scores.npy"), model.anomaly_scores(ROWS))


def test_models_and_detectors_have_the_same_files(model: Model, tmp_path: Path) -> None:
    sha256 = save_model(model, tmp_path / "m.vae")
    detector = load(tmp_path / "m.vae")
    assert save_model(model_of(open_container(tmp_path / "m.vae")), tmp_path / "n.vae") == sha256
    assert save_model(detector.model_, tmp_path / "n.vae") == sha256
    assert detector.model_.calibration.method == "false_alarm_rate"
    assert detector.model_.calibration.value == 0.05
