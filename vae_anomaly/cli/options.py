"""Options of the commands, in groups: those of one modality form a group.

The option names of a modality are also listed in its `data.base.Modality.options`: a command
refuses those that another modality has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import click

from vae_anomaly import names
from vae_anomaly.pipeline.sizes import bytes_of

if TYPE_CHECKING:
    from vae_anomaly.training.checkpoint import Checkpoint

__all__ = ["EVALUATE", "FIT", "INPUT", "RECALIBRATE", "SCORE", "Value", "output_option"]
__all__ += ["CRITERIA", "EVALUATE_SOURCE", "FIT_SOURCE", "SERIES", "flag", "given_options"]

Value: TypeAlias = Any
"""Value, type or default of an option."""

Command = TypeVar("Command", bound=Callable[..., Value])
Decorator: TypeAlias = Callable[[Value], Value]


INPUT = type("Input", (click.Path,), {"convert": lambda self, value, param, ctx: value})()
"""A path that click does not check: what cannot be read is exit 5 with a sentence of ours."""

SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)
POSITIVE = click.FloatRange(0, min_open=True)
NOT_NEGATIVE = click.FloatRange(0)
COUNT = click.IntRange(1)


def parsed(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    """Return a parser whose ValueError is one of the option, with its name."""

    def convert(text: str) -> Value:
        try:
            return parse(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return convert


def image_size_of(text: str) -> tuple[int, int]:
    """Return the height and width of "48x64", or of the square "64"."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isascii() and side.isdecimal() for side in sides):
        raise ValueError(
            f"expected a height and a width, such as 48x64, or one number, got {text!r}."
        )
    return int(sides[0]), int(sides[-1])


def checkpoint_in(folder: str) -> Checkpoint:
    """Return the checkpoint in a directory, if it can be written to."""
    from vae_anomaly.training.checkpoint import Checkpoint

    checkpoint = Checkpoint(folder)
    checkpoint.check()
    return checkpoint


def option(name: str, explanation: str, type: Value = None, **given: Value) -> Decorator:  # noqa: A002
    """Return an option; its default is shown unless it is False or None."""
    shown = given.get("default") is not None
    return click.option(name, type=type, help=explanation, show_default=shown, **given)


def choice(name: str, explanation: str, choices: Sequence[str], **given: Value) -> Decorator:
    """Return an option whose value is one of some names."""
    return option(name, explanation, click.Choice(choices), **given)


def switch(name: str, explanation: str) -> Decorator:
    """Return an option without a value."""
    return click.option(name, is_flag=True, help=explanation)


def with_options(*options: Decorator) -> Callable[[Command], Command]:
    """Return a decorator that adds options to a command, in this order."""

    def add(command: Command) -> Command:
        for one in reversed(options):
            command = one(command)
        return command

    return add


def output_option(metavar: str, explanation: str, default: str | None = None) -> Decorator:
    """Return the option -o, which is required unless it has a default."""
    given: dict[str, Value] = {"required": True}
    if default is not None:
        given = {"default": default, "show_default": True}
    return click.option("-o", "--output", metavar=metavar, help=explanation, **given)


ID_COLUMN = option("--id-column", "Column that identifies a row; it is not scored.", metavar="NAME")
STRICT_IMAGES = switch("--strict", "Refuse images that cannot be read; else they are skipped.")
KEEP_LEARNED = switch("--keep-learned", "Keep rows that MODEL was fitted on; else left out.")

TABLE_FIT = (
    option(
        "--ignore",
        "Columns to leave out, between commas; repeatable.",
        metavar="NAMES",
        multiple=True,
    ),
    option("--label-column", "Column of labels: only normal rows are learned.", metavar="NAME"),
    option("--normal-label", "See evaluate; may be repeated.", metavar="VALUE", multiple=True),
    click.option(
        "--type",
        "column_types",
        type=parsed(names.column_type_of),
        callback=lambda context, option, pairs: dict(pairs) or None,
        help=f"Type of a column: {', '.join(names.COLUMN_TYPES)}; may be repeated.",
        metavar="NAME=TYPE",
        multiple=True,
    ),
    option("--missing", "Further missing cell, such as -9; may be repeated.", multiple=True),
    option("--id-column", "Column that identifies a row; left out as well.", metavar="NAME"),
    option(
        "--memory-limit",
        "Memory to stay below, such as 2GB. Of a table with more rows than fit, rows drawn at "
        "random are learned from; all are checked.",
        parsed(bytes_of),
        metavar="SIZE",
    ),
)

