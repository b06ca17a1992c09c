"""The documentation names what there is; `make docs` builds it and runs the examples."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path

import pytest
from for_each import for_each

import vae_anomaly
from vae_anomaly import displays
from vae_anomaly.cli.commands import cli
from vae_anomaly.cli.errors import Exit
from vae_anomaly.names import LIKELIHOODS, SCORES

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
GUIDE = ROOT / "docs" / "guide"


def text_of(*parts: str) -> str:
    return ROOT.joinpath(*parts).read_text(encoding="utf-8")


@for_each([*vae_anomaly.__all__, *displays.__all__])
def test_the_reference_lists_all_public_names(name: str) -> None:
    listed = {line.strip().split(".")[-1] for line in text_of("docs/api/index.rst").splitlines()}
    assert name in listed


def test_the_gallery_has_an_order_for_each_example() -> None:
    order = runpy.run_path(str(ROOT / "docs/_ext/gallery.py"))["ORDER"]
    assert sorted(order) == [path.name for path in EXAMPLES]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_use_public_functions(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("vae_anomaly"):
            assert not any(alias.name.startswith("_") for alias in node.names)


def test_the_guide_explains_all_scores_and_likelihoods() -> None:
    guide = (GUIDE / "score.md").read_text(encoding="utf-8")
    assert [name for name in (*SCORES, *LIKELIHOODS) if f"`{name}`" not in guide] == []


def test_the_guide_lists_all_commands() -> None:
    guide = (GUIDE / "commands.md").read_text(encoding="utf-8")
    assert [name for name in cli.commands if f"\n| `{name}" not in guide] == []


def test_tables_of_benchmarks_are_made_from_the_results(tmp_path: Path) -> None:
    pages = runpy.run_path(str(ROOT / "docs/_ext/benchmark_pages.py"))
    pages["write"](ROOT / "benchmarks" / "results", tmp_path)
    included = [
        line.split("benchmarks/")[1]
        for page in GUIDE.glob("*.md")
        for line in page.read_text(encoding="utf-8").splitlines()
        if "/generated/benchmarks/" in line
    ]
    assert sorted({path.name for path in tmp_path.iterdir()}) == sorted(set(included))
    rows = (tmp_path / "adbench.md").read_text(encoding="utf-8").splitlines()
    ours = next(row for row in rows if row.startswith("| **vae-anomaly**"))
    # As in benchmarks/results/adbench.md, which the benchmark itself wrote.
    assert ours == "| **vae-anomaly** | 0.884 | 0.708 | 4.0 | 6.5 |"


def test_the_readmes_benchmark_is_that_of_the_results() -> None:
    readme = text_of("README.md")
    for line in ("| **vae-anomaly** | **0.884** | **0.796** | 0.916 |", "| LOF | 0.849 | 0.739 |"):
        assert line in readme
    for group, page in (("ours | 0.8842", "adbench"), ("ours | 0.7964", "keel")):
        assert f"| {group} |" in text_of("benchmarks", "results", f"{page}.md")


def test_the_documentation_lists_every_exit_code() -> None:
    section = text_of("docs", "reliability.md").split("## Exit codes")[1].split("##")[0]
    sentence = " ".join(section.split(". ")[0].split())
    assert {int(part.split()[0]) for part in sentence.split(" · ")} == {one.value for one in Exit}
