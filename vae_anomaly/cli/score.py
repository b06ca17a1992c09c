"""`vae-anomaly score`."""

from __future__ import annotations

from vae_anomaly._types import Parameter
from vae_anomaly.cli.console import Console
from vae_anomaly.cli.errors import Exit
from vae_anomaly.detectors import function_of
from vae_anomaly.pipeline.paths import check_result
from vae_anomaly.storage.container import open_container

__all__ = ["run"]


def run(
    console: Console, model: str, data: str, output: str, *, engine: str, **given: Parameter
) -> Exit:
    """Score DATA with MODEL, and write the result."""
    given["engine"] = None if engine == "auto" else engine
    if given["scheduler"] is not None or given["stream"]:
        from vae_anomaly.jobs.rows import score_rows

        return console.finish(score_rows(model, data, output, given, console.work))
    check_result(output, data, model)
    file = open_container(model)
    score = function_of(file, "score")
    return console.finish(score(file, data, output, given, console.work))
