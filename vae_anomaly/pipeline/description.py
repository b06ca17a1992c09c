"""Description of a model file as text."""

from __future__ import annotations

from pathlib import Path

from vae_anomaly._text import counted, display_name, exact
from vae_anomaly.data.registry import modality
from vae_anomaly.model.file import inspect

__all__ = ["describe_model"]


def describe_model(path: str) -> str:
    """Return the description of a model file, in lines of text.

    Raises
    ------
    ModelFileError
        If the file is not a sound model.
    OSError
        If it is missing or cannot be read.
    """
    facts = inspect(path)
    settings = ", ".join(f"{name}={value}" for name, value in sorted(facts["parameters"].items()))
    made_by = ", ".join(f"{name} {version}" for name, version in facts["created_with"].items())
    calibration, networks = facts["calibration_rows"], facts["networks"]
    data = modality(facts["modality"])
    origin = f", {counted(calibration, f'calibration {data.unit}')}" if calibration else ""
    custom = ""
    if networks is not None:
        custom = (
            f"networks     custom Keras models, for load(path, networks=...) in Python; "
            f"{networks['latent']:,} latent dimensions\n"
        )
    return "\n".join(
        [
            f"file         {display_name(Path(path))}",
            f"sha256       {facts['sha256']}",
            f"written by   {made_by}",
            f"settings     {settings}",
            f"weights      {facts['weights']:,}",
            f"{custom}training     {facts['steps']:,} steps, {facts['loss']}",
            f"threshold    {exact(facts['threshold'])} nats{origin}",
            *data.describe(facts),
        ]
    )
