"""How many rows a fit may learn from within so much memory."""

from __future__ import annotations

import math

from vae_anomaly.exceptions import ParameterError
from vae_anomaly.model.parameters import DENSE_MEMBERS

LATENT_DIM = 32

__all__ = ["MIN_ROWS", "memory_of_fit", "rows_within"]

# Measured as the peak of whole commands, and rounded up: `benchmarks/memory_limit.py`.
STARTED = 1.15e9
"""Bytes that a fit takes whatever it learns from: TensorFlow, Keras, and XLA at work."""

OF_A_NUMBER = 80
"""Bytes for each number in the rows: the numbers themselves, and what they are turned into."""

OF_AN_ORDER = 40
"""Bytes for each row and network: each has its own order of the rows."""

OF_A_COLUMN = 1e6
"""Bytes for each column: training looks back on 10,000 rows."""

OF_A_CODE = 0.7e6
"""Bytes for each latent dimension of a network, for the same reason; `STARTED` has the usual."""

MIN_ROWS = 10_000
"""Fewer are not worth a limit: below it, it is TensorFlow that takes the memory."""


def memory_of_fit(rows: int, columns: int, members: int, latent: int = LATENT_DIM) -> float:
    """Bytes that a fit takes at its peak, at most, the whole process included."""
    more_codes = max(0, members * latent - DENSE_MEMBERS * LATENT_DIM)
    of_a_row = OF_A_NUMBER * columns + OF_AN_ORDER * members
    return STARTED + OF_A_COLUMN * columns + OF_A_CODE * more_codes + of_a_row * rows


def rows_within(limit: int, columns: int, members: int, latent: int = LATENT_DIM) -> int:
    """Tell how many rows a fit may learn from for its peak to stay below a limit.

    Parameters
    ----------
    limit : int
        In bytes.
    columns, members, latent : int
        Columns of a row; networks side by side; latent dimensions of each.

    Returns
    -------
    int

    Raises
    ------
    ParameterError
        If they are fewer than `MIN_ROWS`.

    Examples
    --------
    >>> rows_within(2_000_000_000, columns=20, members=4)
    471590
    """
    fixed, one, least = (memory_of_fit(rows, columns, members, latent) for rows in (0, 1, MIN_ROWS))
    rows = int((limit - fixed) / (one - fixed))
    if rows < MIN_ROWS:
        raise ParameterError(
            f"--memory-limit of {limit / 1e9:.3g} GB is too little to learn from {MIN_ROWS:,} "
            f"rows of {columns} column{'s' * (columns > 1)}: before the first of them "
            f"{fixed / 1e9:.2f} GB are taken, by TensorFlow about 1 GB. "
            f"Give at least {math.ceil(least / 1e7) / 100:g}GB."
        )
    return rows
