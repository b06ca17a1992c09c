"""Reasons: what is normal of each column, directions, similar training rows, and their frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vae_anomaly import DataError, ParameterError, VAEDetector, load, save
from vae_anomaly.model.reasons import NormalValues, largest

CENTER = {"north": 0.0, "south": 4.0, "west": -4.0}

BRIEF = {"max_steps": 600, "n_members": 2, "false_alarm_rate": 0.05, "random_state": 0}


def line(n: int, seed: int) -> np.ndarray:
    """Return rows of five columns that all follow from one number, the last of whole numbers."""
    rng = np.random.RandomState(seed)
    t = rng.uniform(-2, 2, size=(n, 1))
    rows = t * [1.0, 200.0, -0.01, 0.5] + [0.05, 10.0, 0.0005, 0.03] * rng.normal(size=(n, 4))
    return np.column_stack([rows, np.round(20 * t[:, 0])])


def sites(n: int, seed: int) -> pd.DataFrame:
    """Return rows whose load and number of doors follow from their site, which is rarely west."""
    rng = np.random.RandomState(seed)
    site = rng.choice(list(CENTER), p=[0.49, 0.48, 0.03], size=n)
    middle = np.array([CENTER[one] for one in site])
    load = middle + 0.3 * rng.normal(size=n)
    load[rng.uniform(size=n) < 0.1] = np.nan
    doors = (10 + 2 * middle).astype(int)
    return pd.DataFrame(
        {
            "site": site,
            "load": load,
            "doors": doors,
            "day": pd.bdate_range("2024-01-01", periods=n),
        },
        index=[f"row {i}" for i in range(n)],
    )


@pytest.fixture(scope="module")
def plain() -> VAEDetector:
    return VAEDetector(**BRIEF).fit(line(600, 0))


@pytest.fixture(scope="module")
def mixed() -> VAEDetector:
    return VAEDetector(**BRIEF).fit(sites(900, 1))


# ---------------------------------------------------------------------------- what is normal


def test_normal_ranges_are_quantiles_of_training_rows(plain: VAEDetector) -> None:
    X, normal = line(600, 0), NormalValues.of(plain.model_)
    assert len(normal.records) == 600  # there is room for all
    expected = np.quantile(X, [0.05, 0.95], axis=0)
    spread = X.std(axis=0)
    np.testing.assert_array_less(np.abs(normal.low - expected[0]), 0.01 * spread)
    np.testing.assert_array_less(np.abs(normal.high - expected[1]), 0.01 * spread)
    np.testing.assert_array_equal([normal.least[4], normal.greatest[4]], [X[:, 4].min(), 40])


def test_values_are_rounded_to_a_hundredth_of_the_spread(plain: VAEDetector) -> None:
    normal = NormalValues.of(plain.model_)
    # Deviations are 1.2, 230, 0.012, 0.6 and, of whole numbers, 23.
    np.testing.assert_array_equal(normal.decimals, [2, 0, 4, 3, 0])
    rounded = normal.rounded(np.array([[1.23456, 123.4, -0.0123456, 0.98765, 7.4]]))
    np.testing.assert_allclose(rounded, [[1.23, 123.0, -0.0123, 0.988, 7.0]], rtol=1e-12)
    assert not np.signbit(normal.rounded(np.full((1, 5), -1e-9))).any()  # "-0" is no number


def test_large_numbers_are_rounded_to_tens_and_hundreds() -> None:
    X = line(300, 0) * 1e4
    normal = NormalValues.of(VAEDetector(**BRIEF | {"max_steps": 5}).fit(X).model_)
    assert normal.decimals.tolist() == [-2, -4, 0, -1, -3]
    assert normal.rounded(np.full((1, 5), 1234567.0))[0].tolist() == [
        *(1234600.0, 1230000.0, 1234567.0, 1234570.0, 1235000.0)
    ]


@pytest.mark.parametrize(
    ("values", "decimals"),
    [
        (1e9 + 10.0 * np.arange(50), 0),  # whole
        (1e6 + 0.25 * np.arange(50), 2),
        (np.array([0.0, 1.0] * 25), 0),
        (np.full(50, 0.1), np.inf),
        (1e-12 * np.arange(50), 13),
    ],
)
def test_decimals_follow_from_the_spread(values: np.ndarray, decimals: float) -> None:
    X = np.column_stack([values, np.arange(50.0)])
    model = VAEDetector(max_steps=5, threshold=0.0, random_state=0).fit(X).model_
    normal = NormalValues.of(model)
    assert normal.decimals[0] == decimals
    assert abs(normal.greatest[0] - values.max()) <= 0.5 * 10.0 ** -min(decimals, 300)


def test_missing_cells_have_no_part_in_ranges(mixed: VAEDetector) -> None:
    frame, normal = sites(900, 1), NormalValues.of(mixed.model_)
    expected = frame["load"].quantile([0.05, 0.95]).to_numpy()
    np.testing.assert_allclose([normal.low[1], normal.high[1]], expected, atol=0.05)
    share = np.isnan(normal.records[:, 1]).mean()
    assert share == pytest.approx(frame["load"].isna().mean(), abs=0.02)


def test_levels_and_dates_have_no_range(mixed: VAEDetector) -> None:
    normal = NormalValues.of(mixed.model_)
    assert np.isnan(normal.low[[0, 3]]).all()
    assert list(normal.level_shares) == [0]
    shares = sites(900, 1)["site"].value_counts(normalize=True)
    np.testing.assert_allclose(normal.level_shares[0], shares, atol=0.02)


@pytest.mark.parametrize("count", [1, 5, 8, 9, 12])
def test_largest_is_a_stable_sort(count: int) -> None:
    parts = np.random.RandomState(0).randint(0, 5, size=(200, 12)).astype(float)
    order = np.argsort(-parts, axis=1, kind="stable")
    for k, (place, values) in enumerate(largest(parts, count)):
        np.testing.assert_array_equal(place, order[:, k])
        np.testing.assert_array_equal(values, parts[np.arange(200), order[:, k]])


# ------------------------------------------------------------------------------------ reasons


def test_reasons_are_the_largest_contributions(plain: VAEDetector) -> None:
    faulty = line(30, 3)
    faulty[:, 1] += 500.0
    faulty[::2, 3] -= 4.0
    found, explained = plain.reasons(faulty, top=2), plain.explain(faulty)
    assert found.columns.tolist() == [
        *("row", "rank", "column", "contribution", "value", "expected"),
        *("probability", "low", "high", "direction"),
    ]
    for row, some in found.groupby("row"):
        parts = explained.loc[row].sort_values(ascending=False)
        assert some["rank"].tolist() == [1, 2]
        assert some["column"].tolist() == parts.index[:2].tolist()
        np.testing.assert_array_equal(some["contribution"], parts[:2])
        assert some["value"].tolist() == [faulty[row, int(name[1:])] for name in some["column"]]
    first = found[found["column"] == "x1"]
    assert len(first) == 30
    assert (first["value"] - first["expected"]).between(420, 580).mean() > 0.9
    assert (first["expected"] >= line(600, 0)[:, 1].min() - 1).all()
    assert (first.loc[first["value"] > first["high"], "direction"] == "above").all()
    assert (first["direction"] == "above").mean() > 0.5
    low = found[(found["column"] == "x3") & (found["value"] < found["low"])]
    assert (low["direction"] == "below").all()
    assert len(low) > 10


def test_what_lowers_a_score_is_no_reason(plain: VAEDetector) -> None:
    X = line(50, 4)
    found = plain.reasons(X, top=99)
    assert (found["contribution"] > 0).all()
    counts = (plain.explain(X) > 0).sum(axis=1)
    np.testing.assert_array_equal(found.groupby("row").size(), counts[counts > 0])


def test_a_value_may_be_in_its_range_and_still_be_a_reason(plain: VAEDetector) -> None:
    faulty = line(200, 5)
    faulty = faulty[faulty[:, 0] > 1.2][:20]
    faulty[:, 0] = -1.0
    found = plain.reasons(faulty, top=1)
    assert (found["column"] == "x0").mean() > 0.9
    found = found[found["column"] == "x0"]
    assert (found["direction"] == "within").all()
    assert (found["expected"] > 1.0).all()


def test_reasons_of_mixed_rows_are_in_the_form_of_the_data(mixed: VAEDetector) -> None:
    faulty = sites(5, 2).assign(site="north", load=0.1, doors=10)
    faulty = faulty.astype({"load": object, "doors": object})
    faulty.loc["row 0", "site"] = "east"
    faulty.loc["row 1", "doors"] = 400
    faulty.loc["row 2", "load"] = "high"
    faulty.loc["row 3", "doors"] = None
    faulty.loc["row 4", "site"] = "west"
    found = mixed.reasons(faulty, top=4)
    assert set(found["row"]) <= set(faulty.index)
    by_cell = found.set_index(["row", "column"])
    described = by_cell[["value", "expected", "direction"]]
    assert described.loc[("row 0", "site")].tolist() == ["east", "north", "unusual level"]
    assert described.loc[("row 1", "doors"), ["value", "direction"]].tolist() == [400, "above"]
    assert described.loc[("row 2", "load"), ["value", "direction"]].tolist() == [
        *("high", "unreadable")
    ]
    assert described.loc[("row 3", "doors"), "direction"] == "missing"
    assert described.loc[("row 3", "doors"), "expected"] == pytest.approx(10, abs=1)
    assert described.loc[("row 4", "site"), ["value", "direction"]].tolist() == [
        *("west", "unusual level")
    ]
    dates = found[found["column"] == "day"]
    assert (dates["direction"] == "within").all()

    # The likelihood of categories is last: the levels of the site, and all others.
    model = mixed.model_
    inputs = model.encoder.encode(model.encoder.matrix(faulty).to_numpy()).inputs
    block = model.network.spec.blocks[-1]
    levels = model.network.predict_features(inputs)[:, -block.width :]
    np.testing.assert_allclose(levels.sum(axis=1), 1.0, rtol=1e-6)
    likely = dict(zip(faulty.index, levels[:, :-1].max(axis=1), strict=True))
    assert set(found.loc[found["probability"].notna(), "column"]) == {"site"}
    for label, one in found[found["column"] == "site"].set_index("row")["probability"].items():
        assert one == pytest.approx(likely[label])
    assert dates["expected"].isna().all()
    # What is expected lies within the values of training rows, whatever the other cells are.
    loads = found.loc[found["column"] == "load", "expected"].astype(float)
    assert loads.between(-6, 6).all()


def test_reasons_do_not_depend_on_other_rows_or_the_process(
    plain: VAEDetector, tmp_path: Path
) -> None:
    faulty = line(30, 6) + 3.0
    found = plain.reasons(faulty, top=3)
    alone = plain.reasons(faulty[7:8], top=3).assign(row=7)
    some = found[found["row"] == 7].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, some)
    backwards = plain.reasons(faulty[::-1], top=3)
    backwards["row"] = 29 - backwards["row"]
    backwards = backwards.sort_values(["row", "rank"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(backwards, found)
    save(plain, tmp_path / "m.vae")
    again = load(tmp_path / "m.vae")
    pd.testing.assert_frame_equal(again.reasons(faulty, top=3), found)
    pd.testing.assert_frame_equal(again.neighbors(faulty), plain.neighbors(faulty))


def test_wrong_arguments_are_named(plain: VAEDetector) -> None:
    with pytest.raises(ParameterError, match=r"top must be an int >= 1\. Got 0 instead"):
        plain.reasons(line(2, 0), top=0)
    with pytest.raises(ParameterError, match=r"k must be an int >= 1\. Got 1\.5 instead"):
        plain.neighbors(line(2, 0), k=1.5)
    images = np.random.RandomState(0).uniform(size=(40, 4, 4))
    detector = VAEDetector(max_steps=5, contamination=0.1, random_state=0).fit(images)
    with pytest.raises(DataError, match="reasons is for data whose features mean something by"):
        detector.reasons(images)


# --------------------------------------------------------------------------------- neighbours


@pytest.mark.parametrize(
    "options", [{"false_alarm_rate": 0.05}, {"contamination": 0.1}, {"threshold": 9.0}]
)
def test_neighbours_are_rows_of_the_training_data(options: dict[str, float]) -> None:
    X = line(300, 0)
    detector = VAEDetector(max_steps=20, random_state=0, **options).fit(X)
    fresh = line(40, 7)
    found = detector.neighbors(fresh, k=4)
    assert found["row"].tolist() == np.repeat(np.arange(40), 4).tolist()
    assert found["rank"].tolist() == [1, 2, 3, 4] * 40
    assert (np.diff(found["distance"].to_numpy().reshape(40, 4), axis=1) >= 0).all()
    kept = found[[f"x{i}" for i in range(5)]].to_numpy()
    true = X[found["training_row"]]
    assert (np.abs(kept - true) < 0.01 * X.std(axis=0)).all()
    # A training row is none of its own neighbours.
    own = detector.neighbors(X[:50], k=1)
    assert (own["training_row"] != np.arange(50)).all()


def test_wrong_cells_do_not_choose_the_neighbours(plain: VAEDetector) -> None:
    truth = line(40, 8)
    faulty = truth.copy()
    faulty[:, 0] = -2 * np.sign(faulty[:, 0])
    found = plain.neighbors(faulty, k=1)
    assert np.median(np.abs(found["x1"] - truth[:, 1])) < 20.0
    assert found["distance"].median() < 0.2


def test_neighbours_of_mixed_rows_are_in_the_form_of_the_data(mixed: VAEDetector) -> None:
    frame = sites(900, 1)
    renamed = frame.rename(columns={"load": "rank"})
    detector = VAEDetector(**BRIEF | {"max_steps": 5}).fit(renamed)
    found = detector.neighbors(renamed[:3], k=2)
    assert found.columns.tolist() == [
        *("row", "rank", "training_row", "distance", "site", "feature_rank", "doors", "day")
    ]
    assert found["row"].tolist() == ["row 0", "row 0", "row 1", "row 1", "row 2", "row 2"]
    for one in found.itertuples():
        training = frame.iloc[one.training_row]
        assert (one.site, one.doors) == (training["site"], training["doors"])
        assert one.feature_rank == pytest.approx(training["load"], abs=0.03, nan_ok=True)


def test_neighbours_of_images_are_named_by_their_position() -> None:
    images = np.random.RandomState(0).uniform(size=(40, 4, 4))
    detector = VAEDetector(max_steps=5, contamination=0.1, random_state=0).fit(images)
    found = detector.neighbors(images[:2] + 1e-3, k=99)
    assert found.columns.tolist() == ["row", "rank", "training_row", "distance"]
    assert len(found) < 2 * 40
    assert found["training_row"].between(0, 39).all()


def test_explain_returns_reasons_and_repairs_too(plain: VAEDetector) -> None:
    faulty = line(20, 3)
    faulty[:, 1] += 900.0
    pd.testing.assert_frame_equal(plain.explain(faulty, kind="reasons"), plain.reasons(faulty))
    pd.testing.assert_frame_equal(plain.explain(faulty, kind="repair"), plain.repair(faulty).steps)
    with pytest.raises(ParameterError, match="kind must be one of 'contributions', 'reasons', 're"):
        plain.explain(faulty, kind="shap")
