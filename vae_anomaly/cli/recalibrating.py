"""`vae-anomaly recalibrate`. Loaded when the command runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from vae_anomaly.cli.checks import check_output
from vae_anomaly.cli.console import Console
from vae_anomaly.cli.exits import Exit
from vae_anomaly.cli.fitting import threshold_origin
from vae_anomaly.cli.images import model_of_images, read_images
from vae_anomaly.cli.scoring import scoring_schema
from vae_anomaly.data.image.schema import ImageSchema
from vae_anomaly.data.table.files import open_table
from vae_anomaly.exceptions import DataError
from vae_anomaly.persistence import load, recalibrate, save

__all__ = ["recalibrate_on_images", "recalibrate_on_table"]


def recalibrate_on_table(
    console: Console,
    model: str,
    data: str,
    output: str,
    *,
    false_alarm_rate: float | None = None,
) -> None:
    """Write a model anew, with the threshold that the rows of a table ask for.

    Parameters
    ----------
    console : Console
    model, data, output : str
        Model file and table of normal rows to read, model file to write.
    false_alarm_rate : float, optional
        By default that of the model.
    """
    check_output(output, data, model)
    detector = load(model)
    with open_table(data) as table:
        schema = scoring_schema(console, table, detector, [])
        parts = [schema.matrix(batch) for batch in table.batches(schema.names)]
        name = table.name
    if not sum(map(len, parts)):
        raise DataError(
            f"{name} has no rows below its column names. There is nothing to calibrate by."
        )
    console.start_engine(detector)
    rows = schema.frame(np.concatenate(parts))
    _write(console, detector, rows, output, "rows", false_alarm_rate)


def recalibrate_on_images(
    console: Console,
    model: str,
    data: str,
    output: str,
    *,
    false_alarm_rate: float | None = None,
    strict: bool = False,
) -> Exit:
    """Write a model anew, with the threshold that some images ask for.

    Parameters
    ----------
    console : Console
    model, data, output : str
        Model file and folder or file of normal images to read, model file to write.
    false_alarm_rate : float, optional
        By default that of the model.
    strict : bool, default=False
        Refuse images that cannot be read.

    Returns
    -------
    Exit
    """
    check_output(output, data, model)
    detector, schema = model_of_images(model, data)
    pixels, code = read_images(console, data, schema, strict=strict)
    console.start_engine(detector)
    _write(console, detector, pixels, output, "images", false_alarm_rate, schema)
    return code


def _write(
    console: Console,
    detector: Any,
    rows: Any,
    output: str,
    unit: str,
    rate: float | None,
    schema: ImageSchema | None = None,
) -> None:
    """Recalibrate, save, and say what the threshold was and is."""
    other = recalibrate(detector, rows, false_alarm_rate=rate)
    save(other, output)
    flagged = int((other.calibration_scores_ > -detector.offset_).sum())
    console.say(
        f"the old threshold, {-detector.offset_:.4g} nats, flags {flagged:,} of these "
        f"{len(rows):,} {unit}"
    )
    console.say(f"threshold: {-other.offset_:.4g} nats, {threshold_origin(other, unit)}")
    console.say(f"model: {output}")
