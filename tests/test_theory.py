"""Each prediction against a closed form, against another way to compute it, and against what is sampled."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from scipy import integrate, special

from helpers import activations, theory

SIGMOID = special.expit
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def leaky(slope):
    return (lambda x: np.where(x > 0, x, slope * x)), (lambda x: np.where(x > 0, 1.0, slope))


def elu(alpha, scale=1.0):
    return (
        lambda x: scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
        lambda x: scale * np.where(x > 0, 1.0, alpha * np.exp(np.minimum(x, 0))),
    )


def mish_slope(x):
    t = np.tanh(np.logaddexp(0, x))
    return t + x * (1 - t**2) * SIGMOID(x)


# Each activation and its derivative, written by hand. RReLU's random slopes have a test of their own.
BY_HAND = {
    "identity": leaky(1.0),
    "sigmoid": (SIGMOID, lambda x: SIGMOID(x) * SIGMOID(-x)),
    "tanh": (np.tanh, lambda x: 4 * SIGMOID(2 * x) * SIGMOID(-2 * x)),
    "softsign": (lambda x: x / (1 + np.abs(x)), lambda x: 1 / (1 + np.abs(x)) ** 2),
    "relu": leaky(0.0),
    "leaky_relu": leaky(0.01),
    "prelu": leaky(0.25),
    "rrelu": leaky((1 / 8 + 1 / 3) / 2),
    "elu": elu(1.0),
    "selu": elu(SELU_ALPHA, SELU_SCALE),
    "gelu": (
        lambda x: x * special.ndtr(x),
        lambda x: special.ndtr(x) + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi),
    ),
    "silu": (lambda x: x * SIGMOID(x), lambda x: SIGMOID(x) * (1 + x * SIGMOID(-x))),
    "mish": (lambda x: x * np.tanh(np.logaddexp(0, x)), mish_slope),
    "softplus": (lambda x: np.logaddexp(0, x), SIGMOID),
    "shifted_softplus": (lambda x: np.logaddexp(0, x) - activations.SOFTPLUS_MEAN, SIGMOID),
    "shifted_relu": (lambda x: np.maximum(x, 0) - activations.RELU_MEAN, lambda x: (x > 0) * 1.0),
    "relu_squared": (lambda x: np.maximum(x, 0) ** 2, lambda x: 2 * np.maximum(x, 0)),
}

MAPS = [theory.fixed_point, theory.gradient_factor, theory.gradient_length, theory.correlation_length]


def generator(seed):
    return torch.Generator().manual_seed(seed)


def assert_mean(samples, expected, standard_errors=5.0):
    """The mean of independent samples (along the first axis) is the expected one, within its standard error."""
    samples = np.asarray(samples, dtype=np.float64)
    error = samples.std(axis=0, ddof=1) / math.sqrt(len(samples))
    assert np.all(
        np.abs(samples.mean(axis=0) - expected) <= standard_errors * error + 1e-12 * np.abs(expected)
    )


def quad_mean(function, q):
    """E[function(sqrt(q) z)] by scipy's adaptive quadrature, in pieces that suit small and large q."""
    root = math.sqrt(q)
    edges = [edge for edge in (1e-4, 0.1, 1.0, 4.0, 16.0, 64.0) if edge < root] + [root, 4 * root, 12 * root]
    edges = [-edge for edge in reversed(edges)] + [0.0, *edges]

    def integrand(x):
        return float(function(x)) * math.exp(-x * x / (2 * q)) / math.sqrt(2 * math.pi * q)

    pieces = [
        integrate.quad(integrand, *ends, epsabs=0, epsrel=1e-11)[0] for ends in itertools.pairwise(edges)
    ]
    return math.fsum(pieces)


# --- Gaussian means ---


def test_by_hand_table_covers_the_catalogue():
    assert set(BY_HAND) == set(activations.NAMES)


@pytest.mark.parametrize("q", [1e-8, 0.01, 1.0, 50.0, 1e4])
@pytest.mark.parametrize("name", activations.NAMES)
def test_moments_agree_with_adaptive_quadrature_of_the_hand_written_function(name, q):
    function, slope = BY_HAND[name]
    module = activations.make(name).eval()
    square = quad_mean(lambda x: function(x) ** 2, q)
    assert theory.length_map(module, q, 1.5, 0.5) == pytest.approx(2.25 * square + 0.25, rel=1e-9)
    assert theory.length_map(module, q, 1.0) == pytest.approx(square, rel=1e-8)
    slope_square = quad_mean(lambda x: slope(x) ** 2, q)
    assert theory.gradient_factor(module, 1.5, q=q) == pytest.approx(2.25 * slope_square, rel=1e-8)


