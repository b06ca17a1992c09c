"""Networks by kind of data, and the plain description from which they are built.

`NetworkSpec` knows no Keras: it is what a model file stores, what compiled
functions are cached by, and what says which weights there must be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray

__all__ = ["NetworkSpec"]


@dataclass(frozen=True)
class NetworkSpec:
    """All that determines the shape of a VAE.

    Parameters
    ----------
    members : int
        Networks side by side.
    columns : int
        Inputs, and outputs, of each.
    hidden : tuple of int
        Units of the encoder's hidden layers; the decoder mirrors them.
    latent : int
        Latent dimensions.
    likelihood : {"gaussian", "bernoulli"}
        Family of p(x|z).
    variance : float or None
        Fixed variance of the Gaussian; None when it is learned.
    noiseless : bool
        True for an autoencoder: posterior means are decoded, not samples.
    """

    members: int
    columns: int
    hidden: tuple[int, ...]
    latent: int
    likelihood: str
    variance: float | None = None
    noiseless: bool = False

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight of one member, in the model's order.

        Examples
        --------
        >>> NetworkSpec(1, 3, (4,), 2, "gaussian").weight_shapes()["encoder_0.kernel"]
        (3, 4)
        """
        encoder = [self.columns, *self.hidden, 2 * self.latent]
        decoder = [self.latent, *reversed(self.hidden), self.columns]
        shapes: dict[str, tuple[int, ...]] = {}
        for name, sizes in (("encoder", encoder), ("decoder", decoder)):
            last = len(sizes) - 2
            for i, (inputs, units) in enumerate(pairwise(sizes)):
                layer = f"{name}_{'out' if i == last else i}"
                shapes[f"{layer}.kernel"] = (inputs, units)
                shapes[f"{layer}.bias"] = (units,)
        if self.likelihood == "gaussian" and self.variance is None:
            shapes["log_variance"] = (self.columns,)
        return shapes

    def unpack(self, weights: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Cut a weight matrix into named arrays, (members, *shape) each."""
        shapes = self.weight_shapes()
        ends = np.cumsum([prod(shape) for shape in shapes.values()])
        parts = np.split(weights, ends[:-1], axis=1)
        return {
            name: part.reshape(self.members, *shape)
            for (name, shape), part in zip(shapes.items(), parts, strict=True)
        }

    def pack(self, arrays: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Undo `unpack`: (members, n_weights)."""
        parts = [arrays[name].reshape(self.members, -1) for name in self.weight_shapes()]
        return np.concatenate(parts, axis=1)

    @property
    def n_weights(self) -> int:
        """Weights of one member."""
        return sum(prod(shape) for shape in self.weight_shapes().values())
