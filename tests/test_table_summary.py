"""Summaries of tables in parts: exact moments, levels, uniform samples."""

from __future__ import annotations

import statistics
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_anomaly import DataError
from vae_anomaly.data.table.exact import ExactMoments
from vae_anomaly.data.table.summary import ColumnSummary, TableSummary, draws_of

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@settings(deadline=None)
@given(st.lists(FLOATS, max_size=30), st.integers(0, 30))
def test_sums_are_exact_and_those_of_parts(values: list[float], place: int) -> None:
    found = ExactMoments.of(np.array(values, dtype=np.float64))
    exact = [Fraction(value) for value in values]
    squares = sum((value**2 for value in exact), Fraction(0))
    assert found == ExactMoments(len(values), sum(exact, Fraction(0)), squares)
    parts = (values[place:], values[:place])
    one, other = (ExactMoments.of(np.array(part, dtype=np.float64)) for part in parts)
    assert one + other == found


def test_moments_are_those_of_statistics() -> None:
    rng = np.random.RandomState(0)
    for values in (rng.normal(size=700) + 1e9, rng.poisson(2, 5000) * 1.0, np.full(3, 0.1)):
        found = ExactMoments.of(values)
        exact = [Fraction(value) for value in values.tolist()]
        assert found.mean == float(statistics.mean(exact))
        assert found.deviation == pytest.approx(float(statistics.pstdev(exact)), rel=1e-15)
    assert ExactMoments.of(np.array([1e308, -1e308])).deviation == 1e308
    assert np.isnan(ExactMoments.of(np.empty(0)).mean)
    assert np.isnan(ExactMoments().deviation)


def rows_of_all_types(n: int = 200) -> pd.DataFrame:
    rng = np.random.RandomState(0)
    rows = pd.DataFrame({"x": rng.normal(size=n), "n": rng.randint(0, 9, n), "none": None})
    rows["flag"] = rng.uniform(size=n) < 0.5
    rows["site"] = rng.choice(["north", "south", "N/A"], n)
    rows["band"] = pd.Categorical(rng.choice(["a", "b"], n))
    rows["at"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.randint(0, 99, n), unit="h")
    rows.loc[:9, ["x", "at"]] = None
    rows["late"] = np.where(np.arange(n) < 150, np.nan, rows["x"])
    return rows


def test_summaries_of_parts_are_that_of_the_whole() -> None:
    rows = rows_of_all_types()
    whole = TableSummary.of(rows, 30, seed=1)
    for cuts in ([0, 200], [0, 1, 60, 60, 200], [*range(0, 200, 7), 200]):
        parts = [TableSummary.of(rows[a:b], 30, 1) for a, b in pairwise(cuts)]
        pairs = [TableSummary.merged(parts[i : i + 2]) for i in range(0, len(parts), 2)]
        found = TableSummary.merged(pairs)
        assert (found.n_rows, found.columns) == (200, whole.columns)
        pd.testing.assert_frame_equal(found.sample, whole.sample)
    assert len(whole.sample) == 30
    assert (whole.sample.index == sorted(whole.sample.index)).all()


def facts(column: ColumnSummary) -> tuple[str, int, float | None, float | None]:
    return column.type, column.n_missing, column.low, column.high


def test_what_a_summary_says_of_columns() -> None:
    rows = rows_of_all_types()
    found = TableSummary.of(rows).columns
    x = rows["x"].dropna()
    assert facts(found["x"]) == ("number", 10, x.min(), x.max())
    assert found["x"].moments.mean == pytest.approx(x.mean(), rel=1e-14)
    assert found["x"].moments.deviation == pytest.approx(x.std(ddof=0), rel=1e-14)
    assert facts(found["none"]) == ("empty", 200, None, None)
    assert found["flag"].levels == {"True": rows["flag"].sum(), "False": (~rows["flag"]).sum()}
    assert found["site"].levels == rows["site"].value_counts().drop("N/A").to_dict()
    assert found["site"].n_missing == (rows["site"] == "N/A").sum()
    assert found["band"].levels == rows["band"].value_counts().to_dict()
    assert found["at"].high == rows["at"].max().timestamp()
    assert facts(found["late"])[:2] == ("number", 150)


def test_too_many_levels_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vae_anomaly.data.table.summary.MAX_KEPT_LEVELS", 3)
    one, other = (ColumnSummary.of(pd.Series(list(texts))) for texts in ("abca", "cd"))
    assert one.levels == {"a": 2, "b": 1, "c": 1}
    assert one.merged(other).levels is None
    assert one.merged(other).varies


def test_samples_are_uniform() -> None:
    # A table that is mostly one row, twice over: every row of it is drawn as often.
    rows = pd.DataFrame({"x": [0.0] * 300 + list(range(100))})
    counts = np.zeros(400)
    for seed in range(300):
        counts[TableSummary.of(rows, 40, seed).sample.index] += 1
    # 300 draws of a share of 0.1: 30 +- 5.2 each; the sum of squares is chi-squared.
    chi_squared = ((counts - 30) ** 2 / 27).sum()
    assert abs(chi_squared - 400) < 4 * np.sqrt(2 * 400)
    assert abs(counts[:300].sum() - 9000) < 4 * np.sqrt(300 * 40 * 0.75 * 0.25)


def test_draws_are_uniform_and_differ_by_seed() -> None:
    rows = pd.DataFrame({"x": np.zeros(20_000)})
    one, other = (draws_of(rows, seed) / 2.0**64 for seed in (0, 1))
    for draws in (one, other):
        counts = np.histogram(draws, bins=20, range=(0, 1))[0]
        assert ((counts - 1000) ** 2 / 950).sum() < 50
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.03


def test_what_summaries_refuse() -> None:
    rows = pd.DataFrame({"x": [1.0, np.inf]}, index=[7, 8])
    with pytest.raises(DataError, match=r"index 8, column 'x': expected a finite number, got inf"):
        TableSummary.of(rows)
    parts = [TableSummary.of(pd.DataFrame({"x": cells})) for cells in ([1.0], ["a"])]
    words = r"Column 'x' is one of type number here, and category there\. Convert it in all"
    with pytest.raises(DataError, match=words):
        TableSummary.merged(parts)
    with pytest.raises(DataError, match=r"Column 'x' holds neither numbers nor texts: unhashable"):
        TableSummary.of(pd.DataFrame({"x": [[1], [2]]}), 1)
