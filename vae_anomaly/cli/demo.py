"""`vae-anomaly demo`."""

from __future__ import annotations

import shlex
from pathlib import Path

from vae_anomaly.cli.commands import cli
from vae_anomaly.cli.console import Console
from vae_anomaly.samples import sample_results, write_samples
from vae_anomaly.storage.atomic import make_folder, output_error

__all__ = ["run"]


def run(console: Console, output: str, *, max_steps: int) -> None:
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
    console.say(f"samples: {normal}, {labelled}")
    # 80 calibration rows are too few for the default rate of 0.01.
    _command(console, "fit", normal, "-o", model, "--false-alarm-rate", 0.05, *steps)
    _command(console, "score", model, labelled, "-o", scores, *names[2:], "--explain", 3)
    _command(console, "evaluate", model, labelled, "-o", report, *names)
    console.facts.update(model=model, scores=scores, report=report)
    console.say("", *sample_results(labelled, scores, report / "report.html"))


def _command(console: Console, *words: object) -> None:
    """Show a command line, and run it."""
    console.say(f"\n$ vae-anomaly {shlex.join(map(str, words))}")
    texts = [*map(str, words), *["-q"] * console.quiet, *["--debug"] * console.debug]
    cli.main(texts, prog_name="vae-anomaly", standalone_mode=False)
