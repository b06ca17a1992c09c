"""Images that a model generates, and its latent space beside that of a comparison model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from vae_anomaly._types import Records
from vae_anomaly.displays import ImageGridDisplay, LatentDisplay, LatentGridDisplay
from vae_anomaly.displays.painting import as_rgb, shrink, value_range
from vae_anomaly.estimator import VAEDetector
from vae_anomaly.exceptions import DataError
from vae_anomaly.metrics.prior_fit import MAX_CODES, PriorFit, prior_fit
from vae_anomaly.model.model import Model
from vae_anomaly.report.data import ScoredRecords
from vae_anomaly.report.latent import latent_codes
from vae_anomaly.report.sections.image_gallery import as_images
from vae_anomaly.report.subject import fitted_model
from vae_anomaly.stats.priors import draw_codes

__all__ = ["LatentComparison", "compare", "interpolate", "latent_grid", "sample"]

N_SAMPLES, N_STEPS = 40, 8

MAX_ENDS = 500
"""Most normal images among which the two ends of an interpolation are chosen."""


@dataclass(frozen=True, eq=False)
class LatentComparison:
    """Latent codes of the model and of a comparison model."""

    own: PriorFit
    other: PriorFit
    latent: LatentDisplay
    latent_grid: LatentGridDisplay


def latent_grid(model: Model, records: Records) -> LatentGridDisplay:
    """Decode the latent plane of the first member."""
    decode = partial(model.decode, member=0)
    values = value_range(records)
    return LatentGridDisplay.measure(decode, model.latent_kl[0], values=values)


def sample(model: Model, records: Records) -> ImageGridDisplay:
    """Decode draws from the prior by the first member: expected values, without pixel noise."""
    rng, components = np.random.RandomState(0), model.prior
    if components is None:
        codes = rng.standard_normal((N_SAMPLES, model.network.spec.latent))
    else:
        codes = draw_codes(components, N_SAMPLES, rng)[:, 0]
    values = value_range(records)
    return ImageGridDisplay.measure(model.decode(codes, member=0), values=values)


def interpolate(scored: ScoredRecords) -> ImageGridDisplay | None:
    """Interpolate from the most normal image to the most normal one that is least similar."""
    model, records = scored.model, scored.records
    order = np.argsort(scored.scores, kind="stable")
    if scored.labels is not None:
        order = order[~scored.labels[order]]
    typical = order[: min(MAX_ENDS, -(-len(order) // 2) + 1)]
    if len(typical) < 2:
        return None
    codes = model.codes(records[typical]).reshape(len(typical), -1)
    distance = ((codes - codes[0]) ** 2).sum(axis=1)
    ends = records[typical[[0, int(np.argmax(distance))]]]
    decoded = model.interpolate(ends, N_STEPS)
    first, last = as_rgb(as_images(model, ends), *value_range(records))
    between = as_rgb(decoded, *value_range(records))
    shown = shrink(np.concatenate([first[None], between, last[None]]))
    return ImageGridDisplay(shown, columns=N_STEPS + 2)


def compare(
    scored: ScoredRecords,
    comparison_model: Model | VAEDetector,
    categories: Sequence[str] | None,
) -> LatentComparison:
    """Compare the latent codes of the model with those of another.

    Raises
    ------
    DataError
        If the two models were fitted on images of different shapes.
    """
    model, records = scored.model, scored.records
    other = fitted_model(comparison_model)
    if other.encoder.shape != model.encoder.shape:
        raise DataError(
            f"Models to compare must be fitted on images of one shape. Got "
            f"{model.encoder.shape} and {other.encoder.shape}."
        )
    normal = records if scored.labels is None else records[~scored.labels]
    shown = (normal if len(normal) else records)[:MAX_CODES]
    # Codes of one image in several members depend on each other: use the first member only.
    own, others = (prior_fit(each.codes(shown)[:, 0], each.beta) for each in (model, other))
    return LatentComparison(
        own, others, latent_codes(other, scored, categories), latent_grid(other, records)
    )
