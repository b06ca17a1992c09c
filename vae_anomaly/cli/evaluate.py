"""`vae-anomaly evaluate`."""

from __future__ import annotations

from vae_anomaly._types import Parameter
from vae_anomaly.cli.console import Console
from vae_anomaly.cli.errors import Exit
from vae_anomaly.detectors import function_of
from vae_anomaly.storage.container import open_container

__all__ = ["run"]


def run(
    console: Console, models: tuple[str, ...], data: str, output: str, **given: Parameter
) -> Exit:
    """Report how MODEL does on DATA, or compare two models."""
    if len(models) > 1:
        from vae_anomaly.report.comparison import compare_files

        return console.finish(compare_files(models, data, output, given, console.work))
    file = open_container(models[0])
    evaluate = function_of(file, "evaluate")
    return console.finish(evaluate(file, data, output, given, console.work))
