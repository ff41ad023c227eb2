"""The built pages, offline: every link and anchor leads somewhere, and what the notebooks hold arrives.

`make test` builds the site first. These tests read `_build/html` as it is.
"""

import re
from functools import cache
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
import sharing
import yaml
from bs4 import BeautifulSoup
from docutils import nodes
from docutils.utils import new_document

from helpers import claims
from helpers.figures import EXPLORABLE

ROOT = Path(__file__).parents[1]
SITE = ROOT / "_build" / "html"
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
FOLDERS = [ROOT / "chapters", ROOT / "chapters" / "reference"]
SOURCES = sorted(path for folder in FOLDERS for path in folder.iterdir() if path.suffix in {".md", ".ipynb"})
NOTEBOOKS = [path for path in SOURCES if path.suffix == ".ipynb"]
CHAPTERS = [path for path in NOTEBOOKS if path.name[0].isdigit()]
LINKS = {"a": "href", "link": "href", "img": "src", "script": "src", "source": "src", "iframe": "src"}


@pytest.fixture(scope="module", autouse=True)
def site():
    if not (SITE / "index.html").exists():
        pytest.fail("there is no site in _build/html: run `make book` first, or `make test`")


@cache
def parse(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def built(source: Path) -> Path:
    return SITE / source.relative_to(ROOT).with_suffix(".html")


def page(source: Path) -> BeautifulSoup:
    return parse(built(source))


def article(source: Path) -> BeautifulSoup:
    return page(source).find("article")


def pages(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.html") if "_static" not in path.relative_to(folder).parts)


@cache
def anchors(path: Path) -> frozenset[str]:
    marked = parse(path).find_all(
        lambda tag: tag.has_attr("id") or (tag.name == "a" and tag.has_attr("name"))
    )
    return frozenset(name for tag in marked for name in (tag.get("id"), tag.get("name")) if name)


def broken_links(folder: Path, base: str) -> list[str]:
    """Every link in the pages of a folder that leads nowhere inside it; an address under `base` means the folder."""
    broken = []
    for path in pages(folder):
        for tag in parse(path).find_all(list(LINKS)):
            address = tag.get(LINKS[tag.name], "").removeprefix(base)
            parts = urlsplit(address)
            if parts.scheme or parts.netloc or address in {"", "#"}:
                continue
            start = folder if address != tag.get(LINKS[tag.name]) else path.parent
            target = (start / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            known = target.is_file() and target.is_relative_to(folder.resolve())
            if not known or (
                parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in anchors(target)
            ):
                broken.append(f"{path.relative_to(folder)}: {tag[LINKS[tag.name]]}")
    return broken


LAUNCHED = re.compile(
    r"https?://[^\s\"'<>()]*\b(?:colab\.research\.google\.com|mybinder\.org)\b[^\s\"'<>()]*"
)


def launch_links(path: str) -> set[str]:
    """The addresses that start a notebook of this repository, in Colab and in Binder."""
    repository = CONFIG["repository"]["url"].removeprefix("https://github.com/")
    branch = CONFIG["repository"]["branch"]
    return {
        f"https://colab.research.google.com/github/{repository}/blob/{branch}/{path}",
        f"https://mybinder.org/v2/gh/{repository}/{branch}?urlpath=lab/tree/{path}",
    }


def wrong_launch_links(text: str) -> list[str]:
    """Every link of a page to Colab or Binder, but to their badges, that starts no notebook of this repository."""
    wrong = []
    for link in LAUNCHED.findall(unescape(text)):
        path = re.search(r"(?:^|/)(chapters/[\w/]+\.ipynb)$", link)
        starts = path and (ROOT / path[1]).is_file() and link in launch_links(path[1])
        if not starts and not link.endswith(("/badge_logo.svg", "/colab-badge.svg")):
            wrong.append(link)
    return wrong


def figures(source: Path) -> list[str]:
    """The words of each figure that a notebook stores."""
    cells = nbformat.read(source, as_version=4).cells
    stored = [
        output.data
        for cell in cells
        for output in cell.get("outputs", [])
        if {"image/png", EXPLORABLE} & output.get("data", {}).keys()
    ]
    return [" ".join(data["text/plain"].split()) for data in stored]


def test_every_internal_link_and_anchor_leads_somewhere():
    assert broken_links(SITE, CONFIG["html"]["baseurl"]) == []


def test_every_source_has_its_page():
    assert [source.name for source in SOURCES if not built(source).exists()] == []


def test_the_site_opens_on_the_first_page():
    refresh = parse(SITE / "index.html").find("meta", attrs={"http-equiv": "Refresh"})["content"]
    assert (SITE / refresh.split("url=")[1]).is_file()


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_every_picture_has_words(source):
    for image in page(source).find_all("img"):
        alt = image.get("alt", "").strip()
        assert alt, image["src"]
        assert not re.search(r"\.(png|jpe?g|svg|gif)$|^\.\./|_images/", alt), (
            f"{image['src']} is described by a file name"
        )


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda source: source.stem)
def test_the_words_of_a_figure_are_its_alternative_text(source):
    shown = [
        image["alt"]
        for output in article(source).select("div.cell_output")
        for image in output.find_all("img")
    ]
    assert shown == figures(source)


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda source: source.stem)
def test_a_notebook_is_stamped_with_what_executed_it(source):
    facts = nbformat.read(source, as_version=4).metadata["rectified"]
    stamp = article(source).find("h1").find_next_sibling("p", class_="execution-stamp").text
    assert f"Python {facts['python']}, torch {facts['torch']} and NumPy {facts['numpy']}" in stamp
    assert re.search(rf"in {facts['seconds']} seconds? on {facts['threads']} threads?\.$", stamp)


def test_every_launch_link_starts_a_notebook_of_this_repository():
    sources = [*pages(SITE), ROOT / "README.md"]
    assert [
        f"{path.relative_to(ROOT)}: {link}"
        for path in sources
        for link in wrong_launch_links(path.read_text(encoding="utf-8"))
    ] == []


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_the_launch_menu_of_a_notebook_and_of_no_other_page_leads_to_it(source):
    menu = page(source).select(".bd-header-article .dropdown-launch-buttons a")
    expected = launch_links(f"chapters/{source.name}") if source in NOTEBOOKS else set()
    assert {link["href"] for link in menu} == expected


@pytest.mark.parametrize("path", ["README.md", "chapters/index.md"])
def test_a_first_page_starts_a_chapter_in_both_places(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    assert any(launch_links(f"chapters/{source.name}") <= set(LAUNCHED.findall(text)) for source in NOTEBOOKS)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_no_markup_is_left_raw(source):
    text = BeautifulSoup(str(article(source)), "html.parser")
    for part in text.select("pre, code, dt, .math, script, style"):
        part.decompose()
    raw = re.findall(r"\$\$|\\tag|\*\*|```|:::|\{[a-z-]+\}`|</?\w+[^<>]*>|\]\(", text.get_text())
    assert raw == []
    assert not text.select(".system-message, .problematic")


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda source: source.stem)
def test_every_prediction_is_a_box(source):
    cells = nbformat.read(source, as_version=4).cells
    asked = sum(len(re.findall(r"^\*\*Predict\.\*\*", cell.source, re.MULTILINE)) for cell in cells)
    boxes = article(source).select("p.prediction")
    assert len(boxes) == asked
    assert {box.strong.text for box in boxes} <= {"Predict."}


def test_the_first_page_shows_verdicts_as_the_ledger_has_them():
    ledger = claims.ledger(ROOT / "chapters").set_index("claim")
    cards = page(ROOT / "chapters" / "index.md").select("ul.verdicts > li")
    assert cards
    for card in cards:
        claim = ledger.loc[card.a.text]
        badge = card.strong.text
        assert claim.verdict.startswith(badge.removesuffix(" …"))
        assert card.a["href"] == f"{claim.chapter}.html#claim-{claim.id}"


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda source: source.stem)
def test_solutions_and_tests_of_exercises_are_folded_away(source):
    cells = [cell for cell in nbformat.read(source, as_version=4).cells if "nbgrader" in cell.metadata]
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    folded = [
        (fold.summary.get_text(" ", strip=True), fold.find("pre").get_text().strip())
        for fold in article(source).select("#exercises details.hide")
    ]
    assert [shown for _, shown in folded] == code
    assert all(label.startswith(("Show a solution", "Show the tests")) for label, _ in folded)


