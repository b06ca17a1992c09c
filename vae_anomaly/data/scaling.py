"""Scaling of columns: rows in their own units to standardised columns and back.

Each column is centred, scaled and soft-clipped, so that every finite double becomes a
number that a float32 network can digest. Also the settings of encoders that are made of
such columns, from a model file.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._text import shown
from vae_anomaly._types import Json, JsonObject, Symbol
from vae_anomaly.data.base import Encoded
from vae_anomaly.data.graph import EncodedSymbols
from vae_anomaly.data.state import ArrayTypes, Outline
from vae_anomaly.names import LIKELIHOODS
from vae_anomaly.stats.likelihoods import Block
from vae_anomaly.stats.soft_clip import (
    CLIP_THRESHOLD,
    MAX_MAGNITUDE,
    inverse_soft_clip,
    soft_clip,
    soft_clip_with_jacobian,
)

__all__ = [
    "ColumnScaler",
    "PrecisionWarning",
    "check_keys",
    "check_likelihood",
    "check_names",
    "checked_outline",
]

Array = NDArray[np.float64]


MIN_STEPS = 10
"""Steps of float64 in a standard deviation below which numbers of a column are rounded."""

MAX_LISTED = 10
"""Columns that a message lists."""

OUTLYING = 10.0
"""Robust standard deviations to which training values are clipped before a column is scaled."""


MIN_MAGNITUDE = 1e-300
"""Smaller magnitudes count as zero in training: fractions of them would underflow."""


class PrecisionWarning(UserWarning):
    """Numbers differ by less than float64 can tell."""


@dataclass(frozen=True, eq=False)
class ColumnScaler:
    """Centre, scale and range of each column in training.

    Attributes
    ----------
    center, scale : ndarray of shape (n_columns,)
        In the units of the column.
    low, high : ndarray of shape (n_columns,)
        Range of the training rows.

    Examples
    --------
    >>> scaler = ColumnScaler.from_rows(np.array([[0.0, 7.0], [2.0, 7.0], [4.0, 7.0]]))
    >>> scaler.varies.tolist()
    [True, False]
    >>> scaler.encode(np.array([[2.0, 7.0]]), "gaussian").inputs.tolist()
    [[0.0]]
    """

    center: Array
    scale: Array
    low: Array
    high: Array

    @classmethod
    def from_rows(cls, rows: Array) -> ColumnScaler:
        """Measure the columns of `rows`.

        Mean and standard deviation are those of values clipped to `OUTLYING`
        robust standard deviations around the median, so that one cell of 1e30
        does not flatten its column.

        A constant column has no scale of its own. It is given the deviation
        that it would have if one more row stood one unit away (its magnitude,
        or 1 for a column of zeros): the more rows agree, the more a first
        deviation says, as in Laplace's rule of succession.
        """
        rows = np.clip(rows, -MAX_MAGNITUDE, MAX_MAGNITUDE)
        rows[np.abs(rows) < MIN_MAGNITUDE] = 0.0
        low, high = rows.min(axis=0), rows.max(axis=0)
        first, median, third = np.percentile(rows / 4, [25, 50, 75], axis=0) * 4
        margin = OUTLYING * (third - first) / 1.349
        for i in np.flatnonzero((first == third) & (low < high)):
            # Mostly one value: what is usual among the others decides what is not.
            away = np.abs(rows[:, i] / 2 - median[i] / 2)
            margin[i] = 2 * OUTLYING * np.median(away[away > 0])
        clipped = np.clip(rows, median - margin, median + margin)

        center = clipped.mean(axis=0)
        deviation = clipped - center
        spread = np.abs(deviation).max(axis=0)
        # Squares are taken of numbers in [-1, 1], so that 1e300 does not overflow.
        unit = np.where(spread > 0, spread, 1.0)
        scale = unit * np.sqrt(np.mean((deviation / unit) ** 2, axis=0))
        constant = low == high
        magnitude = np.where(low == 0, 1.0, np.abs(low))
        return cls(
            center=np.where(constant, low, center),
            scale=np.where(constant, magnitude / np.sqrt(len(rows) + 1), scale),
            low=low,
            high=high,
        )

    def warn_of_lost_digits(self, names: Sequence[str], stacklevel: int = 2) -> None:
        """Warn of columns that float64 cannot tell the whole numbers of apart.

        Parameters
        ----------
        names : sequence of str
            Of the first columns; the others are not read.
        stacklevel : int, default=2

        Warns
        -----
        PrecisionWarning
        """
        step = np.spacing(np.abs(self.center))  # not of outlying cells
        coarse = (step > 1) & (~self.varies | (self.scale < MIN_STEPS * step))
        lost = [(name, step[i]) for i, name in enumerate(names) if coarse[i]]
        if lost:
            shown_names = ", ".join(shown(name) for name, _ in lost[:MAX_LISTED])
            more = f" and {len(lost) - MAX_LISTED} more" if len(lost) > MAX_LISTED else ""
            warnings.warn(
                f"The numbers of {shown_names}{more} are so large that float64 tells them apart "
                f"in steps of {lost[0][1]:.4g} only: smaller differences are lost. "
                f"Subtract an offset from the column before, or leave it out.",
                PrecisionWarning,
                stacklevel=stacklevel + 1,
            )

    @classmethod
    def from_columns(cls, columns: Sequence[Array]) -> ColumnScaler:
        """Measure columns of different lengths; one without values is constant."""
        ones = [
            cls.from_rows(one.reshape(-1, 1) if len(one) else np.zeros((1, 1))) for one in columns
        ]
        parts = [[getattr(one, field.name) for one in ones] for field in fields(cls)]
        return cls(*(np.concatenate([*part, np.empty(0)]) for part in parts))

    @classmethod
    def from_channels(cls, rows: Array, channels: int) -> ColumnScaler:
        """Measure rows of pixels, all pixels of a channel together.

        Pixels share a unit: one that hardly ever changes is not more informative. All
        are inputs of the networks, also constant ones: a convolution needs the whole grid.
        """
        one = cls.from_rows(rows.reshape(-1, channels))
        pixels = rows.shape[1] // channels
        return cls(*(np.tile(part, pixels) for part in (one.center, one.scale, one.low, one.high)))

    @cached_property
    def varies(self) -> NDArray[np.bool_]:
        """Which columns were not constant in training, and so margin the network."""
        return self.low < self.high

    def standardize(self, rows: Array) -> Array:
        """Return distances from the centre in standard deviations, not clipped: (n, n_columns)."""
        rows = np.clip(rows, -MAX_MAGNITUDE, MAX_MAGNITUDE)
        with np.errstate(over="ignore"):  # the clip that follows takes care of infinity
            z = (rows - self.center) / self.scale
        return np.clip(z, -MAX_MAGNITUDE, MAX_MAGNITUDE)

    def encode(self, rows: Array, likelihood: str) -> Encoded:
        """Encode rows: soft-clipped standardised columns, one target for each that varies.

        The targets of the Bernoulli are the columns scaled into [0, 1]. The penalty of a
        column is the log-Jacobian of the soft clip, for the Bernoulli the distance from
        the unit interval under a normal tail; that of a constant column is its whole
        deviation under a normal tail.
        """
        z, varies = self.standardize(rows), self.varies
        if likelihood != "bernoulli":
            clipped, penalty = soft_clip_with_jacobian(z)
            penalty[:, ~varies] += 0.5 * clipped[:, ~varies] ** 2
            inputs = clipped[:, varies]
            return Encoded(inputs, inputs, penalty)
        low, span = self.unit_interval
        values = np.clip(rows, -MAX_MAGNITUDE, MAX_MAGNITUDE)
        unit = np.clip((values - low) / span, 0.0, 1.0)
        nearest = np.clip(values, low, low + span)
        beyond = np.where(varies, z - self.standardize(nearest), z)
        clipped, penalty = soft_clip_with_jacobian(beyond)
        return Encoded(soft_clip(z[:, varies]), unit[:, varies], 0.5 * clipped**2 + penalty)

    def in_graph(self, rows: Symbol, likelihood: str) -> EncodedSymbols:
        """Add `encode` to an ONNX graph."""
        rows = rows.apply("Max", -MAX_MAGNITUDE).apply("Min", MAX_MAGNITUDE)
        z, varies = self._standardized_symbol(rows), np.flatnonzero(self.varies)
        inputs = _soft_clip_symbol(z.columns(varies))
        if likelihood != "bernoulli":
            constant = _soft_clip_symbol(z * ~self.varies)
            penalty = constant * constant * 0.5 + _log_jacobian_symbol(z)
            return EncodedSymbols(inputs, inputs, penalty)
        low, span = self.unit_interval
        targets = ((rows - low) / span).apply("Max", 0.0).apply("Min", 1.0).columns(varies)
        nearest = self._standardized_symbol(rows.apply("Max", low).apply("Min", low + span))
        beyond = z - nearest * self.varies
        clipped = _soft_clip_symbol(beyond)
        penalty = clipped * clipped * 0.5 + _log_jacobian_symbol(beyond)
        return EncodedSymbols(inputs, targets, penalty)

    def _standardized_symbol(self, rows: Symbol) -> Symbol:
        """See `standardize`."""
        z = (rows - self.center) / self.scale
        return z.apply("Max", -MAX_MAGNITUDE).apply("Min", MAX_MAGNITUDE)

    def decode(self, targets: Array, likelihood: str) -> Array:
        """Return the rows that targets stand for: (n, n_columns)."""
        rows = np.tile(self.center, (len(targets), 1))
        if likelihood != "bernoulli":
            z = np.zeros_like(rows)
            z[:, self.varies] = inverse_soft_clip(targets)
            return np.clip(rows + z * self.scale, -MAX_MAGNITUDE, MAX_MAGNITUDE)
        low, span = self.unit_interval
        rows[:, self.varies] = low[self.varies] + targets * span[self.varies]
        return rows

    def describe(self, names: Sequence[str]) -> list[JsonObject]:
        """Return the properties of each column in plain values."""
        return [
            {
                "name": name,
                "mean": float(self.center[i]),
                "deviation": float(self.scale[i]),
                "low": float(self.low[i]),
                "high": float(self.high[i]),
                "constant": not self.varies[i],
            }
            for i, name in enumerate(names)
        ]

    def outline(self, likelihood: str) -> Outline:
        """Return the sizes of an encoder: an input and a target for each column that varies."""
        return _outline(len(self.center), int(self.varies.sum()), likelihood)

    def arrays(self) -> dict[str, Array]:
        """Return the arrays that a model file stores."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], n_varying: int) -> ColumnScaler:
        """Build the scaler from arrays of a file.

        Raises
        ------
        ValueError
            If they are not sound, or another number of columns varies.
        """
        scaler = cls(**arrays)
        if (scaler.scale <= 0).any():
            raise ValueError("a column has a scale that is not positive")
        if (scaler.low > scaler.high).any():
            raise ValueError("the range of a column is reversed")
        if scaler.varies.sum() != n_varying:
            raise ValueError("its columns do not vary as its settings say")
        return scaler

    @property
    def unit_interval(self) -> tuple[Array, Array]:
        """Start and length of the unit interval of the Bernoulli: [0, 1] if it holds all values."""
        inside = (self.low >= 0) & (self.high <= 1)
        span = np.where(self.low < self.high, self.high - self.low, 1.0)
        return np.where(inside, 0.0, self.low), np.where(inside, 1.0, span)


