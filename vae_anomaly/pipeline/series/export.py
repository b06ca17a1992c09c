"""Export of a model file of time series as an ONNX graph."""

from __future__ import annotations

from vae_anomaly._text import counted
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.pipeline.options import Options
from vae_anomaly.pipeline.work import Done
from vae_anomaly.series.file import load_series
from vae_anomaly.series.onnx_export import export_series_onnx
from vae_anomaly.storage.container import UnopenedFile

__all__ = ["export"]


def export(file: UnopenedFile, output: str, options: Options) -> Done:
    """Write a model file as an ONNX graph.

    Raises
    ------
    ParameterError
        If there is no graph for the model, an option is not for it, or a package is missing.
    ModelFileError
        If the file is not a sound model.
    OutputError
        If the graph cannot be written.
    """
    if options["check"]:
        raise ParameterError(f"--check is not for time series, as in {file.name}. Leave it out.")
    detector = load_series(file).detector
    export_series_onnx(detector, output, sha256=file.sha256)
    window, channels = detector.model_.window, counted(len(detector.channels_), "channel")
    notes = (
        f"the graph takes windows of {window:,} time steps of {channels}, without missing values",
        "threshold: 1, above which is_anomaly is true",
        f"graph: {output}",
    )
    return Done(notes, {"graph": output, "threshold": 1.0})
