"""Names that parameters and command-line options accept. This module imports nothing.

Each tuple lists the keys of a registry elsewhere; tests compare the two. The command line
reads its choices from here, because the registries import NumPy or TensorFlow.
"""

__all__ = [
    "ANOMALY_LABELS",
    "ARCHITECTURES",
    "CHECK_ENGINES",
    "COLUMN_TYPES",
    "DUPLICATES",
    "ENGINES",
    "GRADIENTS",
    "IGNORED_SETTINGS",
    "JSON_SUFFIXES",
    "LABEL_COLUMNS",
    "LABEL_ENDINGS",
    "LIKELIHOODS",
    "NORMAL_FOLDERS",
    "NORMAL_LABELS",
    "ONNX",
    "OPTIMIZERS",
    "PARQUET_SUFFIXES",
    "PRIORS",
    "REPORT_FILES",
    "RESIZES",
    "SCORES",
    "SERIES",
    "SERIES_ARCHITECTURES",
    "SPANS",
    "ROW_SUFFIXES",
    "TEXT_SUFFIXES",
    "column_type_of",
    "false_alarms_of",
    "features_of",
    "height_and_width_of",
    "is_column_type",
    "is_features",
    "may_be_labels",
    "pixel_range_of",
]

SCORES = (
    "exemplar",
    "elbo",
    "importance_weighted",
    "reconstruction",
    "kl",
    "typicality",
    "latent_distance",
)
"""Anomaly scores, keys of `vae_anomaly.stats.scores.SCORES`."""

LIKELIHOODS = (
    "gaussian",
    "heteroscedastic",
    "student_t",
    "discretized_logistic",
    "bernoulli",
)
"""Distributions of a feature, keys of `vae_anomaly.stats.likelihoods.LIKELIHOODS`."""

COLUMN_TYPES = ("number", "category", "date", "date:FORMAT", "ignore")
"""Types of a column that a user may choose."""


def is_column_type(text: str) -> bool:
    """Return whether a text is a type that a user may choose for a column."""
    return text in COLUMN_TYPES or text.startswith("date:")


def column_type_of(text: str) -> tuple[str, str]:
    """Return the name and the type of "zip=category"; a name may hold "=" itself."""
    ends = [i for i, sign in enumerate(text) if sign == "=" and is_column_type(text[i + 1 :])]
    if not ends:
        types = ", ".join(COLUMN_TYPES)
        raise ValueError(f"expected NAME=TYPE with a TYPE of {types}, got {text!r}.")
    return text[: ends[-1]], text[ends[-1] + 1 :]


ARCHITECTURES = ("dense", "conv", "conv_bn")
"""Network structures of `vae_anomaly.networks.spec`; "auto" chooses one of them."""

SERIES = "series"
"""Modality of time series in model files."""

SERIES_ARCHITECTURES = ("dense", "conv", "lstm", "gru")
"""Networks of windows of time series, see `vae_anomaly.series.networks`."""

DUPLICATES = ("mean", "first", "last")
"""What counts of differing values at the same time."""

SPANS = {"hour": 3_600, "day": 86_400, "week": 604_800, "month": 2_629_800}
"""Spans of time in seconds; a month is a twelfth of 365.25 days."""


def false_alarms_of(text: str) -> tuple[float, str]:
    """Return the number and the span of "week=1".

    Raises
    ------
    ValueError
        If it is neither.
    """
    per, _, number = text.partition("=")
    try:
        episodes = float(number)
    except ValueError:
        episodes = 0.0
    if per not in SPANS or not 0 < episodes < float("inf"):
        raise ValueError(
            f"expected one of {', '.join(SPANS)} and a number, such as week=1, got {text!r}."
        )
    return episodes, per


