"""Hostile settings of the process, impossible paths, and deep folders."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hostile.test_outputs import ROOT, ended
from vae_anomaly import (
    Checkpoint,
    DriftWatch,
    OutputError,
    TooFewCalibrationRowsWarning,
    VAEDetector,
    inspect,
    load,
    recalibrate,
    save,
)
from vae_anomaly.cli import run
from vae_anomaly.report import build_report, write_report

# ----------------------------------------------------------------------- floating-point errors

RNG = np.random.RandomState(0)
X = RNG.normal(size=(200, 3))
FAR = np.vstack([X[:5], X[:5] * 1e300, X[:5] * 1e-300, np.zeros((1, 3))])
MIXED = pd.DataFrame(X, columns=list("abc")).assign(site=RNG.choice(list("xyz"), 200))
IMAGES = RNG.randint(0, 255, size=(40, 8, 8), dtype=np.uint8)

FITS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "exemplar": (X, FAR, {}),
    "elbo": (X, FAR, {"score_type": "elbo"}),
    "lattice": (X.round(1), FAR, {"likelihood": "discretized_logistic"}),
    "bernoulli": (X, FAR, {"likelihood": "bernoulli"}),
    "mixed": (MIXED, MIXED[:20], {}),
    "images": (IMAGES, IMAGES[:5], {}),
    "huge": (X * 1e300, FAR, {}),
    "tiny": (X * 1e-300, FAR, {}),
}


@pytest.mark.parametrize("case", FITS)
@pytest.mark.filterwarnings("ignore:.*encountered in reduce:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::vae_anomaly.TooFewCalibrationRowsWarning")
@pytest.mark.filterwarnings("ignore::vae_anomaly.SeenRowsWarning")
def test_a_program_may_raise_floating_point_errors(tmp_path: Path, case: str) -> None:
    learned, new, given = FITS[case]
    options = {"max_steps": 20, "n_members": 1, "random_state": 0, "false_alarm_rate": 0.1, **given}
    plain = VAEDetector(**options).fit(learned)
    expected = [plain.score_samples(new), plain.explain(new), plain.transform(new)]
    with np.errstate(all="raise"):
        detector = VAEDetector(**options).fit(learned)
        found = [detector.score_samples(new), detector.explain(new), detector.transform(new)]
        for use in (detector.predict, detector.scores, detector.p_values, detector.score):
            use(new)
        for use in (detector.flag_batch, detector.reconstruct, DriftWatch(detector).add):
            use(new)
        DriftWatch(detector).add(new).result()
        detector.sample(3, random_state=0)
        recalibrate(detector, new, false_alarm_rate=0.5, keep_learned=True)
        save(detector, tmp_path / "m.vae")
        load(tmp_path / "m.vae").predict(new)
        write_report(build_report(detector, new, np.arange(len(new)) % 2 == 0), tmp_path)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_warnings_of_a_fit_point_to_its_caller() -> None:
    detector = VAEDetector(max_steps=5, n_members=1, random_state=0)
    with pytest.warns(TooFewCalibrationRowsWarning) as caught:
        detector.fit(X[:30])
    assert [warning.filename for warning in caught] == [__file__]


# -------------------------------------------------------------------- environment variables

SETTINGS = {
    "a backend that does not exist": {
        "MPLBACKEND": "nope",
        "JOBLIB_MULTIPROCESSING": "x",
        "JOBLIB_START_METHOD": "x",
    },
    "a backend that is no module": {
        "MPLBACKEND": "module://nope",
        "SKLEARN_WORKING_MEMORY": "x",
        "SKLEARN_PAIRWISE_DIST_CHUNK_SIZE": "x",
    },
    "a backend without a screen": {"MPLBACKEND": "tkagg", "DISPLAY": None},
}


def test_reports_do_not_depend_on_settings_of_other_libraries(place, vae) -> None:
    line = "evaluate flow.vae good.csv -o report -q"  # the page names the command
    assert vae(line).code == 0
    here = {path: path.read_bytes() for path in Path("report").iterdir()}
    for case, settings in SETTINGS.items():
        for path in here:
            path.unlink()
        code, _, err = ended(line, **settings)
        assert (code, err) == (0, ""), case
        assert {path: path.read_bytes() for path in Path("report").iterdir()} == here, case


def test_a_fit_and_figures_need_no_backend(place) -> None:
    pd.DataFrame(X[:40], columns=list("abc")).to_csv("t.csv", index=False)
    program = """
import os, sys
import pandas as pd
from vae_anomaly import load
from vae_anomaly.cli import run
from vae_anomaly.displays import ScoreDisplay
from vae_anomaly.report import build_report, write_report

assert 'matplotlib' not in sys.modules
assert run('fit t.csv -o new.vae --max-steps 3 -q'.split()) == 0
rows, detector = pd.read_csv('t.csv'), load('new.vae')
write_report(build_report(detector, rows), 'report')
detector.set_params(max_steps=4).fit(rows)
ScoreDisplay.from_estimator(detector, rows)
assert os.environ['MPLBACKEND'] == 'nope'
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "nope"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], env=environment, check=True)


def test_a_backend_that_exists_stays_that_of_the_user() -> None:
    program = (
        "from vae_anomaly._matplotlib import import_matplotlib; import_matplotlib(); "
        "import matplotlib; assert matplotlib.rcParams['backend'] == 'svg'"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "svg"}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)


