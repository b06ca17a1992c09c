"""Tables and pictures on disk, in batches, in memory that does not grow with them.

A table is strict: it yields finite numbers or raises a `DataError` that names
the file, the line or row, the column and the value. Nothing is guessed,
shifted or filled in. A picture that cannot be read is passed over and named,
unless asked to be as strict.
"""

from vae_anomaly.sources.base import CellError, TableSource
from vae_anomaly.sources.images import PictureSource, holds_pictures, open_pictures
from vae_anomaly.sources.opening import open_table

__all__ = [
    "CellError",
    "PictureSource",
    "TableSource",
    "holds_pictures",
    "open_pictures",
    "open_table",
]
