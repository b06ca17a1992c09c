"""From a detector and images to the values of a report: no markup here, and no clock.

Beyond the images themselves, memory holds a score and a label for each, and
of the few that are shown no more than 96 x 96 pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist, pdist
from sklearn.metrics import roc_auc_score

from vae_anomaly.displays import (
    ImageGridDisplay,
    LatentDisplay,
    LatentGridDisplay,
    ReconstructionDisplay,
)
from vae_anomaly.displays.data import by_category
from vae_anomaly.displays.painting import as_rgb, shrink, value_range
from vae_anomaly.estimator import VAEDetector
from vae_anomaly.exceptions import DataError
from vae_anomaly.report.choices import Criteria
from vae_anomaly.report.collect import (
    CHUNK_CELLS,
    Scored,
    describe_scores,
    described,
    most_anomalous_first,
    score_rows,
)
from vae_anomaly.report.data import (
    Gallery,
    ImageFindings,
    Kind,
    LatentComparison,
    PixelArea,
    PriorFit,
    ReportData,
    TopImage,
)
from vae_anomaly.report.intervals import areas
from vae_anomaly.report.wording import summarize
from vae_anomaly.stats.priors import draw_codes

__all__ = ["build_image_report", "pixel_area", "prior_fit"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Values = tuple[float, float]
Masks = Sequence[NDArray[np.bool_] | None] | NDArray[np.bool_]

MAX_NORMAL, MAX_SKIPPED, MAX_KINDS = 6, 100, 50
MAX_PIXELS = 2_000_000
MAX_CODES = 2000
N_SAMPLES, N_STEPS = 40, 8
ENDS = 500
"""Most normal images among which the two ends of an interpolation are looked for."""


def build_image_report(
    detector: VAEDetector,
    images: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    names: Sequence[str],
    kinds: Sequence[str] | None = None,
    masks: Masks | None = None,
    skipped: Iterable[tuple[str, str]] = (),
    compare: VAEDetector | None = None,
    title: str = "Anomaly report",
    model_name: str | None = None,
    data_name: str | None = None,
    top: int = 10,
    created: str | None = None,
    criteria: Criteria | None = None,
) -> ReportData:
    """Find out how a detector does on images.

    Parameters
    ----------
    detector : VAEDetector
        Fitted on images.
    images : array-like of shape (n, height, width) or (n, height, width, channels)
        Images to score, of the size that the detector was fitted on.
    labels : array-like of bool of shape (n,), optional
        True for anomalies.
    names : sequence of str of shape (n,)
        What images are called; leave out paths that are nobody's business.
    kinds : sequence of str of shape (n,), optional
        What each image shows, such as "good" or "scratch".
    masks : sequence of shape (n,) of ndarray of bool of shape (height, width), optional
        Where images are strange, at the detector's size. None for a normal
        image is an empty mask, for another that nobody knows.
    skipped : iterable of (str, str)
        Files that were left out, and why. 100 are shown, all are counted.
    compare : VAEDetector, optional
        Fitted like `detector`, but for `beta`: its latent codes are shown beside.
    title : str, default="Anomaly report"
    model_name, data_name : str, optional
        Shown as they are.
    top : int, default=10
        Strangest images to show, 100 at most: the page stays small.
    created : str, optional
        Time to show. Without it equal inputs give equal reports.
    criteria : Criteria, optional
        What other thresholds to choose by; needs labels.

    Returns
    -------
    ReportData

    Raises
    ------
    DataError
        If the detector was not fitted on images, labels are not booleans, or
        labels, names, kinds or masks do not match the images, or other thresholds
        are asked for without labels of both kinds.
    """
    X = np.asarray(images)
    if detector.image_shape_ is None or X.ndim not in (3, 4):
        raise DataError(
            "A report on images needs a detector fitted on images, and an array of shape "
            "(n, height, width) or (n, height, width, channels). For rows there is build_report."
        )
    for what, given in (("names", names), ("kinds", kinds), ("masks", masks)):
        if given is not None and len(given) != len(X):
            raise DataError(
                f"{what} must have one entry for each of the {len(X)} images. "
                f"Got {len(given)} instead."
            )
    scored = score_rows(detector, X, labels)
    report = describe_scores(detector, X, scored, kinds=kinds, unit="image", criteria=criteria)
    values = value_range(X)
    strangest, normal = _galleries(detector, X, scored, names, kinds, masks, top, values)
    skipped = iter(skipped)
    first = tuple((str(name), str(reason)) for name, reason in islice(skipped, MAX_SKIPPED))
    found = ImageFindings(
        shape=detector.image_shape_,
        n_members=detector.network_spec_.members,
        strangest=strangest,
        normal=normal,
        latent_grid=_latent_grid(detector, X),
        samples=_samples(detector, X),
        interpolation=_interpolation(detector, X, scored),
        kinds=() if kinds is None else _kinds(scored, kinds),
        n_kinds=0 if kinds is None else len(set(kinds)),
        pixels=None if masks is None else pixel_area(detector, X, masks, scored.labels),
        skipped=first,
        n_skipped=len(first) + sum(1 for _ in skipped),
        comparison=None if compare is None else _comparison(detector, compare, X, scored, kinds),
    )
    report = replace(
        report,
        title=title,
        model_name=model_name,
        data_name=data_name,
        created=created,
        images=found,
    )
    return replace(report, summary=summarize(report))


def _painted_values(detector: VAEDetector, X: NDArray[Any]) -> Values:
    """Tell which values are black and white in images of the model's own."""
    if detector.picture_scale_ != 1:
        return 0.0, detector.picture_scale_
    return (0.0, 1.0) if X.dtype == np.uint8 else value_range(X)