IMAGE_FIT = (
    option(
        "--image-size",
        "Pixels that images are brought to.  [default: their median size, within 32]",
        parsed(image_size_of),
        metavar="HxW|N",
    ),
    choice("--resize", "How; letterbox keeps the proportions.  [default: stretch]", names.RESIZES),
    option(
        "--smoothing",
        "Smooth images by so much.  [default: 1/28 of their longer side; 0 for conv]",
        NOT_NEGATIVE,
        metavar="PIXELS",
    ),
    option(
        "--shift",
        "Learn from images shifted by so much as well.  [default: as --smoothing]",
        NOT_NEGATIVE,
        metavar="PIXELS",
    ),
    option(
        "--features",
        "Learn the features that this node of an ONNX file makes of patches, instead of pixels.",
        parsed(names.features_of),
        metavar="onnx:PATH#NODE",
    ),
    STRICT_IMAGES,
)

SERIES_FIT = (
    option("--time-column", "Column of time stamps: DATA is a time series.", metavar="NAME"),
    option("--series-column", "Column that tells several series apart.", metavar="NAME"),
    option("--metric-column", "Column of channel names, a row for each value.", metavar="NAME"),
    option("--value-column", "Column of the values, with --metric-column.", metavar="NAME"),
    option("--time-format", "Format of time stamps, such as %d/%m/%Y %H:%M.", metavar="FORMAT"),
    option("--timezone", "Time zone of time stamps without one.", metavar="ZONE"),
    option("--max-gap", "Time steps that may be missing in a row before a break.", COUNT),
    choice("--duplicates", "What counts of a time that is there twice.", names.DUPLICATES),
    option("--window", "Time steps in a window.  [default: the period]", click.IntRange(4)),
    switch("--causal", "Score time steps by the past alone."),
    option(
        "--false-alarms-per",
        "False episodes that are accepted, such as week=1.",
        parsed(names.false_alarms_of),
        metavar="SPAN=NUMBER",
    ),
)

SERIES = (
    *("time_column", "series_column", "metric_column", "value_column", "time_format"),
    *("timezone", "max_gap", "duplicates", "window", "causal", "false_alarms_per"),
)
"""Options of `fit` for time series; with one of them DATA is one."""

FIT = with_options(
    *TABLE_FIT,
    *IMAGE_FIT,
    *SERIES_FIT,
    option(
        "--holdout",
        "Share of the normal rows not to learn, for evaluate.  [default: 0.2 with --label-column]",
        click.FloatRange(0, 1, max_open=True),
    ),
    option(
        "--false-alarm-rate", "Share of normal rows that may be flagged.  [default: 0.01]", SHARE
    ),
    option(
        "--contamination",
        "Flag this share of the training rows instead.",
        click.FloatRange(0, 0.5, min_open=True),
    ),
    choice(
        "--score",
        "What the anomaly score is; auto is exemplar for tables, elbo for images.",
        ("auto", *names.SCORES),
        default="auto",
    ),
    choice(
        "--architecture",
        "Structure of the networks; conv and conv_bn are for images, lstm and gru for series.",
        ("auto", *dict.fromkeys(names.ARCHITECTURES + names.SERIES_ARCHITECTURES)),
        default="auto",
    ),
    choice(
        "--likelihood",
        "Distribution of a column; heteroscedastic for noise that differs from row to row, "
        "student_t for outliers, discretized_logistic for counts and codes, bernoulli for values "
        "in [0, 1].",
        names.LIKELIHOODS,
        default="gaussian",
    ),
    option(
        "--beta", "Weight of the KL divergence; with 0 an autoencoder.", NOT_NEGATIVE, default=1.0
    ),
    choice(
        "--prior",
        "What latent codes are scored against: those of training rows, or N(0, I).",
        names.PRIORS,
        default="aggregated",
    ),
    option(
        "--latent-dim", "Latent dimensions; some may go unused.  [default: 32, for images 8]", COUNT
    ),
    option("--members", "Networks whose scores are averaged.  [default: 4; 1 for conv]", COUNT),
    choice("--optimizer", "Rule of the gradient steps.", names.OPTIMIZERS, default="adam"),
    option("--learning-rate", "Lower it if training diverges.", POSITIVE, default=1e-3),
    option("--max-steps", "Gradient steps.", COUNT, default=3000),
    option(
        "--random-state", "Seed: it determines the model.", click.IntRange(0, 2**32 - 1), default=0
    ),
    switch(
        "--keep-partial",
        "On Ctrl-C in training, keep the best weights; a second one leaves nothing.",
    ),
    option(
        "--checkpoint",
        "Keep the state of training in DIR; after a crash the same command resumes from there.",
        checkpoint_in,
        metavar="DIR",
    ),
)

FIT_SOURCE = (
    *("ignore", "column_types", "missing", "id_column", "label_column", "normal_label"),
    *("image_size", "resize", "features", "strict"),
)
"""Options of `fit` that open a source."""

