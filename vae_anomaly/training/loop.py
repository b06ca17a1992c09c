"""The training loop: gradient steps in the graph, decisions between them in Python.

One *round* is a hundred gradient steps, in a single TensorFlow call where their
rows fit into one block. After each, the loop notes the losses, looks at held-out
rows where there are any, tells whoever is watching, and decides whether to go on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vae_anomaly.exceptions import DivergenceError
from vae_anomaly.networks.backend import has_gpu, keras
from vae_anomaly.networks.spec import NetworkSpec, cached_by_spec
from vae_anomaly.networks.vae import ElboTerms, build_vae
from vae_anomaly.training.batches import Block, TrainingData
from vae_anomaly.training.checkpoint import (
    Checkpointer,
    Snapshot,
    generator_state,
    set_generator_state,
)
from vae_anomaly.training.history import History
from vae_anomaly.training.optimizers import OPTIMIZERS

__all__ = ["Plan", "train"]

ops = keras.ops

Tensor = Any
CLIP_NORM = 5.0
"""Length to which the gradient of a member is shortened."""

MAX_BATCH_CELLS = 2**22
"""Numbers in the rows of one TensorFlow call, for memory's sake."""

MIN_COMPILED_STEPS = 2000
"""XLA takes two seconds to compile a step, and saves about one in a thousand steps."""


@dataclass(frozen=True)
class Plan:
    """How to train: those parameters of a `VAEDetector` that the loop needs, and its own."""

    beta: float = 1.0
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    batch_size: int = 128
    max_steps: int = 3000
    patience: int = 10
    contamination: float | None = None
    validation_interval: int = 100

    @classmethod
    def of(cls, detector: Any) -> Self:
        """Take what a detector has a parameter for."""
        names = [field.name for field in fields(cls) if hasattr(detector, field.name)]
        return cls(**{name: getattr(detector, name) for name in names})


class Best(NamedTuple):
    """Weights of each member when it did best on the rows that it is stopped by."""

    weights: Tensor  # (members, n_weights)
    losses: Any = np.inf  # (members,)
    intervals_since_best: int = 0

    def or_better(self, weights: Tensor, losses: NDArray[np.float32]) -> Best:
        """Keep the better of old and new, member by member."""
        better = losses < self.losses
        return Best(
            tf.where(better[:, None], weights, self.weights),
            np.where(better, losses, self.losses),
            0 if better.any() else self.intervals_since_best + 1,
        )


def clipped(gradient: Tensor) -> Tensor:
    """Shorten gradients, (members, n_weights), member by member: none disturbs another."""
    return tf.clip_by_norm(gradient, CLIP_NORM, axes=[1])


def losses_of_members(terms: ElboTerms, beta: Tensor, trimmed: float = 0.0) -> Tensor:
    """Mean over rows of loss, reconstruction error and KL: (3, members), in nats.

    Rows with the greatest losses, this share of them, are left out: those that the
    network would have to be bent for (Shen and Sanghavi, "Learning with bad training
    data via iterative trimmed loss minimization", ICML 2019, :arxiv:`1810.11874`).
    """
    if not trimmed:
        reconstruction = -ops.mean(ops.sum(terms.log_likelihood, axis=-1), axis=(1, 2))
        kl = ops.mean(ops.sum(terms.kl, axis=-1), axis=1)
        return ops.stack([reconstruction + beta * kl, reconstruction, kl])
    reconstruction = -ops.mean(ops.sum(terms.log_likelihood, axis=-1), axis=1)  # (members, n)
    of_rows = ops.stack([reconstruction, ops.sum(terms.kl, axis=-1)])
    loss = tf.stop_gradient(of_rows[0] + beta * of_rows[1])
    kept = tf.math.ceil((1.0 - trimmed) * tf.cast(tf.shape(loss)[1], loss.dtype))
    most = tf.sort(loss, axis=1)[:, tf.cast(kept, tf.int32) - 1]
    counts = loss <= most[:, None]
    total = tf.reduce_sum(tf.where(counts, of_rows, 0.0), axis=2)  # (2, members)
    reconstruction, kl = tf.unstack(total / tf.reduce_sum(tf.cast(counts, loss.dtype), axis=1))
    return ops.stack([reconstruction + beta * kl, reconstruction, kl])


