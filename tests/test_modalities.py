"""Sources of every modality: one protocol. Registry, imports, and messages of tables."""

from __future__ import annotations

import struct
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from images import RAMP, save
from PIL import Image

from vae_anomaly import DataError, ParameterError, VAEDetector
from vae_anomaly.cli.commands import cli
from vae_anomaly.data.base import Batch, Source
from vae_anomaly.data.image.encoder import ImageEncoder
from vae_anomaly.data.image.units import BYTES
from vae_anomaly.data.registry import (
    MODALITIES,
    modality,
    modality_of,
    modality_of_array,
    open_source,
)
from vae_anomaly.data.scaling import ColumnScaler
from vae_anomaly.data.table import reader
from vae_anomaly.data.table.encoder import TableEncoder

ROWS = np.arange(21.0).reshape(7, 3)[:, ::-1] * 0.5
IMAGES = np.stack([np.roll(RAMP, i, axis=1) for i in range(7)])


def csv(path):
    frame = pd.DataFrame(ROWS, columns=["c", "a", "b"])
    frame.to_csv(path / "t.csv", index_label="id")
    return path / "t.csv"


def parquet(path):
    frame = pd.DataFrame(ROWS, columns=["c", "a", "b"], index=pd.Index(range(7), name="id"))
    pq.write_table(pa.Table.from_pandas(frame.reset_index(), preserve_index=False), path / "t.x")
    return path / "t.x"


def folder(path):
    for i, image in enumerate(IMAGES):
        save(path / "plates" / f"{i}.png", image)
    return path / "plates"


def idx(path):
    head = bytes([0, 0, 8, 3]) + struct.pack(">3I", *IMAGES.shape)
    (path / "plates-idx3-ubyte").write_bytes(head + IMAGES.tobytes())
    return path / "plates-idx3-ubyte"


def npz(path):
    np.savez(path / "plates.npz", X=IMAGES, y=np.arange(7) % 2)
    return path / "plates.npz"


TABLE = TableEncoder(("a", "b", "c"), ColumnScaler.from_rows(np.eye(3)), "gaussian")
PIXELS = ColumnScaler.from_channels(np.eye(128), 1)
IMAGE = ImageEncoder((8, 16, 1), BYTES, 0.0, PIXELS, "gaussian")

# Name -> function that writes the file, encoder, records, keys.
CASES = {
    "csv": (csv, TABLE, ROWS[:, [1, 2, 0]], list(range(1, 8))),
    "parquet": (parquet, TABLE, ROWS[:, [1, 2, 0]], list(range(1, 8))),
    "folder": (folder, IMAGE, IMAGES[..., None], [f"{i}.png" for i in range(7)]),
    "idx": (idx, IMAGE, IMAGES[..., None], [str(i) for i in range(1, 8)]),
    "npz": (npz, IMAGE, IMAGES[..., None], [str(i) for i in range(1, 8)]),
}


@pytest.fixture(params=CASES)
def case(request, tmp_path, monkeypatch):
    """Small batches, so that there are several."""
    write, encoder, records, keys = CASES[request.param]
    monkeypatch.setattr(reader, "MAX_BATCH_ROWS", 3)
    monkeypatch.setattr("vae_anomaly.data.image.reader.MAX_BATCH_IMAGES", 3)
    return str(write(tmp_path)), encoder, records, keys


def test_sources_yield_all_records_in_order_as_often_as_needed(case):
    path, encoder, records, keys = case
    found = modality_of(path)
    assert found.name == encoder.modality
    assert found.accepts(path)
    with found.open(path, encoder) as source:
        assert source.unit == found.unit
        assert source.n_records in (None, len(records))
        assert source.labels is None
        for _ in range(2):
            batches = list(source.batches())
            assert [batch.start for batch in batches] == [0, 3, 6]
            for batch in batches:
                assert isinstance(batch, Batch)
                assert batch.keys.type == (source.key_type or pa.int64())
                assert len(batch.keys) == len(batch.records)
                assert batch.records.shape[1:] == source.record_shape
                assert batch.positions is None
                assert not batch.faults
            read = np.concatenate([batch.records for batch in batches])
            assert np.array_equal(read, records)
            assert read.dtype == (np.float64 if found.name == "table" else np.uint8)
            assert [key for batch in batches for key in batch.keys.to_pylist()] == keys
            assert list(source.skipped) == []
        assert source.check() == len(records)
        assert encoder.encode(read).inputs.shape == (7, encoder.outline.n_inputs)


