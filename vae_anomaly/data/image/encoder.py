"""Encoder of images: smoothed pixels, each channel standardised."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import Json, JsonObject, Symbol
from vae_anomaly.data.base import DataParameters, Encoded, Records
from vae_anomaly.data.graph import EncodedSymbols
from vae_anomaly.data.image.pixel_encoder import PixelEncoder
from vae_anomaly.data.image.pixels import (
    ImageSchema,
    ImageShape,
    as_images,
    as_numbers,
    as_rows,
    check_shape,
    shift_augmented,
    smooth,
)
from vae_anomaly.data.image.units import PixelRange, warn_beyond
from vae_anomaly.data.scaling import ColumnScaler, checked_outline
from vae_anomaly.data.state import EncoderState, Outline
from vae_anomaly.exceptions import DataError, ParameterError
from vae_anomaly.names import RESIZES
from vae_anomaly.stats.soft_clip import MAX_MAGNITUDE

__all__ = ["ImageEncoder", "shift_for", "smoothing_for"]

Array = NDArray[np.float64]

SMOOTHING_SHARE = 1 / 28
"""Default smoothing, as a share of the longer side: one pixel of Fashion-MNIST."""

MAX_SHIFTED_CELLS = 25_000_000
"""Numbers in training images up to which shifted copies are learned by default."""


def _smooths_by_default(parameters: DataParameters) -> bool:
    """Return whether networks are dense: convolutions smooth by themselves."""
    return isinstance(parameters.architecture, str) and parameters.architecture in ("auto", "dense")


def _checked(name: str, pixels: float, shape: ImageShape) -> float:
    if pixels > max(shape[:2]):
        raise ParameterError(
            f"{name} must not be more pixels than the images have, {max(shape[:2])}. "
            f"Got {pixels!r} instead."
        )
    return pixels


def smoothing_for(parameters: DataParameters, shape: ImageShape) -> float:
    """Return the smoothing of images, in pixels."""
    if parameters.smoothing is not None:
        return _checked("smoothing", parameters.smoothing, shape)
    return SMOOTHING_SHARE * max(shape[:2]) if _smooths_by_default(parameters) else 0.0


def shift_for(parameters: DataParameters, shape: ImageShape, cells: int) -> float:
    """Return the shift of training images, of so many numbers in all, in pixels."""
    if parameters.shift is not None:
        return _checked("shift", parameters.shift, shape)
    few = cells <= MAX_SHIFTED_CELLS and _smooths_by_default(parameters)
    return SMOOTHING_SHARE * max(shape[:2]) if few else 0.0


def _check_channels(architecture: object, varies: NDArray[np.bool_]) -> None:
    """Refuse convolutions where only some channels vary."""
    constant = np.flatnonzero(~varies)
    if architecture in ("conv", "conv_bn") and 0 < len(constant) < len(varies):
        raise DataError(
            f"Channel {constant[0]} of the images has one value throughout the training "
            f"images. Expected channels that vary, which architecture={architecture!r} "
            f"needs. Leave the channel out, or choose 'dense'."
        )


@dataclass(frozen=True, eq=False)
class ImageEncoder(PixelEncoder):
    """Images of one shape; see `data.base.Encoder`.

    Attributes
    ----------
    shape : tuple of (height, width, channels)
    pixel_range : PixelRange
        Numbers of black and white: the unit of all images, whatever their type.
    smoothing : float
        Standard deviation, in pixels, of the Gaussian that smooths images.
    scaler : ColumnScaler
        Of flattened images.
    likelihood : str
        Of all pixels.
    resize : str or None
        How image files are brought to this shape; None if images came as arrays.
    """

    modality: ClassVar[str] = "image"
    may_miss: ClassVar[bool] = False
    names: ClassVar[None] = None

    shape: ImageShape
    pixel_range: PixelRange
    smoothing: float
    scaler: ColumnScaler
    likelihood: str
    resize: str | None = None

    @classmethod
    def fit(cls, records: Array, schema: ImageSchema, parameters: DataParameters) -> ImageEncoder:
        """Measure flattened training images.

        Raises
        ------
        ParameterError
            If the smoothing is larger than the images.
        DataError
            If convolutions meet a constant channel.
        """
        shape = schema.shape
        smoothing, channels = smoothing_for(parameters, shape), shape[2]
        scaler = ColumnScaler.from_channels(smooth(records, shape, smoothing), channels)
        architecture = parameters.architecture
        _check_channels(
            architecture if isinstance(architecture, str) else None, scaler.varies[:channels]
        )
        return cls(shape, schema.pixel_range, smoothing, scaler, parameters.likelihood)

    @cached_property
    def features(self) -> tuple[str, ...]:
        """Numbers of the flattened images: x0, x1, ..."""
        return tuple(f"x{i}" for i in range(len(self.scaler.center)))

    @cached_property
    def outline(self) -> Outline:
        """Sizes: an input and a target for each number of an image that varies."""
        return self.scaler.outline(self.likelihood)._replace(grid=self.shape)

    @cached_property
    def explained(self) -> NDArray[np.intp]:
        """Numbers of an image that vary."""
        return np.flatnonzero(self.scaler.varies)

    def matrix(self, X: Records) -> Records:
        """Return images, or flattened ones, as rows of numbers, black at 0 and white at 1.

        Warns
        -----
        PixelRangeWarning
            If images leave the range of the training images.
        """
        given = as_rows(X)
        check_shape(given.shape, self.shape)
        try:
            numbers = as_numbers(np.asarray(given.values))
        except ValueError:
            return given.values  # which are refused
        warn_beyond(self.pixel_range, numbers, stacklevel=7)
        return self.pixel_range.scaled(numbers)

    def encode(self, records: Records) -> Encoded:
        """Encode images, (n, height, width[, channels]), or rows from `matrix`."""
        return self.scaler.encode(self._smoothed(records), self.likelihood)

    def encode_shifted(self, records: Records, pixels: float) -> Iterator[Encoded]:
        """Yield encoded images, and their copies that are shifted by some pixels."""
        for rows in shift_augmented(self._smoothed(records), self.shape, pixels):
            yield self.scaler.encode(rows, self.likelihood)

    def decode(self, targets: Array) -> Array:
        """Return the flattened images that targets stand for."""
        return self.scaler.decode(targets, self.likelihood)

    def encode_targets(self, targets: Array) -> Encoded:
        """Encode the images that targets stand for, which are smooth already."""
        return self.scaler.encode(self.decode(targets), self.likelihood)

    def rows(self, records: Array, like: Records = None) -> Records:
        """Return rows as images; as flattened ones if `like` are flattened."""
        if like is None or as_rows(like).shape is not None:
            return as_images(records, self.shape, self.pixel_range)
        return self.pixel_range.unscaled(records)

    def in_graph(self, rows: Symbol) -> EncodedSymbols:
        """Add `encode` of flattened images to an ONNX graph, and their form to its metadata."""
        low, high = self.pixel_range
        names = {1: "grey", 2: "grey, alpha", 3: "RGB", 4: "RGBA"}
        metadata = rows.graph.metadata
        metadata["image_shape"] = json.dumps(self.shape)  # height, width, channels
        metadata["channel_order"] = names.get(self.shape[2], "as in training")
        metadata["pixel_range"] = json.dumps([low, high])
        rows = (rows - low if low else rows) * (1.0 / (high - low))
        return self.scaler.in_graph(self._smoothed_symbol(rows), self.likelihood)

    def _smoothed_symbol(self, rows: Symbol) -> Symbol:
        """Smooth along one side after the other; see `pixels.smooth`."""
        if not self.smoothing:
            return rows
        height, width, channels = self.shape

        def mixing(pixels: int) -> Array:
            return smooth(np.eye(pixels), (pixels, 1, 1), self.smoothing)

        x = rows.reshape(-1, height, width, channels)
        x = x.apply("Transpose", perm=[0, 2, 3, 1]).apply("MatMul", mixing(height))
        x = x.apply("Transpose", perm=[0, 3, 2, 1]).apply("MatMul", mixing(width))
        return x.apply("Transpose", perm=[0, 1, 3, 2]).reshape(-1, height * width * channels)

    def standardized(self, records: Records) -> None:
        """Return None: a single pixel means nothing by itself."""

    def _smoothed(self, records: Records) -> Array:
        """Flatten, scale and smooth: (n, n_features)."""
        rows, shape = as_rows(records)
        if shape is not None:
            rows = self.pixel_range.scaled(rows)
        return smooth(np.asarray(rows, dtype=np.float64), self.shape, self.smoothing)

    def describe(self) -> JsonObject:
        """Return the shape and range of the images, and how files are brought to it."""
        return {
            "image_shape": list(self.shape),
            "pixel_range": list(self.pixel_range),
            "resize": self.resize,
        }

    def to_state(self) -> EncoderState:
        """Return the settings and arrays for a model file."""
        settings = {
            "likelihood": self.likelihood,
            "n_features": self.outline.n_features,
            "n_inputs": self.outline.n_inputs,
            "pixel_range": list(self.pixel_range),
            "resize": self.resize,
            "shape": list(self.shape),
            "smoothing": self.smoothing,
        }
        return EncoderState(settings, self.scaler.arrays())

    @classmethod
    def outline_of(cls, settings: Mapping[str, Json]) -> Outline:
        """Check settings from a file, and return their outline; see `Encoder`."""
        outline = checked_outline(settings, {"pixel_range", "resize", "shape", "smoothing"})
        shape, smoothing, ends = (settings[key] for key in ("shape", "smoothing", "pixel_range"))
        if (
            not isinstance(shape, list)
            or len(shape) != 3
            or not all(type(side) is int and side >= 1 for side in shape)
            or prod(shape) != outline.n_features
        ):
            raise ValueError("shape must be three ints that make up n_features")
        if (
            not isinstance(ends, list)
            or len(ends) != 2
            or not all(type(end) is float and abs(end) <= MAX_MAGNITUDE for end in ends)
            or not ends[0] < ends[1]
        ):
            raise ValueError("pixel_range must be two floats, black below white")
        if type(smoothing) is not float or not 0 <= smoothing <= max(shape[:2]):
            raise ValueError("smoothing must be a number of pixels within the images")
        if settings["resize"] not in (None, *RESIZES):
            raise ValueError(f"resize must be one of {', '.join(RESIZES)}, or null")
        if settings["resize"] is not None and shape[2] not in (1, 3):
            raise ValueError("image files have 1 or 3 channels")
        height, width, channels = shape
        return outline._replace(grid=(height, width, channels))

    @classmethod
    def from_state(cls, state: EncoderState) -> ImageEncoder:
        """Build the encoder that `to_state` described."""
        settings = state.settings
        height, width, channels = settings["shape"]
        return cls(
            (height, width, channels),
            PixelRange(*settings["pixel_range"]),
            settings["smoothing"],
            ColumnScaler.from_arrays(state.arrays, settings["n_inputs"]),
            settings["likelihood"],
            settings["resize"],
        )
