"""Detectors in files: save, load and recalibrate fitted detectors."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from vae_anomaly._parameters import check_parameters, check_unchanged
from vae_anomaly._types import JsonObject, KerasModel
from vae_anomaly.detectors import function_of
from vae_anomaly.estimator import VAEDetector
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.model.parameters import RULES
from vae_anomaly.model.recalibration import recalibrated, with_threshold
from vae_anomaly.model.seen import SeenRowsWarning, digests_of
from vae_anomaly.networks.custom import is_pair
from vae_anomaly.storage.container import open_container
from vae_anomaly.training.checkpoint import HOOKS

if TYPE_CHECKING:
    from vae_anomaly.series.detector import SeriesDetector

__all__ = ["inspect", "load", "recalibrate", "save"]


def save(detector: VAEDetector | SeriesDetector, path: str | Path) -> str:
    """Write a fitted detector to one file, whole or not at all.

    Parameters
    ----------
    detector : VAEDetector or SeriesDetector
        Fitted.
    path : str or Path
        Target; ``.vae`` is the usual suffix. An existing file is replaced. Of custom
        networks the file holds the weights, not the Keras models. It also holds up to
        4,096 rows, of training and calibration, in the coordinates of the networks: they
        can be recovered, so share the file as you would share those rows. Its digests, of
        up to 262,144 rows each, say of a given row whether it was among them.

    Returns
    -------
    str
        SHA-256 of the model.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the detector is not fitted.
    ParameterError
        If parameters were changed after fit.
    DataError
        If two columns share a name.
    OutputError
        If the model is larger than `load` accepts, or the file cannot be written.
    """
    check_is_fitted(detector)
    sha256: str = detector.model_.detector_type.function("save")(detector, path)
    return sha256


def load(
    path: str | Path,
    *,
    networks: tuple[KerasModel, KerasModel] | None = None,
    features: str | KerasModel | None = None,
) -> VAEDetector | SeriesDetector:
    """Read a detector that `save` wrote. Nothing in the file is executed.

    Parameters
    ----------
    path : str or Path
    networks : pair of keras.Model, optional
        Encoder and decoder, for a detector with custom networks. Only their structure is
        used: the weights come from the file.
    features : str or keras.Model, optional
        Network of a detector that was fitted with `features`: a Keras model, or an ONNX file
        that is now elsewhere. It must be the one of the fit, to the last bit.

    Returns
    -------
    VAEDetector or SeriesDetector
        Fitted; its scores equal those of the saved one to the last bit.

    Raises
    ------
    ParameterError
        If `networks` or `features` are missing, needless, or not those of the file.
    ModelFileError
        If the file is not a sound model.
    OSError
        If the file is missing or cannot be read.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from pathlib import Path
    >>> from vae_anomaly import VAEDetector, load, save
    >>> X = np.random.RandomState(0).normal(size=(50, 3))
    >>> detector = VAEDetector(contamination=0.1, max_steps=20, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = save(detector, Path(folder) / "model.vae")
    ...     again = load(Path(folder) / "model.vae")
    >>> bool(np.array_equal(again.score_samples(X), detector.score_samples(X)))
    True
    """
    if networks is not None and not is_pair(networks):
        raise ParameterError(
            f"networks must be None or a pair (encoder, decoder) of Keras models. "
            f"Got {networks!r} instead."
        )
    file = open_container(path)
    found: VAEDetector | SeriesDetector = function_of(file, "load")(file, networks, features)
    return found


def inspect(path: str | Path) -> JsonObject:
    """Describe a model file in plain values, after the same checks as `load`.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    dict
        Settings, thresholds, training, and columns or channels.

    Raises
    ------
    ModelFileError
        If the file is not a sound model.
    OSError
        If the file is missing or cannot be read.
    """
    file = open_container(path)
    found: JsonObject = function_of(file, "describe")(file)
    return found


def recalibrate(
    detector: VAEDetector,
    X: ArrayLike | None = None,
    *,
    false_alarm_rate: float | None = None,
    threshold: float | None = None,
    keep_learned: bool = False,
) -> VAEDetector:
    """Take the threshold and p-values of a fitted detector from other normal rows.

    After drift a detector flags more normal rows than its false-alarm rate. Its scores may
    still separate anomalies from recent normal rows. Nothing is trained; scores stay the
    same.

    Parameters
    ----------
    detector : VAEDetector
        Fitted; it is not changed.
    X : array-like of shape (n_samples, n_features), optional
        Recent normal rows that the detector was not trained on. All of them
        calibrate, and anomalies among them raise the threshold. Rows that it learned are
        left out, unless no more of them are equal than would be by chance.
    false_alarm_rate : float in (0, 1), optional
        By default that of `detector`.
    threshold : float, optional
        Threshold in nats, instead of `X`. Calibration rows stay as they are.
    keep_learned : bool, default=False
        Calibrate by rows that were learned as well: the threshold is then too low.

    Returns
    -------
    VAEDetector
        Fitted, with the same networks; its `contamination` is None, and so is its
        `threshold` unless it is given.

    Raises
    ------
    ParameterError
        If the rate is out of its range, or not exactly one of `X` and `threshold` is given.
    DataError
        If the rows that were not learned are too few for the rate.

    Warns
    -----
    SeenRowsWarning
        If rows were left out, or kept although they were learned.
    TooFewCalibrationRowsWarning
        If the rows are too few for the rate.

    Examples
    --------
    >>> import numpy as np
    >>> from vae_anomaly import VAEDetector, recalibrate
    >>> rng = np.random.RandomState(0)
    >>> detector = VAEDetector(max_steps=50, random_state=0).fit(rng.normal(size=(500, 3)))
    >>> today = 1.5 * rng.normal(size=(1999, 3))
    >>> other = recalibrate(detector, today[:999])
    >>> flagged = [(d.predict(today[999:]) == -1).mean() for d in (detector, other)]
    >>> bool(flagged[0] > 0.05 > 0.02 > flagged[1])
    True
    >>> recalibrate(detector, threshold=7.5).offset_
    -7.5
    """
    check_is_fitted(detector)
    rate = detector.false_alarm_rate if false_alarm_rate is None else false_alarm_rate
    changed = {"contamination": None, "threshold": threshold, "false_alarm_rate": rate}
    other = VAEDetector(**{**detector.get_params(deep=False), **changed})
    check_parameters(other, RULES)
    hooks = {name: getattr(other, name) for name in HOOKS}
    if X is not None and threshold is None:
        scores, model = -detector.score_samples(X), detector.model_
        digests = digests_of(model.encoder, model.records(X))
        result = recalibrated(model, scores, digests, rate, keep_learned=keep_learned)
        if result.repeats.n_left_out:
            notes = result.repeats.notes(model.unit, "learned", keep=keep_learned)
            text = "; ".join(note.partition(": ")[2] for note in notes)
            warnings.warn(text, SeenRowsWarning, stacklevel=2)
        return VAEDetector.from_model(result.model, **hooks)
    if X is not None or threshold is None or false_alarm_rate is not None:
        raise ParameterError(
            "recalibrate takes X, and with it a false_alarm_rate, or a threshold. Give one of them."
        )
    check_unchanged(detector, detector.model_.parameters)
    return VAEDetector.from_model(with_threshold(detector.model_, threshold), **hooks)
