"""Hostile model files are refused with one line, quickly, and without running code."""

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
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ordinary_user import needs_permissions

from hostile.fuzz_model_files import CORPUS, Target, random_fuzzing
from hostile.model_files import (
    HOSTILE,
    HOSTILE_IMAGES,
    HOSTILE_MIXED,
    build,
    encoder,
    parts,
    settings,
    small_detector,
)
from hostile.mutation import mutated
from vae_anomaly import ModelFileError, VAEAnomalyError, inspect, load, save

ROOT = Path(__file__).parent.parent.parent
LONG_HEADER = json.dumps([0] * 1_000_000)
"""Nearly as long as a header may be."""


def is_short(seconds: float) -> bool:
    """Return whether a processor time is short: a tenth of a second, or less.

    That is twice the time of a parser of JSON alone: processors differ, and share caches.
    """
    return seconds < 0.02 or seconds < 2 * min(
        processor_time(lambda: json.loads(LONG_HEADER)) for _ in range(3)
    )


def processor_time(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


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


def check_refused(model: Path, raw: bytes, content: bytes, reason: str) -> None:
    assert content != raw
    model.write_bytes(content)
    for read in (load, inspect):
        with pytest.raises(ModelFileError) as caught:
            read(model)
        message = str(caught.value)
        assert message.startswith(f"{model}: not a sound vae-anomaly model: ")
        assert reason in message
        assert message.isprintable()
        assert len(message) < 250 + len(str(model))


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_with_one_line(model: Path, raw: bytes, case: str) -> None:
    damage, reason = HOSTILE[case]
    check_refused(model, raw, damage(raw), reason)


@pytest.mark.parametrize("case", HOSTILE_IMAGES)
def test_hostile_models_of_images_are_refused(tmp_path: Path, case: str) -> None:
    raw = (CORPUS / "images.model").read_bytes()
    damage, reason = HOSTILE_IMAGES[case]
    check_refused(tmp_path / "model.vae", raw, damage(raw), reason)


@pytest.mark.parametrize("case", HOSTILE_MIXED)
def test_hostile_models_of_mixed_tables_are_refused(tmp_path: Path, case: str) -> None:
    raw = (CORPUS / "mixed.model").read_bytes()
    damage, reason = HOSTILE_MIXED[case]
    check_refused(tmp_path / "model.vae", raw, damage(raw), reason)


@pytest.mark.parametrize("case", HOSTILE)
def test_refusing_takes_little_time_and_memory(model: Path, raw: bytes, case: str) -> None:
    content = HOSTILE[case][0](raw)
    model.write_bytes(content)

    def refuse() -> None:
        with pytest.raises(ModelFileError):
            load(model)

    # The least: a collection of garbage may fall into one of them.
    assert is_short(min(processor_time(refuse) for _ in range(3)))
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError):
            load(model)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # JSON of small values is larger when parsed; the number of values is bounded.
    assert peak < 2 * len(content) + (2**20 if len(content) < 10**6 else 40 * 2**20)


