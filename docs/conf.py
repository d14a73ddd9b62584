"""How Sphinx builds the documentation, `tox -e docs`. Nothing is fetched on the way."""

import dataclasses
import importlib
import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

import tlcore

project = "tlcore"
version = release = tlcore.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"tlcore {release}"
html_static_path = ["_static"]
html_css_files = ["tlcore.css"]
html_copy_source = False
html_show_copyright = False

default_role = "code"  # what stands in single backticks in a docstring
smartquotes_action = "D"  # dashes; what is quoted there is a value
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
napoleon_numpy_docstring = False
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 72
python_use_unqualified_type_names = True

nitpicky = True
nitpick_ignore_regex = [
    # Their inventories lie on the web, and a build fetches nothing.
    (r"py:.*", r"(collections|datetime|pathlib)\..*"),
    (r"py:.*", r"(matplotlib|numpy)\..*"),
    # These publish no inventory.
    (r"py:.*", r"PIL\..*"),
    (r"py:.*", r"keras\..*"),
    (r"py:.*", r"(tf|tensorflow)\..*"),
    # The annotations of `plotting` are never evaluated and keep their short form.
    (r"py:class", r"Figure|History|Images|Path"),
    # What `image_folder().dataset(...)` takes from the wings `caching` and `splitting`.
    (r"py:class", r"(tlcore\.backend\.transport\.)?(Rows|Bank|Column)"),
    # What the callbacks of trackers speak to.
    (r"py:class", r"tlcore\.tracking\.tracker\.Tracker"),
    # What `resume` and a run give to `fit` instead of a folder.
    (r"py:class", r"(tlcore\.checkpoints\.keeping\.)?(Keeping|Interruption)"),
    # What an opened folder keeps for itself, and what a table and a folder share.
    (r"py:class", r"tlcore\.data\.(decoded\.DecodedImages|layout\.Listing)"),
]


def link_public_names(_app: Sphinx, *event: Any) -> None:
    """Turn `name` in a docstring into a link where the name is public."""
    lines = event[-1]
    single = re.compile(r"(?<![`:])`(\w+)`(?!`)")

    def linked(found: re.Match[str]) -> str:
        name = found[1]
        return f":py:obj:`{name} <tlcore.{name}>`" if name in public else found[0]

    public = set(tlcore.__all__)
    lines[:] = [single.sub(linked, line) for line in lines]


def take_docstring_of_constant(_app: Sphinx, *event: Any) -> None:
    """Give a public constant the docstring that stands beneath it in its module."""
    what, name, *_, lines = event
    if what == "data":
        attribute = name.rpartition(".")[2]
        home = importlib.import_module(f"tlcore.{tlcore._HOMES[attribute]}")  # noqa: SLF001
        documented = ModuleAnalyzer.for_module(home.__name__).find_attr_docs()
        lines[:] = documented["", attribute]


def hide_fields_of_values(_app: Sphinx, *event: Any) -> tuple[str, None] | None:
    """Leave the signature out of frozen values, which users are given, not make."""
    what, _, value = event[:3]
    return ("", None) if what == "class" and dataclasses.is_dataclass(value) else None


def setup(app: Sphinx) -> None:
    """Connect the three above."""
    app.connect("autodoc-process-docstring", take_docstring_of_constant, priority=400)
    app.connect("autodoc-process-docstring", link_public_names, priority=450)
    app.connect("autodoc-process-signature", hide_fields_of_values)
