"""The reference of helpers, and the way to it: every public name has its entry, and every chapter leads there.

`make test` builds the site first. These tests read `_build/html` as it is; a few build a site of two pages.
"""

import ast
import importlib
import importlib.util
import inspect
import operator
import re
from functools import cache
from pathlib import Path

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

ROOT = Path(__file__).parents[1]
SITE = ROOT / "_build" / "html" / "chapters"
PAGES = ROOT / "chapters" / "reference"
MODULES = sorted(path.stem for path in (ROOT / "helpers").glob("*.py") if path.stem != "__init__")
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
HIDDEN = {"remove-input", "remove-cell"}


@cache
def article(page: Path) -> BeautifulSoup:
    if not page.exists():
        pytest.fail(f"there is no {page}: run `make book` first, or `make test`")
    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").find("article")


def reference(module: str) -> BeautifulSoup:
    return article(SITE / "reference" / f"{module}.html")


def anchors(module: str) -> set[str]:
    return {entry["id"] for entry in reference(module).select("dt.sig[id]")}


def floors() -> list[str]:
    """The modules in the order of CONTRIBUTING's table, from the top."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.split("## The floors of `helpers`")[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)


def shown(chapter: Path) -> list[str]:
    """The code that a chapter's page shows, cell by cell."""
    cells = nbformat.read(chapter, as_version=4).cells
    return [
        cell.source
        for cell in cells
        if cell.cell_type == "code" and not HIDDEN & set(cell.metadata.get("tags", []))
    ]


def inputs(chapter: Path) -> list[BeautifulSoup]:
    return article(SITE / f"{chapter.stem}.html").select("div.cell_input pre")


def parsed(source: str) -> ast.Module:
    return ast.parse(re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.MULTILINE))


def first_uses(cells: list[str]) -> dict[str, tuple[int, str]]:
    """For each name of helpers the cell that uses it first, other than to import it, and how it is written there."""
    uses: dict[str, tuple[int, str]] = {}
    known: dict[str, str] = {}
    for number, source in enumerate(cells):
        for node in ast.walk(parsed(source)):
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "helpers":
                known |= {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}
        for node in ast.walk(parsed(source)):
            if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
                written = ast.unparse(node)
                first, dot, rest = written.partition(".")
                whole = known.get(first, "") + dot + rest
                if whole.count(".") == 2 and whole.split(".")[2] in public(whole.split(".")[1]):
                    uses.setdefault(whole, (number, written))
    return uses


def public(module: str) -> list[str]:
    return importlib.import_module(f"helpers.{module}").__all__ if module in MODULES else []


# The pages.


def test_every_module_has_its_page_and_every_page_its_module():
    assert sorted(path.stem for path in PAGES.iterdir()) == sorted([*MODULES, "index"])


def test_the_pages_stand_in_the_table_of_contents_in_the_order_of_the_house():
    parts = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))["parts"]
    files = [entry["file"] for entry in parts[-1]["chapters"]]
    assert files == [f"chapters/reference/{name}" for name in ["index", *floors()]]


def test_the_overview_leads_to_each_page_in_the_order_of_the_house():
    rows = reference("index").select("table tbody tr")
    assert [row.find("a")["href"].split("#")[0] for row in rows] == [f"{name}.html" for name in floors()]


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_an_entry_that_says_something(module):
    for name in public(module):
        entry = reference(module).find("dt", id=f"helpers.{module}.{name}")
        assert entry is not None, f"no entry for {module}.{name}"
        assert entry.find_next_sibling("dd").get_text(strip=True), f"the entry of {module}.{name} is empty"


@pytest.mark.parametrize("module", MODULES)
def test_an_entry_is_public_and_defined_here(module):
    for anchor in anchors(module):
        path = anchor.split(".")[2:]
        assert path[0] in public(module)
        assert not any(name.startswith("_") for name in path)
        if len(path) > 1:  # what torch defines is told by torch
            assert path[1] in vars(getattr(importlib.import_module(f"helpers.{module}"), path[0]))


@pytest.mark.parametrize("module", MODULES)
def test_a_signature_shows_no_private_name(module):
    for signature in reference(module).select("dt.sig .sig-param"):
        assert not signature.get_text().startswith("_")


