"""`vae-anomaly evaluate`."""

from __future__ import annotations

from vae_anomaly._types import Parameter
from vae_anomaly.detectors import function_of
from vae_anomaly.pipeline.work import Done, Work
from vae_anomaly.storage.container import open_container

__all__ = ["run"]


def run(work: Work, models: tuple[str, ...], data: str, output: str, **given: Parameter) -> Done:
    """Report how MODEL does on DATA, or compare two models."""
    if len(models) > 1:
        from vae_anomaly.report.comparison import compare_files

        return compare_files(models, data, output, given, work)
    file = open_container(models[0])
    evaluate = function_of(file, "evaluate")
    done: Done = evaluate(file, data, output, given, work)
    return done
