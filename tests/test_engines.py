"""Every engine computes the same numbers, and samples have the moments of their distribution."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier, Event, get_ident
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from network_parts import elbo_terms, spec_of
from threadpoolctl import threadpool_info

from vae_anomaly._threads import parallel_map
from vae_anomaly.inference import tensorflow_engine
from vae_anomaly.inference.base import Codes, Engine
from vae_anomaly.inference.network import Network, open_engine
from vae_anomaly.inference.numpy_engine import NumpyEngine
from vae_anomaly.inference.tensorflow_engine import TensorFlowEngine
from vae_anomaly.networks.spec import NetworkSpec
from vae_anomaly.networks.vae import build_vae
from vae_anomaly.stats.densities import numpy_ops
from vae_anomaly.stats.likelihoods import Block

N, COLUMNS, LATENT = 40, 7, 3
LEARNED = spec_of(2, COLUMNS, (16, 8), LATENT, "gaussian")
SPECS = {
    "learned variance": LEARNED,
    "fixed variance": replace(LEARNED, variance=0.3),
    "heteroscedastic": replace(LEARNED, blocks=(Block("heteroscedastic", COLUMNS),)),
    "student t": replace(LEARNED, blocks=(Block("student_t", COLUMNS),)),
    "discretized logistic": replace(LEARNED, blocks=(Block("discretized_logistic", COLUMNS),)),
    "bernoulli": replace(LEARNED, blocks=(Block("bernoulli", COLUMNS),)),
    "one member": replace(LEARNED, members=1),
    "no hidden layers": replace(LEARNED, hidden=()),
    "autoencoder": replace(LEARNED, noiseless=True),
    "two blocks": replace(LEARNED, blocks=(Block("gaussian", 3), Block("bernoulli", 4))),
    "more targets than inputs": replace(
        LEARNED, blocks=(Block("heteroscedastic", 5), Block("student_t", 6))
    ),
}


@pytest.fixture(params=SPECS.values(), ids=SPECS)
def engines(request: pytest.FixtureRequest) -> tuple[Engine, Engine]:
    weights = build_vae(request.param).initial_weights(np.random.RandomState(0))
    # Starting biases and log-variances are zero, which would hide much.
    weights += np.random.RandomState(1).normal(scale=0.3, size=weights.shape).astype(np.float32)
    return NumpyEngine(request.param, weights), TensorFlowEngine(request.param, weights)


@pytest.mark.parametrize("hidden", [(16, 8), ()])
def test_engines_predict_features_from_the_other_half(hidden: tuple[int, ...]) -> None:
    blocks = (Block("heteroscedastic", 3), Block("categorical", 1, 3), Block("categorical", 1, 2))
    spec = replace(LEARNED, blocks=blocks, n_inputs=13, hidden=hidden, has_masks=True)
    weights = build_vae(spec).initial_weights(np.random.RandomState(0))
    weights += np.random.RandomState(1).normal(scale=0.3, size=weights.shape).astype(np.float32)
    x = np.random.RandomState(2).normal(size=(N, 13)).astype(np.float32)
    halves = np.random.RandomState(3).uniform(size=(2, 2, 5)) < 0.5
    halves[0, 0] = True  # one half may be empty
    one, other = NumpyEngine(spec, weights), TensorFlowEngine(spec, weights)
    found = one.predict(x, halves)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, other.predict(x, halves), rtol=2e-5, atol=2e-5)

    # What a feature is predicted from: nothing of its own half.
    feature = spec.feature_of_input
    moved = x + (feature == 0).astype(np.float32)
    changed = (one.predict(moved, halves) != found).any(axis=1)  # (passes * members, outputs)
    of_output = spec.joint.feature_of_output
    for half, outputs in zip(halves.reshape(4, 5), changed, strict=True):
        assert not outputs[half[of_output] == half[0]].any()
        assert outputs[half[of_output] != half[0]].all()


def test_engines_agree(engines: tuple[Engine, Engine]) -> None:
    rng, spec = np.random.RandomState(2), engines[0].spec
    target = rng.uniform(size=(N, spec.joint.n_targets))
    x, noise, mean, log_variance = (
        rng.normal(size=shape).astype(np.float32)
        for shape in ((N, COLUMNS), (4, LATENT), *[(spec.members, N, LATENT)] * 2)
    )
    codes = Codes(mean, log_variance)
    for call in (
        lambda engine: [engine.reconstruction_error(codes, noise, target)],
        lambda engine: engine.encode(x),
        lambda engine: [engine.decode(mean)],
    ):
        ours, reference = (call(engine) for engine in engines)
        for one, other in zip(ours, reference, strict=True):
            assert one.shape == other.shape
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_the_shape_of_the_networks_chooses_the_engine() -> None:
    conv = spec_of(1, 64, (8,), 2, "gaussian", grid=(8, 8, 1))
    for spec, engine in ((LEARNED, NumpyEngine), (conv, TensorFlowEngine)):
        weights = np.zeros((spec.members, spec.n_weights), dtype=np.float32)
        assert isinstance(open_engine(spec, weights), engine)
        assert Network(spec, weights).needs_tensorflow is (engine is TensorFlowEngine)


def constant(spec: NetworkSpec, **arrays: float) -> np.ndarray:
    """Weights that are zero but for some arrays."""
    filled = {
        name: np.full((spec.members, *shape), arrays.get(name, 0.0), dtype=np.float32)
        for name, shape in spec.weight_shapes().items()
    }
    return spec.pack(filled)


@pytest.mark.parametrize("variance", [None, 4.0])
def test_gaussian_draws_have_the_moments_of_their_distribution(variance: float | None) -> None:
    spec = spec_of(1, 1, (), 1, "gaussian", variance=variance)
    learned = {} if variance else {"likelihood_0.log_variance": np.log(4.0)}
    weights = constant(spec, **{"decoder_out.bias": 0.7}, **learned)
    drawn = Network(spec, weights).sample(100_000, np.random.RandomState(0))
    assert drawn.mean() == pytest.approx(0.7, abs=0.02)
    assert drawn.std() == pytest.approx(2.0, rel=0.01)


def test_draws_hold_the_spread_of_the_codes_and_of_every_member() -> None:
    spec = spec_of(2, 1, (), 1, "gaussian", variance=0.25)
    weights = constant(spec, **{"decoder_out.kernel": 1.5})
    weights[1] += constant(spec, **{"decoder_out.bias": 80.0})[1]
    drawn = Network(spec, weights).sample(100_000, np.random.RandomState(0))[:, 0]
    for center, part in ((0.0, drawn[drawn < 40]), (80.0, drawn[drawn >= 40])):
        assert len(part) == pytest.approx(50_000, rel=0.02)
        assert part.mean() == pytest.approx(center, abs=0.03)
        assert part.var() == pytest.approx(1.5**2 + 0.25, rel=0.02)


def test_bernoulli_draws_are_zeros_and_ones() -> None:
    spec = spec_of(1, 1, (), 1, "bernoulli")
    weights = constant(spec, **{"decoder_out.bias": 0.7})
    drawn = Network(spec, weights).sample(100_000, np.random.RandomState(0))
    assert set(np.unique(drawn)) == {0.0, 1.0}
    assert drawn.mean() == pytest.approx(1 / (1 + np.exp(-0.7)), abs=0.005)


def test_a_gpu_gets_more_rows_at_a_time_and_nothing_but_rounding_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = build_vae(LEARNED).initial_weights(np.random.RandomState(0))
    rows = np.random.RandomState(1).normal(size=(5000, COLUMNS))
    found: list[int] = []
    encode = TensorFlowEngine.encode

    def counted(self: TensorFlowEngine, x: Any) -> Codes:
        found.append(len(x))
        return encode(self, x)

    monkeypatch.setattr(TensorFlowEngine, "encode", counted)
    noise = np.ones((1, LATENT), dtype=np.float32)
    few = elbo_terms(Network(LEARNED, weights, "tensorflow"), noise, rows, rows)
    monkeypatch.setattr(tensorflow_engine, "has_gpu", lambda: True)
    many = elbo_terms(Network(LEARNED, weights, "tensorflow"), noise, rows, rows)
    assert found == [256] * 20 + [4096] * 2
    np.testing.assert_allclose(many.reconstruction, few.reconstruction, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(many.kl, few.kl, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("before", [True, False])
def test_tensorflow_multiplies_in_full_precision_while_it_scores(before: bool) -> None:
    settings = tf.config.experimental
    at_first = settings.tensor_float_32_execution_enabled()
    settings.enable_tensor_float_32_execution(before)
    try:
        with TensorFlowEngine(LEARNED, constant(LEARNED)).setting:
            assert not settings.tensor_float_32_execution_enabled()
        assert settings.tensor_float_32_execution_enabled() is before
    finally:
        settings.enable_tensor_float_32_execution(at_first)


def test_overlapping_calls_restore_the_setting_when_the_last_ends() -> None:
    settings = tf.config.experimental
    at_first = settings.tensor_float_32_execution_enabled()
    settings.enable_tensor_float_32_execution(True)
    try:
        engine = TensorFlowEngine(LEARNED, constant(LEARNED))
        first, second = engine.setting, engine.setting
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert not settings.tensor_float_32_execution_enabled()
        second.__exit__(None, None, None)
        assert settings.tensor_float_32_execution_enabled()
    finally:
        settings.enable_tensor_float_32_execution(at_first)


def test_a_large_fixed_variance_has_a_logarithm() -> None:
    spec = spec_of(1, 1, (), 1, "gaussian", variance=1e39)
    noise, row = np.zeros((1, 1), dtype=np.float32), np.zeros((1, 1))
    for engine in (NumpyEngine, TensorFlowEngine):
        opened = engine(spec, constant(spec))
        error = opened.reconstruction_error(opened.encode(row.astype(np.float32)), noise, row)
        expected = 0.5 * (np.log(2 * np.pi) + 39 * np.log(10))
        assert error[0, 0] == pytest.approx(expected, rel=1e-6)


def test_products_get_their_threads_back_from_calls_that_overlap() -> None:
    def threads() -> list[int]:
        return [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]

    before = threads()
    engine = NumpyEngine(LEARNED, constant(LEARNED))
    first, second = engine.setting, engine.setting
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert set(threads()) == {1}
    second.__exit__(None, None, None)
    assert threads() == before


def test_products_are_held_to_one_thread_by_any_thread() -> None:
    engine = NumpyEngine(LEARNED, constant(LEARNED))

    def threads() -> set[int]:
        with engine.setting:
            return {lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"}

    for _ in range(2):
        assert threads() == {1}
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(threads).result() == {1}


def test_batches_that_have_not_started_are_cancelled_after_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vae_anomaly.inference.network.MAX_BATCH_ROWS", 1)
    done = []

    def failing(self: NumpyEngine, x: np.ndarray) -> Codes:
        done.append(x[0, 0])
        if x[0, 0] == 0:
            raise MemoryError
        time.sleep(0.01)
        return Codes(*np.zeros((2, 2, 1, LATENT), dtype=np.float32))

    monkeypatch.setattr(NumpyEngine, "encode", failing)
    rows = np.tile(np.arange(500.0)[:, None], (1, COLUMNS))
    with pytest.raises(MemoryError):
        Network(LEARNED, constant(LEARNED)).encode(rows)
    assert 0 < len(done) < 400


@pytest.mark.parametrize("n", [0, 1, 256, 257, 1000, 5000])
def test_chunks_are_whole_batches_and_all_of_the_rows(n: int, monkeypatch) -> None:
    monkeypatch.setattr("vae_anomaly.inference.network.CHUNK_CELLS", 3000)
    parts = Network(LEARNED, constant(LEARNED)).chunks(n, 5)
    parts.sort(key=lambda part: part.start)
    assert [i for part in parts for i in range(n)[part]] == list(range(n))
    assert all((part.stop - part.start) % 256 == 0 for part in parts)
    assert all((part.stop - part.start) * 5 <= 3000 + 256 * 5 for part in parts)


def test_work_in_parallel_is_not_divided_again() -> None:
    places: list[list[int]] = []

    def outer(_: int) -> None:
        own = [get_ident()]
        list(parallel_map(lambda _: own.append(get_ident()), range(3), 2))
        places.append(own)

    list(parallel_map(outer, range(4), 2))
    assert len(places) == 4
    assert all(own == own[:1] * 4 for own in places)
    assert all(own[0] != get_ident() for own in places)


def test_calls_share_threads() -> None:
    both = Barrier(2, timeout=20)

    def own(_: int) -> int:
        both.wait()
        return get_ident()

    first, second = (set(parallel_map(own, range(2), 2)) for _ in range(2))
    assert len(first) == 2
    assert first == second


def test_after_a_failure_nothing_runs_nor_starts() -> None:
    running, done = Event(), []

    def work(task: int) -> None:
        if task == 0:
            running.wait(20)
            raise ValueError("no")
        running.set()
        time.sleep(0.05)
        done.append(task)

    with pytest.raises(ValueError, match="no"):
        parallel_map(work, range(200), 2)
    n_done = len(done)
    assert 1 <= n_done < 100
    assert list(parallel_map(abs, [-1, -2], 2)) == [1, 2]
    assert len(done) == n_done


def test_two_batches_run_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    both = Barrier(2, timeout=20)
    encode = NumpyEngine.encode

    def waiting(self: NumpyEngine, x: np.ndarray) -> Codes:
        both.wait()
        return encode(self, x)

    monkeypatch.setattr(NumpyEngine, "encode", waiting)
    network = Network(LEARNED, constant(LEARNED))
    network.engine.threads = 2
    mean, _ = network.encode(np.zeros((512, COLUMNS)))
    assert mean.shape == (512, 2, LATENT)
    assert not both.broken


@pytest.mark.parametrize("likelihood", ["gaussian", "heteroscedastic", "bernoulli"])
def test_means_alone_are_those_of_codes_and_expected_targets_those_of_members(
    likelihood: str,
) -> None:
    spec = spec_of(3, COLUMNS, (16, 8), LATENT, likelihood)
    weights = build_vae(spec).initial_weights(np.random.RandomState(0))
    x = np.random.RandomState(1).normal(size=(256, COLUMNS)).astype(np.float32)
    with Network(spec, weights).engine.setting:
        engine = Network(spec, weights).engine
        mean = engine.encode_means(x)
        np.testing.assert_array_equal(mean, engine.encode(x).mean)
        by_member = spec.joint.mean(numpy_ops, engine.decode(mean)).mean(axis=0)
        np.testing.assert_allclose(engine.expected(mean), by_member, rtol=1e-5, atol=1e-6)
