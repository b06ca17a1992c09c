"""Commands: their arguments, options and help. Each one's module is loaded when it runs."""

from __future__ import annotations

from collections.abc import Callable

import click

from vae_anomaly._version import __version__
from vae_anomaly.cli.options import EVERYWHERE, PARAMETERS, Value

__all__ = ["cli"]


cli = click.Group(
    help="""Find anomalies in tables, images and time series with variational autoencoders.

    Fit a model on rows or images that are (almost) all normal, then score new
    ones. Tables and time series are CSV files with a line of column names,
    JSON Lines or Parquet; images are files in a folder. To see it work:

    \b
      vae-anomaly demo
    """,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 2 wrong usage, 3 input data refused, 4 model or checkpoint "
    "refused, 5 files or memory, 6 done but some images or rows were skipped, 7 done but a "
    "condition of --fail-if is met, 130 interrupted, 141 closed pipe, 143 terminated, 1 a bug. "
    'Completion, for bash (or zsh, fish): eval "$(_VAE_ANOMALY_COMPLETE=bash_source vae-anomaly)"',
)
click.version_option(__version__, message="%(prog)s %(version)s")(cli)


Declared = Callable[[], None]


def command(short_help: str, *examples: str) -> Callable[[Declared], click.Command]:
    """Return a decorator that adds a command, whose function bears its name and its help.

    The function itself is never called: ``run`` in the module of that name is.
    """
    words = ["\b", f"Example{'s' * (len(examples) > 1)}:", *(f"  {line}" for line in examples)]

    def add(declared: Declared) -> click.Command:
        name, explanation = declared.__name__, declared.__doc__

        def run(**given: Value) -> Value:
            from vae_anomaly.cli.console import run_command

            return run_command(name, **given)

        parameters = [*PARAMETERS[name], *EVERYWHERE]
        given = {"params": parameters, "short_help": short_help, "epilog": "\n".join(words)}
        return cli.command(name, help=explanation, **given)(run)

    return add


@command(
    "Learn what normal rows or images look like.",
    "vae-anomaly fit normal.csv -o pump.vae --ignore site",
    "vae-anomaly fit photos/good -o part.vae --image-size 48x64",
)
def fit() -> None:
    """Learn from DATA what is normal, and write a MODEL.

    DATA is a table in CSV, JSON Lines or Parquet, a folder, pattern or URL of
    such files, or - for standard input; or a folder or pattern of images, or an
    array of them (npz, npy or idx); or with --time-column a time series. A few
    anomalies in it do little harm. Columns of a table are numbers, categories or
    dates; identifiers and free text are left out. Of a folder with a subfolder
    called good, normal or ok, only that is used; of one with a file labels.csv,
    the images that it calls normal.
    """


@command(
    "Score the rows of a table, or images.",
    "vae-anomaly score pump.vae today.csv -o scores.csv --explain 3",
    "vae-anomaly score part.vae photos/today -o scores.csv",
    "zcat today.csv.gz | vae-anomaly score pump.vae - -o - --only-flagged --sort | head",
    "tail -n +1 -f log.csv | vae-anomaly score pump.vae - -o - --stream",
    "vae-anomaly score pump.vae 's3://pumps/*.parquet' -o scores --scheduler local:4",
)
def score() -> None:
    """Score the rows or images of DATA with a fitted MODEL.

    DATA is a table in CSV, JSON Lines or Parquet with the columns of training, in
    any order, or a folder, pattern or URL of such files, or - for standard input.
    OUT has for each row its id or number (as id_NAME if a later column is
    called NAME), anomaly_score in nats (higher is more anomalous), is_anomaly
    (1 above the threshold of the model, or with --fdr of this DATA), and status,
    which is ok or says why there is no score, such as an infinite number.
    In CSV a ' stands before text that a spreadsheet would run as a formula.
    With --explain also reason_1, the column that adds most, contribution_1,
    value_1, expected_1 given the rest of the row, low_1 and high_1, between
    which nine tenths of the training rows lie, direction_1 (within, below,
    above, unusual level, unusual weekday and the like of dates, far from
    training, missing or unreadable), and so on.
    With --repair also repair, such as "normal if flow were 3.1 (it is 80)".
    A warning says if the rows differ as a whole.

    Or DATA is a folder or pattern of images, or an array. OUT then has a row for
    each: file (in an array, its number), anomaly_score, is_anomaly, and status.
    """


@command(
    "Report how well a model does on a table, images or a time series.",
    "vae-anomaly evaluate pump.vae labelled.csv --label-column fault -o reports/pump",
    "vae-anomaly evaluate part.vae photos/test -o reports/part",
)
def evaluate() -> None:
    """Report how a MODEL does on DATA: an HTML page with figures, in DIR.

    With --label-column the report measures how well the model tells normal
    rows from anomalies; any label that is not a normal one marks an anomaly.
    Of a folder of images the subfolders are the labels: good, normal or ok,
    and the rest anomalies. A data set in the MVTec layout brings its masks.
    Of an array the labels are y, label or labels in the same npz archive (1
    is an anomaly), or the file of labels beside an idx file. Of a time series
    they are a column too, or with --labels windows of time: CSV with start and
    end, or JSON, as that of NAB.

    With labels, other thresholds can be asked for, by what mistakes cost or by
    recall, precision or both, and are shown beside that of MODEL.

    Two models are compared on one page: evaluate A.vae B.vae DATA -o DIR.
    """


@command(
    "Take a model's threshold from recent normal rows or images.",
    "vae-anomaly recalibrate pump.vae normal-in-may.csv -o pump-may.vae",
    "vae-anomaly recalibrate pump.vae --threshold 12.5 -o pump-strict.vae",
)
def recalibrate() -> None:
    """Write a NEW model with the threshold and p-values that DATA asks for.

    DATA holds recent normal rows, or images, that MODEL was not trained on;
    those that it learned are left out, and with --label-column the anomalies.
    Nothing is trained: scores stay what they are, and MODEL as it is.
    Or --threshold sets the threshold.
    """


@command("Describe a model file.", "vae-anomaly inspect pump.vae")
def inspect() -> None:
    """Describe a MODEL file: its settings, threshold, and columns or images.

    Nothing in the file is executed.
    """


@command(
    "Score rows that other programs send over HTTP.",
    "vae-anomaly serve pump.vae",
    "curl -H 'content-type: application/json' -d '[{\"flow\": 1.5}]' localhost:8000/score",
)
def serve() -> None:
    """Serve a MODEL over HTTP: rows of JSON or Arrow in, scores out.

    POST /score takes a list of rows, or a stream of Arrow, and answers in the
    same form; GET /model describes the model, GET /health answers. A MODEL that
    is replaced is read again. There is no authentication: by default only
    programs on this machine reach it. Needs pip install starlette uvicorn.
    """


@command("Write a model as an ONNX graph.", "vae-anomaly export pump.vae -o pump.onnx --check")
def export() -> None:
    """Write a MODEL as an ONNX graph, from rows in their own units to anomaly_score.

    Its input, rows, are float64 columns in the order of training, categories as
    positions among the metadata's levels; of images the pixels, flattened. Its
    second output, is_anomaly, is true above the threshold and for NaN.
    """


@command("Check an ONNX graph in an engine.", "vae-anomaly check pump.onnx --engine tract")
def check() -> None:
    """Check that an engine computes from a GRAPH what the model computed at its export."""


@command("Fit, score and report on a small sample.", "vae-anomaly demo -o reports/demo")
def demo() -> None:
    """Fit, score and report on a small sample that comes with the program.

    The sample is a table of breast tumours: malignant ones are to be found.
    """
