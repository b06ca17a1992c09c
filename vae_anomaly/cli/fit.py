"""`vae-anomaly fit`."""

from __future__ import annotations

from vae_anomaly._types import Parameter
from vae_anomaly.detectors import DETECTORS, RECORDS
from vae_anomaly.pipeline.options import given_options
from vae_anomaly.pipeline.work import Done, Work

__all__ = ["run"]


def run(work: Work, data: str, output: str, **given: Parameter) -> Done:
    """Fit a detector to DATA, and write the model."""
    asked = (one for one in DETECTORS.values() if given_options(given, one.options))
    fit = next(asked, RECORDS).function("fit")
    done: Done = fit(data, output, given, work)
    return done
