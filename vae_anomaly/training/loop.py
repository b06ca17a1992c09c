"""Training loop: gradient steps in the graph, decisions between them in Python.

A validation interval is a hundred gradient steps, in a single TensorFlow call where their
rows fit into one batch. After each interval the loop records the losses, validates, calls
the callback, and decides whether to stop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import Tensor
from vae_anomaly.exceptions import DivergenceError
from vae_anomaly.networks.backend import check_tensorflow, has_gpu, keras, tf
from vae_anomaly.networks.spec import NetworkSpec, cached_by_spec
from vae_anomaly.networks.vae import ElboTerms, build_vae
from vae_anomaly.training.batches import Batch, TrainingData
from vae_anomaly.training.checkpoint import (
    Checkpointer,
    Snapshot,
    generator_state,
    set_generator_state,
)
from vae_anomaly.training.history import History
from vae_anomaly.training.optimizers import OPTIMIZERS

__all__ = ["TrainingConfig", "train"]

ops = keras.ops

WARM_UP_SHARE = 0.25
"""Share of the steps in which the weight of the KL divergence grows, where features are hidden."""

CLIP_NORM = 5.0
"""Norm to which the gradient of each member is clipped."""

MAX_BATCH_CELLS = 2**22
"""Numbers in the rows of one TensorFlow call, which bounds its memory."""

MIN_COMPILED_STEPS = 2000
"""Steps from which XLA pays off: it compiles for two seconds and saves one in a thousand steps."""


@dataclass(frozen=True)
class TrainingConfig:
    """Parameters of a `VAEDetector` that the loop needs, and its own."""

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
        """Build the configuration from the parameters of a detector."""
        names = [field.name for field in fields(cls) if hasattr(detector, field.name)]
        return cls(**{name: getattr(detector, name) for name in names})


class Best(NamedTuple):
    """Weights of each member with its lowest validation loss."""

    weights: Tensor  # (members, n_weights)
    losses: Tensor = np.inf  # (members,)
    intervals_since_best: int = 0

    def or_better(self, weights: Tensor, losses: NDArray[np.float32]) -> Best:
        """Return the better of old and new weights, member by member."""
        better = losses < self.losses
        return Best(
            tf.where(better[:, None], weights, self.weights),
            np.where(better, losses, self.losses),
            0 if better.any() else self.intervals_since_best + 1,
        )


def clipped(gradient: Tensor) -> Tensor:
    """Clip gradients, (members, n_weights), by the norm of each member."""
    return tf.clip_by_norm(gradient, CLIP_NORM, axes=[1])


def losses_of_members(
    terms: ElboTerms, beta: Tensor, trimmed: float = 0.0, observed: Tensor | None = None
) -> Tensor:
    """Mean over rows of loss, reconstruction error and KL: (3, members), in nats.

    The share `trimmed` of rows with the greatest losses is left out (Shen and Sanghavi,
    "Learning with bad training data via iterative trimmed loss minimization", ICML 2019,
    :arxiv:`1810.11874`).
    """
    log_likelihood = terms.log_likelihood  # (members, draws, n, features)
    if observed is not None:
        log_likelihood = log_likelihood * observed[:, None]
    if not trimmed:
        reconstruction = -ops.mean(ops.sum(log_likelihood, axis=-1), axis=(1, 2))
        kl = ops.mean(ops.sum(terms.kl, axis=-1), axis=1)
        return ops.stack([reconstruction + beta * kl, reconstruction, kl])
    reconstruction = -ops.mean(ops.sum(log_likelihood, axis=-1), axis=1)  # (members, n)
    of_rows = ops.stack([reconstruction, ops.sum(terms.kl, axis=-1)])
    loss = tf.stop_gradient(of_rows[0] + beta * of_rows[1])
    kept = tf.math.ceil((1.0 - trimmed) * tf.cast(tf.shape(loss)[1], loss.dtype))
    most = tf.sort(loss, axis=1)[:, tf.cast(kept, tf.int32) - 1]
    counts = loss <= most[:, None]
    total = tf.reduce_sum(tf.where(counts, of_rows, 0.0), axis=2)  # (2, members)
    reconstruction, kl = tf.unstack(total / tf.reduce_sum(tf.cast(counts, loss.dtype), axis=1))
    return ops.stack([reconstruction + beta * kl, reconstruction, kl])


def pays_to_compile(spec: NetworkSpec, config: TrainingConfig) -> bool:
    """Return whether XLA saves time: for small products that are repeated very often.

    It depends on the parameters alone, not on measured speed, so that the same call
    trains the same weights. Convolutions gain nothing; custom layers and devices other
    than the CPU may not compile.
    """
    return spec.is_dense and config.max_steps >= MIN_COMPILED_STEPS and not has_gpu()


@cached_by_spec
def compiled_steps(
    spec: NetworkSpec, optimizer: str, *, trimmed: float, masked: bool, xla: bool
) -> Callable[..., Tensor]:
    """Build a TensorFlow function of many gradient steps."""
    vae = build_vae(spec)
    widths = (spec.n_inputs, spec.joint.n_targets, *([spec.joint.n_features] if masked else []))
    rows = [tf.TensorSpec([None, spec.members, None, width], tf.float32) for width in widths]
    number = tf.TensorSpec([], tf.float32)
    # State without a gradient, such as moving statistics, has no moments.
    zeros = tf.zeros([spec.members, spec.n_trainable])
    before = OPTIMIZERS[optimizer](0.0).start(zeros)

    @tf.function(
        autograph=spec.needs_autograph,
        jit_compile=xla,
        input_signature=[
            tf.TensorSpec([spec.members, spec.n_weights], tf.float32),
            tf.nest.map_structure(tf.TensorSpec.from_tensor, before),
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
        moments: Tensor,
        rows: list[Tensor],  # (at least steps, members, batch, ...) each, see `as_tensors`
        noise: Tensor,  # (at least steps, members, batch, latent)
        steps: Tensor,
        seed: Tensor,  # (2,), of random layers in the first step; later steps count up
        beta: Tensor,
        learning_rate: Tensor,
    ) -> Tensor:
        def step(
            i: Tensor, weights: Tensor, state: Tensor, moments: Tensor, losses: Tensor
        ) -> Tensor:
            now_seed = tf.stack([seed[0], seed[1] + i])
            with tf.GradientTape() as tape:
                tape.watch(weights)
                with vae.with_weights(weights, state, seed=now_seed) as scope:
                    x, target, *observed = (tensor[i] for tensor in rows)
                    terms = vae.elbo(x, target, noise[i][:, None], training=True)
                now = losses_of_members(terms, beta, trimmed, *observed)
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
def compiled_held_out_loss(
    spec: NetworkSpec, *, trimmed: float, masked: bool
) -> Callable[..., Tensor]:
    """Build a TensorFlow function of the validation losses of the members: (members,)."""
    vae = build_vae(spec)
    weights = tf.TensorSpec([spec.members, spec.n_weights], tf.float32)
    number = tf.TensorSpec([], tf.float32)
    widths = (spec.n_inputs, spec.joint.n_targets, *([spec.joint.n_features] if masked else []))
    rows = [tf.TensorSpec([spec.members, None, width], tf.float32) for width in widths]
    noise = tf.TensorSpec([1, 1, None, spec.latent], tf.float32)

    @tf.function(autograph=spec.needs_autograph, input_signature=[weights, rows, noise, number])
    def held_out_loss(weights: Tensor, rows: list[Tensor], noise: Tensor, beta: Tensor) -> Tensor:
        x, target, *observed = rows
        with vae.with_weights(weights):
            return losses_of_members(vae.elbo(x, target, noise), beta, trimmed, *observed)[0]

    return held_out_loss


class Training:
    """State of a training, one validation interval after another.

    Parameters
    ----------
    spec : NetworkSpec
    rows : TrainingData
    config : TrainingConfig
    rng : RandomState
    """

    def __init__(
        self,
        spec: NetworkSpec,
        rows: TrainingData,
        config: TrainingConfig,
        rng: np.random.RandomState,
    ) -> None:
        self.config, self.latent, self._warms_up = config, spec.latent, spec.has_masks
        trimmed = config.contamination or 0.0
        self._take_steps = compiled_steps(
            spec,
            config.optimizer,
            trimmed=trimmed,
            masked=rows.observed is not None,
            xla=pays_to_compile(spec, config),
        )
        self._held_out_loss = compiled_held_out_loss(
            spec, trimmed=trimmed, masked=rows.observed is not None
        )
        start = build_vae(spec).initial_weights(rng, rows.fixed_parameters, rows.starting_outputs)
        self.weights = tf.constant(start)
        self._seed = int(rng.randint(2**31 - 1))
        self._bits = np.random.SFC64(self._seed)
        self._draws = np.random.Generator(self._bits)  # ten times as fast as a RandomState
        self._rates = [tf.constant(v, tf.float32) for v in (config.beta, config.learning_rate)]
        rule = OPTIMIZERS[config.optimizer](self._rates[1])
        self.moments = rule.start(self.weights[:, : spec.n_trainable])
        self._steps_per_call = steps_per_call(spec, config)
        self._stream = rows.stream(spec.members, config.batch_size, self._steps_per_call, rng)
        self._held_out = as_tensors(self._stream.held_out)
        shape = (1, 1, self._stream.held_out.x.shape[1], spec.latent)
        self._validation_noise = rng.standard_normal(shape).astype(np.float32)
        self.best, self.history = Best(self.weights), History()

    @property
    def is_over(self) -> bool:
        """Whether the patience or the steps are used up."""
        steps = self.history.step
        ended = bool(steps) and steps[-1] >= self.config.max_steps
        return ended or self.best.intervals_since_best >= self.config.patience

    def validate(self) -> NDArray[np.float32]:
        """Compute the validation losses of the members with the current weights."""
        beta, _ = self._rates
        loss = self._held_out_loss(self.weights, self._held_out, self._validation_noise, beta)
        return loss.numpy()

    def run_interval(self) -> None:
        """Take the gradient steps of one validation interval, and record their losses.

        Raises
        ------
        DivergenceError
            If a loss is no longer a finite number.
        """
        start = self.history.step[-1] if self.history.step else 0
        end, losses = (
            min(start + self.config.validation_interval, self.config.max_steps),
            tf.zeros(3),
        )
        beta, learning_rate = self._rates
        share = self._share_of_beta((start + end) / 2)
        for first in range(start, end, self._steps_per_call):
            steps, batch = min(self._steps_per_call, end - first), next(self._stream.batches)
            shape = (*batch.x.shape[:-1], self.latent)
            noise = self._draws.standard_normal(shape, dtype=np.float32)
            arguments = (as_tensors(batch), noise, steps, tf.constant([self._seed, first]))
            self.weights, self.moments, more = self._take_steps(
                self.weights, self.moments, *arguments, beta * share, learning_rate
            )
            losses += more
        loss, reconstruction, kl = (float(value) / (end - start) for value in losses.numpy())
        # Training losses precede the last step; validation losses use the current weights.
        now = self.validate()
        if not np.isfinite([loss, *now]).all():
            raise DivergenceError(
                f"Training diverged: after {end} steps the loss is not a finite number. Lower "
                f"learning_rate (it is {self.config.learning_rate:g}), or look for extreme values "
                f"in the training rows."
            )
        self.history.add(end, loss, reconstruction, kl)
        if self._stream.validates:
            self.history.held_out.append(float(now.mean()))
            before = self.best if share == 1.0 else Best(self.weights)
            self.best = before.or_better(self.weights, now)
        else:
            self.best = Best(self.weights)

    def _share_of_beta(self, step: float) -> float:
        """Return the weight of the KL divergence at a step, as a share of `beta`.

        It grows from 0 where features are hidden: the decoder predicts most of them from
        nothing at first, so that the code would never come into use. Bowman et al.,
        "Generating sentences from a continuous space" (:arxiv:`1511.06349`), section 3.1.
        """
        if not self._warms_up:
            return 1.0
        return min(1.0, step / (WARM_UP_SHARE * self.config.max_steps))

    def snapshot(self) -> Snapshot:
        """Return the state that a checkpoint stores."""
        arrays = {"weights": self.weights.numpy()}
        arrays |= {f"moments.{k}": v.numpy() for k, v in self.moments._asdict().items()}
        history = self.history
        columns = [history.loss, history.reconstruction, history.kl]
        if self._stream.validates:
            best = np.broadcast_to(np.float32(self.best.losses), len(arrays["weights"]))
            arrays |= {"best": self.best.weights.numpy(), "best_losses": best}
            columns.append(history.held_out)
        losses = np.array(columns, dtype=np.float64).T
        return Snapshot(arrays, losses, self.best.intervals_since_best, generator_state(self._bits))

    def resume(self, checkpointer: Checkpointer) -> None:
        """Restore the state of a checkpoint, if there is one.

        Raises
        ------
        CheckpointError
            If it is damaged, or of another fit.
        """
        max_intervals = -(-self.config.max_steps // self.config.validation_interval)
        kept = checkpointer.find(self.snapshot(), float(self.validate().mean()), max_intervals)
        if kept is None:
            return
        tensors = {name: tf.constant(array) for name, array in kept.arrays.items()}
        self.weights = tensors["weights"]
        self.moments = type(self.moments)(
            *(tensors[f"moments.{name}"] for name in self.moments._fields)
        )
        self.best = Best(self.weights)
        if self._stream.validates:
            self.best = Best(tensors["best"], kept.arrays["best_losses"], kept.intervals_since_best)
        ends = range(1, len(kept.losses) + 1)
        steps = [min(end * self.config.validation_interval, self.config.max_steps) for end in ends]
        self.history = History(steps, *kept.losses.T.tolist())
        set_generator_state(self._bits, kept.generator)
        intervals = np.diff([0, *steps])
        self._stream.skip(int(np.ceil(intervals / self._steps_per_call).sum()))


def train(
    spec: NetworkSpec,
    rows: TrainingData,
    config: TrainingConfig,
    rng: np.random.RandomState,
    on_interval: Callable[[History], object] | None = None,
    checkpointer: Checkpointer | None = None,
) -> tuple[NDArray[np.float32], History]:
    """Fit the weights of all members.

    Parameters
    ----------
    spec : NetworkSpec
    rows : TrainingData
    config : TrainingConfig
    rng : RandomState
        Source of the starting weights, the order of rows and the noise.
    on_interval : callable, optional
        Called with the history after each validation interval; True stops training.
    checkpointer : Checkpointer, optional
        Writes checkpoints, and finds that of an interrupted fit.

    Returns
    -------
    weights : ndarray of shape (members, n_weights), float32
    history : History

    Raises
    ------
    DivergenceError
        If a loss is no longer a finite number.
    CheckpointError
        If the checkpoint is damaged, or of another fit.
    VAEAnomalyError
        If TensorFlow cannot run here, see `check_tensorflow`.
    """
    check_tensorflow()
    training = Training(spec, rows, config, rng)
    if checkpointer is not None:
        training.resume(checkpointer)
    while not training.is_over:
        training.run_interval()
        if checkpointer is not None and (checkpointer.is_due or training.is_over):
            checkpointer.keep(training.snapshot())
        if on_interval is not None and on_interval(training.history):
            break
    return training.best.weights.numpy(), training.history


def steps_per_call(spec: NetworkSpec, config: TrainingConfig) -> int:
    """Return the steps of one call that fit into memory: a divisor of those of an interval."""
    cells = spec.members * config.batch_size * max(spec.n_inputs, spec.joint.n_targets, spec.latent)
    limit = max(1, min(config.validation_interval, config.max_steps, MAX_BATCH_CELLS // cells))
    if config.max_steps <= config.validation_interval:
        return limit
    return max(steps for steps in range(1, limit + 1) if config.validation_interval % steps == 0)


def as_tensors(batch: Batch) -> list[Tensor]:
    """Convert a batch to tensors: inputs, targets and, if there are any, masks.

    Equal inputs and targets are one tensor.
    """
    x = tf.constant(batch.x)
    tensors = [x, x if batch.target is batch.x else tf.constant(batch.target)]
    return tensors if batch.observed is None else [*tensors, tf.constant(batch.observed)]
