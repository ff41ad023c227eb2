"""Closed-form and mean-field predictions, drawn beside every measurement that has one.

Unless a function says otherwise the network is wide, its weights are independent with mean 0 and variance
``sigma_w**2 / fan_in``, its biases with variance ``sigma_b**2``. Every activation of the catalogue is
covered: the piecewise linear ones in closed form, the others by quadrature. RReLU has the slopes of its mode:
drawn for each unit and input in training, the mode of a new module and of a name; their mean in evaluation.
"""

from __future__ import annotations

import functools
import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import special
from scipy.optimize import brentq
from scipy.special import digamma
from torch import Tensor, nn

from helpers import activations

__all__ = [
    "ReLUCodeSparsity",
    "born_dead_probability",
    "correlation_length",
    "correlation_map",
    "critical_sigma_w",
    "fixed_point",
    "gaussian_mean",
    "gradient_factor",
    "gradient_length",
    "gradient_profile",
    "length_map",
    "length_second_moment",
    "lyapunov_exponent",
    "mean_singular_value",
    "relu_angle_map",
    "relu_code_sparsity",
    "signal_profile",
    "support_overlap",
]

_Floats = float | NDArray[np.float64]

# The normal density beyond 13 is below 1e-36: nothing that is integrated here notices the rest.
_CUTOFF = 13.0
# Beyond this variance, squares overflow.
_LARGEST = 1e280
_LARGEST_SIGMA = 1e10
# The quadrature is good to about 1e-14. What differs by less than this counts as equal.
_TOLERANCE = 1e-12


def gaussian_mean(function: Callable[[Tensor], Tensor], variance: ArrayLike = 1.0) -> _Floats:
    """Mean of a function of a centred Gaussian variable, by quadrature.

    Parameters
    ----------
    function : callable
        Maps a float64 tensor to one of the same shape, element by element. It may have a kink or a jump at 0,
        and nowhere else.
    variance : float or array_like
        The variance q of the variable, from 0 to 1e280. At 0 the result is the limit from above.

    Returns
    -------
    float or numpy.ndarray
        ``E[function(sqrt(q) z)]`` with z standard normal; float64, of the shape of `variance`.

    Raises
    ------
    ValueError
        If a variance is out of its range, or the function changes the shape.

    Notes
    -----
    Gauss-Legendre quadrature on either side of 0, on panels that halve towards 0: right where the variance is
    so large that the function looks like a step, and where it is so small that only the slope at 0 counts.
    Explained in chapter 1.

    Examples
    --------
    >>> round(gaussian_mean(torch.nn.functional.softplus), 3)
    0.806
    """
    q = np.asarray(variance, dtype=np.float64)
    if not ((q >= 0) & (q <= _LARGEST)).all():
        raise ValueError(f"variance must be between 0 and {_LARGEST:g}, but is {variance}")
    points, weights = _graded_rule(_levels(q.max(initial=1.0)), 24)
    z = _CUTOFF * torch.cat([-points, points])
    density = _CUTOFF * torch.cat([weights, weights]) * torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    # At q = 0 the two sides must stay apart, for the slope differs at a kink; the square of 1e-170 is 0.
    x = torch.from_numpy(np.maximum(np.sqrt(q), 1e-170)[..., None]) * z
    shape = tuple(x.shape)
    values = function(x).detach()
    if values.shape != shape:
        raise ValueError(
            f"function must act element by element, but made shape {tuple(values.shape)} from shape {shape}"
        )
    means = (values @ density).numpy()
    return means if q.ndim else float(means)


def length_map(activation: str | nn.Module, q: float, sigma_w: float, sigma_b: float = 0.0) -> float:
    """Variance of the next layer's pre-activations, given that of this layer's.

    Parameters
    ----------
    activation : str or torch.nn.Module
        A name of the catalogue, or what `activations.make` made of one.
    q : float
        Variance of this layer's pre-activations, from 0 to 1e280.
    sigma_w, sigma_b : float
        Weights have the variance ``sigma_w**2 / fan_in``, biases ``sigma_b**2``; both from 0 to 1e10.

    Returns
    -------
    float
        ``sigma_w**2 * E[phi(sqrt(q) z)**2] + sigma_b**2`` with z standard normal.

    Raises
    ------
    TypeError
        If the activation is neither a name nor a module of the catalogue, or a number is not one.
    ValueError
        If the name is unknown, or a number is out of its range.

    Notes
    -----
    Source: Poole et al. 2016, arXiv:1606.05340. Explained in chapter 1, its fixed points in chapter 6.

    Examples
    --------
    >>> length_map("relu", 3.0, sigma_w=1.0, sigma_b=0.5)
    1.75
    """
    moments = _moments(activation)
    return _next_variance(moments, _real("q", q), _sigma("sigma_w", sigma_w), _sigma("sigma_b", sigma_b))


