"""Model files: what is saved comes back to the last bit, and nothing else gets in."""

from __future__ import annotations

import json
import os
import pickle
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import QUICK
from safetensors.numpy import load_file
from sklearn.exceptions import NotFittedError

import vae_anomaly
from vae_anomaly import DataError, ModelFileError, ParameterError, VAEDetector, inspect, load, save
from vae_anomaly.container import _digest, canonical


@pytest.fixture(scope="module")
def small() -> VAEDetector:
    """A detector whose file is small enough to damage in every place."""
    X = pd.DataFrame(np.random.RandomState(0).normal(size=(12, 2)), columns=["a", "b"])
    return VAEDetector(
        hidden_units=(2,), latent_dim=1, n_members=1, n_draws=1, max_steps=5,
        false_alarm_rate=0.5, random_state=0,
    ).fit(X)  # fmt: skip


@pytest.fixture
def model(small: VAEDetector, tmp_path: Path) -> Path:
    path = tmp_path / "model.vae"
    save(small, path)
    return path


# ------------------------------------------------------------------------------ round trips


def test_scores_after_reload_are_the_same_bits_in_a_fresh_process(
    fitted: VAEDetector, rows: pd.DataFrame, tmp_path: Path
) -> None:
    save(fitted, tmp_path / "model.vae")
    rows.to_pickle(tmp_path / "rows")
    code = (
        "import numpy as np, pandas as pd, vae_anomaly; rows = pd.read_pickle('rows'); "
        "detector = vae_anomaly.load('model.vae'); "
        "np.savez('out', scores=detector.score_samples(rows), flags=detector.predict(rows))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    with np.load(tmp_path / "out.npz") as out:
        np.testing.assert_array_equal(out["scores"], fitted.score_samples(rows))
        np.testing.assert_array_equal(out["flags"], fitted.predict(rows))


@pytest.mark.parametrize(
    "parameters",
    [
        {"likelihood": "bernoulli", "contamination": 0.1},
        {"optimizer": "rmsprop", "contamination": 0.1},
        {"beta": 0, "variance": np.float32(0.5), "threshold": 3},
        {"score_type": "kl", "n_members": np.int64(2), "random_state": np.random.RandomState(0)},
    ],
)
def test_every_kind_of_detector_comes_back(
    rows: pd.DataFrame, parameters: dict[str, Any], tmp_path: Path
) -> None:
    X = rows.to_numpy()
    detector = VAEDetector(**QUICK | {"false_alarm_rate": 0.1} | parameters).fit(X)
    save(detector, tmp_path / "m.vae")
    again = load(tmp_path / "m.vae")
    np.testing.assert_array_equal(again.decision_function(X), detector.decision_function(X))
    np.testing.assert_array_equal(again.transform(X), detector.transform(X))
    assert not hasattr(again, "feature_names_in_")
    assert again.history_ == detector.history_
    assert again.get_params()["beta"] == detector.beta
    save(again, tmp_path / "n.vae")
    if not isinstance(parameters.get("random_state"), np.random.RandomState):
        assert (tmp_path / "n.vae").read_bytes() == (tmp_path / "m.vae").read_bytes()


def test_columns_are_checked_by_name_after_reload(model: Path) -> None:
    with pytest.raises(ValueError, match="feature names should match"):
        load(model).predict(pd.DataFrame({"b": [0.0], "a": [0.0]}))


def test_the_safetensors_library_reads_the_file(fitted: VAEDetector, tmp_path: Path) -> None:
    save(fitted, tmp_path / "model.vae")
    arrays = load_file(tmp_path / "model.vae")
    np.testing.assert_array_equal(arrays["noise"], fitted.noise_)
    assert arrays["encoder_0.kernel"].shape == (2, 3, 128)


def test_inspect_describes_in_plain_values(fitted: VAEDetector, tmp_path: Path) -> None:
    sha256 = save(fitted, tmp_path / "model.vae")
    described = inspect(tmp_path / "model.vae")
    json.dumps(described)
    assert described["sha256"] == sha256
    assert described["threshold"] == -fitted.offset_
    assert described["steps"] == 150
    assert described["weights"] == fitted.weights_.size
    assert [column["constant"] for column in described["columns"]] == [False, False, True, False]
    assert described["created_with"] == {"vae_anomaly": vae_anomaly.__version__}


def test_only_fitted_detectors_with_distinct_columns_are_saved(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        save(VAEDetector(), tmp_path / "m.vae")
    detector = VAEDetector(**QUICK, contamination=0.1).fit(np.eye(20))
    detector.feature_names_in_ = np.array(["a"] * 20, dtype=object)
    with pytest.raises(DataError, match="Two columns share a name"):
        save(detector, tmp_path / "m.vae")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("change", [{"n_members": 2}, {"n_draws": 7}, {"latent_dim": 0}])
def test_parameters_changed_after_fit_are_not_saved(small, change, tmp_path: Path) -> None:
    changed = pickle.loads(pickle.dumps(small)).set_params(**change)
    with pytest.raises(ParameterError):
        save(changed, tmp_path / "m.vae")
    assert not list(tmp_path.iterdir())


def test_models_larger_than_load_accepts_are_not_saved(small, model, monkeypatch) -> None:
    before = model.read_bytes()
    monkeypatch.setattr("vae_anomaly.container.MAX_FILE_BYTES", len(before) - 1)
    with pytest.raises(vae_anomaly.OutputError, match="Use fewer or smaller networks"):
        save(small, model)
    assert model.read_bytes() == before


# ---------------------------------------------------------------------------- hostile files


def parts(raw: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def build(header: Any, body: bytes, *, sign: bool = True) -> bytes:
    if sign:
        header["__metadata__"]["sha256"] = _digest(header, body)
    text = canonical(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def edited(change: Callable[[dict[str, Any], dict[str, Any]], None], *, sign: bool = True):
    """Damage the header or the settings, and sign again so that deeper checks are reached."""

    def damage(raw: bytes) -> bytes:
        header, body = parts(raw)
        config = json.loads(header["__metadata__"]["config"])
        change(header, config)
        if header["__metadata__"].get("config", "").startswith('{"created_with"'):
            header["__metadata__"]["config"] = canonical(config)
        return build(header, body, sign=sign)

    return damage


def settings(**values: Any):
    return edited(lambda header, config: config.update(values))


def parameter(**values: Any):
    return edited(lambda header, config: config["parameters"].update(values))


def metadata(**values: str):
    return edited(lambda header, config: header["__metadata__"].update(values))


def array(name: str, **values: Any):
    return edited(lambda header, config: header[name].update(values))


def number(name: str, value: float, index: int = 0):
    """Overwrite one number of an array, and sign again."""

    def damage(raw: bytes) -> bytes:
        header, body = parts(raw)
        kind = "<f4" if header[name]["dtype"] == "F32" else "<f8"
        size = np.dtype(kind).itemsize
        start = header[name]["data_offsets"][0] + index * size
        fresh = np.array(value, kind).tobytes()
        return build(header, body[:start] + fresh + body[start + size :])

    return damage


def header_text(change: Callable[[bytes], bytes]):
    def damage(raw: bytes) -> bytes:
        length = int.from_bytes(raw[:8], "little")
        text = change(raw[8 : 8 + length])
        return len(text).to_bytes(8, "little") + text + raw[8 + length :]

    return damage


def config_text(change: Callable[[str], str]):
    def damage(raw: bytes) -> bytes:
        header, body = parts(raw)
        header["__metadata__"]["config"] = change(header["__metadata__"]["config"])
        return build(header, body)

    return damage


def unsigned(raw: bytes) -> bytes:
    header, body = parts(raw)
    header["__metadata__"]["sha256"] = ""
    return build(header, body, sign=False)


def zipped(raw: bytes) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("config.json", "{}")
    return buffer.getvalue()


HOSTILE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda raw: b"", "at least 8 bytes, found 0"),
    "seven bytes": (lambda raw: raw[:7], "at least 8 bytes"),
    "csv": (lambda raw: b"a,b\n1,2\n", "it is text, such as a table. The model comes first"),
    "pickle": (lambda raw: pickle.dumps({"a": 1}), "Pickles run code and are never loaded"),
    "zip": (zipped, "zip archive"),
    "hdf5": (lambda raw: b"\x89HDF\r\n\x1a\n" + raw, "HDF5"),
    "npy": (lambda raw: b"\x93NUMPY" + raw, "NumPy"),
    "header cut": (lambda raw: raw[:100], "length of its header"),
    "body cut": (lambda raw: raw[:-1], "bytes of arrays"),
    "byte added": (lambda raw: raw + b"\0", "bytes of arrays"),
    "junk in front": (lambda raw: b"junk" + raw, "length of its header"),
    "header of 2^63": (lambda raw: struct.pack("<Q", 2**63) + raw[8:], "length of its header"),
    "header of 2^64-1": (lambda raw: b"\xff" * 8 + raw[8:], "length of its header"),
    "header of 0": (lambda raw: b"\0" * 8 + raw[8:], "length of its header"),
    "key twice": (header_text(lambda t: t.replace(b'{"', b'{"noise":1,"noise":2,"', 1)), "twice"),
    "deep nesting": (header_text(lambda t: b'{"a":' + b"[" * 200_000), "cannot be read"),
    "nan constant": (header_text(lambda t: b'{"a":NaN}'), "not a number"),
    "byte-order mark": (header_text(lambda t: b"\xef\xbb\xbf" + t), "start with a brace"),
    "utf-16": (header_text(lambda t: t.decode().encode("utf-16")), "start with a brace"),
    "bad utf-8": (header_text(lambda t: t[:-1] + b"\xff}"), "cannot be read"),
    "long integer": (header_text(lambda t: b'{"a":' + b"9" * 100_000 + b"}"), "cannot be read"),
    "no metadata": (header_text(lambda t: b"{}"), "no metadata"),
    "metadata a list": (header_text(lambda t: b'{"__metadata__":[]}'), "no metadata"),
    "lone surrogate": (settings(feature_names=["a", "\ud800"]), "must be 2 texts"),
    "foreign format": (metadata(format="pt"), "its format is 'pt'"),
    "newer version": (metadata(format_version="2"), "Upgrade vae-anomaly"),
    "version 0": (metadata(format_version="0"), "format version"),
    "version -1": (metadata(format_version="-1"), "format version"),
    "version 1.0": (metadata(format_version="1.0"), "format version"),
    "version in Arabic": (metadata(format_version="\u0661"), "format version"),
    "units of 1e9": (parameter(hidden_units=[10**9]), "bytes of arrays"),
    "units of 1e30": (parameter(hidden_units=[10**30]), "bytes of arrays"),
    "units below 0": (parameter(hidden_units=[-1]), "a non-empty tuple of ints >= 1"),
    "units of 0": (parameter(hidden_units=[0]), "a non-empty tuple of ints >= 1"),
    "units true": (parameter(hidden_units=[True]), "'hidden_units' has a wrong type"),
    "units 5.0": (parameter(hidden_units=[5.0]), "'hidden_units' has a wrong type"),
    "units text": (parameter(hidden_units=["5"]), "'hidden_units' has a wrong type"),
    "many layers": (parameter(hidden_units=[1] * 65), "'hidden_units' has a wrong type"),
    "latent true": (parameter(latent_dim=True), "'latent_dim' has a wrong type"),
    "beta infinite": (parameter(beta=1), "'beta' has a wrong type"),
    "unknown likelihood": (parameter(likelihood="os"), "must be one of 'gaussian', 'bernoulli'"),
    "unknown optimizer": (parameter(optimizer="sgd"), "must be one of 'adam', 'rmsprop'"),
    "optimizer a list": (parameter(optimizer=["adam"]), "'optimizer' has a wrong type"),
    "own networks": (parameter(architecture="own"), "not of the kind that its parameters say"),
    "needless networks": (settings(networks={}), "not of the kind that its parameters say"),
    "members of 1e12": (parameter(n_members=10**12), "bytes of arrays"),
    "n_features forged": (settings(n_features=10**6, feature_names=None), "bytes of arrays"),
    "n_features 0": (settings(n_features=0), "n_features must be an int >= 1"),
    "n_varying forged": (settings(n_varying=3), "more columns vary"),
    "n_calibration below 0": (settings(n_calibration=-1), "n_calibration must be an int >= 0"),
    "offset text": (settings(offset="nan"), "offset must be a finite number"),
    "offset int": (settings(offset=3), "offset must be a finite number"),
    "offset 1e999": (
        config_text(lambda text: re.sub('"offset":[^,]*', '"offset":1e999', text)),
        "offset must be a finite number",
    ),
    "extra key": (settings(module="os"), "its settings are not those of a model"),
    "missing key": (edited(lambda h, c: c.pop("offset")), "settings are not those"),
    "extra parameter": (parameter(callback="os.system"), "parameters are not those"),
    "config not json": (metadata(config="{"), "its settings cannot be read"),
    "config of 5 MB": (metadata(config=" " * 5_000_000), "length of its header"),
    "names not a list": (settings(feature_names="ab"), "must be 2 texts"),
    "names twice": (settings(feature_names=["a", "a"]), "share a name"),
    "names numbers": (settings(feature_names=[1, 2]), "must be 2 texts"),
    "history empty": (edited(lambda h, c: c["history"].update(step=[])), "no rounds"),
    "history ragged": (edited(lambda h, c: c["history"].update(loss=[1.0, 2.0])), "gaps"),
    "history of text": (edited(lambda h, c: c["history"].update(loss=["x"])), "than numbers"),
    "created_with escape": (settings(created_with={"x": "\x1b]0;owned"}), "names to texts"),
    "created_with code": (settings(created_with={"x": ["os"]}), "names to texts"),
    "extra array": (edited(lambda h, c: h.update(x=dict(h["noise"]))), "arrays are not those"),
    "missing array": (edited(lambda h, c: h.pop("noise")), "arrays are not those"),
    "path as name": (edited(lambda h, c: h.update({"../../x": h.pop("noise")})), "not those"),
    "many arrays": (
        edited(lambda h, c: h.update({str(i): dict(h["noise"]) for i in range(30_000)})),
        "arrays are not those",
    ),
    "transposed": (array("encoder_0.bias", shape=[2, 1]), "arrays are not those"),
    "shape of 2^80": (array("noise", shape=[2**40, 2**40]), "arrays are not those"),
    "negative shape": (array("noise", shape=[-1, 1]), "arrays are not those"),
    "boolean shape": (array("noise", shape=[True, True]), "arrays are not those"),
    "float shape": (array("noise", shape=[1.0, 1.0]), "arrays are not those"),
    "dtype object": (array("noise", dtype="O"), "arrays are not those"),
    "dtype F64": (array("noise", dtype="F64"), "arrays are not those"),
    "overlap": (array("noise", data_offsets=[0, 4]), "arrays are not those"),
    "negative offsets": (array("noise", data_offsets=[-4, 0]), "arrays are not those"),
    "float offsets": (array("noise", data_offsets=[0.0, 4.0]), "arrays are not those"),
    "past the end": (array("noise", data_offsets=[10**6, 10**6 + 4]), "arrays are not those"),
    "unknown field": (array("noise", code="x"), "arrays are not those"),
    "null array": (edited(lambda h, c: h.update(noise=None)), "arrays are not those"),
    "bit flipped": (lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]), "checksum does not fit"),
    "settings edited": (edited(lambda h, c: c.update(offset=0.5), sign=False), "checksum"),
    "no checksum": (unsigned, "checksum does not fit"),
    "weight NaN": (number("encoder_0.kernel", np.nan), "holds NaN or infinity"),
    "weight infinite": (number("decoder_out.bias", np.inf), "holds NaN or infinity"),
    "calibration NaN": (number("calibration_scores", np.nan), "holds NaN or infinity"),
    "calibration unsorted": (number("calibration_scores", 1e9), "not sorted"),
    "scale 0": (number("columns.scale", 0.0), "not positive"),
    "scale below 0": (number("columns.scale", -1.0), "not positive"),
    "range upside down": (number("columns.low", 1e9), "upside down"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_in_one_sentence(model: Path, case: str) -> None:
    damage, sentence = HOSTILE[case]
    raw = damage(model.read_bytes())
    assert raw != model.read_bytes()
    model.write_bytes(raw)
    with pytest.raises(ModelFileError) as caught:
        load(model)
    message = str(caught.value)
    assert message.startswith(f"{model}: not a sound vae-anomaly model: ")
    assert sentence in message
    assert "\n" not in message
    assert len(message) < 250 + len(str(model))


def test_a_flip_in_every_byte_and_every_truncation_is_noticed(model: Path) -> None:
    raw = model.read_bytes()
    # Spaces pad the header and carry nothing; a flip turns them into something.
    for i in range(len(raw)):
        flipped = raw[:i] + bytes([raw[i] ^ (1 << i % 8)]) + raw[i + 1 :]
        model.write_bytes(flipped)
        with pytest.raises(ModelFileError):
            load(model)
        model.write_bytes(raw[:i])
        with pytest.raises(ModelFileError):
            load(model)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(ModelFileError, match="expected a regular file, found a directory"):
            load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent.vae")


def test_a_huge_sparse_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "sparse.vae"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ModelFileError, match="more than the 536870912 allowed"):
        load(path)


def test_loading_imports_nothing_and_runs_nothing(model: Path) -> None:
    code = (
        "import sys, vae_anomaly.persistence as p\n"
        "events = []\n"
        "sys.addaudithook(lambda name, args: events.append(name))\n"
        f"p.load({str(model)!r})\n"
        "print([e for e in events if e in ('exec', 'compile', 'import', 'subprocess.Popen',"
        " 'os.system', 'pickle.find_class', 'socket.connect')])\n"
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "False"]


def test_a_failed_save_leaves_the_old_model(small: VAEDetector, model: Path, monkeypatch) -> None:
    before = model.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(vae_anomaly.OutputError):
        save(small, model)
    assert model.read_bytes() == before
    assert list(model.parent.iterdir()) == [model]
