"""Recalibration of a model file by the records in a path, or by a threshold."""

from __future__ import annotations

from vae_anomaly.data.registry import open_source
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.model.file import restored, save_model
from vae_anomaly.model.recalibration import with_threshold
from vae_anomaly.pipeline import recalibrate as pipeline
from vae_anomaly.pipeline.facts import threshold_facts
from vae_anomaly.pipeline.messages import skipped_records, threshold_note
from vae_anomaly.pipeline.options import Options, check_labels, check_model_options, divide
from vae_anomaly.pipeline.work import Done, Work
from vae_anomaly.storage.container import UnopenedFile

__all__ = ["recalibrate"]

OWN = ("false_alarm_rate", "threshold", "keep_learned")
"""Options that do not concern the source."""


def recalibrate(
    file: UnopenedFile, path: str | None, output: str, options: Options, work: Work
) -> Done:
    """Write a model file with the calibration that records ask for, or with a threshold.

    Raises
    ------
    ParameterError, ModelFileError, DataError, OutputError
        As `open_source` and `pipeline.recalibrate`.
    """
    rate, threshold, keep_learned = (options[name] for name in OWN)
    if (path is None) == (threshold is None) or None not in (threshold, rate):
        raise ParameterError(
            "Expected DATA, and with it a --false-alarm-rate, or a --threshold. Give one of them."
        )
    check_labels(options["label_column"], options["normal_label"])
    model = restored(file)
    _, asked = divide(options, OWN)
    check_model_options(options, model.encoder.modality, file.name)
    if path is None:
        changed = with_threshold(model, threshold)
        save_model(changed, output)
        notes = [threshold_note(changed), f"model: {output}"]
        return Done(notes, threshold_facts(changed) | {"model": output})
    with open_source(path, model.encoder, fitting=True, **asked) as source:
        work.say(*source.notes)
        if model.network.needs_tensorflow:
            work.start()
        result = pipeline.recalibrate(
            model,
            source,
            false_alarm_rate=rate,
            keep_learned=keep_learned,
            progress=work.progress,
        )
        work.say(*source.masks().notes)
    save_model(result.model, output)
    return Done(
        [
            *result.notes(model, keep_learned=keep_learned),
            f"model: {output}",
            *skipped_records(source),
        ],
        result.facts(model) | {"model": output},
        is_complete=not source.skipped,
    )
