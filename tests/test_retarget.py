"""`make retarget`: the whole tree points at a fork, nothing else changes, and the way back restores every byte."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import retarget
import yaml
from addresses import files_of, inconsistencies, texts_of
from retarget import Address

ROOT = Path(__file__).parents[1]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
HOME = Address.of(CONFIG["repository"]["url"], CONFIG["repository"]["branch"], CONFIG["html"]["baseurl"])
# Put together, and not written out: this file too is in the tree that is pointed at them.
AT_GITHUB = "https://github.com/{}/{}".format
FORKS = {
    "another name and branch": Address.of(AT_GITHUB("Gradient-School", "deep.nets"), "autumn-2026"),
    "a branch that is a number": Address.of(AT_GITHUB("gradient-school", HOME.name), "2026"),
    "a name that goes on": Address.of(AT_GITHUB(HOME.owner, f"{HOME.name}-2026"), HOME.branch),
    "another branch alone": Address.of(HOME.url, "v1.0", HOME.site),
    "the site of a user": Address.of(AT_GITHUB("gradient-school", "gradient-school.github.io")),
    "a site of its own": Address.of(HOME.url, HOME.branch, f"https://book-of-{HOME.owner.lower()}.example"),
}

# What is told apart, in a tree whose book is at github.com/o/book, on the branch main, read at o.github.io/book.
OLD = Address.of(AT_GITHUB("o", "book"))
NEW = Address.of(AT_GITHUB("example-class", "nets"), "autumn", "https://nets.example.org/read")


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a tree, but git's own."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def traced(folder: Path, traces: list[str]) -> list[str]:
    """The files in which one of these words occurs, but those in which it is an example."""
    examples = {"tests/test_retarget.py", "tools/retarget.py"}
    texts = texts_of(folder).items()
    return [name for name, text in texts if name not in examples and any(trace in text for trace in traces)]


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """The tree as git keeps it, with a new file and an ignored one, as a repository of its own."""
    folder = tmp_path_factory.mktemp("original")
    for path in files_of(ROOT):
        copied = folder / path.relative_to(ROOT)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copied)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    (folder / "new.md").write_bytes(f"[all of it]({HOME.url}/tree/{HOME.branch})\r\n".encode())
    (folder / ".venv").mkdir()
    (folder / ".venv" / "ignored.txt").write_text(HOME.url)
    return folder


@pytest.fixture
def tree(original, tmp_path) -> Path:
    return shutil.copytree(original, tmp_path / "tree")


def make_retarget(folder: Path, *values: str) -> subprocess.CompletedProcess:
    """Run `make retarget` in a folder, with a Python that finds the standard library alone."""
    return subprocess.run(
        ["make", "--silent", "retarget", f"PYTHON={sys.executable} -S", *values],
        cwd=folder,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "BRANCH": "not-this-one", "PYTHONDONTWRITEBYTECODE": "1"},
    )


@pytest.mark.parametrize("fork", FORKS.values(), ids=FORKS)
def test_there_and_back_the_tree_is_consistent_and_every_byte_is_restored(tree, fork):
    before = contents(tree)
    assert retarget.retarget(tree, fork)
    assert inconsistencies(tree) == []
    after = contents(tree)
    assert retarget.retarget(tree, fork) == []
    assert contents(tree) == after
    assert retarget.retarget(tree, HOME)
    assert contents(tree) == before


def test_no_trace_of_the_old_address_is_left(tree):
    old = FORKS["another name and branch"]
    for here, there in ((HOME, old), (old, FORKS["a site of its own"])):
        # A branch called main is a word as well; the other one is not.
        traces = [f"{here.owner}/{here.name}", here.site[:-1], *([here.branch] if here == old else [])]
        assert traced(tree, traces)
        retarget.retarget(tree, there)
        assert traced(tree, traces) == []


def test_only_lines_with_the_address_change_and_files_keep_their_modes(tree):
    before = {
        name: (text.splitlines(), (tree / name).stat().st_mode) for name, text in texts_of(tree).items()
    }
    marks = [f"{HOME.owner}/{HOME.name}", HOME.site[:-1], "branch: ", "branches: ", "refs/heads/"]
    changed = retarget.retarget(tree, FORKS["another name and branch"])
    assert {Path("new.md"), Path("chapters/01_vanishing_gradients.ipynb")} <= set(changed)
    for name, text in texts_of(tree).items():
        lines, mode = before[name]
        assert (tree / name).stat().st_mode == mode
        for old, new in zip(lines, text.splitlines(), strict=True):
            assert old == new or any(mark in old for mark in marks)
    assert (tree / ".venv" / "ignored.txt").read_text() == HOME.url


def test_the_command_tells_what_it_changed_and_that_nothing_had_to(tree):
    url = AT_GITHUB("example-class", "nets")
    first = make_retarget(tree, f"URL={url}")
    assert first.returncode == 0, first.stderr
    assert "changed README.md\n" in first.stdout
    assert f"now points at {url}, its branch main and the site https://example-class.github.io/nets/" in (
        first.stdout
    )
    second = make_retarget(tree, f"URL={url}.git", "BRANCH=main")
    assert second.stdout.startswith("Nothing had to change")
    third = make_retarget(tree, f"URL={url}", "SITE=https://nets.example.org")
    assert "changed _config.yml\n" in third.stdout
    assert inconsistencies(tree) == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "the repository ''"),
        (
            ["URL=https://gitlab.com/example-class/nets"],
            "'https://gitlab.com/example-class/nets' is not at GitHub",
        ),
        (["URL=https://github.com/example-class"], "https://github.com/OWNER/NAME"),
        (["URL=https://github.com/example-class/nets/tree/main"], "up to its name"),
        (["URL=https://github.com/example-class/nets", "BRANCH=autumn/2026"], "the branch 'autumn/2026'"),
        (["URL=https://github.com/example-class/nets", "BRANCH=-f"], "the branch '-f'"),
        (
            ["URL=https://github.com/example-class/nets", "SITE=nets.example.org"],
            "the site 'nets.example.org'",
        ),
    ],
)
def test_what_would_not_work_is_refused_and_changes_nothing(original, values, words):
    before = contents(original)
    refused = make_retarget(original, *values)
    assert refused.returncode != 0
    assert words in refused.stderr
    assert "Try " in refused.stderr
    assert contents(original) == before


@pytest.mark.parametrize(
    ("url", "owner", "name", "site"),
    [
        (
            "https://github.com/example-class/nets",
            "example-class",
            "nets",
            "https://example-class.github.io/nets/",
        ),
        (
            "https://github.com/example-class/nets/",
            "example-class",
            "nets",
            "https://example-class.github.io/nets/",
        ),
        (
            "https://github.com/example-class/nets.git",
            "example-class",
            "nets",
            "https://example-class.github.io/nets/",
        ),
        (
            "git@github.com:Example-Class/Nets.js.git",
            "Example-Class",
            "Nets.js",
            "https://example-class.github.io/Nets.js/",
        ),
        (
            "https://github.com/Example-Class/example-class.github.io",
            "Example-Class",
            "example-class.github.io",
            "https://example-class.github.io/",
        ),
    ],
)
def test_a_repository_is_read_in_every_form(url, owner, name, site):
    assert Address.of(url) == Address(owner, name, "main", site)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example-class/nets",
        "http://github.com/example-class/nets",
        "https://github.com.example.org/example-class/nets",
        "https://github.com/-example-class/nets",
        "https://github.com/class/..",
        "https://github.com/example-class/nets?tab=readme",
        "https://github.com/class/ne ts",
        "https://github.com/example-class/nets\n",
    ],
)
def test_another_form_of_repository_is_refused(url):
    with pytest.raises(ValueError, match=r"is not at GitHub.*accepted are.*Try"):
        Address.of(url)


@pytest.mark.parametrize("branch", ["a/b", "a b", "-a", ".a", "a.", "a..b", "a.lock", "ä", "a'"])
def test_a_branch_that_breaks_addresses_is_refused(branch):
    with pytest.raises(ValueError, match=r"the branch .*accepted are.*Try"):
        Address.of(OLD.url, branch)


@pytest.mark.parametrize(
    "site", ["http://a.org/", "https://localhost", "https://a.org/?b", "https://A.org", "a.org"]
)
def test_a_site_that_cannot_be_read_at_is_refused(site):
    with pytest.raises(ValueError, match=r"the site .*accepted is.*Try"):
        Address.of(OLD.url, site=site)


def in_words(text: str, address: Address) -> str:
    """Fill an example in: R is the repository, B the branch, S the site without its last slash."""
    filled = {"R": f"{address.owner}/{address.name}", "B": address.branch, "S": address.site[:-1]}
    return "".join(filled.get(part, part) for part in text.split("|"))


@pytest.mark.parametrize(
    "text",
    [
        "https://github.com/|R|",
        "the book (github.com/|R|).",
        "git@github.com:|R|.git",
        "https://github.com/|R|/issues/3",
        "https://github.com/|R|/actions/workflows/test.yml/badge.svg?branch=|B|",
        "https://github.com/|R|/blob/|B|/main/main.py",
        "https://github.com/|R|/archive/refs/heads/|B|.zip",
        "git+https://github.com/|R|@|B|",
        "git+https://github.com/|R|.git@|B|.",
        "git clone --branch |B| https://github.com/|R| book",
        "https://raw.githubusercontent.com/|R|/|B|/README.md",
        "https://cdn.jsdelivr.net/gh/|R|@|B|/logo.svg",
        "https://colab.research.google.com/github/|R|/blob/|B|/chapters/a.ipynb",
        "https://mybinder.org/v2/gh/|R|/|B|?urlpath=lab",
        "https://hub.example/hub/user-redirect/git-pull?repo=https://github.com/|R|&branch=|B|&urlpath=lab/main",
        "https://api.github.com/repos/|R|/contents",
        r'"see\ngithub.com/|R|\n"',
        "<|S|>, |S|/ and |S|/chapters/index.html#main",
        "https://github.com/|R|/blob/v1/a.py and https://github.com/|R|/tree/maintained",
    ],
)
def test_every_form_of_the_address_goes_there_and_back(text):
    old, new = in_words(text, OLD), in_words(text, NEW)
    assert old != new
    assert retarget.rewriting(OLD, NEW)(old) == new
    assert retarget.rewriting(NEW, OLD)(new) == old


@pytest.mark.parametrize(
    "text",
    [
        "the main branch, def main() and o/book",
        "https://github.com/o/book-2 and https://github.com/o/book.js/blob/main/a",
        "https://github.com/else/book/blob/main/a.py",
        "https://github.com/else/o/book",
        "https://mygithub.com/o/book and https://gist.github.com/o/book",
        "https://mybinder.org/v2/gh/o/bookshelf/main",
        "git clone --branch main https://github.com/else/book",
        "https://o.github.io/bookshelf/ and https://o.github.io/",
        "https://oo.github.io/book/ and https://x.o.github.io/book/",
    ],
)
def test_what_only_looks_like_the_address_stays(text):
    assert retarget.rewriting(OLD, NEW)(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "https://books.nets.example.org/read/ and https://nets.example.org/",
        "https://nets.example.org/reader and https://nets.example.org.uk/read",
        "https://nets.example.org:8000/read and teacher@nets.example.org",
    ],
)
def test_what_only_looks_like_a_site_of_its_own_stays(text):
    assert retarget.rewriting(NEW, OLD)(text) == text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("on:\n  push:\n    branches: [main]\n", "on:\n  push:\n    branches: [autumn]\n"),
        ('    branches: ["main", dev] # main\n', '    branches: ["autumn", dev] # main\n'),
        ("    branches:\n      - dev\n      - main\n", "    branches:\n      - dev\n      - autumn\n"),
        ("    branches: main\n", "    branches: autumn\n"),
        ("    branches: [main-2, 'main/**']\n", "    branches: [main-2, 'main/**']\n"),
        ("if: github.ref == 'refs/heads/main'\n", "if: github.ref == 'refs/heads/autumn'\n"),
        ("if: github.ref_name == 'main'\n", "if: github.ref_name == 'autumn'\n"),
        ("if: github.ref == 'refs/heads/maintained'\n", "if: github.ref == 'refs/heads/maintained'\n"),
        ("name: main\njobs:\n  main:\n", "name: main\njobs:\n  main:\n"),
    ],
)
def test_a_workflow_starts_at_the_new_branch(old, new):
    assert retarget.with_triggers(old, "main", "autumn") == new
    assert retarget.with_triggers(new, "autumn", "main") == old


@pytest.mark.parametrize(
    "section", ["repository:\n", "# a comment\nrepository: # ours\n\n  # and\n  branch: x\n"]
)
def test_a_setting_is_found_without_a_parser(section):
    text = f"title: A\n{section}  url: '{OLD.url}' # here\nhtml:\n  url: elsewhere\n"
    assert retarget.setting(text, "repository", "url")["value"] == OLD.url
    with pytest.raises(ValueError, match=r"gives no html\.baseurl"):
        retarget.setting(text, "html", "baseurl")


def test_a_folder_that_git_does_not_know_is_refused(tmp_path, monkeypatch):
    shutil.copy(ROOT / "_config.yml", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(ValueError, match=r"git does not know the folder.*Try"):
        retarget.retarget(tmp_path, NEW)
    git(tmp_path, "init", "--quiet")
    (tmp_path / ".git" / "info" / "exclude").write_text("_config.yml\n")
    with pytest.raises(ValueError, match=r"git keeps no _config\.yml.*Try"):
        retarget.retarget(tmp_path, NEW)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=r"there is no git here.*Try"):
        retarget.retarget(tmp_path, NEW)


def test_an_interrupted_run_can_be_repeated(tree, monkeypatch):
    fork = FORKS["another name and branch"]
    written = []

    def write_three(path, content):
        if len(written) == 3:
            raise OSError("no space left on device")
        written.append(path)
        path.write_bytes(content)

    with monkeypatch.context() as patched:
        patched.setattr(retarget, "replace", write_three)
        with pytest.raises(OSError, match="no space left"):
            retarget.retarget(tree, fork)
    assert inconsistencies(tree) != []
    retarget.retarget(tree, fork)
    assert inconsistencies(tree) == []


# The check itself: each line of it sees the example that breaks it.


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("_config.yml", HOME.url, f"{HOME.url}/"),
        ("_config.yml", f'"{HOME.branch}"', "2026"),
        ("_config.yml", HOME.site, HOME.site[:-1]),
        ("pyproject.toml", HOME.url, AT_GITHUB("somebody", "else")),
        ("pyproject.toml", f'"{HOME.site[:-1]}"', '"https://elsewhere.example"'),
        ("CITATION.cff", f"repository-code: {HOME.url}", f"repository-code: {AT_GITHUB('somebody', 'else')}"),
        ("CITATION.cff", f"url: {HOME.site}", "url: https://elsewhere.example/"),
        ("README.md", f"<{HOME.site}>", "<https://elsewhere.example/>"),
        ("README.md", f"{HOME.owner}/{HOME.name}/actions", "somebody/else/actions"),
        ("README.md", f"google.com/github/{HOME.owner}/{HOME.name}", "google.com/github/somebody/else"),
        ("README.md", f"/blob/{HOME.branch}/", "/blob/another/"),
        ("README.md", f"{HOME.name}/{HOME.branch}?", f"{HOME.name}/another?"),
        ("README.md", f"/gh/{HOME.owner}", "/gh/somebody"),
        ("CONTRIBUTING.md", f"{HOME.owner}/{HOME.name}/issues", "somebody/else/issues"),
        ("chapters/index.md", f"--branch {HOME.branch} ", ""),
        ("chapters/index.md", f"--branch {HOME.branch} ", "--branch another "),
        ("chapters/reference/index.md", f"@{HOME.branch}", ""),
        ("chapters/01_vanishing_gradients.ipynb", f"@{HOME.branch}", "@another"),
        ("chapters/01_vanishing_gradients.ipynb", f"git+{HOME.url}", f"git+{AT_GITHUB('some', 'body')}"),
        ("new.md", HOME.owner, f"{HOME.owner}-2"),
        ("new.md", HOME.url, f"https://somebody.github.io/{HOME.name}"),
        ("new.md", HOME.url, f"{HOME.owner}.github.io/{HOME.name}"),
        ("new.md", "github.com/", "www.github.com/somebody-"),
        ("new.md", f"/tree/{HOME.branch}", "/actions/workflows/test.yml?branch=another"),
        (
            "new.md",
            f"{HOME.url}/tree/{HOME.branch}",
            f"https://raw.githubusercontent.com/{HOME.owner}/{HOME.name}/another/a",
        ),
        (".github/workflows/deploy.yml", "github.ref == 'refs/heads/", "github.ref_name == 'another-"),
        (".github/workflows/deploy.yml", f'["{HOME.branch}"]', '["another"]'),
        (".github/workflows/deploy.yml", f"refs/heads/{HOME.branch}", "refs/heads/another"),
    ],
)
def test_a_place_that_was_forgotten_is_seen(original, file, old, new):
    path = original / file
    before = path.read_bytes()
    assert old.encode() in before
    try:
        path.write_bytes(before.replace(old.encode(), new.encode()))
        assert inconsistencies(original) != []
    finally:
        path.write_bytes(before)
    assert inconsistencies(original) == []


def test_links_to_other_repositories_are_no_inconsistency(original):
    path = original / "new.md"
    before = path.read_bytes()
    others = [
        AT_GITHUB("somebody", "else"),
        f"{HOME.url}-2/blob/another/a.py",
        f"{HOME.url}/blob/{'0' * 40}/README.md",
        f"https://{HOME.owner}-2.github.io/another/",
    ]
    try:
        path.write_text("\n".join(others))
        assert inconsistencies(original) == []
    finally:
        path.write_bytes(before)
