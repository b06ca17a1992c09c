"""Joint likelihood of targets in blocks, each with a likelihood of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_anomaly._types import Ops, Tensor
from vae_anomaly.stats.densities import numpy_ops
from vae_anomaly.stats.likelihoods import LIKELIHOODS

__all__ = ["Block", "JointLikelihood"]

Array = NDArray[np.float64]
Parameters = Mapping[str, Tensor]
Outputs = Sequence[Tensor]


class Block(NamedTuple):
    """Consecutive targets that one likelihood explains.

    Attributes
    ----------
    likelihood : str
        Name in `LIKELIHOODS`.
    n_features : int
        Features that the targets belong to.
    width : int
        Targets of each feature.
    """

    likelihood: str
    n_features: int
    width: int = 1

    @property
    def n_targets(self) -> int:
        """Number of targets."""
        return self.n_features * self.width


class JointLikelihood:
    """Independent blocks of targets, each with its own likelihood.

    Parameters of a block are named ``likelihood_i.name``, with i the number of the block.

    Parameters
    ----------
    blocks : tuple of Block
    variance : float or None
        Fixed variance of Gaussian blocks.

    Examples
    --------
    >>> joint = JointLikelihood((Block("gaussian", 2), Block("bernoulli", 1)), variance=1.0)
    >>> joint.n_targets, joint.n_outputs, joint.n_features
    (3, 3, 3)
    >>> joint.log_prob(numpy_ops, np.zeros((1, 3)), np.zeros((1, 3)), {}).round(2).tolist()
    [[-0.92, -0.92, -0.69]]
    """

    def __init__(self, blocks: tuple[Block, ...], variance: float | None = None) -> None:
        self.blocks = blocks
        self.likelihoods = tuple(
            LIKELIHOODS[one.likelihood](variance if one.likelihood == "gaussian" else None)
            for one in blocks
        )
        self.n_features = sum(one.n_features for one in blocks)
        self.n_targets = sum(one.n_targets for one in blocks)
        self.n_outputs = sum(
            one.n_targets * likelihood.n_outputs
            for one, likelihood in zip(blocks, self.likelihoods, strict=True)
        )
        self.learned: dict[str, float] = {}
        self.parameter_sizes: dict[str, int] = {}
        for i, (one, likelihood) in enumerate(zip(blocks, self.likelihoods, strict=True)):
            named = {f"likelihood_{i}.{k}": v for k, v in likelihood.learned_parameters.items()}
            self.learned |= named
            fixed = (f"likelihood_{i}.{name}" for name in likelihood.fixed_parameters)
            self.parameter_sizes |= dict.fromkeys((*named, *fixed), one.n_targets)

    def estimate(self, targets: Array) -> dict[str, Array]:
        """Compute the fixed parameters from targets, (n, n_targets)."""
        found: dict[str, Array] = {}
        for i, (likelihood, x) in enumerate(
            zip(self.likelihoods, self.split(numpy_ops, targets), strict=True)
        ):
            found |= {f"likelihood_{i}.{k}": v for k, v in likelihood.estimate(x).items()}
        return found

    def log_prob(self, ops: Ops, x: Tensor, outputs: Tensor, parameters: Parameters) -> Tensor:
        """Log p(x|z) of every feature: targets (..., n_targets) to (..., n_features)."""
        parts = zip(
            self.likelihoods,
            self.split(ops, x),
            self._split_outputs(ops, outputs),
            self._split_parameters(parameters),
            strict=True,
        )
        return self.by_feature(ops, [one.log_prob(ops, *rest) for one, *rest in parts])

    def mean(self, ops: Ops, outputs: Tensor) -> Tensor:
        """Return the expected targets: (..., n_outputs) to (..., n_targets)."""
        parts = zip(self.likelihoods, self._split_outputs(ops, outputs), strict=True)
        return _joined(ops, [one.mean(ops, part) for one, part in parts])

    def sample(self, rng: np.random.RandomState, outputs: Array, parameters: Parameters) -> Array:
        """Draw targets for outputs, (n, n_outputs), and parameters, (n, size) each."""
        parts = zip(
            self.likelihoods,
            self._split_outputs(numpy_ops, outputs),
            self._split_parameters(parameters),
            strict=True,
        )
        return _joined(numpy_ops, [one.sample(rng, part, own) for one, part, own in parts])

    def residual_scale(self, means: Array, residual: Array, parameters: Parameters) -> Array:
        """Return standard deviations of the targets: (n_targets,). See `Likelihood`."""
        parts = zip(
            self.likelihoods,
            self.split(numpy_ops, means),
            self.split(numpy_ops, residual),
            self._split_parameters(parameters),
            strict=True,
        )
        return np.concatenate([one.residual_scale(*rest) for one, *rest in parts])

    def by_feature(self, ops: Ops, parts: Sequence[Tensor]) -> Tensor:
        """Sum values of the targets of each block by feature: (..., n_features)."""
        return _joined(
            ops,
            [_summed(ops, part, one.width) for part, one in zip(parts, self.blocks, strict=True)],
        )

    @property
    def feature_of_target(self) -> NDArray[np.intp]:
        """Number of the feature that each target belongs to: (n_targets,)."""
        widths = [one.width for one in self.blocks for _ in range(one.n_features)]
        return np.repeat(np.arange(self.n_features), widths)

    def split(self, ops: Ops, x: Tensor) -> list[Tensor]:
        """Split targets by block."""
        return _cut(ops, x, [one.n_targets for one in self.blocks])

    def _split_outputs(self, ops: Ops, outputs: Tensor) -> list[Outputs]:
        """Split outputs of the decoder by block and meaning."""
        pairs = list(zip(self.blocks, self.likelihoods, strict=True))
        cut = _cut(ops, outputs, [one.n_targets * own.n_outputs for one, own in pairs])
        return [own.parts(ops, part) for (_, own), part in zip(pairs, cut, strict=True)]

    def _split_parameters(self, parameters: Parameters) -> list[Parameters]:
        """Split parameters by block, under the names that its likelihood knows."""
        return [
            {
                name: parameters[f"likelihood_{i}.{name}"]
                for name in (*likelihood.learned_parameters, *likelihood.fixed_parameters)
            }
            for i, likelihood in enumerate(self.likelihoods)
        ]


def _cut(ops: Ops, x: Tensor, sizes: list[int]) -> list[Tensor]:
    """Cut the last axis into parts of some sizes; a single part is the tensor itself."""
    if len(sizes) == 1:
        return [x]
    ends = np.cumsum(sizes).tolist()
    return [ops.take(x, end - size, end) for size, end in zip(sizes, ends, strict=True)]


def _summed(ops: Ops, x: Tensor, width: int) -> Tensor:
    """Sum adjacent targets: (..., n width) to (..., n)."""
    total = ops.take(x, 0, None, width) if width > 1 else x
    for i in range(1, width):
        total = total + ops.take(x, i, None, width)
    return total


def _joined(ops: Ops, parts: list[Tensor]) -> Tensor:
    """Concatenate along the last axis; a single part is the result itself."""
    return parts[0] if len(parts) == 1 else ops.concatenate(parts)
