"""Sphinx: the pages from adapted notebooks that have been run before; everything they load lies beside them."""

import configparser
import os
from pathlib import Path

TOP = Path(os.environ.get("PRODCONF_TOP", Path(__file__).parents[1]))

_parser = configparser.ConfigParser(delimiters=["="], interpolation=None)
_parser.read(TOP / "settings.ini", encoding="utf-8")
_settings = _parser["DEFAULT"]

project = _settings["title"]
author = _settings["author"]
copyright = _settings["copyright"]
version = release = _settings["version"]
language = "en"

extensions = ["myst_nb"]
suppress_warnings = ["misc.highlighting_failure"]  # calls with "…" for their defaults
exclude_patterns = ["_build"]
templates_path = [str(TOP / "website" / "templates")]

nb_execution_mode = "off"
nb_merge_streams = True
nb_output_stderr = "show"
nb_ipywidgets_js = {"require.js": {}, "embed-amd.js": {}}
myst_enable_extensions = ["dollarmath", "attrs_block", "deflist"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

mathjax_path = "mathjax/tex-svg.js"
mathjax3_config = {"options": {"enableMenu": False}}

html_context = {"default_mode": "auto"}
html_theme = "pydata_sphinx_theme"
html_title = f"{project} {version}"
html_static_path = ["_static"]
html_css_files = ["prodconf.css"]
html_copy_source = False
html_show_sourcelink = False
html_last_updated_fmt = None
html_sidebars = {page: [] for page in os.environ.get("PRODCONF_ALONE", "").split()}  # no section around them
html_theme_options = {
    "header_links_before_dropdown": 9,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "navbar_end": ["words", "theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
