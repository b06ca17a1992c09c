"""Figures of a report: drawn as PNG for files, as SVG for the page."""

from __future__ import annotations

import io
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from vae_anomaly._matplotlib import import_matplotlib
from vae_anomaly.displays import LatentDisplay
from vae_anomaly.displays.drawing import BLUE, GREY, INK, escaped, tidy
from vae_anomaly.displays.fonts import BASE_FONT, further_fonts, missing_characters
from vae_anomaly.metrics.curves import Curve
from vae_anomaly.report.data import Figure, ReportData
from vae_anomaly.report.svg import QUALITY, data_url, inline_svg, is_broad

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

__all__ = [
    "FIGURES",
    "PLANE",
    "SQUARE",
    "WIDE",
    "Drawing",
    "draw_figures",
    "drawn",
    "embedded_thumbnail",
]

FIGURES = (
    *("scores", "roc", "precision_recall", "latent", "training", "latent_use"),
    *("calibration", "p_values", "elbo"),
)
"""Names of the figures of the common part, without ``.png``."""

MAX_EXACT = 48
"""Pixels of the longer side up to which a thumbnail is stored without loss."""

DPI = 160
WIDE, SQUARE, PLANE = (9.8, 4.0), (4.6, 3.9), (5.2, 5.2)  # inches


class Drawing(NamedTuple):
    """A figure, drawn.

    Attributes
    ----------
    png : bytes
        For a file; empty if there is none.
    svg : bytes
        For the page, as Matplotlib writes it; empty if the page does not show it.
    """

    png: bytes
    svg: bytes = b""

    @property
    def is_broad(self) -> bool:
        """Whether the figure is as wide as the page."""
        return is_broad(self.svg)

    def element(self, label: str) -> Markup:
        """Return the element of the page that shows it, with a description."""
        return Markup(inline_svg(self.svg, label))  # noqa: S704 - serialised from a tree


def embedded_thumbnail(rgb: NDArray[np.uint8]) -> str:
    """Embed a thumbnail: without loss if it is tiny, else as a JPEG, so that a page stays small."""
    from PIL import Image

    is_tiny = max(rgb.shape) <= MAX_EXACT
    format_name, options = ("png", {}) if is_tiny else ("jpeg", {"quality": QUALITY})
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, format=format_name, **options)
    return data_url(format_name, buffer.getvalue())


def draw_figures(report: ReportData) -> dict[str, Drawing]:
    """Draw the figures of a report; equal reports give equal bytes."""
    figures = _common_figures(report)
    for section in report.sections:
        figures |= section.figures()
    return {name: drawn(figure, name) for name, figure in figures.items()}


def _common_figures(report: ReportData) -> dict[str, Figure]:
    figures = {
        "scores": Figure(report.scores.plot, WIDE),
        "latent": Figure(report.latent.plot, _scatter_size(report.latent)),
        "elbo": Figure(report.elbo.plot, SQUARE),
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


def drawn(figure: Figure, name: str, *, as_file: bool = True) -> Drawing:
    """Draw a figure, independent of the settings and figures of the caller.

    Parameters
    ----------
    figure : Figure
    name : str
        Different names keep the references inside of figures of one page apart.
    as_file : bool, default=True
        Whether to draw it as PNG as well.

    Returns
    -------
    Drawing
    """
    import_matplotlib()
    import matplotlib as mpl
    from PIL import Image

    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        mpl.rcdefaults()
        mpl.rc("font", family=[BASE_FONT], size=10)
        mpl.rc("text", color=INK, usetex=False)
        mpl.rc("axes", labelcolor=INK, unicode_minus=True, facecolor="none")
        mpl.rc("svg", fonttype="none", hashsalt=name)
        page, pixels = _painted(figure)
        if missing := missing_characters(page):
            families, undrawable = further_fonts(missing)
            mpl.rc("font", family=[BASE_FONT, *families])
            with escaped(undrawable):
                page, pixels = _painted(figure)
        png, svg = io.BytesIO(), io.BytesIO()
        if as_file:
            Image.fromarray(pixels).save(png, format="png", dpi=(DPI, DPI))
        if figure.is_inline:
            page.set_layout_engine("none")  # that of the pixels is kept
            page.savefig(svg, format="svg", facecolor="none", metadata={"Date": None})
        return Drawing(png.getvalue(), svg.getvalue())


def _painted(figure: Figure) -> tuple[Canvas, NDArray[np.uint8]]:
    """Return a figure on a page of its own, and its pixels, (height, width, 3).

    Without the fourth channel files are smaller: figures are opaque.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    page = Canvas(figure.size, dpi=DPI, layout="constrained", facecolor="white")
    canvas: Any = FigureCanvasAgg(page)  # its methods have no types
    figure.draw(page.subplots())
    canvas.draw()
    return page, np.asarray(canvas.buffer_rgba())[..., :3]


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