@pytest.mark.parametrize("module", MODULES)
def test_no_markup_of_a_docstring_is_left_raw(module):
    text = BeautifulSoup(str(reference(module)), "html.parser")
    for part in text.select("pre, code, .math"):
        part.decompose()
    assert not re.findall(r"`|:\w+:`|\.\. \w+::|^-{4,}$", text.get_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("module", MODULES)
def test_the_source_of_an_entry_is_where_its_link_says(module):
    blob = f"{CONFIG['repository']['url']}/blob/{CONFIG['repository']['branch']}/"
    lines = (ROOT / "helpers" / f"{module}.py").read_text(encoding="utf-8").splitlines()
    found = 0
    for entry in reference(module).select("dt.sig[id]"):
        thing = operator.attrgetter(entry["id"].split(".", 2)[2])(
            importlib.import_module(f"helpers.{module}")
        )
        link = entry.find("a", href=re.compile("/blob/"))
        if inspect.isroutine(thing) or inspect.isclass(thing) or isinstance(thing, property):
            start, end = re.fullmatch(
                rf"{re.escape(blob)}helpers/{module}\.py#L(\d+)-L(\d+)", link["href"]
            ).groups()
            name = entry["id"].split(".")[-1]
            assert re.search(rf"^\s*(def|class) {name}\b", "\n".join(lines[int(start) - 1 : int(end)]), re.M)
            found += 1
        else:
            assert link is None
    assert found


def test_a_docstring_leads_to_what_it_names():
    links = {link["title"]: link["href"] for link in reference("training").select("a.helper-link")}
    assert links["helpers.data.load"] == "data.html#helpers.data.load"
    assert links["helpers.training.Runs"] == "#helpers.training.Runs"
    chapter = reference("training").find("a", string=re.compile("[Cc]hapter 1"))
    assert chapter["href"] == "../01_vanishing_gradients.html"


# The chapters.


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_the_code_on_a_page_is_the_code_of_the_notebook(chapter):
    assert [block.get_text().removesuffix("\n") for block in inputs(chapter)] == shown(chapter)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_the_first_use_of_each_helper_is_a_link_to_its_entry(chapter):
    uses = first_uses(shown(chapter))
    assert uses or not re.search(r"\bhelpers\b", "".join(shown(chapter)))
    for name, (number, written) in uses.items():
        module = name.split(".")[1]
        address = f"reference/{module}.html#{name}"
        texts = [link.get_text() for link in inputs(chapter)[number].find_all("a", title=name, href=address)]
        assert written in texts, f"cell {number} uses {written} first, without a link"
        assert name in anchors(module)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_a_helper_is_linked_once_in_its_import_once_in_code_and_once_in_prose(chapter):
    page = article(SITE / f"{chapter.stem}.html")
    for in_code, most in ((True, 2), (False, 1)):
        links = [link for link in page.select("a.helper-link") if bool(link.find_parent("pre")) is in_code]
        titles = [link["title"] for link in links]
        assert {name: titles.count(name) for name in titles if titles.count(name) > most} == {}


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_every_module_that_a_page_names_in_an_import_is_linked(chapter):
    linked = {"helpers.training"} if chapter.stem != "claims" else set()  # in the bootstrap
    for source, block in zip(shown(chapter), inputs(chapter), strict=True):
        if block is inputs(chapter)[0]:
            continue  # the bootstrap, the same in each chapter
        linked |= {link["title"] for link in block.select("a.helper-link")}
        for node in ast.walk(parsed(source)):
            if isinstance(node, ast.ImportFrom) and node.module == "helpers":
                assert {f"helpers.{alias.name}" for alias in node.names} <= linked


# The extension, on a site of two pages.

REFERENCE = """
Reference
=========
.. py:module:: helpers.training
.. py:function:: train(builds)

   Gives `Runs`; see ``train`` and ``training.Runs``.

.. py:class:: Runs
"""


@pytest.fixture
def chapter_with(tmp_path):
    """Build a site from one page's text, with the reference beside it, and give the page."""

    def build(text: str) -> BeautifulSoup:
        (tmp_path / "reference.rst").write_text(REFERENCE, encoding="utf-8")
        (tmp_path / "index.rst").write_text(
            f"Page\n====\n.. toctree::\n\n   reference\n\n{text}", encoding="utf-8"
        )
        (tmp_path / "conf.py").write_text(
            f"import sys\nsys.path.insert(0, {str(ROOT / '_ext')!r})\n"
            "extensions = ['reference_links']\ndefault_role = 'literal'\n"
        )
        folders = (tmp_path, tmp_path, tmp_path / "html", tmp_path / "trees")
        with docutils_namespace():
            Sphinx(*map(str, folders), "html", status=None, warningiserror=True).build()
        return BeautifulSoup((tmp_path / "html" / "index.html").read_text(encoding="utf-8"), "html.parser")

    return build


def code(*lines: str, language: str = "ipython3") -> str:
    return "\n".join([f".. code-block:: {language}", "", *(f"   {line}" for line in lines), ""])


def linked(page: BeautifulSoup, where: str) -> list[tuple[str, str]]:
    return [
        (link.get_text(), link["href"].removeprefix("reference.html#"))
        for link in page.select(f"{where} a.helper-link")
    ]


TRAIN = "helpers.training.train"
RUNS = "helpers.training.Runs"


@pytest.mark.parametrize(
    ("line", "links"),
    [
        ("from helpers import training", [("training", "module-helpers.training")]),
        ("from helpers import training as t", [("t", "module-helpers.training")]),
        ("from helpers.training import (\n       Runs,\n       train)", [("Runs", RUNS), ("train", TRAIN)]),
        ("from helpers import gone", []),
        ("from elsewhere import training", []),
        ("from . import training", []),
    ],
)
def test_what_is_imported_from_the_package_is_linked(chapter_with, line, links):
    assert linked(chapter_with(code(line)), "pre") == links


@pytest.mark.parametrize(
    ("imported", "used", "links"),
    [
        ("from helpers import training", "training.train(1)", [("training.train", TRAIN)]),
        ("from helpers import training as t", "t.train(t.Runs)", [("t.train", TRAIN), ("t.Runs", RUNS)]),
        ("from helpers.training import train as t", "t(1)", [("t", TRAIN)]),
        ("import helpers.training as t", "t.train(1)", [("t.train", TRAIN)]),
        ("import helpers.training", "helpers.training.train(1)", [("helpers.training.train", TRAIN)]),
        ("from helpers import training as t", "this is not Python, t.train is", [("t.train", TRAIN)]),
        ("from helpers import training as t", 'f"a {t.train(1):.2f}"', [("t.train", TRAIN)]),
        ("from helpers import training as t", "t.train.__doc__", [("t.train", TRAIN)]),
        ("from helpers import training as t", "t.train(t.train)", [("t.train", TRAIN)]),
        ("from helpers import training as t", 'x.t.train; x().t.train; "t.train"  # t.train', []),
        ("from helpers import training as t", "t, t.gone, t.Runs2", []),
        ("from helpers.training import train as t", "def t(): ...", []),
        ("from helpers import training as t", "t = 1; t.train", []),
        ("%pip install helpers", "training.train(1)", []),
    ],
)
def test_what_is_used_is_linked_the_first_time_as_python_would_read_it(chapter_with, imported, used, links):
    first, second = chapter_with(f"{code(imported)}\n{code(used)}").find_all("pre")
    assert linked(second.parent, "pre") == links
    assert (first.get_text(), second.get_text()) == (f"{imported}\n", f"{used}\n")


def test_other_languages_are_left_alone(chapter_with):
    page = chapter_with(code("from helpers import training", language="pycon"))
    assert linked(page, "pre") == []


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("``training.train``", [("training.train", TRAIN)]),
        ("``helpers.training.train()``", [("helpers.training.train()", TRAIN)]),
        ("``training.train`` and ``training.train``", [("training.train", TRAIN)]),
        ("``training``", [("training", "module-helpers.training")]),
        ("``train``", []),
        ("``train``\n\n" + code("from helpers.training import train as train2, train"), [("train", TRAIN)]),
        ("``training.train(1)``, ``torch.train``, ``training.gone``, training.train", []),
        ("A title with ``training.train``\n-------------------------------\n", []),
        ("`training.train <https://example.org>`_ and ``training.train``", [("training.train", TRAIN)]),
    ],
)
def test_prose_is_linked_where_it_names_an_entry(chapter_with, text, links):
    page = chapter_with(text)
    assert linked(page, "p") == links


def test_an_entry_leads_to_others_and_not_to_itself(chapter_with, tmp_path):
    chapter_with("")
    page = BeautifulSoup((tmp_path / "html" / "reference.html").read_text(encoding="utf-8"), "html.parser")
    assert linked(page, "dd") == [("Runs", f"#{RUNS}"), ("training.Runs", f"#{RUNS}")]
