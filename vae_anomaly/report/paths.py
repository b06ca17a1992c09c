"""Reports on files: one model evaluated, or two compared, whatever their data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vae_anomaly._types import JsonObject
from vae_anomaly.data.registry import check_options, modality
from vae_anomaly.metrics.threshold_search import Criteria
from vae_anomaly.model.file import restored
from vae_anomaly.pipeline.options import Options, divide, given_options, refuse_foreign
from vae_anomaly.pipeline.paths import check_report_folder
from vae_anomaly.report.comparison import compare_files
from vae_anomaly.report.evaluation import Work, check_evaluation, evaluate_file
from vae_anomaly.report.series import OPTIONS, report_series_file
from vae_anomaly.series import is_series
from vae_anomaly.storage.container import UnopenedFile, open_container

__all__ = ["Reported", "report_on"]


class Reported(NamedTuple):
    """What a report says.

    Attributes
    ----------
    notes : sequence of str
        Lines to report.
    facts : dict
        The same in plain values.
    n_skipped : int
        Records that were not readable.
    """

    notes: Sequence[str]
    facts: JsonObject
    n_skipped: int = 0


def report_on(
    models: Sequence[str], data: str, output: str, options: Options, work: Work
) -> Reported:
    """Evaluate a model, or compare two, and write a page.

    Parameters
    ----------
    models : sequence of str
        Model files.
    data : str
    output : str
        Directory of the page.
    options : mapping
        Those of the command `evaluate`.
    work : Work

    Returns
    -------
    Reported

    Raises
    ------
    ParameterError, DataError, ModelFileError
        If an option, a record, a label or a model cannot be used.
    OutputError
        If the page cannot be written.
    """
    if len(models) > 1:
        compared = compare_files(models, data, output, options, work)
        return Reported(compared.notes, compared.facts(), compared.n_skipped)
    file = open_container(models[0])
    if is_series(file):
        return _report_on_series(file, data, output, options, work)
    foreign = f"is for time series; {file.name} was fitted on other data"
    refuse_foreign({"labels": options["labels"]}, (), foreign)
    model = restored(file)
    fitted_on = modality(model.encoder.modality)
    check_options(given_options(options), fitted_on.name, f"{file.name} was fitted on")
    check_evaluation(model, file.name, options)
    check_report_folder(output, fitted_on.unit, file.name, data, options["training"])
    criteria, others = divide(options, Criteria._fields)
    found = evaluate_file(
        model,
        data,
        output,
        model_name=Path(file.name).name,
        model_digest=file.sha256,
        criteria=Criteria(**criteria),
        work=work,
        **others,
    )
    return Reported(found.notes, found.facts(), found.n_skipped)


def _report_on_series(
    file: UnopenedFile, data: str, output: str, options: Options, work: Work
) -> Reported:
    """Evaluate a model of time series."""
    refuse_foreign(options, OPTIONS, f"is not for time series, as in {file.name}")
    check_report_folder(output, "row", file.name, data, options["labels"])
    work.start()
    lines = report_series_file(file, data, output, **given_options(options))
    return Reported(lines, {"report": str(Path(output) / "report.html")})
