"""The README's commands run as written; its Python runs as a doctest."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")

MAX_WORDS = 900

LINK = re.compile(r"\]\(([^)]+)\)")
"""Address of a link or an image."""

COMMANDS = [
    shlex.split(line) for line in map(str.strip, README.splitlines()) if line.startswith("vae-")
]
TABLE, IMAGES, SERIES = COMMANDS[:4], COMMANDS[4:6], COMMANDS[6:]


def run_all(commands: list[list[str]]) -> None:
    """Run commands as written, but for the duration of fits."""
    from vae_anomaly.cli import run

    for _, *words in commands:
        steps = ["--max-steps", "100"] if words[0] == "fit" else []
        assert run([*words, *steps]) == 0, words


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").symlink_to(ROOT / "data")
    (tmp_path / "reports").mkdir()
    monkeypatch.chdir(tmp_path)


def test_the_readme_is_short() -> None:
    assert len(README.split()) <= MAX_WORDS


def test_links_of_the_readme_lead_into_the_repository() -> None:
    targets = LINK.findall(README)
    assert len(targets) > 5
    for target in targets:
        assert (ROOT / target).exists(), target


def test_the_description_on_an_index_has_no_link_that_would_be_dead_there() -> None:
    text = (ROOT / "DESCRIPTION.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["setuptools"]["dynamic"]["readme"]["file"] == ["DESCRIPTION.md"]
    assert all(url.startswith("https://doi.org/") for url in project["project"]["urls"].values())
    assert LINK.findall(text) == []
    commands = [line for line in text.splitlines() if line.startswith("    vae-anomaly ")]
    assert commands[0] == "    vae-anomaly demo"
    assert commands[1:] == [line for line in README.splitlines() if line in commands]
    assert text.splitlines()[:5] == README.splitlines()[:5]


def test_a_labelled_table_takes_four_commands() -> None:
    assert [words[1] for words in TABLE] == ["fit", "evaluate", "score", "recalibrate"]
    run_all(TABLE)
    scores = pd.read_csv("reports/scores.csv")
    assert len(scores) == len(pd.read_csv("data/labelled.csv"))
    assert {"id", "anomaly_score", "is_anomaly", "reason_3"} <= set(scores.columns)
    assert Path("reports/tumour/report.html").is_file()
    assert Path("tumour-today.vae").is_file()


def test_images_in_folders() -> None:
    rng = np.random.default_rng(0)
    for folder in ("train", "test/good", "test/scratch"):
        Path("photos", folder).mkdir(parents=True)
        for i in range(30 if folder == "train" else 4):
            pixels = rng.integers(90, 110, size=(8, 8), dtype=np.uint8)
            if folder.endswith("scratch"):
                pixels[3] = 255
            Image.fromarray(pixels).save(f"photos/{folder}/{i}.png")
    run_all(IMAGES)
    assert Path("reports/part/report.html").is_file()


def test_a_time_series() -> None:
    rng = np.random.default_rng(0)
    time = pd.date_range("2025-01-01", periods=3000, freq="10min")
    rhythm = np.sin(2 * np.pi * np.arange(3000) / 48)
    table = pd.DataFrame({"time": time, "flow": rhythm + 0.1 * rng.normal(size=3000)})
    table[:2000].to_csv("sensors.csv", index=False)
    today = table[2000:].copy()
    today.iloc[500:560, 1] = 0.0
    today.to_csv("today.csv", index=False)
    run_all(SERIES)
    assert len(pd.read_csv("scores.csv")) == len(today)
    assert len(pd.read_csv("events.csv")) >= 1


@pytest.mark.parametrize("command", ["demo", "test", "docs"])
def test_the_readmes_set_up_is_what_make_offers(command: str) -> None:
    assert f"    make {command} " in README
    makefile = (ROOT / "Makefile").read_text().splitlines()
    assert any(line.startswith(f"{command}:") for line in makefile)


def test_files_that_the_readme_names_exist() -> None:
    links = [part.split(")")[0] for part in README.split("](")[1:]]
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_ci_runs_the_readmes_test_command() -> None:
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("\nmake test")
