"""A third modality, codes: strings of one length, from the contracts of `data/base.py` alone.

The first part is the modality, as a package in `data/` would contain it. A file starts with
the line ``#codes``; each further line is a string and, after a tab, perhaps its label. A
string is one record and a position is one feature: a position has one target for each
letter of the training data.
"""

from __future__ import annotations

import csv
import pickle
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pytest
from conftest import Vae
from numpy.typing import NDArray
from PIL import Image

from vae_anomaly import DataError, ParameterError, VAEDetector, load, recalibrate, save
from vae_anomaly._types import Json, JsonObject, Records, Symbol
from vae_anomaly.data.base import (
    Batch,
    DataParameters,
    Defaults,
    Encoded,
    Encoder,
    Modality,
    Schema,
    Source,
)
from vae_anomaly.data.graph import EncodedSymbols
from vae_anomaly.data.registry import MODALITIES, modality_of, modality_of_array
from vae_anomaly.data.state import EncoderState, Outline
from vae_anomaly.model.model import Model
from vae_anomaly.names import NORMAL_LABELS
from vae_anomaly.pipeline.evaluate import read_evaluation_data
from vae_anomaly.pipeline.fit import fit
from vae_anomaly.pipeline.recalibrate import recalibrate as recalibrate_model
from vae_anomaly.pipeline.results import Outputs
from vae_anomaly.pipeline.score import score
from vae_anomaly.stats.likelihoods import Block

Array = NDArray[np.float64]


FIRST_LINE = "#codes"

MAX_BATCH_STRINGS = 64


# ----------------------------------------------------------------------------- modality


def code_points(strings: Sequence[str] | NDArray[np.str_]) -> Array:
    """Return strings of one length as a matrix of code points, one string a row."""
    return np.array([[ord(letter) for letter in one] for one in strings], dtype=float)


def strings_of(matrix: Array) -> NDArray[np.str_]:
    """Return the strings of a matrix of code points."""
    return np.array(["".join(map(chr, row)) for row in matrix.astype(int).tolist()])


class CodeSource(Source):
    """Strings of a file, in bounded memory."""

    unit = "string"

    def __init__(
        self, path: str, n_positions: int | None, labelled: bool, normal: Sequence[str]
    ) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self._normal = normal
        self._labels: list[bool] | None = None
        first = next(self._lines(), None)
        if first is None:
            raise DataError(
                f"{self.name}: expected a string a line after {FIRST_LINE!r}, found none. "
                "Add strings, or give another file."
            )
        self._labelled = labelled and first[2] != ""
        self.n_positions = len(first[1]) if n_positions is None else n_positions

    @property
    def record_shape(self) -> tuple[int, ...]:
        """Number of positions."""
        return (self.n_positions,)

    @property
    def description(self) -> str:
        """Length of the strings."""
        return f"{self.n_positions} letters"

    @property
    def labels(self) -> NDArray[np.bool_] | None:
        """True for anomalies, after a complete reading."""
        return None if self._labels is None else np.array(self._labels, dtype=bool)

    def batches(self) -> Iterator[Batch]:
        """Yield the strings in order."""
        lines, start = self._lines(), 0
        labels: list[bool] = []
        while rows := list(islice(lines, MAX_BATCH_STRINGS)):
            for number, string, _ in rows:
                if len(string) != self.n_positions:
                    raise DataError(
                        f"{self.name}, line {number}: expected {self.n_positions} letters, found "
                        f"{len(string)}: {string!r}. Correct or remove the line."
                    )
            if self._labelled:
                labels.extend(self._is_anomaly(number, label) for number, _, label in rows)
            keys = pa.array(range(start, start + len(rows)), self.key_type)
            yield Batch(start, keys, code_points([string for _, string, _ in rows]))
            start += len(rows)
        self._labels = labels if self._labelled else None

    def training_data(self, records: Records) -> Records:
        """Return strings, which `VAEDetector.fit` knows from a table of numbers."""
        return strings_of(records)

    def _lines(self) -> Iterator[tuple[int, str, str]]:
        """Yield line number, string and label of each record."""
        with self.path.open(encoding="utf-8") as file:
            next(file)
            for number, line in enumerate(file, start=2):
                string, _, label = line.rstrip("\n").partition("\t")
                yield number, string, label

    def _is_anomaly(self, number: int, label: str) -> bool:
        """Return whether a label is not one of normal strings."""
        if not label:
            raise DataError(
                f"{self.name}, line {number}: expected a label after a tab, found none. Add "
                "labels to all lines, or to none."
            )
        return label.lower() not in self._normal


