"""Plots: numbers kept, then drawn (scikit-learn's Display pattern).

A display holds what it shows, in bounded memory, and draws it in `plot`; only
there is Matplotlib imported. `measure` takes the numbers and draws nothing;
`from_estimator` and `from_predictions` measure and draw. For ROC and
precision-recall use scikit-learn's `RocCurveDisplay` and
`PrecisionRecallDisplay`.
"""

from vae_anomaly.displays.calibration import CalibrationDisplay, PValueDisplay
from vae_anomaly.displays.data import LatentDisplay, ScoreDisplay
from vae_anomaly.displays.images import ImageGridDisplay, LatentGridDisplay, ReconstructionDisplay
from vae_anomaly.displays.model import ContributionDisplay, LatentUseDisplay, TrainingCurveDisplay

__all__ = [
    "CalibrationDisplay",
    "ContributionDisplay",
    "LatentDisplay",
    "LatentGridDisplay",
    "LatentUseDisplay",
    "PValueDisplay",
    "ImageGridDisplay",
    "ReconstructionDisplay",
    "ScoreDisplay",
    "TrainingCurveDisplay",
]