def test_a_reading_may_be_abandoned_and_begun_anew(case):
    path, encoder, records, _ = case
    with modality_of(path).open(path, encoder) as source:
        reading = source.batches()
        first = next(reading)
        reading.close()
        again = [*source.batches()]
    assert np.array_equal(first.records, again[0].records)
    assert sum(len(batch.records) for batch in again) == len(records)


def test_sources_are_opened_for_fitting_without_an_encoder(case):
    path, _, records, _ = case
    found = modality_of(path)
    options = {"id_column": "id"} if found.name == "table" else {}
    with found.open(path, fitting=True, **options) as source:
        read = np.concatenate([batch.records for batch in source.batches()])
        assert read.shape == records.shape
        assert source.description in ("3 columns", "8 x 16 pixels, grey, stretched")
        assert len(source.training_data(read)) == 7
        source.require(len(read), 2, "Expected at least 2 to learn from.")
        with pytest.raises(DataError, match=r"Expected at least 8\.$"):
            source.require(len(read), 8, "Expected at least 8.")


def test_an_encoder_of_another_modality_is_refused(case):
    path, encoder, *_ = case
    other = {"table": IMAGE, "image": TABLE}[encoder.modality]
    with pytest.raises(DataError) as caught:
        open_source(path, other)
    held, fitted = {"table": ("a table", "images"), "image": ("images", "a table")}[
        encoder.modality
    ]
    assert str(caught.value) == (
        f"{path} holds {held}, but the model was fitted on {fitted}. Give it {fitted}, or fit a "
        f"model on {held}."
    )


def test_faults_are_part_of_a_batch(tmp_path, monkeypatch):
    monkeypatch.setattr("vae_anomaly.data.image.reader.MAX_BATCH_IMAGES", 3)
    plates = folder(tmp_path)
    for name in ("0.png", "4.png", "6.png"):
        (plates / name).write_bytes(b"")
    with modality("image").open(str(plates), IMAGE) as source:
        assert source.may_skip
        batches = list(source.batches())
        assert [batch.start for batch in batches] == [0, 3, 6]
        assert [len(batch.keys) for batch in batches] == [3, 3, 1]
        assert [batch.faults for batch in batches] == [{i: "it is empty"} for i in (0, 1, 0)]
        assert [batch.positions.tolist() for batch in batches] == [[1, 2], [0, 2], []]
        assert batches[2].records.shape == (0, 8, 16, 1)
        for batch in batches:
            expected = IMAGES[batch.start + batch.positions]
            assert np.array_equal(batch.records[..., 0], expected)
        assert source.skipped == [(f"{i}.png", "it is empty") for i in (0, 4, 6)]


def test_closing_removes_the_copy_of_standard_input(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("sys.stdin", open(csv(tmp_path)))  # noqa: SIM115, PTH123
    (tmp_path / "t.csv").unlink()
    with modality_of("-").open("-", TABLE) as source:
        assert sum(len(batch.keys) for batch in source.batches()) == 7
        assert len(list(tmp_path.iterdir())) == 1
    assert not list(tmp_path.iterdir())
    sys.stdin.close()


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "a,a\n1,2\n"])
def test_a_refused_standard_input_leaves_no_copy(tmp_path, monkeypatch, text):
    (tmp_path / "t.csv").write_text(text)
    monkeypatch.setattr("sys.stdin", (tmp_path / "t.csv").open())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(DataError):
        modality_of("-").open("-", TABLE)
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
    sys.stdin.close()


# ---------------------------------------------------------------------------- registry


def test_arrays_in_memory_have_a_modality():
    assert modality_of_array(IMAGES).name == "image"
    assert modality_of_array(IMAGES[..., None]).name == "image"
    for table in (ROWS, pd.DataFrame(ROWS), ROWS.tolist(), None):
        assert modality_of_array(table).name == "table"
    schema = modality("image").schema(IMAGES, VAEDetector())
    assert schema.matrix(IMAGES).shape == (7, 128)
    assert (schema.shape, schema.pixel_range, schema.may_miss) == ((8, 16, 1), BYTES, False)
    assert modality("table").accepts_array(ROWS)


