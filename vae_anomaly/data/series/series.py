from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Series:
    name: str
    times: np.ndarray | None
    values: np.ndarray
    measured: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True, eq=False)
class SeriesSet:
    series: tuple
    channels: tuple
    step: int | None
    n_rows: int
    status: tuple
    times_text: object = None
    gaps: tuple = ()
    notes: tuple = ()