def test_the_teaching_page_lists_every_chapter_with_its_time_and_its_points():
    rows = {
        row.a["href"].removesuffix(".html"): row.get_text(" ", strip=True)
        for row in page(ROOT / "chapters" / "teaching.md").select("#the-chapters tbody tr")
    }
    assert rows.keys() == {source.stem for source in CHAPTERS}
    for source in CHAPTERS:
        notebook = nbformat.read(source, as_version=4)
        points = [
            cell.metadata.nbgrader.get("points", 0) for cell in notebook.cells if "nbgrader" in cell.metadata
        ]
        assert f"{notebook.metadata.rectified.seconds} s" in rows[source.stem]
        assert sum(map(int, re.findall(r"\((\d+) points\)", rows[source.stem]))) == sum(points)


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda source: source.stem)
def test_the_teaching_guide_knows_every_chapter_and_each_of_its_graded_exercises(source):
    guide = page(ROOT / "chapters" / "teaching.md")
    cells = nbformat.read(source, as_version=4).cells
    title = cells[0].source.splitlines()[0].removeprefix("# ").replace(". ", ", ", 1)
    section = next(part for part in guide.select("#objectives section") if f"Chapter {title}" in part.h3.text)
    checked = set(re.findall(r"exercise (\d+)", section.text))
    assert {
        re.match(r"exercise-(\d+)", cell.metadata.nbgrader.grade_id)[1]
        for cell in cells
        if cell.metadata.get("nbgrader", {}).get("grade")
    } <= checked
    for part in ("objectives", "misconceptions"):
        assert guide.select(f"#{part} a[href^='{source.stem}.html#']"), part


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda source: source.stem)
def test_numbered_equations_reach_the_page(source):
    cells = [
        cell.source for cell in nbformat.read(source, as_version=4).cells if cell.cell_type == "markdown"
    ]
    typed = re.findall(r"\\tag\{[^}]+\}", "\n".join(cells))
    shown = [
        tag
        for block in article(source).select("div.math")
        for tag in re.findall(r"\\tag\{[^}]+\}", block.text)
    ]
    assert shown == typed
    assert len(set(shown)) == len(shown)


