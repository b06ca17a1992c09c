"""Nominal and observed rates of false alarms and false discoveries on the tables of ADBench.

    python benchmarks/false_alarms.py --data adbench --seeds 0 1 2 --out results/false_alarms
    python benchmarks/false_alarms.py --data adbench --detectors ours,iforest

With --out an interrupted run resumes from the file of results.

Half of the normal rows of a table are for training, the rest and all anomalies for
testing, as in adbench.py. *False alarms*: the share of normal test rows that are
flagged, at a nominal rate of 1, 5 and 10 %. The parameter is `false_alarm_rate` for
ours, and for the others `contamination`, which is closest to it. One fit serves all
three rates, for ours only if the table is large enough for each rate's calibration.
*False discoveries*: ours flags the mixed test set with `flag_batch(fdr=0.1)`; the
others have no p-values.

Two bands show which deviations are due to chance. The binomial band assumes that the
true rate is the nominal one; any threshold estimated from finitely many rows leaves it
in more than 1 % of the cases. The beta-binomial band includes the variance of the
threshold, due to the calibration rows (for the others: the training rows).
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from adbench import PACKAGES, split
from scipy.stats import betabinom, binom

RATES = (0.01, 0.05, 0.10)
FDR = 0.1
BAND = 0.99
MIN_ROWS_FOR_ONE_FIT = 500
"""Training rows from which on the calibration rows for 1 % are exact for 5 and 10 % too."""

Thresholds = tuple[np.ndarray, list[float], int]
"""Anomaly scores of test rows, thresholds for `RATES`, and number of rows that set these."""


def ours(train: np.ndarray, test: np.ndarray, seed: int) -> tuple[list[Thresholds], Any]:
    """Fit once, or for each rate if the table is small; the first detector is for 1 %."""
    from vae_anomaly import VAEDetector
    from vae_anomaly.stats.thresholds import false_alarm_threshold

    results = []
    for rate in RATES[: 1 if len(train) >= MIN_ROWS_FOR_ONE_FIT else None]:
        model = VAEDetector(false_alarm_rate=rate, random_state=seed).fit(train)
        calibration = model.calibration_scores_
        thresholds = [false_alarm_threshold(calibration, rate) for rate in RATES]
        results.append((-model.score_samples(test), thresholds, len(calibration)))
        if rate == RATES[0]:
            first = model
    return results, first


def iforest(train: np.ndarray, test: np.ndarray, seed: int) -> tuple[list[Thresholds], Any]:
    from sklearn.ensemble import IsolationForest

    model = IsolationForest(random_state=seed).fit(train)
    thresholds = quantiles(-model.score_samples(train))
    return [(-model.score_samples(test), thresholds, len(train))], None


def pyod_vae(train: np.ndarray, test: np.ndarray, seed: int) -> tuple[list[Thresholds], Any]:
    from pyod.models.vae import VAE
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train)
    model = VAE(random_state=seed, verbose=0).fit(scaler.transform(train))
    scores = np.nan_to_num(model.decision_function(scaler.transform(test)), posinf=1e300)
    return [(scores, quantiles(model.decision_scores_), len(train))], None


def quantiles(training_scores: np.ndarray) -> list[float]:
    """Return the thresholds that `contamination` sets in scikit-learn and in PyOD."""
    return [float(np.percentile(training_scores, 100 * (1 - rate))) for rate in RATES]


DETECTORS: dict[str, Callable[..., tuple[list[Thresholds], Any]]] = {
    "ours": ours,
    "iforest": iforest,
    "pyod_vae": pyod_vae,
}


def measure(path: Path, name: str, seed: int) -> dict[str, Any]:
    train, test, labels = split(path, seed)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results, model = DETECTORS[name](train, test, seed)
        flags = None if model is None else model.flag_batch(test, fdr=FDR) == -1
    normal = labels == 0
    row = {
        "table": path.stem,
        "detector": name,
        "seed": seed,
        "train": len(train),
        "normal": int(normal.sum()),
        "anomalies": int((~normal).sum()),
        "seconds": round(time.perf_counter() - start, 1),
    }
    for i, rate in enumerate(RATES):
        scores, thresholds, n_rows = results[min(i, len(results) - 1)]
        row[f"alarms_{rate:g}"] = int((scores[normal] > thresholds[i]).sum())
        row[f"known_{rate:g}"] = n_rows
    if flags is not None:
        row |= {"false": int(flags[normal].sum()), "found": int(flags[~normal].sum())}
    return row


def false_alarms(results: pd.DataFrame) -> pd.DataFrame:
    """Compute observed rates by detector and nominal rate, and count those outside the bands."""
    rows = []
    for name, part in results.groupby("detector", sort=False):
        for rate in RATES:
            alarms, normal, n_rows = (
                part[f"alarms_{rate:g}"],
                part["normal"],
                part[f"known_{rate:g}"],
            )
            exceeding = np.maximum(1, np.floor(np.round((n_rows + 1) * rate, 9)))
            bands = {
                "binomial": binom(normal, rate),
                "beta-binomial": betabinom(normal, exceeding, n_rows + 1 - exceeding),
            }
            observed = alarms / normal
            by_table = observed.groupby(part["table"]).mean()
            rows.append(
                {
                    "detector": name,
                    "nominal": rate,
                    "observed": by_table.mean(),
                    "error": by_table.std() / len(by_table) ** 0.5,
                    "worst table": by_table.max(),
                    **{
                        f"outside {band_name}": int((~inside(alarms, band)).sum())
                        for band_name, band in bands.items()
                    },
                    "cases": len(part),
                }
            )
    return pd.DataFrame(rows)


def inside(alarms: pd.Series, band: Any) -> np.ndarray:
    tail = (1 - BAND) / 2
    return np.asarray((band.cdf(alarms) >= tail) & (band.sf(alarms - 1) >= tail))


def false_discoveries(results: pd.DataFrame) -> pd.DataFrame:
    """Compute the share of false flags and the power, over tables and seeds, at `FDR`."""
    part = results[results["detector"] == "ours"]
    flagged = part["false"] + part["found"]
    share = part["false"] / np.maximum(flagged, 1)
    power = part["found"] / part["anomalies"]
    by_table = share.groupby(part["table"]).mean()
    return pd.DataFrame(
        [
            {
                "asked": FDR,
                "observed": by_table.mean(),
                "error": by_table.std() / len(by_table) ** 0.5,
                "power": power.groupby(part["table"]).mean().mean(),
                "batches with flags": int((flagged > 0).sum()),
                "cases": len(part),
            }
        ]
    )


FORMATS = {
    **dict.fromkeys(("nominal", "asked"), "{:.0%}"),
    **dict.fromkeys(("observed", "error", "worst table", "power", "false flags"), "{:.2%}"),
    **{f"{rate:.0%}": "{:.2%}" for rate in RATES},
}


def as_markdown(table: pd.DataFrame) -> str:
    lines = ["| " + " | ".join(table.columns) + " |", "|---|" + "--:|" * (len(table.columns) - 1)]
    for row in table.to_dict("records"):
        cells = [FORMATS.get(key, "{}").format(value) for key, value in row.items()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def describe(results: pd.DataFrame) -> str:
    """Return versions, seeds and results as Markdown."""
    seeds = {
        name: sorted(part["seed"].unique())
        for name, part in results.groupby("detector", sort=False)
    }
    lines = [
        "# False alarms and false discoveries",
        f"{date.today()}, {results['table'].nunique()} tables of ADBench. Seeds: "
        + "; ".join(f"{name} {', '.join(map(str, used))}" for name, used in seeds.items())
        + ". "
        + ", ".join(f"{p} {version(p)}" for p in PACKAGES)
        + ".",
        "Observed: mean over tables of the mean over seeds; error: its standard error over tables. "
        f"Outside: cases beyond the central {BAND:.0%} of a band, expected for 1 in 100.",
        "## Share of unseen normal rows that are flagged",
        as_markdown(false_alarms(results)),
        f"## Share of false flags, `flag_batch(fdr={FDR:g})` on the mixed test sets",
        as_markdown(false_discoveries(results)),
        "## By table",
        as_markdown(by_table(results)),
    ]
    return "\n\n".join(lines) + "\n"


def by_table(results: pd.DataFrame) -> pd.DataFrame:
    """Compute the rates of ours for each table."""
    part = results[results["detector"] == "ours"]
    shown = pd.DataFrame({"table": part["table"], "training rows": part["train"]})
    for rate in RATES:
        shown[f"{rate:.0%}"] = part[f"alarms_{rate:g}"] / part["normal"]
    flagged = part["false"] + part["found"]
    shown["false flags"] = part["false"] / np.maximum(flagged, 1)
    shown["power"] = part["found"] / part["anomalies"]
    means = shown.groupby("table", sort=False).mean().reset_index()
    means["training rows"] = means["training rows"].astype(int)
    return means


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of .npz files")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--detectors", default=",".join(DETECTORS), help="comma-separated names")
    parser.add_argument("--out", type=Path, help="write OUT.csv (every result) and OUT.md")
    options = parser.parse_args()
    results_file = options.out and options.out.with_suffix(".csv")
    resumes = results_file and results_file.exists()
    rows = pd.read_csv(results_file).to_dict("records") if resumes else []
    done = {(row["table"], row["detector"], row["seed"]) for row in rows}
    for seed in options.seeds:
        for name in options.detectors.split(","):
            for path in sorted(options.data.glob("*.npz")):
                if (path.stem, name, seed) in done:
                    continue
                rows.append(measure(path, name, seed))
                print(" ".join(f"{key}={value}" for key, value in rows[-1].items()), flush=True)
                if results_file:
                    pd.DataFrame(rows).to_csv(results_file, index=False)
    text = describe(pd.DataFrame(rows))
    print(f"\n{text}")
    if options.out:
        options.out.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
