"""The commands on folders of images."""

from __future__ import annotations

import csv
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.base import clone

import vae_anomaly
from vae_anomaly.cli import run
from vae_anomaly.cli.commands import cli
from vae_anomaly.cli.console import Console
from vae_anomaly.data.image.decoder import resized
from vae_anomaly.data.image.layout import Layout
from vae_anomaly.data.image.source import open_source
from vae_anomaly.metrics.prior_fit import prior_fit

DATA = Path(__file__).parent.parent / "data"
FAST = ("--max-steps", "30", "--false-alarm-rate", "0.1")


def draw(path, seed, *, flaw=False):
    """Save a noisy ramp, with a dark square if it is to have a flaw."""
    rng = np.random.RandomState(seed)
    pixels = np.tile(np.linspace(60, 200, 16), (12, 1)) + rng.normal(scale=4, size=(12, 16))
    if flaw:
        pixels[4:8, 4:8] = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A data set in the MVTec layout, and a model of its good images."""
    root = tmp_path_factory.mktemp("images") / "plate"
    for i in range(60):
        draw(root / f"train/good/{i:02}.png", i)
    for i in range(8):
        draw(root / f"test/good/{i}.png", 100 + i)
        draw(root / f"test/hole/{i}.png", 200 + i, flaw=True)
        mask = np.zeros((12, 16), np.uint8)
        mask[4:8, 4:8] = 255
        (root / "ground_truth/hole").mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(root / f"ground_truth/hole/{i}_mask.png")
    model = root.parent / "plate.vae"
    assert run(["fit", str(root), "-o", str(model), *FAST]) == 0
    return root


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """A folder to work in, with the data set and the model."""
    shutil.copytree(made, tmp_path / "plate")
    shutil.copy(made.parent / "plate.vae", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# --------------------------------------------------------------------------- all is well


def test_choices_are_those_of_the_library():
    types = {option.name: option.type for option in cli.commands["fit"].params}
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6, 1)
    made = [resized(pixels, Layout(8, 8, 1, name)).tobytes() for name in types["resize"].choices]
    assert len(set(made)) == 2


def test_fit_says_what_it_learned(place, vae_lines):
    code, out, lines = vae_lines(
        "fit plate -o m.vae --max-steps 2 --false-alarm-rate 0.1 --image-size 6x8 "
        "--resize letterbox --architecture dense"
    )
    assert (code, out) == (0, "")
    assert lines[0] == "note: plate: a data set in parts: train is used"
    assert lines[1] == "fitting on 60 images of 6 x 8 pixels, grey, letterboxed"
    assert lines[-1] == "model: m.vae"
    assert lines[-3] == "pixels: 0 to 255"
    assert "from 9 calibration images" in lines[-2]
    code, out, _ = vae_lines("inspect m.vae")
    assert code == 0
    assert "architecture=dense" in out
    assert out.splitlines()[-2:] == [
        "pixels       0 to 255",
        "images       6 x 8 pixels, grey, letterboxed",
    ]


def test_score_has_a_line_for_each_image(place, vae_lines):
    code, _, lines = vae_lines("score plate.vae plate/test -o s.csv")
    assert code == 0
    rows = table(place / "s.csv")
    assert list(rows[0]) == ["file", "anomaly_score", "is_anomaly", "status"]
    names = [f"{label}/{i}.png" for label in ("good", "hole") for i in range(8)]
    assert [row["file"] for row in rows] == names
    assert {row["status"] for row in rows} == {"ok"}
    detector = vae_anomaly.load("plate.vae")
    pixels = np.stack([np.asarray(Image.open(place / "plate/test" / name)) for name in names])
    assert [float(row["anomaly_score"]) for row in rows] == (
        -detector.score_samples(pixels)
    ).tolist()
    flags = [row["is_anomaly"] == "1" for row in rows]
    assert flags == (detector.predict(pixels) == -1).tolist()
    assert lines[0].startswith(f"{sum(flags)} of 16 images are flagged, above ")
    assert lines[1] == "scores: s.csv"


def test_score_writes_parquet_and_to_standard_output(place, vae_lines):
    assert vae_lines("score plate.vae plate/test -o s.parquet")[0] == 0
    assert pq.read_table("s.parquet").num_rows == 16
    code, out, _ = vae_lines("score plate.vae plate/test/good/3.png -o - --score kl")
    assert code == 0
    header, row = out.splitlines()
    assert header == "file,anomaly_score,status"
    assert row.startswith("3.png,")


def test_maps_are_written_as_numbers_and_over_the_images(place, vae_lines):
    draw(place / "plate/test/hole/wide.png", 300, flaw=True)
    wide = Image.open(place / "plate/test/hole/wide.png").resize((160, 120))
    wide.save(place / "plate/test/hole/wide.png")
    (place / "plate/test/hole/zero.png").touch()
    code, _, err = vae_lines("score plate.vae plate/test -o s.csv --maps maps")
    assert code == 6
    (line,) = (one for one in err if one.startswith("maps: "))
    top = float(
        re.fullmatch(
            r"maps: 17 images in maps, as TIFF and PNG \(brightest from (\S+) nats on\)", line
        )[1]
    )
    rows = {row["file"]: row for row in table(place / "s.csv")}
    model = vae_anomaly.load(place / "plate.vae")
    tops = []
    for name, row in rows.items():
        if row["status"] != "ok":
            continue
        image = Image.open(place / "plate/test" / name)
        nats = np.asarray(Image.open(place / "maps" / f"{name}.tiff"))
        painted = np.asarray(Image.open(place / "maps" / f"{name}.png"))
        assert nats.shape == (image.height, image.width)
        assert painted.shape == (*nats.shape, 3)
        small = np.asarray(image.resize((16, 12), Image.Resampling.BILINEAR), dtype=float)
        expected = model.anomaly_maps(small[None])[0]
        if nats.shape == (12, 16):
            np.testing.assert_allclose(nats, expected, rtol=1e-5)
        if row["is_anomaly"] == "1":
            tops.append(np.percentile(expected, 99.8))
        warm = painted[..., 0].astype(int) - painted[..., 2]  # grey where nothing contributes
        assert (warm[nats <= 0] == 0).all()
        if name.startswith("hole"):
            assert warm[nats > top / 2].min(initial=255) > 20
    assert float(f"{np.median(tops):.3g}") == top
    code, _, err = vae_lines("score plate.vae plate/test/good -o s.csv --maps plate/test/good/maps")
    assert code == 2
    assert err == [
        "error: The maps would lie in plate/test/good, and be read as data the next time. Choose "
        "another folder."
    ]


def test_maps_of_arrays_and_of_images_none_of_which_is_flagged(place, vae_lines):
    images = [np.asarray(Image.open(place / f"plate/test/good/{i}.png")) for i in range(4)]
    np.save(place / "a.npy", np.stack(images))
    code, _, err = vae_lines("score plate.vae a.npy -o s.csv --maps maps --threshold 1e9")
    assert code == 0
    nats = [np.asarray(Image.open(place / f"maps/{i}.tiff")) for i in range(1, 5)]
    top = 2 * max(np.percentile(one, 99.8) for one in nats)
    assert f"maps: 4 images in maps, as TIFF and PNG (brightest from {top:.3g} nats on)" in err
    assert sorted(path.name for path in (place / "maps").iterdir()) == [
        f"{i}.{end}" for i in range(1, 5) for end in ("png", "tiff")
    ]


def test_maps_of_flagged_images_alone(place, vae_lines):
    command = "score plate.vae plate/test -o s.csv --maps"
    assert vae_lines(f"{command} maps")[0] == 0
    code, _, err = vae_lines(f"{command} some --only-flagged")
    assert code == 0
    names = [row["file"] for row in csv.DictReader((place / "s.csv").read_text().splitlines())]
    assert any(line.startswith(f"maps: {len(names)} image") for line in err)
    written = sorted(path.relative_to(place / "some") for path in (place / "some").rglob("*.*"))
    assert written == sorted(Path(f"{name}.{end}") for name in names for end in ("png", "tiff"))
    assert 0 < len(names) < 17
    for path in written:
        assert (place / "some" / path).read_bytes() == (place / "maps" / path).read_bytes()
    code, _, err = vae_lines(f"{command} none --only-flagged --threshold 1e9")
    assert code == 0
    assert "maps: none, as no image is flagged" in err
    assert not (place / "none").exists()


def test_evaluate_takes_labels_and_masks_from_the_folders(place, vae_lines):
    code, out, lines = vae_lines("evaluate plate.vae plate -o report --title Plates --top 3")
    assert (code, out) == (0, "")
    assert "masks: 8 for 8 anomalies" in lines
    text = " ".join(lines)
    assert "AUROC" in text
    assert "the pixel AUROC" in text
    page = (place / "report/report.html").read_text()
    assert "Plates" in page
    assert "test/hole/" in page
    assert str(place) not in page


def test_evaluate_without_a_normal_subfolder_has_no_labels(place, vae_lines):
    (place / "plate/test/good").rename(place / "plate/test/fine")
    code, _, lines = vae_lines("evaluate plate.vae plate -o report")
    assert code == 0
    assert any(
        line.startswith("note: no subfolder is called good, normal or ok,") for line in lines
    )
    assert "AUROC" not in " ".join(lines)
    code, _, lines = vae_lines("evaluate plate.vae plate -o report --normal-label fine")
    assert code == 0
    assert "AUROC" in " ".join(lines)


def test_arrays_are_scored_by_number(place, vae_lines):
    pixels = np.stack(
        [np.asarray(Image.open(p)) for p in sorted((place / "plate/test/hole").iterdir())]
    )
    np.savez(place / "a.npz", X=pixels)
    assert vae_lines("score plate.vae a.npz -o a.csv")[0] == 0
    assert vae_lines("score plate.vae plate/test/hole -o b.csv")[0] == 0
    rows, same = table(place / "a.csv"), table(place / "b.csv")
    assert [row["file"] for row in rows] == [str(i) for i in range(1, 9)]
    assert [r["anomaly_score"] for r in rows] == [r["anomaly_score"] for r in same]


def test_arrays_bring_their_labels(place, vae_lines):
    files = sorted((place / "plate/test").glob("*/*.png"))
    pixels = np.stack([np.asarray(Image.open(path)) for path in files])
    holes = np.array([path.parent.name == "hole" for path in files])
    np.savez(place / "a.npz", X=pixels, y=holes)
    code, _, lines = vae_lines("evaluate plate.vae a.npz -o report")
    assert code == 0, lines
    assert lines[0] == "note: a.npz: the array 'X' is read, of 'X', 'y'"
    assert lines[1] == ("labels: y in a.npz: 'False' normal, 8 images; 'True' anomalous, 8 images")
    text = "\n".join(lines)
    assert "Of 8 anomalies, " in text
    folders = vae_lines("evaluate plate.vae plate -o other")[2]
    assert "labels: 'good' normal, 8 images; 'hole' anomalous, 8 images" in folders
    (same,) = (line for line in folders if ": the AUROC" in line)
    assert same in lines
    assert same in lines

    np.savez(place / "a.npz", X=pixels, y=np.where(holes, 3, 5))
    code, _, lines = vae_lines("evaluate plate.vae a.npz -o report")
    assert code == 0
    assert lines[1:3] == [
        "labels: y in a.npz, 2 categories",
        "note: no label is called good, normal or ok, so that nothing is known to be an anomaly. "
        "Name normal ones with --normal-label.",
    ]
    code, _, lines = vae_lines("evaluate plate.vae a.npz -o report --normal-label 5")
    assert code == 0
    assert same in lines

    np.savez(place / "a.npz", X=pixels, y=holes[1:])
    code, _, lines = vae_lines("evaluate plate.vae a.npz -o new")
    assert code == 3
    assert lines == [
        "error: y in a.npz holds an array of shape (15,). Expected one label for each of the 16 "
        "images: shape (16,)."
    ]
    assert not (place / "new").exists()
    assert vae_lines("score plate.vae a.npz -o s.csv")[0] == 0  # which needs no labels


def test_fit_warns_of_anomalies_among_what_it_learns(place, vae_lines):
    pixels = np.random.RandomState(0).randint(0, 255, size=(20, 8, 8), dtype=np.uint8)
    np.savez(place / "mixed.npz", X=pixels, y=np.arange(20) < 3)
    code, _, lines = vae_lines("fit mixed.npz -o mixed.vae --max-steps 5 --contamination 0.1")
    assert code == 0
    assert lines[1] == (
        "warning: 3 of 20 images are labelled as anomalies, and are learned as if they were "
        "normal. Leave them out of the file."
    )


def test_a_model_with_another_beta_is_compared(place, vae_lines):
    (place / "plate/train/good/07.png").write_bytes(b"")
    line = "evaluate plate.vae plate -o report --compare-beta 0 --training plate"
    code, out, lines = vae_lines(line)
    assert (code, out) == (6, "")
    assert "training a comparison model with beta 0 on 59 images" in lines
    assert lines[-2:] == [
        "skipped 1 of 60 images for the comparison model:",
        "  train/good/07.png: it is empty",
    ]
    (said,) = (line for line in lines if line.startswith("The energy distance"))
    number = r"\d[\d.e+-]*"
    assert re.fullmatch(
        rf"The energy distance of the latent codes from N\(0, I\) is {number} with the "
        rf"KL weight of 1 \(beta\), and {number} for the same network trained with 0: zero would "
        rf"be no difference\.",
        said,
    )
    page = (place / "report/report.html").read_text()
    assert "Comparison model with beta 0" in page
    assert (place / "report/latent_compared.png").is_file()

    # The same again by hand: only beta differs.
    model = vae_anomaly.load("plate.vae")
    with open_source("plate", model.model_.encoder, fitting=True) as source:
        pixels = np.concatenate([batch.records for batch in source.batches()])
    other = clone(model).set_params(beta=0.0).fit(pixels)
    good = np.stack([np.asarray(Image.open(f"plate/test/good/{i}.png")) for i in range(8)])
    for detector in (model, other):
        assert f"{prior_fit(detector.transform(good)[:, :8], 0).energy:.3g}" in said


def test_a_model_made_in_python_takes_folders(place, vae_lines):
    model = vae_anomaly.load("plate.vae").model_
    bare = replace(model, encoder=replace(model.encoder, resize=None))
    vae_anomaly.save(vae_anomaly.VAEDetector.from_model(bare), "bare.vae")
    assert vae_lines("score plate.vae plate/test -o a.csv")[0] == 0
    assert vae_lines("score bare.vae plate/test -o b.csv")[0] == 0
    assert (place / "a.csv").read_bytes() == (place / "b.csv").read_bytes()
    assert vae_lines("inspect bare.vae")[1].splitlines()[-1] == "images       12 x 16 x 1"


def test_progress_tells_the_speed_and_the_time_left(capsys, monkeypatch):
    monkeypatch.setattr("vae_anomaly.pipeline.progress.SECONDS_BETWEEN_LINES", 0.0)
    clock = iter([0.0, 0.0, 2.0, 2.0, 2.0])
    monkeypatch.setattr("vae_anomaly.pipeline.progress.time.monotonic", lambda: next(clock))
    with Console().progress("training", 30, unit="images", each=128) as update:
        update(10, "loss 1.5 nats")
    said = "training: 10 of 30, loss 1.5 nats, 640 images/s, 4 s left\n"
    assert capsys.readouterr().err == said


def test_progress_as_a_bar_tells_the_speed(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Console().progress("scoring", 10, unit="images") as update:
        update(10)
    assert "images/s" in capsys.readouterr().err


# ---------------------------------------------------------------------- broken images


def test_broken_images_are_named_and_the_exit_code_is_6(place, vae_lines):
    (place / "plate/test/good/1.png").write_bytes(b"")
    whole = (place / "plate/test/good/2.png").read_bytes()
    (place / "plate/test/good/=2\n.png").write_bytes(whole[:-30])
    code, _, lines = vae_lines("score plate.vae plate/test -o s.csv")
    assert code == 6
    assert lines[-3] == "skipped 2 of 17 images:"
    assert lines[-2] == "  good/1.png: it is empty"
    assert lines[-1].startswith(r"  'good/=2\n.png': damaged (")
    rows = table(place / "s.csv")
    assert len(rows) == 17
    bad = [row for row in rows if row["status"] != "ok"]
    assert [row["file"] for row in bad] == ["good/1.png", "good/=2\n.png"]
    assert {(row["anomaly_score"], row["is_anomaly"]) for row in bad} == {("", "")}

    code, _, lines = vae_lines("evaluate plate.vae plate/test -o report")
    assert code == 6
    assert lines[-3] == "skipped 2 of 17 images:"
    assert "it is empty" in (place / "report/report.html").read_text()


def test_fit_goes_on_without_broken_images(place, vae_lines):
    for i in range(12):
        (place / f"plate/train/good/{i:02}.png").write_bytes(b"")
    code, _, lines = vae_lines("fit plate -o m.vae --max-steps 2 --false-alarm-rate 0.2")
    assert code == 6
    assert lines[1] == "fitting on 48 images of 12 x 16 pixels, grey, stretched"
    assert "skipped 12 of 60 images:" in lines
    assert lines[-1] == "  and 2 more"


def test_animations_are_noted(place, vae_lines):
    frames = [Image.fromarray(np.full((12, 16), v, np.uint8)) for v in (90, 200)]
    frames[0].save(place / "plate/test/good/9.gif", save_all=True, append_images=frames[1:])
    code, _, lines = vae_lines("score plate.vae plate/test -o s.csv")
    assert code == 0
    assert lines[-1] == "note: only the first frame of 1 image was read: good/9.gif ..."


def test_a_broken_mask_is_noted(place, vae_lines):
    (place / "plate/ground_truth/hole/0_mask.png").write_bytes(b"")
    code, _, lines = vae_lines("evaluate plate.vae plate -o report")
    assert code == 0
    assert lines[2].startswith("warning: no mask for test/hole/0.png: ")
    assert "masks: 7 for 8 anomalies" in lines


def test_links_are_not_read_unless_they_may_be_followed(place, vae_lines):
    (place / "linked/good").mkdir(parents=True)
    for path in sorted((place / "plate/test/good").iterdir()):
        (place / "linked/good" / path.name).symlink_to(path)
    draw(place / "linked/good/own.png", 300)
    (place / "linked/.thumbnails").mkdir()
    draw(place / "linked/.thumbnails/a.png", 0)
    (place / "linked/notes.txt").write_text("text")
    commands = (
        "score plate.vae linked -o s.csv",
        "evaluate plate.vae linked -o report",
        "recalibrate plate.vae linked -o new.vae --false-alarm-rate 0.5",
        "fit linked -o other.vae --max-steps 2 --contamination 0.1",
    )
    link = "a link that leads out of the folder, not followed without --follow-links"
    passed_over = "note: linked: passed over 1 file of another type, 1 hidden image"
    for line in commands:
        if line.startswith("fit"):
            draw(place / "linked/good/second.png", 301)
        code, _, lines = vae_lines(line)
        assert code == 6, lines
        assert lines[:2] == [passed_over, f"note: linked: not read: 8 images, {link}"]
        code, _, lines = vae_lines(f"{line} --follow-links plate/test")
        assert code == 0, lines
        assert lines[0] == passed_over
        assert not any("not read" in text for text in lines)
    assert vae_lines(f"{commands[0]} --follow-links plate/train")[0] == 6
    assert vae_lines(f"{commands[0]} --follow-links nowhere")[::2] == (
        2,
        ["error: follow_links must be a directory. Got 'nowhere'."],
    )
    code, _, lines = vae_lines("score plate.vae linked -o s.csv --strict")
    assert (code, lines[-1]) == (
        3,
        f"error: linked/good/0.png: {link}. Replace the image or remove it.",
    )


# --------------------------------------------------------------------------- refused

TOGETHER = (
    "--compare-beta and --training go together: a weight of the KL divergence, and the data "
    "that MODEL was fitted on. Give both, or none of them."
)

REFUSED = [
    ("fit empty -o out", 3, "empty holds no images: no PNG, JPEG, BMP, TIFF, WebP or GIF files"),
    ("score plate.vae empty -o out", 3, "empty holds no images"),
    ("fit one -o out", 3, "one: 1 of 1 images can be read. Expected at least 2 to learn from."),
    ("fit bad -o out", 3, "bad: none of 1 images can be read. The first: bad/a.png: it is"),
    ("evaluate plate.vae bad -o out", 3, "bad: none of 1 images can be read. The first, a.png"),
    ("fit bad -o out --strict", 3, "bad: none of 1"),
    ("score plate.vae bad -o out --strict", 3, "bad/a.png: it is empty. Replace the image or"),
    ("evaluate plate.vae bad -o out --strict", 3, "bad/a.png: it is empty."),
    ("fit missing -o out", 5, "Cannot read missing: there is no such file. Check the path."),
    ("score plate.vae missing -o out", 5, "Cannot read missing: there is no such file."),
    (
        "score plate.vae t.csv -o out",
        3,
        "t.csv holds a table, but the model was fitted on images. Give it images, or fit a model",
    ),
    ("evaluate plate.vae t.csv -o out", 3, "t.csv holds a table, but the model was fitted on"),
    (
        "score t.vae plate -o out",
        3,
        "plate holds images, but the model was fitted on a table. Give it a table, or fit a model",
    ),
    ("evaluate t.vae plate -o out", 3, "plate holds images, but the model was fitted on"),
    ("fit plate -o out --ignore a", 2, "--ignore is for tables; plate holds images."),
    ("fit plate -o out --id-column a", 2, "--id-column is for tables; plate holds images."),
    (
        "score plate.vae plate -o out --explain 2",
        2,
        "--explain is for tables; plate.vae was fitted on images.",
    ),
    (
        "evaluate plate.vae plate -o out --label-column a",
        2,
        "--label-column is for tables; plate.vae was",
    ),
    ("fit t.csv -o out --image-size 9", 2, "--image-size is for images; t.csv holds a table."),
    ("score t.vae t.csv -o out --follow-links .", 2, "--follow-links is for images; t.vae was fit"),
    ("fit t.csv -o out --resize stretch", 2, "--resize is for images; t.csv holds a table."),
    ("evaluate t.vae t.csv -o out --strict", 2, "--strict is for images; t.vae was fitted on a t"),
    ("fit plate -o out --image-size 9x", 2, "expected a height and a width, such as 48x64, or one"),
    ("fit plate -o out --image-size 0", 2, "image_size must be 1 to 2048 pixels. Got (0, 0)."),
    ("evaluate plate.vae plate -o plate/report", 2, "The report would lie among the images in"),
    ("evaluate plate.vae plate -o out --compare-beta 0", 2, TOGETHER),
    ("evaluate plate.vae plate -o out --training plate", 2, TOGETHER),
    (
        "evaluate plate.vae plate -o out --compare-beta 1 --training plate",
        2,
        "plate.vae itself was fitted with beta 1: there would be nothing to compare. Choose",
    ),
    (
        "evaluate plate.vae one -o out --compare-beta 0 --training missing",
        5,
        "Cannot read missing: there is no such file.",
    ),
    ("evaluate plate.vae plate -o out --compare-beta 0 --training bad", 3, "bad: none of 1 image"),
    (
        "evaluate plate.vae one -o plate/report --compare-beta 0 --training plate",
        2,
        "The report would lie among the images in plate. Choose another output.",
    ),
    (
        "evaluate t.vae t.csv -o out --compare-beta 0 --training plate",
        2,
        "--compare-beta is for images; t.vae was fitted on a table.",
    ),
    (
        "evaluate t.vae t.csv -o out --training plate",
        2,
        "--training is for images; t.vae was fitted",
    ),
    ("evaluate plate.vae plate -o out --normal-label x", 3, "no subfolder with images is called"),
    ("score plate.vae labels -o out", 3, "labels holds an array of shape (3,). Expected images"),
]


@pytest.fixture(scope="module")
def table_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "t.vae"
    options = {"max_steps": 2, "n_members": 1, "contamination": 0.1, "random_state": 0}
    rows = np.random.RandomState(0).normal(size=(40, 2))
    vae_anomaly.save(vae_anomaly.VAEDetector(**options).fit(rows), path)
    return path


@pytest.mark.parametrize(("line", "code", "message"), REFUSED, ids=[line for line, *_ in REFUSED])
def test_refused(place, vae_lines, table_model, line, code, message):
    shutil.copy(table_model, place)
    shutil.copy(DATA / "normal.csv", place / "t.csv")
    (place / "empty").mkdir()
    draw(place / "one/a.png", 0)
    (place / "bad").mkdir()
    (place / "bad/a.png").write_bytes(b"")
    (place / "labels").write_bytes(b"\0\0\x08\x01\0\0\0\3abc")
    got, out, lines = vae_lines(line)
    assert (got, out) == (code, "")
    (error,) = [said for said in lines if said.startswith("error: ")]
    assert message in error
    assert not (place / "out").exists()


def test_images_that_are_shrunk_are_named(tmp_path, vae_lines, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "large").mkdir()
    rng = np.random.RandomState(0)
    for i in range(20):
        pixels = rng.randint(0, 99, size=(50, 100)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "large" / f"{i}.png")
    options = "-o m.vae --max-steps 2 --members 1 --false-alarm-rate 0.2"
    note = (
        "note: large: images are shrunk from 50 x 100 to 16 x 32 pixels, where small defects may "
        "vanish. For more, --image-size HxW"
    )
    code, _, lines = vae_lines(f"fit large {options}")
    assert (code, lines[0]) == (0, note)
    assert note not in vae_lines(f"fit large {options} --image-size 16x32")[2]
    assert note not in vae_lines("score m.vae large -o s.csv")[2]
