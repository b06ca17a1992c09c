"""Compact summaries of fitted detectors, as text and as HTML."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TypeAlias

from sklearn.base import BaseEstimator

from vae_anomaly._text import counted, listed
from vae_anomaly.model.model import Model

__all__ = ["Facts", "Summarised", "facts_of_model"]

Facts: TypeAlias = Mapping[str, str]
"""Names of facts and their values, in the order in which they are shown."""


def facts_of_model(model: Model, unit: str = "") -> Facts:
    """Return what a fitted model is, by default of its own records; nothing is computed for it."""
    spec, outline, unit = model.network.spec, model.encoder.outline, unit or model.unit
    names, calibration = model.encoder.names, model.calibration
    grid = outline.grid
    columns = counted(outline.n_features, "column")
    size = " x ".join(map(str, grid)) if grid else f"{columns}{_named(names)}"
    structure = "custom" if spec.custom is not None else "convolutional" if spec.grid else "dense"
    values = counted(len(calibration.scores), f"calibration {unit}")
    origin = {
        "false_alarm_rate": f"false-alarm rate {calibration.value:g}, {values}",
        "contamination": f"contamination {calibration.value:g}",
        "threshold": "as given",
    }[calibration.method]
    return {
        f"{unit}s": size,
        "networks": (
            f"{spec.members} {structure}, {counted(spec.latent, 'latent dimension')}, "
            f"{counted(model.network.weights.size, 'weight')}"
        ),
        "training": f"{counted(model.history.step[-1], 'step')}, {model.history.describe(unit)}",
        "score": model.score_type,
        "threshold": f"{calibration.threshold:.6g} nats ({origin})",
    }


def _named(names: tuple[str, ...] | None) -> str:
    return "" if names is None else f": {listed(names)}"


class _FactList:
    """Facts in rows, where scikit-learn shows fitted attributes in its diagrams."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def __len__(self) -> int:
        return len(self._facts)

    def _repr_html_inner(self) -> str:
        rows = "".join(
            f'<tr><th scope="row" style="text-align:left">{escape(name)}</th>'
            f'<td style="text-align:left">{escape(value)}</td></tr>'
            for name, value in self._facts.items()
        )
        return f'<table class="vae-anomaly-summary"><tbody>{rows}</tbody></table>'


class Summarised(BaseEstimator):
    """Estimator whose fitted instances are shown as a few facts, not by their attributes."""

    def _facts(self) -> Facts:
        """Return the facts of a fitted estimator."""
        raise NotImplementedError

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        text = super().__repr__(N_CHAR_MAX)
        if not self.__sklearn_is_fitted__():
            return text
        facts = self._facts()
        width = max(map(len, facts))
        return "\n".join([text, *(f"  {name:<{width}}  {facts[name]}" for name in facts)])

    def _html_repr(self) -> str:
        """Return HTML for notebooks; before a fit the parameters, as scikit-learn shows them."""
        if not self.__sklearn_is_fitted__():
            return super()._html_repr()
        parameters = escape(super().__repr__())
        return f"<div><pre>{parameters}</pre>{_FactList(self._facts())._repr_html_inner()}</div>"

    def _get_fitted_attr_html(self, doc_link: str = "") -> _FactList:
        """Return what diagrams of pipelines show of a fitted estimator."""
        return _FactList(self._facts())

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")
