"""Write a golden set of small fits, files and commands, or compare the code at hand with one.

    python benchmarks/golden.py write DIR      # with the code before a change
    python benchmarks/golden.py compare DIR    # with the code after it, on the same machine

The package is the one that Python imports, in commands as well; its path is printed first.
DIR gets for each fit an archive of what the detector tells and its model file, for each
command the tables and models that it writes, and the exit codes of all commands.

`compare` makes the same in a temporary directory and prints a line for each array, table and
model file. It exits with 1 if an array or a table differs or is not there; model files are
listed as well, but count only with `--files`: versions and settings in them may change.
`--only` takes words, and leaves out fits and tables of commands whose name has none of them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import pandas as pd
from PIL import Image

import vae_anomaly
from vae_anomaly import DriftWatch, VAEDetector, load, recalibrate, save

COMMANDS = "commands"
QUICK = {"max_steps": 200, "random_state": 0}
TABLES = {".csv": pd.read_csv, ".parquet": pd.read_parquet}


class Case(NamedTuple):
    """A fit: parameters of the detector, rows to learn from, to score, and to recalibrate on."""

    parameters: dict[str, Any]
    train: Any
    test: Any
    today: Any


# --------------------------------------------------------------------------------- data


def table(n: int, seed: int) -> pd.DataFrame:
    """Return rows around a plane, with a count, a share and a column that is constant."""
    rng = np.random.RandomState(seed)
    plane = np.random.RandomState(9).normal(size=(2, 4))
    rows = rng.normal(size=(n, 2)) @ plane + 0.3 * rng.normal(size=(n, 4))
    frame = pd.DataFrame(rows, columns=["a", "b", "c", "d"])
    frame["count"] = rng.poisson(3, size=n)
    frame["share"] = rng.uniform(size=n)
    return frame.assign(constant=7.0)


def test_table() -> pd.DataFrame:
    """Return rows to score, some strange: far off, extreme, off the lattice, not constant."""
    frame = table(40, seed=1).set_index(np.arange(100, 140)).astype(float)
    for place, (column, value) in enumerate(
        [("a", 6.0), ("b", 1e12), ("count", 2.5), ("constant", 8.0), ("share", -0.5)]
    ):
        frame.iloc[place, frame.columns.get_loc(column)] = value
    return frame


def pictures(n: int, side: int, channels: int, seed: int, odd: int = 0) -> np.ndarray:
    """Return pictures of 8 bits, a spot on a ramp; of the first `odd` the ramp is turned."""
    rng = np.random.RandomState(seed)
    y, x = np.mgrid[:side, :side] / (side - 1)
    centres = rng.uniform(0.3, 0.7, size=(2, n, 1, 1))
    spots = np.exp(-((x - centres[0]) ** 2 + (y - centres[1]) ** 2) / 0.02)
    ramps = np.where(np.arange(n)[:, None, None] < odd, y, x)
    grey = 120 * ramps + 100 * spots + rng.normal(scale=5, size=(n, side, side))
    colours = np.clip(grey[..., None] * np.array([1.0, 0.7, 0.4])[:channels], 0, 255)
    return colours.astype(np.uint8) if channels > 1 else colours[..., 0].astype(np.uint8)


def own_networks() -> tuple[Any, Any]:
    """Return an encoder and a decoder of the user's own, always with the same weights."""
    layers = keras.layers
    keras.utils.set_random_seed(0)
    x = keras.Input((7,))
    h = layers.Dropout(0.1)(layers.BatchNormalization()(layers.Dense(16, "relu")(x)))
    encoder = keras.Model(x, [layers.Dense(2)(h), layers.Dense(2)(h)])
    decoder = keras.Sequential([keras.Input((2,)), layers.Dense(16, "relu"), layers.Dense(7)])
    return encoder, decoder


def cases(folder: Path) -> dict[str, Case]:
    """Return the fits by name; a checkpoint lies in a folder."""
    train, test, today = table(300, seed=0), test_table(), table(150, seed=2)
    train.iloc[0, 0] = 1e6
    many = table(700, seed=3)
    found = {
        "table": Case({}, train, test, today),
        "array": Case(
            {"prior": "normal", "score_type": "importance_weighted"},
            *(part.to_numpy() for part in (train, test, today)),
        ),
        "calibrated": Case({"false_alarm_rate": 0.05}, many, test, today),
        "own": Case({"architecture": own_networks(), "n_members": 2}, train, test, today),
    }
    for name, parameters in {
        "variance": {"variance": 0.5, "threshold": 20.0},
        "heteroscedastic": {"likelihood": "heteroscedastic", "score_type": "typicality"},
        "student_t": {"likelihood": "student_t", "contamination": 0.1},
        "logistic": {"likelihood": "discretized_logistic", "score_type": "elbo"},
        "bernoulli": {"likelihood": "bernoulli", "score_type": "elbo", "prior": "normal"},
        "beta0": {"beta": 0.0, "hidden_units": (32, 16), "latent_dim": 3, "n_members": 2},
        "rmsprop": {"optimizer": "rmsprop", "contamination": 0.05, "batch_size": 64},
        "checkpoint": {"checkpoint": str(folder), "n_draws": 3},
    }.items():
        found[name] = Case(parameters, train, test, today)
    conv, conv_bn = {"architecture": "conv", "n_members": 1}, {"architecture": "conv_bn"}
    for name, parameters, side, channels in (
        ("dense_28", {"n_members": 2, "max_steps": 100}, 28, 1),
        ("conv_grey", conv, 12, 1),
        ("conv_colour", conv | {"likelihood": "bernoulli"}, 12, 3),
        ("conv_bn_grey", conv_bn | {"n_members": 1, "score_type": "exemplar"}, 12, 1),
        ("conv_bn_colour", conv_bn | {"n_members": 1, "smoothing": 0.5}, 12, 3),
    ):
        shape = (side, channels)
        parts = pictures(150, *shape, seed=0), pictures(12, *shape, seed=1, odd=4)
        found[name] = Case(parameters, *parts, pictures(60, *shape, seed=2))
    return found


