"""Structure of the code: direction of imports, sizes, and where modalities are named."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from for_each import for_each

import vae_anomaly

PACKAGE = Path(vae_anomaly.__file__).parent
CONTRIBUTING = PACKAGE.parent / "CONTRIBUTING.md"

ROOMS = [
    {"exceptions", "names", "_text", "_types", "_version"},
    {"_extras", "_matplotlib", "_parameters", "_stderr", "_threads"},
    {"storage"},
    {"detectors"},
    {"stats"},
    {"metrics"},
    {"data"},
    {"networks"},
    {"training"},
    {"inference"},
    {"model"},
    {"estimator"},
    {"series"},
    {"persistence", "samples"},
    {"pipeline"},
    {"dask", "ray", "service", "spark"},
    {"displays"},
    {"report"},
    {"jobs"},
    {"cli"},
    {"__main__"},
]
"""A room may import from those above it, and from within itself."""

HEIGHT = {room: height for height, rooms in enumerate(ROOMS) for room in rooms}

STRANGERS = {("data", "networks")}
"""Rooms that never import each other: values of `data.base` and `stats` lie between them."""

MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 60
MAX_COMMAND_LINE_LINES = 1300
MAX_ANY = 120
MAX_FILES = 5

HEAVY = {"PIL", "keras", "matplotlib", "onnx", "onnxruntime", "pandas", "pyarrow", "rich", "scipy"}
HEAVY |= {
    "joblib",
    "onnx2torch",
    "openvino",
    "sklearn",
    "tensorflow",
    "torch",
    "tract",
    "vl_convert",
}
HEAVY |= {
    "adbc_driver_postgresql",
    "anyio",
    "dask",
    "distributed",
    "duckdb",
    "fsspec",
    "pyspark",
    "ray",
    "starlette",
    "uvicorn",
}
"""Packages that are imported where they are used, and so are modules that import them."""

CHEAP_LATE = {
    ("cli.commands", "cli.console"): "nothing but click is imported before a command runs",
    ("cli.console", "pipeline.facts"): "limits are checked before NumPy is imported",
    ("cli.errors", "traceback"): "nothing but click is imported before a command runs",
    ("cli.options", "pipeline.config"): "nothing but click is imported before a command runs",
    ("pipeline.interrupt", "select"): "nothing but click is imported before a command runs",
    ("pipeline.interrupt", "socket"): "nothing but click is imported before a command runs",
}
"""Late imports that need another reason: (module, imported) -> reason."""

MODALITY_WORD = re.compile(r"(?<![a-z])(tables?|images?|p(?:icture)s?)(?![a-z])", re.IGNORECASE)

OTHER_MEANING = re.compile(
    r"from PIL import Image|Image\.fromarray|data:image/|</?table|^table \{|card, table,"
    r"|wide table \{|image-rendering"
)
"""Pillow, media types, HTML and CSS."""

OWN_FILES = (
    *("data/table/", "data/image/", "displays/images.py", "displays/painting.py"),
    *("model/patch", "displays/map_files.py"),
    *("report/sections/table", "report/sections/image"),
    *("report/templates/_table", "report/templates/_image"),
)
"""Folders, sections and displays of the modalities.

