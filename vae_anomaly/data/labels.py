"""Labels of normal records and of anomalies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import counted, listed, shown
from vae_anomaly.data.cells import MISSING, is_number
from vae_anomaly.exceptions import DataError
from vae_anomaly.names import ANOMALY_LABELS, NORMAL_LABELS

__all__ = ["anomalous", "label_summary"]


def anomalous(
    values: Sequence[object], *, source: str, column: str, normal: Sequence[str] = ()
) -> NDArray[np.bool_]:
    """Return which rows are anomalies by their labels.

    Parameters
    ----------
    values : sequence
        Labels: text, numbers or booleans.
    source, column : str
        Origin of the labels in messages.
    normal : sequence of str
        Labels of normal rows, in this case; by default `NORMAL_LABELS` in
        any case, and numbers that equal 0. Where none occurs, all labels must
        be `ANOMALY_LABELS`, in any case, or numbers that equal 1.

    Returns
    -------
    ndarray of bool

    Raises
    ------
    DataError
        If a label is missing, the labels are -1 and 1, whose meaning differs
        between libraries, `normal` matches no row, or no label is known to mean
        normal and some are not known to mean anomalous either.

    Examples
    --------
    >>> anomalous(["OK", "crack", 0.0], source="t.csv", column="state").tolist()
    [False, True, False]
    """
    texts = [_label_text(value) for value in values]
    if "" in texts:
        raise DataError(
            f"{source}, row {texts.index('') + 1}, column {shown(column)}: expected a label, got "
            f"an empty or missing cell. Fill it in or remove the row."
        )
    if normal:
        wanted = {_label_text(label) for label in normal}
        is_normal = np.array([text in wanted for text in texts], dtype=bool)
        if texts and not is_normal.any():
            raise DataError(
                f"{source}, column {shown(column)}: no row has the normal label "
                f"{listed(list(normal))}. Its labels are {listed(sorted(set(texts)))}."
            )
        return ~is_normal
    if "-1" in texts and set(texts) <= {"-1", "1"}:
        raise DataError(
            f"{source}, column {shown(column)}: labels -1 and 1 are ambiguous: scikit-learn's "
            f"anomalies are -1, others' are 1. Say which rows are normal with --normal-label."
        )
    is_normal = np.array([text.casefold() in NORMAL_LABELS for text in texts], dtype=bool)
    unknown = sorted({text for text in texts if text.casefold() not in ANOMALY_LABELS})
    if unknown and not is_normal.any():
        raise DataError(
            f"{source}, column {shown(column)}: none of the labels {listed(sorted(set(texts)))} is "
            f"known to mean normal. Say which does with --normal-label; if all rows are anomalies, "
            f"label them 1."
        )
    return ~is_normal


def label_summary(values: Sequence[object], flags: NDArray[np.bool_], unit: str) -> str:
    """Return which labels are those of normal records, and how many records have them.

    Examples
    --------
    >>> label_summary(["OK", "crack", "OK"], np.array([False, True, False]), "row")
    "'OK' normal, 2 rows; 'crack' anomalous, 1 row"
    """
    parts = []
    for meaning, chosen in (("normal", ~flags), ("anomalous", flags)):
        texts = [_label_text(values[i]) for i in np.flatnonzero(chosen).tolist()]
        if texts:
            names = listed(sorted(set(texts)))
            parts.append(f"{names} {meaning}, {counted(len(texts), unit)}")
    return "; ".join(parts) or "none"


def _label_text(value: object) -> str:
    """Return the text of a label; 0, 0.0 and "0" are one label."""
    text = "" if value is None else str(value).strip()
    if text in MISSING or text in ("None", "-"):
        return ""
    if is_number(text) and float(text).is_integer():
        return str(int(float(text)))
    return text
