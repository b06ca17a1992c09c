"""A fitted detector as one ONNX graph, from rows in their own units to the anomaly score."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from vae_anomaly.data.image.pixels import smooth
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.model.parameters import score_for
from vae_anomaly.stats.densities import gaussian_kl
from vae_anomaly.stats.exemplars import N_NEIGHBORS, SELF_MATCH_TOLERANCE
from vae_anomaly.stats.priors import mixture_coefficients
from vae_anomaly.stats.soft_clip import CLIP_THRESHOLD, LARGEST
from vae_anomaly.storage.atomic import atomic_write

__all__ = ["export_onnx"]

SCORES = ("exemplar", "elbo", "reconstruction", "kl")


def export_onnx(detector: Any, path: str | os.PathLike[str]) -> None:
    """Write a detector as an ONNX model, for whatever can run one.

    The graph has one input, ``rows``: float64, (n, n_features), the columns in the
    order of training and in their own units; of images the pixels, flattened. It
    has one output, ``anomaly_score``: float64, (n,), in nats, minus
    `score_samples` but for rounding. The threshold is in the model's metadata, as
    ``threshold``.

    Parameters
    ----------
    detector : VAEDetector
        Fitted, with networks that are not the user's own.
    path : str or path-like

    Raises
    ------
    ParameterError
        If there is no graph for its networks or score, or the package
        onnx is not there.
    OutputError
        If the file cannot be written.
    """
    check_is_fitted(detector)
    try:
        from vae_anomaly.inference.onnx_graph import Graph, Networks
    except ImportError as cause:
        raise ParameterError(
            "Writing ONNX models needs the package onnx, which is not installed. Install it with "
            "pip install 'vae-anomaly[onnx]'."
        ) from cause
    if score_for(detector) not in SCORES:
        raise ParameterError(
            f"There is no ONNX graph for score_type={detector.score_type!r} yet. Expected one of "
            f"{', '.join(map(repr, SCORES))}."
        )
    graph = Graph()
    rows = graph.input("rows", "n", detector.n_features_in_, dtype="float64")
    networks = Networks(graph, detector.network_spec_, detector.weights_)
    if detector.image_shape_ is not None:
        rows = _smoothed(detector, rows * (1.0 / detector.picture_scale_))
    score = _score(detector, networks, rows.apply("Max", -LARGEST).apply("Min", LARGEST))
    model = graph.finished({"anomaly_score": score}, rank=1)
    note = model.metadata_props.add()
    note.key, note.value = "threshold", repr(float(-detector.offset_))
    with atomic_write(path) as file:
        file.write(model.SerializeToString())


def _score(detector: Any, networks: Any, rows: Any) -> Any:
    """From clipped rows to the anomaly score: (n,)."""
    columns, family = detector.columns_, detector.network_spec_.likelihood
    varies = np.flatnonzero(columns.varies)

    def standardized(values: Any) -> Any:
        z = (values - columns.center) / columns.scale
        return z.apply("Max", -LARGEST).apply("Min", LARGEST)

    z = standardized(rows)
    seen = _soft_clip(z.columns(varies))
    if family == "bernoulli":
        low, span = columns.unit_interval
        target = ((rows - low) / span).apply("Max", 0.0).apply("Min", 1.0).columns(varies)
        nearest = standardized(rows.apply("Max", low).apply("Min", low + span))
        beyond = z - nearest * columns.varies
        outlying = _soft_clip(beyond) * _soft_clip(beyond) * 0.5 + _soft_clip_log_jacobian(beyond)
    else:
        target, beyond = seen, z * ~columns.varies
        outlying = _soft_clip(beyond) * _soft_clip(beyond) * 0.5 + _soft_clip_log_jacobian(z)
    seen, score = seen.cast("float32"), score_for(detector)
    if score == "exemplar":
        return outlying.sum() + _beside_exemplars(detector, networks, seen, target)
    error, codes = networks.terms(detector.noise_, seen, target)
    reconstruction = outlying.sum() + error.sum()
    if score == "reconstruction":
        return reconstruction
    kl = _kl_from_prior(detector, codes)
    return kl if score == "kl" else reconstruction + kl * detector.beta


def _beside_exemplars(detector: Any, networks: Any, seen: Any, target: Any) -> Any:
    """See `exemplars.Exemplars.score`."""
    reference, members = detector.reference_, range(detector.network_spec_.members)
    codes = [networks.encode(member, seen)[0] for member in members]
    rebuilt = [networks.expected(networks.decode(j, codes[j])) for j in members]
    expected = rebuilt[0].apply("Sum", *rebuilt[1:]) * (1.0 / len(rebuilt))
    place = (target - expected) / reference.residual_unit.astype(np.float64)
    for code, units in zip(codes, reference.code_unit.astype(np.float64), strict=True):
        used = np.flatnonzero(units)
        if len(used):
            code = code.cast("float64").columns(used) / units[used]
            place = place.apply("Concat", code, axis=1)

    reach = reference.reach.astype(np.float64)
    points = reference.points.astype(np.float64)
    center = points.mean(axis=0)
    kept, place = points - center, place - center
    halves = (place * place).sum().reshape(-1, 1) * 0.5
    energy = halves + 0.5 * (kept**2).sum(axis=1) - place.apply("MatMul", kept.T)
    energy = energy.apply("Max", 0.0) / reach
    doubted, believed = reference.exemplars.believed
    few = energy.least(doubted + believed + 1)
    itself = few.taken(0, 1).at_most(SELF_MATCH_TOLERANCE)
    few = few.taken(1, doubted + believed + 1) * itself + few.taken(0, -1) * (1.0 - itself)
    few = few.taken(doubted, doubted + believed)
    nearest = few.taken(0, 1)
    kernels = (nearest - few).apply("Exp").sum() * (1.0 / believed)
    five = few.taken(0, N_NEIGHBORS).sum() * (1.0 / min(N_NEIGHBORS, believed))
    return (nearest.reshape(-1) - kernels.apply("Log") + five) * 0.5


def _soft_clip(z: Any) -> Any:
    """See `scaling.soft_clip`."""
    return z.apply("Max", -CLIP_THRESHOLD).apply("Min", CLIP_THRESHOLD) + z.apply(
        "Sign"
    ) * _soft_clip_log_jacobian(z)


def _soft_clip_log_jacobian(z: Any) -> Any:
    """See `scaling.soft_clip_log_jacobian`."""
    return ((z.apply("Abs") - CLIP_THRESHOLD).apply("Max", 0.0) + 1.0).apply("Log")


def _kl_from_prior(detector: Any, codes: list[tuple[Any, Any]]) -> Any:
    """See `priors.kl_from_prior`."""
    from vae_anomaly.inference.onnx_graph import onnx_ops

    parts = []
    for member, code in enumerate(codes):
        mean, log_variance = (part.cast("float64") for part in code)
        if detector.prior_ is None:
            parts.append(gaussian_kl(onnx_ops, mean, log_variance).sum())
            continue
        components = detector.prior_[member].astype(np.float64)
        latent = components.shape[1] // 2
        coefficients = mixture_coefficients(components)
        squares, others, constant = np.split(coefficients, [latent, 2 * latent], axis=1)
        for draw in detector.noise_.astype(np.float64):
            z = mean + (log_variance * 0.5).apply("Exp") * draw
            log_prob = (z * z).apply("MatMul", squares.T) + z.apply("MatMul", others.T)
            log_prob = log_prob + constant.T
            peak = log_prob.apply("ReduceMax", axes=[-1], keepdims=1)
            mixture = (log_prob - peak).apply("Exp").sum().apply("Log") + peak.reshape(-1)
            parts.append(-((log_variance + draw**2).sum() * 0.5 + mixture))
    return parts[0].apply("Sum", *parts[1:]) * (1.0 / len(parts))


def _smoothed(detector: Any, rows: Any) -> Any:
    """Smooth flattened images, along one side after the other; see `images.smooth`."""
    if not detector.smoothing_:
        return rows
    height, width, channels = detector.image_shape_

    def mixing(pixels: int) -> NDArray[np.float64]:
        return smooth(np.eye(pixels), (pixels, 1, 1), detector.smoothing_)

    x = rows.reshape(-1, height, width, channels)
    x = x.apply("Transpose", perm=[0, 2, 3, 1]).apply("MatMul", mixing(height))
    x = x.apply("Transpose", perm=[0, 3, 2, 1]).apply("MatMul", mixing(width))
    return x.apply("Transpose", perm=[0, 1, 3, 2]).reshape(-1, height * width * channels)
