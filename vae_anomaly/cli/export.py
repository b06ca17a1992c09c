"""`vae-anomaly export`."""

from __future__ import annotations

from vae_anomaly._text import exact
from vae_anomaly.cli.console import Console
from vae_anomaly.model.file import load_model
from vae_anomaly.model.onnx_export import export_onnx
from vae_anomaly.pipeline.paths import check_output

__all__ = ["run"]


def run(console: Console, model: str, output: str) -> None:
    """Write MODEL as an ONNX graph."""
    check_output(output, model)
    fitted = load_model(model)
    export_onnx(fitted, output)
    threshold = fitted.calibration.threshold
    console.say(f"threshold: {exact(threshold)} nats, in the metadata of the graph")
    console.say(f"graph: {output}")
    console.facts.update(graph=output, threshold=threshold)
