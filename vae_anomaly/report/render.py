"""From the values of a report to a page and its images: knows no model.

The page needs nothing but itself: style inline, figures as data, one script
inline that moves the threshold, and a content security policy that knows both
by their hashes and would refuse anything else. Text from
outside goes through `legible`, and everything through Jinja's escaping.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from vae_anomaly.displays import ImageGridDisplay, LatentDisplay, ReconstructionDisplay
from vae_anomaly.displays.drawing import BLUE, GREY, INK, legible, tidy
from vae_anomaly.displays.images import MAX_ROWS
from vae_anomaly.displays.painting import heat
from vae_anomaly.report.data import Curve, Gallery, ImageFindings, ReportData, Steps
from vae_anomaly.report.wording import latent_sentence, nats, number, percent, pixels, span, tiles
from vae_anomaly.storage.atomic import atomic_write, output_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["IMAGE_FIGURES", "FIGURES", "draw_figures", "render_page", "write_report"]

TEMPLATES = Path(__file__).with_name("templates")
INLINE = ("style.css", "threshold.js")

FIGURES = (
    *("scores", "roc", "precision_recall", "latent", "training", "latent_use"),
    *("calibration", "p_values"),
)
"""Names of the figures there may be, without ``.png``."""

IMAGE_FIGURES = (
    *("strangest", "normal", "latent_grid", "samples", "interpolation"),
    *("latent_compared", "latent_grid_compared"),
)
"""Names of those that a report on figures may have besides."""

TINY = 48
"""Pixels of the longer side up to which a thumbnail is kept exactly."""

DPI = 160
WIDE, SQUARE, PLANE = (9.8, 4.0), (4.6, 3.9), (5.2, 5.2)  # inches

STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],  # comes with Matplotlib: the same bytes everywhere
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.unicode_minus": True,
    "text.usetex": False,
}


def write_report(report: ReportData, directory: str | os.PathLike[str]) -> Path:
    """Write ``report.html`` and its figures into a directory.

    Each file appears whole or not at all, the page last. Images of an earlier
    report that this one does not have are removed.

    Parameters
    ----------
    report : ReportData
    directory : str or path-like
        Created if it is not there.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    folder = Path(directory)
    figures = draw_figures(report)
    page = render_page(report, figures)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "report.html").exists():  # else they are somebody's own
            for name in (*FIGURES, *IMAGE_FIGURES):
                if name not in figures:
                    (folder / f"{name}.png").unlink(missing_ok=True)
    except OSError as cause:
        raise output_error(folder, cause) from cause
    for name, content in figures.items():
        with atomic_write(folder / f"{name}.png") as file:
            file.write(content)
    target = folder / "report.html"
    with atomic_write(target) as file:
        file.write(page.encode("utf-8"))
    return target


def render_page(report: ReportData, figures: dict[str, bytes] | None = None) -> str:
    """Render the page as one string of HTML.

    Parameters
    ----------
    report : ReportData
    figures : dict of str to bytes, optional
        PNG by name, as `draw_figures` makes them; drawn if not given.

    Returns
    -------
    str
    """
    figures = draw_figures(report) if figures is None else figures
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(text=legible, nats=nats, number=number, percent=percent, span=span)
    environment.filters.update(pixels=pixels, thumbnails=_thumbnails, scale=_scale)
    inline = {name: (TEMPLATES / name).read_text(encoding="utf-8") for name in INLINE}
    return environment.get_template("report.html.j2").render(
        report=report,
        tiles=tiles(report),
        latent_sentence=latent_sentence(report),
        figures={name: _figure(content) for name, content in figures.items()},
        inline={name: Markup(text) for name, text in inline.items()},  # noqa: S704 - files of ours
        hashes={name: _hash(text) for name, text in inline.items()},
        steps=_as_json(report.steps),
    )


