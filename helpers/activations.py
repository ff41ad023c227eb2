"""The catalogue of activation functions.

Every network of the book takes its activation from here by name. Wherever it works under ``torch.vmap`` the
module is `torch.nn`'s own; the exceptions are written out below, each with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "NAMES",
    "CrossedReLU",
    "RReLU",
    "ReLUSquared",
    "ShiftedReLU",
    "ShiftedSoftplus",
    "TopK",
    "is_activation",
    "make",
]

#: Mean of softplus(z) for a standard normal z, the shift of `ShiftedSoftplus`.
SOFTPLUS_MEAN = 0.8060591833474398
#: Mean of ReLU(z) for a standard normal z, the shift of `ShiftedReLU`.
RELU_MEAN = 1 / math.sqrt(2 * math.pi)


class ShiftedSoftplus(nn.Module):
    """Softplus less a constant: its mean under a standard normal input, so that its output has mean zero there.

    Softplus differs from ReLU in two ways: it is smooth, and its mean is higher. The shift takes the second
    difference away, which makes it the control for the first (chapter 2).

    Input and output: tensors of the same shape. Formula: ``log(1 + exp(z)) - shift``.

    Parameters
    ----------
    shift : float
        ``E[log(1 + exp(Z))]`` with Z standard normal, unless given. ``SOFTPLUS_MEAN - RELU_MEAN`` leaves softplus the
        mean of ReLU.
    """

    def __init__(self, shift: float = SOFTPLUS_MEAN) -> None:
        super().__init__()
        self.shift = float(shift)

    def forward(self, z: Tensor) -> Tensor:
        """Apply the function element by element."""
        return functional.softplus(z) - self.shift

    def extra_repr(self) -> str:
        """Show the shift when the module is printed."""
        return f"shift={self.shift:.4g}"


class ShiftedReLU(nn.Module):
    """ReLU less its mean under a standard normal input: a kink, and no output that is exactly zero (chapter 2).

    Input and output: tensors of the same shape. Formula: ``max(0, z) - shift``.

    Parameters
    ----------
    shift : float
        ``E[max(0, Z)] = 1 / sqrt(2 * pi)`` with Z standard normal, unless given.
    """

    def __init__(self, shift: float = RELU_MEAN) -> None:
        super().__init__()
        self.shift = float(shift)

    def forward(self, z: Tensor) -> Tensor:
        """Apply the function element by element."""
        return functional.relu(z) - self.shift

    def extra_repr(self) -> str:
        """Show the shift when the module is printed."""
        return f"shift={self.shift:.4g}"


class ReLUSquared(nn.Module):
    """The square of ReLU, ``max(0, z)²``, as used in some recent language models (chapter 10).

    Input and output: tensors of the same shape. Source: So et al. 2021, arXiv:2109.08668.
    """

    def forward(self, z: Tensor) -> Tensor:
        """Apply the function element by element."""
        return functional.relu(z).square()


class RReLU(nn.Module):
    """Randomised leaky ReLU whose slopes come from a generator of its own.

    In training each negative input is multiplied by a slope drawn from U(lower, upper), a new one for each
    element; in evaluation by the mean slope, (lower + upper) / 2. `torch.nn.RReLU` draws from the global
    generator and has no rule for ``torch.vmap``; this one draws outside of it: `draw` gives the slopes, and a
    trainer that stacks networks puts them into `slopes` before it calls the module.

    Parameters
    ----------
    lower, upper : float
        Ends of the interval of slopes; PyTorch's defaults, 1/8 and 1/3. Xu et al. divide by U(3, 8) instead.
    seed : int
        Seed of the generator. `networks.mlp` gives each layer of each network another one.

    Raises
    ------
    ValueError
        If `lower` is above `upper`.

    Notes
    -----
    Source: Xu, Wang, Chen & Li 2015, arXiv:1505.00853. Explained in chapter 5.
    """

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, seed: int = 0) -> None:
        super().__init__()
        if not lower <= upper:
            raise ValueError(f"rrelu needs lower <= upper, but was given lower={lower} and upper={upper}")
        self.lower = float(lower)
        self.upper = float(upper)
        self.slopes: Tensor | None = None
        self.reseed(seed)

    def reseed(self, seed: int) -> None:
        """Start the sequence of slopes again, from `seed`."""
        self._generator = torch.Generator().manual_seed(seed)

    def draw(self, shape: torch.Size, *, dtype: torch.dtype, device: torch.device | str = "cpu") -> Tensor:
        """Draw the next slopes: a tensor of the given shape.

        The numbers are drawn in float64 on the CPU whatever the dtype and the device, so that the sequence
        is the same everywhere.
        """
        uniform = torch.rand(shape, dtype=torch.float64, generator=self._generator)
        return (self.lower + (self.upper - self.lower) * uniform).to(device=device, dtype=dtype)

    def forward(self, z: Tensor) -> Tensor:
        """Apply the function element by element."""
        if not self.training:
            return functional.leaky_relu(z, (self.lower + self.upper) / 2)
        slopes = self.slopes
        if slopes is None:
            slopes = self.draw(z.shape, dtype=z.dtype, device=z.device)
        return torch.where(z >= 0, z, slopes * z)

    def extra_repr(self) -> str:
        """Show the interval of slopes when the module is printed."""
        return f"lower={self.lower:.4g}, upper={self.upper:.4g}"


class TopK(nn.Module):
    """ReLU that lets only the k most active units of each sample through, and makes the others zero.

    It imposes the number of zeros, where a penalty leads to them: the control for sparsity as an outcome (chapter 3).
    It acts on a layer and not element by element, so it has no name in the catalogue; give `networks.mlp` a factory,
    ``functools.partial(activations.TopK, 8)``.

    Parameters
    ----------
    k : int
        At least 1. Where k is the number of units or more, it is ReLU.

    Raises
    ------
    TypeError
        If `k` is not an integer.
    ValueError
        If `k` is below 1.

    Notes
    -----
    Input and output: tensors of the same shape, units in the last dimension. A sample with fewer than k positive
    units keeps those; units that tie for the last place are all kept. The gradient passes where the output is not zero.
    Source: Makhzani & Frey 2014, arXiv:1312.5663, without ReLU. Explained in chapter 3.

    Examples
    --------
    >>> TopK(1)(torch.tensor([[1.0, 3.0, 2.0], [-1.0, -2.0, 0.5]]))
    tensor([[0.0000, 3.0000, 0.0000],
            [0.0000, 0.0000, 0.5000]])
    """

    def __init__(self, k: int) -> None:
        super().__init__()
        if not isinstance(k, int) or isinstance(k, bool):
            raise TypeError(f"k must be an integer, but is {k!r}")
        if k < 1:
            raise ValueError(f"k must be 1 or above, but is {k}")
        self.k = k

    def forward(self, z: Tensor) -> Tensor:
        """Apply the function to each sample."""
        h = functional.relu(z)
        if self.k >= h.shape[-1]:
            return h
        least = h.detach().topk(self.k, dim=-1).values[..., -1:]
        return torch.where(h >= least, h, 0.0)

    def extra_repr(self) -> str:
        """Show k when the module is printed."""
        return f"k={self.k}"


class CrossedReLU(nn.Module):
    """Leaky ReLU whose backward pass uses another negative slope than its forward pass.

    With ``forward_slope=0`` and ``backward_slope=0.1`` a unit that is off gives an exact zero and is trained all the
    same, as if it leaked; the other way round it leaks and is trained only where it is on. Together with the two that
    are not crossed, these separate what a slope does to the function from what it does to the credit that units get
    (chapter 5). It is no function with its derivative, so it has no name in the catalogue, and `helpers.theory` gives
    no gradient factor for it; give `networks.mlp` a factory, ``functools.partial(activations.CrossedReLU, 0.0, 0.1)``.

    Parameters
    ----------
    forward_slope : float
        What negative inputs are multiplied by.
    backward_slope : float
        What the gradient is multiplied by where the input is negative or zero.

    Raises
    ------
    ValueError
        If a slope is not finite.

    Notes
    -----
    Input and output: tensors of the same shape. Formula: ``f(z) + (b(z) - b(z))``, where no gradient passes through
    f, the Leaky ReLU of `forward_slope`, nor through the second b, that of `backward_slope`: the value is that of f,
    bit for bit, and the derivative that of b. The idea is that of the straight-through estimator (Bengio, Léonard &
    Courville 2013, arXiv:1308.3432). `initialization.gain_of` takes it for a ReLU. Explained in chapter 5.

    Examples
    --------
    >>> z = torch.tensor([-2.0, 3.0], requires_grad=True)
    >>> h = CrossedReLU(0.0, 0.1)(z)
    >>> h.detach()
    tensor([0., 3.])
    >>> torch.autograd.grad(h.sum(), z)
    (tensor([0.1000, 1.0000]),)
    """

    def __init__(self, forward_slope: float, backward_slope: float) -> None:
        super().__init__()
        for name, slope in (("forward_slope", forward_slope), ("backward_slope", backward_slope)):
            if not math.isfinite(slope):
                raise ValueError(f"{name} must be finite, but is {slope}")
        self.forward_slope = float(forward_slope)
        self.backward_slope = float(backward_slope)

    def forward(self, z: Tensor) -> Tensor:
        """Apply the function element by element."""
        value = functional.leaky_relu(z.detach(), self.forward_slope)
        credit = functional.leaky_relu(z, self.backward_slope)
        return value + (credit - credit.detach())

    def extra_repr(self) -> str:
        """Show the two slopes when the module is printed."""
        return f"forward_slope={self.forward_slope:.4g}, backward_slope={self.backward_slope:.4g}"


_CATALOGUE: dict[str, Callable[..., nn.Module]] = {
    "identity": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softsign": nn.Softsign,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "prelu": nn.PReLU,
    "rrelu": RReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "shifted_softplus": ShiftedSoftplus,
    "shifted_relu": ShiftedReLU,
    "relu_squared": ReLUSquared,
}

#: The names that `make` knows.
NAMES: tuple[str, ...] = tuple(_CATALOGUE)


def make(name: str, **parameters: Any) -> nn.Module:
    """Make the activation function called `name`.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    **parameters
        Handed to the module's class: ``negative_slope`` for leaky_relu, ``lower`` and ``upper`` for rrelu,
        ``beta`` for softplus, ``shift`` for the shifted ones, and so on.

    Returns
    -------
    torch.nn.Module
        Maps a tensor of any shape to one of the same shape. A new module each time: PReLU holds a parameter.

    Raises
    ------
    ValueError
        If the name is unknown; the message lists the names.
    TypeError
        If the activation has no such parameter.

    Notes
    -----
    Chapter 1 explains sigmoid and tanh, chapter 2 ReLU and the smooth ones, chapter 5 the leaky ones.

    Examples
    --------
    >>> make("leaky_relu", negative_slope=0.1)
    LeakyReLU(negative_slope=0.1)
    """
    if name not in _CATALOGUE:
        raise ValueError(f"unknown activation {name!r}; the names are {', '.join(NAMES)}")
    try:
        return _CATALOGUE[name](**parameters)
    except TypeError as error:
        raise TypeError(f"activation {name!r} cannot be made from {parameters}: {error}") from error


def is_activation(module: nn.Module) -> bool:
    """Tell whether `module` is of a kind that `make` makes, or a `CrossedReLU`; `nn.Identity` counts.

    Parameters
    ----------
    module : torch.nn.Module

    Returns
    -------
    bool
    """
    return type(module) in (*_CATALOGUE.values(), CrossedReLU)
