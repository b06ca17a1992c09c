"""Labels of the images of a folder, from a file `labels.csv` in it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from vae_anomaly._text import display_name, listed, shown
from vae_anomaly.data.image.array_labels import BINARY, ArrayLabels
from vae_anomaly.exceptions import DataError

__all__ = ["LABEL_FILE", "read_label_file"]

LABEL_FILE = "labels.csv"

MAX_LISTED = 3
"""Images without a label that a message lists."""


def read_label_file(folder: Path, files: Sequence[str]) -> ArrayLabels | None:
    """Read the labels of images from a CSV file with a header and two columns: file, label.

    Parameters
    ----------
    folder : Path
    files : sequence of str
        Paths of the images inside the folder, with "/".

    Returns
    -------
    ArrayLabels or None
        None if the folder has no such file.

    Raises
    ------
    DataError
        If the file is not of that form, or an image has no label.
    """
    path = folder / LABEL_FILE
    if not path.is_file():
        return None
    origin = display_name(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            header, *rows = [row for row in csv.reader(lines) if row] or [[]]
    except (UnicodeDecodeError, csv.Error) as cause:
        raise DataError(f"{origin} is no CSV in UTF-8 ({cause}). Save it as one.") from cause
    wrong = next((row for row in (header, *rows) if len(row) != 2), None)
    if wrong is not None:
        raise DataError(
            f"{origin}: expected a header and two columns, the file and the label of each image, "
            f"got a line of {len(wrong)}: {shown(','.join(wrong))}. Correct it, or move it away."
        )
    labels = {
        file.strip().replace("\\", "/").removeprefix("./"): label.strip() for file, label in rows
    }
    missing = [file for file in files if file not in labels]
    if missing:
        more = f" and {len(missing) - MAX_LISTED:,} more" if len(missing) > MAX_LISTED else ""
        raise DataError(
            f"{origin} has no label for {listed(missing[:MAX_LISTED])}{more}. Add a line for each "
            f"image: its path inside the folder, and its label."
        )
    texts = [labels[file] for file in files]
    binary = next((pair for pair in BINARY if set(texts) <= set(pair)), None)
    return ArrayLabels(origin, texts, () if binary is None else binary[:1])


def _path(file: str) -> str:
    return file.strip().replace("\\", "/").removeprefix("./")
