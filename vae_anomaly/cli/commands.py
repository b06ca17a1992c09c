"""The commands: their options, their help, and the call that does the work."""

from __future__ import annotations

from typing import Any

import click

from vae_anomaly._version import __version__
from vae_anomaly.cli.checks import check_kind
from vae_anomaly.cli.console import Console
from vae_anomaly.cli.learning_options import learning_options
from vae_anomaly.cli.options import (
    CRITERIA,
    ENGINE,
    FALSE_ALARM_RATE,
    FDR,
    ID_COLUMN,
    INPUT,
    P_VALUES,
    SCORE_NAMES,
    STRICT_IMAGES,
    common,
    examples,
    labelled_thresholds,
)

__all__ = ["cli"]


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 2 wrong usage, 3 input data refused, 4 model or checkpoint "
    "refused, 5 files or memory, 6 done but some images were skipped, 130 interrupted, 141 "
    "closed pipe, 143 terminated, 1 a bug.",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    r"""Find anomalies in tables and images with a variational autoencoder.

    Fit it on rows or images that are (almost) all normal, then score new
    ones. Tables are CSV files with a line of column names, or Parquet;
    images are files in a folder. To see it work:

    \b
      vae-anomaly demo
    """


@cli.command(
    short_help="Learn what normal rows or images look like.",
    epilog=examples(
        "vae-anomaly fit normal.csv -o pump.vae --ignore site",
        "vae-anomaly fit photos/good -o part.vae --image-size 48x64",
    ),
)
@click.argument("data", type=INPUT)
@click.option("-o", "--output", required=True, metavar="MODEL", help="Model file to write.")
@learning_options
@common
def fit(
    console: Console,
    data: str,
    output: str,
    ignore: tuple[str, ...],
    id_column: str | None,
    image_size: tuple[int, int] | None,
    resize: str | None,
    strict: bool,
    false_alarm_rate: float | None,
    score: str,
    members: int | None,
    memory_limit: int | None,
    **parameters: Any,
) -> int | None:
    """Learn from DATA what is normal, and write a MODEL.

    DATA is a CSV or Parquet table of numbers, or - for CSV on standard input,
    or a folder of images. A few strange ones in it do little harm. Of a
    folder with a subfolder called good, normal or ok, only that is used.
    """
    if parameters["contamination"] is not None and false_alarm_rate is not None:
        raise click.UsageError(
            "--contamination and --false-alarm-rate both choose the threshold. Give one of them."
        )
    parameters |= {"score_type": score, "n_members": members}
    if false_alarm_rate is not None:
        parameters["false_alarm_rate"] = false_alarm_rate
    if check_kind(
        data,
        of_tables={
            "--ignore": ignore,
            "--id-column": id_column,
            "--memory-limit": memory_limit,
        },
        of_images={
            "--image-size": image_size,
            "--resize": resize,
            "--smoothing": parameters["smoothing"],
            "--shift": parameters["shift"],
            "--strict": strict,
        },
    ):
        from vae_anomaly.cli.images import fit_images

        parameters |= {"image_size": image_size, "resize": resize or "stretch", "strict": strict}
        return fit_images(console, data, output, **parameters)
    from vae_anomaly.cli.fitting import fit_table

    without = ignore if id_column is None else (*ignore, id_column)
    parameters |= {"without": without, "memory_limit": memory_limit}
    return fit_table(console, data, output, **parameters)


