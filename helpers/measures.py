"""Measures: pure functions from tensors to numbers.

What a chapter says about a network, it says through one of these: how sparse, how dead, how saturated, of what
rank. They take plain tensors, from `probes.Probe` or from anywhere, and know nothing of modules and training.

An activation matrix h is (samples, units). Results are Python floats for the whole matrix, or tensors on the
CPU, float64 or bool, one entry a unit, (units,), or one a sample, (samples,). All arithmetic is in float64: the
square of a vanished gradient is zero in float32. What has no value is NaN, never a guess; and since a diverged
network must look neither alive nor dead, infinities count as NaN, and the measures that return bools, which
have no NaN, raise instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

__all__ = [
    "LinearSeparability",
    "UnitFates",
    "always_on_units",
    "dead_units",
    "dormant_units",
    "effective_rank",
    "gini",
    "gradient_norms",
    "hoyer",
    "jacobian_singular_values",
    "lifetime_sparseness",
    "linear_separability",
    "mean_cosine",
    "negative_fraction",
    "population_sparseness",
    "saturated_fraction",
    "support_jaccard",
    "unit_fates",
    "zero_fraction",
]


def _real(h: Tensor, name: str) -> Tensor:
    """Check that `h` is a non-empty real tensor; give it as float64 on the CPU, with NaN for any infinity."""
    if not isinstance(h, Tensor):
        raise TypeError(
            f"{name} must be a torch.Tensor, but is a {type(h).__name__}; try torch.as_tensor({name})"
        )
    if h.is_complex():
        raise TypeError(f"{name} must be real, but its dtype is {h.dtype}; try {name}.abs()")
    if h.numel() == 0:
        raise ValueError(f"{name} must have at least one element, but its shape is {tuple(h.shape)}")
    h = h.detach().cpu().double()
    return torch.where(h.isfinite(), h, torch.nan)


def _matrix(h: Tensor, name: str = "h") -> Tensor:
    """Check that `h` is a real (samples, units) tensor as well, and give what `_real` gives."""
    real = _real(h, name)
    if real.ndim != 2:
        raise ValueError(
            f"{name} must have the shape (samples, units), but its shape is {tuple(h.shape)}; "
            f"try {name}.flatten(1), or for channels as units {name}.movedim(1, -1).flatten(0, -2)"
        )
    return real


def _finite_matrix(h: Tensor, name: str = "h") -> Tensor:
    """Check that `h` is finite as well: for measures whose result has no NaN."""
    h = _matrix(h, name)
    if h.isnan().any():
        count = int(h.isnan().any(dim=0).sum())
        raise ValueError(
            f"{name} holds NaN or infinity in {count} of {h.shape[1]} units: a diverged network's units are neither "
            f"dead nor alive; try torch.isfinite({name}).all() first and report the run as diverged"
        )
    return h


def _share(condition: Tensor, values: Tensor) -> float:
    """Mean of `condition`, or NaN if `values`, on which it rests, hold a NaN."""
    return math.nan if values.isnan().any() else float(condition.double().mean())


def zero_fraction(h: Tensor) -> float:
    """Measure which share of all entries is exactly zero.

    Parameters
    ----------
    h : torch.Tensor
        Activations of any shape, real.

    Returns
    -------
    float
        Between 0 and 1; NaN if any entry is NaN or infinite.

    Raises
    ------
    TypeError
        If `h` is not a real tensor.
    ValueError
        If `h` is empty.

    Notes
    -----
    For a random ReLU code, whose pre-activations are symmetric about zero, it is 1/2. Source: Glorot, Bordes &
    Bengio 2011, PMLR 15:315. Explained in chapter 3.

    Examples
    --------
    >>> zero_fraction(torch.tensor([[0.0, 2.0], [0.0, 0.0]]))
    0.75
    """
    h = _real(h, "h")
    return _share(h == 0, h)


def negative_fraction(h: Tensor) -> float:
    """Measure which share of all entries is below zero.

    Of pre-activations it is the share that a rectifier cuts off, or that a leaky one multiplies by its slope.

    Parameters
    ----------
    h : torch.Tensor
        Activations or pre-activations of any shape, real.

    Returns
    -------
    float
        Between 0 and 1; NaN if any entry is NaN or infinite.

    Raises
    ------
    TypeError
        If `h` is not a real tensor.
    ValueError
        If `h` is empty.

    Notes
    -----
    Explained in chapter 5.

    Examples
    --------
    >>> negative_fraction(torch.tensor([[-1.0, 2.0], [0.0, 3.0]]))
    0.25
    """
    h = _real(h, "h")
    return _share(h < 0, h)


def dead_units(h: Tensor) -> Tensor:
    """Find the units whose output is zero for every sample.

    That is dead *on these samples*: a unit that is silent on a batch may be active elsewhere, so pass the
    whole data set.

    Parameters
    ----------
    h : torch.Tensor
        Activations, (samples, units), real and finite.

    Returns
    -------
    torch.Tensor
        bool, (units,).

    Raises
    ------
    TypeError
        If `h` is not a real tensor.
    ValueError
        If `h` is not a non-empty matrix, or if it holds NaN or infinity: a diverged network's units are
        neither dead nor alive, and False would make them look alive.

    Notes
    -----
    Explained in chapter 4, with the words for the other states that a unit can be in.

    Examples
    --------
    >>> dead_units(torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 1.0]]))
    tensor([ True, False, False])
    """
    return (_finite_matrix(h) == 0).all(dim=0)


def always_on_units(z: Tensor) -> Tensor:
    """Find the units whose pre-activation is above zero for every sample.

    For ReLU it is the mirror image of a dead unit: its slope is 1 everywhere, so that on these samples it is linear
    and the bend that makes a network more than a linear map is lost with it.

    Parameters
    ----------
    z : torch.Tensor
        Pre-activations, or ReLU activations, (samples, units), real and finite.

    Returns
    -------
    torch.Tensor
        bool, (units,).

    Raises
    ------
    TypeError
        If `z` is not a real tensor.
    ValueError
        If `z` is not a non-empty matrix, or not finite (see `dead_units`).

    Notes
    -----
    Explained in chapter 4.

    Examples
    --------
    >>> always_on_units(torch.tensor([[0.5, 2.0, 0.0], [0.1, -1.0, 1.0]]))
    tensor([ True, False, False])
    """
    return (_finite_matrix(z, "z") > 0).all(dim=0)


@dataclass(frozen=True)
class UnitFates:
    """What became of units that were looked at several times.

    Attributes
    ----------
    born_dead, ever_dead, dead_at_end : torch.Tensor
        bool, (units,): dead the first time, at any time, the last time.
    deaths, revivals : torch.Tensor
        int64, (units,): from one time to the next, how often a unit that was alive was dead, and the reverse. A unit
        that dies and revives between two looks is not seen to.

    Notes
    -----
    Explained in chapter 4.
    """

    born_dead: Tensor
    ever_dead: Tensor
    dead_at_end: Tensor
    deaths: Tensor
    revivals: Tensor

    def words(self) -> list[str]:
        """Name the fate of each unit.

        Returns
        -------
        list of str
            "never dead"; "born dead" (dead every time); "died" (dead the last time, but alive before); or "revived"
            (alive the last time, but dead before: its death was tentative).
        """
        always_dead = self.dead_at_end & (self.deaths == 0)
        return [
            "never dead" if not ever else "born dead" if always else "died" if end else "revived"
            for ever, always, end in zip(
                self.ever_dead.tolist(), always_dead.tolist(), self.dead_at_end.tolist(), strict=True
            )
        ]


def unit_fates(dead: Tensor) -> UnitFates:
    """Follow units through time, and count their deaths and revivals.

    Parameters
    ----------
    dead : torch.Tensor
        bool, (times, units): which units were dead at each time, in order; the rows are what `dead_units` gives.

    Returns
    -------
    UnitFates

    Raises
    ------
    TypeError
        If `dead` is not a boolean tensor.
    ValueError
        If it is not a non-empty matrix.

    Notes
    -----
    A death is tentative where the unit is alive later, and permanent as far as it was followed where it is not.
    Explained in chapter 4.

    Examples
    --------
    >>> unit_fates(torch.tensor([[False, True, False], [True, True, True], [False, True, True]])).words()
    ['revived', 'born dead', 'died']
    """
    if not isinstance(dead, Tensor) or dead.dtype != torch.bool:
        kind = dead.dtype if isinstance(dead, Tensor) else type(dead).__name__
        raise TypeError(f"dead must be a boolean tensor, as dead_units gives for each time, but is of {kind}")
    if dead.ndim != 2 or dead.numel() == 0:
        raise ValueError(
            f"dead must have the shape (times, units) and not be empty, but its shape is {tuple(dead.shape)}; "
            "try torch.stack of what dead_units gives at each time"
        )
    dead = dead.cpu()
    return UnitFates(
        born_dead=dead[0],
        ever_dead=dead.any(dim=0),
        dead_at_end=dead[-1],
        deaths=(~dead[:-1] & dead[1:]).sum(dim=0),
        revivals=(dead[:-1] & ~dead[1:]).sum(dim=0),
    )


def dormant_units(h: Tensor, tau: float) -> Tensor:
    r"""Find the units whose mean magnitude is at most `tau` times the mean magnitude of all units.

    Parameters
    ----------
    h : torch.Tensor
        Activations of one layer, (samples, units), real and finite.
    tau : float
        Threshold τ on the normalised score, at least 0. With τ = 0 the dormant units are the dead ones.

    Returns
    -------
    torch.Tensor
        bool, (units,). Where every unit is dead, and the score 0/0, every unit is dormant.

    Raises
    ------
    TypeError
        If `h` is not a real tensor.
    ValueError
        If `h` is not a non-empty matrix or not finite (see `dead_units`); if `tau` is negative or not finite.

    Notes
    -----
    Unit i is τ-dormant if

    .. math:: s_i = \frac{E_x |h_i(x)|}{\frac{1}{H} \sum_k E_x |h_k(x)|} \le \tau

    for the H units of its layer. Source: Sokar et al. 2023, arXiv:2302.12902. Explained in
    chapter 4.

    Examples
    --------
    >>> dormant_units(torch.tensor([[0.1, 2.0, 0.0], [0.1, 4.0, 0.0]]), tau=0.1)
    tensor([ True, False,  True])
    """
    if not (math.isfinite(tau) and tau >= 0):
        raise ValueError(f"tau must be a finite number of at least 0, but is {tau}; 0 finds the dead units")
    magnitude = _finite_matrix(h).abs().mean(dim=0)
    return magnitude <= tau * magnitude.mean()


#: Where `saturated_fraction` looks for an activation's steepest slope: zero, and both signs of 1e-6 to 1e2.
_SEARCH = torch.cat([-torch.logspace(2, -6, 1601), torch.zeros(1), torch.logspace(-6, 2, 1601)])


def _slope(activation: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """Give the derivative of an element-wise function at each entry of `z`, as float64 on the CPU."""
    with torch.enable_grad():
        z = z.detach().clone().requires_grad_()
        h = activation(z.clone())  # of a clone: an in-place activation may not write into a leaf
        if h.shape != z.shape:
            raise ValueError(
                f"activation must act element by element, but turned the shape {tuple(z.shape)} into {tuple(h.shape)}"
            )
        if not h.requires_grad:
            raise ValueError("activation must be differentiable by autograd, but its output has no gradient")
        (slope,) = torch.autograd.grad(h.sum(), z)
    return slope.cpu().double()


def saturated_fraction(z: Tensor, activation: Callable[[Tensor], Tensor], threshold: float = 0.05) -> float:
    r"""Measure at which share of all pre-activations the activation is nearly flat.

    Flat is relative to the activation itself, so that sigmoid, whose slope is 1/4 at most, is not called
    saturated everywhere.

    Parameters
    ----------
    z : torch.Tensor
        Pre-activations, (samples, units), floating point.
    activation : callable
        Element-wise and differentiable: a module from `activations.make`, or a function such as `torch.tanh`.
        A module is measured in evaluation mode, which for RReLU means at its mean slope, and left as it was.
    threshold : float
        Share of the steepest slope below which the activation counts as saturated, above 0 and at most 1.

    Returns
    -------
    float
        Between 0 and 1; NaN if any entry of `z` is NaN or infinite, and where no slope is the steepest: that
        of relu_squared grows without bound, that of a constant is zero everywhere.

    Raises
    ------
    TypeError
        If `z` is not a real floating-point tensor.
    ValueError
        If `z` is not a non-empty matrix, if `threshold` is outside (0, 1], or if `activation` does not act
        element by element or is not differentiable.

    Notes
    -----
    The share of entries with :math:`|\phi'(z)| < \text{threshold} \cdot \max_u |\phi'(u)|`, the maximum taken
    for each unit over -100 to 100 on a logarithmic grid that closes in on zero. A ReLU is saturated at every
    negative pre-activation; so is a leaky one whose slope is below the threshold. Explained in chapter 2.

    Examples
    --------
    >>> saturated_fraction(torch.tensor([[0.0, 10.0], [-10.0, 1.0]]), torch.sigmoid)
    0.5
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must lie above 0 and not above 1, but is {threshold}; try 0.05")
    values = _matrix(z, "z")
    if not z.is_floating_point():
        raise TypeError(f"z must be floating point, but its dtype is {z.dtype}; try z.float()")
    training = isinstance(activation, nn.Module) and activation.training
    if training:
        activation.eval()
    try:
        search = _SEARCH.to(z)[:, None].expand(-1, z.shape[1])
        slopes = _slope(activation, search).abs()
        near = slopes[_SEARCH.abs() <= 50].amax(dim=0)
        steepest = slopes.amax(dim=0)
        if not ((steepest > 0) & (steepest <= 1.01 * near)).all():
            return math.nan
        return _share(_slope(activation, z).abs() < threshold * steepest, values)
    finally:
        if training:
            activation.train()


