"""`vae-anomaly score`."""

from __future__ import annotations

from vae_anomaly._types import Parameter
from vae_anomaly.cli.console import Console
from vae_anomaly.cli.errors import Exit
from vae_anomaly.cli.options import flag, given_options
from vae_anomaly.data.registry import check_options, open_source
from vae_anomaly.model.file import load_model
from vae_anomaly.pipeline.messages import drift_warning, score_verdict
from vae_anomaly.pipeline.paths import check_result
from vae_anomaly.pipeline.results import Outputs
from vae_anomaly.pipeline.score import score_file

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
    engine: str = "auto",
    **given: Parameter,
) -> Exit:
    """Score DATA with MODEL, and write the result."""
    check_result(output, data, model)
    fitted = load_model(model)
    # --strict is for all of them.
    asked = {"explain": explain, "id_column": given["id_column"], "repair": repair}
    check_options(given_options(asked), fitted.encoder.modality, f"{model} was fitted on")
    if engine != "auto":
        fitted = fitted.with_engine(engine)
    outputs = Outputs(score, explain or 0, p_values, also, fdr, repair)
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
