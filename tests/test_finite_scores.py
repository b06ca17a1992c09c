"""Scores that are not finite: never normal, and refused where a decision depends on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hostile.model_files import number

from vae_anomaly import (
    DivergenceError,
    DriftWatch,
    ModelFileError,
    VAEDetector,
    load,
    recalibrate,
    save,
)
from vae_anomaly.cli import run
from vae_anomaly.model.calibration import Calibration
from vae_anomaly.report import build_report
from vae_anomaly.stats.thresholds import contamination_threshold, false_alarm_threshold

X = pd.DataFrame(np.random.RandomState(0).normal(size=(200, 3)), columns=list("abc"))
OVERFLOWS = "The networks overflow: the scores of 200 of 200 rows are not finite numbers, first "


@pytest.fixture(scope="module")
def detector() -> VAEDetector:
    quick = {"max_steps": 20, "n_members": 1, "hidden_units": (4, 4), "random_state": 0}
    return VAEDetector(**quick, false_alarm_rate=0.05).fit(X)


@pytest.fixture(scope="module")
def overflowing(detector: VAEDetector) -> VAEDetector:
    """Return a detector with weights that are within range one by one, not in sum."""
    network = detector.model_.network
    arrays = network.spec.unpack(network.weights)
    large = {name: np.full_like(a, 1e12) for name, a in arrays.items() if "_0.log" not in name}
    network = replace(network, weights=network.spec.pack(arrays | large))
    return VAEDetector.from_model(replace(detector.model_, network=network))


USES: dict[str, Callable[[VAEDetector], object]] = {
    "predict": lambda detector: detector.predict(X),
    "score_samples": lambda detector: detector.score_samples(X),
    "scores": lambda detector: detector.scores(X, ["reconstruction"]),
    "score": lambda detector: detector.score(X),
    "explain": lambda detector: detector.explain(X),
    "p_values": lambda detector: detector.p_values(X),
    "flag_batch": lambda detector: detector.flag_batch(X),
    "recalibrate": lambda detector: recalibrate(detector, X),
    "drift": lambda detector: DriftWatch(detector).add(X),
    "report": lambda detector: build_report(detector, X),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
def test_scores_that_are_not_finite_are_an_error(overflowing: VAEDetector, use: str) -> None:
    with pytest.raises(DivergenceError, match=OVERFLOWS):
        USES[use](overflowing)


@pytest.mark.parametrize(
    "line",
    [
        "score m.vae t.csv -o out.csv",
        "score m.vae t.csv -o out.csv --explain 2",
        "score m.vae t.csv -o out.csv --fdr 0.1",
        "score m.vae t.csv -o out.csv --score reconstruction --also kl",
        "evaluate m.vae t.csv -o report --keep-learned",
        "recalibrate m.vae t.csv -o new.vae",
    ],
)
@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
def test_commands_end_in_one_sentence(
    overflowing: VAEDetector, tmp_path: Path, monkeypatch, capsys, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    save(overflowing, "m.vae")
    X.to_csv("t.csv", index=False)
    before = sorted(tmp_path.iterdir())
    assert run(line.split()) == 3
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {OVERFLOWS}")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("encoder_0.bias", 3.4e38),
        ("encoder_0.kernel", -1e30),
        ("encoder_out.bias", 1e13),
        ("decoder_0.kernel", 3e38),
        ("decoder_out.bias", -3.4e38),
        ("prior", 1e38),
        ("noise", 1e20),
    ],
)
def test_weights_that_overflow_are_refused_at_load(
    detector: VAEDetector, tmp_path: Path, capsys, name: str, value: float
) -> None:
    path = tmp_path / "m.vae"
    save(detector, path)
    path.write_bytes(number(name, value)(path.read_bytes()))
    words = f"the array {name!r} holds numbers with which networks overflow"
    with pytest.raises(ModelFileError, match=words):
        load(path)
    assert run(["score", str(path), "none.csv", "-o", str(tmp_path / "out.csv")]) == 4
    assert words in capsys.readouterr().err


def test_weights_in_range_are_loaded_and_never_normal(
    detector: VAEDetector, tmp_path: Path
) -> None:
    path = tmp_path / "m.vae"
    save(detector, path)
    path.write_bytes(number("decoder_out.bias", 1e12)(path.read_bytes()))
    assert (load(path).predict(X) == -1).all()


def test_a_fit_that_ends_with_such_weights_has_diverged() -> None:
    detector = VAEDetector(max_steps=1, n_members=1, learning_rate=1e13, random_state=0)
    with pytest.raises(DivergenceError, match="Training diverged: a"):
        detector.fit(X)


@pytest.mark.parametrize("threshold", [1.0, np.inf, -np.inf])
def test_flags_of_numbers_that_are_not_finite(threshold: float) -> None:
    calibration = Calibration.fixed(threshold)
    assert calibration.flags(np.array([np.nan, np.inf, -np.inf])).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_thresholds_are_not_taken_from_numbers_that_are_not_finite(value: float) -> None:
    scores = np.append(np.arange(99.0), value)
    words = "Expected finite scores to take a threshold from, 1 of 100 are not"
    for threshold in (
        lambda: false_alarm_threshold(scores, 0.05),
        lambda: contamination_threshold(scores, 0.05),
        lambda: Calibration.from_normal(scores, 0.05),
    ):
        with pytest.raises(DivergenceError, match=words):
            threshold()
