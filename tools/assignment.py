"""Write a chapter's exercises as students get them: what ``make assignment`` runs.

The exercises stand in the chapter with nbgrader's metadata, solutions and hidden tests; nbgrader takes both out. What
students get is one notebook: a title, the bootstrap cell, and the exercises. What grades it is a course folder of
nbgrader's, with the hidden tests in its SQLite database: ``make grade`` makes one and throws it away.
"""

import argparse
import copy
import os
import re
import sys
import tempfile
from pathlib import Path
from urllib.parse import urljoin

import nbformat
import yaml
from files import replace
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook
from nbgrader.apps import NbGraderAPI
from traitlets.config import Config

ROOT = Path(__file__).parents[1]
CHAPTERS = {path.stem: path for path in sorted((ROOT / "chapters").glob("[0-9][0-9]_*.ipynb"))}
ASSIGNMENTS = ROOT / "_build" / "assignments"
HEADING = "## Exercises"
#: What a course calls the one student whose work it grades: the folder's own name may be anything.
STUDENT = "student"
#: A cell's metadata that fold it away on the site, in JupyterLab and in Colab.
FOLDS = {"tags", "mystnb", "jupyter", "cellView"}


def exercises(chapter: NotebookNode, address: str) -> NotebookNode:
    """Take the exercises out of a chapter as a notebook of their own, solutions and hidden tests included.

    Parameters
    ----------
    chapter : NotebookNode
        Its first code cell is the bootstrap. A cell that begins with ``## Exercises`` speaks to the chapter's readers;
        the exercises are the cells after it, up to the next heading of a section.
    address : str
        The chapter's page on the site, where the links of the exercises to other pages lead.

    Raises
    ------
    ValueError
        If there is no such cell, or no exercise after it that grades itself.
    """
    cells = copy.deepcopy(chapter.cells)
    sections = [
        i for i, cell in enumerate(cells) if cell.cell_type == "markdown" and cell.source.startswith("## ")
    ]
    start = next((i for i in sections if cells[i].source.startswith(HEADING)), None)
    if start is None:
        raise ValueError(f"the exercises cannot be found: let a cell of the chapter begin with `{HEADING}`")
    chosen = cells[start + 1 : next((i for i in sections if i > start), None)]
    if not any(is_test(cell) for cell in chosen):
        raise ValueError("no exercise of the chapter grades itself: see `Add an exercise` in CONTRIBUTING.md")
    for cell in chosen:
        for fold in FOLDS & cell.metadata.keys():
            del cell.metadata[fold]
        if cell.cell_type == "markdown":
            cell.source = on_its_own(cell.source, address)
    title = cells[0].source.splitlines()[0].removeprefix("# ")
    opening = new_markdown_cell(
        f"# Exercises of chapter {title}\n\n"
        f"They belong to [a chapter of *Rectified*]({address}); its figures and equations have the numbers that are "
        "named here. Run the first cell first. Where an exercise has a cell with `# YOUR CODE HERE`, put your code in "
        "place of that line and the next, then run the tests below it. When your work is graded, more tests are run. "
        "Add cells where you like, and leave those that hold tests as they are.",
        id="opening",
    )
    bootstrap = next(cell for cell in cells if cell.cell_type == "code")
    about = {key: chapter.metadata[key] for key in ("kernelspec", "language_info") if key in chapter.metadata}
    return new_notebook(cells=[opening, bootstrap, *chosen], metadata=about)


def is_test(cell: NotebookNode) -> bool:
    """Say whether a cell holds tests that give points."""
    return bool(cell.metadata.get("nbgrader", {}).get("grade"))


def on_its_own(text: str, address: str) -> str:
    """Take the answers out of an exercise's text, and lead its links to other pages to the site."""
    text = re.sub(r'<details class="answer">.*?</details>', "", text, flags=re.DOTALL).strip()

    def online(link: re.Match) -> str:
        return "](" + re.sub(r"\.(?:ipynb|md)(?=#|$)", ".html", urljoin(address, link[1])) + ")"

    return re.sub(r"\]\((?!\w+:)([^)\s]+)\)", online, text)


def course(folder: Path, config: Config | None = None) -> NbGraderAPI:
    """Give nbgrader's interface to a course that lies in a folder, its database there too."""
    config = config or Config()
    config.CourseDirectory.root = str(folder)
    config.CourseDirectory.db_url = f"sqlite:///{folder / 'gradebook.db'}"
    config.NbGraderAPI.log_level = "ERROR"
    bin_folder = str(Path(sys.executable).parent)  # nbgrader calls alembic, which lies beside this Python
    os.environ["PATH"] = os.pathsep.join(dict.fromkeys([bin_folder, *os.environ["PATH"].split(os.pathsep)]))
    return NbGraderAPI(config=config)


def source(name: str) -> NotebookNode:
    """Give the exercises of a chapter, solutions and hidden tests included.

    Raises
    ------
    ValueError
        If there is no such chapter, or it has no exercises that grade themselves.
    """
    if name not in CHAPTERS:
        raise ValueError(f"there is no chapter {name!r}; the chapters are {', '.join(CHAPTERS)}")
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    address = urljoin(config["html"]["baseurl"], f"chapters/{name}.html")
    return exercises(nbformat.read(CHAPTERS[name], as_version=4), address)


def open_course(folder: Path, name: str) -> NotebookNode:
    """Make a course of one assignment in an empty folder, and give the notebook as students get it.

    Raises
    ------
    ValueError
        If there is no such chapter, or nbgrader finds a fault in its exercises.
    """
    path = folder / "source" / name / f"{name}.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(source(name), path)
    result = course(folder).generate_assignment(name)
    if not result["success"]:
        raise ValueError(f"nbgrader finds a fault in the exercises of {name}:\n{result['log']}")
    path.unlink()  # the solutions are not needed any more, and a submission may look about
    return nbformat.read(folder / "release" / name / path.name, as_version=4)


def main() -> int:
    """Write the assignments of the chapters that the command line names, or of all."""
    parser = argparse.ArgumentParser(prog="make assignment", description=__doc__.splitlines()[0])
    parser.add_argument(
        "chapter", nargs="*", help="file names without .ipynb; where none is given, all chapters"
    )
    parser.add_argument(
        "--course", type=Path, help="a course folder of nbgrader's, which gets the version with solutions"
    )
    given = parser.parse_args()
    for name in given.chapter or CHAPTERS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                student = open_course(Path(folder), name)
            except ValueError as error:
                parser.error(str(error))
        write(student, ASSIGNMENTS / name / f"{name}.ipynb")
        print(f"Hand out {ASSIGNMENTS / name}")
        if given.course:
            write(source(name), given.course / "source" / name / f"{name}.ipynb")
            print(f"Keep to yourself {given.course / 'source' / name}")
    return 0


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook in one step, and leave what else is in its folder."""
    replace(path, (nbformat.writes(notebook) + "\n").encode())


if __name__ == "__main__":
    sys.exit(main())