def hoyer(h: Tensor) -> Tensor:
    r"""Measure each sample's sparseness by the ratio of its L1 norm to its L2 norm.

    Parameters
    ----------
    h : torch.Tensor
        Activations, (samples, units), real.

    Returns
    -------
    torch.Tensor
        float64, (samples,): 0 where all units have the same magnitude, 1 where a single one is active. NaN for
        a sample that is all zeros or not finite, and for a single unit. Average with `torch.nanmean`, and
        report how many were NaN.

    Raises
    ------
    TypeError
        If `h` is not a real tensor.
    ValueError
        If `h` is not a non-empty matrix.

    Notes
    -----
    .. math:: \frac{\sqrt n - \|h\|_1 / \|h\|_2}{\sqrt n - 1}

    for n units. It depends on the width: for a random ReLU code it is close to (1 − 1/√π)/(1 − 1/√n), and so
    approaches 1 − 1/√π slowly, from above. Source: Hoyer 2004, JMLR 5:1457. Explained in chapter 3.

    Examples
    --------
    >>> hoyer(torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 3.0, 0.0, 0.0]]))
    tensor([0., 1.], dtype=torch.float64)
    """
    magnitude = _relative_magnitude(_matrix(h), dim=1)
    root = math.sqrt(magnitude.shape[1])
    ratio = magnitude.sum(dim=1) / torch.linalg.vector_norm(magnitude, dim=1)
    return (root - ratio) / (torch.tensor(root, dtype=torch.float64) - 1)


