"""Checkpoints for resuming an interrupted fit.

The layout is that of a model file: settings and arrays, no code. The file holds
only what cannot be recomputed from the data and the seed; the initial weights and
the order of the rows can. It also identifies its fit, so that a fit with other
data, parameters, versions or networks is refused instead of resumed.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import AnyArray, Json, JsonObject
from vae_anomaly._version import __version__
from vae_anomaly.exceptions import CheckpointError, ParameterError
from vae_anomaly.storage.atomic import check_name, check_writable, make_folder, output_error
from vae_anomaly.storage.container import (
    MODEL,
    FileType,
    Layout,
    UnopenedFile,
    canonical,
    open_container,
    write_container,
)

__all__ = [
    "Checkpoint",
    "Checkpointer",
    "Snapshot",
    "generator_state",
    "checkpointer_for",
    "set_generator_state",
]

CHECKPOINT = FileType(
    format="vae-anomaly checkpoint",
    version=1,
    label="checkpoint",
    writer="fit",
    max_bytes=8 * MODEL.max_bytes,
    error=CheckpointError,
    remedy=" To start over, delete it or choose another directory.",
)

FILE = "fit.checkpoint"

MAX_WRITE_SHARE = 0.05
"""Share of the time that writing may take. Slow writes happen less often."""

LOSS_TOLERANCE = 1e-3
"""Relative difference between losses that different processors may cause."""

LIBRARIES = ("keras", "numpy", "tensorflow")

HOOKS = ("callback", "checkpoint", "verbose")
"""Parameters without effect on the fitted model, which does not hold them."""

MAX_SHOWN_LENGTH = 40


@dataclass(frozen=True)
class Checkpoint:
    """Directory for the checkpoint of a fit, kept until `remove` is called.

    A detector that gets only the path of the directory removes the file at the end
    of `fit`. With a `Checkpoint`, the caller removes it, for example after saving the
    detector, so that the training is never lost in between.

    Parameters
    ----------
    folder : str or PathLike
        Directory; created if missing.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from vae_anomaly import Checkpoint, VAEDetector, save
    >>> X = np.random.RandomState(0).normal(size=(50, 3))
    >>> folder = tempfile.mkdtemp()
    >>> checkpoint = Checkpoint(folder)
    >>> detector = VAEDetector(checkpoint=checkpoint, max_steps=20, random_state=0)
    >>> _ = save(detector.set_params(contamination=0.1).fit(X), f"{folder}/model.vae")
    >>> checkpoint.remove()
    """

    folder: str | os.PathLike[str]

    def __fspath__(self) -> str:
        return os.fspath(self.folder)

    @property
    def path(self) -> Path:
        """Path of the checkpoint file."""
        return Path(self.folder, FILE)

    def check(self) -> None:
        """Check that the file can be written, before training starts.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        check_name(self.path)
        folders = (self.path.parent, *self.path.parent.parents)
        check_writable(next(filter(Path.exists, folders), folders[0]) / FILE)

    def remove(self) -> None:
        """Remove the file if it exists.

        Raises
        ------
        OutputError
            If it cannot be removed.
        """
        try:
            self.path.unlink(missing_ok=True)
        except NotADirectoryError:
            return
        except OSError as cause:
            raise output_error(self.path, cause) from cause


class Snapshot(NamedTuple):
    """State from which training resumes.

    Attributes
    ----------
    arrays : dict of str to ndarray, float32
        Weights and optimizer state.
    losses : ndarray of shape (intervals, n), float64
        Losses of the history, a row for each validation interval.
    intervals_since_best : int
        Validation intervals since the last improvement of a member.
    generator : tuple of int
        State of the noise generator, see `generator_state`.
    """

    arrays: dict[str, NDArray[np.float32]]
    losses: NDArray[np.float64]
    intervals_since_best: int
    generator: tuple[int, ...]

    def layout(self, intervals: int) -> Layout:
        """Return types and shapes of all arrays after a number of validation intervals."""
        layout: Layout = {name: ("F32", array.shape) for name, array in self.arrays.items()}
        return layout | {"losses": ("F64", (intervals, self.losses.shape[1]))}