def fixed_point(activation: str | nn.Module, sigma_w: float, sigma_b: float = 0.0) -> float:
    """Variance on which the pre-activations settle as depth grows, from a variance of 1.

    Parameters
    ----------
    activation : str or torch.nn.Module
        A name of the catalogue, or what `activations.make` made of one.
    sigma_w, sigma_b : float
        Weights have the variance ``sigma_w**2 / fan_in``, biases ``sigma_b**2``; both from 0 to 1e10.

    Returns
    -------
    float
        The limit q* of ``q = length_map(activation, q, sigma_w, sigma_b)``, repeated from q = 1. The map
        grows with q, so the limit is the nearest fixed point above 1 where the first step leads upwards, and
        the nearest one below 1 where it leads downwards. It is 0 where the variance shrinks to nothing, and
        NaN where it grows without bound. Where 1 is itself a fixed point, that is the result if its
        neighbours are drawn to it, and NaN if they are not (as for ReLU with ``sigma_w**2 = 2`` and no bias,
        where every q is one).

    Raises
    ------
    TypeError
        If the activation is neither a name nor a module of the catalogue, or a number is not one.
    ValueError
        If the name is unknown, or a number is out of its range.

    Notes
    -----
    Source: Poole et al. 2016, arXiv:1606.05340; Schoenholz et al. 2017, arXiv:1611.01232. Explained in
    chapter 6.

    Examples
    --------
    >>> fixed_point("relu", sigma_w=1.0, sigma_b=1.0)
    2.0
    """
    return _fixed_point(_moments(activation), _sigma("sigma_w", sigma_w), _sigma("sigma_b", sigma_b))


def gradient_factor(
    activation: str | nn.Module, sigma_w: float, sigma_b: float = 0.0, q: float | None = None
) -> float:
    """Factor by which a layer multiplies the gradient's mean square on its way back: chi.

    Parameters
    ----------
    activation : str or torch.nn.Module
        A name of the catalogue, or what `activations.make` made of one.
    sigma_w, sigma_b : float
        Weights have the variance ``sigma_w**2 / fan_in``, biases ``sigma_b**2``; both from 0 to 1e10.
    q : float, optional
        Variance of the pre-activations; the fixed point unless given.

    Returns
    -------
    float
        ``sigma_w**2 * E[phi'(sqrt(q) z)**2]`` with z standard normal, the limit at q = 0. For a piecewise
        linear activation it does not depend on q, and is given where no fixed point exists too; otherwise it
        is NaN there.

    Raises
    ------
    TypeError
        If the activation is neither a name nor a module of the catalogue, or a number is not one.
    ValueError
        If the name is unknown, or a number is out of its range.

    Notes
    -----
    The gradient's root mean square changes by ``sqrt(chi)`` a layer, layers being equally wide. Source:
    Schoenholz et al. 2017, arXiv:1611.01232. Explained in chapter 1.

    Examples
    --------
    >>> round(gradient_factor("relu", sigma_w=2**0.5), 12)
    1.0
    """
    moments = _moments(activation)
    sigma_w, sigma_b = _sigma("sigma_w", sigma_w), _sigma("sigma_b", sigma_b)
    if q is not None:
        q = _real("q", q)
    elif isinstance(moments, _PiecewiseLinear):
        q = 1.0
    else:
        q = _fixed_point(moments, sigma_w, sigma_b)
    return math.nan if math.isnan(q) else sigma_w**2 * moments.slope_square(q)


def gradient_length(activation: str | nn.Module, sigma_w: float, sigma_b: float = 0.0) -> float:
    """Depth scale of gradients: the layers over which their mean square changes by a factor e.

    Parameters
    ----------
    activation : str or torch.nn.Module
        A name of the catalogue, or what `activations.make` made of one.
    sigma_w, sigma_b : float
        Weights have the variance ``sigma_w**2 / fan_in``, biases ``sigma_b**2``; both from 0 to 1e10.

    Returns
    -------
    float
        ``1 / |ln chi|`` in layers, with chi of `gradient_factor`: gradients vanish over it where chi < 1, and
        explode over it where chi > 1. Infinite where chi = 1, NaN where chi is.

    Raises
    ------
    TypeError
        If the activation is neither a name nor a module of the catalogue, or a number is not one.
    ValueError
        If the name is unknown, or a number is out of its range.

    Notes
    -----
    Source: Schoenholz et al. 2017, arXiv:1611.01232. Explained in chapter 6.
    """
    return _depth_scale(gradient_factor(activation, sigma_w, sigma_b))