def pays_to_compile(spec: NetworkSpec, plan: Plan) -> bool:
    """Tell whether XLA is worth its time: for small products that are repeated very often.

    It depends on what is asked for alone, not on how fast things go, so that
    the same call trains the same weights. Convolutions gain nothing; layers of
    the user's own and devices other than the CPU may not go through it.
    """
    dense = spec.image is None and spec.custom is None
    return dense and plan.max_steps >= MIN_COMPILED_STEPS and not has_gpu()


@cached_by_spec
def compiled_steps(
    spec: NetworkSpec, optimizer: str, *, trimmed: float, xla: bool
) -> Callable[..., Any]:
    """Many gradient steps as one TensorFlow function."""
    vae = build_vae(spec)
    rows = tf.TensorSpec([None, spec.members, None, spec.columns], tf.float32)
    number = tf.TensorSpec([], tf.float32)
    # Of what has no gradient, such as moving statistics, no moments are kept.
    zeros = tf.zeros([spec.members, spec.n_trainable])
    before = OPTIMIZERS[optimizer](0.0).start(zeros)

    @tf.function(
        jit_compile=xla,
        input_signature=[
            tf.TensorSpec([spec.members, spec.n_weights], tf.float32),
            tf.nest.map_structure(tf.TensorSpec.from_tensor, before),
            rows,
            rows,
            tf.TensorSpec([None, spec.members, None, spec.latent], tf.float32),
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([2], tf.int32),
            number,
            number,
        ],
    )
    def take_steps(
        weights: Tensor,
        moments: Any,
        x: Tensor,  # (at least steps, members, batch, columns)
        target: Tensor,
        noise: Tensor,  # (at least steps, members, batch, latent)
        steps: Tensor,
        seed: Tensor,  # (2,), of layers that draw in the first step; the next count on
        beta: Tensor,
        learning_rate: Tensor,
    ) -> Any:
        def step(i: Tensor, weights: Tensor, state: Tensor, moments: Any, losses: Tensor) -> Any:
            now_seed = tf.stack([seed[0], seed[1] + i])
            with tf.GradientTape() as tape:
                tape.watch(weights)
                with vae.with_weights(weights, state, seed=now_seed) as scope:
                    terms = vae.elbo(x[i], target[i], noise[i][:, None], training=True)
                now = losses_of_members(terms, beta, trimmed)
                # The sum over members, so that each follows its own gradient only.
                total = tf.reduce_sum(now[0])
            gradient = tape.gradient(total, weights)
            rule = OPTIMIZERS[optimizer](learning_rate)
            weights, moments = rule.update(weights, clipped(gradient), moments)
            state = vae.state_after(scope, state)
            return i + 1, weights, state, moments, losses + tf.reduce_mean(now, axis=1)

        trainable, state = tf.split(weights, [spec.n_trainable, spec.n_state], axis=1)
        _, trainable, state, moments, losses = tf.while_loop(
            lambda i, *_: i < steps, step, (0, trainable, state, moments, tf.zeros(3))
        )
        return tf.concat([trainable, state], axis=1), moments, losses

    return take_steps


@cached_by_spec
def compiled_held_out_loss(spec: NetworkSpec, *, trimmed: float) -> Callable[..., Any]:
    """Losses of the members on rows that they do not learn from: (members,)."""
    vae = build_vae(spec)
    weights = tf.TensorSpec([spec.members, spec.n_weights], tf.float32)
    number = tf.TensorSpec([], tf.float32)
    rows = tf.TensorSpec([spec.members, None, spec.columns], tf.float32)
    noise = tf.TensorSpec([1, 1, None, spec.latent], tf.float32)

    @tf.function(input_signature=[weights, rows, rows, noise, number])
    def held_out_loss(
        weights: Tensor, x: Tensor, target: Tensor, noise: Tensor, beta: Tensor
    ) -> Any:
        with vae.with_weights(weights):
            return losses_of_members(vae.elbo(x, target, noise), beta, trimmed)[0]

    return held_out_loss


