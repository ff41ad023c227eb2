"""The classroom path, from a chapter's exercises to a table of grades.

Over every chapter: what students get, and that the right answers earn everything, no answer nothing, and each wrong
answer of `tests/wrong_answers` nothing on the part that it gets wrong. Once, on a small chapter of two exercises: a
class in which some submissions do what submissions should not.
"""

import copy
import json
import os
import re
import tomllib
import warnings
from pathlib import Path

import assignment
import grade
import nbformat
import pandas as pd
import psutil
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).parents[1]
NAMES = list(assignment.CHAPTERS)
ADDRESS = "https://book.example/site/chapters/01_a_chapter.html"
WRONG = {
    name: tomllib.loads((ROOT / "tests" / "wrong_answers" / f"{name}.toml").read_text(encoding="utf-8"))[
        "answer"
    ]
    for name in NAMES
}
# What is right is to be found right on a busy machine, too; what the limits do is tested below.
PATIENCE = grade.Limits(cell=300, total=1500)


def read(name: str) -> NotebookNode:
    return nbformat.read(assignment.CHAPTERS[name], as_version=4)


def marks(notebook: NotebookNode) -> dict[str, NotebookNode]:
    """The cells of an assignment, by nbgrader's name for them."""
    return {cell.metadata.nbgrader.grade_id: cell for cell in notebook.cells if "nbgrader" in cell.metadata}


def hand_in(folder: Path, name: str, classroom: dict[str, NotebookNode | str | None]) -> Path:
    for student, work in classroom.items():
        (folder / student).mkdir(parents=True)
        if work is not None:
            text = work if isinstance(work, str) else nbformat.writes(work)
            (folder / student / f"{name}.ipynb").write_text(text, encoding="utf-8")
    return folder


def points(table: pd.DataFrame) -> dict[str, list[float]]:
    return {student: rows.points.tolist() for student, rows in table.groupby("student")}


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """What students get of each chapter."""
    return {name: assignment.open_course(tmp_path_factory.mktemp(name), name) for name in NAMES}


# What students get.


@pytest.mark.parametrize("name", NAMES)
def test_students_get_the_bootstrap_and_the_exercises_without_answers(name, released):
    chapter, student = read(name), released[name]
    opening, bootstrap, *body = student.cells
    assert bootstrap.source == next(cell.source for cell in chapter.cells if cell.cell_type == "code")
    assert f"chapters/{name}.html" in opening.source
    assert marks(student).keys() == marks(chapter).keys()
    assert [cell.id for cell in body] == [
        cell.id for cell in chapter.cells if cell.id in {other.id for other in body}
    ]
    text = "\n".join(cell.source for cell in student.cells)
    assert not re.search(r"BEGIN|END (SOLUTION|HIDDEN)|<details", text)
    for cell in body:
        assert not cell.get("outputs")
        assert not assignment.FOLDS & cell.metadata.keys()


@pytest.mark.parametrize("name", NAMES)
def test_no_line_of_a_solution_or_of_a_hidden_test_is_handed_out(name, released):
    regions = r"### BEGIN (?:SOLUTION|HIDDEN TESTS)\n(.*?)### END"
    cells = marks(read(name)).values()
    shown = "\n".join(re.sub(regions, "", cell.source, flags=re.DOTALL) for cell in cells)
    secret = {
        line.strip()
        for cell in cells
        for region in re.findall(regions, cell.source, flags=re.DOTALL)
        for line in region.splitlines()
        if len(line.strip()) > 15 and line.strip() not in shown
    }
    assert len(secret) > 10
    text = "\n".join(cell.source for cell in released[name].cells)
    assert [line for line in secret if line in text] == []


@pytest.mark.parametrize("name", NAMES)
def test_links_of_an_assignment_lead_to_the_site(name, released):
    links = re.findall(r"\]\(([^)\s]+)\)", "\n".join(cell.source for cell in released[name].cells[2:]))
    assert [link for link in links if not link.startswith("https://")] == []


