"""Images by the features of their patches as a modality.

No path and no array says that it is meant: a fit with `features` is of this modality.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn, cast

from vae_anomaly._types import Json
from vae_anomaly.data.base import (
    Array,
    DataParameters,
    Defaults,
    Encoded,
    Encoder,
    Modality,
    Records,
    Schema,
    Source,
)
from vae_anomaly.data.image.modality import Images
from vae_anomaly.data.image.patches import PatchEncoder, PatchSchema
from vae_anomaly.exceptions import DataError

if TYPE_CHECKING:
    from vae_anomaly.data.image.source import ImageSource

__all__ = ["MODALITY", "PatchImages"]


class PatchImages(Images):
    """Images of one shape, by the features of their patches."""

    name = "patches"
    contents = "images, as features"
    options: Mapping[str, str] = {
        "image_size": "--image-size",
        "resize": "--resize",
        "strict": "--strict",
        "pixel_range": "--pixel-range",
        "follow_links": "--follow-links",
        "features": "--features",
        "maps": "--maps",
    }
    defaults = Defaults(latent_dim=32, score_type="exemplar")
    encoder: type[Encoder] = PatchEncoder

    def accepts_array(self, X: Records) -> bool:
        """Return that arrays alone do not say so."""
        return False

    def schema(self, X: Records, parameters: DataParameters) -> Schema:
        """Return shape and type of the images."""
        if len(getattr(X, "shape", ())) not in (3, 4):
            raise DataError(
                f"features are for images, an array (n, height, width[, channels]), got "
                f"{getattr(X, 'shape', type(X).__name__)}. Leave features out, or give images."
            )
        return PatchSchema.of(X, parameters.pixel_range)

    def fit(
        self,
        records: Array,
        schema: Schema,
        names: Sequence[str] | None,
        parameters: DataParameters,
    ) -> NoReturn:
        """Raise: `model.patch_fitting` fits the encoder, for its network passes over images."""
        raise NotImplementedError

    def augmented(
        self, encoder: Encoder, records: Array, parameters: DataParameters
    ) -> Iterator[Encoded]:
        """Yield the encoded training images."""
        yield encoder.encode(records)

    def bind(self, encoder: Encoder, source: Source) -> Encoder:
        """Return the encoder with the way in which the source resizes images."""
        resize = cast("ImageSource", source).layout.resize
        return replace(cast("PatchEncoder", encoder), resize=resize)

    def describe(self, facts: Mapping[str, Json]) -> Sequence[str]:
        """Return the shape of the images, and the network of features."""
        height, width = facts["grid"]
        return (
            *super().describe(facts),
            f"features     {facts['features']}",
            f"patches      {height} x {width}, of {facts['depth']:,} features",
        )


MODALITY: Modality = PatchImages()
"""This modality, for the registry."""
