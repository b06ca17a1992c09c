"""Prometheus: answers to range queries as JSON, text of promtool."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vae_anomaly._text import shown
from vae_anomaly._types import Json
from vae_anomaly.data.series.columns import Roles
from vae_anomaly.data.series.labels import Form, Metric, labelled_form
from vae_anomaly.exceptions import DataError

__all__ = [
    "DUMP_LINE",
    "QUERY_LINE",
    "form_of_answer",
    "form_of_dump",
    "form_of_query",
    "is_answer",
]

NAME = "__name__"

LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')

DUMP_LINE = r"^(?P<metric>\{.*\}) (?P<value>\S+) (?P<time>-?\d+)$"
"""A sample of `promtool tsdb dump`: labels, value, milliseconds."""

QUERY_LINE = r"^(?:(?P<metric>\S.*) =>|(?P<value>\S+) @\[(?P<time>[0-9.]+)\])$"
"""A metric, or a sample of it, of `promtool query range`."""


def is_answer(document: Json) -> bool:
    """Return whether a JSON document is an answer of Prometheus."""
    return isinstance(document, dict) and (
        "resultType" in document or {"status", "data"} <= set(document) or _is_error(document)
    )


def _is_error(document: Json) -> bool:
    return document.get("status") == "error" and "error" in document


def form_of_answer(document: Json, name: str, roles: Roles) -> Form:
    """Return the samples of an answer to a range query.

    Raises
    ------
    DataError
        If it is an error, no matrix of samples, or has no samples.
    """
    if _is_error(document):
        raise DataError(f"{name} holds an error of Prometheus, {shown(document['error'])}.")
    data = document if "resultType" in document else document["data"]
    result = data.get("result") if isinstance(data, dict) else None
    if not isinstance(result, list) or data.get("resultType") != "matrix":
        found = data.get("resultType") if isinstance(data, dict) else None
        raise DataError(
            f"{name}: expected a matrix of Prometheus, the answer to a range query "
            f"(/api/v1/query_range), got {shown(found)}."
        )
    metrics, times, values = [], [], []
    for i, one in enumerate(result):
        try:
            samples = np.array(one.get("values", []), dtype=object).reshape(-1, 2)
            times.append(samples[:, 0].astype(np.float64))
            values.append(samples[:, 1].astype(np.float64))
            labels = {str(label): str(value) for label, value in one["metric"].items()}
        except (AttributeError, KeyError, TypeError, ValueError) as cause:
            raise DataError(
                f"{name}, result {i + 1}: expected a metric with pairs of time and value ({cause})."
            ) from cause
        metrics.append(_metric(labels))
    sizes = [len(one) for one in times]
    if not sum(sizes):
        raise DataError(f"{name} holds no samples: the query found none in its range.")
    starts = np.cumsum([0, *sizes[:-1]])

    def place(row: int) -> str:
        at = int(np.searchsorted(starts, row, side="right")) - 1
        return f"{name}, result {at + 1}, sample {row - int(starts[at]) + 1}"

    codes = np.repeat(np.arange(len(metrics)), sizes)
    # Prometheus has milliseconds, which it writes as seconds with decimals.
    milliseconds = np.rint(1000 * np.concatenate(times)).astype(np.int64)
    seconds = pa.array(milliseconds).cast(pa.timestamp("ms", "UTC"))
    numbers = pa.array(np.concatenate(values))
    return labelled_form(metrics, codes, seconds, numbers, place, name, roles)


def _metric(labels: dict[str, str]) -> Metric:
    rest = {label: value for label, value in labels.items() if label != NAME}
    return Metric(labels.get(NAME, "value"), rest)


def _metric_of_text(text: str) -> Metric:
    """Return the metric of a text such as up{job="node"}."""
    head, brace, _ = text.partition("{")
    labels = dict(LABEL.findall(text[len(head) :] if brace else ""))
    return _metric({NAME: head, **labels} if head else labels)


def form_of_dump(text: str, name: str, roles: Roles) -> Form:
    """Return the samples that `promtool tsdb dump` writes.

    Raises
    ------
    DataError
        With the first line that is none.
    """
    lines = pa.array(text.splitlines(), pa.string())
    kept = _not_blank(lines)
    parts = _matched(lines, kept, DUMP_LINE, name, '{__name__="up"} 1 1700000000000')
    return _form_of_parts(
        pc.struct_field(parts, "metric"),
        pc.struct_field(parts, "time"),
        pc.struct_field(parts, "value"),
        kept,
        name,
        roles,
    )


def form_of_query(text: str, name: str, roles: Roles) -> Form:
    """Return the samples that `promtool query range` writes below each metric.

    Raises
    ------
    DataError
        With the first line that is neither a metric nor a sample.
    """
    lines = pa.array(text.splitlines(), pa.string())
    kept = _not_blank(lines)
    parts = _matched(lines, kept, QUERY_LINE, name, "1 @[1700000000]")
    metric = np.array(pc.struct_field(parts, "metric").to_numpy(zero_copy_only=False), dtype=object)
    is_sample = metric == ""
    above = np.maximum.accumulate(np.where(is_sample, 0, np.arange(len(metric))))
    samples = pa.array(is_sample)
    return _form_of_parts(
        pa.array(metric[above][is_sample], pa.string()),
        pc.struct_field(parts, "time").filter(samples),
        pc.struct_field(parts, "value").filter(samples),
        kept[is_sample],
        name,
        roles,
    )


def _not_blank(lines: pa.Array) -> np.ndarray:
    blank = pc.equal(pc.utf8_trim_whitespace(lines), "")
    return np.flatnonzero(~np.array(blank, dtype=bool))


def _matched(lines: pa.Array, kept: np.ndarray, pattern: str, name: str, example: str) -> pa.Array:
    parts = pc.extract_regex(pc.utf8_rtrim_whitespace(lines.take(pa.array(kept))), pattern)
    bad = np.array(parts.is_null(), dtype=bool)
    if bad.any():
        at = int(kept[np.argmax(bad)])
        raise DataError(
            f"{name}, line {at + 1}: expected a sample such as {example!r}, got "
            f"{shown(lines[at].as_py())}. Correct the line or remove it."
        )
    return parts


def _form_of_parts(
    metrics: pa.Array,
    times: pa.Array,
    values: pa.Array,
    kept: np.ndarray,
    name: str,
    roles: Roles,
) -> Form:
    coded = metrics.dictionary_encode()
    return labelled_form(
        [_metric_of_text(text) for text in coded.dictionary.to_pylist()],
        np.array(coded.indices, dtype=np.int64),
        times,
        values,
        lambda row: f"{name}, line {kept[row] + 1}",
        name,
        roles,
    )