@pytest.mark.parametrize("q", [0.3, 5.0])
@pytest.mark.parametrize("name", activations.NAMES)
def test_moments_agree_with_samples(name, q):
    module = activations.make(name)
    x = torch.randn(400_000, dtype=torch.float64, generator=generator(1)) * math.sqrt(q)
    x.requires_grad_()
    y = module.double()(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert_mean(y.detach() ** 2, theory.length_map(name, q, 1.0))
    assert_mean(slope**2, theory.gradient_factor(name, 1.0, q=q))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("leaky_relu", {"negative_slope": 0.3}),
        ("prelu", {"init": -0.5}),
        ("rrelu", {"lower": -1.0, "upper": 2.0}),
        ("elu", {"alpha": 2.0}),
        ("softplus", {"beta": 100.0}),
        ("gelu", {"approximate": "tanh"}),
    ],
)
def test_parameters_of_a_module_count(name, parameters):
    module = activations.make(name, **parameters)
    x = torch.randn(400_000, dtype=torch.float64, generator=generator(2))
    x.requires_grad_()
    y = module.double()(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert_mean(y.detach() ** 2, theory.length_map(module, 1.0, 1.0))
    assert_mean(slope**2, theory.gradient_factor(module, 1.0, q=1.0))


def test_sharp_softplus_is_close_to_relu():
    sharp = activations.make("softplus", beta=1e6)
    assert theory.length_map(sharp, 1.0, 1.0) == pytest.approx(0.5, rel=1e-9)
    assert theory.gradient_factor(sharp, 1.0, q=1.0) == pytest.approx(0.5, rel=1e-5)


def test_rrelu_in_training_has_random_slopes_and_in_evaluation_their_mean():
    module = activations.make("rrelu", lower=0.0, upper=1.0)
    assert theory.length_map(module, 1.0, 1.0) == pytest.approx((1 + 1 / 3) / 2)
    assert theory.length_map(module.eval(), 1.0, 1.0) == pytest.approx((1 + 1 / 4) / 2)


def test_softplus_has_mean_0806_and_its_shift_takes_it_away():
    assert theory.gaussian_mean(activations.make("softplus")) == pytest.approx(0.8060591833474398, abs=1e-14)
    assert theory.gaussian_mean(activations.make("shifted_softplus")) == pytest.approx(0.0, abs=1e-14)


def test_selu_keeps_mean_0_and_variance_1():
    assert theory.gaussian_mean(activations.make("selu")) == pytest.approx(0.0, abs=1e-14)
    assert theory.length_map("selu", 1.0, 1.0) == pytest.approx(1.0, abs=1e-14)


def test_gaussian_mean_takes_arrays_of_variances():
    q = np.array([[0.0, 1e-300, 1.0], [3.0, 1e20, 1e280]])
    means = theory.gaussian_mean(torch.square, q)
    assert means.dtype == np.float64
    assert means == pytest.approx(q, rel=1e-13)


def test_slopes_at_zero_variance_are_the_mean_of_both_sides():
    expected = SELU_SCALE**2 * (1 + SELU_ALPHA**2) / 2
    assert theory.gradient_factor("selu", 1.0, q=0.0) == pytest.approx(expected, rel=1e-14)
    assert theory.length_map("tanh", 0.0, 2.0, 0.5) == 0.25


def test_step_like_tanh_has_slopes_that_fall_as_one_over_the_standard_deviation():
    # The integral of tanh'(x)² over the line is 4/3.
    expected = 4 / 3 / math.sqrt(2 * math.pi * 1e20)
    assert theory.gradient_factor("tanh", 1.0, q=1e20) == pytest.approx(expected, rel=1e-12)


def test_context_and_in_place_modules_make_no_difference():
    expected = theory.gradient_factor("elu", 1.0, q=2.0)
    in_place = activations.make("elu", inplace=True)
    assert theory.gradient_factor(in_place, 1.0, q=2.0) == expected
    with torch.no_grad():
        assert theory.gradient_factor("elu", 1.0, q=2.0) == expected
    theory._graded_rule.cache_clear()
    with torch.inference_mode():
        assert theory.gradient_factor("elu", 1.0, q=2.0) == expected
    assert theory.gradient_factor("elu", 1.0, q=2.0) == expected


def test_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    for name in activations.NAMES:
        theory.correlation_length(name, 0.7, 0.2)
    assert torch.equal(torch.get_rng_state(), before)


# --- Profiles, against wide random networks ---

DEPTH, WIDTH, N_NETWORKS = 4, 1000, 12


@pytest.fixture(scope="module")
def normals():
    draw = generator(3)
    weights = torch.randn(N_NETWORKS, DEPTH, WIDTH, WIDTH, generator=draw)
    biases = torch.randn(N_NETWORKS, DEPTH, WIDTH, generator=draw)
    inputs = torch.randn(N_NETWORKS, WIDTH, generator=draw)
    return weights, biases, inputs / inputs.square().mean(dim=1, keepdim=True).sqrt()


def layer_squares(module, normals, sigma_w, sigma_b, q0):
    """Mean square of pre-activations and of their gradients, (network, layer) each."""
    weights, biases, inputs = normals
    h, layers = math.sqrt(q0) * inputs, []
    for layer in range(DEPTH):
        z = sigma_w / math.sqrt(WIDTH) * torch.einsum("nij,nj->ni", weights[:, layer], h)
        z = (z + sigma_b * biases[:, layer]).requires_grad_()
        layers.append(z)
        h = module(z)
    last = torch.randn(layers[-1].shape, generator=generator(4))
    gradients = torch.autograd.grad(layers[-1], layers, last)
    signal = torch.stack([z.detach().square().mean(dim=1) for z in layers], dim=1)
    gradient = torch.stack([delta.square().mean(dim=1) for delta in gradients], dim=1)
    return signal.numpy(), (gradient / gradient[:, -1:]).numpy()


@pytest.mark.parametrize(
    ("name", "training"), [*((name, True) for name in activations.NAMES), ("rrelu", False)]
)
def test_profiles_agree_with_wide_networks(name, training, normals):
    module = activations.make(name).train(training)
    sigma_w, sigma_b, q0 = (0.4 if name == "relu_squared" else 1.2), 0.3, 4.0
    signal, gradient = layer_squares(module, normals, sigma_w, sigma_b, q0)
    predicted_signal = theory.signal_profile(module, DEPTH, sigma_w, sigma_b, q0)
    predicted_gradient = theory.gradient_profile(module, DEPTH, sigma_w, sigma_b, q0)
    assert_mean(signal, predicted_signal)
    assert_mean(gradient[:, :-1], predicted_gradient[:-1] ** 2)
    # The standard errors are small enough for the comparison to say something.
    assert (signal.std(axis=0) / math.sqrt(N_NETWORKS) < 0.07 * predicted_signal).all()
    assert (gradient.std(axis=0) / math.sqrt(N_NETWORKS) < 0.07 * predicted_gradient**2).all()


def test_signal_of_relu_is_multiplied_by_half_the_weight_variance():
    profile = theory.signal_profile("relu", 4, 2.0, 0.0, q0=3.0)
    assert profile == pytest.approx([12.0, 24.0, 48.0, 96.0])
    assert theory.signal_profile("relu", 2, 2.0, 0.5, q0=3.0) == pytest.approx([12.25, 24.75])


def test_he_keeps_signal_and_gradient_through_depth():
    assert theory.signal_profile("relu", 50, math.sqrt(2), q0=0.5) == pytest.approx(np.ones(50))
    assert theory.gradient_profile("relu", 50, math.sqrt(2)) == pytest.approx(np.ones(50))


def test_xavier_keeps_the_gradient_of_linear_layers():
    assert theory.gradient_profile("identity", 30, 1.0) == pytest.approx(np.ones(30))


def test_gradient_takes_the_slope_of_each_layer_but_the_last():
    q = theory.signal_profile("tanh", 3, 1.5, 0.2, q0=2.0)
    first, second, _ = [math.sqrt(theory.gradient_factor("tanh", 1.5, q=variance)) for variance in q]
    assert theory.gradient_profile("tanh", 3, 1.5, 0.2, q0=2.0) == pytest.approx(
        [first * second, second, 1.0]
    )


def test_gradient_at_the_fixed_point_changes_by_the_square_root_of_chi():
    sigma_w, sigma_b = 1.3, 0.4
    q0 = (theory.fixed_point("tanh", sigma_w, sigma_b) - sigma_b**2) / sigma_w**2
    chi = theory.gradient_factor("tanh", sigma_w, sigma_b)
    assert theory.signal_profile("tanh", 6, sigma_w, sigma_b, q0) == pytest.approx(
        np.full(6, theory.fixed_point("tanh", sigma_w, sigma_b))
    )
    assert theory.gradient_profile("tanh", 6, sigma_w, sigma_b, q0) == pytest.approx(
        chi ** (np.arange(5, -1, -1) / 2)
    )


def test_sigmoid_loses_at_least_a_factor_of_four_a_layer_at_unit_weight_variance():
    profile = theory.gradient_profile("sigmoid", 10, 1.0)
    assert (profile[:-1] / profile[1:] <= 0.25).all()


def test_profiles_that_explode_end_in_infinity_and_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        signal = theory.signal_profile("relu_squared", 30, 2.0)
        gradient = theory.gradient_profile("relu_squared", 30, 2.0)
        slow = theory.signal_profile("gelu", 400, 10.0)
    assert np.isinf(signal[-1])
    assert np.isinf(gradient[0])
    assert np.isinf(slow[-1])
    assert slow[100] / slow[99] == pytest.approx(50.0)


def test_profile_of_one_layer():
    assert theory.signal_profile("tanh", 1, 2.0, 1.0, q0=0.5).tolist() == [3.0]
    assert theory.gradient_profile("tanh", 1, 2.0, 1.0, q0=0.5).tolist() == [1.0]


# --- Fixed points ---


@pytest.mark.parametrize(("sigma_w", "sigma_b"), [(0.8, 0.3), (1.3, 0.5), (0.5, 1.5), (3.0, 0.1)])
@pytest.mark.parametrize("name", activations.NAMES)
def test_fixed_point_is_what_the_length_map_leads_to(name, sigma_w, sigma_b):
    q = 1.0
    for _ in range(300):
        q = theory.length_map(name, q, sigma_w, sigma_b)
        if q > 1e30:
            break
    expected = theory.fixed_point(name, sigma_w, sigma_b)
    if math.isnan(expected):
        assert q > 1e30
    else:
        assert q == pytest.approx(expected, rel=1e-6)
        assert theory.length_map(name, expected, sigma_w, sigma_b) == pytest.approx(expected, rel=1e-11)


def test_fixed_point_of_relu_in_closed_form():
    assert theory.fixed_point("relu", 1.0, 0.5) == pytest.approx(0.25 / (1 - 1 / 2))
    assert theory.fixed_point("relu", 1.0) == 0.0


@pytest.mark.parametrize(
    ("name", "sigma_w", "sigma_b"),
    [
        ("relu", math.sqrt(2), 0.0),  # every variance is a fixed point
        ("identity", 1.0, 0.0),
        ("relu", math.sqrt(2), 0.1),  # grows in proportion to depth
        ("relu", 2.0, 0.0),
        ("softplus", math.sqrt(2), 0.0),  # grows as a power of depth
        ("gelu", 3.0, 0.0),
        ("relu_squared", 1.0, 0.0),  # grows doubly exponentially
        ("relu_squared", math.sqrt(2 / 3), 0.0),  # 1 is a fixed point, but drives its neighbours away
    ],
)
def test_there_is_no_fixed_point(name, sigma_w, sigma_b):
    assert math.isnan(theory.fixed_point(name, sigma_w, sigma_b))


@pytest.mark.parametrize(
    ("name", "sigma_w"),
    [
        ("tanh", 0.9),
        ("tanh", 1.0),
        ("gelu", math.sqrt(2)),
        ("elu", 1.0),
        ("relu_squared", 0.8),
        ("sigmoid", 0.0),
    ],
)
def test_variance_shrinks_to_zero(name, sigma_w):
    assert theory.fixed_point(name, sigma_w) == 0.0


def test_selu_is_drawn_to_variance_1():
    assert theory.fixed_point("selu", 1.0) == 1.0


def test_fixed_point_of_tanh_close_to_criticality():
    # E[tanh²] = q - 2 q² + ..., so q* is close to (sigma_w² - 1) / 2.
    assert theory.fixed_point("tanh", 1 + 1e-6) == pytest.approx(1e-6, rel=1e-4)
    # With biases alone to feed it, q² is sigma_b² / 2.
    assert theory.fixed_point("tanh", 1.0, 1e-6) == pytest.approx(1e-6 / math.sqrt(2), rel=1e-4)


def test_fixed_point_far_from_1():
    assert theory.fixed_point("tanh", 1e6) == pytest.approx(1e12, rel=1e-5)
    assert theory.fixed_point("tanh", 0.5, 1e-8) == pytest.approx(1e-16 / 0.75, rel=1e-9)
    assert theory.fixed_point("softplus", 1.0, 1e5) == pytest.approx(2e10, rel=1e-6)


def test_nothing_but_biases_gives_their_variance():
    for name in activations.NAMES:
        assert theory.fixed_point(name, 0.0, 0.7) == pytest.approx(0.49)


# --- Gradient factor and length ---


def test_gradient_factor_of_rectifiers_needs_no_fixed_point():
    assert theory.gradient_factor("relu", math.sqrt(2)) == pytest.approx(1.0, abs=1e-15)
    assert theory.gradient_factor("relu", 3.0, 1.0) == pytest.approx(4.5)
    assert theory.gradient_factor("identity", 1.5) == pytest.approx(2.25)
    leaky_relu = activations.make("leaky_relu", negative_slope=0.5)
    assert theory.gradient_factor(leaky_relu, 1.0, q=7.0) == pytest.approx((1 + 0.25) / 2)


def test_gradient_factor_is_taken_at_the_fixed_point_unless_told():
    q = theory.fixed_point("tanh", 1.7, 0.2)
    assert theory.gradient_factor("tanh", 1.7, 0.2) == theory.gradient_factor("tanh", 1.7, 0.2, q=q)
    assert theory.gradient_factor("tanh", 1.7, 0.2) != pytest.approx(
        theory.gradient_factor("tanh", 1.7, q=1.0)
    )
    assert math.isnan(theory.gradient_factor("gelu", 3.0))


def test_gradient_length():
    assert theory.gradient_length("relu", 1.0) == pytest.approx(1 / math.log(2))
    assert theory.gradient_length("relu", 2.0) == pytest.approx(1 / math.log(2))
    assert theory.gradient_length("relu", math.sqrt(2)) == math.inf
    assert theory.gradient_length("relu_squared", 0.5) == 0.0
    assert math.isnan(theory.gradient_length("gelu", 3.0))
    chi = theory.gradient_factor("tanh", 2.0, 0.1)
    assert chi > 1
    assert theory.gradient_length("tanh", 2.0, 0.1) == pytest.approx(1 / math.log(chi))


# --- Criticality ---


def test_tanh_with_bias_variance_005_is_critical_at_weight_variance_1761():
    assert theory.critical_sigma_w("tanh", math.sqrt(0.05)) ** 2 == pytest.approx(1.761, abs=5e-4)


def test_rectifiers_without_biases_are_critical_at_the_gain_of_he():
    assert theory.critical_sigma_w("identity") == pytest.approx(1.0)
    assert theory.critical_sigma_w("relu") == pytest.approx(math.sqrt(2))
    leaky_relu = activations.make("leaky_relu", negative_slope=0.5)
    assert theory.critical_sigma_w(leaky_relu) == pytest.approx(math.sqrt(2 / 1.25))


@pytest.mark.parametrize("name", ["tanh", "softsign", "elu"])
def test_functions_of_slope_1_at_zero_are_critical_at_1_without_biases(name):
    assert theory.critical_sigma_w(name) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "sigma_b"),
    [
        ("sigmoid", 0.0),
        ("sigmoid", 1.0),
        ("tanh", 0.01),
        ("tanh", 3.0),
        ("softsign", 0.5),
        ("elu", 0.5),
        ("selu", 0.0),
        ("selu", 0.3),
        ("gelu", 1.0),
        ("silu", 1.0),
        ("mish", 1.0),
        ("shifted_softplus", 0.2),
    ],
)
def test_gradient_factor_passes_1_at_the_critical_point(name, sigma_b):
    critical = theory.critical_sigma_w(name, sigma_b)
    assert theory.gradient_factor(name, critical, sigma_b) == pytest.approx(1.0, abs=1e-6)
    assert theory.gradient_factor(name, 0.999 * critical, sigma_b) < 1
    assert not theory.gradient_factor(name, 1.001 * critical, sigma_b) <= 1


