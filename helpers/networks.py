"""Multilayer perceptrons, made from the names of their parts.

One recipe, `mlp`, makes every network that the book trains; `functools.partial(mlp, ...)` with all but the seed
filled in is what `training.train` takes.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from helpers import activations, initialization

__all__ = ["NORMS", "RESIDUALS", "ResidualBlock", "mlp"]

#: The normalisations that `mlp` knows.
NORMS: tuple[str, ...] = ("batch", "layer")
#: The kinds of skip connections that `mlp` knows.
RESIDUALS: tuple[str, ...] = ("plain", "scaled", "zero")
_NORM_CLASSES = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


class ResidualBlock(nn.Sequential):
    """A branch of modules whose output, times `scale`, is added to its input: x + scale · branch(x).

    Source: He, Zhang, Ren & Sun 2016, arXiv:1512.03385, with normalisation and activation before the linear layer.
    Explained in chapter 7.
    """

    def __init__(self, branch: OrderedDict[str, nn.Module], scale: float = 1.0) -> None:
        super().__init__(branch)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to its input; shapes (samples, width)."""
        return x + self.scale * super().forward(x)


def mlp(
    in_features: int,
    out_features: int,
    *,
    hidden: Sequence[int],
    activation: str | Callable[[], nn.Module] = "relu",
    init: str | Callable[..., None] = "he",
    norm: str | None = None,
    residual: str | None = None,
    seed: int,
) -> nn.Sequential:
    """Make a multilayer perceptron with the given activation, initialisation, normalisation and skip connections.

    Parameters
    ----------
    in_features, out_features : int
        Numbers of input features and of outputs (logits).
    hidden : sequence of int
        Widths of the hidden layers: ``[32] * 10`` is a network of depth 10.
    activation : str or callable
        A name of `activations.NAMES`, or a factory that takes no argument and returns a new module.
    init : str or callable
        A scheme of `initialization.initialize` that needs nothing else ("torch", "lecun", "xavier", "he",
        "orthogonal", "rai"), or a function called as ``init(model, activation=..., seed=...)``, such as
        ``functools.partial(initialization.initialize, scheme="normal", std=0.1)``.
    norm : {None, "batch", "layer"}
        Normalisation of each pre-activation (with `residual`: of each branch's input, and of the output
        layer's).
    residual : {None, "plain", "scaled", "zero"}
        None: no skip connections. Otherwise the first linear layer is followed by one `ResidualBlock` a
        hidden layer, all of one width: "plain" adds branches as they are, "scaled" divides them by √depth,
        "zero" starts every branch's weights at zero, so that the network begins as a linear one.
    seed : int
        Decides the weights, whatever the global random state.

    Returns
    -------
    torch.nn.Sequential
        Maps (samples, in_features) to (samples, out_features). Modules, for each hidden layer i from 1:
        ``linear_i``, ``norm_i`` (if any), ``activation_i``, and last ``output``; with `residual` ``input``,
        ``block_i`` (holding norm, activation, linear), ``norm`` (if any), ``output``.

    Raises
    ------
    ValueError
        If a name is unknown, `hidden` is empty, a width is below 1, widths differ under `residual`, or the seed
        is negative.
    TypeError
        If a width or the seed is not an integer, or the activation is neither a name nor a factory of modules.

    Notes
    -----
    A network by hand and its first helper are in chapter 1; normalisation and residuals in chapter 7.

    Examples
    --------
    >>> mlp(40, 10, hidden=[32], activation="tanh", init="xavier", seed=0)
    Sequential(
      (linear_1): Linear(in_features=40, out_features=32, bias=True)
      (activation_1): Tanh()
      (output): Linear(in_features=32, out_features=10, bias=True)
    )
    """
    hidden = _checked_widths(in_features, out_features, hidden)
    _check_name("norm", norm, NORMS)
    _check_name("residual", residual, RESIDUALS)
    seed = initialization.checked_seed(seed)
    if residual is not None and len(set(hidden)) > 1:
        raise ValueError(f"residual={residual!r} needs hidden layers of one width, but hidden is {hidden}")

    with torch.random.fork_rng(devices=[]):  # nn.Linear draws default weights from the global generator
        torch.default_generator.manual_seed(seed)  # for what `init` leaves as it is
        if residual is None:
            modules = _plain(in_features, hidden, activation, norm)
        else:
            modules = _residual(in_features, hidden, activation, norm, residual)
        modules["output"] = nn.Linear(hidden[-1], out_features)
        model = nn.Sequential(modules)

    for position, module in enumerate(model.modules()):
        if isinstance(module, activations.RReLU):
            stream = np.random.SeedSequence(seed, spawn_key=(position,))
            module.reseed(int(stream.generate_state(1)[0]))
    if callable(init):
        init(model, activation=activation, seed=seed)
    else:
        initialization.initialize(model, init, activation=activation, seed=seed)
    if residual == "zero":
        for module in model.modules():
            if isinstance(module, ResidualBlock):
                nn.init.zeros_(module.linear.weight)
                nn.init.zeros_(module.linear.bias)
    return model


