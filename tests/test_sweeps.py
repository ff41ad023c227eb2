"""Sweeps: every point once, whatever is killed, raised or changed in the meantime."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import dask
import distributed
import joblib
import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from joblib.externals.loky import get_reusable_executor

from helpers import studies, sweeps
from helpers.sweeps import SweepError, sweep

CHAPTERS = Path(__file__).parents[1] / "chapters"
SOURCE = """
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd


def note(what):
    with open(os.environ["SWEEP_LOG"], "a") as log:
        log.write(what + "\\n")


def product(a, b=1):
    note(f"{a} {b}")
    return {"product": a * b, "process": os.getpid()}


def number(a):
    return a / 2


def several(a):
    return [{"k": k, "power": a**k} for k in range(3)]


def frame(a):
    return pd.DataFrame({"k": [0, 1], "power": [1, a]}, index=[7, 8])


def clash(a):
    return {"a": a}


def picky(a):
    note(str(a))
    if a % 2:
        raise ArithmeticError(f"{a} is odd")
    return {"half": a // 2}


def slow(a):
    note(f"begin {a} {os.getpid()}")
    time.sleep(0.4)
    note(f"end {a} {os.getpid()}")
    return {"square": a * a, "process": os.getpid()}


def ends_its_process(a):
    note(f"begin {a}")
    if a == 3:
        os.kill(os.getpid(), 9)
    return {"square": a * a}


def kind(a):
    return {"kind": type(a).__name__}


outer = lambda a: a


def inside():
    def nested(a):
        return a
    return nested
"""


@pytest.fixture
def module(tmp_path, monkeypatch, request):
    """A module of functions that other processes can import, and the file in which they note their calls."""
    name = f"functions_{abs(hash(request.node.nodeid)):x}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("SWEEP_LOG", str(tmp_path / "log"))
    (tmp_path / "log").touch()
    yield __import__(name)
    sys.modules.pop(name)
    get_reusable_executor().shutdown(wait=True)  # its processes know neither the next folder nor the next log


@pytest.fixture
def calls(tmp_path):
    return lambda: (tmp_path / "log").read_text().splitlines()


def test_a_grid_is_every_combination_in_order(module):
    table = sweep(module.product, {"a": [1, 2], "b": (10, 20, 30)}, n_jobs=1)
    assert table[["a", "b", "product"]].to_numpy().tolist() == [
        [1, 10, 10], [1, 20, 20], [1, 30, 30], [2, 10, 20], [2, 20, 40], [2, 30, 60],
    ]  # fmt: skip


def test_points_can_be_given_one_by_one(module):
    table = sweep(module.product, [{"a": 3, "b": 1}, {"a": 1, "b": 5}], n_jobs=1)
    assert table["product"].tolist() == [3, 5]


def test_processes_share_the_points_and_the_order_stays(module):
    table = sweep(module.product, {"a": range(12)}, n_jobs=2)
    assert table["product"].tolist() == list(range(12))
    assert os.getpid() not in set(table.process)


@pytest.mark.parametrize(
    ("name", "columns", "values"),
    [
        ("number", ["a", "value"], [[4, 2.0]]),
        ("several", ["a", "k", "power"], [[4, 0, 1], [4, 1, 4], [4, 2, 16]]),
        ("frame", ["a", "k", "power"], [[4, 0, 1], [4, 1, 4]]),
    ],
)
def test_what_the_function_returns_becomes_rows(module, name, columns, values):
    table = sweep(getattr(module, name), {"a": [4]}, n_jobs=1)
    assert list(table.columns) == columns
    assert table.to_numpy().tolist() == values
    assert list(table.index) == list(range(len(values)))


def test_values_of_numpy_and_torch_are_the_same_as_python_s(module, tmp_path):
    for value in (2, np.int64(2), torch.tensor(2)):
        assert sweep(module.kind, {"a": [value]}, n_jobs=1, cache=tmp_path / "c").kind.tolist() == ["int"]
    assert len(list((tmp_path / "c").iterdir())) == 1


def test_a_finished_point_is_not_computed_again(module, calls, tmp_path):
    first = sweep(module.product, {"a": [1, 2]}, n_jobs=1, cache=tmp_path / "c")
    more = sweep(module.product, {"a": [2, 3, 1]}, n_jobs=1, cache=tmp_path / "c")
    assert calls() == ["1 1", "2 1", "3 1"]
    assert more["product"].tolist() == [2, 3, 1]
    pd.testing.assert_frame_equal(
        first.iloc[[0]].reset_index(drop=True), more.iloc[[2]].reset_index(drop=True)
    )


def test_without_a_cache_nothing_is_kept(module, calls):
    sweep(module.product, {"a": [1]}, n_jobs=1)
    sweep(module.product, {"a": [1]}, n_jobs=1)
    assert calls() == ["1 1", "1 1"]


def another_source(module, patch):
    path = Path(module.__file__)
    path.write_text(path.read_text() + "\n# changed\n")


def another_torch(module, patch):
    patch.setattr(torch, "__version__", "99.0")


def another_numpy(module, patch):
    patch.setattr(np, "__version__", "99.0")


def another_helpers(module, patch):
    copied = Path(module.__file__).parent / "helpers_copy"
    copied.mkdir()
    for path in Path(sweeps.__file__).parent.glob("*.py"):
        (copied / path.name).write_bytes(path.read_bytes())
    (copied / "theory.py").write_text((copied / "theory.py").read_text() + "\n")
    patch.setattr(sweeps, "__file__", str(copied / "sweeps.py"))


@pytest.mark.parametrize("change", [another_source, another_torch, another_numpy, another_helpers])
def test_a_point_of_another_source_or_version_is_not_mistaken_for_this_one(
    module, calls, tmp_path, monkeypatch, change
):
    sweep(module.product, {"a": [1]}, n_jobs=1, cache=tmp_path / "c")
    change(module, monkeypatch)
    sweep(module.product, {"a": [1]}, n_jobs=1, cache=tmp_path / "c")
    assert len(calls()) == 2


@pytest.mark.parametrize("values", [[1, 1.0], [1, True], ["1", 1], [0.1, 0.1 + 1e-16 + 1e-17]])
def test_arguments_that_differ_are_told_apart(module, tmp_path, values):
    sweep(module.kind, {"a": values}, n_jobs=1, cache=tmp_path / "c")
    assert len(list((tmp_path / "c").iterdir())) == len({repr(value) for value in values})


def test_another_function_of_the_same_module_has_its_own_points(module, tmp_path):
    sweep(module.kind, {"a": [1]}, n_jobs=1, cache=tmp_path / "c")
    assert sweep(module.number, {"a": [1]}, n_jobs=1, cache=tmp_path / "c").value.tolist() == [0.5]


@pytest.mark.parametrize("content", [b"", b"half a pick", b"\x80\x04K\x01."])
def test_a_damaged_point_is_computed_again(module, calls, tmp_path, content):
    sweep(module.product, {"a": [1]}, n_jobs=1, cache=tmp_path / "c")
    (kept,) = (tmp_path / "c").iterdir()
    kept.write_bytes(content)
    assert sweep(module.product, {"a": [1]}, n_jobs=1, cache=tmp_path / "c")["product"].tolist() == [1]
    assert len(calls()) == 2


def test_a_point_that_raises_is_reported_and_loses_no_other(module, calls, tmp_path):
    with pytest.raises(SweepError, match=r"2 of 5 points") as caught:
        sweep(module.picky, {"a": [0, 1, 2, 3, 4]}, n_jobs=2, cache=tmp_path / "c")
    error = caught.value
    assert [failure.point for failure in error.failures] == [{"a": 1}, {"a": 3}]
    assert "{'a': 1}: ArithmeticError: 1 is odd" in str(error)
    assert "in picky" in error.failures[1].traceback
    assert error.finished.half.tolist() == [0, 1, 2]
    with pytest.raises(SweepError):
        sweep(module.picky, {"a": [0, 1, 2, 3, 4]}, n_jobs=1, cache=tmp_path / "c")
    assert sorted(calls()) == ["0", "1", "1", "2", "3", "3", "4"]


def test_all_points_can_fail(module):
    with pytest.raises(SweepError) as caught:
        sweep(module.picky, {"a": [1]}, n_jobs=1)
    assert caught.value.finished.empty


def test_a_killed_sweep_computes_only_what_was_in_flight(module, calls, tmp_path):
    points, n_jobs = 12, 2
    script = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import {module.__name__} as functions
        from helpers.sweeps import sweep
        sweep(functions.slow, {{"a": range({points})}}, n_jobs={n_jobs}, cache={str(tmp_path / "c")!r})
    """)
    process = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    deadline = time.monotonic() + 120
    while sum(call.startswith("end") for call in calls()) < 4:
        assert process.poll() is None, "the sweep has ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(1)  # whatever was left alive would go on noting
    before = calls()
    kept = len(list((tmp_path / "c").glob("*.pickle")))
    assert 0 < kept < points
    table = sweep(module.slow, {"a": range(points)}, n_jobs=n_jobs, cache=tmp_path / "c")
    assert table.square.tolist() == [a * a for a in range(points)]
    again = calls()[len(before) :]
    begun = [call for call in before if call.startswith("begin")]
    assert len([call for call in again if call.startswith("begin")]) == points - kept
    assert len(begun) - kept <= n_jobs, "finished points were lost"


