"""Texts of unseen levels and stray cells, whose codes do not say what they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import escaped
from vae_anomaly._types import Json

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MAX_TEXT_LENGTH", "NO_TEXTS", "CellTexts", "ColumnTexts"]

Indices = NDArray[np.intp]

MAX_TEXT_LENGTH = 100
"""Characters of such a text that are shown."""


class ColumnTexts(NamedTuple):
    """Texts of some cells of a column.

    Attributes
    ----------
    rows : ndarray of int of shape (k,)
        Their records, ascending.
    texts : Array of Arrow of length k
        Strings, which may be cut to one character more than are shown.
    """

    rows: Indices
    texts: pa.Array


class CellTexts(NamedTuple):
    r"""Texts of unseen levels and stray cells, kept as they are until they are shown.

    Attributes
    ----------
    columns : mapping of int to ColumnTexts
        Feature -> texts of some of its cells.

    Examples
    --------
    >>> import pyarrow as pa
    >>> rows = np.array([1, 3])
    >>> texts = CellTexts({2: ColumnTexts(rows, pa.array(["blu", "x\ty"]))})
    >>> texts.shown(["(new level)", 7.5], np.array([1, 1]), np.array([2, 0]))
    ['blu', 7.5]
    >>> later = CellTexts.joined([(0, texts), (4, texts.only(rows))])
    >>> later.shown([None, None], np.array([5, 6]), np.array([2, 2]))
    ['x\\x09y', None]
    """

    columns: Mapping[int, ColumnTexts] = {}

    @classmethod
    def joined(cls, parts: Iterable[tuple[int, CellTexts]]) -> CellTexts:
        """Join the texts of records, each part with the number of records before it."""
        import pyarrow as pa

        found: dict[int, list[ColumnTexts]] = {}
        for start, part in parts:
            for feature, (rows, texts) in part.columns.items():
                found.setdefault(feature, []).append(ColumnTexts(rows + start, texts))
        joined = {}
        for feature, several in found.items():
            rows = np.concatenate([one.rows for one in several])
            joined[feature] = ColumnTexts(rows, pa.concat_arrays([one.texts for one in several]))
        return cls(joined)

    def only(self, chosen: Indices) -> CellTexts:
        """Return the texts of some records, whose positions ascend."""
        from vae_anomaly.data.arrow import array_of

        found = {}
        for feature, (rows, texts) in self.columns.items():
            _, place, kept = np.intersect1d(chosen, rows, assume_unique=True, return_indices=True)
            if len(place):
                found[feature] = ColumnTexts(place, texts.take(array_of(kept)))
        return CellTexts(found)

    def shown(self, cells: list[Json], row: Indices, feature: Indices) -> list[Json]:
        """Return cells, each of a record and a feature, (n,) both; text where a cell has one.

        Control characters are escaped, and texts that are too long cut.
        """
        from vae_anomaly.data.arrow import array_of

        found = list(cells)
        for i, (rows, texts) in self.columns.items():
            here = np.flatnonzero(feature == i)
            place = np.minimum(np.searchsorted(rows, row[here]), len(rows) - 1)
            has_text = rows[place] == row[here]
            given = texts.take(array_of(place[has_text])).to_pylist()
            for at, text in zip(here[has_text].tolist(), given, strict=True):
                found[at] = escaped(text.strip(), MAX_TEXT_LENGTH)
        return found


NO_TEXTS = CellTexts()
"""All cells have codes."""