@pytest.mark.parametrize(
    ("name", "sigma_b"),
    [
        ("relu", 0.1),
        ("gelu", 0.0),
        ("silu", 0.0),
        ("softplus", 0.0),
        ("softplus", 1.0),
        ("relu_squared", 0.0),
        ("relu_squared", 0.2),
    ],
)
def test_there_is_no_critical_point(name, sigma_b):
    assert math.isnan(theory.critical_sigma_w(name, sigma_b))
    sigma_w = [w for w in np.linspace(0.05, 4.0, 40) if not math.isnan(theory.fixed_point(name, w, sigma_b))]
    factors = np.array([theory.gradient_factor(name, w, sigma_b) for w in sigma_w])
    assert factors.size
    assert (factors < 1).all()


def test_critical_point_with_hardly_any_bias():
    # For softsign sigma_w - 1 falls as the root of sigma_b, for tanh as its power 2/3.
    for name, power in (("softsign", 1 / 2), ("tanh", 2 / 3)):
        above = [theory.critical_sigma_w(name, sigma_b) - 1 for sigma_b in (1e-8, 1e-6)]
        assert above[1] / above[0] == pytest.approx(100**power, rel=0.01)


def test_gelu_is_critical_only_where_its_variance_is_above_the_half_stable_one():
    # There both the variance and the gradient are marginal: q = (3 + sqrt(17)) / 2 (Roberts, Yaida & Hanin 2022).
    q = (3 + math.sqrt(17)) / 2
    sigma_b = math.sqrt(q - theory.length_map("gelu", q, 1.0) / theory.gradient_factor("gelu", 1.0, q=q))
    assert math.isnan(theory.critical_sigma_w("gelu", 0.99 * sigma_b))
    critical = theory.critical_sigma_w("gelu", 1.01 * sigma_b)
    assert theory.fixed_point("gelu", critical, 1.01 * sigma_b) > q


