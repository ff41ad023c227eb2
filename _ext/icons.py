"""Sphinx extension: of Font Awesome, the icons that the finished pages show, and nothing else.

The theme brings all two thousand, as fonts and once more as a script of half a megabyte that draws over them. The
script goes; the fonts are cut down to the characters that pages, style sheets and scripts name, and so are the rules of
the theme's style sheet that stand for single icons. To a screen reader an icon is nothing: words stand beside it.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import pydata_sphinx_theme
from fontTools import subset
from sphinx.application import Sphinx

THEME = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme" / "static"
FONTS = Path("vendor/fontawesome/webfonts")
STYLE = Path("styles/pydata-sphinx-theme.css")
SCRIPT = Path("scripts/fontawesome.js")

#: The rule of one icon, `.fa-gear:before,.fa-cog:before{content:"\f013"}`, and the character that it shows.
RULE = re.compile(r'((?:\.fa-[\w-]+:{1,2}before,?)+)\{content:"([^"]+)"\}')
NAME = re.compile(r"\bfa-([a-z0-9-]+)")
#: Characters of Unicode's private use area, as themselves or as an escape of CSS.
PRIVATE = re.compile(r"[\ue000-\uf8ff]|\\[ef][0-9a-f]{3}(?![0-9a-f])")
FACE = re.compile(r"src:url\(\.\./(vendor/fontawesome/webfonts/[\w-]+)\.woff2\)[^;}]*")


def character(text: str) -> str:
    """Give the character that a string of CSS stands for."""
    return chr(int(text[1:], 16)) if re.fullmatch(r"\\[0-9a-f]+", text) else text.removeprefix("\\")


def names(texts: Iterable[str]) -> set[str]:
    """Give the icons that pages and scripts name by class, without ``fa-``."""
    return {name for text in texts for name in NAME.findall(text)}


def prune(style: str, used: set[str]) -> tuple[str, set[str]]:
    """Take the rules of unused icons out of a style sheet; return it with the characters of those that stay."""
    characters = set()

    def keep(rule: re.Match) -> str:
        if not used & set(re.findall(r"\.fa-([\w-]+):", rule[1])):
            return ""
        characters.add(character(rule[2]))
        return rule[0]

    return RULE.sub(keep, style), characters


def silent(style: str) -> str:
    """Tell screen readers, with CSS's alternative text, to pass over the icons that the theme keeps as variables."""
    icons = re.findall(r'(--pst-(?:icon|breadcrumb)-[\w-]+):("[^"]+")', style)
    rules = "".join(f'{name}:{shown}/"";' for name, shown in icons)
    return f'{style}\n@supports (content:"x"/""){{html{{{rules}}}}}\n'


def cut(font: Path, characters: set[str], target: Path) -> None:
    """Write a web font that has only these characters."""
    options = subset.Options(flavor="woff", layout_features=[], hinting=False, notdef_outline=True)
    loaded = subset.load_font(str(font), options)
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=[ord(shown) for shown in characters])
    cutter.subset(loaded)
    subset.save_font(loaded, str(target), options)


def serve_used_icons(app: Sphinx, exception: Exception | None) -> None:
    """Replace the theme's icons in the finished site."""
    if exception is not None or app.builder.name != "html":
        return
    static = Path(app.outdir) / "_static"
    for file in static.glob(f"{SCRIPT}*"):
        if file.name.endswith(".LICENSE.txt"):
            file.replace(static / FONTS.parent / "LICENSE.txt")
        else:
            file.unlink()
    pages = [page for page in Path(app.outdir).rglob("*.html") if static not in page.parents]
    scripts = [script for script in static.rglob("*.js") if static / "mathjax" not in script.parents]
    used = names(path.read_text(encoding="utf-8") for path in [*pages, *scripts])
    style, characters = prune((THEME / STYLE).read_text(encoding="utf-8"), used)
    (static / STYLE).write_text(
        FACE.sub(r'src:url(../\1.woff) format("woff")', silent(style)), encoding="utf-8"
    )
    for path in static.rglob("*.css"):
        text = RULE.sub("", path.read_text(encoding="utf-8"))
        characters |= {character(shown) for shown in PRIVATE.findall(text)}
    for font in (THEME / FONTS).glob("*.ttf"):
        cut(font, characters, static / FONTS / f"{font.stem}.woff")
    for font in [*(static / FONTS).glob("*.ttf"), *(static / FONTS).glob("*.woff2")]:
        font.unlink()


def setup(app: Sphinx) -> dict[str, bool]:
    """Run on the finished site, before `assets` tidies it."""
    app.connect("build-finished", serve_used_icons, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
