"""`vae-anomaly export`. Loaded when the command runs."""

from __future__ import annotations

from vae_anomaly.cli.checks import check_output
from vae_anomaly.cli.console import Console
from vae_anomaly.model.onnx_export import export_onnx
from vae_anomaly.persistence import load

__all__ = ["export_model"]


def export_model(console: Console, model: str, output: str) -> None:
    """Write the detector of a model file as an ONNX graph."""
    check_output(output, model)
    detector = load(model)
    export_onnx(detector, output)
    console.say(f"threshold: {-detector.offset_:.6g} nats, in the metadata of the graph")
    console.say(f"graph: {output}")
