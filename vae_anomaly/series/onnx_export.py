"""ONNX export of a model of time series: the scores of windows as one graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vae_anomaly._extras import of_extra
from vae_anomaly._types import Symbol
from vae_anomaly._version import __version__
from vae_anomaly.series.comparison import N_NEIGHBORS
from vae_anomaly.series.detector import SeriesDetector
from vae_anomaly.series.model import SeriesModel
from vae_anomaly.series.onnx_networks import SeriesNetworks
from vae_anomaly.series.training_windows import N_CANDIDATES, SELF_MATCH_TOLERANCE
from vae_anomaly.storage.atomic import atomic_write

if TYPE_CHECKING:
    from vae_anomaly.inference.onnx_graph import Graph

__all__ = ["export_series_onnx"]


def export_series_onnx(
    detector: SeriesDetector, path: str | Path, *, sha256: str | None = None
) -> None:
    """Write the scores of windows in the ONNX format, for any runtime.

    The graph has one input, ``windows``: float64, (n, window, channels), consecutive time steps
    of all channels, in the order and units of training, without missing values. Its outputs are
    of each window: ``window_score``, float64, (n,), and ``point_score``, that of its last time
    step, as multiples of their thresholds; ``anomaly_score``, that of the last time step as
    `SeriesModel.score` makes it from both; ``is_anomaly``, whether that is above 1 or NaN.

    These are the scores of a series that is one window long, and of the last step of any series
    for a causal detector, but for runs of equal values and channels that were constant, which
    are not in the graph. Otherwise `SeriesDetector.score_samples` takes the geometric mean of the
    mean and the maximum over all windows that cover a time step.

    Metadata are ``channels``, a JSON list; ``window``; ``step``, in nanoseconds, or null;
    ``causal``; ``version`` and ``model_sha256``.

    Parameters
    ----------
    detector : SeriesDetector
        Fitted.
    path : str or Path
    sha256 : str, optional
        Digest of the model file.

    Raises
    ------
    ParameterError
        If the package onnx is not installed.
    OutputError
        If the file cannot be written.
    """
    of_extra("onnx", "onnx", "Writing ONNX models")
    from vae_anomaly.inference.onnx_graph import Graph

    model, graph = detector.model_, Graph()
    chosen, scaler = model.scaler.varying, model.scaler
    windows = graph.input("windows", "n", model.window, len(model.channels), dtype="float64")
    taken = windows.apply("Transpose", perm=[0, 2, 1]).columns(chosen)
    taken = taken.apply("Transpose", perm=[0, 2, 1])
    steps = (taken - scaler.center[chosen]) / scaler.scale[chosen]
    flat = steps.reshape(-1, model.window * len(chosen))
    window = _window_score(model, flat.cast("float32")) / model.thresholds.window
    point = _point_score(model, detector.architecture, graph, flat)
    point = point / float(np.nan_to_num(model.thresholds.point, posinf=np.finfo(float).max))
    beyond = point.apply("Max", 1.0).apply("Log") + point.test("Greater", 1.0)
    score = window.apply("Max", beyond)
    graph.metadata |= {
        "channels": json.dumps(list(model.channels)),
        "window": str(model.window),
        "step": json.dumps(detector.step_),
        "causal": json.dumps(model.causal),
        "version": __version__,
        "model_sha256": sha256 or "",
    }
    is_normal = window.at_most(1.0) * point.at_most(1.0) * (window + point).is_number()
    outputs = {"window_score": window, "point_score": point, "anomaly_score": score}
    built = graph.finished(outputs | {"is_anomaly": (1.0 - is_normal).cast("bool")}, rank=1)
    with atomic_write(path) as file:
        file.write(built.SerializeToString())


def _window_score(model: SeriesModel, flat: Symbol) -> Symbol:
    """Add the scores of flat windows to the graph: (n,). See `TrainingWindows.nearest`."""
    training = model.comparison.training
    m, width = training.points.shape
    center, axes, coefficients = training.search
    place = (flat - center).apply("MatMul", axes.T)
    distance = place.apply("MatMul", coefficients[:, :-1].T) + coefficients[:, -1]
    count = min(N_CANDIDATES, m)
    candidates = distance.least_with_places(count)[1]
    similar = candidates.rows_of(training.points)  # (n, candidates, width)
    squares = flat.reshape(-1, 1, width) - similar
    squares = squares * squares
    n_used = max(1, min(N_NEIGHBORS, m - 1))
    values, order = (squares.sum() * 0.5).least_with_places(min(n_used + 1, count))
    apart = 1.0 - values.taken(0, 1).at_most(SELF_MATCH_TOLERANCE)
    first = order.taken(0, n_used)
    used = first.where(apart, order.taken(1, n_used + 1)) if m > 1 else first
    weights = used.one_hot(count)  # (n, neighbours, candidates)
    channels = len(model.scaler.varying)
    energies = squares.reshape(-1, count, model.window, channels).mean(axis=2)
    energy = weights.apply("MatMul", energies).mean(axis=1) * 0.5  # (n, channels)
    relative = energy.cast("float64") / model.typical_energy
    return (relative * relative).mean(axis=1).apply("Sqrt")


def _point_score(model: SeriesModel, architecture: str, graph: Graph, flat: Symbol) -> Symbol:
    """Add the scores of the last time steps of flat windows to the graph: (n,)."""
    from vae_anomaly.inference.onnx_graph import Networks, onnx_ops

    network, encoder = model.comparison.network.network, model.comparison.network.encoder
    encoded = encoder.in_graph(flat)
    inputs, spec = encoded.inputs.cast("float32"), network.spec
    channels = len(model.scaler.varying)
    if spec.custom is None:
        networks = Networks(graph, spec, network.weights)
        rebuilt = [
            networks.expected(networks.decode(j, networks.encode(j, inputs)[0]))
            for j in range(spec.members)
        ]
    else:
        arrays = spec.unpack(network.weights)
        made = SeriesNetworks(architecture, arrays, model.window, channels)
        outputs = made.decode(made.encode(inputs)).cast("float64")
        rebuilt = [spec.joint.mean(onnx_ops, outputs)]
    expected = rebuilt[0].apply("Sum", *rebuilt[1:]) * (1.0 / len(rebuilt))
    residual = encoded.targets - expected
    # What is not explained has no residual.
    place = np.arange(model.window * channels).reshape(model.window, channels)[-1]
    explained = np.arange(model.window * channels)
    if spec.joint.n_targets != len(explained):
        explained = np.asarray(encoder.explained)
    last = (explained[:, None] == place).astype(np.float64)  # (targets, channels)
    residual = residual.apply("MatMul", last)
    relative = residual * residual / model.typical_residual
    return (relative * relative).mean(axis=1).apply("Sqrt")
