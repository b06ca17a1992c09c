"""Import of Matplotlib, whatever backend the environment names."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

__all__ = ["import_matplotlib"]


def import_matplotlib() -> None:
    """Import Matplotlib with the backend that MPLBACKEND names, or without if there is none such.

    Matplotlib itself cannot be imported then, and Keras, which imports it, neither. Figures of
    this package need no backend.
    """
    if "matplotlib" in sys.modules:
        return
    chosen = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib as mpl

        if chosen:
            with suppress(ValueError):
                mpl.rcParams["backend"] = chosen
    finally:
        if chosen is not None:
            os.environ["MPLBACKEND"] = chosen
