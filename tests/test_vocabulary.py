"""Vocabulary: one term for each concept, and openings of docstrings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from for_each import for_each

import vae_anomaly

PACKAGE = Path(vae_anomaly.__file__).parent
ROOT = PACKAGE.parent

WORDS = {
    r"pictur(?:e|es|ed)(?!_scale_)": "image (data), figure (report)",
    r"strang(?:e|er|est|ely|eness)": "anomalous, more anomalous, most anomalous",
    r"dirt|dirty|dirtier": "contamination",
    r"vouch(?:es|ed|ing)?": "support",
    r"doubt(?:s|ed|ing)?": "support, n_skipped_neighbors",
    r"belie(?:f|ve|ves|ved|ving)": "neighbours used",
    r"(?:an?|the|its|their|whose|each|of|no) reach": "bandwidth",
    r"reach(?:es)?(?=\s*[=:)\],\[])|(?<=[._])reach(?:es)?": "bandwidth",
    r"knees?|unbend|bend(?:s|ing)?|bent": "soft clip, its inverse, clip threshold",
    r"twins?": "comparison model",
    r"manifests?": "file schema",
    r"own[ _]networks?|(?:of|by) (?:the users?'?s?|your|their|his) own": "custom networks",
    r"pieces?|blocks? of rows": "chunk, batch",
    r"rims?": "padding",
    r"rounds? of training|training[ _]rounds?|(?:each|every|on|per|n)[ _]rounds?": (
        "validation interval"
    ),
    r"watched[ _]rows?": "validation rows",
    r"keepers?": "checkpointer",
    r"(?<!line\x20)(?:feed(?:s|ing)?|fed)": "training data, batch stream",
    r"suppl(?:y|ies|ied|ying)": "batch stream",
    r"some_rows": "subsample",
    r"(?<!_)most_(?!anomalous|common|frequent|normal)[a-z]+": "max_*",
    r"(?-i:LEAST|LARGEST|LONGEST|MOST)": "MIN_*, MAX_*",
    r'(?<!dtype\.)kinds?(?!="(?:stable|mergesort)")': (
        "modality, file type, class, dtype, category or group"
    ),
    r"look(?:s|ed|ing)? at": "read, check, evaluate",
    r"(?:has|have|had|having) (?:no |any |more )?use (?:for|of)": "need, use",
    r"by and by": "incrementally",
    r"lest": "so that ... not",
    r"whoever|whosoever": "the caller, a model that",
    r"somebody|someone": "the user",
    r"what (?:it|they) c(?:a|o)mes? to": "result",
}
"""Pattern of a word with its inflections -> the word to use instead.

A word ends at any character that is no letter and where CamelCase changes, so that
names are searched too. A space stands for any white space."""

ALLOWED: dict[tuple[str, str], str] = {
    ("tests/test_report.py", "feed"): "method of html.parser.HTMLParser",
    ("tests/test_series_report.py", "feed"): "method of html.parser.HTMLParser",
    ("tests/test_reasons.py", "kind"): "parameter of VAEDetector.explain",
    ("vae_anomaly/estimator/scoring.py", "kind"): "parameter of VAEDetector.explain",
}
"""(path, word) -> why the word is used there."""

OPENINGS = r"(?:Tell|Say|Spell|Give|Look|Find out|Have|Put|Let|Hand|Know|Bear)\b"
"""Words with which no docstring starts."""

FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (
        *PACKAGE.rglob("*.py"),
        *PACKAGE.rglob("*.j2"),
        *ROOT.glob("tests/**/*.py"),
        *ROOT.glob("benchmarks/**/*.py"),
        *ROOT.glob("benchmarks/**/*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("docs/*.py"),
        *ROOT.glob("docs/_ext/*.py"),
        *ROOT.glob("docs/guide/*.md"),
        *ROOT.glob("docs/api/*.rst"),
        *ROOT.glob("examples/*.py"),
        *ROOT.glob("examples/*.rst"),
        *ROOT.glob("reports/*/README.md"),
        *(
            ROOT / name
            for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "data/README.md")
        ),
    )
    if path != Path(__file__)
)

MODULES = [path for path in FILES if path.startswith("vae_anomaly/") and path.endswith(".py")]


def pattern(word: str) -> re.Pattern[str]:
    """Compile a pattern of `WORDS` with boundaries."""
    spaced = word.replace("[ _]", r"(?:_|[\s#]+)").replace(" ", r"[\s#]+")
    return re.compile(rf"(?<![a-z])(?:{spaced})(?![a-z])", re.IGNORECASE)


PATTERNS = {word: pattern(word) for word in WORDS}


def uses(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield line number, word and the word to use instead."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", "_", text)
    for word, compiled in PATTERNS.items():
        for found in compiled.finditer(split):
            line = split.count("\n", 0, found.start()) + 1
            yield line, " ".join(found.group().split()).lower(), WORDS[word]


@for_each(FILES)
def test_words_are_those_of_the_field(path: str) -> None:
    found = [
        f"{path}:{line}: {word!r}, use: {instead}"
        for line, word, instead in uses((ROOT / path).read_text(encoding="utf-8"))
        if (path, word) not in ALLOWED
    ]
    assert not found, "\n" + "\n".join(found)


def test_exceptions_are_needed() -> None:
    for path, word in ALLOWED:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert word in {used for _, used, _ in uses(text)}, (path, word)


@for_each(MODULES)
def test_docstrings_open_with_a_capital_and_a_plain_verb(path: str) -> None:
    wrong = []
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        docstring = ast.get_docstring(node)
        if docstring is None:
            continue
        opening = docstring.splitlines()[0]
        if not opening[:1].isupper() or re.match(OPENINGS, opening):
            wrong.append(f"{path}:{node.lineno}: {node.name}: {opening}")
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("the strangest rows", "strangest"),
        ("StrangeRow", "strange"),
        ("n_kinds = 2", "kinds"),
        ("of the\n    # user's own", "of the # user's own"),
        ("MOST_ROWS", "most"),
        ("max_reach = 1", "reach"),
        ("it looked at rows", "looked at"),
        ("in rounds of training", "rounds of training"),
    ],
)
def test_words_are_found(text: str, word: str) -> None:
    assert word in {used for _, used, _ in uses(text)}


@pytest.mark.parametrize(
    "text",
    [
        'np.argsort(x, kind="stable")',
        "array.dtype.kind",
        "picture_scale_",
        "values that reach the limit",
        "feedback",
        "round(values)",
        "at_most_fifty, most_frequent",
        "mankind",
    ],
)
def test_other_words_are_not_found(text: str) -> None:
    assert not list(uses(text))
