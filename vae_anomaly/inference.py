"""Forward passes over any number of rows, in blocks of one fixed shape.

Float32 products round differently for different shapes, so the last block is
padded: a row's result then depends neither on its neighbours nor on how many
there are, to the last bit. Compiled functions are kept per network shape, not
per detector; weights are arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vae_anomaly.networks import ConvPlan, NetworkSpec, built_once
from vae_anomaly.scores import RowTerms
from vae_anomaly.vae import VAE, build_vae

__all__ = ["decode", "decode_members", "draw_rows", "elbo_terms", "posterior"]

Tensor = Any
Array = NDArray[np.float64]
Weights = NDArray[np.float32]

MAX_BLOCK_ROWS = 256
MAX_BLOCK_CELLS = 2**22

OWN_BREADTH = 8
"""Numbers in the widest layer of a user's network for each input: a guess that bounds memory."""


def block_rows(spec: NetworkSpec, draws: int) -> int:
    """Rows in a block: a power of two, fewer for wide networks, whatever the data."""
    widest = max((spec.columns, *spec.hidden))
    if spec.own is not None:
        widest *= OWN_BREADTH
    if spec.image is not None:
        widest = max(prod(size) for size in ConvPlan.for_image(spec.image).sizes)
    cells = spec.members * draws * widest
    rows = min(MAX_BLOCK_ROWS, max(1, MAX_BLOCK_CELLS // cells))
    return 1 << (rows.bit_length() - 1)


def padded_blocks(rows: int, *arrays: NDArray[Any]) -> Iterator[tuple[slice, list[NDArray[Any]]]]:
    """Cut arrays of equal length into blocks of `rows` rows, the last filled with zeros."""
    n = len(arrays[0])
    for start in range(0, n, rows):
        part = slice(start, min(start + rows, n))
        missing = rows - (part.stop - start)
        yield part, [np.pad(a[part], [(0, missing)] + [(0, 0)] * (a.ndim - 1)) for a in arrays]


def for_members(vae: VAE, x: Tensor) -> Tensor:
    """Show the same rows to every member: (n, ...) to (members, n, ...)."""
    return tf.tile(x[None], [vae.members] + [1] * len(x.shape))


def _signature(spec: NetworkSpec) -> list[Any]:
    """Types of weights and rows: spelled out, so that each function is traced once."""
    return [
        tf.TensorSpec([spec.members, spec.n_weights], tf.float32),
        tf.TensorSpec([None, spec.columns], tf.float32),
    ]


@built_once
def _compiled_terms(spec: NetworkSpec) -> Callable[..., Any]:
    vae = build_vae(spec)
    weights, rows = _signature(spec)
    noise = tf.TensorSpec([None, spec.latent], tf.float32)
    target = tf.TensorSpec([None, spec.columns], tf.float64)

    @tf.function(input_signature=[weights, noise, rows, target])
    def terms(weights: Tensor, noise: Tensor, x: Tensor, target: Tensor) -> Any:
        with vae.holding(weights):
            parts = vae.elbo(for_members(vae, x), for_members(vae, target), noise[None, :, None])
        return (
            -tf.reduce_mean(parts.log_likelihood, axis=[0, 1]),
            tf.reduce_mean(tf.reduce_sum(parts.kl, axis=-1), axis=0),
        )

    return terms


def elbo_terms(
    spec: NetworkSpec,
    weights: Weights,
    noise: NDArray[np.float32],
    x: Array,
    target: Array,
) -> RowTerms:
    """Evaluate both halves of minus the ELBO for each row, in float64.

    Parameters
    ----------
    spec : NetworkSpec
    weights : ndarray of shape (members, n_weights)
    noise : ndarray of shape (draws, latent)
        Standard normal, the same for every row.
    x, target : ndarray of shape (n, columns)
        What the encoder sees, and what the likelihood explains.

    Returns
    -------
    RowTerms
    """
    out = RowTerms(np.empty(target.shape), np.empty(len(x)))
    compiled = _compiled_terms(spec)
    rows = block_rows(spec, len(noise))
    for part, block in padded_blocks(rows, x.astype(np.float32), target):
        reconstruction, kl = compiled(weights, noise, *block)
        taken = part.stop - part.start
        out.reconstruction[part] = reconstruction[:taken]
        out.kl[part] = kl[:taken]
    return out


@built_once
def _compiled_posterior(spec: NetworkSpec) -> Callable[..., Any]:
    vae = build_vae(spec)

    @tf.function(input_signature=_signature(spec))
    def posterior(weights: Tensor, x: Tensor) -> Any:
        with vae.holding(weights):
            mean, log_variance = vae.encode(for_members(vae, x))
            outputs = vae.likelihood.mean(vae.decode(mean))
        return (
            tf.transpose(mean, [1, 0, 2]),
            tf.transpose(log_variance, [1, 0, 2]),
            tf.reduce_mean(tf.cast(outputs, tf.float64), axis=0),
        )

    return posterior


def posterior(spec: NetworkSpec, weights: Weights, x: Array) -> tuple[Array, Array, Array]:
    """Encode rows, and decode what was encoded.

    Returns
    -------
    mean, log_variance : ndarray of shape (n, members, latent)
        Of q(z|x).
    reconstruction : ndarray of shape (n, columns)
        Expected rows at the posterior means, averaged over members.
    """
    shape = (len(x), spec.members, spec.latent)
    mean, log_variance = np.empty(shape), np.empty(shape)
    rebuilt = np.empty((len(x), spec.columns))
    compiled = _compiled_posterior(spec)
    for part, (block,) in padded_blocks(block_rows(spec, 1), x.astype(np.float32)):
        results = compiled(weights, block)
        for out, result in zip((mean, log_variance, rebuilt), results, strict=True):
            out[part] = result[: part.stop - part.start]
    return mean, log_variance, rebuilt


@built_once
def _compiled_decoder(spec: NetworkSpec) -> Callable[..., Any]:
    vae = build_vae(spec)

    codes = tf.TensorSpec([None, spec.members, spec.latent], tf.float32)

    @tf.function(input_signature=[_signature(spec)[0], codes])
    def decode(weights: Tensor, z: Tensor) -> Any:
        with vae.holding(weights):
            outputs = vae.likelihood.mean(vae.decode(tf.transpose(z, [1, 0, 2])))
        return tf.reduce_mean(tf.cast(outputs, tf.float64), axis=0)

    return decode


def decode_members(spec: NetworkSpec, weights: Weights, z: Array) -> Array:
    """Decode a code for each member, (n, members, latent): their mean, (n, columns)."""
    decoded = np.empty((len(z), spec.columns))
    compiled = _compiled_decoder(spec)
    for part, (block,) in padded_blocks(block_rows(spec, 1), z.astype(np.float32)):
        decoded[part] = compiled(weights, block)[: part.stop - part.start]
    return decoded


def decode(spec: NetworkSpec, weights: Weights, z: Array) -> Array:
    """Decode the same codes, (n, latent), by all members: their mean, (n, columns)."""
    return decode_members(spec, weights, np.repeat(z[:, None], spec.members, axis=1))


def draw_rows(spec: NetworkSpec, weights: Weights, n: int, rng: np.random.RandomState) -> Array:
    """Draw rows from the model: a member, z ~ N(0, I), x ~ p(x|z); (n, columns)."""
    vae = build_vae(spec)
    z = rng.standard_normal((spec.members, n, spec.latent)).astype(np.float32)
    seed = rng.randint(2**31 - 1, size=2)
    with vae.holding(tf.constant(weights)):
        rows = vae.likelihood.draw(vae.decode(z), seed).numpy()  # (members, n, columns)
    member = rng.randint(spec.members, size=n)
    return rows[member, np.arange(n)].astype(np.float64)
