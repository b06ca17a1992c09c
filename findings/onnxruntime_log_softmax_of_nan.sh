#!/usr/bin/env bash
# LogSoftmax of doubles with a NaN returns finite log-probabilities above zero in ONNX Runtime.
#
# ONNX Runtime 1.32.0 (1.21.1 does the same), onnx 1.23.2, on the CPU. Guess beforehand: one NaN
# among the logits makes every log-probability NaN, in each precision, since each has the sum of
# all exponentials as its denominator.
#
# Seen: for the logits 0, 1, NaN, 2 float32 gives four NaN. float64 gives about 44, 45, NaN and 46:
# "probabilities" of e^44. Softmax of the same doubles gives four NaN. The reference evaluator of
# onnx gives four NaN for both.
#
# Why it matters: a likelihood of categories, exported in double precision to keep its digits,
# turns one missing logit into a huge gain instead of a NaN: the row looks more normal than any.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import helper
from onnx.reference import ReferenceEvaluator


def model_of(operator, dtype):
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    x, y = (helper.make_tensor_value_info(name, kind, ["n", "d"]) for name in "xy")
    node = helper.make_node(operator, ["x"], ["y"], axis=1)
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(
        helper.make_graph([node], "graph", [x], [y]), opset_imports=opset, ir_version=8
    )


for operator in ("Softmax", "LogSoftmax"):
    for dtype in (np.float32, np.float64):
        model = model_of(operator, dtype)
        logits = np.array([[0, 1, np.nan, 2]], dtype)
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        seen = session.run(None, {"x": logits})[0][0]
        print(operator, np.dtype(dtype).name, seen)
        assert np.isnan(ReferenceEvaluator(model).run(None, {"x": logits})[0]).all()
        if (operator, dtype) == ("LogSoftmax", np.float64):
            assert np.isnan(seen).tolist() == [False, False, True, False]
            assert (seen[[0, 1, 3]] > 40).all()
            assert np.allclose(np.diff(seen[[0, 1, 3]]), 1)
        else:
            assert np.isnan(seen).all()
print("as described")
PYTHON
