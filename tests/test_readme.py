"""The README's commands run as written; its Python runs as a doctest."""

from __future__ import annotations

import shlex
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent


def test_the_readmes_commands_run_as_written(tmp_path: Path, monkeypatch, capsys) -> None:
    from vae_anomaly.cli import run

    lines = [line.strip() for line in (ROOT / "README.md").read_text().splitlines()]
    commands = [shlex.split(line) for line in lines if line.startswith("vae-anomaly ")]
    assert [words[1] for words in commands] == ["fit", "score", "evaluate", "inspect"]
    (tmp_path / "data").symlink_to(ROOT / "data")
    (tmp_path / "reports").mkdir()
    monkeypatch.chdir(tmp_path)
    for words in commands:
        assert run(words[1:]) == 0, capsys.readouterr().err
    scores = pd.read_csv("reports/scores.csv")
    assert len(scores) == len(pd.read_csv("data/labelled.csv"))
    assert {"id", "anomaly_score", "is_anomaly", "reason_3"} <= set(scores.columns)
    assert (tmp_path / "reports/tumour/report.html").is_file()


@pytest.mark.parametrize("command", ["demo", "test"])
def test_the_readmes_set_up_is_what_make_offers(command: str) -> None:
    assert f"    make {command} " in (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text().splitlines()
    assert any(line.startswith(f"{command}:") for line in makefile)


def test_ci_runs_the_readmes_test_command() -> None:
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("\nmake test")
