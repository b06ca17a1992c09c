"""`VAEDetector`: the scikit-learn contract around a fitted model."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, OutlierMixin, TransformerMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted

from vae_anomaly._parameters import check_parameters, check_unchanged
from vae_anomaly._threads import only_fit_of
from vae_anomaly._types import Architecture, KerasModel, Parameter
from vae_anomaly.data.arrays import as_records
from vae_anomaly.data.registry import modality, modality_of_array
from vae_anomaly.estimator.generation import GenerativeMethods
from vae_anomaly.estimator.progress import FitProgress
from vae_anomaly.estimator.scoring import ScoringMethods
from vae_anomaly.estimator.summary import Facts, Summarised, facts_of_model
from vae_anomaly.estimator.validation import check_form, checked_records, validated
from vae_anomaly.model.fitting import TrainingRecords, fit_model
from vae_anomaly.model.model import Model
from vae_anomaly.model.parameters import FALSE_ALARM_RATE, RULES, check_threshold_choice
from vae_anomaly.model.patch_file import PATCHES
from vae_anomaly.model.patch_fitting import fit_patches
from vae_anomaly.stats.floats import default_floats
from vae_anomaly.training.checkpoint import Checkpoint, checkpointer_for
from vae_anomaly.training.collapse import warn_if_unused
from vae_anomaly.training.history import History

__all__ = ["VAEDetector"]

Array = NDArray[np.float64]


class VAEDetector(
    ScoringMethods,
    GenerativeMethods,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    OutlierMixin,
    Summarised,
):
    """Anomaly detection by the evidence lower bound of a variational autoencoder.

    Learns from rows that are (almost) all normal. The anomaly score of a row is its
    reconstruction error plus the divergence of its code, in nats of the standardised
    columns: for rows relative to the most similar training rows, for images minus the
    ELBO; see `score_type`.

    Parameters
    ----------
    architecture : {"auto", "dense", "conv", "conv_bn"} or pair, default="auto"
        Type of network. "conv" is for images: 3x3 convolutions that halve the image,
        with 32 filters and then twice as many each time up to 128, and their
        transposes; "conv_bn" adds batch normalisation. "auto" is "dense". Or a pair
        (encoder, decoder) of custom networks, see Notes.
    latent_dim : int or None, default=None
        Latent dimensions. Those that the data do not need stay unused. None is 32 for
        rows and 8 for images. Custom networks determine it, and it is ignored.
    hidden_units : tuple of int or None, default=None
        Sizes of the dense hidden layers of the encoder, after any convolutions; a dense
        decoder mirrors them. None is (128, 64), (16,) for "conv", and (20,) for
        "conv_bn".
    smoothing : float or None, default=None
        Standard deviation, in pixels, of the Gaussian that smooths images before
        training and scoring. None is 1/28 of their longer side for "dense", else 0.
    shift : float or None, default=None
        Pixels by which copies of the training images are shifted up, down, left and
        right, to augment the data. None is 1/28 of the longer side for "dense", unless
        the images are very many, else 0.
    features : str, keras.Model or None, default=None
        Network whose features of patches of images are learned instead of pixels: a node of an
        ONNX file, "onnx:path#node", or a Keras model. Or "gradients": see `model.patches`.
    pixel_range : tuple of (low, high) or None, default=None
        Numbers of black and white in images. None takes them from the training images; see
        `vae_anomaly.data.image.units.chosen_range`.
    column_types : dict of str to str, optional
        Types of some columns of a data frame: "number", "category", "date", "date:FORMAT"
        with a format of `datetime.strptime`, or "ignore". Those of the others are found in
        their cells.
    missing_values : tuple of str, default=()
        Cells that are missing in every column, in training and in scoring, such as "-9" or
        "no answer"; of numbers all that are equal. They add to those that always are: NaN
        and None, empty text, "?", "NA", "N/A", "NaN" and "null"; where other cells are
        numbers or dates, also "none", "unknown", "-" and ".".
    likelihood : str, default="gaussian"
        Distribution of a column given the latent code. "gaussian" has one variance a
        column, "heteroscedastic" a variance that is an output of the decoder, different
        for each row. "student_t" has heavy tails, for columns with outliers among the
        normal rows. "discretized_logistic" is the probability of a step for columns
        whose values lie on a lattice, as counts and codes do, else a logistic density.
        "bernoulli" is the log loss for values in [0, 1]; columns that leave the interval
        in training are first scaled into it by their minimum and maximum.
    variance : float or None, default=None
        Variance of "gaussian", in squared standard deviations of the column. None learns
        one for each column. With 0.5 the reconstruction error is the sum of squared
        errors, plus a constant.
    prior : {"aggregated", "normal"}, default="aggregated"
        Prior p(z) of scores that contain the ELBO: a mixture of N(0, I) and of the
        q(z|x) of up to 256 training rows, or N(0, I) alone. Training is against N(0, I).
    beta : float, default=1.0
        Weight of the KL divergence in training and in the score. With 0 the network is a
        plain autoencoder: posterior means are decoded.
    n_members : int or None, default=None
        Networks that are trained together and whose scores are averaged. None is 4 for
        dense networks and 1 for others.
    score_type : str, default="auto"
        Anomaly score: "exemplar", "elbo", "importance_weighted", "reconstruction", "kl",
        "typicality" or "latent_distance"; see `vae_anomaly.stats.scores`. "auto" is
        "exemplar" for rows and "elbo" for images.
    n_draws : int, default=2
        Latent draws over which the ELBO is averaged: corners of a cube, in opposite
        pairs. They are drawn once, in `fit`: scores are deterministic.
    optimizer : {"adam", "rmsprop"}, default="adam"
        Optimizer, with the constants of Keras.
    learning_rate : float, default=1e-3
        Learning rate of the optimizer.
    batch_size : int, default=128
        Rows of a gradient step.
    max_steps : int, default=3000
        Maximum number of gradient steps.
    patience : int, default=10
        Validation intervals of 100 steps without improvement of any member after which
        training stops. A member validates on a tenth of the rows, on which it is not
        trained, and keeps its best weights.
    false_alarm_rate : float in (0, 1), default=0.01
        Share of fresh normal rows that may be flagged. The threshold comes from
        calibration rows that the networks are not trained on: a fifth of the rows, up to
        three tenths where the rate needs them. See Notes.
    contamination : float in (0, 0.5] or None, default=None
        If given, the threshold flags this share of the training rows instead, as in
        scikit-learn's outlier detectors, and there are no calibration rows. The share
        with the greatest losses is left out of every gradient step, that with the worst
        ELBO is no reference for scores, and the two training rows nearest to a scored
        row give it no support.
    threshold : float or None, default=None
        If given, rows with a greater anomaly score, in nats, are flagged.
    random_state : int, RandomState or None, default=None
        Source of the starting weights, the order of rows, and all noise.
    callback : callable or None, default=None
        Called with the `History` after each validation interval. Training stops if it
        returns True; the best weights so far are kept.
    checkpoint : str, PathLike, Checkpoint or None, default=None
        Directory of checkpoints. After an interruption, a later `fit` with the same data
        and parameters resumes, and gives the same scores to the last bit. Needs an int as
        `random_state`. `fit` removes the file at its end; for a `Checkpoint`, its owner
        does.
    verbose : int, default=0
        1 writes up to twenty lines of progress to standard output, 2 one for each
        validation interval.

    Attributes
    ----------
    model_ : Model
        The fitted model. The other attributes are views of it.
    offset_ : float
        Minus the threshold: ``decision_function = score_samples - offset_``.
    calibration_scores_ : ndarray
        Anomaly scores of the calibration rows, ascending; empty with
        `contamination` or `threshold`.
    history_ : History
        Losses after each validation interval.
    latent_kl_ : ndarray of shape (n_members, latent_dim)
        Mean KL divergence of each latent dimension from N(0, 1) over the training
        rows, in nats: near zero where a dimension is not used.
    prior_ : ndarray of shape (n_members, m, 2 * latent_dim) or None
        Means and log-variances of the components of an aggregated prior.
    image_shape_ : tuple of (height, width, channels) or None
        Shape of the training images; None for rows.
    smoothing_ : float
        Standard deviation, in pixels, of the smoothing of images; 0 for rows.
    pixel_range_ : tuple of (low, high) or None
        Numbers of black and white in images, of whatever type; None for rows.
    columns_ : ColumnScaler
        Centre, scale and range of each column.
    network_spec_ : NetworkSpec
        Structure of the networks.
    weights_ : ndarray of shape (n_members, n_weights)
        Weights of the networks.
    noise_ : ndarray of shape (n_draws, latent_dim)
        Latent draws of scores.
    reference_ : Reference
        Training rows in the coordinates of the networks.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of str
        Names of the columns, if they had names.

    See Also
    --------
    sklearn.ensemble.IsolationForest : Random splits, with hardly any training.

    Notes
    -----
    With n calibration rows, exchangeable with a fresh normal row, that row is flagged with
    probability ``floor((n + 1) false_alarm_rate) / (n + 1)``, and n is chosen so that this is the
    rate itself; below ``1 / false_alarm_rate - 1`` rows it is ``1 / (n + 1)``, and `fit` warns. The
    probability is over the draw of calibration rows as well:
    `vae_anomaly.stats.thresholds.false_alarm_interval` is the interval for one draw [3]_. Where
    there is room, calibration rows are also exemplars of the score, each for all others: the
    probability is then slightly lower.

    A data frame may have text, booleans and dates, and cells may be missing. The type of a column
    is found in all of its cells; identifiers, counters, free text and empty columns are left out
    (``model_.encoder.schema``). Of dates the time of day, weekday, day of the month and of the year
    are used, where training rows cover two periods of them, and the days since the first date of
    the row; `reconstruct` and `sample` give those of similar training rows. Networks of such tables
    learn with cells hidden at random, and score as `Reference.masked_score` in
    `vae_anomaly.model.reference` says. A missing cell counts for nothing, unless none of its column
    was missing in training: then it costs log(n + 1) nats, as a date far from those of training
    does. A level that no training row has costs minus the log of the probability of an unseen one.

    Custom networks, ``architecture=(encoder, decoder)``, are functional or Sequential Keras models
    with one input. The encoder takes rows, (n, columns), or any shape of as many numbers, or images
    as they are; standardised, with 0 for a column that was constant in training. Its outputs are
    means and log-variances of the code: two of shape (n, latent), further ones are ignored, or one
    of (n, 2 latent). The decoder takes (n, latent) and returns the shape that the encoder takes,
    flattened or not: means, or logits of the Bernoulli; "heteroscedastic" needs two outputs a
    column and is not supported.

    Every member starts from the weights that the models have when `fit` is called; layers with
    ``trainable=False`` stay as they are. The models themselves are never changed; the learned
    weights are in `weights_`. Dropout and batch normalisation work as in Keras; random layers need
    a ``keras.random.SeedGenerator``, as those of Keras have, and losses that layers add, such as
    weight decay, are ignored. Clones and pickles need layers that Keras can copy: decorate your own
    with ``keras.saving.register_keras_serializable()``. A file holds the weights, not the models:
    ``load(path, networks=(encoder, decoder))`` needs them again.

    References
    ----------
    .. [1] D. P. Kingma, M. Welling, "Auto-encoding variational Bayes", 2014. :arxiv:`1312.6114`
    .. [2] J. An and S. Cho, "Variational autoencoder based anomaly detection
           using reconstruction probability", SNU Data Mining Center, 2015.
    .. [3] V. Vovk, "Conditional validity of inductive conformal predictors", ACML
           2012. :doi:`10.1007/s10994-013-5355-6`

    Examples
    --------
    >>> import numpy as np
    >>> from vae_anomaly import VAEDetector
    >>> rng = np.random.RandomState(0)
    >>> t = rng.uniform(-2, 2, size=500)
    >>> X = np.column_stack([t, t**2, -t]) + rng.normal(scale=0.1, size=(500, 3))
    >>> detector = VAEDetector(max_steps=500, random_state=0).fit(X)
    >>> detector.predict([[1, 1, -1], [1, -1, 1]])
    array([ 1, -1])

    With custom networks:

    >>> from keras import Input, Sequential, layers
    >>> encoder = Sequential([Input((3,)), layers.Dense(32, "relu"), layers.Dense(2 * 2)])
    >>> decoder = Sequential([Input((2,)), layers.Dense(32, "relu"), layers.Dense(3)])
    >>> custom = VAEDetector(architecture=(encoder, decoder), max_steps=100, random_state=0).fit(X)
    >>> custom.transform(X).shape  # two latent dimensions
    (500, 2)
    """

    def __init__(
        self,
        *,
        architecture: Architecture = "auto",
        latent_dim: int | None = None,
        hidden_units: tuple[int, ...] | None = None,
        smoothing: float | None = None,
        shift: float | None = None,
        features: str | KerasModel | None = None,
        pixel_range: tuple[float, float] | None = None,
        column_types: Mapping[str, str] | None = None,
        missing_values: Sequence[str] = (),
        likelihood: str = "gaussian",
        variance: float | None = None,
        prior: str = "aggregated",
        beta: float = 1.0,
        n_members: int | None = None,
        score_type: str = "auto",
        n_draws: int = 2,
        optimizer: str = "adam",
        learning_rate: float = 1e-3,
        batch_size: int = 128,
        max_steps: int = 3000,
        patience: int = 10,
        false_alarm_rate: float = FALSE_ALARM_RATE,
        contamination: float | None = None,
        threshold: float | None = None,
        random_state: int | np.random.RandomState | None = None,
        callback: Callable[[History], object] | None = None,
        checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
        verbose: int = 0,
    ) -> None:
        self.architecture = architecture
        self.latent_dim = latent_dim
        self.hidden_units = hidden_units
        self.smoothing = smoothing
        self.shift = shift
        self.features = features
        self.pixel_range = pixel_range
        self.column_types = column_types
        self.missing_values = missing_values
        self.likelihood = likelihood
        self.variance = variance
        self.prior = prior
        self.beta = beta
        self.n_members = n_members
        self.score_type = score_type
        self.n_draws = n_draws
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_steps = max_steps
        self.patience = patience
        self.false_alarm_rate = false_alarm_rate
        self.contamination = contamination
        self.threshold = threshold
        self.random_state = random_state
        self.callback = callback
        self.checkpoint = checkpoint
        self.verbose = verbose

    # ----------------------------------------------------------------------------- fitting

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Fit the model to normal records.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Normal rows; a few anomalies among them do little harm. A data frame may have
            categories and dates, and cells may be missing. Or images, (n_samples, height,
            width) or (..., channels).
        y : object
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        ParameterError
            If a parameter is out of its range, two of them choose the threshold, or the detector
            is being fitted already.
        DataError
            If the data are no rows or images of numbers, no column varies, or there is but one
            row to learn from.
        DivergenceError
            If the loss leaves the finite numbers.
        CheckpointError
            If the checkpoint is damaged, or of another fit.
        OutputError
            If the checkpoint cannot be written.
        """
        check_parameters(self, RULES)
        check_threshold_choice(self)
        with only_fit_of(self), default_floats():
            # An earlier model belongs to the columns that it was fitted on.
            self.__dict__.pop("model_", None)
            self._fit(X)
        model = self.model_
        columns, steps = model.network.spec.joint.n_features, model.history.step[-1]
        warn_if_unused(model.latent_kl, columns=columns, steps=steps)
        return self

    def _fit(self, X: ArrayLike) -> None:
        X = as_records(X)
        data = modality_of_array(X)
        check_form(X, data.name)
        data = data if self.features is None else modality(PATCHES)
        schema = data.schema(X, self)
        matrix = validated(self, X, schema, ensure_min_samples=2)
        names = getattr(self, "feature_names_in_", None)
        shape = getattr(X, "shape", matrix.shape)
        checkpointer = checkpointer_for(self, matrix, shape)
        rng = check_random_state(self.random_state)
        records = TrainingRecords(matrix, schema, names)
        progress = FitProgress(self.verbose, self.max_steps, data.unit)
        progress.begin(*matrix.shape)
        # A copy, which a callback that sets parameters does not reach.
        given = type(self)(**self.get_params(deep=False))
        given.callback = progress.around(self.callback)
        fit = partial(fit_model, data) if self.features is None else fit_patches
        self.model_ = fit(records, given, rng, checkpointer)
        if checkpointer is not None:
            checkpointer.done()
        progress.end(self.model_)

    @classmethod
    def from_model(cls, model: Model, **parameters: Parameter) -> Self:
        """Wrap a fitted model.

        Parameters
        ----------
        model : Model
        **parameters
            Replace those that it was fitted with.

        Returns
        -------
        VAEDetector
            Fitted, without a fit.
        """
        detector = cls(**{**model.parameters, **parameters})
        detector.model_ = model
        detector.n_features_in_ = model.encoder.outline.n_features
        names = model.encoder.names
        if names is not None:
            detector.feature_names_in_ = np.asarray(names, dtype=object)
        return detector

    # Defined here: scikit-learn wraps methods for `set_output` in the class that defines them.
    def transform(self, X: ArrayLike) -> Array:
        """Encode rows: the means of q(z|x), those of all members side by side.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_members * latent_dim)
        """
        records = self._records(X)
        codes = self.model_.codes(records)
        return codes.reshape(len(codes), -1)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        return tags

    def _facts(self) -> Facts:
        return facts_of_model(self.model_)

    @property
    def _n_features_out(self) -> int:
        return int(self.weights_.shape[0] * self.noise_.shape[1])

    @default_floats()
    def _records(self, X: ArrayLike) -> Array:
        """Validate data for the fitted model: (n_samples, n_features)."""
        check_is_fitted(self, "model_")
        check_unchanged(self, self.model_.parameters)
        return checked_records(self, X, self.model_.encoder)
