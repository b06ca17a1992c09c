"""ONNX graphs of networks, built from their weights, without Keras.

A `GraphSymbol` is a tensor of the graph that supports arithmetic like an array, so that the
formulas of `stats` build the graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from vae_anomaly._types import AnyArray, OnnxModel, Symbol, Tensor
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.networks.spec import ConvPlan, NetworkSpec
from vae_anomaly.stats.densities import MAX_LOG_VARIANCE, numpy_ops

__all__ = ["onnx_ops", "Graph", "GraphSymbol", "Networks"]

OPSET = 17
TYPES = {
    "bool": TensorProto.BOOL,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
}

IR_VERSION = 8
"""Low, as OPSET, so that old runtimes read the graphs: ONNX Runtime 1.21 reads up to 10."""

LAST = 2**31 - 1
"""End of a slice to the last index. Some runtimes overflow at the greatest int64."""

BATCH_NORM_EPSILON = 1e-3
"""That of `networks.conv.MemberBatchNorm`."""


class GraphSymbol:
    """A tensor of a graph. Other operands may be arrays or numbers."""

    def __init__(self, graph: Graph, name: str, dtype: str) -> None:
        self.graph, self.name, self.dtype = graph, name, dtype

    def apply(self, operator: str, *others: Tensor, **attributes: Tensor) -> Symbol:
        """Add an operation on this and others of its type."""
        names = [self.name, *(self.graph.as_name(other, self.dtype) for other in others)]
        return GraphSymbol(self.graph, self.graph.node(operator, names, **attributes), self.dtype)

    def __add__(self, other: Tensor) -> Symbol:
        return self.apply("Add", other)

    def __sub__(self, other: Tensor) -> Symbol:
        return self.apply("Sub", other)

    def __mul__(self, other: Tensor) -> Symbol:
        return self.apply("Mul", other)

    def __rsub__(self, other: Tensor) -> Symbol:
        name = self.graph.as_name(other, self.dtype)
        return GraphSymbol(self.graph, name, self.dtype).apply("Sub", self)

    def __neg__(self) -> Symbol:
        return self.apply("Neg")

    def __truediv__(self, other: Tensor) -> Symbol:
        return self.apply("Div", other)

    __radd__, __rmul__ = __add__, __mul__
    __array_ufunc__ = None  # arrays on the left defer to this class

    def cast(self, dtype: str) -> Symbol:
        """Convert to another type."""
        name = self.graph.node("Cast", [self.name], to=TYPES[dtype])
        return GraphSymbol(self.graph, name, dtype)

    def reshape(self, *shape: int) -> Symbol:
        """Reshape; -1 is the number of rows."""
        sizes = self.graph.as_name(np.array(shape, dtype=np.int64), "int64")
        return GraphSymbol(self.graph, self.graph.node("Reshape", [self.name, sizes]), self.dtype)

    def taken(self, start: int, end: int | None, axis: int = -1, step: int = 1) -> Symbol:
        """Slice an axis."""
        last = LAST if end is None else end
        ends = [self.graph.as_name(np.array([i]), "int64") for i in (start, last, axis, step)]
        return GraphSymbol(self.graph, self.graph.node("Slice", [self.name, *ends]), self.dtype)

    def columns(self, chosen: NDArray[np.intp]) -> Symbol:
        """Take some columns."""
        numbers = self.graph.as_name(chosen, "int64")
        name = self.graph.node("Gather", [self.name, numbers], axis=1)
        return GraphSymbol(self.graph, name, self.dtype)

    def test(self, operator: str, *others: Tensor) -> Symbol:
        """Add a test of each number, with a result of 0 or 1."""
        names = [self.name, *(self.graph.as_name(other, self.dtype) for other in others)]
        return GraphSymbol(self.graph, self.graph.node(operator, names), "bool").cast(self.dtype)

    def at_most(self, limit: float) -> Symbol:
        """Return 1 where numbers are at most a limit, else 0; 1 for NaN.

        Not every runtime has LessOrEqual.
        """
        return 1.0 - self.test("Greater", limit)

    def is_number(self) -> Symbol:
        """Return 0 for NaN, else 1; not every runtime has IsNaN of float64."""
        tests = [self.test(operator, 0.0) for operator in ("Less", "Equal", "Greater")]
        return tests[0].apply("Sum", *tests[1:])

    def is_nan(self) -> Symbol:
        """Return 1 for NaN, else 0."""
        return 1.0 - self.is_number()

    def where(self, condition: Tensor, other: Tensor) -> Symbol:
        """Keep numbers where a condition is true, or not 0, and take others elsewhere."""
        if isinstance(condition, GraphSymbol):
            condition = condition.cast("bool")
        condition = self.graph.as_name(condition, "bool")
        names = [condition, self.name, self.graph.as_name(other, self.dtype)]
        return GraphSymbol(self.graph, self.graph.node("Where", names), self.dtype)

    def least(self, count: int) -> Symbol:
        """Return the least numbers of each row, ascending."""
        return self.least_with_places(count)[0]

    def least_with_places(self, count: int) -> tuple[Symbol, Symbol]:
        """Return the least numbers of each row, ascending, and their places."""
        many = self.graph.as_name(np.array([count]), "int64")
        name = self.graph.node("TopK", [self.name, many], n_outputs=2, axis=-1, largest=0)
        return GraphSymbol(self.graph, name, self.dtype), GraphSymbol(
            self.graph, f"{name}_1", "int64"
        )

    def rows_of(self, array: NDArray[np.float32]) -> Symbol:
        """Take rows of an array at these places."""
        names = [self.graph.as_name(array, "float32"), self.name]
        return GraphSymbol(self.graph, self.graph.node("Gather", names, axis=0), "float32")

    def one_hot(self, count: int) -> Symbol:
        """Return 1 at these places and 0 elsewhere: (..., count), float32."""
        depth = self.graph.as_name(np.array(count), "int64")
        values = self.graph.as_name(np.array([0.0, 1.0]), "float32")
        name = self.graph.node("OneHot", [self.name, depth, values], axis=-1)
        return GraphSymbol(self.graph, name, "float32")

    def squeezed(self, axis: int) -> Symbol:
        """Remove an axis of length 1."""
        axes = self.graph.as_name(np.array([axis]), "int64")
        name = self.graph.node("Squeeze", [self.name, axes])
        return GraphSymbol(self.graph, name, self.dtype)

    def sum(self, keepdims: int = 0) -> Symbol:
        """Sum over the last axis."""
        axes = self.graph.as_name(np.array([-1]), "int64")
        name = self.graph.node("ReduceSum", [self.name, axes], keepdims=keepdims)
        return GraphSymbol(self.graph, name, self.dtype)

    def mean(self, axis: int) -> Symbol:
        """Average over an axis."""
        return self.apply("ReduceMean", axes=[axis], keepdims=0)

    def min(self, axis: int) -> Symbol:
        """Take the least over an axis."""
        return self.apply("ReduceMin", axes=[axis], keepdims=0)


class Graph:
    """An ONNX graph under construction.

    Attributes
    ----------
    metadata : dict of str to str
        What the model says of itself.
    """

    def __init__(self) -> None:
        self.metadata: dict[str, str] = {}
        self._nodes: list[Tensor] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Tensor] = {}
        self._inputs: list[Tensor] = []

    def input(self, name: str, *shape: int | str, dtype: str = "float32") -> Symbol:
        """Add an input."""
        self._inputs.append(helper.make_tensor_value_info(name, TYPES[dtype], shape))
        return GraphSymbol(self, name, dtype)

    def as_name(self, value: Tensor, dtype: str) -> str:
        """Name a symbol, or a constant; equal ones are kept once."""
        if isinstance(value, GraphSymbol):
            return value.name
        array = np.array(value, dtype=dtype, order="C")
        key = dtype, array.shape, array.tobytes()
        if key not in self._constants:
            self._constants[key] = numpy_helper.from_array(array, f"c{len(self._constants)}")
        name: str = self._constants[key].name
        return name

    def node(
        self, operator: str, inputs: list[str], *, n_outputs: int = 1, **attributes: Tensor
    ) -> str:
        """Add an operation, and return the name of its first output."""
        name = f"t{len(self._nodes)}"
        others = [f"{name}_{i}" for i in range(1, n_outputs)]
        # Older versions of ONNX Runtime need unique names of operations.
        node = helper.make_node(operator, inputs, [name, *others], name=name, **attributes)
        self._nodes.append(node)
        return name

    def finished(self, outputs: Mapping[str, Symbol], rank: int = 2) -> OnnxModel:
        """Build and check the ONNX model, with named outputs of some rank."""
        ends, shape = [], ["n", *[None] * (rank - 1)]
        for name, symbol in outputs.items():
            self._nodes.append(helper.make_node("Identity", [symbol.name], [name]))
            ends.append(helper.make_tensor_value_info(name, TYPES[symbol.dtype], shape))
        graph = helper.make_graph(
            self._nodes,
            "vae_anomaly",
            self._inputs,
            ends,
            initializer=list(self._constants.values()),
        )
        model = helper.make_model(
            graph,
            producer_name="vae-anomaly",
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        helper.set_model_props(model, self.metadata)
        onnx.checker.check_model(model)
        return model


def _softplus(x: Symbol) -> Symbol:
    """Log of 1 + exp(x); the runtime's own works in float32."""
    tail = (-x.apply("Abs")).apply("Exp") + 1.0
    return x.apply("Max", 0.0) + tail.apply("Log")


