"""Grade a class: what ``make grade`` runs.

Each student's notebook is executed and graded by nbgrader in a process of its own (``tools/grade_one.py``), on a copy
of the course that is thrown away: whatever it does to its time, its memory, its files or its tests, it is stopped or
mended, and costs nobody else anything. This bounds accidents and mischief of ordinary size. Against an attacker it is
no sandbox: the code runs with your rights, so grade strangers in a container.
"""

import argparse
import contextlib
import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import nbformat
import pandas as pd
import psutil
from assignment import STUDENT, is_test, open_course
from files import replace
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from tqdm import tqdm

GRADE_ONE = Path(__file__).with_name("grade_one.py")
FEEDBACK = "feedback"
#: The environment of all that a submission starts holds this name, so that nothing of it is left running.
MARK = "RECTIFIED_GRADING"
COLUMNS = ["student", "exercise", "points", "max_points", "comment"]
MEGABYTES = 20


@dataclass(frozen=True)
class Limits:
    """What one submission may take: seconds a cell and in all, gigabytes of memory."""

    cell: int = 30
    total: int = 300
    memory: float = 4.0


@dataclass(frozen=True)
class Course:
    """A course folder with one assignment, its hidden tests in the database, and the notebook that students got."""

    folder: Path
    name: str
    released: NotebookNode

    def max_points(self) -> dict[str, float]:
        """Give the points of each cell with tests, in their order."""
        return {
            cell.metadata.nbgrader.grade_id: cell.metadata.nbgrader.points
            for cell in self.released.cells
            if is_test(cell)
        }


def mended(submitted: NotebookNode, released: NotebookNode) -> NotebookNode:
    """Give a submission with the cells of the assignment as they were handed out, and the student's in their places.

    Of a student's cell nothing is kept but its text. A cell of the assignment that may not be edited is put back as it
    was; one that is missing because it was deleted, or because an editor has dropped nbgrader's metadata, follows at
    the end if it holds tests, so that they run on whatever the cells before define.
    """
    marked = {cell.metadata.nbgrader.grade_id: cell for cell in released.cells if "nbgrader" in cell.metadata}
    cells = []
    for cell in reversed(submitted.cells):  # of a cell that was copied, the last counts
        about = cell.metadata.get("nbgrader")
        original = marked.pop(str(about.get("grade_id")), None) if isinstance(about, dict) else None
        if original is None:
            new = new_code_cell if cell.cell_type == "code" else new_markdown_cell
            cells.append(new(cell.source))
        else:
            cells.append(copy.deepcopy(original))
            if not original.metadata.nbgrader.locked:
                cells[-1].source = cell.source
    cells = cells[::-1] + [copy.deepcopy(cell) for cell in marked.values() if is_test(cell)]
    return new_notebook(cells=cells, metadata=copy.deepcopy(released.metadata))


def submission(folder: Path, course: Course) -> tuple[NotebookNode, str]:
    """Read a student's notebook; where there is none to execute, give the one that was handed out, and the reason."""
    path = folder / f"{course.name}.ipynb"
    try:
        if not path.is_file():
            others = ", ".join(sorted(other.name for other in folder.glob("*.ipynb")))
            raise ValueError(f"there is no {path.name}" + (f", but {others}" if others else ""))
        if path.stat().st_size > MEGABYTES * 1e6:
            raise ValueError(f"the notebook is larger than {MEGABYTES} MB: clear its outputs")
        text = path.read_text(encoding="utf-8-sig")
        return mended(nbformat.reads(text, as_version=4), course.released), ""
    except ValueError as error:
        return course.released, str(error)
    except Exception as error:  # whatever a broken file does to its reader
        return course.released, f"the notebook cannot be read: {type(error).__name__}"


