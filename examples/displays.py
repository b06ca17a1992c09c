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
    ElboDisplay,
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
# Scores of each group, with the threshold:

ScoreDisplay.from_estimator(detector, test, malignant)

# %%
# P-values: uniform for normal rows.

PValueDisplay.from_estimator(detector, test, malignant)

# %%
# False alarms, nominal and observed:

CalibrationDisplay.from_estimator(detector, test[~malignant])

# %%
# The two halves of the ELBO:

ElboDisplay.from_estimator(detector, test, malignant)

# %%
# The model
# ---------
# Losses of the fit:

TrainingCurveDisplay.from_estimator(detector)

# %%
# How much each latent dimension is used:

LatentUseDisplay.from_estimator(detector)

# %%
# Codes of rows:

LatentDisplay.from_estimator(detector, test, malignant)

# %%
# One row
# -------

ContributionDisplay.from_estimator(detector, test[malignant], row=0)

# %%
# Images
# ------
# Handwritten digits; threes are normal. Images, reconstructions and contributions of pixels:

images, digits = load_digits(return_X_y=True)
images = images.reshape(-1, 8, 8) / 16
threes = VAEDetector(false_alarm_rate=0.05, max_steps=600, random_state=0)
threes.fit(images[digits == 3][:150])

_, ax = plt.subplots(figsize=(7, 6))
ReconstructionDisplay.from_estimator(threes, images[:4], ax=ax)

# %%
# Images drawn from the model:

_, ax = plt.subplots(figsize=(7, 3))
ImageGridDisplay.from_estimator(threes, 20, ax=ax)

# %%
# The latent plane, decoded:

_, ax = plt.subplots(figsize=(7, 6))
LatentGridDisplay.from_estimator(threes, n=9, ax=ax)

# %%
# A report
# --------
# ``build_report`` puts them on a page, with tables of the flagged rows and their reasons;
# ``vae-anomaly evaluate`` writes the same.

report = build_report(detector, test, malignant, title="Tumours")
page = write_report(report, Path(tempfile.mkdtemp()))
for line in report.summary[:3]:
    print(line)
