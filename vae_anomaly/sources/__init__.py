"""Tables on disk as batches of rows, in memory that does not grow with the file.

A source is strict: it yields finite numbers or raises a `DataError` that names
the file, the line or row, the column and the value. Nothing is guessed,
shifted or filled in.
"""

from vae_anomaly.sources.base import CellError, TableSource
from vae_anomaly.sources.opening import open_table

__all__ = ["CellError", "TableSource", "open_table"]
