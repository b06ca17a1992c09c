"""Detection quality on time series, compared with other detectors in the same run.

    python benchmarks/series.py --data timeseries --out results/series
    python benchmarks/series.py --data timeseries --groups skab --methods knn_mean,sub_pca

The folder holds series of NAB (artificial, AWS, traffic), an ECG and SKAB's valve1. Series
of NAB and the ECG are trained on their first 15 %, whatever is in it, and tested on the
rest; series of valve1 are trained on SKAB's anomaly-free file. Rows are used as they are, in
order. Labels are used to evaluate, not to choose anything.

All methods get the same window length, from the training part alone. Figures are VUS-PR x 100
(`vae_anomaly.metrics.vus`), with the window length as largest buffer. A time step without a
score counts as the least anomalous. The macro mean is the mean over the means of groups.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from textwrap import indent
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from vae_anomaly import SeriesDetector
from vae_anomaly.data.series.window import window_length
from vae_anomaly.metrics.events import nab_windows, window_labels
from vae_anomaly.metrics.vus import vus_pr

TRAINING_SHARE = 0.15
N_NEIGHBORS = 5
MAX_TRAINING_WINDOWS = 10_000
"""Evenly spaced training windows that the baselines keep; only the ECG has more."""

CHUNK_WINDOWS = 4096
REFERENCE = "knn_mean"
"""Method with which the others are compared series by series."""

NAB_GROUPS = {
    "artificial": "artificialWithAnomaly",
    "aws": "realAWSCloudwatch",
    "traffic": "realTraffic",
}
GROUPS = (*NAB_GROUPS, "ecg", "skab")

Method = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
"""Function of training steps (n, channels), test steps (m, channels) and window length that
returns scores (m,), NaN where a step has none."""


class Series(NamedTuple):
    """A series in two parts: `train` (n, channels), and `test` (m, channels) with `labels` (m,)."""

    group: str
    name: str
    train: np.ndarray
    test: np.ndarray
    labels: np.ndarray


def read_nab(folder: Path, path: Path) -> tuple[pd.Series, np.ndarray]:
    """Read the values of a series of NAB, by time, and its labels."""
    table = pd.read_csv(path, parse_dates=["timestamp"], index_col="timestamp")
    document = json.loads((folder / "labels" / "combined_windows.json").read_text())
    windows = nab_windows(document, f"{path.parent.name}/{path.name}")
    return table["value"], window_labels(table.index.to_numpy(dtype="datetime64[ns]"), windows)


def read_skab(path: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Read the eight sensors of a file of SKAB, by time, and its labels."""
    table = pd.read_csv(path, sep=";", parse_dates=["datetime"], index_col="datetime")
    labels = table.get("anomaly", pd.Series(0.0, index=table.index)).to_numpy() == 1
    return table.drop(columns=["anomaly", "changepoint"], errors="ignore"), labels


def split(group: str, name: str, values: np.ndarray, labels: np.ndarray) -> Series:
    """Split a series after its first 15 %."""
    at = int(TRAINING_SHARE * len(values))
    return Series(group, name, values[:at], values[at:], labels[at:])


def read_series(folder: Path, groups: tuple[str, ...] = GROUPS) -> Iterator[Series]:
    """Yield all series whose test part has an anomaly."""
    for group in groups:
        if group in NAB_GROUPS:
            for path in sorted((folder / "nab" / "data" / NAB_GROUPS[group]).glob("*.csv")):
                values, labels = read_nab(folder / "nab", path)
                series = split(group, path.stem, values.to_numpy(float)[:, None], labels)
                if series.labels.any():
                    yield series
        elif group == "ecg":
            table = pd.read_csv(folder / "ecg_mba805.csv.gz").to_numpy(float)
            yield split(group, "mba805", table[:, :1], table[:, 1] == 1)
        else:
            train = read_skab(folder / "skab" / "anomaly-free.csv")[0].to_numpy()
            for path in sorted(
                (folder / "skab" / "valve1").glob("*.csv"), key=lambda p: int(p.stem)
            ):
                values, labels = read_skab(path)
                yield Series(group, path.stem, train, values.to_numpy(), labels)


def windows_of(values: np.ndarray, window: int) -> np.ndarray:
    """Return all windows, flat, as a view.  (n - window + 1, channels, window)"""
    return np.lib.stride_tricks.sliding_window_view(values, window, axis=0)


def per_step(scores: np.ndarray, window: int, statistic: str) -> np.ndarray:
    """Return the mean or the maximum over all windows that cover a time step."""
    padded = np.pad(scores, window - 1, constant_values=np.nan)
    covering = windows_of(padded, window)  # (n_steps, window)
    return np.nanmean(covering, axis=1) if statistic == "mean" else np.nanmax(covering, axis=1)


class WindowRows(NamedTuple):
    """Windows of z-scaled channels as rows: of training, and of the test part in chunks."""

    train: np.ndarray
    chunks: list[np.ndarray]


