"""Small images that tests read, and how they read them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from vae_anomaly.data.image.schema import ImageSchema
from vae_anomaly.data.image.source import open_images

RAMP = np.tile(np.arange(0, 256, 16, dtype=np.uint8), (8, 1))  # (8, 16)
COLOURS = np.stack([RAMP, 255 - RAMP, np.full_like(RAMP, 60)], axis=2)
GREY_8x16, COLOUR_8x16 = ImageSchema(8, 16, 1), ImageSchema(8, 16, 3)


def save(path, pixels, form=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, form, **options)
    return path


def read(path, schema=COLOUR_8x16, **options):
    """Read all images of a path, and the source with what it has to say."""
    source = open_images(path, **options)
    return schema.read(source)[0], source
