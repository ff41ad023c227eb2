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

# At a first visit, and after the system has changed, the theme learns only when all has loaded whether a page is light
# or dark: until then it shows neither, and then it jumps. Before it paints, it looks here.
MODE = """<script>
  localStorage.theme = ["light", "dark"].includes(localStorage.mode) ? localStorage.mode
    : matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
</script>
"""


def mend(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    """Replace each flaw in the body of a page, and settle its mode in the head."""
    context["metatags"] = context.get("metatags", "") + MODE
    for flaw, sound in MENDED.items():
        context["body"] = context.get("body", "").replace(flaw, sound)


def setup(app: Sphinx) -> dict[str, bool]:
    """Run when a page is about to be written."""
    app.connect("html-page-context", mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
