"""Execute the notebooks of the book and store their outputs: what ``make execute`` runs.

The chapters run in parallel, each in a kernel of its own; then the ledger of claims and the remedies at a glance,
which read their stored outputs. A notebook is replaced in one step and only when all of it has run: where a cell
raises, the chapter, the cell and the traceback are reported, and the file stays as it was.
"""

import argparse
import base64
import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import nbformat
from files import replace
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

CHAPTERS = Path(__file__).parents[1] / "chapters"
GATHERED = [CHAPTERS / "claims.ipynb", CHAPTERS / "remedies.ipynb"]  # made of what the chapters store
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
SECONDS_A_CELL = 600
# A second thread gains up to two times on a quiet machine, and loses ten times on a busy one: these tensors are small.
THREADS = 1


def execute(path: Path) -> str:
    """Run one notebook from the top in a fresh kernel, replace the file, and return what went wrong, if anything."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNELSPEC})
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    client = NotebookClient(
        notebook,
        kernel_name=KERNELSPEC["name"],
        resources={"metadata": {"path": str(path.parent)}},
        timeout=SECONDS_A_CELL,
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
    )
    started = time.perf_counter()
    try:
        client.execute(env={**os.environ, "OMP_NUM_THREADS": str(THREADS)})
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        return str(error)
    notebook.metadata["rectified"] = {
        "executed": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "numpy": version("numpy"),
        "seconds": round(time.perf_counter() - started),
        "threads": THREADS,
    }
    replace(path, (nbformat.writes(notebook) + "\n").encode())
    for name, picture in pictures(notebook).items():
        replace(path.parent / name, picture)
    return ""


def pictures(notebook: nbformat.NotebookNode) -> dict[str, bytes]:
    """Give the figures that other pages show: a cell's metadata ``picture`` says under which name, from its folder."""
    return {
        cell.metadata["picture"]: base64.b64decode(output.data["image/png"])
        for cell in notebook.cells
        if "picture" in cell.metadata
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    }


def execute_all(paths: list[Path]) -> int:
    """Run the notebooks side by side, as many as there are processors, and return how many failed."""
    processors = os.cpu_count() or 1
    at_once = min(processors, len(paths))
    failed = 0
    with ProcessPoolExecutor(at_once, mp_context=get_context("spawn")) as pool:
        runs = {pool.submit(execute, path): path for path in paths}
        for run in as_completed(runs):
            problem = run.result()
            failed += bool(problem)
            print(
                f"{runs[run].name}: {'failed, and is as it was before. ' + problem if problem else 'executed'}",
                flush=True,
            )
    return failed


def main() -> int:
    """Execute the chapters that the command line names, or all of them, and then the pages made of them."""
    chapters = {path.stem: path for path in sorted(CHAPTERS.glob("[0-9][0-9]_*.ipynb"))}
    known = [*chapters, *(path.stem for path in GATHERED)]
    parser = argparse.ArgumentParser(prog="make execute", description=__doc__.splitlines()[0])
    parser.add_argument(
        "chapter", nargs="*", help="file names without .ipynb; where none is given, all chapters"
    )
    names = parser.parse_args().chapter or known
    for name in names:
        if name not in known:
            parser.error(f"there is no chapter {name!r}; the chapters are {', '.join(known)}")
    chosen = [chapters[name] for name in names if name in chapters]
    failed = execute_all(chosen) if chosen else 0
    return min(1, failed + execute_all(GATHERED))


if __name__ == "__main__":
    sys.exit(main())
