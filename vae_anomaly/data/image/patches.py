"""Encoder of images by the features of their patches.

Records are images. A network that the user has, or `GradientFeatures`, makes features of each, a
grid of vectors, which a VAE then takes one by one: see `vae_anomaly.model.patches`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import ClassVar, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import Json, JsonObject, Records, Symbol
from vae_anomaly.data.base import Encoded
from vae_anomaly.data.graph import EncodedSymbols
from vae_anomaly.data.image.features import Features
from vae_anomaly.data.image.pixel_encoder import PixelEncoder
from vae_anomaly.data.image.pixels import ImageSchema, ImageShape, as_rows, check_shape
from vae_anomaly.data.image.units import BYTES, PixelRange
from vae_anomaly.data.state import EncoderState, Outline
from vae_anomaly.exceptions import DataError, ParameterError
from vae_anomaly.names import RESIZES
from vae_anomaly.stats.soft_clip import MAX_MAGNITUDE

__all__ = ["PatchEncoder", "PatchSchema"]

Array = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Weights = NDArray[np.float32]

MAX_PATCHES = 2**16
"""Patches of an image."""

MAX_DEPTH = 2**16
"""Features of a patch."""

SETTINGS = {"depth", "digest", "grid", "pixel_range", "resize", "shape", "source"}


class PatchSchema(NamedTuple):
    """Shape and range of images, whose numbers stay as they are; see `data.base.Schema`."""

    shape: ImageShape
    pixel_range: PixelRange
    may_miss: bool = False
    dtype: None = None

    @classmethod
    def of(cls, X: Records, given: tuple[float, float] | None = None) -> PatchSchema:
        """Return the schema of an array of images, whose range may be given.

        Raises
        ------
        DataError
            If the array has not three or four axes.
        """
        schema = ImageSchema.of(X, given)
        return cls(schema.shape, schema.pixel_range)

    def matrix(self, X: Records) -> Records:
        """Return images as rows of numbers."""
        return flattened(X, self.shape)


def flattened(X: Records, shape: ImageShape) -> Records:
    """Return images as rows of numbers, and rows as they are.

    Raises
    ------
    DataError
        If images have another shape.
    """
    given = as_rows(X)
    check_shape(given.shape, shape)
    return given.values


@dataclass(frozen=True, eq=False)
class PatchEncoder(PixelEncoder):
    """Images of one shape, of which a network makes features; see `data.base.Encoder`.

    Attributes
    ----------
    shape : tuple of (height, width, channels)
        Of images.
    pixel_range : PixelRange
        Numbers of black and white.
    grid : tuple of (h, w)
        Patches of an image.
    depth : int
        Features of a patch.
    source, digest : str
        See `features.Features`.
    network : Features or None
        None until it is given, see `with_network`.
    resize : str or None
        How image files are brought to this shape; None if images came as arrays.
    """

    modality: ClassVar[str] = "patches"
    may_miss: ClassVar[bool] = False
    names: ClassVar[None] = None
    dtype: ClassVar[None] = None

    shape: ImageShape
    pixel_range: PixelRange
    grid: tuple[int, int]
    depth: int
    source: str
    digest: str
    network: Features | None = None
    resize: str | None = None

    @classmethod
    def fit(cls, schema: PatchSchema, network: Features, image: Records) -> PatchEncoder:
        """Find the grid of patches by one image.

        Raises
        ------
        DataError
            If the network makes no features of it, or too many.
        """
        source, digest = network.source, network.digest
        start = cls(schema.shape, schema.pixel_range, (1, 1), 1, source, digest, network)
        height, width, depth = network.grid(start.as_bytes(image)).shape
        if height * width > MAX_PATCHES or depth > MAX_DEPTH:
            raise DataError(
                f"Expected at most {MAX_PATCHES:,} patches of {MAX_DEPTH:,} features, got "
                f"{height} x {width} of {depth:,}. Name another node."
            )
        return replace(start, grid=(height, width), depth=depth)

    def with_network(self, network: Features) -> PatchEncoder:
        """Return the encoder with its network.

        Raises
        ------
        ParameterError
            If it is another one than that of the fit.
        """
        if network.digest != self.digest:
            raise ParameterError(
                f"Expected the network of features that the model was fitted with, {self.source}, "
                f"SHA-256 {self.digest}, got one of {network.digest}. Give that one, or fit again."
            )
        return replace(self, network=network)

    def as_bytes(self, record: Records) -> Bytes:
        """Return an image with values from 0 to 255: (height, width, channels)."""
        values = np.asarray(record).reshape(self.shape)
        if values.dtype == np.uint8 and self.pixel_range == BYTES:
            return values
        return np.clip(np.rint(255.0 * self.pixel_range.scaled(values)), 0, 255).astype(np.uint8)

    def patches(self, record: Records) -> Weights:
        """Return the features of the patches of an image, row by row: (n_patches, depth).

        Raises
        ------
        DataError
            If the network makes others of it than of the training images, or none.
        """
        if self.network is None:
            raise ParameterError(
                f"The network of features is not there: {self.source}. Give it: "
                f"load(path, features=...)."
            )
        found = self.network.grid(self.as_bytes(record))
        if found.shape != (*self.grid, self.depth) or not np.isfinite(found).all():
            raise DataError(
                f"Expected features of the form {(*self.grid, self.depth)}, all finite, got "
                f"{found.shape}. Give images like those of training."
            )
        return found.reshape(-1, self.depth)

    @property
    def places(self) -> Weights:
        """Row and column of each patch in the grid: (n_patches, 2)."""
        return np.indices(self.grid, dtype=np.float32).reshape(2, -1).T

    @cached_property
    def features(self) -> tuple[str, ...]:
        """Names of the patches, by row and column from 1: patch_1_1, patch_1_2, ..."""
        height, width = self.grid
        return tuple(f"patch_{i + 1}_{j + 1}" for i in range(height) for j in range(width))

    @cached_property
    def outline(self) -> Outline:
        """Sizes: those of the pixels."""
        n = prod(self.shape)
        return Outline(n, n, (), {}, grid=self.shape)

    @property
    def explained(self) -> NDArray[np.intp]:
        """Return that no pixel has a target."""
        return np.empty(0, dtype=np.intp)

    def matrix(self, X: Records) -> Records:
        """Return images as rows of numbers; flattened ones as they are."""
        return flattened(X, self.shape)

    def encode(self, records: Records) -> Encoded:
        """Return the pixels as inputs, by which images are told apart; there are no targets."""
        pixels = [self.as_bytes(record).reshape(-1) for record in records]
        inputs = np.array(pixels, dtype=np.float64).reshape(-1, prod(self.shape))
        return Encoded(inputs, np.empty((len(inputs), 0)), np.empty((len(inputs), 0)))

    def decode(self, targets: Array) -> NoReturn:
        """Raise a ParameterError: features do not lead back to pixels."""
        raise ParameterError(
            "A model of features knows no pixels: it makes no images. Use anomaly_maps, or "
            "fit without features."
        )

    def encode_targets(self, targets: Array) -> NoReturn:
        """Raise the ParameterError of `decode`."""
        self.decode(targets)

    def rows(self, records: Records, like: Records = None) -> NoReturn:
        """Raise a ParameterError: features do not lead back to pixels."""
        self.decode(records)

    def in_graph(self, rows: Symbol) -> EncodedSymbols:
        """Raise a ParameterError: features are made outside of the networks of the model."""
        raise ParameterError(
            "A model of features has no export, for they are made outside of its networks. Fit "
            "without features."
        )

    def standardized(self, records: Records) -> None:
        """Return None: a single pixel means nothing by itself."""

    def describe(self) -> JsonObject:
        """Return the shape of the images, how files are brought to it, and the network."""
        return {
            "image_shape": list(self.shape),
            "pixel_range": list(self.pixel_range),
            "resize": self.resize,
            "features": self.source,
            "features_sha256": self.digest,
            "grid": list(self.grid),
            "depth": self.depth,
        }

    def to_state(self) -> EncoderState:
        """Return the settings for a model file."""
        settings = {
            "depth": self.depth,
            "digest": self.digest,
            "grid": list(self.grid),
            "pixel_range": list(self.pixel_range),
            "resize": self.resize,
            "shape": list(self.shape),
            "source": self.source,
        }
        return EncoderState(settings, {})

    @classmethod
    def outline_of(cls, settings: Mapping[str, Json]) -> Outline:
        """Check settings from a file, and return their outline; see `Encoder`."""
        if set(settings) != SETTINGS:
            raise ValueError("the settings of its encoder are not those of its modality")
        for key, length in (("shape", 3), ("grid", 2)):
            sides = settings[key]
            if not isinstance(sides, list) or len(sides) != length:
                raise ValueError(f"{key} must be {length} ints")
            if not all(type(side) is int and 1 <= side <= MAX_PATCHES for side in sides):
                raise ValueError(f"{key} must be {length} ints >= 1")
        if type(settings["depth"]) is not int or not 1 <= settings["depth"] <= MAX_DEPTH:
            raise ValueError(f"depth must be an int from 1 to {MAX_DEPTH:,}")
        if prod(settings["grid"]) > MAX_PATCHES:
            raise ValueError(f"an image must have at most {MAX_PATCHES:,} patches")
        ends = settings["pixel_range"]
        if not isinstance(ends, list) or [type(end) for end in ends] != [float, float]:
            raise ValueError("pixel_range must be two floats, black below white")
        if not -MAX_MAGNITUDE <= ends[0] < ends[1] <= MAX_MAGNITUDE:
            raise ValueError("pixel_range must be two floats, black below white")
        if settings["resize"] not in (None, *RESIZES):
            raise ValueError(f"resize must be one of {', '.join(RESIZES)}, or null")
        if settings["shape"][2] not in (1, 3):
            raise ValueError("images of features have 1 or 3 channels")
        for key in ("source", "digest"):
            if not isinstance(settings[key], str) or not settings[key].isprintable():
                raise ValueError(f"{key} must be a text")
        return cls.from_state(EncoderState(dict(settings), {})).outline

    @classmethod
    def from_state(cls, state: EncoderState) -> PatchEncoder:
        """Build the encoder that `to_state` described, without its network."""
        settings = state.settings
        return cls(
            shape=tuple(settings["shape"]),
            pixel_range=PixelRange(*settings["pixel_range"]),
            grid=tuple(settings["grid"]),
            depth=settings["depth"],
            source=settings["source"],
            digest=settings["digest"],
            resize=settings["resize"],
        )
