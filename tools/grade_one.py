"""Grade one submission in a throw-away course: `tools/grade.py` runs this as a process that it may kill.

nbgrader does the grading. It is given an `Execute` that keeps a submission within limits, and that counts tests as
failed unless `tools/run_tests.py` has run them to their end (nbgrader itself gives full points for a cell that shows no
error, and part of them for one that shows a number).
"""

# ruff: noqa: E402

import contextlib
import ctypes
import json
import resource
import sys
import tempfile
import uuid
from pathlib import Path

# jsonschema compiles a grammar of addresses as it is imported, which takes seconds, for a check that nobody asks for.
sys.modules["rfc3987_syntax"] = None

import nbformat
import psutil
from assignment import STUDENT, course, is_test
from jupyter_client import KernelManager
from jupyter_core.utils import ensure_async
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

#: Characters that a cell may print; what it prints beyond them is dropped as it comes.
CHARACTERS = 100_000
#: Characters of a line of an error, and of a comment in the table.
LINE = 2_000
WORDS = 200


class Run(Execute):
    """Execute a submission in an empty folder, however it behaves; tests that have not run to their end have failed."""

    reason = Unicode("", help="why the submission is not executed at all; empty where it is").tag(config=True)

    def preprocess(
        self, nb: NotebookNode, resources: dict, km: KernelManager | None = None
    ) -> tuple[NotebookNode, dict]:
        """Execute the cells, and put an error under each that has not been executed to its end."""
        self.done, self.printed, self.proof = set(), {}, uuid.uuid4().hex
        problem = self.reason
        if not problem:
            # Not cleaned up here: a submission may have made it more than Python can delete.
            resources.setdefault("metadata", {})["path"] = tempfile.mkdtemp()
            try:
                nb, resources = super().preprocess(nb, resources, km)
            except Exception as error:  # the kernel was ended from within, say
                problem = f"the notebook ended early ({type(error).__name__})"
        for index, cell in enumerate(nb.cells):
            if cell.cell_type != "code":
                continue
            # To nbgrader a warning is a failure, and a number is points.
            cell.outputs = [
                output
                for output in cell.outputs
                if output.get("name") != "stderr" and output.output_type != "execute_result"
            ]
            for error in cell.outputs:
                if error.output_type == "error":
                    error.evalue, error.traceback = (
                        error.evalue[:LINE],
                        [line[:LINE] for line in error.traceback],
                    )
            if index not in self.done and cell.source.strip():
                words = problem or "this cell has not run to its end"
                cell.outputs.append(
                    new_output("error", ename="NotRun", evalue=words, traceback=[f"NotRun: {words}"])
                )
        return nb, resources

    async def on_notebook_start(self, **kwargs: object) -> None:
        """Let the kernel import what runs the tests, before anything of the submission."""
        tests = [cell.source for cell in self.nb.cells if is_test(cell)]
        folder = str(Path(__file__).parent)
        code = (
            f'__import__("sys").path.insert(0, {folder!r})\n__import__("run_tests").prepare({tests!r})\n'
            '__import__("sys").path.pop(0)'
        )
        asked = await ensure_async(self.kc.execute(code, silent=True))
        reply = {"parent_header": {}}
        while reply["parent_header"].get("msg_id") != asked:
            reply = await ensure_async(self.kc.shell_channel.get_msg())
        if reply["content"]["status"] != "ok":
            raise RuntimeError("the tests cannot be prepared")

    def preprocess_cell(self, cell: NotebookNode, resources: dict, index: int) -> tuple[NotebookNode, dict]:
        """Execute a cell, one with tests where nothing of the submission changes what they are."""
        source = cell.source
        if is_test(cell):
            hidden = source.encode().hex()
            cell.source = f'__import__("run_tests").run(bytes.fromhex("{hidden}"), "{self.proof}")'
        try:
            return super().preprocess_cell(cell, resources, index)
        finally:
            cell.source = source

    def on_cell_executed(self, **kwargs: object) -> None:
        """Note a cell that has been executed, with or without an error, and was not cut off."""
        super().on_cell_executed(**kwargs)
        failed = any(output.output_type == "error" for output in kwargs["cell"].outputs)
        if failed or not is_test(kwargs["cell"]):
            self.done.add(kwargs["cell_index"])

    def process_message(self, msg: dict, cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        """Take what the kernel says of a cell, up to a limit."""
        content = msg["content"]
        if content.get("data") == {"text/plain": self.proof}:
            self.done.add(cell_index)
            return None
        if msg["msg_type"].startswith("comm_"):  # what a widget shows is no part of an answer
            return None
        if msg["msg_type"] not in {"status", "clear_output"}:
            self.printed[cell_index] = self.printed.get(cell_index, 0) + len(str(content)) + 100
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


def adopt_orphans() -> None:
    """Become the parent of what a submission leaves running, where the system has this (Linux)."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def main(folder: Path, name: str, cell_seconds: int, memory: float, reason: str) -> int:
    """Grade the submission that lies in the course; leave `result.json` and nbgrader's feedback there."""
    config = Config()
    config.Run.timeout = cell_seconds
    config.Run.iopub_timeout = cell_seconds  # for what a cell has printed faster than it is read
    config.Run.reason = reason
    config.Autograde.autograde_preprocessors = [Run, LimitOutput, SaveAutoGrades, CheckCellMetadata]
    api = course(folder, config)
    bound(memory)
    adopt_orphans()
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
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            process.kill()
    return 0


if __name__ == "__main__":
    path, assignment, seconds, gigabytes, why = sys.argv[1:]
    sys.exit(main(Path(path), assignment, int(seconds), float(gigabytes), why))
