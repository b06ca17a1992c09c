"""`vae-anomaly recalibrate`."""

from __future__ import annotations

from vae_anomaly._types import Parameter
from vae_anomaly.cli.console import Console
from vae_anomaly.cli.errors import Exit
from vae_anomaly.cli.options import given_options
from vae_anomaly.data.registry import check_options, open_source
from vae_anomaly.model.file import load_model, save_model
from vae_anomaly.pipeline.messages import threshold_origin
from vae_anomaly.pipeline.paths import check_output
from vae_anomaly.pipeline.recalibrate import recalibrate

__all__ = ["run"]


def run(
    console: Console,
    model: str,
    data: str,
    output: str,
    *,
    false_alarm_rate: float | None = None,
    **given: Parameter,
) -> Exit:
    """Write MODEL with the calibration that DATA asks for."""
    check_output(output, data, model)
    fitted = load_model(model)
    options = given_options(given)
    check_options(options, fitted.encoder.modality, f"{model} was fitted on")
    with open_source(data, fitted.encoder, fitting=True, **options) as source:
        console.say(*source.notes)
        if fitted.network.needs_tensorflow:
            console.start_tensorflow()
        result = recalibrate(
            fitted, source, false_alarm_rate=false_alarm_rate, progress=console.progress
        )
    save_model(result.model, output)
    threshold = result.model.calibration.threshold
    return console.finish(
        source,
        f"the old threshold, {fitted.calibration.threshold:.4g} nats, flags "
        f"{result.n_flagged_before:,} of these {result.n_records:,} {source.unit}s",
        f"threshold: {threshold:.4g} nats, {threshold_origin(result.model)}",
        f"model: {output}",
    )
