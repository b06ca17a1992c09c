#!/usr/bin/env bash
# TensorFlow's running log-sum-exp counts a NaN as if the sum so far came once more.
#
# tensorflow-cpu 2.21.0, CPU. Guess beforehand: from the first NaN on, all values of
# tf.math.cumulative_logsumexp are NaN, as those of tf.cumsum are.
#
# Seen: none is NaN. Of 1, NaN, NaN the running values are 1, 1 + log 2 and 1 + log 4: each NaN
# doubles the sum of exponentials. Of 0, NaN, 0, 0 they are 0, log 2, log 3 and log 4, as if the NaN
# had been 0. tf.math.reduce_logsumexp of the same values, which should be the last of them, is NaN.
# float32 and float64, eager and in a tf.function, agree.
#
# Why it matters: running evidence of a sequence with one missing value (filters, change points,
# mixtures along time) is finite, plausible and too large, and no check for NaN finds it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow-cpu==2.21.0
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import tensorflow as tf

compiled = tf.function(tf.math.cumulative_logsumexp)
for dtype in (np.float32, np.float64):
    for values, expected in (
        ([1, np.nan, np.nan], [1, 1 + np.log(2), 1 + np.log(4)]),
        ([0, np.nan, 0, 0], np.log([1, 2, 3, 4])),
    ):
        x = tf.constant(values, dtype)
        for function in (tf.math.cumulative_logsumexp, compiled):
            seen = function(x).numpy()
            assert np.allclose(seen, expected), seen
        assert np.isnan(tf.cumsum(x).numpy()[1:]).all()
        assert np.isnan(tf.math.reduce_logsumexp(x).numpy())
        print(np.dtype(dtype).name, values, "->", seen)
print("as described")
PYTHON
