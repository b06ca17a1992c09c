"""One digest of (id, score), wherever a table is scored."""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

import vae_anomaly


def loaded() -> ModuleType:
    """Load the benchmark that has the ways to score."""
    path = Path(vae_anomaly.__file__).parent.parent / "benchmarks" / "everywhere.py"
    spec = spec_from_file_location("everywhere", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["everywhere"] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


everywhere = loaded()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return everywhere.make_data(tmp_path_factory.mktemp("data"), 1200)


@pytest.fixture(scope="module")
def expected(data: tuple[Path, Path]) -> str:
    return everywhere.in_python(*data, Path())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in everywhere.WAYS if name != "Python"])
def test_scores_are_the_same_to_the_last_bit(
    name: str, data: tuple[Path, Path], expected: str, tmp_path: Path
) -> None:
    package, way = everywhere.WAYS[name]
    if package is not None and find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    assert way(*data, tmp_path) == expected