# --- Correlations ---


@pytest.mark.parametrize("c", [-1.0, -0.7, 0.0, 0.3, 0.999999, 1.0])
def test_correlation_map_of_relu_is_its_angle_map(c):
    expected = math.cos(theory.relu_angle_map(math.acos(c)))
    assert theory.correlation_map("relu", c, 1.7) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("q", [1e-8, 1.0, 1e4])
@pytest.mark.parametrize("c", [-1.0, -0.7, 0.0, 0.3, 0.999999, 1.0])
def test_correlation_map_of_relu_squared_is_the_arc_cosine_kernel_of_degree_2(c, q):
    theta = math.acos(c)
    kernel = 3 * math.sin(theta) * c + (math.pi - theta) * (1 + 2 * c**2)
    assert theory.correlation_map("relu_squared", c, 0.8, q=q) == pytest.approx(
        kernel / (3 * math.pi), abs=1e-13
    )


@pytest.mark.parametrize("c", [-0.8, 0.0, 0.6])
@pytest.mark.parametrize("name", activations.NAMES)
def test_correlation_map_agrees_with_samples(name, c):
    q, sigma_w, sigma_b = 2.0, 1.2, 0.4
    module = activations.make(name).double()
    u, w = math.sqrt(q) * torch.randn(2, 400_000, dtype=torch.float64, generator=generator(5))
    with torch.no_grad():
        product = module(u) * module(c * u + math.sqrt(1 - c**2) * w)
    predicted = theory.correlation_map(name, c, sigma_w, sigma_b, q=q) * theory.length_map(
        name, q, sigma_w, sigma_b
    )
    assert_mean(sigma_w**2 * product + sigma_b**2, predicted)


