"""Fault injection: after any failing system call only the old or the new file remains."""

from __future__ import annotations

import numpy as np
import pytest

from hostile.faults import ERRORS, FaultLoop
from vae_anomaly import Checkpoint, load, save
from vae_anomaly.cli import run
from vae_anomaly.storage.atomic import atomic_write
from vae_anomaly.training.checkpoint import Checkpointer, Snapshot

OPERATIONS = {
    "checkpoint": "fit.checkpoint",
    "save": "model.vae",
    "score csv": "scores.csv",
    "score parquet": "scores.parquet",
    "write": "file",
}


@pytest.fixture
def loop(place, request, capsys):
    """Return the fault loop of an operation."""
    detector = load("flow.vae")
    folder = place / "folder"
    folder.mkdir()
    target = folder / OPERATIONS[request.param]

    def write() -> bool:
        with atomic_write(target) as file:
            file.write(b"new" * 1000)
        return True

    def score() -> bool:
        return run(["score", "flow.vae", "good.csv", "-o", str(target), "-q"]) == 0

    def save_model() -> bool:
        return bool(save(detector, target))

    def checkpoint() -> bool:
        arrays = {"weights": np.ones((2, 300), np.float32)}
        checkpointer = Checkpointer(Checkpoint(folder), {"rows": "those"}, removes=False)
        checkpointer.keep(Snapshot(arrays, np.zeros((1, 3)), 0, (1, 2, 3, 4, 0, 0)))
        return True

    by_name = {"checkpoint": checkpoint, "save": save_model, "write": write}
    return FaultLoop(target, by_name.get(request.param, score))


@pytest.mark.parametrize("loop", OPERATIONS, indirect=True)
@pytest.mark.parametrize("error", ERRORS)
def test_only_the_old_or_the_new_file_remains(loop, error):
    loop.run(error)
    assert loop.points >= 8
