"""Contracts for modalities: a modality opens sources and fits encoders.

Records are an array with one record along the first axis: what a source yields, what
`Encoder.matrix` and `Schema.matrix` make of the array-like data of a user, and what
`Encoder.encode` takes. Methods with a default need no definition in a subclass.

::

    path -> Modality.open -> Source -> Batch(records, keys, faults)
         -> Encoder.encode -> Encoded(inputs, targets, observed, penalty) -> network -> scores
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import Architecture, Json, JsonObject, Records, Symbol
from vae_anomaly.data.cell_texts import NO_TEXTS, CellTexts
from vae_anomaly.data.graph import EncodedSymbols
from vae_anomaly.data.state import EncoderState, Outline
from vae_anomaly.exceptions import DataError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Batch",
    "DataParameters",
    "Defaults",
    "Encoded",
    "Encoder",
    "Masks",
    "Modality",
    "Records",
    "Schema",
    "Source",
]

Array = NDArray[np.float64]


class Encoded(NamedTuple):
    """Records as the networks take them."""

    inputs: Array  # (n, n_inputs), what the encoder network sees
    targets: Array  # (n, n_targets), what the likelihoods explain
    penalty: Array  # (n, n_features), nats that no likelihood sees
    observed: NDArray[np.bool_] | None = None  # (n, n_features); None where all are

    def only(self, chosen: NDArray[np.bool_]) -> Encoded:
        """Return some of the records, without a copy if all are chosen."""
        if chosen.all():
            return self
        inputs, targets, penalty, observed = self
        seen = None if observed is None else observed[chosen]
        return Encoded(inputs[chosen], targets[chosen], penalty[chosen], seen)


class Batch(NamedTuple):
    """Consecutive records of a source."""

    start: int  # position of the first key in the source
    keys: pa.Array  # names of the rows of the result, of length m
    records: Records  # the n <= m readable records
    positions: NDArray[np.int64] | None = None  # of the records among the keys; None where n == m
    faults: Mapping[int, str] = {}  # position among the keys -> why that record is not readable
    kept: pa.RecordBatch | None = None  # columns of the result, see `Source.kept_types`
    texts: CellTexts = NO_TEXTS  # of unseen levels and stray cells


class Masks(NamedTuple):
    """Where the records of a source are anomalous."""

    # For each readable record; None where nothing is known.
    values: Sequence[NDArray[np.bool_] | None] | None
    notes: Sequence[str]  # lines to report


class Source(AbstractContextManager["Source"], Protocol):
    """Records on disk or in memory, readable as often as needed; a context manager.

    Lines to report are whole lines, such as "note: plate: 2 other files passed over".

    Attributes
    ----------
    name : str
        Name of the source in messages.
    unit : str
        Name of one record in messages.
    n_records : int or None
        Number of records, if it is known without reading them.
    key_name : str
        Name of the column that holds the keys.
    may_skip : bool
        Whether records that are not readable are skipped: the result then has their status.
    is_json : bool
        Whether a result on standard output is JSON Lines, as the source is.
    notes : sequence of str
        Lines to report before reading.
    skipped : sequence of (str, str)
        Records that were not readable in the last reading, and the reasons.
    key_type : DataType or None
        Arrow type of the keys; None for int64.
    kept_types : mapping of str to DataType
        Columns of the source that the result has as they are.
    """

    name: str
    unit: str = "record"
    n_records: int | None = None
    key_name: str = "row"
    may_skip: bool = False
    is_json: bool = False
    notes: Sequence[str] = ()
    skipped: Sequence[tuple[str, str]] = ()
    key_type: pa.DataType | None = None
    kept_types: Mapping[str, pa.DataType] = {}

    @property
    def record_shape(self) -> tuple[int, ...]:
        """Shape of one record: (n_features,) or (height, width, channels)."""
        raise NotImplementedError

    @property
    def max_numbers(self) -> int:
        """Upper bound of the numbers that an encoder makes of records such as those so far."""
        return math.prod(self.record_shape)

    @property
    def description(self) -> str:
        """Description of one record, as in "12 rows of 3 columns": "3 columns"."""
        raise NotImplementedError

    @property
    def labels(self) -> NDArray[np.bool_] | None:
        """True for anomalies, one for each readable record of a complete reading, or None."""
        return None

    @property
    def categories(self) -> Sequence[str] | None:
        """Finer classes than labels, one for each readable record of a complete reading."""
        return None

    def masks(self) -> Masks:
        """Read where anomalies are anomalous, after a complete reading with labels."""
        return Masks(None, ())

    def batches(self) -> Iterator[Batch]:
        """Yield the records in order; a first reading may begin again, with `start` 0."""
        raise NotImplementedError

    def check(self) -> int:
        """Read everything once and count the keys, where an output cannot be taken back."""
        return sum(len(batch.keys) for batch in self.batches())

    def require(self, count: int, minimum: int, need: str) -> None:
        """Raise a DataError if a reading gave fewer records than needed, which `need` says."""
        if count < minimum:
            raise DataError(f"{self.name} holds {count} records. {need}")

    def reading_notes(self) -> Sequence[str]:
        """Return lines to report after a reading."""
        return ()

    def training_notes(self, records: Records) -> Sequence[str]:
        """Return lines to report about records that are to be learned, after a reading."""
        return ()

    def training_data(self, records: Records) -> Records:
        """Return records as `VAEDetector.fit` takes them: with the names of the features."""
        return records

    def parameters(self, given: DataParameters) -> Mapping[str, Json]:
        """Return parameters of a detector that the records decide, after a reading."""
        return {}

    def fit_notes(self, encoder: Encoder) -> Sequence[str]:
        """Return lines to report about a fit to the records of this source."""
        return ()

    def __exit__(self, *error: object) -> None:
        """Close files that the source opened."""
        return


class Encoder(Protocol):
    """Fitted description of the data: records to network inputs and back.

    `modality` is the name in the registry, `may_miss` whether the matrix may hold NaN.
    """

    modality: ClassVar[str]
    may_miss: ClassVar[bool] = False

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of the features, where the training data had names."""
        return None

    @property
    def features(self) -> tuple[str, ...]:
        """Names of what contributions to a score belong to."""

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """Height, width and channels of a record, where features form a grid."""
        return None

    @property
    def outline(self) -> Outline:
        """Sizes."""

    @property
    def explained(self) -> NDArray[np.intp]:
        """Features that have targets, each once, in the order of the targets."""

    @property
    def are_numbers(self) -> NDArray[np.bool_]:
        """Which features are numbers, not codes of levels or dates: (n_features,)."""
        return np.ones(self.outline.n_features, dtype=bool)

    @property
    def named_targets(self) -> Mapping[int, tuple[str, ...]]:
        """Feature whose targets have names, such as parts of a date -> these names."""
        return {}

    @property
    def undetermined(self) -> NDArray[np.intp]:
        """Features whose values targets do not tell, such as dates: a model keeps some of these."""
        return np.empty(0, dtype=np.intp)

    def moved(self, values: Array, records: Array, changed: NDArray[np.bool_]) -> Array:
        """Return undetermined values of training records for others, (n, k), some of which change.

        `records` are the own values, `changed` says which of them the result replaces.
        """
        return values

    @property
    def missing_shares(self) -> Array:
        """Shares of training records in which each feature is missing: (n_features,)."""

    def matrix(self, X: Records) -> Records:
        """Return array-like data of a user as a matrix of numbers, one record a row.

        Raises
        ------
        DataError
            If the shape is not that of the training data.
        """

    def encode(self, records: Records) -> Encoded:
        """Encode records."""

    def decode(self, targets: Array) -> Records:
        """Return the records that targets stand for, as `encode` takes them."""

    def encode_targets(self, targets: Array) -> Encoded:
        """Encode the records that targets stand for; the targets are the same again."""
        return self.encode(self.decode(targets))

    def rows(self, records: Records, like: Records = None) -> Records:
        """Return records in the form of the training data, or in form and units of `like`."""

    def cells(self, values: Array, feature: NDArray[np.intp]) -> list[Json]:
        """Return values, each of a feature, (n,) both, in the types of the training data."""
        return list(values.tolist())

    def texts(self, X: Records, codes: Records) -> CellTexts:
        """Return texts of unseen levels and stray cells of data whose `matrix` is given."""
        return NO_TEXTS

    def in_graph(self, rows: Symbol) -> EncodedSymbols:
        """Add `encode` to an ONNX graph, for a symbolic matrix.

        Raises
        ------
        ParameterError
            If models of this modality have no export.
        """

    def standardized(self, records: Records) -> Array | None:
        """Return features in standard deviations of training, (n, n_features); None for a grid."""
        return None

    def describe(self) -> JsonObject:
        """Return what `inspect` says of the data, in plain values."""

    def to_state(self) -> EncoderState:
        """Return what a model file stores."""

    @classmethod
    def outline_of(cls, settings: Mapping[str, Json]) -> Outline:
        """Check settings from a file, and return the outline of their encoder.

        Raises
        ------
        ValueError
            If the settings are not sound.
        """

    @classmethod
    def from_state(cls, state: EncoderState) -> Self:
        """Build the encoder that `to_state` described.

        Raises
        ------
        ValueError
            If the arrays are not sound.
        """


