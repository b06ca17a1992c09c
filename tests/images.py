"""Small images that tests read, and how they read them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from vae_anomaly.data.image.files import open_images
from vae_anomaly.data.image.layout import Layout
from vae_anomaly.data.image.source import ImageSource

RAMP = np.tile(np.arange(0, 256, 16, dtype=np.uint8), (8, 1))  # (8, 16)
COLOURS = np.stack([RAMP, 255 - RAMP, np.full_like(RAMP, 60)], axis=2)
GREY_8x16, COLOUR_8x16 = Layout(8, 16, 1), Layout(8, 16, 3)


def save(path, pixels, form=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, form, **options)
    return path


def read(path, layout=COLOUR_8x16, *, fitting=False, **options):
    """Read all images of a path, and return them with their source."""
    source = ImageSource(open_images(path, fitting=fitting), layout, **options)
    return np.concatenate([batch.records for batch in source.batches()]), source
