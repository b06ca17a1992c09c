"""Plots in scikit-learn's Display pattern.

A display stores the numbers that it shows, in bounded memory. `measure` computes
them and draws nothing; `plot` draws them and alone imports Matplotlib;
`from_estimator` and `from_predictions` do both. For ROC and precision-recall curves
use scikit-learn's `RocCurveDisplay` and `PrecisionRecallDisplay`.
"""

from vae_anomaly.displays.calibration import CalibrationDisplay, PValueDisplay
from vae_anomaly.displays.data import LatentDisplay, ScoreDisplay
from vae_anomaly.displays.elbo import ElboDisplay
from vae_anomaly.displays.images import ImageGridDisplay, LatentGridDisplay, ReconstructionDisplay
from vae_anomaly.displays.model import ContributionDisplay, LatentUseDisplay, TrainingCurveDisplay

__all__ = [
    "CalibrationDisplay",
    "ContributionDisplay",
    "ElboDisplay",
    "LatentDisplay",
    "LatentGridDisplay",
    "LatentUseDisplay",
    "PValueDisplay",
    "ImageGridDisplay",
    "ReconstructionDisplay",
    "ScoreDisplay",
    "TrainingCurveDisplay",
]
