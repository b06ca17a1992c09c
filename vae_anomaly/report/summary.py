"""Summary of a report: sentences, numbers at the top of the page, settings of the model."""

from __future__ import annotations

from math import inf

from vae_anomaly._text import are, counted
from vae_anomaly.metrics.confusion import Confusion
from vae_anomaly.metrics.intervals import Estimate
from vae_anomaly.metrics.threshold_search import Choice
from vae_anomaly.model.model import Model
from vae_anomaly.pipeline.messages import drift_warning, p_value_words
from vae_anomaly.report.data import RankedRecord, ReportData, Summary, Tile
from vae_anomaly.report.formatting import area, legible, multiple, nats, number, percent, within
from vae_anomaly.stats.thresholds import false_alarm_interval, false_alarm_tail

__all__ = ["latent_sentence", "model_settings", "multiple_words", "summarize", "tiles"]

MAX_TAIL = 0.025
"""Numbers of false alarms, as large or as small, that are less probable are no chance."""


def summarize(report: ReportData) -> Summary:
    """Return the main results, one or two sentences each."""
    further = (line for section in report.sections for line in section.sentences())
    return Summary(
        verdict=tuple(filter(None, (_about_flagged(report), expected_false(report), _why(report)))),
        drift=tuple(_about_drift(report)),
        threshold=(_about_threshold(report), *_about_batch(report)),
        quality=(*_about_quality(report), *further),
    )


def _about_flagged(report: ReportData) -> str:
    n, flagged = report.n_rows, report.n_flagged
    return (
        f"{flagged:,} of {counted(n, report.unit)} ({percent(flagged / n)}) {are(flagged)} "
        f"flagged: an anomaly score above the threshold of {nats(report.threshold.value)} nats."
    )


def expected_false(report: ReportData) -> str:
    """Return how many of the flagged records to expect to be false, which needs no labels."""
    nominal, n, unit = report.threshold.nominal_rate, report.n_flagged, report.unit
    if not n:
        return ""
    if nominal is None:
        return (
            f"How many of them are false cannot be said without calibration {unit}s, which a "
            f"threshold by false-alarm rate has."
        )
    share = nominal * report.n_rows / n
    would = f"would be flagged if all {counted(report.n_rows, unit)} were normal"
    if share >= 1:
        return f"All of them may be false alarms: as many {would}."
    count = n_false(report)
    one = count in ("1", "one")
    expected = "is expected to be a false alarm" if one else "are expected to be false alarms"
    return f"At most {count} of them ({percent(share)}) {expected}: as many {would}."


def n_false(report: ReportData) -> str:
    """Return how many of the flagged records are expected to be false, at most."""
    count = min((report.threshold.nominal_rate or 0.0) * report.n_rows, report.n_flagged)
    return f"{round(count):,}" if count >= 1 else "one"


def _why(report: ReportData) -> str:
    """Return which record is the most anomalous, and why."""
    first = report.most_anomalous
    how = multiple_words(first)
    why = "; ".join(filter(None, (section.why() for section in report.sections)))
    text = f"The most anomalous {report.unit} is {legible(first.key, 60)}, {how}"
    return f"{text}: {why}." if why else f"{text}."


def multiple_words(record: RankedRecord) -> str:
    """Return the score of a record as a multiple of the threshold, with its p-value."""
    if record.multiple is None:
        text = f"{nats(record.score)} nats"
    else:
        text = f"{multiple(record.multiple)} times the threshold"
    return text if record.p_value is None else f"{text} (p = {number(record.p_value, 2)})"


def _about_drift(report: ReportData) -> list[str]:
    drift, are_normal = report.drift, report.groups[0].name.startswith("normal")
    if drift is None:
        return []
    if drift.is_drift:
        text = drift_warning(drift, report.unit, are_normal=are_normal)
        return [f"{text[0].upper()}{text[1:]}"]
    rows = f"{drift.n_rows:,} {'normal ' if are_normal else ''}{report.unit}s"
    return [
        f"As a whole, the scores of these {rows} are consistent with those of the calibration "
        f"{report.unit}s (Kolmogorov-Smirnov, p {p_value_words(drift.p_value)}): no drift."
    ]


