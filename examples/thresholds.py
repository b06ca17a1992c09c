"""
Thresholds, p-values and false discoveries
==========================================

A score says which of two rows is more anomalous. A threshold says which rows to act on. Here is
what the ways to choose one promise, and how to see whether the promise holds.
"""

# %%
# Normal rows lie on a noisy curve. Five thousand are learned, or calibrate; four thousand others,
# and a hundred anomalies, are new.

import numpy as np
from vae_anomaly import VAEDetector
from vae_anomaly.displays import CalibrationDisplay, PValueDisplay
from vae_anomaly.metrics.threshold_search import Criteria
from vae_anomaly.report import build_report

rng = np.random.default_rng(0)


def draw(n: int) -> np.ndarray:
    """Draw normal rows: (n, 4)."""
    t = rng.uniform(-2, 2, size=n)
    clean = np.column_stack([t, t**2, np.sin(3 * t), -t])
    return clean + rng.normal(scale=0.1, size=(n, 4))


train, normal = draw(5000), draw(4000)
anomalies = draw(100)
anomalies[:, 1] += rng.choice([-0.7, 0.7], size=100)
batch = np.concatenate([normal, anomalies])
is_anomaly = np.arange(len(batch)) >= len(normal)

# %%
# A false-alarm rate
# ------------------
# By default 1 % of normal rows may be flagged. The threshold is a quantile of the scores of
# calibration rows, which the networks do not learn. So the promise needs no assumption about the
# data, except that normal rows stay as they are.

detector = VAEDetector(false_alarm_rate=0.01, max_steps=500, random_state=0).fit(train)
flagged = detector.predict(batch) == -1
print(f"calibration rows: {len(detector.calibration_scores_)}")
print(f"normal rows flagged: {100 * flagged[~is_anomaly].mean():.2f} %")
print(f"anomalies flagged: {flagged[is_anomaly].sum()} of {is_anomaly.sum()}")

# %%
# The same at every rate. The band is where 95 of 100 such curves lie: with few calibration rows,
# the rate of a single threshold varies.

CalibrationDisplay.from_estimator(detector, normal)

# %%
# P-values
# --------
# The p-value of a row is the share of calibration rows that score at least as high. P-values of
# normal rows are uniform, those of anomalies are near zero.

PValueDisplay.from_estimator(detector, batch, is_anomaly)

# %%
# False discoveries
# -----------------
# One percent of 4,000 normal rows are 40 false alarms, beside at most 100 anomalies.
# ``flag_batch`` bounds that share instead: of what it flags, 10 % are false on average. It chooses
# the threshold for this batch, by the procedure of Benjamini and Hochberg.

for fdr in (0.05, 0.1, 0.2):
    chosen = detector.flag_batch(batch, fdr=fdr) == -1
    false = chosen[~is_anomaly].sum()
    found = chosen[is_anomaly].sum()
    share = false / max(chosen.sum(), 1)
    print(
        f"fdr={fdr}: {chosen.sum()} flagged, {found} right, {100 * share:.0f} % false"
    )

# %%
# A threshold from labels
# -----------------------
# With labelled rows, a threshold can have a purpose: here a missed anomaly costs fifty times as
# much as a false alarm. A report shows it beside the threshold of the model, which stays.

report = build_report(detector, batch, is_anomaly, criteria=Criteria(cost_miss=50))
choice = report.choices[0]
print(
    f"{choice.criterion}: {choice.threshold:.3g} nats, against {-detector.offset_:.3g}"
)

# %%
# To use one, set it: ``recalibrate(detector, threshold=...)``, or ``vae-anomaly recalibrate
# --threshold`` on the command line.
