#!/usr/bin/env bash
# NumPy's maximum of an array and a number is slower than that of the array and an array of this
# number.
#
# numpy 2.4.6, x86-64. Guess beforehand: np.maximum(x, 0) is at least as fast as the same with an
# array of zeros, since it reads half as much memory: np.add(x, 1) takes half the time of
# np.add(x, ones).
#
# Seen: of 100,000 numbers in float32, in the cache, np.maximum(x, 0, out=x) takes 3 to 5 times as
# long as np.maximum(x, zeros, out=x), and so do np.minimum, np.fmax and np.clip. With int32 it is 2.7
# times. In float64 the ratio is 2 with AVX-512, and 1 without. Sums with a number take half as long.
#
# Why it matters: rectifiers of a network in NumPy, and clipped values, cost several times what they
# need to; a table of zeros that is kept makes up for it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
from time import perf_counter

import numpy as np


def least_seconds(work):
    times = []
    for _ in range(500):
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return min(times)


x = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
zeros, result = np.zeros_like(x), np.empty_like(x)
ratios = {}
for function in (np.maximum, np.minimum, np.fmax, np.add):
    number = least_seconds(lambda: function(x, np.float32(0), out=result))
    array = least_seconds(lambda: function(x, zeros, out=result))
    ratios[function.__name__] = number / array
clipped = least_seconds(lambda: np.clip(x, np.float32(0), None, out=result))
ratios["clip"] = clipped / least_seconds(lambda: np.maximum(x, zeros, out=result))
for name, ratio in ratios.items():
    print(f"{name}: with a number {ratio:.2f} times as long as with an array")
assert min(ratios[name] for name in ("maximum", "minimum", "fmax", "clip")) > 1.8
assert ratios["add"] < 1.1
print("as described")
PYTHON
