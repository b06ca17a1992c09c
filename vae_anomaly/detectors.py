"""Registry of detectors: the functions for their files, and for what commands do with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import NamedTuple

from vae_anomaly._types import Json
from vae_anomaly.names import SERIES
from vae_anomaly.storage.container import UnopenedFile

__all__ = ["DETECTORS", "RECORDS", "DetectorType", "function_of", "type_named", "type_of"]


class DetectorType(NamedTuple):
    """A type of detector, with model files of its own.

    Its functions, which are imported when they are needed::

        save(detector, path) -> SHA-256
        load(file, networks, features) -> detector
        describe(file) -> dict of plain values
        lines(facts) -> lines of text about what `describe` returns

        fit(path, output, options, work) -> Done
        score(file, path, output, options, work) -> Done
        recalibrate(file, path or None, output, options, work) -> Done
        evaluate(file, path, folder, options, work) -> Done
        export(file, output, options) -> Done

    `file` is an `UnopenedFile`, and `options` are those of the command, see
    `pipeline.options.Options`; `Done` and `work` are those of `pipeline.work`.

    Attributes
    ----------
    contents : str
        What the detectors are fitted on, in messages.
    functions : mapping of str to str
        Name of a function -> where it is, as in "vae_anomaly.series.file:load".
    options : tuple of str
        Options of commands that are for this type alone; one of them makes `fit` choose it.
    """

    contents: str
    functions: Mapping[str, str]
    options: tuple[str, ...] = ()

    def function(self, name: str) -> Callable[..., Json]:
        """Return one of the functions."""
        module, _, attribute = self.functions[name].partition(":")
        found: Callable[..., Json] = getattr(import_module(module), attribute)
        return found


RECORDS = DetectorType(
    "records",
    {
        "save": "vae_anomaly.estimator.files:save",
        "load": "vae_anomaly.estimator.files:load",
        "describe": "vae_anomaly.model.file:describe",
        "lines": "vae_anomaly.pipeline.description:record_lines",
        "fit": "vae_anomaly.jobs.fit:fit",
        "score": "vae_anomaly.jobs.score:score",
        "recalibrate": "vae_anomaly.jobs.recalibrate:recalibrate",
        "evaluate": "vae_anomaly.report.evaluation:evaluate",
        "export": "vae_anomaly.pipeline.export:export",
    },
)
"""`VAEDetector`, whatever the modality in `data.registry`."""

DETECTORS = {
    SERIES: DetectorType(
        "time series",
        {
            "save": "vae_anomaly.series.file:save",
            "load": "vae_anomaly.series.file:load",
            "describe": "vae_anomaly.series.file:describe",
            "lines": "vae_anomaly.series.file:lines",
            "fit": "vae_anomaly.pipeline.series.fit:fit",
            "score": "vae_anomaly.pipeline.series.score:score",
            "recalibrate": "vae_anomaly.pipeline.series.score:recalibrate",
            "evaluate": "vae_anomaly.report.series.page:evaluate",
            "export": "vae_anomaly.pipeline.series.export:export",
        },
        (
            *("time_column", "series_column", "metric_column", "value_column", "time_format"),
            *("timezone", "max_gap", "duplicates", "window", "causal", "false_alarms_per"),
            *("step", "events", "labels", "missing"),
        ),
    ),
}
"""The modality that a model file names -> the type of its detector; of all others `RECORDS`."""


def type_named(modality: Json) -> DetectorType:
    """Return the type of detector for a modality from a file, which need not be a name."""
    return DETECTORS.get(modality, RECORDS) if isinstance(modality, str) else RECORDS


def type_of(file: UnopenedFile) -> DetectorType:
    """Return the type of the detector that a file says it holds."""
    return type_named(file.config.get("modality") if isinstance(file.config, dict) else None)


def function_of(file: UnopenedFile, name: str) -> Callable[..., Json]:
    """Return a function of the type of the detector in a file."""
    return type_of(file).function(name)
