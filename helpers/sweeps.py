"""A function at every point of a grid, over processes or a cluster, finished points kept on disk.

What a chapter computes in one process goes through `training.train`, which is faster; a sweep is for grids that
take many times longer, and may be interrupted. joblib distributes the points: by default over the processors of
this machine, and under ``joblib.parallel_config(backend="dask")`` over a cluster, by the same call.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import itertools
import json
import os
import pickle
import tempfile
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

__all__ = ["Failure", "SweepError", "sweep"]

Point = Mapping[str, Any]


@dataclass(frozen=True)
class Failure:
    """A point of a sweep at which the function raised.

    Parameters
    ----------
    point : dict
        Its arguments.
    error : str
        The exception's type and message.
    traceback : str
        The whole traceback, from the process in which it was raised.
    """

    point: dict[str, Any]
    error: str
    traceback: str


class SweepError(RuntimeError):
    """Some points of a sweep have failed; the others are here, and in the cache.

    Attributes
    ----------
    failures : list of Failure
        The points at which the function raised, in the order of the grid.
    finished : pandas.DataFrame
        What the sweep would have returned, without those points.
    """

    def __init__(self, failures: list[Failure], finished: pd.DataFrame, n_points: int) -> None:
        self.failures = failures
        self.finished = finished
        shown = "\n".join(f"  {failure.point}: {failure.error}" for failure in failures[:5])
        more = f"\n  and {len(failures) - 5} more" if len(failures) > 5 else ""
        super().__init__(
            f"{len(failures)} of {n_points} points have failed, the others are in `finished` of this error"
            f":\n{shown}{more}\nThe first of them:\n{failures[0].traceback}"
        )


def sweep(
    function: Callable[..., Any],
    grid: Mapping[str, Iterable[Any]] | Sequence[Point],
    *,
    n_jobs: int = -1,
    cache: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Call a function at every point of a grid, in parallel, and gather what it returns in one tidy frame.

    Parameters
    ----------
    function : callable
        Called as ``function(**point)``. It returns one row (a mapping from column to value, or a number, which gets
        the column ``value``), several (a sequence of mappings), or a `pandas.DataFrame`. Other processes import it,
        so it is defined at the top level of a module: no lambda, no nested function, and no cell of a notebook.
    grid : mapping of str to iterable, or sequence of mappings
        Either the values of each argument, of which all combinations are taken, the last one varying fastest; or the
        points themselves. Values are numbers, strings, booleans, None, or lists and tuples of them.
    n_jobs : int, optional
        Points at a time, each in a process of its own; -1 for as many as there are processors, which then have one
        thread each. 1 stays in this process.
    cache : path, optional
        A folder in which each finished point is kept, from the moment at which it is finished. A sweep that was
        killed computes only what it has not finished. A kept point counts only for the same function (the source of its
        module), the same `helpers` (all its sources), the same arguments, and the same versions of torch and NumPy.
        On a cluster the folder must be one that all workers see; what a worker has finished is not computed again
        there either, when the cluster has lost that worker and gives its points to another.
    progress : bool, optional
        Whether to show a progress bar.

    Returns
    -------
    pandas.DataFrame
        In the order of the grid: the arguments of the point, then what the function returned, a row each.

    Raises
    ------
    TypeError
        If the function cannot be imported by other processes, or a value of the grid is of another type.
    ValueError
        If the grid is empty, points differ in their arguments, or the function returns a column that has the name of
        an argument.
    SweepError
        After all points are computed, if the function has raised at some.
    distributed.KilledWorker
        On a cluster, if one point has ended several workers in a row, by its need of memory, say. What is finished
        stays in the cache.

    Notes
    -----
    The chapters that need it are 2 and 6; chapter 6 runs it on a cluster. Give a worker one thread: seeds and threads
    of torch belong to a process.

    Examples
    --------
    >>> from helpers import theory
    >>> sweep(theory.born_dead_probability, [{"depth": 1, "width": 2}], n_jobs=1)
       depth  width  value
    0      1      2   0.25
    """
    points = _points(grid)
    _check_importable(function)
    sources = _sources(function.__module__)
    paths = [cache and Path(cache) / f"{_key(sources, function, point)}.pickle" for point in points]
    outcomes = {i: outcome for i, path in enumerate(paths) if (outcome := _kept(path)) is not None}
    jobs = [
        joblib.delayed(_compute)(i, function, point, path)
        for i, (point, path) in enumerate(zip(points, paths, strict=True))
        if i not in outcomes
    ]
    _report_lost_workers()
    silence = {} if progress else {"disable": True}  # so that TQDM_DISABLE is heard
    with tqdm(total=len(points), initial=len(outcomes), unit="point", **silence) as bar:
        for i, outcome in joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")(jobs):
            outcomes[i] = outcome
            bar.update()
    failures = [outcomes[i] for i in range(len(points)) if isinstance(outcomes[i], Failure)]
    finished = [outcomes[i] for i in range(len(points)) if not isinstance(outcomes[i], Failure)]
    frame = pd.concat(finished, ignore_index=True) if finished else pd.DataFrame(columns=list(points[0]))
    if failures:
        raise SweepError(failures, frame, len(points))
    return frame


