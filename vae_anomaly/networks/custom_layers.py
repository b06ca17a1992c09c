"""Keras layers around custom networks, with a leading members axis.

Each layer holds a copy of every weight of a model for each member, and runs the model
member by member in a stateless scope: the model reads and assigns the weights of the
member, and is never changed itself.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vae_anomaly._types import KerasModel, Tensor
from vae_anomaly.networks.backend import keras
from vae_anomaly.networks.custom import CustomNetworks, CustomWeight

__all__ = ["CustomDecoder", "CustomEncoder"]

ops = keras.ops


class CustomNetwork(keras.layers.Layer):
    """A custom network for each of several members.

    Parameters
    ----------
    members : int
    custom : CustomNetworks
        Not a layer or a container of layers, so that Keras does not track the variables
        of the custom network as variables of this layer.
    part : {"encoder", "decoder"}
    """

    def __init__(self, members: int, custom: CustomNetworks, part: str) -> None:
        super().__init__(dtype="float32", name=part)
        self.members, self.custom, self.part = members, custom, part
        weights: tuple[CustomWeight, ...] = getattr(custom, f"{part}_weights")
        self.copies = [
            self.add_weight(
                shape=(members, *weight.shape),
                initializer=_copies_of(theirs),
                trainable=weight.trainable,
                name=f"{part}.{i:03}",
            )
            for i, (weight, theirs) in enumerate(zip(weights, self.model.weights, strict=True))
        ]
        # The states of random layers are not weights. They are set from this generator.
        self.seeds = keras.random.SeedGenerator(0) if _seed_states(self.model) else None
        self.built = True

    @property
    def model(self) -> KerasModel:
        """The Keras model."""
        return getattr(self.custom, self.part)

    def run(self, x: Tensor, *, training: bool) -> Tensor:
        """Run the model on the rows of one member, (n, inputs): (n, outputs)."""
        raise NotImplementedError

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """Map (members, n, inputs) to (members, n, outputs)."""
        theirs, seeds = self.model.weights, _seed_states(self.model)
        values = [ops.convert_to_tensor(copy) for copy in self.copies]
        draws: Tensor = None
        if self.seeds is not None:
            draws = keras.random.randint(
                (self.members, len(seeds), 2), 0, 2**31 - 1, seed=self.seeds
            )
        outputs, scopes = [], []
        for m in range(self.members):
            mapping = [
                (variable, ops.cast(value[m], variable.dtype))
                for variable, value in zip(theirs, values, strict=True)
            ]
            mapping += [(s, ops.cast(draws[m, j], s.dtype)) for j, s in enumerate(seeds)]
            with keras.StatelessScope(state_mapping=mapping) as scope:
                outputs.append(ops.cast(self.run(x[m], training=training), "float32"))
            scopes.append(scope)
        for variable, copy in zip(theirs, self.copies, strict=True):
            if training and not copy.trainable:
                moved = [ops.cast(s.get_current_value(variable), "float32") for s in scopes]
                copy.assign(ops.stack(moved))
        return ops.stack(outputs)


class CustomEncoder(CustomNetwork):
    """Rows (members, n, columns) to means and log-variances (members, n, 2 latent)."""

    def __init__(self, members: int, custom: CustomNetworks) -> None:
        super().__init__(members, custom, "encoder")

    def run(self, x: Tensor, *, training: bool) -> Tensor:
        """Reshape rows for the model, and join its outputs."""
        if self.custom.varying is not None:
            # Standardised constant columns are zero.
            places = np.full(np.prod(self.custom.shape), len(self.custom.varying))
            places[list(self.custom.varying)] = np.arange(len(self.custom.varying))
            x = ops.take(ops.pad(x, ((0, 0), (0, 1))), places, axis=1)
        made = self.model(ops.reshape(x, (-1, *self.custom.shape)), training=training)
        return ops.concatenate(made[:2], axis=-1) if isinstance(made, tuple | list) else made


class CustomDecoder(CustomNetwork):
    """Codes (members, n, latent) to parameters of p(x|z), (members, n, columns)."""

    def __init__(self, members: int, custom: CustomNetworks) -> None:
        super().__init__(members, custom, "decoder")

    def run(self, x: Tensor, *, training: bool) -> Tensor:
        """Flatten the outputs of the model, without constant columns."""
        made = ops.reshape(self.model(x, training=training), (-1, int(np.prod(self.custom.shape))))
        varying = self.custom.varying
        return made if varying is None else ops.take(made, np.asarray(varying), axis=1)


def _copies_of(variable: Tensor) -> Callable[..., Tensor]:
    """Return an initializer with the current value of a variable, for every member."""

    def start(shape: tuple[int, ...], dtype: str | None = None) -> Tensor:
        return ops.broadcast_to(ops.cast(variable, dtype), shape)

    return start


def _seed_states(model: KerasModel) -> list[Tensor]:
    """Return the states of seed generators, which are variables but not weights."""
    return [v for v in model.variables if v.name == "seed_generator_state"]
