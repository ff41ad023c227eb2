"""Sphinx extension: what search engines, and the previews of a shared link, learn about each page.

A page is described by its own first sentences, which in a chapter are its opening question, and pictured by its first
figure. The address of the book is `html.baseurl` of `_config.yml`; the root of the site, which only leads on to the
first page, says as much about it as that page does.
"""

import re
import textwrap
from html import escape
from pathlib import Path
from urllib.parse import quote, urljoin

from docutils import nodes
from sphinx.application import Sphinx

SHORTEST, LONGEST = 50, 200
#: Small enough to be loaded with each page; browsers that know SVG take favicon.svg.
ICONS = """\
<link rel="icon" type="image/png" sizes="32x32" href="{png}"/>
<link rel="apple-touch-icon" href="{touch}"/>
"""

ROOT = """\
<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8"/>
<meta http-equiv="Refresh" content="0; url={target}"/>
<meta name="viewport" content="width=device-width, initial-scale=1.0"/>
<title>{title}</title>
<link rel="canonical" href="{address}"/>
<link rel="icon" href="{icon}"/>
{tags}</head>
<body>
<p><a href="{target}">{title}</a></p>
</body>
</html>
"""


def lead(doctree: nodes.document) -> str:
    """Give the first whole sentences of a page, as many as fit: no stamp, no box, no formula."""
    for paragraph in doctree.findall(nodes.paragraph):
        boxed = isinstance(paragraph.parent, nodes.Admonition) or "execution-stamp" in paragraph["classes"]
        text = " ".join(paragraph.astext().split())
        if boxed or not text or next(paragraph.findall(nodes.math), None):
            continue
        sentences = re.split(r"(?<=[.?!…])\s+", text)
        while len(sentences) > 1 and len(" ".join(sentences)) > LONGEST:
            sentences.pop()
        return textwrap.shorten(" ".join(sentences), LONGEST, placeholder=" …")
    return ""


def description(app: Sphinx, page: str, doctree: nodes.document) -> str:
    """Describe a page; one that hardly says anything itself goes by its title and what the book asks."""
    said = lead(doctree)
    if len(said) >= SHORTEST:
        return said
    return f"{app.env.titles[page].astext()}. {said or lead(app.env.get_doctree(app.config.root_doc))}"


def picture(app: Sphinx, doctree: nodes.document) -> tuple[str, str] | None:
    """Give the place in the site, and the words, of the first figure; previews show no SVG."""
    for image in doctree.findall(nodes.image):
        place = app.env.images.get(image["uri"])
        name = place[1] if place else Path(image["uri"]).name
        if "://" not in image["uri"] and not name.endswith(".svg"):
            return f"_images/{quote(name)}", image.get("alt", "")
    return None


def tags(app: Sphinx, page: str, doctree: nodes.document) -> str:
    """Write the page's description for search engines, and its Open Graph."""
    base, about = app.config.html_baseurl, description(app, page, doctree)
    shown = picture(app, doctree) or picture(app, app.env.get_doctree(app.config.root_doc))
    graph = {
        "og:title": app.env.titles[page].astext(),
        "og:description": about,
        "og:type": "website" if page == app.config.root_doc else "article",
        "og:url": urljoin(base, app.builder.get_target_uri(page)),
        "og:site_name": app.config.html_title,
    }
    if shown:
        graph |= {"og:image": urljoin(base, shown[0]), "og:image:alt": shown[1]}
    named = {"description": about, "twitter:card": "summary_large_image" if shown else "summary"}
    return "".join(
        f'<meta {kind}="{key}" content="{escape(value)}"/>\n'
        for kind, pairs in (("name", named), ("property", graph))
        for key, value in pairs.items()
    )


def describe(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Add the tags to a page; a search or an index is no page to be found."""
    pathto = context["pathto"]
    if page == app.config.root_doc:
        context["docstitle"] = ""  # its title is the book's already
    context["metatags"] = context.get("metatags", "") + ICONS.format(
        png=pathto("_static/favicon-32.png", 1), touch=pathto("_static/apple-touch-icon.png", 1)
    )
    if doctree is None:
        context["metatags"] += '<meta name="robots" content="noindex"/>\n'
    else:
        context["metatags"] += tags(app, page, doctree)


def write_root(app: Sphinx, exception: Exception | None) -> None:
    """Write the page at the root, which leads on to the first one, and tell crawlers where the sitemap is."""
    if exception is not None or app.builder.name != "html":
        return
    first, base, site = app.config.root_doc, app.config.html_baseurl, Path(app.outdir)
    target = app.builder.get_target_uri(first)
    text = ROOT.format(
        language=app.config.language,
        target=target,
        title=escape(app.config.html_title),
        address=urljoin(base, target),
        icon=f"_static/{Path(app.config.html_favicon).name}",
        tags=tags(app, first, app.env.get_doctree(first)),
    )
    (site / "index.html").write_text(text, encoding="utf-8")
    robots = f"User-agent: *\nAllow: /\nSitemap: {urljoin(base, app.config.sitemap_filename)}\n"
    (site / "robots.txt").write_text(robots, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the root before Jupyter Book finds that there is none, and writes its own."""
    app.connect("html-page-context", describe)
    app.connect("build-finished", write_root, priority=300)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
