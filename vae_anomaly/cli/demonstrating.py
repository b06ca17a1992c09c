"""`vae-anomaly demo`. Loaded when the command runs."""

from __future__ import annotations

import shlex
from pathlib import Path

from vae_anomaly.cli.console import Console
from vae_anomaly.cli.fitting import fit_table
from vae_anomaly.cli.reporting import evaluate_table
from vae_anomaly.cli.scoring import score_table
from vae_anomaly.samples import write_samples
from vae_anomaly.storage.atomic import output_error

__all__ = ["run_demo"]


def run_demo(console: Console, output: str, *, max_steps: int) -> None:
    """Write the samples, then run the three commands on them, showing each.

    Parameters
    ----------
    console : Console
    output : str
        Directory; created if need be.
    max_steps : int
        Gradient steps of training.
    """
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise output_error(folder, cause) from cause
    normal, labelled = write_samples(folder)
    model, scores, report = folder / "model.vae", folder / "scores.csv", folder / "report"
    steps = [] if max_steps == 3000 else ["--max-steps", max_steps]

    def echo(*words: object) -> None:
        console.say(f"\n$ vae-anomaly {shlex.join(map(str, words))}")

    console.say(f"samples: {normal}, {labelled}")
    # 80 calibration rows are too few for the default rate of 0.01.
    echo("fit", normal, "-o", model, "--false-alarm-rate", 0.05, *steps)
    fit_table(
        console,
        str(normal),
        str(model),
        without=(),
        false_alarm_rate=0.05,
        max_steps=max_steps,
        random_state=0,
    )
    echo("score", model, labelled, "-o", scores, "--id-column", "id", "--explain", 3)
    score_table(console, str(model), str(labelled), str(scores), explain=3, id_column="id")
    echo(
        *("evaluate", model, labelled, "-o", report),
        *("--label-column", "diagnosis", "--id-column", "id"),
    )
    evaluate_table(
        console,
        *(str(model), str(labelled), str(report)),
        label_column="diagnosis",
        id_column="id",
    )