# --------------------------------------------------------------------------- single images


def _galleries(
    detector: VAEDetector,
    X: NDArray[Any],
    scored: Scored,
    names: Sequence[str],
    kinds: Sequence[str] | None,
    masks: Masks | None,
    top: int,
    values: Values,
) -> tuple[Gallery | None, Gallery | None]:
    """Show the strangest images and the most normal, on one scale of colours."""
    strangest = most_anomalous_first(scored, top)
    normal = np.argsort(scored.scores, kind="stable")[: min(MAX_NORMAL, len(strangest))]
    galleries: list[Gallery | None] = [None, None]
    scale: float | None = None
    for place, rows in enumerate((strangest, normal)):
        if not len(rows):
            continue
        maps, kl = detector.contribution_maps(X[rows])
        shown = ReconstructionDisplay.measure(
            detector,
            X[rows],
            maps=maps,
            names=[str(names[row]) for row in rows],
            masks=_known_masks(masks, rows, X.shape[1:3]) if place == 0 else None,
            values=values,
            top=scale,
        )
        scale = shown.top
        galleries[place] = Gallery(
            tuple(
                TopImage(
                    **vars(described(scored, names, row)),
                    kind=None if kinds is None else str(kinds[row]),
                    reconstruction=float(part.sum()),
                    kl=float(code),
                )
                for row, part, code in zip(rows, maps, kl, strict=True)
            ),
            shown,
        )
    return galleries[0], galleries[1]


def _known_masks(
    masks: Masks | None, rows: NDArray[np.intp], size: tuple[int, ...]
) -> Flags | None:
    if masks is None or all(masks[row] is None for row in rows):
        return None
    blank = np.zeros(size, dtype=bool)
    known = [masks[row] for row in rows]
    return np.stack([blank if mask is None else _checked_mask(mask, size) for mask in known])


def _checked_mask(mask: ArrayLike, size: tuple[int, ...]) -> Flags:
    array = np.asarray(mask, dtype=bool)
    if array.shape != tuple(size):
        raise DataError(
            f"masks must have the size of the images, {size[0]} x {size[1]}. "
            f"Got shape {array.shape} instead."
        )
    return array


# ------------------------------------------------------------------------ kinds and pixels


def _kinds(scored: Scored, kinds: Sequence[str]) -> tuple[Kind, ...]:
    """Count what is flagged of each kind: normal kinds first, then those hardest to find."""
    labels = scored.labels
    found = []
    for name, mask in islice(by_category([str(kind) for kind in kinds]).items(), MAX_KINDS):
        area = None
        if labels is not None and (labels & mask).any() and not labels.all():
            judged = ~labels | (labels & mask)
            area = areas(scored.scores[judged], labels[judged])[0]
        is_normal = None if labels is None else not labels[mask].any()
        found.append(Kind(name, int(mask.sum()), int(scored.flagged[mask].sum()), is_normal, area))
    return tuple(
        sorted(found, key=lambda kind: (kind.auroc.value if kind.auroc else 0.0, kind.name))
    )


