"""Sources of images: files of a folder, layouts, labels by subfolder, arrays."""

from __future__ import annotations

import gzip
import os
import struct
import sys
import threading
import zipfile

import numpy as np
import pytest
from images import COLOURS, RAMP, GREY_8x16, read, save
from PIL import Image

from vae_anomaly import DataError, ParameterError
from vae_anomaly.data.image.decoder import GREY
from vae_anomaly.data.image.files import open_images
from vae_anomaly.data.image.labels import anomalous_images
from vae_anomaly.data.image.layout import Layout
from vae_anomaly.data.image.modality import MODALITY
from vae_anomaly.data.image.signatures import is_image
from vae_anomaly.data.image.source import ImageSource, measured_layout, open_source
from vae_anomaly.data.registry import modality_of

ASCII_NAMES_ONLY = sys.platform in ("darwin", "win32")

# ------------------------------------------------------------------------------- files


def test_folders_are_searched_through_in_order(tmp_path):
    for name in ("b/2.png", "a.png", "b/1.PNG", "b/c/3.png", "z.png"):
        save(tmp_path / name, RAMP, "PNG")
    source = open_images(tmp_path)
    assert source.names == ["a.png", "b/1.PNG", "b/2.png", "b/c/3.png", "z.png"]
    assert source.categories == ["", "b", "b", "b", ""]


def test_system_files_are_skipped(tmp_path):
    save(tmp_path / "a.png", RAMP)
    for name in (".a.png", "._a.png", ".git/b.png", ".git/b.txt", "__MACOSX/c.png"):
        save(tmp_path / name, RAMP, "PNG")
    for name in ("Thumbs.db", "desktop.ini", "labels.csv", "README"):
        (tmp_path / name).write_text("text")
    source = open_images(tmp_path)
    assert source.names == ["a.png"]
    assert source.notes == ("passed over 1 file of another type, 2 hidden images",)


LABELS = {"a.png": "good", "b.png": "crack", "sub/c.png": "Good", "sub/d.png": "good"}


def labelled(folder, lines, header="file,label"):
    """Write images, and a file of labels with these lines."""
    for name in LABELS:
        save(folder / name, RAMP, "PNG")
    (folder / "labels.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8-sig")
    return folder


def test_labels_are_read_from_a_file_in_the_folder(tmp_path):
    folder = labelled(tmp_path, [f"{file},{label}" for file, label in reversed(LABELS.items())])
    images = open_images(folder)
    assert images.names == list(LABELS)
    assert images.categories == list(LABELS.values())
    assert anomalous_images(images).tolist() == [False, True, False, False]
    assert images.notes == ()
    learned = open_images(folder, fitting=True)
    assert learned.names == ["a.png", "sub/c.png", "sub/d.png"]
    assert learned.notes == ("by labels.csv, 3 of 4 images are normal and used",)
    assert open_images(folder, fitting=True, normal=["crack"]).names == ["b.png"]


def test_labels_of_0_and_1_and_other_spellings_of_paths(tmp_path):
    lines = ["./a.png,0", '"b.png", 1', "sub\\c.png,0", "", "sub/d.png ,1", "e.png,1"]
    images = open_images(labelled(tmp_path, lines))
    assert anomalous_images(images).tolist() == [False, True, False, True]


def test_labels_of_which_none_is_known_to_be_normal(tmp_path):
    lines = [f"{file},{i}" for i, file in enumerate(LABELS)]
    learned = open_images(labelled(tmp_path, lines), fitting=True)
    assert learned.names == list(LABELS)
    assert learned.notes[0].startswith("no label in labels.csv is known to be that of normal")


