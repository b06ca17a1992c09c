"""Check of an exported graph: rows with the scores that the model gives them, run in an engine.

The rows travel in the metadata of the graph, as ``check``: JSON with ``group``, ``rows``,
``anomaly_score`` and ``is_anomaly``, where null stands for NaN. They are drawn from the model,
none is a training row.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._extras import of_extra
from vae_anomaly._types import AnyArray, JsonObject
from vae_anomaly.exceptions import ModelFileError, ParameterError
from vae_anomaly.model.model import Model
from vae_anomaly.names import CHECK_ENGINES

__all__ = [
    "CHECK_KEY",
    "RUNNERS",
    "TOLERANCE",
    "GroupCheck",
    "check_graph",
    "check_rows",
    "compared",
    "read_vector",
]

Array = NDArray[np.float64]
Runner: TypeAlias = Callable[[Array], Sequence[AnyArray]]
"""Function from rows to scores and flags."""

CHECK_KEY = "check"
"""Name of the rows in the metadata."""

TOLERANCE = 1e-5
"""Difference of scores, as a share of the larger of a score and 1 nat, up to which they agree."""

MARGIN = 1e-3
"""Rows whose score is nearer to the threshold are not checked: rounding may flip them."""

MAX_NUMBERS = 20_000
"""Numbers in all rows, which bounds the metadata. There are at least `MIN_REPEATS` of a group."""

MIN_REPEATS, MAX_REPEATS = 2, 8
"""Rows of each group, fewer of wide data."""

UNIX_SECONDS = 1.75e9
"""In float32, neighbours of such a number are two minutes apart."""

WIDE_RANGE = 10.0
"""Range of pixels above which they are rounded, which takes less space."""

FAR = (1e3, -1e6, 1e30, -1e30, 1e300, 5e-324, -0.0)
"""Numbers far from any training row, at the ends of the range, and two zeros."""


class GroupCheck(NamedTuple):
    """Scores of a group of rows in an engine, compared with those of the model."""

    group: str  # "normal", "shifted", "far", "seconds", "missing" or "unseen"
    n_rows: int
    max_error: float  # see `TOLERANCE`
    n_flips: int  # rows with another flag

    @property
    def agrees(self) -> bool:
        """Whether all scores and flags do."""
        return self.n_flips == 0 and self.max_error <= TOLERANCE

    def describe(self) -> str:
        """Return the comparison as a line.

        Examples
        --------
        >>> GroupCheck("far", 8, 0.25, 1).describe()
        'far      8 rows, greatest relative error 0.25, 1 flag differs'
        """
        flips = {0: "flags equal", 1: "1 flag differs"}.get(
            self.n_flips, f"{self.n_flips} flags differ"
        )
        return (
            f"{self.group:<8} {self.n_rows} rows, greatest relative error {self.max_error:.2g}, "
            f"{flips}"
        )


# ------------------------------------------------------------------------------------ rows


def check_rows(model: Model) -> JsonObject:
    """Return rows as a graph takes them, with their scores and flags; see the module."""
    groups = _groups(model)
    group = [name for name, rows in groups.items() for _ in rows]
    rows = np.concatenate(list(groups.values()))
    low, high = _units(model)
    known = np.ones(len(rows), dtype=bool)
    if not model.encoder.may_miss:  # records with NaN have no score, and are flagged
        known = ~np.isnan(rows).any(axis=1)
    scores = np.full(len(rows), np.nan)
    scores[known] = model.anomaly_scores((rows[known] - low) / (high - low))
    threshold = model.calibration.threshold
    kept = ~(np.abs(scores - threshold) <= MARGIN * np.maximum(np.abs(threshold), 1.0))
    return {
        "group": [name for name, is_kept in zip(group, kept, strict=True) if is_kept],
        "rows": [[_plain(cell) for cell in row] for row in rows[kept].tolist()],
        "anomaly_score": [_plain(score) for score in scores[kept].tolist()],
        "is_anomaly": model.calibration.flags(scores[kept]).tolist(),
    }


def _units(model: Model) -> tuple[float, float]:
    """Return the numbers in a graph's rows that are 0 and 1 in records."""
    low, high = getattr(model.encoder, "pixel_range", (0.0, 1.0))
    return float(low), float(high)


