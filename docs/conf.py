"""How the documentation is built: `make docs`, where every warning is an error."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
sys.path[:0] = [str(HERE), str(HERE.parent)]  # for the directive below, and for the package

project = "rtpmix"
author = "the rtpmix authors"
copyright = "2026, the rtpmix authors"
release = version = PROJECT["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "state_table"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_class_signature = "separated"
napoleon_google_docstring = False
napoleon_numpy_docstring = True

html_theme = "alabaster"
html_theme_options = {
    "description": PROJECT["description"],
    "fixed_sidebar": True,
    "page_width": "64rem",
}
html_title = f"rtpmix {release}"
html_copy_source = False
html_show_sphinx = False