@pytest.mark.parametrize(
    ("header", "lines", "message"),
    [
        ("text", [], r"two columns, the file and the label of each image, got a line of 1: 'text'"),
        ("file,label,x", ["a.png,good,1"], "got a line of 3: 'file,label,x'"),
        ("file,label", ["a.png,good", "b.png"], r"got a line of 1: 'b\.png'"),
        (
            "file,label",
            ["a.png,good"],
            r"no label for 'b\.png', 'sub/c\.png', 'sub/d\.png'\. Add a",
        ),
        ("", [], "got a line of 0: ''"),
    ],
)
def test_what_is_no_file_of_labels_is_refused_where_labels_are_needed(
    tmp_path, header, lines, message
):
    folder = labelled(tmp_path, lines, header)
    assert open_images(folder).names == list(LABELS)  # scores need no labels
    for use in (
        lambda: anomalous_images(open_images(folder)),
        lambda: open_images(folder, fitting=True),
    ):
        with pytest.raises(DataError, match=message):
            use()


@pytest.fixture
def linked(tmp_path):
    """A folder of images and links, beside the folder that these lead to."""
    folder = tmp_path / "in"
    save(folder / "a.png", RAMP)
    for name in ("b.png", "more/c.png", "more/d"):
        save(tmp_path / "out" / name, RAMP, "PNG")
    (tmp_path / "out/notes.txt").write_text("text")
    for name, target in {
        "inside.png": "a.png",
        "outside.png": "../out/b.png",
        "named": "../out/b.png",
        "notes": "../out/notes.txt",
        "dangling.png": "nowhere.png",
        "dangling": "nowhere",
        "loop.png": "loop.png",
        "circle": "../in",
        "above": "..",
        "away": "../out/more",
        "twice": "../out/more",
        "device.png": "/dev/null",
    }.items():
        (folder / name).symlink_to(target)
    return folder


OUTSIDE = "a link that leads out of the folder, not followed without --follow-links"
BROKEN = "a link that leads nowhere"


def test_links_are_counted_by_reason(linked):
    reader = open_images(linked)
    assert reader.names == [
        *("a.png", "away", "dangling.png", "inside.png", "loop.png", "named", "outside.png"),
        "twice",
    ]
    assert set(reader.notes) == {
        "passed over 1 pipe or device, 2 links to folders in it, 1 link out of it to no image, "
        "1 broken link",
        f"not read: 4 images, {OUTSIDE}",
        f"not read: 2 images, {BROKEN}",
    }
    pixels, source = read(linked, GREY_8x16)
    assert len(pixels) == 2
    assert dict(source.skipped) == {
        **dict.fromkeys(("away", "named", "outside.png", "twice"), OUTSIDE),
        **dict.fromkeys(("dangling.png", "loop.png"), BROKEN),
    }
    with pytest.raises(DataError, match=r"in/away: a link that leads out of the folder, not"):
        read(linked, strict=True)


def test_links_are_followed_into_a_stated_folder(linked):
    reader = open_images(linked, follow_links=str(linked.parent / "out"))
    assert reader.names == [
        *("a.png", "away/c.png", "away/d", "dangling.png", "inside.png", "loop.png", "named"),
        "outside.png",
    ]
    more = open_images(linked, follow_links=str(linked.parent / "out/more"))
    assert "not read: 2 images, " + OUTSIDE in more.notes
    assert "away/c.png" in more.names
    with pytest.raises(ParameterError, match=r"follow_links must be a directory\. Got 'missing'"):
        open_images(linked, follow_links="missing")


def test_layouts_of_data_versions_and_hubs_are_read_by_their_links(tmp_path):
    for i in range(3):
        save(tmp_path / f"cache/blobs/{i:040}", np.full((8, 16), i, np.uint8), "PNG")
        link = tmp_path / f"cache/snapshots/main/train/{i}.png"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"../../../blobs/{i:040}")
    path = tmp_path / "cache/snapshots/main"
    with pytest.raises(DataError, match=r"none of 3 images .* without --follow-links"):
        open_source(path)
    pixels = next(open_source(path, follow_links=str(tmp_path / "cache")).batches()).records
    assert pixels[:, 0, 0, 0].tolist() == [0, 1, 2]
    (tmp_path / "whole").symlink_to(path)
    assert open_images(tmp_path / "whole").names == ["train/0.png", "train/1.png", "train/2.png"]


