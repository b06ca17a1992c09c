"""`SeriesDetector`: detection in time series, with the methods of scikit-learn's detectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import OutlierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from vae_anomaly._parameters import check_parameters
from vae_anomaly._text import listed
from vae_anomaly._types import Parameter, Records
from vae_anomaly.data.series.forms import read_series
from vae_anomaly.data.series.segments import StoredSet, in_memory
from vae_anomaly.data.series.series import SeriesSet
from vae_anomaly.data.series.window import ready_window, window_length
from vae_anomaly.estimator.progress import write_line
from vae_anomaly.estimator.summary import Facts, Summarised, facts_of_model
from vae_anomaly.exceptions import DataError
from vae_anomaly.series.alarms import AlarmBudget, Promise
from vae_anomaly.series.calibration import block_length, block_scores, calibrated
from vae_anomaly.series.fitting import WindowSettings, fit_series
from vae_anomaly.series.frames import (
    EventRules,
    events_frame,
    events_in,
    placed,
    row_values,
    score_parts,
)
from vae_anomaly.series.model import SeriesModel, StepScores
from vae_anomaly.series.networks import TRAINING, fit_windows
from vae_anomaly.series.parameters import RULES
from vae_anomaly.training.history import History

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SeriesDetector"]

Array = NDArray[np.float64]

MAX_PERIOD_STEPS = 2**18
"""Last time steps of the longest series, of which the period is that of windows."""


class SeriesDetector(OutlierMixin, Summarised):
    """Anomaly detection in time series by windows and a variational autoencoder.

    Learns from a time that is (almost) all normal. Windows of all channels are compared with
    the training windows nearest to them, single time steps with the reconstruction of a VAE,
    and runs of equal values with those of training; see `vae_anomaly.series.model`. The
    anomaly score is a multiple of the threshold: a time step is flagged above 1.

    Parameters
    ----------
    window : int or None, default=None
        Time steps in a window. None is the highest peak of the autocorrelation at 32 to 128
        steps, 64 where there is none, and at most a quarter of the series.
    architecture : {"dense", "conv", "lstm", "gru"}, default="dense"
        Networks of the VAE; see `vae_anomaly.series.networks`.
    causal : bool, default=False
        Whether the score of a time step depends on the past alone: on the window that ends
        there. Otherwise it depends on all windows that cover it.
    false_alarms : float or None, default=None
        False episodes that are accepted, on average, per `per`. None takes the largest scores
        of the calibration part as thresholds; `promise_` says what that means.
    per : {"hour", "day", "week", "month"} or int, default="week"
        Span of time for `false_alarms`; an int is a number of time steps.
    min_steps : int, default=1
        Flagged time steps that an event has at least.
    cool_down : int or None, default=None
        Time steps without a flag after which a new event begins. None is the window.
    max_steps : int, default=3000
        Maximum number of gradient steps.
    random_state : int, RandomState or None, default=None
        Source of all randomness.
    callback : callable or None, default=None
        Called with the `History` after each validation interval; see `VAEDetector`.
    verbose : int, default=0
        1 writes up to twenty lines of progress, 2 a line for each validation interval.

    Attributes
    ----------
    model_ : SeriesModel
        The fitted model.
    promise_ : Promise
        False episodes to expect, and the calibration blocks on which that rests. Its `words`
        are a sentence.
    channels_ : tuple of str
        Names of the channels.
    step_ : int or None
        Length of a time step in nanoseconds, if the training series had time stamps.
    offset_ : float
        -1: ``decision_function = score_samples - offset_``.
    n_features_in_ : int
        Number of channels.

    See Also
    --------
    VAEDetector : Detection in single records.

    Notes
    -----
    The last three tenths of each training series calibrate, after a gap of a window. Their
    largest scores in blocks of two windows, which hardly depend on each other, give the
    thresholds: half of the accepted episodes are those of windows, half those of single steps
    (all are those of windows where the blocks are too few for that). The promise is about
    episodes in time. No rate of flagged time steps is promised, because neighbouring time
    steps depend on each other; see `vae_anomaly.series.alarms`.

    Arrays have time along the first axis. In aeon it is the second one: transpose them.

    Examples
    --------
    >>> import numpy as np
    >>> from vae_anomaly import SeriesDetector
    >>> rng = np.random.RandomState(0)
    >>> time = np.arange(3000)
    >>> X = np.sin(2 * np.pi * time / 50)[:, np.newaxis] + 0.1 * rng.normal(size=(3000, 1))
    >>> detector = SeriesDetector(max_steps=300, random_state=0).fit(X[:2000])
    >>> X[2500:2525] = 0.0
    >>> detector.events(X[2000:])[["start", "end", "cause"]]  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        window: int | None = None,
        architecture: str = "dense",
        causal: bool = False,
        false_alarms: float | None = None,
        per: str | int = "week",
        min_steps: int = 1,
        cool_down: int | None = None,
        max_steps: int = 3000,
        random_state: int | np.random.RandomState | None = None,
        callback: Callable[[History], object] | None = None,
        verbose: int = 0,
    ) -> None:
        self.window = window
        self.architecture = architecture
        self.causal = causal
        self.false_alarms = false_alarms
        self.per = per
        self.min_steps = min_steps
        self.cool_down = cool_down
        self.max_steps = max_steps
        self.random_state = random_state
        self.callback = callback
        self.verbose = verbose

    # ----------------------------------------------------------------------------- fitting

    def fit(self, X: Records, y: object = None) -> Self:
        """Fit the model to normal series.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_channels), data frame, list of these, SeriesSet or \
                StoredSet
            Or ready windows, of shape (n_windows, window, n_channels). Missing values may be NaN.
            See `vae_anomaly.data.series.forms.read_series`.
        y : object
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        ParameterError
            If a parameter is out of its range.
        DataError
            If the series are too short for the window or for the false alarms that are
            accepted, or if no channel varies.
        """
        check_parameters(self, RULES)
        asked = ready_window(X) if self.window is None else self.window
        if not isinstance(X, StoredSet):
            X = in_memory(X if isinstance(X, SeriesSet) else read_series(X))
        data: StoredSet = X
        longest = max(data.series, key=len)
        last = longest.read(len(longest) - MAX_PERIOD_STEPS, len(longest))
        window = window_length(last) if asked is None else asked
        rng = check_random_state(self.random_state)
        training = {name: getattr(self, name) for name in TRAINING}
        fitted = fit_series(
            data.segments,
            data.channels,
            WindowSettings(window, self.causal),
            self._budget(data.step),
            lambda windows, channels: fit_windows(windows, channels, rng, **training),
            rng,
            data.step,
        )
        self._keep(*fitted, data.step)
        if self.verbose:
            write_line(self.promise_.words(self.step_))
        return self

    @classmethod
    def from_model(
        cls, model: SeriesModel, promise: Promise, step: int | None, **parameters: Parameter
    ) -> Self:
        """Wrap a fitted model.

        Parameters
        ----------
        model : SeriesModel
        promise : Promise
        step : int or None
            Length of a time step in nanoseconds.
        **parameters
            Those that it was fitted with.

        Returns
        -------
        SeriesDetector
            Fitted, without a fit.
        """
        detector = cls(**parameters)
        detector._keep(model, promise, step)
        return detector

    def _keep(self, model: SeriesModel, promise: Promise, step: int | None) -> None:
        """Set the fitted attributes."""
        self.model_, self.promise_ = model, promise
        self.channels_, self.step_ = model.channels, step
        self.offset_, self.n_features_in_ = -1.0, len(model.channels)

    def _budget(self, step: int | None) -> AlarmBudget | None:
        """Return the false episodes that are accepted, in time steps."""
        if self.false_alarms is None:
            return None
        return AlarmBudget.per(self.false_alarms, self.per, step)

    def recalibrate(
        self, X: Records, *, false_alarms: float | None = None, per: str | int | None = None
    ) -> SeriesDetector:
        """Take the thresholds from other normal time.

        Nothing is trained: scores are the same, but for the thresholds that they are multiples of.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_channels), data frame, list of these, or SeriesSet
            Recent normal series that the detector was not trained on; all of it calibrates.
        false_alarms : float, optional
        per : str or int, optional
            By default both are those of this detector.

        Returns
        -------
        SeriesDetector
            Fitted, with the same networks. This one is not changed.

        Raises
        ------
        ParameterError
            If a parameter is out of its range.
        DataError
            If X is too short for a window, or for the false alarms that are accepted.
        """
        segments = in_memory(self.read(X)).segments
        blocks, length = block_scores(self.model_, segments), block_length(self.model_, segments)
        return self.recalibrated(blocks, false_alarms, per, length)

    def recalibrated(
        self, blocks: Array, false_alarms: float | None, per: str | int | None, length: int = 0
    ) -> SeriesDetector:
        """Return a detector with thresholds from scores of blocks; see `recalibrate`.

        Parameters
        ----------
        blocks : ndarray of shape (n_blocks, 2)
            Largest window and point scores of blocks of normal time steps.
        false_alarms, per : float and str or int, optional
            By default as in the fit.
        length : int, optional
            Time steps in a block.

        Returns
        -------
        SeriesDetector
            A copy; this one stays as it is.

        Raises
        ------
        DataError
            If there is no block.
        """
        given = {"false_alarms": false_alarms, "per": per}
        asked = {name: value for name, value in given.items() if value is not None}
        other = type(self)(**{**self.get_params(deep=False), **asked})
        check_parameters(other, RULES)
        if not len(blocks):
            wanted = f"{self.model_.window:,} time steps without a break, a window"
            raise DataError(f"Expected at least {wanted}, got fewer. Give a longer series.")
        length, budget = length or block_length(self.model_), other._budget(self.step_)
        found = calibrated(blocks, length, budget, self.step_, "normal data")
        model = replace(self.model_, thresholds=found.thresholds, block_scores=found.blocks)
        other._keep(model, found.promise, self.step_)
        return other

    # ----------------------------------------------------------------------------- scoring

    def score_samples(self, X: Records) -> Array:
        """Score time steps; higher is more normal.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_channels), data frame, list of these, or SeriesSet

        Returns
        -------
        ndarray of shape (n_rows,)
            Minus the multiples of the threshold, one for each row of X; NaN for rows without
            a score, as those of a series that is shorter than a window.
        """
        return -self._rows(X, lambda scores: scores.total)

    def decision_function(self, X: Records) -> Array:
        """Return `score_samples` minus the offset: below 0 for flagged time steps.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_channels), data frame, list of these, or SeriesSet

        Returns
        -------
        ndarray of shape (n_rows,)
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Records) -> NDArray[np.int_]:
        """Return -1 for flagged time steps and 1 for others.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_channels), data frame, list of these, or SeriesSet

        Returns
        -------
        ndarray of shape (n_rows,)
            Rows without a score are not flagged.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def explain(self, X: Records) -> pd.DataFrame:
        """Divide the anomaly scores of time steps among the channels.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_channels), data frame, list of these, or SeriesSet

        Returns
        -------
        DataFrame of shape (n_rows, n_channels)
            The sums of rows are minus `score_samples`.
        """
        import pandas as pd

        shares = self._rows(X, lambda scores: scores.contributions, self.n_features_in_)
        return pd.DataFrame(shares, columns=list(self.channels_))

    def expected(self, X: Records) -> pd.DataFrame:
        """Return the values of similar training windows.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_channels), data frame, list of these, or SeriesSet

        Returns
        -------
        DataFrame of shape (n_rows, n_channels)
        """
        import pandas as pd

        values = self._rows(X, lambda scores: scores.expected, self.n_features_in_)
        return pd.DataFrame(values, columns=list(self.channels_))

    def events(self, X: Records) -> pd.DataFrame:
        """Return the events of series: flagged time steps that belong together.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_channels), data frame, list of these, or SeriesSet

        Returns
        -------
        DataFrame
            One row an event, in the order of X: ``event_id``; ``series``, its name; ``start``,
            ``end`` and ``peak``, time stamps or row numbers, all inside; ``n_flagged``;
            ``score``, that of the peak; ``cause``, what it comes from ("window", "point" or
            "run"); ``channels``, those that contribute most, with commas between them.
        """
        data = self.read(X)
        scored = score_parts(self.model_, data)
        found = events_in(data, scored, self.channels_, self.event_rules)
        named = [placed(series, event) for series, event in found]
        return events_frame(named, have_times=data.step is not None)

    @property
    def event_rules(self) -> EventRules:
        """What makes flagged time steps an event."""
        cool_down = self.model_.window if self.cool_down is None else self.cool_down
        return EventRules(self.min_steps, cool_down)

    def read(self, X: Records) -> SeriesSet:
        """Return series with the channels and the time step of training.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_channels), data frame, list of these, or SeriesSet

        Returns
        -------
        SeriesSet

        Raises
        ------
        DataError
            If X is not sound, or its channels or time step are others.
        """
        check_is_fitted(self)
        if isinstance(X, SeriesSet):
            return X
        return read_series(X, channels=self.channels_, step=self.step_)

    def _rows(self, X: Records, part: Callable[[StepScores], Array], *shape: int) -> Array:
        """Return a part of the scores for each row of X."""
        data = self.read(X)
        return row_values(data, score_parts(self.model_, data), part, *shape)

    def _facts(self) -> Facts:
        model = self.model_
        facts = facts_of_model(model.comparison.network)
        return {
            "channels": f"{len(model.channels)}: {listed(model.channels)}",
            "windows": f"{model.window:,} time steps, {'causal' if model.causal else 'centred'}",
            **{name: facts[name] for name in ("networks", "training")},
            "alarms": self.promise_.words(self.step_),
        }
