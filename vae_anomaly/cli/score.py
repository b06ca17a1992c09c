"""`vae-anomaly score`."""

from __future__ import annotations

from vae_anomaly._types import Parameter
from vae_anomaly.detectors import function_of
from vae_anomaly.pipeline.paths import check_result
from vae_anomaly.pipeline.work import Done, Work
from vae_anomaly.storage.container import open_container

__all__ = ["run"]


def run(work: Work, model: str, data: str, output: str, *, engine: str, **given: Parameter) -> Done:
    """Score DATA with MODEL, and write the result."""
    given["engine"] = None if engine == "auto" else engine
    if given["scheduler"] is not None or given["stream"]:
        from vae_anomaly.jobs.rows import score_rows

        return score_rows(model, data, output, given, work)
    check_result(output, data, model)
    file = open_container(model)
    score = function_of(file, "score")
    done: Done = score(file, data, output, given, work)
    return done
