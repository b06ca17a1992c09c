"""Patterns of file names as sources: images, and what may not be written beside them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vae_anomaly.cli import run
from vae_anomaly.data.image.files import open_images
from vae_anomaly.data.registry import modality_of

FAST = ("--max-steps", "20", "--false-alarm-rate", "0.3")


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of images, tables and a link that leads out of it."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    names = [f"{day}/good/{letter}{i}.png" for day in "ab" for letter in "pq" for i in range(6)]
    for name in (*names, "b/hole/p0.png", "b/.hidden.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(90, 110, (12, 16), dtype=np.uint8)).save(path)
    (tmp_path / "photos/a/notes.csv").write_text("flow\n1\n")
    Image.fromarray(np.zeros((12, 16), np.uint8)).save(tmp_path / "outside.png")
    (tmp_path / "photos/b/link.png").symlink_to(tmp_path / "outside.png")
    return tmp_path / "photos"


def names_of(pattern: str) -> list[str]:
    return list(open_images(pattern).names)


def test_a_pattern_chooses_images(photos: Path) -> None:
    assert names_of("photos/a/good/p*.png") == [f"p{i}.png" for i in range(6)]
    assert names_of("photos/?/good/p0.png") == ["a/good/p0.png", "b/good/p0.png"]
    assert names_of("photos/**/p0.png") == ["a/good/p0.png", "b/good/p0.png", "b/hole/p0.png"]
    assert names_of(f"{photos}/a/good/q[12].png") == ["q1.png", "q2.png"]
    assert open_images("photos/b/*/p0.png").categories == ["good", "hole"]
    assert names_of("photos/b/*/p0.png") == ["good/p0.png", "hole/p0.png"]


def test_only_normal_images_of_a_pattern_are_learned(photos: Path) -> None:
    reader = open_images("photos/b/*/p*.png", fitting=True)
    assert reader.names == [f"good/p{i}.png" for i in range(6)]
    assert reader.notes == ("only 'good' is used: 6 of 7 images",)


def test_hidden_images_and_links_are_treated_as_in_a_folder(photos: Path) -> None:
    reader = open_images("photos/b/*.png")
    assert reader.names == ["link.png"]
    assert reader.notes[0] == "passed over 1 hidden image"
    assert reader.notes[1].startswith("not read: 1 image, a link that leads out of the folder")


def test_what_matches_decides_what_a_pattern_holds(photos: Path) -> None:
    for pattern, name in (("photos/a/*/*", "image"), ("photos/a/*.csv", "table")):
        assert modality_of(pattern).name == name
    (photos / "x[1].png").write_bytes((photos / "a/good/p0.png").read_bytes())
    assert names_of("photos/x[1].png") == ["x[1].png"]  # the name of a file


def test_a_pattern_is_fitted_and_scored(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fit", "photos/*/good/p*.png", "-o", "m.vae", *FAST]) == 0
    assert "fitting on 12 images" in capsys.readouterr().err
    command = ["score", "m.vae", "photos/a/good/*.png", "-o", "s.csv", "--maps"]
    assert run([*command, "photos/a/maps"]) == 0
    with Path("s.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 12
    assert (photos / "a/maps/p0.png.png").is_file()
    capsys.readouterr()
    assert run([*command, "photos/a/good"]) == 2
    assert "The maps would lie in photos/a/good/*.png, and be read" in capsys.readouterr().err
    assert run(["evaluate", "m.vae", "photos/*/good/*.png", "-o", "photos/a/good"]) == 2
    assert "The report would lie among the images in photos/*/good" in capsys.readouterr().err


def test_files_that_the_shell_lists_are_to_be_a_pattern_in_quotes(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["fit", "photos/a/good/p0.png", "photos/a/good/p1.png", "-o", "m.vae"]) == 2
    assert capsys.readouterr().err == (
        "error: Got unexpected extra argument (photos/a/good/p1.png). Put a pattern of files in "
        "quotes. Try 'vae-anomaly fit --help'.\n"
    )


@pytest.mark.parametrize(
    ("pattern", "code", "message"),
    [
        ("nix/*.png", 5, "Cannot read nix/*.png: there is no such file. Check the path."),
        ("photos/a/*.csv", 3, "photos/a/*.csv holds no images: no PNG, JPEG,"),
    ],
)
def test_a_pattern_without_images(
    photos: Path, capsys: pytest.CaptureFixture[str], pattern: str, code: int, message: str
) -> None:
    assert run(["fit", "photos/a/good/*.png", "-o", "m.vae", *FAST]) == 0
    capsys.readouterr()
    assert run(["score", "m.vae", pattern, "-o", "s.csv"]) == code
    assert message in capsys.readouterr().err


def test_a_pattern_of_images_is_no_table(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "\n".join(f"{i % 7},{i % 5}" for i in range(60))
    Path("t.csv").write_text(f"flow,pressure\n{rows}\n")
    assert run(["fit", "t.csv", "-o", "t.vae", *FAST]) == 0
    capsys.readouterr()
    assert run(["score", "t.vae", "photos/a/good/*.png", "-o", "s.csv"]) == 3
    assert "photos/a/good/*.png holds images, but the model was fitted on a table. Give it a" in (
        capsys.readouterr().err
    )
