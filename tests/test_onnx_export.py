"""ONNX: the exported graph scores as the detector does, and so does the engine."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from network_parts import spec_of

from vae_anomaly import VAEDetector
from vae_anomaly.data.table.dates import PERIODS, Cycle, DateParts
from vae_anomaly.exceptions import ModelFileError, ParameterError
from vae_anomaly.inference.base import Codes
from vae_anomaly.inference.network import Network, open_engine
from vae_anomaly.model.cells import Tails, interpolated_symbol, surprises
from vae_anomaly.model.onnx_check import RUNNERS, check_graph
from vae_anomaly.names import CHECK_ENGINES, ENGINES
from vae_anomaly.networks.spec import NetworkSpec
from vae_anomaly.networks.vae import build_vae
from vae_anomaly.stats.densities import numpy_ops
from vae_anomaly.stats.likelihoods import Block, JointLikelihood

onnx_graph = pytest.importorskip(
    "vae_anomaly.inference.onnx_graph", reason="the extra [onnx] is not installed"
)
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra [onnx] is not installed")

QUICK = {"max_steps": 30, "threshold": 10.0, "random_state": 0, "n_members": 2, "latent_dim": 3}


def exported(detector: VAEDetector, path: Path) -> Any:
    from vae_anomaly.model.onnx_export import export_onnx

    export_onnx(detector, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["rows"]
    return session


def exported_scores(detector: VAEDetector, rows: np.ndarray, path: Path) -> np.ndarray:
    session = exported(detector, path)
    assert session.get_modelmeta().custom_metadata_map["threshold"] == repr(-detector.offset_)
    scores, flags = session.run(None, {"rows": rows})
    np.testing.assert_array_equal(flags, scores > -detector.offset_)
    return scores


def table(n: int = 200) -> np.ndarray:
    rng = np.random.RandomState(0)
    rows = rng.normal(size=(n, 3)) @ rng.normal(size=(3, 6)) + 5.0
    rows[:, 2] = 7.0
    return rows


def with_outliers(rows: np.ndarray) -> np.ndarray:
    """Return training rows, and rows far away, extreme in float64 or off a constant column."""
    far = np.repeat(rows[:1], 6, axis=0)
    far[0, 0], far[1, 1], far[2, 2], far[3, :] = 1e300, -1e12, 8.0, 40.0
    return np.concatenate([rows[:50], far])


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"beta": 0},
        {"beta": 0.3, "variance": 0.5},
        {"likelihood": "bernoulli"},
        {"likelihood": "student_t"},
        {"score_type": "elbo", "likelihood": "student_t"},
        {"score_type": "elbo", "likelihood": "heteroscedastic"},
        {"score_type": "elbo", "likelihood": "discretized_logistic"},
        {"likelihood": "heteroscedastic"},
        {"contamination": 0.2, "threshold": None},
        {"score_type": "elbo"},
        {"score_type": "elbo", "prior": "normal"},
        {"score_type": "elbo", "variance": 0.5, "beta": 0.3},
        {"score_type": "elbo", "likelihood": "bernoulli"},
        {"score_type": "elbo", "beta": 0},
        {"score_type": "reconstruction"},
        {"score_type": "kl"},
        {"score_type": "elbo", "hidden_units": (4,), "n_draws": 5},
    ],
    ids=str,
)
def test_the_graph_scores_tables_as_the_detector_does(
    parameters: dict[str, Any], tmp_path: Path
) -> None:
    hidden = {"hidden_units": (16, 8)} | QUICK
    detector = VAEDetector(**(hidden | parameters)).fit(table())
    rows = with_outliers(table())
    ours = -detector.score_samples(rows)
    theirs = exported_scores(detector, rows, tmp_path / "m.onnx")
    np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("score_type", ["elbo", "exemplar"])
@pytest.mark.parametrize("architecture", ["dense", "conv", "conv_bn"])
@pytest.mark.parametrize("shape", [(9, 12), (16, 11, 3)])
def test_the_graph_scores_images_as_the_detector_does(
    architecture: str, shape: tuple[int, ...], score_type: str, tmp_path: Path
) -> None:
    images = np.random.RandomState(0).randint(256, size=(60, *shape)).astype(np.uint8)
    options = {"architecture": architecture, "likelihood": "bernoulli", "score_type": score_type}
    detector = VAEDetector(**options, **QUICK).fit(images)
    ours = -detector.score_samples(images)
    rows = images.reshape(60, -1).astype(np.float64)
    theirs = exported_scores(detector, rows, tmp_path / "m.onnx")
    np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ends", [(0, 1), (0, 4000), (285.5, 301.25), (-1000, 3000)])
def test_the_graph_takes_pixels_in_their_own_numbers(
    ends: tuple[float, float], tmp_path: Path
) -> None:
    images = np.random.RandomState(0).uniform(*ends, size=(60, 5, 6))
    detector = VAEDetector(**QUICK).fit(images)
    ours = -detector.score_samples(images)
    theirs = exported_scores(detector, images.reshape(60, -1), tmp_path / "m.onnx")
    np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5)


# ------------------------------------------------------------- categories and missing cells


def mixed(n: int, seed: int) -> pd.DataFrame:
    """Return numbers, categories, a column that is left out, and missing cells."""
    rng = np.random.RandomState(seed)
    site = rng.choice(["north", "south", "west"], size=n)
    frame = pd.DataFrame(
        {
            "site": site,
            "load": np.where(site == "south", 4.0, -1.0) + 0.3 * rng.normal(size=n),
            "serial": [f"{seed}-{i}" for i in range(n)],
            "type": [f"t{i}" for i in rng.geometric(0.03, size=n) % 120],
            "speed": rng.normal(size=n),
            "running": rng.uniform(size=n) < 0.8,
            "site twice": site,
            "always": "yes",
            "rate": 2.5,
        }
    )
    holes = rng.uniform(size=(n, 2)) < 0.1
    return frame.assign(**frame[["site", "load"]].mask(holes))


def with_odd_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Return rows, and some with cells that training never had."""
    odd = pd.concat([frame[:1]] * 9, ignore_index=True).astype(object)
    odd.loc[0, :] = None
    odd.loc[1, ["site", "always"]] = "east"
    odd.loc[2, "load"] = "broken"
    odd.loc[3, ["speed", "rate"]] = None
    odd.loc[4, "speed"] = 1e300
    odd.loc[5, "load"] = -1e9
    odd.loc[6, ["running", "type"]] = None
    odd.loc[7, "rate"] = 3.0
    odd.loc[8, "type"] = "never before"
    return pd.concat([odd, frame.astype(object)], ignore_index=True)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"n_members": 3},
        {"likelihood": "bernoulli"},
        {"likelihood": "heteroscedastic"},
        {"contamination": 0.2, "threshold": None},
        {"score_type": "elbo"},
        {"score_type": "elbo", "likelihood": "student_t"},
        {"score_type": "elbo", "likelihood": "discretized_logistic", "prior": "normal"},
        {"score_type": "reconstruction"},
        {"score_type": "kl"},
    ],
    ids=str,
)
def test_the_graph_scores_categories_and_missing_cells(
    parameters: dict[str, Any], tmp_path: Path
) -> None:
    detector = VAEDetector(**({"hidden_units": (16, 8)} | QUICK | parameters)).fit(mixed(600, 1))
    encoder = detector.model_.encoder
    assert encoder.has_masks
    assert encoder.levels.counts[1][-1] > 0  # levels beyond those that are told apart
    rows = with_odd_cells(mixed(100, 2))
    session = exported(detector, tmp_path / "m.onnx")
    codes = encoder.matrix(rows).to_numpy()
    (theirs,) = session.run(["anomaly_score"], {"rows": codes})
    # Distances from exemplars are float32 in NumPy, and steep tails make more of their rounding.
    np.testing.assert_allclose(theirs, -detector.score_samples(rows), rtol=1e-5, atol=1e-4)

    # A row scores the same in any company, and no rows are no error.
    np.testing.assert_allclose(
        session.run(["anomaly_score"], {"rows": codes[7:8]})[0], theirs[7:8], rtol=1e-12
    )
    if tuple(map(int, onnxruntime.__version__.split(".")[:2])) >= (1, 32):  # see docs/deployment.md
        assert session.run(["anomaly_score"], {"rows": codes[:0]})[0].shape == (0,)


