"""
A folder of images
==================

Photographs of a fabric in folders, as an inspection camera leaves them: ``train`` holds good ones,
``test`` has a folder for each class. The detector learns from the good ones alone and shows where
the others differ.
"""

# %%
# Folders
# -------
# We draw woven textures of 32 x 32 pixels. In the test folder, 15 of 45 have a scratch.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image
from sklearn.metrics import roc_auc_score
from vae_anomaly import VAEDetector
from vae_anomaly.data.registry import open_source
from vae_anomaly.displays import ImageGridDisplay, ReconstructionDisplay
from vae_anomaly.pipeline.fit import fit
from vae_anomaly.pipeline.results import Outputs
from vae_anomaly.pipeline.score import score_file

rng = np.random.default_rng(0)


def weave() -> np.ndarray:
    """Draw a woven texture: (32, 32)."""
    y, x = np.mgrid[:32, :32]
    phase = rng.uniform(0, 0.6, size=2)
    pattern = np.sin(x / 1.6 + phase[0]) * np.sin(y / 1.6 + phase[1])
    return 128 + 60 * pattern + rng.normal(scale=8, size=(32, 32))


def scratched(image: np.ndarray) -> np.ndarray:
    """Draw a bright scratch."""
    start, slope = rng.integers(6, 20), rng.uniform(-0.5, 0.5)
    x = np.arange(8, 24)
    image[np.clip(start + slope * (x - 8), 0, 31).astype(int), x] += 90
    return image


def save(images: list[np.ndarray], folder: Path) -> None:
    """Write images as PNG."""
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(
            folder / f"{i:03}.png"
        )


folder = Path(tempfile.mkdtemp())
save([weave() for _ in range(300)], folder / "train" / "good")
save([weave() for _ in range(30)], folder / "test" / "good")
save([scratched(weave()) for _ in range(15)], folder / "test" / "scratch")

# %%
# Fit and score, in bounded memory
# --------------------------------
# On the command line this is ``vae-anomaly fit train -o fabric.vae``, and
# ``vae-anomaly score fabric.vae test -o scores.csv``. The functions of `vae_anomaly.pipeline` do
# the same in Python. Files that are no images would be listed with the reason.

parameters = {"false_alarm_rate": 0.05, "max_steps": 800, "random_state": 0}
with open_source(str(folder / "train"), fitting=True) as source:
    model = fit(parameters, source).model

with open_source(str(folder / "test"), model.encoder) as source:
    summary = score_file(model, source, str(folder / "scores.csv"), Outputs())
print(f"{summary.n_flagged} of {summary.n_scored} images are flagged")

scores = pd.read_csv(folder / "scores.csv")
scores["class"] = scores["file"].str.split("/").str[0]
print(scores.groupby("class")["is_anomaly"].agg(["sum", "size"]))
auroc = roc_auc_score(scores["class"] == "scratch", scores["anomaly_score"])
print(f"AUROC: {auroc:.3f}")

# %%
# Where an image differs
# ----------------------
# The map shows where pixels and their gradients differ from those of training images around the
# same place.

detector = VAEDetector.from_model(model)
names = scores.sort_values("anomaly_score")["file"].tolist()
shown = [names[0], *names[-4:]]
images = np.stack([np.asarray(Image.open(folder / "test" / name)) for name in shown])
fig, ax = plt.subplots(figsize=(7, 7))
ReconstructionDisplay.from_estimator(detector, images, names=shown, ax=ax)

# %%
# What was learned
# ----------------
# Images drawn from the model: codes from the prior, decoded.

fig, ax = plt.subplots(figsize=(7, 1.6))
ImageGridDisplay.from_estimator(detector, 20, ax=ax)
