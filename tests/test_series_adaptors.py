"""Adaptors of the documentation for aeon and sktime, where these are installed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from vae_anomaly import SeriesDetector

GUIDE = Path(__file__).parents[1] / "docs" / "guide" / "adaptors.md"


def adaptor(library: str, name: str) -> Any:
    """Return a class of the guide."""
    section = GUIDE.read_text(encoding="utf-8").split(f"\n## {library}\n")[1]
    found = re.search(r"```python\n(.*?)```", section, flags=re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {}
    exec(compile(found[1], str(GUIDE), "exec"), names)
    return names[name]


@pytest.fixture(scope="module")
def fitted() -> SeriesDetector:
    return SeriesDetector(window=20, max_steps=20, random_state=0).fit(waves(600, 0))


def waves(n: int, seed: int) -> NDArray[np.float64]:
    phase = 2 * np.pi * np.arange(n)[:, None] / np.array([20, 31])
    return np.asarray(np.sin(phase) + 0.1 * np.random.RandomState(seed).normal(size=(n, 2)))


def faulty() -> NDArray[np.float64]:
    series = waves(300, 1)
    series[100:140, 0] = 2.0
    return series


def test_a_pipeline_of_aeon(fitted: SeriesDetector) -> None:
    pytest.importorskip("aeon.anomaly_detection.series.base", exc_type=ImportError)
    settings = {"window": 20, "max_steps": 20, "random_state": 0}
    detector = adaptor("aeon", "AeonDetector")(SeriesDetector(**settings))
    scores = detector.fit(waves(600, 0).T, axis=1).predict(faulty().T, axis=1)  # channels first
    np.testing.assert_array_equal(scores, -fitted.score_samples(faulty()))
    np.testing.assert_array_equal(detector.predict(faulty(), axis=0), scores)
    assert scores[120] > 1


def test_a_pipeline_of_sktime(fitted: SeriesDetector) -> None:
    pytest.importorskip("sktime.detection.base", exc_type=ImportError)
    settings = {"window": 20, "max_steps": 20, "random_state": 0}
    detector = adaptor("sktime", "SktimeDetector")(SeriesDetector(**settings))
    detector.fit(pd.DataFrame(waves(600, 0)))
    found = detector.predict(pd.DataFrame(faulty()))
    np.testing.assert_array_equal(found["ilocs"], np.flatnonzero(fitted.predict(faulty()) == -1))
    scores = detector.predict_scores(pd.DataFrame(faulty()))
    np.testing.assert_array_equal(np.ravel(scores), -fitted.score_samples(faulty()))