def _sigmoid(x: Symbol) -> Symbol:
    """Return 1 / (1 + exp(-x)) without overflow; not every runtime has one of float64."""
    tail = (-x.apply("Abs")).apply("Exp")
    return x.apply("Min", 0.0).apply("Exp") / (tail + 1.0)


def _logaddexp(x: Tensor, y: Tensor) -> Tensor:
    if not isinstance(x, GraphSymbol):
        return np.logaddexp(x, y)
    return x.apply("Max", y) + ((-(x - y).apply("Abs")).apply("Exp") + 1.0).apply("Log")


def _where(condition: AnyArray, x: Tensor, y: Tensor) -> Tensor:
    return x.where(condition, y) if isinstance(x, GraphSymbol) else np.where(condition, x, y)


onnx_ops = SimpleNamespace(
    concatenate=lambda parts: parts[0].apply("Concat", *parts[1:], axis=-1),
    exp=lambda x: x.apply("Exp") if isinstance(x, GraphSymbol) else np.exp(x),
    expm1=np.expm1,
    lgamma=numpy_ops.lgamma,
    log=lambda x: x.apply("Log") if isinstance(x, GraphSymbol) else np.log(x),
    log1p=lambda x: (x + 1.0).apply("Log"),
    logsumexp=lambda x: x.apply("ReduceLogSumExp", axes=[-1], keepdims=1),
    logaddexp=_logaddexp,
    maximum=lambda x, y: x.apply("Max", y),
    sigmoid=lambda x: _sigmoid(x) if isinstance(x, GraphSymbol) else numpy_ops.sigmoid(x),
    softmax=lambda x: x.apply("Softmax", axis=-1),
    square=lambda x: x * x,
    softplus=_softplus,
    sum=lambda x: x.sum(keepdims=1),
    take=lambda x, start, stop, step=1: x.taken(start, stop, step=step),
    where=_where,
)
"""Functions of `stats` on symbols; on arrays, which become constants, those of NumPy."""


