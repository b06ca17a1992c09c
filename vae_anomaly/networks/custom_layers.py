"""Keras layers around a user's own encoder and decoder, with a leading members axis.

Each layer holds a copy of every weight of the model for each member, and runs the
model member by member inside a stateless scope: what the model reads and
assigns are the member's own numbers, and the model stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vae_anomaly.networks.backend import keras
from vae_anomaly.networks.custom import CustomNetworks, CustomWeight

__all__ = ["CustomDecoder", "CustomEncoder"]

ops = keras.ops

Tensor = Any


class CustomNetwork(keras.layers.Layer):
    """A user's model for each of several members.

    Parameters
    ----------
    members : int
    custom : CustomNetworks
        Not a layer or a container of them, so that Keras does not take the
        user's variables for this layer's.
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
        # Random layers draw from states that are no weights. They get theirs from this one.
        self.seeds = keras.random.SeedGenerator(0) if _seed_states(self.model) else None
        self.built = True

    @property
    def model(self) -> Any:
        """The user's model."""
        return getattr(self.custom, self.part)

    def run(self, x: Tensor, *, training: bool) -> Tensor:
        """Run the model on the rows of one member, (n, inputs): (n, outputs)."""
        raise NotImplementedError

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """Map (members, n, inputs) to (members, n, outputs)."""
        theirs, seeds = self.model.weights, _seed_states(self.model)
        values = [ops.convert_to_tensor(copy) for copy in self.copies]
        draws: Any = None
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
        """Bring rows to the shape that the model takes, and join what it makes."""
        if self.custom.varying is not None:
            # Standardised, the columns that do not vary are zero.
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
        """Flatten what the model makes, and leave out what does not vary."""
        made = ops.reshape(self.model(x, training=training), (-1, int(np.prod(self.custom.shape))))
        varying = self.custom.varying
        return made if varying is None else ops.take(made, np.asarray(varying), axis=1)


def _copies_of(variable: Any) -> Callable[..., Tensor]:
    """Start every member from the value that a variable has now."""

    def start(shape: tuple[int, ...], dtype: Any = None) -> Tensor:
        return ops.broadcast_to(ops.cast(variable, dtype), shape)

    return start


def _seed_states(model: Any) -> list[Any]:
    """States of the seed generators in a model, which Keras counts as variables, not weights."""
    return [v for v in model.variables if v.name == "seed_generator_state"]
