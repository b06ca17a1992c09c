"""Page of a comparison of two models: sentences, figures, markup."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vae_anomaly._text import counted
from vae_anomaly.displays.data import ANOMALIES, MAX_VECTOR_POINTS, by_label, shown_rows
from vae_anomaly.displays.drawing import BLUE, GREY, INK, ORANGE, AsinhScale, legend, tidy
from vae_anomaly.metrics.curves import Curves
from vae_anomaly.metrics.intervals import Estimate
from vae_anomaly.report.comparison_data import ComparisonReport
from vae_anomaly.report.data import Figure, Tile
from vae_anomaly.report.figures import SQUARE, drawn
from vae_anomaly.report.formatting import area, legible, multiple, percent
from vae_anomaly.report.render import rendered

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["comparison_summary", "render_comparison"]


def comparison_summary(report: ComparisonReport) -> list[str]:
    """Return who flags what, who separates better, and what they disagree most about."""
    first, second = report.models
    every, unit = report.agreements[0], report.unit
    sentences = [
        f"Of {counted(report.n_rows, unit)}, A ({legible(first.file, 40)}) flags "
        f"{first.n_flagged:,} and B ({legible(second.file, 40)}) {second.n_flagged:,}: both "
        f"{every.both:,}, only A {every.only_first:,}, only B {every.only_second:,}."
    ]
    shares = [(one.name, one.expected_false) for one in report.models]
    known = [f"{percent(share)} of those of {name}" for name, share in shares if share is not None]
    if known:
        sentences.append(f"Expected to be false are at most {' and '.join(known)}.")
    if report.difference is not None and first.curves is not None and second.curves is not None:
        sentences.append(_about_difference(report.difference, first.curves, second.curves))
    sentences.append(
        f"The scores order the {unit}s alike to a rank correlation of {report.correlation:.3f}."
    )
    if report.disputed:
        one = report.disputed[0]
        sentences.append(
            f"They differ most about {unit} {legible(one.key, 60)}: {multiple(one.multiples[0])} "
            f"times the threshold of A, {multiple(one.multiples[1])} times that of B."
            if min(model.threshold.value for model in report.models) > 0
            else f"They differ most about {unit} {legible(one.key, 60)}, flagged by {one.by} only."
        )
    return sentences


def _about_difference(difference: Estimate, first: Curves, second: Curves) -> str:
    aurocs = f"The AUROC is {area(first.roc.area)} for A and {area(second.roc.area)} for B"
    interval = f"95 % interval {difference.low:+.3f} to {difference.high:+.3f}"
    text = f"{aurocs}: a difference of {difference.value:+.3f} ({interval}, DeLong)"
    if difference.low > 0 or difference.high < 0:
        return f"{text}. {'A' if difference.value > 0 else 'B'} separates better."
    return f"{text}. These data do not tell which one separates better."


def _tiles(report: ComparisonReport) -> list[Tile]:
    """Return the numbers for the top of the page."""
    rows = f"of {counted(report.n_rows, report.unit)}"
    found = [Tile(f"{one.n_flagged:,}", f"flagged by {one.name}", rows) for one in report.models]
    found.append(Tile(f"{report.agreements[0].both:,}", "flagged by both", rows))
    for one in report.models:
        if one.curves is not None:
            value = one.curves.roc.area
            note = f"{value.low:.3f} to {value.high:.3f}"
            found.append(Tile(f"{value.value:.3f}", f"AUROC of {one.name}", note))
    return found


def render_comparison(report: ComparisonReport) -> str:
    """Render the page as one string of HTML."""
    drawings = {"scores": Figure(lambda ax: _draw_scores(report, ax), SQUARE)}
    if report.difference is not None:
        drawings["roc"] = Figure(lambda ax: _draw_roc(report, ax), SQUARE)
    return rendered(
        "comparison.html.j2",
        ("listing.js",),
        report=report,
        summary=comparison_summary(report),
        tiles=_tiles(report),
        figures={name: drawn(one, name, as_file=False) for name, one in drawings.items()},
    )


def _draw_scores(report: ComparisonReport, ax: Axes) -> None:
    """Draw the scores of one model against those of the other."""
    rows = shown_rows(report.n_rows, report.labels)
    labels = None if report.labels is None else report.labels[rows]
    x, y = (one.multiples[rows] for one in report.models)
    names: list[str] = []
    for name, mask in by_label(len(rows), labels, report.unit).items():
        color, marker = (ORANGE, "^") if name == ANOMALIES else (BLUE, "o")
        ax.scatter(
            x[mask],
            y[mask],
            s=16,
            marker=marker,
            color=color,
            alpha=0.6,
            linewidths=0,
            label=str(len(names)),
            rasterized=len(rows) > MAX_VECTOR_POINTS,
        )
        names.append(name)
    for axis, values, one in (("x", x, report.first), ("y", y, report.second)):
        is_multiple = one.threshold.value > 0
        at = 1.0 if is_multiple else one.threshold.value
        low, high = min(float(values.min()), at), max(float(values.max()), at)
        AsinhScale.fit(values, low, high).apply(ax, axis, low, high, max_ticks=6)
        (ax.axvline if axis == "x" else ax.axhline)(at, color=INK, linewidth=1, linestyle="--")
        label = f"score of {one.name} ({'times its threshold' if is_multiple else 'nats'})"
        (ax.set_xlabel if axis == "x" else ax.set_ylabel)(label)
    tidy(ax, "both")
    legend(ax, None, names)


def _draw_roc(report: ComparisonReport, ax: Axes) -> None:
    """Draw both ROC curves."""
    for one, color in zip(report.models, (BLUE, ORANGE), strict=True):
        if one.curves is not None:
            roc = one.curves.roc
            ax.plot(
                roc.x, roc.y, color=color, linewidth=2, label=f"{one.name}, {roc.area.value:.3f}"
            )
    ax.axline((0, 0), (1, 1), color=GREY, linestyle=":", label="random scores")
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="found (share of anomalies)")
    ax.set_xlabel(f"false alarms (share of normal {report.unit}s)")
    tidy(ax, "both")
    ax.legend(frameon=False, loc="lower right")
