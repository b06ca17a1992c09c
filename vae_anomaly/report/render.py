"""Rendering of a report as a self-contained page with figures beside it.

Style, scripts and figures are inline. One script moves the threshold, the other sorts,
filters and saves the flagged records. A content security policy names style and scripts by
their hashes and refuses everything else. Text from outside goes through `legible`, and all
text through Jinja's escaping.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from vae_anomaly._version import __version__
from vae_anomaly.metrics.threshold_search import Steps
from vae_anomaly.report.data import ReportData
from vae_anomaly.report.figures import FIGURES, Drawing, draw_figures
from vae_anomaly.report.formatting import (
    breakable,
    legible,
    multiple,
    nats,
    number,
    percent,
    prose,
    span,
)
from vae_anomaly.report.sections import section_types
from vae_anomaly.report.summary import latent_sentence, tiles
from vae_anomaly.stats.floats import default_floats
from vae_anomaly.storage.atomic import atomic_write, make_folder, output_error

__all__ = ["figure_names", "render_page", "rendered", "write_page", "write_report"]

TEMPLATES = Path(__file__).with_name("templates")
SCRIPTS = ("threshold.js", "listing.js")


def figure_names() -> tuple[str, ...]:
    """Return the names of all figures that reports may have, without ``.png``."""
    return (*FIGURES, *(name for section in section_types() for name in section.figure_names))


@default_floats()
def write_report(report: ReportData, directory: str | os.PathLike[str]) -> Path:
    """Write ``report.html`` and its figures into a directory.

    Each file is written whole or not at all, the page last. Figures of an earlier
    report that this one does not have are removed.

    Parameters
    ----------
    report : ReportData
    directory : str or path-like
        Created if it does not exist.

    Returns
    -------
    Path
        Path of the page.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    figures = draw_figures(report)
    return write_page(render_page(report, figures), figures, directory)


def write_page(
    page: str, figures: Mapping[str, Drawing], directory: str | os.PathLike[str]
) -> Path:
    """Write a page and its figures as `write_report` does.

    Parameters
    ----------
    page : str
        HTML.
    figures : mapping of str to Drawing
        By name.
    directory : str or path-like

    Returns
    -------
    Path
        Path of the page.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    folder = Path(directory)
    try:
        make_folder(folder)
        if (folder / "report.html").exists():  # else the files are not from a report
            for name in figure_names():
                if name not in figures:
                    (folder / f"{name}.png").unlink(missing_ok=True)
    except OSError as cause:
        raise output_error(folder, cause) from cause
    for name, drawing in figures.items():
        with atomic_write(folder / f"{name}.png") as file:
            file.write(drawing.png)
    target = folder / "report.html"
    with atomic_write(target) as file:
        file.write(page.encode("utf-8"))
    return target


def render_page(report: ReportData, figures: Mapping[str, Drawing] | None = None) -> str:
    """Render the page as one string of HTML.

    Parameters
    ----------
    report : ReportData
    figures : mapping of str to Drawing, optional
        By name, as from `draw_figures`; drawn if not given.

    Returns
    -------
    str
    """
    return rendered(
        "report.html.j2",
        SCRIPTS,
        report=report,
        tiles=tiles(report),
        latent_sentence=latent_sentence(report),
        figures=draw_figures(report) if figures is None else figures,
        steps=_as_json(report.steps),
    )


class Inline(NamedTuple):
    """A file that is part of the page, and its hash in the form of content security policies."""

    text: Markup
    hash: str


def rendered(template: str, scripts: Sequence[str] = (), **values: object) -> str:
    """Render a template as one string of HTML.

    Parameters
    ----------
    template : str
        Name of a file in `TEMPLATES`.
    scripts : sequence of str
        Names of files there.
    **values
        Its variables, besides `scripts`, `style` and `version`.

    Returns
    -------
    str
    """
    page = _environment().get_template(template)
    return page.render(
        style=_inline("style.css"), scripts=[_inline(name) for name in scripts], **values
    )


@cache
def _environment() -> Environment:
    """Return the templates, which are compiled once."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(text=legible, nats=nats, number=number, percent=percent, span=span)
    environment.filters.update(breakable=breakable, multiple=multiple, prose=prose)
    environment.globals["version"] = __version__
    return environment


def _inline(name: str) -> Inline:
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    return Inline(Markup(text), _hash(text))  # noqa: S704 - our own files


def _hash(text: str) -> str:
    """Return the hash of a text in the form of content security policies."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _as_json(steps: Steps) -> str:
    """Return the thresholds of the slider for the script of the page."""
    return json.dumps(vars(steps), default=np.ndarray.tolist)