`model/patch*` are the models of patches of images, and `displays/map_files.py` writes images.
"""

ALLOWED_FILES = {
    "cli/commands.py": "help texts",
    "cli/options.py": "option groups of the modalities, and help texts",
    "dask.py": "data frames of Dask are tables",
    "data/registry.py": "the registry",
    "data/series/influx.py": "the name of a column in files of InfluxDB",
    "report/sections/__init__.py": "the registry of sections",
    "report/svg.py": "names of elements of SVG",
    "displays/__init__.py": "public names of the displays",
    "estimator/attributes.py": "public fitted attributes, such as image_shape_",
    "estimator/detector.py": "documentation of public parameters",
    "estimator/generation.py": "documentation of public methods, such as contribution_maps",
    "ray.py": "batches of Ray are tables of Arrow",
    "samples.py": "the bundled sample is a table",
}
"""Further files that name a modality, and why."""


class Import(NamedTuple):
    """An import of a module.

    Attributes
    ----------
    module : str
    late : bool
        Whether it stands in a function.
    typing : bool
        Whether it stands below ``if TYPE_CHECKING``.
    """

    module: str
    late: bool
    typing: bool


def module_of(path: Path) -> str:
    """Return the name of a module below the package: "data.table.source", "" for the package."""
    return (
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        .removesuffix("__init__")
        .rstrip(".")
    )


MODULES = sorted(PACKAGE.rglob("*.py"))
NAMES = {module_of(path): path for path in MODULES}
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
each_module = for_each(MODULES, module_of)


def room_of(module: str) -> str:
    return module.split(".")[0]


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(path: Path) -> Iterator[Import]:
    """Yield all imports of a file, also late ones and those for types."""

    def visit(node: ast.AST, late: bool, typing: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, late, typing) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            base = node.module or ""
            for alias in node.names:
                full = f"{base}.{alias.name}"
                is_module = full.removeprefix("vae_anomaly.") in NAMES
                yield Import(full if is_module else base, late, typing)
        in_function = isinstance(node, FUNCTIONS | ast.Lambda)
        for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.iter_child_nodes(node):
            yield from visit(child, late or in_function, typing or for_types)

    yield from visit(tree_of(path), late=False, typing=False)


def internal(path: Path) -> Iterator[Import]:
    """Yield the imports of modules of the package, named below it."""
    for found in imports_of(path):
        if found.module.split(".")[0] == "vae_anomaly":
            yield found._replace(module=found.module.removeprefix("vae_anomaly").lstrip("."))


@each_module
def test_imports_only_go_down_the_list(path: Path) -> None:
    room = room_of(module_of(path))
    if not room:  # the package shows every room, lazily
        return
    assert room in HEIGHT, f"give {room!r} a place in ROOMS"
    for module, *_ in internal(path):
        other = room_of(module)
        if module != "_version":
            assert other, f"{path.name} imports the package itself"
        assert other == room or HEIGHT[other] < HEIGHT[room], module
        assert (room, other) not in STRANGERS, module
        assert (other, room) not in STRANGERS, module


def test_no_imports_go_round_in_circles() -> None:
    graph = {
        name: {module for module, *_ in internal(path) if module in NAMES and module != name}
        for name, path in NAMES.items()
        if name
    }
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join([*above[above.index(name) :], name])
        if name not in done:
            for other in sorted(graph.get(name, ())):
                visit(other, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@cache
def is_heavy(module: str) -> bool:
    """Return whether a module imports a heavy package, itself or through others."""
    name = module.removeprefix("vae_anomaly").lstrip(".")
    if module.split(".")[0] != "vae_anomaly":
        return module.split(".")[0] in HEAVY
    return any(
        is_heavy(found.module)
        for found in imports_of(NAMES[name])
        if not found.late and not found.typing
    )


@each_module
def test_late_imports_are_of_heavy_modules(path: Path) -> None:
    name = module_of(path)
    for found in imports_of(path):
        reason = (name, found.module.removeprefix("vae_anomaly.")) in CHEAP_LATE
        assert not found.late or is_heavy(found.module) or reason, found.module


@each_module
def test_files_and_functions_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(tree_of(path)):
        if isinstance(node, FUNCTIONS):
            first, *rest = node.body
            body = rest if ast.get_docstring(node) is not None and rest else [first, *rest]
            assert (node.body[-1].end_lineno or 0) - body[0].lineno < MAX_FUNCTION_LINES, node.name


def test_the_command_line_stays_thin() -> None:
    files = [PACKAGE.parent / "cli.py", *(PACKAGE / "cli").glob("*.py")]
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)
    assert lines <= MAX_COMMAND_LINE_LINES


def test_command_files_do_not_import_each_other() -> None:
    shared = {"commands", "console", "errors", "options", ""}
    commands = {path.stem for path in (PACKAGE / "cli").glob("*.py")} - shared - {"__init__"}
    for name in commands:
        imported = {found.module for found in internal(PACKAGE / "cli" / f"{name}.py")}
        assert not imported & {f"cli.{other}" for other in commands}, name


def test_any_is_rare() -> None:
    count = 0
    for path in MODULES:
        for node in ast.walk(tree_of(path)):
            count += isinstance(node, ast.Name) and node.id == "Any"
            count += isinstance(node, ast.alias) and node.name == "Any"
    assert count <= MAX_ANY


@each_module
def test_every_function_is_annotated(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, FUNCTIONS):
            args = node.args
            given = [*args.posonlyargs, *args.args, args.vararg, *args.kwonlyargs, args.kwarg]
            bare = [arg.arg for arg in given if arg is not None and arg.annotation is None]
            assert not set(bare) - {"self", "cls"}, node.name
            assert node.returns is not None, node.name


def test_modalities_are_named_in_their_own_files() -> None:
    files = [*MODULES, *(p for p in (PACKAGE / "report" / "templates").iterdir() if p.is_file())]
    naming = set()
    for path in files:
        name = path.relative_to(PACKAGE).as_posix()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if MODALITY_WORD.search(OTHER_MEANING.sub("", line)) and not name.startswith(OWN_FILES):
                assert name in ALLOWED_FILES, f"{name}:{number}: {line.strip()}"
                naming.add(name)
    assert naming == set(ALLOWED_FILES), "remove what needs no allowance"


SERIES_ROOMS = ("series", "data.series", "pipeline.series", "report.series", "displays.series")


@each_module
def test_time_series_are_imported_by_their_own_rooms_alone(path: Path) -> None:
    if not module_of(path).startswith(SERIES_ROOMS):
        for module, _, typing in internal(path):
            assert typing or not module.startswith(SERIES_ROOMS), module


@each_module
def test_library_code_does_not_print_assert_or_catch_everything(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        assert not isinstance(node, ast.Assert), node.lineno
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, node.lineno
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", node.lineno


def test_what_is_added_needs_five_files_at_most() -> None:
    words = CONTRIBUTING.read_text(encoding="utf-8").split("## How to add\n")[1].split("\n## ")[0]
    items = re.split(r"^- \*\*", words, flags=re.MULTILINE)[1:]
    assert len(items) == 13
    for item in items:
        files = set(re.findall(r"`([\w/]+\.\w+)`", item))
        known = {name for name in files if (PACKAGE / name).is_file()}
        assert all((PACKAGE.parent / name).is_file() for name in files - known), files - known
        assert len(known) <= MAX_FILES, item
