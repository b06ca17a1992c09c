"""`vae-anomaly score`."""

from __future__ import annotations

from vae_anomaly._types import Parameter
from vae_anomaly.cli.console import Console
from vae_anomaly.cli.errors import Exit
from vae_anomaly.data.registry import check_options, open_source
from vae_anomaly.model.file import restored
from vae_anomaly.pipeline.messages import score_notes
from vae_anomaly.pipeline.options import Options, divide, flag, given_options, refuse_foreign
from vae_anomaly.pipeline.paths import check_result
from vae_anomaly.pipeline.results import OUTPUTS, Outputs
from vae_anomaly.pipeline.score import score_file
from vae_anomaly.series import is_series
from vae_anomaly.storage.container import UnopenedFile, open_container

__all__ = ["run"]


def run(
    console: Console,
    model: str,
    data: str,
    output: str,
    *,
    engine: str,
    events: str | None,
    **given: Parameter,
) -> Exit:
    """Score DATA with MODEL, and write the result."""
    check_result(output, data, model)
    file = open_container(model)
    if is_series(file):
        return _score_series(console, file, data, output, given | {"events": events})
    refuse_foreign({"events": events}, (), f"is for time series; {model} was fitted on other data")
    fitted = restored(file)
    # --strict is for all of them.
    asked = given_options(given | {"strict": False})
    check_options(asked, fitted.encoder.modality, f"{model} was fitted on")
    if engine != "auto":
        fitted = fitted.with_engine(engine)
    wanted, options = divide(given, OUTPUTS)
    outputs = Outputs(**wanted)
    outputs.check(fitted, flag)
    with open_source(data, fitted.encoder, **options) as source:
        console.say(*source.notes)
        if fitted.network.needs_tensorflow and source.n_records != 0:
            console.start_tensorflow()
        summary = score_file(fitted, source, output, outputs, progress=console.progress)
    return console.finish(source, *score_notes(summary, source.unit, outputs.fdr, output))


def _score_series(
    console: Console, file: UnopenedFile, data: str, output: str, given: Options
) -> Exit:
    """Score time series."""
    from vae_anomaly.pipeline.series import SERIES_OUTPUTS, score_series_file, series_notes

    refuse_foreign(given, SERIES_OUTPUTS, f"is not for time series, as in {file.name}")
    events = given["events"]
    if events is not None:
        check_result(events, data, file.name, output)
    console.start_tensorflow()
    summary = score_series_file(file, data, output, **given_options(given, SERIES_OUTPUTS))
    console.say(*series_notes(summary, output, events))
    return Exit.DONE
