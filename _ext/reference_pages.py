"""Sphinx extension: what the reference of `helpers` shows beside the docstrings.

Each entry links to its source in the repository. A class whose fields are private in part is made by the package
alone, so that no signature is shown for it. Parameters on lines of their own are no list of terms.
"""

import importlib
import inspect
import operator
from pathlib import Path

from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.writers.html5 import HTML5Translator

ROOT = Path(__file__).parents[1]


def source_address(module: str, name: str, repository: str) -> str | None:
    """Give the address of the lines that define a function, a class, a method or a property; constants have none."""
    thing = operator.attrgetter(name)(importlib.import_module(module))
    thing = inspect.unwrap(thing.fget if isinstance(thing, property) else thing)
    try:
        file = Path(inspect.getsourcefile(thing)).relative_to(ROOT)
        lines, start = inspect.getsourcelines(thing)
    except TypeError:
        return None
    return f"{repository}/{file.as_posix()}#L{start}-L{start + len(lines) - 1}"


def link_sources(app: Sphinx, config: Config) -> None:
    """Tell `sphinx.ext.linkcode` where the repository is: the theme's options have it from `_config.yml`."""
    options = config.html_theme_options
    repository = f"{options['repository_url']}/blob/{options['repository_branch']}"
    config.linkcode_resolve = lambda domain, entry: source_address(
        entry["module"], entry["fullname"], repository
    )


def hide_private_signature(
    app: Sphinx,
    what: str,
    name: str,
    thing: object,
    options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str, str | None] | None:
    """Leave out a class's signature that shows private names."""
    if what == "class" and any(
        parameter.startswith("_") for parameter in inspect.signature(thing).parameters
    ):
        return "", returns
    return None


def visit_parameters(self: HTML5Translator, node: addnodes.desc_parameterlist) -> None:
    """Write parameters as Sphinx does, each on a line of its own where there are many: but that is no list of terms."""
    type(self).visit_desc_parameterlist(self, node)
    self.body[-1] = self.body[-1].replace("<dl", '<dl role="none"')


def depart_parameters(self: HTML5Translator, node: addnodes.desc_parameterlist) -> None:
    """Close the parentheses."""
    type(self).depart_desc_parameterlist(self, node)


def setup(app: Sphinx) -> dict[str, bool]:
    """Set linkcode up here, since its option is a function, which `_config.yml` cannot hold."""
    app.setup_extension("sphinx.ext.autodoc")
    app.setup_extension("sphinx.ext.linkcode")
    app.connect("config-inited", link_sources)
    app.connect("autodoc-process-signature", hide_private_signature, priority=600)  # after numpydoc's
    app.add_node(addnodes.desc_parameterlist, override=True, html=(visit_parameters, depart_parameters))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