def test_links_and_answers_are_found_wherever_they_stand():
    text = (
        "See [chapter 2](02_relu.ipynb#slope), [notes](notation.md), [above](#here), [paper](https://doi.org/10.1/2).\n"
        '\n<details class="answer">\n<summary>A</summary>\n\nbecause\n\n</details>\n\nAnd then?\n\n'
        '<details class="answer">so</details>'
    )
    assert assignment.on_its_own(text, ADDRESS) == (
        "See [chapter 2](https://book.example/site/chapters/02_relu.html#slope), "
        "[notes](https://book.example/site/chapters/notation.html), "
        f"[above]({ADDRESS}#here), [paper](https://doi.org/10.1/2).\n\n\n\nAnd then?"
    )


def test_make_assignment_writes_one_notebook_and_leaves_what_else_is_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(assignment, "CHAPTERS", small_chapter(tmp_path, "01_small"))
    monkeypatch.setattr(assignment, "ASSIGNMENTS", tmp_path)
    monkeypatch.setattr(assignment.sys, "argv", ["assignment.py"])
    (tmp_path / "01_small").mkdir()
    (tmp_path / "01_small" / "mine.txt").write_text("notes")
    assert assignment.main() == 0
    assert sorted(path.name for path in (tmp_path / "01_small").iterdir()) == ["01_small.ipynb", "mine.txt"]
    assert str(tmp_path / "01_small") in capsys.readouterr().out


def test_a_course_of_nbgrader_gets_the_version_with_solutions(tmp_path, monkeypatch):
    monkeypatch.setattr(assignment, "CHAPTERS", small_chapter(tmp_path, "01_small"))
    monkeypatch.setattr(assignment, "ASSIGNMENTS", tmp_path / "students")
    monkeypatch.setattr(
        assignment.sys, "argv", ["assignment.py", "01_small", "--course", str(tmp_path / "dl")]
    )
    assert assignment.main() == 0
    result = assignment.course(tmp_path / "dl").generate_assignment("01_small")
    assert result["success"], result
    released = nbformat.read(tmp_path / "dl" / "release" / "01_small" / "01_small.ipynb", as_version=4)
    student = nbformat.read(tmp_path / "students" / "01_small" / "01_small.ipynb", as_version=4)
    assert [cell.source for cell in released.cells] == [cell.source for cell in student.cells]


def test_an_unknown_chapter_is_named_with_those_that_exist(monkeypatch, capsys):
    monkeypatch.setattr(assignment.sys, "argv", ["assignment.py", "99_no_such_chapter"])
    with pytest.raises(SystemExit):
        assignment.main()
    said = capsys.readouterr().err
    assert "99_no_such_chapter" in said
    assert NAMES[0] in said


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([new_markdown_cell("# 1. Title")], "## Exercises"),
        (
            [new_markdown_cell("# 1. Title"), new_code_cell("x"), new_markdown_cell("## Exercises")],
            "grades itself",
        ),
    ],
)
def test_a_chapter_without_exercises_is_told_what_is_missing(cells, words):
    with pytest.raises(ValueError, match=words):
        assignment.exercises(new_notebook(cells=cells), ADDRESS)


# What they earn, in every chapter.


def answered(student: NotebookNode, solutions: dict[str, NotebookNode], wrong: list[dict]) -> NotebookNode:
    """The student version with right answers, but for the wrong ones."""
    work = copy.deepcopy(student)
    for key, cell in marks(work).items():
        cell.source = solutions[key].source if cell.metadata.nbgrader.solution else cell.source
    for answer in wrong:
        marks(work)[answer["cell"]].source = answer["code"]
    return work


def failing(work: NotebookNode) -> list[str]:
    """Run a submission here, as its kernel would, and name the tests that it fails."""
    names, failed = {}, []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for cell in work.cells:
            if cell.cell_type == "code":
                try:
                    exec(TransformerManager().transform_cell(cell.source), names)
                except Exception:
                    if "nbgrader" in cell.metadata and assignment.is_test(cell):
                        failed.append(cell.metadata.nbgrader.grade_id)
    return failed


