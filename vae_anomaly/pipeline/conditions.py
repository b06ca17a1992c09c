"""Conditions under which a command fails although all is done: "flagged>5%" and "drift"."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from vae_anomaly._text import are, counted
from vae_anomaly.exceptions import ParameterError

if TYPE_CHECKING:
    from vae_anomaly.model.model import Model
    from vae_anomaly.pipeline.results import Outputs

__all__ = ["Condition", "failures"]

FLAGGED = re.compile(r"\s*flagged\s*(>=|>)\s*(\d+(?:\.\d*)?|\.\d+)\s*(%?)\s*")


@dataclass(frozen=True)
class Condition:
    """Condition on the result of scoring.

    Attributes
    ----------
    text : str
        As it was given.
    limit : Fraction or None
        Bound of the flagged records; None for drift.
    is_share : bool
        Whether it is one of their percentage, not of their number.
    is_met_at_limit : bool
    """

    text: str
    limit: Fraction | None = None
    is_share: bool = False
    is_met_at_limit: bool = False

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Return the condition that a text states.

        Raises
        ------
        ValueError

        Examples
        --------
        >>> Condition.parse("flagged>5%").limit, Condition.parse("drift").limit
        (Fraction(5, 1), None)
        """
        if text.strip() == "drift":
            return cls("drift")
        found = FLAGGED.fullmatch(text)
        if found is None:
            raise ValueError(
                f"expected flagged>5%, flagged>10, the same with >=, or drift, got {text!r}."
            )
        return cls(text, Fraction(found[2]), found[3] == "%", found[1] == ">=")

    @property
    def is_drift(self) -> bool:
        """Whether the condition is one on drift."""
        return self.limit is None

    def check(self, outputs: Outputs, model: Model) -> None:
        """Raise if the result that is asked of a model cannot tell whether it meets the condition.

        Raises
        ------
        ParameterError
        """
        if self.is_drift and not outputs.watches_drift(model):
            raise ParameterError(
                "--fail-if drift needs calibration rows of the score, which are not there. Leave "
                "it out, or fit or recalibrate a model with some."
            )
        if not self.is_drift and not outputs.has_threshold(model):
            raise ParameterError(
                f"--fail-if {self.text} needs a threshold, and that of the model is one of another "
                f"score. Give --threshold."
            )

    def is_met(self, n_flagged: int, n_scored: int, *, drift: bool = False) -> bool:
        """Return whether a result meets the condition.

        Examples
        --------
        >>> condition = Condition.parse("flagged>=50%")
        >>> condition.is_met(1, 2), condition.is_met(1, 3)
        (True, False)
        """
        if self.limit is None:
            return drift
        if not n_scored:
            return False
        bound = self.limit * n_scored / 100 if self.is_share else self.limit
        return n_flagged > bound or (self.is_met_at_limit and n_flagged == bound)


def failures(
    conditions: Collection[Condition],
    n_flagged: int,
    n_scored: int,
    unit: str,
    *,
    drift: bool = False,
) -> list[str]:
    """Return a line for each condition that a result meets."""
    lines = []
    for one in conditions:
        if one.is_met(n_flagged, n_scored, drift=drift):
            share = f"{100 * n_flagged / max(1, n_scored):.3g} %"
            flagged = (
                f"{n_flagged:,} of {counted(n_scored, unit)}, {share}, {are(n_flagged)} flagged"
            )
            reason = "as a whole, they are not normal" if one.is_drift else flagged
            lines.append(f"failed: {one.text}: {reason}")
    return lines