def _checked_widths(in_features: int, out_features: int, hidden: Sequence[int]) -> list[int]:
    if not isinstance(hidden, Iterable):
        raise TypeError(f"hidden must be a sequence of widths, such as [32, 32], but is {hidden!r}")
    widths = list(hidden)
    if not widths:
        raise ValueError("hidden must hold at least one width, such as [32], but is empty")
    for name, value in [("in_features", in_features), ("out_features", out_features)] + [
        ("each width in hidden", width) for width in widths
    ]:
        if not isinstance(value, int | np.integer) or isinstance(value, bool):
            raise TypeError(f"{name} must be an integer, but is {value!r}")
        if value < 1:
            raise ValueError(f"{name} must be 1 or above, but is {value}")
    return [int(width) for width in widths]


def _check_name(what: str, name: str | None, names: tuple[str, ...]) -> None:
    if name is not None and name not in names:
        raise ValueError(f"unknown {what} {name!r}; the names are None, {', '.join(names)}")


def _activation(activation: str | Callable[[], nn.Module]) -> nn.Module:
    if isinstance(activation, str):
        return activations.make(activation)
    if isinstance(activation, nn.Module) or not callable(activation):
        raise TypeError(
            f"activation must be a name or a factory of modules, but is {activation!r}; "
            "for an activation with parameters give functools.partial(activations.make, name, ...)"
        )
    module = activation()
    if not isinstance(module, nn.Module):
        raise TypeError(f"the activation's factory must return an nn.Module, but returned {module!r}")
    return module


def _plain(
    in_features: int, hidden: list[int], activation: str | Callable[[], nn.Module], norm: str | None
) -> OrderedDict[str, nn.Module]:
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for i, (fan_in, fan_out) in enumerate(zip([in_features, *hidden], hidden, strict=False), start=1):
        modules[f"linear_{i}"] = nn.Linear(fan_in, fan_out)
        if norm is not None:
            modules[f"norm_{i}"] = _NORM_CLASSES[norm](fan_out)
        modules[f"activation_{i}"] = _activation(activation)
    return modules


def _residual(
    in_features: int,
    hidden: list[int],
    activation: str | Callable[[], nn.Module],
    norm: str | None,
    residual: str,
) -> OrderedDict[str, nn.Module]:
    width = hidden[0]
    scale = 1 / math.sqrt(len(hidden)) if residual == "scaled" else 1.0
    modules: OrderedDict[str, nn.Module] = OrderedDict(input=nn.Linear(in_features, width))
    for i in range(1, len(hidden) + 1):
        branch: OrderedDict[str, nn.Module] = OrderedDict()
        if norm is not None:
            branch["norm"] = _NORM_CLASSES[norm](width)
        branch["activation"] = _activation(activation)
        branch["linear"] = nn.Linear(width, width)
        modules[f"block_{i}"] = ResidualBlock(branch, scale)
    if norm is not None:
        modules["norm"] = _NORM_CLASSES[norm](width)
    return modules
