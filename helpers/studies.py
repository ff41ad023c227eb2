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
    "norms_and_skips",
    "phase_diagram",
    "recycling",
    "remedies",
    "run",
    "schemes",
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


def norms_and_skips(
    arm: str,
    init: str,
    depth: int,
    optimizer: str = "momentum",
    width: int = 32,
    dataset: str = "digits",
    epochs: int = 20,
    seeds: int = 10,
    rates: str = "wide",
) -> list[dict[str, Any]]:
    """Train ReLU networks with one remedy of chapter 7 at every learning rate of a wide grid.

    Parameters
    ----------
    arm : str
        "none", "batch", "layer" (a normalisation), "plain", "scaled", "zero" (skip connections, as in
        `helpers.networks.mlp`), "batch, plain", "layer, plain", "clipping" (the whole gradient, at a norm of 1) or
        "warm-up" (over the first fifth of the steps).
    init : {"torch", "he", "large", "torch, output"}
        PyTorch's default, He's scheme, or weights twice as large as He's: fan-in times weight variance is 1/3, 2
        and 8. The last is PyTorch's default but for the output layer, whose weights have He's variance.
    depth, width : int
        Number of hidden layers, and of units in each.
    optimizer : {"momentum", "adam", "normalised"}
        SGD with momentum 0.9; Adam; or SGD with momentum 0.9 on gradients that were divided by their norm, tensor by
        tensor.
    dataset : str, optional
        As in `helpers.data.load`.
    epochs : int, optional
        How long to train, in batches of 100.
    seeds : int, optional
        Number of networks at each rate: seeds 0, 1, ...
    rates : {"wide", "fine"}, optional
        Rates four times apart, over a range of their own for each optimizer; or two times, from 2^-10 to 2^-4.

    Returns
    -------
    list of dict
        A row a network, after the last epoch: `lr`, `seed`, `train_loss`, `train_accuracy`, `validation_accuracy`,
        `test_accuracy`, NaN where the run has `diverged`; `batch_loss`, the training loss where batch normalisation
        takes the statistics of the whole training split in place of its running ones; `dead` and `on`, the shares of
        units that are above zero for no training sample and for all.

    Raises
    ------
    KeyError
        If the initialisation, the optimizer or the grid of rates is another.
    ValueError
        If another name is unknown.

    Notes
    -----
    Chapter 7 shows what came of it.
    """
    schemes = {
        "torch": {"scheme": "torch"},
        "he": {"scheme": "he"},
        "large": {"scheme": "he", "gain": 2 * 2**0.5},
    }
    initialize = {
        **{name: functools.partial(initialization.initialize, **scheme) for name, scheme in schemes.items()},
        "torch, output": _torch_but_for_the_output,
    }
    settings = {
        "momentum": {"lr": [4.0**power for power in range(-7, 1)], "momentum": 0.9},
        "adam": {"lr": [4.0**power for power in range(-7, 0)], "optimizer": "adam"},
        "normalised": {
            "lr": [4.0**power for power in range(-6, 1)],
            "momentum": 0.9,
            "normalize_gradients": True,
        },
    }
    steps = {"wide": {}, "fine": {"lr": [2.0**power for power in range(-10, -3)]}}
    loaded = data.load(dataset)
    schedule = {
        "clipping": {"clip_norm": 1.0},
        "warm-up": {"warmup_steps": epochs * (len(loaded.x_train) // 100) // 5},
    }
    parts = [] if arm in ("none", *schedule) else arm.split(", ")
    build = functools.partial(
        networks.mlp,
        loaded.n_features,
        loaded.n_classes,
        hidden=[width] * depth,
        init=initialize[init],
        norm=next((part for part in parts if part in networks.NORMS), None),
        residual=next((part for part in parts if part not in networks.NORMS), None),
    )
    runs = training.train(
        build,
        loaded,
        seeds=seeds,
        epochs=epochs,
        evaluate_every=epochs,
        progress=False,
        **(settings[optimizer] | steps[rates]),
        **schedule.get(arm, {}),
    )
    keys = ["lr", "seed"]
    final = runs.history[runs.history["epoch"] == epochs]
    units = runs.layers[runs.layers["step"] == runs.layers["step"].max()].groupby(keys)
    units = units[["dead_fraction", "all_positive_fraction"]].mean()
    units.columns = ["dead", "on"]
    table = final.join(units, on=keys).merge(runs.test()[[*keys, "test_accuracy"]], on=keys)
    batch_losses = []
    for lr, seed in table[keys].itertuples(index=False):
        model = runs.model(lr=lr, seed=seed).train()
        with torch.no_grad():
            batch_losses.append(nn.functional.cross_entropy(model(loaded.x_train), loaded.y_train).item())
    table["batch_loss"] = batch_losses
    table.loc[table["diverged"], ["train_loss", "batch_loss", "dead", "on"]] = np.nan
    columns = [
        "train_loss",
        "batch_loss",
        "train_accuracy",
        "validation_accuracy",
        "test_accuracy",
        "diverged",
    ]
    return table[[*keys, *columns, "dead", "on"]].to_dict("records")


def _torch_but_for_the_output(model: nn.Module, *, activation: str, seed: int) -> None:
    initialization.initialize(model, "torch", activation=activation, seed=seed)
    with torch.no_grad():
        model.get_submodule("output").weight.mul_(6**0.5)


def _norms_and_skips_grid() -> list[dict[str, Any]]:
    def points(
        arms: Sequence[str],
        init: str,
        depth: int,
        optimizer: str = "momentum",
        epochs: int = 20,
        rates: str = "wide",
    ) -> list[dict[str, Any]]:
        settings = {"init": init, "depth": depth, "optimizer": optimizer, "epochs": epochs, "rates": rates}
        return [{"arm": arm, **settings} for arm in arms]

    arms = ["none", "batch", "layer", "plain", "scaled", "zero", "batch, plain", "layer, plain"]
    arms += ["clipping", "warm-up"]
    settings = [("he", 5), ("he", 10), ("he", 20), ("torch", 20), ("large", 20)]
    grid = [point for init, depth in settings for point in points(arms, init, depth)]
    for depth in (5, 20):
        grid += points(["none", "batch"], "he", depth, "normalised")
    for init in ("torch", "large"):  # would they have needed a remedy at five layers?
        grid += points(["none", "batch", "layer"], init, 5)
    for depth in (5, 20):  # is it the grid, or the time?
        grid += points(["batch"], "he", depth, "normalised", 20, "fine")
        for epochs in (20, 100, 300):
            grid += points(["batch"], "he", depth, "momentum", epochs, "fine")
        grid += points(["batch"], "he", depth, "normalised", 100, "fine")
    for init in ("torch", "torch, output", "he"):  # what is wrong with the default, once it is normalised?
        grid += points(["layer"], init, 20, "momentum", 20, "fine")
    return grid


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


def recycling(
    optimizer: str,
    dataset: str,
    width: int = 32,
    depth: int = 3,
    epochs: int = 20,
    batch_size: int = 100,
    seeds: int = 20,
) -> list[dict[str, Any]]:
    """Train ReLU networks up to rates that kill their units, and give units a new start in mid-training.

    A unit that is recycled gets fresh incoming weights, a bias of zero, and no memory in the optimizer. There are four
    arms: "none" recycles nothing; "dead" recycles every unit that is dead on the training split, and makes its outgoing
    weights zero; "dead, outgoing kept" does not make them zero; "living" recycles, in each layer, as many units as the
    run of "dead" with the same rate and seed did at that time, but living ones, picked at random. Units get a new start
    in the first three quarters of the training, so that the last quarter is as any other.

    Parameters
    ----------
    optimizer : {"sgd", "momentum", "adam"}
        Plain SGD, SGD with momentum 0.9, or Adam.
    dataset : str
        As in `helpers.data.load`.
    width, depth : int, optional
        Units in a hidden layer, and number of these layers.
    epochs, batch_size : int, optional
        How long to train, and on how many samples a step.
    seeds : int, optional
        Number of networks at each rate: seeds 0, 1, ...

    Returns
    -------
    list of dict
        A row a network: `arm`, `lr`, `seed`; after the last epoch `train_loss`, `train_accuracy`,
        `validation_accuracy`, `test_accuracy`, and the dead fraction of each layer, `dead_1`, `dead_2`, ..., NaN where
        the run has `diverged`; `recycled`, how many new starts there were. The rates are a factor of two apart.

    Raises
    ------
    KeyError
        If the optimizer is another.
    ValueError
        If the data set is unknown.

    Notes
    -----
    Chapter 4 shows what came of it. Source of the recycling: Sokar et al. 2023, arXiv:2302.12902.
    """
    settings = {
        "sgd": {"lr": [0.05 * 2.0**power for power in range(6)]},
        "momentum": {"lr": [0.0125 * 2.0**power for power in range(6)], "momentum": 0.9},
        "adam": {"lr": [0.0025 * 2.0**power for power in range(6)], "optimizer": "adam"},
    }
    loaded = data.load(dataset)
    build = functools.partial(networks.mlp, loaded.n_features, loaded.n_classes, hidden=[width] * depth)
    steps = len(loaded.x_train) // batch_size
    counts: dict[tuple[float, int, int, int], int] = {}

    def recycle(network: training.RunningNetwork, *, living: bool, outgoing: str) -> None:
        h = loaded.x_train
        chosen = []
        with torch.no_grad():
            for layer in range(1, depth + 1):
                h = network.model.get_submodule(f"linear_{layer}")(h).relu()
                chosen.append((h == 0).all(dim=0))
        if not h.isfinite().all():
            return
        for layer, dead in enumerate(chosen, start=1):
            key = (network.lr, network.seed, network.step, layer)
            units = dead.nonzero().flatten()
            if living:
                alive = (~dead).nonzero().flatten()
                stream = np.random.SeedSequence([network.seed, network.step, layer])
                generator = torch.Generator().manual_seed(int(stream.generate_state(1)[0]))
                units = alive[torch.randperm(len(alive), generator=generator)[: counts.get(key, 0)]]
            elif outgoing == "zero":
                counts[key] = len(units)
            starts[network.lr, network.seed] = starts.get((network.lr, network.seed), 0) + len(units)
            networks.recycle_units(
                network.model,
                layer,
                units,
                seed=network.seed + 1000 * (network.step * (depth + 1) + layer),
                outgoing=outgoing,
                optimizer_state=network.optimizer_state,
            )

    arms = {
        "none": None,
        "dead": functools.partial(recycle, living=False, outgoing="zero"),
        "dead, outgoing kept": functools.partial(recycle, living=False, outgoing="keep"),
        "living": functools.partial(recycle, living=True, outgoing="zero"),
    }
    rows = []
    for arm, intervention in arms.items():
        starts: dict[tuple[float, int], int] = {}
        times = [] if intervention is None else range(steps, steps * (epochs * 3 // 4) + 1, steps)
        runs = training.train(
            build,
            loaded,
            seeds=seeds,
            epochs=epochs,
            batch_size=batch_size,
            evaluate_every=epochs,
            interventions=dict.fromkeys(times, intervention),
            progress=False,
            **settings[optimizer],
        )
        final = runs.history[runs.history["epoch"] == epochs]
        last = runs.layers[runs.layers["step"] == epochs * steps]
        dead = last.pivot(index=["lr", "seed"], columns="layer", values="dead_fraction").add_prefix("dead_")
        merged = final.merge(runs.test().drop(columns="diverged"), on=["arm", "lr", "seed"])
        merged = merged.join(dead, on=["lr", "seed"]).assign(arm=arm)
        merged["recycled"] = [starts.get(key, 0) for key in zip(merged["lr"], merged["seed"], strict=True)]
        columns = [
            "arm",
            "lr",
            "seed",
            "train_loss",
            "train_accuracy",
            "validation_accuracy",
            "test_accuracy",
        ]
        rows += merged[[*columns, *dead.columns, "recycled", "diverged"]].to_dict("records")
    return rows


def remedies(
    arm: str,
    depth: int,
    optimizer: str,
    dataset: str = "mnist1d",
    width: int = 32,
    epochs: int = 20,
    batch_size: int = 100,
    seeds: int = 20,
) -> list[dict[str, Any]]:
    """Train ReLU and what was proposed in its place at every learning rate of a grid, and count units and gradients.

    All biases start at zero. The weights of a seed are the same random numbers in all arms, times a gain: SELU's by
    LeCun's scheme; else He's for the slope a of the negative side, sqrt(2 / (1 + a²)), which is sqrt(2) for ELU and the
    smooth ones too.

    Parameters
    ----------
    arm : str
        "ReLU"; "leaky 0.01", "leaky 0.1", "leaky 0.2"; "leaky 11/48", RReLU's mean slope; "PReLU" (one slope a layer,
        from 0.25); "RReLU" (slopes from U(1/8, 1/3)); "ELU", "SELU", "GELU", "SiLU"; and, at ReLU's gain,
        "leaky 0.2, ReLU's gain", "ReLU, leaky gradient" and "leaky, ReLU's gradient"; the last two have the slopes
        0 and 0.2, each in one direction.
    depth, width : int
        Number of hidden layers, and of units in each.
    optimizer : {"sgd", "adam"}
        SGD with momentum 0.9, or Adam.
    dataset : str, optional
        As in `helpers.data.load`.
    epochs, batch_size : int, optional
        How long to train, and on how many samples a step.
    seeds : int, optional
        Number of networks at each rate: seeds 0, 1, ...

    Returns
    -------
    list of dict
        A row a network: `lr`, `seed`; after the last epoch `train_loss`, `train_accuracy`, `validation_accuracy` and
        `test_accuracy`; `all_negative` and `all_positive`, the shares of units whose pre-activation is at or below
        zero for every training sample, and above it for every one; `worst_layer`, the largest share of all-negative
        units in a layer; `first_gradient` and `last_gradient`, the root mean square of the loss's derivative with
        respect to the pre-activations of the first and of the last hidden layer, and `born_gradient`, that of the first
        before training; all NaN where the run has `diverged`; `slopes`, PReLU's by layer from the first, set apart by
        spaces, empty for others. The rates are two times apart.

    Raises
    ------
    KeyError
        If the arm or the optimizer is another.
    ValueError
        If there is no such data set.

    Notes
    -----
    Chapter 5 shows what came of it.
    """
    arms = {
        "ReLU": ("relu", {}),
        "leaky 0.01": ("leaky_relu", {"negative_slope": 0.01}),
        "leaky 0.1": ("leaky_relu", {"negative_slope": 0.1}),
        "leaky 0.2": ("leaky_relu", {"negative_slope": 0.2}),
        "leaky 11/48": ("leaky_relu", {"negative_slope": 11 / 48}),
        "PReLU": ("prelu", {}),
        "RReLU": ("rrelu", {}),
        "ELU": ("elu", {}),
        "SELU": ("selu", {}),
        "GELU": ("gelu", {}),
        "SiLU": ("silu", {}),
    }
    at_relus_gain = {
        "leaky 0.2, ReLU's gain": (0.2, 0.2),
        "ReLU, leaky gradient": (0.0, 0.2),
        "leaky, ReLU's gradient": (0.2, 0.0),
    }
    settings = {
        "sgd": {"lr": [0.005 * 2.0**power for power in range(7)], "momentum": 0.9},
        "adam": {"lr": [0.0005 * 2.0**power for power in range(7)], "optimizer": "adam"},
    }
    if arm in at_relus_gain:
        activation = functools.partial(activations.CrossedReLU, *at_relus_gain[arm])
    else:
        name, parameters = arms[arm]
        activation = functools.partial(activations.make, name, **parameters)
    loaded = data.load(dataset)
    build = functools.partial(
        networks.mlp,
        loaded.n_features,
        loaded.n_classes,
        hidden=[width] * depth,
        activation=activation,
        init="lecun" if arm == "SELU" else "he",
    )
    runs = training.train(
        build,
        loaded,
        seeds=seeds,
        epochs=epochs,
        batch_size=batch_size,
        evaluate_every=epochs,
        progress=False,
        **settings[optimizer],
    )
    keys = ["lr", "seed"]
    before, after = (
        runs.layers[(runs.layers["step"] == 0) == born].set_index([*keys, "layer"]) for born in (True, False)
    )
    by_network = after.groupby(level=keys)
    final = runs.history[runs.history["epoch"] == epochs].set_index(keys)
    final = final.join(runs.test().set_index(keys)["test_accuracy"])
    final = final.assign(
        all_negative=by_network["all_negative_fraction"].mean(),
        worst_layer=by_network["all_negative_fraction"].max(),
        all_positive=by_network["all_positive_fraction"].mean(),
        first_gradient=after["gradient_rms"].xs(1, level="layer"),
        last_gradient=after["gradient_rms"].xs(depth, level="layer"),
        born_gradient=before["gradient_rms"].xs(1, level="layer"),
        slopes="",
    )
    if arm == "PReLU":
        final["slopes"] = [
            " ".join(
                f"{module.weight.item():.4f}"
                for module in runs.model(lr=lr, seed=seed).modules()
                if isinstance(module, nn.PReLU)
            )
            for lr, seed in final.index
        ]
    columns = ["train_loss", "train_accuracy", "validation_accuracy", "test_accuracy", "diverged"]
    columns += ["all_negative", "worst_layer", "all_positive"]
    columns += ["first_gradient", "last_gradient", "born_gradient", "slopes"]
    return final[columns].reset_index().to_dict("records")


def _remedies_grid() -> list[dict[str, Any]]:
    arms = ["ReLU", "leaky 0.01", "leaky 0.1", "leaky 0.2", "leaky 11/48", "PReLU", "RReLU"]
    arms += ["ELU", "SELU", "GELU", "SiLU"]
    arms += ["leaky 0.2, ReLU's gain", "ReLU, leaky gradient", "leaky, ReLU's gradient"]
    settings = [
        {"dataset": "mnist1d", "batch_size": 100, "seeds": 20},
        {"dataset": "digits", "batch_size": 50, "seeds": 10},
    ]
    return [
        {"arm": arm, "depth": depth, "optimizer": optimizer, **setting}
        for setting in settings
        for arm in arms
        for depth in (3, 10)
        for optimizer in ("sgd", "adam")
    ]


def phase_diagram(
    activation: str,
    optimizer: str,
    depth: int,
    sigma_w: float,
    sigma_b: float = 0.0,
    width: int = 64,
    seeds: int = 2,
    epochs: int = 10,
    rates: Sequence[float] | None = None,
    device: str = "cpu",
) -> list[dict[str, Any]]:
    """Train networks that start at one point of the mean-field phase diagram, at several learning rates.

    The weights are drawn from N(0, sigma_w²/n) and the biases from N(0, sigma_b²), n the fan-in, in every layer.
    Data are the digits, batches of 100, 11 steps an epoch.

    Parameters
    ----------
    activation : str
        As in `helpers.activations.make`.
    optimizer : {"sgd", "adam"}
        Plain SGD, or Adam.
    depth, width : int
        Number of hidden layers, and units in each.
    sigma_w, sigma_b : float
        Scales of the weights and of the biases.
    seeds : int, optional
        Number of networks at each rate: seeds 0, 1, ...
    epochs : int, optional
        How long to train.
    rates : sequence of float, optional
        The learning rates. By default ten from 1e-6 to 1 with SGD, as a rectifier's gradient on the chaotic side is
        many decades larger than on the ordered one, and six from 1e-4 to 0.03 with Adam.
    device : str, optional
        Where to compute: ``"cuda"`` for a graphics card. All networks of the point train there at once.

    Returns
    -------
    list of dict
        A row a network: `lr`, `seed`, and after the last epoch `train_loss`, `train_accuracy` and `diverged`.

    Raises
    ------
    KeyError
        If the optimizer is unknown.
    ValueError
        If another name is unknown, or a number out of range.

    Notes
    -----
    The measurement under the diagrams of Schoenholz, Gilmer, Ganguli & Sohl-Dickstein 2017, arXiv:1611.01232, on
    smaller data, with a tuned rate. Shown in chapter 6.
    """
    usual = {
        "sgd": [1e-6, 1e-5, 1e-4, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0],
        "adam": [1e-4, 3e-4, 0.001, 0.003, 0.01, 0.03],
    }[optimizer]
    digits = data.load("digits")
    build = functools.partial(
        networks.mlp,
        digits.n_features,
        digits.n_classes,
        hidden=[width] * depth,
        activation=activation,
        init=functools.partial(
            initialization.initialize, scheme="lecun", gain=sigma_w, bias_std=sigma_b or None
        ),
    )
    runs = training.train(
        build,
        digits,
        seeds=seeds,
        lr=usual if rates is None else rates,
        optimizer=optimizer,
        epochs=epochs,
        evaluate_every=epochs,
        measure_every=0,
        device=device,
        progress=False,
    )
    columns = ["lr", "seed", "train_loss", "train_accuracy", "diverged"]
    return runs.history.loc[runs.history["epoch"] == epochs, columns].to_dict("records")


def _phase_grid() -> list[dict[str, Any]]:
    scales = [
        2 ** (power / 8) for power in range(-6, 13)
    ]  # 1 and √2, the two critical points, are among them
    by_depth = [
        {"activation": activation, "optimizer": optimizer, "depth": depth, "sigma_w": sigma_w, "sigma_b": 0.0}
        for activation in ("tanh", "relu")
        for optimizer in ("sgd", "adam")
        for depth in (2, 4, 6, 8, 12, 16, 24, 32, 48)
        for sigma_w in scales
    ]
    by_bias = [
        {"activation": activation, "optimizer": "sgd", "depth": 24, "sigma_w": sigma_w, "sigma_b": sigma_b}
        for activation in ("tanh", "relu")
        for sigma_b in (0.05, 0.1, 0.2, 0.4, 0.8)
        for sigma_w in scales[::2]
    ]
    return by_depth + by_bias


def schemes(
    scheme: str,
    depth: int,
    optimizer: str,
    activation: str = "relu",
    width: int = 32,
    dataset: str = "digits",
    epochs: int = 20,
    batch_size: int = 100,
    seeds: int = 10,
) -> list[dict[str, Any]]:
    """Train multilayer perceptrons from one initialisation at every learning rate of a grid, and count dead units.

    Parameters
    ----------
    scheme : str
        A scheme of `helpers.initialization.initialize` that needs no `std`, its gain chosen by the activation; "lsuv"
        measures on the first 300 training samples. Further "he, gain sqrt(2)", ReLU's gain whatever the activation is;
        "looks-linear" (`helpers.initialization.looks_linear`); "torch, no biases", with PyTorch's weights and biases of
        zero; and "he, torch's biases", with He's weights and PyTorch's biases.
    depth, width : int
        Number of hidden layers, and of units in each.
    optimizer : {"sgd", "adam"}
        SGD with momentum 0.9, or Adam.
    activation : str, optional
        As in `helpers.activations.make`.
    dataset : str, optional
        As in `helpers.data.load`.
    epochs, batch_size : int, optional
        How long to train, and on how many samples a step.
    seeds : int, optional
        Number of networks at each rate: seeds 0, 1, ...

    Returns
    -------
    list of dict
        A row a network: `lr`, `seed`; after the last epoch `train_loss`, `train_accuracy`, `validation_accuracy` and
        `test_accuracy`; `dead`, the share of units whose pre-activation is at or below zero for every training sample,
        and `worst`, that in the layer that has most of them; `on`, the share of units above zero for every one;
        `born_dead`, `born_worst` and `born_on`, the same before training; NaN where the run has `diverged`. The rates
        are two, or two and a half times apart.

    Raises
    ------
    KeyError
        If the optimizer is another.
    ValueError
        If another name is unknown.

    Notes
    -----
    Chapter 6 shows what came of it.
    """
    settings = {
        "sgd": {"lr": [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5], "momentum": 0.9},
        "adam": {"lr": [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05], "optimizer": "adam"},
    }
    loaded = data.load(dataset)

    def init(model: nn.Module, *, activation: Any, seed: int) -> None:
        options: dict[str, Any] = {"activation": activation, "seed": seed}
        if scheme == "looks-linear":
            initialization.looks_linear(model, **options)
        elif scheme == "lsuv":
            initialization.initialize(model, "lsuv", x=loaded.x_train[:300], **options)
        elif scheme == "he, gain sqrt(2)":
            initialization.initialize(model, "he", gain=2**0.5, **options)
        elif scheme in ("torch, no biases", "he, torch's biases"):
            initialization.initialize(model, "torch", **options)
            biases = [layer.bias.detach().clone() for _, layer in initialization.linear_layers(model)]
            if scheme == "he, torch's biases":
                initialization.initialize(model, "he", **options)
            with torch.no_grad():
                for (_, layer), bias in zip(initialization.linear_layers(model), biases, strict=True):
                    layer.bias.copy_(bias if scheme == "he, torch's biases" else 0 * bias)
        else:
            initialization.initialize(model, scheme, **options)

    runs = training.train(
        functools.partial(
            networks.mlp,
            loaded.n_features,
            loaded.n_classes,
            hidden=[width] * depth,
            activation=activation,
            init=init,
        ),
        loaded,
        seeds=seeds,
        epochs=epochs,
        batch_size=batch_size,
        evaluate_every=epochs,
        progress=False,
        **settings[optimizer],
    )
    keys = ["lr", "seed"]
    before, after = (runs.layers[(runs.layers["step"] == 0) == born].groupby(keys) for born in (True, False))
    final = runs.history[runs.history["epoch"] == epochs].set_index(keys)
    final = final.join(runs.test().set_index(keys)["test_accuracy"]).assign(
        dead=after["all_negative_fraction"].mean(),
        worst=after["all_negative_fraction"].max(),
        on=after["all_positive_fraction"].mean(),
        born_dead=before["all_negative_fraction"].mean(),
        born_worst=before["all_negative_fraction"].max(),
        born_on=before["all_positive_fraction"].mean(),
    )
    columns = ["train_loss", "train_accuracy", "validation_accuracy", "test_accuracy", "diverged"]
    columns += ["dead", "worst", "on", "born_dead", "born_worst", "born_on"]
    return final[columns].reset_index().to_dict("records")


def _schemes_grid() -> list[dict[str, Any]]:
    relu = ("torch", "lecun", "xavier", "he", "orthogonal", "lsuv", "rai", "looks-linear")
    parts = [
        ("relu", "digits", 20, relu, (5, 10, 20, 40)),
        ("relu", "digits", 20, ("torch, no biases", "he, torch's biases"), (10, 20)),
        ("relu", "mnist1d", 10, ("he", "looks-linear"), (10, 40)),
    ]
    return [
        {
            "scheme": scheme,
            "depth": depth,
            "optimizer": optimizer,
            "activation": activation,
            "dataset": dataset,
            "epochs": epochs,
        }
        for activation, dataset, epochs, names, depths in parts
        for scheme in names
        for depth in depths
        for optimizer in ("sgd", "adam")
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
    "norms-and-skips": Study(
        question="Which of normalisation, skip connections, clipping and warm-up makes a deep network train?",
        function=norms_and_skips,
        grid=_norms_and_skips_grid(),
        miniature=[
            {"arm": arm, "init": "he", "depth": 3, "optimizer": "momentum", "rates": "wide"}
            | {"epochs": 1, "seeds": 2}
            for arm in ("batch, plain", "clipping")
        ],
        minutes=27,
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
    "remedies": Study(
        question="What do the leaky, randomised and smooth rectifiers do to dying units, and what to learning?",
        function=remedies,
        grid=_remedies_grid(),
        miniature=[
            {
                "arm": arm,
                "depth": 3,
                "optimizer": "sgd",
                "dataset": "mnist1d",
                "batch_size": 100,
                "epochs": 1,
                "seeds": 2,
            }
            for arm in ("PReLU", "ReLU, leaky gradient")
        ],
        minutes=30,
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
    "swish-at-depth": Study(
        question="Does a very deep network need Swish (SiLU) where the units of ReLU are dead?",
        function=trainability,
        grid=[
            {"activation": "silu", "init": init, "depth": depth, "optimizer": optimizer}
            for init in ("torch", "he")
            for depth in (10, 20)
            for optimizer in ("sgd", "adam")
        ],
        miniature=[
            {
                "activation": "silu",
                "init": "he",
                "depth": 2,
                "optimizer": "adam",
                "dataset": "digits",
                "epochs": 1,
                "seeds": 2,
            }
        ],
        minutes=8,
    ),
    "phase-diagram": Study(
        question="From which scales of weights and biases, and down to which depth, do tanh and ReLU networks train?",
        function=phase_diagram,
        grid=_phase_grid(),
        miniature=[
            {
                "activation": "tanh",
                "optimizer": "sgd",
                "depth": 3,
                "sigma_w": sigma_w,
                "sigma_b": 0.0,
                "width": 16,
                "epochs": 2,
                "rates": [0.1],
            }
            for sigma_w in (0.5, 1.0)
        ],
        minutes=45,
    ),
    "schemes": Study(
        question="Which initialisation trains best at which depth, under which optimizer, and how many units die?",
        function=schemes,
        grid=_schemes_grid(),
        miniature=[
            {
                "scheme": scheme,
                "depth": 2,
                "optimizer": "sgd",
                "activation": "relu",
                "dataset": "digits",
                "epochs": 1,
                "seeds": 2,
            }
            for scheme in ("lsuv", "looks-linear")
        ],
        minutes=10,
    ),
    "recycling": Study(
        question="Does a network that loses units to its learning rate do better if they are given a new start?",
        function=recycling,
        grid=[
            {"optimizer": optimizer, "dataset": dataset, "seeds": seeds}
            for dataset, seeds in (("digits", 60), ("mnist1d", 20))
            for optimizer in ("sgd", "momentum", "adam")
        ],
        miniature=[{"optimizer": "adam", "dataset": "digits", "epochs": 3, "seeds": 2}],
        minutes=12,
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
