"""Fit of a detector to the records in a path."""

from __future__ import annotations

from vae_anomaly._text import counted
from vae_anomaly.data.registry import check_options, modality_of
from vae_anomaly.pipeline.fit import NOTICE, fit_file, fit_options, read_training_data
from vae_anomaly.pipeline.messages import skipped_records
from vae_anomaly.pipeline.options import Options, check_labels, given_options
from vae_anomaly.pipeline.paths import check_output
from vae_anomaly.pipeline.startup import check_address_space
from vae_anomaly.pipeline.work import Done, Work

__all__ = ["fit"]


def fit(path: str, output: str, options: Options, work: Work) -> Done:
    """Fit a detector to the records in a path, and write the model file.

    Raises
    ------
    ParameterError, DataError, DivergenceError, CheckpointError, OutputError
        As `fit_options`, `read_training_data` and `fit_file`.
    """
    asked = fit_options(options)
    modality = modality_of(path)
    check_options(given_options(options), modality.name, f"{path} holds")
    if "label_column" in modality.options:
        check_labels(options["label_column"], options["normal_label"])
    check_output(output, path)
    check_address_space()  # before the data: with so little, libraries that read it hang
    with modality.open(path, fitting=True, **asked.source) as source:
        work.say(*source.notes)
        training = read_training_data(
            source,
            asked.parameters,
            memory_limit=options["memory_limit"],
            holdout=options["holdout"],
            progress=work.progress,
        )
    work.say(*training.notes())
    work.start()
    count = counted(len(training.records), source.unit)
    work.say(f"fitting on {count} of {source.description}")
    fitted = fit_file(
        asked.parameters,
        training,
        output,
        keep_partial=options["keep_partial"],
        notice="" if work.is_quiet else NOTICE,
        progress=work.progress,
        say=work.say,
    )
    return Done(
        [*fitted.notes(source), f"model: {output}", *skipped_records(source)],
        fitted.facts(training) | {"model": output},
        is_complete=not source.skipped,
        interruption=fitted.interruption(),
    )