def _plain(number: float) -> float | int | None:
    """Return a number in its shortest form, None for NaN."""
    if number != number:
        return None
    whole = number.is_integer() and abs(number) < 1e15 and (number != 0 or str(number) == "0.0")
    return int(number) if whole else number


def _groups(model: Model) -> Mapping[str, Array]:
    """Return rows of every group, (n, n_features) each."""
    rng, encoder = np.random.RandomState(0), model.encoder
    n_features = encoder.outline.n_features
    n = int(np.clip(MAX_NUMBERS // (6 * n_features), MIN_REPEATS, MAX_REPEATS))
    low, high = _units(model)
    normal = encoder.decode(model.network.sample(3 * n, rng, model.prior)) * (high - low) + low
    if encoder.shape is not None:
        normal = np.clip(normal, low, high)
        normal = np.round(normal) if high - low > WIDE_RANGE else normal
    codes = _Columns(model)
    dates = normal[:, codes.dates]
    normal[:, codes.dates] = UNIX_SECONDS - rng.uniform(0, 1e8, dates.shape).round()
    deviation = np.where(np.isnan(normal).all(axis=0), 1.0, np.nan_to_num(normal).std(axis=0))

    def changed(values: Array) -> Array:
        """Return rows with a number each at one place, or at all where there is no place."""
        rows = normal[: len(values)].copy()
        if len(codes.numbers):
            rows[np.arange(len(rows)), rng.choice(codes.numbers, len(rows))] = values
        return rows

    shifted = normal[:n].copy()
    step = 3.0 * np.maximum(deviation, 1e-3)
    shifted[:, codes.numbers] += (rng.choice([-1.0, 1.0], shifted.shape) * step)[:, codes.numbers]
    seconds = UNIX_SECONDS + 30.0 * rng.normal(size=n).round(1)
    groups = {
        "normal": normal[:n],
        "shifted": shifted,
        "far": changed(np.resize(FAR, min(3 * n, len(FAR)))),
        "seconds": changed(seconds),
        "missing": _with_holes(normal[: max(n // 2, 2)]),
    }
    if len(codes.categories):
        unseen = normal[:n].copy()
        unseen[np.arange(n), rng.choice(codes.categories, n)] = -1.0
        groups["unseen"] = unseen
    return groups


def _with_holes(rows: Array) -> Array:
    """Return rows with a missing cell, the last one with nothing else."""
    holed = rows.copy()
    holed[np.arange(len(rows)), np.arange(len(rows)) % rows.shape[1]] = np.nan
    holed[-1] = np.nan
    return holed


class _Columns:
    """Positions of the columns of each type."""

    def __init__(self, model: Model) -> None:
        encoder = model.encoder
        schema = getattr(encoder, "schema", None)
        empty = np.empty(0, dtype=np.intp)
        self.dates = empty if schema is None else schema.dates
        self.categories = empty if schema is None else schema.categories
        self.numbers = np.flatnonzero(encoder.are_numbers)


# ----------------------------------------------------------------------------------- engines


def _onnxruntime(path: str) -> Runner:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda rows: session.run(["anomaly_score", "is_anomaly"], {"rows": rows})


def _reference(path: str) -> Runner:
    import onnx.reference

    evaluator = onnx.reference.ReferenceEvaluator(path)
    return lambda rows: evaluator.run(["anomaly_score", "is_anomaly"], {"rows": rows})


def _openvino(path: str) -> Runner:
    import openvino

    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda rows: tuple(compiled(rows)[name] for name in ("anomaly_score", "is_anomaly"))


def _tract(path: str) -> Runner:
    import tract

    runnable = tract.onnx().load(path).into_model().into_runnable()
    return lambda rows: tuple(one.to_numpy() for one in runnable.run([rows]))


def _onnx2torch(path: str) -> Runner:
    import onnx2torch
    import torch

    module = onnx2torch.convert(path)
    return lambda rows: tuple(one.detach().numpy() for one in module(torch.from_numpy(rows)))


RUNNERS: Mapping[str, Callable[[str], Runner]] = dict(
    zip(CHECK_ENGINES, (_onnxruntime, _reference, _openvino, _tract, _onnx2torch), strict=True)
)
"""Engines that the check can run a graph in, by name."""


def check_graph(
    path: str | os.PathLike[str], engine: str = "onnxruntime"
) -> tuple[GroupCheck, ...]:
    """Run the rows that travel with an exported graph, and compare scores and flags.

    Parameters
    ----------
    path : str or path-like
        Graph that `export_onnx` wrote.
    engine : str, default="onnxruntime"
        One of `vae_anomaly.names.CHECK_ENGINES`.

    Returns
    -------
    tuple of GroupCheck
        The graph computes what was exported if all of them agree.

    Raises
    ------
    ParameterError
        If there is no such engine, or it is not installed.
    ModelFileError
        If the file is no exported graph, or the engine cannot run it.
    """
    if engine not in RUNNERS:
        raise ParameterError(
            f"engine must be one of {', '.join(map(repr, RUNNERS))}. Got {engine!r} instead."
        )
    name = os.fspath(path)
    vector = read_vector(name)
    try:
        run = RUNNERS[engine](name)
    except ImportError as cause:
        package = "onnx" if engine == "reference" else engine
        raise ParameterError(
            f"The engine {engine} needs the package {package}, which is not installed. Install it "
            f"with pip install {package}."
        ) from cause
    except Exception as cause:
        raise ModelFileError(f"{name}: {engine} cannot load the graph: {_short(cause)}") from cause
    rows = np.array(vector["rows"], dtype=np.float64)
    try:
        scores, flags = (np.asarray(one).reshape(-1) for one in run(rows))
    except Exception as cause:
        raise ModelFileError(f"{name}: {engine} cannot run the graph: {_short(cause)}") from cause
    return compared(vector, scores.astype(np.float64), flags.astype(bool))


def compared(vector: JsonObject, scores: Array, flags: NDArray[np.bool_]) -> tuple[GroupCheck, ...]:
    """Compare scores and flags of the rows, group by group."""
    wanted = np.array(vector["anomaly_score"], dtype=np.float64)
    group, flips = np.array(vector["group"]), flags != np.array(vector["is_anomaly"])
    errors = np.abs(scores - wanted) / np.maximum(np.abs(wanted), 1.0)
    errors = np.where(np.isnan(wanted), 0.0, np.nan_to_num(errors, nan=np.inf))
    return tuple(
        GroupCheck(name, int(here.sum()), float(errors[here].max()), int(flips[here].sum()))
        for name in dict.fromkeys(vector["group"])
        for here in [group == name]
    )


def read_vector(path: str) -> JsonObject:
    """Read the rows from the metadata of a graph."""
    onnx = of_extra("onnx", "onnx", "Reading ONNX graphs")
    try:
        metadata = {one.key: one.value for one in onnx.load(path).metadata_props}
    except OSError:
        raise
    except Exception as cause:  # of protobuf
        raise ModelFileError(f"{path} is not an ONNX graph: {_short(cause)}") from cause
    if CHECK_KEY not in metadata:
        raise ModelFileError(
            f"{path} holds no rows to check it with. Export it again with this version."
        )
    vector: JsonObject = json.loads(metadata[CHECK_KEY])
    return vector


def _short(error: Exception) -> str:
    """Return the first line of a message."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]
