"""Drawings as SVG that is part of a page: in its colours, light or dark, without styles or names.

A content security policy that names the style of the page by its hash forbids style attributes.
Matplotlib writes these; here they become presentation attributes, and the colours of
`displays.drawing` become variables of the page. Only elements and attributes that figures need
are kept.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Mapping
from xml.etree import ElementTree as ET

from vae_anomaly.displays.drawing import BLUE, CATEGORY_COLORS, GREY, INK, ORANGE

__all__ = ["QUALITY", "data_url", "inline_svg", "is_broad"]

SVG, LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"

ELEMENTS = {
    *("svg", "g", "defs", "clipPath", "path", "rect", "circle", "line", "polyline"),
    *("use", "text", "tspan", "image"),
}

GEOMETRY = {
    *("d", "x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "width", "height", "points"),
    *("transform", "viewBox", "preserveAspectRatio", "clip-path"),
}

PRESENTATION = {
    *("fill", "fill-opacity", "fill-rule", "stroke", "stroke-opacity", "stroke-width"),
    *("stroke-dasharray", "stroke-dashoffset", "stroke-linecap", "stroke-linejoin"),
    *("opacity", "text-anchor", "font-size"),
}
"""Properties of styles that are kept."""

COLORS = {
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    GREY: "var(--grey)",
    INK: "currentColor",
    "#000000": "currentColor",
    **{color: f"var(--category-{i})" for i, color in enumerate(CATEGORY_COLORS) if i},
}
"""Colour of a figure -> colour of the page. The first category has the orange of anomalies."""

N_COLORS = 64
"""Colours, with their opacities, of points that are stored as pixels."""

QUALITY = 85
"""Quality of JPEG."""

MAX_NARROW = 500
"""Width of a figure in points up to which it is half as wide as a page, or less."""

MAX_EXACT = 2_000
"""Characters of geometry from which on it has one decimal instead of two."""

DEFAULTS = {"opacity": "1", "stroke-dashoffset": "0", "fill-opacity": "1", "stroke-opacity": "1"}


def inline_svg(drawing: bytes, label: str) -> str:
    """Return a drawing of Matplotlib as an element of a page.

    Parameters
    ----------
    drawing : bytes
        SVG as Matplotlib writes it.
    label : str
        Description for those who do not see it.

    Returns
    -------
    str
        One element, ``svg``, as wide as its container.
    """
    root = ET.fromstring(drawing)  # noqa: S314 - our own
    used = {name for element in root.iter() for name in _references(element)}
    clean = _cleaned(root, used)
    clean.attrib.pop("width", None)
    clean.attrib.pop("height", None)
    name = "plot broad" if is_broad(drawing) else "plot"
    clean.attrib |= {"class": name, "role": "img", "aria-label": label}
    return ET.tostring(clean, encoding="unicode", short_empty_elements=False)


def is_broad(drawing: bytes) -> bool:
    """Return whether a drawing is meant to be as wide as a page."""
    found = re.search(rb'viewBox="0 0 ([\d.]+) ', drawing)
    return found is not None and float(found[1]) > MAX_NARROW


def _references(element: ET.Element) -> Iterator[str]:
    """Yield the names that an element refers to."""
    if element.get(LINK, "").startswith("#"):
        yield element.attrib[LINK][1:]
    yield from re.findall(r"url\(#(.*?)\)", element.get("clip-path", ""))


def _cleaned(element: ET.Element, used: set[str]) -> ET.Element:
    """Copy an element with what is kept of it."""
    tag = element.tag.removeprefix(SVG)
    copy = ET.Element(tag, _attributes(element, used))
    copy.text = element.text if tag in ("text", "tspan") else None
    for child in element:
        if child.tag.removeprefix(SVG) not in ELEMENTS:
            continue
        inner = _cleaned(child, used)
        inner.tail = child.tail if tag in ("text", "tspan") else None
        is_empty = inner.tag in ("g", "defs") and not len(inner)
        if not is_empty:
            copy.append(inner)
    if tag == "g" and len(copy) == 1 and not copy.attrib:  # a group of one changes nothing
        return copy[0]
    return copy


def _attributes(element: ET.Element, used: set[str]) -> dict[str, str]:
    found = {name: _short(text) for name, text in element.attrib.items() if name in GEOMETRY}
    if element.get(LINK, "").startswith("data:"):
        found |= _pixels(base64.b64decode(element.attrib[LINK].partition(",")[2]))
    elif LINK in element.attrib:
        found["href"] = element.attrib[LINK]
    if element.get("id") in used:
        found["id"] = element.attrib["id"]
    found |= _presentation(_style(element.get("style", "")))
    found |= _presentation({k: v for k, v in element.attrib.items() if k in PRESENTATION})
    return found


def _pixels(png: bytes) -> dict[str, str]:
    """Return the attributes of an image: points are transparent, and photos stored as JPEG."""
    from PIL import Image

    image = Image.open(io.BytesIO(png))
    if image.mode == "RGBA" and image.getchannel("A").getextrema() != (255, 255):
        points = io.BytesIO()
        few = image.quantize(N_COLORS, method=Image.Quantize.FASTOCTREE)
        few.save(points, format="png", optimize=True)
        return {"class": "points", "href": data_url("png", points.getvalue())}
    jpeg = io.BytesIO()
    image.convert("RGB").save(jpeg, format="jpeg", quality=QUALITY)
    if jpeg.tell() < len(png):
        return {"href": data_url("jpeg", jpeg.getvalue())}
    return {"href": data_url("png", png)}


def data_url(format_name: str, content: bytes) -> str:
    """Return the address of an image that is part of the page."""
    return f"data:image/{format_name};base64,{base64.b64encode(content).decode('ascii')}"


def _style(text: str) -> dict[str, str]:
    """Return the properties of a style attribute."""
    pairs = (part.split(":", 1) for part in text.split(";") if ":" in part)
    found = {name.strip(): value.strip() for name, value in pairs}
    size = re.search(r"([\d.]+)px", found.pop("font", ""))
    return found if size is None else {"font-size": size[1], **found}


def _presentation(style: Mapping[str, str]) -> dict[str, str]:
    return {
        name: COLORS.get(value, _short(value.removesuffix("px")))
        for name, value in style.items()
        if name in PRESENTATION and DEFAULTS.get(name) != value
    }


def _short(text: str) -> str:
    """Return geometry with few decimals and single spaces: long lines need fewer."""
    digits = 2 if len(text) < MAX_EXACT else 1
    return " ".join(re.sub(r"\d+\.\d+", lambda one: f"{float(one[0]):.{digits}f}", text).split())