@pytest.mark.parametrize(
    "line", ["score flow.vae good.csv -o new.csv", "recalibrate flow.vae good.csv -o n"]
)
def test_a_number_of_processors_that_is_none_is_named(place, line) -> None:
    few = Path("good.csv").read_text().splitlines()
    Path("good.csv").write_text("\n".join([few[0], *few[1:] * 1000, ""]))  # for several cores
    code, out, err = ended(line, LOKY_MAX_CPU_COUNT="x")
    assert (code, out) == (2, b"")
    assert err == (
        "error: The environment variable LOKY_MAX_CPU_COUNT must be a number of processors. Got "
        "'x' instead. Correct or unset it.\n"
    )


# -------------------------------------------------------------------------- impossible paths

IMPOSSIBLE = ["a\0b", "folder\0/x", "\ud800.csv"]
NO_NAME = "its name holds a character that no file name has."


@pytest.mark.parametrize("name", IMPOSSIBLE, ids=ascii)
@pytest.mark.parametrize(
    "words",
    [
        ["score", "NAME", "good.csv", "-o", "out.csv"],
        ["score", "flow.vae", "NAME", "-o", "out.csv"],
        ["score", "flow.vae", "good.csv", "-o", "NAME"],
        ["evaluate", "flow.vae", "NAME", "-o", "report"],
        ["evaluate", "flow.vae", "good.csv", "-o", "NAME"],
        ["evaluate", "plate.vae", "good", "-o", "r", "--training", "NAME", "--compare-beta=0"],
        ["fit", "NAME", "-o", "new.vae"],
        ["fit", "good.csv", "-o", "NAME"],
        ["fit", "good.csv", "-o", "new.vae", "--checkpoint", "NAME"],
        ["recalibrate", "flow.vae", "NAME", "-o", "new.vae"],
        ["inspect", "NAME"],
        ["export", "flow.vae", "-o", "NAME"],
        ["demo", "-o", "NAME"],
    ],
    ids=" ".join,
)
def test_paths_that_no_file_can_have(place, vae_words, name, words) -> None:
    (place / "good").mkdir()
    outcome = vae_words([name if word == "NAME" else word for word in words])
    assert outcome.code == 5, outcome
    assert outcome.error.startswith(("Cannot read '", "Cannot write '"))
    assert outcome.error.endswith(NO_NAME)
    assert outcome.error.isprintable()


@pytest.mark.parametrize("name", IMPOSSIBLE, ids=ascii)
def test_paths_that_no_file_can_have_in_python(place, name) -> None:
    detector = load("flow.vae")
    with pytest.raises(OSError, match=NO_NAME[:-1]):
        load(name)
    with pytest.raises(OSError, match=NO_NAME[:-1]):
        inspect(name)
    with pytest.raises(OutputError, match=f"Cannot write .*: {NO_NAME}"):
        save(detector, name)
    with pytest.raises(OutputError, match=f"Cannot write .*: {NO_NAME}"):
        Checkpoint(name).check()
    with pytest.raises(OutputError, match=f"Cannot write .*: {NO_NAME}"):
        write_report(build_report(detector, pd.read_csv("good.csv")), name)


def test_escapes_in_paths_are_not_printed(place, vae_words) -> None:
    for words in (
        ["score", "flow.vae", "a\x1b[31m.csv", "-o", "out.csv"],
        ["score", "flow.vae", "good.csv", "-o", "no\x1b[31m/out.csv"],
        ["inspect", "a\x1b]0;owned\x07"],
    ):
        outcome = vae_words(words)
        assert outcome.code == 5
        assert outcome.error.isprintable()
        assert "\\x1b" in outcome.error


# ------------------------------------------------------------------------------ deep folders


@pytest.fixture
def deep(place: Path):
    """The relative path of the last of 1,000 nested folders, which `place` holds."""
    folder = Path("photos", *"d" * 1000)
    yield folder
    # Deeper than `shutil.rmtree` goes, which removes the directory of a test.
    subprocess.run(["rm", "-rf", str(place / "photos"), str(place / "report")], check=False)


def make_folders(folder: Path) -> None:
    for parent in (*reversed(folder.parents), folder):
        parent.mkdir(exist_ok=True)


def test_images_in_deep_folders_are_scored(place, deep) -> None:
    make_folders(deep)
    pixels = Image.fromarray(np.full((12, 16), 128, dtype=np.uint8))
    for file in (Path("photos/b.png"), deep / "a.png", deep.parent / "z.png"):
        pixels.save(file)
    assert run(["score", "plate.vae", "photos", "-o", "out.csv"]) == 0
    names = pd.read_csv("out.csv")["file"].tolist()
    inside = deep.relative_to("photos")
    assert names == ["b.png", str(inside / "a.png"), str(inside.parent / "z.png")]


def test_a_report_in_deep_folders_is_written(place, deep) -> None:
    output = Path("report", *"d" * 1000)
    assert run(f"evaluate flow.vae good.csv -o {output} -q".split()) == 0
    assert (output / "report.html").is_file()


def test_a_checkpoint_in_deep_folders_is_written(place, deep) -> None:
    stopped = VAEDetector(
        max_steps=200, n_members=1, random_state=0, contamination=0.1,
        checkpoint=Checkpoint(deep), callback=lambda history: True,
    )  # fmt: skip
    stopped.fit(X)
    assert Checkpoint(deep).path.is_file()
