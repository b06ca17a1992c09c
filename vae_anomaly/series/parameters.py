"""Parameters of `SeriesDetector` and their ranges."""

from __future__ import annotations

import numpy as np

from vae_anomaly._parameters import Rule, flag, integer, number, one_of, optional
from vae_anomaly.model.parameters import VERBOSE
from vae_anomaly.names import SERIES_ARCHITECTURES, SPANS

__all__ = ["RULES"]


def _is_span(value: object) -> bool:
    return value in SPANS if isinstance(value, str) else integer(1).holds(value)


RULES = {
    "window": optional(integer(4)),
    "architecture": one_of(SERIES_ARCHITECTURES),
    "causal": flag(),
    "false_alarms": optional(number(0, np.inf, "()")),
    "per": Rule(_is_span, f"one of {', '.join(map(repr, SPANS))}, or a number of time steps"),
    "min_steps": integer(1),
    "cool_down": optional(integer(1)),
    "max_steps": integer(1),
    "verbose": VERBOSE,
}
