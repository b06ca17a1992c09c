"""The public face: what is exported, how it is documented, what importing costs."""

from __future__ import annotations

import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from for_each import for_each
from numpydoc.validate import validate

import vae_anomaly

ACCEPTED = {
    "ES01",  # no extended summary: one line is often all there is to say
    "EX01",  # examples are on classes, and on functions whose use is not plain
    "GL08",  # a missing docstring is ruff's to find
    "PR07",  # parameters whose name and type say all
    "RT03",  # as for parameters
    "SA01",  # see also
    "SS06",  # a summary of two lines
    "YD01",  # yields
    "PR01",  # parameters of functions for this package's own use
    "RT01",
}

MODULES = sorted(
    ".".join(path.relative_to(Path(vae_anomaly.__file__).parent.parent).with_suffix("").parts)
    for path in Path(vae_anomaly.__file__).parent.rglob("*.py")
    if path.stem not in ("__init__", "__main__")
)


def own_methods(cls: type) -> list[str]:
    """Return the public methods of a class that this package defines, inherited ones too."""
    return [
        name
        for name, method in inspect.getmembers(cls, inspect.isroutine)
        if name[0] != "_" and getattr(method, "__module__", "").startswith("vae_anomaly.")
    ]


def public_objects() -> list[str]:
    names = []
    for name in vae_anomaly.__all__:
        thing = getattr(vae_anomaly, name)
        home = f"{thing.__module__}.{name}"
        names.append(home)
        if inspect.isclass(thing):
            names += [f"{home}.{method}" for method in own_methods(thing)]
    return names


def test_every_method_of_the_detector_is_validated() -> None:
    expected = [
        "anomaly_maps",
        "contribution_maps",
        "decision_function",
        "decode",
        "explain",
        "fit",
        "flag_batch",
        "from_model",
        "interpolate",
        "neighbors",
        "p_values",
        "predict",
        "reasons",
        "reconstruct",
        "repair",
        "sample",
        "score",
        "score_samples",
        "scores",
        "transform",
    ]
    assert own_methods(vae_anomaly.VAEDetector) == expected
    home = vae_anomaly.VAEDetector.__module__
    assert {f"{home}.VAEDetector.{name}" for name in expected} <= set(public_objects())


def test_all_names_are_there_and_sorted() -> None:
    assert vae_anomaly.__all__ == sorted(vae_anomaly.__all__)
    for name in vae_anomaly.__all__:
        assert getattr(vae_anomaly, name) is not None
    assert set(vae_anomaly.__all__) <= set(dir(vae_anomaly))
    with pytest.raises(AttributeError, match="no attribute 'VAEDetectr'"):
        vae_anomaly.VAEDetectr  # noqa: B018 - the access is the test


@for_each(MODULES)
def test_every_module_says_what_it_exports(name: str) -> None:
    needs_onnx = name.endswith((".onnx_graph", ".onnx_engine"))
    if needs_onnx and importlib.util.find_spec("onnxruntime") is None:
        return
    module = importlib.import_module(name)
    assert module.__doc__
    for exported in module.__all__:
        assert hasattr(module, exported)


@for_each(public_objects())
def test_public_docstrings_are_numpydoc(name: str) -> None:
    strict = ACCEPTED - {"PR01", "RT01"}
    errors = [e for e in validate(name)["errors"] if e[0] not in strict]
    assert not errors


def test_importing_the_package_loads_no_framework() -> None:
    code = "import sys, vae_anomaly; print(sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for heavy in ("tensorflow", "keras", "matplotlib", "pandas", "sklearn", "numpy"):
        assert repr(heavy) not in done.stdout
