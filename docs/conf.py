"""How Sphinx builds the site."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "fourhands"
author = "the fourhands contributors"
copyright = f"2025, {author}"  # noqa: A001 - Sphinx's name for it
release = metadata.version("fourhands")

extensions = ["myst_parser", "sphinx_design", "side_by_side", "generated"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "fourhands"
html_static_path = ["_static"]
html_css_files = ["side_by_side.css"]
html_copy_source = False
pygments_style = "a11y-light"
pygments_dark_style = "a11y-dark"
