"""Checks of parameters: rules, and one sentence for each violation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np

from vae_anomaly._text import shown
from vae_anomaly._types import Parameter
from vae_anomaly.exceptions import ParameterError

__all__ = [
    "Rule",
    "ascending_pair",
    "check_parameters",
    "check_unchanged",
    "flag",
    "integer",
    "number",
    "one_of",
    "optional",
    "texts",
    "texts_by_name",
    "units",
]


class Rule(NamedTuple):
    """A test of a value, and the words that complete "must be ..."."""

    holds: Callable[[Parameter], bool]
    words: str


def _is_number(value: Parameter, number: type) -> bool:
    return isinstance(value, number) and not isinstance(value, bool) and value == value


def integer(least: int) -> Rule:
    """Whole numbers from `least`."""
    return Rule(lambda v: _is_number(v, Integral) and v >= least, f"an int >= {least}")


def number(low: float, high: float, bounds: str) -> Rule:
    """Real numbers in an interval whose ends `bounds`, such as "(]", open or close."""

    def holds(value: Parameter) -> bool:
        if not _is_number(value, Real):
            return False
        above = value > low if bounds[0] == "(" else value >= low
        below = value < high if bounds[1] == ")" else value <= high
        return bool(above and below)

    return Rule(holds, f"a number in {bounds[0]}{low:g}, {high:g}{bounds[1]}")


def one_of(names: Collection[str]) -> Rule:
    """Strings from a list."""
    words = ", ".join(repr(name) for name in names)
    return Rule(lambda v: isinstance(v, str) and v in names, f"one of {words}")


def flag() -> Rule:
    """Return the rule for True and False."""
    return Rule(lambda v: isinstance(v, (bool, np.bool_)), "True or False")


def optional(rule: Rule) -> Rule:
    """None, or what `rule` allows."""
    return Rule(lambda v: v is None or rule.holds(v), f"None or {rule.words}")


def units() -> Rule:
    """Sequences of layer sizes."""
    size = integer(1)
    return Rule(
        lambda v: isinstance(v, (tuple, list)) and len(v) > 0 and all(size.holds(u) for u in v),
        "a non-empty tuple of ints >= 1",
    )


def ascending_pair() -> Rule:
    """Pairs of finite numbers, the lower one first."""
    end = number(-1e300, 1e300, "[]")
    return Rule(
        lambda v: (
            isinstance(v, (tuple, list)) and len(v) == 2 and all(map(end.holds, v)) and v[0] < v[1]
        ),
        "a pair (low, high) of numbers, low below high",
    )


def texts_by_name() -> Rule:
    """Dictionaries of strings to strings."""
    return Rule(
        lambda v: (
            isinstance(v, Mapping)
            and all(isinstance(text, str) for pair in v.items() for text in pair)
        ),
        "a dict of str to str",
    )


def texts() -> Rule:
    """Sequences of strings."""
    return Rule(
        lambda v: isinstance(v, (tuple, list)) and all(isinstance(text, str) for text in v),
        "a tuple of str",
    )


def check_parameters(estimator: object, rules: Mapping[str, Rule]) -> None:
    """Raise for the first parameter that breaks its rule.

    Raises
    ------
    ParameterError
        "The 'latent_dim' parameter of VAEDetector must be an int >= 1. Got 0 instead."
    """
    for name, rule in rules.items():
        value = getattr(estimator, name)
        if not rule.holds(value):
            raise ParameterError(
                f"The {name!r} parameter of {type(estimator).__name__} must be {rule.words}. "
                f"Got {value!r} instead."
            )


def check_unchanged(estimator: object, fitted: Mapping[str, Parameter]) -> None:
    """Raise if parameters of an estimator are no longer those that it was fitted with.

    Scores and threshold are of the fitted ones. `random_state` may have moved on.

    Raises
    ------
    ParameterError
        "Parameters were set after fit: beta=2.0, fitted with beta=1.0. Fit again, or set them
        back. For another false_alarm_rate or threshold alone, `recalibrate`."
    """
    now = {name: getattr(estimator, name) for name in fitted if name != "random_state"}
    changed = [
        name
        for name, value in now.items()
        if value is not fitted[name] and np.any(value != fitted[name])
    ]
    if changed:
        given, before = (
            ", ".join(f"{name}={shown(values[name])}" for name in changed)
            for values in (now, fitted)
        )
        raise ParameterError(
            f"Parameters were set after fit: {given}, fitted with {before}. Fit again, or set "
            f"them back. For another false_alarm_rate or threshold alone, `recalibrate`."
        )
