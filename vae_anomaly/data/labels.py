"""Labels of normal records and of anomalies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import listed, shown
from vae_anomaly.data.cells import MISSING, is_number
from vae_anomaly.exceptions import DataError

__all__ = ["NORMAL_LABELS", "anomalous"]

NORMAL_LABELS = ("0", "false", "no", "normal", "good", "ok", "negative", "benign")
"""What a label of a normal row may say, in any case; everything else is an anomaly."""


def anomalous(
    values: Sequence[object], *, table: str, column: str, normal: Sequence[str] = ()
) -> NDArray[np.bool_]:
    """Tell from its label whether a row is an anomaly.

    Parameters
    ----------
    values : sequence
        Labels: text, numbers or booleans.
    table, column : str
        Where they are from, for messages.
    normal : sequence of str
        Labels of normal rows, in this case; by default `NORMAL_LABELS` in
        any case, and numbers that equal 0.

    Returns
    -------
    ndarray of bool

    Raises
    ------
    DataError
        For a missing label; for labels -1 and 1, which mean opposite things to
        different people; if `normal` matches no row; and if there are several
        labels and none is known to mean normal.

    Examples
    --------
    >>> anomalous(["OK", "crack", 0.0], table="t.csv", column="state").tolist()
    [False, True, False]
    """
    texts = [_label_text(value) for value in values]
    if "" in texts:
        raise DataError(
            f"{table}, row {texts.index('') + 1}, column {shown(column)}: expected a label, got an "
            f"empty or missing cell. Fill it in or remove the row."
        )
    if normal:
        wanted = {_label_text(label) for label in normal}
        is_normal = np.array([text in wanted for text in texts], dtype=bool)
        if texts and not is_normal.any():
            kinds = listed(sorted(set(texts)))
            raise DataError(
                f"{table}, column {shown(column)}: no row has the normal label "
                f"{listed(list(normal))}. Its labels are {kinds}."
            )
        return ~is_normal
    if "-1" in texts and set(texts) <= {"-1", "1"}:
        raise DataError(
            f"{table}, column {shown(column)}: labels -1 and 1 are ambiguous: scikit-learn's "
            f"anomalies are -1, others' are 1. Say which rows are normal with --normal-label."
        )
    is_normal = np.array([text.casefold() in NORMAL_LABELS for text in texts], dtype=bool)
    if len(set(texts)) > 1 and not is_normal.any():
        raise DataError(
            f"{table}, column {shown(column)}: none of the labels {listed(sorted(set(texts)))} is "
            f"known to mean normal. Say which does with --normal-label."
        )
    return ~is_normal


def _label_text(value: object) -> str:
    """Spell a label: whole numbers without a point, so that 0, 0.0 and "0" are one label."""
    text = "" if value is None else str(value).strip()
    if text in MISSING:
        return ""
    if is_number(text) and float(text).is_integer():
        return str(int(float(text)))
    return text
