"""Point the whole tree at another repository, branch and site: what ``make retarget`` runs.

``_config.yml`` says where the book lives now. Every mention of that place changes, in every text file that git does
not ignore, and nothing else does: so a second run changes nothing, and a run back restores every byte. It needs git
and the standard library alone, and no environment.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from files import replace

ROOT = Path(__file__).parents[1]
CONFIG = "_config.yml"
WORKFLOWS = Path(".github", "workflows")

GITHUB = re.compile(
    r"(?:https://github\.com/|git@github\.com:)"
    r"(?P<owner>[A-Za-z\d](?:-?[A-Za-z\d])*)/(?P<name>(?!\.+(?:git)?/?$)[A-Za-z\d_.-]+?)(?:\.git)?/?"
)
BRANCH = re.compile(r"(?!.*\.\.)(?!.*\.lock$)[A-Za-z\d_](?:[A-Za-z\d_.-]*[A-Za-z\d_-])?")
SITE = re.compile(r"(?P<place>https://[a-z\d-]+(?:\.[a-z\d-]+)+(?:/[A-Za-z\d_~-][A-Za-z\d_.~-]*)*)/?")

# Where a name ends: `book` is not named by `book-2` or `book.js`, but by `book.` at the end of a sentence.
END = r"(?!\.*[\w-])"
# Where a host begins: not inside another one. In a notebook's JSON a line that it opens comes after `\n`.
START = r"(?:(?<![\w.-])|(?<=\\[nrt]))"


@dataclass(frozen=True)
class Address:
    """Where a book lives: its repository at GitHub, the branch that is read and run, and its site."""

    owner: str
    name: str
    branch: str
    site: str

    @classmethod
    def of(cls, url: str, branch: str = "", site: str = "") -> "Address":
        """Read an address as it is given: the branch is main, and the site the one at GitHub, unless they are said.

        Raises
        ------
        ValueError
            Where one of the three is of a form that does not work everywhere.
        """
        repository = GITHUB.fullmatch(url)
        if not repository:
            raise ValueError(
                f"the repository {url!r} is not at GitHub, where Colab, Binder and Pages look for it; accepted are "
                "https://github.com/OWNER/NAME and git@github.com:OWNER/NAME.git. "
                "Try the address in the browser when your fork is open, up to its name"
            )
        owner, name = repository["owner"], repository["name"]
        branch = branch or "main"
        if not BRANCH.fullmatch(branch):
            raise ValueError(
                f"the branch {branch!r} would break the addresses of Colab and Binder, in which a slash divides; "
                "accepted are letters, digits, '_', '-' and single dots inside. Try a name like autumn-2026"
            )
        host = f"{owner}.github.io".lower()
        site = site or (f"https://{host}/" if name.lower() == host else f"https://{host}/{name}/")
        place = SITE.fullmatch(site)
        if not place:
            raise ValueError(
                f"the site {site!r} is no address that pages can be read at; accepted is https://, a host in small "
                "letters and perhaps folders. Try https://book.example.org/, or leave SITE out for GitHub Pages"
            )
        return cls(owner, name, branch, f"{place['place']}/")

    @property
    def url(self) -> str:
        """The repository's page at GitHub."""
        return f"https://github.com/{self.owner}/{self.name}"


def setting(config: str, section: str, key: str) -> re.Match[str]:
    """Find the value of a key in a section of _config.yml: PyYAML would need the environment."""
    skipped = r"(?:[ \t]+.*\n|[ \t\r]*\n|#.*\n)*?"
    found = re.search(
        rf"^{section}:[ \t]*(?:#.*)?\r?\n{skipped}[ \t]+{key}:[ \t]*[\"']?(?P<value>[^\s\"'#]+)",
        config,
        flags=re.MULTILINE,
    )
    if not found:
        raise ValueError(f"{CONFIG} gives no {section}.{key}. Try to take the file from the last commit")
    return found


def current(config: str) -> Address:
    """Read where the book lives now."""
    values = [
        setting(config, *key)["value"]
        for key in (("repository", "url"), ("repository", "branch"), ("html", "baseurl"))
    ]
    try:
        return Address.of(*values)
    except ValueError as error:
        raise ValueError(f"in {CONFIG}, {error}") from error