def gini(h: Tensor) -> Tensor:
    r"""Measure each sample's sparseness by the Gini index of its magnitudes.

    Parameters
    ----------
    h : torch.Tensor
        Activations, (samples, units), real.

    Returns
    -------
    torch.Tensor
        float64, (samples,): 0 where all units have the same magnitude, 1 − 1/n where one of n is active. NaN
        for a sample that is all zeros or not finite.

    Raises
    ------
    TypeError
        If `h` is not a real tensor.
    ValueError
        If `h` is not a non-empty matrix.

    Notes
    -----
    With the magnitudes in ascending order, :math:`|h|_{(1)} \le \dots \le |h|_{(n)}`,

    .. math:: 1 - 2 \sum_{k=1}^{n} \frac{|h|_{(k)}}{\|h\|_1} \, \frac{n - k + 1/2}{n}

    which for a random ReLU code approaches 1/√2 as n grows. Source: Hurley & Rickard 2009, arXiv:0811.4706.
    Explained in chapter 3.

    Examples
    --------
    >>> gini(torch.tensor([[1.0, 1.0], [0.0, 3.0]]))
    tensor([0.0000, 0.5000], dtype=torch.float64)
    """
    magnitude = _relative_magnitude(_matrix(h), dim=1).sort(dim=1).values
    n = magnitude.shape[1]
    weight = (n - torch.arange(1, n + 1, dtype=torch.float64) + 0.5) / n
    return 1 - 2 * (magnitude @ weight) / magnitude.sum(dim=1)