@pytest.mark.parametrize("name", NAMES)
def test_each_wrong_answer_fails_the_tests_of_what_it_gets_wrong_and_no_others(name, released):
    solutions = marks(read(name))
    handed_out = copy.deepcopy(released[name])
    for key, cell in marks(handed_out).items():
        cell.source = solutions[key].source  # with the hidden parts of the tests
    assert failing(answered(handed_out, solutions, [])) == []
    found = [
        (answer["misconception"], failing(answered(handed_out, solutions, [answer])))
        for answer in WRONG[name]
    ]
    assert found == [(answer["misconception"], answer["fails"]) for answer in WRONG[name]]


@pytest.mark.parametrize("name", NAMES)
def test_right_answers_earn_everything_no_answer_nothing_and_wrong_ones_nothing_where_they_err(
    name, released, tmp_path
):
    solutions = marks(read(name))
    wrong = list({answer["cell"]: answer for answer in reversed(WRONG[name])}.values())  # one to each cell
    classroom = {
        "right": answered(released[name], solutions, []),
        "untouched": released[name],
        "wrong": answered(released[name], solutions, wrong),
    }
    grade.grade(name, hand_in(tmp_path, name, classroom), PATIENCE)
    table = pd.read_csv(tmp_path / "grades.csv")
    assert list(table.columns) == ["student", "exercise", "points", "max_points", "comment"]
    earned = points(table)
    right = table.query("student == 'right'")
    assert earned["right"] == right.max_points.tolist(), right.comment.tolist()
    assert right.comment.isna().all()
    assert earned["untouched"] == [0.0] * len(right)
    failed = {test for answer in wrong for test in answer["fails"]}
    worth = {
        key: cell.metadata.nbgrader.points
        for key, cell in solutions.items()
        if assignment.is_test(cell) and key not in failed
    }
    assert earned["wrong"] == [
        sum(most for test, most in worth.items() if test.split("-tests")[0] == exercise)
        for exercise in right.exercise
    ]
    assert all((tmp_path / "feedback" / student / f"{name}.html").exists() for student in classroom)


@pytest.mark.parametrize("name", NAMES)
def test_every_test_has_a_misconception_to_find_and_one_that_only_the_hidden_part_finds(name):
    tests = [key for key, cell in marks(read(name)).items() if assignment.is_test(cell)]
    for test in tests:
        found = [answer for answer in WRONG[name] if test in answer["fails"]]
        assert len(found) >= 2, test
        assert any(answer.get("by_heart") for answer in found), test


@pytest.mark.parametrize(
    ("name", "answer"), [(name, a) for name in NAMES for a in WRONG[name] if a.get("by_heart")]
)
def test_an_answer_by_heart_passes_the_visible_tests(name, answer, released):
    assert failing(answered(released[name], marks(read(name)), [answer])) == []


# Submissions that do what they should not.

TESTS = """\
import math

assert math.isclose(abs({name}(1)), {one})
### BEGIN HIDDEN TESTS
assert math.isclose(abs({name}(7)), {seven})
### END HIDDEN TESTS"""


def mark(name: str, **fields: object) -> dict:
    marked = {
        "grade": False,
        "grade_id": name,
        "locked": False,
        "solution": False,
        "task": False,
        "schema_version": 3,
    }
    return {"nbgrader": marked | fields}


def small_chapter(folder: Path, name: str) -> dict[str, Path]:
    """A chapter of two exercises that need no package, as the table of chapters has it."""
    cells = [
        new_markdown_cell("# 1. A chapter"),
        new_code_cell("import sys"),
        new_markdown_cell("## Exercises\n\nTry."),
    ]
    for number, (function, factor) in enumerate({"double": 2, "triple": 3}.items(), start=1):
        key = f"exercise-{number}"
        solution = (
            f"def {function}(x):\n    ### BEGIN SOLUTION\n    return {factor} * x\n    ### END SOLUTION"
        )
        test = TESTS.format(name=function, one=factor, seven=7 * factor)
        cells += [
            new_markdown_cell(f"**{number}.** Write `{function}`.", metadata=mark(key, locked=True)),
            new_code_cell(solution, metadata=mark(f"{key}-solution", solution=True)),
            new_code_cell(test, metadata=mark(f"{key}-tests", grade=True, locked=True, points=2)),
        ]
    kernelspec = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    path = folder / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernelspec}), path)
    return {name: path}


