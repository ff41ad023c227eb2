"""Multilayer perceptrons, made from the names of their parts, and what can be done to single units of them.

One recipe, `mlp`, makes every network that the book trains; `functools.partial(mlp, ...)` with all but the seed
filled in is what `training.train` takes. `kill_units` and `recycle_units` change chosen units, also in mid-training.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from helpers import activations, initialization

__all__ = ["NORMS", "RESIDUALS", "ResidualBlock", "kill_units", "mlp", "recycle_units"]

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


OptimizerState = Mapping[str, Mapping[str, Tensor]]


@torch.no_grad()
def kill_units(
    model: nn.Sequential,
    layer: int,
    units: Sequence[int] | Tensor,
    *,
    x: Tensor,
    margin: float,
    optimizer_state: OptimizerState | None = None,
) -> None:
    """Lower the biases of chosen units until their largest pre-activation on x is -margin, in place.

    A bias that a batch normalisation follows would be subtracted again, so there it is the normalisation's own
    bias β that is lowered.

    Parameters
    ----------
    model : torch.nn.Sequential
        What `mlp` makes, without residual connections; measured in evaluation mode, and left in the mode it was in.
    layer : int
        Number of the hidden layer, from 1.
    units : sequence of int, or torch.Tensor of int or bool
        Which of its units: numbers from 0, or a mask.
    x : torch.Tensor of shape (samples, in_features)
        The inputs: the whole training split, to kill on all of it.
    margin : float
        Distance of the largest pre-activation below zero, above 0, in the unit's own scale.
    optimizer_state : mapping, optional
        As `training.RunningNetwork` has it. Where it is given, what the optimizer remembers of the units' incoming
        weights and biases is set to zero; else it is kept, and momentum carries the units on.

    Raises
    ------
    ValueError
        If there is no such layer or unit, `margin` is not above 0, or a pre-activation is not finite.
    TypeError
        If `layer` or the units are not integers.

    Notes
    -----
    A ReLU unit that this is done to gets a gradient of exactly zero from every sample of `x`. Explained in chapter 4.
    """
    if not (math.isfinite(margin) and margin > 0):
        raise ValueError(f"margin must be a finite number above 0, but is {margin}")
    incoming, norm, _ = _hidden_layer(model, layer)
    units = _checked_units(units, incoming.out_features)
    shifted = incoming if norm is None else norm
    seen: list[Tensor] = []
    was_training = model.training
    model.eval()
    with shifted.register_forward_hook(lambda module, inputs, output: seen.append(output)):
        model(x)
    model.train(was_training)
    highest = seen[-1][:, units].amax(dim=0)
    if not highest.isfinite().all():
        raise ValueError("the network has diverged: a pre-activation is not finite")
    shifted.bias[units] -= highest + margin
    for values in _memories(model, optimizer_state, incoming, norm):
        values[units] = 0.0


@torch.no_grad()
def recycle_units(
    model: nn.Sequential,
    layer: int,
    units: Sequence[int] | Tensor,
    *,
    seed: int,
    init: str = "he",
    outgoing: str = "zero",
    optimizer_state: OptimizerState | None = None,
) -> None:
    """Give chosen units a new start, in place: fresh incoming weights, a bias of 0, outgoing weights of 0.

    Parameters
    ----------
    model : torch.nn.Sequential
        What `mlp` makes, without residual connections.
    layer : int
        Number of the hidden layer, from 1.
    units : sequence of int, or torch.Tensor of int or bool
        Which of its units: numbers from 0, or a mask. None at all is accepted, and changes nothing.
    seed : int
        Decides the fresh weights.
    init : str
        The scheme of `initialization.initialize` that draws them (and, under "torch" and "rai", the biases).
    outgoing : {"zero", "keep"}
        What becomes of the weights that lead out of the units. At zero, a dead unit's new start leaves the network's
        outputs as they were.
    optimizer_state : mapping, optional
        As `training.RunningNetwork` has it; what the optimizer remembers of the units' weights is set to zero.

    Raises
    ------
    ValueError
        If there is no such layer or unit, or a name is unknown.
    TypeError
        If `layer`, the units or the seed are not integers.

    Notes
    -----
    A batch normalisation's parameters for the units start again as well. Source: Sokar et al. 2023,
    arXiv:2302.12902. Explained in chapter 4.
    """
    _check_name("outgoing", outgoing, ("zero", "keep"))
    incoming, norm, following = _hidden_layer(model, layer)
    units = _checked_units(units, incoming.out_features)
    activation = model.get_submodule(f"activation_{layer}")
    fresh = nn.Sequential(nn.utils.skip_init(nn.Linear, incoming.in_features, incoming.out_features))
    initialization.initialize(fresh, init, activation=activation, seed=seed)
    incoming.weight[units] = fresh[0].weight[units].to(incoming.weight)
    incoming.bias[units] = fresh[0].bias[units].to(incoming.bias)
    if norm is not None:
        norm.weight[units], norm.bias[units] = 1.0, 0.0
    if outgoing == "zero":
        following.weight[:, units] = 0.0
    for values in _memories(model, optimizer_state, incoming, norm):
        values[units] = 0.0
    if optimizer_state is not None:
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        for slot in optimizer_state.values():
            slot[names[id(following.weight)]][:, units] = 0.0


def _hidden_layer(model: nn.Sequential, layer: int) -> tuple[nn.Linear, nn.Module | None, nn.Linear]:
    """Find the linear layer that feeds a hidden layer, its normalisation, and the linear layer that it feeds."""
    if not isinstance(layer, int | np.integer) or isinstance(layer, bool):
        raise TypeError(f"layer must be the number of a hidden layer, from 1, but is {layer!r}")
    modules = dict(model.named_children())
    depth = sum(name.startswith("activation_") for name in modules)
    if not depth:
        raise ValueError(
            "the model must be what networks.mlp makes, without residual connections, but it has no module "
            f"activation_1; its modules are {', '.join(modules) or 'none'}"
        )
    if not 1 <= layer <= depth:
        raise ValueError(f"layer must be from 1 to {depth}, the number of hidden layers, but is {layer}")
    following = modules["output"] if layer == depth else modules[f"linear_{layer + 1}"]
    return modules[f"linear_{layer}"], modules.get(f"norm_{layer}"), following


def _checked_units(units: Sequence[int] | Tensor, width: int) -> Tensor:
    """Give chosen units as a tensor of their numbers."""
    chosen = torch.as_tensor(units)
    if chosen.dtype == torch.bool:
        if chosen.shape != (width,):
            raise ValueError(f"a mask of units must have the shape ({width},), but has {tuple(chosen.shape)}")
        return chosen.nonzero().flatten()
    if chosen.numel() == 0:
        return chosen.long().flatten()
    if chosen.is_floating_point() or chosen.is_complex():
        raise TypeError(f"units must be integers, or a mask, but are of {chosen.dtype}")
    if chosen.ndim != 1 or not bool(((chosen >= 0) & (chosen < width)).all()):
        raise ValueError(f"units must be numbers from 0 to {width - 1}, but are {chosen.tolist()}")
    return chosen.long()


def _memories(
    model: nn.Module, optimizer_state: OptimizerState | None, incoming: nn.Linear, norm: nn.Module | None
) -> list[Tensor]:
    """List what an optimizer remembers of the parameters that make a layer's pre-activations, units first."""
    if optimizer_state is None:
        return []
    own = [incoming.weight, incoming.bias, *([] if norm is None else [norm.weight, norm.bias])]
    names = [name for name, parameter in model.named_parameters() if any(parameter is p for p in own)]
    return [slot[name] for slot in optimizer_state.values() for name in names]
