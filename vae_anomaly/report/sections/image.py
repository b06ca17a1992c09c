"""Report section of images: galleries, categories, masks, and images that the model generates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from vae_anomaly.displays import ImageGridDisplay, LatentGridDisplay
from vae_anomaly.networks.spec import NetworkSpec
from vae_anomaly.report.data import Context, Figure, Options, ScoredRecords
from vae_anomaly.report.figures import PLANE, WIDE
from vae_anomaly.report.formatting import number
from vae_anomaly.report.sections.image_gallery import Gallery, encoder_of, galleries
from vae_anomaly.report.sections.image_generation import (
    LatentComparison,
    compare,
    interpolate,
    latent_grid,
    sample,
)
from vae_anomaly.report.sections.image_results import ImageContext, ImageResults, checked_masks

__all__ = ["SECTION", "ImageSection"]


@dataclass(frozen=True, eq=False)
class ImageSection(ImageResults):
    """Part of a report on images; see `report.data.Section`.

    Attributes
    ----------
    network : str
        Description of the networks.
    smoothing : float
        In pixels.
    n_members : int
        Each has a latent space of its own: the two below are of the first.
    most_anomalous, most_normal : Gallery or None
        None if no image is to be shown.
    latent_grid : LatentGridDisplay
    samples : ImageGridDisplay
    interpolation : ImageGridDisplay or None
        From one normal image to another, both at the ends.
    comparison : LatentComparison or None
    """

    template: ClassVar[str] = "_image.html.j2"
    figure_names: ClassVar[tuple[str, ...]] = (
        *("most_anomalous", "normal", "latent_grid", "samples", "interpolation"),
        *("latent_compared", "latent_grid_compared"),
    )

    network: str
    smoothing: float
    n_members: int
    most_anomalous: Gallery | None
    most_normal: Gallery | None
    latent_grid: LatentGridDisplay
    samples: ImageGridDisplay
    interpolation: ImageGridDisplay | None
    comparison: LatentComparison | None

    @classmethod
    def collect(cls, scored: ScoredRecords, options: Options, context: Context) -> Self:
        """Collect the values of the section.

        Raises
        ------
        DataError
            If masks do not match the images, or the comparison model is of another
            shape.
        """
        if not isinstance(context, ImageContext):
            context = ImageContext(context.categories)
        model, masks = scored.model, checked_masks(context.masks, scored)
        encoder, spec = encoder_of(model), model.network.spec
        anomalous, normal = galleries(scored, context.categories, masks, options.top)
        other = context.comparison_model
        return cls(
            **vars(ImageResults.of(scored, context, masks)),
            network=_network(spec),
            smoothing=encoder.smoothing,
            n_members=spec.members,
            most_anomalous=anomalous,
            most_normal=normal,
            latent_grid=latent_grid(model, scored.records),
            samples=sample(model, scored.records),
            interpolation=interpolate(scored),
            comparison=None if other is None else compare(scored, other, context.categories),
        )

    @property
    def settings(self) -> tuple[tuple[str, str], ...]:
        """Networks and preprocessing."""
        return (
            ("network", self.network),
            ("images", self.size),
            ("smoothing", f"{self.smoothing:.2g} pixels"),
        )

    def figures(self) -> dict[str, Figure]:
        """Return galleries, generated images and the codes of the comparison model."""
        drawn = {
            "latent_grid": Figure(self.latent_grid.plot, PLANE),
            "samples": Figure(self.samples.plot, _grid_size(self.samples)),
        }
        for name, gallery in (
            ("most_anomalous", self.most_anomalous),
            ("normal", self.most_normal),
        ):
            if gallery is not None:
                size = gallery.figure_size()
                drawn[name] = Figure(gallery.display.plot, size, is_inline=False)
        if self.interpolation is not None:
            size = _grid_size(self.interpolation)
            drawn["interpolation"] = Figure(self.interpolation.plot, size)
        if self.comparison is not None:
            drawn["latent_compared"] = Figure(self.comparison.latent.plot, PLANE)
            drawn["latent_grid_compared"] = Figure(self.comparison.latent_grid.plot, PLANE)
        return drawn

    def why(self) -> str:
        """Return what the score of the most anomalous image is made of, and where."""
        return "" if self.most_anomalous is None else self.most_anomalous.why()

    def further_sentences(self) -> list[str]:
        """Return how the codes compare with those of the comparison model."""
        return [] if self.comparison is None else [_about_prior(self.comparison)]


SECTION = ImageSection


def _network(spec: NetworkSpec) -> str:
    if spec.custom is not None:
        return "custom Keras models"
    if spec.grid is None:
        return "dense"
    return "convolutional, batch-normalised" if spec.batch_norm else "convolutional"


def _grid_size(shown: ImageGridDisplay) -> tuple[float, float]:
    """Return the size of a figure as wide as the page, in the proportions of its images."""
    n, height, width, _ = shown.images.shape
    columns = min(shown.columns, n)
    return WIDE[0], max(0.5, -(-n // columns) * height * WIDE[0] / (columns * width))


def _about_prior(compared: LatentComparison) -> str:
    own, other = compared.own, compared.other
    return (
        f"The energy distance of the latent codes from N(0, I) is "
        f"{number(own.energy, 3)} with the KL weight of {number(own.beta)} (beta), and "
        f"{number(other.energy, 3)} for the same network trained with {number(other.beta)}: zero "
        f"would be no difference."
    )
