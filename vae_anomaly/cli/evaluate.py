"""`vae-anomaly evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import click

from vae_anomaly._text import counted
from vae_anomaly._types import Parameter
from vae_anomaly.cli.console import Console
from vae_anomaly.cli.errors import Exit
from vae_anomaly.cli.options import CRITERIA, EVALUATE_SOURCE, flag, given_options
from vae_anomaly.data.base import Modality, Source
from vae_anomaly.data.registry import check_options, modality, open_source
from vae_anomaly.model.file import restored
from vae_anomaly.model.model import Model
from vae_anomaly.pipeline.evaluate import EvaluationData, fit_comparison, read_evaluation_data
from vae_anomaly.pipeline.fit import read_training_data
from vae_anomaly.pipeline.messages import skipped_records
from vae_anomaly.pipeline.paths import check_report_folder
from vae_anomaly.report import Criteria, build_report, context_for, write_report
from vae_anomaly.series import is_series
from vae_anomaly.storage.container import UnopenedFile, open_container

__all__ = ["run"]


def run(
    console: Console,
    model: str,
    data: str,
    output: str,
    *,
    compare_beta: float | None = None,
    training: str | None = None,
    **given: Parameter,
) -> Exit:
    """Report how MODEL does on DATA."""
    asked = given | {"compare_beta": compare_beta, "training": training}
    file = open_container(model)
    if is_series(file):
        return _evaluate_series(console, file, data, output, asked)
    if given.pop("labels"):
        raise click.UsageError(f"--labels is for time series; {model} was fitted on other data.")
    fitted = restored(file)
    fitted_on = modality(fitted.encoder.modality)
    check_options(given_options(asked), fitted_on.name, f"{model} was fitted on")
    _check_options(fitted_on, asked)
    check_report_folder(output, fitted_on.unit, model, data, training)
    if compare_beta == fitted.beta:
        raise click.UsageError(
            f"{model} itself was fitted with beta {compare_beta:g}: there would be nothing to "
            f"compare. Choose another --compare-beta."
        )
    strict = given_options(given, ["strict", "follow_links"])
    options = given_options(given, EVALUATE_SOURCE)
    with ExitStack() as stack:
        learned = other = None
        if training is not None:
            learned = open_source(training, fitted.encoder, fitting=True, **strict)
            stack.enter_context(learned)
        source = open_source(data, fitted.encoder, labelled=True, **options)
        stack.enter_context(source)
        console.say(*source.notes)
        found = read_evaluation_data(
            source, fitted, keep_learned=given["keep_learned"], progress=console.progress
        )
        console.say(*found.notes)
        if learned is not None and compare_beta is not None:
            other = _comparison_model(console, fitted, learned, compare_beta)
    shown = {name: given[name] for name in ("title", "top")}
    name = found.name_after(Path(source.name).resolve().name, source.unit)
    shown |= {"model_name": Path(model).name, "data_name": name}
    shown["criteria"] = Criteria(**{name: given[name] for name in CRITERIA})
    _write(console, fitted, found, other, output, shown)
    code = console.finish(source)
    if learned is None:
        return code
    console.say(*skipped_records(learned, " for the comparison model"))
    return Exit.SKIPPED if learned.skipped else code


def _evaluate_series(
    console: Console, file: UnopenedFile, data: str, output: str, given: Mapping[str, Parameter]
) -> Exit:
    """Report how a model of time series does."""
    from vae_anomaly.report.series import OPTIONS, report_series_file

    for name in given_options(given):
        if name not in OPTIONS:
            raise click.UsageError(f"{flag(name)} is not for time series, as in {file.name}.")
    check_report_folder(output, "row", file.name, data, given["labels"])
    console.start_tensorflow()
    console.say(*report_series_file(file, data, output, **given_options(given)))
    return Exit.DONE


def _write(
    console: Console,
    model: Model,
    found: EvaluationData,
    other: Model | None,
    output: str,
    shown: Mapping[str, Parameter],
) -> None:
    """Build the report, write it, and print its summary."""
    if model.network.needs_tensorflow:
        console.start_tensorflow()
    context = context_for(
        model.encoder.modality,
        categories=found.categories,
        masks=found.masks,
        skipped=found.skipped,
        comparison_model=other,
    )
    with console.progress("reporting", 2) as update:
        report = build_report(
            model, found.records, found.labels, keys=found.keys, context=context, **shown
        )
        update(1)
        page = write_report(report, Path(output))
        update(2)
    console.say(*report.summary, f"report: {page}")


def _check_options(modality: Modality, given: Mapping[str, Parameter]) -> None:
    """Refuse options that need another one."""
    if (given["compare_beta"] is None) != (given["training"] is None):
        raise click.UsageError(
            "--compare-beta and --training go together: a weight of the KL divergence, and the "
            "data that MODEL was fitted on. Give both, or none of them."
        )
    if given["label_column"] is None and "label_column" in modality.options:
        for name in filter(given.get, ("normal_label", *CRITERIA)):
            raise click.UsageError(f"{flag(name)} needs --label-column.")


def _comparison_model(console: Console, model: Model, source: Source, beta: float) -> Model:
    """Fit the model to compare with."""
    console.say(*source.notes)
    data = read_training_data(source, {}, progress=console.progress)
    console.start_tensorflow()
    count = counted(len(data.records), source.unit)
    console.say(f"training a comparison model with beta {beta:g} on {count}")
    return fit_comparison(model, data, beta, progress=console.progress, say=console.say)
