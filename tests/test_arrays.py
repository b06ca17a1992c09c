"""Array-like data: names of columns in frames of any library, and masked cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from vae_anomaly import DataError, DriftWatch, ParameterError, VAEDetector
from vae_anomaly.displays import ContributionDisplay, LatentDisplay, PValueDisplay, ScoreDisplay
from vae_anomaly.report import build_report

OPTIONS: dict[str, Any] = {"max_steps": 30, "n_members": 1, "random_state": 0}
RNG = np.random.RandomState(0)
ROWS = pd.DataFrame(RNG.normal(size=(150, 3)) * [1, 10, 100], columns=["a", "b", "c"])


def polars_frame(rows: pd.DataFrame) -> Any:
    return pytest.importorskip("polars").from_pandas(rows)


FRAMES: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda rows: rows,
    "table": pa.Table.from_pandas,
    "batch": pa.RecordBatch.from_pandas,
    "polars": polars_frame,
}

USES: dict[str, Callable[[VAEDetector, Any], object]] = {
    "predict": lambda detector, X: detector.predict(X),
    "drift": lambda detector, X: DriftWatch(detector).add(X),
    "drift of scores": lambda detector, X: DriftWatch(detector).add(X, np.zeros(150)),
    "report": lambda detector, X: build_report(detector, X),
    "report of a model": lambda detector, X: build_report(detector.model_, X),
    "scores": lambda detector, X: ScoreDisplay.from_estimator(detector, X),
    "codes": lambda detector, X: LatentDisplay.from_estimator(detector, X),
    "p-values": lambda detector, X: PValueDisplay.from_estimator(detector, X),
    "contributions": lambda detector, X: ContributionDisplay.from_estimator(detector, X, 3),
}


@pytest.fixture(autouse=True)
def _closed_figures() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def detector() -> VAEDetector:
    return VAEDetector(**OPTIONS, false_alarm_rate=0.1).fit(ROWS)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("use", USES)
def test_columns_of_every_frame_are_known_by_name(
    detector: VAEDetector, frame: str, use: str
) -> None:
    USES[use](detector, FRAMES[frame](ROWS))
    with pytest.raises(ValueError, match=r"names should match|Expected the columns of training"):
        USES[use](detector, FRAMES[frame](ROWS[["c", "b", "a"]]))


@pytest.mark.parametrize("frame", FRAMES)
def test_every_frame_gives_the_same_model_and_report(detector: VAEDetector, frame: str) -> None:
    X = FRAMES[frame](ROWS)
    other = VAEDetector(**OPTIONS, false_alarm_rate=0.1).fit(X)
    assert list(other.feature_names_in_) == ["a", "b", "c"]
    np.testing.assert_array_equal(other.score_samples(X), detector.score_samples(ROWS))
    report = build_report(other, X)
    assert report.n_flagged == build_report(detector.model_, ROWS.to_numpy()).n_flagged
    drift = DriftWatch(other).add(X).result()
    assert drift == DriftWatch(detector).add(ROWS.to_numpy()).result()


def test_rows_of_a_frame_are_interpolated_by_name(detector: VAEDetector) -> None:
    a, b = ROWS.iloc[0], ROWS.iloc[1]
    path = detector.interpolate(a, b, steps=3)
    np.testing.assert_array_equal(path, detector.interpolate(a, b[["c", "a", "b"]], steps=3))
    np.testing.assert_array_equal(path[[0, 2]], detector.reconstruct(ROWS[:2]))


# ------------------------------------------------------------------------------ masked cells

NUMBERS = ROWS.to_numpy()
MASK = np.zeros(NUMBERS.shape, dtype=bool)
MASK[5, 1] = MASK[7] = True
MISSING = np.where(MASK, np.nan, NUMBERS)
MASKED = np.ma.array(np.where(MASK, 1e9, NUMBERS), mask=MASK)


@pytest.fixture(scope="module")
def unnamed() -> VAEDetector:
    return VAEDetector(**OPTIONS, false_alarm_rate=0.1).fit(NUMBERS)


@pytest.mark.parametrize(
    "X",
    [MASKED, list(MASKED), tuple(MASKED), MASKED.astype(object)],
    ids=["array", "list", "tuple", "objects"],
)
def test_masked_cells_are_missing(unnamed: VAEDetector, X: Any) -> None:
    scores = unnamed.score_samples(MISSING)
    np.testing.assert_array_equal(unnamed.score_samples(X), scores)
    np.testing.assert_array_equal(unnamed.explain(X), unnamed.explain(MISSING))
    assert build_report(unnamed, X).n_flagged == build_report(unnamed, MISSING).n_flagged
    assert DriftWatch(unnamed).add(X).result() == DriftWatch(unnamed).add(MISSING).result()
    drawn, expected = (LatentDisplay.from_estimator(unnamed, given) for given in (X, MISSING))
    np.testing.assert_array_equal(drawn.points, expected.points)


def test_a_report_of_a_model_counts_masked_cells_as_missing(unnamed: VAEDetector) -> None:
    found, expected = (build_report(unnamed.model_, X) for X in (MASKED, MISSING))
    assert (found.n_flagged, found.groups) == (expected.n_flagged, expected.groups)


def test_masked_cells_are_missing_in_training() -> None:
    fitted = [VAEDetector(**OPTIONS, contamination=0.1).fit(X) for X in (MASKED, MISSING)]
    scores = [one.score_samples(NUMBERS) for one in fitted]
    np.testing.assert_array_equal(*scores)


def test_whole_numbers_may_be_masked(unnamed: VAEDetector) -> None:
    whole = np.ma.array(NUMBERS.astype(int), mask=MASK)
    expected = np.where(MASK, np.nan, NUMBERS.astype(int))
    np.testing.assert_array_equal(unnamed.score_samples(whole), unnamed.score_samples(expected))


def test_an_array_without_masked_cells_is_one_of_values(unnamed: VAEDetector) -> None:
    plain = np.ma.array(NUMBERS, mask=False)
    np.testing.assert_array_equal(unnamed.score_samples(plain), unnamed.score_samples(NUMBERS))


def test_masked_rows_are_interpolated_as_missing(unnamed: VAEDetector) -> None:
    path = unnamed.interpolate(MASKED[5], NUMBERS[6], steps=2)
    np.testing.assert_array_equal(path, unnamed.interpolate(MISSING[5], NUMBERS[6], steps=2))


def test_masked_pixels_are_refused() -> None:
    images = RNG.randint(100, 156, size=(20, 6, 6), dtype=np.uint8)
    masked = np.ma.array(images, mask=images == images[0, 0, 0])
    detector = VAEDetector(**OPTIONS, contamination=0.1)
    with pytest.raises(ValueError, match="got NaN or inf in"):
        detector.fit(masked)
    with pytest.raises(ValueError, match="got NaN or inf in"):
        detector.fit(images).predict(masked)


def test_masked_labels_are_refused(unnamed: VAEDetector) -> None:
    labels = np.ma.array(np.zeros(150, dtype=bool), mask=np.arange(150) < 2)
    with pytest.raises(DataError, match="labels has 2 masked entries: they say nothing"):
        build_report(unnamed, NUMBERS, labels)


def test_parameters_of_a_frame_are_checked(detector: VAEDetector) -> None:
    with pytest.raises(ParameterError, match="column_types names columns that the data do not"):
        VAEDetector(column_types={"z": "number"}).fit(pa.Table.from_pandas(ROWS))