def test_images_of_other_formats_are_found_without_their_suffix(tmp_path):
    save(tmp_path / "a.png", RAMP)
    (tmp_path / "photo").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    (tmp_path / "video").write_bytes(b"\0\0\0\x18ftypmp42\0\0\0\0")
    _, source = read(tmp_path)
    assert source.skipped == [
        ("photo", "a HEIC image, expected PNG, JPEG, BMP, TIFF, WebP or GIF"),
    ]
    assert source.reader.notes == ("passed over 1 file of another type",)


def test_a_folder_of_tables_holds_no_images(tmp_path):
    for name in ("part-0.parquet", "year=2025/part-1.parquet", "_SUCCESS", ".part-0.crc"):
        (tmp_path / "t" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "t" / name).write_bytes(b"PAR1")
    assert not MODALITY.accepts(tmp_path / "t")
    assert modality_of(str(tmp_path / "t")).name == "table"
    save(tmp_path / "t/year=2025/figure.png", RAMP)
    assert MODALITY.accepts(tmp_path / "t")


def test_pipes_are_not_read(tmp_path):
    save(tmp_path / "a.png", RAMP)
    os.mkfifo(tmp_path / "pipe.png")
    assert open_images(tmp_path).names == ["a.png"]
    assert not MODALITY.accepts(tmp_path / "pipe.png")


@pytest.mark.skipif(ASCII_NAMES_ONLY, reason="file names are Unicode there")
def test_unusual_names(tmp_path):
    names = ["=cmd.png", 'a,"b".png', "new\nline.png", "esc\x1b[31m.png", "\u00e9.png"]
    for name in (*names, "\udcff.png"):
        save(tmp_path / name, RAMP)
    pixels, source = read(tmp_path, GREY_8x16)
    assert len(pixels) == 6
    names_read = source.reader.names
    assert sorted(names_read) == sorted([*names, "\\xff.png"])
    "\n".join(names_read).encode()


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "text.txt").write_text("text")
    with pytest.raises(DataError, match="holds no images: no PNG, JPEG, BMP"):
        open_images(tmp_path)


def test_paths_that_hold_images(tmp_path):
    assert MODALITY.accepts(tmp_path)
    assert MODALITY.accepts(save(tmp_path / "a.csv", RAMP, "PNG"))
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    assert not MODALITY.accepts(tmp_path / "t.csv")
    assert not MODALITY.accepts(tmp_path / "missing")
    assert not is_image(b"BMI,height\n")


def test_order_and_memory_with_several_batches(tmp_path):
    for i in range(300):
        save(tmp_path / f"{i:03}.png", np.full((4, 4), i % 256, np.uint8))
    source = ImageSource(open_images(tmp_path), Layout(4, 4, 1))
    batches = list(source.batches())
    assert [len(batch.records) for batch in batches] == [256, 44]
    values = np.concatenate([batch.records[:, 0, 0, 0] for batch in batches])
    assert values.tolist() == [i % 256 for i in range(300)]
    again = source.batches()
    next(again)
    again.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("images")]


# ----------------------------------------------------------------------------- layouts


def test_size_and_colours_are_measured(tmp_path):
    for i, side in enumerate((100, 200, 900)):
        save(tmp_path / f"{i}.png", np.zeros((side, 2 * side), np.uint8))
    source = open_images(tmp_path)
    assert measured_layout(source) == Layout(16, 32, 1, "stretch")
    save(tmp_path / "c.png", COLOURS)
    source = open_images(tmp_path)
    assert measured_layout(source, 20, "letterbox") == Layout(20, 20, 3, "letterbox")
    assert measured_layout(source, (5, 7)) == Layout(5, 7, 3)
    with pytest.raises(ParameterError, match=r"image_size must be 1 to 2048 pixels. Got \(0, 9\)"):
        measured_layout(source, (0, 9))
    with pytest.raises(ParameterError, match="resize must be one of stretch, letterbox"):
        measured_layout(source, resize="crop")


