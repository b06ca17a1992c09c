"""`vae-anomaly inspect`. Loaded when the command runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vae_anomaly._text import MAX_VALUE_LENGTH, display_name, shown
from vae_anomaly.data.image.schema import ImageSchema
from vae_anomaly.model.file import inspect

__all__ = ["describe_model"]


def _custom_networks(networks: dict[str, Any] | None) -> Iterator[str]:
    """Describe networks of the user's own, which only Python can give back."""
    if networks is not None:
        yield (
            f"networks     Keras models of the user's own, for load(path, networks=...) in Python; "
            f"{networks['latent']:,} latent dimensions"
        )


def describe_model(path: str) -> str:
    """Describe a model file in lines of text.

    Parameters
    ----------
    path : str

    Returns
    -------
    str
    """
    facts = inspect(path)
    columns = facts["columns"]
    settings = ", ".join(f"{name}={value}" for name, value in sorted(facts["parameters"].items()))
    made_by = ", ".join(f"{name} {version}" for name, version in facts["created_with"].items())
    calibration = facts["calibration_rows"]
    origin = f", from {calibration:,} rows held out of training" if calibration else ""
    lines = [
        f"file         {display_name(Path(path))}",
        f"sha256       {facts['sha256']}",
        f"written by   {made_by}",
        f"settings     {settings}",
        f"weights      {facts['weights']:,}",
        *_custom_networks(facts["networks"]),
        f"training     {facts['steps']:,} steps, {facts['loss']}",
        f"threshold    {facts['threshold']:.6g} nats{origin}",
    ]
    if facts["image_shape"] is not None:
        height, width, channels = facts["image_shape"]
        schema = facts["images"]
        images = f"{height} x {width} x {channels}" if schema is None else ImageSchema(**schema)
        return "\n".join([*lines, f"images     {images}"])
    lines += [f"columns      {len(columns)}", ""]
    cells = [("name", "mean", "deviation", "low", "high", "")]
    for column in columns:
        mean, deviation, low, high = (f"{column[key]:.6g}" for key in cells[0][1:5])
        name = column["name"]
        if not name.isprintable() or len(name) > MAX_VALUE_LENGTH:
            name = shown(name)
        note = "constant" if column["constant"] else ""
        cells.append((name, mean, deviation, low, high, note))
    widths = [max(map(len, values)) for values in zip(*cells, strict=True)]
    for first, *rest in cells:
        text = "  ".join(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        lines.append(f"{first.ljust(widths[0])}  {text}".rstrip())
    return "\n".join(lines)
