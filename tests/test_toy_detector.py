"""A third type of detector, of voltages, with a model file of its own.

The first part is what a package for it would contain; `vae_anomaly/detectors.py` names it, and
nothing else.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from conftest import Vae
from sklearn.base import BaseEstimator

from vae_anomaly import ParameterError, VAEDetector, inspect, load, save
from vae_anomaly._types import JsonObject
from vae_anomaly.cli.commands import cli
from vae_anomaly.detectors import DETECTORS, RECORDS, DetectorType
from vae_anomaly.pipeline.models import loaded
from vae_anomaly.pipeline.options import Options
from vae_anomaly.pipeline.work import Done, Work
from vae_anomaly.storage.container import UnopenedFile, write_container

PARAMETERS = {
    "save": "detector path",
    "load": "file networks features",
    "describe": "file",
    "lines": "facts",
    "fit": "path output options work",
    "score": "file path output options work",
    "recalibrate": "file path output options work",
    "evaluate": "file path folder options work",
    "export": "file output options",
}
"""Functions of each type of detector, and their parameters."""

VOLTAGES = DetectorType(
    "voltages", {name: f"{__name__}:{name}_voltages" for name in PARAMETERS}, ("volts",)
)


class VoltageModel:
    """The highest normal voltage."""

    detector_type = VOLTAGES

    def __init__(self, highest: float) -> None:
        self.highest = highest


class VoltageDetector(BaseEstimator):
    """Detector that flags voltages above those of training."""

    def fit(self, X: Sequence[float], y: None = None) -> VoltageDetector:
        """Keep the highest one."""
        self.model_ = VoltageModel(max(X))
        return self


def save_voltages(detector: VoltageDetector, path: str | Path) -> str:
    """Write a model file."""
    highest = np.array([detector.model_.highest])
    return write_container(path, {"modality": "voltage"}, {"highest": ("F64", highest)})


def load_voltages(file: UnopenedFile, networks: object, features: object) -> VoltageDetector:
    """Read a model file."""
    return VoltageDetector().fit(file.arrays({"highest": ("F64", (1,))})["highest"].tolist())


def describe_voltages(file: UnopenedFile) -> JsonObject:
    """Describe a model file."""
    found = load_voltages(file, None, None)
    shared = {"parameters": {}, "created_with": {"toy": "1"}, "weights": 1}
    voltage = {"modality": "voltage", "highest": found.model_.highest}
    return {"sha256": file.sha256, **shared, **voltage}


def lines_voltages(facts: JsonObject) -> Sequence[str]:
    """Return the description as text."""
    return [f"highest      {facts['highest']:g} V"]


def volts(path: str) -> list[float]:
    """Read a number from each line."""
    return [float(line) for line in Path(path).read_text(encoding="utf-8").split()]


def fit_voltages(path: str, output: str, options: Options, work: Work) -> Done:
    """Fit a detector to the voltages in a file."""
    work.say(f"up to {options['volts']:g} V")
    detector = VoltageDetector().fit([min(one, options["volts"]) for one in volts(path)])
    save_voltages(detector, output)
    return Done([f"model: {output}"], {"model": output})


def score_voltages(
    file: UnopenedFile, path: str, output: str, options: Options, work: Work
) -> Done:
    """Write a line for each voltage."""
    highest, given = load_voltages(file, None, None).model_.highest, volts(path)
    Path(output).write_text("".join(f"{one - highest:g}\n" for one in given), encoding="utf-8")
    failed = ["failed: high"] if options["fail_if"] else []
    return Done(["scored"], {"n_scored": len(given)}, is_complete=False, failed=failed)


def recalibrate_voltages(
    file: UnopenedFile, path: str | None, output: str, options: Options, work: Work
) -> Done:
    """Keep the highest one of other voltages."""
    save_voltages(VoltageDetector().fit(volts(path or "")), output)
    return Done([], {}, interruption=["interrupted"])


def evaluate_voltages(
    file: UnopenedFile, path: str, folder: str, options: Options, work: Work
) -> Done:
    """Report on a file."""
    return Done([f"{options['title']}: {max(volts(path)):g} V"], {})


def export_voltages(file: UnopenedFile, output: str, options: Options) -> Done:
    """Refuse."""
    raise ParameterError("There is no graph for voltages.")


# ------------------------------------------------------------------------------- tests


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the type, and its option."""
    monkeypatch.setitem(DETECTORS, "voltage", VOLTAGES)
    option = click.Option(["--volts"], type=float)
    monkeypatch.setattr(cli.commands["fit"], "params", [*cli.commands["fit"].params, option])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "volts.txt"
    path.write_text("50\n61.5\n90\n", encoding="utf-8")
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save(VoltageDetector().fit([60.0, 70.0]), tmp_path / "voltage.vae")  # type: ignore[arg-type]
    return tmp_path / "voltage.vae"


