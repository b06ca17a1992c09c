"""Error for one image."""

from __future__ import annotations

from vae_anomaly.exceptions import DataError

__all__ = ["ImageError"]


class ImageError(DataError):
    """An image that is not readable.

    Attributes
    ----------
    reason : str
        Cause, without the name of the image.
    """

    def __init__(self, name: str, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{name}: {reason}. Replace the image or remove it.")
