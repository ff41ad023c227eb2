"""Sphinx extension: the last touches to each finished page, whoever wrote it.

Every image gets its size as attributes, so that the text below it never jumps; all but the book's logo and the first
of an article wait until the reader comes near. Icons are hidden from screen readers. Of the three identical viewports
that Sphinx, docutils and the theme write, one stays; the theme's icon script, which `icons` deletes, is not asked for.
"""

import re
from html import escape, unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

import imagesize
from sphinx.application import Sphinx
from sphinx.util import logging

#: A whole tag; an attribute may hold a bracket.
TAG = r"""<(?:{names})\b(?:"[^"]*"|'[^']*'|[^"'>])*>"""
IMAGE = re.compile(TAG.format(names="img"))
ICON = re.compile(TAG.format(names="i|span"))
VIEWPORT = re.compile(r'\s*<meta name="viewport"[^>]*>')
SCRIPT = re.compile(
    r"\s*<!-- So that users can add custom icons -->\s*<script[^>]*fontawesome\.js[^>]*></script>"
)
PIXELS = re.compile(r'\s*style="width: (\d+)px; height: (\d+)px;"')
VIEWBOX = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')


def attribute(tag: str, name: str) -> str | None:
    """Read an attribute of a tag; None where it has none."""
    found = re.search(rf"""\s{name}=(?:"([^"]*)"|'([^']*)')""", tag)
    return found and unescape(found[1] or found[2] or "")


def with_attributes(tag: str, **attributes: str) -> str:
    """Add attributes to a tag; those that it has stay as they are."""
    new = [f'{name}="{escape(value)}"' for name, value in attributes.items() if attribute(tag, name) is None]
    end = "/>" if tag.endswith("/>") else ">"
    return " ".join([tag.removesuffix(end).rstrip(), *new]) + end


def size(tag: str, page: Path) -> tuple[int, int] | None:
    """Give the width and height in CSS pixels: as the notebook says, or as the file has them."""
    said = PIXELS.search(tag)
    if said:
        return int(said[1]), int(said[2])
    source = urlsplit(attribute(tag, "src") or "")
    file = page.parent / unquote(source.path)
    if source.scheme or source.netloc or not file.is_file():
        return None
    width, height = imagesize.get(file)
    if file.suffix == ".svg" and min(width, height) <= 0:
        box = VIEWBOX.search(file.read_text(encoding="utf-8"))
        width, height = map(float, box.groups()) if box else (0, 0)
    return (round(width), round(height)) if min(width, height) > 0 else None


def with_sizes(text: str, page: Path) -> str:
    """Size every image of a page, and let those further down wait."""
    article = text.find("<article")
    first = IMAGE.search(text, article) if article >= 0 else None

    def sized(found: re.Match) -> str:
        tag = found[0]
        measured = size(tag, page)
        if measured is None:
            logging.getLogger(__name__).warning("no size is known for %s", tag, location=str(page))
            return tag
        tag = PIXELS.sub("", tag)
        tag = with_attributes(tag, width=str(measured[0]), height=str(measured[1]), decoding="async")
        early = "logo__image" in tag or (first is not None and found.start() == first.start())
        return tag if early else with_attributes(tag, loading="lazy")

    return IMAGE.sub(sized, text)


def with_silent_icons(text: str) -> str:
    """Hide the elements that show a Font Awesome icon from screen readers."""

    def silent(found: re.Match) -> str:
        classes = (attribute(found[0], "class") or "").split()
        icon = any(name.startswith("fa-") for name in classes)
        return with_attributes(found[0], **{"aria-hidden": "true"}) if icon else found[0]

    return ICON.sub(silent, text)


def with_one_viewport(text: str) -> str:
    """Keep the first."""
    first = VIEWPORT.search(text)
    return text if first is None else text[: first.end()] + VIEWPORT.sub("", text[first.end() :])


def finish(app: Sphinx, exception: Exception | None) -> None:
    """Rewrite the pages in place."""
    if exception is not None or app.builder.name != "html":
        return
    site = Path(app.outdir)
    for page in site.rglob("*.html"):
        if site / "_static" not in page.parents:
            text = SCRIPT.sub("", page.read_text(encoding="utf-8"))
            text = with_sizes(with_silent_icons(with_one_viewport(text)), page)
            page.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Run last, when every page and every image is in its place."""
    app.connect("build-finished", finish, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
