"""Checks of encoder settings from a model file."""

from __future__ import annotations

from collections.abc import Mapping

from vae_anomaly._types import Json
from vae_anomaly.data.base import Outline
from vae_anomaly.stats.likelihoods import LIKELIHOODS, Block

__all__ = ["checked_outline"]

COMMON = {"likelihood", "n_features", "n_inputs"}


def checked_outline(settings: Mapping[str, Json], further: set[str]) -> Outline:
    """Check the settings that encoders with one likelihood share, and the keys of all.

    Returns
    -------
    Outline
        With one block: a target for each input.

    Raises
    ------
    ValueError
        If they are not sound.
    """
    if set(settings) != COMMON | further:
        raise ValueError("the settings of its encoder are not those of its modality")
    if not isinstance(settings["likelihood"], str) or settings["likelihood"] not in LIKELIHOODS:
        raise ValueError(f"likelihood must be one of {', '.join(LIKELIHOODS)}")
    for key in ("n_features", "n_inputs"):
        if type(settings[key]) is not int or settings[key] < 1:
            raise ValueError(f"{key} must be an int >= 1")
    if settings["n_inputs"] > settings["n_features"]:
        raise ValueError("more columns vary than there are")
    if settings.get("names") is not None:
        _check_names(settings["names"], settings["n_features"])
    block = Block(settings["likelihood"], settings["n_inputs"])
    return Outline(settings["n_features"], settings["n_inputs"], (block,))


def _check_names(names: Json, n: int) -> None:
    """Check that names are n different texts."""
    if not isinstance(names, list) or len(names) != n or not all(map(_is_text, names)):
        raise ValueError(f"names must be {n} texts")
    if len(set(names)) != n:
        raise ValueError("two columns share a name")


def _is_text(value: object) -> bool:
    """Return whether a value is text that UTF-8 can encode."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