@cli.command(
    short_help="Score the rows of a table, or images.",
    epilog=examples(
        "vae-anomaly score pump.vae today.csv -o scores.csv --explain 3",
        "vae-anomaly score part.vae photos/today -o scores.csv",
        "zcat today.csv.gz | vae-anomaly score pump.vae - -o - | head",
    ),
)
@click.argument("model", type=INPUT)
@click.argument("data", type=INPUT)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="OUT",
    help="Table to write: .csv or .parquet, or - for CSV on standard output.",
)
@ID_COLUMN
@click.option(
    "--explain",
    type=click.IntRange(1),
    metavar="K",
    help="Add the K columns that contribute most to each row's score.",
)
@click.option(
    "--score",
    type=click.Choice(SCORE_NAMES[1:]),
    help="Another score than the model was fitted with; is_anomaly is then left out.",
)
@click.option(
    "--also",
    type=click.Choice(SCORE_NAMES[1:]),
    multiple=True,
    help="A further score, in a column of its own, score_NAME. May be given several times.",
)
@click.option(
    "--strict",
    is_flag=True,
    help="Refuse columns that the model does not know, and images that cannot be read.",
)
@P_VALUES
@FDR
@ENGINE
@common
def score(
    console: Console,
    data: str,
    id_column: str | None,
    explain: int | None,
    engine: str,
    **options: Any,
) -> int | None:
    """Score the rows or images of DATA with a fitted MODEL.

    DATA is a CSV or Parquet table with the columns of training, in any order,
    or - for CSV on standard input. OUT has a row for each row of DATA: its id
    or number, anomaly_score in nats (higher is stranger) and is_anomaly (1
    above the model's threshold, or with --fdr above one for this DATA). In
    CSV a ' stands before text that a spreadsheet would run as a formula. With
    --explain also latent_code, the part of the score that belongs to no
    column, and reason_1, contribution_1 and so on: the columns that add most,
    and how much. A warning says if the rows as a whole look unlike normal ones.

    Or DATA is a folder of images. OUT then has a row for each: file,
    anomaly_score, is_anomaly, and status, which is ok or says why the image
    could not be read.
    """
    images = check_kind(
        data, of_tables={"--id-column": id_column, "--explain": explain}, of_images={}
    )
    if images:
        from vae_anomaly.cli.images import score_images

        return score_images(console, data=data, engine=engine, **options)
    from vae_anomaly.cli.scoring import score_table

    score_table(console, data=data, id_column=id_column, explain=explain, engine=engine, **options)
    return None


@cli.command(
    short_help="Report how well a model does on a table or on images.",
    epilog=examples(
        "vae-anomaly evaluate pump.vae labelled.csv --label-column fault -o reports/pump",
        "vae-anomaly evaluate part.vae photos/test -o reports/part",
    ),
)
@click.argument("model", type=INPUT)
@click.argument("data", type=INPUT)
@click.option(
    "-o", "--output", required=True, metavar="DIR", help="Directory to write the report to."
)
@click.option(
    "--label-column", metavar="NAME", help="Column that tells normal rows from anomalies."
)
@click.option(
    "--normal-label",
    multiple=True,
    metavar="VALUE",
    help="Label of normal rows; may be repeated.  [default: 0, false, no, normal, good, ok, "
    "negative or benign, in any case]  Or subfolder or label of normal images.  [default: good, "
    "normal or ok]",
)
@ID_COLUMN
@click.option("--title", default="Anomaly report", show_default=True, help="Title of the report.")
@click.option(
    "--top",
    type=click.IntRange(1, 100),
    default=10,
    show_default=True,
    help="Strangest rows or images to show.",
)
@click.option(
    "--compare-beta",
    type=click.FloatRange(0),
    metavar="BETA",
    help="Compare the latent codes of images with those of a twin of MODEL, fitted with this "
    "weight of the KL divergence on --training.",
)
@click.option(
    "--training",
    type=INPUT,
    metavar="DATA",
    help="Images that MODEL was fitted on; the twin learns from them.",
)
@click.option("--strict", is_flag=True, help=STRICT_IMAGES)
@labelled_thresholds
@common
def evaluate(
    console: Console,
    data: str,
    label_column: str | None,
    id_column: str | None,
    compare_beta: float | None,
    training: str | None,
    strict: bool,
    **options: Any,
) -> int | None:
    """Report how a MODEL does on DATA: an HTML page with figures, in DIR.

    With --label-column the report measures how well the model tells normal
    rows from anomalies; any label that is not a normal one marks an anomaly.
    Of a folder of images the subfolders are the labels: good, normal or ok,
    and the rest anomalies. A data set in the MVTec layout brings its masks.
    Of an array the labels are y, label or labels in the same npz archive (1
    is an anomaly), or the file of labels beside an idx file.

    With labels, other thresholds than the model's can be asked for, by what
    mistakes cost or by recall, precision or both. They are shown beside it;
    MODEL stays as it is.
    """
    if check_kind(
        data,
        of_tables={"--label-column": label_column, "--id-column": id_column},
        of_images={
            "--compare-beta": compare_beta is not None,
            "--training": training,
            "--strict": strict,
        },
    ):
        if (compare_beta is None) != (training is None):
            raise click.UsageError(
                "--compare-beta and --training go together: a weight of the KL divergence, and the "
                "images that MODEL was fitted on. Give both, or none of them."
            )
        from vae_anomaly.cli.images import evaluate_images

        options |= {"compare_beta": compare_beta, "training": training, "strict": strict}
        return evaluate_images(console, data=data, **options)
    if options["normal_label"] and label_column is None:
        raise click.UsageError("--normal-label needs --label-column.")
    if label_column is None and (asked := next(filter(options.get, CRITERIA), None)):
        raise click.UsageError(f"--{asked.replace('_', '-')} needs --label-column.")
    from vae_anomaly.cli.reporting import evaluate_table

    evaluate_table(console, data=data, label_column=label_column, id_column=id_column, **options)
    return None