@pytest.mark.parametrize(
    ("link", "is_broken"),
    [
        ('<a href="b.html#there">', False),
        ('<a href="sub/c.html">', False),
        ('<a href="https://book.example/b.html#there">', False),
        ('<a href="https://elsewhere.example/x#y">', False),
        ('<a href="#here">', False),
        ('<a href="#">', False),
        ('<a href="b.html?q=1#there">', False),
        ('<a href="b.html#gone">', True),
        ('<a href="#gone">', True),
        ('<a href="gone.html">', True),
        ('<a href="https://book.example/gone.html">', True),
        ('<a href="../outside.html">', True),
        ('<img src="gone.png">', True),
        ('<script src="gone.js"></script>', True),
    ],
)
def test_a_broken_link_is_seen(tmp_path, link, is_broken):
    (tmp_path / "outside.html").write_text("")
    site = tmp_path / "site"
    (site / "sub").mkdir(parents=True)
    (site / "a.html").write_text(f'<p id="here">{link}</p>')
    (site / "b.html").write_text('<p id="there"></p>')
    (site / "sub" / "c.html").write_text('<a href="../a.html#here">')
    assert bool(broken_links(site, "https://book.example/")) is is_broken


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("https:", "http:"),
        (CONFIG["repository"]["url"].removeprefix("https://github.com/"), "somebody/else"),
        (f"/{CONFIG['repository']['branch']}", "/another-branch"),
        ("/chapters/", "/"),
        (".ipynb", ".md"),
        (NOTEBOOKS[0].name, "99_gone.ipynb"),
        (".ipynb", ".ipynb#there"),
        ("/blob/", "/tree/"),
        ("?urlpath=lab/tree/", "?filepath="),
        ("?urlpath=lab/tree/", "?urlpath=tree/"),
    ],
)
def test_a_wrong_launch_link_is_seen(old, new):
    links = launch_links(f"chapters/{NOTEBOOKS[0].name}")
    assert any(old in link for link in links)
    for link in links:
        for form in ('<a href="{}">Run it</a>', "[![Run it](https://mybinder.org/badge_logo.svg)]({})"):
            assert wrong_launch_links(form.format(link)) == []
            wrong = link.replace(old, new)
            assert wrong_launch_links(form.format(wrong)) == ([wrong] if wrong != link else [])


# What search engines and shared links learn.

BASE = CONFIG["html"]["baseurl"]
#: The pages that Sphinx makes by itself, and the root, which leads on to the first page.
NOT_READ = re.compile(r"index|genindex|search|.*modindex|_modules/.*")
DOCUMENTS = [
    name for path in pages(SITE) if not NOT_READ.fullmatch(name := path.relative_to(SITE).as_posix()[:-5])
]


def named(path: str) -> dict[str, str]:
    """What the meta tags of a page say."""
    tags = parse(SITE / f"{path}.html").find_all("meta", content=True)
    return {tag.get("name") or tag.get("property"): tag["content"] for tag in tags}


def document(source: str) -> nodes.document:
    """A page of paragraphs: `[stamp]` and `[box]` open a special one, `$` stands around a formula."""
    page = new_document("page")
    section = nodes.section()
    page += section
    for text in source.split("\n"):
        kind = re.match(r"\[(stamp|box)\] ", text)
        paragraph = nodes.paragraph(classes=["execution-stamp"] if kind and kind[1] == "stamp" else [])
        for position, part in enumerate(text[kind.end() if kind else 0 :].split("$")):
            paragraph += nodes.math(text=part) if position % 2 else nodes.Text(part)
        section += nodes.note("", paragraph) if kind and kind[1] == "box" else paragraph
    return page


