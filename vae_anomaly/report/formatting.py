"""Formatting of numbers, shares, intervals and counts as text."""

from __future__ import annotations

import re
from decimal import Decimal

from markupsafe import Markup, escape

from vae_anomaly.displays.drawing import legible
from vae_anomaly.metrics.intervals import Estimate

__all__ = [
    "area",
    "breakable",
    "legible",
    "multiple",
    "nats",
    "number",
    "percent",
    "prose",
    "span",
    "within",
]


def percent(share: float) -> str:
    """Return a share in percent; only 0 and 1 are written as 0 % and 100 %.

    Examples
    --------
    >>> percent(0.5), percent(0.123), percent(0.99999), percent(1.0)
    ('50 %', '12.3 %', '99.999 %', '100 %')
    """
    for digits in (1, 2, 3, 4):
        shown = rounded(100 * share, digits)
        if share in (0, 1) or float(shown) not in (0, 100):
            break
    return f"{shown.rstrip('0').rstrip('.')} %" if "." in shown else f"{shown} %"


def nats(value: float) -> str:
    """Return a score without its unit.

    Examples
    --------
    >>> nats(-12.34), nats(1234.5), nats(2.5e9)
    ('-12.3', '1,234.5', '2.5e+09')
    """
    return rounded(value, 1) if abs(value) < 1e6 else f"{value:.3g}"


def multiple(ratio: float) -> str:
    """Return a score as a multiple of the threshold.

    Examples
    --------
    >>> multiple(1.004), multiple(15.71), multiple(2.5e9)
    ('1.00', '15.7', '2.5e+09')
    """
    return rounded(ratio, 2) if abs(ratio) < 10 else nats(ratio)


def rounded(value: float, digits: int) -> str:
    """Return a number with some decimals: half to even, of its shortest decimal notation.

    As the script of the page rounds. Python's own format rounds the binary number.

    Examples
    --------
    >>> rounded(1.15, 1), rounded(0.25, 1), rounded(1234.56, 1), f"{1.15:.1f}"
    ('1.2', '0.2', '1,234.6', '1.1')
    """
    return f"{Decimal(repr(float(value))):,.{digits}f}"


def number(value: float, digits: int = 6) -> str:
    """Return a value of the data with some significant digits, whole ones up to a million.

    Examples
    --------
    >>> number(0.1), number(120000.0), number(1 / 3)
    ('0.1', '120000', '0.333333')
    >>> number(99999.0, 4), number(-25001.7, 4), number(2.5e6, 4), number(0.00001, 4)
    ('99999', '-25002', '2.5e+06', '1e-05')
    """
    shown = f"{value:.{digits}g}"
    return f"{value:.0f}" if "e+" in shown and abs(value) < 1e6 else shown


def within(estimate: Estimate) -> str:
    """Return the interval of a rate with its level."""
    return f"95 % interval {span(estimate)}"


def span(estimate: Estimate) -> str:
    """Return the ends of the interval of a rate.

    Examples
    --------
    >>> span(Estimate(0.05, 0.016, 0.113))
    '1.6 to 11.3 %'
    """
    return f"{percent(estimate.low).removesuffix(' %')} to {percent(estimate.high)}"


def area(estimate: Estimate) -> str:
    """Return an area under a curve with its interval."""
    return f"{estimate.value:.3f} (95 % interval {estimate.low:.3f} to {estimate.high:.3f})"


def breakable(name: str) -> Markup:
    """Return a name, escaped, that lines may break between its words.

    Examples
    --------
    >>> breakable("mean_area<1")
    Markup('mean_<wbr>area&lt;1')
    """
    parts = re.split(r"(?<=[_./:\-])(?=\w)|(?<=[a-z])(?=[A-Z])", name)
    return Markup("<wbr>").join(parts)


def prose(sentence: str) -> Markup:
    r"""Return a sentence, escaped: percentages stay on one line, commands are code.

    Examples
    --------
    >>> prose("5 % < 6: run `vae-anomaly fit`")
    Markup('5\xa0% &lt; 6: run <code>vae-anomaly fit</code>')
    """
    escaped = str(escape(sentence.replace(" %", "\u00a0%")))
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", escaped))  # noqa: S704 - escaped above
