"""Whether a tree gives one address everywhere: its repository, its branch and its site.

`tools/retarget.py` changes the address; what stands here shares no code with it, so that one can be wrong alone.
"""

import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import yaml

COMMIT = re.compile(r"[0-9a-f]{40}")
# Its wrong addresses are examples.
EXAMPLES = "tests/test_retarget.py"
# Every way to name a repository at GitHub: `owner`, `name`, and in `rest` what follows up to the end of the link.
LINK = re.compile(
    r"(?P<host>github\.com[/:](?:repos/)?|raw\.githubusercontent\.com/|https?://[\w./-]+/(?:github|gh)/)"
    r"(?P<owner>[\w-]+)/(?P<name>[\w.-]*[\w-])(?P<rest>[^\s\"'<>()\\`\]]*)",
    flags=re.ASCII,
)
# What names a branch after a repository.
REFERENCE = re.compile(
    r"^(?:@|/(?:blob|tree|raw|edit|blame|commits|archive|zip|tar\.gz)/(?:refs/heads/)?|.*[?&]branch=)(?P<branch>[\w.-]*[\w-])"
)
DIRECT = re.compile(r"^(?:@|/(?:refs/heads/)?)(?P<branch>[\w.-]*[\w-])")
# What is of use only with a repository of this book: what installs or clones it, starts it, tests it, asks about it.
CHECKED_OUT = re.compile(r"(?:git\+|git clone (?:-\S+ \S+ )*)(?:https://|git@)$")
LAUNCHED = re.compile(r"^https://(?:colab\.research\.google\.com|mybinder\.org)/")
ASKED = re.compile(r"^/(?:actions/workflows/.*|issues/?)$")
PAGES = re.compile(
    r"(?P<scheme>https://)?(?<![\w.-])(?<!\w/)(?P<owner>[\w-]+)\.github\.io(?P<path>(?:/[\w.-]*[\w-])*)",
    flags=re.ASCII,
)


def files_of(root: Path) -> list[Path]:
    """What git keeps in a folder, and what is new there and not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    names = sorted(set(listed.split("\0")) - {""})
    return [root / name for name in names if (root / name).is_file()]


def texts_of(root: Path) -> dict[str, str]:
    """The files that hold text, by name."""
    contents = {path.relative_to(root).as_posix(): path.read_bytes() for path in files_of(root)}
    return {name: content.decode() for name, content in contents.items() if b"\0" not in content}


@cache
def wrong_repositories(text: str, repository: str, branch: str) -> list[str]:
    """The links of a text that should be to the book's repository and branch, and are not."""
    wrong = []
    for link in LINK.finditer(text):
        name = link["name"].removesuffix(".git")
        checked_out = CHECKED_OUT.search(text[text.rfind("\n", 0, link.start()) + 1 : link.start()])
        has_our_name = name.lower() == repository.split("/")[1].lower()
        if not (has_our_name or checked_out or LAUNCHED.search(link["host"]) or ASKED.search(link["rest"])):
            continue
        if f"{link['owner']}/{name}" != repository:
            wrong.append(f"{link[0]} is not in {repository}")
        direct = link["host"].endswith("/gh/") or link["host"].startswith("raw.")
        named = (DIRECT if direct else REFERENCE).search(link["rest"])
        if named and named["branch"] != branch and not COMMIT.fullmatch(named["branch"]):
            wrong.append(f"{link[0]} is not of the branch {branch}")
        if checked_out and not named and f"--branch {branch} " not in checked_out[0]:
            wrong.append(f"{checked_out[0]}{link[0]} does not take the branch {branch}")
    return wrong


@cache
def wrong_sites(text: str, repository: str, site: str) -> list[str]:
    """The mentions of GitHub Pages in a text that should be the book's site, and are not."""
    wrong = []
    owner, name = repository.lower().split("/")
    for page in PAGES.finditer(text):
        folder = page["path"].split("/")[1].lower() if page["path"] else ""
        is_root = f"https://{page['owner']}.github.io/".lower() == site
        ours = folder == name or is_root or (page["owner"].lower() == owner and name == f"{owner}.github.io")
        if ours and not (page["scheme"] and f"{page[0]}/".startswith(site)):
            wrong.append(f"{page[0]} is not at {site}, or not in full")
    return wrong


def wrong_branches(workflow: str, branch: str) -> list[str]:
    """Where a workflow starts at another branch than the book's, or asks for another."""
    triggers = yaml.safe_load(workflow)[True]  # YAML reads `on` as true
    events = triggers.values() if isinstance(triggers, dict) else []
    filters = [item for event in events if isinstance(event, dict) for item in event.items()]
    named = [listed for key, listed in filters if key.startswith("branches")]
    wrong = [f"a workflow starts at {listed}, and not at {branch}" for listed in named if listed != [branch]]
    asked = re.findall(r"(?:refs/heads/|ref_name [!=]= ')([^\s'\"]+)", workflow)
    return wrong + [f"a workflow asks for {name}, and not for {branch}" for name in asked if name != branch]


def inconsistencies(root: Path) -> list[str]:
    """Where the files of a folder name another repository, branch or site than its _config.yml."""
    texts = texts_of(root)
    config = yaml.safe_load(texts["_config.yml"])
    address, branch, site = (
        config["repository"]["url"],
        config["repository"]["branch"],
        config["html"]["baseurl"],
    )
    if not (
        re.fullmatch(r"https://github\.com/[\w-]+/[\w.-]+", address)
        and isinstance(branch, str)
        and re.fullmatch(r"https://[^/]+/(?:.*/)?", site)
    ):
        return [f"_config.yml: {address!r}, {branch!r} and {site!r} are no address"]
    repository = address.removeprefix("https://github.com/")
    wrong = [
        f"{name}: {problem}"
        for name, text in texts.items()
        if name != EXAMPLES
        for problem in (
            *wrong_repositories(text, repository, branch),
            *wrong_sites(text, repository, site),
            *(wrong_branches(text, branch) if name.startswith(".github/workflows/") else []),
        )
    ]
    urls = tomllib.loads(texts["pyproject.toml"])["project"]["urls"]
    citation = yaml.safe_load(texts["CITATION.cff"])
    stated = {
        "pyproject.toml: Repository": (urls["Repository"], address),
        "pyproject.toml: Homepage": (urls["Homepage"], site.removesuffix("/")),
        "CITATION.cff: repository-code": (citation["repository-code"], address),
        "CITATION.cff: url": (citation["url"], site),
    }
    wrong += [f"{place} is {given}, and not {own}" for place, (given, own) in stated.items() if given != own]
    if f"<{site}>" not in texts["README.md"]:
        wrong.append(f"README.md: the book is not read at {site}")
    return wrong
