"""Memory of a fit, and the number of training rows within a limit."""

from __future__ import annotations

import math

from vae_anomaly.exceptions import ParameterError
from vae_anomaly.model.parameters import DENSE_MEMBERS

__all__ = ["MIN_ROWS", "USUAL_LATENT_DIM", "memory_of_fit", "rows_within"]

# Measured as the peak of whole commands, and rounded up: `benchmarks/memory_limit.py`.
BASE_BYTES = 1.15e9
"""Bytes that a fit takes for any number of rows: TensorFlow, Keras, and the compiler XLA."""

BYTES_PER_NUMBER = 80
"""Bytes for each number in the rows: the number itself, and its encoded copies."""

BYTES_PER_ORDER = 40
"""Bytes for each row and network: every network has its own order of the rows."""

BYTES_PER_COLUMN = 1e6
"""Bytes for each column: the reference is built from 10,000 training rows. A category counts as
many columns: the texts that are kept while it is read fit into that."""

BYTES_PER_CODE = 0.7e6
"""Bytes for each latent dimension of a network beyond the usual number, for the same reason."""

USUAL_LATENT_DIM = 32
"""Latent dimensions of a network that `BASE_BYTES` accounts for, with the usual members."""

MIN_ROWS = 10_000
"""Smallest training sample for which a limit is accepted: below it, TensorFlow dominates."""


def memory_of_fit(rows: int, columns: int, members: int, latent: int = USUAL_LATENT_DIM) -> float:
    """Return an upper bound of the peak memory of a fit in bytes, for the whole process."""
    more_codes = max(0, members * latent - DENSE_MEMBERS * USUAL_LATENT_DIM)
    per_row = BYTES_PER_NUMBER * columns + BYTES_PER_ORDER * members
    return BASE_BYTES + BYTES_PER_COLUMN * columns + BYTES_PER_CODE * more_codes + per_row * rows


def rows_within(limit: int, columns: int, members: int, latent: int = USUAL_LATENT_DIM) -> int:
    """Return how many rows a fit may learn from while its peak stays below a limit.

    Parameters
    ----------
    limit : int
        In bytes.
    columns, members, latent : int
        Columns of a row; networks that are trained together; latent dimensions of each.

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