def _points(grid: Mapping[str, Iterable[Any]] | Sequence[Point]) -> list[dict[str, Any]]:
    if isinstance(grid, Mapping):
        values = {name: _values(name, given) for name, given in grid.items()}
        points = [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
    else:
        points = [dict(point) for point in grid]
    if not points or not points[0]:
        raise ValueError(f"the grid {grid!r} has no points: give each argument one value or more")
    for point in points:
        if point.keys() != points[0].keys():
            raise ValueError(
                f"all points of a grid have the same arguments, but one has {sorted(points[0])} and another "
                f"{sorted(point)}: give the missing ones their defaults"
            )
    return [{name: _plain(name, value) for name, value in point.items()} for point in points]


def _values(name: str, given: Iterable[Any]) -> list[Any]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"the values of {name!r} are {given!r}, which is one value: put it into a list")
    return list(given)


def _plain(name: str, value: Any) -> Any:
    """Give a value of the grid as Python's own type: only of these it is sure that they mean the same tomorrow."""
    if isinstance(value, np.generic | np.ndarray | torch.Tensor):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return type(value)(_plain(name, part) for part in value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(
        f"a value of {name!r} is {value!r} of type {type(value).__name__}; a grid holds numbers, strings, booleans, "
        "None, and lists or tuples of them. Try its name, and look it up inside the function"
    )


def _check_importable(function: Callable[..., Any]) -> None:
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    found = None
    if module and module != "__main__" and name and "<" not in name:
        found = getattr(importlib.import_module(module), name, None)
    if found is not function:
        raise TypeError(
            f"other processes cannot import {function!r}: give a function that stands at the top level of a module, "
            "not a lambda, a nested function, a partial or a function of a notebook's cell"
        )


def _sources(module: str) -> str:
    """Give a hash of the source of a module, of all of `helpers`, and of the versions that numbers depend on."""
    found = hashlib.sha256()
    own = sorted(Path(__file__).parent.glob("*.py"))
    for path in [*own, Path(inspect.getfile(importlib.import_module(module)))]:
        found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    found.update(f"{torch.__version__} {np.__version__}".encode())
    return found.hexdigest()


def _key(sources: str, function: Callable[..., Any], point: Point) -> str:
    """Give a hash of all that the result of a point depends on."""
    words = [sources, function.__module__, function.__qualname__, json.dumps(point, sort_keys=True)]
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()


def _kept(path: Path | None) -> pd.DataFrame | None:
    """Read a finished point; what cannot be read is computed again."""
    try:
        frame = None if path is None else pd.read_pickle(path)
    except (OSError, EOFError, ValueError, AttributeError, ImportError, pickle.UnpicklingError):
        return None
    return frame if isinstance(frame, pd.DataFrame) else None


def _report_lost_workers() -> None:
    """Make joblib raise what Dask says of a task that it has given up; by itself it would wait for it forever."""
    backend, _ = joblib.parallel.get_active_backend()
    if type(backend).__name__ != "DaskDistributedBackend" or "submit" in vars(backend):
        return
    submit, retrieve = backend.submit, backend.retrieve_result_callback

    def watched(function: Callable[..., Any], callback: Callable[[Any], None]) -> Future:
        def report(future: Future) -> None:
            if not future.cancelled() and future.exception() is not None:
                callback(future.exception())

        future = submit(function, callback)
        future.add_done_callback(report)
        return future

    def result(out: Any) -> Any:
        if isinstance(out, BaseException):
            raise out
        return retrieve(out)

    backend.submit, backend.retrieve_result_callback = watched, result


def _compute(
    index: int, function: Callable[..., Any], point: dict[str, Any], path: Path | None
) -> tuple[int, Any]:
    """Compute one point, in the process that was chosen for it, and put it on disk before anything else."""
    # A cluster that has lost a worker hands its tasks to another one, also those that were finished.
    if (kept := _kept(path)) is not None:
        return index, kept
    try:
        frame = _frame(point, function(**point))
    except Exception as error:
        return index, Failure(point, f"{type(error).__name__}: {error}", traceback.format_exc())
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".part", delete=False) as part:
            frame.to_pickle(part)
        os.replace(part.name, path)
    return index, frame


def _frame(point: dict[str, Any], result: Any) -> pd.DataFrame:
    """Give the rows of a point: its arguments in front of what the function returned."""
    if isinstance(result, int | float | np.number):
        result = {"value": result}
    rows = (
        result.reset_index(drop=True)
        if isinstance(result, pd.DataFrame)
        else pd.DataFrame([result] if isinstance(result, Mapping) else list(result))
    )
    both = [name for name in point if name in rows]
    if both:
        raise ValueError(f"the function returns a column {both[0]!r}, which is an argument, too: rename it")
    arguments = pd.DataFrame({name: [value] * len(rows) for name, value in point.items()}, index=rows.index)
    return pd.concat([arguments, rows], axis=1)