def _hash(text: str) -> str:
    """Name a text as content security policies do."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _as_json(steps: Steps) -> str:
    """Spell the thresholds to try for the script of the page."""
    return json.dumps(vars(steps), default=np.ndarray.tolist)


def _thumbnails(gallery: Gallery) -> list[list[dict[str, str]]]:
    """Embed what is shown of each image, side by side."""
    columns = gallery.display.columns()
    return [
        [{"name": name, "src": _thumbnail(column[i])} for name, column in columns.items()]
        for i in range(len(gallery.images))
    ]


def _thumbnail(rgb: NDArray[np.uint8]) -> str:
    """Embed a small image: exactly if it is tiny, else as a JPEG, so that a page stays small."""
    from PIL import Image

    kind, options = ("png", {}) if max(rgb.shape) <= TINY else ("jpeg", {"quality": 85})
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, format=kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _scale(gallery: Gallery) -> str:
    """Embed the colours of contribution maps, from nothing to the top of their scale."""
    strip = (255 * heat(np.linspace(0, 1, TINY))).round().astype(np.uint8)
    return _thumbnail(strip[None])


def _figure(png: bytes) -> dict[str, object]:
    """Embed a PNG: its address, and its size in CSS pixels, from its header."""
    width, height = (int.from_bytes(png[i : i + 4], "big") for i in (16, 20))
    return {
        "src": f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}",
        "width": width * 96 // DPI,
        "height": height * 96 // DPI,
    }


def draw_figures(report: ReportData) -> dict[str, bytes]:
    """Draw what the report has as PNG; equal reports give equal bytes."""
    drawn = {
        "scores": _png(report.scores.plot, WIDE),
        "latent": _png(report.latent.plot, _scatter_size(report.latent)),
        "training": _png(report.training.plot, WIDE),
        "latent_use": _png(report.latent_use.plot, SQUARE),
    }
    if report.roc is not None:
        drawn["roc"] = _png(partial(_draw_roc, report.roc, report.unit), SQUARE)
    if report.precision_recall is not None:
        share = report.groups[-1].n_rows / report.n_rows
        draw = partial(_draw_precision_recall, report.precision_recall, share)
        drawn["precision_recall"] = _png(draw, SQUARE)
    for name, shown in (("calibration", report.calibration), ("p_values", report.p_values)):
        if shown is not None:
            drawn[name] = _png(shown.plot, SQUARE)
    if report.images is not None:
        drawn |= _draw_images(report.images)
    return drawn


def _draw_images(found: ImageFindings) -> dict[str, bytes]:
    drawn = {
        "latent_grid": _png(found.latent_grid.plot, PLANE),
        "samples": _png(found.samples.plot, _grid_size(found.samples)),
    }
    for name, gallery in (("strangest", found.strangest), ("normal", found.normal)):
        if gallery is not None:
            drawn[name] = _png(gallery.display.plot, _gallery_size(gallery.display))
    if found.interpolation is not None:
        drawn["interpolation"] = _png(found.interpolation.plot, _grid_size(found.interpolation))
    if found.comparison is not None:
        drawn["latent_compared"] = _png(found.comparison.latent.plot, PLANE)
        drawn["latent_grid_compared"] = _png(found.comparison.latent_grid.plot, PLANE)
    return drawn


def _scatter_size(shown: LatentDisplay) -> tuple[float, float]:
    """Leave room for the names of kinds."""
    return SQUARE if shown.categories is None else PLANE


def _grid_size(shown: ImageGridDisplay) -> tuple[float, float]:
    """Fit the height of a figure to the figures in it."""
    n, height, width, _ = shown.images.shape
    columns = min(shown.columns, n)
    return WIDE[0], max(0.5, -(-n // columns) * height * WIDE[0] / (columns * width))


def _gallery_size(shown: ReconstructionDisplay) -> tuple[float, float]:
    n, height, width = min(len(shown.images), MAX_ROWS), *shown.images.shape[1:3]
    across = 1.5 * len(shown.columns())
    return across + 2.8, max(2.5, 0.6 + n * 1.5 * height / width)


def _png(draw: Callable[[Axes], Any], size: tuple[float, float]) -> bytes:
    """Draw one image, untouched by the settings and figures of whoever calls."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    with mpl.rc_context(), warnings.catch_warnings():
        # Names may be in a script that the font does not have: boxes are shown instead.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        figure = Figure(figsize=size, dpi=DPI, layout="constrained", facecolor="white")
        canvas: Any = FigureCanvasAgg(figure)  # whose methods have no types
        draw(figure.subplots())
        canvas.draw()
        # Nothing shines through: without the fourth channel and packed well it is a tenth smaller.
        rgb = np.asarray(canvas.buffer_rgba())[..., :3]
        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, format="png", optimize=True, dpi=(DPI, DPI))
        return buffer.getvalue()


def _draw_roc(curve: Curve, unit: str, ax: Axes) -> None:
    from sklearn.metrics import RocCurveDisplay

    RocCurveDisplay(fpr=curve.x, tpr=curve.y).plot(ax=ax)
    ax.axline((0, 0), (1, 1), color=GREY, linestyle=":", label="scores that know nothing")
    _finish_curve(ax, f"AUROC {curve.area.value:.3f}", f"false alarms (share of normal {unit}s)")
    ax.set_ylabel("found (share of anomalies)")


def _draw_precision_recall(curve: Curve, share: float, ax: Axes) -> None:
    from sklearn.metrics import PrecisionRecallDisplay

    PrecisionRecallDisplay(precision=curve.y, recall=curve.x).plot(ax=ax)
    ax.axhline(share, color=GREY, linestyle=":", label="scores that know nothing")
    label = f"average precision {curve.area.value:.3f}"
    _finish_curve(ax, label, "recall (share of anomalies found)")
    ax.set_ylabel("precision (share of flagged)")


def _finish_curve(ax: Axes, label: str, xlabel: str) -> None:
    line = ax.lines[0]
    line.set(color=BLUE, linewidth=2, label=label)
    ax.set(xlabel=xlabel, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="auto")
    tidy(ax, "both")
    ax.legend(frameon=False, loc="lower right" if "AUROC" in label else "lower left")
