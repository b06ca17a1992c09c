"""`vae-anomaly recalibrate`."""

from __future__ import annotations

import click

from vae_anomaly._types import Parameter
from vae_anomaly.cli.console import Console
from vae_anomaly.cli.errors import Exit
from vae_anomaly.data.registry import check_options, open_source
from vae_anomaly.model.file import restored, save_model
from vae_anomaly.model.recalibration import with_threshold
from vae_anomaly.pipeline.facts import recalibration_facts, threshold_facts
from vae_anomaly.pipeline.messages import recalibration_notes, threshold_note
from vae_anomaly.pipeline.options import check_labels, given_options, refuse_foreign
from vae_anomaly.pipeline.paths import check_output
from vae_anomaly.pipeline.recalibrate import recalibrate
from vae_anomaly.pipeline.series_score import recalibrate_series_file
from vae_anomaly.series import is_series
from vae_anomaly.storage.container import open_container

__all__ = ["run"]


def run(
    console: Console,
    model: str,
    data: str | None,
    output: str,
    *,
    false_alarm_rate: float | None = None,
    false_alarms_per: tuple[float, str] | None = None,
    threshold: float | None = None,
    keep_learned: bool = False,
    **given: Parameter,
) -> Exit:
    """Write MODEL with the calibration that DATA asks for, or with a threshold."""
    check_output(output, model, *([] if data is None else [data]))
    file = open_container(model)
    if is_series(file):
        given |= {"false_alarm_rate": false_alarm_rate, "threshold": threshold}
        given |= {"keep_learned": keep_learned, "false_alarms_per": false_alarms_per}
        console.start_tensorflow()
        console.say(*recalibrate_series_file(file, data, output, given), f"model: {output}")
        console.facts["model"] = output
        return Exit.DONE
    foreign = f"is for time series; {model} was fitted on other data"
    refuse_foreign({"false_alarms_per": false_alarms_per}, (), foreign)
    if (data is None) == (threshold is None) or None not in (threshold, false_alarm_rate):
        raise click.UsageError(
            "Expected DATA, and with it a --false-alarm-rate, or a --threshold. Give one of them."
        )
    check_labels(given.get("label_column"), given.get("normal_label", ()))
    fitted = restored(file)
    options = given_options(given)
    check_options(options, fitted.encoder.modality, f"{model} was fitted on")
    if data is None:
        changed = with_threshold(fitted, threshold or 0.0)
        save_model(changed, output)
        console.facts.update(threshold_facts(changed), model=output)
        console.say(threshold_note(changed), f"model: {output}")
        return Exit.DONE
    with open_source(data, fitted.encoder, fitting=True, **options) as source:
        console.say(*source.notes)
        if fitted.network.needs_tensorflow:
            console.start_tensorflow()
        result = recalibrate(
            fitted,
            source,
            false_alarm_rate=false_alarm_rate,
            keep_learned=keep_learned,
            progress=console.progress,
        )
        console.say(*source.masks().notes)
    save_model(result.model, output)
    console.facts.update(recalibration_facts(fitted, result), model=output)
    notes = recalibration_notes(fitted, result, keep_learned=keep_learned)
    return console.finish(source, *notes, f"model: {output}")
