"""Experiments too large for a chapter: the code that runs each, and the table that it gave.

A study is a sweep with a name. Its table comes with the package, together with the versions that made it, and
chapters show it beside a live miniature of the same function. ``python -m helpers.studies`` lists the studies, and
with a name runs one.
"""

from __future__ import annotations

import argparse
import ast
import functools
import hashlib
import importlib
import inspect
import io
import json
import os
import platform
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pooch
import torch
from torch import nn

from helpers import activations, data, initialization, networks, training
from helpers.sweeps import sweep

__all__ = [
    "STUDIES",
    "Study",
    "accuracy_against_zeros",
    "fashion_mnist_network",
    "kinks_and_means",
    "load",
    "main",
    "run",
    "sparse_products",
    "trainability",
    "write",
]

_TABLES = Path(__file__).parent / "tables"


def _fingerprint(function: Callable[..., Any]) -> str:
    """Give a hash of what a function does: of its source without comments, docstring and line breaks."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    if ast.get_docstring(definition) is not None:
        definition.body = definition.body[1:]
    return hashlib.sha256(ast.unparse(definition).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Study:
    """An experiment with a name.

    Parameters
    ----------
    question : str
        What it asks, in one sentence.
    function : callable
        What computes one point, as `helpers.sweeps.sweep` calls it.
    grid : sequence of dict
        The points of the table.
    miniature : sequence of dict
        A few points that take seconds, for tests and to try.
    minutes : int
        How long the grid takes on two processors, roughly.
    n_jobs : int, optional
        How many points `main` computes at a time: -1 for as many as there are processors, 1 where they are timed.

    Attributes
    ----------
    fingerprint : str
        A hash of what the function does, which its table keeps.
    """

    question: str
    function: Callable[..., Any]
    grid: Sequence[dict[str, Any]]
    miniature: Sequence[dict[str, Any]]
    minutes: int
    n_jobs: int = -1
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        # Taken now, while the source is the one that was loaded: a study runs long, and files change.
        object.__setattr__(self, "fingerprint", _fingerprint(self.function))


def fashion_mnist_network(
    activation: str, init: str, seed: int, epochs: int, dataset: str = "fashion-mnist"
) -> list[dict[str, Any]]:
    """Train the network of a tutorial on activation functions as the tutorial does, and longer.

    Four hidden layers of 512, 256, 256 and 128 units; inputs scaled to [-1, 1]; SGD with learning rate 0.01, momentum
    0.9 and batches of 256, the last partial one dropped.

    Parameters
    ----------
    activation : str
        As in `helpers.activations.make`.
    init : str
        As in `helpers.initialization.initialize`; the tutorial leaves the weights as PyTorch draws them, ``"torch"``.
    seed : int
        Decides the weights and the order of the data.
    epochs : int
        How long to train.
    dataset : str, optional
        As in `helpers.data.load`.

    Returns
    -------
    list of dict
        A row an epoch, from 1: `epoch`; `train_loss` and `train_accuracy`, means over the epoch's batches as they were
        met; `validation_accuracy` and `test_accuracy` at its end.

    Raises
    ------
    ValueError
        If one of the names is unknown.

    Notes
    -----
    Source: UvA deep learning tutorials, tutorial 3, where training ends once the validation accuracy has not improved
    for seven epochs. Chapter 2 shows what comes after.
    """
    loaded = data.load(dataset)
    low, high = loaded.x_train.min(), loaded.x_train.max()
    x = {
        part: (getattr(loaded, f"x_{part}") - low) / (high - low) * 2 - 1
        for part in ("train", "validation", "test")
    }
    model = networks.mlp(
        loaded.n_features,
        loaded.n_classes,
        hidden=[512, 256, 256, 128],
        activation=activation,
        init=init,
        seed=seed,
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    rows = []
    for epoch in range(1, epochs + 1):
        met = []
        for batch in training.data_order(seed, epoch, len(x["train"])).split(256):
            if len(batch) < 256:
                continue
            output, y = model(x["train"][batch]), loaded.y_train[batch]
            loss = nn.functional.cross_entropy(output, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            met.append((loss.item(), (output.argmax(dim=1) == y).float().mean().item()))
        with torch.no_grad():
            right = {
                f"{part}_accuracy": (model(x[part]).argmax(dim=1) == getattr(loaded, f"y_{part}"))
                .float()
                .mean()
                .item()
                for part in ("validation", "test")
            }
        loss, accuracy = np.mean(met, axis=0)
        rows.append({"epoch": epoch, "train_loss": loss, "train_accuracy": accuracy, **right})
    return rows


def accuracy_against_zeros(
    dataset: str, intervention: str, strength: float, epochs: int = 20, seeds: int = 10
) -> list[dict[str, Any]]:
    """Train a rectifier network in which an intervention makes zeros, and measure accuracy and zeros.

    Two hidden layers of 64 units with He's scheme; SGD with momentum 0.9, batches of 50, at five learning rates.

    Parameters
    ----------
    dataset : str
        As in `helpers.data.load`.
    intervention : {"penalty", "decay", "top-k"}
        An L1 penalty on the activations, which has zeros as its outcome; weight decay, which regularises without aiming
        at zeros; or `helpers.activations.TopK`, which imposes them.
    strength : float
        The factor before the penalty or of the decay, or how many of the 64 units may be active.
    epochs, seeds : int, optional
        How long to train, and how many networks at each rate.

    Returns
    -------
    list of dict
        A row a learning rate and seed: `lr`, `seed`; after the last epoch `train_loss` (the cross-entropy alone),
        `train_accuracy`, `validation_accuracy`, `test_accuracy`; on the training split, as means of the two layers,
        `zeros` (share of activations), `dead` (share of units), `size` (mean activation).

    Raises
    ------
    ValueError
        If a name is unknown.

    Notes
    -----
    After Glorot, Bordes & Bengio 2011, PMLR 15:315, figure 3, with the two controls. Explained in chapter 3.
    """
    if intervention not in ("penalty", "decay", "top-k"):
        raise ValueError(f"unknown intervention {intervention!r}; take 'penalty', 'decay' or 'top-k'")
    loaded = data.load(dataset)
    activation = partial(activations.TopK, int(strength)) if intervention == "top-k" else "relu"
    runs = training.train(
        partial(networks.mlp, loaded.n_features, loaded.n_classes, hidden=[64, 64], activation=activation),
        loaded,
        seeds=seeds,
        lr=[0.003, 0.01, 0.03, 0.1, 0.3],
        momentum=0.9,
        epochs=epochs,
        batch_size=50,
        weight_decay=strength if intervention == "decay" else 0.0,
        activation_penalty=strength if intervention == "penalty" else 0.0,
        evaluate_every=epochs,
        measure_every=0,
        progress=False,
    )
    rows = runs.history.query("epoch > 0").merge(runs.test(), on=["lr", "seed"])
    kept = ["lr", "seed", "train_loss", "train_accuracy", "validation_accuracy", "test_accuracy"]
    rows = rows[kept].to_dict("records")
    for row in rows:
        h, measured = loaded.x_train, []
        with torch.no_grad():
            for name, module in runs.model(lr=row["lr"], seed=row["seed"]).named_children():
                h = module(h)
                if name.startswith("activation"):
                    off = h == 0
                    measured.append(
                        [off.double().mean().item(), off.all(dim=0).double().mean().item(), h.mean().item()]
                    )
        row.update(zip(("zeros", "dead", "size"), np.mean(measured, axis=0), strict=True))
    return rows


def sparse_products(width: int, zeros: float, batch: int, repeats: int = 31) -> dict[str, Any]:
    """Time a dense matrix product against one that gathers the active units first, on this machine.

    Parameters
    ----------
    width : int
        Units of the layer, and of the next.
    zeros : float
        Share of the units that are zero, the same ones in all samples of the batch.
    batch : int
        Samples. With 1 the gathering is exact; with more it is the best case, for samples share their zeros.
    repeats : int, optional
        How often each is timed, in turns. The ratio is taken within each turn, and its median returned.

    Returns
    -------
    dict
        `active`, the number of active units; `dense_us`, median time of the dense product in microseconds;
        `ratio`, median of gathered time over dense time: below 1 the zeros pay; `masked_ratio`, the same for the dense
        product of a code that holds those zeros, which does not know of them.

    Raises
    ------
    ValueError
        If `zeros` is not in [0, 1).

    Notes
    -----
    One thread. The weights are stored a row a unit of the sparse layer, so that a gathered row is contiguous, and the
    activations are gathered too. Explained in chapter 3.
    """
    if not 0 <= zeros < 1:
        raise ValueError(f"zeros must be at least 0 and below 1, but is {zeros}")
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(width, width, generator=generator)
    active = max(1, round(width * (1 - zeros)))
    on, _ = torch.randperm(width, generator=generator)[:active].sort()
    full = torch.rand(batch, width, generator=generator)
    sparse = torch.zeros(batch, width)
    sparse[:, on] = full[:, on]

    def timed(product: Callable[[], torch.Tensor]) -> float:
        started = time.perf_counter()
        for _ in range(calls):
            product()
        return (time.perf_counter() - started) / calls

    products = {
        "dense": lambda: full @ weights,
        "masked": lambda: sparse @ weights,
        "gathered": lambda: sparse.index_select(1, on) @ weights.index_select(0, on),
    }
    threads, calls = torch.get_num_threads(), 3
    torch.set_num_threads(1)
    try:
        once = max(timed(products["dense"]), 1e-7)
        calls = max(1, round(1e-3 / once))  # a turn takes about a millisecond, which the clock resolves
        times = {
            name: np.array(column)
            for name, column in zip(
                products,
                zip(*([timed(p) for p in products.values()] for _ in range(repeats)), strict=True),
                strict=True,
            )
        }
    finally:
        torch.set_num_threads(threads)
    return {
        "active": active,
        "dense_us": float(np.median(times["dense"]) * 1e6),
        "ratio": float(np.median(times["gathered"] / times["dense"])),
        "masked_ratio": float(np.median(times["masked"] / times["dense"])),
    }


def _accuracy_against_zeros_grid() -> list[dict[str, Any]]:
    strengths = {
        "penalty": [
            *(0.0, 0.0001, 0.0003, 0.001, 0.002, 0.004, 0.007, 0.01, 0.015),
            *(0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15),
        ],
        "decay": [0.0001, 0.0003, 0.001, 0.003, 0.006, 0.01, 0.02, 0.03, 0.05],
        "top-k": [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0],
    }
    return [
        {"dataset": dataset, "intervention": intervention, "strength": strength}
        for dataset in ("digits", "mnist1d")
        for intervention, values in strengths.items()
        for strength in values
    ]


def _fashion_mnist_grid() -> list[dict[str, Any]]:
    arms = [("sigmoid", "torch", 100), ("tanh", "torch", 30), ("relu", "torch", 30), ("relu", "he", 30)]
    return [
        {"activation": activation, "init": init, "seed": seed, "epochs": epochs}
        for activation, init, epochs in arms
        for seed in range(5)
    ]


def trainability(
    activation: str,
    init: str,
    depth: int,
    optimizer: str,
    width: int = 64,
    dataset: str = "mnist1d",
    epochs: int = 20,
    batch_size: int = 100,
    seeds: int = 10,
) -> list[dict[str, Any]]:
    """Train multilayer perceptrons of one kind at every learning rate of a wide grid.

    Parameters
    ----------
    activation : str
        As in `helpers.activations.make`.
    init : {"torch", "xavier", "he"}
        PyTorch's default, Xavier's scheme, or weights of variance 2 / fan-in *whatever the activation is*: fan-in times
        weight variance is 1/3, 1 and 2.
    depth, width : int
        Number of hidden layers, and of units in each.
    optimizer : {"sgd", "adam", "normalised"}
        SGD with momentum 0.9; Adam; or SGD with momentum 0.9 on gradients that were divided by their norm, tensor by
        tensor.
    dataset : str, optional
        As in `helpers.data.load`.
    epochs, batch_size : int, optional
        How long to train, and on how many samples a step.
    seeds : int, optional
        Number of networks at each rate: seeds 0, 1, ...

    Returns
    -------
    list of dict
        A row a network: `lr`, `seed`; after the last epoch `train_loss`, `train_accuracy` and `validation_accuracy`,
        NaN where the run has `diverged`. The rates are four times apart.

    Raises
    ------
    KeyError
        If the initialisation or the optimizer is another.
    ValueError
        If another name is unknown.

    Notes
    -----
    Chapters 1 and 2 show what came of it.
    """
    schemes = {
        "torch": {"scheme": "torch"},
        "xavier": {"scheme": "xavier"},
        "he": {"scheme": "he", "gain": 2**0.5},
    }
    settings = {
        "sgd": {"lr": [4.0**power for power in range(-6, 2)], "momentum": 0.9},
        "adam": {"lr": [0.1 * 4.0**power for power in range(-5, 1)], "optimizer": "adam"},
        "normalised": {
            "lr": [0.25 * 4.0**power for power in range(-5, 1)],
            "momentum": 0.9,
            "normalize_gradients": True,
        },
    }
    loaded = data.load(dataset)
    build = functools.partial(
        networks.mlp,
        loaded.n_features,
        loaded.n_classes,
        hidden=[width] * depth,
        activation=activation,
        init=functools.partial(initialization.initialize, **schemes[init]),
    )
    runs = training.train(
        build,
        loaded,
        seeds=seeds,
        epochs=epochs,
        batch_size=batch_size,
        evaluate_every=epochs,
        measure_every=0,
        progress=False,
        **settings[optimizer],
    )
    final = runs.history[runs.history["epoch"] == epochs]
    columns = ["lr", "seed", "train_loss", "train_accuracy", "validation_accuracy", "diverged"]
    return final[columns].to_dict("records")


def _trainability_grid() -> list[dict[str, Any]]:
    return [
        {"activation": activation, "init": init, "depth": depth, "optimizer": optimizer}
        for activation in ("sigmoid", "tanh", "relu", "gelu")
        for init in ("torch", "xavier", "he")
        for depth in (2, 5, 10, 20)
        for optimizer in ("sgd", "adam")
    ]


def _depth_grid() -> list[dict[str, Any]]:
    settings = {"dataset": "digits", "epochs": 13, "batch_size": 40}
    return [
        {"activation": activation, "init": init, "depth": depth, "optimizer": optimizer, **settings}
        for activation, init in (("sigmoid", "xavier"), ("tanh", "xavier"), ("relu", "he"))
        for depth in (2, 5, 10, 20, 35, 50)
        for optimizer in ("sgd", "adam", "normalised")
    ]


def kinks_and_means(
    arm: str,
    depth: int,
    optimizer: str,
    dataset: str,
    width: int = 32,
    epochs: int = 20,
    batch_size: int = 100,
    seeds: int = 20,
) -> list[dict[str, Any]]:
    """Train ReLU, softplus, and what lies between them, at every learning rate of a grid.

    All weights have variance 2 / fan-in, all biases start at zero.

    Parameters
    ----------
    arm : str
        "ReLU", "ReLU, mean 0", "softplus", "softplus, mean of ReLU", "softplus, mean 0", "softplus, β = 4" or
        "softplus, β = 16". Means are those under a standard normal input.
    depth, width : int
        Number of hidden layers, and of units in each.
    optimizer : {"sgd", "adam"}
        SGD with momentum 0.9, or Adam.
    dataset : str
        As in `helpers.data.load`.
    epochs, batch_size : int, optional
        How long to train, and on how many samples a step.
    seeds : int, optional
        Number of networks at each rate: seeds 0, 1, ...

    Returns
    -------
    list of dict
        A row a network: `lr`, `seed`; after the last epoch `train_loss`, `validation_accuracy` and `test_accuracy`, NaN
        where the run has `diverged`.

    Raises
    ------
    KeyError
        If the arm or the optimizer is another.
    ValueError
        If there is no such data set.

    Notes
    -----
    Chapter 2 shows what came of it.
    """
    arms = {
        "ReLU": ("relu", {}),
        "ReLU, mean 0": ("shifted_relu", {}),
        "softplus": ("softplus", {}),
        "softplus, mean of ReLU": (
            "shifted_softplus",
            {"shift": activations.SOFTPLUS_MEAN - activations.RELU_MEAN},
        ),
        "softplus, mean 0": ("shifted_softplus", {}),
        "softplus, β = 4": ("softplus", {"beta": 4.0}),
        "softplus, β = 16": ("softplus", {"beta": 16.0}),
    }
    settings = {
        "sgd": {"lr": [0.003, 0.01, 0.03, 0.1, 0.3], "momentum": 0.9},
        "adam": {"lr": [0.0003, 0.001, 0.003, 0.01, 0.03], "optimizer": "adam"},
    }
    name, parameters = arms[arm]
    loaded = data.load(dataset)
    build = functools.partial(
        networks.mlp,
        loaded.n_features,
        loaded.n_classes,
        hidden=[width] * depth,
        activation=functools.partial(activations.make, name, **parameters),
        init=functools.partial(initialization.initialize, scheme="he", gain=2**0.5),
    )
    runs = training.train(
        build,
        loaded,
        seeds=seeds,
        epochs=epochs,
        batch_size=batch_size,
        evaluate_every=epochs,
        measure_every=0,
        progress=False,
        **settings[optimizer],
    )
    final = runs.history[runs.history["epoch"] == epochs]
    merged = final.merge(runs.test().drop(columns="diverged"), on=["arm", "lr", "seed"])
    columns = ["lr", "seed", "train_loss", "validation_accuracy", "test_accuracy", "diverged"]
    return merged[columns].to_dict("records")


def _kinks_grid() -> list[dict[str, Any]]:
    arms = ["ReLU", "ReLU, mean 0", "softplus", "softplus, mean of ReLU", "softplus, mean 0"]
    return [
        {"arm": arm, "depth": depth, "optimizer": optimizer, "dataset": dataset, "batch_size": size}
        for arm in [*arms, "softplus, β = 4", "softplus, β = 16"]
        for depth in (3, 8)
        for optimizer in ("sgd", "adam")
        for dataset, size in (("mnist1d", 100), ("digits", 50))
    ]


#: The studies by name.
#:
#: :meta hide-value:
STUDIES: dict[str, Study] = {
    "activations-on-fashion-mnist": Study(
        question="What becomes of a sigmoid network of four hidden layers that stands still, if it is trained on?",
        function=fashion_mnist_network,
        grid=_fashion_mnist_grid(),
        miniature=[
            {"activation": activation, "init": "torch", "seed": 0, "epochs": 2, "dataset": "mnist1d"}
            for activation in ("sigmoid", "relu")
        ],
        minutes=25,
    ),
    "accuracy-against-zeros": Study(
        question="How many zeros can a rectifier network have before its accuracy suffers?",
        function=accuracy_against_zeros,
        grid=_accuracy_against_zeros_grid(),
        miniature=[
            {"dataset": "digits", "intervention": intervention, "strength": strength, "epochs": 2, "seeds": 2}
            for intervention, strength in (("penalty", 0.01), ("top-k", 8.0))
        ],
        minutes=8,
    ),
    "sparse-products": Study(
        question="From how many zeros on is it faster to gather the active units before a matrix product?",
        function=sparse_products,
        grid=[
            {"width": width, "zeros": zeros, "batch": batch}
            for width in (64, 256, 1024, 4096)
            for zeros in (0.0, 0.5, 0.75, 0.85, 0.9, 0.95, 0.99)
            for batch in (1, 32)
        ],
        miniature=[{"width": 64, "zeros": zeros, "batch": 1, "repeats": 3} for zeros in (0.5, 0.95)],
        minutes=1,
        n_jobs=1,
    ),
    "depth-and-trainability": Study(
        question="Down to which depth do sigmoid, tanh and ReLU train, under which optimizer?",
        function=trainability,
        grid=_depth_grid(),
        miniature=[
            {
                "activation": activation,
                "init": "xavier",
                "depth": 2,
                "optimizer": "normalised",
                "dataset": "digits",
                "epochs": 1,
                "batch_size": 40,
                "seeds": 2,
            }
            for activation in ("sigmoid", "tanh")
        ],
        minutes=15,
    ),
    "kinks-and-means": Study(
        question="Is it the exact zeros of ReLU, its kink, or its mean that makes it train better than softplus?",
        function=kinks_and_means,
        grid=_kinks_grid(),
        miniature=[
            {
                "arm": arm,
                "depth": 3,
                "optimizer": "sgd",
                "dataset": "digits",
                "epochs": 1,
                "batch_size": 50,
                "seeds": 2,
            }
            for arm in ("ReLU", "softplus, mean of ReLU")
        ],
        minutes=20,
    ),
    "what-trains": Study(
        question="Which activations train from which initialisation, at which depth, under which optimizer?",
        function=trainability,
        grid=_trainability_grid(),
        miniature=[
            {"activation": "relu", "init": init, "depth": 2, "optimizer": "sgd", "epochs": 1, "seeds": 2}
            for init in ("torch", "he")
        ],
        minutes=50,
    ),
}


def _study(name: str) -> Study:
    if name not in STUDIES:
        raise ValueError(f"there is no study {name!r}; the studies are {', '.join(STUDIES)}")
    return STUDIES[name]


def run(
    name: str,
    *,
    miniature: bool = False,
    n_jobs: int = -1,
    cache: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Run a study.

    Parameters
    ----------
    name : str
        One of `STUDIES`.
    miniature : bool, optional
        Whether to run the few small points in place of the grid.
    n_jobs, cache, progress : optional
        As in `helpers.sweeps.sweep`: with a cache, a run that was killed goes on where it was.

    Returns
    -------
    pandas.DataFrame
        Tidy: the arguments of each point, and what its function returned.

    Raises
    ------
    ValueError
        If there is no such study.

    Notes
    -----
    The first is shown in chapter 2.
    """
    study = _study(name)
    points = study.miniature if miniature else study.grid
    return sweep(study.function, points, n_jobs=n_jobs, cache=cache, progress=progress)


