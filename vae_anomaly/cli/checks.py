"""What is found out before any work begins."""

from __future__ import annotations

from pathlib import Path

import click

from vae_anomaly.files import check_writable

__all__ = ["check_directory", "check_output"]


def check_output(output: str, *inputs: str) -> None:
    """Refuse, before any work, an output that is an input or cannot be written."""
    if output == "-":
        return
    target = Path(output)
    for path in inputs:
        if path != "-" and target.is_file() and Path(path).exists() and target.samefile(path):
            raise click.UsageError(f"The output {output} is also an input. Choose another output.")
    check_writable(target)


def check_directory(output: str) -> None:
    """Refuse, before any work, a directory that cannot be written to or created."""
    folder = Path(output)
    while not folder.exists():
        folder = folder.parent
    check_writable(folder / "report.html")