class CodeEncoder(Encoder):
    """One-hot letters of the positions of a string.

    Parameters
    ----------
    letters : str
        Letters of the training data, ascending.
    unseen : ndarray of shape (n_positions,)
        Penalty of a letter that is not among them, in nats.
    """

    modality: ClassVar[str] = "code"

    def __init__(self, letters: str, unseen: Array) -> None:
        self.letters = letters
        self.unseen = unseen

    @classmethod
    def of(cls, matrix: Array) -> Self:
        """Fit the encoder to code points, (n, n_positions).

        The penalty of a position with k different letters in n strings is that of one more
        letter by Laplace's rule of succession, -log(1 / (n + k + 1)).
        """
        letters = "".join(map(chr, np.unique(matrix.astype(int)).tolist()))
        n_different = np.array([len(np.unique(column)) for column in matrix.T])
        return cls(letters, np.log(len(matrix) + n_different + 1.0))

    @property
    def features(self) -> tuple[str, ...]:
        """Positions, from 1."""
        return tuple(f"position_{i + 1}" for i in range(len(self.unseen)))

    @property
    def outline(self) -> Outline:
        """Sizes."""
        return self.outline_of(self.to_state().settings)

    @property
    def explained(self) -> NDArray[np.intp]:
        """Positions, in their order."""
        return np.arange(len(self.unseen))

    def matrix(self, X: Records) -> Records:
        """Return strings as code points."""
        expected = f"expected strings of {len(self.unseen)} letters, as in training"
        if not MODALITY.accepts_array(X):
            raise DataError(f"{expected}, found other values. Give a list or array of str.")
        wrong = sorted({len(one) for one in X} - {len(self.unseen)})
        if wrong:
            raise DataError(
                f"{expected}, found {wrong[0]}. Give strings of that length, or fit a detector to "
                "these."
            )
        return code_points(X)

    def encode(self, records: Records) -> Encoded:
        """Encode code points."""
        alphabet = code_points([self.letters])[0]
        one_hot = np.asarray(records)[:, :, np.newaxis] == alphabet
        inputs = one_hot.reshape(len(one_hot), -1).astype(float)
        return Encoded(inputs, inputs, np.where(one_hot.any(axis=2), 0.0, self.unseen))

    @property
    def missing_shares(self) -> Array:
        """Return zeros: no letter is ever missing."""
        return np.zeros(len(self.unseen))

    def decode(self, targets: Array) -> Records:
        """Return the most probable letters."""
        best = targets.reshape(len(targets), len(self.unseen), -1).argmax(axis=2)
        return code_points([self.letters])[0][best]

    def rows(self, records: Records, like: Records = None) -> Records:
        """Return strings."""
        return strings_of(records)

    def in_graph(self, rows: Symbol) -> EncodedSymbols:
        """Refuse the export."""
        raise ParameterError("Models of codes cannot be exported. Score them with this package.")

    def describe(self) -> JsonObject:
        """Return alphabet and length."""
        return {"letters": self.letters, "n_positions": len(self.unseen)}

    def to_state(self) -> EncoderState:
        """Return alphabet, length and penalties."""
        settings = {"letters": self.letters, "length": len(self.unseen)}
        return EncoderState(settings, {"unseen": self.unseen})

    @classmethod
    def outline_of(cls, settings: Mapping[str, Json]) -> Outline:
        """Check alphabet and length, and return the sizes."""
        letters, n_positions = settings.get("letters"), settings.get("length")
        if not isinstance(letters, str) or list(letters) != sorted(set(letters)) or not letters:
            raise ValueError("letters of the codes are not ascending")
        if type(n_positions) is not int or not 1 <= n_positions <= 10_000:
            raise ValueError("length of the codes is not from 1 to 10,000")
        block = Block("bernoulli", n_positions, width=len(letters))
        arrays = {"unseen": ("F64", (n_positions,))}
        return Outline(n_positions, block.n_targets, (block,), arrays)

    @classmethod
    def from_state(cls, state: EncoderState) -> Self:
        """Build the encoder that `to_state` described."""
        unseen = state.arrays["unseen"]
        if not (np.isfinite(unseen) & (unseen >= 0)).all():
            raise ValueError("penalties of the codes are not positive")
        return cls(state.settings["letters"], unseen)


