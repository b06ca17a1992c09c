#!/usr/bin/env bash
# On Linux the peak memory reported for a small child process is that of its parent.
#
# Python 3.11 and newer, numpy 2.3.5, Linux. Guess beforehand: ru_maxrss, which os.wait4 and
# resource.getrusage(RUSAGE_CHILDREN) return for a child, is what the child's program used: a few
# megabytes for `true`.
#
# Seen: from a Python process that holds an array of 512 MB, `true` has a peak of more than 512 MB.
# That is so for subprocess and os.posix_spawn, and still when the array is deleted: what counts is
# the parent's own peak. A program takes over the peak of the process that it replaces, and that one
# shared the memory of the parent. Started by way of a small process, `true` has a few megabytes.
#
# Why it matters: benchmarks that make data, run a command and read its ru_maxrss compare a
# constant; a limit on memory looks missed, and growth with the data looks like none.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.3.5
"$folder/venv/bin/python" - <<'PYTHON'
import os
import shutil
import subprocess
import sys

import numpy as np

TRUE = shutil.which("true")
INNER = (
    "import os, sys; child = os.posix_spawn(sys.argv[1], ['true'], os.environ);"
    "print(os.wait4(child, 0)[2].ru_maxrss // 1024)"
)


def by_subprocess():
    child = subprocess.Popen([TRUE])
    return os.wait4(child.pid, 0)[2].ru_maxrss // 1024


def by_spawn():
    return os.wait4(os.posix_spawn(TRUE, ["true"], os.environ), 0)[2].ru_maxrss // 1024


def by_a_small_process():
    return int(subprocess.check_output([sys.executable, "-IS", "-c", INNER, TRUE]))


for name, peak in (("subprocess", by_subprocess), ("posix_spawn", by_spawn)):
    print(f"before: {name} {peak()} MB")
    assert peak() < 200
array = np.ones(64 * 2**20)
for name, peak in (("subprocess", by_subprocess), ("posix_spawn", by_spawn)):
    print(f"beside an array of 512 MB: {name} {peak()} MB")
    assert peak() > 512
del array
print(f"without it: posix_spawn {by_spawn()} MB, by a small process {by_a_small_process()} MB")
assert by_spawn() > 512
assert by_a_small_process() < 50
print("as described")
PYTHON