def correlation_map(
    activation: str | nn.Module, c: float, sigma_w: float, sigma_b: float = 0.0, q: float | None = None
) -> float:
    """Correlation of two inputs' pre-activations in the next layer, given that in this layer.

    Parameters
    ----------
    activation : str or torch.nn.Module
        A name of the catalogue, or what `activations.make` made of one. RReLU in training mode draws its
        slopes for each input apart, so it keeps no correlation at 1.
    c : float
        Correlation in this layer, from -1 to 1.
    sigma_w, sigma_b : float
        Weights have the variance ``sigma_w**2 / fan_in``, biases ``sigma_b**2``; both from 0 to 1e10.
    q : float, optional
        Variance of this layer's pre-activations under either input; the fixed point unless given.

    Returns
    -------
    float
        ``(sigma_w**2 * E[phi(u) phi(v)] + sigma_b**2) / length_map(activation, q, sigma_w, sigma_b)``, where
        u and v are Gaussian with variance q and correlation c; the limit at q = 0. NaN where there is no
        fixed point to stand for q; but for a piecewise linear activation without biases the result does not
        depend on q.

    Raises
    ------
    TypeError
        If the activation is neither a name nor a module of the catalogue, or a number is not one.
    ValueError
        If the name is unknown, or a number is out of its range.

    Notes
    -----
    Source: Poole et al. 2016, arXiv:1606.05340; for ReLU it is the arc-cosine kernel of Cho & Saul 2009.
    Explained in chapter 6.

    Examples
    --------
    >>> round(correlation_map("relu", 0.0, sigma_w=2**0.5), 4)
    0.3183
    """
    moments = _moments(activation)
    c = _real("c", c, -1.0, 1.0)
    sigma_w, sigma_b = _sigma("sigma_w", sigma_w), _sigma("sigma_b", sigma_b)
    q = _correlation_variance(moments, sigma_w, sigma_b) if q is None else _real("q", q)
    return math.nan if math.isnan(q) else _next_correlation(moments, c, q, sigma_w, sigma_b)


def correlation_length(activation: str | nn.Module, sigma_w: float, sigma_b: float = 0.0) -> float:
    """Depth scale of correlations: the layers over which they come nearer to their limit by a factor e.

    Parameters
    ----------
    activation : str or torch.nn.Module
        A name of the catalogue, or what `activations.make` made of one.
    sigma_w, sigma_b : float
        Weights have the variance ``sigma_w**2 / fan_in``, biases ``sigma_b**2``; both from 0 to 1e10.

    Returns
    -------
    float
        ``1 / |ln slope|`` in layers, where slope is that of `correlation_map` at its stable fixed point c*,
        at the fixed point of the variance. In the ordered phase (chi <= 1) c* is 1 and the slope is chi; in
        the chaotic phase c* lies in [0, 1) and the slope is ``sigma_w**2 * E[phi'(u) phi'(v)]`` there.
        Infinite where the slope is 1: at the critical point; where the variances shrink to 0 and the layers
        become linear, which keeps correlations; and for a rectifier without biases at every sigma_w, as the
        correlation then nears 1 by a power of the depth. NaN where there is no fixed point of the variance
        and the slope depends on it. With the random slopes of RReLU c* is below 1 in either phase.

    Raises
    ------
    TypeError
        If the activation is neither a name nor a module of the catalogue, or a number is not one.
    ValueError
        If the name is unknown, or a number is out of its range.

    Notes
    -----
    Source: Schoenholz et al. 2017, arXiv:1611.01232; for ReLU without biases Hayou et al. 2019,
    arXiv:1902.06853. Explained in chapter 6.
    """
    moments = _moments(activation)
    sigma_w, sigma_b = _sigma("sigma_w", sigma_w), _sigma("sigma_b", sigma_b)
    q = _correlation_variance(moments, sigma_w, sigma_b)

    def excess(c: float) -> float:
        return _next_correlation(moments, c, q, sigma_w, sigma_b) - c

    if math.isnan(q) or math.isnan(excess(0.0)):
        return math.nan
    # The map is a power series in c without negative coefficients, so it is convex on [0, 1] and stays there.
    # Its stable fixed point is 1, unless it lies below the diagonal close to 1: then it is where they cross.
    below_one = 1 - 1e-6
    if excess(below_one) >= -_TOLERANCE:
        stable = 1.0
    elif excess(0.0) <= _TOLERANCE:
        stable = 0.0
    else:
        stable = brentq(excess, 0.0, below_one, xtol=1e-14)
    return _depth_scale(_correlation_slope(moments, stable, q, sigma_w, sigma_b))