@pytest.mark.parametrize("name", activations.NAMES)
def test_two_copies_of_one_input_stay_equal(name):
    module = activations.make(name).eval()
    for q in (1e-3, 0.7, 1e3):
        assert theory.correlation_map(module, 1.0, 1.3, 0.2, q=q) == pytest.approx(1.0, abs=1e-12)


def test_random_slopes_pull_two_copies_of_one_input_apart():
    module = activations.make("rrelu", lower=0.0, upper=1.0)
    assert theory.correlation_map(module, 1.0, 1.0) == pytest.approx((1 + 1 / 4) / (1 + 1 / 3))


def test_odd_function_without_biases_keeps_a_correlation_of_zero():
    assert theory.correlation_map("tanh", 0.0, 2.0) == pytest.approx(0.0, abs=1e-15)
    assert theory.correlation_map("tanh", -0.6, 2.0) == pytest.approx(
        -theory.correlation_map("tanh", 0.6, 2.0)
    )


def test_correlation_map_without_a_variance_is_nan():
    assert math.isnan(theory.correlation_map("gelu", 0.5, 3.0))
    assert math.isnan(theory.correlation_map("relu", 0.5, 2.0, 0.1))
    assert math.isnan(theory.correlation_map("tanh", 0.5, 0.0))


SETTINGS = [
    ("tanh", 1.1, 0.3),  # ordered
    ("tanh", 1.8, 0.3),  # chaotic
    ("tanh", 2.5, 0.0),  # chaotic, with the limit 0
    ("softsign", 4.0, 0.3),
    ("sigmoid", 3.0, 0.5),
    ("sigmoid", 15.0, 0.5),
    ("selu", 1.0, 0.0),
    ("elu", 1.2, 0.6),
    ("gelu", 1.2, 0.3),
    ("silu", 1.2, 0.3),
    ("mish", 1.1, 0.3),
    ("softplus", 1.1, 0.1),
    ("shifted_softplus", 1.5, 0.3),
    ("shifted_relu", 1.2, 0.3),
    ("relu_squared", 0.5, 0.3),
    ("relu", 1.0, 0.5),
    ("leaky_relu", 1.1, 0.5),
    ("prelu", 1.1, 0.5),
    ("identity", 0.8, 0.5),
    ("rrelu", 1.2, 0.0),
    ("rrelu", 1.2, 0.4),
]


def test_settings_cover_the_catalogue():
    assert {name for name, *_ in SETTINGS} == set(activations.NAMES)


@pytest.mark.parametrize(("name", "sigma_w", "sigma_b"), SETTINGS)
def test_correlation_length_is_the_rate_at_which_the_map_reaches_its_limit(name, sigma_w, sigma_b):
    rate = math.exp(-1 / theory.correlation_length(name, sigma_w, sigma_b))
    q = 1.0 if name == "rrelu" and sigma_b == 0 else theory.fixed_point(name, sigma_w, sigma_b)
    c = [0.3]
    # As far as leaves differences of 1e-5, which have five digits.
    for _ in range(min(60, 2 + math.ceil(math.log(1e-5) / math.log(rate)))):
        c.append(theory.correlation_map(name, c[-1], sigma_w, sigma_b, q=q))
    assert (c[-1] - c[-2]) / (c[-2] - c[-3]) == pytest.approx(rate, rel=0.02)
    h = 1e-4
    if c[-1] < 0.99:
        above, below = (theory.correlation_map(name, c[-1] + d, sigma_w, sigma_b, q=q) for d in (h, -h))
        assert (above - below) / (2 * h) == pytest.approx(rate, rel=0.02)


def test_correlation_length_in_the_ordered_phase_is_that_of_gradients():
    for name, sigma_w in (("tanh", 1.1), ("relu", 1.0), ("gelu", 1.0), ("sigmoid", 3.0)):
        assert theory.correlation_length(name, sigma_w, 0.3) == pytest.approx(
            theory.gradient_length(name, sigma_w, 0.3)
        )


def test_correlation_length_in_the_chaotic_phase_is_not_that_of_gradients():
    assert theory.correlation_length("tanh", 2.5) > 2 * theory.gradient_length("tanh", 2.5)


