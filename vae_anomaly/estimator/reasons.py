"""Reasons and neighbours of rows as data frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._parameters import integer
from vae_anomaly._text import distinct
from vae_anomaly._types import Json, Records
from vae_anomaly.estimator.frames import as_given, in_form_of, require_features
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.model.model import Model
from vae_anomaly.model.reasons import NormalValues, directions_of, reasons_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["neighbors", "reasons"]

Array = NDArray[np.float64]


def reasons(model: Model, X: Records, records: Array, top: int) -> pd.DataFrame:
    """Return the reasons for scores; see `VAEDetector.reasons`."""
    import pandas as pd

    encoder = model.encoder
    require_features(encoder, "reasons", model.unit)
    _require_count("top", top)
    given = as_given(encoder, X)
    normal = NormalValues.of(model)
    evaluated = model.evaluate(records, contributions=True, expected=True)
    found = reasons_of(model, normal, records, evaluated, top)
    row, rank = np.nonzero(found.contribution > 0)
    feature = found.feature[row, rank]
    usual = in_form_of(encoder, normal.usual(encoder.decode(evaluated.expected)), given)
    places = list(zip(row.tolist(), feature.tolist(), strict=True))
    names = [*directions_of(encoder), None]
    return pd.DataFrame(
        {
            "row": given.index[row],
            "rank": rank + 1,
            "column": np.array(encoder.features, dtype=object)[feature],
            "contribution": found.contribution[row, rank],
            "value": _cells(given, places),
            "expected": _cells(usual, places),
            "probability": found.probability[row, rank],
            "low": found.low[row, rank],
            "high": found.high[row, rank],
            "direction": [names[i] for i in found.direction[row, rank]],
        }
    )


def neighbors(model: Model, X: Records, records: Array, k: int) -> pd.DataFrame:
    """Return similar training rows; see `VAEDetector.neighbors`."""
    import pandas as pd

    _require_count("k", k)
    found, encoder = model.neighbors(records, k), model.encoder
    n, k = found.exemplar.shape
    index = X.index if isinstance(X, pd.DataFrame) else np.arange(n)
    chosen = found.exemplar.ravel()
    facts = pd.DataFrame(
        {
            "row": np.repeat(index, k),
            "rank": np.tile(np.arange(1, k + 1), n),
            "training_row": model.reference.position[chosen].astype(np.int64),
            "distance": found.distance.ravel(),
        }
    )
    if encoder.shape is not None:
        return facts
    names = list(encoder.features)
    for own in facts.columns:
        names = distinct(names, own)
    rows = encoder.rows(NormalValues.of(model).records[chosen])
    values = pd.DataFrame(rows) if hasattr(rows, "columns") else pd.DataFrame(np.asarray(rows))
    return pd.concat([facts, values.set_axis(names, axis=1)], axis=1)


def _cells(frame: pd.DataFrame, places: list[tuple[int, int]]) -> pd.Series:
    """Return the cells at some places, as numbers if all are."""
    import pandas as pd

    cells: list[Json] = [frame.iat[place] for place in places]
    return pd.Series(cells, dtype=object).infer_objects()


def _require_count(name: str, value: object) -> None:
    """Raise a ParameterError if a value is no count."""
    if not integer(1).holds(value):
        raise ParameterError(f"{name} must be {integer(1).words}. Got {value!r} instead.")
