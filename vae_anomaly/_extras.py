"""Packages of the extras, which need not be installed."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from vae_anomaly.exceptions import ParameterError

__all__ = ["of_extra"]


def of_extra(module: str, extra: str, purpose: str) -> ModuleType:
    """Import a module of an extra.

    Parameters
    ----------
    module : str
    extra : str
        Name of the extra in this package.
    purpose : str
        What needs it, for the message.

    Raises
    ------
    ParameterError
        If it is not installed.

    Examples
    --------
    >>> of_extra("no_such_module", "dask", "Scoring on a cluster")
    Traceback (most recent call last):
        ...
    vae_anomaly.exceptions.ParameterError: Scoring on a cluster needs no_such_module, which is ...
    """
    try:
        return import_module(module)
    except ImportError as cause:
        if cause.name is not None and cause.name.split(".")[0] != module.split(".")[0]:
            raise  # the package is there, and lacks one itself
        name = module.split(".")[0]
        raise ParameterError(
            f"{purpose} needs {name}, which is not installed. Install it with "
            f'pip install "vae-anomaly[{extra}]".'
        ) from cause