class CodeModality(Modality):
    """Strings of one length."""

    name = "code"
    unit = "string"
    contents = "a file of codes"
    # Without this entry the command line refuses the option, as one of tables alone.
    options: Mapping[str, str] = {"explain": "--explain"}
    defaults = Defaults(latent_dim=4, score_type="elbo")
    encoder = CodeEncoder

    def accepts(self, path: str) -> bool:
        """Return whether a file starts with the line that marks codes."""
        if not Path(path).is_file():
            return False
        with Path(path).open("rb") as file:
            return file.readline(len(FIRST_LINE) + 2).rstrip(b"\r\n") == FIRST_LINE.encode()

    def open(
        self,
        path: str,
        encoder: Encoder | None = None,
        *,
        fitting: bool = False,
        labelled: bool = False,
        **options: Json,
    ) -> Source:
        """Open a file of codes."""
        n_positions = None if encoder is None else encoder.outline.n_features
        # The command line passes this option to every modality.
        normal = options.get("normal_label", NORMAL_LABELS)
        return CodeSource(path, n_positions, labelled, [label.lower() for label in normal])

    def accepts_array(self, X: Records) -> bool:
        """Return whether all records are strings."""
        return (
            isinstance(X, list | tuple | np.ndarray)
            and len(X) > 0
            and all(isinstance(one, str) for one in X)
        )

    may_miss = False

    def schema(self, X: Records, parameters: DataParameters) -> Schema:
        """Return this modality: nothing has to be found out."""
        return self

    def matrix(self, X: Records) -> Records:
        """Return strings as code points."""
        lengths = sorted({len(one) for one in X})
        if len(lengths) > 1:
            raise DataError(
                f"expected strings of one length, found {lengths[0]} and {lengths[-1]} letters. "
                "Remove the shorter or the longer ones."
            )
        return code_points(X)

    def fit(
        self,
        records: Array,
        schema: Schema,
        names: Sequence[str] | None,
        parameters: DataParameters,
    ) -> Encoder:
        """Fit the encoder to code points."""
        return CodeEncoder.of(records)

    def describe(self, facts: Mapping[str, Json]) -> Sequence[str]:
        """Return the line of `inspect`."""
        return [f"codes: {facts['n_positions']} letters of {facts['letters']!r}"]


MODALITY: Modality = CodeModality()


# ------------------------------------------------------------------------------- data

LETTERS = "abcdef"

N_POSITIONS = 8

QUICK: dict[str, Any] = {
    "max_steps": 300,
    "n_members": 2,
    "false_alarm_rate": 0.05,
    "random_state": 0,
}

FLAGS = (*("--max-steps", "300", "--members", "2"), *("--false-alarm-rate", "0.05"), "--quiet")
"""The parameters of `QUICK` on the command line."""


def make_strings(n: int, seed: int) -> list[str]:
    """Return strings in which each letter is the next of the alphabet, but for one repetition.

    The alphabet is a circle. The first letter and the place of the repetition are random.
    """
    rng = np.random.RandomState(seed)
    steps = np.ones((n, N_POSITIONS), int)
    steps[np.arange(n), rng.randint(1, N_POSITIONS, size=n)] = 0
    steps[:, 0] = rng.randint(len(LETTERS), size=n)
    rows = np.cumsum(steps, axis=1) % len(LETTERS)
    return ["".join(LETTERS[i] for i in row) for row in rows]


