"""Configuration of the documentation, which `make docs` builds."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "_ext"))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import benchmark_pages
import matplotlib as mpl

from vae_anomaly import __version__

project = "vae-anomaly"
author = "The vae-anomaly developers"
copyright = "2026, the vae-anomaly developers"  # noqa: A001 - a name of Sphinx
version = release = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.extlinks",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    "mathml",
]
exclude_patterns = ["generated/benchmarks/*"]
suppress_warnings = ["config.cache"]  # functions in sphinx_gallery_conf
nitpicky = False

# What stands between single backticks is a name of ours, or code.
default_role = "py:obj"
highlight_language = "none"  # Python says so
extlinks = {
    "doi": ("https://doi.org/%s", "doi:%s"),
    "arxiv": ("https://arxiv.org/abs/%s", "arXiv:%s"),
}

myst_enable_extensions = ["dollarmath", "fieldlist"]
myst_heading_anchors = 3
myst_update_mathjax = False
html_math_renderer = "mathml"

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's sections say them
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "furo"
html_title = f"vae-anomaly {version}"
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}

# Figures of the gallery are on white paper, also in dark mode: see site.css.
mpl.rcParams.update({"figure.figsize": (7, 4), "figure.dpi": 100, "savefig.bbox": "tight"})


def strict_warnings(gallery: dict[str, Any], name: str) -> None:
    """Turn warnings of an example into errors: readers would see them too."""
    warnings.filterwarnings("error", module=r"vae_anomaly|__main__")


sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "examples",
    "filename_pattern": ".*",
    "ignore_pattern": r"__init__\.py",
    "within_subsection_order": "gallery.Order",
    "abort_on_example_error": True,
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("vae_anomaly",),
    "download_all_examples": False,
    "capture_repr": ("_repr_html_",),
    "copyfile_regex": r".*\.rst",
    "min_reported_time": 1e9,
    "show_signature": False,
    "reset_modules": ("matplotlib", strict_warnings),
    "write_computation_times": False,
}

benchmark_pages.write(DOCS.parent / "benchmarks" / "results", DOCS / "generated" / "benchmarks")
