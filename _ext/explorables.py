"""Sphinx extension: the charts of `helpers.figures.explore` work on the site, with no kernel and no other host.

Where a notebook stores a chart, the page gets a still picture of it (for print, and for browsers without JavaScript)
and its specification; `explorables.js` puts the live chart in the picture's place when the reader comes near. Vega is
one file, made by vl-convert when the site is built, and only a page that shows a chart ever asks for it.
"""

import hashlib
import html
import json
import math
import shutil
from pathlib import Path

import vl_convert
from sphinx.application import Sphinx

from helpers.figures import EXPLORABLE

VEGA_LITE = "6.4"
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
SCRIPT = Path(__file__).with_name("explorables.js")
PICTURES = "_images"
LIBRARY = "_static/vega"


def replace_charts(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the site's own HTML in the place of each chart that a notebook stores."""
    if not app.env.doc2path(page).endswith(".ipynb"):
        return
    notebook = json.loads(source[0])
    found = False
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            forms = output.get("data", {})
            if EXPLORABLE in forms:
                found = True
                forms["text/html"] = figure(app, page, forms.pop(EXPLORABLE), forms["text/plain"])
    if found:
        source[0] = json.dumps(notebook)


def figure(app: Sphinx, page: str, spec: dict, words: str | list[str]) -> str:
    """Give the HTML of one chart: the still picture, the room that the controls will take, the specification."""
    words = " ".join("".join(words).split())
    spec = spec | {"$schema": SCHEMA}
    picture = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE)
    name = f"explorable-{hashlib.sha256(picture.encode()).hexdigest()[:12]}.svg"
    target = Path(app.outdir) / PICTURES / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(picture, encoding="utf-8")
    height = round(float(picture.split('height="', 1)[1].split('"', 1)[0]))
    controls = [
        parameter["bind"] for parameter in spec.get("params", []) if "input" in parameter.get("bind", {})
    ]
    # On a phone radio buttons stand in three columns, so that the room they take is known before they come.
    rows = sum(math.ceil(len(bind["options"]) / 3) if bind["input"] == "radio" else 1 for bind in controls)
    up = "../" * page.count("/")
    data = json.dumps(spec | {"width": "container"}, separators=(",", ":"), ensure_ascii=False).replace(
        "</", "<\\/"
    )
    return (
        f'<figure class="explorable" style="--controls: {len(controls)}; --rows: {rows}; --plot: {height}px">\n'
        '<p class="explorable-words" aria-hidden="true"></p>\n'
        f'<div class="explorable-view"><img src="{up}{PICTURES}/{name}" '
        f'alt="{html.escape(words)}"></div>\n'
        f'<p class="explorable-said" aria-live="polite"></p>\n'
        f'<script type="application/json">{data}</script>\n'
        "<noscript><p>With JavaScript, this figure has controls.</p></noscript>\n"
        "</figure>"
    )


def add_script(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Load the small script on the pages that hold a chart, and on no other."""
    if 'class="explorable"' in context.get("body", ""):
        app.add_js_file("vega/explorables.js", loading_method="defer")


def copy_script(app: Sphinx) -> None:
    """Put our script where the pages will ask for it, before Sphinx takes its checksum."""
    if app.builder.format == "html":
        folder = Path(app.outdir) / LIBRARY
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(SCRIPT, folder)


def write_library(app: Sphinx, failed: Exception | None) -> None:
    """Write Vega, Vega-Lite and vega-embed as one script beside it.

    vl-convert gives a module, which a browser refuses to load from a file; in a function of its own it is a script.
    """
    if failed is None and app.builder.format == "html":
        bundle = vl_convert.javascript_bundle(vl_version=VEGA_LITE)
        (Path(app.outdir) / LIBRARY / "vega.js").write_text(f"(() => {{{bundle}}})();\n", encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the steps."""
    app.connect("builder-inited", copy_script)
    app.connect("source-read", replace_charts)
    app.connect("html-page-context", add_script)
    app.connect("build-finished", write_library)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
