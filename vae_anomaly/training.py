"""The training loop: gradient steps in the graph, decisions between them in Python.

One *round* is some hundred gradient steps in a single TensorFlow call. After
each, the loop notes the losses, looks at held-out rows where there are any,
tells whoever is watching, and decides whether to go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vae_anomaly._backend import keras
from vae_anomaly.exceptions import DivergenceError
from vae_anomaly.history import History
from vae_anomaly.networks import NetworkSpec, built_once
from vae_anomaly.scaling import Columns
from vae_anomaly.vae import ElboTerms, build_vae

__all__ = ["OPTIMIZERS", "Adam", "Plan", "RMSprop", "TrainingRows", "train"]

ops = keras.ops

Tensor = Any
Rows = NDArray[np.intp]

WATCHED_SHARE = 0.1
MAX_WATCHED_ROWS = 2000
"""Rows that a member is stopped by instead of learning from them; others learn from them."""

CLIP_NORM = 5.0
"""Length to which the gradient of a member is shortened."""


class TrainingRows(NamedTuple):
    """What there is to learn from."""

    x: NDArray[np.float32]  # (versions n, columns), what the encoder sees
    target: NDArray[np.float32]  # (versions n, columns), what the likelihood explains
    versions: int = 1  # of each row: i, i + n, i + 2 n and so on are one

    @classmethod
    def of(cls, versions: Iterable[NDArray[np.float64]], columns: Columns, family: str) -> Self:
        """Prepare versions of the same rows, (n, all columns) each, for a likelihood's family."""
        seen: list[NDArray[np.float32]] = []
        explained: list[NDArray[np.float32]] = []
        for rows in versions:
            inputs, target = columns.input_and_target(rows, family)
            seen.append(inputs.astype(np.float32))
            explained.append(seen[-1] if target is inputs else target.astype(np.float32))
        x = np.concatenate(seen)
        same = explained[0] is seen[0]
        return cls(x, x if same else np.concatenate(explained), len(seen))

    def divide(self, members: int, rng: np.random.RandomState) -> tuple[Rows, Rows]:
        """Rows that each member learns from, and k that it watches: (members, ...) both.

        Of the rows that it watches it learns from no version, and watches the first.
        """
        n = len(self.x) // self.versions
        k = min(MAX_WATCHED_ROWS, int(WATCHED_SHARE * n))
        orders = np.stack([rng.permutation(n) for _ in range(members)])
        learned = [orders[:, k:] + n * version for version in range(self.versions)]
        return np.concatenate(learned, axis=1), orders[:, :k]


@dataclass(frozen=True)
class Plan:
    """How to train: those parameters of a `VAEDetector` that the loop needs, and its own."""

    beta: float = 1.0
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    batch_size: int = 128
    max_steps: int = 3000
    patience: int = 10
    round_steps: int = 100

    @classmethod
    def of(cls, detector: Any) -> Self:
        """Take what a detector has a parameter for."""
        names = [field.name for field in fields(cls) if hasattr(detector, field.name)]
        return cls(**{name: getattr(detector, name) for name in names})


class Best(NamedTuple):
    """Weights of each member when it did best on the rows that it is stopped by."""

    weights: Tensor  # (members, n_weights)
    losses: Any = np.inf  # (members,)
    rounds_ago: int = 0

    def or_better(self, weights: Tensor, losses: NDArray[np.float32]) -> Best:
        """Keep the better of old and new, member by member."""
        better = losses < self.losses
        return Best(
            tf.where(better[:, None], weights, self.weights),
            np.where(better, losses, self.losses),
            0 if better.any() else self.rounds_ago + 1,
        )


class AdamState(NamedTuple):
    """Running moments of the gradient."""

    step: Tensor
    first: Tensor  # (members, n_weights)
    second: Tensor  # (members, n_weights)


