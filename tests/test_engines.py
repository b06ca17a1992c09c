"""Every engine computes the same numbers, and what is drawn has the moments it should."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier, get_ident
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from threadpoolctl import threadpool_info
from vae_anomaly.inference.passes import draw_rows, elbo_terms, for_each_batch, for_each_chunk

from vae_anomaly._threads import in_parallel, unlocked_cached_property
from vae_anomaly.inference.engines import Engine, open_engine, preferring, with_tensorflow
from vae_anomaly.inference.numpy_engine import NumpyEngine
from vae_anomaly.inference.tensorflow_engine import TensorFlowEngine
from vae_anomaly.networks.spec import NetworkSpec
from vae_anomaly.networks.vae import build_vae

N, COLUMNS, LATENT = 40, 7, 3
LEARNED = NetworkSpec(2, COLUMNS, (16, 8), LATENT, "gaussian")
SPECS = {
    "learned variance": LEARNED,
    "fixed variance": replace(LEARNED, variance=0.3),
    "heteroscedastic": replace(LEARNED, likelihood="heteroscedastic"),
    "student t": replace(LEARNED, likelihood="student_t"),
    "discretized logistic": replace(LEARNED, likelihood="discretized_logistic"),
    "bernoulli": replace(LEARNED, likelihood="bernoulli"),
    "one member": replace(LEARNED, members=1),
    "no hidden layers": replace(LEARNED, hidden=()),
    "autoencoder": replace(LEARNED, noiseless=True),
}


@pytest.fixture(params=SPECS.values(), ids=SPECS)
def engines(request: pytest.FixtureRequest) -> tuple[Engine, Engine]:
    weights = build_vae(request.param).initial_weights(np.random.RandomState(0))
    # Starting biases and log-variances are zero, which would hide much.
    weights += np.random.RandomState(1).normal(scale=0.3, size=weights.shape).astype(np.float32)
    return NumpyEngine(request.param, weights), TensorFlowEngine(request.param, weights)


def test_engines_agree(engines: tuple[Engine, Engine]) -> None:
    rng = np.random.RandomState(2)
    target = rng.uniform(size=(N, COLUMNS))
    x, noise, codes = (
        rng.normal(size=shape).astype(np.float32)
        for shape in ((N, COLUMNS), (4, LATENT), (engines[0].spec.members, N, LATENT))
    )
    for call in (
        lambda engine: engine.terms(noise, x, target),
        lambda engine: engine.posterior(x),
        lambda engine: [engine.decode(codes)],
    ):
        ours, reference = (call(engine) for engine in engines)
        for one, other in zip(ours, reference, strict=True):
            assert one.shape == other.shape
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_the_shape_of_the_networks_chooses_the_engine() -> None:
    conv = NetworkSpec(1, 64, (8,), 2, "gaussian", image=(8, 8, 1))
    for spec, kind in ((LEARNED, NumpyEngine), (conv, TensorFlowEngine)):
        weights = np.zeros((spec.members, spec.n_weights), dtype=np.float32)
        assert isinstance(open_engine(spec, weights), kind)


def constant(spec: NetworkSpec, **arrays: float) -> np.ndarray:
    """Weights that are zero but for some arrays."""
    filled = {
        name: np.full((spec.members, *shape), arrays.get(name, 0.0), dtype=np.float32)
        for name, shape in spec.weight_shapes().items()
    }
    return spec.pack(filled)


@pytest.mark.parametrize("variance", [None, 4.0])
def test_gaussian_draws_have_the_moments_of_their_distribution(variance: float | None) -> None:
    spec = NetworkSpec(1, 1, (), 1, "gaussian", variance=variance)
    learned = {} if variance else {"log_variance": np.log(4.0)}
    weights = constant(spec, **{"decoder_out.bias": 0.7}, **learned)
    drawn = draw_rows(spec, weights, 100_000, np.random.RandomState(0))
    assert drawn.mean() == pytest.approx(0.7, abs=0.02)
    assert drawn.std() == pytest.approx(2.0, rel=0.01)


def test_draws_hold_the_spread_of_the_codes_and_of_every_member() -> None:
    spec = NetworkSpec(2, 1, (), 1, "gaussian", variance=0.25)
    weights = constant(spec, **{"decoder_out.kernel": 1.5})
    weights[1] += constant(spec, **{"decoder_out.bias": 80.0})[1]
    drawn = draw_rows(spec, weights, 100_000, np.random.RandomState(0))[:, 0]
    for center, part in ((0.0, drawn[drawn < 40]), (80.0, drawn[drawn >= 40])):
        assert len(part) == pytest.approx(50_000, rel=0.02)
        assert part.mean() == pytest.approx(center, abs=0.03)
        assert part.var() == pytest.approx(1.5**2 + 0.25, rel=0.02)


def test_bernoulli_draws_are_zeros_and_ones() -> None:
    spec = NetworkSpec(1, 1, (), 1, "bernoulli")
    weights = constant(spec, **{"decoder_out.bias": 0.7})
    drawn = draw_rows(spec, weights, 100_000, np.random.RandomState(0))
    assert set(np.unique(drawn)) == {0.0, 1.0}
    assert drawn.mean() == pytest.approx(1 / (1 + np.exp(-0.7)), abs=0.005)


def test_a_gpu_gets_more_rows_at_a_time_and_nothing_but_rounding_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = build_vae(LEARNED).initial_weights(np.random.RandomState(0))
    rows = np.random.RandomState(1).normal(size=(5000, COLUMNS))
    found: list[int] = []
    terms = TensorFlowEngine.terms

    def counted(self: TensorFlowEngine, noise: Any, x: Any, target: Any) -> Any:
        found.append(len(x))
        return terms(self, noise, x, target)

    monkeypatch.setattr(TensorFlowEngine, "terms", counted)
    noise = np.ones((1, LATENT), dtype=np.float32)
    with preferring("tensorflow"):
        few = elbo_terms(LEARNED, weights, noise, rows, rows)
        monkeypatch.setattr(with_tensorflow, "has_gpu", lambda: True)
        many = elbo_terms(LEARNED, weights, noise, rows, rows)
    assert found == [256] * 20 + [4096] * 2
    np.testing.assert_allclose(many.reconstruction, few.reconstruction, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(many.kl, few.kl, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("before", [True, False])
def test_tensorflow_multiplies_whole_numbers_while_it_scores(before: bool) -> None:
    settings = tf.config.experimental
    at_first = settings.tensor_float_32_execution_enabled()
    settings.enable_tensor_float_32_execution(before)
    try:
        with TensorFlowEngine(LEARNED, constant(LEARNED)).running():
            assert not settings.tensor_float_32_execution_enabled()
        assert settings.tensor_float_32_execution_enabled() is before
    finally:
        settings.enable_tensor_float_32_execution(at_first)


def test_scorers_that_overlap_give_the_setting_back_when_the_last_is_done() -> None:
    settings = tf.config.experimental
    at_first = settings.tensor_float_32_execution_enabled()
    settings.enable_tensor_float_32_execution(True)
    try:
        engine = TensorFlowEngine(LEARNED, constant(LEARNED))
        first, second = engine.running(), engine.running()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert not settings.tensor_float_32_execution_enabled()
        second.__exit__(None, None, None)
        assert settings.tensor_float_32_execution_enabled()
    finally:
        settings.enable_tensor_float_32_execution(at_first)


def test_a_large_fixed_variance_has_a_logarithm() -> None:
    spec = NetworkSpec(1, 1, (), 1, "gaussian", variance=1e39)
    noise, row = np.zeros((1, 1), dtype=np.float32), np.zeros((1, 1))
    for engine in (NumpyEngine, TensorFlowEngine):
        error, _, _ = engine(spec, constant(spec)).terms(noise, row.astype(np.float32), row)
        expected = 0.5 * (np.log(2 * np.pi) + 39 * np.log(10))
        assert error[0, 0] == pytest.approx(expected, rel=1e-6)


def test_products_get_their_threads_back_from_calls_that_overlap() -> None:
    def threads() -> list[int]:
        return [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]

    before = threads()
    engine = NumpyEngine(LEARNED, constant(LEARNED))
    first, second = engine.running(), engine.running()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert set(threads()) == {1}
    second.__exit__(None, None, None)
    assert threads() == before


def test_products_are_held_to_one_thread_by_any_thread() -> None:
    engine = NumpyEngine(LEARNED, constant(LEARNED))

    def threads() -> set[int]:
        with engine.running():
            return {lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"}

    for _ in range(2):
        assert threads() == {1}
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(threads).result() == {1}


def test_what_has_not_begun_is_dropped_after_a_failure() -> None:
    done = []

    def work(part: slice, block: list[np.ndarray]) -> None:
        done.append(part.start)
        if part.start == 0:
            raise MemoryError
        time.sleep(0.01)

    engine = NumpyEngine(LEARNED, constant(LEARNED))
    with pytest.raises(MemoryError):
        for_each_batch(engine, 1, work, np.zeros((500, 1)))
    assert len(done) < 400


@pytest.mark.parametrize("n", [0, 1, 256, 257, 1000, 5000])
def test_pieces_are_whole_blocks_and_all_of_the_rows(n: int, monkeypatch) -> None:
    monkeypatch.setattr("vae_anomaly.inference.passes.CHUNK_CELLS", 3000)
    parts: list[slice] = []
    for_each_chunk(LEARNED, constant(LEARNED), (n, 5), parts.append)
    parts.sort(key=lambda part: part.start)
    assert [i for part in parts for i in range(n)[part]] == list(range(n))
    assert all((part.stop - part.start) % 256 == 0 for part in parts)
    assert all((part.stop - part.start) * 5 <= 3000 + 256 * 5 for part in parts)


def test_work_in_parallel_is_not_divided_again() -> None:
    places: list[list[int]] = []

    def outer(_: int) -> None:
        own = [get_ident()]
        in_parallel(lambda _: own.append(get_ident()), range(3), 2)
        places.append(own)

    in_parallel(outer, range(4), 2)
    assert len(places) == 4
    assert all(own == own[:1] * 4 for own in places)
    assert all(own[0] != get_ident() for own in places)


def test_properties_of_two_objects_are_evaluated_at_a_time() -> None:
    both = Barrier(2, timeout=20)

    class Thing:
        @unlocked_cached_property
        def part(self) -> int:
            return both.wait()

    things = [Thing(), Thing()]
    in_parallel(lambda thing: thing.part, things, 2)
    assert sorted(thing.part for thing in things) == [0, 1]
