"""Files that may not be read or written, and the hostile suite once more as an ordinary user."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ordinary_user import as_ordinary_user, needs_permissions

from hostile.test_outputs import ROOT
from vae_anomaly import inspect, load
from vae_anomaly.cli import run

SUITE = (
    *("tests/hostile/test_ordinary_user.py", "tests/hostile/test_environment.py"),
    *("tests/hostile/test_outputs.py", "tests/hostile/test_tables.py"),
    "tests/hostile/test_unusual_tables.py",
    *("tests/hostile/test_model_files.py", "tests/hostile/test_image_folders.py"),
    *("tests/hostile/test_faults.py", "tests/test_files.py", "tests/test_decoder.py"),
    "tests/test_cli_bad_input.py",
)
"""Tests that open files. Kills and browsers do not depend on the user."""

INSIDE = "VAE_ANOMALY_ORDINARY_USER"

NOT_READABLE = {
    "a model": ("score flow.vae good.csv -o new.csv", "flow.vae"),
    "a model to inspect": ("inspect flow.vae", "flow.vae"),
    "a model to export": ("export flow.vae -o new.onnx", "flow.vae"),
    "a table": ("score flow.vae good.csv -o new.csv", "good.csv"),
    "a table to learn from": ("fit good.csv -o new.vae", "good.csv"),
    "a table to report on": ("evaluate flow.vae good.csv -o report", "good.csv"),
    "a table to calibrate with": ("recalibrate flow.vae good.csv -o new.vae", "good.csv"),
    "Parquet": ("score flow.vae good.parquet -o new.csv", "good.parquet"),
    "an array": ("score plate.vae images.npz -o new.csv", "images.npz"),
    "a folder": ("score plate.vae folder -o new.csv", "folder"),
    "a folder to learn from": ("fit folder -o new.vae", "folder"),
    "a file in a folder": ("score flow.vae folder/t.csv -o new.csv", "folder"),
}


@needs_permissions
@pytest.mark.parametrize("case", NOT_READABLE)
def test_what_may_not_be_read_is_no_wrong_usage(place, capsys, case) -> None:
    for name in ("good.parquet", "images.npz"):
        (place / name).write_bytes(b"not read")
    (place / "folder" / "inside").mkdir(parents=True)
    (place / "folder" / "t.csv").write_bytes((place / "good.csv").read_bytes())
    line, name = NOT_READABLE[case]
    before = sorted(place.iterdir())
    (place / name).chmod(0)
    try:
        assert run(line.split()) == 5
    finally:
        (place / name).chmod(0o700)
    assert sorted(place.iterdir()) == before
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: Cannot read {name}")
    assert error.endswith(": no permission to read it.")


@needs_permissions
def test_what_may_not_be_read_in_python(place) -> None:
    (place / "flow.vae").chmod(0)
    for read in (load, inspect):
        with pytest.raises(PermissionError):
            read("flow.vae")


@pytest.mark.skipif(INSIDE in os.environ, reason="these are the tests as an ordinary user")
def test_the_suite_as_an_ordinary_user() -> None:
    if os.geteuid() != 0:
        pytest.skip("the whole suite runs as an ordinary user")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    environment = {**os.environ, INSIDE: "1", "PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(
            [*command, *SUITE],
            cwd=ROOT,
            env=environment,
            preexec_fn=as_ordinary_user,
            capture_output=True,
            text=True,
            check=False,
        )
    except subprocess.SubprocessError:
        pytest.skip("this root may not give up its capabilities")
    assert done.returncode == 0, done.stdout[-4000:]
    assert "root may read and write everything" not in done.stdout


def test_the_suite_is_there() -> None:
    assert all(Path(ROOT, path).is_file() for path in SUITE)
