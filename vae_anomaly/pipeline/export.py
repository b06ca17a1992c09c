"""Export of a model file as an ONNX graph, and checks of exported graphs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from vae_anomaly._text import counted, exact
from vae_anomaly.exceptions import ModelFileError, ParameterError
from vae_anomaly.model.file import restored
from vae_anomaly.model.onnx_check import check_graph
from vae_anomaly.model.onnx_export import export_onnx
from vae_anomaly.pipeline.paths import check_output
from vae_anomaly.series import is_series
from vae_anomaly.series.file import load_series
from vae_anomaly.series.onnx_export import export_series_onnx
from vae_anomaly.storage.container import UnopenedFile, open_container

__all__ = ["ExportResult", "checked_lines", "export_file"]


class ExportResult(NamedTuple):
    """Facts about a graph that was written.

    Attributes
    ----------
    graph : str
        Path of the graph.
    threshold : float
    notes : sequence of str
        Lines to report.
    """

    graph: str
    threshold: float
    notes: Sequence[str]


def export_file(model: str, output: str, *, check: bool = False) -> ExportResult:
    """Write a model file as an ONNX graph.

    Parameters
    ----------
    model, output : str
    check : bool, default=False
        Run the graph beside the model; see `checked_lines`.

    Returns
    -------
    ExportResult

    Raises
    ------
    ParameterError
        If there is no graph for the model, or a package is missing.
    ModelFileError
        If the file is not a sound model, or the graph computes something else.
    OutputError
        If the graph cannot be written.
    """
    check_output(output, model)
    file = open_container(model)
    if is_series(file):
        return _export_series(file, output, check=check)
    fitted = restored(file)
    export_onnx(fitted, output, sha256=file.sha256)
    threshold = fitted.calibration.threshold
    notes = [f"threshold: {exact(threshold)} nats, above which is_anomaly is true"]
    notes += checked_lines(output) if check else []
    return ExportResult(output, threshold, [*notes, f"graph: {output}"])


def _export_series(file: UnopenedFile, output: str, *, check: bool) -> ExportResult:
    if check:
        raise ParameterError(f"--check is not for time series, as in {file.name}. Leave it out.")
    detector = load_series(file).detector
    export_series_onnx(detector, output, sha256=file.sha256)
    window, channels = detector.model_.window, counted(len(detector.channels_), "channel")
    notes = (
        f"the graph takes windows of {window:,} time steps of {channels}, without missing values",
        "threshold: 1, above which is_anomaly is true",
        f"graph: {output}",
    )
    return ExportResult(output, 1.0, notes)


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