# ------------------------------------------------------------------------------ writing


def told(case: Case, model: Path) -> dict[str, np.ndarray]:
    """Write the model file of a fit, and return all that the detector tells."""
    train, test = case.train, case.test
    detector = VAEDetector(**(QUICK | case.parameters)).fit(train)
    scores, reasons = detector.scores(test), detector.explain(test)
    save(detector, model)
    own = case.parameters.get("architecture")
    loaded = load(model, networks=own if isinstance(own, tuple) else None)
    today = recalibrate(detector, case.today, false_alarm_rate=0.1)
    arrays = {
        "score_samples": detector.score_samples(test),
        "score_samples_train": detector.score_samples(train),
        "score": detector.score(test),
        "scores": scores.to_numpy(),
        "scores_names": scores.columns.to_numpy(dtype=str),
        "explain": reasons.to_numpy(),
        "explain_names": reasons.columns.to_numpy(dtype=str),
        "explain_index": reasons.index.to_numpy(),
        "decision_function": detector.decision_function(test),
        "predict": detector.predict(test),
        "transform": detector.transform(test),
        "transform_names": detector.get_feature_names_out().astype(str),
        "reconstruct": detector.reconstruct(test),
        "sample": detector.sample(5, random_state=0),
        "offset_": detector.offset_,
        "calibration_scores_": detector.calibration_scores_,
        "latent_kl_": detector.latent_kl_,
        "score_samples_loaded": loaded.score_samples(test),
        "explain_loaded": loaded.explain(test).to_numpy(),
        "offset_loaded": loaded.offset_,
        "offset_recalibrated": today.offset_,
        "calibration_scores_recalibrated": today.calibration_scores_,
    }
    if len(detector.calibration_scores_):
        drift = DriftWatch(detector).add(case.today).result()
        arrays["p_values"] = detector.p_values(test)
        arrays["flag_batch"] = detector.flag_batch(test, fdr=0.2)
        arrays["drift"] = np.array([drift.statistic, drift.p_value, drift.n_rows])
    if np.ndim(test) > 2:
        arrays["contribution_maps"], arrays["contribution_kl"] = detector.contribution_maps(test)
    return {name: np.asarray(value) for name, value in arrays.items()}


def command(folder: Path, *words: str) -> int:
    """Return the exit code of a command, run in a folder in a process of its own."""
    home = str(Path(vae_anomaly.__file__).parents[1])
    line = [sys.executable, "-m", "vae_anomaly", *words, "--quiet"]
    done = subprocess.run(
        line, cwd=folder, env=os.environ | {"PYTHONPATH": home}, stderr=subprocess.PIPE, text=True
    )
    if done.returncode:
        print(f"{' '.join(words)}: exit {done.returncode}, {done.stderr.strip()}", flush=True)
    return done.returncode


def write_data(folder: Path) -> dict[str, tuple[str, str, str]]:
    """Write what commands read; return for each kind rows to learn from, to score, labelled."""
    train = table(400, seed=0).assign(id=np.arange(400))
    test = test_table().assign(id=[f"r{i}" for i in range(40)])
    labelled = test.assign(label=["fault"] * 5 + ["normal"] * 35)
    parts = {"train": train, "test": test, "labelled": labelled}
    for name, frame in parts.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
        frame.to_parquet(folder / f"{name}.parquet", index=False)
    for where, values in (
        ("train/good", pictures(80, 16, 1, seed=0)),
        ("labelled/good", pictures(10, 16, 1, seed=1)),
        ("labelled/turned", pictures(6, 16, 1, seed=3, odd=6)),
    ):
        (folder / where).mkdir(parents=True)
        for i, value in enumerate(values):
            Image.fromarray(value).save(folder / where / f"{i:03d}.png")
    names = {kind: tuple(f"{part}.{kind}" for part in parts) for kind in ("csv", "parquet")}
    return names | {"pictures": ("train/good", "labelled", "labelled")}


