"""Fit of detectors to time series in files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from vae_anomaly._text import counted, listed
from vae_anomaly._types import Json, Parameter
from vae_anomaly.data.registry import MODALITIES, modality
from vae_anomaly.data.series.forms import read_series
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.pipeline.options import Options, check_labels, flag, given_options
from vae_anomaly.pipeline.series_labels import labels_of_column
from vae_anomaly.series.alarms import span
from vae_anomaly.series.detector import SeriesDetector
from vae_anomaly.series.file import save_series

__all__ = [
    "LABELS",
    "READING",
    "fit_series_file",
    "series_parameters",
]

READING = (
    *("time_column", "series_column", "metric_column", "value_column", "time_format"),
    *("timezone", "max_gap", "duplicates", "ignore"),
)
"""Options of `read_series` that a model file keeps."""

LABELS = ("label_column", "normal_label")
"""Options of `fit_series_file` that say which time steps are normal."""

NOT_FOR_SERIES = ("contamination", "latent_dim", "checkpoint", "holdout")
"""Options of `fit` that time series refuse, besides those that one modality alone has."""

Say = Callable[[str], object]


def fit_series_file(
    path: str,
    output: str,
    parameters: Mapping[str, Parameter],
    reading: Mapping[str, Json],
    say: Say,
    *,
    label_column: str | None = None,
    normal_label: Sequence[str] = (),
) -> SeriesDetector:
    """Fit a detector to the series in a file, and write the model file.

    Parameters
    ----------
    path : str
    output : str
        Model file.
    parameters : mapping
        Those of `SeriesDetector`.
    reading : mapping
        Options of `read_series`, kept for scoring.
    say : callable
        Receives lines to report.
    label_column : str, optional
        Column of labels, which is no channel: only normal time steps are learned.
    normal_label : sequence of str
        See `vae_anomaly.data.labels.anomalous`.

    Returns
    -------
    SeriesDetector

    Raises
    ------
    ParameterError, DataError
        As `read_series`, `labels_of_column` and `SeriesDetector.fit`.
    OutputError
        If the file cannot be written.
    """
    check_labels(label_column, normal_label)
    reading = {name: reading[name] for name in READING if name in reading}
    if "ignore" in reading:
        several = ",".join(reading["ignore"])
        reading["ignore"] = [name.strip() for name in several.split(",")]
    if label_column is not None:
        reading["ignore"] = [*reading.get("ignore", ()), label_column]
    data = read_series(path, **reading)
    for note in data.notes:
        say(note)
    if label_column is not None:
        labels = labels_of_column(path, label_column, data, normal_label)
        data = data.only([~flags for flags in labels.of_series], "labelled as an anomaly")
        say(labels.note)
    n_steps = sum(len(one.values) for one in data.series)
    say(
        f"fitting on {n_steps:,} time steps of {counted(len(data.channels), 'channel')}: "
        f"{listed(data.channels)}"
    )
    detector = SeriesDetector(**parameters).fit(data)
    save_series(detector, output, reading)
    say(f"window: {span(detector.model_.window, data.step)}")
    say(detector.promise_.words(data.step))
    return detector


def series_parameters(given: Options) -> dict[str, Parameter]:
    """Return the parameters of `SeriesDetector` for options of the command `fit`.

    Raises
    ------
    ParameterError
        If an option is given that is not for time series.
    """
    asked = [name for name in given_options(given) if name not in READING + LABELS]
    for owner in map(modality, MODALITIES):
        for name in filter(owner.options.__contains__, asked):
            raise ParameterError(f"{owner.options[name]} is for {owner.name}s, not for series.")
    for name in filter(NOT_FOR_SERIES.__contains__, asked):
        raise ParameterError(f"{flag(name)} is not for time series. Leave it out.")
    parameters = given_options(given, ("window", "causal", "max_steps", "random_state"))
    if given["false_alarms_per"] is not None:
        parameters["false_alarms"], parameters["per"] = given["false_alarms_per"]
    if given["architecture"] != "auto":
        parameters["architecture"] = given["architecture"]
    return parameters