def critical_sigma_w(activation: str | nn.Module, sigma_b: float = 0.0) -> float:
    """Scale of the weights at which gradients neither vanish nor explode: the edge of chaos.

    Parameters
    ----------
    activation : str or torch.nn.Module
        A name of the catalogue, or what `activations.make` made of one.
    sigma_b : float
        Standard deviation of the biases, from 0 to 1e10.

    Returns
    -------
    float
        The sigma_w (the weights have the standard deviation ``sigma_w / sqrt(fan_in)``) for which
        ``gradient_factor(activation, sigma_w, sigma_b)`` is 1, at a fixed point that a variance of 1 settles
        on; NaN where there is none. A piecewise linear activation has one for ``sigma_b = 0`` alone,
        ``sqrt(2 / (1 + a**2))`` with a the slope of its negative side, and keeps every variance there.

    Raises
    ------
    TypeError
        If the activation is neither a name nor a module of the catalogue, or `sigma_b` is not a number.
    ValueError
        If the name is unknown, or `sigma_b` is out of its range.

    Notes
    -----
    At the critical point ``sigma_w**2 = 1 / E[phi'(sqrt(q) z)**2]``, which leaves
    ``q = E[phi(sqrt(q) z)**2] / E[phi'(sqrt(q) z)**2] + sigma_b**2`` to be solved for q. Source: Schoenholz
    et al. 2017, arXiv:1611.01232; Hayou et al. 2019, arXiv:1902.06853. Explained in chapter 6.

    Examples
    --------
    >>> round(critical_sigma_w("tanh", sigma_b=0.05**0.5) ** 2, 3)
    1.761
    """
    moments = _moments(activation)
    sigma_b = _sigma("sigma_b", sigma_b)
    if isinstance(moments, _PiecewiseLinear):
        return math.nan if sigma_b > 0 else moments.slope_square(1.0) ** -0.5

    def excess(q: _Floats) -> _Floats:
        return 1 - (moments.square(q) / moments.slope_square(q) + sigma_b**2) / q

    no_biases = sigma_b < 1e-50
    grid = _variances(1e-10 if no_biases else sigma_b**2 / 2, 1e10 * max(1.0, sigma_b**2))
    heights = excess(grid)
    resolved = np.abs(heights) > _TOLERANCE
    grid, signs = grid[resolved], np.sign(heights[resolved])
    roots = [brentq(excess, grid[i], grid[i + 1], xtol=1e-300) for i in np.flatnonzero(np.diff(signs))]
    for q in [0.0, *roots] if no_biases else roots:
        slope_square = moments.slope_square(q)
        sigma_w = slope_square**-0.5 if slope_square > 0 else math.inf
        # A root may also be a fixed point that a variance of 1 does not settle on.
        if sigma_w < _LARGEST_SIGMA and abs(_fixed_point(moments, sigma_w, sigma_b) - q) <= 1e-3 * q + 1e-6:
            return sigma_w
    return math.nan


def signal_profile(
    activation: str | nn.Module, depth: int, sigma_w: float, sigma_b: float = 0.0, q0: float = 1.0
) -> NDArray[np.float64]:
    """Variance of the pre-activations by layer, from the first hidden layer to the last.

    Parameters
    ----------
    activation : str or torch.nn.Module
        A name of the catalogue, or what `activations.make` made of one.
    depth : int
        Number of hidden layers.
    sigma_w, sigma_b : float
        Weights have the variance ``sigma_w**2 / fan_in``, biases ``sigma_b**2``; both from 0 to 1e10.
    q0 : float
        Mean square of the network's input: 1 if it is standardised.

    Returns
    -------
    numpy.ndarray
        float64 (depth,): ``q_1 = sigma_w**2 * q0 + sigma_b**2``, and each further one by `length_map`.
        Infinite from where it passes 1e280.

    Raises
    ------
    TypeError
        If the activation is neither a name nor a module of the catalogue, or a number is not one.
    ValueError
        If the name is unknown, a number is out of its range, or `depth` is below 1.

    Notes
    -----
    Source: Poole et al. 2016, arXiv:1606.05340. Explained in chapter 1.

    Examples
    --------
    >>> signal_profile("relu", 3, sigma_w=1.0)
    array([1.  , 0.5 , 0.25])
    """
    moments, depth = _moments(activation), _count("depth", depth)
    sigma_w, sigma_b, q0 = _sigma("sigma_w", sigma_w), _sigma("sigma_b", sigma_b), _real("q0", q0)
    profile = np.full(depth, math.inf)
    profile[0] = sigma_w**2 * q0 + sigma_b**2
    for layer in range(1, depth):
        if profile[layer - 1] > _LARGEST:
            break
        profile[layer] = _next_variance(moments, profile[layer - 1], sigma_w, sigma_b)
    return profile


def gradient_profile(
    activation: str | nn.Module, depth: int, sigma_w: float, sigma_b: float = 0.0, q0: float = 1.0
) -> NDArray[np.float64]:
    """Root mean square of the gradient with respect to the pre-activations by layer, relative to the last's.

    Parameters
    ----------
    activation : str or torch.nn.Module
        A name of the catalogue, or what `activations.make` made of one.
    depth : int
        Number of hidden layers, equally wide.
    sigma_w, sigma_b : float
        Weights have the variance ``sigma_w**2 / fan_in``, biases ``sigma_b**2``; both from 0 to 1e10.
    q0 : float
        Mean square of the network's input: 1 if it is standardised.

    Returns
    -------
    numpy.ndarray
        float64 (depth,): entry l is the product of ``sigma_w * sqrt(E[phi'(z_k)**2])`` over the layers k from
        l to the one before the last; so the last entry is 1. The variance of z_k is that of `signal_profile`,
        not the fixed point's.

    Raises
    ------
    TypeError
        If the activation is neither a name nor a module of the catalogue, or a number is not one.
    ValueError
        If the name is unknown, a number is out of its range, or `depth` is below 1.

    Notes
    -----
    From ``delta_l = phi'(z_l) * (W_(l+1).T @ delta_(l+1))``, with the weights on the way back taken as
    independent of those on the way forward. Source: Schoenholz et al. 2017, arXiv:1611.01232. Explained in
    chapter 1.

    Examples
    --------
    >>> gradient_profile("identity", 3, sigma_w=0.5)
    array([0.25, 0.5 , 1.  ])
    """
    moments = _moments(activation)
    variances = signal_profile(activation, depth, sigma_w, sigma_b, q0)[:-1]
    factors = sigma_w * np.sqrt(moments.slope_square(np.minimum(variances, _LARGEST)))
    with np.errstate(over="ignore"):
        return np.append(np.cumprod(factors[::-1])[::-1], 1.0)


