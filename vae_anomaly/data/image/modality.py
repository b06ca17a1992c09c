"""Images as a modality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

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
from vae_anomaly.data.image.array_file import holds_array
from vae_anomaly.data.image.encoder import ImageEncoder, shift_for
from vae_anomaly.data.image.layout import Layout
from vae_anomaly.data.image.listing import is_folder_of_tables, is_pattern_of_images
from vae_anomaly.data.image.pixels import ImageSchema
from vae_anomaly.data.image.signatures import SIGNATURE_BYTES, is_image
from vae_anomaly.data.image.units import PixelRange
from vae_anomaly.data.patterns import is_pattern

if TYPE_CHECKING:
    from vae_anomaly.data.image.source import ImageSource

__all__ = ["MODALITY", "Images"]


class Images(Modality):
    """Images of one shape: folders, files, and arrays of them."""

    name = "image"
    unit = "image"
    contents = "images"
    options: Mapping[str, str] = {
        "image_size": "--image-size",
        "resize": "--resize",
        "pixel_range": "--pixel-range",
        "follow_links": "--follow-links",
        "smoothing": "--smoothing",
        "shift": "--shift",
        "features": "--features",
        "maps": "--maps",
        "strict": "--strict",
        "compare_beta": "--compare-beta",
        "training": "--training",
    }
    defaults = Defaults(latent_dim=8, score_type="elbo")
    encoder: type[Encoder] = ImageEncoder

    def accepts(self, path: str) -> bool:
        """Return whether a path is a folder or pattern of images, an image or an array of them."""
        place = Path(path)
        if is_pattern(path):
            return is_pattern_of_images(path)
        if place.is_dir():
            return not is_folder_of_tables(place)
        if not place.is_file():
            return False
        with place.open("rb") as file:
            start = file.read(SIGNATURE_BYTES)
        return is_image(start) or holds_array(place)

    def open(
        self,
        path: str,
        encoder: Encoder | None = None,
        *,
        fitting: bool = False,
        labelled: bool = False,
        **options: Json,
    ) -> Source:
        """Open a folder of images, an image, or an array of images; see `Modality.open`.

        Parameters
        ----------
        path : str
        encoder : ImageEncoder, optional
            Images are brought to its shape. Without one, their size is measured.
        fitting : bool, default=False
            Read only normal images where subfolders say which are, and of a data set with
            ``train`` and ``test`` the former.
        labelled : bool, default=False
            Read labels, from subfolders or from beside an array.
        **options
            Those of `vae_anomaly.data.image.source.open_source`: image_size, resize, features,
            pixel_range, follow_links, strict, normal_label.
        """
        # Pillow is imported only where there are images to read.
        from vae_anomaly.data.image.source import open_source

        fitted = cast("ImageEncoder | None", encoder)
        return open_source(path, fitted, fitting=fitting, labelled=labelled, **options)

    def accepts_array(self, X: Records) -> bool:
        """Return whether an array is (n, height, width) or (n, height, width, channels)."""
        return len(getattr(X, "shape", ())) in (3, 4)

    def schema(self, X: Records, parameters: DataParameters) -> Schema:
        """Return shape and range of the images."""
        return ImageSchema.of(X, parameters.pixel_range)

    def fit(
        self,
        records: Array,
        schema: Schema,
        names: Sequence[str] | None,
        parameters: DataParameters,
    ) -> Encoder:
        """Measure the pixels of training images."""
        return ImageEncoder.fit(records, cast("ImageSchema", schema), parameters)

    def augmented(
        self, encoder: Encoder, records: Array, parameters: DataParameters
    ) -> Iterator[Encoded]:
        """Yield the encoded training images, and shifted copies of them."""
        fitted = cast("ImageEncoder", encoder)
        shift = shift_for(parameters, fitted.shape, records.size)
        return fitted.encode_shifted(records, shift)

    def bind(self, encoder: Encoder, source: Source) -> Encoder:
        """Return the encoder with the way in which the source resizes images."""
        resize = cast("ImageSource", source).layout.resize
        return replace(cast("ImageEncoder", encoder), resize=resize)

    def describe(self, facts: Mapping[str, Json]) -> Sequence[str]:
        """Return range and shape of the images, and how files are brought to it."""
        height, width, channels = facts["image_shape"]
        pixels = f"pixels       {PixelRange(*facts['pixel_range'])}"
        if facts["resize"] is None:
            return (pixels, f"images       {height} x {width} x {channels}")
        return (pixels, f"images       {Layout(height, width, channels, facts['resize'])}")


MODALITY: Modality = Images()
