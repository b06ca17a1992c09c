"""Evaluation of a model on data in a file: records are read, compared and reported on."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from vae_anomaly._text import counted
from vae_anomaly._types import JsonObject
from vae_anomaly.data.base import Source
from vae_anomaly.data.registry import modality, open_source
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.metrics.threshold_search import Criteria
from vae_anomaly.model.file import restored
from vae_anomaly.model.model import Model
from vae_anomaly.pipeline.evaluate import fit_comparison, read_evaluation_data
from vae_anomaly.pipeline.fit import read_training_data
from vae_anomaly.pipeline.messages import skipped_records
from vae_anomaly.pipeline.options import (
    Options,
    check_model_options,
    divide,
    flag,
    given_options,
)
from vae_anomaly.pipeline.paths import check_report_folder
from vae_anomaly.pipeline.work import Done, Work
from vae_anomaly.report.build import build_report
from vae_anomaly.report.command import command_line
from vae_anomaly.report.data import Provenance, ReportData
from vae_anomaly.report.render import write_report
from vae_anomaly.report.sections import context_for
from vae_anomaly.storage.container import UnopenedFile

__all__ = ["evaluate"]

OWN = ("title", "top", "keep_learned", "training", "compare_beta")
"""Options that do not open the data."""


def evaluate(file: UnopenedFile, path: str, folder: str, options: Options, work: Work) -> Done:
    """Evaluate a model file on the records in a path, and write a page with figures.

    Parameters
    ----------
    file : UnopenedFile
        Model file.
    path : str
    folder : str
        Directory of the page.
    options : mapping
        Those of the command `evaluate`.
    work : Work

    Returns
    -------
    Done

    Raises
    ------
    ModelFileError
        If the model file is not sound.
    DataError, ParameterError
        If a record, a label or an option cannot be used.
    OutputError
        If the page cannot be written.
    """
    model = restored(file)
    fitted_on = modality(model.encoder.modality)
    check_model_options(options, fitted_on.name, file.name)
    _check_pairs(model, file.name, options)
    check_report_folder(folder, fitted_on.unit, file.name, path, options["training"])
    criteria, others = divide(options, Criteria._fields)
    own, reading = divide(others, OWN)
    learned, other = None, None
    with ExitStack() as stack:
        if options["training"] is not None:
            like = given_options(options, ("strict", "follow_links"))
            learned = open_source(options["training"], model.encoder, fitting=True, **like)
            stack.enter_context(learned)
        source = open_source(path, model.encoder, labelled=True, **reading)
        stack.enter_context(source)
        work.say(*source.notes)
        keep = options["keep_learned"]
        found = read_evaluation_data(source, model, keep_learned=keep, progress=work.progress)
        work.say(*found.notes)
        if learned is not None:
            other = _comparison_model(model, learned, options["compare_beta"], work)
    if model.network.needs_tensorflow:
        work.start()
    context = context_for(
        model.encoder.modality,
        categories=found.categories,
        masks=found.masks,
        skipped=found.skipped,
        comparison_model=other,
    )
    asked = {**own, **reading, **criteria}
    command = command_line("evaluate", [file.name, path], folder, asked)
    with work.progress("reporting", 2) as update:
        report = build_report(
            model,
            found.records,
            found.labels,
            keys=found.keys,
            texts=found.texts,
            title=options["title"],
            model_name=Path(file.name).name,
            data_name=found.name_after(Path(source.name).resolve().name, source.unit),
            top=options["top"],
            criteria=Criteria(**criteria),
            context=context,
            provenance=Provenance(file.sha256, command),
        )
        update(1)
        page = write_report(report, Path(folder))
        update(2)
    notes = [*report.summary, f"report: {page}", *skipped_records(source)]
    n_skipped = len(source.skipped)
    if learned is not None:
        notes += skipped_records(learned, " for the comparison model")
        n_skipped += len(learned.skipped)
    return Done(notes, _facts(report, page, n_skipped), is_complete=not n_skipped)


def _facts(report: ReportData, page: Path, n_skipped: int) -> JsonObject:
    """Return what was found, in plain values; with labels also how well the model does.

    An estimate is its value, and the ends of its 95 % interval.
    """
    curves = {"auroc": report.roc, "average_precision": report.precision_recall}
    areas = {name: curve.area for name, curve in curves.items() if curve is not None}
    return {
        "report": str(page),
        "unit": report.unit,
        "n_records": report.n_rows,
        "n_flagged": report.n_flagged,
        "n_skipped": n_skipped,
        "threshold": report.threshold.value,
        **({} if report.confusion is None else asdict(report.confusion)),
        **{name: asdict(area) for name, area in areas.items()},
    }


def _check_pairs(model: Model, name: str, options: Options) -> None:
    """Raise if an option needs another one, for a model in a file of some name."""
    beta = options["compare_beta"]
    if (beta is None) != (options["training"] is None):
        raise ParameterError(
            "--compare-beta and --training go together: a weight of the KL divergence, and the "
            "data that MODEL was fitted on. Give both, or none of them."
        )
    has_column = "label_column" in modality(model.encoder.modality).options
    if has_column and options["label_column"] is None:
        for one in filter(options.get, ("normal_label", *Criteria._fields)):
            raise ParameterError(f"{flag(one)} needs --label-column.")
    if beta == model.beta:
        raise ParameterError(
            f"{name} itself was fitted with beta {beta:g}: there would be nothing to compare. "
            f"Choose another --compare-beta."
        )


def _comparison_model(model: Model, source: Source, beta: float, work: Work) -> Model:
    """Fit the model to compare with."""
    work.say(*source.notes)
    data = read_training_data(source, {}, progress=work.progress)
    work.start()
    count = counted(len(data.records), source.unit)
    work.say(f"training a comparison model with beta {beta:g} on {count}")
    return fit_comparison(model, data, beta, progress=work.progress, say=work.say)
