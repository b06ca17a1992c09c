"""Archives of arrays: which array is read, for a fit and for a score, and its labels."""

from __future__ import annotations

import numpy as np
import pytest
from images import RAMP, GREY_8x16, read

from vae_anomaly.data.image.array_members import chosen_members
from vae_anomaly.data.image.files import open_images
from vae_anomaly.data.image.labels import anomalous_images
from vae_anomaly.data.image.source import open_source

LAYOUTS = [
    ("x_train", "y_train", "x_test", "y_test"),
    ("X_train", "Y_train", "X_test", "Y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("xtrain", "ytrain", "xtest", "ytest"),
    ("images_training", "label_training", "images_testing", "label_testing"),
    ("train", "train_y", "test", "test_y"),
]


@pytest.mark.parametrize("names", LAYOUTS, ids=lambda names: names[0])
def test_a_fit_takes_the_training_part_and_others_the_test_part(tmp_path, names) -> None:
    arrays = [np.stack([RAMP] * 3), np.zeros(3, int), np.stack([255 - RAMP] * 2), np.arange(2)]
    np.savez(tmp_path / "a.npz", **dict(zip(names, arrays, strict=True)))
    fitting, scoring = (open_images(tmp_path / "a.npz", fitting=which) for which in (True, False))
    assert (len(fitting.names), len(scoring.names)) == (3, 2)
    assert fitting.notes[0].startswith(f"the array '{names[0]}' is read, of '{names[0]}', ")
    assert scoring.notes[0].startswith(f"the array '{names[2]}' is read, of ")
    assert np.array_equal(read(tmp_path / "a.npz", GREY_8x16)[0][0, :, :, 0], 255 - RAMP)
    assert anomalous_images(fitting).tolist() == [False] * 3
    assert anomalous_images(scoring).tolist() == [False, True]
    source = open_source(str(tmp_path / "a.npz"), labelled=True)
    assert source.notes[0] == f"note: {tmp_path / 'a.npz'}: {scoring.notes[0]}"


@pytest.mark.parametrize(
    ("members", "fitting", "images", "labels"),
    [
        (["y", "X"], False, "X", "y"),
        (["X", "x_train", "x_test"], True, "X", None),
        (["label", "other", "images"], False, "images", "label"),
        (["x_train", "y_train"], False, "x_train", None),
        (["test_y", "val", "test_x"], False, "test_x", "test_y"),
        (["targets", "arr_1", "arr_0"], False, "arr_1", "targets"),
        (["labels"], False, "labels", None),
    ],
)
def test_other_arrays_are_chosen_by_name_and_shape(members, fitting, images, labels) -> None:
    given = [f"{name}.npy" for name in members]
    found = chosen_members(given, fitting=fitting, has_images=lambda member: True)
    assert found.images == f"{images}.npy"
    assert found.labels == (None if labels is None else f"{labels}.npy")


def test_an_array_of_the_shape_of_images_is_found(tmp_path) -> None:
    ids, objects = np.arange(3), np.array([None, 1], dtype=object)
    np.savez(tmp_path / "a.npz", ids=ids, objects=objects, photos=np.stack([RAMP] * 3))
    reader = open_images(tmp_path / "a.npz")
    assert reader.notes == ("the array 'photos' is read, of 'ids', 'objects', 'photos'",)
    np.savez(tmp_path / "b.npz", np.stack([RAMP] * 3))
    assert open_images(tmp_path / "b.npz").notes == ("the array 'arr_0' is read",)
    np.save(tmp_path / "c.npy", np.stack([RAMP] * 3))
    assert open_images(tmp_path / "c.npy").notes == ()
