"""What a detector sees of tables and pictures, and what a label means.

Columns are matched by name: their order in the file does not matter. A
detector that was fitted on an array without names has only their order.
Pictures are all brought to one size.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.exceptions import DataError, ParameterError
from vae_anomaly.sources.base import MISSING, floats_of, is_number, listed, shown
from vae_anomaly.sources.decoding import RESIZES, Layout
from vae_anomaly.sources.images import NORMAL_FOLDERS, PictureSource

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NORMAL_LABELS", "ImageSchema", "TableSchema", "anomalous", "anomalous_folders"]

NORMAL_LABELS = ("0", "false", "no", "normal", "good", "ok", "negative", "benign")
"""What a label of a normal row may say, in any case; everything else is an anomaly."""

LONGER_SIDE = 32
"""Of the pictures that a detector sees, unless somebody says otherwise."""

MAX_SIDE = 2048


@dataclass(frozen=True)
class TableSchema:
    """The columns of a table that make up the matrix of a detector.

    Attributes
    ----------
    names : tuple of str
        Columns of the table, in the detector's order.
    extra : tuple of str
        Columns of the table that are not used.
    named : bool
        False for a detector that knows its columns by position alone.

    Examples
    --------
    >>> schema = TableSchema.for_scoring("new.csv", ["flow", "site", "pressure"],
    ...                                  features=["pressure", "flow"], count=2)
    >>> schema.names, schema.extra
    (('pressure', 'flow'), ('site',))
    """

    names: tuple[str, ...]
    extra: tuple[str, ...] = ()
    named: bool = True

    @classmethod
    def for_fitting(
        cls, table: str, header: Sequence[str], *, without: Iterable[str]
    ) -> TableSchema:
        """Use all columns but some.

        Parameters
        ----------
        table : str
            What messages call the table.
        header : sequence of str
            Its columns.
        without : iterable of str
            Columns to leave out; each must be there.

        Returns
        -------
        TableSchema

        Raises
        ------
        DataError
            If no column is left, one that is used has no name, or one to leave out is not there.
        """
        without = tuple(dict.fromkeys(without))
        require_columns(table, header, without)
        names = tuple(name for name in header if name not in without)
        if not names:
            raise DataError(
                f"{table}: no column is left to learn from. Leave out fewer of its {len(header)}."
            )
        for name in names:
            if not name.strip():
                raise DataError(
                    f"{table}: column {header.index(name) + 1} has no name. "
                    f"Name it, or leave it out with --ignore {name!r}."
                )
        return cls(names, extra=without)

    @classmethod
    def for_scoring(
        cls,
        table: str,
        header: Sequence[str],
        *,
        features: Sequence[str] | None,
        count: int,
        without: Iterable[str] = (),
    ) -> TableSchema:
        """Find the columns that a fitted detector wants.

        Parameters
        ----------
        table : str
            What messages call the table.
        header : sequence of str
            Its columns.
        features : sequence of str or None
            The detector's columns; None if it was fitted without names.
        count : int
            How many they are.
        without : iterable of str
            Columns that have another role: identifiers, labels.

        Returns
        -------
        TableSchema

        Raises
        ------
        DataError
            If a column is missing, or, without names, their number is another.
        """
        without = tuple(dict.fromkeys(without))
        require_columns(table, header, without)
        if features is not None:
            require_columns(table, header, features, owner="the model")
            used = set(features) | set(without)
            return cls(tuple(features), tuple(name for name in header if name not in used))
        names = tuple(name for name in header if name not in without)
        if len(names) != count:
            raise DataError(
                f"{table} has {len(names)} columns for the model, which was fitted on {count} "
                f"without names and so takes them by position. Bring exactly these {count}, in "
                f"the order of training."
            )
        return cls(names, named=False)

    def matrix(self, batch: Any) -> NDArray[np.float64]:
        """Turn a batch of a source into rows of numbers: (n, n_columns)."""
        rows = np.empty((batch.num_rows, len(self.names)))
        for i, name in enumerate(self.names):
            rows[:, i] = floats_of(batch.column(name))
        return rows

    def frame(self, rows: NDArray[np.float64]) -> pd.DataFrame:
        """Give rows their column names back, as a detector with names expects them: no copy."""
        import pandas as pd

        return pd.DataFrame(rows, columns=list(self.names), copy=False)


def require_columns(
    table: str, header: Sequence[str], wanted: Sequence[str], owner: str = "the command line"
) -> None:
    """Refuse a table that lacks some of the columns that `owner` names.

    Raises
    ------
    DataError
        Listing all of them, each with the likeliest column that was meant.
    """
    there = set(header)
    missing = [name for name in wanted if name not in there]
    if not missing:
        return
    spare = [name for name in header if name not in set(wanted)]
    guesses = {name: guess for name in missing if (guess := _meant(name, spare)) is not None}
    number = "a column" if len(missing) == 1 else f"{len(missing)} columns"
    hint = ", ".join(f"{shown(g)} for {shown(n)}" for n, g in list(guesses.items())[:10])
    advice = (
        f"Did you mean {hint}? Names must agree exactly."
        if hint
        else (f"Its columns are {listed(list(header))}.")
    )
    raise DataError(f"{table} lacks {number} that {owner} names: {listed(missing)}. {advice}")


def _meant(name: str, candidates: Sequence[str]) -> str | None:
    """Find the candidate that differs by case or punctuation only, or a close match."""
    plain = {_plain(candidate): candidate for candidate in candidates}
    if _plain(name) in plain:
        return plain[_plain(name)]
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=0.8)
    return close[0] if close else None


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


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


@dataclass(frozen=True)
class ImageSchema(Layout):
    """What every picture is turned into before a detector sees it; kept in the model file.

    Attributes
    ----------
    height, width : int
        Pixels.
    channels : {1, 3}
        Grey, or red, green and blue.
    resize : {"stretch", "letterbox"}
        Letterboxing keeps the proportions and fills the rest with mid grey.

    Examples
    --------
    >>> print(ImageSchema(48, 64, 3))
    48 x 64 pixels, colour, stretched
    """

    @classmethod
    def measure(
        cls,
        source: PictureSource,
        image_size: int | tuple[int, int] | None = None,
        resize: str = "stretch",
    ) -> ImageSchema:
        """Choose a size for the pictures of a source, and whether colour matters.

        Parameters
        ----------
        source : PictureSource
        image_size : int, (height, width) or None, default=None
            An int makes a square. None is the median size of the pictures,
            made smaller where the longer side is above 32.
        resize : {"stretch", "letterbox"}, default="stretch"

        Returns
        -------
        ImageSchema
            Grey if every picture of a sample is.

        Raises
        ------
        DataError
            If no picture of the sample can be read.
        ParameterError
            If the size or the way of resizing makes no sense.
        """
        if resize not in RESIZES:
            raise ParameterError(f"resize must be one of {', '.join(RESIZES)}. Got {resize!r}.")
        (height, width), grey = source.look()
        if image_size is None:
            scale = min(1.0, LONGER_SIDE / max(height, width))
            image_size = (max(1, round(scale * height)), max(1, round(scale * width)))
        elif isinstance(image_size, int):
            image_size = (image_size, image_size)
        if not all(1 <= side <= MAX_SIDE for side in image_size):
            raise ParameterError(f"image_size must be 1 to {MAX_SIDE} pixels. Got {image_size}.")
        return cls(*image_size, 1 if grey else 3, resize)

    def __str__(self) -> str:
        colours = "grey" if self.channels == 1 else "colour"
        way = "stretched" if self.resize == "stretch" else "letterboxed"
        return f"{self.height} x {self.width} pixels, {colours}, {way}"

    def read(
        self, source: PictureSource, update: Callable[[int], None] | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Read all pictures of a source into memory.

        Parameters
        ----------
        source : PictureSource
        update : callable, optional
            Told how many pictures are done.

        Returns
        -------
        pixels : ndarray of uint8, shape (n, height, width, channels)
        positions : ndarray of int
            Of these pictures in the source; the others could not be read.
        """
        pixels = np.empty((len(source), self.height, self.width, self.channels), np.uint8)
        positions = np.empty(len(source), np.int64)
        count = 0
        for batch in source.batches(self):
            here = slice(count, count + len(batch.pixels))
            pixels[here], positions[here] = batch.pixels, batch.positions
            count = here.stop
            if update is not None:
                update(batch.stop)
        return pixels[:count], positions[:count]


