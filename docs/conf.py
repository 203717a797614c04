"""How Sphinx builds the site."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "fourhands"
author = "the fourhands contributors"
copyright = f"2026, {author}"  # noqa: A001 - Sphinx's name for it
release = metadata.version("fourhands")

extensions = ["myst_nb", "sphinx_design", "side_by_side", "generated", "network", "lectures"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

# the lectures: pages that name a kernel in their head; the others are read as before
nb_execution_mode = "inline"  # the one mode in which text can show what the kernel knows
nb_execution_timeout = 300  # seconds per cell
nb_execution_show_tb = True  # a failing cell is a warning, which fails the build; raising would hide the traceback
nb_eval_name_regex = ".+"
nb_merge_streams = True
nb_output_stderr = "warn"  # a cell that writes there fails the build

html_theme = "furo"
html_title = "fourhands"
html_static_path = ["_static"]
html_css_files = ["side_by_side.css", "figures.css", "lectures.css"]
html_copy_source = False
pygments_style = "a11y-light"
pygments_dark_style = "a11y-dark"
