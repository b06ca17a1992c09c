"""Files of series, read part by part if they can be."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from vae_anomaly._types import Json, JsonObject
from vae_anomaly.data.series.blocks import BLOCK_BYTES
from vae_anomaly.data.series.forms import read_series
from vae_anomaly.data.series.parts import Part, WholeNeeded, parts_of_file
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.pipeline.options import Options, given_options

__all__ = ["DATA_OPTIONS", "SeriesFile", "check_file", "reading_of"]

T = TypeVar("T")

DATA_OPTIONS = ("time_format", "timezone", "duplicates", "missing")
"""Options of all commands on how a file is read, which may be another one than that of the fit."""


def check_file(path: str) -> None:
    """Raise ParameterError if a path means standard input."""
    if path == "-":
        raise ParameterError(
            "Time series are not read from standard input. Write them to a file, and name it."
        )


def reading_of(fitted: Mapping[str, Json], given: Options) -> JsonObject:
    """Return the options of `read_series` of a fit, with those in `DATA_OPTIONS` that are given.

    Cells that were missing in the fit still are.

    Examples
    --------
    >>> reading_of({"timezone": "UTC", "missing": ["off"]}, {"missing": ("bad",)})
    {'timezone': 'UTC', 'missing': ['off', 'bad']}
    """
    asked = given_options(given, DATA_OPTIONS)
    if "missing" in asked:
        asked["missing"] = [*fitted.get("missing", ()), *asked["missing"]]
    return {**fitted, **asked}


class SeriesFile(NamedTuple):
    """A file of series.

    Attributes
    ----------
    path : str
    options : dict
        Of `read_series`.
    block_bytes : int
        Bytes of a part, about.
    """

    path: str
    options: JsonObject
    block_bytes: int = BLOCK_BYTES

    def read(
        self, use: Callable[[Iterable[Part]], T], *, check: bool = False
    ) -> tuple[T, Sequence[str]]:
        """Return what a function makes of the parts, and why the file was read as a whole.

        Parameters
        ----------
        use : callable
            Is called again with the whole, if a part cannot be used.
        check : bool, default=False
            Read all parts before the first is used.
        """
        check_file(self.path)
        reason: Sequence[str] = ()
        try:
            parts = self._parts()
            if parts is not None and check:
                deque(parts, maxlen=0)
                parts = self._parts()
            if parts is not None:
                return use(parts), reason
        except WholeNeeded as found:
            reason = (f"The file is read as a whole: {found}.",)
        return use([Part(read_series(self.path, **self.options), 0)]), reason

    def _parts(self) -> Iterator[Part] | None:
        return parts_of_file(self.path, block_bytes=self.block_bytes, **self.options)
