"""`vae-anomaly evaluate`. Loaded when the command runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vae_anomaly.cli.checks import check_directory
from vae_anomaly.cli.console import Console
from vae_anomaly.cli.scoring import scoring_schema
from vae_anomaly.data.labels import anomalous
from vae_anomaly.data.table.files import open_table
from vae_anomaly.exceptions import DataError
from vae_anomaly.persistence import load

__all__ = ["evaluate_table"]


def evaluate_table(
    console: Console,
    model: str,
    data: str,
    output: str,
    *,
    label_column: str | None = None,
    normal_label: Sequence[str] = (),
    id_column: str | None = None,
    title: str = "Anomaly report",
    top: int = 10,
    **criteria: float | None,
) -> Any:
    """Write a report on how a detector does on a table.

    Parameters
    ----------
    console : Console
    model, data, output : str
        Model file and table to read, directory to write to.
    label_column : str, optional
        Tells normal rows from anomalies.
    normal_label : sequence of str
        Its values for normal rows; by default `schema.NORMAL_LABELS`.
    id_column : str, optional
        Names the rows in the report.
    title : str, default="Anomaly report"
    top : int, default=10
        Rows to show.
    **criteria
        Of `report.Criteria`: what other thresholds to choose by.

    Returns
    -------
    ReportData
    """
    check_directory(output, model, data)
    detector = load(model)
    with open_table(data) as table:
        schema = scoring_schema(console, table, detector, [label_column, id_column])
        keep = [name for name in (label_column, id_column) if name is not None]
        batches = list(table.batches(schema.names, keep))
        name = table.name
    if not batches or sum(batch.num_rows for batch in batches) == 0:
        raise DataError(f"{name} has no rows below its column names. There is nothing to report.")
    rows = np.concatenate([schema.matrix(batch) for batch in batches])
    kept = {k: [v for b in batches for v in b.column(k).to_pylist()] for k in keep}
    labels = None
    if label_column is not None:
        labels = anomalous(kept[label_column], table=name, column=label_column, normal=normal_label)
    ids = range(1, len(rows) + 1) if id_column is None else kept[id_column]

    from vae_anomaly.report import Criteria, build_report, write_report  # Matplotlib takes its time

    console.start_engine(detector)
    with console.progress("reporting", 2) as update:
        report = build_report(
            detector,
            schema.frame(rows),
            labels,
            keys=ids,
            title=title,
            model_name=Path(model).name,
            data_name=Path(name).name,
            top=top,
            criteria=Criteria(**criteria),
        )
        update(1)
        page = write_report(report, Path(output))
        update(2)
    for line in report.summary:
        console.say(line)
    console.say(f"report: {page}")
    return report
