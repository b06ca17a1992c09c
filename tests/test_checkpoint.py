"""Checkpoints: a resumed fit equals an uninterrupted one; unsuitable checkpoints are refused."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from hostile.model_files import array, metadata, number, settings
from keras import layers
from processes import Forked, start_command
from sklearn.base import clone

import vae_anomaly
from vae_anomaly import (
    Checkpoint,
    CheckpointError,
    ModelFileError,
    OutputError,
    ParameterError,
    VAEDetector,
    load,
    save,
)
from vae_anomaly.cli import run

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ROOT = Path(__file__).parent.parent
FILE = "fit.checkpoint"
TINY: dict[str, Any] = {
    "hidden_units": (4,), "latent_dim": 2, "n_members": 2, "max_steps": 450, "batch_size": 16,
    "contamination": 0.1, "random_state": 3,
}  # fmt: skip
ROWS = np.random.RandomState(0).normal(size=(80, 3)) @ [[1, 2, 0], [0, 1, 1], [1, 0, 1]]
IMAGES = np.random.RandomState(0).randint(256, size=(40, 8, 8, 1), dtype=np.uint8)


@pytest.fixture
def every_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a checkpoint after every validation interval, however long that takes."""
    monkeypatch.setattr("vae_anomaly.training.checkpoint.MAX_WRITE_SHARE", float("inf"))


class KilledError(Exception):
    """Substitute for the end of the process."""


def killing(after: int):
    """Return a callback that interrupts training after a number of validation intervals."""

    def callback(history: Any) -> None:
        if len(history.step) == after:
            raise KilledError

    return callback


def custom_networks(activation: str = "relu", seed: int = 0) -> tuple[keras.Model, keras.Model]:
    """Return networks with state beside weights: moving statistics and random layers."""
    keras.utils.set_random_seed(seed)
    encoder = [keras.Input((3,)), layers.Dense(8, activation), layers.BatchNormalization()]
    return (
        keras.Sequential([*encoder, layers.Dropout(0.2), layers.Dense(4)]),
        keras.Sequential([keras.Input((2,)), layers.Dense(8, activation), layers.Dense(3)]),
    )


