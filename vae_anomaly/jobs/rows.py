"""Scores of rows on the workers of a cluster, or as they come on standard input."""

from __future__ import annotations

from vae_anomaly.pipeline.lines import StreamSummary, score_standard_input
from vae_anomaly.pipeline.models import loaded
from vae_anomaly.pipeline.options import Options, given_options, refuse_foreign
from vae_anomaly.pipeline.partitions import PartitionsSummary
from vae_anomaly.pipeline.results import OUTPUTS, Outputs
from vae_anomaly.pipeline.work import Done, Work

__all__ = ["score_rows"]


def score_rows(model: str, path: str, output: str, options: Options, work: Work) -> Done:
    """Score rows with a model file where `scheduler` says, or without one as they come.

    Raises
    ------
    ParameterError, ModelFileError, DataError, OutputError
        As `score_standard_input` and `vae_anomaly.dask.score_folder`.
    """
    scheduler, conditions = options["scheduler"], options["fail_if"]
    accepted = (*OUTPUTS, "id_column", "keep", "scheduler", "stream", "fail_if")
    where = "--stream" if scheduler is None else "--scheduler"
    refuse_foreign(options, accepted, f"does not go with {where}")
    outputs, fitted = Outputs(**given_options(options, OUTPUTS)), loaded(model)
    names = {"key": options["id_column"], "keep": options["keep"]}
    for condition in conditions:
        condition.check(outputs, fitted)
    done: StreamSummary | PartitionsSummary
    if scheduler is None:
        done = score_standard_input(fitted, path, output, outputs, say=work.say, **names)
    else:
        from vae_anomaly.dask import score_folder

        progress = work.progress
        done = score_folder(scheduler, model, path, output, outputs, progress=progress, **names)
    failed = done.failures(conditions)
    facts = done.facts() | {"scores": output, "failed": failed}
    return Done(done.notes(), facts, is_complete=done.is_complete, failed=failed)
