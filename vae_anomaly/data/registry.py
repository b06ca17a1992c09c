"""Registry of modalities; each is imported when it is needed."""

from __future__ import annotations

from importlib import import_module

from vae_anomaly._types import Json
from vae_anomaly.data.base import Encoder, Modality, Records, Source
from vae_anomaly.exceptions import DataError

__all__ = [
    "DEFAULT",
    "MODALITIES",
    "check_modality",
    "modality",
    "modality_of",
    "modality_of_array",
    "open_source",
]

MODALITIES = {
    "table": "vae_anomaly.data.table.modality",
    "image": "vae_anomaly.data.image.modality",
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
    """Return the modality of the data that a path holds; the content decides."""
    if path == "-":
        return modality(DEFAULT)
    return next((one for one in _others() if one.accepts(path)), modality(DEFAULT))


def modality_of_array(X: Records) -> Modality:
    """Return the modality of an array-like in memory."""
    return next((one for one in _others() if one.accepts_array(X)), modality(DEFAULT))


def open_source(path: str, encoder: Encoder | None = None, **options: Json) -> Source:
    """Open the data that a path holds; see `Modality.open`."""
    return modality_of(path).open(path, encoder, **options)


def check_modality(name: str, found: Modality, encoder: Encoder | None) -> None:
    """Raise if a source, called `name` in messages, is not of the modality of an encoder.

    Raises
    ------
    DataError
    """
    if encoder is None or encoder.modality == found.name:
        return
    fitted = modality(encoder.modality).contents
    raise DataError(
        f"{name} holds {found.contents}, but the model was fitted on {fitted}. Give it {fitted}, "
        f"or fit a model on {found.contents}."
    )
