"""Sphinx: the pages of this folder and the docstrings, as a site that needs no network."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

project = "Network in Network, in three frameworks"
copyright = "the authors"
html_title = "NiN"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "furo"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_use_rtype = False
add_module_names = False
exclude_patterns = ["_build"]
html_copy_source = False
suppress_warnings = ["misc.highlighting_failure"]
