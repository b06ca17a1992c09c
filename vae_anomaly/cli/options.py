"""What commands share, and the options about thresholds."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

from vae_anomaly.cli.console import Console

__all__ = [
    "CRITERIA",
    "ENGINE",
    "ENGINE_NAMES",
    "FALSE_ALARM_RATE",
    "FDR",
    "ID_COLUMN",
    "INPUT",
    "P_VALUES",
    "SCORE_NAMES",
    "STRICT_IMAGES",
    "common",
    "examples",
    "labelled_thresholds",
]

Command = TypeVar("Command", bound=Callable[..., Any])

INPUT = click.Path()
"""No check by click: a missing file is exit 5 with our sentence, not wrong usage."""


def examples(*lines: str) -> str:
    """Spell examples below the options of a command, with click's mark against filling lines."""
    return "\n".join(
        ["\b", "Examples:" if len(lines) > 1 else "Example:", *(f"  {x}" for x in lines)]
    )


def common(command: Command) -> Any:
    """Add --quiet and --debug, and hand the command its console."""

    @click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @wraps(command)
    def run(*args: Any, quiet: bool, debug: bool, **kwargs: Any) -> Any:
        # TensorFlow reads these when it is imported, later than this.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # others use the GPU as well
        os.environ["KERAS_BACKEND"] = "tensorflow"
        import logging

        if not debug:  # that it found no folder for its cache is nobody's business
            logging.getLogger("matplotlib").setLevel(logging.ERROR)
        console = Console(quiet=quiet, debug=debug)
        with console.warnings():
            return command(console, *args, **kwargs)

    return run


SCORE_NAMES = (
    "auto",
    "exemplar",
    "elbo",
    "importance_weighted",
    "reconstruction",
    "kl",
    "typicality",
    "latent_distance",
)
"""What scores offers; it costs the import of NumPy. A test compares them."""

ID_COLUMN = click.option(
    "--id-column", metavar="NAME", help="Column that identifies a row; it is not scored."
)
STRICT_IMAGES = "Refuse images that cannot be read; else they are passed over, and named."

SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)

FALSE_ALARM_RATE = click.option(
    "--false-alarm-rate",
    type=SHARE,
    help="Share of normal rows that may be flagged.  [default: that of MODEL]",
)

FDR = click.option(
    "--fdr",
    type=SHARE,
    metavar="SHARE",
    help="Choose the threshold for this DATA so that at most this share of what is flagged is "
    "expected to be normal (Benjamini-Hochberg). DATA is scored twice.",
)

P_VALUES = click.option(
    "--p-values",
    is_flag=True,
    help="Add p_value: the share of the model's calibration rows that are as strange.",
)

CRITERIA = ("cost_miss", "cost_false_alarm", "min_recall", "min_precision", "f_beta")
"""Names of the options below."""

LABELLED = (
    click.option(
        "--cost-miss",
        type=click.FloatRange(0, min_open=True),
        metavar="COST",
        help="What an anomaly that is not flagged costs: also show the cheapest threshold on DATA. "
        " [default with --cost-false-alarm: 1]",
    ),
    click.option(
        "--cost-false-alarm",
        type=click.FloatRange(0, min_open=True),
        metavar="COST",
        help="What a normal row that is flagged costs.  [default with --cost-miss: 1]",
    ),
    click.option(
        "--min-recall",
        type=click.FloatRange(0, 1, min_open=True),
        metavar="SHARE",
        help="Also show the highest threshold that finds this share of the anomalies.",
    ),
    click.option(
        "--min-precision",
        type=click.FloatRange(0, 1, min_open=True),
        metavar="SHARE",
        help="Also show the threshold that finds most while this share of what it flags is right.",
    ),
    click.option(
        "--f-beta",
        type=click.FloatRange(0, min_open=True),
        metavar="BETA",
        help="Also show the threshold of the greatest F-beta; 1 weighs recall and precision alike, "
        "2 recall more.",
    ),
)


def labelled_thresholds(command: Command) -> Command:
    """Add the options that ask for other thresholds, where there are labels to judge them by."""
    for option in reversed(LABELLED):
        command = option(command)
    return command


ENGINE_NAMES = ("auto", "numpy", "onnx", "tensorflow")
ENGINE = click.option(
    "--engine",
    type=click.Choice(ENGINE_NAMES),
    default="auto",
    show_default=True,
    help="What runs the networks; auto is numpy for dense ones, else tensorflow.",
)
