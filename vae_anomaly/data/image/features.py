"""Features of images from a network that the user has, an ONNX file or a Keras model, or without.

The network is never trained here and nothing is downloaded. Images are passed through it one
by one, so that the features of an image depend on no other image. Features are a grid of
vectors, one for each patch of the image; a network that makes one vector of an image makes a
grid of one patch.

An ONNX network with an input of floats gets pixels from 0 to 1, less the mean and divided by
the standard deviation of the photographs of ImageNet, as nearly all published ones expect;
one with an input of bytes, and a Keras model, get pixels from 0 to 255.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import AnyArray, JsonObject, KerasModel, OnnxModel, OnnxSession
from vae_anomaly.data.image.gradients import GradientFeatures
from vae_anomaly.data.image.resizing import stretched
from vae_anomaly.exceptions import DataError, ParameterError
from vae_anomaly.names import GRADIENTS, ONNX

__all__ = ["Features", "KerasFeatures", "OnnxFeatures", "open_features"]

Weights = NDArray[np.float32]
Bytes = NDArray[np.uint8]

DEFAULT_SIDE = 224
"""Side of the images, in pixels, for a network that takes any size."""

MAX_EXTRA_TOKENS = 8
"""Tokens before those of patches that do not stand for a place, such as the class token."""

MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], dtype=np.float32)
"""Of the channels of ImageNet, as torchvision and timm use them."""

OPENING = Lock()

MAX_THREADS = 8
"""Images that pass through a network at a time: each needs memory."""


class Features(Protocol):
    """A network that makes features of images."""

    @property
    def source(self) -> str:
        """What a model file names it: the address of an ONNX file, or "keras"."""

    @property
    def digest(self) -> str:
        """SHA-256 of the file, or of the structure and weights of the model."""

    @property
    def threads(self) -> int:
        """Images that may pass through it at a time."""

    def grid(self, image: Bytes) -> Weights:
        """Return the features of an image (height, width, channels): (h, w, d).

        Raises
        ------
        DataError
            If the network makes none of it.
        """


def open_features(given: str | KerasModel, beside: Path | None = None) -> Features:
    """Open the network that a user gave.

    Parameters
    ----------
    given : str or keras.Model
        ``onnx:path#node``: the path of an ONNX file, and the name of a node or tensor in it;
        without ``#node`` its first output. Or ``gradients``, which need no network.
    beside : Path, optional
        Folder in which the file is looked for if it is not at its path.

    Raises
    ------
    ParameterError
        If there is no such node, or ONNX Runtime is not installed.
    DataError
        If the file is no network of images.
    OSError
        If the file cannot be read.
    """
    if not isinstance(given, str):
        return KerasFeatures(given)
    if given == GRADIENTS:
        return GradientFeatures()
    path, _, node = given.removeprefix(ONNX).partition("#")
    place = Path(path)
    if beside is not None and not place.is_file() and (beside / place.name).is_file():
        place = beside / place.name
    digest = sha256()
    with place.open("rb") as file:
        while part := file.read(2**20):
            digest.update(part)
    return OnnxFeatures(given, digest.hexdigest(), str(place), node)


def as_grid(values: Weights, size: tuple[int, int], *, channels_first: bool) -> Weights:
    """Return the outputs of a network for one image as a grid of vectors: (h, w, d).

    Parameters
    ----------
    values : ndarray of shape (1, d), (1, tokens, d), (1, d, h, w) or (1, h, w, d)
        Tokens are patches, row by row, after up to `MAX_EXTRA_TOKENS` others.
    size : tuple of int
        Height and width of the image that the network sees.
    channels_first : bool
        Which of the last two it is.

    Raises
    ------
    DataError
        If they are none of these.

    Examples
    --------
    >>> as_grid(np.zeros((1, 257, 384), np.float32), (224, 224), channels_first=True).shape
    (16, 16, 384)
    """
    if values.ndim == 4:
        return np.ascontiguousarray(values[0].transpose(1, 2, 0) if channels_first else values[0])
    if values.ndim == 2:
        return values[0][None, None]
    if values.ndim == 3:
        for height, width in _grids(values.shape[1], size):
            return values[0][values.shape[1] - height * width :].reshape(height, width, -1)
    raise DataError(
        f"Expected features of the form (1, d), (1, tokens, d) or (1, d, h, w), got "
        f"{values.shape}. Name another node."
    )


def _grids(tokens: int, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the grids of square patches that fill an image and leave few tokens over."""
    common = math.gcd(*size)
    sides = [side for side in range(1, common + 1) if common % side == 0]
    grids = [(size[0] // side, size[1] // side) for side in sides]
    fits = [grid for grid in grids if 0 <= tokens - grid[0] * grid[1] <= MAX_EXTRA_TOKENS]
    return sorted(fits, key=lambda grid: -grid[0] * grid[1])


def _check_rank(shape: Sequence[object], what: str) -> None:
    if len(shape) != 4:
        raise DataError(
            f"Expected a network of images, with an input of four axes, got one of {len(shape)} "
            f"in {what}. Give another network."
        )


@dataclass(frozen=True)
class OnnxFeatures:
    """Features at a node of an ONNX file; see `Features`."""

    source: str
    digest: str
    path: str
    node: str

    @property
    def threads(self) -> int:
        """Images at a time: as many as there are cores, up to `MAX_THREADS`."""
        return min(os.cpu_count() or 1, MAX_THREADS)

    @property
    def _network(self) -> _OnnxNetwork:
        with OPENING:  # threads that all open it would each hold its weights
            return _onnx_network(self.digest, self.path, self.node)

    def grid(self, image: Bytes) -> Weights:
        """Return the features of an image: (h, w, d)."""
        return self._network.grid(image)


@dataclass(frozen=True, eq=False)
class _OnnxNetwork:
    """An open ONNX file."""

    session: OnnxSession
    output: str
    name: str
    is_bytes: bool
    channels_first: bool
    height: int
    width: int
    channels: int

    def grid(self, image: Bytes) -> Weights:
        pixels = stretched(image, self.height, self.width, self.channels)
        x: AnyArray = pixels
        if not self.is_bytes:
            own = slice(None) if self.channels == 3 else slice(1, 2)  # green is nearest to grey
            x = (pixels.astype(np.float32) / 255.0 - MEAN[own]) / DEVIATION[own]
        if self.channels_first:
            x = x.transpose(2, 0, 1)
        (values,) = self.session.run([self.output], {self.name: np.ascontiguousarray(x)[None]})
        size = (self.height, self.width)
        return as_grid(values.astype(np.float32), size, channels_first=self.channels_first)


@lru_cache(maxsize=2)
def _onnx_network(digest: str, path: str, node: str) -> _OnnxNetwork:
    """Open an ONNX file, without what comes after a node. `digest` tells files apart."""
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ParameterError(
            "Features of an ONNX file need onnx and onnxruntime, which are not installed. "
            "Install them with pip install onnx onnxruntime."
        ) from error
    try:
        model = onnx.load(path)
    except OSError:
        raise
    except Exception as error:  # protobuf has no public class for what it raises
        raise DataError(
            f"{path} is no ONNX file. Give one, or export the network again."
        ) from error
    output = cut_after(model, node, path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    content = model.SerializeToString()
    del model  # the weights are in memory once less while the session reads them
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise DataError(f"Expected a network with one input, got {len(inputs)} in {path}.")
    shape = inputs[0].shape
    _check_rank(shape, path)
    channels_first = shape[3] not in (1, 3)
    spatial = shape[2:] if channels_first else shape[1:3]
    height, width = (side if isinstance(side, int) else DEFAULT_SIDE for side in spatial)
    channels = shape[1] if channels_first else shape[3]
    is_bytes = inputs[0].type == "tensor(uint8)"
    return _OnnxNetwork(
        session,
        output,
        inputs[0].name,
        is_bytes,
        channels_first,
        height,
        width,
        channels if channels in (1, 3) else 3,
    )


def cut_after(model: OnnxModel, node: str, path: str) -> str:
    """Remove what a node does not need from a network, and return the name of its output.

    Raises
    ------
    ParameterError
        If there is no such node or tensor.
    """
    from onnx.helper import make_empty_tensor_value_info

    graph = model.graph
    maker = {name: one for one in graph.node for name in one.output}
    named = {one.name: one.output[0] for one in graph.node if one.name and one.output}
    output = node or graph.output[0].name
    output = output if output in maker else named.get(output, output)
    if output not in maker:
        near = get_close_matches(node, [*named, *maker], n=3, cutoff=0.3)
        raise ParameterError(
            f"{path} has no node or tensor {node!r}. Name one of it, such as "
            f"{', '.join(map(repr, near or list(maker)[-3:]))}."
        )
    needed, waiting = set(), [output]
    while waiting:
        one = maker.get(waiting.pop())
        if one is not None and id(one) not in needed:
            needed.add(id(one))
            waiting += _read_by(one)
    kept = [one for one in graph.node if id(one) in needed]
    used = {name for one in kept for name in _read_by(one)}
    weights = [one for one in graph.initializer if one.name in used]
    for part, rest in ((graph.node, kept), (graph.initializer, weights)):
        del part[:]
        part.extend(rest)
    del graph.output[:]
    graph.output.append(make_empty_tensor_value_info(output))
    return output


def _read_by(node: OnnxModel) -> list[str]:
    """Return the tensors that a node reads, also those of the branches and loops in it."""
    names = list(node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                names += _read_by(inner)
    return names


@dataclass(frozen=True, eq=False)
class KerasFeatures:
    """Features that a Keras model makes of images; see `Features`.

    Its weights are not stored in model files.
    """

    model: KerasModel
    source: str = "keras"
    threads: int = field(default=1, init=False)  # TensorFlow uses all cores by itself

    def __getstate__(self) -> JsonObject:
        """Leave what can be computed again out of pickles."""
        return {"model": self.model, "source": self.source, "threads": self.threads}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the structure and the weights."""
        made = sha256(self.model.to_json().encode())
        for weight in self.model.get_weights():
            made.update(np.ascontiguousarray(weight).tobytes())
        return made.hexdigest()

    @cached_property
    def _call(self) -> Callable[[Weights], Weights]:
        import tensorflow as tf

        run = tf.function(lambda x: self.model(x, training=False), autograph=False)
        return lambda x: np.asarray(run(tf.constant(x)), dtype=np.float32)

    def grid(self, image: Bytes) -> Weights:
        """Return the features of an image: (h, w, d)."""
        shape = self.model.input_shape
        _check_rank(shape, "the Keras model")
        height, width = (side or DEFAULT_SIDE for side in shape[1:3])
        pixels = stretched(image, height, width, 1 if shape[3] == 1 else 3)
        values = self._call(pixels.astype(np.float32)[None])
        return as_grid(values, (height, width), channels_first=False)
