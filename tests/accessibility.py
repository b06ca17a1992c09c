"""Accessibility of pages: axe-core in a real browser, at two widths, light and dark."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser


def axe_core() -> Path | None:
    """Return the file of axe-core: that of AXE_CORE, or of the package axe-core-python."""
    if os.environ.get("AXE_CORE"):
        return Path(os.environ["AXE_CORE"])
    found = find_spec("axe_core_python")
    if found is None or found.origin is None:
        return None
    return Path(found.origin).with_name("axe.min.js")


AXE = axe_core()

needs_axe = pytest.mark.skipif(
    CHROMIUM is None or AXE is None,
    reason="needs chromium, and axe-core: pip install axe-core-python, or AXE_CORE=its file",
)

SHOWN = "document.querySelectorAll('details').forEach(one => one.open = true)"
RESULT = "axe.run().then(found => JSON.stringify(found.violations.map(one => [one.id, one.help])))"


def check_page(page: Path, profile: Path) -> None:
    """Raise if a page has violations, or is wider than its window."""
    assert AXE is not None
    engine = AXE.read_text(encoding="utf-8")
    with Browser(profile) as browser:
        for width, scheme in ((1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")):
            browser.show(width, scheme)
            browser.open(page)
            browser.value(f"{engine}; {SHOWN}")
            assert json.loads(browser.value(RESULT)) == [], (page, width, scheme)
            assert browser.value("document.documentElement.scrollWidth") <= width
