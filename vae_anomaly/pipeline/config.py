"""Files of options: TOML with those of a command, or with a section for each command."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path

from vae_anomaly._text import display_name, listed, shown
from vae_anomaly._types import Json
from vae_anomaly.exceptions import ParameterError

__all__ = ["read_config"]


def read_config(
    path: str,
    command: str,
    options: Mapping[str, str],
    commands: Collection[str],
    repeatable: Collection[str] = (),
) -> dict[str, Json]:
    """Read the options of a command from a file.

    Top-level keys are options, by their names on the command line without dashes, such as
    ``false-alarm-rate = 0.05``. Options in a section named for a command, such as ``[score]``, are
    for that command alone. Lists give an option several times.

    Parameters
    ----------
    path : str
    command : str
    options : mapping of str to str
        Name of each option of the command -> its parameter.
    commands : collection of str
        All commands.
    repeatable : collection of str
        Parameters that take a list; a single value is one of one.

    Returns
    -------
    dict
        Parameter -> a flag, a text as on the command line, or a list of these.

    Raises
    ------
    ParameterError
        If the file is not sound TOML, or holds an unknown option.
    OSError
        If it cannot be read.
    """
    name = display_name(Path(path))
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as cause:  # not UTF-8, or not TOML
        raise ParameterError(f"{name} is not sound TOML: {cause}. Correct it.") from cause
    common = {key: value for key, value in content.items() if key not in commands}
    own = content.get(command, {})
    if not isinstance(own, dict):
        raise ParameterError(f"{name}: {command} must be a section of options, [{command}].")
    found = {}
    for key, value in (common | own).items():
        spelled = key.replace("_", "-")
        if spelled not in options:
            close = difflib.get_close_matches(spelled, options, n=1)
            hint = f"Did you mean {shown(close[0])}?" if close else f"It has {listed([*options])}."
            raise ParameterError(f"{name}: {command} has no option {shown(key)}. {hint}")
        parameter, words = options[spelled], _words(value, f"{name}, {key}")
        is_single = parameter in repeatable and not isinstance(words, list)
        found[parameter] = [words] if is_single else words
    return found


def _words(value: Json, place: str) -> Json:
    """Return a value as the command line gives it.

    Raises
    ------
    ParameterError
        If there is none such.
    """
    if isinstance(value, list):
        return [_words(one, place) for one in value]
    if isinstance(value, dict):
        raise ParameterError(
            f"{place}: expected a number, a text, true or false, or a list of these, got a section."
        )
    return value if isinstance(value, bool) else str(value)
