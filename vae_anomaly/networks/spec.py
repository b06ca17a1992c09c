"""Structure of networks in plain values, without Keras.

A `NetworkSpec` determines the weights of a model file, and is the key by which compiled
functions are cached.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, wraps
from itertools import pairwise
from math import prod
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from vae_anomaly.networks.custom import CustomNetworks
from vae_anomaly.stats.likelihoods import Block, JointLikelihood

__all__ = ["MAX_WEIGHT", "ConvPlan", "NetworkSpec", "cached_by_spec"]


P = ParamSpec("P")
T = TypeVar("T")

MAX_WEIGHT = 1e12
"""Absolute value that no weight exceeds: a product of three stays below the end of float32.

With larger ones networks overflow at once."""

MIN_SIDE = 8
"""Convolutions halve a grid until its longer side is at most this."""

FIRST_FILTERS, MAX_FILTERS = 32, 128


@dataclass(frozen=True)
class ConvPlan:
    """Sizes of a convolutional encoder, which its decoder mirrors.

    Attributes
    ----------
    sizes : tuple of (height, width, channels)
        Of the grid, and after each convolution.

    Examples
    --------
    >>> ConvPlan.for_grid((28, 28, 1)).sizes
    ((28, 28, 1), (14, 14, 32), (7, 7, 64))
    """

    sizes: tuple[tuple[int, int, int], ...]

    @classmethod
    def for_grid(cls, shape: tuple[int, int, int]) -> ConvPlan:
        """Halve until the longer side is small, doubling the filters; at least once."""
        sizes, filters = [shape], FIRST_FILTERS
        while len(sizes) == 1 or max(sizes[-1][:2]) > MIN_SIDE:
            height, width, _ = sizes[-1]
            sizes.append(((height + 1) // 2, (width + 1) // 2, filters))
            filters = min(2 * filters, MAX_FILTERS)
        return cls(tuple(sizes))

    @property
    def filters(self) -> tuple[int, ...]:
        """Channels after each convolution."""
        return tuple(channels for _, _, channels in self.sizes[1:])

    @property
    def pixels(self) -> int:
        """Numbers in a grid."""
        return prod(self.sizes[0])

    @property
    def flat(self) -> int:
        """Numbers after the last convolution."""
        return prod(self.sizes[-1])


@dataclass(frozen=True)
class NetworkSpec:
    """Structure of a VAE.

    Parameters
    ----------
    members : int
        Networks side by side.
    n_inputs : int
        Inputs of the encoder.
    blocks : tuple of Block
        Targets, and their likelihoods.
    hidden : tuple of int
        Units of the encoder's hidden layers; the decoder mirrors them.
    latent : int
        Latent dimensions.
    variance : float or None
        Fixed variance of the Gaussian; None when it is learned.
    noiseless : bool
        True for an autoencoder, which decodes posterior means instead of samples.
    grid : tuple of (height, width, channels) or None
        None for dense networks; else the shape of the inputs for convolutional ones, and
        `hidden` comes after the convolutions.
    batch_norm : bool
        Whether the outputs of the inner convolutions are normalised.
    custom : CustomNetworks or None
        Custom networks, instead of all of these.
    has_masks : bool
        Whether inputs are the targets, and then for each feature whether it is observed. Such
        networks learn with hidden features, to predict each from the others.
    """

    members: int
    n_inputs: int
    blocks: tuple[Block, ...]
    hidden: tuple[int, ...]
    latent: int
    variance: float | None = None
    noiseless: bool = False
    grid: tuple[int, int, int] | None = None
    batch_norm: bool = False
    custom: CustomNetworks | None = None
    has_masks: bool = False

    @cached_property
    def feature_of_input(self) -> NDArray[np.intp]:
        """Number of the feature that each input belongs to, where there are masks: (n_inputs,)."""
        return np.concatenate([self.joint.feature_of_target, np.arange(self.joint.n_features)])

    @cached_property
    def joint(self) -> JointLikelihood:
        """Likelihood of all targets."""
        return JointLikelihood(self.blocks, self.variance)

    @property
    def needs_autograph(self) -> bool:
        """Whether layers may branch on tensors in Python, which TensorFlow then converts."""
        return self.custom is not None

    @cached_property
    def is_dense(self) -> bool:
        """Whether the networks are this package's dense ones."""
        return self.grid is None and self.custom is None

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight of one member, in the model's order.

        First the trainable ones, then the state: moving statistics, and fixed parameters
        of likelihoods.

        Examples
        --------
        >>> NetworkSpec(1, 3, (Block("gaussian", 3),), (4,), 2).weight_shapes()["encoder_0.kernel"]
        (3, 4)
        """
        return self._trainable_shapes() | self._state_shapes()

    def _trainable_shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        if self.custom is not None:
            shapes |= self.custom.shapes(trainable=True)
        elif self.grid is not None:
            plan = ConvPlan.for_grid(self.grid)
            channels = [plan.sizes[0][2], *plan.filters]
            shapes |= _conv_shapes("encoder_conv", channels, batch_norm=self.batch_norm)
            shapes |= _dense_shapes("encoder", [plan.flat, *self.hidden, 2 * self.latent])
            # The first layer of the decoder is its only dense one: named 0, not out.
            shapes |= {"decoder_0.kernel": (self.latent, plan.flat), "decoder_0.bias": (plan.flat,)}
            grown = [plan.filters[-1], *reversed(plan.filters)]
            shapes |= _conv_shapes(
                "decoder_conv", grown, transposed=True, batch_norm=self.batch_norm
            )
            made = channels[0] * self.joint.n_outputs // self.joint.n_targets
            shapes["decoder_out.kernel"] = (3, 3, made, channels[1])
            shapes["decoder_out.bias"] = (made,)
        else:
            shapes |= _dense_shapes("encoder", [self.n_inputs, *self.hidden, 2 * self.latent])
            shapes |= _dense_shapes(
                "decoder", [self.latent, *self.hidden[::-1], self.joint.n_outputs]
            )
        sizes = self.joint.parameter_sizes
        return shapes | {name: (sizes[name],) for name in self.joint.learned}

    def _state_shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        if self.custom is not None:
            shapes = self.custom.shapes(trainable=False)
        elif self.grid is not None and self.batch_norm:
            filters = ConvPlan.for_grid(self.grid).filters
            shapes = {
                f"{name}_conv_{i}.{moving}": (channels,)
                for name, order in (("encoder", filters), ("decoder", filters[::-1]))
                for i, channels in enumerate(order)
                for moving in ("moving_mean", "moving_variance")
            }
        sizes, learned = self.joint.parameter_sizes.items(), self.joint.learned
        return shapes | {name: (size,) for name, size in sizes if name not in learned}

    def unpack(self, weights: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Split a weight matrix into named arrays, (members, *shape) each."""
        shapes = self.weight_shapes()
        ends = np.cumsum([prod(shape) for shape in shapes.values()])
        parts = np.split(weights, ends[:-1], axis=1)
        return {
            name: part.reshape(self.members, *shape)
            for (name, shape), part in zip(shapes.items(), parts, strict=True)
        }

    def pack(self, arrays: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Join named arrays to a weight matrix: (members, n_weights)."""
        parts = [arrays[name].reshape(self.members, -1) for name in self.weight_shapes()]
        return np.concatenate(parts, axis=1)

    @property
    def n_trainable(self) -> int:
        """Trainable weights of one member, which come first."""
        return sum(prod(shape) for shape in self._trainable_shapes().values())

    @property
    def n_state(self) -> int:
        """Weights of one member without a gradient, which follow."""
        return sum(prod(shape) for shape in self._state_shapes().values())

    @property
    def n_weights(self) -> int:
        """Weights of one member, state included."""
        return self.n_trainable + self.n_state


def cached_by_spec(
    build: Callable[Concatenate[NetworkSpec, P], T],
) -> Callable[Concatenate[NetworkSpec, P], T]:
    """Cache the results of a function of a spec.

    The last 64 results are kept; those for custom networks as long as the networks.
    """
    shared: Callable[..., T] = lru_cache(maxsize=64)(build)

    @wraps(build)
    def once(spec: NetworkSpec, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if spec.custom is None:
            return shared(spec, *args, **kwargs)
        made: dict[Hashable, T] = spec.custom.compiled
        key = (build, spec, *args, *kwargs.items())
        if key not in made:
            made[key] = build(spec, *args, **kwargs)
        return made[key]

    return once


def _dense_shapes(name: str, sizes: list[int]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    last = len(sizes) - 2
    for i, (inputs, units) in enumerate(pairwise(sizes)):
        layer = f"{name}_{'out' if i == last else i}"
        shapes |= {f"{layer}.kernel": (inputs, units), f"{layer}.bias": (units,)}
    return shapes


def _conv_shapes(
    name: str, channels: list[int], *, transposed: bool = False, batch_norm: bool = False
) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (inputs, filters) in enumerate(pairwise(channels)):
        # Keras puts the outputs of a transposed convolution before its inputs.
        ends = (filters, inputs) if transposed else (inputs, filters)
        shapes |= {f"{name}_{i}.kernel": (3, 3, *ends), f"{name}_{i}.bias": (filters,)}
        if batch_norm:
            shapes |= {f"{name}_{i}.gamma": (filters,), f"{name}_{i}.beta": (filters,)}
    return shapes
