"""Names of any script in figures: fonts of the machine, escapes, never two alike."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.axes import Axes

from vae_anomaly.displays.drawing import distinct, escaped, legible
from vae_anomaly.displays.fonts import BASE_FONT, FurtherFonts, further_fonts
from vae_anomaly.displays.model import ContributionDisplay
from vae_anomaly.report import figures
from vae_anomaly.report.data import Figure

ONE, TWO, YI = "\u4e00", "\u4e8c", "\ua000"
"""Two Chinese characters, and one of the Yi script: DejaVu has none of them."""


def make_font(path: Path, name: str, characters: str) -> None:
    """Write a font in which each character is as many bars as its place says."""
    builder = FontBuilder(1000, isTTF=True)
    names = {character: f"c{ord(character):x}" for character in characters}
    builder.setupGlyphOrder([".notdef", *names.values()])
    builder.setupCharacterMap({ord(character): glyph for character, glyph in names.items()})
    glyphs = {".notdef": TTGlyphPen(None).glyph()}
    for bars, glyph in enumerate(names.values(), 1):
        pen = TTGlyphPen(None)
        for i in range(bars):
            pen.moveTo((100 + 250 * i, 0))
            for corner in ((100 + 250 * i, 700), (250 + 250 * i, 700), (250 + 250 * i, 0)):
                pen.lineTo(corner)
            pen.closePath()
        glyphs[glyph] = pen.glyph()
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": name, "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    builder.save(path)


@pytest.fixture
def han(tmp_path: Path) -> Iterator[str]:
    """A font with two Chinese characters on this machine."""
    before = list(font_manager.fontManager.ttflist)
    make_font(tmp_path / "han.ttf", "Han of Tests", ONE + TWO)
    font_manager.fontManager.addfont(tmp_path / "han.ttf")
    yield "Han of Tests"
    font_manager.fontManager.ttflist[:] = before


def drawn(name: str) -> bytes:
    """Return a figure with one name."""

    def draw(ax: Axes) -> None:
        ax.set_yticks([0], distinct([name]), parse_math=False)

    return figures.drawn(Figure(draw, (2.0, 1.0)), "name").png


def test_names_are_drawn_in_a_font_that_has_their_characters(han: str) -> None:
    assert further_fonts(ONE + TWO + YI) == FurtherFonts([han], frozenset(YI))
    shown = [drawn(name) for name in (ONE, TWO, "\\u4e00", ONE + "a", "a")]
    assert len(set(shown)) == len(shown)
    assert drawn(ONE) == shown[0]


def test_characters_without_a_font_are_escaped() -> None:
    assert drawn(YI) == drawn("\\ua000")
    assert drawn(YI) != drawn("\ua001")
    with escaped(frozenset(YI)):
        assert legible(f"a{YI}é") == "a\\ua000é"
    assert legible(YI) == YI


def test_fonts_are_not_searched_for_what_the_base_font_has() -> None:
    assert BASE_FONT == "DejaVu Sans"
    assert len({drawn("Grüße"), drawn("Grusse"), drawn("Ωβж")}) == 3


@pytest.mark.parametrize(
    "names",
    [
        ["flow", "flow"],
        ["temperature north", "temperature south"],
        ["abcdefghijkl_x_mnopqrst", "abcdefghijkl_y_mnopqrst"],
        ["caf\u00e9", "cafe\u0301", "cafe"],
        ["a\u202eb", "a\\u202eb"],
        ["short", "another one"],
    ],
)
def test_different_names_are_shown_differently(names: list[str]) -> None:
    shown = distinct(names, 10)
    looks = {unicodedata.normalize("NFKC", text) for text in shown}
    assert len(looks) == len(set(names))
    assert all(len(text) <= 10 for text in shown)


def test_the_ends_of_escaped_names_are_shown() -> None:
    names = [f"{YI * 30}/{i:02}.png" for i in range(12)]
    with escaped(frozenset(YI)):
        shown = distinct(names, 28)
    assert [text[-7:] for text in shown] == [name[-7:] for name in names]
    assert all(text.startswith("\\ua000\\ua000") and len(text) == 28 for text in shown)


def test_bars_of_long_names_differ() -> None:
    names = [f"temperature of the third bearing of the main pump, {side}" for side in ("in", "out")]
    display = ContributionDisplay(names, np.array([2.0, 1.0]))
    display.plot()
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert [label[:21] for label in labels] == ["temperature of the t…"] * 2
    assert [label[21:].strip() for label in labels] == ["f the main pump, in", "the main pump, out"]
    assert distinct(["short", "caf\u00e9", "cafe\u0301"]) == [
        "short",
        "caf\u00e9 (1)",
        "cafe\u0301 (2)",
    ]
