"""Sphinx extension: the directive ``lessons`` shows what each chapter brings to a class, on the teaching page.

How long it runs comes from the stamp of `make execute`, what it asks from its exercises: both from the notebook.
"""

import re
from pathlib import Path

import nbformat
from docutils import nodes
from docutils.statemachine import StringList
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

HEAD = "| chapter | runs in | exercises that grade themselves | others |\n|---|---|---|---|"


class Lessons(SphinxDirective):
    """List the chapters: how long each runs, its exercises, and what they are worth."""

    def run(self) -> list[nodes.Node]:
        """Read every chapter, and make one row of each."""
        self.env.note_reread()
        paths = sorted(Path(self.env.srcdir, "chapters").glob("[0-9][0-9]_*.ipynb"))
        rows = [row(path.name, nbformat.read(path, as_version=4)) for path in paths]
        parent = nodes.Element()
        self.state.nested_parse(
            StringList([*HEAD.splitlines(), *rows], "lessons"), self.content_offset, parent
        )
        return parent.children


def row(name: str, notebook: NotebookNode) -> str:
    """Say in one line of a table what a chapter brings."""
    title = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
    stamp = notebook.metadata["rectified"]
    titles = re.findall(
        r"^\*\*(\d+)\. (.+?)\.?\*\*", "\n".join(cell.source for cell in notebook.cells), flags=re.MULTILINE
    )
    points: dict[str, int] = {}
    for cell in notebook.cells:
        facts = cell.metadata.get("nbgrader", {})
        if facts.get("grade"):
            number = re.match(r"exercise-(\d+)", facts["grade_id"])[1]
            points[number] = points.get(number, 0) + facts["points"]
    graded = [f"{number}. {title} ({points[number]} points)" for number, title in titles if number in points]
    others = [f"{number}. {title}" for number, title in titles if number not in points]
    threads = f"{stamp['threads']} thread{'s' * (stamp['threads'] != 1)}"
    return (
        f"| [{title}]({name}) | {stamp['seconds']} s, {threads} | {', '.join(graded)} | {', '.join(others)} |"
    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("lessons", Lessons)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
