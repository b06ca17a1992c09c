"""Columns in their own units <-> standardised columns in which a VAE is at home.

Each column is centred, scaled, and beyond `CLIP_THRESHOLD` standard deviations bent into
a logarithm, so that every finite double becomes a number a float32 network can
digest. The soft_clip is a change of variables, and the densities pay for it: a
score in nats adds the log-Jacobian, the `tail`, so that it stays minus the log
of a density of the standardised column and keeps rising up to 1e300.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.stats.soft_clip import (
    LARGEST,
    inverse_soft_clip,
    soft_clip,
    soft_clip_log_jacobian,
)

__all__ = ["ColumnScaler"]

Array = NDArray[np.float64]


OUTLYING = 10.0
"""Robust standard deviations beyond which a training value does not shape its column's scale."""


SMALLEST = 1e-300
"""Smaller magnitudes are taken for zero in training: parts of them would vanish."""


@dataclass(frozen=True, eq=False)
class ColumnScaler:
    """What training saw of each column: enough to turn rows into network inputs and back.

    Attributes
    ----------
    center, scale : ndarray of shape (n_columns,)
        In the units of the column.
    low, high : ndarray of shape (n_columns,)
        Range of the training rows.

    Examples
    --------
    >>> columns = ColumnScaler.from_rows(np.array([[0.0, 7.0], [2.0, 7.0], [4.0, 7.0]]))
    >>> columns.varies.tolist()
    [True, False]
    >>> columns.network_input(np.array([[2.0, 7.0]])).tolist()
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
        rows = np.clip(rows, -LARGEST, LARGEST)
        rows[np.abs(rows) < SMALLEST] = 0.0
        low, high = rows.min(axis=0), rows.max(axis=0)
        first, median, third = np.percentile(rows / 4, [25, 50, 75], axis=0) * 4
        reach = OUTLYING * (third - first) / 1.349
        for i in np.flatnonzero((first == third) & (low < high)):
            # Mostly one value: what is usual among the others decides what is not.
            away = np.abs(rows[:, i] / 2 - median[i] / 2)
            reach[i] = 2 * OUTLYING * np.median(away[away > 0])
        clipped = np.clip(rows, median - reach, median + reach)

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

    @classmethod
    def from_pixels(cls, rows: Array, channels: int) -> ColumnScaler:
        """Measure flattened images, all pixels of a channel together.

        Pixels share a unit: one that hardly ever changes is no more telling for
        it. And all reach the network, those that were constant included: a
        convolution needs the whole image.
        """
        one = cls.from_rows(rows.reshape(-1, channels))
        pixels = rows.shape[1] // channels
        return cls(*(np.tile(part, pixels) for part in (one.center, one.scale, one.low, one.high)))

    @property
    def varies(self) -> NDArray[np.bool_]:
        """Which columns were not constant in training, and so reach the network."""
        return self.low < self.high

    def standardize(self, rows: Array) -> Array:
        """Count standard deviations from the centre, not yet bent: (n, n_columns)."""
        rows = np.clip(rows, -LARGEST, LARGEST)
        with np.errstate(over="ignore"):  # the clip that follows takes care of infinity
            z = (rows - self.center) / self.scale
        return np.clip(z, -LARGEST, LARGEST)

    def network_input(self, rows: Array) -> Array:
        """Turn rows into what the encoder sees: (n, n_varying)."""
        return soft_clip(self.standardize(rows)[:, self.varies])

    def input_and_target(self, rows: Array, likelihood: str) -> tuple[Array, Array]:
        """Turn rows into what the encoder sees and what the likelihood explains.

        Both (n, n_varying), and the same array but for the Bernoulli.
        """
        seen = self.network_input(rows)
        if likelihood != "bernoulli":
            return seen, seen
        low, span = self.unit_interval
        unit = np.clip((np.clip(rows, -LARGEST, LARGEST) - low) / span, 0.0, 1.0)
        return seen, unit[:, self.varies]

    def outlying(self, rows: Array, likelihood: str) -> Array:
        """Cost in nats of what the likelihood does not see: (n, n_columns).

        For the Bernoulli the distance from the unit interval under a normal
        tail, for others the log-Jacobian of the soft_clip; for a constant
        column its whole deviation under a normal tail.
        """
        z = self.standardize(rows)
        if likelihood != "bernoulli":
            nats, constant = soft_clip_log_jacobian(z), ~self.varies
            nats[:, constant] += 0.5 * soft_clip(z[:, constant]) ** 2
            return nats
        low, span = self.unit_interval
        nearest = np.clip(np.clip(rows, -LARGEST, LARGEST), low, low + span)
        beyond = np.where(self.varies, z - self.standardize(nearest), z)
        return 0.5 * soft_clip(beyond) ** 2 + soft_clip_log_jacobian(beyond)

    def from_target(self, target: Array, likelihood: str) -> Array:
        """Turn what the likelihood explains back into rows: (n, n_columns)."""
        rows = np.tile(self.center, (len(target), 1))
        if likelihood != "bernoulli":
            z = np.zeros_like(rows)
            z[:, self.varies] = inverse_soft_clip(target)
            return np.clip(rows + z * self.scale, -LARGEST, LARGEST)
        low, span = self.unit_interval
        rows[:, self.varies] = low[self.varies] + target * span[self.varies]
        return rows

    @property
    def unit_interval(self) -> tuple[Array, Array]:
        """Start and length of what the Bernoulli takes for [0, 1]: itself where it holds all."""
        inside = (self.low >= 0) & (self.high <= 1)
        span = np.where(self.low < self.high, self.high - self.low, 1.0)
        return np.where(inside, 0.0, self.low), np.where(inside, 1.0, span)