def test_its_files_are_loaded_and_described(model: Path, vae: Vae) -> None:
    found: Any = load(model)
    assert found.model_.highest == 70.0
    assert inspect(model)["highest"] == 70.0
    code, out, err = vae("inspect", model)
    assert (code, err) == (0, "")
    assert out.endswith("weights      1\nhighest      70 V\n")


def test_its_option_makes_fit_choose_it(data: Path, tmp_path: Path, vae: Vae) -> None:
    model = tmp_path / "m.vae"
    assert vae("fit", data, "-o", model, "--volts", 80) == (
        0,
        "",
        f"up to 80 V\nmodel: {model}\n",
    )
    assert inspect(model)["highest"] == 80.0


def test_commands_find_its_jobs(model: Path, data: Path, tmp_path: Path, vae: Vae) -> None:
    scores, new = tmp_path / "scores", tmp_path / "new.vae"
    assert vae("score", model, data, "-o", scores) == (6, "", "scored\n")
    assert scores.read_text(encoding="utf-8") == "-20\n-8.5\n20\n"
    code, _, err = vae("score", model, data, "-o", scores, "--fail-if", "drift", "--json")
    assert code == 7
    assert err == "scored\nfailed: high\n"
    assert vae("recalibrate", model, data, "-o", new, "-q") == (130, "", "interrupted\n")
    assert inspect(new)["highest"] == 90.0
    code, _, err = vae("evaluate", model, data, "-o", tmp_path / "report", "--title", "Peaks")
    assert (code, err) == (0, "Peaks: 90 V\n")
    code, _, err = vae("export", model, "-o", tmp_path / "m.onnx")
    assert (code, err) == (2, "error: There is no graph for voltages.\n")


def test_what_is_for_records_refuses_it(model: Path, data: Path, tmp_path: Path, vae: Vae) -> None:
    code, _, err = vae("evaluate", model, model, data, "-o", tmp_path / "report")
    assert code == 2
    assert "voltage.vae is a model of voltages, of which two are not compared on one page." in err
    with pytest.raises(ParameterError, match=r"voltage.vae is a model of voltages, for `score`"):
        loaded(str(model))


@pytest.mark.parametrize(
    "found", [RECORDS, VOLTAGES, *DETECTORS.values()], ids=lambda one: one.contents
)
def test_registered_functions_take_the_same(found: DetectorType) -> None:
    assert set(found.functions) == set(PARAMETERS)
    for name, words in PARAMETERS.items():
        parameters = signature(found.function(name)).parameters.values()
        required = [one.name for one in parameters if one.default is one.empty]
        assert [one.name for one in parameters][: len(words.split())] == words.split()
        assert set(required) <= set(words.split())


def test_registered_options_are_those_of_commands() -> None:
    known = {one.name for command in cli.commands.values() for one in command.params}
    for found in DETECTORS.values():
        assert set(found.options) <= known


def test_a_detector_of_rows_is_loaded_without_the_others(
    fitted: VAEDetector, tmp_path: Path
) -> None:
    save(fitted, tmp_path / "m.vae")
    code = "import sys; from vae_anomaly import load; load('m.vae'); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    absent = {"PIL", "vae_anomaly.series", "vae_anomaly.data.series", "vae_anomaly.pipeline"}
    assert not absent & set(done.stdout.split())
