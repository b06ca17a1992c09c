"""Dates: how they are recognised, what a model sees of them, and what it finds."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from vae_anomaly import VAEDetector, load, save
from vae_anomaly.cli import run
from vae_anomaly.data.cells import STRAY
from vae_anomaly.data.date_formats import ISO, is_date_format
from vae_anomaly.data.table.column import Column
from vae_anomaly.data.table.dates import (
    Cycle,
    DateParts,
    best_formats,
    covered_cycles,
    covered_span,
    seconds_of_timestamps,
    timestamps_of,
)
from vae_anomaly.data.table.schema import TableSchema
from vae_anomaly.exceptions import DataError, ParameterError

N = 900
DAY = 86400.0
BRIEF = {"max_steps": 800, "n_members": 2, "false_alarm_rate": 0.05, "random_state": 0}


def column_of(cells: object, chosen: str | None = None) -> Column:
    """Return the second of two columns, of which the first is a number."""
    frame = pd.DataFrame({"x": np.arange(len(cells)) % 7 / 2, "when": cells})
    return TableSchema.of(frame, {} if chosen is None else {"when": chosen}).columns[1]


def names_of(column: Column) -> list[str]:
    return [cycle.name for cycle in column.cycles]


# ------------------------------------------------------------------------------ recognition

DAYS = [date(2023, 1, 1) + timedelta(days=i) for i in range(N)]

SPELLINGS = {
    "ISO": ("%Y-%m-%d", ISO),
    "ISO with time": ("%Y-%m-%d %H:%M:%S", ISO),
    "ISO with T": ("%Y-%m-%dT%H:%M", ISO),
    "German": ("%d.%m.%Y", "%d.%m.%Y"),
    "German, two digits": ("%d.%m.%y", "%d.%m.%y"),
    "day first": ("%d/%m/%Y", "%d/%m/%Y"),
    "month first": ("%m/%d/%Y", "%m/%d/%Y"),
    "day first, two digits": ("%d/%m/%y", "%d/%m/%y"),
    "names of months": ("%d-%b-%Y", "%d-%b-%Y"),
    "year first": ("%Y/%m/%d", "%Y/%m/%d"),
}


@pytest.mark.parametrize("case", SPELLINGS)
def test_texts_in_one_format_are_dates(case: str) -> None:
    form, expected = SPELLINGS[case]
    column = column_of([one.strftime(form) for one in DAYS])
    assert (column.type, column.format) == ("date", expected), column.reason
    assert names_of(column) == ["weekday", "day of the month", "day of the year"]
    assert column.reason == (
        f"{expected}: weekday, day of the month, day of the year, without the trend"
    )
    codes = column.codes(pd.Series([DAYS[40].strftime(form)]))
    assert codes.tolist() == [(DAYS[40] - date(1970, 1, 1)).days * DAY]


TYPED = {
    "datetime.date": (DAYS, ISO),
    "datetime.datetime": ([datetime(one.year, one.month, one.day) for one in DAYS], ISO),
    "two dates": ([DAYS[0], DAYS[1]] * (N // 2), ISO),
    "seconds": (np.array(DAYS, "datetime64[s]"), ISO),
    "milliseconds": (np.array(DAYS, "datetime64[ms]"), ISO),
    "nanoseconds": (np.array(DAYS, "datetime64[ns]"), ISO),
    "zone": (pd.DatetimeIndex(DAYS).tz_localize("Europe/Berlin"), "ISO8601, in UTC"),
    "text with a zone": ([f"{one}T12:00:00+02:00" for one in DAYS], "ISO8601, in UTC"),
    "Arrow date": (pd.array(DAYS, dtype=pd.ArrowDtype(pa.date32())), ISO),
    "Arrow timestamp": (pd.array(DAYS, dtype=pd.ArrowDtype(pa.timestamp("us"))), ISO),
}


@pytest.mark.parametrize("case", TYPED)
def test_types_of_dates_win_over_guesses(case: str) -> None:
    cells, reason = TYPED[case]
    frame = pd.DataFrame({"x": np.arange(N) % 7 / 2, "when": cells, "later": DAYS})
    schema = TableSchema.of(frame)
    assert schema.columns[1].type == "date"
    assert schema.columns[1].reason.startswith(f"{reason}:")
    hours = {"zone": [-1, -2], "text with a zone": [10]}.get(case, [0])
    first = (date(2023, 1, 1) - date(1970, 1, 1)).days
    away = schema.matrix(frame)["when"].to_numpy() / 3600 - 24 * (first + np.arange(N))
    assert set(np.round(away % 24, 9)) == {hour % 24 for hour in hours} or case == "two dates"


def test_a_format_that_is_ambiguous_is_not_guessed() -> None:
    cells = [f"{1 + i % 12:02d}/{1 + i % 11:02d}/{2020 + i % 5}" for i in range(N)]
    column = column_of(cells)
    assert (column.type, column.is_used) == ("ambiguous", False)
    assert column.reason == (
        "dates as %d/%m/%Y and as %m/%d/%Y alike; choose one, as in --type when=date:%d/%m/%Y"
    )
    assert column_of(cells, "date:%m/%d/%Y").format == "%m/%d/%Y"
    with pytest.raises(DataError) as caught:
        column_of(cells, "date")
    assert str(caught.value) == (
        "Column 'when': expected dates, as column_types says, got cells such as '01/01/2020': they "
        "are dates as %d/%m/%Y and as %m/%d/%Y. Choose a format with date:FORMAT."
    )
    # One day after the twelfth tells.
    assert column_of([*cells, "13/02/2021"]).format == "%d/%m/%Y"
    assert column_of([*cells, "02/13/2021"]).format == "%m/%d/%Y"


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"03/04/2022": 3, "05/06/2022": 2}, ["%d/%m/%Y", "%m/%d/%Y"]),
        ({"04/04/2022": 3}, ["%d/%m/%Y"]),
        ({"13/04/2022": 1, "03/04/2022": 9}, ["%d/%m/%Y"]),
        ({"03-04-05": 1}, ["%d-%m-%y", "%m-%d-%y", "%y-%m-%d"]),
        ({"03-24-05": 1}, ["%m-%d-%y"]),
        ({"30-04-95": 1}, ["%d-%m-%y"]),
        ({"95-04-30": 1}, ["%y-%m-%d"]),
        ({"2022-04-03": 99, "soon": 1}, [ISO]),
        ({"2022-04-03": 98, "soon": 2}, []),
        ({"2022-04-03": 98, "03.04.2022": 2}, []),
        ({"12:30": 5}, []),
    ],
)
def test_formats_of_nearly_all_cells(counts: dict[str, int], expected: list[str]) -> None:
    assert best_formats(counts) == expected


def test_cells_that_are_no_dates_are_stray() -> None:
    cells = [str(one) for one in DAYS]
    cells[17], cells[40], cells[41] = "soon", "-", "unknown"
    schema = TableSchema.of(pd.DataFrame({"x": ["p", "q", "r"] * (N // 3), "when": cells}))
    codes = schema.matrix(pd.DataFrame({"x": ["p"] * N, "when": cells}))["when"]
    assert codes[17] == STRAY
    assert np.isnan(codes[[40, 41]]).all()
    assert (codes.drop([17, 40, 41]) < 2e9).all()
    with pytest.raises(DataError) as caught:
        schema.matrix(pd.DataFrame({"x": ["p"], "when": ["24.12.2023"]}))
    assert str(caught.value) == (
        "Column 'when': expected dates as ISO8601, got '24.12.2023' and other text in more than "
        "half of the cells. Check that it is the column that was meant."
    )


def test_types_are_chosen() -> None:
    assert column_of([f"{d:%d-%m-%y}" for d in DAYS], "date:%d-%m-%y").format == "%d-%m-%y"
    assert column_of([f"{d:%Y%m%d}" for d in DAYS[::-1]]).type == "number"
    numbers = [int(f"{d:%Y%m%d}") for d in DAYS]
    assert names_of(column_of(numbers, "date:%Y%m%d"))[0] == "weekday"
    assert column_of(DAYS, "category").type == "category"
    assert column_of(pd.DatetimeIndex(DAYS), "ignore").type == "ignored"
    with pytest.raises(DataError, match=r"such as 'a': they are dates in no format that is known"):
        column_of(["a", "b"] * 9, "date")
    with pytest.raises(ParameterError) as caught:
        column_of(DAYS, "date:%H:%M")
    assert str(caught.value) == (
        "column_types: column 'when': 'date:%H:%M' is no format of dates. Expected directives of "
        "strptime for year, month and day, such as date:%d.%m.%Y."
    )


@pytest.mark.parametrize("text", ["%H", "%d.%m", "%Q", "%", "%Y%m%d" * 30, "%d %d %m %Y", "mixed"])
def test_what_is_no_format_of_dates(text: str) -> None:
    assert not is_date_format(text)


# ------------------------------------------------------------------------------ cycles


def seconds(*texts: str) -> np.ndarray:
    return seconds_of_timestamps(np.array(texts, "datetime64[us]"))


@pytest.mark.parametrize(
    ("cycle", "moment", "share"),
    [
        ("time of day", "1999-12-31T06:00", 1 / 4),
        ("time of day", "1960-02-29T21:00", 7 / 8),
        ("weekday", "2026-11-23T00:00", 0.0),  # a Monday
        ("weekday", "2026-11-29T12:00", 6.5 / 7),
        ("weekday", "1969-12-31T00:00", 2 / 7),
        ("day of the month", "2024-02-15T12:00", 14.5 / 29),
        ("day of the month", "2023-02-28T00:00", 27 / 28),
        ("day of the year", "2024-12-31T00:00", 365 / 366),
        ("day of the year", "1965-07-02T12:00", 182.5 / 365),
    ],
)
def test_positions_in_cycles(cycle: str, moment: str, share: float) -> None:
    for center in (0.0, 0.3):
        parts = DateParts(((Cycle(cycle, center),),)).encode(seconds(moment)[:, None])
        angle = 2 * np.pi * (share - center)
        np.testing.assert_allclose(parts, [[np.sin(angle), np.cos(angle)]], atol=1e-9)


def test_days_since_the_first_date() -> None:
    parts = DateParts(((), (), ()))
    assert parts.widths == (0, 1, 1)
    assert parts.column_of_part.tolist() == [1, 2]
    rows = np.column_stack(
        [seconds("2026-01-01", "NaT"), seconds("2026-01-03T12:00", "2026-01-01")]
    )
    rows = np.column_stack([rows, seconds("NaT", "2026-01-01")])
    np.testing.assert_array_equal(parts.encode(rows), [[2.5, np.nan], [np.nan, np.nan]])


def test_dates_are_far_beyond_the_time_that_is_covered_or_ten_years() -> None:
    short, long = (
        covered_span(seconds(*moments)) for moments in (("2021", "2023"), ("1950", "2000"))
    )
    parts = DateParts(((), (), ()), (short, long, ()))
    near = [("2011-02", "1902", "0001"), ("2032-11", "2048", "9999"), ("NaT", "NaT", "NaT")]
    far = [("2010-11", "1900", "NaT"), ("2033-02", "2051", "0001")]
    dates = [seconds(*row) for row in (*near, *far)]
    expected = [[False] * 3] * 3 + [[True, True, False]] * 2
    assert parts.are_far(np.array(dates)).tolist() == expected


def test_a_mistyped_date_does_not_widen_the_time_that_is_covered() -> None:
    days = seconds(*np.arange("2021", "2023", dtype="datetime64[D]").astype(str))
    first, last = covered_span(np.concatenate([days, seconds("1900", "NaT"), [STRAY]]))
    assert (first, last) == pytest.approx(tuple(days[[7, -8]]), abs=86400)
    assert covered_span(seconds("NaT")) == ()


COVERED = {
    "one day": ("2026-01-01", "2026-01-02", "h", []),
    "two days": ("2026-01-01", "2026-01-03", "h", ["time of day"]),
    "ten days": ("2026-01-01", "2026-01-11", "h", ["time of day"]),
    "two weeks": ("2026-01-01", "2026-01-15", "h", ["time of day", "weekday"]),
    "two weeks of days": ("2026-01-01", "2026-01-16", "D", ["weekday"]),
    "a year of days": ("2025-01-01", "2026-01-01", "D", ["weekday", "day of the month"]),
    "two years of days": (
        *("2024-01-01", "2026-01-01", "D"),
        ["weekday", "day of the month", "day of the year"],
    ),
    "the first of each month": ("2020-01", "2026-01", "M", ["weekday", "day of the year"]),
    "new years": ("1960", "2026", "Y", ["weekday"]),
}


@pytest.mark.parametrize("case", COVERED)
def test_cycles_are_used_where_two_periods_are_covered(case: str) -> None:
    first, last, step, expected = COVERED[case]
    moments = np.arange(first, last, dtype=f"datetime64[{step}]").astype("datetime64[us]")
    found = covered_cycles(seconds_of_timestamps(moments))
    assert [cycle.name for cycle in found] == expected
    # A date that was mistyped does not cover anything.
    wrong = np.append(seconds_of_timestamps(np.repeat(moments, 5)), [0.0, np.nan, STRAY])
    assert [cycle.name for cycle in covered_cycles(wrong)][: len(expected)] == expected


def test_angles_count_from_the_mean_direction() -> None:
    hours = np.array([22.0, 0.0, 2.0, 3.0])
    moments = (np.arange(40)[:, None] * 24 + hours).ravel() * 3600
    (cycle, *_) = covered_cycles(moments)
    angle = 2 * np.pi * hours / 24
    expected = np.angle(np.exp(1j * angle).sum()) / (2 * np.pi) % 1
    assert cycle.name == "time of day"
    assert cycle.center == pytest.approx(expected)
    # Opposite hours have none.
    assert covered_cycles(np.arange(40) * 43200.0)[0] == Cycle("time of day", 0.0)


def test_the_years_1_to_9999_are_known() -> None:
    units = np.array(["0001-01-01", "9999-12-31", "NaT"], "datetime64[s]")
    assert seconds_of_timestamps(units)[:2].tolist() == [-62_135_596_800.0, 253_402_214_400.0]
    far = np.array(["0000-12-31", "10000-01-01", "200000-01-01"], "datetime64[s]")
    assert (seconds_of_timestamps(far) == STRAY).all()
    assert np.isnan(seconds_of_timestamps(units)[2])


def test_other_numbers_are_no_dates() -> None:
    others = np.array([np.nan, STRAY, -STRAY, 1e300, 253_402_300_800.0, -62_135_596_801.0])
    assert np.isnat(timestamps_of(others)).all()
    assert timestamps_of(np.array([86400.5])) == np.datetime64("1970-01-02T00:00:00.5")


# -------------------------------------------------------------------------- schema and encoder


def test_a_date_that_covers_no_cycle_is_a_trend() -> None:
    column = column_of(pd.date_range("2026-01-01", "2026-01-02", periods=N))
    assert (column.type, column.is_used) == ("trend", False)
    assert column.reason == (
        "ISO8601, over less than two periods of any cycle: later rows would all be new"
    )


def test_two_dates_have_a_difference() -> None:
    start = pd.Series(pd.date_range("2026-01-01", "2026-01-02", periods=N))
    late = pd.to_timedelta(np.random.RandomState(0).uniform(size=N), unit="D")
    frame = pd.DataFrame({"x": np.arange(N) % 7 / 2, "start": start, "end": start + late})
    detector = VAEDetector(max_steps=20, n_members=1, random_state=0).fit(frame)
    encoder = detector.model_.encoder
    assert encoder.schema.columns[1].reason == "ISO8601: other dates are compared with it"
    assert encoder.schema.columns[2].reason == "ISO8601: days since 'start', without the trend"
    facts = encoder.describe()["columns"][1]
    assert (facts["first"], facts["last"]) == ("2026-01-01", "2026-01-01")
    assert encoder.date_widths == (0, 1)
    assert encoder.explained.tolist() == [0, 2]
    assert not any("constant" in note for note in encoder.notes())
    encoded = encoder.encode(encoder.matrix(frame.assign(start=pd.NaT)).to_numpy())
    # The mean, where the first date is missing.
    assert (encoded.targets[:, 1] == 0).all()
    days = encoder.scaler.decode(
        encoder.encode(encoder.matrix(frame).to_numpy()).targets, "gaussian"
    )
    np.testing.assert_allclose(days[:, 1], late / pd.Timedelta(days=1), atol=1e-10)


# ------------------------------------------------------------------------------ detection


def orders(n: int, seed: int, *, year: int = 2021, hour: float = 9.0) -> pd.DataFrame:
    """Return orders of working hours on working days, delivered after 1 to 6 days."""
    rng = np.random.RandomState(seed)
    days = np.arange(f"{year}-01-01", f"{year + 3}-01-01", dtype="datetime64[D]")
    working = days[(days.astype(np.int64) + 3) % 7 < 5]
    day = pd.DatetimeIndex(rng.choice(working, size=n))
    ordered = day + pd.to_timedelta(3600 * (hour + 8 * rng.uniform(size=n)), unit="s").round("s")
    late = pd.to_timedelta(rng.uniform(1, 6, size=n), unit="D").round("s")
    a = rng.normal(size=n)
    return pd.DataFrame({"ordered": ordered, "delivered": ordered + late, "a": a, "b": -a})


NORMAL = orders(1500, 1)
FRESH = orders(400, 2)


@pytest.fixture(scope="module")
def detector() -> VAEDetector:
    return VAEDetector(**BRIEF).fit(NORMAL)


def auroc(detector: VAEDetector, rows: pd.DataFrame) -> float:
    scores = -detector.score_samples(pd.concat([FRESH, rows]))
    return float(roc_auc_score(np.arange(len(scores)) >= len(FRESH), scores))


def test_a_later_year_of_the_same_pattern_is_not_flagged(detector: VAEDetector) -> None:
    assert (detector.predict(orders(2000, 3)) == -1).mean() < 0.09
    assert (detector.predict(orders(2000, 3, year=2031)) == -1).mean() < 0.09


def test_unusual_times_of_day_are_found(detector: VAEDetector) -> None:
    night = FRESH.assign(ordered=FRESH["ordered"].dt.normalize() + pd.Timedelta(hours=3))
    assert auroc(detector, night) > 0.97
    assert (detector.explain(night).idxmax(axis=1) == "ordered").mean() > 0.8


def test_unusual_weekdays_are_found(detector: VAEDetector) -> None:
    days = pd.to_timedelta(5 - FRESH["ordered"].dt.day_of_week, unit="D")
    weekend = FRESH.assign(ordered=FRESH["ordered"] + days, delivered=FRESH["delivered"] + days)
    assert (weekend["ordered"].dt.day_of_week == 5).all()
    assert auroc(detector, weekend) > 0.8


@pytest.mark.parametrize("year", [1900, 1970, 2099, 9999])
def test_dates_far_from_training_are_found(detector: VAEDetector, year: int) -> None:
    wrong = FRESH.assign(ordered=pd.Series([pd.Timestamp(year, 1, 4, 12)] * len(FRESH)))
    wrong["delivered"] = pd.NaT
    least = np.log(detector.model_.encoder.n_rows + 1)
    assert (detector.explain(wrong)["ordered"] >= least).all()
    # The same cycles, in a year that is near.
    later = wrong.assign(ordered=pd.Timestamp(2027, 1, 4, 12))
    assert (detector.explain(later)["ordered"] < least).all()


def test_a_delivery_before_its_order_is_found(detector: VAEDetector) -> None:
    early = FRESH.assign(delivered=FRESH["ordered"] - pd.Timedelta(days=2))
    assert auroc(detector, early) > 0.97
    reasons = detector.explain(early)
    assert reasons.columns.tolist() == ["ordered", "delivered", "a", "b"]
    of_dates = reasons[["ordered", "delivered"]].sum(axis=1)
    assert (of_dates > reasons[["a", "b"]].sum(axis=1)).mean() > 0.95
    np.testing.assert_allclose(reasons.sum(axis=1), -detector.score_samples(early), rtol=1e-9)


def test_reasons_say_what_is_unusual_of_a_date(detector: VAEDetector) -> None:
    start, days = FRESH["ordered"].dt.normalize(), FRESH["ordered"].dt.day_of_week
    weekend = FRESH["ordered"] + pd.to_timedelta(5 - days, unit="D")
    cases = {
        "unusual time of day": FRESH.assign(ordered=start + pd.Timedelta(hours=3)),
        "unusual weekday": FRESH.assign(ordered=weekend),
        "unusual time since ordered": FRESH.assign(delivered=start - pd.Timedelta(days=20)),
        "far from training": FRESH.assign(ordered=pd.Timestamp("1970-01-01 12:00")),
        "within": FRESH,
    }
    for expected, rows in cases.items():
        found = detector.reasons(rows, top=4)
        column = "delivered" if "since" in expected else "ordered"
        assert (found.loc[found["column"] == column, "direction"] == expected).mean() > 0.9, (
            expected
        )


def test_training_dates_are_moved_to_a_row() -> None:
    dates = seconds("2021-03-01T10:00", "2021-03-04T15:00")
    own = np.array([seconds("2022-05-05T03:00", "2022-05-09T06:00")] * 3 + [seconds("1970", "NaT")])
    changed = np.array([[True, False], [False, True], [True, True], [True, True]])
    span = covered_span(seconds("2021", "2022"))
    moved = DateParts(((), ()), (span, span)).moved(np.tile(dates, (4, 1)), own, changed)
    assert moved.astype("datetime64[s]").astype("datetime64[m]").astype(str).tolist() == [
        # As far from the other one as in training, but for hours; at its time of day.
        *(["2022-05-06T10:00", "2022-05-09T15:00"], ["2022-05-05T10:00", "2022-05-08T15:00"]),
        # Of the same weekday, in another year; of a far date in that of training.
        *(["2022-02-28T10:00", "2022-03-03T15:00"], ["2021-03-01T10:00", "2021-03-04T15:00"]),
    ]


def test_dates_are_repaired_and_shown_among_similar_rows(detector: VAEDetector, tmp_path) -> None:
    rows = FRESH.iloc[:20].copy()
    rows["ordered"] = rows["ordered"].dt.normalize() + pd.Timedelta(hours=3)
    rows.loc[:9, "ordered"] = pd.Timestamp("1970-01-01")
    save(detector, tmp_path / "m.vae")
    for one in (detector, load(tmp_path / "m.vae")):
        repaired = one.repair(rows)
        assert (one.predict(repaired.rows) == 1).mean() > 0.9
        changed = repaired.rows["ordered"]
        assert changed.dt.hour.between(8, 17).mean() > 0.9
        assert changed.dt.year.between(2021, 2024).all()
        found = one.neighbors(rows, 2)
        there = NORMAL.iloc[found["training_row"]]
        np.testing.assert_array_equal(found["delivered"], there["delivered"])


def test_missing_and_stray_dates_are_scored(detector: VAEDetector) -> None:
    for column in ("ordered", "delivered"):
        reasons = detector.explain(FRESH.assign(**{column: pd.NaT}))
        assert (reasons[column] >= np.log(detector.model_.encoder.n_rows + 1) - 1e-9).all()
    some = FRESH.astype({"delivered": object})
    some.loc[:99, "delivered"] = "soon"
    assert (detector.explain(some)[:100].idxmax(axis=1) == "delivered").all()
    unchanged = detector.score_samples(FRESH)[100:]
    np.testing.assert_array_equal(detector.score_samples(some)[100:], unchanged)


def test_dates_that_were_missing_in_training_are_no_reason() -> None:
    holes = np.random.RandomState(0).uniform(size=(len(NORMAL), 2)) < 0.2
    rows = NORMAL.assign(**NORMAL[["ordered", "delivered"]].mask(holes))
    rows["delivered"] = rows["delivered"].where(rows["delivered"].notna() | holes[:, 0])
    detector = VAEDetector(**BRIEF).fit(rows)
    fresh = orders(1000, 4)
    for column in ("ordered", "delivered"):
        assert (detector.predict(fresh.assign(**{column: pd.NaT})) == -1).mean() < 0.1


def test_scores_do_not_depend_on_other_rows(detector: VAEDetector) -> None:
    scores = detector.score_samples(FRESH)
    np.testing.assert_array_equal(detector.score_samples(FRESH[::-1])[::-1], scores)
    np.testing.assert_array_equal(detector.score_samples(FRESH[7:8]), scores[7:8])


def test_a_model_file_holds_dates(detector: VAEDetector, tmp_path) -> None:
    save(detector, tmp_path / "m.vae")
    again = load(tmp_path / "m.vae")
    np.testing.assert_array_equal(again.score_samples(FRESH), detector.score_samples(FRESH))
    assert again.model_.encoder.schema == detector.model_.encoder.schema


def test_dates_come_back(detector: VAEDetector) -> None:
    later = FRESH.assign(
        **{name: FRESH[name] + pd.Timedelta(weeks=156) for name in FRESH.columns[:2]}
    )
    made = [(detector.reconstruct(later), later["ordered"].dtype, later)]
    made += [(detector.sample(400, random_state=0), "datetime64[us]", NORMAL)]
    for rows, dtype, like in made:
        assert rows["ordered"].dtype == dtype
        assert rows.notna().all(axis=None)
        # As in training: on working days, in working hours, delivered after one day to six.
        assert (rows["ordered"].dt.day_of_week < 5).all()
        assert rows["ordered"].dt.hour.between(8, 17).all()
        assert (rows["delivered"] - rows["ordered"]).dt.days.between(0, 6).all()
        assert set(rows["ordered"].dt.year) <= {*like["ordered"].dt.year}
    away = made[0][0]["ordered"] - later["ordered"]
    assert (away.abs() < pd.Timedelta(days=184)).all()
    missing = detector.sample(50, random_state=0, missing=True)
    assert missing.notna().all(axis=None)  # nothing was missing in training
    encoder = detector.model_.encoder
    shown = encoder.rows(encoder.matrix(FRESH).to_numpy())
    np.testing.assert_array_equal(shown["ordered"], FRESH["ordered"])


@pytest.mark.parametrize("likelihood", ["heteroscedastic", "student_t", "discretized_logistic"])
def test_likelihoods_take_dates(likelihood: str) -> None:
    detector = VAEDetector(max_steps=20, n_members=1, likelihood=likelihood, random_state=0)
    assert np.isfinite(detector.fit(NORMAL).score_samples(FRESH)).all()


def test_the_bernoulli_takes_dates() -> None:
    detector = VAEDetector(max_steps=20, n_members=1, likelihood="bernoulli", random_state=0)
    rows = FRESH.assign(delivered=FRESH["delivered"].where(FRESH.index > 3))
    assert np.isfinite(detector.fit(NORMAL).score_samples(rows)).all()


# ------------------------------------------------------------------------------ files


def test_files_and_frames_are_scored_alike(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    NORMAL.to_csv("normal.csv", index=False)
    NORMAL.to_parquet("normal.parquet")
    fit = "--max-steps 50 --members 1 --random-state 0"
    for name in ("normal.csv", "normal.parquet"):
        assert run(f"fit {name} -o {name}.vae {fit}".split()) == 0
        said = capsys.readouterr().err
        assert "'delivered': date, ISO8601: time of day, weekday, day of the month, day of" in said
    model = load("normal.parquet.vae")
    assert model.model_.encoder.schema.columns[0].type == "date"
    expected = -model.score_samples(FRESH)
    whole = FRESH.astype({"ordered": "datetime64[s]"})
    tables = {
        "s": pa.Table.from_pandas(whole),
        "ms": pa.Table.from_pandas(FRESH.astype({"ordered": "datetime64[ms]"})),
        "ns": pa.Table.from_pandas(FRESH.astype({"ordered": "datetime64[ns]"})),
        "zone": pa.Table.from_pandas(FRESH.assign(ordered=FRESH["ordered"].dt.tz_localize("UTC"))),
    }
    for name, table in tables.items():
        pq.write_table(table, f"{name}.parquet")
    pq.write_table(tables["ns"], "int96.parquet", use_deprecated_int96_timestamps=True)
    FRESH.to_csv("fresh.csv", index=False)
    for name in ("fresh.csv", *(f"{name}.parquet" for name in (*tables, "int96"))):
        for fitted in ("normal.csv.vae", "normal.parquet.vae"):
            assert run(["score", fitted, name, "-o", "s.csv"]) == 0
            found = pd.read_csv("s.csv")["anomaly_score"]
            np.testing.assert_allclose(found, expected, rtol=1e-12, err_msg=f"{fitted} {name}")
    capsys.readouterr()
    assert run(["inspect", "normal.csv.vae"]) == 0
    assert "date, ISO8601: time of day, weekday" in capsys.readouterr().out


def test_dates_of_a_day_are_those_of_text(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = NORMAL.assign(ordered=NORMAL["ordered"].dt.date).drop(columns="delivered")
    pq.write_table(pa.Table.from_pandas(rows), "rows.parquet")
    assert pq.read_schema("rows.parquet").field("ordered").type == pa.date32()
    rows.to_csv("rows.csv", index=False)
    fit = "--max-steps 50 --members 1 --random-state 0 --quiet"
    for fitted in ("rows.csv", "rows.parquet"):
        assert run(f"fit {fitted} -o {fitted}.vae {fit}".split()) == 0
        for name in ("rows.csv", "rows.parquet"):
            out = f"{fitted}.{name}.out"
            assert run(["score", f"{fitted}.vae", name, "-o", f"{out}.csv", "--quiet"]) == 0
    scores = [pd.read_csv(path)["anomaly_score"] for path in tmp_path.glob("*.out.csv")]
    assert len(scores) == 4
    for other in scores[1:]:
        np.testing.assert_array_equal(other, scores[0])


def test_dates_beyond_nanoseconds_are_not_shifted(tmp_path) -> None:
    from vae_anomaly.data.registry import open_source

    # 2 January 3000, as 0 nanoseconds of a Julian day: INT96 in nanoseconds would read 1830.
    far = pa.array([datetime(3000, 1, 2), None, datetime(2026, 1, 2)], pa.timestamp("us"))
    table = pa.table({"when": far, "x": [1.0, 2.0, 3.0]})
    pq.write_table(table, tmp_path / "t.parquet", use_deprecated_int96_timestamps=True)
    with open_source(str(tmp_path / "t.parquet"), fitting=True) as source:
        (batch,) = source.batches()
        frame = source.training_data(batch.records)
    assert frame["when"].tolist()[::2] == [pd.Timestamp("3000-01-02"), pd.Timestamp("2026-01-02")]
    assert frame["when"].isna().tolist() == [False, True, False]


def test_formats_are_chosen_on_the_command_line(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    days = [date(2021, 1, 1) + timedelta(days=i) for i in range(N)]
    rows = pd.DataFrame({"when": [f"{d:%d%m%y}" for d in days], "x": np.arange(N) % 7 / 2})
    rows.to_csv("rows.csv", index=False)
    fit = "fit rows.csv -o m.vae --max-steps 20 --members 1 --type when=date:%d%m%y"
    assert run(fit.split()) == 0
    assert "'when': date, %d%m%y: weekday, day of the month, day of the year" in (
        capsys.readouterr().err
    )
    assert load("m.vae").column_types == {"when": "date:%d%m%y"}
    assert run(["score", "m.vae", "rows.csv", "-o", "s.csv"]) == 0
    assert run(fit.replace("%d%m%y", "%H").split()) == 2
    assert "'date:%H' is no format of dates" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ("%Y-%m-%d %H:%M:%S", "ISO8601"),
        ("%Y-%m-%dT%H:%M:%S+02:00", "ISO8601, in UTC"),
        ("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M:%S"),
        ("%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S"),
    ],
)
def test_dates_that_are_too_many_to_keep_are_none_the_less_found(
    tmp_path, monkeypatch, form: str, reason: str
) -> None:
    from vae_anomaly.data.registry import open_source
    from vae_anomaly.data.table import codebook, reader
    from vae_anomaly.pipeline.progress import no_progress
    from vae_anomaly.pipeline.reading import read_sample

    monkeypatch.setattr(codebook, "MAX_TEXTS", 50)
    monkeypatch.setattr(reader, "MAX_BATCH_ROWS", 100)
    cells = NORMAL["ordered"].dt.strftime(form).tolist()
    cells[700], cells[800] = "soon", ""
    frame = pd.DataFrame({"when": cells, "x": NORMAL["a"], "site": ["p", "q", "r"] * 500})
    frame.to_csv(tmp_path / "t.csv", index=False)
    expected = TableSchema.of(frame)
    with open_source(str(tmp_path / "t.csv"), fitting=True) as source:
        sample = read_sample(source, no_progress, lambda: None)
        found = source.training_data(sample.records)
    assert sample.n_seen == 1500
    schema = TableSchema.of(found)
    assert schema.columns[0].reason.startswith(f"{reason}: time of day")
    assert schema.columns == expected.columns
    np.testing.assert_array_equal(schema.matrix(found), expected.matrix(frame))


def test_a_report_shows_dates(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    NORMAL.to_csv("normal.csv", index=False)
    FRESH.assign(fault=[0, 1] * 200).to_csv("rows.csv", index=False)
    fit = "fit normal.csv -o m.vae --max-steps 20 --members 1 --false-alarm-rate 0.05 --quiet"
    assert run(fit.split()) == 0
    evaluate = "evaluate m.vae rows.csv --label-column fault -o report --quiet"
    assert run(evaluate.split()) == 0
    page = (tmp_path / "report" / "report.html").read_text()
    assert any(str(moment) in page for moment in FRESH["ordered"])
