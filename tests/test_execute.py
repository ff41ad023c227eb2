"""`make execute`: what it stores, and what it leaves alone."""

from datetime import date
from pathlib import Path

import execute
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def execution():
    return execute


@pytest.fixture
def write(tmp_path):
    """Write a notebook of code cells, of which the first was once executed and timed elsewhere."""

    def write(*sources: str) -> Path:
        notebook = new_notebook(
            cells=[new_markdown_cell("# A chapter"), *(new_code_cell(source) for source in sources)],
            metadata={"kernelspec": {"name": "somebody", "display_name": "else"}, "widgets": {}},
        )
        notebook.cells[1].execution_count = 7
        notebook.cells[1].metadata["execution"] = {"iopub.execute_input": "2020-01-01T00:00:00Z"}
        path = tmp_path / "01_a_chapter.ipynb"
        nbformat.write(notebook, path)
        return path

    return write


def test_outputs_and_facts_are_stored_and_timing_is_not(execution, write):
    path = write("import os", "print(os.environ['OMP_NUM_THREADS'])", "os.getcwd()")
    assert execution.execute(path) == ""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = notebook.cells[1:]
    assert [cell.execution_count for cell in cells] == [1, 2, 3]
    assert all("execution" not in cell.metadata for cell in cells)
    assert cells[1].outputs[0].text == f"{execution.THREADS}\n"
    assert cells[2].outputs[0].data["text/plain"] == repr(str(path.parent))
    assert notebook.metadata.kernelspec == execution.KERNELSPEC
    assert set(notebook.metadata) == {"kernelspec", "language_info", "rectified"}
    facts = notebook.metadata.rectified
    assert facts.threads == execution.THREADS
    assert facts.seconds >= 0
    assert date.fromisoformat(facts.executed)
    assert all(facts[package] for package in ("python", "torch", "numpy"))


def test_a_notebook_that_raises_is_reported_and_left_as_it_was(execution, write):
    path = write("x = 0", "1 / x")
    before = path.read_bytes()
    problem = execution.execute(path)
    assert "1 / x" in problem
    assert "ZeroDivisionError" in problem
    assert "division by zero" in problem
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_figure_that_other_pages_show_is_written_beside_the_notebook(execution, write):
    path = write(
        "from IPython.display import display\n"
        "display({'image/png': 'AAEC', 'text/plain': 'A figure.'}, raw=True)"
    )
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].metadata["picture"] = "images/figure.png"
    nbformat.write(notebook, path)
    assert execution.execute(path) == ""
    assert (path.parent / "images" / "figure.png").read_bytes() == b"\x00\x01\x02"


def test_a_failed_write_leaves_the_notebook_as_it_was(execution, write, monkeypatch):
    path = write("x = 0")
    before = path.read_bytes()

    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(execution.os, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        execution.replace(path, b"half of a notebook")
    assert path.read_bytes() == before


def test_an_unknown_chapter_is_named_with_the_good_ones(execution, monkeypatch, capsys):
    monkeypatch.setattr(execution.sys, "argv", ["execute.py", "99_no_such_chapter"])
    with pytest.raises(SystemExit):
        execution.main()
    message = capsys.readouterr().err
    assert "no chapter '99_no_such_chapter'" in message
    assert "claims" in message
