"""Use from Python: quiet fits, progress, words about wrong data, summaries, frames back."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from conftest import QUICK
from PIL import Image
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vae_anomaly import DataError, ParameterError, SeriesDetector, VAEDetector, load, recalibrate
from vae_anomaly import save as save_detector
from vae_anomaly._stderr import muted_stderr
from vae_anomaly.model.model import Model

BRIEF: dict[str, Any] = {**QUICK, "max_steps": 20, "contamination": 0.1}
ROWS = np.random.RandomState(0).normal(size=(80, 3))
IMAGES = np.random.RandomState(1).uniform(size=(40, 4, 5))


@pytest.fixture(scope="module")
def of_rows() -> VAEDetector:
    return VAEDetector(**BRIEF).fit(ROWS)


@pytest.fixture(scope="module")
def of_frame() -> VAEDetector:
    return VAEDetector(**BRIEF).fit(frame())


@pytest.fixture(scope="module")
def of_images() -> VAEDetector:
    return VAEDetector(**BRIEF).fit(IMAGES)


@pytest.fixture(scope="module")
def of_series() -> SeriesDetector:
    time = np.arange(900)[:, np.newaxis]
    return SeriesDetector(window=20, max_steps=20, random_state=0).fit(np.sin(time / 8))


def frame() -> pd.DataFrame:
    return pd.DataFrame(ROWS, columns=["flow", "speed", "heat"])


# ------------------------------------------------------------------------------- quiet fits


def test_a_fit_writes_nothing(tmp_path: Path) -> None:
    code = (
        "import numpy as np\nfrom vae_anomaly import VAEDetector\n"
        "X = np.random.RandomState(0).normal(size=(60, 2))\n"
        "for units in range(2, 7):\n"  # enough for TensorFlow to complain of retracing
        "    VAEDetector(hidden_units=(units,), max_steps=2, contamination=0.1).fit(X)\n"
        "import os; assert 'TF_CPP_MIN_LOG_LEVEL' not in os.environ"
    )
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True, text=True, check=True, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout == ""
    assert done.stderr == ""


LOGGED = b"I0000 00:00:1795829533.806835   26137 port.cc:153] oneDNN custom operations are on.\n"


def test_what_is_logged_is_withheld_unless_there_is_an_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with muted_stderr():
        os.write(2, LOGGED + b"a line of another library\n")
    assert capfd.readouterr().err == "a line of another library\n"
    with pytest.raises(ZeroDivisionError), muted_stderr():
        os.write(2, LOGGED) / 0
    assert capfd.readouterr().err == LOGGED.decode()


def test_verbose_shows_progress(capsys: pytest.CaptureFixture[str]) -> None:
    VAEDetector(**BRIEF | {"max_steps": 250}, verbose=1).fit(ROWS)
    first, *steps, loss, threshold = capsys.readouterr().out.splitlines()
    assert first == "fitting on 80 rows of 3 columns"
    assert [line.split(":")[0] for line in steps] == [
        f"step {step} of 250" for step in (100, 200, 250)
    ]
    assert all(
        re.search(r": loss [\d.]+ nats, on held-out rows [\d.]+, [\d.]+ s$", s) for s in steps
    )
    assert loss.startswith("best loss on held-out rows ")
    assert re.fullmatch(r"threshold [\d.]+ nats", threshold)


def test_verbose_writes_twenty_lines_of_a_long_training_and_2_all(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tiny = {**BRIEF, "max_steps": 4100, "patience": 100, "hidden_units": (2,), "latent_dim": 1}
    counts = []
    for verbose in (1, 2):
        VAEDetector(**tiny, verbose=verbose).fit(ROWS[:30])
        counts.append(capsys.readouterr().out.count("step "))
    assert counts[0] <= 21
    assert counts[1] == 41


def test_verbose_is_no_part_of_the_model(tmp_path: Path) -> None:
    quiet, told = (VAEDetector(**BRIEF, verbose=verbose) for verbose in (0, 1))
    assert clone(told).verbose == 1
    digests = [save_detector(one.fit(ROWS), tmp_path / "m.vae") for one in (quiet, told)]
    assert digests[0] == digests[1]
    assert load(tmp_path / "m.vae").verbose == 0
    assert pickle.loads(pickle.dumps(told)).verbose == 1
    told.set_params(verbose=0)
    assert told.predict(ROWS).shape == (80,)  # it may change after a fit
    assert recalibrate(told.set_params(verbose=2), threshold=3.0).verbose == 2


def test_verbose_of_series(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    detector = SeriesDetector(window=20, max_steps=20, random_state=0, verbose=1)
    detector.fit(np.sin(np.arange(900)[:, np.newaxis] / 8))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("fitting on ")
    assert lines[-1] == detector.promise_.words(None)
    save_detector(detector, tmp_path / "s.vae")
    assert load(tmp_path / "s.vae").verbose == 0


@pytest.mark.parametrize("detector", [VAEDetector(verbose=-1), SeriesDetector(verbose="yes")])
def test_other_values_of_verbose_are_refused(detector: Any) -> None:
    with pytest.raises(ParameterError, match=r"'verbose' parameter of .* must be an int >= 0: 1"):
        detector.fit(ROWS)


# ---------------------------------------------------------------------------- wrong data

HOLED = ROWS.copy()
HOLED[3, 0] = np.inf
HOLED[[4, 5], 2] = -np.inf

SHAPE = "Expected rows of shape (n_samples, n_features), got "

WRONG: dict[str, tuple[Any, str]] = {
    "one row": (ROWS[0], f"{SHAPE}ndarray of shape (3,). Reshape your data: np.reshape(X"),
    "a series": (frame()["flow"], f"{SHAPE}Series of shape (80,). Reshape your data:"),
    "a number": (3.0, f"{SHAPE}3.0. Give an array or a data frame."),
    "None": (None, f"{SHAPE}None. Give an array or a data frame."),
    "a path": ("rows.csv", f"{SHAPE}the path 'rows.csv'. Read files first, such as with pa"),
    "a Path": (Path("rows.csv"), f"{SHAPE}the path 'rows.csv'. Read files first, such as with pa"),
    "ragged lists": ([[1, 2], [3]], f"{SHAPE}rows of different lengths"),
    "no rows": (ROWS[:0], "got 0 samples, an array of shape (0, 3). Give more rows."),
    "infinity": (
        HOLED,
        "Expected finite numbers, got inf in 3 cells of 2 columns: 'x0' (index 3: inf), 'x2' "
        "(index 4: -inf). Correct the cells, or make them NaN if they are missing.",
    ),
    "infinity in a frame": (
        pd.DataFrame(HOLED, columns=list("abc")).add_prefix("my "),
        "3 cells of 2 columns: 'my a' (index 3: inf), 'my c' (index 4: -inf). Correct the cells",
    ),
    "complex numbers": (ROWS * 1j, "Complex data not supported.\nGive real numbers"),
    "five axes": (ROWS.reshape(80, 3, 1, 1, 1), "an array of shape (80, 3, 1, 1, 1)"),
    "text": (
        [[1.0, "2", 3.0], ["off", 5.0, "n/a"]] * 2,
        "Expected numbers, got text in 4 cells of 2 columns: 'x0' (index 1: 'off'), 'x2' (index 1: "
        "'n/a'). Correct the cells, or make them NaN. Categories and dates are for data frames.",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize("case", WRONG)
def test_wrong_rows_are_refused_in_words(case: str, of_rows: VAEDetector) -> None:
    given, words = WRONG[case]
    with pytest.raises(DataError, match=re.escape(words)):
        of_rows.score_samples(given)
    if case != "five axes":
        with pytest.raises(DataError, match=re.escape(words)):
            VAEDetector(**BRIEF).fit(given)


def test_another_number_of_columns_is_refused(of_rows: VAEDetector, of_frame: VAEDetector) -> None:
    words = "X has 2 features, but VAEDetector is expecting 3 features as input. Give all columns"
    with pytest.raises(DataError, match=re.escape(words)):
        of_rows.predict(ROWS[:, :2])
    words = "yet now missing:\n- speed\nGive the columns of training: X[list(detector.feature_na"
    with pytest.raises(DataError, match=re.escape(words)):
        of_frame.predict(frame()[["flow", "heat"]])
    with pytest.raises(DataError, match=r"in the same order as they were in fit\.\nGive the"):
        of_frame.predict(frame()[["speed", "flow", "heat"]])


def test_text_in_a_frame_of_numbers_is_counted(of_frame: VAEDetector) -> None:
    cells = frame().astype(object)
    cells.loc[7, "flow"], cells.loc[[8, 9], "heat"] = "off", "?!"
    words = "text in 3 cells of 2 columns: 'flow' (index 7: 'off'), 'heat' (index 8: '?!'). Correct"
    with pytest.raises(DataError, match=re.escape(words)):
        of_frame.score_samples(cells)


def test_a_missing_cell_is_scored_and_a_missing_pixel_refused(
    of_rows: VAEDetector, of_images: VAEDetector
) -> None:
    holed = ROWS.copy()
    holed[0, 0] = np.nan
    assert np.isfinite(of_rows.score_samples(holed)).all()
    images = IMAGES.copy()
    images[[3, 5], 0, 0] = np.nan
    words = "got NaN or inf in 2 of 40 arrays, first in number 3. Leave them out, or fill them."
    for call in (of_images.score_samples, VAEDetector(**BRIEF).fit):
        with pytest.raises(DataError, match=re.escape(words)):
            call(images)


def test_a_single_image_is_refused(of_images: VAEDetector) -> None:
    words = "of shape (n_samples, 4, 5, 1), as in training, got (4, 5). X[np.newaxis] is a single"
    with pytest.raises(DataError, match=re.escape(words)):
        of_images.score_samples(IMAGES[0])


def test_images_of_other_shapes_are_refused_with_advice(of_images: VAEDetector) -> None:
    colour = np.repeat(IMAGES[..., np.newaxis], 3, axis=3)
    words = "Expected images of 4 x 5 x 1, as in training, got images of 4 x 5 x 3. Convert their"
    with pytest.raises(DataError, match=re.escape(words)):
        of_images.score_samples(colour)
    of_colour = VAEDetector(**BRIEF).fit(colour)
    words = "Expected images of 4 x 5 x 3, as in training, got images of 5 x 3 x 1. X[np.newaxis]"
    with pytest.raises(DataError, match=re.escape(words)):
        of_colour.score_samples(colour[0])


def test_arrays_in_a_list_are_one_array(of_images: VAEDetector) -> None:
    scores = of_images.score_samples(IMAGES)
    np.testing.assert_array_equal(of_images.score_samples(list(IMAGES)), scores)
    opened = [Image.fromarray(image) for image in IMAGES.astype(np.float32)]
    np.testing.assert_allclose(of_images.score_samples(opened), scores, rtol=1e-4)
    words = "Expected records of one shape, got (4, 5) and, in number 2, (3, 5). Bring them to one"
    with pytest.raises(DataError, match=re.escape(words)):
        of_images.score_samples([*IMAGES[:2], IMAGES[0][:3]])


# ------------------------------------------------------------------------------- summaries


def test_the_text_of_a_fitted_detector_is_a_summary(of_frame: VAEDetector) -> None:
    first, *facts = repr(of_frame).splitlines()
    assert first == "VAEDetector(contamination=0.1, max_steps=20, n_members=2, random_state=0)"
    assert dict(line.split(maxsplit=1) for line in facts) == {
        "rows": "3 columns: 'flow', 'speed', 'heat'",
        "networks": f"2 dense, 32 latent dimensions, {of_frame.weights_.size:,} weights",
        "training": f"20 steps, {of_frame.history_.describe()}",
        "score": "exemplar",
        "threshold": f"{-of_frame.offset_:.6g} nats (contamination 0.1)",
    }
    assert repr(VAEDetector(max_steps=5)) == "VAEDetector(max_steps=5)"


def test_summaries_of_images_and_series(of_images: VAEDetector, of_series: SeriesDetector) -> None:
    assert "images     4 x 5 x 1\n" in repr(of_images)
    lines = repr(of_series).splitlines()
    assert lines[1:3] == ["  channels  1: 'channel_1'", "  windows   20 time steps, centred"]
    assert re.fullmatch(
        r"  training  20 steps, best loss on held-out windows \S+ nats per window, after 20 steps",
        lines[-2],
    )
    assert lines[-1] == f"  alarms    {of_series.promise_.words(None)}"


def test_html_is_a_small_table_without_arrays(
    of_frame: VAEDetector, of_series: SeriesDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluated(*_: object, **__: object) -> None:
        raise AssertionError("a summary computes nothing")

    monkeypatch.setattr(Model, "evaluate", evaluated)
    for detector in (of_frame, of_series):
        page = detector._repr_html_()
        assert len(page) < 2000
        assert page.count("<tr>") == 5
        assert detector._repr_mimebundle_()["text/html"] == page
        assert not re.search(r"weights_|\[-?\d", page)
    assert "&#x27;flow&#x27;" in of_frame._repr_html_()


def test_names_are_escaped_in_html() -> None:
    wild = pd.DataFrame(ROWS, columns=["<script>", "b", "c"])
    page = VAEDetector(**BRIEF).fit(wild)._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_diagrams_show_parameters_before_a_fit_and_pipelines_a_summary() -> None:
    assert "sk-estimator" in VAEDetector()._repr_html_()
    pipeline = make_pipeline(StandardScaler(), VAEDetector(**BRIEF)).fit(frame())
    page = pipeline._repr_html_()
    assert "sk-estimator" in page
    if tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 8):  # shows fitted attributes
        assert "contamination 0.1" in page
    assert "noise_" not in page
    assert "VAEDetector(contamination=0.1" in repr(pipeline)


# ----------------------------------------------------------------------------- frames back

N = len(ROWS)
CHOICE = np.random.RandomState(2)

COLUMNS: dict[str, Any] = {
    "float32": ROWS[:, 0].astype(np.float32),
    "whole": CHOICE.randint(0, 500, N),
    "nullable": pd.array(CHOICE.randint(0, 500, N), dtype="Int64"),
    "flag": CHOICE.rand(N) > 0.5,
    "maybe": pd.array(CHOICE.rand(N) > 0.5, dtype="boolean"),
    "category": pd.Categorical(CHOICE.choice(["u", "v", "w"], N)),
    "text": CHOICE.choice(["p", "q"], N),
    "string": pd.array(CHOICE.choice(["p", "q"], N), dtype="string"),
    "date": pd.date_range("2020-01-01", periods=N, freq="7h"),
    "zoned": pd.date_range("2020-01-01", periods=N, freq="5h", tz="Europe/Berlin"),
}

INDEXES = {
    "range": pd.RangeIndex(5, 5 + N),
    "text": pd.Index([f"r{i}" for i in range(N)], name="id"),
    "dates": pd.date_range("2021-01-01", periods=N),
    "two levels": pd.MultiIndex.from_product([["a", "b"], range(N // 2)]),
    "repeated": pd.Index([1] * N),
}


@pytest.fixture(scope="module")
def of_mixed() -> VAEDetector:
    return VAEDetector(**BRIEF).fit(pd.DataFrame(COLUMNS))


@pytest.mark.parametrize("index", INDEXES)
def test_reconstruct_keeps_index_and_types(
    index: str, of_mixed: VAEDetector, of_frame: VAEDetector
) -> None:
    mixed = pd.DataFrame(COLUMNS).set_axis(INDEXES[index])
    made = of_mixed.reconstruct(mixed)
    pd.testing.assert_index_equal(made.index, mixed.index)
    pd.testing.assert_series_equal(made.dtypes, mixed.dtypes)
    assert made[["date", "zoned"]].notna().all(axis=None)
    numbers = frame().set_axis(INDEXES[index])
    made = of_frame.reconstruct(numbers)
    pd.testing.assert_index_equal(made.index, numbers.index)
    pd.testing.assert_series_equal(made.dtypes, numbers.dtypes)


def test_reconstruct_of_numbers_alone(of_rows: VAEDetector, of_frame: VAEDetector) -> None:
    values = of_rows.reconstruct(ROWS)
    assert type(values) is np.ndarray
    narrow = frame().astype({"speed": np.float32})
    made = of_frame.reconstruct(narrow)
    assert [str(one) for one in made.dtypes] == ["float64", "float32", "float64"]
    np.testing.assert_allclose(made, of_frame.reconstruct(frame()), rtol=1e-6)
    counts = pd.DataFrame({"n": np.arange(N), "x": ROWS[:, 0]})
    made = VAEDetector(**BRIEF).fit(counts).reconstruct(counts)
    assert str(made["n"].dtype) == "float64"  # means of whole numbers are none
    two = pd.DataFrame(ROWS[:, :2]).set_axis(
        pd.MultiIndex.from_tuples([("a", 1), ("a", 2)]), axis=1
    )
    pd.testing.assert_index_equal(
        VAEDetector(**BRIEF).fit(two).reconstruct(two).columns, two.columns
    )


def test_reconstruct_of_other_frames(of_frame: VAEDetector) -> None:
    import pyarrow as pa

    given = frame()
    made = of_frame.reconstruct(pa.Table.from_pandas(given))
    pd.testing.assert_frame_equal(made, of_frame.reconstruct(given))
