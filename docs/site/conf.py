"""Sphinx's settings for the site; `python docs/renew.py site` builds it, see `docs/make_site.py`."""

import importlib.metadata

from sphinx.application import Sphinx

project = "tinygraph"
author = "The tinygraph authors"
copyright = "2026, the tinygraph authors"
try:
    version = release = importlib.metadata.version("tinygraph-autodiff")
except importlib.metadata.PackageNotFoundError:  # run from a source tree
    version = release = ""

extensions = ["myst_nb"]
myst_heading_anchors = 4  # the anchors that GitHub gives headings
myst_enable_extensions: list[str] = []
nb_execution_mode = "force"  # of the pages that `make_site` makes notebooks of
nb_execution_timeout = 120
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_show_tb = True

html_theme = "pydata_sphinx_theme"
html_title = "tinygraph"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "tinygraph"},
    "navbar_align": "left",
    "show_toc_level": 2,
    "navigation_depth": 2,
    "show_prev_next": True,
    "back_to_top_button": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"index": []}


def setup(app: Sphinx) -> None:
    """What a block printed, on a page, is plain text."""
    from pygments.lexers.special import TextLexer

    app.add_lexer("output", TextLexer)
