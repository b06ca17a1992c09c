#!/usr/bin/env bash
# TensorFlow's softmax on CPUs turns a NaN logit into probabilities of zero for all other classes.
#
# tensorflow-cpu 2.21.0, x86-64. Guess beforehand: one NaN among the logits makes the whole row NaN,
# as the formula says, as doubles do, and as tf.nn.log_softmax does in either precision.
#
# Seen: for float32 the NaN stays at its place, the other classes have exactly 0, and the row sums
# to 0 without it. Keras's Softmax layer returns the same. With TF_ENABLE_ONEDNN_OPTS=0, set before
# the import, the row is NaN. (In wider rows a few more places are NaN, at a distance of 16.)
#
# Why it matters: exp(log_softmax) and softmax are two values for one row, "is any class certain"
# has an answer, and the largest probability without NaN is 0. A check of a single class passes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow-cpu==2.21.0
cat > "$folder/softmax.py" <<'PYTHON'
import os
import sys

import numpy as np
import tensorflow as tf

logits = np.array([[0, np.nan, 0, 0, 0]], np.float32)
single = tf.nn.softmax(logits).numpy()[0]
layer = tf.keras.layers.Softmax()(logits).numpy()[0]
double = tf.nn.softmax(logits.astype(np.float64)).numpy()[0]
logs = tf.nn.log_softmax(logits).numpy()[0]
print("oneDNN", os.environ["TF_ENABLE_ONEDNN_OPTS"], "float32:", single, "float64:", double)
assert np.isnan(double).all()
assert np.isnan(logs).all()
if sys.argv[1] == "zeros":
    for values in (single, layer):
        assert np.isnan(values[1])
        assert (np.delete(values, 1) == 0).all()
else:
    assert np.isnan(single).all()
PYTHON
export TF_CPP_MIN_LOG_LEVEL=3
TF_ENABLE_ONEDNN_OPTS=1 "$folder/venv/bin/python" "$folder/softmax.py" zeros
TF_ENABLE_ONEDNN_OPTS=0 "$folder/venv/bin/python" "$folder/softmax.py" nan
echo "as described"
