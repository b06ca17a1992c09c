"""`vae-anomaly score`."""

from __future__ import annotations

from collections.abc import Mapping

import click

from vae_anomaly._types import Parameter
from vae_anomaly.cli.console import Console
from vae_anomaly.cli.errors import Exit
from vae_anomaly.cli.options import flag, given_options
from vae_anomaly.data.registry import check_options, open_source
from vae_anomaly.model.file import restored
from vae_anomaly.pipeline.messages import drift_warning, score_verdict
from vae_anomaly.pipeline.paths import check_result
from vae_anomaly.pipeline.results import Outputs
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
    score: str | None = None,
    explain: int | None = None,
    repair: bool = False,
    p_values: bool = False,
    also: tuple[str, ...] = (),
    fdr: float | None = None,
    threshold: float | None = None,
    engine: str = "auto",
    **given: Parameter,
) -> Exit:
    """Score DATA with MODEL, and write the result."""
    check_result(output, data, model)
    file = open_container(model)
    if is_series(file):
        given |= {"score": score, "p_values": p_values, "also": also, "fdr": fdr, "repair": repair}
        given["threshold"] = threshold
        return _score_series(console, file, data, output, explain or 0, given)
    if given.pop("events"):
        raise click.UsageError(f"--events is for time series; {model} was fitted on other data.")
    fitted = restored(file)
    # --strict is for all of them.
    asked = {"explain": explain, "id_column": given["id_column"], "repair": repair}
    asked["follow_links"] = given["follow_links"]
    check_options(given_options(asked), fitted.encoder.modality, f"{model} was fitted on")
    if engine != "auto":
        fitted = fitted.with_engine(engine)
    outputs = Outputs(score, explain or 0, p_values, also, fdr, threshold, repair)
    outputs.check(fitted, flag)
    with open_source(data, fitted.encoder, **given_options(given)) as source:
        console.say(*source.notes)
        if fitted.network.needs_tensorflow and source.n_records != 0:
            console.start_tensorflow()
        summary = score_file(fitted, source, output, outputs, progress=console.progress)
    lines = [score_verdict(summary, source.unit, fdr)]
    if summary.drift is not None:
        lines.append(f"warning: {drift_warning(summary.drift, source.unit)}")
    if output != "-":
        lines.append(f"scores: {output}")
    return console.finish(source, *lines)


def _score_series(
    console: Console,
    file: UnopenedFile,
    data: str,
    output: str,
    explain: int,
    given: Mapping[str, Parameter],
) -> Exit:
    """Score time series."""
    from vae_anomaly.pipeline.series import score_series_file, series_verdict

    events = given["events"]
    for name in given_options(given):
        if name != "events":
            raise click.UsageError(f"{flag(name)} is not for time series, as in {file.name}.")
    if events is not None:
        check_result(events, data, file.name, output)
    console.start_tensorflow()
    summary = score_series_file(file, data, output, explain=explain, events=events)
    written = [("scores", output), ("events", events)]
    lines = [f"{what}: {path}" for what, path in written if path not in (None, "-")]
    console.say(*summary.notes, series_verdict(summary), *lines)
    return Exit.DONE
