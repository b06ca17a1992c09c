"""Registry of report sections, one for each modality that has one."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from typing import Any

from vae_anomaly.report.data import Context, Section

__all__ = ["SECTIONS", "context_for", "section_for", "section_types"]

SECTIONS = {
    "table": "vae_anomaly.report.sections.table",
    "image": "vae_anomaly.report.sections.image",
    "patches": "vae_anomaly.report.sections.image_patches",
}
"""Modality -> module whose `SECTION` is the class of its section."""


def section_for(modality: str) -> type[Section] | None:
    """Return the class of the section of a modality, or None if it has none."""
    path = SECTIONS.get(modality)
    if path is None:
        return None
    section: type[Section] = import_module(path).SECTION
    return section


def context_for(modality: str, **facts: Any) -> Context:
    """Return the context of the section of a modality, with those facts that it has a field for."""
    section = section_for(modality)
    context = Context if section is None else section.context
    names = {field.name for field in fields(context)}
    return context(**{name: fact for name, fact in facts.items() if name in names})


def section_types() -> tuple[type[Section], ...]:
    """Return the classes of all sections."""
    found = (section_for(modality) for modality in SECTIONS)
    return tuple(section for section in found if section is not None)
