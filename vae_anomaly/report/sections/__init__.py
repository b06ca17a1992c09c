"""Registry of report sections, one for each modality that has one."""

from __future__ import annotations

from importlib import import_module

from vae_anomaly.report.data import Section

__all__ = ["SECTIONS", "section_for", "section_types"]

SECTIONS = {
    "table": "vae_anomaly.report.sections.table",
    "image": "vae_anomaly.report.sections.image",
}
"""Modality -> module whose `SECTION` is the class of its section."""


def section_for(modality: str) -> type[Section] | None:
    """Return the class of the section of a modality, or None if it has none."""
    path = SECTIONS.get(modality)
    if path is None:
        return None
    section: type[Section] = import_module(path).SECTION
    return section


def section_types() -> tuple[type[Section], ...]:
    """Return the classes of all sections."""
    found = (section_for(modality) for modality in SECTIONS)
    return tuple(section for section in found if section is not None)