class Defaults(NamedTuple):
    """Parameters of a detector that depend on the modality where the user gave none."""

    latent_dim: int
    score_type: str


class DataParameters(Protocol):
    """Parameters of a detector that concern its encoder."""

    architecture: Architecture
    likelihood: str
    smoothing: float | None
    shift: float | None
    pixel_range: tuple[float, float] | None
    column_types: Mapping[str, str] | None
    missing_values: Sequence[str]


class Schema(Protocol):
    """What array-like data are, before anything is learned from them."""

    @property
    def may_miss(self) -> bool:
        """Whether the matrix may hold NaN."""

    def matrix(self, X: Records) -> Records:
        """Return data as a matrix of numbers, one record a row."""


class Modality(Protocol):
    """A type of data. Stateless; the registry knows it by name.

    Attributes
    ----------
    name, unit : str
        Name in the registry; name of one record in messages. Both in the singular.
    contents : str
        What a path of this modality holds, in messages, with its article: "a log file".
    options : mapping of str to str
        Options of the command line that not every modality takes: keyword -> flag.
    defaults : Defaults
    encoder : type
        Class of its encoders.
    """

    name: str
    unit: str
    contents: str
    options: Mapping[str, str]
    defaults: Defaults
    encoder: type[Encoder]

    def accepts(self, path: str) -> bool:
        """Return whether a regular file or directory holds data of this modality, by content."""

    def open(
        self,
        path: str,
        encoder: Encoder | None = None,
        *,
        fitting: bool = False,
        labelled: bool = False,
        **options: Json,
    ) -> Source:
        """Open a source; an encoder of this modality brings the settings for scoring.

        Parameters
        ----------
        path : str
            "-" is standard input.
        encoder : Encoder, optional
        fitting : bool, default=False
            Whether the records are to be learned, or to calibrate: they are normal.
        labelled : bool, default=False
            Whether labels that the data bring are wanted: `labels` is None without. They are
            checked at once where that needs no reading of the records.
        **options
            Those of the modality, `strict`, and with `labelled` `normal_label`.

        Raises
        ------
        DataError
            If the path holds no sound data of this modality.
        OSError
            If it cannot be read.
        """

    def accepts_array(self, X: Records) -> bool:
        """Return whether an array-like is of this modality."""

    def schema(self, X: Records, parameters: DataParameters) -> Schema:
        """Return the schema of array-like training data."""

    def fit(
        self,
        records: Array,
        schema: Schema,
        names: Sequence[str] | None,
        parameters: DataParameters,
    ) -> Encoder:
        """Fit the encoder to training records.

        `records` are rows of the matrix, (n, n_columns), `schema` is that of all data, and
        `names` are those of the columns, if they have any.

        Raises
        ------
        ParameterError, DataError
            If parameters and data do not fit each other.
        """

    def augmented(
        self, encoder: Encoder, records: Array, parameters: DataParameters
    ) -> Iterator[Encoded]:
        """Yield the encoded training records, and further versions to learn from."""
        yield encoder.encode(records)

    def bind(self, encoder: Encoder, source: Source) -> Encoder:
        """Return the encoder with the settings of the source that it was fitted on."""
        return encoder

    def describe(self, facts: Mapping[str, Json]) -> Sequence[str]:
        """Return lines about the data of a model file, from `Encoder.describe`."""
