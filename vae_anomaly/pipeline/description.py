"""Description of a model file as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vae_anomaly._text import counted, display_name
from vae_anomaly._types import Json, JsonObject
from vae_anomaly.data.registry import modality
from vae_anomaly.detectors import type_named

__all__ = ["description", "record_lines"]


def description(path: str, facts: Mapping[str, Json]) -> str:
    """Return lines of text about a model file, from what `vae_anomaly.inspect` returns."""
    settings = ", ".join(f"{name}={value}" for name, value in sorted(facts["parameters"].items()))
    made_by = ", ".join(f"{name} {version}" for name, version in facts["created_with"].items())
    return "\n".join(
        [
            f"file         {display_name(Path(path))}",
            f"sha256       {facts['sha256']}",
            f"written by   {made_by}",
            f"settings     {settings}",
            f"weights      {facts['weights']:,}",
            *type_named(facts["modality"]).function("lines")(facts),
        ]
    )


def record_lines(facts: JsonObject) -> Sequence[str]:
    """Return lines about a model of rows or other records."""
    calibration, networks = facts["calibration_rows"], facts["networks"]
    data = modality(facts["modality"])
    origin = f", {counted(calibration, f'calibration {data.unit}')}" if calibration else ""
    lines = [
        f"training     {facts['steps']:,} steps, {facts['loss']}",
        f"threshold    {facts['threshold']:.6g} nats{origin}",
        *data.describe(facts),
    ]
    if networks is not None:
        custom = (
            f"networks     custom Keras models, for load(path, networks=...) in Python; "
            f"{networks['latent']:,} latent dimensions"
        )
        lines.insert(0, custom)
    return lines
