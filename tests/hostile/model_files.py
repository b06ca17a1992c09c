"""Hostile model files, made from valid ones: cases 1 to 85, and those of images."""

from __future__ import annotations

import json
import pickle
import re
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras.initializers import RandomNormal

from vae_anomaly import SeriesDetector, VAEDetector
from vae_anomaly.series.comparison import WindowComparison
from vae_anomaly.storage.container import _digest, canonical


def small_detector() -> VAEDetector:
    """Fit a detector whose file is small enough to damage at every byte."""
    X = pd.DataFrame(np.random.RandomState(0).normal(size=(12, 2)), columns=["a", "b"])
    return VAEDetector(
        hidden_units=(2,), latent_dim=1, n_members=1, n_draws=1, max_steps=5,
        false_alarm_rate=0.5, random_state=0,
    ).fit(X)  # fmt: skip


def small_detectors() -> dict[str, VAEDetector | SeriesDetector]:
    """Fit minimal detectors that cover the optional contents of a model file."""
    rng = np.random.RandomState(0)
    tiny = {"latent_dim": 1, "n_draws": 2, "max_steps": 5, "random_state": 0}
    rows, images = rng.normal(size=(12, 3)), rng.randint(256, size=(6, 4, 4, 1), dtype=np.uint8)
    return {
        "by_name": small_detector(),
        "by_place": VAEDetector(
            **tiny, hidden_units=(2, 3), n_members=2, contamination=0.2, prior="normal"
        ).fit(rows),
        "bernoulli": VAEDetector(
            **tiny, hidden_units=(2,), n_members=1, threshold=3.0, likelihood="bernoulli"
        ).fit(rows),
        "images": VAEDetector(
            **tiny, hidden_units=(2,), n_members=1, contamination=0.2, beta=0, variance=0.5
        ).fit(images),
        "mixed": VAEDetector(**tiny, hidden_units=(2,), n_members=1, contamination=0.2).fit(
            pd.DataFrame(
                {
                    "a": [None, *rng.normal(size=23)],
                    "site": ["north", "south", "west"] * 8,
                    "start": pd.date_range("2026-01-01", periods=24, freq="D"),
                    "end": pd.date_range("2026-01-02", periods=24, freq="30h"),
                }
            )
        ),
        "series": small_series(),
        "patches": small_patches(
            VAEDetector(
                **tiny, hidden_units=(2,), n_members=1, false_alarm_rate=0.5,
                features=small_network(),
            ).fit(rng.randint(256, size=(8, 8, 8, 3), dtype=np.uint8))
        ),
    }  # fmt: skip


def small_patches(detector: VAEDetector) -> VAEDetector:
    """Return a detector of patches with few exemplars of gradients, and few of their components."""
    gradients = detector.model_.gradients
    compared = gradients.compared
    compared = replace(
        compared,
        projection=compared.projection[:, :2],
        points=compared.points[:4, [0, 1, -2, -1]],
        bandwidth=compared.bandwidth[:4],
    )
    gradients = replace(gradients, compared=compared)
    detector.model_ = replace(detector.model_, gradients=gradients)
    return detector


def small_network() -> keras.Model:
    """Make a network of features of patches, the same each time."""
    made = [keras.layers.Conv2D(2, 4, strides=4, kernel_initializer=RandomNormal(seed=0))]
    return keras.Sequential([keras.Input((8, 8, 3)), *made])


def small_series() -> SeriesDetector:
    """Fit a detector of time series whose networks are smaller than any that it makes."""
    rng = np.random.RandomState(0)
    steps = np.sin(np.arange(120) / 5) + 0.1 * rng.normal(size=120)
    detector = SeriesDetector(max_steps=5, random_state=0, window=4).fit(steps)
    windows = detector.model_.comparison.training.points[:12].astype(np.float64)
    network = VAEDetector(
        hidden_units=(2,), latent_dim=1, n_members=1, n_draws=1, max_steps=5,
        score_type="reconstruction", threshold=0.0, random_state=0,
    ).fit(windows).model_  # fmt: skip
    detector.model_ = replace(detector.model_, comparison=WindowComparison.of(network, windows))
    return detector


