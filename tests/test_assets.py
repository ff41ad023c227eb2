"""What a page loads: everything from the site itself, little of it, and in its place before the reader sees it.

These tests read `_build/html` as it is, and the manifest of what was not made here.
"""

import gzip
import hashlib
import re
import tomllib
from functools import cache
from importlib.metadata import distribution
from io import BytesIO
from pathlib import Path
from urllib.parse import unquote, urlsplit

import assets
import finish
import icons
import pytest
import vl_convert
from bs4 import BeautifulSoup
from fontTools.ttLib import TTFont
from PIL import Image

ROOT = Path(__file__).parents[1]
SITE = ROOT / "_build" / "html"
STATIC = SITE / "_static"
VENDOR = ROOT / "_vendor"
MANIFEST = tomllib.loads((VENDOR / "manifest.toml").read_text(encoding="utf-8"))
CHAPTERS = sorted(path.stem for path in (ROOT / "chapters").glob("[0-9][0-9]_*.ipynb"))
#: The first view of a chapter, as gzip sends it; what a reader's browser asks for is measured in a browser.
MEGABYTES = 1.5


@pytest.fixture(scope="module", autouse=True)
def site():
    if not (SITE / "index.html").exists():
        pytest.fail("there is no site in _build/html: run `make book` first, or `make test`")