def test_a_progress_bar_counts_the_points(module, capsys, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    sweep(module.number, {"a": [1, 2, 3]}, n_jobs=1)
    assert "3/3" in capsys.readouterr().err
    sweep(module.number, {"a": [1, 2, 3]}, n_jobs=1, progress=False)
    assert capsys.readouterr().err == ""


def test_the_environment_silences_the_progress_bar():
    script = """
        from helpers import theory
        from helpers.sweeps import sweep
        sweep(theory.born_dead_probability, {"depth": [1, 2], "width": [3]}, n_jobs=1)
    """
    environment = os.environ | {"TQDM_DISABLE": "1"}  # which tqdm reads when it is imported
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["outer", "inside"])
def test_a_function_that_others_cannot_import_is_refused(module, name):
    function = module.outer if name == "outer" else module.inside()
    with pytest.raises(TypeError, match="top level of a module"):
        sweep(function, {"a": [1]})


@pytest.mark.parametrize(
    ("grid", "error", "words"),
    [
        ({}, ValueError, "no points"),
        ([], ValueError, "no points"),
        ({"a": []}, ValueError, "no points"),
        ({"a": 3}, TypeError, "put it into a list"),
        ({"a": "relu"}, TypeError, "put it into a list"),
        ({"a": [object()]}, TypeError, "of type object"),
        ([{"a": 1}, {"b": 1}], ValueError, "same arguments"),
    ],
)
def test_a_grid_that_is_none_is_refused(module, grid, error, words):
    with pytest.raises(error, match=words):
        sweep(module.number, grid)