def _relative_magnitude(h: Tensor, dim: int) -> Tensor:
    """Divide |h| by its largest entry along `dim`: no overflow, and NaN where all is zero or something is NaN."""
    return h.abs() / h.abs().amax(dim=dim, keepdim=True)


def _sparseness(h: Tensor, dim: int) -> Tensor:
    """Vinje and Gallant's sparseness S along `dim`."""
    magnitude = _relative_magnitude(h, dim)
    activity = magnitude.mean(dim=dim).square() / magnitude.square().mean(dim=dim)  # Treves and Rolls' a
    return (1 - activity) / (1 - torch.tensor(1 / h.shape[dim], dtype=torch.float64))


def population_sparseness(h: Tensor) -> Tensor:
    r"""Measure for each sample how few units carry its activity.

    It cannot tell a dead unit from a selective one: `lifetime_sparseness` and `dead_units` can.

    Parameters
    ----------
    h : torch.Tensor
        Activations, (samples, units), real. The formula is for firing rates, which are never negative; of a
        signed code the magnitudes are taken.

    Returns
    -------
    torch.Tensor
        float64, (samples,): 0 where all units respond alike, 1 where a single unit responds. NaN for a sample
        without any activity, for one that is not finite, and for a single unit.

    Raises
    ------
    TypeError
        If `h` is not a real tensor.
    ValueError
        If `h` is not a non-empty matrix.

    Notes
    -----
    .. math:: S = \frac{1 - a}{1 - 1/n}, \qquad a = \frac{\left(\sum_i h_i / n\right)^2}{\sum_i h_i^2 / n}

    over n units. For a random ReLU code a is 1/π and S is 1 − 1/π. Sources: a from Treves & Rolls 1991, Network
    2:371; S from Vinje & Gallant 2000, Science 287:1273. Explained in chapter 3.

    Examples
    --------
    >>> population_sparseness(torch.tensor([[1.0, 1.0], [0.0, 3.0]]))
    tensor([0., 1.], dtype=torch.float64)
    """
    return _sparseness(_matrix(h), dim=1)


