"""Sphinx extension: markup of the theme and of MyST-NB that keeps readers out, mended in the finished pages.

What style alone can mend is in `_static/rectified.css`; what a script has to do, in `_static/accessible.js`.
"""

from sphinx.application import Sphinx

MENDED = {
    # MyST-NB: the label hides from a screen reader what the button says, and whether it shows or hides
    '<summary aria-label="Toggle hidden content">': "<summary>",
    # pandas: the corner over a table's index heads nothing
    "<th></th>": "<td></td>",
}


def mend(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    """Replace each flaw in the body of a page."""
    for flaw, sound in MENDED.items():
        context["body"] = context.get("body", "").replace(flaw, sound)


def setup(app: Sphinx) -> dict[str, bool]:
    """Run when a page is about to be written."""
    app.connect("html-page-context", mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