def window_rows(train: np.ndarray, test: np.ndarray, window: int) -> WindowRows:
    scaler = StandardScaler().fit(train)
    kept = windows_of(scaler.transform(train), window)
    at = np.unique(np.linspace(0, len(kept) - 1, MAX_TRAINING_WINDOWS).astype(int))
    scored = windows_of(scaler.transform(test), window)
    chunks = [scored[a : a + CHUNK_WINDOWS] for a in range(0, len(scored), CHUNK_WINDOWS)]
    return WindowRows(kept[at].reshape(len(at), -1), chunks)


def knn(train: np.ndarray, test: np.ndarray, window: int, statistic: str) -> np.ndarray:
    """Score by the mean Euclidean distance to the five nearest training windows."""
    rows = window_rows(train, test, window)
    neighbors = NearestNeighbors(n_neighbors=N_NEIGHBORS, algorithm="brute").fit(rows.train)
    distances = [
        neighbors.kneighbors(chunk.reshape(len(chunk), -1))[0].mean(axis=1) for chunk in rows.chunks
    ]
    return per_step(np.concatenate(distances), window, statistic)


def sub_pca(train: np.ndarray, test: np.ndarray, window: int) -> np.ndarray:
    """Score by the squared Mahalanobis distance of windows, with all principal components.

    Each component counts by the inverse of its eigenvalue, the largest times 1e-9 at least.
    PyOD and TSB-AD weight likewise, but distances to the unit eigenvectors as points.
    """
    rows = window_rows(train, test, window)
    scaler = StandardScaler().fit(rows.train)
    pca = PCA().fit(scaler.transform(rows.train))
    variances = np.maximum(pca.explained_variance_, 1e-9 * pca.explained_variance_[0])
    distances = [
        (pca.transform(scaler.transform(chunk.reshape(len(chunk), -1))) ** 2 / variances).sum(1)
        for chunk in rows.chunks
    ]
    return per_step(np.concatenate(distances), window, "mean")


@functools.lru_cache(maxsize=1)
def _fitted(train: bytes, channels: int, window: int) -> SeriesDetector:
    """Return the detector of a training part; SKAB's series share one."""
    steps = np.frombuffer(train).reshape(-1, channels)
    return SeriesDetector(window=window, random_state=0).fit(steps)


def series_detector(train: np.ndarray, test: np.ndarray, window: int) -> np.ndarray:
    """Score by `SeriesDetector` as it is by default."""
    detector = _fitted(np.ascontiguousarray(train).tobytes(), train.shape[1], window)
    return -detector.score_samples(test)


METHODS: dict[str, Method] = {
    "series_detector": series_detector,
    "knn_mean": functools.partial(knn, statistic="mean"),
    "knn_max": functools.partial(knn, statistic="max"),
    "sub_pca": sub_pca,
}


def measure(series: Series, name: str) -> dict[str, object]:
    """Score a series with a method; return its VUS-PR x 100 and the seconds it took."""
    window = window_length(series.train)
    start = time.perf_counter()
    scores = METHODS[name](series.train, series.test, window)
    seconds = time.perf_counter() - start
    unscored = np.isnan(scores)
    volume = vus_pr(series.labels, np.where(unscored, -np.inf, scores), window)
    return {
        "group": series.group,
        "series": series.name,
        "method": name,
        "window": window,
        "vus_pr": np.nan if volume is None else round(100 * volume.value, 4),
        "unscored": int(unscored.sum()),
        "seconds": round(seconds, 2),
    }


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """Compute means of groups, their mean, and series won and lost against `REFERENCE`."""
    values = results.pivot_table("vus_pr", ["group", "series"], "method")
    means = values.groupby("group").mean().T
    means = means[[group for group in GROUPS if group in means]]
    means["macro"] = means.mean(axis=1)
    if REFERENCE in values:
        means["won"] = values.gt(values[REFERENCE], axis=0).sum()
        means["lost"] = values.lt(values[REFERENCE], axis=0).sum()
    return means.sort_values("macro", ascending=False)


def describe(results: pd.DataFrame) -> str:
    """Return means, wins and figures of each series as Markdown."""
    series = results.pivot_table("vus_pr", ["group", "series", "window"], "method", sort=False)
    parts = [
        "# Detection in time series",
        f"{date.today()}, VUS-PR x 100, largest buffer: the window length. Won and lost: "
        f"series against {REFERENCE}.",
        indent(summarise(results).round(1).to_string(), "    "),
        indent(series.round(1).to_string(), "    "),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with nab, skab and ECG")
    parser.add_argument("--groups", default=",".join(GROUPS), help="comma-separated names")
    parser.add_argument("--methods", default=",".join(METHODS), help="comma-separated names")
    parser.add_argument("--out", type=Path, help="write OUT.csv (every result) and OUT.md")
    options = parser.parse_args()
    rows = []
    for series in read_series(options.data, tuple(options.groups.split(","))):
        for name in options.methods.split(","):
            rows.append(measure(series, name))
            print(*rows[-1].values(), flush=True)
    results = pd.DataFrame(rows)
    text = describe(results)
    print(f"\n{text}")
    if options.out:
        results.to_csv(options.out.with_suffix(".csv"), index=False, float_format="%.4f")
        options.out.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
