"""Sample tables: the Breast Cancer Wisconsin (Diagnostic) data, with benign rows as normal.

The data are scikit-learn's copy of the table of the UCI repository,
:doi:`10.24432/C5DW2B`, by W. Wolberg, O. Mangasarian, N. Street and W. Street,
under CC BY 4.0.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from vae_anomaly.storage.atomic import atomic_write

__all__ = ["sample_results", "write_samples"]

SHUFFLE_SEED = 0


def write_samples(directory: str | Path) -> tuple[Path, Path]:
    """Write a training table of normal rows and a labelled test table.

    Three quarters of the benign rows, chosen by a fixed shuffle, are for
    training. The others and all malignant rows are for testing. ``id`` is the row
    number in the original table, from 1.

    Parameters
    ----------
    directory : str or Path
        Must exist.

    Returns
    -------
    normal, labelled : Path
        ``normal.csv`` with 30 numeric columns, and ``labelled.csv`` with ``id``
        and ``diagnosis`` (benign or malignant) before these.

    Raises
    ------
    OutputError
        If the tables cannot be written.
    """
    from sklearn.datasets import load_breast_cancer

    table = load_breast_cancer()
    names = [str(name).replace(" ", "_") for name in table.feature_names]
    benign = np.flatnonzero(table.target == 1)
    shuffled = np.random.RandomState(SHUFFLE_SEED).permutation(benign)
    training = np.sort(shuffled[: len(benign) * 3 // 4])
    testing = np.setdiff1d(np.arange(len(table.data)), training)

    normal, labelled = Path(directory) / "normal.csv", Path(directory) / "labelled.csv"
    _write(normal, names, table.data[training].tolist())
    labels = ["malignant", "benign"]
    rows = ([int(i) + 1, labels[table.target[i]], *map(float, table.data[i])] for i in testing)
    _write(labelled, ["id", "diagnosis", *names], rows)
    return normal, labelled


def sample_results(labelled: str | Path, scores: str | Path, report: str | Path) -> list[str]:
    """Return three lines on the flags of the labelled test table.

    Parameters
    ----------
    labelled : str or Path
        As `write_samples` writes it.
    scores : str or Path
        CSV with the same rows and a column ``is_anomaly``.
    report : str or Path
        Page of the report.

    Returns
    -------
    list of str
    """
    counts: Counter[tuple[str, bool]] = Counter()
    with Path(labelled).open(encoding="utf-8") as rows, Path(scores).open(encoding="utf-8") as out:
        for row, scored in zip(csv.DictReader(rows), csv.DictReader(out), strict=True):
            counts[row["diagnosis"], scored["is_anomaly"] == "1"] += 1
    found, missed = counts["malignant", True], counts["malignant", False]
    alarms, normal = counts["benign", True], counts["benign", False]
    return [
        f"Having seen benign tumours alone, it flags {found} of {found + missed} malignant ones, "
        f"and {alarms} of {alarms + normal} benign ones that are new to it.",
        f"The report says why, row by row. Open it in a browser: {report}",
        "Your own table: vae-anomaly fit TABLE.csv --label-column LABEL -o MODEL.vae",
    ]


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with atomic_write(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
