"""Recalibration of a model: its threshold from other normal records, or set by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.exceptions import DataError
from vae_anomaly.model.calibration import Calibration
from vae_anomaly.model.model import Model
from vae_anomaly.model.parameters import FALSE_ALARM_RATE, checked_threshold
from vae_anomaly.model.seen import Repeats
from vae_anomaly.stats.thresholds import min_calibration_rows

__all__ = ["Recalibrated", "recalibrated", "with_threshold"]

Array = NDArray[np.float64]


class Recalibrated(NamedTuple):
    """Model with a new calibration.

    Attributes
    ----------
    model : Model
    repeats : Repeats
        Records that were left out because the model had learned them.
    """

    model: Model
    repeats: Repeats


def recalibrated(
    model: Model,
    scores: Array,
    digests: NDArray[np.uint64],
    rate: float,
    *,
    keep_learned: bool = False,
    stacklevel: int = 2,
) -> Recalibrated:
    """Calibrate a model with normal records, without those that it learned.

    Parameters
    ----------
    model : Model
    scores : ndarray of shape (n,)
        Anomaly scores of the records.
    digests : ndarray of shape (n,) or (0,)
        See `seen.digests_of`; none where scores are not those of single records.
    rate : float in (0, 1)
        False-alarm rate.
    keep_learned : bool, default=False
        Calibrate by records that were learned as well.
    stacklevel : int, default=2
        Of the warning.

    Raises
    ------
    DataError
        If some records were learned, and the others are too few for the rate.

    Warns
    -----
    TooFewCalibrationRowsWarning
        If the records are too few for the rate, and none was left out.
    """
    repeats = model.seen.repeats(digests, calibration=False)
    keeps_all = keep_learned or not len(digests)
    used = np.ones(len(scores), dtype=bool) if keeps_all else repeats.used
    needed = min_calibration_rows(rate)
    if not used.all() and used.sum() < needed:
        raise DataError(
            f"Expected at least {needed:,} {model.unit}s that the model has not learned, for a "
            f"false-alarm rate of {rate:g}, got {used.sum():,}: {len(scores) - used.sum():,} of "
            f"{len(scores):,} {model.unit}s were in its training data. Bring others. With "
            f"--keep-learned, or keep_learned=True, those count as well, and the threshold is too "
            f"low."
        )
    changed = {"contamination": None, "threshold": None, "false_alarm_rate": rate}
    new = replace(
        model,
        calibration=Calibration.from_normal(scores[used], rate, stacklevel=stacklevel + 1),
        parameters={**model.parameters, **changed},
        seen=model.seen.with_calibration(digests[used[: len(digests)]]),
    )
    return Recalibrated(new, repeats)


def with_threshold(model: Model, threshold: float) -> Model:
    """Return a model with a threshold, in nats, that is set by hand.

    Its calibration records stay, for p-values, false-discovery rates and drift.

    Raises
    ------
    ParameterError
        If it is not a finite number.
    """
    value = checked_threshold(threshold)
    calibration = replace(model.calibration, threshold=value, method="threshold", value=value)
    changed = {"contamination": None, "threshold": value, "false_alarm_rate": FALSE_ALARM_RATE}
    return replace(model, calibration=calibration, parameters={**model.parameters, **changed})
