"""Grade one submission in a throw-away course: `tools/grade.py` runs this as a process that it may kill.

nbgrader does the grading. It is given an `Execute` that keeps a submission within limits, and that counts tests as
failed unless they have run to their end (nbgrader itself gives full points for a cell that shows no error).
"""

# ruff: noqa: E402

import json
import resource
import sys
import tempfile
from pathlib import Path

# jsonschema compiles a grammar of addresses as it is imported, which takes seconds, for a check that nobody asks for.
sys.modules["rfc3987_syntax"] = None

import nbformat
from assignment import course, is_test
from jupyter_client import KernelManager
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.api import Gradebook
from nbgrader.preprocessors import (
    CheckCellMetadata,
    Execute,
    LimitOutput,
    SaveAutoGrades,
)
from traitlets import Unicode
from traitlets.config import Config

STUDENT = "student"
#: Characters that a cell may print; what it prints beyond them is dropped as it comes.
CHARACTERS = 100_000
WORDS = 200


class Run(Execute):
    """Execute a submission in an empty folder, however it behaves; tests that have not run to their end have failed."""

    reason = Unicode("", help="why the submission is not executed at all; empty where it is").tag(config=True)

    def preprocess(
        self, nb: NotebookNode, resources: dict, km: KernelManager | None = None
    ) -> tuple[NotebookNode, dict]:
        """Execute the cells, and put an error under each that has not been executed to its end."""
        self.done, self.printed = set(), {}
        problem = self.reason
        if not problem:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                resources.setdefault("metadata", {})["path"] = folder
                try:
                    nb, resources = super().preprocess(nb, resources, km)
                except Exception as error:  # the kernel was ended from within, say
                    problem = f"the notebook ended early ({type(error).__name__})"
        for index, cell in enumerate(nb.cells):
            if cell.cell_type != "code":
                continue
            cell.outputs = [
                output for output in cell.outputs if output.get("name") != "stderr"
            ]  # a warning is no failure
            if index not in self.done and cell.source.strip():
                words = problem or "this cell was not run"
                cell.outputs.append(
                    new_output("error", ename="NotRun", evalue=words, traceback=[f"NotRun: {words}"])
                )
        return nb, resources

    def on_cell_executed(self, **kwargs: object) -> None:
        """Note a cell that has been executed, with or without an error, and was not cut off."""
        super().on_cell_executed(**kwargs)
        self.done.add(kwargs["cell_index"])

    def process_message(self, msg: dict, cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        """Take what the kernel says of a cell, up to a limit."""
        content = msg["content"]
        if msg["msg_type"] in {"stream", "display_data", "execute_result", "update_display_data"}:
            size = len(content.get("text", "")) + sum(
                len(str(part)) for part in content.get("data", {}).values()
            )
            self.printed[cell_index] = self.printed.get(cell_index, 0) + size
            if self.printed[cell_index] > CHARACTERS:
                return None
        return super().process_message(msg, cell, cell_index)


def comment(cell: NotebookNode) -> str:
    """Say in one line why the tests of a cell have failed; empty where they have not."""
    errors = {output.ename: output.evalue for output in cell.outputs if output.output_type == "error"}
    if not errors:
        return ""
    if "CellTimeoutError" in errors:
        return "it takes too long"
    name, words = next(iter(errors.items()))
    if name == "NotImplementedError":
        return "no answer"
    said = " ".join(words.split())
    return (said if name in {"NotRun", "AssertionError"} and said else f"{name}: {said}")[:WORDS]


def bound(memory: float) -> None:
    """Limit the memory of this process and of those that it starts, in gigabytes, and the files that they write."""
    limits = {
        resource.RLIMIT_DATA: int(memory * 1e9),
        resource.RLIMIT_FSIZE: 100_000_000,
        resource.RLIMIT_CORE: 0,
    }
    for kind, most in limits.items():
        resource.setrlimit(kind, (most, most))


def main(folder: Path, name: str, cell_seconds: int, memory: float, reason: str) -> int:
    """Grade the submission that lies in the course; leave `result.json` and nbgrader's feedback there."""
    config = Config()
    config.Run.timeout = cell_seconds
    config.Run.reason = reason
    config.Autograde.autograde_preprocessors = [Run, LimitOutput, SaveAutoGrades, CheckCellMetadata]
    api = course(folder, config)
    bound(memory)
    for step in (api.autograde, api.generate_feedback):
        done = step(name, STUDENT, force=True)
        if not done["success"]:
            print(done.get("log") or done.get("error"))
            return 1
    graded = nbformat.read(folder / "autograded" / STUDENT / name / f"{name}.ipynb", as_version=4)
    comments = {cell.metadata.nbgrader.grade_id: comment(cell) for cell in graded.cells if is_test(cell)}
    with Gradebook(config.CourseDirectory.db_url) as gradebook:
        grades = gradebook.find_submission_notebook(name, name, STUDENT).grades
        result = {
            grade.name: {
                "points": grade.auto_score or 0,
                "comment": comments.get(grade.name, "the tests are missing"),
            }
            for grade in grades
        }
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    return 0


if __name__ == "__main__":
    path, assignment, seconds, gigabytes, why = sys.argv[1:]
    sys.exit(main(Path(path), assignment, int(seconds), float(gigabytes), why))