def _about_quality(report: ReportData) -> list[str]:
    if report.confusion is None:
        return [
            f"There are no labels, so the share of flagged {report.unit}s that are real anomalies "
            f"is unknown."
        ]
    sentences = _about_flags(report.confusion, report.unit)
    if report.confusion.false_alarm_rate is not None:
        sentences.append(_about_false_alarms(report, report.confusion.false_alarm_rate))
    sentences.append(_about_curves(report))
    return [*sentences, *map(_about_choice, report.choices)]


def _about_threshold(report: ReportData) -> str:
    threshold, unit = report.threshold, report.unit
    if threshold.requested is None:
        return "The threshold was set by hand."
    if threshold.method == "contamination":
        return f"The threshold flags {percent(threshold.requested)} of the training {unit}s."
    nominal = threshold.nominal_rate or threshold.requested
    text = (
        f"The threshold comes from {counted(threshold.n_calibration, f'calibration {unit}')}: "
        f"at most {percent(nominal)} of fresh normal {unit}s should be flagged"
    )
    if nominal > threshold.requested:
        text += f" (too few {unit}s for the requested {percent(threshold.requested)})"
    if report.confusion is None:
        expected = round(report.n_rows * nominal)
        about = f"about {expected:,}" if expected else "less than one"
        text += f"; if all {unit}s here were normal, that would be {about}"
    return f"{text}."


def _about_batch(report: ReportData) -> list[str]:
    batch, unit = report.discovery, report.unit
    if batch is None:
        return []
    control = f"With a false discovery rate of {percent(batch.fdr)} (Benjamini-Hochberg)"
    if not batch.n_flagged:
        return [f"{control}, nothing would be flagged."]
    above = "" if batch.threshold == -inf else f" above {nats(batch.threshold)} nats"
    return [f"{control}, {counted(batch.n_flagged, unit)}{above} would be flagged."]


