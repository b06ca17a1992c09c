"""Figures of a report: drawn as PNG, embedded as data."""

from __future__ import annotations

import base64
import io
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._matplotlib import import_matplotlib
from vae_anomaly.displays import LatentDisplay
from vae_anomaly.displays.drawing import BLUE, GREY, INK, escaped, tidy
from vae_anomaly.displays.fonts import BASE_FONT, further_fonts, missing_characters
from vae_anomaly.metrics.curves import Curve
from vae_anomaly.report.data import Figure, ReportData

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "FIGURES",
    "PLANE",
    "SQUARE",
    "WIDE",
    "EmbeddedFigure",
    "draw_figures",
    "embedded",
    "embedded_thumbnail",
    "png",
]

FIGURES = (
    *("scores", "roc", "precision_recall", "latent", "training", "latent_use"),
    *("calibration", "p_values"),
)
"""Names of the figures of the common part, without ``.png``."""

MAX_EXACT = 48
"""Pixels of the longer side up to which a thumbnail is stored without loss."""

DPI = 160
WIDE, SQUARE, PLANE = (9.8, 4.0), (4.6, 3.9), (5.2, 5.2)  # inches


class EmbeddedFigure(NamedTuple):
    """A figure as data, and its size in CSS pixels."""

    src: str
    width: int
    height: int


def embedded(png: bytes) -> EmbeddedFigure:
    """Embed a PNG; its size comes from its header."""
    width, height = (int.from_bytes(png[i : i + 4], "big") for i in (16, 20))
    return EmbeddedFigure(_data_url("png", png), width * 96 // DPI, height * 96 // DPI)


def embedded_thumbnail(rgb: NDArray[np.uint8]) -> str:
    """Embed a thumbnail: without loss if it is tiny, else as a JPEG, so that a page stays small."""
    from PIL import Image

    format_name, options = ("png", {}) if max(rgb.shape) <= MAX_EXACT else ("jpeg", {"quality": 85})
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, format=format_name, **options)
    return _data_url(format_name, buffer.getvalue())


def _data_url(format_name: str, content: bytes) -> str:
    return f"data:image/{format_name};base64,{base64.b64encode(content).decode('ascii')}"


def draw_figures(report: ReportData) -> dict[str, bytes]:
    """Draw the figures of a report as PNG; equal reports give equal bytes."""
    figures = _common_figures(report)
    for section in report.sections:
        figures |= section.figures()
    return {name: png(figure) for name, figure in figures.items()}


def _common_figures(report: ReportData) -> dict[str, Figure]:
    figures = {
        "scores": Figure(report.scores.plot, WIDE),
        "latent": Figure(report.latent.plot, _scatter_size(report.latent)),
        "training": Figure(report.training.plot, WIDE),
        "latent_use": Figure(report.latent_use.plot, SQUARE),
    }
    if report.roc is not None:
        figures["roc"] = Figure(partial(_draw_roc, report.roc, report.unit), SQUARE)
    if report.precision_recall is not None:
        share = report.groups[-1].n_rows / report.n_rows
        draw = partial(_draw_precision_recall, report.precision_recall, share)
        figures["precision_recall"] = Figure(draw, SQUARE)
    for name, shown in (("calibration", report.calibration), ("p_values", report.p_values)):
        if shown is not None:
            figures[name] = Figure(shown.plot, SQUARE)
    return figures


def _scatter_size(shown: LatentDisplay) -> tuple[float, float]:
    """Return the size of a scatter plot; the names of categories take room."""
    return SQUARE if shown.categories is None else PLANE


def png(figure: Figure, colors: int | None = None) -> bytes:
    """Draw a figure, independent of the settings and figures of the caller.

    Parameters
    ----------
    figure : Figure
    colors : int, optional
        Number of colours that are enough for it: the file is then about half as large.

    Returns
    -------
    bytes
    """
    import_matplotlib()
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas
    from PIL import Image

    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        mpl.rcdefaults()
        mpl.rc("font", family=[BASE_FONT], size=10)
        mpl.rc("text", color=INK, usetex=False)
        mpl.rc("axes", labelcolor=INK, unicode_minus=True)
        blank = partial(Canvas, figure.size, dpi=DPI, layout="constrained", facecolor="white")
        canvas: Any = FigureCanvasAgg(blank())  # its methods have no types
        figure.draw(canvas.figure.subplots())
        canvas.draw()
        missing = missing_characters(canvas.figure)
        if missing:
            families, undrawable = further_fonts(missing)
            mpl.rc("font", family=[BASE_FONT, *families])
            canvas = FigureCanvasAgg(blank())
            with escaped(undrawable):
                figure.draw(canvas.figure.subplots())
            canvas.draw()
        # Figures are opaque: without the fourth channel and well packed they are a tenth smaller.
        drawing = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
        if colors is not None:
            drawing = drawing.quantize(colors)
        buffer = io.BytesIO()
        drawing.save(buffer, format="png", optimize=True, dpi=(DPI, DPI))
        return buffer.getvalue()


def _draw_roc(curve: Curve, unit: str, ax: Axes) -> None:
    from sklearn.metrics import RocCurveDisplay

    RocCurveDisplay(fpr=curve.x, tpr=curve.y).plot(ax=ax)
    ax.axline((0, 0), (1, 1), color=GREY, linestyle=":", label="random scores")
    _finish_curve(ax, f"AUROC {curve.area.value:.3f}", f"false alarms (share of normal {unit}s)")
    ax.set_ylabel("found (share of anomalies)")


def _draw_precision_recall(curve: Curve, share: float, ax: Axes) -> None:
    from sklearn.metrics import PrecisionRecallDisplay

    PrecisionRecallDisplay(precision=curve.y, recall=curve.x).plot(ax=ax)
    ax.axhline(share, color=GREY, linestyle=":", label="random scores")
    label = f"average precision {curve.area.value:.3f}"
    _finish_curve(ax, label, "recall (share of anomalies found)")
    ax.set_ylabel("precision (share of flagged)")


def _finish_curve(ax: Axes, label: str, xlabel: str) -> None:
    line = ax.lines[0]
    line.set(color=BLUE, linewidth=2, label=label)
    ax.set(xlabel=xlabel, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="auto")
    tidy(ax, "both")
    ax.legend(frameon=False, loc="lower right" if "AUROC" in label else "lower left")
