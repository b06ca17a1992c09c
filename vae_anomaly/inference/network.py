"""Trained network: structure and weights in one object, run in batches of one fixed shape.

Float32 products round differently for different shapes, so the last batch is padded:
the result of a row then depends neither on the other rows nor on their number, to the
last bit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._threads import parallel_map
from vae_anomaly._types import AnyArray, JsonObject
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.inference.base import Engine
from vae_anomaly.inference.numpy_engine import NumpyEngine
from vae_anomaly.networks.spec import ConvPlan, NetworkSpec
from vae_anomaly.stats.densities import numpy_ops
from vae_anomaly.stats.priors import draw_codes

__all__ = ["Network", "open_engine"]

Array = NDArray[np.float64]
Weights = NDArray[np.float32]
PaddedBatch = tuple[slice, list[AnyArray]]
Work = Callable[[slice, list[AnyArray]], None]

MAX_BATCH_ROWS = 256
"""OpenBLAS divides products of more than about 300 columns, and rounds differently at the seams."""

MAX_BATCH_CELLS = 2**22
"""Numbers in the widest layer of a batch, over members and draws."""

CHUNK_CELLS = 2**20
"""Numbers in the records of a chunk, the unit of parallel work."""

FEW_CELLS = 2**15
"""Numbers in records for which a thread costs more than it saves."""

HIDDEN_GROUPS = 8
"""Groups of features that are hidden in turn, to tell what is expected of each."""

N_PREDICTIONS = 8
"""Predictions of each feature from halves of the others, by members in turn."""

N_DRAWS = 64
"""Random draws of such halves, of which the most balanced one is used."""

CUSTOM_BREADTH = 8
"""Assumed width of the widest layer of a custom network, as a multiple of its inputs."""


@dataclass(frozen=True, eq=False)
class Network:
    """Encoders, decoders and likelihoods of all members.

    Parameters
    ----------
    spec : NetworkSpec
        Structure.
    weights : ndarray of shape (members, n_weights)
    engine_name : str, default="auto"
        One of `names.ENGINES`. "auto" depends on the structure alone, so that scores
        do not depend on where they are computed.
    """

    spec: NetworkSpec
    weights: Weights
    engine_name: str = "auto"

    def __getstate__(self) -> JsonObject:
        """Leave the open engine out of pickles."""
        return {"spec": self.spec, "weights": self.weights, "engine_name": self.engine_name}

    @cached_property
    def engine(self) -> Engine:
        """The engine, opened once.

        Raises
        ------
        ParameterError
            If the engine does not run such networks, or is not installed.
        """
        return open_engine(self.spec, self.weights, self.engine_name)

    @property
    def needs_tensorflow(self) -> bool:
        """Whether forward passes run in TensorFlow."""
        name = self.engine_name
        return name == "tensorflow" or (name == "auto" and not self.spec.is_dense)

    def with_engine(self, name: str) -> Network:
        """Return the network on another engine."""
        return self if name == self.engine_name else replace(self, engine_name=name)

    def member(self, index: int) -> Network:
        """Return the network of one member."""
        weights = self.weights[index : index + 1]
        return Network(replace(self.spec, members=1), weights, self.engine_name)

    # ------------------------------------------------------------------------------- batches

    def batch_rows(self, draws: int = 1, *, wide: bool = True) -> int:
        """Return the rows of a batch: a power of two, fewer for wide networks, whatever the data.

        With `wide` as many as the engine is efficient with.
        """
        breadth = self.engine.breadth if wide else 1
        cells = self.spec.members * draws * self._widest
        rows = min(breadth * MAX_BATCH_ROWS, max(1, breadth * MAX_BATCH_CELLS // cells))
        return 1 << (rows.bit_length() - 1)

    def batches(self, *arrays: AnyArray, draws: int = 1, wide: bool = True) -> list[PaddedBatch]:
        """Divide arrays of equal length into batches; the last is padded with zeros."""
        rows, n, batches = self.batch_rows(draws, wide=wide), len(arrays[0]), []
        for start in range(0, n, rows):
            part = slice(start, min(start + rows, n))
            missing = rows - (part.stop - start)
            # Rounding of sums depends on the order in memory, which padding would change.
            batch = [np.ascontiguousarray(a[part]) for a in arrays]
            if missing:
                batch = [np.pad(a, [(0, missing)] + [(0, 0)] * (a.ndim - 1)) for a in batch]
            batches.append((part, batch))
        return batches

    @cached_property
    def _widest(self) -> int:
        """Numbers in the widest layer of a member, for one row."""
        spec = self.spec
        if spec.grid is not None:
            return max(prod(size) for size in ConvPlan.for_grid(spec.grid).sizes)
        widest = max((spec.joint.n_outputs, *spec.hidden))
        return widest if spec.custom is None else CUSTOM_BREADTH * widest

    def chunks(self, n: int, width: int) -> list[slice]:
        """Divide n records of some width into chunks of whole batches, for all threads."""
        batch = self.engine.breadth * MAX_BATCH_ROWS
        threads = self.engine.threads if n * width > FEW_CELLS else 1
        count = threads * max(1, -(-n * width // CHUNK_CELLS))
        size = batch * max(1, -(-n // (batch * count)))
        return [slice(i, i + size) for i in range(0, n, size)]

    # -------------------------------------------------------------------- passes over many rows

    def encode(self, x: Array) -> tuple[Array, Array]:
        """Return means and log-variances of q(z|x): (n, members, latent) both."""
        shape = (len(x), self.spec.members, self.spec.latent)
        mean, log_variance = np.empty(shape), np.empty(shape)

        def work(part: slice, batch: list[AnyArray]) -> None:
            codes = self.engine.encode(*batch)
            taken = part.stop - part.start
            mean[part] = codes.mean.swapaxes(0, 1)[:taken]
            log_variance[part] = codes.log_variance.swapaxes(0, 1)[:taken]

        self._over_batches(work, x.astype(np.float32))
        return mean, log_variance

    def decode(self, z: Array) -> Array:
        """Return the expected targets of codes (n, members, latent), a mean over members."""
        return self._targets_of(
            z, lambda codes: self.expected(self.engine.decode(codes.swapaxes(0, 1)))
        )

    def predict_features(self, x: Array) -> Array:
        """Return the expected targets of each feature given all but a few others: (n, n_targets).

        Features are hidden in `HIDDEN_GROUPS` groups, one after the other, so that the number
        of passes does not depend on that of features.
        """
        n = self.spec.joint.n_features
        group = np.random.RandomState(0).permutation(n) % HIDDEN_GROUPS
        of_target = group[self.spec.joint.feature_of_target]

        def predicted(batch: Weights) -> Array:
            targets = np.empty((len(batch), self.spec.joint.n_targets))
            for one in np.unique(group):
                hidden = np.broadcast_to(group == one, (self.spec.members, n))
                found = self.expected(self._outputs_without(batch, hidden))
                targets[:, of_target == one] = found[:, of_target == one]
            return targets

        return self._targets_of(x, predicted)

    def mean_predictions(self, x: Array) -> Array:
        """Return the means of `predictions` of many rows: (n, n_targets)."""
        return self._targets_of(x, lambda batch: self.predictions(batch).mean(axis=0))

    def last_targets(self, x: Array, count: int) -> Array:
        """Return the last of the expected targets of inputs, by the means of codes: (n, count)."""
        first = self.spec.joint.n_targets - count
        return self._targets_of(
            x, lambda rows: self.engine.expected(self.engine.encode_means(rows), first), count
        )

    def _targets_of(
        self, rows: Array, compute: Callable[[Weights], Array], n_targets: int | None = None
    ) -> Array:
        """Compute targets, by default all, for rows of any axes, in batches: (n, n_targets)."""
        targets = np.empty((len(rows), n_targets or self.spec.joint.n_targets))

        def work(part: slice, batch: list[AnyArray]) -> None:
            targets[part] = compute(batch[0])[: part.stop - part.start]

        self._over_batches(work, rows.astype(np.float32))
        return targets

    def predictions(self, x: Weights) -> Weights:
        """Predict each feature of a batch from random halves of the others: (k, n, n_targets).

        In a pass each member hides half of the features, not those that others do, then the
        other half. The number of passes does not depend on that of features.
        """
        outputs = self.engine.predict(x, self.halves)
        predictions: Weights = self.spec.joint.mean(numpy_ops, outputs)
        return predictions

    def _outputs_without(self, x: Weights, hidden: NDArray[np.bool_]) -> Array:
        """Return the outputs for a batch, (members, n, outputs), where members do not see features.

        `hidden` is (members, n_features).
        """
        shown = ~hidden[:, None, self.spec.feature_of_input]
        return self.engine.decode(self.engine.encode(x * shown).mean)

    @cached_property
    def halves(self) -> NDArray[np.bool_]:
        """Which features members hide: (passes, members, n_features).

        Of several random draws the one whose pairs of features are hidden together about as
        often as apart: each feature is then predicted with and without every other one.
        """
        passes, n = -(-N_PREDICTIONS // self.spec.members), self.spec.joint.n_features
        rng, count = np.random.RandomState(0), passes * self.spec.members
        draws = (
            np.where([rng.permutation(n) % 2 == 0 for _ in range(count)], 1.0, -1.0)
            for _ in range(N_DRAWS)
        )
        # Products of two columns count passes in which both are hidden, or neither, less others.
        best = min(draws, key=lambda signs: ((signs.T @ signs) ** 2).sum())
        return (best > 0).reshape(passes, self.spec.members, n)

    def sample(
        self, n: int, rng: np.random.RandomState, components: Weights | None = None
    ) -> Array:
        """Draw targets: a member, z ~ p(z), x ~ p(x|z); (n, n_targets).

        `components` are those of the prior; without them it is N(0, I).
        """
        spec = self.spec
        member = rng.randint(spec.members, size=n)
        if components is None:
            components = np.zeros((spec.members, 1, 2 * spec.latent), dtype=np.float32)
        z = draw_codes(components, n, rng).astype(np.float32)
        outputs = np.empty((n, spec.joint.n_outputs))

        def work(part: slice, batch: list[AnyArray]) -> None:
            made = self.engine.decode(batch[0].swapaxes(0, 1))  # (members, rows, outputs)
            here = member[part]
            outputs[part] = made[here, np.arange(len(here))]

        self._over_batches(work, z)
        arrays = spec.unpack(self.weights)
        parameters = {name: arrays[name][member] for name in spec.joint.parameter_sizes}
        return spec.joint.sample(rng, outputs, parameters)

    def _over_batches(self, work: Work, *arrays: AnyArray) -> None:
        """Run `work` on every padded batch, in parallel."""
        with self.engine.setting:
            results = parallel_map(
                lambda batch: work(*batch), self.batches(*arrays), self.engine.threads
            )
            deque(results, maxlen=0)

    def expected(self, outputs: Array) -> Array:
        """Return the mean of p(x|z) over members: (members, n, outputs) to (n, n_targets)."""
        return self.spec.joint.mean(numpy_ops, outputs).mean(axis=0)

    def residual_scale(self, expected: Array, residual: Array) -> Array:
        """Return standard deviations of p(x|z), averaged over members or rows: (n_targets,)."""
        arrays = self.spec.unpack(self.weights)
        return self.spec.joint.residual_scale(expected, residual, arrays)


def _engine_for(spec: NetworkSpec, name: str = "auto") -> str:
    """Return the name of the engine that runs networks of a shape; "auto" depends on it alone.

    Raises
    ------
    ParameterError
        If the engine does not run such networks.
    """
    if name == "auto":
        return "numpy" if spec.is_dense else "tensorflow"
    if name == "numpy" and not spec.is_dense:
        raise ParameterError(
            "The engine numpy runs dense networks alone. Choose onnx or tensorflow."
        )
    return name


def open_engine(spec: NetworkSpec, weights: Weights, name: str = "auto") -> Engine:
    """Open an engine with weights, (members, n_weights).

    Scores of different engines agree to a relative 1e-5.

    Raises
    ------
    ParameterError
        If the engine does not run such networks, or is not installed.
    """
    name = _engine_for(spec, name)
    if name == "numpy":
        return NumpyEngine(spec, weights)
    if name == "onnx":
        try:
            from vae_anomaly.inference.onnx_engine import OnnxEngine
        except ImportError as cause:
            raise ParameterError(
                "The engine onnx needs the packages onnx and onnxruntime, which are not "
                "installed. Install them with pip install onnx onnxruntime, or choose another."
            ) from cause

        return OnnxEngine(spec, weights)
    from vae_anomaly.inference.tensorflow_engine import TensorFlowEngine

    return TensorFlowEngine(spec, weights)
