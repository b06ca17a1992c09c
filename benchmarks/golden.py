"""Write a golden set of small fits, files and commands, or compare the code at hand with one.

    python benchmarks/golden.py write DIR      # with the code before a change
    python benchmarks/golden.py compare DIR    # with the code after it, on the same machine

The package is the one that Python imports, in commands as well; its path is printed first.
DIR gets for each fit an archive of what the detector tells and its model file, and from
commands their tables, models and exit codes.

`compare` makes the same in a temporary directory and prints a line for each array, table and
model file. It exits with 1 if an array or a table differs or is missing; model files count
only with `--files`. `--only table conv commands` takes what has one of the words in its name.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import pandas as pd
from PIL import Image

import vae_anomaly
from vae_anomaly import DriftWatch, VAEDetector, load, recalibrate, save

METHODS = "score_samples decision_function predict scores explain transform reconstruct score"
ATTRIBUTES = "offset_ calibration_scores_ latent_kl_"
READ = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
Case = tuple[dict[str, Any], Any, Any, Any]
"""Parameters of a detector, and rows to learn from, to score, and to recalibrate on."""


def table(n: int, seed: int, *, anomalous: bool = False) -> pd.DataFrame:
    """Return rows around a plane, a count, a share and a constant; the first may be anomalous."""
    rng = np.random.RandomState(seed)
    plane = np.array([[1.0, -2.0, 0.5, 0.0], [0.3, 1.0, -1.0, 2.0]])
    rows = rng.normal(size=(n, 2)) @ plane + 0.3 * rng.normal(size=(n, 4))
    frame = pd.DataFrame(rows, columns=list("abcd"))
    frame = frame.assign(count=1.0 * rng.poisson(3, size=n), share=rng.uniform(size=n), same=7.0)
    for column, value in enumerate((6.0, 1e12, -3.0, 0.0, 2.5, -0.5, 8.0) if anomalous else ()):
        frame.iloc[column, column] = value
    return frame


def images(n: int, side: int, channels: int, seed: int, odd: int = 0) -> np.ndarray:
    """Return images of 8 bits, a spot on a ramp; of the first `odd` the ramp is turned."""
    rng = np.random.RandomState(seed)
    y, x = np.mgrid[:side, :side] / (side - 1)
    centres = rng.uniform(0.3, 0.7, size=(2, n, 1, 1))
    spots = np.exp(-((x - centres[0]) ** 2 + (y - centres[1]) ** 2) / 0.02)
    ramps = np.where(np.arange(n)[:, None, None] < odd, y, x)
    grey = 120 * ramps + 100 * spots + rng.normal(scale=5, size=(n, side, side))
    values = np.clip(grey[..., None] * np.array([1.0, 0.7, 0.4])[:channels], 0, 255)
    return (values if channels > 1 else values[..., 0]).astype(np.uint8)


def custom_networks() -> tuple[Any, Any]:
    """Return an encoder and a decoder with fixed structure, always with the same weights."""
    keras.utils.set_random_seed(0)
    layers, x = keras.layers, keras.Input((7,))
    h = layers.Dropout(0.1)(layers.BatchNormalization()(layers.Dense(16, "relu")(x)))
    decoder = keras.Sequential([keras.Input((2,)), layers.Dense(16, "relu"), layers.Dense(7)])
    return keras.Model(x, [layers.Dense(2)(h), layers.Dense(2)(h)]), decoder


def cases(folder: Path) -> Iterator[tuple[str, Case]]:
    """Return the fits with their names; a checkpoint lies in a folder."""
    train, test, today = table(300, seed=0), table(40, seed=1, anomalous=True), table(150, seed=2)
    train.iloc[0, 0] = 1e6
    bare = (part.to_numpy() for part in (train, test, today))
    yield "array", ({"prior": "normal", "score_type": "importance_weighted"}, *bare)
    yield "calibrated", ({"false_alarm_rate": 0.05}, table(700, seed=3), test, today)
    for name, parameters in {
        "table": {},
        "custom": {"architecture": custom_networks(), "n_members": 2},
        "variance": {"variance": 0.5, "threshold": 20.0},
        "heteroscedastic": {"likelihood": "heteroscedastic", "score_type": "typicality"},
        "student_t": {"likelihood": "student_t", "contamination": 0.1},
        "logistic": {"likelihood": "discretized_logistic", "score_type": "elbo"},
        "bernoulli": {"likelihood": "bernoulli", "score_type": "elbo", "prior": "normal"},
        "beta0": {"beta": 0.0, "hidden_units": (32, 16), "latent_dim": 3, "n_members": 2},
        "rmsprop": {"optimizer": "rmsprop", "contamination": 0.05, "batch_size": 64},
        "checkpoint": {"checkpoint": str(folder), "n_draws": 3},
    }.items():
        yield name, (parameters, train, test, today)
    conv, conv_bn = ({"architecture": name, "n_members": 1} for name in ("conv", "conv_bn"))
    for name, parameters, *shape in (
        ("dense_28", {"n_members": 2}, 28, 1),
        ("conv_grey", conv, 12, 1),
        ("conv_colour", conv | {"likelihood": "bernoulli"}, 12, 3),
        ("conv_bn_grey", conv_bn | {"score_type": "exemplar"}, 12, 1),
        ("conv_bn_colour", conv_bn | {"smoothing": 0.5}, 12, 3),
    ):
        parts = images(150, *shape, seed=0), images(12, *shape, seed=1, odd=4)
        yield name, (parameters, *parts, images(60, *shape, seed=2))


def results_of(case: Case, model: Path) -> dict[str, Any]:
    """Write the model file of a fit, and return all results of the detector."""
    parameters, train, test, today = case
    detector = VAEDetector(**({"max_steps": 200, "random_state": 0} | parameters)).fit(train)
    save(detector, model)
    networks = parameters.get("architecture")
    loaded = load(model, networks=networks if isinstance(networks, tuple) else None)
    arrays = {name: getattr(detector, name)(test) for name in METHODS.split()}
    arrays |= {name: getattr(detector, name) for name in ATTRIBUTES.split()}
    arrays |= {
        "scores_columns": arrays["scores"].columns.astype(str).tolist(),
        "explain_columns": arrays["explain"].columns.tolist(),
        "score_samples_train": detector.score_samples(train),
        "names_out": detector.get_feature_names_out().astype(str),
        "sample": detector.sample(5, random_state=0),
        "score_samples_loaded": loaded.score_samples(test),
        "offset_recalibrated": recalibrate(detector, today, false_alarm_rate=0.1).offset_,
    }
    if len(detector.calibration_scores_):
        drift = DriftWatch(detector).add(today).result()
        arrays["drift"] = [drift.statistic, drift.p_value, drift.n_rows]
        arrays["p_values"] = detector.p_values(test)
        arrays["flag_batch"] = detector.flag_batch(test)
    if np.ndim(test) > 2:
        arrays["contribution_maps"], arrays["contribution_kl"] = detector.contribution_maps(test)
    return arrays


def write_data(folder: Path) -> dict[str, tuple[str, str, list[str]]]:
    """Write what commands read; return its suffix, where to learn from, and how to evaluate."""
    labelled = table(40, seed=1, anomalous=True).assign(id=[f"r{i}" for i in range(40)], label=0)
    labelled.iloc[:7, -1] = 1
    for name, frame in {"train": table(400, seed=0), "labelled": labelled}.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
        frame.to_parquet(folder / f"{name}.parquet", index=False)
    for where, n, odd in (("train/good", 80, 0), ("labelled/good", 10, 0), ("labelled/odd", 6, 6)):
        (folder / where).mkdir(parents=True)
        for i, value in enumerate(images(n, 16, 1, seed=n, odd=odd)):
            Image.fromarray(value).save(folder / where / f"{i:03d}.png")
    labels = ["--id-column", "id", "--label-column", "label"]
    tables = {"csv": (".csv", ".csv", labels), "parquet": (".parquet", ".parquet", labels)}
    return tables | {"images": ("", ".csv", [])}


def write_commands(folder: Path) -> None:
    """Write what commands make of a CSV and a Parquet table and of a folder of images."""
    folder.mkdir()
    home = str(Path(vae_anomaly.__file__).parents[1])
    codes, environment = {}, os.environ | {"PYTHONPATH": home}
    with tempfile.TemporaryDirectory() as read:
        for name, (suffix, ends, labels) in write_data(Path(read)).items():
            out, train, test = folder.resolve() / name, f"train{suffix}", f"labelled{suffix}"
            model, also = f"{out}.vae", ["--p-values", "--also", "kl"]
            reasons = [*labels[:2], "--explain", "3"] if labels else []
            for step, words in {
                "fit": [train, "-o", model, "--max-steps", "200"],
                "score": [model, test, "-o", f"{out}_scores{ends}", *also, *reasons],
                "score_fdr": [model, test, "-o", f"{out}_fdr{ends}", "--fdr", "0.1"],
                "evaluate": [model, test, "-o", f"report_{name}", *labels],
                "recalibrate": [model, train, "-o", f"{out}_recalibrated.vae", "--keep-learned"],
            }.items():
                line = [sys.executable, "-m", "vae_anomaly", step.split("_")[0], *words, "-q"]
                codes[f"{name}_{step}"] = subprocess.call(line, cwd=read, env=environment)
    np.savez(folder / "exit_codes.npz", **codes)


def write(folder: Path, only: Sequence[str]) -> int:
    """Write a golden set into a folder that is not there yet, and return 0."""
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as kept:
        for name, case in cases(Path(kept)):
            if any(word in name for word in only):
                np.savez(folder / f"{name}.npz", **results_of(case, folder / f"{name}.vae"))
    if any(word in "commands" for word in only):
        write_commands(folder / "commands")
    return 0


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an archive, else the bytes of a file and the columns of a table."""
    if not path.exists():
        return {}
    if path.suffix == ".npz":
        return dict(np.load(path))
    arrays = {"bytes": np.frombuffer(path.read_bytes(), np.uint8)}
    for name, column in READ[path.suffix](path).items() if path.suffix in READ else ():
        numbers = column.dtype.kind in "biuf"
        arrays[name] = np.array(column if numbers else column.astype(str).tolist())
    return arrays


