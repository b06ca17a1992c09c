"""Labels of arrays of images: their files, and their meaning."""

from __future__ import annotations

import gzip
import struct
import zipfile

import numpy as np
import pytest
from images import RAMP

from vae_anomaly import DataError
from vae_anomaly.data.image.files import open_images
from vae_anomaly.data.image.labels import anomalous_images

IMAGES = np.stack([RAMP] * 4)


def npz(folder, **arrays):
    path = folder / "a.npz"
    np.savez(path, X=IMAGES, **arrays)
    return path


def idx(path, values):
    values = np.asarray(values, dtype=np.uint8)
    raw = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    raw += values.tobytes()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def flags(path, normal=()):
    labels = anomalous_images(open_images(path), normal=normal)
    return None if labels is None else labels.tolist()


@pytest.mark.parametrize("name", ["y", "label", "labels"])
@pytest.mark.parametrize(
    "values",
    [
        np.array([0, 1, 1, 0]),
        np.array([0.0, 1.0, 1.0, 0.0]),
        np.array([[0], [1], [1], [0]], dtype=np.uint8),
        np.array([False, True, True, False]),
    ],
    ids=["int", "float", "column", "bool"],
)
def test_zero_is_normal_and_one_is_not(tmp_path, name, values):
    path = npz(tmp_path, **{name: values})
    assert flags(path) == [False, True, True, False]
    source = open_images(path)
    assert source.array_labels.origin == f"{name} in {source.name}"
    assert len(set(source.categories)) == 2
    assert flags(path, normal=[source.categories[1]]) == [True, False, False, True]


@pytest.mark.parametrize(("value", "anomalous"), [(0, False), (1, True)])
def test_all_of_one_label_is_known_too(tmp_path, value, anomalous):
    assert flags(npz(tmp_path, y=np.full(4, value))) == [anomalous] * 4


def test_classes_need_a_normal_label(tmp_path):
    path = npz(tmp_path, labels=np.array([3, 0, 7, 0]))
    assert open_images(path).categories == ["3", "0", "7", "0"]
    assert flags(path) is None
    assert flags(path, normal=["0"]) == [True, False, True, False]
    assert flags(path, normal=["0", "7"]) == [True, False, False, False]
    with pytest.raises(
        DataError, match=r"a\.npz: no image has the normal label '8'\. The labels are '0', '3'"
    ):
        flags(path, normal=["8"])


def test_text_may_say_which_images_are_normal(tmp_path):
    assert flags(npz(tmp_path, y=np.array(["Good", "hole", "good", "x"]))) == [
        *(False, True, False, True)
    ]
    assert flags(npz(tmp_path, y=np.array(["fine", "hole", "fine", "x"]))) is None


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("labels_end", ["", ".gz"])
@pytest.mark.parametrize("dot", ["-", "."])
def test_an_idx_file_has_its_labels_beside_it(tmp_path, end, labels_end, dot):
    path = idx(tmp_path / f"t10k-images{dot}idx3-ubyte{end}", IMAGES)
    assert open_images(path).categories is None
    beside = idx(tmp_path / f"t10k-labels{dot}idx1-ubyte{labels_end}", [0, 9, 1, 0])
    source = open_images(path)
    assert source.categories == ["0", "9", "1", "0"]
    assert source.array_labels.origin.endswith(beside.name)
    assert flags(path) is None
    assert flags(path, normal=["0"]) == [False, True, True, False]


def test_two_classes_of_an_idx_file_are_classes(tmp_path):
    path = idx(tmp_path / "t10k-images-idx3-ubyte", IMAGES)
    idx(tmp_path / "t10k-labels-idx1-ubyte", [0, 1, 1, 0])
    assert flags(path) is None


def test_other_names_are_no_labels(tmp_path):
    assert open_images(npz(tmp_path, group=np.arange(4))).categories is None
    idx(tmp_path / "labels-idx1-ubyte", [0, 1, 1, 0])
    assert open_images(idx(tmp_path / "images", IMAGES)).categories is None
    np.savez(tmp_path / "y.npz", y=IMAGES)  # the images themselves are called so
    assert open_images(tmp_path / "y.npz").categories is None


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            np.zeros(5),
            r"y in .*a\.npz holds an array of shape \(5,\)\. Expected one label for each of the 4 "
            r"images: shape \(4,\)\.",
        ),
        (np.zeros((4, 2)), r"y in .*a\.npz holds an array of shape \(4, 2\)\. Expected one label"),
        (
            np.array([0, np.nan, 1, 0]),
            r"y in .*a\.npz, image 2: expected a label, got nan\. Fill it in or remove the",
        ),
        (np.array(["good", "", "x", "y"]), "image 2 has an empty label. Fill it in or remove"),
        (np.array([b"a"] * 4), r"y in .*a\.npz holds '\|S1', expected numbers or text: labels\."),
        (np.array(["x" * 257] * 4), "holds text of 257 characters. Expected labels, of at most"),
        (np.array([0, 1, 1, None]), r"y in .*a\.npz holds 'object', expected numbers or text"),
    ],
    ids=["length", "columns", "nan", "empty", "bytes", "long", "objects"],
)
def test_what_cannot_be_labels_is_refused(tmp_path, values, sentence):
    path = npz(tmp_path, y=values)
    open_images(path)  # labels are read only where they are wanted
    with pytest.raises(DataError, match=sentence):
        flags(path)


def test_negative_shapes_of_labels_are_refused(tmp_path):
    path = npz(tmp_path)
    header = b"{'descr': '<i8', 'fortran_order': False, 'shape': (-4,)}\n"
    raw = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(32)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("y.npy", raw)
    with pytest.raises(DataError, match=r"y in .*a\.npz is damaged: its header has the shape"):
        flags(path)


def test_damaged_labels_are_refused(tmp_path):
    path = idx(tmp_path / "t10k-images-idx3-ubyte", IMAGES)
    beside = idx(tmp_path / "t10k-labels-idx1-ubyte", [0, 1, 1, 0])
    whole = beside.read_bytes()
    beside.write_bytes(whole[:-1])
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte is cut off"):
        flags(path)
    beside.write_bytes(whole[:5])
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte is damaged: .* Copy it again\."):
        flags(path)
    beside.write_bytes(b"0\n1\n1\n0\n")
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte holds no idx or NumPy array\."):
        flags(path)
    points = np.frombuffer(np.uint32([2**31] * 4).tobytes(), "<U1")  # characters that do not exist
    with pytest.raises(DataError, match=r"y in .*a\.npz is damaged: not all of it is text\."):
        flags(npz(tmp_path, y=points))
