"""Options of the commands, in groups: those of one modality form a group.

The option names of a modality are also listed in its `data.base.Modality.options`, those of a type
of detector in `detectors.DETECTORS`: a command refuses those that another one has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import click

from vae_anomaly import names
from vae_anomaly.pipeline.conditions import Condition
from vae_anomaly.pipeline.sizes import bytes_of

__all__ = ["EVERYWHERE", "PARAMETERS", "Value"]

Value: TypeAlias = Any
"""Value, type or default of an option."""


INPUT = type("Input", (click.Path,), {"convert": lambda self, value, param, ctx: value})()
"""A path that click does not check: what cannot be read is exit 5 with a sentence of ours."""

SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)
SHARE_OR_1 = click.FloatRange(0, 1, min_open=True)
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


def option(words: str, explanation: str, type: Value = None, **given: Value) -> click.Option:  # noqa: A002
    """Return an option from its words in a help text, such as "--fdr SHARE".

    Its name in Python may stand before them, as in "n_members --members". Its default is shown
    unless it is None.
    """
    start, dashes, rest = words.partition("--")
    flag, _, metavar = rest.partition(" ")
    declared = [dashes + flag, *start.split()]
    shown = given.get("default") is not None
    given |= {"type": type, "metavar": metavar or None, "show_default": shown}
    return click.Option(declared, help=explanation, **given)


def several(words: str, explanation: str, type: Value = None, **given: Value) -> click.Option:  # noqa: A002
    """Return an option that may be given several times."""
    return option(words, explanation, type, multiple=True, **given)


def switch(words: str, explanation: str) -> click.Option:
    """Return an option without a value."""
    return click.Option(words.split(), is_flag=True, help=explanation)


def choice(words: str, explanation: str, choices: Sequence[str], **given: Value) -> click.Option:
    """Return an option whose value is one of some names."""
    return option(words, explanation, click.Choice(choices), **given)


def output(metavar: str, explanation: str, default: str | None = None) -> click.Option:
    """Return the option -o, which is required unless it has a default."""
    given: dict[str, Value] = {"metavar": metavar, "help": explanation, "type": INPUT}
    given |= {"required": True} if default is None else {"default": default, "show_default": True}
    return click.Option(["-o", "--output"], **given)


MODEL = click.Argument(["model"], type=INPUT)
MODELS = click.Argument(["models"], type=INPUT, nargs=-1, required=True, metavar="MODEL...")
DATA = click.Argument(["data"], type=INPUT)

ID_COLUMN = option("--id-column NAME", "Column that identifies a row; it is not scored.")
STRICT_IMAGES = switch("--strict", "Refuse images that cannot be read; else they are skipped.")
FOLLOW_LINKS = option("--follow-links DIR", "Follow symbolic links that lead into DIR.")
KEEP_LEARNED = switch("--keep-learned", "Keep rows that MODEL was fitted on; else left out.")

SQL = option("--sql QUERY", "What to read of DATA, a URL of duckdb:, sqlite: or postgresql:.")

TABLE_FIT = [
    SQL,
    several("--ignore NAMES", "Columns to leave out, between commas; repeatable."),
    option("--label-column NAME", "Column of labels: only normal rows are learned."),
    several("--normal-label VALUE", "See evaluate; may be repeated."),
    several(
        "column_types --type NAME=TYPE",
        f"Type of a column: {', '.join(names.COLUMN_TYPES)}; may be repeated.",
        parsed(names.column_type_of),
        callback=lambda context, option, pairs: dict(pairs) or None,
    ),
    several("missing_values --missing TEXT", "Further missing cell, such as -9; may be repeated."),
    option("--id-column NAME", "Column that identifies a row; left out as well."),
    option(
        "--memory-limit SIZE",
        "Memory to stay below, such as 2GB. Of a table with more rows than fit, rows drawn at "
        "random are learned from; all are checked.",
        parsed(bytes_of),
    ),
]

IMAGE_FIT = [
    option(
        "--image-size HxW|N",
        "Pixels that images are brought to.  [default: their median size, within 32]",
        parsed(names.height_and_width_of),
    ),
    choice("--resize", "How; letterbox keeps the proportions.  [default: stretch]", names.RESIZES),
    option(
        "--smoothing PIXELS",
        "Smooth images by so much.  [default: 1/28 of their longer side; 0 for conv]",
        NOT_NEGATIVE,
    ),
    option(
        "--shift PIXELS",
        "Learn from images shifted by so much as well.  [default: as --smoothing]",
        NOT_NEGATIVE,
    ),
    option(
        "--features onnx:PATH#NODE|gradients",
        "Learn features of patches, not pixels: those of a node of an ONNX file, or gradients.",
        parsed(names.features_of),
    ),
    option(
        "--pixel-range LOW:HIGH",
        "Numbers of black and white, such as 0:1023.  [default: measured in DATA]",
        parsed(names.pixel_range_of),
    ),
    STRICT_IMAGES,
    FOLLOW_LINKS,
]

FALSE_ALARMS_PER = option(
    "--false-alarms-per SPAN=NUMBER",
    "False episodes that are accepted in time series, such as week=1.",
    parsed(names.false_alarms_of),
)

TIME_FORMAT = option("--time-format FORMAT", "Format of time stamps, such as %d/%m/%Y %H:%M.")
TIMEZONE = option("--timezone ZONE", "Time zone of time stamps without one.")
DUPLICATES = choice("--duplicates", "What counts of a time that is there twice.", names.DUPLICATES)
SERIES_DATA = [
    *(TIME_FORMAT, TIMEZONE, DUPLICATES),
    several("--missing TEXT", "Further missing cell of a time series; may be repeated."),
]
"""How time series are read, instead of as in the fit."""

SERIES_FIT = [
    option("--time-column NAME", "Column of time stamps: DATA is a time series."),
    option("--series-column NAME", "Column that tells several series apart."),
    option("--metric-column NAME", "Column of channel names, a row for each value."),
    option("--value-column NAME", "Column of the values, with --metric-column."),
    *(TIME_FORMAT, TIMEZONE),
    option("--step DURATION", "Time step for irregular rows, such as 5min."),
    option("--max-gap", "Time steps that may be missing in a row before a break.", COUNT),
    DUPLICATES,
    option("--window", "Time steps in a window.  [default: the period]", click.IntRange(4)),
    switch("--causal", "Score time steps by the past alone."),
    FALSE_ALARMS_PER,
]

FIT = [
    *(*TABLE_FIT, *IMAGE_FIT, *SERIES_FIT),
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
        "score_type --score",
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
    option(
        "n_members --members",
        "Networks whose scores are averaged.  [default: 4; 1 for conv]",
        COUNT,
    ),
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
        "--checkpoint DIR",
        "Keep the state of training in DIR; after a crash the same command resumes from there.",
    ),
]

SCORE = [
    *(ID_COLUMN, SQL),
    option(
        "--maps DIR",
        "Also write for each image, or each flagged one with --only-flagged, at its size, a PNG "
        "with the map over it and a TIFF: the nats of every pixel.",
    ),
    option(
        "--explain K",
        "Add the K columns that contribute most to each row's score, and what is normal of them.",
        COUNT,
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
    switch("--parts", "Add reconstruction_error and kl_divergence, whatever the score."),
    several(
        "--keep COLUMNS|all",
        "Columns of DATA to add as they are, between commas; may be repeated.",
    ),
    switch("--only-flagged", "Leave out rows that are not flagged."),
    switch("--sort", "Write the most anomalous rows first; they wait in a temporary file."),
    several(
        "--fail-if CONDITION",
        "End with exit code 7 if more rows are flagged, as in flagged>5% or flagged>10, or if "
        "drift is found: drift. May be repeated.",
        parsed(Condition.parse),
    ),
    option("--events FILE", "Table of the events of a time series to write."),
    *SERIES_DATA,
    switch(
        "--strict", "Refuse unknown columns, text or infinity among numbers, unreadable images."
    ),
    FOLLOW_LINKS,
    switch("--p-values", "Add p_value: the share of the calibration rows that are as anomalous."),
    option(
        "--fdr SHARE",
        "Choose the threshold for this DATA so that at most this share of what is flagged is "
        "expected to be normal (Benjamini-Hochberg). DATA is scored twice.",
        SHARE,
    ),
    option("--threshold NATS", "Flag scores above NATS instead.", float),
    choice(
        "--engine",
        "What runs the networks; auto is numpy for dense ones, else tensorflow.",
        names.ENGINES,
        default="auto",
    ),
    option(
        "--scheduler ADDRESS|local:N",
        "Score files on the workers of a Dask cluster, or on N processes here; OUT is a folder.",
    ),
    switch("--stream", "Score the lines of standard input as they come; OUT is -."),
]

SERVE = [
    option("--host", "Address to listen at.", default="127.0.0.1"),
    option("--port", "Port to listen at.", click.IntRange(1, 65535), default=8000),
    option("--workers", "Processes.", COUNT, default=1),
    option("max_bytes --max-size SIZE", "Of a request's body.  [default: 16MiB]", parsed(bytes_of)),
    option("--max-rows", "Rows of a request.  [default: 200,000]", COUNT),
    option("--seconds", "Time for a request.  [default: 30]", POSITIVE),
]

LABELLED = [
    option(
        "--cost-miss COST",
        "What an anomaly that is not flagged costs: also show the cheapest threshold on DATA.  "
        "[default with --cost-false-alarm: 1]",
        POSITIVE,
    ),
    option(
        "--cost-false-alarm COST",
        "What a normal row that is flagged costs.  [default with --cost-miss: 1]",
        POSITIVE,
    ),
    option(
        "--min-recall SHARE",
        "Also show the highest threshold that finds this share of the anomalies.",
        SHARE_OR_1,
    ),
    option(
        "--min-precision SHARE",
        "Also show the threshold that finds most while this share of what it flags is right.",
        SHARE_OR_1,
    ),
    option(
        "--f-beta BETA",
        "Also show the threshold of the greatest F-beta; 1 weighs recall and precision alike, "
        "2 recall more.",
        POSITIVE,
    ),
]

EVALUATE = [
    option("--label-column NAME", "Column that tells normal rows from anomalies."),
    *(ID_COLUMN, SQL),
    option(
        "--compare-beta BETA",
        "Compare the latent codes of images with those of a comparison model, fitted like MODEL "
        "but with this weight of the KL divergence, on --training.",
        NOT_NEGATIVE,
    ),
    option("--training DATA", "Images that MODEL, and the comparison model, learn from.", INPUT),
    STRICT_IMAGES,
    FOLLOW_LINKS,
    option("--labels FILE", "Anomalous windows of a time series, CSV or JSON.", INPUT),
    *SERIES_DATA,
    several(
        "--normal-label VALUE",
        "Label of normal rows; may be repeated.  [default: 0, false, no, normal, good, ok, "
        "negative or benign, in any case]  Or subfolder or label of normal images.  [default: "
        "good, normal or ok]",
    ),
    option("--title", "Title of the report.", default="Anomaly report"),
    option("--top", "Most anomalous rows or images to show.", click.IntRange(1, 100), default=10),
    KEEP_LEARNED,
    *LABELLED,
]

RECALIBRATE = [
    option(
        "--false-alarm-rate", "Share of normal rows that may be flagged.  [default: MODEL's]", SHARE
    ),
    option("--threshold NATS", "Threshold to set, instead of DATA.", float),
    option("--label-column NAME", "Column of labels: only normal rows calibrate."),
    several("--normal-label VALUE", "See evaluate; may be repeated."),
    *SERIES_DATA,
    *(FALSE_ALARMS_PER, SQL, KEEP_LEARNED, STRICT_IMAGES, FOLLOW_LINKS),
]


def configure(context: click.Context, parameter: click.Parameter, path: str | None) -> None:
    """Take the options in a file as defaults."""
    if path is not None:
        from vae_anomaly.pipeline.config import read_config

        name, given = context.command.name or "", context.command.params
        known = {one.opts[-1][2:]: one.name or "" for one in given if one.opts[-1][:2] == "--"}
        known.pop("config")
        several_of = [one.name or "" for one in given if getattr(one, "multiple", False)]
        context.default_map = read_config(path, name, known, PARAMETERS, several_of)


EVERYWHERE: list[click.Parameter] = [
    option(
        "--config FILE",
        "TOML file of options, such as explain = 3; those of the command line win.",
        INPUT,
        is_eager=True,
        expose_value=False,
        callback=configure,
    ),
    switch("--json", "Print the result as a JSON object; where OUT is -, on standard error."),
    switch("-q --quiet", "Say nothing but errors."),
    switch("--debug", "Show the traceback of an error."),
]
"""Options of every command."""

PARAMETERS: dict[str, list[click.Parameter]] = {
    "fit": [DATA, output("MODEL", "Model file to write."), *FIT],
    "score": [
        *(MODEL, DATA),
        output("OUT", "Table to write: .csv, .jsonl or .parquet, or - for standard output."),
        *SCORE,
    ],
    "evaluate": [MODELS, DATA, output("DIR", "Directory to write the report to."), *EVALUATE],
    "recalibrate": [
        *(MODEL, click.Argument(["data"], type=INPUT, required=False)),
        output("NEW", "Model file to write."),
        *RECALIBRATE,
    ],
    "inspect": [MODEL],
    "serve": [MODEL, *SERVE],
    "export": [
        *(MODEL, output("ONNX", "File to write.")),
        switch("--check", "Run the graph beside MODEL on rows that travel with it."),
    ],
    "check": [
        click.Argument(["graph"], type=INPUT),
        choice("--engine", "What runs the graph.", names.CHECK_ENGINES, default="onnxruntime"),
    ],
    "demo": [
        output("DIR", "Directory to write to; created if need be.", default="reports/demo"),
        option("--max-steps", "Gradient steps.", COUNT, default=3000),
    ],
}
"""Name of a command -> its arguments and options, besides `EVERYWHERE`."""
