"""`vae-anomaly recalibrate`."""

from __future__ import annotations

from vae_anomaly._types import Parameter
from vae_anomaly.detectors import function_of
from vae_anomaly.pipeline.paths import check_output
from vae_anomaly.pipeline.work import Done, Work
from vae_anomaly.storage.container import open_container

__all__ = ["run"]


def run(work: Work, model: str, data: str | None, output: str, **given: Parameter) -> Done:
    """Write MODEL with the calibration that DATA asks for, or with a threshold."""
    check_output(output, model, *([] if data is None else [data]))
    file = open_container(model)
    recalibrate = function_of(file, "recalibrate")
    done: Done = recalibrate(file, data, output, given, work)
    return done