def without_tests(work: NotebookNode) -> None:
    work.cells = [cell for cell in work.cells if not assignment.is_test(cell)]


def with_tests_switched_off(work: NotebookNode) -> None:
    for cell in work.cells:
        if assignment.is_test(cell):
            cell.metadata.tags = ["skip-execution"]


def with_edited_tests(work: NotebookNode) -> None:
    for cell in work.cells:
        if assignment.is_test(cell):
            cell.source = "pass"
            cell.metadata.nbgrader.points = 100


def without_marks(work: NotebookNode) -> None:
    for cell in work.cells:
        cell.metadata.clear()


def with_a_cell(source: str):
    return lambda work: work.cells.insert(1, new_code_cell(source))


RIGHT = "def double(x):\n    return 2 * x"
WRONG_EVERYWHERE = "def double(x):\n    return 0"

STUBBORN = """\
def double(x):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
"""

FILLS_THE_DISK = """\
def double(x):
    with open("big", "wb") as file:
        for _ in range(10**4):
            file.write(bytes(10**7))
"""

DELETES_ALL = """\
import shutil
from pathlib import Path

def double(x):
    shutil.rmtree(Path.cwd().parent)
    shutil.rmtree(Path.home(), ignore_errors=True)
    return 0
"""

LEAVES_SOMETHING = """\
import subprocess

def double(x):
    subprocess.Popen(["sleep", "98765"], start_new_session=True)
    subprocess.Popen(["sh", "-c", "sleep 98765 &"], env={}, start_new_session=True)
    return 2 * x
"""

#: Each of these would do for full points, where tests ran as cells do.
PLAYS_TRICKS = """\
import ast
import builtins
import math

class NoAssert(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.Pass()

answers = iter([2, 14])

def abs(x):
    return next(answers)

builtins.abs = abs
math.isclose = lambda *given: True
shell = get_ipython()
shell.ast_transformers.append(NoAssert())
shell.input_transformers_post.append(lambda lines: [line.replace("assert", "0 or") for line in lines])

def double(x):
    shell.displayhook(2.0)  # which nbgrader takes for points
    return 0
"""

RUNS_NOTHING = """\
async def run_code(*given, **named):
    return False

get_ipython().run_code = run_code
"""

HAS_NAMES_OF_ITS_OWN = """\
abs, input = 5, 2

def double(x: "a number"):
    return math.floor(input * x)
"""

NESTS_FOLDERS = """\
import os

for _ in range(1500):
    os.mkdir("a folder")
    os.chdir("a folder")
"""

KILLS_WHAT_GRADES_IT = """\
import os
import time

def double(x):
    os.write(1, bytes(1000))
    os.kill(os.getppid(), 9)
    time.sleep(10)
"""