def test_correlation_length_of_odd_chaos_is_that_of_the_mean_slope():
    # Without biases the limit is 0, where the two slopes are independent.
    q = theory.fixed_point("tanh", 2.5)
    slope = 6.25 * theory.gaussian_mean(lambda x: 1 - torch.tanh(x).square(), q) ** 2
    assert theory.correlation_length("tanh", 2.5) == pytest.approx(1 / abs(math.log(slope)))


@pytest.mark.parametrize("name", ["tanh", "softsign", "elu", "sigmoid"])
def test_correlation_length_grows_towards_the_critical_point_from_either_side(name):
    critical = theory.critical_sigma_w(name, 0.5)
    lengths = [theory.correlation_length(name, factor * critical, 0.5) for factor in (0.9, 0.99, 0.999)]
    assert lengths[0] < lengths[1] < lengths[2]
    lengths = [theory.correlation_length(name, factor * critical, 0.5) for factor in (1.02, 1.01, 1.001)]
    assert lengths[0] < lengths[1] < lengths[2]


def test_correlations_of_rectifiers_without_biases_have_no_length():
    for sigma_w in (1.0, math.sqrt(2), 2.0):
        assert theory.correlation_length("relu", sigma_w) == math.inf
    assert theory.correlation_length("tanh", 0.8) == math.inf


def test_correlation_length_without_a_fixed_point_is_nan():
    assert math.isnan(theory.correlation_length("gelu", 3.0))
    assert math.isnan(theory.correlation_length("relu", 2.0, 0.1))


@pytest.mark.parametrize(("sigma_w", "limit"), [(1.1, 1.0), (2.5, 0.0)])
def test_correlations_in_wide_networks_approach_their_limit_at_the_predicted_rate(sigma_w, limit):
    sigma_b, depth, width, n_networks = (0.3 if limit else 0.0), 6, 500, 24
    q = theory.fixed_point("tanh", sigma_w, sigma_b)
    draw = generator(6)
    z = (
        math.sqrt(q)
        * torch.linalg.qr(torch.randn(n_networks, width, 2, generator=draw))[0]
        * math.sqrt(width)
    )
    c0 = 0.0 if limit else 0.8
    z[..., 1] = c0 * z[..., 0] + math.sqrt(1 - c0**2) * z[..., 1]
    predicted, measured = [c0], [np.full(n_networks, c0)]
    for _ in range(depth):
        weights = torch.randn(n_networks, width, width, generator=draw) * sigma_w / math.sqrt(width)
        z = weights @ torch.tanh(z) + sigma_b * torch.randn(n_networks, width, 1, generator=draw)
        measured.append(torch.nn.functional.cosine_similarity(z[..., 0], z[..., 1]).numpy())
        predicted.append(theory.correlation_map("tanh", predicted[-1], sigma_w, sigma_b, q=q))
    measured = np.array(measured)
    assert_mean(measured[1:].T, np.array(predicted[1:]))
    rate = math.exp(-1 / theory.correlation_length("tanh", sigma_w, sigma_b))
    assert (predicted[-1] - limit) / (predicted[-2] - limit) == pytest.approx(rate, rel=0.03)


def relu_angles(theta, n_units=400_000, seed=7):
    weights = torch.randn(n_units, 2, dtype=torch.float64, generator=generator(seed))
    h = torch.relu(
        weights @ torch.tensor([[1.0, math.cos(theta)], [0.0, math.sin(theta)]], dtype=torch.float64)
    )
    return math.acos(torch.nn.functional.cosine_similarity(h[:, 0], h[:, 1], dim=0).item())


@pytest.mark.parametrize("theta", [0.1, 0.5, 1.0, math.pi / 2, 2.5, math.pi])
def test_angle_map_agrees_with_wide_relu_layers(theta):
    angles = [relu_angles(theta, n_units=20_000, seed=seed) for seed in range(20)]
    assert_mean(angles, theory.relu_angle_map(theta))


def test_angle_map_from_90_degrees():
    angles = [math.pi / 2]
    for _ in range(3):
        angles.append(theory.relu_angle_map(angles[-1]))
    assert np.degrees(angles) == pytest.approx([90.0, 71.44, 60.41, 52.78], abs=0.005)


def test_angle_map_agrees_with_its_formula_and_takes_arrays():
    theta = np.linspace(0.01, math.pi, 12).reshape(3, 4)
    expected = np.arccos((np.sin(theta) + (np.pi - theta) * np.cos(theta)) / np.pi)
    assert theory.relu_angle_map(theta) == pytest.approx(expected, rel=1e-9)
    assert isinstance(theory.relu_angle_map(1.0), float)


def test_small_angles_keep_their_digits():
    # theta' = theta - theta² / (3 pi) + ...
    assert theory.relu_angle_map(0.0) == 0.0
    assert 1e-6 - theory.relu_angle_map(1e-6) == pytest.approx(1e-12 / (3 * math.pi), rel=1e-3)


# --- Finite width ---


@pytest.mark.parametrize(("depth", "width"), [(1, 1), (3, 2), (10, 3), (20, 5)])
def test_born_dead_probability_agrees_with_thousands_of_networks(depth, width):
    draw = generator(8)
    h = torch.ones(20_000, width, 1)
    for _ in range(depth):
        h = torch.relu(torch.randn(20_000, width, width, generator=draw) @ h)
        h = h / h.amax(dim=1, keepdim=True).clamp(min=1e-30)
    assert_mean((h == 0).all(dim=1).squeeze().double(), theory.born_dead_probability(depth, width))


def test_born_dead_probability_of_a_single_unit_chain():
    assert theory.born_dead_probability(1, 1) == 0.5
    assert theory.born_dead_probability(3, 1) == pytest.approx(1 - 1 / 8)


