"""Sphinx extension: under a notebook's title, when it was executed, with which versions, and how long that took.

`make execute` (`tools/execute.py`) stores these facts in the notebook; a notebook without them gets a warning.
"""

import json
from datetime import date

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging


def sentence(facts: dict) -> str:
    """Say in words what ``make execute`` noted."""
    day = date.fromisoformat(facts["executed"])
    seconds, threads = facts["seconds"], facts["threads"]
    return (
        f"Executed on {day.day} {day:%B %Y} with Python {facts['python']}, torch {facts['torch']} and NumPy "
        f"{facts['numpy']}, in {seconds} second{'s' * (seconds != 1)} on {threads} thread{'s' * (threads != 1)}."
    )


def add_stamp(app: Sphinx, doctree: nodes.document) -> None:
    """Put the sentence under the title of a page that was a notebook."""
    page = app.env.docname
    if not app.env.doc2path(page).endswith(".ipynb"):
        return
    stored = app.env.metadata[page].get("rectified")
    section = next(doctree.findall(nodes.section), None)
    if stored is None or section is None:
        logging.getLogger(__name__).warning(
            "no title, or not executed by `make execute`", location=page, type="execution_stamp"
        )
        return
    section.insert(1, nodes.paragraph("", sentence(json.loads(stored)), classes=["execution-stamp"]))


def setup(app: Sphinx) -> dict[str, bool]:
    """Run after Sphinx has collected the page's metadata, which it does at the default priority of 500."""
    app.connect("doctree-read", add_stamp, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
