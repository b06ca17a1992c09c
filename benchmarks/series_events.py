"""Planted faults and false episodes: reasons and alarms of detectors on time series.

    python benchmarks/series_events.py faults --data timeseries
    python benchmarks/series_events.py alarms --data timeseries --per-week 1

`faults` plants faults in one of the eight sensors of SKAB's anomaly-free file, in its last
40 %, and trains on the rest. It prints how often the sensor has the largest contribution to
the scores of the faulty time steps, and how often the fault is found: a score in or around
it exceeds all scores of the same time steps without the fault.

`alarms` counts false episodes in series without anomalies: simulated ones, and the normal
parts of NAB and SKAB. It prints how often the nominal number a week is exceeded more than
twofold, how often that is beyond chance (Poisson, 5 %), and how often no number is promised.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.signal import lfilter
from scipy.stats import poisson
from series import (
    N_NEIGHBORS,
    NAB_GROUPS,
    knn,
    per_step,
    read_nab,
    read_skab,
    window_length,
    window_rows,
)
from sklearn.neighbors import NearestNeighbors

from vae_anomaly import DataError, SeriesDetector
from vae_anomaly.metrics.events import WEEK, event_metrics, runs

FAULTED_SHARE = 0.4
"""Share of SKAB's anomaly-free file, at its end, in which faults are planted."""

SEGMENT_STEPS = 600
FAULT_START = 300
FAULT_STEPS = 60
REPEATS = 5
"""Faults of each type and sensor."""

SIMULATED_STEP = timedelta(minutes=5)
SIMULATED_WEEKS = 8
"""Weeks of training, and of test."""

N_SIMULATED = 20
PERIOD = 96


class Explanation(NamedTuple):
    """Scores (m,) of time steps and contributions (m, channels) to them, NaN without score."""

    scores: np.ndarray
    contributions: np.ndarray


Explainer = Callable[[np.ndarray], Explanation]
"""Fitted function of test steps (m, channels)."""

ExplainerFit = Callable[[np.ndarray, int], Explainer]
"""Function of training steps (n, channels) and window length."""

AlarmMethod = Callable[[np.ndarray, np.ndarray, timedelta, float], np.ndarray | None]
"""Function of training steps, test steps, time between steps and false episodes a week that
returns flags (m,), or None if it cannot promise so few."""


class Fault(NamedTuple):
    """A segment (m, channels) before and after a fault was planted in one sensor."""

    name: str
    sensor: int
    clean: np.ndarray
    faulty: np.ndarray
    steps: slice


def noise(values: np.ndarray, scale: float, rng: np.random.RandomState) -> np.ndarray:
    """Return values with noise of two standard deviations."""
    return values + 2 * scale * rng.normal(size=len(values))


def shift(values: np.ndarray, scale: float, rng: np.random.RandomState) -> np.ndarray:
    """Return values moved by three standard deviations, up or down."""
    return values + 3 * scale * rng.choice([-1, 1])


def drift(values: np.ndarray, scale: float, rng: np.random.RandomState) -> np.ndarray:
    """Return values that move away by up to five standard deviations, up or down."""
    return values + np.linspace(0, 5, len(values)) * scale * rng.choice([-1, 1])


def spike(values: np.ndarray, scale: float, rng: np.random.RandomState) -> np.ndarray:
    """Return values of which one is moved by eight standard deviations, up or down."""
    changed = values.copy()
    changed[rng.randint(len(values))] += 8 * scale * rng.choice([-1, 1])
    return changed


def stuck(values: np.ndarray, scale: float, rng: np.random.RandomState) -> np.ndarray:
    """Return the first value again and again."""
    return np.full_like(values, values[0])


FAULTS = {"noise": noise, "shift": shift, "drift": drift, "spike": spike, "stuck": stuck}
"""Functions of the values of a sensor, its standard deviation in training, and a generator."""


def planted_faults(train: np.ndarray, test: np.ndarray, seed: int = 0) -> Iterator[Fault]:
    """Yield faults of all types in all sensors, at random places of the test steps."""
    rng = np.random.RandomState(seed)
    scales = train.std(axis=0)
    steps = slice(FAULT_START, FAULT_START + FAULT_STEPS)
    for name, change in FAULTS.items():
        for sensor, scale in enumerate(scales):
            for _ in range(REPEATS):
                start = rng.randint(len(test) - SEGMENT_STEPS)
                clean = test[start : start + SEGMENT_STEPS]
                faulty = clean.copy()
                faulty[steps, sensor] = change(clean[steps, sensor], scale, rng)
                yield Fault(name, sensor, clean, faulty, steps)


