"""Types of values from libraries without types, and from files."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, TypeAlias

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

Symbol: TypeAlias = Any
"""Tensor of an ONNX graph, see `inference.onnx_graph`."""

Tensor: TypeAlias = Any
"""Tensor of TensorFlow or Keras, or what computes like one: an array, or a symbol."""