@cache
def parse(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def pages() -> list[Path]:
    return sorted(path for path in SITE.rglob("*.html") if STATIC not in path.parents)


def each(paths: list[Path]):
    return pytest.mark.parametrize("path", paths, ids=lambda path: str(path.relative_to(SITE)))


def addresses_in_style(style: str) -> list[str]:
    """What a style sheet loads."""
    imports = re.findall(r"""@import\s+["']([^"']+)""", style)
    return imports + [found.strip("\"' ") for found in re.findall(r"url\(([^)]*)\)", style)]


def requests(page: BeautifulSoup) -> list[str]:
    """Every address that a browser asks for when it opens a page: not where links lead, nor what a page is called."""
    found = []
    for tag in page.find_all(True):
        found += [tag[name] for name in ("src", "poster") if tag.has_attr(name)]
        if tag.name == "object" and tag.has_attr("data"):
            found.append(tag["data"])
        if tag.name in {"use", "image"}:
            found += [tag[name] for name in ("href", "xlink:href") if tag.has_attr(name)]
        if tag.name == "link" and not {"canonical", "next", "prev", "index", "search"} & set(tag["rel"]):
            found.append(tag["href"])
        found += [candidate.split()[0] for candidate in tag.get("srcset", "").split(",") if candidate.strip()]
        found += addresses_in_style(tag.get("style", "") + (tag.text if tag.name == "style" else ""))
    return found


def leads_elsewhere(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme not in {"", "data"} or bool(parts.netloc)


def local(address: str, start: Path) -> Path:
    return (start.parent / unquote(urlsplit(address).path)).resolve()


# What was not made here.


def problems_of_manifest(folder: Path) -> list[str]:
    """Where the files of a folder differ from its manifest."""
    manifest = tomllib.loads((folder / "manifest.toml").read_text(encoding="utf-8"))
    listed = {
        f"{name}/{file}": checksum
        for name, entry in manifest.items()
        for file, checksum in entry.get("files", {}).items()
    }
    present = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path != folder / "manifest.toml"
    }
    return sorted(
        [f"{file} is not listed" for file in present.keys() - listed.keys()]
        + [f"{file} is not there" for file in listed.keys() - present.keys()]
        + [f"{file} was changed" for file in present.keys() & listed.keys() if present[file] != listed[file]]
    )


def test_every_vendored_file_is_listed_and_as_it_was_published():
    assert problems_of_manifest(VENDOR) == []


def test_a_file_that_is_changed_missing_or_unlisted_is_seen(tmp_path):
    (tmp_path / "thing").mkdir()
    for name in ("a.js", "c.js"):
        (tmp_path / "thing" / name).write_text("changed")
    (tmp_path / "manifest.toml").write_text('[thing.files]\n"a.js" = "0"\n"b.js" = "0"\n')
    assert problems_of_manifest(tmp_path) == [
        "thing/a.js was changed",
        "thing/b.js is not there",
        "thing/c.js is not listed",
    ]


@pytest.mark.parametrize("name", MANIFEST)
def test_an_entry_says_what_it_is_and_where_it_comes_from(name):
    entry = MANIFEST[name]
    assert all(entry[key].strip() for key in ("name", "version", "licence", "source"))
    assert "files" in entry or distribution(entry["from"])
    assert "files" not in entry or "LICENSE" in entry["files"]


def test_the_manifest_gives_the_versions_that_are_served():
    core = (VENDOR / "mathjax" / "core.js").read_text(encoding="utf-8")
    licence = (icons.THEME / f"{icons.SCRIPT}.LICENSE.txt").read_text(encoding="utf-8")
    vega_lite = MANIFEST["vega-lite"]["version"]
    assert f'VERSION="{MANIFEST["mathjax"]["version"]}"' in core
    assert f"Font Awesome Free {MANIFEST['font-awesome']['version']} " in licence
    assert MANIFEST["vega"]["version"] == vl_convert.get_vega_version()
    assert MANIFEST["vega-embed"]["version"] == vl_convert.get_vega_embed_version()
    assert ".".join(vega_lite.split(".")[:2]) == vl_convert.get_vegalite_versions()[-1]


def test_the_licences_of_what_is_served_are_served_with_it():
    assert (STATIC / "manifest.toml").is_file()
    assert "Apache License" in (STATIC / "mathjax" / "LICENSE").read_text(encoding="utf-8")
    assert "Font Awesome" in (STATIC / icons.FONTS.parent / "LICENSE.txt").read_text(encoding="utf-8")


# Nothing from elsewhere.


@each(pages())
def test_a_page_requests_nothing_from_another_host(path):
    assert [address for address in requests(parse(path)) if leads_elsewhere(address)] == []


@each(pages())
def test_what_a_page_requests_is_there(path):
    wanted = [address for address in requests(parse(path)) if urlsplit(address).path]
    assert [
        address
        for address in wanted
        if not address.startswith("data:") and not local(address, path).is_file()
    ] == []


@each(pages())
def test_no_script_of_a_page_names_another_host(path):
    scripts = "\n".join(script.text for script in parse(path).find_all("script"))
    scripts = re.sub(r'"\$schema": ?"[^"]*"', "", scripts)  # a name, which is an address, but never asked for
    assert re.findall(r"https?://[^\s\"']+", scripts) == []
    assert "thebe" not in scripts


@each(sorted(STATIC.rglob("*.css")))
def test_a_style_sheet_requests_nothing_that_is_not_there(path):
    wanted = addresses_in_style(path.read_text(encoding="utf-8"))
    wanted = [address for address in wanted if not address.startswith(("data:", "#"))]
    assert [
        address for address in wanted if leads_elsewhere(address) or not local(address, path).is_file()
    ] == []


@pytest.mark.parametrize(
    ("tag", "elsewhere"),
    [
        ('<script src="https://cdn.example/x.js"></script>', True),
        ('<script src="//cdn.example/x.js"></script>', True),
        ('<img src="https://badge.example/x.svg">', True),
        ('<img srcset="a.png 1x, https://cdn.example/a.png 2x">', True),
        ('<iframe src="https://video.example/"></iframe>', True),
        ('<link rel="stylesheet" href="https://fonts.example/css">', True),
        ('<link rel="preload" as="font" href="https://fonts.example/x.woff2">', True),
        ('<link rel="preconnect" href="https://fonts.example">', True),
        ('<p style="background: url(https://cdn.example/x.png)">', True),
        ("<style>@import 'https://fonts.example/css';</style>", True),
        ('<object data="https://cdn.example/x.svg"></object>', True),
        ('<a href="https://elsewhere.example/">', False),
        ('<link rel="canonical" href="https://book.example/">', False),
        ('<meta property="og:image" content="https://book.example/x.png">', False),
        ('<img src="../_images/x.png">', False),
        ('<img src="data:image/png;base64,AA==">', False),
    ],
)
def test_a_request_to_another_host_is_seen(tag, elsewhere):
    assert any(map(leads_elsewhere, requests(BeautifulSoup(tag, "html.parser")))) is elsewhere


@each(pages())
def test_mathjax_is_loaded_where_there_are_formulas_and_only_there(path):
    page = parse(path)
    loaded = [script for script in page.find_all("script", src=True) if "mathjax" in script["src"]]
    assert bool(loaded) is bool(page.select_one(".math"))


def test_mathjax_has_every_part_that_it_is_told_to_load():
    for part in assets.MATHJAX["loader"]["load"]:
        assert (STATIC / "mathjax" / f"{part}.js").is_file()


def test_what_nobody_asks_for_is_not_published():
    published = {path.name for path in STATIC.rglob("*") if path.is_file()}
    unused = re.compile(r"\.(map|po|mo|ttf)$|^fa-.*\.woff2$|thebe|^fontawesome\.js|macros\.html$")
    assert [name for name in published if unused.search(name)] == []


def test_a_notebook_can_be_downloaded():
    for name in CHAPTERS:
        path = SITE / "chapters" / f"{name}.html"
        link = parse(path).select_one("a.btn-download-source-button")
        assert local(link["href"], path).read_bytes() == (ROOT / "chapters" / f"{name}.ipynb").read_bytes()


# Little of it.


def first_view(path: Path) -> dict[str, int]:
    """Bytes that open a page, by kind, as a server with gzip sends them: all that is not lazy, and MathJax's fonts."""
    page, weights = parse(path), {}
    wanted = {path}
    for tag in page.find_all(["script", "img", "link"]):
        address = tag.get("src") or ("stylesheet" in tag.get("rel", []) and tag["href"])
        if address and tag.get("loading") != "lazy":
            wanted.add(local(address, path))
    wanted |= set((STATIC / icons.FONTS).glob("*.woff"))
    if page.select_one(".math"):
        wanted |= {file for file in (STATIC / "mathjax").rglob("*") if file.suffix in {".js", ".woff"}}
    for file in wanted:
        content = file.read_bytes()
        packed = file.suffix in {".html", ".css", ".js", ".svg"}
        kind = "mathjax" if STATIC / "mathjax" in file.parents else file.suffix.removeprefix(".")
        weights[kind] = weights.get(kind, 0) + len(gzip.compress(content) if packed else content)
    return weights


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_first_view_of_a_chapter_is_light(name):
    weights = first_view(SITE / "chapters" / f"{name}.html")
    print(weights, sum(weights.values()))
    assert sum(weights.values()) <= MEGABYTES * 1e6, weights


# Icons.


def characters(font: Path) -> set[str]:
    return {chr(code) for code in TTFont(font).getBestCmap()}


def fonts() -> dict[str, set[str]]:
    return {path.stem: characters(path) for path in (STATIC / icons.FONTS).glob("*.woff")}


@each(pages())
def test_the_fonts_have_every_icon_that_a_page_shows(path):
    style = (STATIC / icons.STYLE).read_text(encoding="utf-8")
    rules = {
        name: icons.character(shown)
        for selectors, shown in icons.RULE.findall(style)
        for name in re.findall(r"\.(fa-[\w-]+):", selectors)
    }
    families = {
        "fa-brands": "fa-brands-400",
        "fab": "fa-brands-400",
        "fa-regular": "fa-regular-400",
        "far": "fa-regular-400",
    }
    available = fonts()
    for tag in parse(path).select("i[class*=fa-], span[class*=fa-]"):
        shown = [rules[name] for name in tag["class"] if name in rules]
        family = next((families[name] for name in tag["class"] if name in families), "fa-solid-900")
        assert len(shown) == 1, tag
        assert shown[0] in available[family], tag


def test_the_fonts_have_every_icon_that_style_sheets_and_scripts_show():
    available = set().union(*fonts().values())
    for path in STATIC.rglob("*.css"):
        named = set(map(icons.character, icons.PRIVATE.findall(path.read_text(encoding="utf-8"))))
        assert named <= available, path
    theme = (icons.THEME / icons.STYLE).read_text(encoding="utf-8")
    drawn = icons.names(path.read_text(encoding="utf-8") for path in (STATIC / "scripts").glob("*sphinx*.js"))
    assert "xmark" in drawn
    assert icons.prune(theme, drawn)[1] <= available


def test_the_fonts_have_little_else():
    whole = characters(icons.THEME / icons.FONTS / "fa-solid-900.ttf")
    assert len(fonts()["fa-solid-900"]) < len(whole) / 10


def test_the_style_of_an_unused_icon_goes_and_that_of_a_used_one_stays():
    kept = '.a{b:c}.fa-gear:before,.fa-cog:before{content:"\\f013"}.fa-plus:before{content:"\\+"}'
    pruned, left = icons.prune(kept + '.fa-x::before{content:"X"}', {"cog", "plus"})
    assert pruned == kept
    assert left == {"\uf013", "+"}


def test_icons_are_found_by_class():
    assert icons.names(['<i class="fas fa-gear fa-lg"></i>', "'fa-solid fa-xmark'"]) == {
        "gear",
        "lg",
        "solid",
        "xmark",
    }


@each(pages())
def test_an_icon_is_nothing_to_a_screen_reader(path):
    shown = [
        tag
        for tag in parse(path).select("i, span")
        if any(name.startswith("fa-") for name in tag.get("class", []))
    ]
    assert [tag for tag in shown if tag.get("aria-hidden") != "true"] == []


def test_an_icon_of_the_style_sheet_is_nothing_to_a_screen_reader():
    silent = icons.silent('html{--pst-icon-bell:"\uf0f3";--pst-color:red}')
    assert silent.startswith('html{--pst-icon-bell:"\uf0f3";--pst-color:red}')
    assert '--pst-icon-bell:"\uf0f3"/"";' in silent
    assert "--pst-color" not in silent.split("@supports")[1]


# In its place.


@each(pages())
def test_every_image_reserves_its_place(path):
    for image in parse(path).find_all("img"):
        width, height = int(image["width"]), int(image["height"])
        assert width > 0
        assert height > 0
        assert "width" not in image.get("style", "")
        file = local(image["src"], path)
        if file.suffix == ".png":
            real = Image.open(BytesIO(file.read_bytes())).size
            assert width / height == pytest.approx(real[0] / real[1], rel=0.02), image["src"]


@each(pages())
def test_all_images_but_the_first_wait_for_the_reader(path):
    images = parse(path).select("article img")
    assert [image.get("loading") for image in images] == [None, "lazy", "lazy"][: len(images)] + ["lazy"] * (
        len(images) - 3
    )
    assert all(image["decoding"] == "async" for image in images)


@each(pages())
def test_a_page_has_one_viewport(path):
    assert len(parse(path).find_all("meta", attrs={"name": "viewport"})) == 1


@pytest.fixture
def page(tmp_path):
    Image.new("RGB", (60, 40)).save(tmp_path / "a b.png")
    (tmp_path / "sized.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="30" height="10"/>')
    (tmp_path / "boxed.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 44.4 50"/>')
    (tmp_path / "broken.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    return tmp_path / "page.html"


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ('<img src="a%20b.png" style="width: 30px; height: 20px;" />', (30, 20)),
        ('<img src="a%20b.png?v=1">', (60, 40)),
        ("<img alt='>' src='a%20b.png'>", (60, 40)),
        ('<img src="sized.svg">', (30, 10)),
        ('<img src="boxed.svg">', (44, 50)),
        ('<img src="broken.svg">', None),
        ('<img src="gone.png">', None),
        ('<img src="https://elsewhere.example/x.png">', None),
    ],
)
def test_an_image_has_the_size_that_it_is_given_or_has(page, tag, expected):
    assert finish.size(tag, page) == expected


def test_sizes_become_attributes_and_words_stay(page):
    tag = '<img alt="5 &gt; 4 &amp; &quot;so&quot;" src="a%20b.png" style="width: 30px; height: 20px;" />'
    text = finish.with_sizes(f"{tag}<article>{tag}<p>{tag}</p></article>", page)
    images = BeautifulSoup(text, "html.parser").find_all("img")
    assert [(image["width"], image["height"], image.get("loading")) for image in images] == [
        ("30", "20", "lazy"),
        ("30", "20", None),
        ("30", "20", "lazy"),
    ]
    assert {image["alt"] for image in images} == {'5 > 4 & "so"'}
    assert finish.with_sizes(text, page) == text


def test_an_image_of_unknown_size_is_reported(page, caplog):
    tag = '<img src="gone.png">'
    assert finish.with_sizes(tag, page) == tag
    assert "no size is known" in caplog.text
