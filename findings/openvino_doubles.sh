#!/usr/bin/env bash
# OpenVINO computes a graph of doubles in single precision, and returns doubles.
#
# OpenVINO 2026.4.1, onnx 1.23.2, on the CPU. Guess beforehand: a graph whose input, constant and
# output are float64 is computed in float64, or it is refused.
#
# Seen: x - 1.75e9 of two times in Unix seconds, 1.5 s and 30 s later, is 0 and 0, of the type
# float64. The property INFERENCE_PRECISION_HINT cannot be f64: "Supported values: bf16, f16, f32,
# undefined". With f32 the result is the same. The reference evaluator returns 1.5 and 30.
#
# Why it matters: near 1.75e9 single precision has steps of 128. A model of a column of times sees
# the same time for two minutes, and scores are finite and plausible.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet openvino==2026.4.1 onnx==1.23.2
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import openvino
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

times = np.array([1.75e9 + 1.5, 1.75e9 + 30.0])
x, y = (helper.make_tensor_value_info(name, TensorProto.DOUBLE, [None]) for name in "xy")
start = helper.make_tensor("start", TensorProto.DOUBLE, [1], [1.75e9])
node = helper.make_node("Sub", ["x", "start"], ["y"])
graph = helper.make_graph([node], "graph", [x], [y], [start])
opset = [helper.make_opsetid("", 17)]
model = helper.make_model(graph, opset_imports=opset, ir_version=8)

core = openvino.Core()
read = core.read_model(model=model.SerializeToString(), weights=b"")
compiled = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
found = compiled([times])[0]
[expected] = ReferenceEvaluator(model).run(None, {"x": times})
print("OpenVINO", openvino.__version__, found, found.dtype, "expected", expected)
assert found.dtype == np.float64
assert not found.any()
try:
    core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f64"})
except RuntimeError as error:
    assert "Wrong value f64" in str(error)
else:
    raise SystemExit("f64 is accepted")
PYTHON