class Training:
    """Weights on their way, round by round.

    Parameters
    ----------
    spec : NetworkSpec
    rows : TrainingData
    plan : Plan
    rng : RandomState
    """

    def __init__(
        self, spec: NetworkSpec, rows: TrainingData, plan: Plan, rng: np.random.RandomState
    ) -> None:
        self.plan, self.latent = plan, spec.latent
        trimmed = plan.contamination or 0.0
        self._take_steps = compiled_steps(
            spec, plan.optimizer, trimmed=trimmed, xla=pays_to_compile(spec, plan)
        )
        self._held_out_loss = compiled_held_out_loss(spec, trimmed=trimmed)
        self.weights = tf.constant(build_vae(spec).initial_weights(rng, rows.given))
        self._seed = int(rng.randint(2**31 - 1))
        self._bits = np.random.SFC64(self._seed)
        self._draws = np.random.Generator(self._bits)  # ten times as fast as a RandomState
        self._rates = [tf.constant(v, tf.float32) for v in (plan.beta, plan.learning_rate)]
        rule = OPTIMIZERS[plan.optimizer](self._rates[1])
        self.moments = rule.start(self.weights[:, : spec.n_trainable])
        self._at_once = steps_at_once(spec, plan)
        self._feed = rows.feed(spec.members, plan.batch_size, self._at_once, rng)
        self._held_out = as_tensors(self._feed.held_out)
        shape = (1, 1, self._feed.held_out.x.shape[1], spec.latent)
        self._watching_noise = rng.standard_normal(shape).astype(np.float32)
        self.best, self.history = Best(self.weights), History()

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to gain, or no step left."""
        steps = self.history.step
        ended = bool(steps) and steps[-1] >= self.plan.max_steps
        return ended or self.best.intervals_since_best >= self.plan.patience

    def look(self) -> NDArray[np.float32]:
        """Losses of the members on held-out rows, with the weights as they are."""
        beta, _ = self._rates
        loss = self._held_out_loss(self.weights, *self._held_out, self._watching_noise, beta)
        return loss.numpy()

    def run_interval(self) -> None:
        """Take the steps of a round, and note what they came to.

        Raises
        ------
        DivergenceError
            If a loss is no longer a finite number.
        """
        start = self.history.step[-1] if self.history.step else 0
        end, losses = min(start + self.plan.validation_interval, self.plan.max_steps), tf.zeros(3)
        for first in range(start, end, self._at_once):
            steps, block = min(self._at_once, end - first), next(self._feed.blocks)
            shape = (*block.x.shape[:-1], self.latent)
            noise = self._draws.standard_normal(shape, dtype=np.float32)
            given = (*as_tensors(block), noise, steps, tf.constant([self._seed, first]))
            self.weights, self.moments, more = self._take_steps(
                self.weights, self.moments, *given, *self._rates
            )
            losses += more
        loss, reconstruction, kl = (float(value) / (end - start) for value in losses.numpy())
        # The losses of training are from before its last step; these see the weights as they are.
        now = self.look()
        if not np.isfinite([loss, *now]).all():
            raise DivergenceError(
                f"Training diverged: after {end} steps the loss is not a finite number. Lower "
                f"learning_rate (it is {self.plan.learning_rate:g}), or look for extreme values "
                f"in the training rows."
            )
        self.history.add(end, loss, reconstruction, kl)
        if self._feed.watches:
            self.history.held_out.append(float(now.mean()))
            self.best = self.best.or_better(self.weights, now)
        else:
            self.best = Best(self.weights)

    def snapshot(self) -> Snapshot:
        """Put what training goes on from into arrays."""
        arrays = {"weights": self.weights.numpy()}
        arrays |= {f"moments.{k}": v.numpy() for k, v in self.moments._asdict().items()}
        history = self.history
        columns = [history.loss, history.reconstruction, history.kl]
        if self._feed.watches:
            best = np.broadcast_to(np.float32(self.best.losses), len(arrays["weights"]))
            arrays |= {"best": self.best.weights.numpy(), "best_losses": best}
            columns.append(history.held_out)
        losses = np.array(columns, dtype=np.float64).T
        return Snapshot(arrays, losses, self.best.intervals_since_best, generator_state(self._bits))

    def resume(self, checkpointer: Checkpointer) -> None:
        """Go on from what was kept, if anything was.

        Raises
        ------
        CheckpointError
            If that is damaged, or of another fit.
        """
        most_rounds = -(-self.plan.max_steps // self.plan.validation_interval)
        kept = checkpointer.find(self.snapshot(), float(self.look().mean()), most_rounds)
        if kept is None:
            return
        tensors = {name: tf.constant(array) for name, array in kept.arrays.items()}
        self.weights = tensors["weights"]
        self.moments = type(self.moments)(
            *(tensors[f"moments.{name}"] for name in self.moments._fields)
        )
        self.best = Best(self.weights)
        if self._feed.watches:
            self.best = Best(tensors["best"], kept.arrays["best_losses"], kept.intervals_since_best)
        ends = range(1, len(kept.losses) + 1)
        steps = [min(end * self.plan.validation_interval, self.plan.max_steps) for end in ends]
        self.history = History(steps, *kept.losses.T.tolist())
        set_generator_state(self._bits, kept.generator)
        rounds = np.diff([0, *steps])
        self._feed.skip(int(np.ceil(rounds / self._at_once).sum()))


def train(
    spec: NetworkSpec,
    rows: TrainingData,
    plan: Plan,
    rng: np.random.RandomState,
    on_round: Callable[[History], object] | None = None,
    checkpointer: Checkpointer | None = None,
) -> tuple[NDArray[np.float32], History]:
    """Fit the weights of all members.

    Parameters
    ----------
    spec : NetworkSpec
    rows : TrainingData
    plan : Plan
    rng : RandomState
        Source of the starting weights, the order of rows and the noise.
    on_round : callable, optional
        Called with the history so far after each round; training ends if it returns True.
    checkpointer : Checkpointer, optional
        Keeps how far training is, and knows how far it was.

    Returns
    -------
    weights : ndarray of shape (members, n_weights), float32
    history : History

    Raises
    ------
    DivergenceError
        If a loss is no longer a finite number.
    CheckpointError
        If what was kept is damaged, or of another fit.
    """
    training = Training(spec, rows, plan, rng)
    if checkpointer is not None:
        training.resume(checkpointer)
    while not training.is_over:
        training.run_interval()
        if checkpointer is not None and (checkpointer.is_due or training.is_over):
            checkpointer.keep(training.snapshot())
        if on_round is not None and on_round(training.history):
            break
    return training.best.weights.numpy(), training.history


def steps_at_once(spec: NetworkSpec, plan: Plan) -> int:
    """Tell for how many steps there is memory in one call: a divisor of a round's, if of many."""
    cells = spec.members * plan.batch_size * max(spec.columns, spec.latent)
    most = max(1, min(plan.validation_interval, plan.max_steps, MAX_BATCH_CELLS // cells))
    if plan.max_steps <= plan.validation_interval:
        return most
    return max(steps for steps in range(1, most + 1) if plan.validation_interval % steps == 0)


def as_tensors(block: Block) -> tuple[Tensor, Tensor]:
    """Hand a block to TensorFlow, once where its two halves are one."""
    x = tf.constant(block.x)
    return x, x if block.target is block.x else tf.constant(block.target)
