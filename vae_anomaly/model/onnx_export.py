"""ONNX export: a fitted model as one graph, from records in their own units to the score."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from vae_anomaly._extras import of_extra
from vae_anomaly._types import Symbol
from vae_anomaly._version import __version__
from vae_anomaly.data.graph import EncodedSymbols
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.model.cells import interpolated_symbol, surprises
from vae_anomaly.model.file import contents_of
from vae_anomaly.model.model import Model
from vae_anomaly.model.onnx_check import CHECK_KEY, check_rows
from vae_anomaly.model.reference import MIN_CODE_DISTANCE, Reference
from vae_anomaly.stats.densities import gaussian_kl
from vae_anomaly.stats.exemplars import N_NEIGHBORS, SELF_MATCH_TOLERANCE, Exemplars
from vae_anomaly.stats.priors import mixture_coefficients
from vae_anomaly.storage.atomic import atomic_write
from vae_anomaly.storage.container import packed

if TYPE_CHECKING:
    from vae_anomaly.inference.onnx_graph import Networks

__all__ = ["export_onnx"]

EXPORTED_SCORES = ("exemplar", "elbo", "reconstruction", "kl")


class Fitted(Protocol):
    """A fitted detector."""

    model_: Model


def export_onnx(
    fitted: Fitted | Model, path: str | os.PathLike[str], *, sha256: str | None = None
) -> None:
    """Write a model in the ONNX format, for any runtime.

    The graph has one input, ``rows``: float64, (n, n_features), the columns in the
    order of training and in their own units; flattened records of more
    axes. Its outputs are ``anomaly_score``: float64, (n,), in nats, minus
    `score_samples` up to rounding; and ``is_anomaly``: bool, (n,), true for a score that is
    above the threshold or NaN.

    A missing cell is NaN. A category is the position of its level among the ``levels`` in the
    metadata, JSON of ``{column: [level, ...]}``; any other number is an unseen level. A date is
    the number of seconds since 1970, in UTC if it has a time zone; columns of dates, and the
    formats of their texts in training, are the ``dates`` in the metadata, JSON of ``{column:
    format}``. The graph computes from them all that a model sees of a date. Text in a column of
    numbers or dates is the largest float64. Numbers among the ``missing_values`` in the metadata,
    a JSON list, count as NaN; texts among them have to become NaN before. Columns that are left
    out may hold anything. ``model.encoder.matrix(frame)`` returns such rows.

    Further metadata are ``columns`` and ``column_types``, JSON lists in the order of the input, or
    of other records what their encoder says; ``score_type``, ``threshold`` and what it comes from,
    such as ``false_alarm_rate``; ``version`` and ``model_sha256``; and ``check``, rows with their
    scores, see `vae_anomaly.model.onnx_check`.

    Parameters
    ----------
    fitted : VAEDetector or Model
        Without custom networks.
    path : str or path-like
    sha256 : str, optional
        Digest of the model file; by default that of the file that `save` would write.

    Raises
    ------
    ParameterError
        If there is no graph for its networks or score, or the package
        onnx is not installed.
    OutputError
        If the file cannot be written.
    """
    if not isinstance(fitted, Model):
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(fitted)
    model = fitted if isinstance(fitted, Model) else fitted.model_
    of_extra("onnx", "onnx", "Writing ONNX models")
    from vae_anomaly.inference.onnx_graph import Graph, Networks

    if model.score_type not in EXPORTED_SCORES:
        raise ParameterError(
            f"There is no ONNX graph for score_type={model.score_type!r} yet. Expected one of "
            f"{', '.join(map(repr, EXPORTED_SCORES))}."
        )
    graph = Graph()
    rows = graph.input("rows", "n", model.encoder.outline.n_features, dtype="float64")
    networks = Networks(graph, model.network.spec, model.network.weights)
    score = _score(model, networks, rows)
    flag = _flag(model, rows, score)
    graph.metadata |= _facts(model, sha256)
    built = graph.finished({"anomaly_score": score, "is_anomaly": flag}, rank=1)
    with atomic_write(path) as file:
        file.write(built.SerializeToString())


def _facts(model: Model, sha256: str | None) -> dict[str, str]:
    """Return metadata of any model."""
    calibration = model.calibration
    facts = {
        "threshold": repr(float(calibration.threshold)),
        "score_type": model.score_type,
        "version": __version__,
        "model_sha256": sha256 or packed(*contents_of(model)).sha256,
        CHECK_KEY: json.dumps(check_rows(model), separators=(",", ":")),
    }
    if calibration.method != "threshold":
        facts[calibration.method] = repr(float(calibration.value))
    return facts


def _flag(model: Model, rows: Symbol, score: Symbol) -> Symbol:
    """Add to the graph whether scores are above the threshold or NaN: (n,), bool.

    Some runtimes take the larger of NaN and a number for the number: records that must not have
    missing values are searched for NaN as well.
    """
    threshold = float(model.calibration.threshold)
    within = score.test("Less", threshold) + score.test("Equal", threshold)
    beyond = 1.0 - within
    if not model.encoder.may_miss:
        beyond = beyond + rows.is_nan().sum()
    return beyond.cast("bool")


def _score(model: Model, networks: Networks, rows: Symbol) -> Symbol:
    """Add the anomaly score of rows to the graph: (n,)."""
    encoded = model.encoder.in_graph(rows)
    inputs, penalty = encoded.inputs.cast("float32"), encoded.penalty.sum()
    encoded = encoded._replace(inputs=inputs)
    if model.score_type == "exemplar":
        score = _masked_score if model.network.spec.has_masks else _exemplar_score
        return penalty + score(model, networks, encoded)
    codes = [networks.encode(member, inputs) for member in range(model.network.spec.members)]
    error = networks.reconstruction_error(codes, model.noise, encoded.targets)
    if encoded.observed is not None:
        error = error * encoded.observed
    reconstruction = penalty + error.sum()
    if model.score_type == "reconstruction":
        return reconstruction
    kl = _kl_from_prior(model, codes)
    return kl if model.score_type == "kl" else reconstruction + kl * model.beta


def _exemplar_score(model: Model, networks: Networks, encoded: EncodedSymbols) -> Symbol:
    """See `Exemplars.score`, of the places that `Reference.locate` returns."""
    reference, spec = model.reference, model.network.spec
    codes = [networks.encode(member, encoded.inputs)[0] for member in range(spec.members)]
    rebuilt = [networks.expected(networks.decode(j, code)) for j, code in enumerate(codes)]
    expected = rebuilt[0].apply("Sum", *rebuilt[1:]) * (1.0 / len(rebuilt))
    place = (encoded.targets - expected) / reference.residual_unit.astype(np.float64)
    if encoded.observed is not None:
        place = place * encoded.observed.columns(spec.joint.feature_of_target)
    places = _code_places(reference, codes)
    place = place.apply("Concat", *places, axis=1) if places else place
    return _distance(reference.exemplars, place)


def _code_places(reference: Reference, codes: list[Symbol]) -> list[Symbol]:
    """Return the coordinates of the codes of members that use theirs; see `Reference.locate`."""
    units = reference.code_unit.astype(np.float64)
    pairs = [(code, one, np.flatnonzero(one)) for code, one in zip(codes, units, strict=True)]
    return [
        code.cast("float64").columns(used) / one[used] for code, one, used in pairs if len(used)
    ]


def _masked_score(model: Model, networks: Networks, encoded: EncodedSymbols) -> Symbol:
    """See `Reference.masked_score`."""
    from vae_anomaly.inference.onnx_graph import onnx_ops

    reference, joint = model.reference, model.network.spec.joint
    units = reference.residual_unit.astype(np.float64)
    predictions = networks.predictions(encoded.inputs, model.network.halves)
    observed = cast("Symbol", encoded.observed)  # which networks with masks take
    residual = encoded.targets - predictions.mean(axis=0)
    place = residual * observed.columns(joint.feature_of_target) / units
    surprise = surprises(onnx_ops, joint, units, predictions, encoded.targets)

    away = encoded.penalty.sum() * 0.0 + MIN_CODE_DISTANCE
    if reference.codes is not None:
        members = range(model.network.spec.members)
        codes = [networks.encode(member, encoded.inputs)[0] for member in members]
        first, *others = _code_places(reference, codes)
        code = first.apply("Concat", *others, axis=1) if others else first
        away = _distance(reference.codes, code).apply("Max", MIN_CODE_DISTANCE)
    cells, *of_levels = reference.tails
    sums = (
        _distance(reference.exemplars, place),
        (cells.in_graph(surprise) * observed).sum(),
        (surprise * observed).sum(),
    )
    n_observed = observed.sum().reshape(-1, 1)
    per_cell = [one.reshape(-1, 1) / n_observed.apply("Max", 1.0) for one in sums]
    statistics = onnx_ops.concatenate([*per_cell, away.reshape(-1, 1)])
    nats = [tails.in_graph(statistics).mean(axis=1).reshape(-1, 1) for tails in of_levels]
    levels = np.arange(len(nats), dtype=np.float64)
    share = n_observed / joint.n_features
    level = interpolated_symbol(share, reference.tail_shares[None], levels[None])
    weights = (1.0 - (level - levels).apply("Abs")).apply("Max", 0.0)
    return (onnx_ops.concatenate(nats) * weights).sum()


def _distance(exemplars: Exemplars, place: Symbol) -> Symbol:
    """See `Exemplars.score`; of coordinates in float64."""
    bandwidth = exemplars.bandwidth.astype(np.float64)
    points = exemplars.points.astype(np.float64)
    center = points.mean(axis=0)
    kept, place = points - center, place - center
    halves = (place * place).sum().reshape(-1, 1) * 0.5
    energy = halves + 0.5 * (kept**2).sum(axis=1) - place.apply("MatMul", kept.T)
    energy = energy.apply("Max", 0.0) / bandwidth
    skipped, used = exemplars.support
    few = energy.least(skipped + used + 1)
    is_self = few.taken(0, 1).at_most(SELF_MATCH_TOLERANCE)
    few = few.taken(1, skipped + used + 1) * is_self + few.taken(0, -1) * (1.0 - is_self)
    few = few.taken(skipped, skipped + used)
    nearest = few.taken(0, 1)
    kernels = (nearest - few).apply("Exp").sum() * (1.0 / used)
    five = few.taken(0, N_NEIGHBORS).sum() * (1.0 / min(N_NEIGHBORS, used))
    return (nearest.reshape(-1) - kernels.apply("Log") + five) * 0.5


def _kl_from_prior(model: Model, codes: list[tuple[Symbol, Symbol]]) -> Symbol:
    """See `priors.kl_from_prior`."""
    from vae_anomaly.inference.onnx_graph import onnx_ops

    parts = []
    for member, code in enumerate(codes):
        mean, log_variance = (part.cast("float64") for part in code)
        if model.prior is None:
            parts.append(gaussian_kl(onnx_ops, mean, log_variance).sum())
            continue
        components = model.prior[member].astype(np.float64)
        latent = components.shape[1] // 2
        coefficients = mixture_coefficients(components)
        squares, others, constant = np.split(coefficients, [latent, 2 * latent], axis=1)
        for draw in model.noise.astype(np.float64):
            z = mean + (log_variance * 0.5).apply("Exp") * draw
            log_prob = (z * z).apply("MatMul", squares.T) + z.apply("MatMul", others.T)
            log_prob = log_prob + constant.T
            peak = log_prob.apply("ReduceMax", axes=[-1], keepdims=1)
            mixture = (log_prob - peak).apply("Exp").sum().apply("Log") + peak.reshape(-1)
            parts.append(-((log_variance + draw**2).sum() * 0.5 + mixture))
    return parts[0].apply("Sum", *parts[1:]) * (1.0 / len(parts))
