"""Generative methods of a detector: codes, reconstructions, samples and maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from vae_anomaly._parameters import integer
from vae_anomaly._types import Records
from vae_anomaly.estimator.attributes import FittedAttributes
from vae_anomaly.estimator.frames import as_given, in_form_of
from vae_anomaly.exceptions import DataError, ParameterError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["GenerativeMethods"]

Array = NDArray[np.float64]


class GenerativeMethods(FittedAttributes):
    """Methods that decode."""

    def _records(self, X: ArrayLike) -> Array:
        """Validate data for the fitted model: (n_samples, n_features)."""
        raise NotImplementedError

    def reconstruct(self, X: ArrayLike) -> Array | pd.DataFrame:
        """Reconstruct rows from their codes: the values that the model expects.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray or DataFrame of shape (n_samples, n_features), or that of the images
            Means of p(x|z) at the posterior means, averaged over members, in the units
            of X. Of a frame a data frame of pandas with its index, columns and types, but for
            whole numbers where all columns are numbers: their means are float64. Dates, and
            columns that the model leaves out, are missing.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> from vae_anomaly import VAEDetector
        >>> X = np.random.RandomState(0).normal(size=(50, 2))
        >>> frame = pd.DataFrame(X, columns=["flow", "speed"]).set_axis(range(100, 150))
        >>> detector = VAEDetector(contamination=0.1, max_steps=20, random_state=0).fit(frame)
        >>> again = detector.reconstruct(frame)
        >>> again.columns.tolist(), again.index.equals(frame.index)
        (['flow', 'speed'], True)
        """
        records = self._records(X)
        model = self.model_
        if not hasattr(X, "columns"):
            return model.reconstruct(records, like=X)
        return in_form_of(model.encoder, model.rebuilt(records), as_given(model.encoder, X))

    def sample(
        self,
        n_samples: int = 1,
        random_state: int | np.random.RandomState | None = None,
        *,
        missing: bool = False,
    ) -> Array:
        """Draw new rows from the model: z from the prior, then x from p(x|z).

        Levels of categories are drawn by their probabilities, and columns of whole numbers are
        rounded.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState or None, default=None
        missing : bool, default=False
            Whether cells are missing, at random, as often as those of their column in training.

        Returns
        -------
        ndarray of shape (n_samples, n_features), or that of the images
            A data frame if the training rows were one with other columns than numbers.
        """
        check_is_fitted(self)
        if not integer(1).holds(n_samples):
            raise ParameterError(
                f"n_samples must be {integer(1).words}. Got {n_samples!r} instead."
            )
        rng = check_random_state(random_state)
        return self.model_.sample(n_samples, rng, missing=missing)

    def decode(self, z: ArrayLike, member: int | None = None) -> Array:
        """Decode latent codes to expected rows.

        Latent spaces of different members are unrelated: the same code means different
        things to them.

        Parameters
        ----------
        z : array-like of shape (n_samples, latent_dim)
        member : int, optional
            Index of the member that decodes; by default the mean over all.

        Returns
        -------
        ndarray of shape (n_samples, n_features), or that of the images

        Raises
        ------
        DataError
            If the codes have another number of dimensions.
        ParameterError
            If there is no such member.
        """
        check_is_fitted(self)
        spec = self.model_.network.spec
        codes = np.asarray(z, dtype=np.float64)
        if codes.ndim != 2 or codes.shape[1] != spec.latent:
            raise DataError(
                f"Expected codes of shape (n, {spec.latent}), got {codes.shape}. `transform` makes "
                f"such codes for each member."
            )
        if member is not None and not (integer(0).holds(member) and member < spec.members):
            raise ParameterError(
                f"member must be None or an int from 0 to {spec.members - 1}, for the detector "
                f"has {spec.members}. Got {member!r} instead."
            )
        return self.model_.decode(codes, member)

    def interpolate(self, a: ArrayLike, b: ArrayLike, steps: int = 8) -> Array:
        """Decode codes on the straight line between those of two rows or images.

        Parameters
        ----------
        a, b : array-like of shape (n_features,), or images
        steps : int, default=8
            At least 2: the reconstructions of `a` and `b` are the ends.

        Returns
        -------
        ndarray of shape (steps, n_features), or that of the images
        """
        import pandas as pd

        if isinstance(a, pd.Series) and isinstance(b, pd.Series):  # rows of a frame
            ends = self._records(pd.DataFrame([a, b]).infer_objects())
        else:
            ends = self._records(np.ma.stack([a, b]))
        return self.model_.interpolate(ends, steps)

    def contribution_maps(self, X: ArrayLike) -> tuple[Array, Array]:
        """Split the anomaly scores of images by pixel.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width) or (..., channels)

        Returns
        -------
        maps : ndarray of shape (n_samples, height, width)
            Contributions in nats, channels summed. With `features` those of `anomaly_maps`.
        kl : ndarray of shape (n_samples,)
            Contribution of the latent code; with the sum of the map it is the score. With
            `features` zero: the score is the mean of the most anomalous patches.

        Raises
        ------
        DataError
            If the detector was not fitted on images.
        """
        records = self._image_records(X, "contribution_maps")
        return self.model_.contribution_maps(records)

    def anomaly_maps(self, X: ArrayLike) -> Array:
        """Compute where images are anomalous, whatever their scores are made of.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width) or (..., channels)

        Returns
        -------
        ndarray of shape (n_samples, height, width)
            In nats, less half of the mean over each image, and divided by the fourth root of the
            standard deviation over it. Half the mean squared difference between the
            surroundings of a pixel and the most similar ones of the training images around the
            same place, of pixels and of their gradients, each divided by its standard
            deviation. With `features` scores of patches, interpolated between their centres: of
            gradients "exemplar", of a network the mean of "exemplar" and "elbo", averaged with
            the scores of gradients, which are scaled to the same deviation.

        Raises
        ------
        DataError
            If the detector was not fitted on images.
        """
        records = self._image_records(X, "anomaly_maps")
        return self.model_.anomaly_maps(records)

    def _image_records(self, X: ArrayLike, method: str) -> Records:
        records = self._records(X)
        if self.model_.encoder.shape is None:
            raise DataError(f"{method} is for images. Use explain.")
        return records