SCORE = with_options(
    ID_COLUMN,
    option(
        "--explain",
        "Add the K columns that contribute most to each row's score, and what is normal of them.",
        COUNT,
        metavar="K",
    ),
    switch("--repair", "Add which few columns of a flagged row must change to what to be normal."),
    choice(
        "--score",
        "Another score than that of MODEL; is_anomaly then needs --threshold.",
        names.SCORES,
    ),
    choice(
        "--also",
        "A further score, in a column of its own, score_NAME. May be given several times.",
        names.SCORES,
        multiple=True,
    ),
    option("--events", "Table of the events of a time series to write.", metavar="FILE"),
    switch("--strict", "Refuse unknown columns, text among numbers, and images not readable."),
    switch("--p-values", "Add p_value: the share of the calibration rows that are as anomalous."),
    option(
        "--fdr",
        "Choose the threshold for this DATA so that at most this share of what is flagged is "
        "expected to be normal (Benjamini-Hochberg). DATA is scored twice.",
        SHARE,
        metavar="SHARE",
    ),
    option("--threshold", "Flag scores above NATS instead.", float, metavar="NATS"),
    choice(
        "--engine",
        "What runs the networks; auto is numpy for dense ones, else tensorflow.",
        names.ENGINES,
        default="auto",
    ),
)

LABELLED = (
    option(
        "--cost-miss",
        "What an anomaly that is not flagged costs: also show the cheapest threshold on DATA.  "
        "[default with --cost-false-alarm: 1]",
        POSITIVE,
        metavar="COST",
    ),
    option(
        "--cost-false-alarm",
        "What a normal row that is flagged costs.  [default with --cost-miss: 1]",
        POSITIVE,
        metavar="COST",
    ),
    option(
        "--min-recall",
        "Also show the highest threshold that finds this share of the anomalies.",
        click.FloatRange(0, 1, min_open=True),
        metavar="SHARE",
    ),
    option(
        "--min-precision",
        "Also show the threshold that finds most while this share of what it flags is right.",
        click.FloatRange(0, 1, min_open=True),
        metavar="SHARE",
    ),
    option(
        "--f-beta",
        "Also show the threshold of the greatest F-beta; 1 weighs recall and precision alike, "
        "2 recall more.",
        POSITIVE,
        metavar="BETA",
    ),
)

CRITERIA = ("cost_miss", "cost_false_alarm", "min_recall", "min_precision", "f_beta")
"""Names of the options in `LABELLED`."""

TABLE_EVALUATE = (
    option("--label-column", "Column that tells normal rows from anomalies.", metavar="NAME"),
    ID_COLUMN,
)

IMAGE_EVALUATE = (
    option(
        "--compare-beta",
        "Compare the latent codes of images with those of a comparison model, fitted like MODEL "
        "but with this weight of the KL divergence, on --training.",
        NOT_NEGATIVE,
        metavar="BETA",
    ),
    option(
        "--training",
        "Images that MODEL, and the comparison model, learn from.",
        INPUT,
        metavar="DATA",
    ),
    STRICT_IMAGES,
)

EVALUATE = with_options(
    *TABLE_EVALUATE,
    *IMAGE_EVALUATE,
    option("--labels", "Anomalous windows of a time series, CSV or JSON.", INPUT, metavar="FILE"),
    option(
        "--normal-label",
        "Label of normal rows; may be repeated.  [default: 0, false, no, normal, good, ok, "
        "negative or benign, in any case]  Or subfolder or label of normal images.  [default: "
        "good, normal or ok]",
        multiple=True,
        metavar="VALUE",
    ),
    option("--title", "Title of the report.", default="Anomaly report"),
    option("--top", "Most anomalous rows or images to show.", click.IntRange(1, 100), default=10),
    KEEP_LEARNED,
    *LABELLED,
)

EVALUATE_SOURCE = ("label_column", "normal_label", "id_column", "strict")
"""Options of `evaluate` that open a source."""

RECALIBRATE = with_options(
    option(
        "--false-alarm-rate", "Share of normal rows that may be flagged.  [default: MODEL's]", SHARE
    ),
    option("--threshold", "Threshold to set, instead of DATA.", float, metavar="NATS"),
    KEEP_LEARNED,
    STRICT_IMAGES,
)


def flag(name: str) -> str:
    """Return the option of a parameter: "--p-values" of "p_values"."""
    return f"--{name.replace('_', '-')}"


def given_options(
    given: Mapping[str, Value], names: Iterable[str] | None = None
) -> dict[str, Value]:
    """Return the options that have a value, or those of some names."""
    return {
        name: given[name]
        for name in (given if names is None else names)
        if given.get(name) not in ((), None) and given[name] is not False
    }
