"""Models by path, digest or bytes, loaded once in a process."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from threading import Lock
from typing import NamedTuple, Protocol, TypeAlias

from vae_anomaly.exceptions import ModelFileError, ParameterError
from vae_anomaly.model.file import contents_of, model_of
from vae_anomaly.model.model import Model
from vae_anomaly.storage.container import open_container, packed, read_container

__all__ = ["ModelBytes", "ModelFile", "ModelLike", "loaded", "portable"]

MAX_LOADED = 4
"""Models that a process keeps."""


class ModelFile(NamedTuple):
    """Model file, and what it must hold: workers on other machines load the same model.

    Attributes
    ----------
    path : str
    sha256 : str
        As `save` returns it and `inspect` shows it.
    """

    path: str
    sha256: str

    @classmethod
    def of(cls, path: str | Path) -> ModelFile:
        """Read the digest of a file."""
        return cls(str(Path(path).resolve()), open_container(path).sha256)


class ModelBytes(NamedTuple):
    """Contents of a model file, which travel to machines that do not have the file.

    Attributes
    ----------
    content : bytes
    digest : str
        SHA-256 of the content.
    """

    content: bytes
    digest: str

    @classmethod
    def of(cls, content: bytes) -> ModelBytes:
        """Compute the digest."""
        return cls(content, hashlib.sha256(content).hexdigest())


class Fitted(Protocol):
    """Fitted detector."""

    @property
    def model_(self) -> Model:
        """Its model."""


ModelLike: TypeAlias = "Model | Fitted | ModelFile | ModelBytes | bytes | str | Path"
"""Model, fitted detector, or a model file by its path, its path and digest, or its content."""

_loaded: OrderedDict[Hashable, Model] = OrderedDict()
_lock = Lock()


def loaded(model: ModelLike) -> Model:
    """Return a model; one in a file is read once, and again when the file is another one.

    Parameters
    ----------
    model : Model, VAEDetector, ModelFile, ModelBytes, bytes, str or Path

    Returns
    -------
    Model

    Raises
    ------
    ModelFileError
        If it is not a sound model file, or not the one of a digest.
    ParameterError
        If it is a model of time series, or needs custom networks.
    OSError
        If a file cannot be read.
    """
    if isinstance(model, Model):
        return model
    if isinstance(model, bytes):
        model = ModelBytes.of(model)
    if isinstance(model, ModelBytes):
        content = model.content
        return _cached(model.digest, lambda: model_of(read_container(content, "the model")))
    if isinstance(model, ModelFile):
        path, expected = model
    elif isinstance(model, str | Path):
        path, expected = str(model), None
    elif isinstance(fitted := getattr(model, "model_", None), Model):
        return fitted
    else:
        raise ParameterError(
            f"Expected a model: a fitted VAEDetector, or the path or the bytes of a model file. "
            f"Got {type(model).__name__}. Fit it first, or load it."
        )
    return _cached(_state_of(path), lambda: _read(path, expected), expected)


def _state_of(path: str) -> Hashable:
    status = Path(path).stat()
    return path, status.st_ino, status.st_size, status.st_mtime_ns


def _read(path: str, expected: str | None) -> Model:
    file = open_container(path)
    if expected is not None and file.sha256 != expected:
        raise ModelFileError(
            f"{path} is another model than expected: its digest is {file.sha256[:12]}..., not "
            f"{expected[:12]}.... Copy the same model file to every machine."
        )
    return model_of(file)


def _cached(key: Hashable, load: Callable[[], Model], expected: str | None = None) -> Model:
    """Return a model that this process keeps, or load it."""
    key = key, expected
    with _lock:  # a second thread waits instead of loading the same model again
        if key in _loaded:
            _loaded.move_to_end(key)
            return _loaded[key]
        model = _loaded[key] = load()
        while len(_loaded) > MAX_LOADED:
            _loaded.popitem(last=False)
        return model


def portable(model: ModelLike) -> ModelBytes:
    """Return a model as the bytes of its file, for processes that cannot read the file.

    Raises
    ------
    ModelFileError, ParameterError, OSError
        As `loaded`.
    """
    if isinstance(model, ModelBytes):
        return model
    if isinstance(model, bytes):
        return ModelBytes.of(model)
    if isinstance(model, ModelFile | str | Path):
        loaded(model)  # checks it here, where the message is seen
        return ModelBytes.of(
            Path(model.path if isinstance(model, ModelFile) else model).read_bytes()
        )
    return ModelBytes.of(packed(*contents_of(loaded(model))).bytes)
