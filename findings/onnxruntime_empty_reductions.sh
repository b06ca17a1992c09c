#!/usr/bin/env bash
# Sums of no rows have the wrong shape in most versions of ONNX Runtime.
#
# ONNX Runtime 1.31.1 and 1.32.0, CPU. Guess beforehand: a reduction of an array of shape (0, 4)
# over its last axis gives shape (0,), or (0, 1) with keepdims=1, as in NumPy and as the ONNX
# specification infers: the axis that is reduced is not the one that is empty.
#
# Seen: up to 1.31.1 the result of ReduceSum, ReduceMean and ReduceMax keeps the shape (0, 4). It
# is no error: a warning is logged that the shape differs from the model's. 1.32.0 is right. With
# rows all versions agree. (1.21.0, 1.24.1 and 1.27.0 to 1.31.0 were seen to be wrong as well.)
#
# Why it matters: a service that scores batches, some of them empty, returns a matrix where a
# vector was, or raises a broadcasting error in a later node, in all but the newest version.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx==1.22.0
for version in 1.31.1 1.32.0; do
    "$folder/venv/bin/pip" install --quiet "onnxruntime==$version"
    "$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def shape_of(operator, keepdims, n):
    axes = numpy_helper.from_array(np.array([-1]), "axes")
    node = helper.make_node(operator, ["x", "axes"], ["y"], keepdims=keepdims)
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [axes],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 8
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {"x": np.zeros((n, 4), np.float32)})[0].shape


version = onnxruntime.__version__
for operator in ("ReduceSum", "ReduceMean", "ReduceMax"):
    for keepdims in (0, 1):
        right = (0, 1) if keepdims else (0,)
        assert shape_of(operator, keepdims, 2) == (2, *right[1:])
        seen = shape_of(operator, keepdims, 0)
        assert seen == (right if version == "1.32.0" else (0, 4)), (version, operator, seen)
print("onnxruntime", version, "- the sum of (0, 4) over its last axis:", shape_of("ReduceSum", 0, 0))
PYTHON
done
