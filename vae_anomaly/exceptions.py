"""Exceptions of this package.

::

    VAEAnomalyError
    ├── ParameterError    (ValueError)         a parameter outside its range
    ├── DataError         (ValueError)         input data that cannot be used
    ├── ModelFileError    (ValueError)         a file that is not a valid model
    ├── CheckpointError   (ValueError)         a checkpoint that is damaged, or of another fit
    ├── OutputError       (OSError)            an output that could not be written
    ├── ResourceError     (MemoryError)        less memory than the work is known to need
    └── DivergenceError   (ArithmeticError)    a loss, weight or score that is not finite

Each also derives from the built-in exception of its cause. Messages state what was
expected, what was found, and what to do.
"""

__all__ = [
    "CheckpointError",
    "DataError",
    "DivergenceError",
    "ModelFileError",
    "OutputError",
    "ParameterError",
    "ResourceError",
    "VAEAnomalyError",
]


class VAEAnomalyError(Exception):
    """Base class of the exceptions of `vae_anomaly`."""


class ParameterError(VAEAnomalyError, ValueError):
    """A parameter is outside its range."""


class DataError(VAEAnomalyError, ValueError):
    """Input data cannot be used: records, columns, cells or labels."""


class ModelFileError(VAEAnomalyError, ValueError):
    """A file is not a valid model of a known format version."""


class CheckpointError(VAEAnomalyError, ValueError):
    """A checkpoint is damaged, or belongs to another fit."""


class OutputError(VAEAnomalyError, OSError):
    """An output could not be written; a file that existed before is unchanged."""


class ResourceError(VAEAnomalyError, MemoryError):
    """Less memory than the work is known to need."""


class DivergenceError(VAEAnomalyError, ArithmeticError):
    """A loss, a weight or a score is not finite: training diverged, or a network overflows."""