def _soft_clip_symbol(z: Symbol) -> Symbol:
    """See `stats.soft_clip.soft_clip`."""
    inner = z.apply("Max", -CLIP_THRESHOLD).apply("Min", CLIP_THRESHOLD)
    return inner + z.apply("Sign") * _log_jacobian_symbol(z)


def _log_jacobian_symbol(z: Symbol) -> Symbol:
    """See `stats.soft_clip.soft_clip_with_jacobian`."""
    return ((z.apply("Abs") - CLIP_THRESHOLD).apply("Max", 0.0) + 1.0).apply("Log")


# ------------------------------------------------------------------- settings of encoders

COMMON = {"likelihood", "n_features", "n_inputs"}


def checked_outline(settings: Mapping[str, Json], further: set[str]) -> Outline:
    """Check the settings that encoders with one likelihood share, and the keys of all.

    Returns
    -------
    Outline
        With one block: a target for each input.

    Raises
    ------
    ValueError
        If they are not sound.
    """
    check_keys(settings, further)
    check_likelihood(settings["likelihood"])
    for key in ("n_features", "n_inputs"):
        if type(settings[key]) is not int or settings[key] < 1:
            raise ValueError(f"{key} must be an int >= 1")
    if settings["n_inputs"] > settings["n_features"]:
        raise ValueError("more columns vary than there are")
    if settings.get("names") is not None:
        check_names(settings["names"], settings["n_features"])
    return _outline(settings["n_features"], settings["n_inputs"], settings["likelihood"])


def check_keys(settings: Mapping[str, Json], further: set[str]) -> None:
    """Check that settings have the keys of all encoders, and some further ones."""
    if set(settings) != COMMON | further:
        raise ValueError("the settings of its encoder are not those of its modality")


def check_likelihood(name: Json) -> None:
    """Check that a name is that of a likelihood that users may choose."""
    if not isinstance(name, str) or name not in LIKELIHOODS:
        raise ValueError(f"likelihood must be one of {', '.join(LIKELIHOODS)}")


def check_names(names: Json, n: int) -> None:
    """Check that names are n different texts."""
    if not isinstance(names, list) or len(names) != n or not all(map(_is_text, names)):
        raise ValueError(f"names must be {n} texts")
    if len(set(names)) != n:
        raise ValueError("two columns share a name")


def _is_text(value: object) -> bool:
    """Return whether a value is text that UTF-8 can encode."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _outline(n_columns: int, n_varying: int, likelihood: str) -> Outline:
    """Return the outline of an encoder of columns that share a likelihood."""
    arrays: ArrayTypes = dict.fromkeys(("center", "scale", "low", "high"), ("F64", (n_columns,)))
    return Outline(n_columns, n_varying, (Block(likelihood, n_varying),), arrays)
