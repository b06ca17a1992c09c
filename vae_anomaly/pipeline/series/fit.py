"""Fit of a detector to time series in a file."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from typing import IO

from vae_anomaly._text import counted, listed
from vae_anomaly._types import Json, Parameter
from vae_anomaly.data.registry import MODALITIES, modality
from vae_anomaly.data.series.blocks import BLOCK_BYTES
from vae_anomaly.data.series.counters import counter_notes
from vae_anomaly.data.series.forms import read_series
from vae_anomaly.data.series.parts import WholeNeeded, parts_of_file
from vae_anomaly.data.series.segments import StoredSet, in_memory, stored
from vae_anomaly.data.series.steps import duration
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.pipeline.options import Options, check_labels, flag, given_options
from vae_anomaly.pipeline.paths import check_output
from vae_anomaly.pipeline.series.labels import labels_of_column
from vae_anomaly.pipeline.series.reading import check_file
from vae_anomaly.pipeline.startup import check_address_space
from vae_anomaly.pipeline.work import Done, Work
from vae_anomaly.series.alarms import span
from vae_anomaly.series.detector import SeriesDetector
from vae_anomaly.series.file import save
from vae_anomaly.training.history import History

__all__ = ["fit", "training_series"]

READING = (
    *("time_column", "series_column", "metric_column", "value_column", "time_format"),
    *("timezone", "max_gap", "duplicates", "ignore", "missing_values"),
)
"""Options of `read_series` that a model file keeps, where the last one is called `missing`."""

STEP = "step"
"""The same, but a model has a step of its own."""

LABELS = ("label_column", "normal_label")
"""Options of `fit` that say which time steps are normal."""

NOT_FOR_SERIES = ("contamination", "latent_dim", "checkpoint", "holdout")
"""Options of `fit` that time series refuse, besides those that one modality alone has."""


def fit(path: str, output: str, options: Options, work: Work) -> Done:
    """Fit a detector to the series in a file, and write the model file.

    Of series with labels only normal time steps are learned. Without labels, memory does not grow
    with a large file; see `training_series`.

    Parameters
    ----------
    path : str
    output : str
        Model file.
    options : mapping
        Those of the command `fit`.
    work : Work

    Returns
    -------
    Done

    Raises
    ------
    ParameterError, DataError
        As `read_series`, `labels_of_column` and `SeriesDetector.fit`; and if an option is given
        that is not for time series.
    OutputError
        If the file cannot be written.
    """
    check_file(path)
    check_output(output, path)
    check_address_space()
    parameters = _parameters(options)
    label_column, normal_label = options["label_column"], options["normal_label"]
    check_labels(label_column, normal_label)
    work.start()
    reading = given_options(options, (*READING, STEP))
    if STEP in reading:
        reading[STEP] = duration(reading[STEP], STEP)
    if "ignore" in reading:
        several = ",".join(reading["ignore"])
        reading["ignore"] = [name.strip() for name in several.split(",")]
    if "missing_values" in reading:
        reading["missing"] = list(reading.pop("missing_values"))
    if label_column is not None:
        reading["ignore"] = [*reading.get("ignore", ()), label_column]
    with tempfile.TemporaryFile(prefix="vae-anomaly-") as file:
        data = training_series(
            path, reading, file, label_column=label_column, normal_label=normal_label
        )
        work.say(*data.notes, *counter_notes(data.segments, data.channels))
        work.say(
            f"fitting on {data.n_steps:,} time steps of {counted(len(data.channels), 'channel')}: "
            f"{listed(data.channels)}"
        )
        detector = SeriesDetector(**parameters)
        with work.progress("training", detector.max_steps) as update:

            def after_interval(history: History) -> None:
                update(history.step[-1], f"loss {history.loss[-1]:.4g} nats")

            detector.set_params(callback=after_interval).fit(data)
    save(detector, output, {name: reading[name] for name in reading if name != STEP})
    notes = [
        f"window: {span(detector.model_.window, data.step)}",
        detector.promise_.words(data.step),
        f"model: {output}",
    ]
    return Done(notes, {"model": output})


def training_series(
    path: str,
    reading: Mapping[str, Json],
    file: IO[bytes],
    *,
    label_column: str | None = None,
    normal_label: Sequence[str] = (),
    block_bytes: int = BLOCK_BYTES,
) -> StoredSet:
    """Read series to learn from.

    The time steps of a large file whose rows are in order of time wait in a temporary file. Others,
    and those with labels, are read as a whole.

    Parameters
    ----------
    path : str
    reading : mapping
        Options of `read_series`.
    file : binary file
        Empty, and open as long as the result is used.
    label_column : str, optional
        Column of labels: only normal time steps are taken.
    normal_label : sequence of str
        See `vae_anomaly.data.labels.anomalous`.
    block_bytes : int, optional
        Bytes that are read at a time, about.

    Raises
    ------
    DataError
        As `read_series` and `labels_of_column`.
    """
    reason = []
    if label_column is None:
        try:
            parts = parts_of_file(path, block_bytes=block_bytes, **reading)
            if parts is not None:
                return stored(parts, file)
        except WholeNeeded as found:
            reason.append(f"The file is read as a whole: {found}.")
    data = read_series(path, **reading)
    notes = (*reason, *data.notes)
    if label_column is not None:
        labels = labels_of_column(path, label_column, data, normal_label)
        data = data.only([~flags for flags in labels.of_series], "labelled as an anomaly")
        notes = (*notes, labels.note)
    return in_memory(data)._replace(notes=notes)


def _parameters(given: Options) -> dict[str, Parameter]:
    """Return the parameters of `SeriesDetector` for options of the command `fit`.

    Raises
    ------
    ParameterError
        If an option is given that is not for time series.
    """
    asked = [name for name in given_options(given) if name not in (*READING, STEP, *LABELS)]
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
