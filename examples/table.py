"""
A table of numbers
==================

Measurements of breast tumours: the detector learns from benign ones alone, and finds malignant
ones that it has never seen. For each flagged row it says which columns are the reason, and what
would make the row normal.
"""

# %%
# Learn what is normal
# --------------------
# ``load_breast_cancer`` has 357 benign and 212 malignant tumours with 30 measurements each. We
# learn from 267 benign ones. A fifth of these is not learned but sets the threshold: at most 5 %
# of further benign tumours should be flagged.

from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from vae_anomaly import VAEDetector
from vae_anomaly.displays import ContributionDisplay, LatentDisplay, ScoreDisplay

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
normal = X[y == 1]
train, rest = normal[:267], normal[267:]
test = X.drop(train.index)
malignant = y[test.index] == 0

detector = VAEDetector(false_alarm_rate=0.05, max_steps=600, random_state=0).fit(train)
print(f"threshold: {-detector.offset_:.1f} nats")

# %%
# Score new rows
# --------------
# ``score_samples`` is higher for more normal rows, as everywhere in scikit-learn. Its negative is
# the anomaly score, in nats. ``predict`` compares it with the threshold: -1 is flagged.

scores = -detector.score_samples(test)
flagged = detector.predict(test) == -1

print(f"{flagged[malignant].sum()} of {malignant.sum()} malignant tumours are flagged")
print(f"{flagged[~malignant].sum()} of {(~malignant).sum()} benign tumours are flagged")
print(f"AUROC: {roc_auc_score(malignant, scores):.3f}")

# %%
# The labels colour the figure; the detector does not know them.

ScoreDisplay.from_estimator(detector, test, malignant)

# %%
# The codes of the rows, projected on the plane in which they spread most:

LatentDisplay.from_estimator(detector, test, malignant)

# %%
# Why a row is flagged
# --------------------
# The score of a row is the sum of the contributions of its columns. ``reasons`` lists the largest,
# with the value, the value that similar training rows let expect, and the range that holds nine
# tenths of the training rows.

first = test[flagged].iloc[:1]
detector.reasons(first, top=3).drop(columns="row")

# %%

ContributionDisplay.from_estimator(detector, first, top=8)

# %%
# What would make it normal
# -------------------------
# ``repair`` finds few columns whose change makes the row normal. It says nothing about causes; it
# shows how far the row is from normal, and in which measurements.

_, steps = detector.repair(first)
steps
