"""Description of a model file as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vae_anomaly._text import counted, display_name, exact, listed
from vae_anomaly._types import JsonObject
from vae_anomaly.data.registry import modality
from vae_anomaly.model.file import describe
from vae_anomaly.names import SERIES
from vae_anomaly.series import is_series
from vae_anomaly.storage.container import open_container

__all__ = ["describe_model", "model_facts"]


def describe_model(path: str) -> str:
    """Return the description of a model file, in lines of text.

    Raises
    ------
    ModelFileError
        If the file is not a sound model.
    OSError
        If it is missing or cannot be read.
    """
    facts = model_facts(path)
    settings = ", ".join(f"{name}={value}" for name, value in sorted(facts["parameters"].items()))
    made_by = ", ".join(f"{name} {version}" for name, version in facts["created_with"].items())
    lines = _series_lines if facts["modality"] == SERIES else _record_lines
    return "\n".join(
        [
            f"file         {display_name(Path(path))}",
            f"sha256       {facts['sha256']}",
            f"written by   {made_by}",
            f"settings     {settings}",
            f"weights      {facts['weights']:,}",
            *lines(facts),
        ]
    )


def model_facts(path: str) -> JsonObject:
    """Return the description of a model file, in plain values; see `describe_model`."""
    file = open_container(path)
    if is_series(file):
        from vae_anomaly.series.file import describe_series

        return describe_series(file)
    return describe(file)


def _record_lines(facts: JsonObject) -> Sequence[str]:
    """Return lines about a model of rows or other records."""
    calibration, networks = facts["calibration_rows"], facts["networks"]
    data = modality(facts["modality"])
    origin = f", {counted(calibration, f'calibration {data.unit}')}" if calibration else ""
    lines = [
        f"training     {facts['steps']:,} steps, {facts['loss']}",
        f"threshold    {exact(facts['threshold'])} nats{origin}",
        *data.describe(facts),
    ]
    if networks is not None:
        custom = (
            f"networks     custom Keras models, for load(path, networks=...) in Python; "
            f"{networks['latent']:,} latent dimensions"
        )
        lines.insert(0, custom)
    return lines


def _series_lines(facts: JsonObject) -> Sequence[str]:
    """Return lines about a model of time series."""
    constant = facts["constant_channels"]
    reading = ", ".join(f"{name}={value}" for name, value in facts["reading"].items())
    step = "none" if facts["step"] is None else f"{facts['step'] / 1e9:g} s"
    return [
        f"training     {facts['steps']:,} steps, {facts['loss']}",
        f"series       {listed(facts['channels'])}",
        *([f"constant     {listed(constant)}"] if constant else []),
        f"time step    {step}; windows of {facts['window']:,} steps",
        *([f"read with    {reading}"] if reading else []),
        f"alarms       {facts['promise']}",
    ]