#: What each student's `double` is, what else is done to the notebook, and the points of the two exercises, or None
#: where either is fair. All have the right answer to the second: fewer than 2 points there are what the first costs.
CLASS = {
    "ada": (RIGHT, None, [2, 2]),
    "loops": ("def double(x):\n    while True:\n        pass", None, [0, 2]),
    "loops and will not stop": (STUBBORN, None, [0, 0]),
    "prints a gigabyte": (RIGHT, with_a_cell("for _ in range(1000):\n    print('x' * 10**6)"), None),
    "prints past the kernel": (
        RIGHT,
        with_a_cell("import os\nfor _ in range(1000):\n    os.write(1, b'x' * 10**6)"),
        None,
    ),
    "eats all memory": ("def double(x):\n    return [bytearray(10**8) for _ in range(10**4)]", None, [0, 2]),
    "fills the disk": (FILLS_THE_DISK, None, [0, 2]),
    "deletes its folder": (f"import shutil\nshutil.rmtree('.', ignore_errors=True)\n{RIGHT}", None, [2, 2]),
    "deletes what it finds": (DELETES_ALL, None, [0, 0]),
    "edits tests": (WRONG_EVERYWHERE, with_edited_tests, [0, 2]),
    "removes tests, wrong": (WRONG_EVERYWHERE, without_tests, [0, 2]),
    "removes tests, right": (RIGHT, without_tests, [2, 2]),
    "switches tests off": (WRONG_EVERYWHERE, with_tests_switched_off, [0, 2]),
    "has lost all marks": (RIGHT, without_marks, [2, 2]),
    "knows the visible test": ("def double(x):\n    return 2", None, [0, 2]),
    "raises at import": (f"import no_such_package\n{RIGHT}", None, [0, 2]),
    "exits": ("def double(x):\n    raise SystemExit", None, [0, 2]),
    "exits at once": ("import os\ndef double(x):\n    os._exit(0)", None, [0, 0]),
    "plays tricks": (PLAYS_TRICKS, None, [0, 2]),
    "runs nothing": (RUNS_NOTHING, None, [0, 0]),
    "has names of its own": (HAS_NAMES_OF_ITS_OWN, None, [2, 2]),
    "nests folders": (NESTS_FOLDERS + RIGHT, None, [2, 2]),
    "kills what grades it": (KILLS_WHAT_GRADES_IT, None, [0, 0]),
    "leaves something running": (LEAVES_SOMETHING, None, [2, 2]),
    "warns": (
        "import warnings\ndef double(x):\n    warnings.warn('careful')\n    return 2 * x",
        None,
        [2, 2],
    ),
    "=1+1": ("def double(x):\n    raise type('=1+1', (Exception,), {})('2')", None, [0, 2]),
    "zoe": (RIGHT, None, [2, 2]),
}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """The class above, and three who hand in no notebook; the table, and the folder."""
    folder = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assignment, "CHAPTERS", small_chapter(folder, "01_small"))
        course = tmp_path_factory.mktemp("course")
        student = assignment.open_course(course, "01_small")
        classroom = {}
        for name, (double, change, _) in CLASS.items():
            work = copy.deepcopy(student)
            marks(work)["exercise-1-solution"].source = double
            marks(work)["exercise-2-solution"].source = "def triple(x):\n    return 3 * x"
            if change:
                change(work)
            classroom[name] = work
        classroom |= {"nothing": None, "a picture": "\x89PNG", "another notebook": json.dumps({"cells": 3})}
        submissions = hand_in(folder / "submissions", "01_small", classroom)
        before = {path: path.read_bytes() for path in submissions.rglob("*.ipynb")}
        grade.grade("01_small", submissions, grade.Limits(cell=8, total=60, memory=2))
        assert {path: path.read_bytes() for path in submissions.rglob("*.ipynb")} == before
        return pd.read_csv(submissions / "grades.csv"), submissions


@pytest.mark.parametrize("student", [name for name, (_, _, expected) in CLASS.items() if expected])
def test_a_submission_costs_its_author_at_most(student, graded):
    assert points(graded[0])[student] == CLASS[student][2]


@pytest.mark.parametrize("student", ["nothing", "a picture", "another notebook"])
def test_what_cannot_be_read_earns_nothing_and_says_why(student, graded):
    rows = graded[0].query("student == @student")
    assert rows.points.tolist() == [0, 0]
    assert rows.comment.str.len().min() > 10


def test_every_student_has_a_row_an_exercise_and_a_page(graded):
    table, submissions = graded
    names = [*CLASS, "nothing", "a picture", "another notebook"]
    assert table.groupby("student").exercise.apply(list).to_dict() == {
        name: ["exercise-1", "exercise-2"] for name in names
    }
    assert (table.max_points == 2).all()
    for name in names:
        assert 1_000 < (submissions / "feedback" / name / "01_small.html").stat().st_size < 3_000_000


