"""Packages of the extras, which need not be installed."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.metadata import requires
from types import ModuleType

from vae_anomaly.exceptions import ParameterError

__all__ = ["of_extra", "packages_of"]


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
    >>> of_extra("no_such_module", "sql", "A query")
    Traceback (most recent call last):
        ...
    vae_anomaly.exceptions.ParameterError: A query needs no_such_module, which is not installed. ...
    """
    try:
        return import_module(module)
    except ImportError as cause:
        if cause.name is not None and cause.name.split(".")[0] != module.split(".")[0]:
            raise  # the package is there, and lacks one itself
        name = module.split(".")[0]
        raise ParameterError(
            f"{purpose} needs {name}, which is not installed. Install it with pip install "
            f"{packages_of(extra)}."
        ) from cause


def packages_of(extra: str) -> str:
    """Return the packages of an extra, as pip takes them: this one is on no index.

    Examples
    --------
    >>> packages_of("sql")
    "'duckdb>=2'"
    """
    wanted = re.compile(rf"extra == ['\"]{extra}['\"]")
    found = (
        one.partition(";")[0].strip() for one in requires("vae-anomaly") or () if wanted.search(one)
    )
    return " ".join(f"'{one}'" for one in found)