class Checkpointer:
    """Writer and reader of the checkpoint of one fit.

    Parameters
    ----------
    checkpoint : Checkpoint
    fit : dict
        Identity of the fit, in JSON values; only an equal fit may resume.
    removes : bool
        Whether `done` removes the file.
    """

    def __init__(self, checkpoint: Checkpoint, fit: JsonObject, *, removes: bool) -> None:
        self.checkpoint, self.removes = checkpoint, removes
        self._fit = fit
        self._written_at, self._seconds = -math.inf, 0.0

    def find(self, start: Snapshot, first_loss: float, max_intervals: int) -> Snapshot | None:
        """Return the snapshot of this fit, or None without a file.

        Parameters
        ----------
        start : Snapshot
            State before the first step: initial weights and array shapes.
        first_loss : float
            Loss of the initial weights; it differs between networks whose weights are equal.
        max_intervals : int
            Largest number of validation intervals that the file may record.

        Raises
        ------
        CheckpointError
            If the file is damaged or belongs to another fit.
        OSError
            If the file cannot be read.
        """
        digest = hashlib.sha256(start.arrays["weights"].tobytes()).hexdigest()
        first_loss = first_loss if math.isfinite(first_loss) else 0.0
        self._fit |= {"weights": digest, "first_loss": first_loss}
        try:
            file = open_container(self.checkpoint.path, CHECKPOINT)
        except FileNotFoundError:
            return None
        _check_settings(file)
        config = file.config
        if words := "; ".join(_differences(config["fit"], self._fit)):
            raise CheckpointError(
                f"{file.name} is the checkpoint of another fit: {words}. To resume it, fit "
                f"as before.{CHECKPOINT.remedy}"
            )
        if (intervals := config["intervals"]) > max_intervals:
            raise file.refused(f"expected at most {max_intervals} intervals, got {intervals}")
        # Arrays are checked last: a difference of parameters explains more than one of shapes.
        arrays = {k: v.copy() for k, v in file.arrays(start.layout(intervals)).items()}
        losses = arrays.pop("losses")
        return Snapshot(arrays, losses, config["intervals_since_best"], tuple(config["generator"]))

    def keep(self, snapshot: Snapshot) -> None:
        """Write a snapshot.

        Raises
        ------
        OutputError
            If it cannot be written; the previous checkpoint is left unchanged.
        """
        start = time.monotonic()
        config = {
            "fit": self._fit,
            "generator": list(snapshot.generator),
            "intervals": len(snapshot.losses),
            "intervals_since_best": snapshot.intervals_since_best,
        }
        arrays: dict[str, tuple[str, AnyArray]] = {
            name: ("F32", array) for name, array in snapshot.arrays.items()
        }
        with suppress(OSError):  # `write_container` reports it with the reason
            make_folder(self.checkpoint.path.parent)
        write_container(
            self.checkpoint.path, config, arrays | {"losses": ("F64", snapshot.losses)}, CHECKPOINT
        )
        self._written_at = time.monotonic()
        self._seconds = self._written_at - start

    @property
    def is_due(self) -> bool:
        """Whether the next snapshot should be written."""
        return time.monotonic() - self._written_at >= self._seconds / MAX_WRITE_SHARE

    def done(self) -> None:
        """Remove the file after the fit, if the fit owns it."""
        if self.removes:
            self.checkpoint.remove()


def checkpointer_for(
    detector: Json, rows: NDArray[np.float64], shape: tuple[int, ...]
) -> Checkpointer | None:
    """Return the checkpointer of a detector's fit, or None without a checkpoint.

    `shape` is the shape of the data before conversion to a matrix of rows.

    Raises
    ------
    ParameterError
        If `random_state` is no int, so that the random numbers could not be repeated.
    OutputError
        If the file cannot be written.
    """
    given = detector.checkpoint
    if given is None:
        return None
    if not isinstance(detector.random_state, int | np.integer):
        raise ParameterError(
            f"The 'random_state' parameter of {type(detector).__name__} must be an int if there "
            f"is a checkpoint, so that a resumed fit draws the same random numbers. Got "
            f"{detector.random_state!r} instead."
        )
    checkpoint = given if isinstance(given, Checkpoint) else Checkpoint(given)
    checkpoint.check()
    digest = hashlib.sha256(canonical([rows.shape, shape, *_names(detector)]).encode())
    digest.update(np.ascontiguousarray(rows).data)
    return Checkpointer(
        checkpoint,
        {
            "parameters": {
                name: _plain(value)
                for name, value in detector.get_params(deep=False).items()
                if name not in HOOKS
            },
            "rows": digest.hexdigest(),
            "versions": {
                "vae_anomaly": __version__,
                **{name: import_module(name).__version__ for name in LIBRARIES},
            },
        },
        removes=checkpoint is not given,
    )


