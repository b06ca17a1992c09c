"""What is found out before any work begins."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from vae_anomaly.cli.exits import NoRoomError
from vae_anomaly.storage.atomic import check_writable

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]

REPORT_FILES = (
    *("report.html", "scores.png", "roc.png", "precision_recall.png", "latent.png"),
    *("training.png", "latent_use.png", "most_anomalous.png", "normal.png", "latent_grid.png"),
    *("samples.png", "interpolation.png", "latent_compared.png", "latent_grid_compared.png"),
    *("calibration.png", "p_values.png"),
)
"""Files of a report. `report.render.figure_names` has them too, but imports scikit-learn."""

__all__ = ["check_directory", "check_kind", "check_output", "check_room_for_tensorflow"]

TENSORFLOW_BYTES = 2.6e9
"""Addresses that TensorFlow asks for to start and to compile, most of which it never uses."""


def check_output(output: str, *inputs: str) -> None:
    """Refuse, before any work, an output that is an input or cannot be written."""
    if output == "-":
        return
    target = Path(output)
    check_writable(target)
    if any(_is_same(target, path) for path in inputs):
        raise click.UsageError(f"The output {output} is also an input. Choose another output.")


def check_directory(output: str, *inputs: str) -> None:
    """Refuse, before any work, a directory that cannot be written to or created.

    Nor may a file that the report brings be an input.
    """
    folder = Path(output)
    for name in REPORT_FILES:
        for path in inputs:
            if _is_same(folder / name, path):
                raise click.UsageError(
                    f"The report would replace {path}, which is an input. Choose another output."
                )
    while not folder.exists():
        folder = folder.parent
    check_writable(folder / "report.html")


def check_room_for_tensorflow() -> None:
    """Refuse to start TensorFlow below a limit that it would end the process at, or hang.

    What its own threads cannot allocate no exception says.

    Raises
    ------
    NoRoomError
    """
    if resource is None:
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return
    used = 0
    with suppress(OSError):  # where there is no such file, as on macOS
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    if limit - used < TENSORFLOW_BYTES:
        raise NoRoomError(
            f"TensorFlow needs {TENSORFLOW_BYTES / 1e9:.1f} GB of address space, the limit of "
            f"this process (ulimit -v) leaves {max(0, limit - used) / 1e9:.1f} GB. Raise the limit."
        )


def _is_same(target: Path, path: str) -> bool:
    """Tell whether an output is an input, links of both kinds included."""
    return path != "-" and target.is_file() and Path(path).exists() and target.samefile(path)


def check_kind(data: str, *, of_tables: Mapping[str, Any], of_images: Mapping[str, Any]) -> bool:
    """Tell images from tables, and refuse options that are for the other kind.

    Parameters
    ----------
    data : str
        What is to be read.
    of_tables, of_images : mapping of str to object
        Options that one of them alone has, and what was given for them.

    Returns
    -------
    bool
        True for images.
    """
    from vae_anomaly.data.image.source import holds_images

    images = data != "-" and holds_images(data)
    for option, value in (of_tables if images else of_images).items():
        if value:
            kinds = ("tables", "holds images") if images else ("images", "does not hold any")
            raise click.UsageError(f"{option} is for {kinds[0]}; {data} {kinds[1]}.")
    return images
