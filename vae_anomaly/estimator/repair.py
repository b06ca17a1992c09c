"""Repaired rows as data frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import AnyArray, Records
from vae_anomaly.estimator.frames import as_given, in_form_of, require_features
from vae_anomaly.model.model import Model
from vae_anomaly.model.repair import repair_records

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Repair", "repair"]

Array = NDArray[np.float64]


class Repair(NamedTuple):
    """Repaired rows, and how they were repaired.

    Attributes
    ----------
    rows : DataFrame or ndarray of shape (n_samples, n_features)
        The rows, changed where they were flagged: of a frame a data frame of pandas with its
        index, columns and types, else an array.
    steps : DataFrame
        One row for each change, those of a row after one another: `row`, its label in the index;
        `step`, the number of the change, from 1; `column`; `value`, as it was; `repaired`, as it
        is now; `anomaly_score` after this change, in nats; `is_normal`, whether the row is then
        no longer flagged. The last is False at the last step of a row that stays flagged whatever
        changes.
    """

    rows: pd.DataFrame | AnyArray
    steps: pd.DataFrame


def repair(model: Model, X: Records, records: Array) -> Repair:
    """Repair rows; see `VAEDetector.repair`. `records` are the rows as the model takes them."""
    import pandas as pd

    encoder = model.encoder
    require_features(encoder, "repair", model.unit)
    given = as_given(encoder, X)
    whole = [pd.api.types.is_integer_dtype(dtype) for dtype in given.dtypes]
    found = repair_records(model, records, np.array(whole))
    made = in_form_of(encoder, found.records, given)
    columns = {}
    for i in range(given.shape[1]):
        changed = np.zeros(len(given), dtype=bool)
        changed[found.record[found.feature == i]] = True
        columns[i] = _replaced(given.iloc[:, i], changed, made.iloc[:, i])
    rows = pd.DataFrame(columns, index=given.index).set_axis(given.columns, axis=1)
    places = list(zip(found.record.tolist(), found.feature.tolist(), strict=True))
    steps = pd.DataFrame(
        {
            "row": given.index[found.record],
            "step": found.step,
            "column": np.array(encoder.features, dtype=object)[found.feature],
            "value": pd.Series([given.iat[place] for place in places], dtype=object),
            "repaired": pd.Series([rows.iat[place] for place in places], dtype=object),
            "anomaly_score": found.score,
            "is_normal": ~model.calibration.flags(found.score),
        }
    )
    return Repair(rows if hasattr(X, "columns") else rows.to_numpy(), steps)


def _replaced(cells: pd.Series, changed: NDArray[np.bool_], by: pd.Series) -> pd.Series:
    """Return cells of which some are replaced, in their type if it holds the new ones."""
    import pandas as pd

    if not changed.any():
        return cells
    if isinstance(by.dtype, pd.CategoricalDtype):
        cells = cells.astype(by.dtype)
    elif pd.api.types.is_integer_dtype(cells.dtype):
        by = by.where(changed, 0).astype(cells.dtype)
    elif cells.dtype != by.dtype:
        cells = cells.astype(object)
    return cells.where(~changed, by)