def lifetime_sparseness(h: Tensor) -> Tensor:
    r"""Measure for each unit to how few samples it responds.

    Parameters
    ----------
    h : torch.Tensor
        Activations, (samples, units), real. The formula is for firing rates, which are never negative; of a
        signed code the magnitudes are taken.

    Returns
    -------
    torch.Tensor
        float64, (units,): 0 where all samples excite the unit alike, 1 where a single one does. NaN for a
        dead unit, for one that is not finite, and for a single sample. Average with `torch.nanmean`, and
        report how many were NaN.

    Raises
    ------
    TypeError
        If `h` is not a real tensor.
    ValueError
        If `h` is not a non-empty matrix.

    Notes
    -----
    The formula and the sources are those of `population_sparseness`, over n samples instead of n units.
    Explained in chapter 3.

    Examples
    --------
    >>> lifetime_sparseness(torch.tensor([[1.0, 0.0, 0.0], [1.0, 3.0, 0.0]]))
    tensor([0., 1., nan], dtype=torch.float64)
    """
    return _sparseness(_matrix(h), dim=0)


def support_jaccard(h: Tensor, other: Tensor, threshold: float = 0.0) -> Tensor:
    r"""Measure for each sample how far two codes agree on which units are active.

    A dense code agrees trivially, because all its units are active: as a control compare sign patterns, with
    ``support_jaccard(h > 0, other > 0)``.

    Parameters
    ----------
    h, other : torch.Tensor
        Two codes of the same samples, such as clean and noisy, both (samples, units), real or bool.
    threshold : float
        A unit is active where its magnitude is above this; with 0, where it is not zero.

    Returns
    -------
    torch.Tensor
        float64, (samples,), from 0 for no active unit in common to 1 for the same active units. NaN for a
        sample that has no active unit in either code or is not finite in one.

    Raises
    ------
    TypeError
        If a code is not a real tensor.
    ValueError
        If a code is not a non-empty matrix, if their shapes differ, or if `threshold` is negative or NaN.

    Notes
    -----
    The Jaccard index :math:`|A \cap B| / |A \cup B|` of the active sets A and B. Where the two pre-activations
    of a ReLU unit are Gaussian with the angle θ between them, it approaches (π − θ)/(π + θ) as width grows.
    Explained in chapter 3.

    Examples
    --------
    >>> support_jaccard(torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[0.0, 1.0, 0.0]]))
    tensor([0.5000], dtype=torch.float64)
    """
    if not threshold >= 0:
        raise ValueError(
            f"threshold must be at least 0, but is {threshold}; 0 makes every non-zero unit active"
        )
    h, other = _matrix(h, "h"), _matrix(other, "other")
    if h.shape != other.shape:
        raise ValueError(
            f"h and other must have the same shape, but have {tuple(h.shape)} and {tuple(other.shape)}"
        )
    active, active_other = h.abs() > threshold, other.abs() > threshold
    both = (active & active_other).sum(dim=1).double()
    either = (active | active_other).sum(dim=1).double()
    return torch.where((h + other).isnan().any(dim=1), torch.nan, both / either)


