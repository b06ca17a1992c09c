"""Forward passes over any number of rows, in blocks of one fixed shape.

Float32 products round differently for different shapes, so the last block is
padded: a row's result then depends neither on its neighbours nor on how many
there are, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._threads import SINGLE_THREAD, in_parallel
from vae_anomaly.inference.engines import Engine, open_engine
from vae_anomaly.model.reference import Reference
from vae_anomaly.networks.spec import ConvPlan, NetworkSpec
from vae_anomaly.stats.densities import numpy_ops
from vae_anomaly.stats.priors import draw_codes, kl_from_prior
from vae_anomaly.stats.scores import RowTerms

__all__ = [
    "beside_exemplars",
    "decode",
    "decode_members",
    "draw_rows",
    "elbo_terms",
    "for_each_chunk",
    "importance_weighted_bound",
    "posterior",
]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]

MAX_BATCH_ROWS = 256
"""OpenBLAS divides products of more than about 300 columns, and rounds differently at the seams."""
MAX_BATCH_CELLS = 2**22

CHUNK_CELLS = 2**20
"""Numbers in the pieces of a table that are worked on at a time."""

CUSTOM_BREADTH = 8
"""Numbers in the widest layer of a user's network for each input: a guess that bounds memory."""

N_IMPORTANCE_DRAWS = 64
"""Of the importance-weighted bound, in opposite pairs."""