def relu_angle_map(theta: ArrayLike) -> _Floats:
    """Angle between two inputs after a wide ReLU layer without biases, given that before it.

    Parameters
    ----------
    theta : float or array_like
        Angle in radians, from 0 to pi.

    Returns
    -------
    float or numpy.ndarray
        ``arccos((sin(theta) + (pi - theta) * cos(theta)) / pi)`` in radians; float64, of the shape of
        `theta`.

    Raises
    ------
    ValueError
        If an angle is outside of 0 to pi.

    Notes
    -----
    The angle is that between the activations of the layer, which that between the next pre-activations
    equals; the variance of the weights has no part in it. Source: Cho & Saul 2009, the arc-cosine kernel of
    degree 1. Explained in chapter 2.

    Examples
    --------
    >>> float(np.degrees(relu_angle_map(np.pi / 2)).round(2))
    71.44
    """
    angle = np.asarray(theta, dtype=np.float64)
    if not ((angle >= 0) & (angle <= math.pi)).all():
        raise ValueError(f"theta must lie between 0 and pi (it is in radians), but is {theta}")
    # 1 - cos of the new angle, written so that a small angle keeps its digits, which arccos would lose.
    versine = 2 * np.sin(angle / 2) ** 2 - (np.sin(angle) - angle * np.cos(angle)) / math.pi
    mapped = 2 * np.arcsin(np.sqrt(versine / 2))
    return mapped if angle.ndim else float(mapped)


def born_dead_probability(depth: int, width: int) -> float:
    """Probability that a new ReLU network is dead: some hidden layer is silent on the whole of an input ray.

    Parameters
    ----------
    depth : int
        Number of hidden layers.
    width : int
        Units in each of them.

    Returns
    -------
    float
        ``1 - (1 - 2**-width)**depth``.

    Raises
    ------
    TypeError
        If `depth` or `width` is not an integer.
    ValueError
        If either is below 1.

    Notes
    -----
    For one input and its positive multiples, weights symmetric about 0 and no biases; with more inputs it is
    an upper bound, as all of them must be silenced. The scale of the weights has no part in it. Source: Lu et
    al. 2020, arXiv:1903.06733, who count the output layer too; for data Rister & Rubin 2020,
    arXiv:2007.06192. Explained in chapter 4.

    Examples
    --------
    >>> born_dead_probability(depth=2, width=1)
    0.75
    """
    depth, width = _count("depth", depth), _count("width", width)
    return -math.expm1(depth * math.log1p(-(2.0**-width)))


def length_second_moment(depth: int, width: int) -> float:
    """Second moment of the squared length that a He-initialised ReLU network of finite width passes on.

    Parameters
    ----------
    depth : int
        Number of hidden layers.
    width : int
        Units in each of them.

    Returns
    -------
    float
        ``E[(|h_out|**2 / |h_in|**2)**2] = (1 + 5 / width)**depth``, with h_in the input of the first hidden
        layer and h_out the activations of the last, each length squared divided by its number of units.
        The first moment is 1.

    Raises
    ------
    TypeError
        If `depth` or `width` is not an integer.
    ValueError
        If either is below 1.

    Notes
    -----
    Exact for Gaussian weights of variance 2 / fan_in and no biases: ``2 * relu(z)**2`` with z standard normal
    has mean 1 and variance 5. Source: Hanin & Rolnick 2018, arXiv:1803.01719. Explained in chapter 6.

    Examples
    --------
    >>> length_second_moment(depth=2, width=5)
    4.0
    """
    depth, width = _count("depth", depth), _count("width", width)
    return (1 + 5 / width) ** depth


@dataclass(frozen=True)
class ReLUCodeSparsity:
    """What the measures of sparsity give for ReLU of independent standard normal pre-activations.

    Attributes
    ----------
    zero_fraction : float
        Fraction of exact zeros.
    treves_rolls : float
        Treves & Rolls' a, ``mean(h)**2 / mean(h**2)``.
    vinje_gallant : float
        Vinje & Gallant's S, ``(1 - a) / (1 - 1 / n)``.
    hoyer : float
        Hoyer's ``(sqrt(n) - sum(h) / |h|) / (sqrt(n) - 1)``.
    gini : float
        Gini index.

    Notes
    -----
    Explained in chapter 3.
    """

    zero_fraction: float
    treves_rolls: float
    vinje_gallant: float
    hoyer: float
    gini: float


