"""Plots: numbers kept, then drawn (scikit-learn's Display pattern).

A display holds what it shows, in bounded memory, and draws it in `plot`; only
there is Matplotlib imported. `measure` takes the numbers and draws nothing;
`from_estimator` and `from_predictions` measure and draw. For ROC and
precision-recall use scikit-learn's `RocCurveDisplay` and
`PrecisionRecallDisplay`.
"""

from vae_anomaly.displays.calibration import CalibrationDisplay, PValueDisplay
from vae_anomaly.displays.data import LatentDisplay, ScoreDisplay
from vae_anomaly.displays.model import (
    ContributionDisplay,
    LatentUseDisplay,
    TrainingCurveDisplay,
)
from vae_anomaly.displays.pictures import (
    LatentGridDisplay,
    PictureGridDisplay,
    ReconstructionDisplay,
)

__all__ = [
    "CalibrationDisplay",
    "ContributionDisplay",
    "LatentDisplay",
    "LatentGridDisplay",
    "LatentUseDisplay",
    "PValueDisplay",
    "PictureGridDisplay",
    "ReconstructionDisplay",
    "ScoreDisplay",
    "TrainingCurveDisplay",
]
