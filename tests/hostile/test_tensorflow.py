"""Processes in which TensorFlow cannot run: forks of one in which it ran, and version 1 modes."""

from __future__ import annotations

import os

import pytest
from processes import output_of

BEGIN = """
import os, signal, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
from vae_anomaly import VAEDetector, VAEAnomalyError, load, save
X = np.random.RandomState(0).normal(size=(120, 3))
I = np.random.RandomState(0).uniform(size=(40, 12, 12))
options = dict(max_steps=3, n_members=1, contamination=0.1, random_state=0)

def refused(work):
    try:
        print("did", type(work()).__name__)
    except VAEAnomalyError as error:
        print("refused", error)
    sys.stdout.flush()

def in_fork(work):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        work()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
"""

LOST = (
    "refused TensorFlow has run in the process that this one was forked from; its threads are "
    "lost, and it would wait for them for ever. Start processes with "
    "multiprocessing.get_context('spawn'), or fork before the first fit."
)

VERSION_1 = (
    "refused TensorFlow runs without eager execution here, as version 1 did. Call VAEDetector "
    "outside of tf.Graph and tf.function, and in a process without "
    "tf.compat.v1.disable_eager_execution and disable_v2_behavior."
)


def lines_of(program: str) -> list[str]:
    """Return what a program prints, in a process that has imported TensorFlow and not run it."""
    return output_of(BEGIN + program)


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


@needs_fork
def test_a_fit_after_a_fork_is_refused_at_once_and_scores_go_on() -> None:
    program = """
in_fork(lambda: refused(lambda: VAEDetector(**options).fit(X)))  # nothing has run yet
detector = VAEDetector(**options).fit(X)
expected = detector.score_samples(X)
in_fork(lambda: refused(lambda: VAEDetector(**options).fit(X)))
in_fork(lambda: refused(lambda: detector.fit(X)))
in_fork(lambda: in_fork(lambda: refused(lambda: detector.fit(X))))
in_fork(lambda: refused(lambda: np.testing.assert_array_equal(detector.score_samples(X), expected)))
in_fork(lambda: refused(lambda: detector.explain(X)))
refused(lambda: detector.fit(X))
"""
    assert lines_of(program) == [
        "did VAEDetector",
        *([LOST] * 3),
        *("did NoneType", "did DataFrame", "did VAEDetector"),
    ]


@needs_fork
def test_convolutions_after_a_fork_or_within_a_graph_are_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    program = """
import tensorflow as tf
detector = VAEDetector(architecture="conv", **options).fit(I)
save(detector, "conv.vae")
in_fork(lambda: refused(lambda: detector.score_samples(I)))
expected = detector.score_samples(I)  # opens the engine
in_fork(lambda: refused(lambda: detector.predict(I)))
in_fork(lambda: refused(lambda: detector.sample(2, random_state=0)))
in_fork(lambda: refused(lambda: load("conv.vae").transform(I)))
with tf.Graph().as_default():
    refused(lambda: detector.score_samples(I))
@tf.function
def traced():
    refused(lambda: detector.score_samples(I))
    return tf.constant(0.0)
traced()
refused(lambda: np.testing.assert_array_equal(detector.score_samples(I), expected))
"""
    assert lines_of(program) == [*([LOST] * 4), VERSION_1, VERSION_1, "did NoneType"]


@needs_fork
def test_tensorflow_that_the_program_itself_ran_counts() -> None:
    program = """
import keras
keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])(X)
in_fork(lambda: refused(lambda: VAEDetector(**options).fit(X)))
"""
    assert lines_of(program) == [LOST]


MODES = {
    "no eager execution": "tf.compat.v1.disable_eager_execution()",
    "no behaviour of version 2": "tf.compat.v1.disable_v2_behavior()",
    "no shapes of version 2": "tf.compat.v1.disable_v2_tensorshape()",
}


@pytest.mark.parametrize("case", MODES)
def test_modes_of_version_1_are_named(case) -> None:
    program = f"import tensorflow as tf\n{MODES[case]}\n"
    program += "refused(lambda: VAEDetector(**options).fit(X))"
    assert lines_of(program)[-1] == VERSION_1