def batch_rows(spec: NetworkSpec, draws: int, breadth: int = 1) -> int:
    """Rows in a block: a power of two, fewer for wide networks, whatever the data.

    So many times as many, `breadth`, where an engine has use for them.
    """
    widest = max((spec.outputs, *spec.hidden))
    if spec.custom is not None:
        widest *= CUSTOM_BREADTH
    if spec.image is not None:
        widest = max(prod(size) for size in ConvPlan.for_image(spec.image).sizes)
    cells = spec.members * draws * widest
    rows = min(breadth * MAX_BATCH_ROWS, max(1, breadth * MAX_BATCH_CELLS // cells))
    return 1 << (rows.bit_length() - 1)


def padded_batches(rows: int, *arrays: NDArray[Any]) -> Iterator[tuple[slice, list[NDArray[Any]]]]:
    """Cut arrays of equal length into blocks of `rows` rows, the last filled with zeros."""
    n = len(arrays[0])
    for start in range(0, n, rows):
        part = slice(start, min(start + rows, n))
        missing = rows - (part.stop - start)
        block = [a[part] for a in arrays]
        if missing:
            block = [np.pad(a, [(0, missing)] + [(0, 0)] * (a.ndim - 1)) for a in block]
        yield part, block


def for_each_batch(
    engine: Engine, rows: int, work: Callable[[slice, list[NDArray[Any]]], None], *arrays: Any
) -> None:
    """Do `work` on every block, several at a time if the engine uses but one core for one."""
    # Whatever runs the networks, products with exemplars are NumPy's.
    with SINGLE_THREAD, engine.running() as threads:
        in_parallel(lambda block: work(*block), padded_batches(rows, *arrays), threads)


def for_each_chunk(
    spec: NetworkSpec, weights: Weights, shape: tuple[int, int], work: Callable[[slice], None]
) -> None:
    """Do `work` on pieces of so many rows and columns, whole blocks each, as `for_each_batch`.

    Not all rows at once: memory is used again, not found anew. And what is done
    beside the networks is done on all cores as well.
    """
    n, columns = shape
    engine = open_engine(spec, weights)
    with SINGLE_THREAD, engine.running() as threads:
        block = engine.breadth * MAX_BATCH_ROWS
        count = threads * max(1, -(-n * columns // CHUNK_CELLS))
        size = block * max(1, -(-n // (block * count)))
        in_parallel(work, (slice(i, i + size) for i in range(0, n, size)), threads)


def elbo_terms(
    spec: NetworkSpec,
    weights: Weights,
    noise: NDArray[np.float32],
    x: Array,
    target: Array,
    components: Weights | None = None,
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
    components : ndarray of shape (members, m, 2 latent), optional
        Components of the prior; by default it is N(0, I).

    Returns
    -------
    RowTerms
    """
    out = RowTerms(np.empty(target.shape), np.empty(len(x)))
    engine = open_engine(spec, weights)
    rows = batch_rows(spec, len(noise), engine.breadth)

    def score(part: slice, block: list[NDArray[Any]]) -> None:
        error, mean, log_variance = engine.terms(noise, *block)
        taken = part.stop - part.start
        out.reconstruction[part] = error[:taken]
        out.kl[part] = kl_from_prior(mean, log_variance, noise, components)[:taken]

    for_each_batch(engine, rows, score, x.astype(np.float32), target)
    return out


def importance_weighted_bound(
    spec: NetworkSpec, weights: Weights, x: Array, target: Array, components: Weights | None = None
) -> Array:
    """Evaluate the importance-weighted bound of log p(x) for each row: (n,), in nats.

    The draws are normal, always the same, and in opposite pairs. See `elbo_terms`
    for the parameters.
    """
    if components is None:
        components = np.zeros((spec.members, 1, 2 * spec.latent), dtype=np.float32)
    half = np.random.RandomState(0).standard_normal((N_IMPORTANCE_DRAWS // 2, spec.latent))
    draws = np.concatenate([half, -half]).astype(np.float32)[:, None]
    bound = np.empty(len(x))
    engine = open_engine(spec, weights)

    def weigh(part: slice, block: list[NDArray[Any]]) -> None:
        ratios = []  # log p(x, z) - log q(z|x)
        for draw in draws:
            error, mean, log_variance = engine.terms(draw, *block)
            away = kl_from_prior(mean, log_variance, draw, components)
            ratios.append(-error.sum(axis=1) - away)
        mixed = np.logaddexp.reduce(ratios, axis=0) - np.log(len(draws))
        bound[part] = mixed[: part.stop - part.start]

    for_each_batch(engine, batch_rows(spec, 1, engine.breadth), weigh, x.astype(np.float32), target)
    return bound


def beside_exemplars(
    spec: NetworkSpec,
    weights: Weights,
    x: Array,
    target: Array,
    reference: Reference,
    *,
    n_left_out: int = 1,
    attributed: bool = False,
) -> Array:
    """Compare rows with single training rows: see `Exemplars`.

    Returns
    -------
    ndarray of shape (n, 1), or (n, columns) if `attributed`
        Scores in nats, or what columns add to them.
    """
    out = np.empty((len(x), spec.columns if attributed else 1))
    engine, exemplars = open_engine(spec, weights), reference.exemplars

    def compare(part: slice, block: list[NDArray[Any]]) -> None:
        mean, _, outputs = engine.posterior(block[0])
        residual = block[1] - expected(spec, outputs).mean(axis=0)
        points = reference.locate(mean.swapaxes(0, 1), residual)
        if attributed:
            compared = exemplars.attribute(points, spec.columns)
        else:
            compared = exemplars.score(points, n_left_out)[:, None]
        out[part] = compared[: part.stop - part.start]

    # Products with exemplars are NumPy's, which has no use for more rows.
    for_each_batch(engine, batch_rows(spec, 1), compare, x.astype(np.float32), target)
    return out


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
    engine = open_engine(spec, weights)

    def encode(part: slice, block: list[NDArray[Any]]) -> None:
        codes, spreads, outputs = engine.posterior(*block)
        taken = part.stop - part.start
        mean[part] = codes.swapaxes(0, 1)[:taken]
        log_variance[part] = spreads.swapaxes(0, 1)[:taken]
        rebuilt[part] = expected(spec, outputs).mean(axis=0)[:taken]

    for_each_batch(engine, batch_rows(spec, 1, engine.breadth), encode, x.astype(np.float32))
    return mean, log_variance, rebuilt


def decode_members(spec: NetworkSpec, weights: Weights, z: Array) -> Array:
    """Decode a code for each member, (n, members, latent): their mean, (n, columns)."""
    decoded = np.empty((len(z), spec.columns))
    engine = open_engine(spec, weights)

    def work(part: slice, block: list[NDArray[Any]]) -> None:
        outputs = engine.decode(block[0].swapaxes(0, 1))  # (members, rows, outputs)
        decoded[part] = expected(spec, outputs).mean(axis=0)[: part.stop - part.start]

    for_each_batch(engine, batch_rows(spec, 1, engine.breadth), work, z.astype(np.float32))
    return decoded


def decode(spec: NetworkSpec, weights: Weights, z: Array) -> Array:
    """Decode the same codes, (n, latent), by all members: their mean, (n, columns)."""
    return decode_members(spec, weights, np.repeat(z[:, None], spec.members, axis=1))


def draw_rows(
    spec: NetworkSpec,
    weights: Weights,
    n: int,
    rng: np.random.RandomState,
    components: Weights | None = None,
) -> Array:
    """Draw rows from the model: a member, z ~ p(z), x ~ p(x|z); (n, columns)."""
    member = rng.randint(spec.members, size=n)
    if components is None:
        components = np.zeros((spec.members, 1, 2 * spec.latent), dtype=np.float32)
    z = draw_codes(components, n, rng).astype(np.float32)
    outputs = np.empty((n, spec.outputs))
    engine = open_engine(spec, weights)

    def work(part: slice, block: list[NDArray[Any]]) -> None:
        made = engine.decode(block[0].swapaxes(0, 1))  # (members, rows, outputs)
        here = member[part]
        outputs[part] = made[here, np.arange(len(here))]

    for_each_batch(engine, batch_rows(spec, 1, engine.breadth), work, z)
    arrays, family = spec.unpack(weights), spec.family
    parameters = {name: arrays[name][member] for name in family.parameters}
    return family.sample(rng, family.parts(outputs), parameters)


def expected(spec: NetworkSpec, outputs: Array) -> Array:
    """Rows that a decoder expects, by what it makes, (..., outputs): (..., columns)."""
    return spec.family.mean(numpy_ops, spec.family.parts(outputs))
