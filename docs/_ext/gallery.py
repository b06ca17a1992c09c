"""Order of the examples in the gallery."""

from __future__ import annotations

ORDER = (
    "table.py",
    "mixed_table.py",
    "series.py",
    "image_folder.py",
    "custom_networks.py",
    "thresholds.py",
    "drift.py",
    "executors.py",
    "scores.py",
    "likelihoods.py",
    "displays.py",
)
"""Files of the gallery as shown; further ones follow by name."""


class Order:
    """Sort key of sphinx-gallery.

    Parameters
    ----------
    folder : str
        Folder of the examples, which the order does not depend on.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, name: str) -> tuple[int, str]:
        """Return what a file is sorted by."""
        return (ORDER.index(name) if name in ORDER else len(ORDER), name)