@pytest.mark.parametrize("path", ["index", *DOCUMENTS])
def test_a_page_says_what_it_is(path):
    said = named(path)
    assert 50 <= len(said["description"]) <= 200
    assert said["og:description"] == said["description"]
    assert not re.search(r"[\\$]|Executed on", said["description"])
    assert said["og:title"]
    assert said["og:site_name"] == CONFIG["title"]
    assert said["og:url"] == f"{BASE}{'chapters/index' if path == 'index' else path}.html"
    assert said["twitter:card"] == "summary_large_image"
    picture = said["og:image"].removeprefix(BASE)
    assert picture.endswith((".png", ".jpg"))
    assert (SITE / picture).is_file()
    assert said["og:image:alt"].strip()


def test_no_two_pages_describe_themselves_alike():
    descriptions = [named(path)["description"] for path in DOCUMENTS]
    assert len(set(descriptions)) == len(descriptions)


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda source: source.stem)
def test_a_chapter_is_described_by_how_it_opens(source):
    opening = article(source).find("h1").find_next_sibling("p", class_=False).text
    assert " ".join(opening.split()).startswith(
        named(f"chapters/{source.stem}")["description"].removesuffix(" …")
    )


@pytest.mark.parametrize("path", pages(SITE), ids=lambda path: str(path.relative_to(SITE)))
def test_a_page_has_a_title_a_language_its_address_and_the_icon(path):
    html = parse(path)
    own = "chapters/index.html" if path == SITE / "index.html" else path.relative_to(SITE).as_posix()
    assert html.find("html")["lang"] == "en"
    assert html.find("title").text.strip()
    assert [link["href"] for link in html.find_all("link", rel="canonical")] == [BASE + own]
    assert any(link["href"].endswith("favicon.svg") for link in html.find_all("link", rel="icon"))


def test_the_root_can_be_read_without_being_led_on():
    root = parse(SITE / "index.html")
    link = root.find("body").find("a")
    assert link.text == CONFIG["title"]
    assert (SITE / link["href"]).is_file()


def test_the_sitemap_lists_the_pages_and_nothing_else():
    listed = re.findall(r"<loc>([^<]+)</loc>", (SITE / "sitemap.xml").read_text(encoding="utf-8"))
    assert sorted(listed) == [f"{BASE}{path}.html" for path in DOCUMENTS]
    assert f"Sitemap: {BASE}sitemap.xml\n" in (SITE / "robots.txt").read_text(encoding="utf-8")


def test_a_page_that_nobody_should_find_says_so():
    kept_out = {
        name for path in pages(SITE) if named(name := path.relative_to(SITE).as_posix()[:-5]).get("robots")
    }
    assert {"genindex", "search"} <= kept_out
    assert not kept_out & {"index", *DOCUMENTS}


def neighbour(path: str, side: str) -> str | None:
    """The page that a page calls the previous or the next one, in its head and below its text."""
    page, folder = parse(SITE / f"{path}.html"), (SITE / path).parent
    links = page.select(f'link[rel="{side}"], .prev-next-area a.left-{side}, .prev-next-area a.right-{side}')
    found = {(folder / link["href"]).resolve().relative_to(SITE.resolve()).as_posix()[:-5] for link in links}
    assert len(found) <= 1
    assert len(links) == 2 * len(found)
    return found.pop() if found else None


def test_previous_and_next_follow_the_contents():
    contents = re.findall(r"(?:root|file): (\S+)", (ROOT / "_toc.yml").read_text(encoding="utf-8"))
    story = [contents[0]]
    assert neighbour(story[0], "prev") is None
    while (following := neighbour(story[-1], "next")) is not None:
        assert neighbour(following, "prev") == story[-1]
        story.append(following)
    assert sorted(story) == DOCUMENTS
    assert [path for path in story if path in contents] == contents


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("[stamp] Executed on a day.\nWhy is it so?", "Why is it so?"),
        ("[box] You will learn this.\nWhy is it so?", "Why is it so?"),
        (r"The factor $\chi$ decides.", ""),
        ("The factor $x$ decides.\nWhy is it so?", "Why is it so?"),
        (f"Why? {'Because. ' * 30}{'x' * 60}", f"Why? {'Because. ' * 21}".strip()),
        ("word " * 60, f"{'word ' * 39}…"),
        ("", ""),
    ],
)
def test_a_page_is_described_by_its_first_whole_sentences(source, expected):
    assert sharing.lead(document(source)) == expected
    assert len(expected) <= 200
