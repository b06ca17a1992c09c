"""Fit of a detector to a source, with a limit on memory, progress and an early end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.base import clone

from vae_anomaly._text import counted
from vae_anomaly._types import JsonObject, Parameter
from vae_anomaly.data.base import Records, Source
from vae_anomaly.data.registry import modality
from vae_anomaly.estimator import VAEDetector
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.model.file import save_model
from vae_anomaly.model.model import Model
from vae_anomaly.model.parameters import DENSE_MEMBERS
from vae_anomaly.pipeline.facts import threshold_facts
from vae_anomaly.pipeline.interrupt import check_signals, stop_on_interrupt
from vae_anomaly.pipeline.memory import USUAL_LATENT_DIM, rows_within
from vae_anomaly.pipeline.messages import threshold_note
from vae_anomaly.pipeline.options import Options, divide, given_options
from vae_anomaly.pipeline.progress import Progress, no_progress
from vae_anomaly.pipeline.reading import read_sample
from vae_anomaly.pipeline.work import Say
from vae_anomaly.training.checkpoint import Checkpoint
from vae_anomaly.training.history import History

__all__ = [
    "FitOptions",
    "FitResult",
    "TrainingData",
    "fit",
    "fit_file",
    "fit_options",
    "read_training_data",
]

HOLDOUT = 0.2
"""Share of the normal records of a source with labels that is held out for an evaluation."""

MAX_FEATURE_BYTES = 2**28
"""Bytes of the records that a fit with features learns from: it learns but parts of each."""

NOTICE = "ending after this validation interval; Ctrl-C again stops at once and leaves nothing"

OF_BOTH = ("column_types", "features", "missing_values", "pixel_range")
"""Options that both the source and the detector take."""

OF_NEITHER = ("memory_limit", "holdout", "keep_partial")
"""Options that neither of them takes."""


class FitOptions(NamedTuple):
    """Options of the command that have a value.

    Attributes
    ----------
    source : dict
        Those that open a source, see `data.base.Modality.open`.
    parameters : dict
        Parameters of `VAEDetector`.
    """

    source: dict[str, Parameter]
    parameters: dict[str, Parameter]


class TrainingData(NamedTuple):
    """Records of a source to learn from.

    Attributes
    ----------
    source : Source
    records : records
        All readable ones, or a random sample of them.
    n_seen : int
        Readable records of the source.
    n_held_out : int
        Of the records that fit into memory, those that are not learned.
    """

    source: Source
    records: Records
    n_seen: int
    n_held_out: int = 0

    def notes(self) -> Sequence[str]:
        """Return lines to report before training."""
        unit, count = self.source.unit, len(self.records) + self.n_held_out
        lines = list(self.source.training_notes(self.records))
        if count < self.n_seen:
            lines.append(
                f"learning from {count:,} of {self.n_seen:,} {unit}s, drawn at random: more do not "
                f"fit into the memory allowed"
            )
        if self.n_held_out:
            lines.append(
                f"held out {self.n_held_out:,} of {counted(count, unit)}: `evaluate` on the same "
                f"data uses these, and leaves out the others"
            )
        return lines


class FitResult(NamedTuple):
    """Fitted model, and how the fit went.

    Attributes
    ----------
    model : Model
    seconds : float
        Duration of training.
    interrupted : bool
        Whether training ended early on a signal.
    checkpoint : Checkpoint or None
        From where the fit can go on.
    """

    model: Model
    seconds: float
    interrupted: bool = False
    checkpoint: Checkpoint | None = None

    def notes(self, source: Source) -> Sequence[str]:
        """Return lines to report after a fit to a source."""
        history = self.model.history
        return [
            f"trained for {history.step[-1]:,} steps in {self.seconds:.1f} s, "
            f"{history.describe(source.unit)}",
            *source.fit_notes(self.model.encoder),
            threshold_note(self.model),
        ]

    def facts(self, data: TrainingData) -> JsonObject:
        """Return plain values for JSON."""
        return {
            "unit": data.source.unit,
            "n_records": len(data.records),
            "n_seen": data.n_seen,
            "n_held_out": data.n_held_out,
            "n_skipped": len(data.source.skipped),
            "n_steps": self.model.history.step[-1],
            "loss": self.model.history.loss[-1],
            "seconds": self.seconds,
            "interrupted": self.interrupted,
            **threshold_facts(self.model),
        }

    def interruption(self) -> Sequence[str]:
        """Return lines to report if training ended early, else none."""
        if not self.interrupted:
            return ()
        steps, max_steps = self.model.history.step[-1], self.model.parameters["max_steps"]
        lines = [
            f"interrupted after {steps:,} of {max_steps:,} steps: kept the best weights so far"
        ]
        if self.checkpoint is not None:
            lines.append(f"the same command goes on from {self.checkpoint.path}")
        return lines


def fit_options(given: Options) -> FitOptions:
    """Return the options of the command `fit` for the source, and for the detector.

    Raises
    ------
    ParameterError
        If two of them exclude each other, or one needs another one.
    OutputError
        If checkpoints cannot be written.
    """
    if None not in (given["contamination"], given["false_alarm_rate"]):
        raise ParameterError(
            "--contamination and --false-alarm-rate both choose the threshold. Give one of them."
        )
    parameters, source = divide(given, VAEDetector().get_params())
    source = {name: value for name, value in source.items() if name not in OF_NEITHER}
    if "checkpoint" in parameters:
        Checkpoint(parameters["checkpoint"]).check()
    source |= given_options(parameters, OF_BOTH)
    types = parameters.pop("column_types", {})
    parameters["column_types"] = {n: t for n, t in types.items() if t != "ignore"} or None
    return FitOptions(source, parameters)


def read_training_data(
    source: Source,
    parameters: Mapping[str, Parameter],
    *,
    memory_limit: int | None = None,
    holdout: float | None = None,
    progress: Progress = no_progress,
) -> TrainingData:
    """Read and check all records of a source, and keep as many as memory allows.

    Parameters
    ----------
    source : Source
    parameters : mapping
        Those of `VAEDetector`; the networks and the seed matter here.
    memory_limit : int, optional
        Bytes below which the peak of the process is to stay. Of more records than fit, a random
        sample is kept.
    holdout : float in [0, 1), optional
        Share of the records not to learn, drawn at random; by default `HOLDOUT` of a source with
        labels, else none.
    progress : Progress, optional

    Returns
    -------
    TrainingData

    Raises
    ------
    ParameterError
        If the memory limit is too low.
    DataError
        If a record cannot be used, or there are fewer than two.
    """
    members = parameters.get("n_members") or DENSE_MEMBERS
    latent = parameters.get("latent_dim") or USUAL_LATENT_DIM

    def max_records() -> int | None:
        if parameters.get("features") is not None:
            return max(2, MAX_FEATURE_BYTES // math.prod(source.record_shape))
        if memory_limit is None:
            return None
        return rows_within(memory_limit, source.max_numbers, members, latent)

    given = parameters.get("random_state")
    seed = given if isinstance(given, int) else 0
    records, n_seen = read_sample(source, progress, max_records, seed)
    source.require(len(records), 2, "Expected at least 2 to learn from.")
    if holdout is None:
        holdout = 0.0 if source.labels is None else HOLDOUT
    # Another generator than that of the sample.
    order = np.random.default_rng([seed, 1]).permutation(len(records))
    learned = np.sort(order[round(holdout * len(records)) :])
    if len(learned) == len(records):
        return TrainingData(source, records, n_seen)
    return TrainingData(source, records[learned], n_seen, len(records) - len(learned))


def fit(
    detector: VAEDetector | Mapping[str, Parameter],
    data: Source | TrainingData,
    *,
    memory_limit: int | None = None,
    progress: Progress = no_progress,
    work: str = "training",
    say: Say | None = None,
    stop: Callable[[], bool] | None = None,
) -> FitResult:
    """Fit a detector to a source.

    Parameters
    ----------
    detector : VAEDetector or mapping
        The detector, which is not changed, or its parameters.
    data : Source or TrainingData
    memory_limit : int, optional
        Bytes; see `read_training_data`.
    progress : Progress, optional
    work : str, default="training"
        What progress calls the work.
    say : callable, optional
        Receives a line where the fit resumes from a checkpoint.
    stop : callable, optional
        Returns, after each validation interval, whether training is to end; the best weights so
        far are kept.

    Returns
    -------
    FitResult

    Raises
    ------
    ParameterError, DataError, DivergenceError, CheckpointError, OutputError
        As `VAEDetector.fit`.
    """
    fresh = VAEDetector(**detector) if isinstance(detector, Mapping) else clone(detector)
    if not isinstance(data, TrainingData):
        data = read_training_data(
            data, fresh.get_params(), memory_limit=memory_limit, progress=progress
        )
    source, start = data.source, time.monotonic()
    user_callback = fresh.callback
    with progress(work, fresh.max_steps, unit=f"{source.unit}s", each=fresh.batch_size) as update:
        n_intervals = 0

        def after_interval(history: History) -> bool:
            nonlocal n_intervals
            if n_intervals == 0 and len(history.step) > 1 and say is not None:
                checkpoint = Checkpoint(fresh.checkpoint or "")
                say(f"going on from {checkpoint.path}, after {history.step[-2]:,} steps")
            n_intervals = len(history.step)
            update(history.step[-1], f"loss {history.loss[-1]:.4g} nats")
            ended = user_callback is not None and bool(user_callback(history))
            return ended or (stop is not None and stop())

        fresh.set_params(callback=after_interval, **source.parameters(fresh))
        fresh.fit(source.training_data(data.records))
    model = fresh.model_
    bound = modality(model.encoder.modality).bind(model.encoder, source)
    return FitResult(replace(model, encoder=bound), time.monotonic() - start)


def fit_file(
    parameters: Mapping[str, Parameter],
    data: TrainingData,
    path: str,
    *,
    keep_partial: bool = False,
    notice: str = NOTICE,
    progress: Progress = no_progress,
    say: Say | None = None,
) -> FitResult:
    """Fit a detector, and write the model file.

    Parameters
    ----------
    parameters : mapping
        Those of `VAEDetector`.
    data : TrainingData
    path : str
        Model file.
    keep_partial : bool, default=False
        Make the first SIGINT end training early instead of raising KeyboardInterrupt.
    notice : str, optional
        Written to standard error at that moment.
    progress : Progress, optional
    say : callable, optional
        Receives a line where the fit resumes from a checkpoint.

    Returns
    -------
    FitResult

    Raises
    ------
    ParameterError, DataError, DivergenceError, CheckpointError, OutputError
        As `VAEDetector.fit`, and if the file cannot be written.
    """
    checkpoint = parameters.get("checkpoint")
    if checkpoint is not None:
        checkpoint = Checkpoint(checkpoint)
        if Path(path).resolve() == checkpoint.path.resolve():
            raise ParameterError(
                f"The output {path} is also the checkpoint. Choose another output."
            )
        # With a Checkpoint, the detector leaves its file until the model is saved.
        parameters = {**parameters, "checkpoint": checkpoint}
    # The signal may come in training, in what follows, or while the file is written: all that is
    # left to do takes a moment, and the model is whole.
    with stop_on_interrupt(notice) if keep_partial else nullcontext(_never) as interrupted:
        result = fit(parameters, data, progress=progress, say=say, stop=interrupted)
        check_signals()  # a second one may have come where Python had to ignore it
        save_model(result.model, path)
        result = result._replace(interrupted=interrupted(), checkpoint=checkpoint)
        if checkpoint is not None and not result.interrupted:
            checkpoint.remove()
    return result


def _never() -> bool:
    return False