def test_tiny_probabilities_keep_their_digits():
    assert theory.born_dead_probability(10, 100) == pytest.approx(10 * 2.0**-100, rel=1e-12)
    assert theory.born_dead_probability(10, 5000) == 0.0


@pytest.mark.parametrize(("depth", "width"), [(1, 4), (3, 10), (5, 25)])
def test_length_second_moment_agrees_with_he_networks(depth, width):
    draw, n_networks, in_features = generator(9), 20_000, 7
    h = torch.randn(n_networks, in_features, 1, generator=draw)
    before = h.square().mean(dim=1)
    for _ in range(depth):
        fan_in = h.shape[1]
        h = torch.relu(torch.randn(n_networks, width, fan_in, generator=draw) @ h * math.sqrt(2 / fan_in))
    ratio = (h.square().mean(dim=1) / before).squeeze()
    assert_mean(ratio, 1.0)
    assert_mean(ratio**2, theory.length_second_moment(depth, width))


@pytest.mark.parametrize(("width", "sigma_w"), [(1, 1.0), (4, 1.3), (32, 0.7)])
def test_lyapunov_exponent_agrees_with_products_of_matrices(width, sigma_w):
    draw, n_products, n_matrices = generator(10), 1000, 20
    x = torch.full((n_products, width, 1), 1 / math.sqrt(width), dtype=torch.float64)
    growth = torch.zeros(n_products, dtype=torch.float64)
    for _ in range(n_matrices):
        matrices = torch.randn(n_products, width, width, dtype=torch.float64, generator=draw)
        x = matrices @ x * sigma_w / math.sqrt(width)
        length = x.norm(dim=1, keepdim=True)
        growth += length.log().squeeze()
        x = x / length
    assert_mean(growth / n_matrices, theory.lyapunov_exponent(width, sigma_w))


def test_lyapunov_exponent_in_closed_form():
    # At width 2, |W x|² / |x|² is exponential, whose mean logarithm is minus Euler's constant.
    assert theory.lyapunov_exponent(2) == pytest.approx(-np.euler_gamma / 2)
    assert theory.lyapunov_exponent(10_000) == pytest.approx(-1 / 20_000, rel=1e-3)
    assert theory.lyapunov_exponent(2, 3.0) == pytest.approx(math.log(3) - np.euler_gamma / 2)


def test_mean_singular_value_agrees_with_a_wide_matrix():
    matrix = 0.2 * torch.randn(600, 600, dtype=torch.float64, generator=generator(11))
    measured = torch.linalg.svdvals(matrix).mean().item()
    assert measured == pytest.approx(theory.mean_singular_value(600, 0.04), rel=4e-3)
    assert theory.mean_singular_value(100, 0.01) == pytest.approx(8 / (3 * math.pi))


# --- Sparsity ---


def test_sparsity_of_a_random_relu_code_agrees_with_samples():
    n = 1_000_000
    codes = torch.relu(torch.randn(10, n, dtype=torch.float64, generator=generator(12))).numpy()
    mean, square = codes.mean(axis=1), (codes**2).mean(axis=1)
    treves_rolls = mean**2 / square
    ranked = np.sort(codes, axis=1)
    gini = (2 * np.arange(1, n + 1) - n - 1) @ ranked.T / (n * codes.sum(axis=1))
    hoyer = (math.sqrt(n) - math.sqrt(n) * mean / np.sqrt(square)) / (math.sqrt(n) - 1)
    sparsity = theory.relu_code_sparsity()
    assert_mean((codes == 0).mean(axis=1), sparsity.zero_fraction)
    assert_mean(treves_rolls, sparsity.treves_rolls)
    assert_mean((1 - treves_rolls) / (1 - 1 / n), sparsity.vinje_gallant)
    assert_mean(hoyer, sparsity.hoyer * math.sqrt(n) / (math.sqrt(n) - 1))
    assert_mean(gini, sparsity.gini)


def test_sparsity_of_a_random_relu_code_in_closed_form():
    sparsity = theory.relu_code_sparsity()
    assert sparsity.zero_fraction == 0.5
    assert sparsity.treves_rolls == pytest.approx(1 / math.pi)
    assert sparsity.vinje_gallant == pytest.approx(1 - 1 / math.pi)
    assert sparsity.hoyer == pytest.approx(1 - 1 / math.sqrt(math.pi))
    assert sparsity.gini == pytest.approx(1 / math.sqrt(2))


def test_supports_without_a_threshold_overlap_by_the_law_of_angles():
    theta = np.linspace(0, math.pi, 19)
    np.testing.assert_allclose(
        theory.support_overlap(theta), (math.pi - theta) / (math.pi + theta), atol=1e-12
    )
    assert theory.support_overlap(0.0, 1.5) == 1.0
    assert theory.support_overlap(math.pi, 1.5) == pytest.approx(0, abs=1e-12)
    # of two opposite inputs a unit with threshold -t is active for both where |z| < t
    assert theory.support_overlap(math.pi, -1.0) == pytest.approx(1 - 2 * special.ndtr(-1.0))


@pytest.mark.parametrize(("theta", "threshold"), [(0.3, 0.0), (0.3, 1.0), (1.2, 2.0), (2.5, -0.7)])
def test_support_overlap_agrees_with_samples(theta, threshold):
    first, other = torch.randn(2, 2_000_000, dtype=torch.float64, generator=generator(3)).numpy()
    second = math.cos(theta) * first + math.sin(theta) * other
    both = ((first > threshold) & (second > threshold)).sum()
    either = ((first > threshold) | (second > threshold)).sum()
    expected = theory.support_overlap(theta, threshold)
    assert abs(both / either - expected) < 4 * math.sqrt(expected * (1 - expected) / either)


