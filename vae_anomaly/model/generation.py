"""What a fitted detector can make: codes, reconstructions, new rows, and maps of why."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from vae_anomaly._parameters import integer
from vae_anomaly.data.image.pixels import as_images, as_rows
from vae_anomaly.exceptions import DataError, ParameterError

if TYPE_CHECKING:
    from vae_anomaly.data.image.pixels import ImageShape
    from vae_anomaly.data.scaling import ColumnScaler
    from vae_anomaly.networks.spec import NetworkSpec

__all__ = ["GenerativeMixin"]

Array = NDArray[np.float64]


class GenerativeMixin:
    """The generative side of `VAEDetector`."""

    if TYPE_CHECKING:
        columns_: ColumnScaler
        network_spec_: NetworkSpec
        weights_: NDArray[np.float32]
        noise_: NDArray[np.float32]
        prior_: NDArray[np.float32] | None
        image_shape_: ImageShape | None
        picture_scale_: float

        def _validated(self, X: ArrayLike) -> Array: ...
        def _contributions(self, rows: Array) -> Array: ...

    def _as_given(self, rows: Array) -> Any:
        """Turn rows into what the detector was fitted on: rows, or images."""
        if self.image_shape_ is None:
            return rows
        return as_images(rows, self.image_shape_, self.picture_scale_)

    @property
    def _n_features_out(self) -> int:
        return int(self.weights_.shape[0] * self.noise_.shape[1])

    def reconstruct(self, X: ArrayLike) -> Array:
        """Rebuild rows from their codes: what the model would have expected to see.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features), or that of the images
            Means of p(x|z) at the posterior means, averaged over members.
        """
        from vae_anomaly.inference.passes import posterior

        x = self.columns_.network_input(self._validated(X))
        _, _, rebuilt = posterior(self.network_spec_, self.weights_, x)
        given = as_rows(X)
        rows = self.columns_.from_target(rebuilt, self.network_spec_.likelihood)
        return rows if given.shape is None else as_images(rows, given.shape, given.scale)

    def sample(
        self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None
    ) -> Array:
        """Draw new rows from the model: z from the prior, then x from p(x|z).

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState or None, default=None

        Returns
        -------
        ndarray of shape (n_samples, n_features), or that of the images
        """
        from vae_anomaly.inference.passes import draw_rows

        check_is_fitted(self)
        if not integer(1).holds(n_samples):
            raise ParameterError(
                f"n_samples must be {integer(1).words}. Got {n_samples!r} instead."
            )
        rng = check_random_state(random_state)
        drawn = draw_rows(self.network_spec_, self.weights_, n_samples, rng, self.prior_)
        return self._as_given(self.columns_.from_target(drawn, self.network_spec_.likelihood))

    def decode(self, z: ArrayLike, member: int | None = None) -> Any:
        """Decode latent codes: the expected rows, averaged over members, or those of one.

        Latent spaces of different members have nothing to do with each other:
        what one member makes of a code says nothing about the others.

        Parameters
        ----------
        z : array-like of shape (n_samples, latent_dim)
        member : int, optional
            Which one is to decode, counted from 0; by default all.

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
        from vae_anomaly.inference.passes import decode

        check_is_fitted(self)
        codes, latent = np.asarray(z, dtype=np.float64), self.network_spec_.latent
        if codes.ndim != 2 or codes.shape[1] != latent:
            raise DataError(
                f"Expected codes of shape (n, {latent}), got {codes.shape}. `transform` makes "
                f"such codes for each member."
            )
        spec, weights = self.network_spec_, self.weights_
        if member is not None:
            if not (integer(0).holds(member) and member < spec.members):
                raise ParameterError(
                    f"member must be None or an int from 0 to {spec.members - 1}, for the detector "
                    f"has {spec.members}. Got {member!r} instead."
                )
            spec, weights = replace(spec, members=1), weights[member : member + 1]
        decoded = decode(spec, weights, codes)
        return self._as_given(self.columns_.from_target(decoded, self.network_spec_.likelihood))

    def interpolate(self, a: ArrayLike, b: ArrayLike, steps: int = 8) -> Any:
        """Go from one row or image to another on the straight line between their codes.

        Parameters
        ----------
        a, b : array-like of shape (n_features,), or images
        steps : int, default=8
            At least 2: the reconstructions of `a` and `b` are the ends.

        Returns
        -------
        ndarray of shape (steps, n_features), or that of the images
        """
        from vae_anomaly.inference.passes import decode_members, posterior

        x = self.columns_.network_input(self._validated(np.stack([np.asarray(a), np.asarray(b)])))
        mean, _, _ = posterior(self.network_spec_, self.weights_, x)  # (2, members, latent)
        along = np.linspace(0.0, 1.0, steps)[:, None, None]
        codes = mean[0] + along * (mean[1] - mean[0])  # (steps, members, latent)
        decoded = decode_members(self.network_spec_, self.weights_, codes)
        return self._as_given(self.columns_.from_target(decoded, self.network_spec_.likelihood))

    def contribution_maps(self, X: ArrayLike) -> tuple[Array, Array]:
        """Split the anomaly scores of images into what each pixel adds to them.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width) or (..., channels)

        Returns
        -------
        maps : ndarray of shape (n_samples, height, width)
            In nats, channels summed. Each sums to the reconstruction part.
        kl : ndarray of shape (n_samples,)
            The latent code's part; with the map's sum it makes the score.

        Raises
        ------
        DataError
            If the detector was not fitted on images.
        """
        rows = self._validated(X)
        if self.image_shape_ is None:
            raise DataError("contribution_maps is for images; for rows there is explain.")
        parts = self._contributions(rows)
        height, width, channels = self.image_shape_
        maps = parts[:, :-1].reshape(-1, height, width, channels).sum(axis=-1)
        return maps, parts[:, -1]