def relu_code_sparsity() -> ReLUCodeSparsity:
    """Sparsity of a random ReLU code by each measure, for a large number n of units.

    Returns
    -------
    ReLUCodeSparsity
        zero_fraction 1/2, treves_rolls 1/pi, vinje_gallant 1 - 1/pi, hoyer 1 - 1/sqrt(pi), gini 1/sqrt(2).

    Notes
    -----
    All but the first are limits for large n. Vinje & Gallant's divisor ``1 - 1 / n`` is 1 there: it raises S
    by 11 per cent at n = 10, and by 1 per cent at n = 100. Hoyer's nears its limit slowly, as
    ``sqrt(n) / (sqrt(n) - 1)`` times it: at n = 100 it is still 11 per cent above. Source: Treves & Rolls
    1991; Vinje & Gallant 2000; Hoyer 2004; Hurley & Rickard 2009, arXiv:0811.4706. Explained in chapter 3.
    """
    return ReLUCodeSparsity(
        zero_fraction=0.5,
        treves_rolls=1 / math.pi,
        vinje_gallant=1 - 1 / math.pi,
        hoyer=1 - 1 / math.sqrt(math.pi),
        gini=math.sqrt(0.5),
    )


def support_overlap(theta: ArrayLike, threshold: ArrayLike = 0.0) -> _Floats:
    """Share of a code's active units that two inputs have in common, for a large number of random units.

    Parameters
    ----------
    theta : float or array_like
        Angle between the pre-activations of the two inputs, in radians, from 0 to pi.
    threshold : float or array_like
        A unit is active where its pre-activation is above this, in standard deviations; 0 is ReLU without a bias. The
        share of zeros is the normal distribution function at the threshold.

    Returns
    -------
    float or numpy.ndarray
        The Jaccard index, units active for both over units active for either, from 0 to 1; float64.

    Raises
    ------
    ValueError
        If an angle lies outside of 0 to pi, or a threshold is not finite.

    Notes
    -----
    The two pre-activations of a unit are standard normal with correlation ``cos(theta)``. Both exceed t with
    probability ``p = Q(t) - 2 T(t, tan(theta / 2))``, Q being the normal tail and T Owen's function, so the index
    is ``p / (2 Q(t) - p)``. At t = 0 it is ``(pi - theta) / (pi + theta)``, and for small angles its loss
    is ``theta sqrt(2 / pi) phi(t) / Q(t)``, which grows with the threshold. Source: Owen 1956, Annals of Mathematical
    Statistics 27:1075. Explained in chapter 3.

    Examples
    --------
    >>> round(support_overlap(math.pi / 3), 3)
    0.5
    """
    angle, level = np.broadcast_arrays(np.asarray(theta, dtype=float), np.asarray(threshold, dtype=float))
    if not ((angle >= 0) & (angle <= math.pi)).all():
        raise ValueError(f"theta must lie between 0 and pi (it is in radians), but is {theta}")
    if not np.isfinite(level).all():
        raise ValueError(f"threshold must be finite, but is {threshold}; 0 is ReLU without a bias")
    one = special.ndtr(-level)
    both = np.maximum(one - 2 * special.owens_t(level, np.tan(angle / 2)), 0.0)
    overlap = np.where(one > 0, both / np.where(one > 0, 2 * one - both, 1.0), np.nan)
    return float(overlap) if overlap.ndim == 0 else overlap


def lyapunov_exponent(width: int, sigma_w: float = 1.0) -> float:
    """Growth of the logarithm of a vector's length with each square Gaussian matrix that multiplies it.

    Parameters
    ----------
    width : int
        Rows and columns of the matrices.
    sigma_w : float
        The entries have the variance ``sigma_w**2 / width``; positive.

    Returns
    -------
    float
        ``ln(sigma_w) + (digamma(width / 2) + ln(2 / width)) / 2``, in nepers a matrix: about
        ``ln(sigma_w) - 1 / (2 * width)``, so that at ``sigma_w = 1``, which keeps the mean square, the
        typical length still shrinks.

    Raises
    ------
    TypeError
        If `width` is not an integer or `sigma_w` not a number.
    ValueError
        If `width` is below 1, or `sigma_w` not above 0 and at most 1e10.

    Notes
    -----
    Exact at every width: whatever x is, ``|W x|**2 / |x|**2`` is ``sigma_w**2 / width`` times a chi-squared
    variable. Source: Cohen & Newman 1984; Newman 1986. Explained in chapter 1.
    """
    width, sigma_w = _count("width", width), _sigma("sigma_w", sigma_w)
    if sigma_w == 0:
        raise ValueError("sigma_w must be above 0: a product of zero matrices has no growth rate")
    return math.log(sigma_w) + float(digamma(width / 2) + math.log(2 / width)) / 2


