"""Data of a user as data frames of pandas, to name and show their cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vae_anomaly._types import Records
from vae_anomaly.data.base import Encoder
from vae_anomaly.exceptions import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["as_given", "in_form_of", "require_features"]


def require_features(encoder: Encoder, name: str, unit: str) -> None:
    """Raise a DataError if single features of the records mean nothing by themselves."""
    if encoder.shape is not None:
        raise DataError(
            f"{name} is for data whose features mean something by themselves, got {unit}s. "
            f"Use contribution_maps."
        )


def as_given(encoder: Encoder, X: Records) -> pd.DataFrame:
    """Return the data of a user as a data frame, with their own cells and index."""
    import pandas as pd

    frame = X.to_pandas() if hasattr(X, "to_pandas") else X  # of Polars, PyArrow
    return pd.DataFrame(frame, columns=getattr(frame, "columns", list(encoder.features)))


def in_form_of(encoder: Encoder, records: Records, given: pd.DataFrame) -> pd.DataFrame:
    """Return records, as the encoder takes them, in the types and with the index of a frame.

    Whole numbers become float64 where all columns are numbers: they are means.
    """
    import pandas as pd

    made = encoder.rows(records, like=given)
    if isinstance(made, pd.DataFrame):
        return made.set_axis(given.columns, axis=1)
    dtypes = [one if pd.api.types.is_float_dtype(one) else "float64" for one in given.dtypes]
    columns = [pd.Series(made[:, i], given.index, dtype) for i, dtype in enumerate(dtypes)]
    return pd.concat(columns, axis=1, keys=range(len(columns))).set_axis(given.columns, axis=1)
