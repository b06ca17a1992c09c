"""`vae-anomaly score`."""

from __future__ import annotations

from vae_anomaly._types import Parameter
from vae_anomaly.cli.console import Console
from vae_anomaly.cli.errors import Exit
from vae_anomaly.data.registry import check_options, open_source
from vae_anomaly.model.file import restored
from vae_anomaly.pipeline.conditions import Condition, check_conditions, failures
from vae_anomaly.pipeline.facts import score_facts
from vae_anomaly.pipeline.lines import StreamSummary, score_standard_input
from vae_anomaly.pipeline.messages import score_notes
from vae_anomaly.pipeline.models import loaded
from vae_anomaly.pipeline.options import Options, divide, flag, given_options, refuse_foreign
from vae_anomaly.pipeline.partitions import PartitionsSummary
from vae_anomaly.pipeline.paths import check_outside, check_result
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
    maps: str | None,
    scheduler: str | None,
    stream: bool,
    fail_if: tuple[Condition, ...],
    **given: Parameter,
) -> Exit:
    """Score DATA with MODEL, and write the result."""
    if scheduler is not None or stream:
        given |= {"events": events, "maps": maps, "engine": None if engine == "auto" else engine}
        return _score_rows(console, model, data, output, scheduler, given, fail_if)
    check_result(output, data, model)
    file = open_container(model)
    if is_series(file):
        return _score_series(
            console, file, data, output, given | {"events": events, "maps": maps}, fail_if
        )
    refuse_foreign({"events": events}, (), f"is for time series; {model} was fitted on other data")
    fitted = restored(file)
    wanted, options = divide(given | {"maps": maps}, OUTPUTS)
    asked = {*wanted, *options} - {"strict"}  # which is for all of them
    check_options(asked, fitted.encoder.modality, f"{model} was fitted on")
    options.pop("maps", None)
    if engine != "auto":
        fitted = fitted.with_engine(engine)
    outputs = Outputs(**wanted)
    outputs.check(fitted, flag)
    if maps is not None:
        check_outside(maps, data, "maps")
    check_conditions(fail_if, outputs, fitted)
    with open_source(data, fitted.encoder, **options) as source:
        console.say(*source.notes)
        if fitted.network.needs_tensorflow and source.n_records != 0:
            console.start_tensorflow()
        progress = console.progress
        flagged: list[object] | None = None if maps is None else []
        summary = score_file(fitted, source, output, outputs, progress=progress, flagged=flagged)
        if maps is not None:
            from vae_anomaly.displays.map_files import write_maps

            console.say(*write_maps(fitted, source, maps, flagged=flagged or (), progress=progress))
    code = console.finish(source, *score_notes(summary, source.unit, outputs.fdr, output))
    n_flagged, n_scored, drift = summary.n_flagged or 0, summary.n_scored, summary.drift is not None
    failed = failures(fail_if, n_flagged, n_scored, source.unit, drift=drift)
    console.say(*failed)
    console.facts.update(score_facts(summary), scores=output, failed=failed)
    return Exit.FAILED if failed else code


def _score_rows(
    console: Console,
    model: str,
    data: str,
    output: str,
    scheduler: str | None,
    given: Options,
    fail_if: tuple[Condition, ...],
) -> Exit:
    """Score files on the workers of a cluster, or without a scheduler lines as they come."""
    where = "--stream" if scheduler is None else "--scheduler"
    refuse_foreign(given, (*OUTPUTS, "id_column", "keep"), f"does not go with {where}")
    outputs, fitted = Outputs(**given_options(given, OUTPUTS)), loaded(model)
    names = {"key": given["id_column"], "keep": given["keep"]}
    check_conditions(fail_if, outputs, fitted)
    done: StreamSummary | PartitionsSummary
    if scheduler is None:
        done = score_standard_input(fitted, data, output, outputs, say=console.say, **names)
    else:
        from vae_anomaly.dask import score_folder

        progress = console.progress
        done = score_folder(scheduler, model, data, output, outputs, progress=progress, **names)
    failed = done.failures(fail_if)
    console.say(*done.notes(), *failed)
    console.facts.update(done.facts(), scores=output, failed=failed)
    code = Exit.DONE if done.is_complete else Exit.SKIPPED
    return Exit.FAILED if failed else code


def _score_series(
    console: Console,
    file: UnopenedFile,
    data: str,
    output: str,
    given: Options,
    fail_if: tuple[Condition, ...],
) -> Exit:
    """Score time series."""
    from vae_anomaly.pipeline.series_score import SERIES_OUTPUTS, score_series_file, series_notes

    refuse_foreign(given, SERIES_OUTPUTS, f"is not for time series, as in {file.name}")
    events = given["events"]
    if events is not None:
        check_result(events, data, file.name, output)
    console.start_tensorflow()
    summary = score_series_file(file, data, output, **given_options(given, SERIES_OUTPUTS))
    console.say(*series_notes(summary, output, events))
    drift = summary.drift is not None
    failed = failures(fail_if, summary.n_flagged, summary.n_scored, "time step", drift=drift)
    console.say(*failed)
    console.facts.update(summary.facts(), scores=output, failed=failed)
    return Exit.FAILED if failed else Exit.DONE