def parts(raw: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def build(header: Any, body: bytes, *, sign: bool = True) -> bytes:
    if sign:
        header["__metadata__"]["sha256"] = _digest(header, body)
    text = canonical(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def edited(change: Callable[[dict[str, Any], dict[str, Any]], None], *, sign: bool = True):
    """Change the header or the settings, with a new checksum so that later checks are reached."""

    def damage(raw: bytes) -> bytes:
        header, body = parts(raw)
        text = header["__metadata__"]["config"]
        config = json.loads(text)
        change(header, config)
        if header["__metadata__"].get("config") == text:
            header["__metadata__"]["config"] = canonical(config)
        return build(header, body, sign=sign)

    return damage


def settings(**values: Any):
    return edited(lambda header, config: config.update(values))


def encoder(**values: Any):
    return edited(lambda header, config: config["encoder"].update(values))


def mixed(**values: Any):
    return edited(lambda header, config: config["encoder"]["mixed"].update(values))


def column(place: int, **values: Any):
    return edited(
        lambda header, config: config["encoder"]["mixed"]["columns"][place].update(values)
    )


def parameter(**values: Any):
    return edited(lambda header, config: config["parameters"].update(values))


def metadata(**values: str):
    return edited(lambda header, config: header["__metadata__"].update(values))


def array(name: str, **values: Any):
    return edited(lambda header, config: header[name].update(values))


def number(name: str, value: float, index: int = 0):
    """Overwrite one number of an array, with a new checksum."""

    def damage(raw: bytes) -> bytes:
        header, body = parts(raw)
        dtype = "<f4" if header[name]["dtype"] == "F32" else "<f8"
        size = np.dtype(dtype).itemsize
        start = header[name]["data_offsets"][0] + index * size
        replacement = np.array(value, dtype).tobytes()
        return build(header, body[:start] + replacement + body[start + size :])

    return damage


def with_constant_column(raw: bytes) -> bytes:
    """Make the range of the first column empty."""
    header, body = parts(raw)
    start = header["data.low"]["data_offsets"][0]
    return number("data.high", np.frombuffer(body[start : start + 8], "<f8")[0])(raw)


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
    "csv": (lambda raw: b"a,b\n1,2\n", "it is text, such as a CSV file. The model comes first"),
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
    "lone surrogate": (encoder(names=["a", "\ud800"]), "must be 2 texts"),
    "foreign format": (metadata(format="pt"), "its format is 'pt'"),
    "version 0": (metadata(format_version="0"), "format version"),
    "version -1": (metadata(format_version="-1"), "format version"),
    "version 1.0": (metadata(format_version="1.0"), "format version"),
    "version in Arabic": (metadata(format_version="\u0661"), "format version"),
    "units of 1e9": (parameter(hidden_units=[10**9]), "bytes of arrays"),
    "units of 1e30": (parameter(hidden_units=[10**30]), "an integer has 31 digits"),
    "units below 0": (parameter(hidden_units=[-1]), "a non-empty tuple of ints >= 1"),
    "units of 0": (parameter(hidden_units=[0]), "a non-empty tuple of ints >= 1"),
    "units true": (parameter(hidden_units=[True]), "'hidden_units' has a wrong type"),
    "units 5.0": (parameter(hidden_units=[5.0]), "'hidden_units' has a wrong type"),
    "units text": (parameter(hidden_units=["5"]), "'hidden_units' has a wrong type"),
    "many layers": (parameter(hidden_units=[1] * 65), "'hidden_units' has a wrong type"),
    "latent true": (parameter(latent_dim=True), "'latent_dim' has a wrong type"),
    "beta infinite": (parameter(beta=1), "'beta' has a wrong type"),
    "unknown likelihood": (parameter(likelihood="os"), "must be one of 'gaussian', 'hetero"),
    "unknown optimizer": (parameter(optimizer="sgd"), "must be one of 'adam', 'rmsprop'"),
    "optimizer a list": (parameter(optimizer=["adam"]), "'optimizer' has a wrong type"),
    "custom networks": (parameter(architecture="custom"), "do not match its parameter"),
    "needless networks": (settings(networks={}), "do not match its parameter architecture"),
    "members of 1e12": (parameter(n_members=10**12), "bytes of arrays"),
    "n_features forged": (encoder(n_features=10**6, names=None), "bytes of arrays"),
    "n_features 0": (encoder(n_features=0), "n_features must be an int >= 1"),
    "n_inputs forged": (encoder(n_inputs=3), "more columns vary"),
    "n_calibration below 0": (settings(n_calibration=-1), "n_calibration must be an int >= 0"),
    "threshold text": (settings(threshold="nan"), "threshold must be a finite number"),
    "threshold int": (settings(threshold=3), "threshold must be a finite number"),
    "threshold 1e999": (
        config_text(lambda text: re.sub('"threshold":[^,}]*}$', '"threshold":1e999}', text)),
        "threshold must be a finite number",
    ),
    "threshold null": (settings(threshold=None), "threshold must be a finite number"),
    "modality unknown": (settings(modality="os"), "modality must be one of table, image"),
    "modality a list": (settings(modality=["table"]), "modality must be one of table, image"),
    "modality a module": (
        settings(modality="vae_anomaly.data.table.modality"),
        "modality must be one of table, image",
    ),
    "modality swapped": (settings(modality="image"), "encoder are not those of its modality"),
    "encoder null": (settings(encoder=None), "encoder are not those of its modality"),
    "encoder a list": (settings(encoder=["names"]), "encoder are not those of its modality"),
    "encoder extra": (encoder(resize="stretch"), "encoder are not those of its modality"),
    "encoder short": (
        edited(lambda h, c: c["encoder"].pop("names")),
        "encoder are not those of its modality",
    ),
    "encoder likelihood": (encoder(likelihood="os"), "likelihood must be one of gaussian"),
    "encoder likelihood a list": (encoder(likelihood=[]), "likelihood must be one of gaussian"),
    "likelihoods differ": (
        encoder(likelihood="bernoulli"),
        "the likelihood of its encoder is not that of its parameters",
    ),
    "n_inputs 0": (encoder(n_inputs=0), "n_inputs must be an int >= 1"),
    "n_inputs true": (encoder(n_inputs=True), "n_inputs must be an int >= 1"),
    "n_skipped_neighbors": (settings(n_skipped_neighbors=17), "n_skipped_neighbors must be 16"),
    "n_exemplars 1": (settings(n_exemplars=1), "n_exemplars must be an int >= 2"),
    "n_exemplars of 1e6": (settings(n_exemplars=10**6), "n_exemplars must be 4096 at most"),
    "n_components of 1e6": (settings(n_components=10**6), "n_components must be 257 at most"),
    "prior without components": (
        parameter(prior="normal"),
        "components of its prior do not go with its parameters",
    ),
    "extra key": (settings(module="os"), "its settings are not those of a model"),
    "missing key": (edited(lambda h, c: c.pop("threshold")), "settings are not those"),
    "pixels text": (parameter(pixel_range="01"), "'pixel_range' has a wrong type"),
    "pixels of ints": (parameter(pixel_range=[0, 1]), "'pixel_range' has a wrong type"),
    "pixels of one": (parameter(pixel_range=[0.0]), "'pixel_range' parameter of SimpleNamespace"),
    "pixels reversed": (parameter(pixel_range=[1.0, 0.0]), "'pixel_range' parameter of Simple"),
    "extra parameter": (parameter(callback="os.system"), "parameters are not those"),
    "config not json": (metadata(config="{"), "its settings cannot be read"),
    "config of 5 MB": (metadata(config=" " * 5_000_000), "length of its header"),
    "names not a list": (encoder(names="ab"), "must be 2 texts"),
    "names twice": (encoder(names=["a", "a"]), "share a name"),
    "names numbers": (encoder(names=[1, 2]), "must be 2 texts"),
    "history empty": (edited(lambda h, c: c["history"].update(step=[])), "no intervals"),
    "history ragged": (edited(lambda h, c: c["history"].update(loss=[1.0, 2.0])), "gaps"),
    "history of text": (edited(lambda h, c: c["history"].update(loss=["x"])), "than numbers"),
    "created_with escape": (settings(created_with={"x": "\x1b]0;owned"}), "names to texts"),
    "created_with code": (settings(created_with={"x": ["os"]}), "names to texts"),
    "extra array": (edited(lambda h, c: h.update(x=dict(h["noise"]))), "arrays are not those"),
    "missing array": (edited(lambda h, c: h.pop("noise")), "arrays are not those"),
    "path as name": (edited(lambda h, c: h.update({"../../x": h.pop("noise")})), "not those"),
    "many arrays": (
        edited(lambda h, c: h.update({str(i): dict(h["noise"]) for i in range(30_000)})),
        "its header has more parts than a model",
    ),
    "some arrays": (
        edited(lambda h, c: h.update({str(i): dict(h["noise"]) for i in range(900)})),
        "arrays are not those",
    ),
    "many objects": (settings(history=[{}] * 10_000), "its header has more parts than a model"),
    "many lists": (settings(history=[[]] * 300_000), "its header has more parts than a model"),
    "many numbers": (settings(history=[0] * 1_000_000), "its history is not one"),
    "many names": (encoder(names=["a"] * 500_000), "must be 2 texts"),
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
    "bit flipped": (lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]), "checksum does not match"),
    "settings edited": (edited(lambda h, c: c.update(threshold=0.5), sign=False), "checksum"),
    "no checksum": (unsigned, "checksum does not match"),
    "weight NaN": (number("encoder_0.kernel", np.nan), "holds NaN or infinity"),
    "weight infinite": (number("decoder_out.bias", np.inf), "holds NaN or infinity"),
    "calibration NaN": (number("calibration_scores", np.nan), "holds NaN or infinity"),
    "calibration unsorted": (number("calibration_scores", 1e9), "not sorted"),
    "digests unsorted": (number("seen.learned", 2**63), "'seen.learned' is not sorted"),
    "n_seen of 1e6": (settings(n_seen=10**6), "n_seen must be 262144 at most"),
    "columns vary": (with_constant_column, "do not vary as its settings say"),
    "bandwidth 0": (number("reference.bandwidth", 0.0), "'reference.bandwidth' holds numbers out"),
    "position 0.5": (number("reference.position", 0.5), "are not whole numbers"),
    "position -1": (number("reference.position", -1.0), "'reference.position' holds numbers"),
    "unit 0": (number("reference.residual_unit", 0.0), "'reference.residual_unit' holds numbers"),
    "unit of a code": (number("reference.code_unit", 1e-20), "the units of its codes are not as"),
    "learned variance": (number("likelihood_0.log_variance", 2000.0), "variances out of range"),
    "scale 0": (number("data.scale", 0.0), "not positive"),
    "scale below 0": (number("data.scale", -1.0), "not positive"),
    "range reversed": (number("data.low", 1e9), "range of a column is reversed"),
}  # fmt: skip