def generator_state(bits: np.random.SFC64) -> tuple[int, ...]:
    """Return the state of a generator as six integers."""
    state: Json = bits.state
    words = (*state["state"]["state"], state["has_uint32"], state["uinteger"])
    return tuple(int(word) for word in words)


def set_generator_state(bits: np.random.SFC64, state: tuple[int, ...]) -> None:
    """Restore a state that `generator_state` returned."""
    *words, has_uint32, uinteger = state
    bits.state = {
        "bit_generator": "SFC64",
        "state": {"state": np.array(words, dtype=np.uint64)},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }


GENERATOR_BITS = (64, 64, 64, 64, 1, 32)
"""Size of each integer of `generator_state`."""


def _names(detector: Json) -> list[str]:
    return [str(name) for name in getattr(detector, "feature_names_in_", ())]


def _plain(value: Json) -> Json:
    """Convert a parameter to a JSON value."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, tuple | list):
        # Custom networks are identified by their weights and the loss of these.
        return [int(v) if isinstance(v, int | np.integer) else type(v).__name__ for v in value]
    return value if isinstance(value, int | float | str | None) else repr(value)


def _check_settings(file: UnopenedFile) -> None:
    """Check the settings of a checkpoint against a closed schema."""
    config = file.config
    if not isinstance(config, dict) or set(config) != {
        "fit",
        "generator",
        "intervals",
        "intervals_since_best",
    }:
        raise file.refused("its settings are not those of a checkpoint")
    fit = config["fit"]
    types = {"parameters": dict, "rows": str, "versions": dict, "weights": str, "first_loss": float}
    if (
        not isinstance(fit, dict)
        or set(fit) != set(types)
        or any(type(fit[name]) is not expected for name, expected in types.items())
    ):
        raise file.refused("it does not identify its fit")
    intervals, since_best = config["intervals"], config["intervals_since_best"]
    if type(intervals) is not int or intervals < 1:
        raise file.refused("intervals must be an int >= 1")
    if type(since_best) is not int or not 0 <= since_best <= intervals:
        raise file.refused("intervals_since_best must be an int between 0 and intervals")
    generator = config["generator"]
    if (
        not isinstance(generator, list)
        or len(generator) != len(GENERATOR_BITS)
        or any(type(word) is not int for word in generator)
        or any(not 0 <= w < 2**b for w, b in zip(generator, GENERATOR_BITS, strict=True))
    ):
        raise file.refused("its generator state is invalid")


def _differences(before: JsonObject, now: JsonObject) -> list[str]:
    """Describe each difference between two fits."""
    found = []
    for part in ("versions", "parameters"):
        for name in sorted({*before[part], *now[part]}):
            old, new = before[part].get(name), now[part].get(name)
            if old != new:
                found.append(f"{_shown(name)} was {_shown(old)} and is {_shown(new)}")
    if before["rows"] != now["rows"]:
        found.append("the training rows differ")
    same_loss = math.isclose(before["first_loss"], now["first_loss"], rel_tol=LOSS_TOLERANCE)
    if not found and (before["weights"] != now["weights"] or not same_loss):
        found.append("the networks or their initial weights differ")
    return found


def _shown(value: Json) -> str:
    text = value if isinstance(value, str) and value.isidentifier() else repr(value)
    return text if len(text) <= MAX_SHOWN_LENGTH else f"{text[: MAX_SHOWN_LENGTH - 3]}..."
