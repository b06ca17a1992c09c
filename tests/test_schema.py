"""Types of the columns of a table, and the codes of cells."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vae_anomaly.data.cells import STRAY
from vae_anomaly.data.table.column import MAX_LEVELS, text_of
from vae_anomaly.data.table.levels import LevelIndicators
from vae_anomaly.data.table.schema import TableSchema
from vae_anomaly.exceptions import DataError, ParameterError

N = 120
RNG = np.random.RandomState(0)

COLUMNS = {
    "number": (RNG.normal(size=N), "number"),
    "whole numbers": (RNG.poisson(3, size=N), "number"),
    "numbers as text": ([f"{x:.3f}" for x in RNG.normal(size=N)], "number"),
    "numbers and dashes": (["1.5", "-", "2", "3"] * 30, "number"),
    "numbers and unknown": (["1.5", "unknown", "2", "3"] * 30, "number"),
    "leading zeros": (["007", "012", "100"] * 40, "category"),
    "row numbers": (np.arange(N), "identifier"),
    "row numbers, shuffled": (RNG.permutation(N) + 17, "identifier"),
    "row numbers as text": ([str(i) for i in range(N)], "identifier"),
    "whole numbers with gaps": (np.arange(N) * 1000, "counter"),
    "whole numbers with gaps as text": ([str(i * 1000) for i in range(N)], "counter"),
    "whole numbers with gaps, shuffled": (RNG.permutation(N) * 1000, "number"),
    "whole numbers with gaps and a blank": ([np.nan, *range(0, 5 * N - 5, 5)], "counter"),
    "sorted whole numbers": (np.sort(RNG.poisson(30, size=N)), "number"),
    "sorted numbers": (np.sort(RNG.normal(size=N)), "number"),
    "years": (RNG.randint(1990, 2020, size=N), "number"),
    "booleans": ([True, False] * 60, "category"),
    "yes and no": (["yes", "no", "yes"] * 40, "category"),
    "two numbers as text": (["0", "1", "1"] * 40, "number"),
    "levels": (["red", "green", "blue"] * 40, "category"),
    "level called none": (["none", "one", "two"] * 40, "category"),
    "levels of many words": (["self employed, not incorporated", "a", "b"] * 40, "category"),
    "dates": ([f"2026-{1 + i % 12:02d}-{1 + i % 28:02d}" for i in range(N)], "date"),
    "dates, German": ([f"{1 + i % 28:02d}.{1 + i % 12:02d}.2026" for i in range(N)], "date"),
    "timestamps": (pd.date_range("2026-01-01", periods=N), "date"),
    "names": ([f"pump {i}" for i in range(N)], "identifier"),
    "text": ([f"the pump in hall {i // 2} was loud" for i in range(N)], "text"),
    "nothing": ([None] * N, "empty"),
    "missing tokens": (["", "?", "NA", "N/A", "NaN", "null"] * 20, "empty"),
    "missing numbers": ([np.nan] * N, "empty"),
    "nullable": (pd.array([1, None, 3] * 40, dtype="Int64"), "number"),
    "nullable booleans": (pd.array([True, None, False] * 40, dtype="boolean"), "category"),
    "pandas category": (pd.Categorical(np.arange(N)), "category"),
}


def schema_of(**columns: object) -> TableSchema:
    return TableSchema.of(pd.DataFrame({"x": ["p", "q", "r", "s"] * (N // 4), **columns}))


@pytest.mark.parametrize("case", COLUMNS)
def test_types_of_columns(case: str) -> None:
    cells, expected = COLUMNS[case]
    column = schema_of(case=cells).columns[1]
    assert column.type == expected, column.reason
    assert column.reason
    assert bool(column.levels) == (expected == "category")


def test_the_head_of_a_column_does_not_decide() -> None:
    cells = [str(i % 7) for i in range(N // 2 - 1)] + ["A1", "B2", "A1"] * (N // 6)
    assert schema_of(code=[*cells, "C3"]).columns[1].type == "category"


def test_text_in_columns_of_numbers_is_refused() -> None:
    cells = ["1", "2.5", None, "-", "off", "3"] * (N // 6)
    late = [0.5] * (N - 1) + ["high"]
    with pytest.raises(DataError) as caught:
        schema_of(a=cells, b=late, c=[*cells[:4], "off", "on"] * (N // 6))
    assert str(caught.value) == (
        "Column 'a', index 4: expected a number, got 'off'. Column 'b', index 119: expected a "
        "number, got 'high'. Column 'c', index 4: expected a number, got 'off'. Text is in 61 "
        "cells of 3 columns of numbers. Correct the cells, or say what the columns are, as in "
        "column_types={'a': 'category', 'b': 'category', 'c': 'category'}."
    )
    frame = pd.DataFrame({"a": cells, "b": late})
    schema = TableSchema.of(frame, {"a": "category", "b": "category"})
    assert [column.type for column in schema.columns] == ["category", "category"]


def test_frames_of_numbers_and_arrays_have_no_schema() -> None:
    assert TableSchema.of(np.zeros((3, 2))).columns == ()
    frame = pd.DataFrame(RNG.normal(size=(9, 2)), columns=["a", "b"])
    assert TableSchema.of(frame).columns == ()
    assert TableSchema.of(frame).matrix(frame) is frame
    assert TableSchema.of([[1.0, 2.0]]).columns == ()


def test_types_may_be_chosen() -> None:
    zips = [10, 20, 30, 20] * 30
    frame = pd.DataFrame({"zip": zips, "lot": np.arange(N), "a": RNG.normal(size=N)})
    assert TableSchema.of(frame).columns[1].type == "identifier"
    chosen = {"zip": "category", "lot": "number", "a": "ignore"}
    schema = TableSchema.of(frame, chosen)
    assert [column.type for column in schema.columns] == ["category", "number", "ignored"]
    assert schema.columns[0].levels == ("20", "10", "30")
    back = schema.frame(schema.matrix(frame).to_numpy())
    assert back["zip"].tolist() == zips
    with pytest.raises(ParameterError) as caught:
        TableSchema.of(frame, {"ZIP": "category"})
    assert str(caught.value) == (
        "column_types names columns that the data do not have: 'ZIP'. Name columns of a data frame."
    )


def test_chosen_types_are_known_ones() -> None:
    with pytest.raises(ParameterError) as caught:
        TableSchema.of(pd.DataFrame({"zip": ["1", "2"]}), {"zip": "categorical"})
    assert str(caught.value) == (
        "column_types: column 'zip': expected one of number, category, date, "
        "date:FORMAT, ignore, got 'categorical'."
    )


def test_levels_are_codes_by_frequency() -> None:
    schema = schema_of(state=["b", "a", "a", "c"] * (N // 4))
    assert schema.columns[1].levels == ("a", "b", "c")
    rows = pd.DataFrame({"x": ["p", "q", None], "state": ["c", " a ", "new"]})
    np.testing.assert_array_equal(schema.matrix(rows), [[0, 2], [1, 0], [np.nan, 3]])


def test_kept_levels_are_bounded() -> None:
    cells = [f"{i % 60}x" for i in range(N)] + [f"{i}y" for i in range(60)] * 2
    (column,) = TableSchema.of(pd.DataFrame({"a": cells})).columns
    assert column.type == "category"
    assert len(column.levels) == MAX_LEVELS
    assert len(set(cells)) == 120
    assert column.codes(pd.Series(["no such"]))[0] == MAX_LEVELS


def test_most_of_a_number_is_no_text() -> None:
    schema = schema_of(flow=["1", "2.5", "3"] * (N // 3))
    rows = pd.DataFrame({"x": ["p", "q"], "flow": ["high", "2"]})
    assert schema.matrix(rows)["flow"].tolist() == [STRAY, 2.0]
    with pytest.raises(DataError) as caught:
        schema.matrix(rows[:1])
    assert str(caught.value) == (
        "Column 'flow': expected numbers, as in training, got 'high' and other text in more than "
        "half of the cells. Check that it is the column that was meant."
    )


def test_a_number_that_is_chosen_holds_no_text() -> None:
    with pytest.raises(DataError) as caught:
        TableSchema.of(pd.DataFrame({"flow": ["1", "high", "3"]}), {"flow": "number"})
    assert str(caught.value) == (
        "Column 'flow': expected numbers, as column_types says, got 'high'. Correct the cell, or "
        "choose another type."
    )


def test_rows_come_back_in_their_types() -> None:
    frame = pd.DataFrame(
        {
            "state": ["on", "off", "on", "idle"] * 30,
            "ok": [True, False, True, True] * 30,
            "count": [1, 2, 3, 5] * 30,
            "level": RNG.normal(size=N),
            "size": pd.Categorical(["S", "M", "L", "M"] * 30),
        }
    )
    schema = TableSchema.of(frame)
    back = schema.frame(schema.matrix(frame).to_numpy())
    pd.testing.assert_frame_equal(back.astype({"size": object}), frame.astype({"size": object}))
    assert back["size"].dtype == "category"
    assert back["ok"].dtype == bool
    assert schema.frame(np.array([[3.0, 0, 1, 1, 0]]))["state"][0] == "(new level)"
    missing = schema.frame(np.full((1, 5), np.nan))
    assert missing.isna().all(axis=None)


def test_spellings_of_one_level_are_one() -> None:
    assert [text_of(cell) for cell in (3, 3.0, "3", " 3", 3.5)] == ["3", "3", "3", "3", "3.5"]
    assert [text_of(cell) for cell in (True, "None", "-")] == ["True", "None", "-"]


def test_levels_without_training_rows_count_as_unseen() -> None:
    codes = np.array([[0.0, 0.0], [2.0, 0.0], [np.nan, 0.0], [0.0, 0.0]])
    levels = LevelIndicators.fit(codes, [3, 2], [0.0, 0.0])
    assert levels.widths == (3, 0)
    indicators, unseen = levels.encode(np.array([[2.0, 0.0], [1.0, 1.0], [3.0, np.nan]]))
    assert indicators.tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    # Four rows agree: one more of another level has the probability 1 / (4 + 2). Of three
    # rows one has a level that occurs once: 2 / (3 + 2 + 1).
    np.testing.assert_allclose(unseen, [[0, 0], [np.log(3), np.log(6)], [np.log(3), 0]])
    assert levels.decode(np.array([[0.1, 0.6, 0.3]])).tolist() == [[2.0, 0.0]]


def test_levels_beyond_those_with_a_code_share_the_last_indicator() -> None:
    codes = np.array([0.0] * 40 + [1.0] * 20 + [2.0] * 12 + [3.0] * 9 + [4.0] * 19)[:, None]
    levels = LevelIndicators.fit(codes, [4], [0.09])
    # 9 rows of 100 are expected to have the last level, and 3 is their standard deviation.
    assert [counts.tolist() for counts in levels.counts] == [[40, 20, 0, 0, 40]]
    assert levels.words == ["2 levels and all others"]
    indicators, unseen = levels.encode(np.array([[1.0], [2.0], [3.0], [4.0]]))
    assert indicators.tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1]]
    assert unseen.tolist() == [[0]] * 4
    # One level, and all others, are two that are told apart.
    levels = LevelIndicators.fit(codes, [4], [0.5])
    assert [counts.tolist() for counts in levels.counts] == [[40, 0, 0, 0, 60]]
    assert levels.encode(np.array([[0.0], [3.0]]))[0].tolist() == [[1, 0], [0, 1]]
    assert levels.decode(np.array([[0.2, 0.8]])).tolist() == [[0.0]]


def test_calibration_rows_have_no_more_levels_with_a_code_than_new_rows() -> None:
    rng = np.random.RandomState(0)
    rows = pd.DataFrame({"part": rng.randint(0, 1200, 3000).astype(str)})
    new = pd.DataFrame({"part": rng.randint(0, 1200, 20_000).astype(str)})
    schema = TableSchema.of(rows, {"part": "category"})
    codes, learns = schema.matrix(rows).to_numpy(), np.arange(3000) < 2400
    column = schema.columns[0]
    levels = LevelIndicators.fit(codes[learns], [len(column.levels)], [column.last_share])
    parts = (codes[~learns], schema.matrix(new).to_numpy())
    known = [int(levels.encode(part)[0][:, :-1].sum()) for part in parts]
    # The levels that all rows choose are in 18 % of the calibration rows, and in 8 % of new ones.
    table = [[n, len(part) - n] for n, part in zip(known, parts, strict=True)]
    assert known[1] > 0
    assert stats.fisher_exact(table).pvalue > 0.01
