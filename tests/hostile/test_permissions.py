"""Files that may not be read. `make tests` runs all tests as an ordinary user, also for root."""

from __future__ import annotations

import pytest
from ordinary_user import needs_permissions

from vae_anomaly import inspect, load
from vae_anomaly.cli import run

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
