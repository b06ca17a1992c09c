"""`vae-anomaly export`."""

from __future__ import annotations

from vae_anomaly._types import Parameter
from vae_anomaly.detectors import function_of
from vae_anomaly.pipeline.paths import check_output
from vae_anomaly.pipeline.work import Done, Work
from vae_anomaly.storage.container import open_container

__all__ = ["run"]


def run(work: Work, model: str, output: str, **given: Parameter) -> Done:
    """Write MODEL as an ONNX graph."""
    check_output(output, model)
    file = open_container(model)
    done: Done = function_of(file, "export")(file, output, given)
    return done