def test_a_sparser_code_loses_more_of_its_support_at_the_same_angle():
    thresholds = np.linspace(-3, 3, 25)
    assert (np.diff(theory.support_overlap(0.2, thresholds)) < 0).all()
    small, t = 1e-4, 1.3
    density = math.exp(-(t**2) / 2) / math.sqrt(2 * math.pi)
    loss = 1 - theory.support_overlap(small, t)
    assert loss == pytest.approx(small * math.sqrt(2 / math.pi) * density / special.ndtr(-t), rel=1e-3)


# --- Bad input ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((-0.1,), "theta must lie between 0 and pi"), ((0.1, math.inf), "threshold must be finite")],
)
def test_support_overlap_says_what_it_accepts(arguments, message):
    with pytest.raises(ValueError, match=message):
        theory.support_overlap(*arguments)


@pytest.mark.parametrize("function", MAPS)
def test_unknown_name_is_repeated_beside_the_good_ones(function):
    with pytest.raises(
        ValueError, match=r"unknown activation 'swish'; the names are identity, .*relu_squared"
    ):
        function("swish", 1.0)


@pytest.mark.parametrize("activation", [None, 3, torch.tanh, torch.nn.Tanh, torch.nn.ReLU6()])
def test_activation_of_another_kind_is_rejected(activation):
    with pytest.raises(
        TypeError, match=r"must be a name or a module that activations\.make made, one of identity"
    ):
        theory.critical_sigma_w(activation)


def test_prelu_with_a_slope_for_each_unit_is_rejected():
    with pytest.raises(
        ValueError, match="one slope for all its units, but has 3; make a prelu of its own for each"
    ):
        theory.fixed_point(activations.make("prelu", num_parameters=3), 1.0)


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf, 1e11])
@pytest.mark.parametrize("function", MAPS)
def test_sigma_out_of_range_is_rejected(function, bad):
    with pytest.raises(ValueError, match=r"sigma_w must lie between 0 and 1e\+10, but is"):
        function("relu", bad)
    with pytest.raises(ValueError, match=r"sigma_b must lie between 0 and 1e\+10, but is"):
        function("relu", 1.0, bad)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: theory.critical_sigma_w("tanh", -1.0),
            r"sigma_b must lie between 0 and 1e\+10, but is -1.0",
        ),
        (lambda: theory.length_map("tanh", -1.0, 1.0), r"q must lie between 0 and 1e\+280, but is -1.0"),
        (
            lambda: theory.gradient_factor("tanh", 1.0, q=math.nan),
            r"q must lie between 0 and 1e\+280, but is nan",
        ),
        (lambda: theory.correlation_map("tanh", 1.1, 1.0), "c must lie between -1 and 1, but is 1.1"),
        (
            lambda: theory.correlation_map("tanh", 0.0, 1.0, q=-2.0),
            r"q must lie between 0 and 1e\+280, but is -2.0",
        ),
        (
            lambda: theory.signal_profile("tanh", 3, 1.0, q0=-1.0),
            r"q0 must lie between 0 and 1e\+280, but is -1.0",
        ),
        (
            lambda: theory.signal_profile("tanh", 3, -1.0),
            r"sigma_w must lie between 0 and 1e\+10, but is -1.0",
        ),
        (lambda: theory.signal_profile("tanh", 0, 1.0), "depth must be at least 1, but is 0"),
        (lambda: theory.gradient_profile("tanh", 0, 1.0), "depth must be at least 1, but is 0"),
        (
            lambda: theory.gradient_profile("tanh", 3, 1.0, math.inf),
            "sigma_b must lie between 0 and .*, but is inf",
        ),
        (lambda: theory.born_dead_probability(0, 3), "depth must be at least 1, but is 0"),
        (lambda: theory.born_dead_probability(3, 0), "width must be at least 1, but is 0"),
        (lambda: theory.length_second_moment(0, 3), "depth must be at least 1, but is 0"),
        (lambda: theory.length_second_moment(3, -1), "width must be at least 1, but is -1"),
        (lambda: theory.lyapunov_exponent(0), "width must be at least 1, but is 0"),
        (lambda: theory.lyapunov_exponent(3, 0.0), "sigma_w must be above 0"),
        (lambda: theory.lyapunov_exponent(3, -1.0), "sigma_w must lie between 0 and"),
        (lambda: theory.mean_singular_value(0, 1.0), "width must be at least 1, but is 0"),
        (lambda: theory.mean_singular_value(3, -1.0), "variance must lie between 0 and"),
        (
            lambda: theory.relu_angle_map(90.0),
            r"theta must lie between 0 and pi \(it is in radians\), but is 90.0",
        ),
        (lambda: theory.relu_angle_map(math.nan), "theta must lie between 0 and pi"),
        (
            lambda: theory.gaussian_mean(torch.tanh, -1.0),
            r"variance must be between 0 and 1e\+280, but is -1.0",
        ),
        (
            lambda: theory.gaussian_mean(torch.tanh, [1.0, math.nan]),
            r"variance must be between 0 and 1e\+280",
        ),
        (lambda: theory.gaussian_mean(torch.sum), r"element by element, but made shape \(\) from shape"),
    ],
)
def test_number_out_of_range_is_rejected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.fixed_point("tanh", "1"), "sigma_w must be a number, but is '1'"),
        (lambda: theory.fixed_point("tanh", 1.0, None), "sigma_b must be a number, but is None"),
        (lambda: theory.length_map("tanh", True, 1.0), "q must be a number, but is True"),
        (lambda: theory.born_dead_probability(3.0, 2), "depth must be an integer, but is 3.0"),
        (lambda: theory.lyapunov_exponent(True), "width must be an integer, but is True"),
        (lambda: theory.signal_profile("tanh", [3], 1.0), r"depth must be an integer, but is \[3\]"),
    ],
)
def test_what_is_no_number_is_rejected(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_numpy_numbers_are_accepted():
    assert theory.born_dead_probability(np.int64(2), np.int32(1)) == 0.75
    assert theory.fixed_point("relu", np.float32(1.0), np.float64(1.0)) == 2.0