class Networks:
    """Encoders, decoders and likelihoods of the members, in a graph.

    Parameters
    ----------
    graph : Graph
    spec : NetworkSpec
    weights : ndarray of shape (members, n_weights)

    Raises
    ------
    ParameterError
        For custom networks.
    """

    def __init__(self, graph: Graph, spec: NetworkSpec, weights: NDArray[np.float32]) -> None:
        if spec.custom is not None:
            raise ParameterError(
                "Custom networks cannot be exported as an ONNX graph here; Keras can, with "
                "encoder.export(path, format='onnx')."
            )
        self.graph, self.spec, self.arrays = graph, spec, spec.unpack(weights)
        self.plan = None if spec.grid is None else ConvPlan.for_grid(spec.grid)

    def reconstruction_error(
        self, codes: list[tuple[Symbol, Symbol]], noise: NDArray[np.float32], target: Symbol
    ) -> Symbol:
        """Return -log p(x|z), (n, features), a mean over members and draws.

        Takes the codes of each member in float32 and targets in float64.
        """
        likelihoods = []
        for member, (mean, log_variance) in enumerate(codes):
            for draw in noise:
                z = mean
                if not self.spec.noiseless:
                    z = mean + (log_variance * 0.5).apply("Exp") * draw
                outputs = self.decode(member, z)
                likelihoods.append(self.log_likelihood(member, target, outputs))
        return likelihoods[0].apply("Sum", *likelihoods[1:]) * (-1.0 / len(likelihoods))

    def predictions(self, x: Symbol, halves: NDArray[np.bool_]) -> Symbol:
        """See `Network.predictions`: inputs in float32 to (k, n, targets) in float64.

        Those of a member are adjacent.
        """
        spec, found = self.spec, []
        for member, hidden in enumerate(halves.swapaxes(0, 1)):  # (passes, features)
            shown = ~np.concatenate([hidden, ~hidden])[:, None, spec.feature_of_input]
            mean, _ = self.encode(member, (x * shown).reshape(-1, spec.n_inputs))
            outputs = self.decode(member, mean).reshape(len(shown), -1, spec.joint.n_outputs)
            first = outputs.taken(0, len(hidden), axis=0)
            second = outputs.taken(len(hidden), None, axis=0)
            found.append(first.where(hidden[:, None, spec.joint.feature_of_output], second))
        return self.expected(found[0].apply("Concat", *found[1:], axis=0))

    # ----------------------------------------------------------------- rows to codes and back

    def encode(self, member: int, x: Symbol) -> tuple[Symbol, Symbol]:
        """Mean and log-variance of q(z|x), (n, latent) each, float32."""
        latent = self.spec.latent
        if self.plan is not None:
            x = self._convolved(member, x)
        for i in range(len(self.spec.hidden)):
            x = self._dense(member, f"encoder_{i}", x).apply("Relu")
        both = self._dense(member, "encoder_out", x)
        log_variance = both.taken(latent, 2 * latent).apply("Max", -MAX_LOG_VARIANCE)
        return both.taken(0, latent), log_variance.apply("Min", MAX_LOG_VARIANCE)

    def decode(self, member: int, z: Symbol) -> Symbol:
        """Parameters of p(x|z), (n, outputs), float32."""
        if self.plan is not None:
            return self._grown(member, z)
        for i in range(len(self.spec.hidden)):
            z = self._dense(member, f"decoder_{i}", z).apply("Relu")
        return self._dense(member, "decoder_out", z)

    def log_likelihood(self, member: int, target: Symbol, outputs: Symbol) -> Symbol:
        """Log p(x|z) of every feature, (n, features), float64."""
        parameters = {
            name: self.arrays[name][member].astype(np.float64)
            for name in self.spec.joint.parameter_sizes
        }
        return self.spec.joint.log_prob(onnx_ops, target, outputs.cast("float64"), parameters)

    def expected(self, outputs: Symbol) -> Symbol:
        """Mean of p(x|z), (..., targets), float64."""
        return self.spec.joint.mean(onnx_ops, outputs.cast("float64"))

    # ------------------------------------------------------------------------------- layers

    def _dense(self, member: int, name: str, x: Symbol) -> Symbol:
        kernel, bias = (self.arrays[f"{name}.{part}"][member] for part in ("kernel", "bias"))
        return x.apply("Gemm", kernel, bias)

    def _filters(self, member: int, name: str) -> tuple[AnyArray, AnyArray]:
        """Return kernel, in the order of ONNX, and bias, with the normalisation folded in."""

        def get(part: str) -> NDArray[np.float64]:
            return self.arrays[f"{name}.{part}"][member].astype(np.float64)

        # ONNX puts outputs before inputs, in transposed convolutions inputs before outputs.
        kernel, bias = get("kernel").transpose(3, 2, 0, 1), get("bias")
        if f"{name}.gamma" in self.arrays:
            factor = get("gamma") / np.sqrt(get("moving_variance") + BATCH_NORM_EPSILON)
            bias = (bias - get("moving_mean")) * factor + get("beta")
            outputs = 0 if name.startswith("encoder") else 1
            kernel = kernel * np.expand_dims(factor, [i for i in range(4) if i != outputs])
        return kernel, bias

    def _convolved(self, member: int, x: Symbol) -> Symbol:
        plan = self.plan or ConvPlan(())
        x = x.reshape(-1, *plan.sizes[0]).apply("Transpose", perm=[0, 3, 1, 2])
        for i in range(len(plan.filters)):
            kernel, bias = self._filters(member, f"encoder_conv_{i}")
            pads = _same_pads(plan.sizes[i][:2], kernel.shape[-1])
            x = x.apply("Conv", kernel, bias, strides=[2, 2], pads=pads).apply("Relu")
        return x.apply("Transpose", perm=[0, 2, 3, 1]).reshape(-1, plan.flat)

    def _grown(self, member: int, z: Symbol) -> Symbol:
        plan = self.plan or ConvPlan(())
        x = self._dense(member, "decoder_0", z).apply("Relu").reshape(-1, *plan.sizes[-1])
        x = x.apply("Transpose", perm=[0, 3, 1, 2])
        for i, (height, width, _) in enumerate(plan.sizes[-2::-1]):
            kernel, bias = self._filters(member, f"decoder_conv_{i}")
            x = x.apply("ConvTranspose", kernel, bias, strides=[2, 2])
            x = x.apply("Relu").taken(0, height, axis=2).taken(0, width, axis=3)
        kernel, bias = self._filters(member, "decoder_out")
        x = x.apply("ConvTranspose", kernel, bias, pads=[1, 1, 1, 1])
        return x.apply("Transpose", perm=[0, 2, 3, 1]).reshape(-1, self.spec.joint.n_outputs)


def _same_pads(sides: tuple[int, ...], kernel: int) -> list[int]:
    """Return the padding "SAME_UPPER" of a convolution with stride 2: all starts, then all ends.

    Examples
    --------
    >>> _same_pads((28, 9), 3)
    [0, 1, 1, 1]
    """
    pads = [max((-(-side // 2) - 1) * 2 + kernel - side, 0) for side in sides]
    return [pad // 2 for pad in pads] + [pad - pad // 2 for pad in pads]
