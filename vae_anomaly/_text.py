"""Text of messages: quoted values, lists of names, file names."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence, Set
from pathlib import Path

__all__ = [
    "MAX_LISTED",
    "MAX_VALUE_LENGTH",
    "are",
    "counted",
    "counted_among",
    "display_name",
    "distinct",
    "escaped",
    "listed",
    "shown",
]

MAX_VALUE_LENGTH = 40
MAX_LISTED = 10


def shown(value: object) -> str:
    """Return a quoted value: control characters escaped, at most `MAX_VALUE_LENGTH` characters.

    Examples
    --------
    >>> shown("n/a"), shown("x" * 50)
    ("'n/a'", "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...'")
    """
    text = repr(value)
    return text if len(text) <= MAX_VALUE_LENGTH else f"{text[: MAX_VALUE_LENGTH - 4]}...{text[-1]}"


def listed(names: Sequence[str]) -> str:
    """Return quoted names separated by commas, at most `MAX_LISTED` of them.

    Examples
    --------
    >>> listed(["flow", "pressure"])
    "'flow', 'pressure'"
    """
    text = ", ".join(shown(name) for name in names[:MAX_LISTED])
    rest = len(names) - MAX_LISTED
    return f"{text} and {rest} more" if rest > 0 else text


def distinct(names: Sequence[str], own: str) -> list[str]:
    """Return names of features beside which the name `own` stands for something else.

    A feature that is called so gets "feature_" before its name, until it is the only one.

    Examples
    --------
    >>> distinct(["flow", "latent_code"], "latent_code")
    ['flow', 'feature_latent_code']
    """
    renamed = own
    while renamed in (own, *names):
        renamed = f"feature_{renamed}"
    return [renamed if name == own else name for name in names]


def display_name(path: str | Path) -> str:
    """Return a path as given; quoted and escaped if it has control characters."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def escaped(text: str, max_length: int, also: Set[str] = frozenset()) -> str:
    r"""Return text with hidden characters, and those of `also`, escaped, and its length limited.

    Control characters, lone surrogates and marks that reorder or hide text are hidden; the
    joiners that some scripts need stay.

    Examples
    --------
    >>> escaped("a\x1b[31m\u202eb", 40), escaped("a long text", 7)
    ('a\\x1b[31m\\u202eb', 'a long…')
    """
    shown = "".join(_visible(one, also) for one in text[: max_length + 1])
    return shown if len(shown) <= max_length else shown[: max_length - 1] + "…"


def _visible(character: str, also: Set[str]) -> str:
    hidden = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    if character not in also and (not hidden or character in "\u200c\u200d"):
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def counted(n: int, one: str, more: str | None = None) -> str:
    """Return a count with its noun.

    Examples
    --------
    >>> counted(1, "row"), counted(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{n:,} {one}" if n == 1 else f"{n:,} {more or one + 's'}"


def counted_among(n: int, total: int, one: str) -> str:
    """Return how many of some things, and the verb.

    Examples
    --------
    >>> counted_among(1, 12, "row"), counted_among(0, 1, "row")
    ('1 of 12 rows is', '0 of 1 row are')
    """
    return f"{n:,} of {counted(total, one)} {are(n)}"


def are(n: int) -> str:
    """Return the verb for `n` things."""
    return "is" if n == 1 else "are"