def assert_same(one: VAEDetector, other: VAEDetector, X: Any) -> None:
    assert one.history_ == other.history_
    for name in ("weights_", "noise_", "calibration_scores_"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.offset_ == other.offset_
    np.testing.assert_array_equal(one.score_samples(X), other.score_samples(X))


FITS: dict[str, tuple[dict[str, Any], Any]] = {
    "dense": ({}, ROWS),
    "compiled": ({"max_steps": 2150, "patience": 100, "learning_rate": 1e-5}, ROWS),
    "stops early": ({"max_steps": 3000, "patience": 2, "learning_rate": 0.05}, ROWS),
    "rmsprop": ({"optimizer": "rmsprop"}, ROWS),
    "calibrates": ({"contamination": None, "false_alarm_rate": 0.1}, ROWS),
    "nothing held out": ({}, ROWS[:8]),
    "several batches an interval": ({"batch_size": 80, "n_members": 40}, np.tile(ROWS, (5, 10))),
    "images": ({}, IMAGES),
    "conv": ({"architecture": "conv", "hidden_units": (4,), "max_steps": 250}, IMAGES),
    "conv_bn": ({"architecture": "conv_bn", "hidden_units": (4,), "max_steps": 250}, IMAGES),
}


@pytest.mark.usefixtures("every_interval")
@pytest.mark.parametrize("case", FITS)
def test_a_resumed_fit_has_the_scores_of_an_uninterrupted_one(case: str, tmp_path: Path) -> None:
    parameters, X = FITS[case]
    detector = VAEDetector(**TINY | parameters)
    whole = clone(detector).fit(X)
    intervals = len(whole.history_.step)
    detector.set_params(checkpoint=tmp_path / "new" / "folder")
    for after in (1, 2):
        with pytest.raises(KilledError):
            clone(detector).set_params(callback=killing(after)).fit(X)
        assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == [FILE]
    taken = []
    detector.set_params(callback=lambda history: taken.append(history.step[-1])).fit(X)
    assert taken == whole.history_.step[2:]
    assert intervals > 2
    assert_same(detector, whole, X)
    assert not list((tmp_path / "new" / "folder").iterdir())


@pytest.mark.usefixtures("every_interval")
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_custom_networks_are_resumed(tmp_path: Path) -> None:
    def fit(callback: Any = None, **how: Any) -> VAEDetector:
        # New networks, as in another process.
        parameters = TINY | {"architecture": custom_networks(**how), "checkpoint": tmp_path}
        return VAEDetector(**parameters, callback=callback).fit(ROWS)

    whole = fit()
    with pytest.raises(KilledError):
        fit(killing(2))
    for others in ({"seed": 1}, {"activation": "tanh"}):
        with pytest.raises(
            CheckpointError, match=r"fit: the networks or their initial weights differ"
        ):
            fit(**others)
    assert_same(fit(), whole, ROWS)


@pytest.mark.usefixtures("every_interval")
def test_writing_takes_a_limited_share_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    real = vae_anomaly.training.checkpoint.write_container

    def write(*given: Any) -> str:
        written.append(given[1]["intervals"])
        return real(*given)

    monkeypatch.setattr("vae_anomaly.training.checkpoint.write_container", write)
    VAEDetector(**TINY, checkpoint=tmp_path).fit(ROWS)
    assert written == [1, 2, 3, 4, 5]
    written.clear()
    # Only the first, before the duration is known, and the last.
    monkeypatch.setattr("vae_anomaly.training.checkpoint.MAX_WRITE_SHARE", 1e-9)
    VAEDetector(**TINY, checkpoint=tmp_path).fit(ROWS)
    assert written == [1, 5]


@pytest.mark.usefixtures("every_interval")
def test_a_checkpoint_object_keeps_its_file_until_removed(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    detector = VAEDetector(**TINY, checkpoint=checkpoint).fit(ROWS)
    assert checkpoint.path.is_file()
    taken: list[Any] = []
    again = clone(detector).set_params(callback=taken.append).fit(ROWS)
    assert taken == []
    assert_same(again, detector, ROWS)
    assert pickle.loads(pickle.dumps(detector)).checkpoint == checkpoint
    save(detector, tmp_path / "m.vae")
    assert load(tmp_path / "m.vae").checkpoint is None
    checkpoint.remove()
    checkpoint.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["m.vae"]
    Checkpoint(tmp_path / "m.vae").remove()


@pytest.mark.usefixtures("every_interval")
def test_a_fit_stopped_by_a_callback_removes_its_checkpoint(tmp_path: Path) -> None:
    detector = VAEDetector(**TINY, checkpoint=str(tmp_path), callback=lambda _: True).fit(ROWS)
    assert detector.history_.step == [100]
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------- refused


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the checkpoint of a fit of TINY on a table."""
    folder = tmp_path_factory.mktemp("interrupted")
    X = pd.DataFrame(ROWS, columns=["a", "b", "c"])
    with pytest.raises(KilledError):
        VAEDetector(**TINY, checkpoint=folder, callback=killing(1)).fit(X)
    return folder


@pytest.fixture
def folder(interrupted: Path, tmp_path: Path) -> Path:
    """Return a copy of the interrupted fit's folder."""
    shutil.copy(interrupted / FILE, tmp_path)
    return tmp_path


def refused(folder: Path, X: Any = None, **parameters: Any) -> str:
    """Return the message with which a fit refuses the checkpoint."""
    before = (folder / FILE).read_bytes()
    if X is None:
        X = pd.DataFrame(ROWS, columns=["a", "b", "c"])
    with pytest.raises(CheckpointError) as caught:
        VAEDetector(**TINY | parameters, checkpoint=folder).fit(X)
    assert (folder / FILE).read_bytes() == before
    message = str(caught.value)
    assert message.startswith(str(folder / FILE))
    assert message.endswith(" To start over, delete it or choose another directory.")
    return message


def test_the_checkpoint_of_another_fit_is_refused(folder: Path) -> None:
    lines = {
        "learning_rate was 0.001 and is 0.01": {"learning_rate": 0.01},
        "max_steps was 450 and is 451; random_state was 3 and is 4": {
            "max_steps": 451, "random_state": 4,
        },
        "hidden_units was [4] and is [4, 4]": {"hidden_units": (4, 4)},
        "contamination was 0.1 and is None; false_alarm_rate was 0.01 and is 0.2": {
            "contamination": None, "false_alarm_rate": 0.2,
        },
        "optimizer was adam and is rmsprop": {"optimizer": "rmsprop"},
        "the training rows differ": {"X": pd.DataFrame(ROWS[::-1], columns=["a", "b", "c"])},
    }  # fmt: skip
    for words, parameters in lines.items():
        expected = f" is the checkpoint of another fit: {words}. To resume it, fit as before. "
        assert expected in refused(folder, **parameters)
    renamed = pd.DataFrame(ROWS, columns=["a", "b", "d"])
    assert "fit: the training rows differ. To" in refused(folder, renamed)


def test_the_checkpoint_of_another_release_is_refused(folder: Path, monkeypatch) -> None:
    was = vae_anomaly.__version__
    monkeypatch.setattr("vae_anomaly.training.checkpoint.__version__", "9.9")
    assert f"another fit: vae_anomaly was '{was}' and is '9.9'. To resume" in refused(folder)


def fit_settings(**values: Any):
    return settings(fit=values)


DAMAGED = {
    "empty": (lambda raw: b"", "expected at least 8 bytes, found 0"),
    "cut": (lambda raw: raw[:-1], "bytes of arrays, there are"),
    "longer": (lambda raw: raw + b"\0", "bytes of arrays, there are"),
    "text": (lambda raw: b"a,b\n" * 99, "it is text, such as a CSV file."),
    "pickle": (lambda raw: pickle.dumps([0] * 999), "Pickles run code and are never loaded."),
    "a flipped bit": (lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]), "it was damaged or edited."),
    "a model": (metadata(format="vae-anomaly"), "its format is 'vae-anomaly', not 'vae-anomaly ch"),
    "more settings": (settings(more=1), "its settings are not those of a checkpoint."),
    "another fit": (fit_settings(rows=1), "it does not identify its fit."),
    "no intervals": (settings(intervals=0), "intervals must be an int >= 1."),
    "true intervals": (settings(intervals=True), "intervals must be an int >= 1."),
    "many intervals": (
        settings(intervals=10**18),
        "expected at most 5 intervals, got 1000000000000000000.",
    ),
    "another interval": (settings(intervals=2), "bytes of arrays, there are"),
    "more since the best": (
        settings(intervals_since_best=2),
        "intervals_since_best must be an int between 0 and intervals.",
    ),
    "a short generator": (settings(generator=[1]), "its generator state is invalid."),
    "a large generator": (settings(generator=[2**64] * 6), "its generator state is invalid."),
    "NaN": (number("weights", np.nan), "the array 'weights' holds NaN or infinity."),
    "another shape": (array("best_losses", shape=[1, 2]), "its arrays are not those that its"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_checkpoint_is_refused(case: str, folder: Path) -> None:
    damage, words = DAMAGED[case]
    path = folder / FILE
    path.write_bytes(damage(path.read_bytes()))
    message = refused(folder)
    assert f"{FILE}: not a sound vae-anomaly checkpoint: " in message
    assert words in message


def test_a_checkpoint_of_a_later_release_is_refused(folder: Path) -> None:
    path = folder / FILE
    path.write_bytes(metadata(format_version="2")(path.read_bytes()))
    assert refused(folder).endswith(
        f"{FILE}: a vae-anomaly checkpoint of a later release: it has format version 2, this "
        f"release reads 1. Upgrade vae-anomaly. To start over, delete it or choose another "
        f"directory."
    )


def test_truncations_and_flipped_bits_are_detected_everywhere(folder: Path) -> None:
    path = folder / FILE
    raw = path.read_bytes()
    for i in range(0, len(raw), len(raw) // 50):
        for content in (raw[:i], raw[:i] + bytes([raw[i] ^ 1 << i % 8]) + raw[i + 1 :]):
            path.write_bytes(content)
            refused(folder)


def test_a_checkpoint_is_no_model(folder: Path) -> None:
    with pytest.raises(ModelFileError, match=r"its format is 'vae-anomaly checkpoint', not 'vae-"):
        load(folder / FILE)


@pytest.mark.parametrize("state", [None, np.random.RandomState(0)])
def test_a_checkpoint_requires_an_int_random_state(state: Any, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"'random_state' .* must be an int if there is a che"):
        VAEDetector(**TINY | {"random_state": state}, checkpoint=tmp_path).fit(ROWS)
    with pytest.raises(ParameterError, match=r"'checkpoint' .* must be None or a directory"):
        VAEDetector(checkpoint=7).fit(ROWS)


def test_an_unwritable_checkpoint_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    started: list[Any] = []
    detector = VAEDetector(**TINY, checkpoint=tmp_path / "file", callback=started.append)
    with pytest.raises(OutputError, match=r"fit\.checkpoint: '.*file' is not a directory"):
        detector.fit(ROWS)
    assert started == []
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.usefixtures("every_interval")
def test_a_full_disk_ends_the_fit_and_leaves_the_previous_checkpoint(
    tmp_path: Path, monkeypatch
) -> None:
    whole = VAEDetector(**TINY).fit(ROWS)

    def fill(history: Any) -> None:
        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        if len(history.step) == 2:
            monkeypatch.setattr(os, "fsync", full)

    detector = VAEDetector(**TINY, checkpoint=tmp_path, callback=fill)
    with pytest.raises(OutputError, match=r"the disk is full\. Free some space and run it again"):
        detector.fit(ROWS)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    taken: list[int] = []
    detector.set_params(callback=lambda history: taken.append(history.step[-1])).fit(ROWS)
    assert taken[0] == 300
    assert_same(detector, whole, ROWS)


# ------------------------------------------------------------------------- on the command line

SLOW = ("--learning-rate", "1e-5", "--false-alarm-rate", "0.1")
"""Options without early stopping and without warnings."""


def interrupt(process: Forked, kept: Path, delay: float, number: int) -> str:
    """Send a signal a delay after a new checkpoint was written; return standard error."""
    before = kept.stat().st_mtime_ns if kept.exists() else 0
    while not kept.exists() or kept.stat().st_mtime_ns == before:
        assert process.returncode is None, process.rest()
        time.sleep(0.005)
    time.sleep(delay)
    process.send_signal(number)
    return process.rest()


@pytest.mark.parametrize(
    ("data", "options", "kills"),
    [
        ("table", ("--members", "1", "--max-steps", "1500"), (0.0, 0.13)),
        ("images", ("--architecture", "conv", "--max-steps", "500"), (0.06,)),
    ],
)
def test_a_killed_command_resumes_to_the_same_model(
    tmp_path, monkeypatch, capsys, data, options, kills
) -> None:
    """Model files are byte-identical."""
    monkeypatch.chdir(tmp_path)
    if data == "table":
        shutil.copy(ROOT / "data" / "normal.csv", "data")
    else:
        np.save("data.npy", IMAGES[..., 0])
        Path("data.npy").rename("data")
    words = ["fit", "data", "-o", "out.vae", *options, *SLOW]
    assert run(words) == 0
    whole = Path("out.vae").read_bytes()
    Path("out.vae").unlink()
    words += ["--checkpoint", "kept"]
    kept = Path("kept", FILE)
    for delay in kills:
        with start_command(tmp_path, *words) as process:
            interrupt(process, kept, delay, signal.SIGKILL)
            assert process.returncode == -signal.SIGKILL
        assert not Path("out.vae").exists()
    capsys.readouterr()
    assert run(words) == 0
    assert f"going on from {kept}, after " in capsys.readouterr().err
    assert Path("out.vae").read_bytes() == whole
    assert not list(Path("kept").iterdir())


def test_a_fit_interrupted_by_ctrl_c_is_resumed(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "data" / "normal.csv", "data")
    words = ["fit", "data", "-o", "out.vae", "--members", "1", "--max-steps", "1500", *SLOW]
    words += ["--keep-partial", "--checkpoint", "kept"]
    kept = Path("kept", FILE)
    with start_command(tmp_path, *words) as process:
        err = interrupt(process, kept, 0.05, signal.SIGINT)
        assert process.returncode == 130
    assert f"the same command goes on from {kept}" in err.splitlines()
    assert load("out.vae").history_.step[-1] < 1500
    assert [path.name for path in Path("kept").iterdir()] == [FILE]
    assert run(words) == 0, capsys.readouterr().err
    assert load("out.vae").history_.step[-1] == 1500
    assert not list(Path("kept").iterdir())


@pytest.fixture
def place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working directory with a table and the checkpoint of another fit."""
    monkeypatch.chdir(folder)
    pd.DataFrame(ROWS, columns=["a", "b", "c"]).to_csv("data.csv", index=False)
    return folder


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ("-o m.vae --checkpoint .", 4, f"{FILE} is the checkpoint of another fit: batch_size was"),
        (f"-o {FILE} --checkpoint .", 2, f"The output {FILE} is also the checkpoint. Choose"),
        ("-o m.vae --checkpoint data.csv", 5, f"Cannot write data.csv/{FILE}: 'data.csv' is not a"),
    ],
)
def test_refused_on_the_command_line(place, capsys, options, code, words) -> None:
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    assert run(["fit", "data.csv", *options.split(), "--max-steps", "100"]) == code
    assert f"error: {words}" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before