def height_and_width_of(text: str) -> tuple[int, int]:
    """Return the height and width of "48x64", or of the square "64"."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isascii() and side.isdecimal() for side in sides):
        raise ValueError(
            f"expected a height and a width, such as 48x64, or one number, got {text!r}."
        )
    return int(sides[0]), int(sides[-1])


ONNX = "onnx:"
"""Start of the address of an ONNX file, "onnx:path#node"."""

GRADIENTS = "gradients"
"""Features of patches that need no network."""


def is_features(value: object) -> bool:
    """Return whether a value may be the parameter `features`: text, or a Keras model."""
    if isinstance(value, str):
        address = value.partition("#")[0]
        return value == GRADIENTS or (value.startswith(ONNX) and address != ONNX)
    return hasattr(value, "get_config") and hasattr(value, "input_shape")


def features_of(text: str) -> str:
    """Return the address of an ONNX file, or "gradients".

    Raises
    ------
    ValueError
        If it is none.
    """
    if not is_features(text):
        raise ValueError(
            f"expected onnx:PATH#NODE, the node of an ONNX file, or {GRADIENTS}, got {text!r}."
        )
    return text


def pixel_range_of(text: str) -> tuple[float, float]:
    """Return the numbers of black and white of "0:1023".

    Raises
    ------
    ValueError
        If they are none, or black is not below white.
    """
    try:
        low, high = map(float, text.split(":"))
    except ValueError:
        low = high = 0.0
    if not -1e300 <= low < high <= 1e300:
        raise ValueError(f"expected the numbers of black and white, such as 0:1023, got {text!r}.")
    return low, high


OPTIMIZERS = ("adam", "rmsprop")
"""Update rules, keys of `vae_anomaly.training.optimizers.OPTIMIZERS`."""

PRIORS = ("aggregated", "normal")
"""Distributions that latent codes are scored against."""

ENGINES = ("auto", "numpy", "onnx", "tensorflow")
"""Libraries that run the networks."""

CHECK_ENGINES = ("onnxruntime", "reference", "openvino", "tract", "onnx2torch")
"""Libraries in which an exported graph can be checked; "reference" is that of the onnx package."""

RESIZES = ("stretch", "letterbox")
"""Ways to bring a grid of pixels to the size of the model."""

NORMAL_LABELS = ("0", "false", "no", "normal", "good", "ok", "negative", "benign")
"""Labels of normal rows, in any case; beside them every other label marks an anomaly."""

ANOMALY_LABELS = (
    *("1", "true", "yes", "anomaly", "anomalous", "abnormal", "outlier", "bad", "defect"),
    *("defective", "fault", "faulty", "failure", "positive", "malignant", "not ok", "nok", "ng"),
)
"""Labels of anomalies, in any case, where no row has a normal label."""

LABEL_COLUMNS = (
    *("label", "labels", "class", "target", "outcome", "anomaly", "is_anomaly", "outlier"),
    *("fault", "failure", "defect", "diagnosis", "ground_truth"),
)
"""Names, in any case, of columns that are likely to hold labels."""

LABEL_ENDINGS = ("label", "anomaly", "outlier", "fault", "failure", "defect", "diagnosis")
"""Last words, in any case, of the names of such columns."""


def may_be_labels(name: str) -> bool:
    """Return whether a column is likely to hold labels, by its name: "Machine_failure"."""
    plain = name.casefold()
    words = plain.replace("_", " ").replace("-", " ").split()
    return plain in LABEL_COLUMNS or words[-1:] in [[one] for one in LABEL_ENDINGS]


NORMAL_FOLDERS = ("good", "normal", "ok")
"""Subfolders or labels of normal records, in any case; all others hold anomalies."""

PARQUET_SUFFIXES = (".parquet", ".pq")

JSON_SUFFIXES = (".jsonl", ".ndjson")
"""Ends of names of JSON Lines."""

TEXT_SUFFIXES = (".csv", ".csv.gz", ".tsv", *JSON_SUFFIXES)

ROW_SUFFIXES = PARQUET_SUFFIXES + TEXT_SUFFIXES
"""Ends of names of files of rows, by which those in a folder are known."""

REPORT_FILES = (
    *("report.html", "scores.png", "roc.png", "precision_recall.png", "latent.png"),
    *("training.png", "latent_use.png", "most_anomalous.png", "normal.png", "latent_grid.png"),
    *("samples.png", "interpolation.png", "latent_compared.png", "latent_grid_compared.png"),
    *("calibration.png", "p_values.png", "elbo.png"),
)
"""Files that a report may consist of, see `vae_anomaly.report.render`."""

IGNORED_SETTINGS = (
    *("JOBLIB_MULTIPROCESSING", "JOBLIB_START_METHOD", "SKLEARN_PAIRWISE_DIST_CHUNK_SIZE"),
    "SKLEARN_WORKING_MEMORY",
)
"""Environment variables that change nothing here, and with odd values stop an import."""