def test_small_and_narrow_images_are_measured(tmp_path):
    save(tmp_path / "a.png", RAMP)
    assert measured_layout(open_images(tmp_path)) == GREY_8x16
    save(tmp_path / "long" / "a.png", np.zeros((1, 100_000), np.uint8))
    source = open_images(tmp_path / "long")
    assert measured_layout(source) == Layout(1, 32, 1)
    save(tmp_path / "dot" / "a.png", np.full((1, 1), 9, np.uint8))
    pixels, _ = read(tmp_path / "dot", Layout(3, 3, 3))
    assert (pixels == 9).all()


def test_letterboxing_keeps_the_proportions(tmp_path):
    save(tmp_path / "wide.png", np.zeros((10, 20), np.uint8))
    save(tmp_path / "high.png", np.full((20, 10), 255, np.uint8))
    pixels, _ = read(tmp_path, Layout(8, 8, 3, "letterbox"))
    high, wide = pixels
    assert (wide[2:6] == 0).all()
    assert (np.delete(wide, range(2, 6), axis=0) == GREY).all()
    assert (high[:, 2:6] == 255).all()
    assert (np.delete(high, range(2, 6), axis=1) == GREY).all()


# ------------------------------------------------------------------ labels and masks


@pytest.fixture
def mvtec(tmp_path):
    """A data set in the MVTec layout."""
    root = tmp_path / "bottle"
    for name in ("train/good/0", "train/good/1", "test/good/0", "test/hole/0", "test/hole/1"):
        save(root / f"{name}.png", RAMP)
    save(root / "test/crack/0.jpg", RAMP)
    half = np.zeros((16, 32), np.uint8)
    half[:, :16] = 1
    save(root / "ground_truth/hole/0_mask.png", half)
    save(root / "ground_truth/crack/0.png", Image.fromarray(half * 255).convert("1"))
    (root / "license.txt").write_text("text")
    return root


def test_a_data_set_in_parts(mvtec):
    fitting, scoring = open_images(mvtec, fitting=True), open_images(mvtec)
    assert fitting.names == ["train/good/0.png", "train/good/1.png"]
    assert fitting.notes == ("a data set in parts: train is used",)
    assert scoring.names == [
        *("test/crack/0.jpg", "test/good/0.png"),
        *("test/hole/0.png", "test/hole/1.png"),
    ]
    assert scoring.categories == ["crack", "good", "hole", "hole"]
    assert anomalous_images(scoring).tolist() == [True, False, True, True]
    assert open_images(mvtec / "test", fitting=True).names == ["good/0.png"]


@pytest.mark.parametrize("part", ["", "test"])
def test_masks_are_found_by_name_and_resized(mvtec, part):
    source = open_images(mvtec / part)
    assert source.has_masks
    masks = [source.mask(i, GREY_8x16) for i in range(4)]
    assert masks[1] is None
    assert masks[3] is None
    for mask in (masks[0], masks[2]):
        assert mask.dtype == bool
        assert np.array_equal(mask, np.broadcast_to(np.arange(16) < 8, (8, 16)))
    letterboxed = source.mask(2, Layout(16, 16, 1, "letterbox"))
    assert (letterboxed.sum(), letterboxed[4:12, :8].all()) == (64, True)


def test_masks_that_are_links_are_followed_where_images_are(mvtec):
    path = mvtec / "ground_truth/hole/0_mask.png"
    (mvtec.parent / "blobs").mkdir()
    path.rename(mvtec.parent / "blobs/mask.png")
    path.symlink_to(mvtec.parent / "blobs/mask.png")
    assert open_images(mvtec).mask(2, GREY_8x16) is None
    followed = open_images(mvtec, follow_links=str(mvtec.parent / "blobs"))
    assert followed.mask(2, GREY_8x16).sum() == 64