def test_paths_without_a_modality_count_as_tables(tmp_path):
    (tmp_path / "noise").write_bytes(bytes(range(256)))
    for path in (tmp_path / "noise", tmp_path / "missing"):
        assert modality_of(str(path)).name == "table"
        assert not modality("table").accepts(str(path))
    assert modality("table").accepts("-")


@pytest.mark.parametrize("name", MODALITIES)
def test_modalities_know_their_names_and_defaults(name):
    found = modality(name)
    assert (found.name, found.encoder.modality) == (name, name)
    assert (found.defaults.latent_dim, found.defaults.score_type) == {
        "table": (32, "exemplar"),
        "image": (8, "elbo"),
        "patches": (32, "exemplar"),
    }[name]
    parameters = [one for command in cli.commands.values() for one in command.params]
    declared = {(one.name, one.opts[0]) for one in parameters}
    assert set(found.options.items()) <= declared


HEAVY = ("PIL", "pyarrow", "pandas", "scipy", "sklearn", "keras", "tensorflow")


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("vae_anomaly.data.registry", HEAVY),
        ("vae_anomaly.data.table.modality", HEAVY),
        ("vae_anomaly.data.table.encoder", HEAVY),
        ("vae_anomaly.data.image.modality", HEAVY),
        ("vae_anomaly.data.image.encoder", HEAVY),
        ("vae_anomaly.data.table.source", HEAVY[:1] + HEAVY[2:]),
    ],
)
def test_modalities_are_light_to_import(module, absent):
    code = f"import sys, {module}; print([name for name in {absent} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# ------------------------------------------------------------------------------- tables


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Write a table and open it."""
    monkeypatch.chdir(tmp_path)

    def open_text(text, encoder=None, **options):
        (tmp_path / "t.csv").write_text(text)
        return modality("table").open("t.csv", encoder, fitting=encoder is None, **options)

    return open_text


ABC = "id,c,b,a,state\nx,1,2,3,ok\ny,4,5,6,bad\nz,7,8,9,ok\n"


def test_keys_and_labels_are_columns_of_the_table(table):
    source = table(ABC, TABLE, id_column="id", label_column="state")
    assert (source.key_name, source.key_type, source.notes) == ("id", pa.string(), ())
    assert source.labels is None
    (batch,) = source.batches()
    assert batch.keys.to_pylist() == ["x", "y", "z"]
    assert source.labels.tolist() == [False, True, False]
    source = table(ABC, TABLE, id_column="id", label_column="state", normal_label=["bad"])
    list(source.batches())
    assert source.labels.tolist() == [True, False, True]
    source = table(ABC, TABLE, id_column="state", label_column="state")
    assert [batch.keys.to_pylist() for batch in source.batches()] == [["ok", "bad", "ok"]]


def test_labels_are_of_a_complete_reading(table, monkeypatch):
    monkeypatch.setattr(reader, "MAX_BATCH_ROWS", 2)
    source = table(ABC, TABLE, label_column="state")
    reading = source.batches()
    next(reading)
    reading.close()
    assert source.labels is None
    assert source.check() == 3
    assert len(list(source.batches())) == 2
    assert len(source.labels) == 3


def test_unknown_columns_are_noted_or_refused(table):
    words = "t.csv: the model does not know 'id', 'state'"
    assert table(ABC, TABLE).notes == (f"note: {words}; ignored",)
    with pytest.raises(DataError) as caught:
        table(ABC, TABLE, strict=True)
    assert str(caught.value) == f"{words}. Remove what is extra, or score without --strict."
    assert table(ABC, TABLE, id_column="id", label_column="state", strict=True).notes == ()


def test_a_model_without_names_takes_columns_by_position(table):
    encoder = TableEncoder(None, ColumnScaler.from_rows(np.eye(3)), "gaussian")
    source = table(ABC, encoder, id_column="id", label_column="state")
    (batch,) = source.batches()
    assert batch.records.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    with pytest.raises(DataError, match="has 5 columns for the model, which was fitted on 3"):
        table(ABC, encoder)


@pytest.mark.parametrize("role", ["id_column", "label_column"])
def test_a_feature_cannot_be_the_identifier_or_the_label(table, role):
    with pytest.raises(ParameterError, match="was fitted on column 'a': it cannot be the label"):
        table(ABC, TABLE, **{role: "a"})
    with pytest.raises(DataError, match="lacks a column that the command line names: 'A'"):
        table(ABC, TABLE, **{role: "A"})


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a\n1\n", {"ignore": ["a"]}, "t.csv: no column is left to learn from."),
        ("a\n1\n", {"ignore": ["b"]}, "t.csv lacks a column that the command line names: 'b'."),
    ],
)
def test_columns_that_a_fit_refuses(table, text, options, message):
    with pytest.raises(DataError) as caught:
        table(text, **options)
    assert str(caught.value).startswith(message)


def test_a_bad_cell_of_a_fit_may_be_left_out_with_its_column(table):
    with pytest.raises(DataError) as caught:
        list(table("a,my b\n1,2\n3,x\n").batches())
    assert str(caught.value) == (
        "t.csv, line 3, column 'my b': expected a number, got 'x'. Correct the cell, or leave the "
        "column out with --ignore 'my b', or make it one of levels with --type 'my b=category'."
    )
    with pytest.raises(DataError, match=r"got 'x'\. Correct the cell or remove the row\."):
        list(table("a,b,c\n1,2,3\n1,x,3\n", TABLE, strict=True).batches())


def test_columns_that_are_left_out_or_constant_are_reported_after_a_fit(table):
    source = table("id,a,b,c\n1,2,5,1\n2,3,5,2\n", ignore=["c"], id_column="id")
    (batch,) = source.batches()
    assert source.training_data(batch.records).columns.tolist() == ["a", "b"]
    encoder = TableEncoder(("a", "b"), ColumnScaler.from_rows(batch.records), "gaussian")
    assert source.fit_notes(encoder) == [
        "left out: 'c', 'id'",
        "constant in training, any other value will count as anomalous: 'b'",
    ]
    assert table("a,b\n1,2\n2,3\n").fit_notes(TABLE) == []


@pytest.mark.parametrize(
    ("count", "minimum", "words"),
    [
        (0, 1, "has no rows below its column names. Do."),
        (0, 2, "has 0 rows below its column names. Do."),
        (1, 2, "has 1 row below its column names. Do."),
    ],
)
def test_tables_with_too_few_rows_are_refused(table, count, minimum, words):
    with pytest.raises(DataError) as caught:
        table("a\n1\n").require(count, minimum, "Do.")
    assert str(caught.value) == f"t.csv {words}"


# ------------------------------------------------------------------------------- images


@pytest.fixture
def plates(tmp_path):
    """A folder of good and bad images, of which one is broken and one animated."""
    root = tmp_path / "plates"
    for i in range(3):
        save(root / "good" / f"{i}.png", RAMP)
        save(root / "bad" / f"{i}.png", RAMP)
        save(root / "ground_truth" / "bad" / f"{i}_mask.png", (RAMP > 99).astype(np.uint8))
    (root / "bad" / "0.png").write_bytes(b"")
    (root / "ground_truth" / "bad" / "1_mask.png").write_bytes(b"")
    return root


def images(path, encoder=IMAGE, **options):
    return modality("image").open(str(path), encoder, **options)


def test_labels_categories_and_masks_are_of_the_readable_images(plates):
    (plates / "ground_truth").rename(plates.parent / "ground_truth")
    source = images(plates, labelled=True)
    assert source.labels is None
    assert source.categories is None
    assert source.masks() == (None, [])
    list(source.batches())
    assert source.labels.tolist() == [True, True, False, False, False]
    assert source.categories == ["bad", "bad", "good", "good", "good"]
    masks, notes = source.masks()
    assert [mask is not None for mask in masks] == [False, True, False, False, False]
    assert np.array_equal(masks[1], RAMP > 99)
    assert notes[0].startswith("warning: no mask for bad/1.png: ")
    assert notes[1] == "masks: 1 for 2 anomalies"
    source = images(plates)
    list(source.batches())
    assert source.labels is None


def test_strict_refuses_masks_that_are_not_readable(plates):
    (plates / "ground_truth").rename(plates.parent / "ground_truth")
    save(plates / "bad" / "0.png", RAMP)
    source = images(plates, labelled=True, strict=True)
    list(source.batches())
    with pytest.raises(DataError, match=r"1_mask\.png: it is empty"):
        source.masks()


def test_labels_that_are_wanted_are_checked_at_once(plates, tmp_path):
    with pytest.raises(DataError, match="no subfolder with images is called 'x'"):
        images(plates, labelled=True, normal_label=["x"])
    (plates / "good").rename(plates / "fine")
    assert images(plates, labelled=True).notes == (
        "note: no subfolder is called good, normal or ok, so that nothing is known to be an "
        "anomaly. Name one with --normal-label.",
    )
    assert images(plates).notes == ()
    path = npz(tmp_path)
    assert images(path, labelled=True).notes == (
        f"note: {path}: the array 'X' is read, of 'X', 'y'",
        f"labels: y in {path}: '0' normal, 4 images; '1' anomalous, 3 images",
    )


def test_fitting_reads_normal_images_only(plates):
    source = images(plates, None, fitting=True)
    assert source.notes == (f"note: {plates}: only 'good' is used: 3 of 6 images",)
    assert source.n_records == 3
    assert source.layout.shape == (8, 16, 1)


def test_images_labelled_as_anomalies_are_reported_before_a_fit(tmp_path):
    source = images(npz(tmp_path), None, fitting=True)
    (batch,) = source.batches()
    assert source.training_notes(batch.records) == (
        "warning: 3 of 7 images are labelled as anomalies, and are learned as if they were "
        "normal. Leave them out of the file.",
    )
    np.savez(tmp_path / "plates.npz", X=IMAGES, y=np.arange(6))
    source = images(tmp_path / "plates.npz", None, fitting=True)
    (batch,) = source.batches()
    (note,) = source.training_notes(batch.records)
    assert note.startswith("note: y in ")
    assert note.endswith("To learn, labels are not needed.")


def test_animated_images_are_reported_after_a_reading(plates):
    frames = [plates / "good" / "a.png", plates / "good" / "b.png"]
    for path in frames:
        first, second = (Image.fromarray(image) for image in (RAMP, 255 - RAMP))
        first.save(path, "GIF", save_all=True, append_images=[second])
    source = images(plates)
    assert source.reading_notes() == ()
    list(source.batches())
    assert source.reading_notes() == (
        "note: only the first frame of 2 images was read: good/a.png ...",
    )


def test_the_layout_of_a_fit_is_that_of_later_sources(plates):
    found = modality("image")
    source = images(plates, None, fitting=True, image_size=(4, 6), resize="letterbox")
    pixels = np.concatenate([batch.records for batch in source.batches()])
    scaler = ColumnScaler.from_channels(np.float64(pixels.reshape(3, -1)), 1)
    encoder = ImageEncoder(source.layout.shape, BYTES, 0.0, scaler, "gaussian")
    assert encoder.resize is None
    bound = found.bind(encoder, source)
    assert bound.resize == "letterbox"
    assert images(plates, bound).layout == source.layout
    assert images(plates, encoder).layout.resize == "stretch"
    assert found.bind(bound, images(plates, encoder)).resize == "stretch"


def test_models_of_other_channels_take_no_files(plates):
    scaler = ColumnScaler.from_channels(np.eye(8), 2)
    encoder = ImageEncoder((2, 2, 2), BYTES, 0.0, scaler, "gaussian")
    with pytest.raises(DataError, match=r"fitted on images of 2 channels\. Files give 1 or 3"):
        images(plates, encoder)


def test_too_few_readable_images_are_refused(plates):
    source = images(plates, strict=False)
    list(source.batches())
    with pytest.raises(DataError) as caught:
        source.require(0, 1, "There is nothing to report.")
    assert str(caught.value) == (
        f"{plates}: none of 6 images can be read. The first, bad/0.png: it is empty. There is "
        f"nothing to report."
    )
    with pytest.raises(DataError, match=r"1 of 6 images can be read. The first that cannot, bad/"):
        source.require(1, 2, "Expected at least 2.")


# ------------------------------------------------------------------- a minimal source


class Words(Source):
    """A source with only a name and batches."""

    name = "words"

    def batches(self):
        yield Batch(0, pa.array([1, 2]), ["ab", "cd"])


def test_a_source_needs_only_a_name_and_batches():
    with Words() as source:
        assert source.check() == 2
        assert (source.key_name, source.key_type) == ("row", None)
        assert source.training_data(["ab"]) == ["ab"]
        for lines in (source.notes, source.skipped, source.reading_notes()):
            assert list(lines) == []
        assert list(source.training_notes(["ab"])) == list(source.fit_notes(TABLE)) == []
        assert (source.labels, source.n_records, source.may_skip) == (None, None, False)
        with pytest.raises(DataError, match=r"words holds 0 records\. Bring some\."):
            source.require(0, 1, "Bring some.")