def effective_rank(h: Tensor) -> float:
    r"""Measure in how many dimensions a matrix effectively lies.

    Parameters
    ----------
    h : torch.Tensor
        Activations, (samples, units), or any other real matrix. It is not centred: for the dimensions in which
        activations *vary*, pass ``h - h.mean(0)``.

    Returns
    -------
    float
        From 1, for a matrix of rank one, to the smaller of its sides, for equal singular values. NaN if all is
        zero or something is not finite.

    Raises
    ------
    TypeError
        If `h` is not a real tensor.
    ValueError
        If `h` is not a non-empty matrix.

    Notes
    -----
    The exponential of the entropy of the normalised singular values,

    .. math:: \exp\left(-\sum_k p_k \ln p_k\right), \qquad p_k = \sigma_k \Big/ \sum_j \sigma_j

    Source: Roy & Vetterli 2007, EUSIPCO. Explained in chapter 4: a network whose inputs collapse
    onto one direction has effective rank 1.

    Examples
    --------
    >>> round(effective_rank(torch.eye(3)), 6)
    3.0
    """
    h = _matrix(h)
    h = h / h.abs().max()
    if h.isnan().any():
        return math.nan
    values = torch.linalg.svdvals(h)
    share = values / values.sum()
    return float(torch.exp(-torch.xlogy(share, share).sum()))


def mean_cosine(h: Tensor) -> Tensor:
    r"""Measure how far all samples point one way: the mean cosine between two of them.

    Parameters
    ----------
    h : torch.Tensor
        Activations, or inputs, (..., samples, units): of one network, or of many that are stacked.

    Returns
    -------
    torch.Tensor of shape (...)
        float64. 1 where all samples have one direction, near 0 where they have nothing in common. A sample that is all
        zero has no direction and is left out; NaN where fewer than two are left, or something is not finite.

    Raises
    ------
    TypeError
        If `h` is not a real tensor.
    ValueError
        If `h` has fewer than two dimensions, or no elements.

    Notes
    -----
    Over the n(n-1) ordered pairs of different samples, with the unit vectors :math:`u_i = h_i / |h_i|`,

    .. math:: \frac{1}{n(n-1)} \sum_{i \ne j} u_i \cdot u_j = \frac{\left|\sum_i u_i\right|^2 - n}{n(n-1)}

    which takes no table of pairs. Explained in chapters 4 (the collapse onto one direction) and 6 (why depth does it).

    Examples
    --------
    >>> mean_cosine(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])).item()
    0.3333333333333333
    """
    h = _real(h, "h")
    if h.dim() < 2:
        raise ValueError(f"h must be (..., samples, units), but its shape is {tuple(h.shape)}")
    largest = h.abs().amax(dim=-1, keepdim=True)
    h = h / torch.where(largest > 0, largest, 1.0)
    unit = h / h.norm(dim=-1, keepdim=True).clamp(min=1.0)  # below 1 for zeros alone, which stay zeros
    n = (largest.squeeze(-1) > 0).sum(dim=-1)
    total = unit.sum(dim=-2).square().sum(dim=-1)
    return torch.where(n > 1, (total - n) / (n * (n - 1)).clamp(min=1), torch.nan)