def test_a_column_with_the_name_of_an_argument_is_refused(module):
    with pytest.raises(SweepError, match="rename it"):
        sweep(module.clash, {"a": [1]}, n_jobs=1)


# On a cluster: the same call.


@contextmanager
def cluster_of_two(**configuration):
    """Two worker processes of one thread each, which Dask replaces when they die."""
    with (
        dask.config.set(configuration),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        client.wait_for_workers(2, timeout=120)
        yield client


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def test_a_worker_that_is_killed_costs_only_the_point_that_it_was_at(module, calls, tmp_path):
    points, kept = 16, tmp_path / "c"

    def busy():
        """A process that has finished points, and has begun another one a moment ago."""
        lines = [line.split() for line in calls()]
        if sum(what == "end" for what, *_ in lines) < 4 or lines[-1][0] != "begin":
            return None
        return lines[-1][1:]

    def kill():
        number, process = wait_for(busy)
        on_disk.extend(path.name for path in kept.glob("*.pickle"))
        at.append(number)
        os.kill(int(process), signal.SIGKILL)

    at, on_disk = [], []
    with cluster_of_two():
        killer = threading.Thread(target=kill)
        killer.start()
        with joblib.parallel_config(backend="dask"):
            table = sweep(module.slow, {"a": range(points)}, cache=kept)
        killer.join()
        before = calls()
        with joblib.parallel_config(backend="dask"):
            again = sweep(module.slow, {"a": range(points)}, cache=kept)
    assert table.square.tolist() == again.square.tolist() == [a * a for a in range(points)]
    assert calls() == before, "points that were on disk were computed again"
    assert table.process.nunique() >= 2, "two workers, and perhaps the one that came for the dead one"
    assert os.getpid() not in set(table.process)
    begun = Counter(line.split()[1] for line in before if line.startswith("begin"))
    ended = Counter(line.split()[1] for line in before if line.startswith("end"))
    assert len(on_disk) >= 4 - 1
    assert begun == Counter({str(a): 2 if str(a) == at[0] else 1 for a in range(points)})
    assert ended == Counter({str(a): 1 for a in range(points)})


def test_a_point_that_ends_every_worker_ends_the_sweep_and_loses_no_other(module, calls, tmp_path):
    with (
        cluster_of_two(**{"distributed.scheduler.allowed-failures": 0}),
        joblib.parallel_config(backend="dask"),
        pytest.raises(distributed.KilledWorker, match="died while running it"),
    ):
        sweep(module.ends_its_process, {"a": [0, 1, 2, 3]}, cache=tmp_path / "c")
    finished = len(list((tmp_path / "c").glob("*.pickle")))
    table = sweep(module.ends_its_process, {"a": [0, 1, 2]}, n_jobs=1, cache=tmp_path / "c")
    assert table.square.tolist() == [0, 1, 4]
    assert len([call for call in calls() if call != "begin 3"]) == 3, "each of the others was computed once"
    assert finished <= 3


def test_a_point_that_raises_on_a_cluster_is_reported_as_anywhere(module, tmp_path):
    with cluster_of_two(), joblib.parallel_config(backend="dask"):
        with pytest.raises(SweepError, match=r"2 of 5 points") as caught:
            sweep(module.picky, {"a": [0, 1, 2, 3, 4]}, cache=tmp_path / "c")
        assert caught.value.finished.half.tolist() == [0, 1, 2]


def test_what_chapter_6_says_about_a_cluster_gives_what_this_machine_gives(tmp_path, monkeypatch):
    chapter = nbformat.read(CHAPTERS / "06_initialization.ipynb", as_version=4)
    written = "\n".join(cell.source for cell in chapter.cells if cell.cell_type == "markdown")
    (block,) = (
        code for code in re.findall(r"```python\n(.*?)```", written, flags=re.DOTALL) if "dask" in code
    )
    monkeypatch.chdir(tmp_path)
    grid = studies.STUDIES["phase-diagram"].miniature
    names = {"LARGE": grid}
    exec(block.replace("n_workers=8", "n_workers=2"), names)
    assert len(list((tmp_path / "phases").iterdir())) == len(grid)
    pd.testing.assert_frame_equal(names["table"], sweep(studies.phase_diagram, grid, n_jobs=1))
