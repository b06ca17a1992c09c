"""A report on how a detector does on a table or on images: collected, then rendered.

`build_report` and `build_image_report` fill dataclasses that know no markup;
`write_report` turns them into one page that needs nothing else, with its images beside it.
"""

from vae_anomaly.report.choices import Criteria
from vae_anomaly.report.collect import build_report
from vae_anomaly.report.data import ReportData
from vae_anomaly.report.images import build_image_report
from vae_anomaly.report.render import render_page, write_report

__all__ = [
    "Criteria",
    "ReportData",
    "build_image_report",
    "build_report",
    "render_page",
    "write_report",
]
