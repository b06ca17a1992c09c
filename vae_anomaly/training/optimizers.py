"""Optimizers as pure functions of weights, gradients and running moments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from vae_anomaly._types import Tensor
from vae_anomaly.networks.backend import tf

__all__ = ["Adam", "AdamState", "OPTIMIZERS", "RMSprop", "RMSpropState"]


class AdamState(NamedTuple):
    """Running moments of the gradient."""

    step: Tensor
    first: Tensor  # (members, n_weights)
    second: Tensor  # (members, n_weights)


class Adam(NamedTuple):
    """Adam on a weight matrix with a row per member, as a pure function.

    Kingma and Ba, "Adam: a method for stochastic optimization", section 2
    (:arxiv:`1412.6980`). Keras' own optimizers keep their state in variables,
    which would tie a compiled function to one detector.
    """

    learning_rate: Tensor
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7

    def start(self, weights: Tensor) -> AdamState:
        """Return the state before the first step."""
        return AdamState(tf.zeros((), tf.float32), tf.zeros_like(weights), tf.zeros_like(weights))

    def update(
        self, weights: Tensor, gradient: Tensor, state: AdamState
    ) -> tuple[Tensor, AdamState]:
        """Return weights and state after one step."""
        step = state.step + 1.0
        first = self.beta_1 * state.first + (1 - self.beta_1) * gradient
        second = self.beta_2 * state.second + (1 - self.beta_2) * tf.square(gradient)
        rate = self.learning_rate * tf.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)
        return (
            weights - rate * first / (tf.sqrt(second) + self.epsilon),
            AdamState(step, first, second),
        )


class RMSpropState(NamedTuple):
    """Running mean of the squared gradient."""

    square: Tensor  # (members, n_weights)


class RMSprop(NamedTuple):
    """RMSprop on a weight matrix with a row per member, as a pure function.

    Tieleman and Hinton, "Neural networks for machine learning", lecture 6e,
    Coursera, 2012; constants and the position of `epsilon` are those of Keras.
    """

    learning_rate: Tensor
    rho: float = 0.9
    epsilon: float = 1e-7

    def start(self, weights: Tensor) -> RMSpropState:
        """Return the state before the first step."""
        return RMSpropState(tf.zeros_like(weights))

    def update(
        self, weights: Tensor, gradient: Tensor, state: RMSpropState
    ) -> tuple[Tensor, RMSpropState]:
        """Return weights and state after one step."""
        square = self.rho * state.square + (1 - self.rho) * tf.square(gradient)
        step = self.learning_rate * gradient / tf.sqrt(square + self.epsilon)
        return weights - step, RMSpropState(square)


OPTIMIZERS: dict[str, Callable[[Tensor], Any]] = {"adam": Adam, "rmsprop": RMSprop}
"""Optimizers by name. Each has `start(weights)` and `update(weights, gradient, state)`."""
