"""`vae-anomaly demo`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from vae_anomaly.cli.commands import cli
from vae_anomaly.pipeline.work import Done, Work
from vae_anomaly.samples import sample_results, write_samples
from vae_anomaly.storage.atomic import make_folder, output_error

__all__ = ["run"]


def run(work: Work, output: str, *, max_steps: int) -> Done:
    """Write the samples, run the three commands on them, and say in three lines what came out."""
    folder = Path(output)
    try:
        make_folder(folder)
    except OSError as cause:
        raise output_error(folder, cause) from cause
    normal, labelled = write_samples(folder)
    model, scores, report = folder / "model.vae", folder / "scores.csv", folder / "report"
    steps = [] if max_steps == 3000 else ["--max-steps", max_steps]  # the default of `fit`
    names = ["--label-column", "diagnosis", "--id-column", "id"]
    work.say(f"samples: {normal}, {labelled}")
    # 80 calibration rows are too few for the default rate of 0.01.
    _command(work, "fit", normal, "-o", model, "--false-alarm-rate", 0.05, *steps)
    _command(work, "score", model, labelled, "-o", scores, *names[2:], "--explain", 3)
    _command(work, "evaluate", model, labelled, "-o", report, *names)
    lines = sample_results(labelled, scores, report / "report.html")
    return Done(["", *lines], {"model": model, "scores": scores, "report": report})


def _command(work: Work, *words: object) -> None:
    """Show a command line, and run it."""
    work.say(f"\n$ vae-anomaly {shlex.join(map(str, words))}")
    asked = click.get_current_context().params
    switches = [f"--{name}" for name in ("quiet", "debug") if asked[name]]
    cli.main([*map(str, words), *switches], prog_name="vae-anomaly", standalone_mode=False)
