"""Weight initialisation schemes by name.

`networks.mlp` calls `initialize` on each network it makes; chapter 1 derives the one line of variance algebra
that all of these schemes solve, and chapter 6 compares them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from helpers import activations

__all__ = ["SCHEMES", "checked_seed", "gain_of", "initialize", "linear_layers", "looks_linear"]

#: The schemes that `initialize` knows.
SCHEMES: tuple[str, ...] = ("torch", "lecun", "xavier", "he", "orthogonal", "lsuv", "rai", "normal")

# Standard deviation of the Gaussian part of RAI, times sqrt(fan-in): Lu et al. 2020, for ReLU.
_RAI_SCALE = 0.6007
_LSUV_TOLERANCE = 0.01
_LSUV_STEPS = 10


def gain_of(activation: str | Callable[[], nn.Module] | nn.Module) -> float:
    """Give the gain sqrt(2 / (1 + a²)) that suits an activation whose negative side has the slope a.

    Parameters
    ----------
    activation : str, callable or torch.nn.Module
        A name of `activations.NAMES`, a factory of a module, or a module.

    Returns
    -------
    float
        sqrt(2) for ReLU and the smooth functions that resemble it (a = 0), sqrt(2 / (1 + a²)) for the leaky ones
        (for PReLU and RReLU at their starting and mean slope), 1 for the identity and for sigmoid, tanh and
        softsign, which have one slope around zero (a = 1).

    Raises
    ------
    ValueError
        If the name is unknown.

    Notes
    -----
    Source: He, Zhang, Ren & Sun 2015, arXiv:1502.01852. Explained in chapters 1 and 6.
    """
    activation = _module(activation)
    if isinstance(activation, nn.Identity | nn.Sigmoid | nn.Tanh | nn.Softsign):
        slope = 1.0
    elif isinstance(activation, nn.LeakyReLU):
        slope = activation.negative_slope
    elif isinstance(activation, nn.PReLU):
        slope = activation.weight.detach().mean().item()
    elif isinstance(activation, activations.RReLU | nn.RReLU):
        slope = (activation.lower + activation.upper) / 2
    else:
        slope = 0.0
    return math.sqrt(2 / (1 + slope**2))


def _module(activation: str | Callable[[], nn.Module] | nn.Module) -> nn.Module:
    """Give the module that a name or a factory stands for, or the one that was given."""
    if isinstance(activation, str):
        return activations.make(activation)
    return activation if isinstance(activation, nn.Module) else activation()


def checked_seed(seed: int) -> int:
    """Give a seed as a Python integer, if it is one.

    Parameters
    ----------
    seed : int
        A Python or NumPy integer.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If the seed is negative.
    TypeError
        If it is not an integer.
    """
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool):
        raise TypeError(f"a seed must be an integer, but is {seed!r}")
    if seed < 0:
        raise ValueError(f"a seed must be 0 or above, but is {seed}")
    return int(seed)


def linear_layers(model: nn.Module) -> list[tuple[str, nn.Linear]]:
    """List the linear layers of a model with their names, in the order in which they were registered.

    Parameters
    ----------
    model : torch.nn.Module

    Returns
    -------
    list of (str, torch.nn.Linear)
    """
    return [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]


def initialize(
    model: nn.Module,
    scheme: str,
    *,
    activation: str | Callable[[], nn.Module] | nn.Module,
    seed: int,
    gain: float | None = None,
    std: float | None = None,
    bias_std: float | None = None,
    x: Tensor | None = None,
) -> None:
    """Draw new weights for every linear layer of a model, in place.

    Biases become zero, except under ``"torch"`` and ``"rai"``, which draw them too, and with `bias_std`. Other
    modules (a normalisation, a PReLU) keep their parameters. The same scheme is used for the output layer.

    Parameters
    ----------
    model : torch.nn.Module
        Holds at least one `torch.nn.Linear`, with weights of shape (fan-out, fan-in).
    scheme : str
        One of `SCHEMES`; n is the fan-in, m the fan-out, g the gain:

        - ``"torch"``: what `torch.nn.Linear` does by default, weights and biases from U(-1/√n, 1/√n). The weights'
          variance is 1/(3n), so this is neither He's nor Xavier's scheme (chapter 2).
        - ``"lecun"``: N(0, g²/n), with g = 1 (LeCun et al. 1998).
        - ``"xavier"``: U(-l, l) with l = g √(6/(n + m)), with g = 1 (Glorot & Bengio 2010, eq. 16).
        - ``"he"``: N(0, g²/n), with g from the activation (He et al. 2015, eq. 10).
        - ``"orthogonal"``: g times a random orthonormal matrix, with g from the activation (Saxe et al. 2014).
        - ``"lsuv"``: orthonormal, then each layer in turn is scaled until its output on `x` has variance 1
          (Mishkin & Matas 2016).
        - ``"rai"``: randomised asymmetric: N(0, 0.6007²/n) with one entry of each row of (weights, bias) drawn
          from Beta(2, 1) instead (Lu, Shin, Su & Karniadakis 2020).
        - ``"normal"``: N(0, std²).
    activation : str, callable or torch.nn.Module
        The hidden layers' activation, which decides the gain where `gain` is None.
    seed : int
        Seed of the draw; the global random state is neither used nor changed.
    gain : float, optional
        Another gain for "lecun", "xavier", "he" and "orthogonal".
    std : float, optional
        The standard deviation of "normal".
    bias_std : float, optional
        Draw the biases of "lecun", "xavier", "he", "orthogonal" or "normal" from N(0, bias_std²), as mean-field theory
        has them (σ_b). The weights are the same with and without.
    x : torch.Tensor of shape (samples, features), optional
        The inputs on which "lsuv" measures.

    Raises
    ------
    ValueError
        If the scheme or the activation is unknown, the model has no linear layer, the seed is negative, `gain`,
        `std`, `bias_std` or `x` is missing, out of range or given to a scheme that does not use it, or the model cannot
        take `x`.
    TypeError
        If the seed is not an integer.

    Notes
    -----
    Explained in chapters 1 (the variance algebra) and 6 (the schemes).
    """
    if scheme not in SCHEMES:
        raise ValueError(f"unknown initialisation scheme {scheme!r}; the schemes are {', '.join(SCHEMES)}")
    _check_option("gain", gain, scheme, used_by=("lecun", "xavier", "he", "orthogonal"))
    _check_option("std", std, scheme, used_by=("normal",), needed=True)
    _check_option("bias_std", bias_std, scheme, used_by=("lecun", "xavier", "he", "orthogonal", "normal"))
    if scheme == "lsuv" and x is None:
        raise ValueError("scheme 'lsuv' needs x, the inputs on which it measures")
    if scheme != "lsuv" and x is not None:
        raise ValueError(f"scheme {scheme!r} takes no x; it is for lsuv")
    seed = checked_seed(seed)
    suitable_gain = gain_of(activation)
    layers = linear_layers(model)
    if not layers:
        raise ValueError(
            f"initialize needs a model with at least one nn.Linear, but {type(model).__name__} has none"
        )
    if gain is None:
        gain = suitable_gain if scheme in ("he", "orthogonal") else 1.0

    generator = _generator(seed)
    for _, layer in layers:
        _draw(layer, scheme, gain, std, generator)
    if bias_std is not None:
        for _, layer in layers:
            if layer.bias is not None:
                with torch.no_grad():
                    layer.bias.normal_(0.0, bias_std, generator=generator)
    if scheme == "lsuv":
        _scale_to_unit_variance(model, layers, x)


@torch.no_grad()
def looks_linear(
    model: nn.Module, *, activation: str | Callable[[], nn.Module] | nn.Module = "relu", seed: int
) -> None:
    """Draw mirrored orthonormal weights, in place, with which a ReLU network starts as a linear function.

    The units of each hidden layer come in pairs with opposite pre-activations u and -u, whose difference after the
    ReLU is u again, and the next layer takes that difference. Biases become zero.

    Parameters
    ----------
    model : torch.nn.Module
        Its linear layers follow one another, first to last; an even number of units in every hidden one.
    activation : str, callable or torch.nn.Module
        ReLU, for which alone relu(u) - relu(-u) = u without a factor.
    seed : int
        Seed of the draw; the global random state is neither used nor changed.

    Raises
    ------
    ValueError
        If the model has fewer than two linear layers, a hidden layer has an odd number of units, the activation is
        another, or the seed is negative.
    TypeError
        If the seed is not an integer.

    Notes
    -----
    The first layer is ``[A; -A]``, those between are ``[M, -M; -M, M]``, the last is ``[C, -C]``, with A, M and C
    orthonormal, so that the network is ``C M ... M A x``. `networks.mlp` takes this function as its `init`. Source:
    Balduzzi et al. 2017, arXiv:1702.08591, who concatenate ReLUs; mirrored weights do the same in a plain network.
    Explained in chapter 6.
    """
    if not isinstance(activation := _module(activation), nn.ReLU):
        raise ValueError(f"looks_linear needs ReLU, but the activation is {type(activation).__name__}")
    seed = checked_seed(seed)
    layers = [layer for _, layer in linear_layers(model)]
    widths = [layer.out_features for layer in layers[:-1]]
    if not widths or any(width % 2 for width in widths):
        raise ValueError(
            "looks_linear needs hidden layers with an even number of units, for they come in pairs; "
            f"but the widths are {widths}"
        )
    generator = _generator(seed)
    for i, layer in enumerate(layers):
        first, last = i == 0, i == len(layers) - 1
        rows, columns = layer.weight.shape
        core = torch.empty(rows if last else rows // 2, columns if first else columns // 2)
        nn.init.orthogonal_(core, generator=generator)
        core = core if first else torch.cat([core, -core], dim=1)
        layer.weight.copy_(core if last else torch.cat([core, -core], dim=0))
        if layer.bias is not None:
            layer.bias.zero_()


def _generator(seed: int) -> torch.Generator:
    """Give the random numbers of a seed."""
    # Not the seed itself: inputs drawn from torch.manual_seed(seed) would be correlated with the weights.
    return torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))


def _check_option(
    name: str, value: float | None, scheme: str, *, used_by: tuple[str, ...], needed: bool = False
) -> None:
    if value is None:
        if needed and scheme in used_by:
            raise ValueError(f"scheme {scheme!r} needs {name}, a number above 0")
        return
    if scheme not in used_by:
        raise ValueError(f"scheme {scheme!r} takes no {name}; it is for {', '.join(used_by)}")
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a finite number above 0, but is {value}")


@torch.no_grad()
def _draw(layer: nn.Linear, scheme: str, gain: float, std: float | None, generator: torch.Generator) -> None:
    weight, bias = layer.weight, layer.bias
    fan_out, fan_in = weight.shape
    if scheme == "torch":
        bound = 1 / math.sqrt(fan_in)
        weight.uniform_(-bound, bound, generator=generator)
        if bias is not None:
            bias.uniform_(-bound, bound, generator=generator)
        return
    if bias is not None:
        bias.zero_()
    if scheme in ("lecun", "he"):
        weight.normal_(0.0, gain / math.sqrt(fan_in), generator=generator)
    elif scheme == "xavier":
        nn.init.xavier_uniform_(weight, gain, generator=generator)
    elif scheme in ("orthogonal", "lsuv"):
        nn.init.orthogonal_(weight, gain, generator=generator)
    elif scheme == "normal":
        weight.normal_(0.0, std, generator=generator)
    elif scheme == "rai":
        weight.normal_(0.0, _RAI_SCALE / math.sqrt(fan_in), generator=generator)
        bias_column = torch.randn(fan_out, generator=generator) * _RAI_SCALE / math.sqrt(fan_in)
        rows = weight if bias is None else torch.cat([weight, bias_column[:, None].to(weight)], dim=1)
        column = torch.randint(0, rows.shape[1], (fan_out, 1), generator=generator)
        # The square root of a uniform number has the density 2x on [0, 1]: Beta(2, 1).
        positive = torch.rand(fan_out, 1, generator=generator).sqrt()
        rows.scatter_(1, column.to(rows.device), positive.to(rows))
        weight.copy_(rows[:, :fan_in])
        if bias is not None:
            bias.copy_(rows[:, -1])


@torch.no_grad()
def _scale_to_unit_variance(model: nn.Module, layers: list[tuple[str, nn.Linear]], x: Tensor) -> None:
    """Scale each layer's weights until the variance of its output on x is 1, in the order of registration."""
    seen: list[Tensor] = []
    was_training = model.training
    model.eval()
    for name, layer in layers:
        with layer.register_forward_hook(lambda module, inputs, output: seen.append(output)):
            for _ in range(_LSUV_STEPS):
                seen.clear()
                try:
                    model(x)
                except RuntimeError as error:
                    raise ValueError(
                        f"lsuv: the model cannot take x of shape {tuple(x.shape)}: {error}"
                    ) from error
                if not seen:
                    raise ValueError(f"lsuv: layer {name!r} takes no part in the model's forward pass")
                variance = seen[-1].var().item()
                if not (math.isfinite(variance) and variance > 0):
                    raise ValueError(
                        f"lsuv: the output of {name!r} has variance {variance} on the given x; "
                        "give more inputs, or inputs that differ"
                    )
                if abs(variance - 1) < _LSUV_TOLERANCE:
                    break
                layer.weight.div_(math.sqrt(variance))
    model.train(was_training)