def write_commands(folder: Path) -> None:
    """Write what commands make of a CSV and a Parquet table and of a folder of pictures."""
    folder.mkdir()
    codes = {}
    with tempfile.TemporaryDirectory() as read:
        for kind, (train, test, labelled) in write_data(Path(read)).items():
            of_tables = kind != "pictures"
            ends = "parquet" if kind == "parquet" else "csv"
            model, out = str(folder / f"{kind}.vae"), str(folder.resolve() / kind)
            named = ["--id-column", "id"] if of_tables else []
            explained = [*named, "--explain", "3"] if of_tables else []
            labels = [*named, "--label-column", "label"] if of_tables else []
            model = f"{out}.vae"
            for step, words in {
                "fit": ["fit", train, "-o", model, *named, "--max-steps", "200"],
                "score": ["score", model, test, "-o", f"{out}_scores.{ends}", *explained]
                + ["--p-values", "--also", "kl"],
                "fdr": ["score", model, test, "-o", f"{out}_fdr.{ends}", "--fdr", "0.1"],
                "evaluate": ["evaluate", model, labelled, "-o", f"report_{kind}", *labels],
                "recalibrate": ["recalibrate", model, train, "-o", f"{out}_recalibrated.vae"],
            }.items():
                codes[f"{kind}_{step}"] = np.array(command(Path(read), *words))
    np.savez(folder / "exit_codes.npz", **codes)


def write(folder: Path, only: Sequence[str]) -> None:
    """Write a golden set into a folder that is not there yet."""
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as kept:
        for name, case in cases(Path(kept)).items():
            if any(word in name for word in only):
                start = time.perf_counter()
                np.savez(folder / f"{name}.npz", **told(case, folder / f"{name}.vae"))
                print(f"{name}: {time.perf_counter() - start:.1f} s", flush=True)
    if any(word in COMMANDS for word in only):
        start = time.perf_counter()
        write_commands(folder / COMMANDS)
        print(f"{COMMANDS}: {time.perf_counter() - start:.1f} s", flush=True)


# ---------------------------------------------------------------------------- comparing


def difference(old: Any, new: Any) -> str:
    """Return how two arrays differ, or nothing if they are the same to the last bit."""
    if old.dtype != new.dtype or old.shape != new.shape:
        return f"differs: {old.dtype} {old.shape}, now {new.dtype} {new.shape}"
    if old.tobytes() == new.tobytes() or (old.dtype == object and old.tolist() == new.tolist()):
        return ""
    if old.dtype.kind not in "fiu":
        return f"differs in {np.count_nonzero(old != new)} of {old.size}"
    a, b = old.astype(float), new.astype(float)
    gap = np.abs(a - b)
    share = gap / np.maximum(np.maximum(np.abs(a), np.abs(b)), np.finfo(float).tiny)
    return f"differs by max abs {np.nanmax(gap):.3g}, max rel {np.nanmax(share):.3g}"


def differences(old: Path, new: Path) -> Iterator[tuple[str, str]]:
    """Return for each thing in two files its name, and how it differs, if it does."""
    if not (old.exists() and new.exists()):
        yield "", f"is only {'in the golden set' if old.exists() else 'made now'}"
        return
    if old.suffix == ".npz":
        with np.load(old) as before, np.load(new) as now:
            for name in sorted({*before, *now}):
                both = name in before and name in now
                words = difference(before[name], now[name]) if both else "is only in one of them"
                yield f" {name}", words
    elif old.read_bytes() == new.read_bytes():
        yield "", ""
    elif old.suffix in TABLES:
        before, now = (TABLES[old.suffix](path) for path in (old, new))
        yield "", "differs in its bytes"
        for name in before.columns.union(now.columns):
            both = name in before and name in now
            words = (
                difference(before[name].to_numpy(), now[name].to_numpy())
                if both
                else "is only in one of them"
            )
            yield f" {name}", words
    else:
        sizes = old.stat().st_size, new.stat().st_size
        yield "", f"differs: {sizes[0]:,} bytes, now {sizes[1]:,}"


def compare(golden: Path, only: Sequence[str], *, files: bool) -> int:
    """Write a golden set of today elsewhere; return 1 if it differs in something that counts."""
    wrong = {"array": 0, "table": 0, "model file": 0}
    with tempfile.TemporaryDirectory() as place:
        today = Path(place) / "today"
        write(today, only)
        paths = {p.relative_to(root) for root in (golden, today) for p in root.rglob("*.*")}
        for path in sorted(paths):
            if not any(word in str(path) for word in only):
                continue
            kind = {".npz": "array", ".vae": "model file"}.get(path.suffix, "table")
            for name, words in differences(golden / path, today / path):
                wrong[kind] += bool(words)
                print(f"{kind} {path}{name}: {words or 'identical'}")
    print(", ".join(f"{kind}s that differ: {count}" for kind, count in wrong.items()))
    return int(bool(wrong["array"] or wrong["table"] or (files and wrong["model file"])))


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
    if options.what == "compare":
        return compare(options.folder, options.only, files=options.files)
    write(options.folder, options.only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