def test_masks_of_every_mode(mvtec):
    marked = RAMP > 127
    palette = Image.fromarray(marked.astype(np.uint8)).convert("P")
    palette.putpalette([0, 0, 0, 255, 0, 0])
    source = open_images(mvtec)
    for image, form in (
        (Image.fromarray(RAMP * marked).convert("RGB"), "JPEG"),
        (Image.fromarray(marked.astype(np.uint16)), "PNG"),
        (palette, "PNG"),
    ):
        save(
            mvtec / "ground_truth/hole/0_mask.png",
            image,
            form,
            **{"quality": 100} if form == "JPEG" else {},
        )
        assert np.array_equal(source.mask(2, GREY_8x16), marked), form
    (mvtec / "ground_truth/hole/0_mask.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"0_mask\.png: it is empty"):
        source.mask(2, GREY_8x16)


def test_fitting_reads_only_normal_subfolders_if_there_are_any(tmp_path):
    for name in ("Good/a.png", "scratch/b.png", "dent/c.png", "d.png"):
        save(tmp_path / name, RAMP)
    source = open_images(tmp_path, fitting=True)
    assert source.names == ["Good/a.png"]
    assert source.notes == ("only 'Good' is used: 1 of 4 images",)


def test_labels_from_subfolders(tmp_path):
    for name in ("OK/a.png", "bad/b.png"):
        save(tmp_path / name, RAMP)
    source = open_images(tmp_path)
    assert anomalous_images(source).tolist() == [False, True]
    assert anomalous_images(source, normal=["bad"]).tolist() == [True, False]
    with pytest.raises(DataError, match=r"called 'fine'. Its subfolders are 'OK', 'bad'."):
        anomalous_images(source, normal=["fine"])
    save(tmp_path / "stray.png", RAMP)
    with pytest.raises(DataError, match=r"'stray\.png' lies beside the subfolders"):
        anomalous_images(open_images(tmp_path))


def test_subfolders_without_a_normal_one_are_no_labels(tmp_path):
    save(tmp_path / "monday/a.png", RAMP)
    source = open_images(tmp_path, fitting=True)
    assert source.names == ["monday/a.png"]
    assert anomalous_images(source) is None
    with pytest.raises(DataError, match=r"called 'x'\. It has none"):
        anomalous_images(open_images(tmp_path / "monday"), normal=["x"])


# ------------------------------------------------------------------------------- arrays


def idx(array, code=8):
    head = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


THREE = np.stack([RAMP, RAMP[::-1, ::-1], 255 - RAMP])


def test_idx_files(tmp_path):
    (tmp_path / "a-idx3-ubyte").write_bytes(idx(THREE))
    (tmp_path / "a-idx3-ubyte.gz").write_bytes(gzip.compress(idx(THREE)))
    for path in tmp_path.iterdir():
        assert MODALITY.accepts(path)
        pixels, source = read(path, GREY_8x16)
        assert np.array_equal(pixels[..., 0], THREE)
        reader = source.reader
        assert reader.names[0:2] == ["1", "2"]
        assert (source.n_records, reader.names[-1], reader.categories) == (3, "3", None)
        assert measured_layout(reader) == GREY_8x16


@pytest.mark.parametrize(
    "array",
    [
        THREE,
        THREE[..., np.newaxis],
        THREE.astype(np.uint16) * 257,
        THREE.astype(np.int64),
        THREE.astype(">i2") - 3,
        THREE.astype(np.float32),
        THREE / 7,
    ],
    ids=lambda a: f"{a.dtype}-{a.ndim}",
)
def test_numpy_files(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "first.npz", array)
    np.savez_compressed(tmp_path / "X.npz", labels=np.zeros(3), X=array)
    for path in tmp_path.iterdir():
        assert MODALITY.accepts(path)
        assert np.array_equal(read(path, GREY_8x16)[0], array.reshape(3, 8, 16, 1))


def test_arrays_are_resized_and_coloured(tmp_path):
    np.save(tmp_path / "a.npy", np.stack([COLOURS] * 2))
    source = open_images(tmp_path / "a.npy")
    assert measured_layout(source, 4) == Layout(4, 4, 3)
    assert read(tmp_path / "a.npy", Layout(4, 4, 1))[0].shape == (2, 4, 4, 1)
    np.save(tmp_path / "b.npy", np.zeros((2, 5, 5, 4), np.uint8))
    assert (read(tmp_path / "b.npy")[0] == GREY).all()


class Evil:
    def __reduce__(self):
        return (os.abort, ())


REFUSED_ARRAYS = {
    "labels": (idx(np.arange(3, dtype=np.uint8)), r"an array of shape \(3,\)\. Expected images"),
    "none": (idx(THREE[:0]), "holds no images"),
    "short": (idx(THREE)[:-1], "ends after 2 of 3 images. Copy it again"),
    "boast": (b"\0\0\x08\x03" + b"\xff" * 12, "at most 25 million are read"),
    "many": (b"\0\0\x08\x03\xff\xff\xff\xff" + struct.pack(">II", 8, 16), "is cut off"),
    "packed": (gzip.compress(idx(THREE))[:-20], "is damaged|is cut off|ends after"),
    "many_packed": (gzip.compress(b"\0\0\x08\x03\0\xff\0\0\0\0\1\0\0\0\1\0"), "is cut off"),
}


@pytest.mark.parametrize("case", REFUSED_ARRAYS)
def test_refused_idx_files(tmp_path, case):
    data, message = REFUSED_ARRAYS[case]
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "a")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 4)), r"an array of shape \(3, 4\)"),
        (
            np.zeros((2, 3, 8, 9)),
            r"a\.npy holds an array of shape \(2, 3, 8, 9\), whose channels come first\. Move them "
            r"to the end: numpy\.moveaxis\(X, 1, -1\)\.",
        ),
        (np.zeros((3, 5, 8, 9)), "with 1, 3 or 4 channels"),
        (np.array([Evil()], dtype=object), "holds '?object'?, expected numbers"),
        (np.zeros((3, 4, 5)).T, "Fortran"),
        (np.full((3, 4, 5), np.nan), "image 1: it holds NaN or infinite numbers, expected finite"),
        (np.full((3, 4, 5, 4), np.arange(4) / 3) * np.ones((3, 4, 5, 1)), None),
        (np.random.RandomState(0).rand(3, 4, 5, 4), "transparent pixels in more than 8 bits"),
    ],
    ids=[
        *("table", "channels first", "five channels", "pickle", "fortran", "nan", "opaque"),
        "transparent",
    ],
)
def test_refused_numpy_files(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    if message is None:
        assert read(tmp_path / "a.npy", strict=True)[0].shape == (3, 8, 16, 3)
        return
    with pytest.raises(DataError, match=message):
        read(tmp_path / "a.npy", strict=True)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize(
    "shape", ["(-3, 4, 5)", "(3, -4, 5)", "(3, -4, -5)", "(-3, -4, 5, 1)", f"(-{10**30}, 4, 5)"]
)
def test_negative_shapes_are_refused(tmp_path, shape, archived, version):
    """Their product may be positive, and a negative number of bytes reads a whole file."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    raw = b"\x93NUMPY" + bytes([version, 0]) + length + header + bytes(60)
    path = tmp_path / ("a.npz" if archived else "a.npy")
    path.write_bytes(raw)
    if archived:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("X.npy", raw)
    with pytest.raises(DataError, match=r"a\.np. is damaged: its header has the shape .* Copy it"):
        read(path)


def test_damaged_numpy_files(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, X=np.random.RandomState(0).randint(0, 256, (9, 8, 16), np.uint8))
    whole, rng = path.read_bytes(), np.random.RandomState(0)
    for _ in range(60):
        data = bytearray(whole)
        data[rng.randint(len(data))] ^= 1 << rng.randint(8)
        path.write_bytes(data[: rng.choice([len(data), rng.randint(len(data))])])
        try:
            pixels, source = read(path)
            assert len(pixels) + len(source.skipped) == source.n_records
        except DataError:
            continue