def difference(old: np.ndarray | None, new: np.ndarray | None) -> str:
    """Return how two arrays differ, or nothing if they are the same to the last bit."""
    if old is None or new is None:
        return f"is only {'made now' if old is None else 'in the golden set'}"
    if old.dtype != new.dtype or old.shape != new.shape:
        return f"differs: {old.dtype} {old.shape}, now {new.dtype} {new.shape}"
    if old.tobytes() == new.tobytes():
        return ""
    if old.dtype.kind not in "if":
        return f"differs in {np.count_nonzero(old != new)} of {old.size}"
    gap, size = np.abs(old - new), np.maximum(np.abs(old), np.abs(new)) + 1e-300
    return f"differs by max abs {np.nanmax(gap):.3g}, max rel {np.nanmax(gap / size):.3g}"


def compare(golden: Path, only: Sequence[str], *, files: bool) -> int:
    """Write a golden set of today elsewhere; return 1 if it differs in something that counts."""
    wrong = {"array": 0, "table": 0, "model file": 0}
    with tempfile.TemporaryDirectory() as place:
        today = Path(place) / "today"
        write(today, only)
        paths = {p.relative_to(root) for root in (golden, today) for p in root.rglob("*.*")}
        for path in sorted(p for p in paths if any(word in p.parts[0] for word in only)):
            content = {".npz": "array", ".vae": "model file"}.get(path.suffix, "table")
            before, now = arrays_of(golden / path), arrays_of(today / path)
            for name in before | now:
                words = difference(before.get(name), now.get(name))
                wrong[content] += bool(words)
                print(f"{content} {path} {name}: {words or 'identical'}")
    print(*(f"{content}s that differ: {count}" for content, count in wrong.items()), sep=", ")
    return int(wrong["array"] + wrong["table"] + files * wrong["model file"] > 0)


def main() -> int:
    """Write a golden set or compare with one; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["write", "compare"])
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--files", action="store_true", help="let model files count as well")
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="some of it")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(Path(vae_anomaly.__file__).parent, flush=True)
    if options.what == "write":
        return write(options.folder, options.only)
    return compare(options.folder, options.only, files=options.files)


if __name__ == "__main__":
    sys.exit(main())
