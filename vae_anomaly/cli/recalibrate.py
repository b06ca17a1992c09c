"""`vae-anomaly recalibrate`."""

from __future__ import annotations

from vae_anomaly._types import Parameter
from vae_anomaly.cli.console import Console
from vae_anomaly.cli.errors import Exit
from vae_anomaly.detectors import function_of
from vae_anomaly.pipeline.paths import check_output
from vae_anomaly.storage.container import open_container

__all__ = ["run"]


def run(console: Console, model: str, data: str | None, output: str, **given: Parameter) -> Exit:
    """Write MODEL with the calibration that DATA asks for, or with a threshold."""
    check_output(output, model, *([] if data is None else [data]))
    file = open_container(model)
    recalibrate = function_of(file, "recalibrate")
    return console.finish(recalibrate(file, data, output, given, console.work))
