"""Numbers in plain words: the sentences, tiles and settings of a report."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from vae_anomaly.displays.drawing import legible
from vae_anomaly.estimator import VAEDetector
from vae_anomaly.networks.spec import NetworkSpec
from vae_anomaly.report.data import (
    Choice,
    Confusion,
    Discovery,
    Estimate,
    LatentComparison,
    ReportData,
)

__all__ = [
    "Tile",
    "describe_model",
    "latent_sentence",
    "nats",
    "number",
    "percent",
    "pixels",
    "span",
    "summarize",
    "tiles",
]


class Tile(NamedTuple):
    """One number at the top of the page."""

    value: str
    label: str
    note: str = ""


def percent(share: float) -> str:
    """Write a share in percent; what is neither 0 nor 1 does not look so.

    Examples
    --------
    >>> percent(0.5), percent(0.123), percent(0.99999), percent(1.0)
    ('50 %', '12.3 %', '99.999 %', '100 %')
    """
    for digits in (1, 2, 3, 4):
        shown = f"{100 * share:.{digits}f}"
        if share in (0, 1) or float(shown) not in (0, 100):
            break
    return f"{shown.rstrip('0').rstrip('.')} %" if "." in shown else f"{shown} %"


def nats(value: float) -> str:
    """Write a score without its unit.

    Examples
    --------
    >>> nats(-12.34), nats(1234.5), nats(2.5e9)
    ('-12.3', '1,234.5', '2.5e+09')
    """
    return f"{value:,.1f}" if abs(value) < 1e6 else f"{value:.3g}"


def number(value: float, digits: int = 6) -> str:
    """Write a value of the data to some significant digits.

    Examples
    --------
    >>> number(0.1), number(120000.0), number(1 / 3)
    ('0.1', '120000', '0.333333')
    """
    return f"{value:.{digits}g}"


def pixels(shape: tuple[int, int, int]) -> str:
    """Write the size of an image: width, height, and what it is made of.

    Examples
    --------
    >>> pixels((28, 32, 1)), pixels((64, 64, 3))
    ('32 × 28 pixels, grey', '64 × 64 pixels, colour')
    """
    height, width, channels = shape
    made_of = {1: "grey", 3: "colour"}.get(channels, f"{channels:,} channels")
    return f"{width:,} × {height:,} pixels, {made_of}"


def counted(n: int, one: str, more: str | None = None) -> str:
    """Write a number of things.

    Examples
    --------
    >>> counted(1, "row"), counted(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{n:,} {one}" if n == 1 else f"{n:,} {more or one + 's'}"


def are(n: int) -> str:
    """Write the verb for `n` things."""
    return "is" if n == 1 else "are"


def within(estimate: Estimate) -> str:
    """Write the interval of a rate."""
    return f"95 % interval {span(estimate)}"


def span(estimate: Estimate) -> str:
    """Write the ends of the interval of a rate.

    Examples
    --------
    >>> span(Estimate(0.05, 0.016, 0.113))
    '1.6 to 11.3 %'
    """
    return f"{percent(estimate.low).removesuffix(' %')} to {percent(estimate.high)}"


def area(estimate: Estimate) -> str:
    """Write an area under a curve with its interval."""
    return f"{estimate.value:.3f} (95 % interval {estimate.low:.3f} to {estimate.high:.3f})"


def summarize(report: ReportData) -> tuple[str, ...]:
    """Say what a colleague should know, a sentence or two each."""
    return (*_about_scores(report), *_about_images(report))


def _about_scores(report: ReportData) -> list[str]:
    n, flagged = report.n_rows, report.n_flagged
    sentences = [
        f"{flagged:,} of {counted(n, report.unit)} ({percent(flagged / n)}) {are(flagged)} "
        f"flagged: an anomaly score above the threshold of {nats(report.threshold.value)} nats.",
        _about_threshold(report),
        *_about_discovery(report),
    ]
    if report.confusion is None:
        sentences.append(
            f"There are no labels, so nothing here says how many of the flagged {report.unit}s are "
            f"real anomalies."
        )
        return sentences
    sentences += _about_flags(report.confusion, report.unit)
    if report.confusion.false_alarm_rate is not None:
        sentences.append(_about_false_alarms(report, report.confusion.false_alarm_rate))
    sentences.append(_about_curves(report))
    return [*sentences, *map(_about_choice, report.choices)]


def _about_images(report: ReportData) -> list[str]:
    found = report.images
    if found is None:
        return []
    sentences = []
    judged = [kind for kind in found.kinds if kind.auroc is not None]
    if len(judged) > 1 and judged[0].auroc is not None:
        sentences.append(
            f"Of {len(judged):,} kinds of anomalies, “{legible(judged[0].name, 40)}” is the "
            f"hardest to tell from normal images: an AUROC of {area(judged[0].auroc)}."
        )
    if found.pixels is not None:
        used, there = found.pixels.n_used, found.pixels.n_pixels
        of = f"{used:,} pixels" if used == there else f"{used:,} of {there:,} pixels, drawn evenly"
        sentences.append(
            f"The chance that a masked pixel adds more to its score than an unmasked one is "
            f"{found.pixels.value:.3f}: the pixel AUROC, of {of} from "
            f"{counted(found.pixels.n_images, 'image')}. Pixels of an image depend on each "
            f"other, so no interval is given."
        )
    if found.comparison is not None:
        sentences.append(_about_prior(found.comparison))
    if found.n_skipped:
        sentences.append(
            f"{counted(found.n_skipped, 'file')} could not be used and "
            f"{'is' if found.n_skipped == 1 else 'are'} listed at the end."
        )
    return sentences


def _about_prior(compared: LatentComparison) -> str:
    own, other = compared.own, compared.other
    return (
        f"The energy distance of the latent codes from N(0, I) is "
        f"{number(own.energy, 3)} with the KL weight of {number(own.beta)} (beta), and "
        f"{number(other.energy, 3)} for the same network trained with {number(other.beta)}: zero "
        f"would be no difference."
    )


def _about_threshold(report: ReportData) -> str:
    threshold, unit = report.threshold, report.unit
    if threshold.asked is None:
        return "The threshold was set by hand."
    if threshold.kind == "contamination":
        return f"The threshold flags {percent(threshold.asked)} of the training {unit}s."
    promised = threshold.promised or threshold.asked
    text = (
        f"The threshold comes from {counted(threshold.calibration_rows, f'calibration {unit}')}: "
        f"at most {percent(promised)} of fresh normal {unit}s should be flagged"
    )
    if promised > threshold.asked:
        text += f" (so few {unit}s cannot promise the {percent(threshold.asked)} asked for)"
    if report.confusion is None:
        expected = round(report.n_rows * promised)
        about = f"about {expected:,}" if expected else "less than one"
        text += f"; if all {unit}s here were normal, that would be {about}"
    return f"{text}."


def _about_discovery(report: ReportData) -> list[str]:
    """Say how many flags may be false before any label is looked at."""
    held, promised = report.discovery, report.threshold.promised
    sentences = []
    if promised is not None and report.n_flagged:
        share = promised * report.n_rows / report.n_flagged
        rows = f"all {counted(report.n_rows, report.unit)}"
        sentences.append(
            f"At most {percent(share)} of those flagged are expected to be false: so many would "
            f"be flagged if {rows} were normal."
            if share < 1
            else f"All of those flagged may be false: as many would be if {rows} were normal."
        )
    if held is not None:
        sentences.append(_about_batch(held, report.unit))
    return [" ".join(sentences)] if sentences else []


def _about_batch(held: Discovery, unit: str) -> str:
    asked = f"To hold the share of false flags to {percent(held.fdr)} (Benjamini-Hochberg)"
    if not held.n_flagged:
        return f"{asked}, nothing could be flagged."
    above = "" if held.threshold == -inf else f" above {nats(held.threshold)} nats"
    flagged = counted(held.n_flagged, unit)
    return f"{asked}, {flagged}{above} would be flagged."


def _about_choice(choice: Choice) -> str:
    """Say what a threshold does that labels ask for."""
    found = choice.confusion
    if found is None or choice.threshold is None:
        return f"For a {choice.words} there is no threshold."
    rates = (
        ("recall", found.recall),
        ("precision", found.precision),
        ("false alarms", found.false_alarm_rate),
    )
    told = ", ".join(f"{name} {percent(r.value)}" for name, r in rates if r is not None)
    return (
        f"Chosen by these labels ({choice.words}), and not used: a threshold of "
        f"{nats(choice.threshold)} nats, {told}."
    )


def _about_flags(confusion: Confusion, unit: str) -> list[str]:
    sentences = []
    found, flagged = confusion.found, confusion.found + confusion.false_alarms
    if confusion.recall is not None:
        sentences.append(
            f"Of {counted(confusion.n_anomalies, 'anomaly', 'anomalies')}, {found:,} "
            f"{are(found)} found: a recall of {percent(confusion.recall.value)} "
            f"({within(confusion.recall)})."
        )
    if confusion.precision is not None:
        sentences.append(
            f"Of {counted(flagged, f'flagged {unit}')}, {found:,} {are(found)} truly anomalous: a "
            f"precision of {percent(confusion.precision.value)} ({within(confusion.precision)})."
        )
    return sentences


def _about_false_alarms(report: ReportData, observed: Estimate) -> str:
    confusion, promised, unit = report.confusion, report.threshold.promised, report.unit
    if confusion is None:
        return ""
    alarms = confusion.false_alarms
    text = (
        f"Of {counted(confusion.n_normal, f'normal {unit}')}, {alarms:,} {are(alarms)} flagged: a "
        f"false-alarm rate of {percent(observed.value)} ({within(observed)})"
    )
    if promised is None:
        return f"{text}."
    if observed.low > promised:
        return (
            f"{text}. That is more than the {percent(promised)} promised: these normal {unit}s "
            f"seem to differ from the training {unit}s."
        )
    return f"{text}, in keeping with the {percent(promised)} promised."


def _about_curves(report: ReportData) -> str:
    if report.roc is None or report.precision_recall is None:
        normal = report.confusion is not None and report.confusion.n_anomalies == 0
        return (
            f"All {report.unit}s are labelled {'normal' if normal else 'anomalous'}: ROC and "
            f"precision-recall curves need both kinds and are left out."
        )
    share = 0.0 if report.confusion is None else report.confusion.n_anomalies / report.n_rows
    return (
        f"The chance that an anomaly scores higher than a normal {report.unit} is "
        f"{area(report.roc.area)}: the AUROC. The average precision is "
        f"{area(report.precision_recall.area)}; scores that know nothing would reach {share:.3f}."
    )


def latent_sentence(report: ReportData) -> str:
    """Say how many latent dimensions are used."""
    used, width = report.latent_use.used, report.latent_use.sorted_kl.shape[1]
    few, many = used.min(), used.max()
    span = f"{few}" if few == many else f"{few} to {many}"
    verb = "is" if many == 1 else "are"
    end = "" if few == many else ", depending on the member"
    noun = "dimension" if width == 1 else "dimensions"
    return f"{span} of {width} latent {noun} {verb} used{end}."


def tiles(report: ReportData) -> list[Tile]:
    """Choose the numbers for the top of the page."""
    shown = [
        Tile(f"{report.n_flagged:,}", "flagged", f"of {counted(report.n_rows, report.unit)}"),
        Tile(nats(report.threshold.value), "threshold", "nats"),
    ]
    if report.confusion is None:
        strangest = max(group.highest for group in report.groups)
        typical = report.groups[0].median
        return [
            *shown,
            Tile(nats(typical), "median score", "nats"),
            Tile(nats(strangest), "highest score", "nats"),
        ]
    confusion = report.confusion
    if report.roc is not None and report.precision_recall is not None:
        shown += [_area_tile("AUROC", report.roc.area)]
        shown += [_area_tile("average precision", report.precision_recall.area)]
    if report.images is not None and report.images.pixels is not None:
        # In place of the average precision: six tiles make one line.
        shown[3:] = [Tile(f"{report.images.pixels.value:.3f}", "pixel AUROC", "against masks")]
    if confusion.recall is not None:
        note = f"{confusion.found:,} of {confusion.n_anomalies:,}"
        shown.append(Tile(percent(confusion.recall.value), "anomalies found", note))
    if confusion.false_alarm_rate is not None:
        note = f"{confusion.false_alarms:,} of {confusion.n_normal:,}"
        shown.append(Tile(percent(confusion.false_alarm_rate.value), "false alarms", note))
    return shown


def _area_tile(label: str, estimate: Estimate) -> Tile:
    return Tile(f"{estimate.value:.3f}", label, f"{estimate.low:.3f} to {estimate.high:.3f}")


def _network_words(spec: NetworkSpec) -> str:
    if spec.custom is not None:
        return "own Keras models"
    if spec.image is None:
        return "dense"
    return "convolutional, batch-normalised" if spec.batch_norm else "convolutional"


def describe_model(detector: VAEDetector) -> tuple[tuple[str, str], ...]:
    """List the settings that say most about a fitted detector."""
    history, spec = detector.history_, detector.network_spec_
    likelihood = detector.likelihood.replace("_", " ")
    if likelihood == "gaussian":
        variance = "learned" if detector.variance is None else f"of {detector.variance:g}"
        likelihood += f", variance {variance}"
    return (
        ("score", detector.model_.score_type),
        ("likelihood", likelihood),
        ("prior", "N(0, I)" if detector.prior_ is None else "codes seen in training"),
        ("KL weight (beta)", f"{detector.beta:g}"),
        ("members", f"{spec.members:,}"),
        ("latent dimensions", f"{spec.latent:,}"),
        ("hidden units", ", ".join(f"{units:,}" for units in spec.hidden) or "of own networks"),
        ("training steps", f"{history.step[-1]:,}" if history.step else "none"),
        *(
            [("columns", f"{detector.n_features_in_:,}")]
            if detector.image_shape_ is None
            else [
                ("network", _network_words(spec)),
                ("images", pixels(detector.image_shape_)),
                ("smoothing", f"{detector.smoothing_:.2g} pixels"),
            ]
        ),
    )
