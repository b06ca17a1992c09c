"""`vae-anomaly evaluate`."""

from __future__ import annotations

from pathlib import Path

from vae_anomaly._types import Parameter
from vae_anomaly.cli.console import Console
from vae_anomaly.cli.errors import Exit
from vae_anomaly.data.registry import check_options, modality
from vae_anomaly.metrics.threshold_search import Criteria
from vae_anomaly.model.file import restored
from vae_anomaly.names import REPORT_FILES
from vae_anomaly.pipeline.options import Options, divide, given_options, refuse_foreign
from vae_anomaly.pipeline.paths import check_report_folder
from vae_anomaly.report.comparison import compare_files
from vae_anomaly.report.evaluation import Work, check_evaluation, evaluate_file
from vae_anomaly.series import is_series
from vae_anomaly.storage.container import UnopenedFile, open_container

__all__ = ["run"]


def run(
    console: Console,
    models: tuple[str, ...],
    data: str,
    output: str,
    *,
    labels: str | None,
    training: str | None,
    **given: Parameter,
) -> Exit:
    """Report how MODEL does on DATA, or compare two models."""
    asked, model = given | {"training": training, "labels": labels}, models[0]
    work = Work(console.say, console.progress, console.start_tensorflow)
    if len(models) > 1:
        compared = compare_files(models, data, output, asked, work)
        console.say(*compared.notes)
        console.facts.update(report=compared.page, n_skipped=compared.n_skipped)
        return Exit.SKIPPED if compared.n_skipped else Exit.DONE
    file = open_container(model)
    if is_series(file):
        return _evaluate_series(console, file, data, output, asked)
    refuse_foreign({"labels": labels}, (), f"is for time series; {model} was fitted on other data")
    fitted = restored(file)
    fitted_on = modality(fitted.encoder.modality)
    check_options(given_options(asked), fitted_on.name, f"{model} was fitted on")
    check_evaluation(fitted, model, asked)
    check_report_folder(output, fitted_on.unit, model, data, training)
    criteria, options = divide(given, Criteria._fields)
    found = evaluate_file(
        fitted,
        data,
        output,
        model_name=Path(model).name,
        model_digest=file.sha256,
        criteria=Criteria(**criteria),
        training=training,
        work=work,
        **options,
    )
    console.say(*found.notes)
    console.facts.update(found.facts())
    return Exit.SKIPPED if found.n_skipped else Exit.DONE


def _evaluate_series(
    console: Console, file: UnopenedFile, data: str, output: str, given: Options
) -> Exit:
    """Report how a model of time series does."""
    from vae_anomaly.report.series import OPTIONS, report_series_file

    refuse_foreign(given, OPTIONS, f"is not for time series, as in {file.name}")
    check_report_folder(output, "row", file.name, data, given["labels"])
    console.start_tensorflow()
    console.say(*report_series_file(file, data, output, **given_options(given)))
    console.facts["report"] = Path(output) / REPORT_FILES[0]
    return Exit.DONE