@cli.command(
    short_help="Take a model's threshold from normal rows or images of today.",
    epilog=examples("vae-anomaly recalibrate pump.vae normal-in-may.csv -o pump-may.vae"),
)
@click.argument("model", type=INPUT)
@click.argument("data", type=INPUT)
@click.option("-o", "--output", required=True, metavar="NEW", help="Model file to write.")
@FALSE_ALARM_RATE
@click.option("--strict", is_flag=True, help=STRICT_IMAGES)
@common
def recalibrate(console: Console, data: str, strict: bool, **options: Any) -> int | None:
    """Write a NEW model with the threshold and p-values that DATA asks for.

    DATA holds recent normal rows, or images, that MODEL was not trained on.
    Nothing is trained: scores stay what they are, and MODEL as it is.
    """
    from vae_anomaly.cli.recalibrating import recalibrate_on_images, recalibrate_on_table

    if check_kind(data, of_tables={}, of_images={"--strict": strict}):
        return recalibrate_on_images(console, data=data, strict=strict, **options)
    recalibrate_on_table(console, data=data, **options)
    return None


@cli.command(short_help="Describe a model file.", epilog=examples("vae-anomaly inspect pump.vae"))
@click.argument("model", type=INPUT)
@common
def inspect(console: Console, model: str) -> None:
    """Describe a MODEL file: its settings, threshold, and columns or images.

    Nothing in the file is executed.
    """
    from vae_anomaly.cli.describing import describe_model

    click.echo(describe_model(model))


@cli.command(
    short_help="Write a model as an ONNX graph.",
    epilog=examples("vae-anomaly export pump.vae -o pump.onnx"),
)
@click.argument("model", type=INPUT)
@click.option("-o", "--output", required=True, metavar="ONNX", help="File to write.")
@common
def export(console: Console, model: str, output: str) -> None:
    """Write a MODEL as an ONNX graph, from rows in their own units to anomaly_score.

    Its input, rows, are float64 columns in the order of training; of images
    the pixels, flattened. What is beyond the metadata's threshold is an anomaly.
    """
    from vae_anomaly.cli.exporting import export_model

    export_model(console, model, output)


@cli.command(
    short_help="Fit, score and report on a small sample.",
    epilog=examples("vae-anomaly demo -o reports/demo"),
)
@click.option(
    "-o",
    "--output",
    default="reports/demo",
    show_default=True,
    metavar="DIR",
    help="Directory to write to; created if need be.",
)
@click.option(
    "--max-steps", type=click.IntRange(1), default=3000, show_default=True, help="Gradient steps."
)
@common
def demo(console: Console, output: str, max_steps: int) -> None:
    """Fit, score and report on a small sample that comes with the program.

    The sample is a table of breast tumours: the benign ones are normal, the
    malignant ones are to be found.
    """
    from vae_anomaly.cli.demonstrating import run_demo

    run_demo(console, output, max_steps=max_steps)