@dataclass(frozen=True)
class LinearSeparability:
    """What `linear_separability` measured: the accuracy of one linear classifier on two sets of samples.

    Attributes
    ----------
    train_accuracy : float
        On the samples it was fitted to: how far these can be separated by hyperplanes.
    test_accuracy : float
        On the other samples: how far the separation generalises.

    Notes
    -----
    Explained in chapter 3.
    """

    train_accuracy: float
    test_accuracy: float


def linear_separability(
    h_train: Tensor, y_train: Tensor, h_test: Tensor, y_test: Tensor, *, C: float = 1.0
) -> LinearSeparability:
    """Measure how well a linear classifier tells the classes apart, from these activations alone.

    Parameters
    ----------
    h_train, h_test : torch.Tensor
        Activations of the training and of the test samples, (samples, units), real, with the same units.
    y_train, y_test : torch.Tensor
        Their classes, integer, (samples,); at least two classes in `y_train`.
    C : float
        Inverse strength of the L2 penalty, above 0, as in scikit-learn. At 1 the classifier is a usable one; for
        separability in the strict sense (is there *any* hyperplane?) raise it to 1e6 and read
        `train_accuracy`.

    Returns
    -------
    LinearSeparability
        Accuracies between 0 and 1; both NaN if any activation is NaN or infinite.

    Raises
    ------
    TypeError
        If an activation matrix is not a real tensor, or the classes are not an integer tensor.
    ValueError
        If the shapes do not fit, if `y_train` holds a single class, or if `C` is not above 0.

    Notes
    -----
    The classifier is scikit-learn's multinomial logistic regression, fitted by L-BFGS to convergence. Each unit
    is first standardised with the mean and the standard deviation of the training samples (a constant unit
    becomes 0), so that the penalty treats units alike and the result does not depend on their scales. There is
    no randomness in it. Explained in chapter 3, where codes are compared at equal width: more units make any
    code more separable (Cover 1965).

    Examples
    --------
    >>> h, y = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]]), torch.tensor([0, 0, 1, 1])
    >>> linear_separability(h, y, h, y)
    LinearSeparability(train_accuracy=1.0, test_accuracy=1.0)
    """
    if not (math.isfinite(C) and C > 0):
        raise ValueError(f"C must be a finite number above 0, but is {C}; try 1.0")
    train, test = _matrix(h_train, "h_train"), _matrix(h_test, "h_test")
    if train.shape[1] != test.shape[1]:
        raise ValueError(
            f"h_train and h_test must have the same units, but have {train.shape[1]} and {test.shape[1]}"
        )
    classes_train, classes_test = _classes(y_train, train, "y_train"), _classes(y_test, test, "y_test")
    if classes_train.unique().numel() < 2:
        raise ValueError(f"y_train must hold at least two classes, but holds only {int(classes_train[0])}")
    if train.isnan().any() or test.isnan().any():
        return LinearSeparability(math.nan, math.nan)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=10_000))
    classifier.fit(train.numpy(), classes_train.numpy())
    return LinearSeparability(
        float(classifier.score(train.numpy(), classes_train.numpy())),
        float(classifier.score(test.numpy(), classes_test.numpy())),
    )


def _classes(y: Tensor, h: Tensor, name: str) -> Tensor:
    """Check that `y` is an integer tensor with one class for each sample of `h`; give it on the CPU."""
    if not isinstance(y, Tensor) or y.is_floating_point() or y.is_complex():
        kind = y.dtype if isinstance(y, Tensor) else type(y).__name__
        raise TypeError(f"{name} must be an integer tensor of classes, but is of {kind}; try {name}.long()")
    if y.shape != h.shape[:1]:
        raise ValueError(
            f"{name} must have the shape ({h.shape[0]},), a class a sample, but has {tuple(y.shape)}"
        )
    return y.detach().cpu()


