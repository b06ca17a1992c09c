"""Model files that mean harm are refused in one sentence, at once, and run nothing."""

from __future__ import annotations

import json
import os
import pickle
import random
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hostile.fuzz_model_files import CORPUS, Target, by_chance
from hostile.model_files import HOSTILE, build, parts, settings, small_detector
from hostile.mutation import mutated
from vae_anomaly import ModelFileError, VAEAnomalyError, inspect, load, save

ROOT = Path(__file__).parent.parent.parent
SECONDS = 0.1
"""Of one processor, whatever else the machine does."""


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> bytes:
    """The bytes of a small model file."""
    path = tmp_path_factory.mktemp("model") / "m.vae"
    save(small_detector(), path)
    return path.read_bytes()


@pytest.fixture
def model(raw: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "model.vae"
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_in_one_sentence(model: Path, raw: bytes, case: str) -> None:
    damage, sentence = HOSTILE[case]
    content = damage(raw)
    assert content != raw
    model.write_bytes(content)
    for read in (load, inspect):
        with pytest.raises(ModelFileError) as caught:
            read(model)
        message = str(caught.value)
        assert message.startswith(f"{model}: not a sound vae-anomaly model: ")
        assert sentence in message
        assert message.isprintable()
        assert len(message) < 250 + len(str(model))


@pytest.mark.parametrize("case", HOSTILE)
def test_to_refuse_takes_little_time_and_memory(model: Path, raw: bytes, case: str) -> None:
    content = HOSTILE[case][0](raw)
    model.write_bytes(content)
    start = time.process_time()
    with pytest.raises(ModelFileError):
        load(model)
    assert time.process_time() - start < SECONDS
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError):
            load(model)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # JSON of nothing but small values is larger once parsed; what there is of it is bounded.
    assert peak < 2 * len(content) + (2**20 if len(content) < 10**6 else 40 * 2**20)


