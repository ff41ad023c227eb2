"""Run anywhere: each chapter alone, from the top, on a machine that has never heard of the book.

To a chapter such a machine is an empty folder and a kernel with packages of Colab, none of the book's own and no more
memory than Binder gives. The chapter's first cell then installs the book as it stands in this folder, committed or
not: git is told to find the public address here. What was installed before has to stay as it was.
"""

import copy
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import nbformat
import pytest
import yaml
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted((ROOT / "chapters").glob("[0-9][0-9]_*.ipynb"))
REPOSITORY = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = dict(re.findall(r"^([\w.-]+)==(.+)$", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.M))

#: Colab's runtime 2026.01, with Python 3.12: pip-freeze.txt of github.com/googlecolab/backend-info at commit bd8aaa4.
COLAB = {
    "pip": "24.1.2",
    "torch": "2.9.0",
    "numpy": "2.0.2",
    "pandas": "2.2.2",
    "matplotlib": "3.10.0",
    "seaborn": "0.13.2",
    "ipykernel": "6.17.1",
    "ipython": "7.34.0",
    "jupyter_client": "7.4.9",
    "pyzmq": "26.2.1",
    "tornado": "6.5.1",
    "traitlets": "5.7.1",
}
#: What is there: of torch the book's own version, which is on this machine already, and is large. For a Python newer
#: than Colab's some of the others were never built: there the newest of each.
INSTALLED = [f"torch=={PINS['torch']}"] + [
    f"{name}=={version}" if sys.version_info < (3, 13) else name
    for name, version in COLAB.items()
    if name != "torch"
]
#: What installing the book must never change, wherever it lies within the ranges of pyproject.toml.
KEPT = ("torch", "numpy", "pandas")

SECONDS_A_CELL = 300
BYTES = 2_000_000_000  # Binder's, and stricter: of memory that can be written, whether or not it ever is
LIMITED = (
    f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_DATA, ({BYTES}, {BYTES})); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
LIMITS = sys.platform == "linux"  # other systems do not hold a process to it

# Nothing of whoever runs the tests: no settings of git, no modules on PYTHONPATH or in a folder of the user's.
STRANGER = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "PYTHON"))}
STRANGER |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "PYTHONNOUSERSITE": "1"}


def run(*command: str | Path, folder: Path, environment: dict[str, str] = STRANGER) -> str:
    """Run a command and give what it prints; where it fails, with what it complains of."""
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}{done.stderr}"
    return done.stdout


def packages(python: Path) -> set[str]:
    """What is installed, a line a package: name==version, or name @ address@commit."""
    return set(run(python, "-m", "pip", "freeze", "--all", folder=python.parent).splitlines())


def uninstall(python: Path, lines: set[str]) -> None:
    names = [re.match(r"[\w.-]+", line).group() for line in lines]
    if names:
        run(python, "-m", "pip", "uninstall", "--quiet", "--yes", *names, folder=python.parent)