HOSTILE_IMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "modality swapped": (settings(modality="table"), "encoder are not those of its modality"),
    "extra": (encoder(names=None), "encoder are not those of its modality"),
    "range null": (encoder(pixel_range=None), "pixel_range must be two floats, black below"),
    "range of ints": (encoder(pixel_range=[0, 255]), "pixel_range must be two floats"),
    "range of true": (encoder(pixel_range=[False, True]), "pixel_range must be two floats"),
    "range of one": (encoder(pixel_range=[1.0]), "pixel_range must be two floats"),
    "white below": (encoder(pixel_range=[1.0, 0.0]), "pixel_range must be two floats"),
    "range empty": (encoder(pixel_range=[1.0, 1.0]), "pixel_range must be two floats"),
    "range of 1e308": (encoder(pixel_range=[-1e308, 1e308]), "pixel_range must be two floats"),
    "shape null": (encoder(shape=None), "shape must be three ints that make up n_features"),
    "shape of two": (encoder(shape=[4, 4]), "shape must be three ints"),
    "shape text": (encoder(shape="441"), "shape must be three ints"),
    "shape true": (encoder(shape=[4, 4, True]), "shape must be three ints"),
    "shape floats": (encoder(shape=[4.0, 4, 1]), "shape must be three ints"),
    "shape of others": (encoder(shape=[4, 5, 1]), "shape must be three ints"),
    "shape below 0": (encoder(shape=[-4, -4, 1]), "shape must be three ints"),
    "smoothing below 0": (encoder(smoothing=-1.0), "smoothing must be a number of pixels"),
    "smoothing of 1e9": (encoder(smoothing=1e9), "smoothing must be a number of pixels"),
    "smoothing int": (encoder(smoothing=1), "smoothing must be a number of pixels"),
    "smoothing null": (encoder(smoothing=None), "smoothing must be a number of pixels"),
    "resize crop": (encoder(resize="crop"), "resize must be one of stretch, letterbox, or null"),
    "resize a list": (encoder(resize=["stretch"]), "resize must be one of stretch, letterbox"),
    "channels": (encoder(shape=[4, 2, 2], resize="stretch"), "image files have 1 or 3 channels"),
    "range reversed": (number("data.low", 1e9), "range of a column is reversed"),
}

