"""`vae-anomaly fit`."""

from __future__ import annotations

from collections.abc import Mapping

import click

from vae_anomaly._text import counted, exact
from vae_anomaly._types import Parameter
from vae_anomaly.cli.console import Console
from vae_anomaly.cli.errors import Exit, say
from vae_anomaly.cli.options import FIT_SOURCE, SERIES, given_options
from vae_anomaly.data.registry import check_options, modality_of
from vae_anomaly.pipeline.fit import NOTICE, FitResult, fit_file, read_training_data
from vae_anomaly.pipeline.limits import check_address_space
from vae_anomaly.pipeline.messages import threshold_origin
from vae_anomaly.pipeline.paths import check_output
from vae_anomaly.pipeline.series import fit_series_file, series_parameters
from vae_anomaly.training.checkpoint import Checkpoint

__all__ = ["run"]


def run(
    console: Console,
    data: str,
    output: str,
    *,
    keep_partial: bool = False,
    memory_limit: int | None = None,
    false_alarm_rate: float | None = None,
    holdout: float | None = None,
    score: str = "auto",
    members: int | None = None,
    **given: Parameter,
) -> Exit:
    """Fit a detector to DATA, and write the model."""
    series = given_options(given, SERIES)
    if series:
        return _fit_series(console, data, output, series, given | {"holdout": holdout})
    given = {name: value for name, value in given.items() if name not in SERIES}
    if given["contamination"] is not None and false_alarm_rate is not None:
        raise click.UsageError(
            "--contamination and --false-alarm-rate both choose the threshold. Give one of them."
        )
    if given["normal_label"] and given["label_column"] is None:
        raise click.UsageError("--normal-label needs --label-column.")
    modality = modality_of(data)
    asked = given_options(given | {"memory_limit": memory_limit})
    check_options(asked, modality.name, f"{data} holds")
    options = given_options(given, FIT_SOURCE)
    parameters = {name: given[name] for name in given if name not in FIT_SOURCE}
    parameters |= {"score_type": score, "n_members": members, "missing_values": given["missing"]}
    parameters["features"] = given["features"]
    types = given["column_types"] or {}
    parameters["column_types"] = {n: t for n, t in types.items() if t != "ignore"} or None
    if false_alarm_rate is not None:
        parameters["false_alarm_rate"] = false_alarm_rate
    check_output(output, data)
    check_address_space()  # before the data: with so little, libraries that read it hang
    with modality.open(data, fitting=True, **options) as source:
        console.say(*source.notes)
        training = read_training_data(
            source,
            parameters,
            memory_limit=memory_limit,
            holdout=holdout,
            progress=console.progress,
        )
    console.say(*training.notes())
    console.start_tensorflow()
    unit = source.unit
    console.say(f"fitting on {counted(len(training.records), unit)} of {source.description}")
    fitted = fit_file(
        parameters,
        training,
        output,
        keep_partial=keep_partial,
        notice="" if console.quiet else NOTICE,
        progress=console.progress,
        say=console.say,
    )
    if fitted.interrupted:
        _say_interrupted(fitted, given["checkpoint"])
    model, history = fitted.model, fitted.model.history
    code = console.finish(
        source,
        f"trained for {history.step[-1]:,} steps in {fitted.seconds:.1f} s, "
        f"{history.describe(unit)}",
        *source.fit_notes(model.encoder),
        f"threshold: {exact(model.calibration.threshold)} nats, {threshold_origin(model)}",
        f"model: {output}",
    )
    return Exit.INTERRUPTED if fitted.interrupted else code


def _fit_series(
    console: Console,
    data: str,
    output: str,
    series: Mapping[str, Parameter],
    given: Mapping[str, Parameter],
) -> Exit:
    """Fit a detector of time series."""
    check_output(output, data)
    check_address_space()
    console.start_tensorflow()
    reading = {**series, **given_options(given, ["ignore"])}
    fit_series_file(data, output, series_parameters(series, given), reading, console.say)
    console.say(f"model: {output}")
    return Exit.DONE


def _say_interrupted(fitted: FitResult, checkpoint: Checkpoint | None) -> None:
    """Report the early end of training, also to those who asked for silence."""
    steps, max_steps = fitted.model.history.step[-1], fitted.model.parameters["max_steps"]
    say(f"interrupted after {steps:,} of {max_steps:,} steps: kept the best weights so far")
    if checkpoint is not None:
        say(f"the same command goes on from {checkpoint.path}")