class Adam(NamedTuple):
    """Adam on a weight matrix with a row per member, as a pure function.

    Kingma and Ba, "Adam: a method for stochastic optimization", section 2
    (:arxiv:`1412.6980`). Keras' own optimisers keep their state in variables,
    which would tie a compiled round to one detector.
    """

    learning_rate: Tensor
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7

    def start(self, weights: Tensor) -> AdamState:
        """State before the first step."""
        return AdamState(tf.zeros((), tf.float32), tf.zeros_like(weights), tf.zeros_like(weights))

    def update(
        self, weights: Tensor, gradient: Tensor, state: AdamState
    ) -> tuple[Tensor, AdamState]:
        """Take one step."""
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
    Coursera, 2012; constants and the place of `epsilon` are those of Keras.
    """

    learning_rate: Tensor
    rho: float = 0.9
    epsilon: float = 1e-7

    def start(self, weights: Tensor) -> RMSpropState:
        """State before the first step."""
        return RMSpropState(tf.zeros_like(weights))

    def update(
        self, weights: Tensor, gradient: Tensor, state: RMSpropState
    ) -> tuple[Tensor, RMSpropState]:
        """Take one step."""
        square = self.rho * state.square + (1 - self.rho) * tf.square(gradient)
        step = self.learning_rate * gradient / tf.sqrt(square + self.epsilon)
        return weights - step, RMSpropState(square)


OPTIMIZERS: dict[str, Callable[[Tensor], Any]] = {"adam": Adam, "rmsprop": RMSprop}
"""Each `start`s a state for weights, and `update`s weights and state by a gradient."""


def clipped(gradient: Tensor) -> Tensor:
    """Shorten gradients, (members, n_weights), member by member: none disturbs another."""
    return tf.clip_by_norm(gradient, CLIP_NORM, axes=[1])


def losses_of_members(terms: ElboTerms, beta: Tensor) -> Tensor:
    """Mean over rows of loss, reconstruction error and KL: (3, members), in nats."""
    reconstruction = -ops.mean(ops.sum(terms.log_likelihood, axis=-1), axis=(1, 2))
    kl = ops.mean(ops.sum(terms.kl, axis=-1), axis=1)
    return ops.stack([reconstruction + beta * kl, reconstruction, kl])


def _signature(spec: NetworkSpec) -> tuple[Any, Any, Any]:
    """Types of rows, weights and numbers: spelled out, so that each is traced once."""
    return (
        tf.TensorSpec([None, spec.columns], tf.float32),
        tf.TensorSpec([spec.members, spec.n_weights], tf.float32),
        tf.TensorSpec([], tf.float32),
    )


@built_once
def compiled_round(spec: NetworkSpec, optimizer: str) -> Callable[..., Any]:
    """Many gradient steps as one TensorFlow function."""
    vae = build_vae(spec)
    rows, weights, number = _signature(spec)
    # Of what has no gradient, such as moving statistics, no moments are kept.
    zeros = tf.zeros([spec.members, spec.n_trainable])
    before = OPTIMIZERS[optimizer](0.0).start(zeros)

    @tf.function(
        input_signature=[
            weights,
            tf.nest.map_structure(tf.TensorSpec.from_tensor, before),
            tf.TensorSpec([None, spec.members, None], tf.int32),
            rows,
            rows,
            tf.TensorSpec([2], tf.int32),
            number,
            number,
        ]
    )
    def run_round(
        weights: Tensor,
        moments: Any,
        batches: Tensor,  # (steps, members, batch), row numbers
        x: Tensor,
        target: Tensor,
        seed: Tensor,  # (2,), of the first step; the next count on
        beta: Tensor,
        learning_rate: Tensor,
    ) -> Any:
        def step(i: Tensor, weights: Tensor, state: Tensor, moments: Any, losses: Tensor) -> Any:
            rows = batches[i]  # (members, batch)
            shape = [spec.members, 1, tf.shape(rows)[1], spec.latent]
            now_seed = tf.stack([seed[0], seed[1] + i])
            noise = tf.random.stateless_normal(shape, now_seed)
            with tf.GradientTape() as tape:
                tape.watch(weights)
                with vae.holding(weights, state, seed=now_seed) as scope:
                    seen, explained = tf.gather(x, rows), tf.gather(target, rows)
                    terms = vae.elbo(seen, explained, noise, training=True)
                now = losses_of_members(terms, beta)
                # The sum over members, so that each follows its own gradient only.
                total = tf.reduce_sum(now[0])
            gradient = tape.gradient(total, weights)
            rule = OPTIMIZERS[optimizer](learning_rate)
            weights, moments = rule.update(weights, clipped(gradient), moments)
            state = vae.state_after(scope, state)
            return i + 1, weights, state, moments, losses + tf.reduce_mean(now, axis=1)

        steps = tf.shape(batches)[0]
        trainable, state = tf.split(weights, [spec.n_trainable, spec.n_state], axis=1)
        _, trainable, state, moments, losses = tf.while_loop(
            lambda i, *_: i < steps, step, (0, trainable, state, moments, tf.zeros(3))
        )
        weights = tf.concat([trainable, state], axis=1)
        return weights, moments, losses / tf.cast(steps, tf.float32)

    return run_round


@built_once
def compiled_held_out_loss(spec: NetworkSpec) -> Callable[..., Any]:
    """Losses of the members on rows that they do not learn from: (members,)."""
    vae = build_vae(spec)
    _, weights, number = _signature(spec)
    rows = tf.TensorSpec([spec.members, None, spec.columns], tf.float32)
    noise = tf.TensorSpec([1, 1, None, spec.latent], tf.float32)

    @tf.function(input_signature=[weights, rows, rows, noise, number])
    def held_out_loss(
        weights: Tensor, x: Tensor, target: Tensor, noise: Tensor, beta: Tensor
    ) -> Any:
        with vae.holding(weights):
            return losses_of_members(vae.elbo(x, target, noise), beta)[0]

    return held_out_loss


def shuffled_batches(
    learned: Rows, batch_size: int, rng: np.random.RandomState
) -> Iterator[NDArray[np.int32]]:
    """Yield row numbers for ever, (members, batch): each member's rows in a new order each epoch.

    Batches run across the ends of epochs, so that none is short.
    """
    batch_size = min(batch_size, learned.shape[1])
    queue = np.empty((len(learned), 0), dtype=np.int32)
    while True:
        if queue.shape[1] < batch_size:
            epoch = np.stack([rng.permutation(rows) for rows in learned]).astype(np.int32)
            queue = np.concatenate([queue, epoch], axis=1)
        yield queue[:, :batch_size]
        queue = queue[:, batch_size:]


def train(
    spec: NetworkSpec,
    data: TrainingRows,
    plan: Plan,
    rng: np.random.RandomState,
    on_round: Callable[[History], object] | None = None,
) -> tuple[NDArray[np.float32], History]:
    """Fit the weights of all members.

    Parameters
    ----------
    spec : NetworkSpec
    data : TrainingRows
    plan : Plan
    rng : RandomState
        Source of the starting weights, the order of rows and the noise.
    on_round : callable, optional
        Called with the history so far after each round; training ends if it returns True.

    Returns
    -------
    weights : ndarray of shape (members, n_weights), float32
    history : History

    Raises
    ------
    DivergenceError
        If a loss is no longer a finite number.
    """
    run_round = compiled_round(spec, plan.optimizer)
    held_out_loss = compiled_held_out_loss(spec)
    weights = tf.constant(build_vae(spec).initial_weights(rng))
    seed, learning_rate = int(rng.randint(2**31 - 1)), tf.constant(plan.learning_rate, tf.float32)
    beta = tf.constant(plan.beta, tf.float32)
    moments = OPTIMIZERS[plan.optimizer](learning_rate).start(weights[:, : spec.n_trainable])
    learned, watched = data.divide(spec.members, rng)
    batches = shuffled_batches(learned, plan.batch_size, rng)
    x, target = tf.constant(data.x), tf.constant(data.target)
    # With fewer than ten rows there are none to spare, but weights must be looked at all the same.
    looked_at = watched if watched.size else learned
    held_out = [tf.gather(t, looked_at) for t in (x, target)]
    noise = rng.standard_normal((1, 1, looked_at.shape[1], spec.latent)).astype(np.float32)

    history, best = History(), Best(weights)
    for start in range(0, plan.max_steps, plan.round_steps):
        steps = min(plan.round_steps, plan.max_steps - start)
        block = np.stack([next(batches) for _ in range(steps)])
        weights, moments, losses = run_round(
            weights, moments, block, x, target, tf.constant([seed, start]), beta, learning_rate
        )
        loss, reconstruction, kl = (float(value) for value in losses.numpy())
        # The losses of training are from before its last step; these see the weights as they are.
        now = held_out_loss(weights, *held_out, noise, beta).numpy()
        if not np.isfinite([loss, *now]).all():
            raise DivergenceError(
                f"Training diverged: after {start + steps} steps the loss is not a finite number. "
                f"Lower learning_rate (it is {plan.learning_rate:g}), or look for extreme values "
                f"in the training rows."
            )
        history.add(start + steps, loss, reconstruction, kl)
        if watched.size:
            history.held_out.append(float(now.mean()))
            best = best.or_better(weights, now)
        else:
            best = Best(weights)
        told_to_end = on_round is not None and on_round(history)
        if told_to_end or best.rounds_ago >= plan.patience:
            break
    return best.weights.numpy(), history
