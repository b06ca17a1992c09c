"""The shape of the code: imports flow one way, files and functions stay within a screen or ten."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import vae_anomaly

PACKAGE = Path(vae_anomaly.__file__).parent

ROOMS = [
    {"exceptions", "names", "_text", "_types", "_version"},
    {"_parameters", "_threads"},
    {"storage"},
    {"stats"},
    {"metrics"},
    {"data"},
    {"networks"},
    {"training"},
    {"inference"},
    {"model"},
    {"estimator"},
    {"persistence", "samples"},
    {"pipeline"},
    {"displays"},
    {"report"},
    {"cli"},
    {"__main__"},
]
"""A room may import from those above it, and from within itself."""

HEIGHT = {room: height for height, rooms in enumerate(ROOMS) for room in rooms}

MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        rooms |= {n.split(".")[1] for n in names if n.startswith("vae_anomaly.")}
    return rooms


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_only_go_down_the_list(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":  # the door shows every room, lazily
        return
    assert room in HEIGHT, f"give {room!r} a place in ROOMS"
    rising = {r for r in imported_rooms(path) - {room} if HEIGHT[r] >= HEIGHT[room]}
    assert not rising


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_stay_short(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= 500
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            first, *rest = node.body
            body = rest if ast.get_docstring(node) is not None and rest else [first, *rest]
            assert node.body[-1].end_lineno - body[0].lineno < 60, node.name


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_library_code_does_not_print_assert_or_catch_everything(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.Assert), node.lineno
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, node.lineno
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", node.lineno
