"""
All displays, and the report
============================

Displays follow scikit-learn: ``from_estimator`` computes and draws, the numbers stay in the
object, and ``plot`` draws them again elsewhere. The other examples use some of them; here is one
line for each.
"""

# %%

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.datasets import load_breast_cancer, load_digits
from vae_anomaly import VAEDetector
from vae_anomaly.displays import (
    CalibrationDisplay,
    ContributionDisplay,
    ImageGridDisplay,
    LatentDisplay,
    LatentGridDisplay,
    LatentUseDisplay,
    PValueDisplay,
    ReconstructionDisplay,
    ScoreDisplay,
    TrainingCurveDisplay,
)
from vae_anomaly.report import build_report, write_report

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
train = X[y == 1][:267]
test = X.drop(train.index)
malignant = (y == 0)[test.index].to_numpy()
detector = VAEDetector(false_alarm_rate=0.05, max_steps=300, random_state=0).fit(train)

# %%
# Scores and thresholds
# ---------------------

fig, axes = plt.subplots(1, 3, figsize=(12, 3.5))
ScoreDisplay.from_estimator(detector, test, malignant, ax=axes[0])
PValueDisplay.from_estimator(detector, test, malignant, ax=axes[1])
CalibrationDisplay.from_estimator(detector, test[~malignant], ax=axes[2])
fig.tight_layout()

# %%
# The model
# ---------

fig, axes = plt.subplots(1, 3, figsize=(12, 3.5))
TrainingCurveDisplay.from_estimator(detector, ax=axes[0])
LatentUseDisplay.from_estimator(detector, ax=axes[1])
LatentDisplay.from_estimator(detector, test, malignant, ax=axes[2])
fig.tight_layout()

# %%
# One row
# -------

ContributionDisplay.from_estimator(detector, test[malignant], row=0)

# %%
# Images
# ------

images, digits = load_digits(return_X_y=True)
images = images.reshape(-1, 8, 8) / 16
of_digits = VAEDetector(false_alarm_rate=0.05, max_steps=300, random_state=0)
of_digits.fit(images[digits == 3][:150])

fig, axes = plt.subplots(1, 3, figsize=(12, 4.5))
ImageGridDisplay.from_estimator(of_digits, 25, columns=5, ax=axes[0])
LatentGridDisplay.from_estimator(of_digits, n=7, ax=axes[1])
ReconstructionDisplay.from_estimator(of_digits, images[:4], ax=axes[2])
fig.tight_layout()

# %%
# A report
# --------
# ``build_report`` puts them on a page, with tables of the flagged rows and their reasons;
# ``vae-anomaly evaluate`` writes the same.

report = build_report(detector, test, malignant, title="Tumours")
page = write_report(report, Path(tempfile.mkdtemp()))
for line in report.summary[:3]:
    print(line)