def pixel_area(
    detector: VAEDetector, X: NDArray[Any], masks: Masks, labels: Flags | None
) -> PixelArea | None:
    """Compare contributions with masks, pixel by pixel.

    Of more than two million pixels as many are drawn from each image, the
    same ones every time.

    Parameters
    ----------
    detector : VAEDetector
    X : ndarray of shape (n, height, width[, channels])
    masks : sequence of shape (n,) of ndarray of bool or None
    labels : ndarray of bool of shape (n,) or None

    Returns
    -------
    PixelArea or None
        None where masks hold no pixel, or all.
    """
    normal = np.zeros(len(X), dtype=bool) if labels is None else ~labels
    rows = np.array([i for i in range(len(X)) if masks[i] is not None or normal[i]], dtype=int)
    if not len(rows):
        return None
    size = X.shape[1:3]
    each = prod(size)
    taken = min(each, max(1, MAX_PIXELS // len(rows)))
    rng = np.random.RandomState(0)
    truth, scores = [], []
    step = max(1, CHUNK_CELLS // prod(X.shape[1:]))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        maps, _ = detector.contribution_maps(X[part])
        for row, values in zip(part, maps.reshape(len(part), -1), strict=True):
            mask = masks[row]
            marked = np.zeros(each, dtype=bool) if mask is None else _checked_mask(mask, size)
            at = np.arange(each) if taken == each else rng.choice(each, taken, replace=False)
            truth.append(marked.reshape(-1)[at])
            scores.append(values[at])
    marked = np.concatenate(truth)
    if marked.all() or not marked.any():
        return None
    value = float(roc_auc_score(marked, np.concatenate(scores)))
    return PixelArea(value, len(marked), each * len(rows), len(rows))


# ------------------------------------------------------------------- what the model paints


def _latent_grid(detector: VAEDetector, X: NDArray[Any]) -> LatentGridDisplay:
    return LatentGridDisplay.measure(detector, values=_painted_values(detector, X))


def _samples(detector: VAEDetector, X: NDArray[Any]) -> ImageGridDisplay:
    """Paint what the prior holds in the first member: expectations, without noise of pixels."""
    rng, components = np.random.RandomState(0), detector.prior_
    if components is None:
        codes = rng.standard_normal((N_SAMPLES, detector.network_spec_.latent))
    else:
        codes = draw_codes(components, N_SAMPLES, rng)[:, 0]
    drawn = detector.decode(codes, member=0)
    return ImageGridDisplay.measure(drawn, values=_painted_values(detector, X))


def _interpolation(
    detector: VAEDetector, X: NDArray[Any], scored: Scored
) -> ImageGridDisplay | None:
    """Go from the most normal image to the one, of the most normal, that is least like it."""
    order = np.argsort(scored.scores, kind="stable")
    if scored.labels is not None:
        order = order[~scored.labels[order]]
    typical = order[: min(ENDS, -(-len(order) // 2) + 1)]
    if len(typical) < 2:
        return None
    codes = detector.transform(X[typical])
    ends = X[typical[[0, int(np.argmax(((codes - codes[0]) ** 2).sum(axis=1)))]]]
    painted = detector.interpolate(ends[0], ends[1], N_STEPS)
    first, last = as_rgb(ends, *value_range(X))
    between = as_rgb(painted, *_painted_values(detector, X))
    return ImageGridDisplay(
        shrink(np.concatenate([first[None], between, last[None]])), columns=N_STEPS + 2
    )


def _comparison(
    detector: VAEDetector,
    other: VAEDetector,
    X: NDArray[Any],
    scored: Scored,
    kinds: Sequence[str] | None,
) -> LatentComparison:
    if other.image_shape_ != detector.image_shape_:
        raise DataError(
            f"Detectors to compare must be fitted on images of one shape. Got "
            f"{detector.image_shape_} and {other.image_shape_}."
        )
    normal = X if scored.labels is None else X[~scored.labels]
    some = (normal if len(normal) else X)[:MAX_CODES]
    own, others = (
        # Codes of one image in several members depend on each other: one member's are looked at.
        prior_fit(each.transform(some)[:, : each.network_spec_.latent], each.beta)
        for each in (detector, other)
    )
    latent = LatentDisplay.measure(other, X, scored.labels, categories=kinds, unit="image")
    return LatentComparison(own, others, latent, _latent_grid(other, X))


def prior_fit(codes: Array, beta: float) -> PriorFit:
    """Measure how far codes lie from N(0, I).

    The energy distance is that of Székely and Rizzo, "Energy statistics: a class
    of statistics based on distances", :doi:`10.1016/j.jspi.2013.03.018`.

    Parameters
    ----------
    codes : ndarray of shape (n, latent)
    beta : float
        With which they were learned.

    Returns
    -------
    PriorFit
    """
    prior = np.random.RandomState(0).standard_normal((MAX_CODES, codes.shape[1]))
    n, m = len(codes), len(prior)
    # pdist holds each pair once; a point's distance from itself is zero.
    within = 2 * pdist(codes).sum() / n**2 + 2 * pdist(prior).sum() / m**2
    return PriorFit(
        beta=float(beta),
        mean=float(np.linalg.norm(codes.mean(axis=0))),
        variance=float(codes.var(axis=0).mean()),
        energy=float(2 * cdist(codes, prior).mean() - within),
        n_codes=n,
    )
