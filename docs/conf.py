from __future__ import annotations

from sphinx.application import Sphinx

import trio_websock

project = "trio-websock"
author = "The trio-websock authors"
copyright = "2026, The trio-websock authors"
version = release = trio_websock.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = "trio-websock"


def mark_contract(app: object, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Show the lines of a docstring about cancellation and origin as fields, as their form suggests."""
    marked: list[str] = []
    for line in lines:
        word, colon, rest = line.partition(":")
        is_contract = colon and word in {"Checkpoint", "Cancelled", "Source"}
        marked += ["", f":{word}:{rest}"] if is_contract else [line]
    # Of an attribute's first line, napoleon takes all before a colon for its type; it does so with the first line only.
    lines[:] = ["", *marked] if what in {"attribute", "property"} else marked


def setup(app: Sphinx) -> None:
    # Before napoleon, which has the default priority of 500.
    app.connect("autodoc-process-docstring", mark_contract, priority=400)
