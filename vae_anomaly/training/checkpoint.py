"""How far a fit is, in a file from which a later fit of the same goes on.

The file is laid out as a model's is: settings and arrays, of which nothing runs.
What it does not hold is made again from the data and the seed, the starting
weights and the order of the rows among it. So that both are the same, it says of
which fit it is, and whatever differs is told instead of gone on from.
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
from vae_anomaly.storage.atomic import check_writable, output_error
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
    remedy=" To start anew, delete it or choose another directory.",
)

FILE = "fit.checkpoint"

KEPT_SHARE = 0.05
"""Of the time, that writing may take: where it takes long, it is done less often."""

SAME_LOSS = 1e-3
"""Relative difference of losses that other processors may make."""

LIBRARIES = ("keras", "numpy", "tensorflow")

NOT_OF_THE_FIT = ("callback", "checkpoint")
"""Parameters that change nothing about what is learned."""

MAX_SHOWN_LENGTH = 40


@dataclass(frozen=True)
class Checkpoint:
    """A directory where a fit keeps how far it is, until `remove` is called.

    A detector that is given the directory alone removes its file when it is fitted.
    Given this, it leaves that to whoever made it: after the detector was saved, say,
    so that no moment is left in which hours of training could be lost.

    Parameters
    ----------
    folder : str or PathLike
        Directory; made if need be.

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
        """The file in it."""
        return Path(self.folder, FILE)

    def check(self) -> None:
        """Find out, before long work begins, whether the file can be written.

        Raises
        ------
        OutputError
            If it cannot.
        """
        folders = (self.path.parent, *self.path.parent.parents)
        check_writable(next(filter(Path.exists, folders), folders[0]) / FILE)

    def remove(self) -> None:
        """Remove the file, if there is one.

        Raises
        ------
        OutputError
            If that is not possible.
        """
        try:
            self.path.unlink(missing_ok=True)
        except NotADirectoryError:
            return
        except OSError as cause:
            raise output_error(self.path, cause) from cause


class Snapshot(NamedTuple):
    """All that training goes on from.

    Attributes
    ----------
    arrays : dict of str to ndarray, float32
        Weights, and what the optimizer remembers.
    losses : ndarray of shape (rounds, n), float64
        What the history says of each round.
    intervals_since_best : int
        Rounds since a network last did better.
    generator : tuple of int
        State of the generator of noise, see `generator_state`.
    """

    arrays: dict[str, NDArray[np.float32]]
    losses: NDArray[np.float64]
    intervals_since_best: int
    generator: tuple[int, ...]

    def layout(self, rounds: int) -> Layout:
        """Types and shapes of all arrays, after so many rounds."""
        layout: Layout = {name: ("F32", array.shape) for name, array in self.arrays.items()}
        return layout | {"losses": ("F64", (rounds, self.losses.shape[1]))}


