"""`vae-anomaly export`."""

from __future__ import annotations

from vae_anomaly.cli.console import Console
from vae_anomaly.pipeline.export import export_file

__all__ = ["run"]


def run(console: Console, model: str, output: str, check: bool = False) -> None:
    """Write MODEL as an ONNX graph."""
    done = export_file(model, output, check=check)
    console.say(*done.notes)
    console.facts.update(graph=done.graph, threshold=done.threshold)