def is_right_sensor_first(fault: Fault, contributions: np.ndarray) -> bool:
    """Return whether the sensor has the largest sum of contributions over the faulty steps."""
    return int(np.nansum(contributions[fault.steps], axis=0).argmax()) == fault.sensor


def is_found(fault: Fault, faulty: np.ndarray, clean: np.ndarray, window: int) -> bool:
    """Return whether a score within a window of the fault exceeds all of the clean segment."""
    near = faulty[fault.steps.start - window : fault.steps.stop + window]
    return bool(np.nanmax(near) > np.nanmax(clean))


def measure_faults(folder: Path, fit: ExplainerFit, seed: int = 0) -> pd.DataFrame:
    """Return for each planted fault whether it was found and its sensor came first."""
    values = read_skab(folder / "skab" / "anomaly-free.csv")[0]
    at = round((1 - FAULTED_SHARE) * len(values))
    train, test = values.to_numpy()[:at], values.to_numpy()[at:]
    window = window_length(train)
    explain = fit(train, window)
    rows = []
    for fault in planted_faults(train, test, seed):
        faulty, clean = explain(fault.faulty), explain(fault.clean)
        rows.append(
            {
                "fault": fault.name,
                "sensor": values.columns[fault.sensor],
                "right_sensor_first": is_right_sensor_first(fault, faulty.contributions),
                "found": is_found(fault, faulty.scores, clean.scores, window),
            }
        )
    return pd.DataFrame(rows)


def fit_knn(train: np.ndarray, window: int) -> Explainer:
    """Return scores by squared distance to the nearest windows, a part for each channel."""
    neighbors = NearestNeighbors(n_neighbors=N_NEIGHBORS, algorithm="brute")
    rows = window_rows(train, train[:window], window)
    neighbors.fit(rows.train)

    def explain(test: np.ndarray) -> Explanation:
        scored = np.concatenate(window_rows(train, test, window).chunks)
        flat = scored.reshape(len(scored), -1)
        nearest = rows.train[neighbors.kneighbors(flat, return_distance=False)]
        shape = (len(scored), N_NEIGHBORS, *scored.shape[1:])  # (n, 5, channels, window)
        squares = (nearest.reshape(shape) - scored[:, None]) ** 2
        parts = squares.sum(axis=3).mean(axis=1)  # (n, channels)
        contributions = np.stack([per_step(part, window, "mean") for part in parts.T], axis=1)
        return Explanation(contributions.sum(axis=1), contributions)

    return explain


class NormalSeries(NamedTuple):
    """A series without anomalies: training and test steps (n, channels), and time between."""

    group: str
    name: str
    train: np.ndarray
    test: np.ndarray
    step: timedelta


def simulated_series(seed: int = 0) -> Iterator[NormalSeries]:
    """Yield autoregressive series with coefficient 0.95, and sines with noise."""
    rng = np.random.RandomState(seed)
    n = round(SIMULATED_WEEKS * (WEEK / SIMULATED_STEP))
    for i in range(N_SIMULATED):
        ar = lfilter([1], [1, -0.95], rng.normal(size=2 * n + 1000))[1000:, None]
        yield NormalSeries("ar", str(i), ar[:n], ar[n:], SIMULATED_STEP)
        phase = rng.uniform(0, 2 * np.pi)
        sine = np.sin(2 * np.pi * np.arange(2 * n) / PERIOD + phase)
        sine = (sine + 0.3 * rng.normal(size=2 * n))[:, None]
        yield NormalSeries("sine", str(i), sine[:n], sine[n:], SIMULATED_STEP)


def normal_parts(folder: Path) -> Iterator[NormalSeries]:
    """Yield the longest part without label of each series of NAB and SKAB, cut in halves."""
    for group in ("artificialNoAnomaly", *NAB_GROUPS.values()):
        for path in sorted((folder / "nab" / "data" / group).glob("*.csv")):
            values, labels = read_nab(folder / "nab", path)
            yield _halves("nab", path.stem, values.to_frame(), labels)
    skab = folder / "skab"
    for path in (skab / "anomaly-free.csv", *sorted((skab / "valve1").glob("*.csv"))):
        yield _halves("skab", path.stem, *read_skab(path))


