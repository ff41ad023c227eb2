"""Sphinx extension: what a page loads comes from the site, and only what it needs.

MathJax and the faces lie in `_vendor`, which is copied beside the other static files. `sphinx_thebe`, which Jupyter
Book always loads and this book never uses, adds nothing to the pages. Files that no page asks for are not published.
"""

import re
import shutil
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

VENDOR = Path(__file__).parents[1] / "_vendor"

#: All of TeX that MathJax knows, so that it never looks for an extension; MathML beside each formula for screen
#: readers; and no menu, which would make every formula a stop of the Tab key.
MATHJAX = {"loader": {"load": ["input/tex-full", "output/chtml", "a11y/assistive-mml"]}}

#: The faces that every page opens with. Asked for at once, they are there before the first line is drawn.
FACES = [
    "source-serif-4/source-serif-4-latin-wght-normal.woff2",
    "source-serif-4/source-serif-4-latin-wght-italic.woff2",
    "source-sans-3/source-sans-3-latin-wght-normal.woff2",
]

#: In `_static`, what only developers or other languages need.
UNUSED = [
    "**/*.map",
    "locales",
    "*webpack-macros.html",
    "images/logo_deepnote.svg",
    "images/logo_jupyter*.svg",
]


def serve_mathjax(app: Sphinx, config: Config) -> None:
    """Load MathJax, on the pages that have formulas, from the site."""
    config.html_static_path.append(str(VENDOR))
    config.mathjax_path = "mathjax/startup.js"
    config.mathjax3_config = MATHJAX


def ask_for_faces(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Name the faces in the head of a page, at the address that the style sheet gives: any other loads them twice."""
    context["metatags"] = context.get("metatags", "") + "".join(
        f'<link rel="preload" as="font" type="font/woff2" crossorigin '
        f'href="{context["pathto"](f"_static/{face}", resource=True)}"/>\n'
        for face in FACES
    )


def keep_mathjax_to_formulas(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Take MathJax off a page that has no formula itself: Sphinx adds it where a page further down the contents has."""
    if 'class="math' not in context.get("body", ""):
        context["script_files"] = [
            script
            for script in context["script_files"]
            if "mathjax" not in f"{script.filename} {script.attributes.get('body')}".lower()
        ]


def leave_out_thebe(app: Sphinx, config: Config) -> None:
    """Disconnect whatever `sphinx_thebe` would do to a page."""
    listeners = [listener for event in app.events.listeners.values() for listener in event]
    for listener in listeners:
        if listener.handler.__module__ == "sphinx_thebe":
            app.disconnect(listener.id)
    styles = app.registry.css_files
    styles[:] = [style for style in styles if style[0] != "sphinx-thebe.css"]


def remove_unused(app: Sphinx, exception: Exception | None) -> None:
    """Delete what nobody asks for, and the references to it."""
    if exception is not None or app.builder.name != "html":
        return
    static = Path(app.outdir) / "_static"
    for pattern in UNUSED:
        for path in list(static.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in [*static.rglob("*.js"), *static.rglob("*.css")]:
        text = path.read_text(encoding="utf-8")
        shorter = re.sub(r"\s*(//# sourceMappingURL=\S+|/\*# sourceMappingURL=\S+ \*/)\s*$", "\n", text)
        if shorter != text:
            path.write_text(shorter, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Change the configuration once all extensions are there, and the finished site before others measure it."""
    app.connect("config-inited", serve_mathjax)
    app.connect("config-inited", leave_out_thebe)
    app.connect("html-page-context", ask_for_faces)
    app.connect("html-page-context", keep_mathjax_to_formulas, priority=900)
    app.connect("build-finished", remove_unused)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
