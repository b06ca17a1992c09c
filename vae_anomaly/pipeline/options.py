"""Options of commands: which of them were given, for what they are, and which go together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from vae_anomaly._types import Parameter
from vae_anomaly.data.registry import check_options
from vae_anomaly.detectors import DETECTORS
from vae_anomaly.exceptions import ParameterError

__all__ = [
    "Options",
    "check_labels",
    "check_model_options",
    "divide",
    "flag",
    "given_options",
    "refuse_foreign",
]

Options = Mapping[str, Parameter]
"""Name of an option -> its value, also where none was given: None, () or False."""


def flag(name: str) -> str:
    """Return the option of a parameter.

    Examples
    --------
    >>> flag("p_values")
    '--p-values'
    """
    return f"--{name.replace('_', '-')}"


def given_options(given: Options, names: Iterable[str] | None = None) -> dict[str, Parameter]:
    """Return the options that have a value, or those of some names.

    Examples
    --------
    >>> given_options({"beta": 0.0, "strict": False, "missing": (), "title": None})
    {'beta': 0.0}
    """
    return {
        name: given[name]
        for name in (given if names is None else names)
        if given.get(name) not in ((), None) and given[name] is not False
    }


def divide(
    given: Options, names: Collection[str]
) -> tuple[dict[str, Parameter], dict[str, Parameter]]:
    """Return the options that have a value: those of some names, and the others.

    Examples
    --------
    >>> divide({"explain": 2, "strict": True, "fdr": None}, ["explain", "fdr"])
    ({'explain': 2}, {'strict': True})
    """
    named = given_options(given, names)
    return named, {name: v for name, v in given_options(given).items() if name not in names}


def refuse_foreign(given: Options, accepted: Collection[str], reason: str) -> None:
    """Raise if an option has a value that is not among those accepted.

    Parameters
    ----------
    given : mapping
    accepted : collection of str
    reason : str
        Why it is not: "is not for time series, as in m.vae".

    Raises
    ------
    ParameterError
    """
    for name in given_options(given):
        if name not in accepted:
            raise ParameterError(f"{flag(name)} {reason}.")


def check_model_options(given: Options, modality: str, model: str) -> None:
    """Raise if an option has a value that is for another type of detector, or modality.

    Parameters
    ----------
    given : mapping
    modality : str
        That of the model, a detector of `RECORDS`.
    model : str
        Name of its file.

    Raises
    ------
    ParameterError
    """
    for other in DETECTORS.values():
        own = [name for name in other.options if name in given]
        reason = f"is for {other.contents}; {model} was fitted on other data"
        refuse_foreign({name: given[name] for name in own}, (), reason)
    check_options(given_options(given), modality, f"{model} was fitted on")


def check_labels(label_column: str | None, normal_label: Collection[str]) -> None:
    """Raise if labels of normal rows are given, and no column of labels."""
    if normal_label and label_column is None:
        raise ParameterError("--normal-label needs --label-column.")