class Checkpointer:
    """Keeps how far one fit is, and finds it again.

    Parameters
    ----------
    checkpoint : Checkpoint
    fit : dict
        What a fit must have in common with this one to go on from it, in plain values.
    removes : bool
        Whether `done` removes the file.
    """

    def __init__(self, checkpoint: Checkpoint, fit: JsonObject, *, removes: bool) -> None:
        self.checkpoint, self.removes = checkpoint, removes
        self._fit = fit
        self._kept_at, self._seconds = -math.inf, 0.0

    def find(self, start: Snapshot, first_loss: float, most_rounds: int) -> Snapshot | None:
        """Look for how far this fit was when it ended before its time.

        Parameters
        ----------
        start : Snapshot
            Before the first step, for what makes this fit and for the shapes.
        first_loss : float
            What the starting weights make of rows: networks may differ in more.
        most_rounds : int
            Of training.

        Raises
        ------
        CheckpointError
            If the file is damaged, or of another fit.
        OSError
            If it cannot be read.
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
                f"{file.name} is the checkpoint of another fit: {words}. To go on from it, fit "
                f"as before.{CHECKPOINT.remedy}"
            )
        if config["rounds"] > most_rounds:
            raise file.refused(f"expected at most {most_rounds} rounds, got {config['rounds']}")
        # Looked at last: of another fit the arrays have other shapes, and that says less.
        arrays = {k: v.copy() for k, v in file.arrays(start.layout(config["rounds"])).items()}
        losses = arrays.pop("losses")
        return Snapshot(arrays, losses, config["intervals_since_best"], tuple(config["generator"]))

    def keep(self, snapshot: Snapshot) -> None:
        """Write how far the fit is.

        Raises
        ------
        OutputError
            If that is not possible; what was kept before is untouched.
        """
        start = time.monotonic()
        config = {
            "fit": self._fit,
            "generator": list(snapshot.generator),
            "rounds": len(snapshot.losses),
            "intervals_since_best": snapshot.intervals_since_best,
        }
        arrays: dict[str, tuple[str, AnyArray]] = {
            name: ("F32", array) for name, array in snapshot.arrays.items()
        }
        with suppress(OSError):  # which writing says better
            self.checkpoint.path.parent.mkdir(parents=True, exist_ok=True)
        write_container(
            self.checkpoint.path, config, arrays | {"losses": ("F64", snapshot.losses)}, CHECKPOINT
        )
        self._kept_at = time.monotonic()
        self._seconds = self._kept_at - start

    @property
    def is_due(self) -> bool:
        """Whether it is time to keep again."""
        return time.monotonic() - self._kept_at >= self._seconds / KEPT_SHARE

    def done(self) -> None:
        """Tidy up after the fit."""
        if self.removes:
            self.checkpoint.remove()


def checkpointer_for(
    detector: Json, rows: NDArray[np.float64], shape: tuple[int, ...]
) -> Checkpointer | None:
    """Make what keeps how far the fit of a detector on rows is, if it is to be kept.

    `shape` is that of the data before they were made a matrix of rows.

    Raises
    ------
    ParameterError
        If a later fit could not draw the same random numbers.
    OutputError
        If the file could not be written.
    """
    given = detector.checkpoint
    if given is None:
        return None
    if not isinstance(detector.random_state, int | np.integer):
        raise ParameterError(
            f"The 'random_state' parameter of {type(detector).__name__} must be an int if there "
            f"is a checkpoint, so that the fit that goes on draws the same. Got "
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
                if name not in NOT_OF_THE_FIT
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
    """Tell the state of a generator in six numbers."""
    state: Json = bits.state
    words = (*state["state"]["state"], state["has_uint32"], state["uinteger"])
    return tuple(int(word) for word in words)


def set_generator_state(bits: np.random.SFC64, state: tuple[int, ...]) -> None:
    """Undo `generator_state`."""
    *words, has_uint32, uinteger = state
    bits.state = {
        "bit_generator": "SFC64",
        "state": {"state": np.array(words, dtype=np.uint64)},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }


GENERATOR_BITS = (64, 64, 64, 64, 1, 32)
"""Of the numbers of `generator_state`."""


def _names(detector: Json) -> list[str]:
    return [str(name) for name in getattr(detector, "feature_names_in_", ())]


def _plain(value: Json) -> Json:
    """Say what a parameter is in a value that JSON knows."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, tuple | list):
        # Of networks of the user's own more is known: their weights, and what these make of rows.
        return [int(v) if isinstance(v, int | np.integer) else type(v).__name__ for v in value]
    return value if isinstance(value, int | float | str | None) else repr(value)


def _check_settings(file: UnopenedFile) -> None:
    """Hold the settings of a checkpoint against a closed schema."""
    config = file.config
    if not isinstance(config, dict) or set(config) != {
        "fit",
        "generator",
        "rounds",
        "intervals_since_best",
    }:
        raise file.refused("its settings are not those of a checkpoint")
    fit = config["fit"]
    types = {"parameters": dict, "rows": str, "versions": dict, "weights": str, "first_loss": float}
    if (
        not isinstance(fit, dict)
        or set(fit) != set(types)
        or any(type(fit[name]) is not kind for name, kind in types.items())
    ):
        raise file.refused("it does not say of which fit it is")
    rounds, generator = config["rounds"], config["generator"]
    if type(rounds) is not int or rounds < 1:
        raise file.refused("rounds must be an int >= 1")
    if (
        type(config["intervals_since_best"]) is not int
        or not 0 <= config["intervals_since_best"] <= rounds
    ):
        raise file.refused("intervals_since_best must be an int within its rounds")
    if (
        not isinstance(generator, list)
        or len(generator) != len(GENERATOR_BITS)
        or any(type(word) is not int for word in generator)
        or any(not 0 <= w < 2**b for w, b in zip(generator, GENERATOR_BITS, strict=True))
    ):
        raise file.refused("the state of its generator is not one")


def _differences(before: JsonObject, now: JsonObject) -> list[str]:
    """Say in what two fits differ."""
    found = []
    for part in ("versions", "parameters"):
        for name in sorted({*before[part], *now[part]}):
            old, new = before[part].get(name), now[part].get(name)
            if old != new:
                found.append(f"{_shown(name)} was {_shown(old)} and is {_shown(new)}")
    if before["rows"] != now["rows"]:
        found.append("the training rows are others")
    same_loss = math.isclose(before["first_loss"], now["first_loss"], rel_tol=SAME_LOSS)
    if not found and (before["weights"] != now["weights"] or not same_loss):
        found.append("the networks are others, or start from other weights")
    return found


def _shown(value: Json) -> str:
    text = value if isinstance(value, str) and value.isidentifier() else repr(value)
    return text if len(text) <= MAX_SHOWN_LENGTH else f"{text[: MAX_SHOWN_LENGTH - 3]}..."
