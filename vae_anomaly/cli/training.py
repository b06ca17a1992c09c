"""Training with its progress shown, and what becomes of it when somebody presses Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from vae_anomaly.cli.console import Console
from vae_anomaly.cli.exits import Exit, say, stop_if_told
from vae_anomaly.cli.finishing import finishing
from vae_anomaly.data.image.schema import ImageSchema
from vae_anomaly.persistence import save
from vae_anomaly.training.history import History

__all__ = ["fit_and_save", "train"]

UNIT = "images"
"""What the speed on images is counted in."""

ENDING = "ending after this round of training; Ctrl-C again stops at once and leaves nothing"


def fit_and_save(
    console: Console,
    detector: Any,
    X: Any,
    output: str,
    *,
    schema: ImageSchema | None = None,
    keep_partial: bool = False,
) -> tuple[float, Exit]:
    """Fit a detector and write its file.

    Parameters
    ----------
    console : Console
    detector : VAEDetector
    X : DataFrame or ndarray
        Rows, or images with `schema`.
    output : str
        Model file to write.
    schema : ImageSchema, optional
    keep_partial : bool, default=False
        Make SIGINT end training early instead of the command at once.

    Returns
    -------
    seconds : float
        That training took.
    Exit
    """
    checkpoint = detector.checkpoint
    if checkpoint is not None and Path(output).resolve() == checkpoint.path.resolve():
        raise click.UsageError(
            f"The output {output} is also the checkpoint. Choose another output."
        )
    start = time.monotonic()
    notice = "" if console.quiet else ENDING
    # Whether it comes in training, in what follows or while the file is written: all that is
    # left to do takes a moment, and the model is whole.
    with finishing(notice) if keep_partial else nullcontext(_never) as told:
        train(console, detector, X, unit="" if schema is None else UNIT, end=told)
        seconds = time.monotonic() - start
        stop_if_told()  # a second one, if it came where Python had to ignore it
        if schema is not None:
            encoder = replace(detector.model_.encoder, resize=schema.resize)
            detector.model_ = replace(detector.model_, encoder=encoder)
        detector.checkpoint = None
        save(detector, output)
        detector.checkpoint = checkpoint
        interrupted = told()
        if checkpoint is not None and not interrupted:
            checkpoint.remove()
    if not interrupted:
        return seconds, Exit.DONE
    say(
        f"interrupted after {detector.history_.step[-1]:,} of {detector.max_steps:,} steps: "
        f"kept the best weights so far"
    )
    if checkpoint is not None:
        say(f"the same command goes on from {checkpoint.path}")
    return seconds, Exit.INTERRUPTED


def train(
    console: Console,
    detector: Any,
    X: Any,
    *,
    work: str = "training",
    unit: str = "",
    end: Callable[[], bool] | None = None,
) -> None:
    """Fit a detector with its progress shown.

    Parameters
    ----------
    console : Console
    detector : VAEDetector
    X : DataFrame or ndarray
    work : str, default="training"
    unit : str, optional
        What the speed is to be counted in.
    end : callable, optional
        Tells after each round whether that is to be the last.
    """
    each = detector.batch_size if unit else 1
    with console.progress(work, detector.max_steps, unit=unit, each=each) as update:
        rounds = 0

        def after_round(history: History) -> bool:
            nonlocal rounds
            if rounds == 0 and len(history.step) > 1:
                where = detector.checkpoint.path
                console.say(f"going on from {where}, after {history.step[-2]:,} steps")
            rounds = len(history.step)
            update(history.step[-1], f"loss {history.loss[-1]:.4g} nats")
            return end is not None and end()

        detector.callback = after_round
        detector.fit(X)
    detector.callback = None


def _never() -> bool:
    return False
