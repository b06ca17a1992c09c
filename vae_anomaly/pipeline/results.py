"""Results of scoring: what is asked for, and its layout in columns.

A column of the result is described by its role, never by its name: a feature may be called
``anomaly_score`` or ``reason_1`` as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_anomaly.data.arrow import ColumnValues, arrays_of
from vae_anomaly.data.cell_texts import NO_TEXTS, CellTexts
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.model.model import LATENT
from vae_anomaly.model.parameters import checked_threshold
from vae_anomaly.model.reasons import Reasons, largest
from vae_anomaly.pipeline.reasons import reason_columns, reason_fields
from vae_anomaly.stats.scores import SCORES

if TYPE_CHECKING:
    from vae_anomaly.data.base import Records, Source
    from vae_anomaly.model.model import Model

__all__ = [
    "OUTPUTS",
    "READABLE",
    "Evaluated",
    "Layout",
    "Outputs",
    "Scored",
    "concatenated",
]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

READABLE = "ok"
"""Status of a record that was scored."""

PARTS = {"reconstruction_error": "reconstruction", "kl_divergence": "kl"}
"""The two halves of the ELBO: name of the column -> name of the score."""


@dataclass(frozen=True)
class Outputs:
    """Specification of what scoring returns.

    Attributes
    ----------
    score : str, optional
        Anomaly score; by default the one that the model was fitted with.
    explain : int, default=0
        Number of features to name for each record, with their contributions.
    p_values : bool, default=False
        Whether to return p-values.
    also : sequence of str
        Further scores.
    fdr : float, optional
        Choose the threshold for the source so that at most this share of the flagged records is
        expected to be normal.
    threshold: float, optional
        Flag records above it, in nats, instead of the threshold of the model.
    repair: bool, default=False
        Whether to return which few features of a flagged record have to change for it to be
        normal, and to what.
    parts: bool, default=False
        Whether to return reconstruction error and KL divergence, whatever the score.
    only_flagged: bool, default=False
        Leave out rows that are not flagged; reasons and repairs are not computed for these.
    sort: bool, default=False
        Write the most anomalous rows first, where a file is written; see `pipeline.sorting`.
    """

    score: str | None = None
    explain: int = 0
    p_values: bool = False
    also: Sequence[str] = ()
    fdr: float | None = None
    threshold: float | None = None
    repair: bool = False
    parts: bool = False
    only_flagged: bool = False
    sort: bool = False

    @property
    def further(self) -> Mapping[str, str]:
        """Further scores: name of the column -> name of the score."""
        also = {f"score_{name}": name for name in self.also}
        return also | PARTS if self.parts else also

    def has_own_score(self, model: Model) -> bool:
        """Return whether the score that is asked for is the one that the model has calibrated."""
        return self.score in (None, model.score_type)

    def has_threshold(self, model: Model) -> bool:
        """Return whether there is a threshold of the score that is asked for."""
        return self.threshold is not None or self.has_own_score(model)

    def watches_drift(self, model: Model) -> bool:
        """Return whether scores are compared with those of the calibration rows."""
        return self.has_own_score(model) and len(model.calibration.scores) > 0

    def check(self, model: Model, spell: Callable[[str], str] = str) -> None:
        """Raise if a model cannot return what is asked for.

        Parameters
        ----------
        model : Model
        spell : callable, optional
            Turns the name of an attribute into that of an option, for messages.

        Raises
        ------
        ParameterError
        """
        for name in (*self.also, *([] if self.score is None else [self.score])):
            if name not in SCORES:
                raise ParameterError(
                    f"There is no score {name!r}. Expected one of {', '.join(SCORES)}."
                )
        if self.threshold is not None:
            checked_threshold(self.threshold)
        if self.fdr is not None and self.threshold is not None:
            raise ParameterError(
                f"{spell('fdr')} and {spell('threshold')} both choose the threshold. Give one of "
                f"them."
            )
        for name in ("fdr", "p_values"):
            if not getattr(self, name):
                continue
            if not self.has_own_score(model):
                raise ParameterError(
                    f"{spell(name)} goes with the score that the model was fitted with: there are "
                    f"calibration rows of that one. Leave {spell('score')} out."
                )
            model.calibration.require(spell(name))
        for name in ("repair", "only_flagged"):
            if getattr(self, name) and not self.has_threshold(model):
                raise ParameterError(
                    f"{spell(name)} needs a threshold, and that of the model is one of another "
                    f"score. Leave {spell('score')} out, or give {spell('threshold')}."
                )


OUTPUTS = tuple(field.name for field in fields(Outputs))
"""Names of the attributes of `Outputs`."""


class Scored(NamedTuple):
    """Consecutive rows of the result.

    Attributes
    ----------
    batch : RecordBatch
        The rows, with the columns of `Layout.schema`.
    scores : ndarray of shape (n,)
        Anomaly scores of the rows that have one, also of those that are left out.
    n_flagged : int
    sample : records
        Some of the records that the scores are of, to watch for drift.
    n_rows : int
        Rows that were read for these.
    """

    batch: pa.RecordBatch
    scores: Array
    n_flagged: int
    sample: Records
    n_rows: int


class Evaluated(NamedTuple):
    """Rows before they are laid out.

    Attributes
    ----------
    keys : Array of Arrow of length m
    scores : ndarray of shape (n,)
    contributions : ndarray of shape (n, n_parts) or None
    also : sequence of ndarray of shape (n,)
    reasons : Reasons or None
        With what is normal; None if features mean nothing by themselves.
    repairs : sequence of str or None, of length n, or None
        See `pipeline.reasons.repair_texts`.
    positions : ndarray of int of shape (n,) or None
        Where the n scored rows stand among the m keys; None if they are all.
    faults : mapping of int to str
        Position -> why there is no score.
    sample : records
        Some of the records that the scores are of.
    kept : RecordBatch or None
        Columns of the input that are returned as they are, of length m.
    texts : CellTexts
        Of unseen levels and stray cells, by position among the n records.
    """

    keys: pa.Array
    scores: Array
    contributions: Array | None
    also: Sequence[Array]
    reasons: Reasons | None = None
    repairs: Sequence[str | None] | None = None
    positions: NDArray[np.int64] | None = None
    faults: Mapping[int, str] = {}
    sample: Records = None
    kept: pa.RecordBatch | None = None
    texts: CellTexts = NO_TEXTS


@dataclass(frozen=True)
class Layout:
    """Columns of the result, in order.

    Attributes
    ----------
    schema : Schema
    outputs : Outputs
    n_keys : int
        Columns before the score: the key, and those that are kept.
    flagged : bool
        Whether there is a column of flags.
    further : sequence of str
        Names of the further scores.
    described : bool
        Whether there are reasons with values and what is normal: where features mean something by
        themselves.
    status : bool
        Whether there is a column of faults.
    watches_drift : bool
        Whether scores are compared with those of the calibration rows.
    """

    schema: pa.Schema
    outputs: Outputs
    n_keys: int
    flagged: bool
    further: Sequence[str]
    described: bool
    status: bool
    watches_drift: bool

    @classmethod
    def of(cls, model: Model, source: Source, outputs: Outputs) -> Layout:
        """Build the layout for a source.

        The first column holds the keys; columns that are kept follow. If the name of one is that
        of a later column, it gets "id_" in front: a column that scoring adds is called the same
        in every result.

        Raises
        ------
        ParameterError
            If the model cannot return what is asked for.
        """
        outputs.check(model)
        has_rest = model.has_rest
        if outputs.repair and has_rest:
            raise ParameterError(
                f"repair is for rows whose columns mean something by themselves, got "
                f"{model.unit}s. Leave it out."
            )
        flagged, number = outputs.has_threshold(model), pa.float64()
        fields = [("anomaly_score", number)]
        if outputs.p_values:
            fields.append(("p_value", number))
        if flagged:
            fields.append(("is_anomaly", pa.bool_()))
        further = outputs.further
        fields += [(name, number) for name in further]
        described = outputs.explain > 0 and not has_rest
        if outputs.explain:
            if has_rest:
                fields.append((LATENT, number))
            count = min(outputs.explain, len(model.encoder.features))
            fields += reason_fields(model.encoder, count, described=described)
        if outputs.repair:
            fields.append(("repair", pa.string()))
        status = source.may_skip
        if status:
            fields.append(("status", pa.string()))
        given = [(source.key_name, source.key_type or pa.int64()), *source.kept_types.items()]
        for name, dtype in reversed(given):
            taken = {other for other, _ in fields}
            fields.insert(0, (f"id_{name}" if name in taken else name, dtype))
        schema = pa.schema(fields)
        scores = tuple(further.values())
        watches = outputs.watches_drift(model)
        return cls(schema, outputs, len(given), flagged, scores, described, status, watches)

    def scored(self, model: Model, rows: Evaluated) -> Scored:
        """Lay rows out."""
        flags = model.calibration.flags(rows.scores) if self.flagged else np.zeros(0, dtype=bool)
        values = [ColumnValues(rows.scores)]
        if self.outputs.p_values:
            values.append(ColumnValues(model.calibration.p_values(rows.scores)))
        if self.flagged:
            values.append(ColumnValues(flags))
        values += map(ColumnValues, rows.also)
        if rows.reasons is not None:
            values += reason_columns(model.encoder, rows.reasons, rows.texts)
        elif rows.contributions is not None:
            values += self._reasons(model, rows.contributions)
        if rows.repairs is not None:
            texts = pa.array(rows.repairs, pa.string())
            values.append(ColumnValues(np.arange(len(texts)), texts=texts))
        kept = () if rows.kept is None else rows.kept.columns
        columns = [rows.keys, *kept, *arrays_of(values, _absent(rows))]
        if self.status:
            columns.append(_status(rows))
        batch = pa.RecordBatch.from_arrays(columns, schema=self.schema)
        n_flagged = int(np.count_nonzero(flags))
        if self.outputs.only_flagged:
            flag = batch.column(self.n_keys + 1 + self.outputs.p_values)
            batch = batch.filter(flag, null_selection_behavior="drop")
        return Scored(batch, rows.scores, n_flagged, rows.sample, len(rows.keys))

    def flagged_keys(self, rows: pa.RecordBatch) -> list[object]:
        """Return the keys of the flagged rows of a result with flags."""
        flags = rows.column(self.n_keys + 1 + self.outputs.p_values)
        return list(rows.column(0).filter(flags, null_selection_behavior="drop").to_pylist())

    def _reasons(self, model: Model, contributions: Array) -> list[ColumnValues]:
        """Return columns for the latent code, and for the features that contribute most."""
        names = pa.array(model.encoder.features, pa.string())
        parts, rest = np.split(contributions, [len(names)], axis=1)
        columns = [ColumnValues(np.ascontiguousarray(one)) for one in rest.T]
        for feature, nats in largest(parts, min(self.outputs.explain, len(names))):
            no_reason = nats <= 0  # what lowers a score is no reason for it
            columns += [ColumnValues(feature, no_reason, names), ColumnValues(nats, no_reason)]
        return columns


def _status(rows: Evaluated) -> pa.Array:
    """Return what is wrong with each row, or that it is readable."""
    if not rows.faults:  # `pyarrow.array` and `pyarrow.repeat` would import pandas
        n, text = len(rows.keys), READABLE.encode()
        ends = np.arange(n + 1, dtype=np.int32) * len(text)
        buffers = [None, pa.py_buffer(ends), pa.py_buffer(text * n)]
        return pa.Array.from_buffers(pa.string(), n, buffers)
    return pa.array([rows.faults.get(i, READABLE) for i in range(len(rows.keys))], pa.string())


def _absent(rows: Evaluated) -> Flags | None:
    """Return which rows of a batch have no score; None if all have one."""
    if rows.positions is None:
        return None
    absent = np.ones(len(rows.keys), dtype=bool)
    absent[rows.positions] = False
    return absent


def concatenated(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Return the rows of batches, of which there is one at least, as one batch.

    `pyarrow.concat_batches` does the same, since version 19.
    """
    columns = zip(*(batch.columns for batch in batches), strict=True)
    arrays = [pa.concat_arrays(parts) for parts in columns]
    return pa.RecordBatch.from_arrays(arrays, schema=batches[0].schema)
