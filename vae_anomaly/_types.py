"""Types of values from libraries without types, and from files."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Architecture",
    "AnyArray",
    "Json",
    "JsonObject",
    "KerasModel",
    "OnnxModel",
    "OnnxSession",
    "Ops",
    "Symbol",
    "SymbolicGraph",
    "Parameter",
    "Records",
    "Tensor",
]

KerasModel: TypeAlias = Any

Architecture: TypeAlias = str | tuple[KerasModel, KerasModel]
"""Name of an architecture, or a pair (encoder, decoder) of custom networks."""

AnyArray: TypeAlias = NDArray[Any]
"""Array of any dtype."""

Json: TypeAlias = Any
"""Value that JSON can represent; read from a file it is not yet checked."""

JsonObject: TypeAlias = dict[str, Json]

OnnxModel: TypeAlias = Any

OnnxSession: TypeAlias = Any

Ops: TypeAlias = SimpleNamespace
"""Functions of an array library, such as `stats.densities.numpy_ops`."""

Parameter: TypeAlias = Any
"""Parameter of a detector, not yet checked."""

Records: TypeAlias = Any
"""Records as `data.base.Encoder.encode` takes them: an array, most often; or array-like data."""

Tensor: TypeAlias = Any
"""Tensor of TensorFlow or Keras, or what computes like one: an array, or a symbol."""


class SymbolicGraph(Protocol):
    """An ONNX graph under construction."""

    metadata: dict[str, str]


class Symbol(Protocol):
    """A tensor of an ONNX graph, see `inference.onnx_graph`. Other operands may be arrays."""

    @property
    def graph(self) -> SymbolicGraph:
        """Graph that operations are added to."""

    @property
    def name(self) -> str:
        """Name in the graph."""

    @property
    def dtype(self) -> str:
        """Type of its numbers."""

    def apply(self, operator: str, *others: Tensor, **attributes: Tensor) -> Symbol:
        """Add an operation on this and others of its type."""

    def __add__(self, other: Tensor, /) -> Symbol: ...

    def __radd__(self, other: Tensor, /) -> Symbol: ...

    def __sub__(self, other: Tensor, /) -> Symbol: ...

    def __rsub__(self, other: Tensor, /) -> Symbol: ...

    def __mul__(self, other: Tensor, /) -> Symbol: ...

    def __rmul__(self, other: Tensor, /) -> Symbol: ...

    def __truediv__(self, other: Tensor, /) -> Symbol: ...

    def __neg__(self) -> Symbol: ...

    def cast(self, dtype: str) -> Symbol:
        """Convert to another type."""

    def reshape(self, *shape: int) -> Symbol:
        """Reshape; -1 is the number of rows."""

    def taken(self, start: int, end: int | None, axis: int = -1, step: int = 1) -> Symbol:
        """Slice an axis."""

    def columns(self, chosen: NDArray[np.intp]) -> Symbol:
        """Take some columns."""

    def test(self, operator: str, *others: Tensor) -> Symbol:
        """Add a test of each number, with a result of 0 or 1."""

    def at_most(self, limit: float) -> Symbol:
        """Return 1 where numbers are at most a limit, else 0; 1 for NaN."""

    def is_number(self) -> Symbol:
        """Return 0 for NaN, else 1."""

    def is_nan(self) -> Symbol:
        """Return 1 for NaN, else 0."""

    def where(self, condition: Tensor, other: Tensor) -> Symbol:
        """Keep numbers where a condition is true, or not 0, and take others elsewhere."""

    def least(self, count: int) -> Symbol:
        """Return the least numbers of each row, ascending."""

    def least_with_places(self, count: int) -> tuple[Symbol, Symbol]:
        """Return the least numbers of each row, ascending, and their places."""

    def rows_of(self, array: NDArray[np.float32]) -> Symbol:
        """Take rows of an array at these places."""

    def one_hot(self, count: int) -> Symbol:
        """Return 1 at these places and 0 elsewhere: (..., count), float32."""

    def squeezed(self, axis: int) -> Symbol:
        """Remove an axis of length 1."""

    def sum(self, keepdims: int = 0) -> Symbol:
        """Sum over the last axis."""

    def mean(self, axis: int) -> Symbol:
        """Average over an axis."""

    def min(self, axis: int) -> Symbol:
        """Take the least over an axis."""