@pytest.fixture(scope="module")
def index():
    """The package index. Where it cannot be reached the tests skip, but in CI, where it must be, they fail."""
    ask = ["install", "--dry-run", "--ignore-installed", "--no-deps", "--retries", "0", "mnist1d"]
    asked = subprocess.run([sys.executable, "-m", "pip", *ask], capture_output=True, text=True)
    if asked.returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no package index answers:\n{asked.stderr}")


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository of one commit: the book as it stands in this folder."""
    folder = tmp_path_factory.mktemp("repository")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in run(*listed, folder=ROOT, environment=dict(os.environ)).split("\0"):
        if (ROOT / name).is_file():  # and not deleted since the last commit
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    author = ["-c", "user.name=Rectified", "-c", "user.email=rectified@example.org"]
    run("git", "init", "--quiet", "--initial-branch", REPOSITORY["branch"], folder=folder)
    run("git", "add", "--all", folder=folder)
    run("git", *author, "commit", "--quiet", "--message", "The book", folder=folder)
    return folder


@pytest.fixture(scope="module")
def python(index):
    """The Python of an environment with INSTALLED: made once, and anew where that or what is there has changed."""
    folder = ROOT / "_build" / "elsewhere"
    python, made = folder / "bin" / "python", folder / "made.json"
    recipe = [str(folder), platform.python_version(), *INSTALLED]
    record = json.loads(made.read_text()) if made.exists() else {}
    if record.get("recipe") != recipe or not set(record["packages"]) <= packages(python):
        venv.create(folder, clear=True, with_pip=True)
        run(python, "-m", "pip", "install", "--quiet", *INSTALLED, folder=folder)
        record = {"recipe": recipe, "packages": sorted(packages(python))}
        made.write_text(json.dumps(record))
    uninstall(python, packages(python) - set(record["packages"]))  # left by a run that was broken off
    return python


@pytest.fixture
def before(python):
    """The packages of the environment before a test; what the test adds is taken away again."""
    installed = packages(python)
    yield installed
    uninstall(python, packages(python) - installed)


@pytest.fixture
def execute(python, repository, tmp_path, monkeypatch):
    """Run a notebook from the top in an empty folder, its kernel limited, and the public address found here."""
    kernel, folder = tmp_path / "jupyter" / "kernels" / "elsewhere", tmp_path / "folder"
    kernel.mkdir(parents=True)
    folder.mkdir()
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    argv = [str(python), "-c", LIMITED, *command] if LIMITS else command
    spec = {"argv": argv, "display_name": "Elsewhere", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    environment = STRANGER | {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{repository.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": REPOSITORY["url"],
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }

    def execute(notebook: NotebookNode) -> NotebookNode:
        client = NotebookClient(
            copy.deepcopy(notebook),
            kernel_name=kernel.name,
            resources={"metadata": {"path": str(folder)}},
            timeout=SECONDS_A_CELL,
        )
        return client.execute(env=environment)

    return execute


def words(notebook: NotebookNode) -> list[str]:
    """What a reader is told: the words of figures, and computed sentences. Raw tables are left to nbval."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    shown = [output.data for output in outputs if output.data.keys() - {"text/plain", "text/html"}]
    return [data.get("text/markdown", data["text/plain"]) for data in shown]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_runs_where_the_book_is_not_installed(path, python, before, repository, execute, tmp_path):
    sought = subprocess.run([python, "-c", "import helpers"], cwd=tmp_path, env=STRANGER, capture_output=True)
    assert b"No module named 'helpers'" in sought.stderr
    stored = nbformat.read(path, as_version=4)
    executed = execute(stored)  # raises where a cell does
    after = packages(python)
    commit = run("git", "rev-parse", "HEAD", folder=repository).strip()
    assert f"rectified @ git+{REPOSITORY['url']}@{commit}" in after
    assert before <= after, "installing the book has changed what was there"
    assert words(executed) == words(stored)


@pytest.mark.skipif(not LIMITS, reason="only Linux limits the memory of a process")
def test_the_memory_of_the_kernel_is_limited(execute):
    cells = [new_code_cell(f"some = bytearray({size})") for size in (BYTES // 2, BYTES * 3 // 2)]
    cells[1].metadata["tags"] = ["raises-exception"]
    less, more = execute(new_notebook(cells=cells)).cells
    assert less.outputs == []
    assert [output.ename for output in more.outputs] == ["MemoryError"]


@pytest.fixture
def changed_by_pip(index, repository, tmp_path):
    """Ask which of the given packages `pip install .` would change: those it finds by what it reads of them."""

    def changed(versions: dict[str, str]) -> set[str]:
        venv.create(tmp_path / "venv", with_pip=False)
        (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
        for name, version in versions.items():
            there = site / f"{name}-{version}.dist-info"
            there.mkdir()
            (there / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            (there / "INSTALLER").write_text("pip\n")
            (there / "RECORD").touch()
        pip = [sys.executable, "-m", "pip", "--python", tmp_path / "venv" / "bin" / "python"]
        report = run(*pip, "install", "--dry-run", "--quiet", "--report", "-", ".", folder=repository)
        installs = {item["metadata"]["name"] for item in json.loads(report)["install"]}
        assert PROJECT["name"] in installs
        return installs & versions.keys()

    return changed


LOWEST = {
    requirement.name: min(part.version for part in requirement.specifier)
    for requirement in map(Requirement, PROJECT["dependencies"])
}


@pytest.mark.parametrize("versions", [LOWEST, COLAB, PINS], ids=["lowest", "colab", "pins"])
def test_pip_keeps_what_lies_within_the_ranges(versions, changed_by_pip):
    assert changed_by_pip({name: versions[name] for name in KEPT}) == set()


def test_pip_changes_what_lies_below_them(changed_by_pip):
    assert changed_by_pip({name: PINS[name] for name in KEPT} | {"pandas": "2.1.4"}) == {"pandas"}
