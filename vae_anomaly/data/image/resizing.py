"""Images stretched to a size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.exceptions import DataError

__all__ = ["stretched"]

Bytes = NDArray[np.uint8]


def stretched(image: Bytes, height: int, width: int, channels: int) -> Bytes:
    """Return an image, (h, w, 1 or 3), stretched to a size and to 1 or 3 channels."""
    from PIL import Image

    if image.shape[2] not in (1, 3):
        raise DataError(
            f"Expected images of 1 or 3 channels for features of patches, got "
            f"{image.shape[2]}. Give 1 or 3 of them."
        )
    one = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    one = one.convert("L" if channels == 1 else "RGB")
    one = one.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(one).reshape(height, width, channels)
