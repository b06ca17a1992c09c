"""
Custom networks
===============

``architecture`` takes a pair of Keras models, an encoder and a decoder. Losses, ensembles, scores,
thresholds, explanations and files work as with the built-in networks.
"""

# %%
# Handwritten digits of 8 x 8 pixels; zeros are normal.

import tempfile
from pathlib import Path

import keras
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from vae_anomaly import VAEDetector, load, save
from vae_anomaly.displays import LatentGridDisplay, TrainingCurveDisplay

images, digits = load_digits(return_X_y=True)
images = (images.reshape(-1, 8, 8) / 16).astype("float32")
zeros = images[digits == 0]
train = zeros[:140]

# %%
# An encoder and a decoder
# ------------------------
# The encoder returns the means and the log-variances of the code, here in one output of twice the
# number of latent dimensions. The decoder takes codes and returns the shape of the images.

LATENT = 4

encoder = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
        keras.layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(2 * LATENT),
    ]
)
decoder = keras.Sequential(
    [
        keras.Input((LATENT,)),
        keras.layers.Dense(4 * 4 * 16, activation="relu"),
        keras.layers.Reshape((4, 4, 16)),
        keras.layers.Conv2DTranspose(
            16, 3, strides=2, padding="same", activation="relu"
        ),
        keras.layers.Conv2D(1, 3, padding="same"),
    ]
)

detector = VAEDetector(
    architecture=(encoder, decoder),
    false_alarm_rate=0.05,
    max_steps=400,
    random_state=0,
).fit(train)
TrainingCurveDisplay.from_estimator(detector)

# %%
# Zeros against all other digits
# ------------------------------

fresh = images[digits != 0][:500]
scores = -detector.score_samples(fresh)
normal = -detector.score_samples(zeros[140:])
truth = [0] * len(normal) + [1] * len(scores)
print(f"AUROC: {roc_auc_score(truth, [*normal, *scores]):.3f}")

# %%
# What codes mean: each image is the decoded code of a place in the latent plane.

LatentGridDisplay.from_estimator(detector, n=9)

# %%
# Files hold weights, not models
# ------------------------------
# A model file contains nothing that can be executed, so that it does not contain the networks
# either: ``load`` needs them again, and checks that they are the same.

path = Path(tempfile.mkdtemp()) / "zeros.vae"
save(detector, path)
again = load(path, networks=(encoder, decoder))
print(
    "same scores:",
    bool((again.score_samples(fresh) == detector.score_samples(fresh)).all()),
)
