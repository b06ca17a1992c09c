"""`vae-anomaly fit`."""

from __future__ import annotations

from vae_anomaly._text import counted
from vae_anomaly._types import Parameter
from vae_anomaly.cli.console import Console
from vae_anomaly.cli.errors import Exit, say
from vae_anomaly.cli.options import SERIES
from vae_anomaly.data.registry import check_options, modality_of
from vae_anomaly.pipeline.facts import fit_facts
from vae_anomaly.pipeline.fit import NOTICE, fit_file, fit_options, read_training_data
from vae_anomaly.pipeline.limits import check_address_space
from vae_anomaly.pipeline.options import Options, check_labels, given_options
from vae_anomaly.pipeline.paths import check_output
from vae_anomaly.pipeline.series import LABELS, READING, fit_series_file, series_parameters

__all__ = ["run"]


def run(
    console: Console,
    data: str,
    output: str,
    *,
    keep_partial: bool,
    memory_limit: int | None,
    holdout: float | None,
    **given: Parameter,
) -> Exit:
    """Fit a detector to DATA, and write the model."""
    asked = given | {"memory_limit": memory_limit}
    if given_options(given, SERIES):
        return _fit_series(console, data, output, asked | {"holdout": holdout})
    options = fit_options({name: given[name] for name in given if name not in SERIES})
    modality = modality_of(data)
    check_options(given_options(asked), modality.name, f"{data} holds")
    if "label_column" in modality.options:
        check_labels(given["label_column"], given["normal_label"])
    check_output(output, data)
    check_address_space()  # before the data: with so little, libraries that read it hang
    with modality.open(data, fitting=True, **options.source) as source:
        console.say(*source.notes)
        training = read_training_data(
            source,
            options.parameters,
            memory_limit=memory_limit,
            holdout=holdout,
            progress=console.progress,
        )
    console.say(*training.notes())
    console.start_tensorflow()
    count = counted(len(training.records), source.unit)
    console.say(f"fitting on {count} of {source.description}")
    fitted = fit_file(
        options.parameters,
        training,
        output,
        keep_partial=keep_partial,
        notice="" if console.quiet else NOTICE,
        progress=console.progress,
        say=console.say,
    )
    for line in fitted.interruption():  # also to those who asked for silence
        say(line)
    console.facts.update(fit_facts(fitted, training), model=output)
    code = console.finish(source, *fitted.notes(source), f"model: {output}")
    return Exit.INTERRUPTED if fitted.interrupted else code


def _fit_series(console: Console, data: str, output: str, given: Options) -> Exit:
    """Fit a detector of time series."""
    check_output(output, data)
    check_address_space()
    console.start_tensorflow()
    reading, labels = given_options(given, READING), given_options(given, LABELS)
    fit_series_file(data, output, series_parameters(given), reading, console.say, **labels)
    console.say(f"model: {output}")
    console.facts["model"] = output
    return Exit.DONE
