"""Model and records of a report, from a fitted model or detector."""

# Adapter until `vae_anomaly.model.model.Model` lands: then FittedModel is Model.

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_anomaly.data.image.pixels import as_rows
from vae_anomaly.estimator import VAEDetector
from vae_anomaly.model.parameters import column_names, score_for

__all__ = ["FittedModel", "model_and_records"]

Array = NDArray[np.float64]


class Evaluation(NamedTuple):
    scores: Array
    contributions: Array | None


class FittedModel:
    def __init__(self, detector: VAEDetector) -> None:
        self.detector = d = detector
        self.encoder: Any = SimpleNamespace(
            modality="table" if d.image_shape_ is None else "image",
            features=tuple(column_names(d)),
            grid=d.image_shape_,
            shape=d.image_shape_,
            pixel_scale=d.picture_scale_,
            smoothing=d.smoothing_,
        )
        self.unit = "row" if d.image_shape_ is None else "image"
        method, value = "threshold", d.threshold
        if d.threshold is None:
            method, value = "contamination", d.contamination
        if value is None:
            method, value = "false_alarm_rate", d.false_alarm_rate
        self.calibration: Any = SimpleNamespace(
            scores=d.calibration_scores_, threshold=-float(d.offset_), method=method, value=value
        )
        self.history = d.history_
        self.latent_kl = d.latent_kl_
        self.prior = d.prior_
        self.beta = d.beta
        self.score_type = score_for(d)
        self.parameters = d.get_params(deep=False)
        self.network: Any = SimpleNamespace(spec=d.network_spec_)

    def _given(self, records: Any) -> Any:
        names = getattr(self.detector, "feature_names_in_", None)
        if names is None or records.ndim != 2:
            return records
        import pandas as pd

        return pd.DataFrame(records, columns=names)

    def evaluate(self, records: Any, *, contributions: bool = False) -> Evaluation:
        given = self._given(records)
        scores = -self.detector.score_samples(given)
        if not contributions:
            return Evaluation(scores, None)
        return Evaluation(scores, self.detector.explain(given).to_numpy())

    def codes(self, records: Any) -> Array:
        codes = self.detector.transform(self._given(records))
        return codes.reshape(len(codes), self.network.spec.members, -1)

    def reconstruct(self, records: Any) -> Any:
        return self.detector.reconstruct(self._given(records))

    def decode(self, z: ArrayLike, member: int | None = None) -> Any:
        return self.detector.decode(z, member)

    def interpolate(self, ends: Any, steps: int = 8) -> Any:
        return self.detector.interpolate(*ends, steps)


def fitted_model(model: FittedModel | VAEDetector) -> FittedModel:
    return model if isinstance(model, FittedModel) else FittedModel(model)


def model_and_records(model: FittedModel | VAEDetector, records: Any) -> tuple[FittedModel, Any]:
    if isinstance(model, FittedModel):
        return model, np.asarray(records)
    model.score_samples(records[:1] if not hasattr(records, "iloc") else records.iloc[:1])
    shape = as_rows(records).shape
    if shape is not None:
        return FittedModel(model), np.asarray(records)
    return FittedModel(model), np.asarray(records, dtype=np.float64)