def mean_singular_value(width: int, variance: float) -> float:
    """Mean singular value of a wide square matrix with independent entries.

    Parameters
    ----------
    width : int
        Rows and columns.
    variance : float
        Variance of the entries, whose mean is 0; from 0 to 1e280.

    Returns
    -------
    float
        ``8 / (3 * pi) * sqrt(width * variance)``, the limit for large widths.

    Raises
    ------
    TypeError
        If `width` is not an integer or `variance` not a number.
    ValueError
        If `width` is below 1, or `variance` out of its range.

    Notes
    -----
    The mean of the quarter-circle law. It is not the rate at which a product of such matrices decays:
    `lyapunov_exponent` is. Source: Marchenko & Pastur 1967. Explained in chapter 1.

    Examples
    --------
    >>> round(mean_singular_value(100, 0.01), 3)
    0.849
    """
    width, variance = _count("width", width), _real("variance", variance)
    return 8 / (3 * math.pi) * math.sqrt(width * variance)


# --- Gaussian moments of an activation ---


class _PiecewiseLinear:
    """Moments of an activation with slope 1 above 0 and another below, in closed form.

    The slope below 0 may be random, drawn for each unit and input apart, with moments `mean` and
    `mean_square`.
    """

    def __init__(self, mean: float, mean_square: float) -> None:
        self._even, self._odd = (1 - mean) ** 2 / 4, (1 + mean) ** 2 / 4
        self._mean_square = (1 + mean_square) / 2

    def square(self, q: _Floats) -> _Floats:
        """E[phi(u)²] at variance q, which may be an array."""
        return self._mean_square * q

    def slope_square(self, q: _Floats) -> _Floats:
        """E[phi'(u)²] at variance q, which may be an array."""
        return self._mean_square + 0 * q

    def product(self, q: float, c: float) -> float:
        """E[phi(u) phi(v)] at variance q and correlation c."""
        return q * (self._odd * c + self._even * 2 / math.pi * (math.sqrt(1 - c * c) + c * math.asin(c)))

    def slope_product(self, q: float, c: float) -> float:
        """E[phi'(u) phi'(v)] at correlation c; the variance q has no part in it."""
        return self._odd + self._even * 2 / math.pi * math.asin(c)