def gradient_norms(model: nn.Module) -> dict[str, float]:
    """Measure the L2 norm of the gradient that each parameter holds.

    Parameters
    ----------
    model : torch.nn.Module
        A model after ``loss.backward()``.

    Returns
    -------
    dict of str to float
        For each name of ``model.named_parameters()``, in that order, the norm of its ``.grad``; NaN for a
        parameter that no gradient has reached (frozen, or not used), which is not the same as a gradient of 0.

    Raises
    ------
    TypeError
        If `model` is not a module.
    ValueError
        If not one of its parameters holds a gradient.

    Notes
    -----
    A ratio of the first layer's norm to the last's misleads, since both can have vanished: show absolute
    values, and beside them the gradients with respect to pre-activations, from `probes.Probe`. Explained in
    chapter 1.

    Examples
    --------
    >>> layer = nn.Linear(2, 1)
    >>> layer(torch.tensor([[3.0, 4.0]])).backward()
    >>> gradient_norms(layer)
    {'weight': 5.0, 'bias': 1.0}
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, but is a {type(model).__name__}")
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    if all(gradient is None for gradient in gradients.values()):
        raise ValueError(
            f"not one of the model's {len(gradients)} parameters holds a gradient; call loss.backward() first"
        )
    return {
        name: math.nan if gradient is None else float(gradient.detach().cpu().double().norm())
        for name, gradient in gradients.items()
    }


def jacobian_singular_values(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    r"""Measure by which factors a network stretches small changes of each input.

    Parameters
    ----------
    function : callable
        A module, or a function of one tensor: (samples, ...) to (samples, ...). It must treat samples one by
        one, so a module with batch normalisation has to be in evaluation mode.
    x : torch.Tensor
        Inputs, (samples, ...), floating point.

    Returns
    -------
    torch.Tensor
        float64, (samples, k), in descending order: for each sample the singular values of the Jacobian of all
        outputs with respect to all inputs; k is the smaller of their numbers. NaN for a sample whose Jacobian
        is not finite.

    Raises
    ------
    TypeError
        If `x` is not a floating-point tensor.
    ValueError
        If `x` has no samples, or if `function` has a batch normalisation in training mode.

    Notes
    -----
    :math:`\sigma_1 \ge \dots \ge \sigma_k` of :math:`J = \partial f(x) / \partial x`, taken by ``torch.func`` in
    the dtype of `x`: what lies below its resolution times the largest value is rounding error, so for a deep
    network make both model and input float64. The Jacobians take samples x outputs x inputs numbers. For a
    linear layer with n inputs, n outputs and weights of variance v the mean is 8/(3π)·√(nv) for large n.
    Source: Saxe, McClelland & Ganguli 2014, arXiv:1312.6120. Explained in chapter 1.

    Examples
    --------
    >>> jacobian_singular_values(lambda x: x * torch.tensor([3.0, -2.0]), torch.ones(1, 2))
    tensor([[3.0000, 2.0000]], dtype=torch.float64)
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"x must be a floating-point tensor, but is of {kind}; try x.float()")
    if x.ndim < 2 or x.numel() == 0:
        raise ValueError(
            f"x must have the shape (samples, ...) and not be empty, but its shape is {tuple(x.shape)}; "
            "try x.unsqueeze(0) for a single sample"
        )
    if isinstance(function, nn.Module):
        for name, module in function.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
                raise ValueError(
                    f"module {name!r} normalises over the batch, so no sample has a Jacobian of its own; "
                    "try model.eval() first"
                )

    def one(sample: Tensor) -> Tensor:
        return function(sample.unsqueeze(0)).flatten()

    jacobian = torch.func.vmap(torch.func.jacrev(one))(x.detach())
    jacobian = jacobian.flatten(start_dim=2).detach().cpu().double()
    finite = jacobian.isfinite().all(dim=2).all(dim=1)
    values = torch.full((len(x), min(jacobian.shape[1:])), torch.nan, dtype=torch.float64)
    values[finite] = torch.linalg.svdvals(jacobian[finite])
    return values
