"""Registry of modalities; each is imported when it is needed."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from pathlib import Path
from typing import cast

from vae_anomaly._text import display_name
from vae_anomaly._types import Json
from vae_anomaly.data.base import Encoder, Modality, Records, Source
from vae_anomaly.data.columnar import Columnar
from vae_anomaly.data.patterns import is_pattern
from vae_anomaly.exceptions import DataError, ParameterError
from vae_anomaly.storage.atomic import check_path

__all__ = [
    "DEFAULT",
    "MODALITIES",
    "check_options",
    "columnar",
    "modality",
    "modality_of",
    "modality_of_array",
    "open_source",
]

MODALITIES = {
    "table": "vae_anomaly.data.table.modality",
    "image": "vae_anomaly.data.image.modality",
    "patches": "vae_anomaly.data.image.patch_modality",
}
"""Name -> module with `MODALITY`. Names are stored in model files."""

DEFAULT = "table"
"""Modality of what no other one accepts, and of standard input."""


def modality(name: str) -> Modality:
    """Return a modality by name.

    Raises
    ------
    KeyError
        If there is none of this name.
    """
    found: Modality = import_module(MODALITIES[name]).MODALITY
    return found


def _others() -> list[Modality]:
    return [modality(name) for name in MODALITIES if name != DEFAULT]


def modality_of(path: str) -> Modality:
    """Return the modality of the data that a path holds; the content decides.

    Raises
    ------
    OSError
        If no file can have such a path, or it cannot be read.
    """
    check_path(path)
    if not Path(path).exists() and modality(DEFAULT).accepts(path):
        return modality(DEFAULT)
    return next((one for one in _others() if one.accepts(path)), modality(DEFAULT))


def modality_of_array(X: Records) -> Modality:
    """Return the modality of an array-like in memory."""
    return next((one for one in _others() if one.accepts_array(X)), modality(DEFAULT))


def open_source(path: str, encoder: Encoder | None = None, **options: Json) -> Source:
    """Open the data that a path holds: what an encoder was fitted on, or what the content says.

    Parameters
    ----------
    path : str
        "-" is standard input.
    encoder : Encoder, optional
    **options
        See `Modality.open`.

    Raises
    ------
    DataError
        If the path holds no sound data, or those of another modality than the encoder's.
    OSError
        If it cannot be read.
    """
    if encoder is None:
        return modality_of(path).open(path, **options)
    check_path(path)
    fitted = modality(encoder.modality)
    if encoder.modality != DEFAULT and not fitted.accepts(path):
        _check_modality(path, fitted)
    try:
        return fitted.open(path, encoder, **options)
    except (DataError, OSError):  # the content may be that of several modalities
        _check_modality(path, fitted)
        raise


COLUMNS = {"table": "vae_anomaly.data.table.columnar"}
"""Modality whose records are columns of Arrow -> module that fulfils `Columnar`."""


def columnar(encoder: Encoder) -> Columnar:
    """Return what opens columns of Arrow in memory, and divides files of them for workers.

    Raises
    ------
    ParameterError
        If the records of the modality are no columns.
    """
    if encoder.modality not in COLUMNS:
        raise ParameterError(
            f"The model was fitted on {modality(encoder.modality).contents}, which are no columns "
            f"of Arrow. Score files with it on one machine, or arrays in Python."
        )
    return cast("Columnar", import_module(COLUMNS[encoder.modality]))


def _check_modality(path: str, fitted: Modality) -> None:
    """Raise if a path holds data of another modality than the one that a model was fitted on."""
    found = modality_of(path)
    holds_other = found is not modality(DEFAULT) and is_pattern(path)
    if found is fitted or not (path == "-" or Path(path).exists() or holds_other):
        return
    name = "standard input" if path == "-" else display_name(Path(path))
    raise DataError(
        f"{name} holds {found.contents}, but the model was fitted on {fitted.contents}. Give it "
        f"{fitted.contents}, or fit a model on {found.contents}."
    )


def check_options(given: Collection[str], chosen: str, reason: str) -> None:
    """Raise if options are given that only other modalities have; see `Modality.options`.

    Parameters
    ----------
    given : collection of str
        Keywords of the options.
    chosen : str
        Name of the modality.
    reason : str
        Why it is that one: "t.csv holds", or "m.vae was fitted on".

    Raises
    ------
    ParameterError
    """
    own = modality(chosen)
    foreign = [name for name in given if name not in own.options]
    for owner in map(modality, MODALITIES) if foreign else ():
        for name in filter(owner.options.__contains__, foreign):
            raise ParameterError(
                f"{owner.options[name]} is for {owner.name}s; {reason} {own.contents}."
            )
