"""Reports: values collected from a fitted model and records, rendered as one page.

`build_report` fills dataclasses without markup; `write_report` renders them as a
self-contained page and writes its figures as files beside it. What a page shows of
one modality besides the common part comes from a section, see
`vae_anomaly.report.sections`.
"""

from vae_anomaly.metrics.threshold_search import Criteria
from vae_anomaly.report.build import build_report
from vae_anomaly.report.data import Context, ReportData
from vae_anomaly.report.render import render_page, write_report
from vae_anomaly.report.sections import context_for

__all__ = [
    "Context",
    "Criteria",
    "ReportData",
    "build_report",
    "context_for",
    "render_page",
    "write_report",
]
