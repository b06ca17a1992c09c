"""Fonts for names in any script: those of this machine, and escapes where none has a character."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from vae_anomaly._matplotlib import import_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["BASE_FONT", "FurtherFonts", "further_fonts", "missing_characters"]

BASE_FONT = "DejaVu Sans"
"""Font that comes with Matplotlib: what it can draw has the same bytes everywhere."""

NORMAL_WEIGHTS = (400, "normal", "regular", "book")

LAST_RESORT = ("last resort", "lastresort", ".last")
"""Fonts that draw one sign for all characters of a script."""

INVISIBLE = {*map(chr, range(32)), "\u200c", "\u200d"}
"""Characters that need no glyph: control characters, and joiners."""


class FurtherFonts(NamedTuple):
    """Fonts beside `BASE_FONT`.

    Attributes
    ----------
    families : list of str
    undrawable : frozenset of str
        Characters that no font has.
    """

    families: list[str]
    undrawable: frozenset[str]


def missing_characters(figure: Figure) -> frozenset[str]:
    """Return the characters in the texts of a figure that `BASE_FONT` lacks."""
    from matplotlib.font_manager import findfont
    from matplotlib.text import Text

    texts = {text.get_text() for text in figure.findobj(Text)}
    characters = set().union(*texts) - INVISIBLE
    return frozenset(characters - _characters_of(findfont(BASE_FONT)))


def further_fonts(missing: Iterable[str]) -> FurtherFonts:
    """Choose fonts of this machine that have characters: each time that with most of the rest.

    Examples
    --------
    >>> further_fonts([])
    FurtherFonts(families=[], undrawable=frozenset())
    """
    left, families = set(missing), []
    fonts = _fonts() if left else {}
    while left:
        # Of equal ones the first by name: the same fonts give the same bytes.
        name = min(fonts, key=lambda name: (-len(left & fonts[name]), name), default=None)
        if name is None or not left & fonts[name]:
            break
        families.append(name)
        left -= fonts[name]
    return FurtherFonts(families, frozenset(left))


def _fonts() -> dict[str, frozenset[str]]:
    """Return the upright fonts of this machine, and the characters that each has."""
    import_matplotlib()
    from matplotlib.font_manager import findSystemFonts, fontManager

    # The list of Matplotlib may be older than a font.
    for path in set(findSystemFonts()) - {font.fname for font in fontManager.ttflist}:
        with suppress(OSError, RuntimeError, ValueError):
            fontManager.addfont(path)
    found: dict[str, frozenset[str]] = {}
    for font in sorted(fontManager.ttflist, key=lambda font: (font.name, font.fname)):
        upright = font.style == "normal" and font.weight in NORMAL_WEIGHTS
        if upright and font.name not in found and not font.name.lower().startswith(LAST_RESORT):
            found[font.name] = _characters_of(font.fname)
    return found


@cache
def _characters_of(path: str) -> frozenset[str]:
    """Return the characters that a font has outlines for; none of one that cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
        return frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset()
    except (OSError, RuntimeError, ValueError):
        return frozenset()
