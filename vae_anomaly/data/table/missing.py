"""Values that a user says stand for missing cells."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import Records
from vae_anomaly.data.cells import is_number
from vae_anomaly.data.table.column import is_numeric, text_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NO_FURTHER", "MissingValues"]


@dataclass(frozen=True)
class MissingValues:
    """Texts and numbers that count as missing in every column, beside those that always do.

    Attributes
    ----------
    texts : tuple of str
        Numbers among them stand for all that are equal: "-9" for -9.0 as well.

    Examples
    --------
    >>> missing = MissingValues(("-9", "no answer"))
    >>> [text in missing for text in ("-9.0", "no answer", "9", "")]
    [True, True, False, False]
    >>> missing.without(np.array([[1.0, -9.0]]))
    array([[ 1., nan]])
    """

    texts: tuple[str, ...] = ()

    @cached_property
    def numbers(self) -> NDArray[np.float64]:
        """Those that are numbers."""
        return np.array([float(text) for text in self.texts if is_number(text)])

    def __contains__(self, text: str) -> bool:
        if not self.texts:
            return False
        return text in self.texts or (is_number(text) and float(text) in self.numbers)

    def without(self, X: Records) -> Records:
        """Return a data frame of pandas or an array with missing cells in place of these."""
        if not self.texts:
            return X
        if hasattr(X, "iloc"):
            import pandas as pd

            cells = [X.iloc[:, i] for i in range(X.shape[1])]
            parts = [one.mask(self._are_in(one)) for one in cells]
            return pd.concat(parts, axis=1) if parts else X
        array = np.asarray(X)
        if array.dtype.kind not in "fiu":
            return X
        return np.where(np.isin(array, self.numbers), np.nan, array)

    def _are_in(self, cells: pd.Series) -> NDArray[np.bool_]:
        """Return which cells of a column are missing."""
        import pandas as pd

        if is_numeric(cells) and not pd.api.types.is_bool_dtype(cells.dtype):
            return np.isin(cells.to_numpy(dtype=np.float64, na_value=np.nan), self.numbers)
        places, distinct = pd.factorize(cells)
        found = [(text := text_of(cell)) is not None and text in self for cell in distinct]
        return np.array([*found, False])[places]


NO_FURTHER = MissingValues()
"""No others than those that always are."""