def test_comments_say_what_went_wrong(graded):
    table = graded[0].set_index(["student", "exercise"]).comment
    assert table["loops", "exercise-1"] == "it takes too long"
    assert "MemoryError" in table["eats all memory", "exercise-1"]
    assert (
        "no_such_package" in table["raises at import", "exercise-1"]
        or "double" in table["raises at import", "exercise-1"]
    )
    assert "01_small.ipynb" in table["nothing", "exercise-1"]


def test_a_comment_is_one_line_that_a_table_can_hold():
    assert grade.in_one_line({"=1+1\n\x00\ud800\x1b[31m": [""], "late": ["a", "b"]}) == "1+1 [31m; a, b: late"


@pytest.mark.parametrize("about", [None, "yes", {"grade_id": ["exercise-1-tests"]}, {}])
def test_marks_that_an_editor_has_spoilt_count_as_lost(about, tmp_path):
    tests = new_code_cell("assert True", metadata=mark("exercise-1-tests", grade=True, locked=True, points=2))
    work = grade.mended(
        new_notebook(cells=[new_code_cell("x = 1", metadata={"nbgrader": about})]),
        new_notebook(cells=[tests]),
    )
    assert [cell.source for cell in work.cells] == ["x = 1", "assert True"]


def test_a_byte_order_mark_and_ends_of_lines_from_windows_are_read(tmp_path):
    text = nbformat.writes(new_notebook(cells=[new_code_cell("x = 1")]))
    (tmp_path / "01_small.ipynb").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    notebook, reason = grade.submission(tmp_path, grade.Course(tmp_path, "01_small", new_notebook()))
    assert ([cell.source for cell in notebook.cells], reason) == (["x = 1"], "")


def test_a_folder_with_a_name_of_no_known_letters_does_not_cost_the_class_its_table(tmp_path, monkeypatch):
    nothing = {"points": 0, "max_points": 2, "comment": "", "exercise": "exercise-1"}
    monkeypatch.setattr(assignment, "CHAPTERS", small_chapter(tmp_path, "01_small"))
    monkeypatch.setattr(
        grade, "grade_student", lambda folder, *_: ([nothing | {"student": folder.name}], None)
    )
    for name in [b"Ren\xe9", b"-rf", b"two\nlines"]:
        (tmp_path / "class" / os.fsdecode(name)).mkdir(parents=True)
    grade.grade("01_small", tmp_path / "class")
    assert set(pd.read_csv(tmp_path / "class" / "grades.csv").student) == {"Ren\\udce9", "-rf", "two\nlines"}


def test_a_comment_is_no_formula(graded):
    assert not graded[0].comment.dropna().str.match(r"[=+\-@]").any()


def test_nothing_is_left_running(graded):
    commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert [command for command in commands if "98765" in command] == []


def test_a_second_run_keeps_the_first_table(graded, tmp_path, monkeypatch):
    (tmp_path / "ada").mkdir()
    (tmp_path / "grades.csv").write_text("student,mark\nada,excellent\n")
    monkeypatch.setattr(assignment, "CHAPTERS", small_chapter(tmp_path, "01_small"))
    grade.grade("01_small", tmp_path)
    assert [path.read_text() for path in tmp_path.glob("grades-*.csv")] == ["student,mark\nada,excellent\n"]
    assert pd.read_csv(tmp_path / "grades.csv").points.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("chapter", "folder", "words"),
    [(NAMES[0], "none", "no folder"), (NAMES[0], "", "no student"), ("99_x", "a", NAMES[0])],
)
def test_make_grade_says_what_is_wrong_with_its_arguments(chapter, folder, words, tmp_path):
    (tmp_path / "class" / "a" / "ada").mkdir(parents=True)
    submissions = tmp_path / ("empty" if not folder else f"class/{folder}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=words):
        grade.grade(chapter, submissions)