def anomalous_folders(
    source: PictureSource, *, normal: Sequence[str] = ()
) -> NDArray[np.bool_] | None:
    """Tell from its subfolder, or the label in an array, whether a picture is an anomaly.

    Parameters
    ----------
    source : PictureSource
    normal : sequence of str
        Subfolders or labels of normal pictures, in this case; by default
        `NORMAL_FOLDERS`, in any case, and 0 or False where an archive of
        arrays has labels 0 and 1 or booleans.

    Returns
    -------
    ndarray of bool or None
        For each picture of the source; None if no subfolder or label is a normal one.

    Raises
    ------
    DataError
        If `normal` matches none, some pictures are in no subfolder, or labels
        do not belong to the pictures.
    """
    kinds, labels = source.kinds or [], source.labels
    known = labels.normal if labels is not None else ()
    is_normal = [
        kind in (normal or known) if normal or known else kind.casefold() in NORMAL_FOLDERS
        for kind in kinds
    ]
    if not any(is_normal) and normal:
        there = listed(sorted(set(kinds)))
        if labels is not None:
            raise DataError(
                f"{labels.origin}: no picture has the normal label {listed(list(normal))}. The "
                f"labels are {there}."
            )
        raise DataError(
            f"{source.name}: no subfolder with pictures is called {listed(list(normal))}. "
            f"{f'Its subfolders are {there}.' if kinds else 'It has none.'}"
        )
    if not any(is_normal) and not known:
        return None
    if "" in kinds and labels is not None:
        raise DataError(
            f"{labels.origin}: picture {kinds.index('') + 1} has an empty label. Fill it in or "
            f"remove the picture."
        )
    if "" in kinds:
        raise DataError(
            f"{source.name}: {shown(source.names[kinds.index('')])} lies beside the subfolders "
            f"that say what is normal. Move it into one of them."
        )
    return ~np.array(is_normal)
