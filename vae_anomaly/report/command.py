"""Command line of a report, without folders: equal inputs give equal pages."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from vae_anomaly.pipeline.options import Options, flag, given_options

__all__ = ["DEFAULT_TITLES", "DEFAULT_TOP", "command_line"]

DEFAULT_TITLES = ("Anomaly report",)

DEFAULT_TOP = 10

DEFAULTS = {"title": DEFAULT_TITLES, "top": (DEFAULT_TOP,)}
"""Values of options that a command line need not name."""

PATHS = ("training", "labels")
"""Options that name files."""


def command_line(name: str, inputs: Sequence[str], output: str, options: Options) -> str:
    """Return the command line that a report can be made with again.

    Parameters
    ----------
    name : str
        Name of the command.
    inputs : sequence of str
        Paths.
    output : str
    options : mapping

    Examples
    --------
    >>> command_line("evaluate", ["/data/m.vae", "t.csv"], "out/x", {"top": 3, "strict": True})
    'vae-anomaly evaluate m.vae t.csv -o x --top 3 --strict'
    """
    words = ["vae-anomaly", name, *(Path(one).name for one in inputs), "-o", Path(output).name]
    for option, value in given_options(options).items():
        if value in DEFAULTS.get(option, ()):
            continue
        for one in value if isinstance(value, list | tuple) else [value]:
            text = Path(str(one)).name if option in PATHS else str(one)
            words += [flag(option)] if one is True else [flag(option), text]
    return shlex.join(words)