def _about_choice(choice: Choice) -> str:
    """Return the rates at a threshold chosen by labels."""
    found = choice.confusion
    if found is None or choice.threshold is None:
        return f"No threshold has a {choice.criterion}."
    rates = (
        ("recall", found.recall),
        ("precision", found.precision),
        ("false alarms", found.false_alarm_rate),
    )
    measured = ", ".join(f"{name} {percent(r.value)}" for name, r in rates if r is not None)
    return (
        f"Chosen by these labels ({choice.criterion}), and not used: a threshold of "
        f"{nats(choice.threshold)} nats, {measured}."
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
    confusion, nominal, unit = report.confusion, report.threshold.nominal_rate, report.unit
    if confusion is None:
        return ""
    alarms = confusion.false_alarms
    text = (
        f"Of {counted(confusion.n_normal, f'normal {unit}')}, {alarms:,} {are(alarms)} flagged: a "
        f"false-alarm rate of {percent(observed.value)} ({within(observed)})"
    )
    rate, n = report.threshold.requested, report.threshold.n_calibration
    if nominal is None or rate is None:
        return f"{text}."
    # The rate of new records depends on the calibration records as well, which are few.
    if false_alarm_tail(n, rate, alarms, confusion.n_normal) < MAX_TAIL:
        return (
            f"{text}. That is more than the nominal {percent(nominal)}: these normal {unit}s "
            f"seem to differ from the training {unit}s."
        )
    if false_alarm_tail(n, rate, alarms + 1, confusion.n_normal) > 1.0 - MAX_TAIL:
        return (
            f"{text}. That is less than the nominal {percent(nominal)}: anomalies among the "
            f"training {unit}s may have raised the threshold."
        )
    text += f", consistent with the nominal {percent(nominal)}"
    if not observed.low <= nominal <= observed.high:
        low, high = false_alarm_interval(n, rate)
        text += (
            f": a threshold from {counted(n, f'calibration {unit}')} gives {percent(low)} to "
            f"{percent(high)} in 95 of 100 cases"
        )
    return f"{text}."


def _about_curves(report: ReportData) -> str:
    if report.roc is None or report.precision_recall is None:
        normal = report.confusion is not None and report.confusion.n_anomalies == 0
        return (
            f"All {report.unit}s are labelled {'normal' if normal else 'anomalous'}: ROC and "
            f"precision-recall curves need both classes and are left out."
        )
    share = 0.0 if report.confusion is None else report.confusion.n_anomalies / report.n_rows
    reversed_labels = ""
    if report.roc.area.high < 0.5:
        reversed_labels = (
            f" An AUROC below 0.5 says that anomalies score lower than normal {report.unit}s: "
            f"check which label is the normal one (--normal-label)."
        )
    return (
        f"The chance that an anomaly scores higher than a normal {report.unit} is "
        f"{area(report.roc.area)}: the AUROC. The average precision is "
        f"{area(report.precision_recall.area)}; random scores would reach {share:.3f}."
        f"{reversed_labels}"
    )


def latent_sentence(report: ReportData) -> str:
    """Return how many latent dimensions are used."""
    used, width = report.latent_use.used, report.latent_use.sorted_kl.shape[1]
    few, many = used.min(), used.max()
    span = f"{few}" if few == many else f"{few} to {many}"
    verb = "is" if many == 1 else "are"
    end = "" if few == many else ", depending on the member"
    noun = "dimension" if width == 1 else "dimensions"
    return f"{span} of {width} latent {noun} {verb} used{end}."


def tiles(report: ReportData) -> list[Tile]:
    """Return the numbers for the top of the page."""
    found = [Tile(f"{report.n_flagged:,}", "flagged", f"of {counted(report.n_rows, report.unit)}")]
    if report.n_flagged and report.threshold.nominal_rate is not None:
        note = f"of {report.n_flagged:,}"
        found.append(Tile(n_false(report), "false at most, expected", note))
    confusion = report.confusion
    if confusion is not None and report.n_flagged:
        false = f"of {report.n_flagged:,}"
        found.append(Tile(f"{confusion.false_alarms:,}", "false by the labels", false))
    if confusion is not None and confusion.recall is not None:
        note = f"{confusion.found:,} of {confusion.n_anomalies:,}"
        found.append(Tile(percent(confusion.recall.value), "anomalies found", note))
    if report.roc is not None:
        found.append(_area_tile("AUROC", report.roc.area))
    found += [tile for section in report.sections for tile in section.tiles()]
    if confusion is None:
        found.append(_highest_tile(report.most_anomalous))
    return found


def _highest_tile(record: RankedRecord) -> Tile:
    if record.multiple is None:
        return Tile(nats(record.score), "highest score", "nats")
    return Tile(multiple(record.multiple), "highest score", "times the threshold")


def _area_tile(label: str, estimate: Estimate) -> Tile:
    return Tile(f"{estimate.value:.3f}", label, f"{estimate.low:.3f} to {estimate.high:.3f}")


def model_settings(model: Model) -> tuple[tuple[str, str], ...]:
    """Return the main settings of a fitted model."""
    history, spec = model.history, model.network.spec
    likelihood = str(model.parameters["likelihood"]).replace("_", " ")
    if likelihood == "gaussian":
        variance = "learned" if spec.variance is None else f"of {spec.variance:g}"
        likelihood += f", variance {variance}"
    return (
        ("score", model.score_type),
        ("likelihood", likelihood),
        ("prior", "N(0, I)" if model.prior is None else "codes of training records"),
        ("KL weight (beta)", f"{model.beta:g}"),
        ("members", f"{spec.members:,}"),
        ("latent dimensions", f"{spec.latent:,}"),
        ("hidden units", ", ".join(f"{n:,}" for n in spec.hidden) or "of custom networks"),
        ("training steps", f"{history.step[-1]:,}" if history.step else "none"),
    )
