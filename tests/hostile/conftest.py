"""Fixtures: small fitted models, a working directory, and commands run in this process."""

from __future__ import annotations

import io
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from vae_anomaly import VAEDetector, save
from vae_anomaly.cli import run

OLD = b"old output\n"


class Outcome(NamedTuple):
    """Exit code and outputs of a command."""

    code: int
    out: str
    lines: list[str]
    """Lines of standard error."""

    @property
    def error(self) -> str:
        (error,) = [line for line in self.lines if line.startswith("error: ")]
        return error.removeprefix("error: ")


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Models of two named columns, of two unnamed columns, and of images of 12 x 16 pixels."""
    folder = tmp_path_factory.mktemp("models")
    options = {"max_steps": 20, "n_members": 2, "contamination": 0.1, "random_state": 0}
    rng = np.random.RandomState(0)
    flow = rng.normal(10, 2, size=80)
    rows = np.column_stack([flow, 2 * flow + rng.normal(size=80)])
    table = pd.DataFrame(rows, columns=["flow", "pressure"])
    save(VAEDetector(**options).fit(table), folder / "flow.vae")
    save(VAEDetector(**options).fit(rows), folder / "by_place.vae")
    images = rng.randint(100, 156, size=(40, 12, 16, 1), dtype=np.uint8)
    model = VAEDetector(**options).fit(images).model_
    from_files = replace(model, encoder=replace(model.encoder, resize="stretch"))
    save(VAEDetector.from_model(from_files), folder / "plate.vae")
    return folder


@pytest.fixture
def place(tmp_path, models, monkeypatch):
    """The working directory: models, a valid table, and old outputs."""
    for path in models.iterdir():
        shutil.copy(path, tmp_path)
    (tmp_path / "good.csv").write_text("flow,pressure\n10,20\n11,21\n12,25\n")
    for name in ("out.csv", "out.vae"):
        (tmp_path / name).write_bytes(OLD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def vae_words(place, capsys, monkeypatch):
    """Run the words of a command; check that a failed one leaves the directory unchanged."""

    def vae_words(words: list[str], stdin: bytes = b"") -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        before = contents(place)
        capsys.readouterr()
        code = run(words)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        if code not in (0, 6):
            assert contents(place) == before
        assert not list(place.rglob("*.tmp"))
        return Outcome(code, captured.out, captured.err.splitlines())

    return vae_words


@pytest.fixture
def vae(vae_words):
    """Run a command line; see `vae_words`."""
    return lambda line, stdin=b"": vae_words(shlex.split(line), stdin)


def contents(folder: Path) -> dict[Path, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {path: path.read_bytes() for path in files}