HOSTILE_MIXED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "mixed a list": (encoder(mixed=[]), "the settings of its columns are not those of a table"),
    "mixed short": (
        edited(lambda h, c: c["encoder"]["mixed"].pop("date_widths")),
        "the settings of its columns are not those of a table",
    ),
    "column short": (
        edited(lambda h, c: c["encoder"]["mixed"]["columns"][2].pop("cycles")),
        "the settings of a column are not those of a table",
    ),
    "no columns": (mixed(columns=[]), "n_features must be the number of its columns"),
    "type unknown": (column(2, type="os"), "type of a column must be one of number, category"),
    "format null": (column(2, format=None), "format of a column must be a text"),
    "format empty": (column(2, format=""), "must give a year, a month and a day"),
    "format of hours": (column(2, format="%H"), "must give a year, a month and a day"),
    "format unknown": (column(2, format="%Q%Y%m%d"), "must give a year, a month and a day"),
    "format twice": (column(2, format="%Y%m%d%d"), "must give a year, a month and a day"),
    "format of 1 MB": (column(2, format="%Y%m%d" + " " * 10**6), "must give a year, a month"),
    "format of a number": (column(0, format="%Y%m%d"), "only dates have a format, cycles and a"),
    "cycles of a number": (column(0, cycles=[["weekday", 0.0]]), "only dates have a format, cyc"),
    "span of a number": (column(0, span=[0.0, 1.0]), "only dates have a format, cycles and a span"),
    "span null": (column(2, span=None), "cycles and span lists"),
    "span of one": (column(2, span=[0.0]), "span of a date must be two numbers of seconds"),
    "span text": (column(2, span=["a", "b"]), "span of a date must be two numbers of seconds"),
    "span of whole numbers": (column(2, span=[0, 1]), "span of a date must be two numbers of"),
    "span reversed": (column(2, span=[1.0, 0.0]), "span of a date must be two numbers of seconds"),
    "span of 1e300": (column(2, span=[0.0, 1e300]), "span of a date must be two numbers of"),
    "cycles text": (column(2, cycles="weekday"), "cycles and span lists"),
    "cycle text": (column(2, cycles=["weekday"]), "a cycle of a date must be a name and a number"),
    "cycle unknown": (column(2, cycles=[["os", 0.0]]), "cycles of a date must be some of time"),
    "cycle a list": (column(2, cycles=[[[], 0.0]]), "cycles of a date must be some of time"),
    "cycle twice": (column(2, cycles=[["weekday", 0.0]] * 2), "cycles of a date must be some of"),
    "center 2": (column(2, cycles=[["weekday", 2.0]]), "must be a number from 0 to 1"),
    "center true": (column(2, cycles=[["weekday", True]]), "must be a number from 0 to 1"),
    "center text": (column(2, cycles=[["weekday", "0"]]), "must be a number from 0 to 1"),
    "widths null": (mixed(date_widths=None), "date_widths must have a number for each date"),
    "widths of others": (mixed(date_widths=[2]), "date_widths must have a number for each date"),
    "widths above": (mixed(date_widths=[3, 5]), "more parts of a date vary than there are"),
    "widths below 0": (mixed(date_widths=[-1, 5]), "more parts of a date vary than there are"),
    "widths true": (mixed(date_widths=[True, 5]), "more parts of a date vary than there are"),
    "widths forged": (
        edited(lambda h, c: c["encoder"]["mixed"].update(date_widths=[0, 0])),
        "n_inputs must be the number of inputs",
    ),
    "date as a trend": (
        column(2, type="trend", format="", cycles=[], span=[]),
        "must have a number for",
    ),
    "levels of a date": (column(2, levels=["a"]), "a category has levels, and nothing else has"),
    "column counts": (number("data.n_missing", 0.5), "count rows that there are not"),
    "scale 0": (number("data.scale", 0.0, 2), "not positive"),
}  # fmt: skip
