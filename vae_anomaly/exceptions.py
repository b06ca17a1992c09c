"""Every error that this package raises on purpose.

::

    VAEAnomalyError
    ├── ParameterError    (ValueError)         a parameter outside its range
    ├── DataError         (ValueError)         rows that cannot be used
    ├── ModelFileError    (ValueError)         a file that is not a sound model
    ├── CheckpointError   (ValueError)         a checkpoint that is damaged, or of another fit
    ├── OutputError       (OSError)            a result that could not be written
    └── DivergenceError   (ArithmeticError)    training left the finite numbers

Each also derives from the built-in error that callers who do not know this
package would catch. Messages say what was expected, what came, and what to do.
"""

__all__ = [
    "CheckpointError",
    "DataError",
    "DivergenceError",
    "ModelFileError",
    "OutputError",
    "ParameterError",
    "VAEAnomalyError",
]


class VAEAnomalyError(Exception):
    """Base of all errors raised on purpose by `vae_anomaly`."""


class ParameterError(VAEAnomalyError, ValueError):
    """A parameter is outside its range."""


class DataError(VAEAnomalyError, ValueError):
    """Rows, columns or cells that cannot be used as they are."""


class ModelFileError(VAEAnomalyError, ValueError):
    """A file that is not a sound model of a known format version."""


class CheckpointError(VAEAnomalyError, ValueError):
    """A checkpoint that is damaged, or of another fit than the one that is to go on."""


class OutputError(VAEAnomalyError, OSError):
    """A result that could not be written; what was there before is untouched."""


class DivergenceError(VAEAnomalyError, ArithmeticError):
    """Training left the finite numbers."""
