"""ONNX: the exported graph scores as the detector does, and so does the engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from network_parts import spec_of

from vae_anomaly import VAEDetector
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.inference.base import Codes
from vae_anomaly.inference.engines import open_engine
from vae_anomaly.inference.network import Network
from vae_anomaly.names import ENGINES
from vae_anomaly.networks.spec import NetworkSpec
from vae_anomaly.networks.vae import build_vae
from vae_anomaly.stats.likelihoods import Block

pytest.importorskip("onnx", reason="the extra [onnx] is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra [onnx] is not installed")

QUICK = {"max_steps": 30, "threshold": 10.0, "random_state": 0, "n_members": 2, "latent_dim": 3}


def exported_scores(detector: VAEDetector, rows: np.ndarray, path: Path) -> np.ndarray:
    from vae_anomaly.model.onnx_export import export_onnx

    export_onnx(detector, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["rows"]
    assert session.get_modelmeta().custom_metadata_map == {"threshold": repr(-detector.offset_)}
    (scores,) = session.run(["anomaly_score"], {"rows": rows})
    return scores


def table(n: int = 200) -> np.ndarray:
    rng = np.random.RandomState(0)
    rows = rng.normal(size=(n, 3)) @ rng.normal(size=(3, 6)) + 5.0
    rows[:, 2] = 7.0
    return rows


def with_outliers(rows: np.ndarray) -> np.ndarray:
    """Return training rows, and rows far away, extreme in float64 or off a constant column."""
    far = np.repeat(rows[:1], 6, axis=0)
    far[0, 0], far[1, 1], far[2, 2], far[3, :] = 1e300, -1e12, 8.0, 40.0
    return np.concatenate([rows[:50], far])


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"beta": 0},
        {"beta": 0.3, "variance": 0.5},
        {"likelihood": "bernoulli"},
        {"likelihood": "student_t"},
        {"score_type": "elbo", "likelihood": "student_t"},
        {"score_type": "elbo", "likelihood": "heteroscedastic"},
        {"score_type": "elbo", "likelihood": "discretized_logistic"},
        {"likelihood": "heteroscedastic"},
        {"contamination": 0.2, "threshold": None},
        {"score_type": "elbo"},
        {"score_type": "elbo", "prior": "normal"},
        {"score_type": "elbo", "variance": 0.5, "beta": 0.3},
        {"score_type": "elbo", "likelihood": "bernoulli"},
        {"score_type": "elbo", "beta": 0},
        {"score_type": "reconstruction"},
        {"score_type": "kl"},
        {"score_type": "elbo", "hidden_units": (4,), "n_draws": 5},
    ],
    ids=str,
)
def test_the_graph_scores_tables_as_the_detector_does(
    parameters: dict[str, Any], tmp_path: Path
) -> None:
    hidden = {"hidden_units": (16, 8)} | QUICK
    detector = VAEDetector(**(hidden | parameters)).fit(table())
    rows = with_outliers(table())
    ours = -detector.score_samples(rows)
    theirs = exported_scores(detector, rows, tmp_path / "m.onnx")
    np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("score_type", ["elbo", "exemplar"])
@pytest.mark.parametrize("architecture", ["dense", "conv", "conv_bn"])
@pytest.mark.parametrize("shape", [(9, 12), (16, 11, 3)])
def test_the_graph_scores_images_as_the_detector_does(
    architecture: str, shape: tuple[int, ...], score_type: str, tmp_path: Path
) -> None:
    images = np.random.RandomState(0).randint(256, size=(60, *shape)).astype(np.uint8)
    options = {"architecture": architecture, "likelihood": "bernoulli", "score_type": score_type}
    detector = VAEDetector(**options, **QUICK).fit(images)
    ours = -detector.score_samples(images)
    rows = images.reshape(60, -1).astype(np.float64)
    theirs = exported_scores(detector, rows, tmp_path / "m.onnx")
    np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5)


DENSE = spec_of(2, 7, (16, 8), 3, "gaussian")
CONV = spec_of(2, 9 * 12, (8,), 3, "gaussian", grid=(9, 12, 1))
SPECS = {
    "dense": DENSE,
    "fixed variance": replace(DENSE, variance=0.3),
    "heteroscedastic": replace(DENSE, blocks=(Block("heteroscedastic", 7),)),
    "student t": replace(DENSE, blocks=(Block("student_t", 7),)),
    "discretized logistic": replace(DENSE, blocks=(Block("discretized_logistic", 7),)),
    "bernoulli": replace(DENSE, blocks=(Block("bernoulli", 7),)),
    "autoencoder": replace(DENSE, noiseless=True),
    "two blocks": replace(DENSE, blocks=(Block("gaussian", 3), Block("bernoulli", 4))),
    "more targets than inputs": replace(
        DENSE, blocks=(Block("heteroscedastic", 5), Block("student_t", 6))
    ),
    "conv": CONV,
    "conv, bernoulli": replace(CONV, blocks=(Block("bernoulli", 9 * 12),)),
    "conv, heteroscedastic": replace(CONV, blocks=(Block("heteroscedastic", 9 * 12),)),
    "conv_bn": replace(CONV, batch_norm=True),
    "colour": spec_of(2, 16 * 16 * 3, (8,), 3, "gaussian", grid=(16, 16, 3)),
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_engine_agrees_with_the_one_that_always_works(spec: NetworkSpec) -> None:
    rng = np.random.RandomState(1)
    weights = build_vae(spec).initial_weights(np.random.RandomState(0))
    weights += np.abs(rng.normal(scale=0.05, size=weights.shape)).astype(np.float32)
    engines = open_engine(spec, weights, "onnx"), open_engine(spec, weights, "tensorflow")
    sizes = (20, spec.n_inputs), (2, 3), *[(spec.members, 20, 3)] * 2
    x, noise, mean, log_variance = (rng.normal(size=size).astype(np.float32) for size in sizes)
    codes, target = Codes(mean, log_variance), rng.uniform(size=(20, spec.n_targets))
    for call in (
        lambda engine: [engine.reconstruction_error(codes, noise, target)],
        lambda engine: engine.encode(x),
        lambda engine: [engine.decode(mean)],
    ):
        for one, other in zip(*(call(engine) for engine in engines), strict=True):
            assert one.shape == other.shape
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_the_command_writes_the_graph_and_scores_with_it(tmp_path: Path) -> None:
    import pandas as pd

    from vae_anomaly.cli import run
    from vae_anomaly.persistence import save

    rows = table()
    detector = VAEDetector(**QUICK, hidden_units=(8,)).fit(rows)
    model, data = tmp_path / "m.vae", tmp_path / "t.csv"
    save(detector, model)
    pd.DataFrame(rows).to_csv(data, index=False, header=[f"x{i}" for i in range(6)])
    assert run(["export", str(model), "-o", str(tmp_path / "m.onnx")]) == 0
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    ours = -detector.score_samples(rows)
    np.testing.assert_allclose(session.run(None, {"rows": rows})[0], ours, rtol=1e-5)
    for engine in ENGINES:
        out = tmp_path / f"{engine}.csv"
        assert run(["score", str(model), str(data), "-o", str(out), "--engine", engine]) == 0
        np.testing.assert_allclose(pd.read_csv(out)["anomaly_score"], ours, rtol=1e-5)


def test_numpy_refuses_convolutions() -> None:
    weights = np.zeros((2, CONV.n_weights), dtype=np.float32)
    refused = r"^The engine numpy runs dense networks alone\."
    with pytest.raises(ParameterError, match=refused):
        open_engine(CONV, weights, "numpy")
    network = Network(CONV, weights).with_engine("numpy")
    with pytest.raises(ParameterError, match=refused):
        network.encode(np.zeros((1, CONV.n_inputs)))


def test_a_score_without_a_graph_is_refused(tmp_path: Path) -> None:
    detector = VAEDetector(**QUICK, score_type="typicality").fit(table())
    expected = "no ONNX graph for score_type='typicality' yet. Expected one of 'exemplar', 'elbo'"
    with pytest.raises(ParameterError, match=expected):
        exported_scores(detector, table(), tmp_path / "m.onnx")


def test_what_has_no_graph_is_refused(tmp_path: Path) -> None:
    import keras

    layers = keras.layers.Dense
    encoder = keras.Sequential([keras.Input((6,)), layers(4)])
    decoder = keras.Sequential([keras.Input((2,)), layers(6)])
    detector = VAEDetector(architecture=(encoder, decoder), max_steps=1, threshold=1.0).fit(table())
    with pytest.raises(
        ParameterError, match=r"^Custom networks cannot be exported as an ONNX graph"
    ):
        exported_scores(detector, table(), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