def test_levels_are_in_the_metadata_and_all_other_codes_are_unseen(tmp_path: Path) -> None:
    detector = VAEDetector(**QUICK).fit(mixed(600, 1))
    session = exported(detector, tmp_path / "m.onnx")
    metadata = session.get_modelmeta().custom_metadata_map
    assert float(metadata["threshold"]) == -detector.offset_
    levels = json.loads(metadata["levels"])
    assert list(levels) == ["site", "type", "running", "site twice", "always"]
    assert levels["running"] == ["True", "False"]
    assert levels["always"] == ["yes"]
    assert sorted(levels["site"]) == ["north", "south", "west"]

    # Codes made from the metadata alone.
    rows = mixed(50, 2)
    codes = np.zeros((50, rows.shape[1]))
    for i, name in enumerate(rows):
        if name in levels:
            places = {level: place for place, level in enumerate(levels[name])}
            cells = rows[name].astype(object).where(rows[name].notna())
            codes[:, i] = [np.nan if c is None or c != c else places.get(str(c), -1) for c in cells]
        elif name != "serial":
            codes[:, i] = rows[name]
    scores = -detector.score_samples(rows)
    np.testing.assert_allclose(
        session.run(["anomaly_score"], {"rows": codes})[0], scores, rtol=1e-5, atol=1e-4
    )

    # Whatever stands in a column that is left out.
    codes[:, 2] = np.resize([np.nan, 1e300, -1.0], 50)
    np.testing.assert_allclose(
        session.run(["anomaly_score"], {"rows": codes})[0], scores, rtol=1e-5, atol=1e-4
    )

    rows["site"] = "east"
    scores = -detector.score_samples(rows)
    for code in (-1.0, 3.0, 1.5, 1e300, -np.inf):
        codes[:, 0] = code
        theirs = session.run(["anomaly_score"], {"rows": codes})[0]
        np.testing.assert_allclose(theirs, scores, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("score_type", ["exemplar", "elbo"])
@pytest.mark.parametrize("training", ["complete", "left out", "missing", "categories alone"])
def test_the_graph_takes_missing_cells_of_any_table(
    training: str, score_type: str, tmp_path: Path
) -> None:
    frame = pd.DataFrame(table()[:, :4], columns=list("abcd"))
    holes = frame.mask(np.random.RandomState(1).uniform(size=frame.shape) < 0.2)
    if training == "left out":
        frame, holes = (one.assign(id=[f"k{i}" for i in range(200)]) for one in (frame, holes))
    elif training == "missing":
        frame = holes
    elif training == "categories alone":
        level = "level {:.0f}".format
        frame, holes = (one.map(level, na_action="ignore") for one in (frame, holes))
    detector = VAEDetector(**QUICK, score_type=score_type).fit(frame)
    assert detector.model_.encoder.has_masks == (training in ("missing", "categories alone"))
    holes.iloc[0] = None
    codes = np.asarray(detector.model_.encoder.matrix(holes), dtype=np.float64)
    (theirs,) = exported(detector, tmp_path / "m.onnx").run(["anomaly_score"], {"rows": codes})
    assert np.isfinite(theirs).all()
    np.testing.assert_allclose(theirs, -detector.score_samples(holes), rtol=1e-5, atol=1e-4)


def graph_of(build: Any, *shape: int | str) -> Any:
    """Return what a graph with one input of this shape computes."""
    graph = onnx_graph.Graph()
    built = graph.finished({"y": build(graph.input("x", *shape, dtype="float64"))}, rank=2)
    session = onnxruntime.InferenceSession(built.SerializeToString())
    return lambda x: session.run(None, {"x": x})[0]


def test_ramps_interpolate_as_numpy_does() -> None:
    knots = np.array([[0.0, 1.0, 1.0, 1.0, 3.0], [-2.0, -2.0, 0.5, 0.75, 0.75], [0.0] * 5])
    values = np.array([[0.0, 2.0, 3.0, 5.0, 4.0], [1.0, 2.0, 2.0, 8.0, 9.0], [7.0] * 5])
    interpolate = graph_of(lambda x: interpolated_symbol(x, knots, values), "n", 3)
    x = np.concatenate([np.random.RandomState(0).uniform(-3, 4, size=(500, 3)), knots.T])
    x = np.concatenate([x, np.nextafter(x, -9.0), np.nextafter(x, 9.0)])
    columns = zip(x.T, knots, values, strict=True)
    expected = np.column_stack([np.interp(*column) for column in columns])
    np.testing.assert_allclose(interpolate(x), expected, rtol=1e-13)


def test_tails_have_the_costs_of_numpy() -> None:
    rng = np.random.RandomState(0)
    training = np.column_stack([rng.exponential(size=999), rng.randint(4, size=999), np.ones(999)])
    tails = Tails.fit(training)
    x = np.concatenate([rng.exponential(3.0, size=(300, 3)), training, 1e6 * np.eye(3)])
    np.testing.assert_allclose(graph_of(tails.in_graph, "n", 3)(x), tails.costs(x), atol=1e-12)


def test_surprises_are_those_of_numpy() -> None:
    joint = JointLikelihood(
        (Block("gaussian", 2), Block("gaussian", 1, 2), Block("categorical", 1, 3))
    )
    rng = np.random.RandomState(0)
    units = np.array([0.5, 2.0, 1.0, 1.0, 0.7, 0.7, 0.7])
    predictions = rng.normal(scale=9.0, size=(8, 40, 7))
    predictions[..., 4:] = rng.dirichlet([0.01, 1.0, 1.0], size=(8, 40))
    targets = np.column_stack([rng.normal(size=(40, 4)), np.eye(3)[rng.randint(3, size=40)]])
    targets[0, 4:] = 0.0

    def build(x: Any) -> Any:
        fixed = x.graph, x.graph.as_name(predictions, x.dtype), x.dtype
        return surprises(onnx_graph.onnx_ops, joint, units, type(x)(*fixed), x)

    expected = surprises(numpy_ops, joint, units, predictions, targets)
    np.testing.assert_allclose(graph_of(build, "n", 7)(targets), expected, rtol=1e-12, atol=1e-12)


def test_members_predict_from_halves_as_the_network_does() -> None:
    blocks = (Block("heteroscedastic", 3), Block("categorical", 1, 3))
    spec = replace(spec_of(3, 10, (16, 8), 3, "gaussian"), blocks=blocks, has_masks=True)
    weights = build_vae(spec).initial_weights(np.random.RandomState(0))
    network = Network(spec, weights)
    x = np.random.RandomState(1).normal(size=(20, 10)).astype(np.float32)

    def build(rows: Any) -> Any:
        networks = onnx_graph.Networks(rows.graph, spec, weights)
        return networks.predictions(rows.cast("float32"), network.halves).reshape(-1, 6)

    found = graph_of(build, "n", 10)(x.astype(np.float64)).reshape(3, 3, 20, 6)
    expected = network.predictions(x).reshape(3, 3, 20, 6).swapaxes(0, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_equal_constants_are_kept_once() -> None:
    graph = onnx_graph.Graph()
    x = graph.input("x", "n", 2)
    same = np.arange(2.0)
    graph.finished({"y": x + same + same.astype(int) + 0.0 + same.reshape(1, 2)})
    names = [graph.as_name(one, "float32") for one in (same, same.copy(), same[None], 0.0)]
    assert names == ["c0", "c0", "c2", "c1"]


# --------------------------------------------------------------------------------- engines

DENSE = spec_of(2, 7, (16, 8), 3, "gaussian")
CONV = spec_of(2, 9 * 12, (8,), 3, "gaussian", grid=(9, 12, 1))
SPECS = {
    "dense": DENSE,
    "fixed variance": replace(DENSE, variance=0.3),
    "heteroscedastic": replace(DENSE, blocks=(Block("heteroscedastic", 7),)),
    "student t": replace(DENSE, blocks=(Block("student_t", 7),)),
    "discretized logistic": replace(DENSE, blocks=(Block("discretized_logistic", 7),)),
    "bernoulli": replace(DENSE, blocks=(Block("bernoulli", 7),)),
    "autoencoder": replace(DENSE, noiseless=True),
    "two blocks": replace(DENSE, blocks=(Block("gaussian", 3), Block("bernoulli", 4))),
    "more targets than inputs": replace(
        DENSE, blocks=(Block("heteroscedastic", 5), Block("student_t", 6))
    ),
    "conv": CONV,
    "conv, bernoulli": replace(CONV, blocks=(Block("bernoulli", 9 * 12),)),
    "conv, heteroscedastic": replace(CONV, blocks=(Block("heteroscedastic", 9 * 12),)),
    "conv_bn": replace(CONV, batch_norm=True),
    "colour": spec_of(2, 16 * 16 * 3, (8,), 3, "gaussian", grid=(16, 16, 3)),
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_engine_agrees_with_the_one_that_always_works(spec: NetworkSpec) -> None:
    rng = np.random.RandomState(1)
    weights = build_vae(spec).initial_weights(np.random.RandomState(0))
    weights += np.abs(rng.normal(scale=0.05, size=weights.shape)).astype(np.float32)
    engines = open_engine(spec, weights, "onnx"), open_engine(spec, weights, "tensorflow")
    sizes = (20, spec.n_inputs), (2, 3), *[(spec.members, 20, 3)] * 2
    x, noise, mean, log_variance = (rng.normal(size=size).astype(np.float32) for size in sizes)
    codes, target = Codes(mean, log_variance), rng.uniform(size=(20, spec.joint.n_targets))
    for call in (
        lambda engine: [engine.reconstruction_error(codes, noise, target)],
        lambda engine: engine.encode(x),
        lambda engine: [engine.decode(mean)],
    ):
        for one, other in zip(*(call(engine) for engine in engines), strict=True):
            assert one.shape == other.shape
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_the_command_writes_the_graph_and_scores_with_it(tmp_path: Path) -> None:
    from vae_anomaly.cli import run
    from vae_anomaly.persistence import save

    rows = table()
    detector = VAEDetector(**QUICK, hidden_units=(8,)).fit(rows)
    model, data = tmp_path / "m.vae", tmp_path / "t.csv"
    save(detector, model)
    pd.DataFrame(rows).to_csv(data, index=False, header=[f"x{i}" for i in range(6)])
    assert run(["export", str(model), "-o", str(tmp_path / "m.onnx")]) == 0
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    ours = -detector.score_samples(rows)
    np.testing.assert_allclose(session.run(["anomaly_score"], {"rows": rows})[0], ours, rtol=1e-5)
    for engine in ENGINES:
        out = tmp_path / f"{engine}.csv"
        assert run(["score", str(model), str(data), "-o", str(out), "--engine", engine]) == 0
        np.testing.assert_allclose(pd.read_csv(out)["anomaly_score"], ours, rtol=1e-5)


def test_numpy_refuses_convolutions() -> None:
    weights = np.zeros((2, CONV.n_weights), dtype=np.float32)
    refused = r"^The engine numpy runs dense networks alone\."
    with pytest.raises(ParameterError, match=refused):
        open_engine(CONV, weights, "numpy")
    network = Network(CONV, weights).with_engine("numpy")
    with pytest.raises(ParameterError, match=refused):
        network.encode(np.zeros((1, CONV.n_inputs)))


def test_a_score_without_a_graph_is_refused(tmp_path: Path) -> None:
    detector = VAEDetector(**QUICK, score_type="typicality").fit(table())
    expected = "no ONNX graph for score_type='typicality' yet. Expected one of 'exemplar', 'elbo'"
    with pytest.raises(ParameterError, match=expected):
        exported_scores(detector, table(), tmp_path / "m.onnx")


def test_what_has_no_graph_is_refused(tmp_path: Path) -> None:
    import keras

    layers = keras.layers.Dense
    encoder = keras.Sequential([keras.Input((6,)), layers(4)])
    decoder = keras.Sequential([keras.Input((2,)), layers(6)])
    detector = VAEDetector(architecture=(encoder, decoder), max_steps=1, threshold=1.0).fit(table())
    with pytest.raises(
        ParameterError, match=r"^Custom networks cannot be exported as an ONNX graph"
    ):
        exported_scores(detector, table(), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


CYCLES = tuple(Cycle(name, 0.1 + 0.2 * i) for i, name in enumerate(PERIODS))


def test_parts_of_dates_are_those_of_numpy() -> None:
    rng = np.random.RandomState(0)
    days = pd.date_range("1996-02-20", "2004-03-10", freq="D").astype("datetime64[s]")
    edges = np.array(
        ["0001-01-01", "1600-02-29", "1900-02-28", "1900-03-01", "2000-02-29", "9999-12-31"],
        dtype="datetime64[s]",
    )
    seconds = np.concatenate([days.to_numpy(), edges]).astype(np.int64).astype(np.float64)
    seconds = np.concatenate([seconds, seconds + 86_399.999, rng.uniform(-6e10, 2.5e11, 5000)])
    parts = DateParts((CYCLES, CYCLES[1:2], ()))
    dates = np.column_stack([seconds, rng.permutation(seconds), seconds + 1e5])
    dates[::7, 0] = dates[::5, 1] = np.nan
    found = graph_of(parts.in_graph, "n", 3)(dates)
    np.testing.assert_allclose(found, parts.encode(dates), rtol=1e-9, atol=2e-9)


def orders(n: int, seed: int) -> pd.DataFrame:
    """Return rows with two dates, of which the second follows the first, and other columns."""
    rng = np.random.RandomState(seed)
    ordered = pd.Timestamp("2021-03-01") + pd.to_timedelta(rng.randint(0, 800 * 24, n), unit="h")
    frame = pd.DataFrame({"ordered": ordered, "method": rng.choice(["x", "y", "z"], n)})
    frame["amount"] = rng.normal(size=n)
    frame["sent"] = frame["ordered"] + pd.to_timedelta(rng.uniform(1, 3, n), unit="D")
    frame.loc[rng.uniform(size=n) < 0.1, "sent"] = pd.NaT
    frame["ordered"] = frame["ordered"].dt.strftime("%d.%m.%Y %H:%M")
    return frame


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_the_graph_scores_dates(likelihood: str, tmp_path: Path) -> None:
    detector = VAEDetector(**QUICK, likelihood=likelihood).fit(orders(500, 1))
    rows = orders(200, 2)
    rows.loc[:5, "ordered"] = None
    rows.loc[4:9, "sent"] = pd.Timestamp("2044-02-29 23:59:59")
    rows.loc[10:12, "ordered"] = "soon"
    rows.loc[13:14, "ordered"] = ["01.01.1900 00:00", "31.12.2099 00:00"]
    session = exported(detector, tmp_path / "m.onnx")
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["dates"]) == {"ordered": "%d.%m.%Y %H:%M", "sent": "ISO8601"}
    codes = np.array(detector.model_.encoder.matrix(rows))
    scores = -detector.score_samples(rows)
    (theirs,) = session.run(["anomaly_score"], {"rows": codes})
    np.testing.assert_allclose(theirs, scores, rtol=1e-5, atol=1e-4)

    # Seconds since 1970 from the texts themselves.
    texts = pd.to_datetime(rows["ordered"], format="%d.%m.%Y %H:%M", errors="coerce")
    known = texts.notna().to_numpy()
    codes[known, 0] = (texts[known] - pd.Timestamp(0)).dt.total_seconds()
    np.testing.assert_allclose(
        session.run(["anomaly_score"], {"rows": codes})[0], theirs, rtol=1e-12
    )


@pytest.mark.parametrize("form", ["array", "frame"])
def test_the_graph_knows_missing_values(form: str, tmp_path: Path) -> None:
    rng = np.random.RandomState(0)
    rows: Any = table()[:, :4].round(2)
    rows[rng.uniform(size=rows.shape) < 0.1] = -9.0
    if form == "frame":
        rows = pd.DataFrame(rows, columns=list("abcd"))
        rows["e"] = rng.choice(["u", "v", "unasked"], len(rows))
    detector = VAEDetector(**QUICK, missing_values=("-9", "unasked")).fit(rows)
    session = exported(detector, tmp_path / "m.onnx")
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["missing_values"]) == ["-9", "unasked"]
    codes = np.array(rows if form == "array" else detector.model_.encoder.matrix(rows), float)
    codes[np.isnan(codes) & (np.arange(codes.shape[1]) < 4)] = -9.0
    (theirs,) = session.run(["anomaly_score"], {"rows": codes})
    np.testing.assert_allclose(theirs, -detector.score_samples(rows), rtol=1e-5, atol=1e-4)


# ------------------------------------------------------------------- right in every runtime


def graph_of_file(path: Path) -> Any:
    import onnx

    return onnx.load(path)


FOREIGN = {
    *("IsNaN", "LessOrEqual", "GreaterOrEqual", "Sigmoid", "Round", "Softplus", "Erf"),
    *("ReduceLogSumExp", "Clip", "Pow"),
}
"""Operators that some runtime lacks for float64, or has in float32 only."""

GRAPHS: dict[str, tuple[dict[str, Any], Any]] = {
    "numbers": ({}, table()),
    "bernoulli": ({"likelihood": "bernoulli"}, table()),
    "elbo": ({"score_type": "elbo", "likelihood": "discretized_logistic"}, table()),
    "mixed": ({}, mixed(400, 1)),
    "dates": ({}, orders(400, 1)),
    "conv": (
        {"architecture": "conv"},
        np.random.RandomState(0).randint(256, size=(60, 9, 12)).astype(np.uint8),
    ),
}


@pytest.fixture(scope="module", params=GRAPHS)
def graph_file(request: pytest.FixtureRequest, tmp_path_factory: Any) -> tuple[VAEDetector, Path]:
    from vae_anomaly.model.onnx_export import export_onnx

    parameters, data = GRAPHS[request.param]
    detector = VAEDetector(**QUICK | parameters).fit(data)
    path = tmp_path_factory.mktemp("graph") / "m.onnx"
    export_onnx(detector, path)
    return detector, path


def test_graphs_have_low_versions_and_common_operators(
    graph_file: tuple[VAEDetector, Path],
) -> None:
    model = graph_of_file(graph_file[1])
    assert model.ir_version == 8
    assert [one.version for one in model.opset_import] == [17]
    assert not {node.op_type for node in model.graph.node} & FOREIGN
    names = {a.name for node in model.graph.node for a in node.attribute}
    assert "auto_pad" not in names
    constants = [one.SerializeToString().partition(b"B")[2] for one in model.graph.initializer]
    assert len(set(constants)) == len(constants)  # each is kept once


def test_metadata_say_what_the_graph_takes_and_where_it_comes_from(
    graph_file: tuple[VAEDetector, Path], tmp_path: Path
) -> None:
    from vae_anomaly import __version__, save

    detector, path = graph_file
    found = {one.key: one.value for one in graph_of_file(path).metadata_props}
    assert found["score_type"] == detector.model_.score_type
    assert found["version"] == __version__
    assert found["model_sha256"] == save(detector, tmp_path / "m.vae")
    if detector.image_shape_ is not None:
        assert json.loads(found["image_shape"]) == [9, 12, 1]
        assert found["channel_order"] == "grey"
        assert json.loads(found["pixel_range"]) == [0, 255]
        return
    encoder = detector.model_.encoder
    assert json.loads(found["columns"]) == list(encoder.features)
    types = [one.type for one in encoder.schema.columns] or ["number"] * 6
    assert json.loads(found["column_types"]) == types


def test_metadata_say_what_the_threshold_comes_from(tmp_path: Path) -> None:
    for parameter, value in (("false_alarm_rate", 0.05), ("contamination", 0.1)):
        given = QUICK | {"threshold": None, parameter: value, "max_steps": 2}
        session = exported(VAEDetector(**given).fit(table()), tmp_path / "m.onnx")
        assert session.get_modelmeta().custom_metadata_map[parameter] == repr(value)


def test_is_anomaly_is_true_above_the_threshold_and_for_nan(
    graph_file: tuple[VAEDetector, Path],
) -> None:
    detector, path = graph_file
    session = onnxruntime.InferenceSession(str(path))
    vector = json.loads(session.get_modelmeta().custom_metadata_map["check"])
    rows = np.array(vector["rows"], dtype=np.float64)
    scores, flags = session.run(None, {"rows": rows})
    assert flags.dtype == bool
    np.testing.assert_array_equal(flags, ~(scores <= -detector.offset_))
    np.testing.assert_array_equal(flags, vector["is_anomaly"])
    assert {"normal", "shifted", "far", "seconds", "missing"} <= set(vector["group"])
    if detector.image_shape_ is not None:  # a missing pixel has no score
        holed = np.isnan(rows).any(axis=1)
        assert holed.any()
        assert flags[holed].all()
    else:  # a missing cell is scored as by the detector
        assert np.isfinite(scores).all()
        assert flags[np.isnan(rows).all(axis=1)].all() or not detector.model_.encoder.is_plain


@pytest.mark.parametrize("engine", ["onnxruntime", "reference"])
def test_a_graph_is_checked_by_the_rows_in_it(
    graph_file: tuple[VAEDetector, Path], engine: str
) -> None:
    groups = check_graph(graph_file[1], engine)
    assert [one.describe() for one in groups if not one.agrees] == []
    assert sum(one.n_rows for one in groups) >= 20


def test_the_rows_are_none_of_training_and_bounded(graph_file: tuple[VAEDetector, Path]) -> None:
    detector, path = graph_file
    found = {one.key: one.value for one in graph_of_file(path).metadata_props}
    assert len(found["check"]) < 400_000
    if detector.model_.encoder.names is None and detector.image_shape_ is None:
        rows = {tuple(row) for row in json.loads(found["check"])["rows"]}
        assert not rows & {tuple(row) for row in table().tolist()}


def test_a_graph_that_computes_something_else_is_found(
    graph_file: tuple[VAEDetector, Path], tmp_path: Path
) -> None:
    import onnx
    from onnx import numpy_helper

    model = graph_of_file(graph_file[1])
    weights = max(model.graph.initializer, key=lambda one: len(one.raw_data))
    changed = numpy_helper.to_array(weights) * np.float32(3.0)
    weights.CopyFrom(numpy_helper.from_array(changed, weights.name))
    onnx.save(model, tmp_path / "m.onnx")
    assert not all(one.agrees for one in check_graph(tmp_path / "m.onnx"))


def test_what_cannot_be_checked_is_refused(
    graph_file: tuple[VAEDetector, Path], tmp_path: Path
) -> None:
    import onnx

    with pytest.raises(ParameterError, match="engine must be one of 'onnxruntime', 'reference'"):
        check_graph(graph_file[1], "abacus")
    (tmp_path / "t.onnx").write_text("a,b")
    with pytest.raises(ModelFileError, match=r"t\.onnx is not an ONNX graph: "):
        check_graph(tmp_path / "t.onnx")
    model = graph_of_file(graph_file[1])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ModelFileError, match=r"holds no rows to check it with\. Export it again"):
        check_graph(tmp_path / "m.onnx")


def test_an_engine_that_is_not_installed_is_named(graph_file: tuple[VAEDetector, Path]) -> None:
    if importlib.util.find_spec("tract") is not None:
        pytest.skip("tract is installed")
    with pytest.raises(ParameterError, match="needs the package tract, which is not installed"):
        check_graph(graph_file[1], "tract")


def test_onnx_that_is_not_installed_is_named(
    graph_file: tuple[VAEDetector, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vae_anomaly.model.onnx_export import export_onnx

    detector, graph = graph_file
    monkeypatch.setitem(sys.modules, "onnx", None)
    advice = r"needs onnx, which is not installed\. Install it with pip install 'onnx>="
    with pytest.raises(ParameterError, match=f"^Writing ONNX models {advice}"):
        export_onnx(detector, tmp_path / "m.onnx")
    with pytest.raises(ParameterError, match=f"^Reading ONNX graphs {advice}"):
        check_graph(graph)
    assert not (tmp_path / "m.onnx").exists()


def test_engines_of_the_check_have_names() -> None:
    assert tuple(RUNNERS) == CHECK_ENGINES


def test_the_lines_of_the_documentation_check_a_graph(
    graph_file: tuple[VAEDetector, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parent.parent / "docs" / "deployment.md").read_text()
    code = page.partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(graph_file[1].parent)
    (graph_file[1].parent / "model.onnx").write_bytes(graph_file[1].read_bytes())
    exec(code, {})


def test_the_commands_export_with_a_check_and_check_a_graph(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from vae_anomaly.cli import run
    from vae_anomaly.persistence import save

    model, graph = str(tmp_path / "m.vae"), str(tmp_path / "m.onnx")
    digest = save(VAEDetector(**QUICK).fit(table()), model)
    assert run(["export", model, "-o", graph, "--check"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "threshold: 10 nats, above which is_anomaly is true"
    assert re.fullmatch(r"normal +8 rows, greatest relative error \S+, flags equal", said[1])
    assert said[-2:] == ["onnxruntime computes what was exported", f"graph: {graph}"]
    found = {one.key: one.value for one in graph_of_file(Path(graph)).metadata_props}
    assert found["model_sha256"] == digest
    assert run(["check", graph, "--engine", "reference"]) == 0
    assert capsys.readouterr().err.endswith("reference computes what was exported\n")

    import onnx

    wrong = graph_of_file(Path(graph))
    changed = json.loads(found["check"])
    changed["anomaly_score"][0] += 1.0
    changed["is_anomaly"][-1] = not changed["is_anomaly"][-1]
    next(p for p in wrong.metadata_props if p.key == "check").value = json.dumps(changed)
    onnx.save(wrong, graph)
    assert run(["check", graph]) == 4
    said = capsys.readouterr().err
    assert "missing  4 rows, greatest relative error" in said
    assert ", 1 flag differs" in said
    assert (
        "onnxruntime computes other scores than the exported model for rows of the groups normal, "
        "missing. Run the graph in another engine"
    ) in said
