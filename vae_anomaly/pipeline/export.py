"""Export of a model file as an ONNX graph, and checks of exported graphs."""

from __future__ import annotations

from collections.abc import Iterator

from vae_anomaly.exceptions import ModelFileError
from vae_anomaly.model.file import restored
from vae_anomaly.model.onnx_check import check_graph
from vae_anomaly.model.onnx_export import export_onnx
from vae_anomaly.pipeline.options import Options
from vae_anomaly.pipeline.work import Done
from vae_anomaly.storage.container import UnopenedFile

__all__ = ["checked_lines", "export"]


def export(file: UnopenedFile, output: str, options: Options) -> Done:
    """Write a model file as an ONNX graph, and with --check run it beside the model.

    Raises
    ------
    ParameterError
        If there is no graph for the model, or a package is missing.
    ModelFileError
        If the file is not a sound model, or the graph computes something else.
    OutputError
        If the graph cannot be written.
    """
    model = restored(file)
    export_onnx(model, output, sha256=file.sha256)
    threshold = model.calibration.threshold
    notes = [f"threshold: {threshold:.6g} nats, above which is_anomaly is true"]
    notes += checked_lines(output) if options["check"] else []
    return Done([*notes, f"graph: {output}"], {"graph": output, "threshold": threshold})


def checked_lines(graph: str, engine: str = "onnxruntime") -> Iterator[str]:
    """Run the rows that travel with a graph in an engine, and yield a line for each group of them.

    Raises
    ------
    ParameterError
        If the engine is not installed.
    ModelFileError
        If it computes other scores than the model that was exported, or cannot run the graph.
    """
    groups = check_graph(graph, engine)
    yield from (group.describe() for group in groups)
    wrong = [group.group for group in groups if not group.agrees]
    if wrong:
        raise ModelFileError(
            f"{graph}: {engine} computes other scores than the exported model for rows of the "
            f"groups {', '.join(wrong)}. Run the graph in another engine, such as onnxruntime."
        )
    yield f"{engine} computes what was exported"
