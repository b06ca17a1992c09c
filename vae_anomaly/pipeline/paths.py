"""Checks of output paths, before long work begins."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from vae_anomaly.data.patterns import is_pattern, matches_within
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.names import JSON_SUFFIXES, PARQUET_SUFFIXES, REPORT_FILES
from vae_anomaly.storage.atomic import check_name, check_path, check_writable

__all__ = ["check_output", "check_outside", "check_report_folder", "check_result"]

CSV_SUFFIXES = (".csv", "")


def check_output(output: str, *inputs: str) -> None:
    """Raise if an output file is an input, or cannot be written; "-" is standard output.

    Raises
    ------
    ParameterError
    OutputError
    """
    if output == "-":
        return
    target = Path(output)
    check_writable(target)
    if any(_is_same(target, path) for path in inputs):
        raise ParameterError(f"The output {output} is also an input. Choose another output.")


def check_result(output: str, *inputs: str) -> None:
    """Raise if the result of scoring cannot be written to an output; see `check_output`."""
    suffix = Path(output).suffix.lower()
    if output != "-" and suffix not in PARQUET_SUFFIXES + JSON_SUFFIXES + CSV_SUFFIXES:
        raise ParameterError(
            f"Cannot write scores as {suffix!r}. Name a .csv, .jsonl or .parquet file, or - for "
            f"standard output."
        )
    check_output(output, *inputs)


def check_report_folder(output: str, unit: str, model: str, *sources: str | None) -> None:
    """Raise if a report would replace an input or lie in one, or cannot be written.

    Parameters
    ----------
    output : str
        Directory; it need not exist.
    unit : str
        Name of the records in the sources.
    model : str
    *sources : str or None

    Raises
    ------
    ParameterError
    OutputError
    OSError
        If no file can have the name of an input.
    """
    folder = Path(output)
    inputs = [path for path in (model, *sources) if path is not None]
    for name, path in product(REPORT_FILES, inputs):
        if _is_same(folder / name, path):
            raise ParameterError(
                f"The report would replace {path}, which is an input. Choose another output."
            )
    existing = folder
    check_name(folder)
    while not existing.exists():
        existing = existing.parent
    check_writable(existing / REPORT_FILES[0])
    for path in inputs[1:]:
        check_path(path)
        if _is_among(folder, path):
            raise ParameterError(
                f"The report would lie among the {unit}s in {path}. Choose another output."
            )


def check_outside(folder: str, source: str, what: str) -> None:
    """Raise if results would lie among the records in a folder, and be read as such next time.

    Parameters
    ----------
    folder : str
        Folder of the results.
    source : str
    what : str
        Name of the results, in the plural.

    Raises
    ------
    ParameterError
    """
    if (Path(source).is_dir() or is_pattern(source)) and _is_among(Path(folder), source):
        raise ParameterError(
            f"The {what} would lie in {source}, and be read as data the next time. Choose another "
            f"folder."
        )


def _is_among(folder: Path, path: str) -> bool:
    """Return whether a folder lies in that of a path, or its files may match a pattern."""
    if is_pattern(path):
        return matches_within(path, folder)
    return folder.resolve().is_relative_to(Path(path).resolve())


def _is_same(target: Path, path: str) -> bool:
    """Return whether an output is an input, also by a hard or symbolic link."""
    return path != "-" and target.is_file() and Path(path).exists() and target.samefile(path)
