"""`vae-anomaly fit`."""

from __future__ import annotations

from vae_anomaly._types import Parameter
from vae_anomaly.cli.console import Console
from vae_anomaly.cli.errors import Exit
from vae_anomaly.detectors import DETECTORS, RECORDS
from vae_anomaly.pipeline.options import given_options

__all__ = ["run"]


def run(console: Console, data: str, output: str, **given: Parameter) -> Exit:
    """Fit a detector to DATA, and write the model."""
    asked = (one for one in DETECTORS.values() if given_options(given, one.options))
    fit = next(asked, RECORDS).function("fit")
    return console.finish(fit(data, output, given, console.work))
