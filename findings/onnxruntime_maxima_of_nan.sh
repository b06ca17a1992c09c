#!/usr/bin/env bash
# Equal rows of one batch have different maxima in ONNX Runtime if they hold NaN.
#
# ONNX Runtime 1.32.0 (1.21.1 does the same), onnx 1.23.2, on the CPU. Guess beforehand: ReduceMax
# and ReduceMin either keep NaN, as NumPy does and as Max, Min, Clip and Relu of this runtime do,
# or always pass it over.
#
# Seen: of ten equal rows of 19 float32, the first of which is NaN, three or so have the maximum
# NaN, the others 18. A NaN counts where it is the first element that lies on a boundary of 16
# bytes in memory: so what a row gives depends on its place in the batch, and on its width. A NaN
# further right is always passed over. Doubles behave alike, with a period of two rows.
#
# Why it matters: a maximum over the cells of a row, the usual way to keep a sum of exponentials
# finite, neither tells that a cell was missing nor hides it. The same row alone and in a batch
# have different scores.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import helper, numpy_helper


def reduced(operator, rows):
    kind = helper.np_dtype_to_tensor_dtype(rows.dtype)
    axes = numpy_helper.from_array(np.array([1]), "axes")
    node = helper.make_node(operator, ["x", "axes"], ["y"], keepdims=0)
    x, y = (helper.make_tensor_value_info(n, kind, s) for n, s in (("x", ["n", "d"]), ("y", ["n"])))
    graph = helper.make_graph([node], "graph", [x], [y], [axes])
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": rows})[0]


for dtype in (np.float32, np.float64):
    rows = np.tile(np.arange(19, dtype=dtype), (10, 1))
    rows[:, 0] = np.nan
    maxima, minima = reduced("ReduceMax", rows), reduced("ReduceMin", rows)
    print(np.dtype(dtype).name, "maxima of ten equal rows:", maxima)
    assert np.isnan(rows.max(axis=1)).all()  # NumPy
    for values in (maxima, minima):
        assert 0 < np.isnan(values).sum() < 10, values
    assert set(maxima[~np.isnan(maxima)]) == {18.0}, maxima
    rows = np.roll(rows, 9, axis=1)
    assert not np.isnan(reduced("ReduceMax", rows)).any()
print("as described")
PYTHON
