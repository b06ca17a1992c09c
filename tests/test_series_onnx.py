"""ONNX graphs of the scores of windows: those of the detector, whatever its networks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vae_anomaly import SeriesDetector, save
from vae_anomaly.cli import run
from vae_anomaly.series.onnx_export import export_series_onnx

onnx = pytest.importorskip("onnx")
reference = pytest.importorskip("onnx.reference")

# Keras' own way to pickle a model calls NumPy as older versions of it wished.
pytestmark = pytest.mark.filterwarnings("ignore:.*__array__ implementation:DeprecationWarning")

Array = NDArray[np.float64]

WINDOW = 13  # odd, so that convolutions pad one side more than the other
NAMES = ("window_score", "point_score", "anomaly_score", "is_anomaly")


def waves(n: int, seed: int) -> Array:
    """Return two noisy waves, and between them a constant channel."""
    phase = 2 * np.pi * np.arange(n)[:, None] / np.array([20, 31])
    noisy = np.sin(phase) + 0.1 * np.random.RandomState(seed).normal(size=(n, 2))
    return np.column_stack([noisy[:, 0], np.full(n, 3.0), noisy[:, 1]])


def fitted(architecture: str) -> SeriesDetector:
    settings = {"window": WINDOW, "causal": True, "max_steps": 20, "random_state": 0}
    return SeriesDetector(architecture=architecture, **settings).fit(waves(500, 0))


@pytest.mark.parametrize("architecture", ["dense", "conv", "lstm", "gru"])
def test_graphs_compute_the_scores_of_the_detector(architecture: str, tmp_path: Path) -> None:
    detector = fitted(architecture)
    path = tmp_path / "m.onnx"
    export_series_onnx(detector, path)
    series = waves(120, 1)
    series[60:75, 0] = 2.0
    series[100, 2] += 5.0
    scores = detector.model_.score(series)
    windows = np.lib.stride_tricks.sliding_window_view(series, WINDOW, axis=0).swapaxes(1, 2)
    training = waves(500, 0)[200 : 200 + WINDOW]  # is compared with others than itself
    windows = np.ascontiguousarray(np.concatenate([windows, training[None]]))
    try:  # many times as fast
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path))
    except ImportError:
        session = reference.ReferenceEvaluator(str(path))
    found = dict(zip(NAMES, session.run(list(NAMES), {"windows": windows}), strict=True))
    multiples = scores.scores[:, :2] / np.array(detector.model_.thresholds[:2])
    last = slice(WINDOW - 1, None)
    of_series = {name: values[:-1] for name, values in found.items()}
    np.testing.assert_allclose(of_series["window_score"], multiples[last, 0], rtol=1e-5)
    np.testing.assert_allclose(of_series["point_score"], multiples[last, 1], rtol=1e-5)
    np.testing.assert_allclose(of_series["anomaly_score"], scores.total[last], rtol=1e-5)
    np.testing.assert_array_equal(of_series["is_anomaly"], scores.flags[last])
    assert 0 < scores.flags.sum() < len(series)
    alone = detector.model_.score(training)
    np.testing.assert_allclose(found["anomaly_score"][-1], alone.total[-1], rtol=1e-5)


def test_missing_values_are_flagged(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    export_series_onnx(fitted("dense"), path)
    window = waves(WINDOW, 1)[None]
    window[0, 3, 0] = np.nan
    flags = reference.ReferenceEvaluator(str(path)).run(["is_anomaly"], {"windows": window})
    assert flags[0].tolist() == [True]


def test_the_command_says_what_the_graph_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = save(fitted("dense"), tmp_path / "m.vae")
    assert run(["export", str(tmp_path / "m.vae"), "-o", str(tmp_path / "m.onnx")]) == 0
    err = capsys.readouterr().err
    assert "the graph takes windows of 13 time steps of 3 channels, without missing" in err
    metadata = {one.key: one.value for one in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert metadata["model_sha256"] == digest
    assert json.loads(metadata["channels"]) == ["channel_1", "channel_2", "channel_3"]
    assert metadata["window"] == "13"