def _halves(group: str, name: str, values: pd.DataFrame, labels: np.ndarray) -> NormalSeries:
    starts, stops = runs(~labels)
    longest = int(np.argmax(stops - starts))
    part = values.iloc[starts[longest] : stops[longest]]
    steps = np.diff(part.index.to_numpy(dtype="datetime64[ns]"))
    found, counts = np.unique(steps[steps > np.timedelta64(0)], return_counts=True)
    step = pd.Timedelta(found[counts.argmax()]).to_pytimedelta()
    at = len(part) // 2
    return NormalSeries(group, name, part.to_numpy()[:at], part.to_numpy()[at:], step)


def measure_alarms(folder: Path, method: AlarmMethod, per_week: float) -> pd.DataFrame:
    """Return the false episodes of each series against the nominal number a week."""
    rows = []
    for series in (*simulated_series(), *normal_parts(folder)):
        flags = method(series.train, series.test, series.step, per_week)
        weeks = len(series.test) / (WEEK / series.step)
        row = {"group": series.group, "series": series.name, "weeks": weeks}
        row["promised"] = flags is not None
        if flags is not None:
            found = event_metrics(np.zeros(len(flags), dtype=bool), flags, series.step)
            row["n_false"] = found.n_false
            row["per_week"] = found.false_per_week
            row["share_in_alarm"] = found.share_in_alarm
            row["twofold"] = found.n_false > 2 * per_week * weeks
            row["beyond_chance"] = poisson.sf(found.n_false - 1, 2 * per_week * weeks) < 0.05
        rows.append(row)
    return pd.DataFrame(rows)


def knn_alarms(
    train: np.ndarray, test: np.ndarray, step: timedelta, per_week: float
) -> np.ndarray | None:
    """Flag scores of kNN above a threshold with the nominal episodes in calibration.

    The last third of the training part calibrates, after a gap of a window.
    """
    at = len(train) * 2 // 3
    window = window_length(train[:at])
    calibration = train[at + window :]
    budget = int(per_week * len(calibration) / (WEEK / step))
    if budget < 1:
        return None
    scores = knn(train[:at], calibration, window, "mean")
    for threshold in np.quantile(scores, np.linspace(1, 0.9, 200)):
        if len(runs(scores > threshold).starts) > budget:
            break
        kept = threshold
    return knn(train[:at], test, window, "mean") > kept


def fit_detector(train: np.ndarray, window: int) -> Explainer:
    """Return scores and contributions of `SeriesDetector` as it is by default."""
    model = SeriesDetector(window=window, random_state=0).fit(train).model_

    def explain(test: np.ndarray) -> Explanation:
        scores = model.score(test)
        return Explanation(scores.total, scores.contributions)

    return explain


def detector_alarms(
    train: np.ndarray, test: np.ndarray, step: timedelta, per_week: float
) -> np.ndarray | None:
    """Flag the events of `SeriesDetector`; None where it refuses the promise."""
    week = round(WEEK / step)
    try:
        detector = SeriesDetector(false_alarms=per_week, per=week, random_state=0).fit(train)
    except DataError as error:
        print(error)
        return None
    flags = np.zeros(len(test), dtype=bool)
    for start, end in detector.events(test)[["start", "end"]].to_numpy():
        flags[start : end + 1] = True
    return flags


EXPLAINERS: dict[str, ExplainerFit] = {"knn": fit_knn, "series_detector": fit_detector}
ALARMS: dict[str, AlarmMethod] = {"knn": knn_alarms, "series_detector": detector_alarms}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["faults", "alarms"])
    parser.add_argument("--data", type=Path, required=True, help="folder with nab and skab")
    parser.add_argument("--methods", default="", help="comma-separated; all by default")
    parser.add_argument("--per-week", type=float, default=1.0, help="nominal false episodes")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chosen = options.methods.split(",") if options.methods else None
    if options.part == "faults":
        for name in chosen or EXPLAINERS:
            faults = measure_faults(options.data, EXPLAINERS[name], options.seed)
            shares = faults.groupby("fault")[["right_sensor_first", "found"]].mean()
            shares.loc["all"] = faults[["right_sensor_first", "found"]].mean()
            print(f"{name}\n{(100 * shares).round(1).to_string()}\n")
    else:
        for name in chosen or ALARMS:
            alarms = measure_alarms(options.data, ALARMS[name], options.per_week)
            columns = ["promised", "per_week", "share_in_alarm", "twofold", "beyond_chance"]
            means = alarms[columns].apply(pd.to_numeric).groupby(alarms["group"]).mean()
            print(f"{name}, {options.per_week:g} a week\n{means.round(3).to_string()}\n")


if __name__ == "__main__":
    main()