def load(name: str) -> pd.DataFrame:
    """Give the stored table of a study.

    Parameters
    ----------
    name : str
        One of `STUDIES`.

    Returns
    -------
    pandas.DataFrame
        As `run` gives it, numbers rounded to six digits. Its `attrs` say when and with which versions it was made.

    Raises
    ------
    ValueError
        If there is no such study.

    Notes
    -----
    The first is shown in chapter 2.
    """
    _study(name)
    text = (_TABLES / f"{name}.csv").read_text(encoding="utf-8")
    first, rest = text.split("\n", 1)
    table = pd.read_csv(io.StringIO(rest))
    table.attrs = json.loads(first.removeprefix("# "))
    return table


def write(name: str, table: pd.DataFrame, seconds: float) -> Path:
    """Store the table of a study, with the versions that made it.

    Parameters
    ----------
    name : str
        One of `STUDIES`.
    table : pandas.DataFrame
        What `run` gave.
    seconds : float
        How long that took.

    Returns
    -------
    pathlib.Path
        The file, in the package's own folder: this is for a clone of the book.

    Raises
    ------
    ValueError
        If there is no such study.

    Notes
    -----
    The first is shown in chapter 2.
    """
    made = {
        "made": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "processors": os.cpu_count(),
        "seconds": round(seconds),
        "function": _study(name).fingerprint,
    }
    path = _TABLES / f"{name}.csv"
    part = path.with_suffix(".part")
    part.write_text(
        f"# {json.dumps(made)}\n{table.to_csv(index=False, float_format='%.6g')}", encoding="utf-8"
    )
    os.replace(part, path)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """List the studies, or run one and store its table: what ``python -m helpers.studies [NAME]`` does.

    Parameters
    ----------
    arguments : sequence of str, optional
        The name of a study, or nothing, to list them. Left out: those of the command line.

    Returns
    -------
    int
        0; an unknown name ends the program with the names that exist.

    Notes
    -----
    The first study is shown in chapter 2.
    """
    parser = argparse.ArgumentParser(prog="python -m helpers.studies", description=main.__doc__.split(":")[0])
    parser.add_argument("name", nargs="?", help="the study to run; without it, all are listed")
    name = parser.parse_args(arguments).name
    if name is None:
        for known, study in STUDIES.items():
            print(f"{known}: {study.question} About {study.minutes} minutes on two processors.")
        return 0
    try:
        study = _study(name)
    except ValueError as error:
        parser.error(str(error))
    cache = Path(pooch.os_cache("rectified")) / "studies" / name
    print(
        f"{study.question} About {study.minutes} minutes on two processors; what is finished is kept in {cache}."
    )
    started = time.perf_counter()
    table = run(name, n_jobs=study.n_jobs, cache=cache)
    print(f"Written to {write(name, table, time.perf_counter() - started)}")
    return 0


if __name__ == "__main__":
    # By its own name, under which other processes can import the functions.
    sys.exit(importlib.import_module("helpers.studies").main())
