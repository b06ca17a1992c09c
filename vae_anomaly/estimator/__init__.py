"""`VAEDetector`: the scikit-learn contract around a fitted model."""

from vae_anomaly.estimator.detector import VAEDetector

__all__ = ["VAEDetector"]
