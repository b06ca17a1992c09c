"""Formulas as MathML: browsers draw it without a script, fonts or the network."""

from __future__ import annotations

import re
from html import escape
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.application import Sphinx
from sphinx.util.logging import getLogger

Node = nodes.math | nodes.math_block

LOGGER = getLogger(__name__)

APPLIED = r"(&ApplyFunction;</mo>\s*)(<(?!mo>\())"
"""Application of a function to what has no parentheses."""


def rendered(node: Node, *, as_block: bool) -> str:
    """Return a formula as MathML; warn of LaTeX that is not understood, and show it as it is."""
    try:
        formula = latex2mathml.tex2mathml(node.astext(), as_block=as_block)
    except MathError as error:
        LOGGER.warning("%s", error, location=node)
        return f"<code>{escape(node.astext())}</code>"
    # Browsers draw an application of a function without a space: "logx".
    return re.sub(APPLIED, r"\1<mspace width='0.17em'/>\2", formula)


def visit_inline(translator: Any, node: Node) -> None:
    """Write a formula in a line of text."""
    translator.body.append(rendered(node, as_block=False))
    raise nodes.SkipNode


def visit_block(translator: Any, node: Node) -> None:
    """Write a formula on a line of its own, with room to scroll on narrow screens."""
    translator.body.append(f'<div class="formula">{rendered(node, as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer."""
    app.add_html_math_renderer(
        "mathml", inline_renderers=(visit_inline, None), block_renderers=(visit_block, None)
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}
