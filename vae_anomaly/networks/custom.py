"""Custom networks: checks of an encoder and a decoder that are Keras models.

The models are structure: their weights are kept apart, as those of all networks are, and
the models themselves are never changed. This module does not import Keras: a user of Keras
models has imported it already.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable
from dataclasses import dataclass, field, fields, replace
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import Json, JsonObject, KerasModel, Tensor
from vae_anomaly.exceptions import ParameterError

__all__ = ["CustomNetworks", "CustomWeight", "is_pair"]

Shape = tuple[int, ...]

PARTS = ("encoder", "decoder")

MAX_RANK = 8
"""Maximum rank of a weight."""


class CustomWeight(NamedTuple):
    """One weight of a model."""

    shape: Shape
    trainable: bool


def is_pair(value: object) -> bool:
    """Return whether a value is a pair of Keras models."""
    keras = sys.modules.get("keras")  # without it there are no Keras models
    return (
        keras is not None
        and isinstance(value, tuple | list)
        and len(value) == 2
        and all(isinstance(model, keras.Model) for model in value)
    )


@dataclass(frozen=True)
class CustomNetworks:
    """An encoder and a decoder that fit each other and the data.

    Attributes
    ----------
    latent : int
        Latent dimensions.
    encoder_weights, decoder_weights : tuple of CustomWeight
        In the order of ``model.weights``.
    encoder, decoder : keras.Model or None
        None where they are only described, as by a model file.
    shape : tuple of int
        Shape of one row for the encoder.
    varying : tuple of int or None
        Columns that vary; None if all do. The others are constant inputs of the encoder,
        and outputs of the decoder for them are not used.
    """

    latent: int
    encoder_weights: tuple[CustomWeight, ...]
    decoder_weights: tuple[CustomWeight, ...]
    encoder: KerasModel = None
    decoder: KerasModel = None
    shape: Shape = ()
    varying: tuple[int, ...] | None = None
    compiled: dict[Hashable, Tensor] = field(default_factory=dict, compare=False, repr=False)
    """Results of `cached_by_spec`, which live as long as the networks."""

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return CustomNetworks, tuple(getattr(self, f.name) for f in fields(self) if f.compare)

    @classmethod
    def of(
        cls, models: KerasModel, varies: NDArray[np.bool_], grid: Shape | None
    ) -> CustomNetworks:
        """Check two models by the shapes of their inputs and outputs.

        Parameters
        ----------
        models : pair of keras.Model
            Encoder and decoder.
        varies : ndarray of shape (n_columns,)
            True for columns that vary.
        grid : tuple of (height, width, channels) or None
            Shape of the inputs for convolutions.

        Raises
        ------
        ParameterError
            If they do not fit each other or the data.
        VAEAnomalyError
            If TensorFlow cannot run here.
        """
        from vae_anomaly.networks.backend import check_tensorflow

        check_tensorflow()
        encoder, decoder = models
        shared = {id(w) for w in encoder.weights} & {id(w) for w in decoder.weights}
        if shared:
            raise ParameterError(
                "The encoder and the decoder share weights. Expected two models, each with "
                "weights of its own. Build the layers of each anew."
            )
        shape = _row_shape(encoder, len(varies), grid)
        latent = _latent(_output(encoder, shape))
        taken = _input_shape(decoder, "decoder")
        if not _matches(taken, (latent,)):
            raise ParameterError(
                f"The encoder makes codes of {latent} numbers, the decoder takes inputs of shape "
                f"{taken}. Give the decoder keras.Input(({latent},)), or the encoder outputs of "
                f"the decoder's size."
            )
        made = _output(decoder, (latent,))
        accepted = {shape, (len(varies),)}
        if isinstance(made, tuple | list | dict) or tuple(made.shape[1:]) not in accepted:
            words = " or ".join(map(str, sorted(accepted, key=len, reverse=True)))
            raise ParameterError(
                f"The decoder makes {_shapes(made)}. Expected one output of shape {words} for "
                f"each code: a mean for each number that the encoder takes, or its logit with "
                f"likelihood='bernoulli'."
            )
        return cls(
            latent,
            _weights(encoder, "encoder"),
            _weights(decoder, "decoder"),
            encoder,
            decoder,
            shape,
            None if varies.all() else tuple(int(i) for i in np.flatnonzero(varies)),
        )

    @classmethod
    def from_plain(cls, plain: Json) -> CustomNetworks:
        """Check a description from a file, and build from it what `as_plain` described.

        Raises
        ------
        ParameterError
            If it is not what `as_plain` returns.
        """
        if not isinstance(plain, dict) or set(plain) != {"latent", *PARTS}:
            raise ParameterError("Networks are described by latent, encoder and decoder.")
        if type(plain["latent"]) is not int or plain["latent"] < 1:
            raise ParameterError("The latent dimensions of networks must be an int >= 1.")
        for part in PARTS:
            if not isinstance(plain[part], list) or not all(map(_is_weight, plain[part])):
                raise ParameterError(f"Each weight of the {part} must be a shape and a truth.")
        encoder, decoder = (
            tuple(CustomWeight(tuple(shape), trainable) for shape, trainable in plain[part])
            for part in PARTS
        )
        return cls(plain["latent"], encoder, decoder)

    def as_plain(self) -> JsonObject:
        """Return a description of the weights in lists and numbers, without the models."""
        weights = {"encoder": self.encoder_weights, "decoder": self.decoder_weights}
        return {"latent": self.latent} | {
            part: [[list(weight.shape), weight.trainable] for weight in held]
            for part, held in weights.items()
        }

    def shapes(self, *, trainable: bool) -> dict[str, Shape]:
        """Return names and shapes of the trainable weights, or of the others."""
        return {
            f"{part}.{i:03}": weight.shape
            for part, weights in zip(
                PARTS, (self.encoder_weights, self.decoder_weights), strict=True
            )
            for i, weight in enumerate(weights)
            if weight.trainable == trainable
        }

    def like(self, described: CustomNetworks) -> CustomNetworks:
        """Return the networks with the order of weights of a description.

        The order depends on the layers that were trained, frozen now or not.

        Raises
        ------
        ParameterError
            If their sizes differ.
        """
        if self.latent != described.latent:
            raise ParameterError(
                f"The networks were fitted with {described.latent} latent dimensions, those given "
                f"have {self.latent}. Give the networks that were fitted."
            )
        for part in PARTS:
            before = getattr(described, f"{part}_weights")
            now = getattr(self, f"{part}_weights")
            if len(before) != len(now):
                raise ParameterError(
                    f"The {part} was fitted with {len(before)} weight arrays, the one given has "
                    f"{len(now)}. Give the networks that were fitted."
                )
            for i, (old, new) in enumerate(zip(before, now, strict=True)):
                if old.shape != new.shape:
                    raise ParameterError(
                        f"Weight {i} of the {part} was fitted with shape {old.shape}, in the one "
                        f"given it has {new.shape}. Give the networks that were fitted."
                    )
        return replace(
            self,
            encoder_weights=described.encoder_weights,
            decoder_weights=described.decoder_weights,
        )


def _is_weight(value: object) -> bool:
    """Return whether a value is a pair of a shape, of ints >= 1, and a boolean."""
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[0], list):
        return False
    shape, trainable = value
    # Exact types: True is an int in Python.
    sized = len(shape) <= MAX_RANK and all(type(side) is int and side >= 1 for side in shape)
    return sized and type(trainable) is bool


def _input_shape(model: KerasModel, part: str) -> tuple[int | None, ...]:
    """Return the shape of one input."""
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or not all(s is None or isinstance(s, int) for s in shape):
        got = "none" if shape is None else f"{shape}"
        raise ParameterError(
            f"The {part} {model.name!r} must be a functional or Sequential model that starts "
            f"from one keras.Input, so that its input_shape is known. Got {got} instead."
        )
    return shape[1:]


def _matches(shape: tuple[int | None, ...], wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(
        side in (None, expected) for side, expected in zip(shape, wanted, strict=True)
    )


def _row_shape(encoder: KerasModel, columns: int, grid: Shape | None) -> Shape:
    """Return the shape in which the encoder takes a row."""
    taken = _input_shape(encoder, "encoder")
    wanted: list[Shape] = [(columns,)]
    if grid is not None:
        flat = [grid[:2]] if grid[2] == 1 else []
        wanted = [grid, *flat, *wanted]
    elif None not in taken and prod(side or 0 for side in taken) == columns:
        wanted.append(tuple(side or 0 for side in taken))
    for shape in wanted:
        if _matches(taken, shape):
            return shape
    given = (
        f"rows of {columns} columns"
        if grid is None
        else f"a grid of shape {grid}, flattened or not"
    )
    raise ParameterError(
        f"The encoder takes inputs of shape {taken}, fit was given {given}. Give the encoder "
        f"keras.Input({wanted[0]}), or fit on what it takes."
    )


def _output(model: KerasModel, shape: Shape) -> KerasModel:
    """Return the symbolic outputs of a model for inputs of a shape."""
    keras = sys.modules["keras"]
    return model.compute_output_spec(keras.KerasTensor((None, *shape)))


def _latent(made: KerasModel) -> int:
    """Return the latent dimensions of an encoder, from its outputs."""
    if not isinstance(made, tuple | list | dict):
        if len(made.shape) == 2 and made.shape[1] and made.shape[1] % 2 == 0:
            return int(made.shape[1]) // 2
    elif not isinstance(made, dict) and len(made) >= 2:
        mean, log_variance = (tuple(part.shape[1:]) for part in made[:2])
        if mean == log_variance and len(mean) == 1 and mean[0]:
            return int(mean[0])
    raise ParameterError(
        f"The encoder makes {_shapes(made)}. Expected means and log-variances of the code: two "
        f"outputs of shape (latent,) each, others after them are ignored, or one of shape "
        f"(2 * latent,)."
    )


def _shapes(made: KerasModel) -> str:
    parts = made.values() if isinstance(made, dict) else made
    if not isinstance(made, tuple | list | dict):
        return f"one output of shape {tuple(made.shape[1:])}"
    container = " in a dict" if isinstance(made, dict) else ""
    return f"outputs of shapes {', '.join(str(tuple(p.shape[1:])) for p in parts)}{container}"


def _weights(model: KerasModel, part: str) -> tuple[CustomWeight, ...]:
    """Describe the weights, whose values must be exact in float32."""
    for weight in model.weights:
        values = weight.numpy()
        with np.errstate(over="ignore", invalid="ignore"):
            again = values.astype(np.float32).astype(values.dtype)
        if not np.array_equal(values, again):
            raise ParameterError(
                f"The weight {weight.path!r} of the {part}, of dtype {weight.dtype}, holds "
                f"numbers that float32 cannot. Build the model with dtype='float32', and its "
                f"weights finite."
            )
    return tuple(CustomWeight(tuple(w.shape), bool(w.trainable)) for w in model.weights)