def rewriting(old: Address, new: Address) -> Callable[[str], str]:
    """Give the function that takes a text from one address to the other.

    All that lies below the site is taken for the book's, at the root of a host too.
    """
    repository = rf"{re.escape(f'{old.owner}/{old.name}')}(?:(?=\.git{END})|{END})"
    github = rf"{START}(?:(?:www|api|codeload)\.)?github\.com[/:](?:repos/)?|/github/"
    branch = rf"{re.escape(old.branch)}(?:(?=\.(?:zip|tar\.gz){END})|{END})"
    # What stands between a repository and a branch: git+https://…@main, …/blob/main/…, a badge's ?branch=main,
    # nbgitpuller's ?repo=https://…&branch=main.
    between = (
        r"(?:\.git)?@|&branch=|/(?:blob|tree|raw|edit|blame|commits|archive|zip|tar\.gz)/(?:refs/heads/)?"
        r"|/actions/workflows/[\w.-]+\.yml(?:/badge\.svg)?\?(?:branch=|query=branch%3A)"
    )
    direct = rf"{START}raw\.githubusercontent\.com/|/gh/"
    pattern = re.compile(
        rf"(?P<clone>--branch[ =]){branch}(?= +(?:https://github\.com/|git@github\.com:){repository})"
        rf"|(?P<github>{github}){repository}(?:(?P<between>{between}){branch})?"
        rf"|(?P<direct>{direct}){repository}(?:(?P<slash>/(?:refs/heads/)?|@){branch})?"
        rf"|(?<=//){re.escape(old.site.removeprefix('https://')[:-1])}(?!\.*[\w-]|[:@])"
    )

    def moved(match: re.Match[str]) -> str:
        if match["clone"]:
            return match["clone"] + new.branch
        host = match["github"] or match["direct"]
        if not host:
            return new.site.removeprefix("https://")[:-1]
        between = match["between"] or match["slash"]
        return f"{host}{new.owner}/{new.name}" + (between + new.branch if between else "")

    marks = (f"{old.owner}/{old.name}", old.site[:-1])  # to look at their lines alone is much faster
    return lambda text: "".join(
        pattern.sub(moved, line) if any(mark in line for mark in marks) else line
        for line in text.splitlines(keepends=True)
    )


def with_branch(config: str, branch: str) -> str:
    """Put another branch into _config.yml."""
    start, end = setting(config, "repository", "branch").span("value")
    return config[:start] + branch + config[end:]


def with_triggers(workflow: str, old: str, new: str) -> str:
    """Put another branch into what starts a workflow, and into what it asks of the branch that started it."""
    name = rf"(?<![\w./*-]){re.escape(old)}(?![\w./*-])"
    lists = (
        r"^[ \t]*branches(?:-ignore)?:(?:[ \t]*\[[^\]]*\]|[ \t]+[^\s\[#]+|(?:[ \t]*\r?\n[ \t]+-[^\r\n]*)+)"
    )
    workflow = re.sub(
        lists, lambda found: re.sub(name, lambda _: new, found[0]), workflow, flags=re.MULTILINE
    )
    asked = rf"(refs/heads/|ref_name [!=]= '){re.escape(old)}{END}"
    return re.sub(asked, lambda found: found[1] + new, workflow)


def kept_files(root: Path) -> list[Path]:
    """List what git keeps, and what is new and not ignored."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True).stdout
    except FileNotFoundError as error:
        raise ValueError("there is no git here, which knows the files. Try to install it") from error
    except subprocess.CalledProcessError as error:
        raise ValueError(
            f"git does not know the folder {root}: {error.stderr.decode().strip()}. Try it in a clone"
        ) from error
    names = sorted(set(os.fsdecode(listed).split("\0")) - {""})
    if CONFIG not in names:
        raise ValueError(f"git keeps no {CONFIG} in {root}. Try it in a clone of the book")
    return [Path(name) for name in names if (root / name).is_file() and not (root / name).is_symlink()]


def retarget(root: Path, new: Address) -> list[Path]:
    """Point the tree in a folder at an address, and return the files that changed."""
    files = kept_files(root)
    old = current((root / CONFIG).read_bytes().decode())
    rewrite = rewriting(old, new)
    changed = {}
    for path in files:
        content = (root / path).read_bytes()
        if b"\0" in content:
            continue
        text = content.decode(errors="surrogateescape")
        moved = rewrite(text)
        if path.parent == WORKFLOWS:
            moved = with_triggers(moved, old.branch, new.branch)
        elif path == Path(CONFIG):
            moved = with_branch(moved, new.branch)
        if moved != text:
            changed[path] = moved.encode(errors="surrogateescape")
    # _config.yml goes last: where this is interrupted, the next run still knows the old address.
    for path in sorted(changed, key=lambda path: path == Path(CONFIG)):
        replace(root / path, changed[path])
    return sorted(changed)


def main() -> int:
    """Retarget the tree as the command line says, and tell what changed."""
    parser = argparse.ArgumentParser(
        prog="make retarget",
        usage="make retarget URL=https://github.com/OWNER/NAME [BRANCH=main] [SITE=https://OWNER.github.io/NAME/]",
        description=__doc__.splitlines()[0],
    )
    parser.add_argument("url", help="the repository at GitHub")
    parser.add_argument(
        "branch", nargs="?", default="", help="the branch that is read and run; main if empty"
    )
    parser.add_argument("site", nargs="?", default="", help="where the pages are read; GitHub Pages if empty")
    given = parser.parse_args()
    try:
        new = Address.of(given.url, given.branch, given.site)
        changed = retarget(ROOT, new)
    except ValueError as error:
        parser.error(str(error))
    for path in changed:
        print(f"changed {path}")
    place = f"{new.url}, its branch {new.branch} and the site {new.site}"
    print(
        f"The book now points at {place}."
        if changed
        else f"Nothing had to change: the book points at {place}."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
