"""Evaluation of a model on data in a file: records are read, compared and reported on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from vae_anomaly._text import counted
from vae_anomaly._types import JsonObject, Parameter
from vae_anomaly.data.base import Source
from vae_anomaly.data.registry import modality, open_source
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.metrics.threshold_search import Criteria
from vae_anomaly.model.model import Model
from vae_anomaly.pipeline.evaluate import fit_comparison, read_evaluation_data
from vae_anomaly.pipeline.fit import Say, read_training_data
from vae_anomaly.pipeline.messages import skipped_records
from vae_anomaly.pipeline.options import Options, flag
from vae_anomaly.pipeline.progress import Progress, no_progress
from vae_anomaly.report.build import build_report
from vae_anomaly.report.command import command_line
from vae_anomaly.report.data import Provenance, ReportData
from vae_anomaly.report.render import write_report
from vae_anomaly.report.sections import context_for

__all__ = ["Evaluation", "Work", "check_evaluation", "evaluate_file"]


def _nothing(*_: str) -> None:
    """Do nothing."""


class Work(NamedTuple):
    """What long work reports to, and what must precede it.

    Attributes
    ----------
    say : callable, optional
        Receives lines to report.
    progress : Progress, optional
    start : callable, optional
        Called before TensorFlow is needed.
    """

    say: Say = _nothing
    progress: Progress = no_progress
    start: Callable[[], None] = _nothing


class Evaluation(NamedTuple):
    """Report of an evaluation.

    Attributes
    ----------
    report : ReportData
    page : Path
    notes : sequence of str
        Lines to report.
    n_skipped : int
        Records that were not readable.
    """

    report: ReportData
    page: Path
    notes: Sequence[str]
    n_skipped: int

    def facts(self) -> JsonObject:
        """Return what was found, in plain values; with labels also how well the model does.

        An estimate is its value, and the ends of its 95 % interval.
        """
        report, facts = self.report, self.report.confusion
        curves = {"auroc": report.roc, "average_precision": report.precision_recall}
        areas = {name: curve.area for name, curve in curves.items() if curve is not None}
        return {
            "report": str(self.page),
            "unit": report.unit,
            "n_records": report.n_rows,
            "n_flagged": report.n_flagged,
            "n_skipped": self.n_skipped,
            "threshold": report.threshold.value,
            **({} if facts is None else asdict(facts)),
            **{name: asdict(area) for name, area in areas.items()},
        }


def check_evaluation(model: Model, name: str, options: Options) -> None:
    """Raise if an option of the command `evaluate` needs another one.

    Parameters
    ----------
    model : Model
    name : str
        Name of its file.
    options : mapping

    Raises
    ------
    ParameterError
    """
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


def evaluate_file(
    model: Model,
    path: str,
    folder: str,
    *,
    model_name: str | None = None,
    model_digest: str | None = None,
    criteria: Criteria | None = None,
    training: str | None = None,
    compare_beta: float | None = None,
    keep_learned: bool = False,
    title: str = "Anomaly report",
    top: int = 10,
    work: Work = Work(),  # noqa: B008 - immutable
    **options: Parameter,
) -> Evaluation:
    """Evaluate a model on data, and write a page with figures.

    Parameters
    ----------
    model : Model
    path : str
    folder : str
        Directory of the page.
    model_name : str, optional
    model_digest : str, optional
        Checksum of its file.
    criteria : Criteria, optional
        Criteria for other thresholds; needs labels.
    training : str, optional
        Data that the model was fitted on.
    compare_beta : float, optional
        Weight of the KL divergence of a comparison model, fitted to `training`.
    keep_learned : bool, default=False
        Keep records that the model was fitted on.
    title : str
    top : int, default=10
        Number of most anomalous records to show.
    work : Work, optional
    **options
        Those that open the data, see `data.base.Modality.open`.

    Returns
    -------
    Evaluation

    Raises
    ------
    DataError, ParameterError
        If a record, a label or an option cannot be used.
    OutputError
        If the page cannot be written.
    """
    learned, other = None, None
    with ExitStack() as stack:
        if training is not None:
            reading = {
                name: options[name] for name in ("strict", "follow_links") if name in options
            }
            learned = open_source(training, model.encoder, fitting=True, **reading)
            stack.enter_context(learned)
        source = open_source(path, model.encoder, labelled=True, **options)
        stack.enter_context(source)
        work.say(*source.notes)
        found = read_evaluation_data(
            source, model, keep_learned=keep_learned, progress=work.progress
        )
        work.say(*found.notes)
        if learned is not None and compare_beta is not None:
            other = _comparison_model(model, learned, compare_beta, work)
    if model.network.needs_tensorflow:
        work.start()
    context = context_for(
        model.encoder.modality,
        categories=found.categories,
        masks=found.masks,
        skipped=found.skipped,
        comparison_model=other,
    )
    asked = {"title": title, "top": top, "keep_learned": keep_learned, "training": training}
    asked |= {"compare_beta": compare_beta, **options, **(criteria or Criteria())._asdict()}
    command = command_line("evaluate", [model_name or "model.vae", path], folder, asked)
    with work.progress("reporting", 2) as update:
        report = build_report(
            model,
            found.records,
            found.labels,
            keys=found.keys,
            title=title,
            model_name=model_name,
            data_name=found.name_after(Path(source.name).resolve().name, source.unit),
            top=top,
            criteria=criteria,
            context=context,
            provenance=Provenance(model_digest, command),
        )
        update(1)
        page = write_report(report, Path(folder))
        update(2)
    notes = [*report.summary, f"report: {page}", *skipped_records(source)]
    skipped = len(source.skipped)
    if learned is not None:
        notes += skipped_records(learned, " for the comparison model")
        skipped += len(learned.skipped)
    return Evaluation(report, page, notes, skipped)


def _comparison_model(model: Model, source: Source, beta: float, work: Work) -> Model:
    """Fit the model to compare with."""
    work.say(*source.notes)
    data = read_training_data(source, {}, progress=work.progress)
    work.start()
    count = counted(len(data.records), source.unit)
    work.say(f"training a comparison model with beta {beta:g} on {count}")
    return fit_comparison(model, data, beta, progress=work.progress, say=work.say)
