"""Tables whose rows look like time steps: `fit` points at `--time-column`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vae_anomaly.cli import run
from vae_anomaly.data.table.files import open_table
from vae_anomaly.data.table.time_steps import time_step_notes

N = 300
RNG = np.random.RandomState(0)
HOURLY = pd.Series(pd.date_range("2024-01-01", periods=N, freq="h"))
ORDERED = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.sort(RNG.randint(0, 150, N)), unit="D")
PURCHASED = pd.Timestamp("2024-01-01") + pd.to_timedelta(RNG.exponential(60, N).cumsum(), unit="s")


def hints(folder: Path, frame: pd.DataFrame, name: str = "rows.csv") -> list[str]:
    path = folder / name
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    reader = open_table(str(path))
    try:
        return time_step_notes(reader, reader.columns)
    finally:
        reader.close()


@pytest.mark.parametrize(
    "times",
    [
        HOURLY.astype(str),
        HOURLY.dt.strftime("%d.%m.%Y %H:%M"),
        HOURLY.dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        HOURLY.astype(str).where(np.arange(N) % 50 > 0),
        HOURLY.astype("datetime64[s]").astype("int64"),
        pd.Series(np.arange(N) * 0.5),
        (HOURLY + pd.to_timedelta(RNG.randint(-90, 90, N), unit="s")).astype(str),
        pd.Series(HOURLY[:100].astype(str).to_numpy().repeat(3)),
        pd.Series(np.tile(HOURLY[:100].astype(str), 3)),
    ],
    ids=["iso", "dmy", "z", "blanks", "epoch", "seconds", "jitter", "groups", "stacked"],
)
def test_time_steps_are_pointed_out(times: pd.Series, tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": np.arange(N), "time": times, "flow": RNG.normal(size=N)})
    (line,) = hints(tmp_path, frame)
    assert line == (
        "warning: 'time' counts up in equal steps. If the rows are time steps, fit a time series "
        "with --time-column time; also --series-column if several series are among them"
    )


def test_an_index_of_times_is_pointed_out(tmp_path: Path) -> None:
    frame = pd.DataFrame({"flow": RNG.normal(size=N)}, index=HOURLY.rename("logged at"))
    (line,) = hints(tmp_path, frame, "rows.parquet")
    assert "--time-column 'logged at'" in line


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("id", np.arange(N)),
        ("customer", 100_000 + 10 * np.arange(N)),
        ("order date", ORDERED.astype(str)),
        ("date", PURCHASED.astype(str)),
        ("time", RNG.permutation(N)),
        ("time", np.zeros(N)),
        ("delivered", HOURLY.sample(frac=1, random_state=0).astype(str).to_numpy()),
        ("time", HOURLY[:40].astype(str)),
        ("colour", RNG.choice(["red", "blue"], N)),
    ],
)
def test_ordinary_columns_are_not_pointed_out(name: str, cells: object, tmp_path: Path) -> None:
    frame = pd.DataFrame({name: cells})
    frame["price"] = RNG.normal(size=len(frame))
    assert hints(tmp_path, frame) == []


def test_fit_says_so_before_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.DataFrame({"time": HOURLY, "flow": RNG.normal(size=N), "heat": RNG.normal(size=N)})
    path, model = tmp_path / "rows.csv", tmp_path / "m.vae"
    frame.to_csv(path, index=False)
    words = ["fit", str(path), "-o", str(model), "--max-steps", "20"]
    assert run(words) == 0
    said = capsys.readouterr().err
    assert said.count("fit a time series with --time-column time") == 1
    assert said.index("--time-column time") < said.index("fitting on 300 rows")
    assert run([*words, "--ignore", "time"]) == 0
    assert "--time-column" not in capsys.readouterr().err