def corrupted(strings: Sequence[str], seed: int) -> tuple[list[str], NDArray[np.int64]]:
    """Return strings with one letter replaced by the opposite one, and where."""
    positions = np.random.RandomState(seed).randint(N_POSITIONS, size=len(strings))
    changed = []
    for string, i in zip(strings, positions, strict=True):
        opposite = LETTERS[(LETTERS.index(string[i]) + len(LETTERS) // 2) % len(LETTERS)]
        changed.append(string[:i] + opposite + string[i + 1 :])
    return changed, positions


TRAINING = make_strings(300, seed=0)
NORMAL = make_strings(150, seed=1)
ANOMALOUS, CHANGED = corrupted(make_strings(50, seed=2), seed=3)


def write(path: Path, *lines: str) -> Path:
    """Write a file of codes."""
    path.write_text("\n".join((FIRST_LINE, *lines)) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    """Register the modality while this module is tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODALITIES, "code", __name__)
        yield


@pytest.fixture(scope="module")
def detector(registered: None) -> VAEDetector:
    """A fitted detector shared by all tests; do not change it."""
    return VAEDetector(**QUICK).fit(TRAINING)


@pytest.fixture(scope="module")
def model_file(detector: VAEDetector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "codes.vae"
    save(detector, path)
    return path


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 150 normal and 50 anomalous strings with their labels."""
    path = tmp_path_factory.mktemp("data") / "labelled.txt"
    lines = [f"{one}\tnormal" for one in NORMAL] + [f"{one}\ttypo" for one in ANOMALOUS]
    return write(path, *lines)


def opened(path: Path, model: Model | None = None, **options: Any) -> Source:
    """Open a file with the modality that accepts it."""
    return modality_of(str(path)).open(
        str(path), None if model is None else model.encoder, **options
    )


# --------------------------------------------------------------------------- detector


def test_a_modality_is_found_by_content(tmp_path: Path) -> None:
    codes = write(tmp_path / "codes.csv", *TRAINING)
    table = tmp_path / "table.txt"
    table.write_text("codes\n1\n", encoding="utf-8")
    image = tmp_path / "image.txt"
    Image.new("L", (4, 4)).save(image, format="PNG")
    assert modality_of(str(codes)) is MODALITY
    assert modality_of(str(table)).name == "table"
    assert modality_of(str(image)).name == "image"
    for path in (table, image, tmp_path, tmp_path / "absent"):
        assert not MODALITY.accepts(str(path))
    assert modality_of_array(TRAINING) is modality_of_array(np.array(TRAINING)) is MODALITY
    assert modality_of_array([[1.0, 2.0]]).name == "table"


def test_anomalous_strings_score_higher(detector: VAEDetector) -> None:
    normal, anomalous = -detector.score_samples(NORMAL), -detector.score_samples(ANOMALOUS)
    assert np.median(anomalous) > np.quantile(normal, 0.95) + 3
    assert (anomalous[:, np.newaxis] > normal).mean() > 0.95
    assert (detector.predict(ANOMALOUS) == -1).mean() > 0.8
    assert (detector.predict(NORMAL) == -1).mean() < 0.2


def test_contributions_name_the_changed_position(detector: VAEDetector) -> None:
    contributions = detector.explain(ANOMALOUS)
    assert list(contributions.columns) == [f"position_{i + 1}" for i in range(8)]
    found = contributions.to_numpy().argmax(axis=1)
    assert (found == CHANGED).mean() > 0.9
    totals = contributions.sum(axis=1).to_numpy()
    np.testing.assert_allclose(totals, -detector.score_samples(ANOMALOUS), atol=1e-6)


def test_an_unseen_letter_adds_its_penalty(detector: VAEDetector) -> None:
    string = NORMAL[0]
    unseen, other = ([string[:3] + letter + string[4:]] for letter in "zy")
    contributions = detector.explain(unseen).iloc[0]
    assert contributions.idxmax() == "position_4"
    # All six letters occur among the training strings at each position.
    n_fitted = len(TRAINING)
    assert contributions["position_4"] > np.log(0.7 * n_fitted + 7)
    np.testing.assert_array_equal(detector.score_samples(unseen), detector.score_samples(other))


def test_lists_and_arrays_are_the_same(detector: VAEDetector) -> None:
    scores = detector.score_samples(NORMAL)
    np.testing.assert_array_equal(detector.score_samples(np.array(NORMAL)), scores)


def test_reconstructions_and_samples_are_strings(detector: VAEDetector) -> None:
    same = np.mean([a == b for a, b in zip(detector.reconstruct(NORMAL), NORMAL, strict=True)])
    assert same > 0.8
    steps = np.diff([[LETTERS.index(one) for one in string] for string in detector.sample(50)])
    assert np.isin(steps % len(LETTERS), (0, 1)).mean() > 0.6  # of random letters a third


def test_copies_score_identically(detector: VAEDetector, model_file: Path) -> None:
    expected = detector.score_samples(NORMAL + ANOMALOUS)
    for copy in (pickle.loads(pickle.dumps(detector)), load(model_file)):
        np.testing.assert_array_equal(copy.score_samples(NORMAL + ANOMALOUS), expected)


@pytest.mark.parametrize(
    ("strings", "message"),
    [
        (["abc"], "expected strings of 8 letters, as in training, found 3. Give strings of that"),
        ([[1.0] * 8], "expected strings of 8 letters, .* found other values. Give a list or array"),
        ([], "found other values"),
    ],
)
def test_a_detector_refuses_other_records(
    detector: VAEDetector, strings: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        detector.score_samples(strings)


def test_strings_of_several_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="expected strings of one length, found 3 and 8 letters"):
        VAEDetector(**QUICK).fit([*TRAINING, "abc"])


# --------------------------------------------------------------------------- pipeline


def test_a_file_is_read_in_batches(tmp_path: Path) -> None:
    with opened(write(tmp_path / "codes.txt", *TRAINING, "abc")) as source:
        # A later line that is not sound is not read with the first batch.
        assert len(next(source.batches()).records) == 64
    with opened(write(tmp_path / "codes.txt", *TRAINING)) as source:
        for _ in range(2):
            batches = list(source.batches())
            assert [len(one.records) for one in batches] == [64, 64, 64, 64, 44]
            assert [one.start for one in batches] == [0, 64, 128, 192, 256]
            keys = [key for one in batches for key in one.keys.to_pylist()]
            assert keys == list(range(300))


def test_a_fit_to_a_file_is_that_to_its_strings(detector: VAEDetector, tmp_path: Path) -> None:
    with opened(write(tmp_path / "codes.txt", *TRAINING), fitting=True) as source:
        model = fit(QUICK, source).model
    records = model.encoder.matrix(NORMAL)
    np.testing.assert_array_equal(-model.anomaly_scores(records), detector.score_samples(NORMAL))


def test_executors_give_identical_results(detector: VAEDetector, labelled: Path) -> None:
    model, outputs = detector.model_, Outputs(explain=2, p_values=True, also=("kl",), fdr=0.5)
    tables = []
    for options in ({}, {"executor": map}):
        with opened(labelled, model) as source:
            tables.append(
                pa.Table.from_batches(
                    [one.batch for one in score(model, source, outputs, **options)]
                )
            )
    assert tables[0].equals(tables[1])
    expected = -detector.score_samples(NORMAL + ANOMALOUS)
    np.testing.assert_allclose(tables[0]["anomaly_score"].to_numpy(), expected, rtol=1e-12)


def test_labels_are_read_for_an_evaluation(
    detector: VAEDetector, labelled: Path, tmp_path: Path
) -> None:
    with opened(labelled, detector.model_, labelled=True) as source:
        data = read_evaluation_data(source)
    assert data.labels is not None
    assert data.labels.tolist() == [False] * 150 + [True] * 50
    assert data.keys == [str(key) for key in range(200)]
    options = {"labelled": True, "normal_label": ("typo",)}
    with opened(labelled, detector.model_, **options) as source:
        data = read_evaluation_data(source)
    assert data.labels is not None
    assert data.labels.tolist() == [True] * 150 + [False] * 50
    without = write(tmp_path / "codes.txt", *NORMAL)
    for path, wanted in ((labelled, False), (without, True)):
        with opened(path, detector.model_, labelled=wanted) as source:
            assert read_evaluation_data(source).labels is None


def test_recalibration_flags_the_given_share(detector: VAEDetector, tmp_path: Path) -> None:
    rate = 0.2
    with opened(write(tmp_path / "recent.txt", *NORMAL), detector.model_, fitting=True) as source:
        result = recalibrate_model(detector.model_, source, false_alarm_rate=rate, executor=map)
    assert result.n_records == len(NORMAL)
    # A fresh string above this score has at most 29 of 150 at least as high: p <= 30 / 151.
    expected = np.sort(-detector.score_samples(NORMAL))[-30]
    assert result.model.calibration.threshold == pytest.approx(expected, rel=1e-12)
    again = recalibrate(detector, NORMAL, false_alarm_rate=rate)
    assert -again.offset_ == pytest.approx(expected, rel=1e-12)


def test_a_line_of_another_length_is_named(detector: VAEDetector, tmp_path: Path) -> None:
    path = write(tmp_path / "codes.txt", *TRAINING[:99], "abc", *TRAINING[:9])
    message = (
        r"codes.txt, line 101: expected 8 letters, found 3: 'abc'. Correct or remove the line."
    )
    with opened(path, fitting=True) as source, pytest.raises(DataError, match=message):
        fit(QUICK, source)
    with opened(path, detector.model_) as source, pytest.raises(DataError, match=message):
        list(score(detector.model_, source))


# ----------------------------------------------------------------------- command line


def test_commands(detector: VAEDetector, labelled: Path, tmp_path: Path, vae: Vae) -> None:
    normal = write(tmp_path / "normal.txt", *TRAINING)
    recent = write(tmp_path / "recent.txt", *NORMAL)
    model, new = tmp_path / "codes.vae", tmp_path / "new.vae"

    assert vae("fit", normal, "-o", model, *FLAGS) == (0, "", "")
    expected = detector.score_samples(NORMAL + ANOMALOUS)
    np.testing.assert_array_equal(load(model).score_samples(NORMAL + ANOMALOUS), expected)

    code, _, err = vae("score", model, labelled, "-o", tmp_path / "scores.csv", "--explain", 2)
    assert code == 0, err
    with (tmp_path / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["row"] for row in rows] == [str(i) for i in range(200)]
    found = np.array([float(row["anomaly_score"]) for row in rows])
    np.testing.assert_allclose(found, -expected, rtol=1e-6)
    reasons = [row["reason_1"] for row in rows[150:]]
    named = [a == f"position_{i + 1}" for a, i in zip(reasons, CHANGED, strict=True)]
    assert np.mean(named) > 0.9

    code, _, err = vae("evaluate", model, labelled, "-o", tmp_path / "report")
    assert code == 0, err
    assert "Of 50 anomalies" in err
    assert "AUROC" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")

    code, out, err = vae("inspect", model)
    assert (code, err) == (0, "")
    assert "codes: 8 letters of 'abcdef'" in out

    code, _, err = vae("recalibrate", model, recent, "-o", new, "--false-alarm-rate", 0.2)
    assert code == 0, err
    again = recalibrate(detector, NORMAL, false_alarm_rate=0.2)
    assert load(new).offset_ == pytest.approx(again.offset_, rel=1e-12)


def test_data_of_another_modality_are_refused(model_file: Path, tmp_path: Path, vae: Vae) -> None:
    table = tmp_path / "table.csv"
    table.write_text("a,b\n" + "1,2\n3,5\n4,9\n" * 20, encoding="utf-8")
    codes, of_table = write(tmp_path / "codes.txt", *NORMAL), tmp_path / "table.vae"
    assert vae("fit", table, "-o", of_table, *FLAGS) == (0, "", "")
    for model, data, given, needed in (
        (model_file, table, "a table", "a file of codes"),
        (of_table, codes, "a file of codes", "a table"),
    ):
        code, out, err = vae("score", model, data, "-o", tmp_path / "scores.csv")
        assert (code, out) == (3, "")
        assert (
            f"{data.name} holds {given}, but the model was fitted on {needed}. "
            f"Give it {needed}, or fit a model on {given}."
        ) in err


def test_options_of_other_modalities_are_refused(tmp_path: Path, vae: Vae) -> None:
    codes = write(tmp_path / "codes.txt", *TRAINING)
    for option, owner in (("--image-size", "images"), ("--ignore", "tables")):
        code, out, err = vae("fit", codes, "-o", tmp_path / "codes.vae", option, 8)
        assert (code, out) == (2, "")
        assert f"{option} is for {owner}; {codes} holds a file of codes." in err


def test_an_unsound_line_ends_a_command(model_file: Path, tmp_path: Path, vae: Vae) -> None:
    codes = write(tmp_path / "codes.txt", *NORMAL, "abc")
    code, _, err = vae("score", model_file, codes, "-o", tmp_path / "scores.csv")
    assert code == 3
    assert "line 152: expected 8 letters, found 3: 'abc'. Correct or remove the line." in err
    assert not (tmp_path / "scores.csv").exists()