def test_a_flip_of_every_bit_and_every_truncation_is_noticed(model: Path, raw: bytes) -> None:
    """Of every second byte here; `make torture` flips them all."""
    for i in range(0, len(raw), 2):
        for bit in range(8) if i % 16 == 0 else (i // 2 % 8,):
            model.write_bytes(raw[:i] + bytes([raw[i] ^ (1 << bit)]) + raw[i + 1 :])
            with pytest.raises(ModelFileError):
                load(model)
        model.write_bytes(raw[:i])
        with pytest.raises(ModelFileError):
            load(model)


# ------------------------------------------------------------- what is no file like others


def test_only_regular_files_are_opened_cases_73_to_77(tmp_path: Path, model: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    devices = [Path(name) for name in ("/dev/zero", "/dev/full", "/dev/null")]
    for path in (tmp_path, tmp_path / "fifo", *devices):
        with pytest.raises(ModelFileError, match="expected a regular file, found a directory"):
            load(path)
    for name in ("/proc/self/mem", "/proc/self/environ", "/etc/passwd"):
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(name)
        with pytest.raises(ModelFileError) as caught:
            load(tmp_path / "link")
        assert ":x:0:" not in str(caught.value)  # nothing of it is told
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to(model)
    assert load(tmp_path / "link").offset_ == load(model).offset_
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent.vae")


def test_a_huge_sparse_file_is_refused_unread_case_78(tmp_path: Path) -> None:
    path = tmp_path / "sparse.vae"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ModelFileError, match="more than the 536870912 allowed"):
        load(path)


def test_a_file_that_is_replaced_is_read_as_it_was_opened_case_79(
    model: Path, raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One opening, one reading: there is no moment between a check and what was checked."""
    opened = os.open
    calls = []

    def replacing(path: Any, *args: Any, **kwargs: Any) -> int:
        descriptor = opened(path, *args, **kwargs)
        if Path(path) == model:
            calls.append(path)
            model.with_name("other").write_bytes(b"something else")
            model.with_name("other").replace(model)
        return descriptor

    monkeypatch.setattr(os, "open", replacing)
    assert load(model).offset_ is not None
    assert len(calls) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_case_80(model: Path) -> None:
    model.chmod(0)
    with pytest.raises(PermissionError):
        load(model)


NAMES = ["a\x1b[31m", "</script><script>alert(1)</script>", "x" * 2**20, "a\0b", "\u202eb", ""]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:9]))
def test_column_names_of_every_kind_are_data_case_81(model: Path, raw: bytes, name: str) -> None:
    """A name is text; whoever shows it escapes it."""
    from vae_anomaly.cli.describing import describe_model

    model.write_bytes(settings(feature_names=[name, "b"])(raw))
    assert list(load(model).feature_names_in_) == [name, "b"]
    shown = describe_model(str(model))
    assert all(line.isprintable() for line in shown.splitlines())
    assert len(shown) < 5000


def test_forged_lengths_of_tables_case_83(model: Path, raw: bytes) -> None:
    for key in ("n_calibration", "n_exemplars", "n_features", "n_varying"):
        for value in (0, 1, 2**31, 2**63, 10**40):
            content = settings(**{key: value, "feature_names": None})(raw)
            model.write_bytes(content)
            start = time.process_time()
            try:
                load(model)
            except ModelFileError:
                pass
            else:  # the one number that is true
                assert json.loads(parts(raw)[0]["__metadata__"]["config"])[key] == value
            assert time.process_time() - start < SECONDS


@pytest.mark.parametrize("suffix", [".keras", ".pkl", ".joblib", ".h5", ".npz", ".safetensors"])
def test_names_of_other_formats_change_nothing_case_84(tmp_path, raw: bytes, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(raw)
    assert load(path).n_features_in_ == 2
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ModelFileError, match="Pickles run code and are never loaded"):
        load(path)


class Evil:
    def __reduce__(self):
        return os.abort, ()


def test_models_do_not_come_through_pipes_case_85(model: Path) -> None:
    for path in ("/dev/stdin", "/proc/self/fd/0"):
        command = [sys.executable, "-m", "vae_anomaly", "inspect", path]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command, input=model.read_bytes(), env=environment, capture_output=True, check=False
        )
        assert done.returncode == 4
        assert b"expected a regular file, found a directory, pipe or device." in done.stderr


# --------------------------------------------------------------------------- nothing runs

WATCHED = """
import pathlib, sys
from vae_anomaly import VAEAnomalyError
from vae_anomaly.persistence import load

load(sys.argv[1])  # whatever is imported once is imported now
files = sorted(pathlib.Path(sys.argv[2]).iterdir())
harmless, events = {"object.__getattr__", "sys._getframe"}, []

def watch(name, args):
    is_the_file = name == "open" and (args[0] in (now, str(now)) or type(args[0]) is int)
    if name not in harmless and not is_the_file:
        events.append((name, str(args)[:80]))

now, count = None, 0
sys.addaudithook(watch)
for now in files:
    try:
        load(now)
    except VAEAnomalyError:
        count += 1
print(count, events[:9], "tensorflow" in sys.modules)
"""


def test_nothing_is_imported_run_or_opened_but_the_file(
    model: Path, raw: bytes, tmp_path: Path
) -> None:
    """An audit hook sees every import, every compilation, every process and every file."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    for i, (damage, _) in enumerate(HOSTILE.values()):
        (folder / f"{i:03}.vae").write_bytes(damage(raw))
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(model), str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{len(HOSTILE)} [] False\n"


# -------------------------------------------------------------------------------- mutations


def test_mutated_files_end_in_errors_of_this_package_or_in_models(tmp_path: Path) -> None:
    target = Target(tmp_path)
    by_chance(target, runs=3000, seed=0)
    assert target.counts["refused"] > 1000
    assert target.counts["loaded"] > 20  # not every mutation matters: the deep checks are reached


def test_mutations_repeat_by_their_seed() -> None:
    seed = (CORPUS / "by_name.model").read_bytes()
    assert mutated(seed, random.Random(3)) == mutated(seed, random.Random(3)) != seed


def test_the_corpus_is_of_the_format_that_is_written_now() -> None:
    """If not: python tests/hostile/fuzz_model_files.py --new-corpus."""
    assert len(list(CORPUS.iterdir())) >= 4
    for path in CORPUS.iterdir():
        assert load(path).n_features_in_ > 0


def test_accepted_models_score_or_say_why(tmp_path: Path, raw: bytes) -> None:
    """Weights may be any finite numbers: then scores may be infinite, but nothing breaks."""
    rng = np.random.RandomState(0)
    header, body = parts(raw)
    path = tmp_path / "m.vae"
    for _ in range(50):
        numbers = np.frombuffer(body, "<f4").copy()
        numbers[rng.randint(len(numbers), size=3)] = rng.choice([3e38, -3e38, 1e-45, 0.0])
        path.write_bytes(build(json.loads(json.dumps(header)), numbers.tobytes()))
        try:
            detector = load(path)
        except VAEAnomalyError:
            continue
        with np.errstate(all="ignore"):
            assert detector.score_samples(_frame()).shape == (3,)


def _frame():
    import pandas as pd

    return pd.DataFrame(np.eye(3, 2), columns=["a", "b"])


def test_memory_of_a_large_sound_model_is_twice_its_size() -> None:
    from vae_anomaly import VAEDetector

    X = np.random.RandomState(0).normal(size=(30, 4))
    options = {"max_steps": 1, "n_members": 1, "contamination": 0.1, "random_state": 0}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.vae"
        save(VAEDetector(**options, hidden_units=(1500, 1500)).fit(X), path)
        load(path)
        tracemalloc.start()
        try:
            load(path)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 2 * path.stat().st_size + 2**20, peak / path.stat().st_size