def test_flipped_bits_and_truncations_are_detected(model: Path, raw: bytes) -> None:
    """Tests every second byte; `make torture` tests all."""
    for i in range(0, len(raw), 2):
        for bit in range(8) if i % 16 == 0 else (i // 2 % 8,):
            model.write_bytes(raw[:i] + bytes([raw[i] ^ (1 << bit)]) + raw[i + 1 :])
            with pytest.raises(ModelFileError):
                load(model)
        model.write_bytes(raw[:i])
        with pytest.raises(ModelFileError):
            load(model)


# ------------------------------------------------------------------ files that are not regular


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
        assert ":x:0:" not in str(caught.value)  # the message has no content of the file
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


def test_a_replaced_file_is_read_as_it_was_opened_case_79(
    model: Path, raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is opened once, so it cannot change between check and use."""
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


@needs_permissions
def test_an_unreadable_file_case_80(model: Path) -> None:
    model.chmod(0)
    with pytest.raises(PermissionError):
        load(model)


NAMES = ["a\x1b[31m", "</script><script>alert(1)</script>", "x" * 2**20, "a\0b", "\u202eb", ""]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:9]))
def test_any_column_name_is_accepted_and_escaped_case_81(
    model: Path, raw: bytes, name: str
) -> None:
    """A name is any text; output escapes it."""
    from vae_anomaly.pipeline.description import description

    model.write_bytes(encoder(names=[name, "b"])(raw))
    assert list(load(model).feature_names_in_) == [name, "b"]
    shown = description(str(model), inspect(model))
    assert all(line.isprintable() for line in shown.splitlines())
    assert len(shown) < 5000


def test_forged_lengths_of_tables_case_83(model: Path, raw: bytes) -> None:
    config = json.loads(parts(raw)[0]["__metadata__"]["config"])
    for key in ("n_calibration", "n_exemplars", "n_features", "n_inputs"):
        where = config if key in config else config["encoder"]
        forge = settings if key in config else encoder
        for value in (0, 1, 2**31, 2**63, 10**40):
            model.write_bytes(encoder(names=None)(forge(**{key: value})(raw)))

            is_read = []

            def read(found: list[object] = is_read) -> None:
                with suppress(ModelFileError):
                    found.append(load(model))

            assert is_short(processor_time(read))
            assert not is_read or where[key] == value


@pytest.mark.parametrize("suffix", [".keras", ".pkl", ".joblib", ".h5", ".npz", ".safetensors"])
def test_the_suffix_of_the_file_name_is_ignored_case_84(tmp_path, raw: bytes, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(raw)
    assert load(path).n_features_in_ == 2
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ModelFileError, match="Pickles run code and are never loaded"):
        load(path)


class Evil:
    def __reduce__(self):
        return os.abort, ()


def test_models_are_not_read_from_pipes_case_85(model: Path) -> None:
    for path in ("/dev/stdin", "/proc/self/fd/0"):
        command = [sys.executable, "-m", "vae_anomaly", "inspect", path]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command, input=model.read_bytes(), env=environment, capture_output=True, check=False
        )
        assert done.returncode == 4
        assert b"expected a regular file, found a directory, pipe or device." in done.stderr


# ----------------------------------------------------------------------- no code is executed

AUDITED = """
import pathlib, sys
from vae_anomaly import VAEAnomalyError
from vae_anomaly.data.registry import MODALITIES, modality
from vae_anomaly.persistence import load

load(sys.argv[1])  # imports everything that loading needs
for name in MODALITIES:
    modality(name)
files = sorted(pathlib.Path(sys.argv[2]).iterdir())
harmless, events = {"object.__getattr__", "sys._getframe"}, []

def record(name, args):
    is_the_file = name == "open" and (args[0] in (path, str(path)) or type(args[0]) is int)
    if name not in harmless and not is_the_file:
        events.append((name, str(args)[:80]))

path, count = None, 0
sys.addaudithook(record)
for path in files:
    try:
        load(path)
    except VAEAnomalyError:
        count += 1
print(count, events[:9], "tensorflow" in sys.modules)
"""


def test_loading_imports_executes_and_opens_nothing_else(
    model: Path, raw: bytes, tmp_path: Path
) -> None:
    """An audit hook records imports, compilations, processes and opened files."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    for i, (damage, _) in enumerate(HOSTILE.values()):
        (folder / f"{i:03}.vae").write_bytes(damage(raw))
    done = subprocess.run(
        [sys.executable, "-c", AUDITED, str(model), str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{len(HOSTILE)} [] False\n"


# -------------------------------------------------------------------------------- mutations


def test_mutated_files_are_loaded_or_refused(tmp_path: Path) -> None:
    target = Target(tmp_path)
    random_fuzzing(target, runs=3000, seed=0)
    assert target.counts["refused"] > 1000
    assert target.counts["loaded"] > 20  # some pass all checks, so the last checks are reached


def test_mutated_encoders_are_loaded_or_refused(tmp_path: Path) -> None:
    target = Target(tmp_path)
    random_fuzzing(target, runs=1000, seed=0, encoders=True)
    assert target.counts["refused"] > 700
    assert target.counts["loaded"] > 5


def test_mutations_are_reproducible_by_seed() -> None:
    seed = (CORPUS / "by_name.model").read_bytes()
    assert mutated(seed, random.Random(3)) == mutated(seed, random.Random(3)) != seed


def test_the_corpus_has_the_current_format(tmp_path: Path) -> None:
    """If it fails: python tests/hostile/fuzz_model_files.py --new-corpus."""
    assert len(list(CORPUS.iterdir())) >= 7
    for path in CORPUS.iterdir():
        target = Target(tmp_path)
        target(path.read_bytes())
        assert target.counts["loaded"] == 1, path.name


def test_models_with_extreme_weights_score_or_are_refused(tmp_path: Path, raw: bytes) -> None:
    """Weights may be any finite numbers; scores may then be infinite, without an exception."""
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


def test_loading_a_large_model_takes_at_most_twice_its_size() -> None:
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


DIGITS = {"as many as Python reads": 4300, "a hundred": 100, "21": 21}


@pytest.mark.parametrize("digits", DIGITS.values(), ids=DIGITS)
@pytest.mark.parametrize("part", ["header", "settings"])
def test_giant_integers_are_refused_before_they_are_read(
    model: Path, raw: bytes, part: str, digits: int
) -> None:
    numbers = ",".join(["9" * digits] * (2**21 // digits))
    header, body = parts(raw)
    if part == "settings":
        header["__metadata__"]["config"] = f'{{"a":[{numbers}]}}'
    text = json.dumps(header)
    if part == "header":
        text = f'{{"a":[{numbers}],{text[1:]}'
    content = len(text).to_bytes(8, "little") + text.encode() + body
    reason = f"its {part} cannot be read ('an integer has {digits:,} digits')"
    check_refused(model, raw, content, reason)
