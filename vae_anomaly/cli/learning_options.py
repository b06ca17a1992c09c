"""The options of `vae-anomaly fit`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from vae_anomaly.cli.options import SCORE_NAMES, STRICT_IMAGES, Command

if TYPE_CHECKING:
    from vae_anomaly.training.checkpoint import Checkpoint

__all__ = ["learning_options"]

# What likelihoods, networks, training and sources.decoding offer; they cost the import of
# TensorFlow. A test compares them.
LIKELIHOOD_NAMES = (
    *("gaussian", "heteroscedastic", "student_t"),
    *("discretized_logistic", "bernoulli"),
)
ARCHITECTURE_NAMES = ("auto", "dense", "conv", "conv_bn")
OPTIMIZER_NAMES = ("adam", "rmsprop")
PRIOR_NAMES = ("aggregated", "normal")
RESIZE_NAMES = ("stretch", "letterbox")


def image_size_of(text: str) -> tuple[int, int]:
    """Turn "48x64" into height and width, and "64" into those of a square."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isascii() and side.isdecimal() for side in sides):
        raise click.BadParameter(
            f"expected a height and a width, such as 48x64, or one number, got {text!r}."
        )
    return int(sides[0]), int(sides[-1])


MAX_SIZE_LENGTH = 40
"""Characters: more are no size."""

SIZE = re.compile(r"(\d+\.?\d*|\.\d+) ?([KMGT])(I?)B", re.ASCII | re.IGNORECASE)


def bytes_of(text: str) -> int:
    """Turn "1.5GB" into bytes; of KiB, MiB and so on each is 1,024 times the one before.

    Examples
    --------
    >>> bytes_of("1.5GB"), bytes_of("512 mib")
    (1500000000, 536870912)
    """
    found = SIZE.fullmatch(text.strip())
    if found is None or len(text) > MAX_SIZE_LENGTH:
        raise click.BadParameter(
            f"expected a size such as 2GB, 1.5GiB or 900MB, got {text[:MAX_SIZE_LENGTH]!r}."
        )
    number, unit, binary = found.groups()
    step = 1024 if binary else 1000
    size = int(float(number) * step ** (1 + "KMGT".index(unit.upper())))
    if size == 0:
        raise click.BadParameter(f"expected more than nothing, such as 2GB, got {text!r}.")
    return size


def checkpoint_in(folder: str) -> Checkpoint:
    """Take a directory for a checkpoint, if it can be written to."""
    from vae_anomaly.training.checkpoint import Checkpoint

    checkpoint = Checkpoint(folder)
    checkpoint.check()
    return checkpoint


LEARNING = (
    click.option(
        "--ignore", multiple=True, metavar="NAME", help="Column to leave out; may be repeated."
    ),
    click.option(
        "--id-column", metavar="NAME", help="Column that identifies a row; left out as well."
    ),
    click.option(
        "--image-size",
        type=image_size_of,
        metavar="HxW|N",
        help="Pixels that images are brought to.  [default: their median size, within 32]",
    ),
    click.option(
        "--resize",
        type=click.Choice(RESIZE_NAMES),
        help="How; letterbox keeps the proportions.  [default: stretch]",
    ),
    click.option("--strict", is_flag=True, help=STRICT_IMAGES),
    click.option(
        "--false-alarm-rate",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        help="Share of normal rows that may be flagged.  [default: 0.01]",
    ),
    click.option(
        "--contamination",
        type=click.FloatRange(0, 0.5, min_open=True),
        help="Flag this share of the training rows instead.",
    ),
    click.option(
        "--score",
        type=click.Choice(SCORE_NAMES),
        default="auto",
        show_default=True,
        help="What the anomaly score is; auto is exemplar for tables, elbo for images.",
    ),
    click.option(
        "--architecture",
        type=click.Choice(ARCHITECTURE_NAMES),
        default="auto",
        show_default=True,
        help="Kind of network; conv and conv_bn are for images.",
    ),
    click.option(
        "--likelihood",
        type=click.Choice(LIKELIHOOD_NAMES),
        default="gaussian",
        show_default=True,
        help="Distribution of a column; heteroscedastic for noise that differs from row to row, "
        "student_t for outliers, discretized_logistic for counts and codes, bernoulli for values "
        "in [0, 1].",
    ),
    click.option(
        "--beta",
        type=click.FloatRange(0),
        default=1.0,
        show_default=True,
        help="Weight of the KL divergence; 0 makes a plain autoencoder.",
    ),
    click.option(
        "--smoothing",
        type=click.FloatRange(0),
        metavar="PIXELS",
        help="Smooth images by so much.  [default: 1/28 of their longer side; 0 for conv]",
    ),
    click.option(
        "--shift",
        type=click.FloatRange(0),
        metavar="PIXELS",
        help="Learn from images moved by so much as well.  [default: as --smoothing]",
    ),
    click.option(
        "--prior",
        type=click.Choice(PRIOR_NAMES),
        default="aggregated",
        show_default=True,
        help="What latent codes are scored against: those of training rows, or N(0, I).",
    ),
    click.option(
        "--latent-dim",
        type=click.IntRange(1),
        help="Latent dimensions; those not needed go unused.  [default: 32, for images 8]",
    ),
    click.option(
        "--members",
        type=click.IntRange(1),
        help="Networks whose scores are averaged.  [default: 4; 1 for conv]",
    ),
    click.option(
        "--optimizer",
        type=click.Choice(OPTIMIZER_NAMES),
        default="adam",
        show_default=True,
        help="Rule of the gradient steps.",
    ),
    click.option(
        "--learning-rate",
        type=click.FloatRange(0, min_open=True),
        default=1e-3,
        show_default=True,
        help="Of the optimizer; lower it if training diverges.",
    ),
    click.option(
        "--max-steps",
        type=click.IntRange(1),
        default=3000,
        show_default=True,
        help="Gradient steps.",
    ),
    click.option(
        "--memory-limit",
        type=bytes_of,
        metavar="SIZE",
        help="Memory to stay below, such as 2GB. Of a table with more rows than fit, rows drawn at "
        "random are learned from; all are checked.",
    ),
    click.option(
        "--random-state",
        type=click.IntRange(0, 2**32 - 1),
        default=0,
        show_default=True,
        help="Seed: the same data and seed give the same model.",
    ),
    click.option(
        "--keep-partial",
        is_flag=True,
        help="On Ctrl-C in training, keep the best weights so far; a second one leaves nothing.",
    ),
    click.option(
        "--checkpoint",
        type=checkpoint_in,
        metavar="DIR",
        help="Keep how far training is in DIR; after a crash the same command goes on from there.",
    ),
)


def learning_options(command: Command) -> Command:
    """Add the options that say what is learned, and how."""
    for option in reversed(LEARNING):
        command = option(command)
    return command
