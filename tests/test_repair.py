"""Repair of anomalous rows: few columns, values that the others let expect, and the data's form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import NearestNeighbors

from vae_anomaly import DataError, VAEDetector
from vae_anomaly.model import repair as search
from vae_anomaly.model.repair import repair_records

ADBENCH = Path(__file__).parents[2] / "shared" / "data" / "adbench"
"""Folder of the published tables, which are not in the repository."""

CENTER = {"north": 0.0, "south": 4.0, "west": -4.0}


def line(n: int, seed: int, *, noise: float = 0.05) -> np.ndarray:
    """Return rows of six columns that all follow from one number."""
    rng = np.random.RandomState(seed)
    t = rng.uniform(-2, 2, size=(n, 1))
    return t * [1.0, 2.0, -1.0, 0.5, -3.0, 1.5] + noise * rng.normal(size=(n, 6))


def sites(n: int, seed: int) -> pd.DataFrame:
    """Return rows whose load and number of doors follow from their site."""
    rng = np.random.RandomState(seed)
    site = rng.choice(list(CENTER), size=n)
    middle = np.array([CENTER[one] for one in site])
    return pd.DataFrame(
        {
            "serial": [f"{seed}-{i}" for i in range(n)],
            "site": pd.Categorical(site, categories=sorted(CENTER), ordered=True),
            "load": (middle + 0.3 * rng.normal(size=n)).astype(np.float32),
            "doors": pd.array((10 + 2 * middle).astype(int), dtype="Int64"),
            "running": rng.uniform(size=n) < 0.8,
        },
        index=[f"row {i}" for i in range(n)],
    )


@pytest.fixture(scope="module")
def plain() -> VAEDetector:
    return VAEDetector(max_steps=800, false_alarm_rate=0.05, random_state=0).fit(line(600, 0))


@pytest.fixture(scope="module")
def mixed() -> VAEDetector:
    brief = {"max_steps": 1000, "n_members": 2, "false_alarm_rate": 0.05, "random_state": 0}
    return VAEDetector(**brief).fit(sites(900, 1))


def planted(rows: np.ndarray, columns: list[int]) -> np.ndarray:
    """Return rows in which some columns have the values of other rows."""
    faulty = rows.copy()
    faulty[:, columns] = -faulty[:, columns] + 3.0
    return faulty


@pytest.mark.parametrize("columns", [[1], [0, 4]])
def test_the_changed_columns_are_those_that_are_wrong(
    plain: VAEDetector, columns: list[int]
) -> None:
    truth = line(60, 5)
    faulty = planted(truth, columns)
    flagged = plain.predict(faulty) == -1
    assert flagged.mean() > 0.9
    rows, steps = plain.repair(faulty)
    changed = steps.groupby("row")["column"].agg(set)
    assert set(changed.index) == set(np.flatnonzero(flagged))
    assert (changed == {f"x{i}" for i in columns}).mean() > 0.85
    # The new values are the true ones, to a tenth of the deviation of the column.
    error = np.abs(rows[flagged][:, columns] - truth[flagged][:, columns])
    assert np.median(error / truth.std(axis=0)[columns]) < 0.1


def test_repaired_rows_are_normal_and_no_change_is_needless(plain: VAEDetector) -> None:
    faulty = np.concatenate([planted(line(30, 6), [1]), 20.0 * np.eye(6), line(30, 7) + 9.0])
    rows, steps = plain.repair(faulty)
    assert (plain.predict(rows) == 1).all()
    flagged = set(np.flatnonzero(plain.predict(faulty) == -1).tolist())
    assert set(steps["row"]) == flagged
    for row, changes in steps.groupby("row"):
        assert changes["step"].tolist() == list(range(1, len(changes) + 1))
        names = changes["column"].tolist()
        # A step's score is that of the row with the changes so far.
        some, columns = faulty[[row]], [int(name[1:]) for name in names]
        for column, score, normal in zip(
            columns, changes["anomaly_score"], changes["is_normal"], strict=True
        ):
            some[0, column] = rows[row, column]
            assert -plain.score_samples(some)[0] == pytest.approx(score, rel=1e-12)
            assert (plain.predict(some)[0] == 1) == normal
        assert changes["is_normal"].iloc[-1]
        np.testing.assert_array_equal(some[0], rows[row])


def test_normal_rows_are_returned_as_they_are(plain: VAEDetector) -> None:
    normal = line(50, 8)
    normal = normal[plain.predict(normal) == 1]
    rows, steps = plain.repair(normal)
    np.testing.assert_array_equal(rows, normal)
    assert not len(steps)
    assert steps.columns.tolist() == [
        *("row", "step", "column", "value", "repaired", "anomaly_score", "is_normal")
    ]


def test_a_repair_does_not_depend_on_other_rows(
    plain: VAEDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = planted(line(20, 9), [2, 3])
    rows, steps = plain.repair(faulty)
    alone, steps_alone = plain.repair(faulty[7:8])
    np.testing.assert_array_equal(alone[0], rows[7])
    assert steps_alone["column"].tolist() == steps[steps["row"] == 7]["column"].tolist()
    monkeypatch.setattr(search, "MAX_CELLS", 12)  # two records at a time
    pd.testing.assert_frame_equal(plain.repair(faulty).steps, steps)


def test_wide_rows_change_several_columns_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.RandomState(0)
    X = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 80)) + 0.1 * rng.normal(size=(300, 80))
    detector = VAEDetector(max_steps=100, false_alarm_rate=0.1, random_state=0).fit(X)
    passes = []
    changed = search._Search._changed
    monkeypatch.setattr(
        search._Search, "_changed", lambda *args: passes.append(len(args[1])) or changed(*args)
    )
    rows, steps = detector.repair(X[:3] + 8.0 * rng.normal(size=(3, 80)))
    assert (detector.predict(rows) == 1).all()
    assert len(steps) > 60
    # 80 candidates in the first step, 32 in each other one, of which 34 change 80 columns.
    assert sum(passes) < 3 * (80 + 35 * 33 + 81)


@pytest.mark.parametrize("score", ["elbo", "reconstruction"])
def test_other_scores_are_repaired_too(score: str) -> None:
    detector = VAEDetector(
        max_steps=500, score_type=score, beta=0.0, false_alarm_rate=0.05, random_state=0
    ).fit(line(600, 0))
    rows, steps = detector.repair(planted(line(40, 10), [1]))
    assert (detector.predict(rows) == 1).all()
    assert steps["is_normal"].any()


def test_where_everything_is_wrong_a_typical_row_comes_back(plain: VAEDetector) -> None:
    rows, steps = plain.repair(np.full((1, 6), 1e6) * [1, -1, 1, 1, 1, 1])
    assert len(steps) == 6
    # The mean of the five training rows that are nearest to the mean.
    center = line(600, 0).mean(axis=0)
    assert (np.abs(rows[0] - center) < 0.1 * line(600, 0).std(axis=0)).all()


def test_new_values_are_means_of_the_training_rows_similar_in_the_rest(plain: VAEDetector) -> None:
    faulty = planted(line(1, 12), [3])
    rows, steps = plain.repair(faulty)
    assert steps["column"].tolist() == ["x3"]
    reference, encoder = plain.reference_, plain.model_.encoder
    exemplars = encoder.decode(reference.targets.astype(float))
    others = [0, 1, 2, 4, 5]
    scaled = (exemplars - faulty)[:, others] / encoder.scaler.scale[others]
    nearest = np.argsort((scaled**2).sum(axis=1))[:5]
    # Rounded to a hundredth of the spread or less.
    step = 10 ** np.floor(np.log10(exemplars[:, 3].std()) - 2)
    assert rows[0, 3] == pytest.approx(exemplars[nearest, 3].mean(), abs=0.51 * step)
    assert rows[0, 3] / step == pytest.approx(np.round(rows[0, 3] / step), abs=1e-6)


def test_a_row_that_cannot_become_normal_says_so() -> None:
    detector = VAEDetector(max_steps=20, threshold=-1.0, random_state=0).fit(line(100, 0))
    _, steps = detector.repair(line(2, 11))
    assert not steps["is_normal"].any()
    assert steps["step"].tolist() == [1, 2, 3, 4, 5, 6] * 2


# ------------------------------------------------------------------------ form of the data


def wrong(frame: pd.DataFrame) -> pd.DataFrame:
    """Return rows with a wrong level, an unseen one, a wrong number, text and a missing cell."""
    frame = frame.astype({"load": object})
    frame["site"] = frame["site"].cat.add_categories(["east"])
    frame.loc["row 0", "site"] = "east"
    frame.loc["row 1", "doors"] = 400
    frame.loc["row 2", "load"] = "high"
    frame.loc["row 3", "doors"] = pd.NA
    return frame


def test_mixed_rows_come_back_in_the_form_of_the_data(mixed: VAEDetector) -> None:
    truth = sites(40, 2)
    faulty = wrong(truth)
    rows, steps = mixed.repair(faulty)
    assert (mixed.predict(rows) == 1).all()
    pd.testing.assert_series_equal(rows.dtypes, faulty.dtypes)
    pd.testing.assert_index_equal(rows.index, faulty.index)
    pd.testing.assert_series_equal(rows["serial"], truth["serial"])
    by_cell = steps.set_index(["row", "column"])
    assert by_cell.loc[("row 0", "site"), ["value", "repaired"]].tolist() == [
        "east",
        truth.loc["row 0", "site"],
    ]
    assert by_cell.loc[("row 1", "doors"), "value"] == 400
    repaired = by_cell.loc[("row 1", "doors"), "repaired"]
    assert repaired == truth.loc["row 1", "doors"]
    assert isinstance(repaired, int | np.integer)
    assert by_cell.loc[("row 2", "load"), "value"] == "high"
    # A missing cell changes where no training row lacks one.
    assert pd.isna(by_cell.loc[("row 3", "doors"), "value"])
    untouched = rows.index.difference(steps["row"])
    pd.testing.assert_frame_equal(rows.loc[untouched], faulty.loc[untouched])


def test_missing_cells_that_are_usual_stay_missing() -> None:
    frame = sites(900, 3)
    frame.loc[frame.index[::7], "load"] = np.nan
    detector = VAEDetector(max_steps=600, n_members=2, false_alarm_rate=0.05, random_state=0)
    detector.fit(frame)
    faulty = sites(30, 4).assign(load=np.nan, doors=300)
    rows, steps = detector.repair(faulty)
    assert len(steps)
    assert rows["load"].isna().all()


def test_a_date_becomes_one_of_another_weekday() -> None:
    frame = sites(900, 5)
    frame["day"] = pd.bdate_range("2024-01-01", periods=450).repeat(2)
    detector = VAEDetector(max_steps=600, n_members=2, false_alarm_rate=0.05, random_state=0)
    detector.fit(frame)
    faulty = frame[:50].assign(day=frame["day"][:50] + pd.offsets.Week(weekday=5))
    flagged = detector.predict(faulty) == -1
    assert flagged.mean() > 0.5
    rows, steps = detector.repair(faulty)
    assert rows["day"].dtype == faulty["day"].dtype
    changed = steps[steps["column"] == "day"]
    assert len(changed) > 0.9 * flagged.sum()
    assert (pd.to_datetime(changed["repaired"]).dt.day_of_week < 5).all()


def test_whole_numbers_stay_whole() -> None:
    X = np.round(10 * line(600, 0)).astype(int)
    detector = VAEDetector(max_steps=600, false_alarm_rate=0.05, random_state=0).fit(X)
    rows, steps = detector.repair(planted(X[:40], [1]).astype(int))
    assert len(steps)
    assert rows.dtype == X.dtype
    assert (detector.predict(rows) == 1).all()


def test_a_frame_of_polars_is_repaired(mixed: VAEDetector) -> None:
    pl = pytest.importorskip("polars", reason="polars is not installed")
    faulty = sites(10, 2).astype({"site": str}).assign(doors=300)
    rows, steps = mixed.repair(pl.from_pandas(faulty))
    assert (mixed.predict(rows) == 1).all()
    assert rows.columns.tolist() == faulty.columns.tolist()
    assert set(steps["row"]) <= set(range(10))


def test_images_have_no_repair() -> None:
    images = np.random.RandomState(0).uniform(size=(40, 4, 4))
    detector = VAEDetector(max_steps=5, contamination=0.1, random_state=0).fit(images)
    with pytest.raises(DataError, match="repair is for data whose features mean something"):
        detector.repair(images)


# ------------------------------------------------------------------------- published tables


def swapped_columns(detector: VAEDetector, training: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return how many columns get the nearest training row's values until a row is normal.

    Columns are swapped in the order of how far each alone lowers the score.
    """
    scale = np.where(training.std(axis=0) > 0, training.std(axis=0), 1.0)
    near = NearestNeighbors(n_neighbors=1).fit(training / scale).kneighbors(rows / scale)[1]
    other = training[near[:, 0]]
    score: Callable[[np.ndarray], np.ndarray] = detector.score_samples
    alone = []
    for j in range(rows.shape[1]):
        some = rows.copy()
        some[:, j] = other[:, j]
        alone.append(score(some))
    order, count, some = np.argsort(alone, axis=0)[::-1].T, np.full(len(rows), 0), rows.copy()
    for k in range(rows.shape[1]):
        at = np.arange(len(rows)), order[:, k]
        count += detector.predict(some) == -1
        some[at] = other[at]
    return count


@pytest.mark.parametrize("name", ["38_thyroid", "6_cardio"])
def test_real_anomalies_need_fewer_columns_than_swaps(name: str) -> None:
    path = ADBENCH / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    with np.load(path, allow_pickle=True) as file:
        X, y = file["X"].astype(float), file["y"]
    training = X[y == 0][:1000]
    detector = VAEDetector(random_state=0, false_alarm_rate=0.05).fit(training)
    anomalies = X[y == 1][:60]
    anomalies = anomalies[detector.predict(anomalies) == -1]
    found = repair_records(detector.model_, anomalies, np.zeros(X.shape[1], dtype=bool))
    assert (detector.predict(found.records) == 1).mean() >= 0.95
    n_changes = len(found.record) / len(anomalies)
    assert n_changes < 0.6 * swapped_columns(detector, training, anomalies).mean()