class _Curved:
    """Moments of any other activation, by quadrature."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def _slope(self, x: Tensor) -> Tensor:
        with torch.inference_mode(mode=False), torch.enable_grad():
            x = x.clone().requires_grad_()
            values = self._module(x.clone())  # a second copy, for modules that work in place
            (slope,) = torch.autograd.grad(values.sum(), x)
        return slope

    def square(self, q: _Floats) -> _Floats:
        """E[phi(u)²] at variance q, which may be an array."""
        return gaussian_mean(lambda x: self._module(x).square(), q)

    def slope_square(self, q: _Floats) -> _Floats:
        """E[phi'(u)²] at variance q, which may be an array."""
        return gaussian_mean(lambda x: self._slope(x).square(), q)

    def product(self, q: float, c: float) -> float:
        """E[phi(u) phi(v)] at variance q and correlation c."""
        return _gaussian_pair_mean(self._module, q, c)

    def slope_product(self, q: float, c: float) -> float:
        """E[phi'(u) phi'(v)] at variance q and correlation c."""
        return _gaussian_pair_mean(self._slope, q, c)


_Moments = _PiecewiseLinear | _Curved


def _moments(activation: str | nn.Module) -> _Moments:
    """Choose the closed form or the quadrature for an activation."""
    module = activations.make(activation) if isinstance(activation, str) else activation
    if not activations.is_activation(module):
        raise TypeError(
            "activation must be a name or a module that activations.make made, one of "
            f"{', '.join(activations.NAMES)}; but is {activation!r}"
        )
    match module:
        case nn.Identity():
            return _PiecewiseLinear(1.0, 1.0)
        case nn.ReLU():
            return _PiecewiseLinear(0.0, 0.0)
        case nn.LeakyReLU():
            return _PiecewiseLinear(module.negative_slope, module.negative_slope**2)
        case nn.PReLU() if module.num_parameters > 1:
            raise ValueError(
                f"prelu must have one slope for all its units, but has {module.num_parameters}; "
                "make a prelu of its own for each slope"
            )
        case nn.PReLU():
            slope = module.weight.item()
            return _PiecewiseLinear(slope, slope**2)
        case activations.RReLU():
            mean = (module.lower + module.upper) / 2
            variance = (module.upper - module.lower) ** 2 / 12 if module.training else 0.0
            return _PiecewiseLinear(mean, mean**2 + variance)
    return _Curved(module)


@functools.lru_cache(maxsize=256)
def _graded_rule(levels: int, nodes: int) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre points and weights on (0, 1), on panels that halve `levels` times towards 0."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    edges = np.concatenate([[0.0], 0.5 ** np.arange(levels, -1, -1)])
    width = np.diff(edges)[:, None]
    graded = edges[:-1, None] + width * (points + 1) / 2
    return torch.from_numpy(graded.ravel()), torch.from_numpy((width * weights / 2).ravel())


def _levels(variance: float) -> int:
    """Halvings that make the smallest panel narrow against 1, the scale on which activations bend."""
    return 8 + max(0, math.ceil(math.log2(_CUTOFF * math.sqrt(variance))))


def _gaussian_pair_mean(function: Callable[[Tensor], Tensor], variance: float, correlation: float) -> float:
    """E[f(u) f(v)] for Gaussian u and v of one variance.

    In polar coordinates the kinks at u = 0 and at v = 0 are rays. They and the axis of symmetry cut the plane
    into sectors, each graded towards its kink: two, whose mirror images have the same products of -u and -v.
    """
    levels = min(_levels(variance), 50)  # more would resolve what has next to no weight
    radius, radius_weights = _graded_rule(levels, 16)
    part, part_weights = _graded_rule(levels, 12)
    theta = math.acos(correlation)
    outer, inner = (math.pi - theta) / 2, theta / 2
    angle = torch.cat([outer * part, -inner * part])
    angle_weights = torch.cat([outer * part_weights, inner * part_weights]) / math.pi
    radius, radius_weights = _CUTOFF * radius, _CUTOFF * radius_weights
    density = radius_weights * radius * torch.exp(-radius.square() / 2)
    length = math.sqrt(variance) * radius[:, None]
    u, v = length * torch.sin(angle), length * torch.sin(angle + theta)
    products = function(-u) * function(-v)  # these first, for a module may work in place
    products = products + function(u) * function(v)
    return float(density @ products.detach() @ angle_weights)


# --- The maps from layer to layer ---


def _next_variance(moments: _Moments, q: _Floats, sigma_w: float, sigma_b: float) -> _Floats:
    """Variance of the next layer's pre-activations."""
    return sigma_w**2 * moments.square(q) + sigma_b**2


def _variances(start: float, stop: float) -> NDArray[np.float64]:
    """Variances from start to stop, four to the octave."""
    return np.geomspace(start, stop, 2 + math.ceil(4 * abs(math.log2(stop / start))))


def _fixed_point(moments: _Moments, sigma_w: float, sigma_b: float) -> float:
    """Find the limit that `fixed_point` describes."""
    if isinstance(moments, _PiecewiseLinear):
        ratio = _next_variance(moments, 1.0, sigma_w, 0.0)
        return sigma_b**2 / (1 - ratio) if ratio < 1 - _TOLERANCE else math.nan

    def excess(q: _Floats) -> _Floats:
        return _next_variance(moments, q, sigma_w, sigma_b) / q - 1

    smallest = _next_variance(moments, 0.0, sigma_w, sigma_b)
    first = excess(1.0)
    if abs(first) <= _TOLERANCE:
        return 1.0 if excess(0.999) > _TOLERANCE and excess(1.001) < -_TOLERANCE else math.nan
    if first > 0:
        grid, none = _variances(1.0, 1e12 * max(1.0, sigma_w**2 + sigma_b**2)), math.nan
    else:
        grid, none = _variances(1.0, smallest / 2 if smallest > 0 else _TOLERANCE), 0.0
    heights = math.copysign(1.0, first) * excess(grid)
    beyond = np.flatnonzero(heights < -_TOLERANCE)
    if not beyond.size:
        return none
    before = np.flatnonzero(heights[: beyond[0]] > 0)[-1]
    return float(brentq(excess, *sorted((grid[before], grid[beyond[0]])), xtol=1e-300, rtol=1e-14))


def _correlation_variance(moments: _Moments, sigma_w: float, sigma_b: float) -> float:
    """Variance at which correlations are taken: the fixed point, or any where it makes no difference."""
    if isinstance(moments, _PiecewiseLinear) and sigma_b == 0:
        return 1.0
    return _fixed_point(moments, sigma_w, sigma_b)


def _next_correlation(moments: _Moments, c: float, q: float, sigma_w: float, sigma_b: float) -> float:
    """Correlation in the next layer."""
    q = max(q, 1e-70)  # the limit at 0, without underflow
    variance = _next_variance(moments, q, sigma_w, sigma_b)
    return (sigma_w**2 * moments.product(q, c) + sigma_b**2) / variance if variance > 0 else math.nan


def _correlation_slope(moments: _Moments, c: float, q: float, sigma_w: float, sigma_b: float) -> float:
    """Slope of the correlation in the next layer over that in this layer."""
    q = max(q, 1e-70)
    return sigma_w**2 * q * moments.slope_product(q, c) / _next_variance(moments, q, sigma_w, sigma_b)


def _depth_scale(factor: float) -> float:
    """Layers over which a quantity changes by a factor e if one layer changes it by `factor`."""
    if math.isnan(factor):
        return math.nan
    if factor == 0:
        return 0.0
    return math.inf if abs(factor - 1) < _TOLERANCE else 1 / abs(math.log(factor))


# --- Checks at the door ---


def _real(name: str, value: float, least: float = 0.0, most: float = _LARGEST) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, but is {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name} must lie between {least:g} and {most:g}, but is {value!r}")
    return float(value)


def _sigma(name: str, value: float) -> float:
    return _real(name, value, 0.0, _LARGEST_SIGMA)


def _count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer, but is {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, but is {value!r}")
    return int(value)