def run(
    notebook: NotebookNode, course: Course, limits: Limits, reason: str
) -> tuple[dict | None, bytes | None, str]:
    """Let nbgrader execute and grade a notebook in a process of its own, which is killed where it takes too long.

    Returns
    -------
    tuple
        Points and comment by cell, and the page of feedback; where there are none, why.
    """
    token = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        folder, home, said = Path(scratch, "course"), Path(scratch, "home"), Path(scratch, "said")
        shutil.copytree(course.folder, folder)
        home.mkdir()
        path = folder / "submitted" / STUDENT / course.name / f"{course.name}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(notebook, path)
        own = {"HOME": str(home), "TMPDIR": scratch, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", MARK: token}
        with said.open("wb") as output:
            process = subprocess.Popen(
                [
                    sys.executable,
                    GRADE_ONE,
                    folder,
                    course.name,
                    str(limits.cell),
                    str(limits.memory),
                    printable(reason),
                ],
                cwd=home,
                env=os.environ | own,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                process.wait(limits.total)
            except subprocess.TimeoutExpired:
                return None, None, f"it takes longer than {limits.total} seconds in all"
            finally:
                end_all(token, process.pid)
                process.wait()
        try:
            if process.returncode:
                raise ValueError("what lies there is not from what grades")
            result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
            page = (folder / FEEDBACK / STUDENT / course.name / f"{course.name}.html").read_bytes()
        except (OSError, ValueError):
            last = said.read_text(encoding="utf-8", errors="replace").strip()[-300:] if said.exists() else ""
            return None, None, f"it has broken what grades it (exit code {process.returncode}): {last}"
        finally:
            subprocess.run(["rm", "-rf", scratch], stderr=subprocess.DEVNULL)  # however deep; Python gives up
        return result, page, ""


def end_all(token: str, parent: int) -> None:
    """Kill a process, all that it has started, and all that was started under a mark and has left its parents."""
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(parent).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                process.kill()
    for _ in range(10):  # one that is killed may have started another in the meantime
        alive = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) == token and process.status() != psutil.STATUS_ZOMBIE:
                    process.kill()
                    alive.append(process)
        if not alive:
            return
        psutil.wait_procs(alive, timeout=1)


def grade_student(folder: Path, course: Course, limits: Limits) -> tuple[list[dict], bytes | None]:
    """Grade one student's folder, and give a row an exercise and the page of feedback."""
    notebook, reason = submission(folder, course)
    try:
        result, page, why = run(notebook, course, limits, reason)
    except Exception as error:  # whatever else a submission does: the class is graded
        result, page, why = None, None, f"it has broken what grades it ({type(error).__name__})"
    if result is None:  # it was stopped, or has broken what graded it: the page of feedback says so
        result, page, failed = run(course.released, course, limits, why)
        result = result or {
            cell: {"points": 0, "comment": f"not graded: {why}; {failed}"} for cell in course.max_points()
        }
    rows: dict[str, dict] = {}
    for cell, most in course.max_points().items():
        exercise, _, part = cell.partition("-tests")
        row = rows.setdefault(exercise, {"points": 0, "max_points": 0, "comment": {}})
        row["points"] += min(max(result[cell]["points"], 0), most)
        row["max_points"] += most
        if comment := result[cell]["comment"]:
            row["comment"].setdefault(comment, []).append(part.removeprefix("-"))
    return [
        {"student": folder.name, "exercise": exercise} | row | {"comment": in_one_line(row["comment"])}
        for exercise, row in rows.items()
    ], page


def in_one_line(comments: dict[str, list[str]]) -> str:
    """Join what is said of the parts of an exercise; nothing that a spreadsheet would take for a formula."""
    said = [": ".join(filter(None, [", ".join(parts), comment])) for comment, parts in comments.items()]
    return printable("; ".join(said)).lstrip("=+-@ ")


def printable(text: str) -> str:
    """Give a text in one line, without what no table, terminal or argument can hold."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


def students(submissions: Path) -> list[Path]:
    """Give the students' folders, in the order of their names."""
    return sorted(
        path
        for path in submissions.iterdir()
        if path.is_dir() and path.name != FEEDBACK and not path.name.startswith(".")
    )


def grade(name: str, submissions: Path, limits: Limits | None = None) -> list[dict]:
    """Grade a class.

    Parameters
    ----------
    name : str
        The chapter, as in `01_vanishing_gradients`.
    submissions : Path
        A folder with a folder for each student, in which the notebook `<name>.ipynb` lies.
    limits : Limits, optional
        What one submission may take.

    Returns
    -------
    list of dict
        A row an exercise a student. Beside the students' folders it is written to `grades.csv` (one that was there is
        kept under another name), and the pages of feedback into `feedback/<student>/`.

    Raises
    ------
    ValueError
        If there is no such chapter, no such folder, or no student's folder in it.
    """
    if not submissions.is_dir():
        raise ValueError(f"there is no folder {submissions}")
    folders = students(submissions)
    if not folders:
        raise ValueError(f"{submissions} holds no student's folder: {name}.ipynb is looked for in <student>/")
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(os.cpu_count()) as pool:
        course = Course(Path(scratch), name, open_course(Path(scratch), name))
        graded = pool.map(lambda folder: grade_student(folder, course, limits or Limits()), folders)
        rows = []
        for folder, (own, page) in zip(folders, tqdm(graded, total=len(folders), disable=None), strict=True):
            rows += own
            if page is not None:
                replace(submissions / FEEDBACK / folder.name / f"{name}.html", page)
    path = submissions / "grades.csv"
    if path.exists():
        path.rename(
            path.with_name(f"grades-{datetime.fromtimestamp(path.stat().st_mtime):%Y-%m-%dT%H%M%S}.csv")
        )
    table = pd.DataFrame(rows, columns=COLUMNS)
    # A folder's name that is no UTF-8, as an old archive gives it, is written with escapes.
    replace(path, table.to_csv(index=False, float_format="%g").encode(errors="backslashreplace"))
    return rows


def main() -> int:
    """Grade the class that the command line names, and say how it went."""
    parser = argparse.ArgumentParser(prog="make grade", description=__doc__.splitlines()[0])
    parser.add_argument("chapter", help="file name without .ipynb")
    parser.add_argument("submissions", type=Path, help="folder with <student>/<chapter>.ipynb")
    arguments = parser.parse_args()
    try:
        rows = grade(arguments.chapter, arguments.submissions)
    except ValueError as error:
        parser.error(str(error))
    table = pd.DataFrame(rows)
    print(
        table.groupby("exercise", sort=False)[["points", "max_points"]]
        .mean()
        .rename(columns={"points": "mean points"})
    )
    print(f"{table.student.nunique()} students are graded: {arguments.submissions / 'grades.csv'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
