"""The catalogue of activations: each against its formula, under vmap, and the two that are this package's own."""

from __future__ import annotations

import copy
import doctest
import math
import pickle
from functools import partial

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional

from helpers import activations, data, networks, training

Z = torch.cat([torch.linspace(-6, 6, 121), torch.tensor([-40.0, 40.0])]).double()


def normal_mean(function):
    """Integrate over a standard normal variable; zero, where some of the functions have a kink, is a node."""
    z = torch.linspace(-12, 12, 1_200_001, dtype=torch.float64)
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    return torch.trapezoid(function(z) * density, z).item()


def below_and_above_zero(below, above):
    return lambda z: torch.where(z < 0, below(z), above(z))


SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
FORMULAS = {
    "identity": lambda z: z,
    "sigmoid": lambda z: 1 / (1 + torch.exp(-z)),
    "tanh": lambda z: 1 - 2 / (1 + torch.exp(2 * z)),
    "softsign": lambda z: z / (1 + z.abs()),
    "relu": lambda z: z * (z > 0),
    "leaky_relu": below_and_above_zero(lambda z: 0.01 * z, lambda z: z),
    "prelu": below_and_above_zero(lambda z: 0.25 * z, lambda z: z),
    "rrelu": below_and_above_zero(lambda z: 11 / 48 * z, lambda z: z),  # in evaluation
    "elu": below_and_above_zero(torch.expm1, lambda z: z),
    "selu": below_and_above_zero(
        lambda z: SELU_SCALE * SELU_ALPHA * torch.expm1(z), lambda z: SELU_SCALE * z
    ),
    "gelu": lambda z: z * (1 + torch.erf(z / math.sqrt(2))) / 2,
    "silu": lambda z: z / (1 + torch.exp(-z)),
    "mish": lambda z: z * torch.tanh(torch.log1p(torch.exp(z))),
    "softplus": lambda z: torch.logaddexp(z, torch.zeros_like(z)),
    "shifted_softplus": lambda z: torch.logaddexp(z, torch.zeros_like(z)) - 0.8060591833474398,
    "shifted_relu": lambda z: z * (z > 0) - 0.3989422804014327,
    "relu_squared": lambda z: z**2 * (z > 0),
}


def test_the_formulas_of_this_file_are_those_of_the_whole_catalogue():
    assert tuple(FORMULAS) == activations.NAMES


@pytest.mark.parametrize("name", activations.NAMES)
def test_every_activation_is_its_formula(name):
    module = activations.make(name).double().eval()
    torch.testing.assert_close(
        module(Z), FORMULAS[name](Z), rtol=0, atol=1e-7
    )  # torch's Softplus: z above 20


@pytest.mark.parametrize("name", activations.NAMES)
def test_every_activation_keeps_any_shape_and_dtype(name):
    module = activations.make(name)
    assert module(torch.ones(2, 3, 4)).shape == (2, 3, 4)
    assert module.double()(torch.ones(2, 3, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("name", activations.NAMES)
def test_every_activation_works_under_vmap_forward_and_backward(name):
    generator = torch.Generator().manual_seed(0)
    models = [nn.Sequential(nn.Linear(4, 5), activations.make(name)).double() for _ in range(3)]
    for model in models:  # PReLU's slope too
        for parameter in model.parameters():
            nn.init.normal_(parameter, generator=generator)
    x = torch.randn(3, 6, 4, generator=generator, dtype=torch.float64)
    stacked = models[0]
    if name == "rrelu":  # slopes drawn outside of vmap are the way to train it there
        stacked[1].slopes = torch.rand(6, 5, generator=generator, dtype=torch.float64)
    parameters, buffers = stack_module_state(models)
    outputs = vmap(lambda p, b, x: functional_call(stacked, (p, b), (x,)))(parameters, buffers, x)
    gradients = torch.autograd.grad(outputs.square().sum(), list(parameters.values()))
    for k, model in enumerate(models):
        if name == "rrelu":
            model[1].slopes = stacked[1].slopes
        output = model(x[k])
        expected = torch.autograd.grad(output.square().sum(), list(model.parameters()))
        torch.testing.assert_close(outputs[k], output)
        for found, gradient in zip(gradients, expected, strict=True):
            torch.testing.assert_close(found[k], gradient)


@pytest.mark.parametrize("name", [name for name in activations.NAMES if name != "rrelu"])
def test_activations_are_torchs_own_where_torch_has_them(name):
    own = {
        "shifted_softplus": activations.ShiftedSoftplus,
        "shifted_relu": activations.ShiftedReLU,
        "relu_squared": activations.ReLUSquared,
    }
    kind = type(activations.make(name))
    assert kind is own.get(name, getattr(nn, kind.__name__, None))


@pytest.mark.parametrize(
    ("name", "mean", "square"),
    [
        ("identity", 0, 1),
        ("relu", 1 / math.sqrt(2 * math.pi), 1 / 2),
        ("shifted_relu", 0, 1 / 2 - 1 / (2 * math.pi)),
        ("relu_squared", 1 / 2, 3 / 2),
        ("leaky_relu", 0.99 / math.sqrt(2 * math.pi), (1 + 0.01**2) / 2),
        ("rrelu", 37 / 48 / math.sqrt(2 * math.pi), (1 + (11 / 48) ** 2) / 2),
        ("gelu", 1 / (2 * math.sqrt(math.pi)), 1 / 3 + 1 / (2 * math.pi * math.sqrt(3))),
        ("selu", 0, 1),
    ],
)
def test_moments_under_a_standard_normal_input_are_those_in_closed_form(name, mean, square):
    module = activations.make(name).double().eval()
    assert normal_mean(module) == pytest.approx(mean, abs=1e-8)
    assert normal_mean(lambda z: module(z).square()) == pytest.approx(square, abs=1e-8)


def test_softplus_has_mean_0_806_and_its_shifted_form_mean_0_under_a_standard_normal_input():
    assert normal_mean(activations.make("softplus")) == pytest.approx(0.806, abs=1e-4)
    assert normal_mean(activations.make("softplus")) == pytest.approx(activations.SOFTPLUS_MEAN, abs=1e-8)
    assert normal_mean(activations.make("shifted_softplus")) == pytest.approx(0, abs=1e-8)


def test_shifted_softplus_has_the_slope_of_softplus():
    slopes = []
    for name in ("softplus", "shifted_softplus"):
        z = Z.clone().requires_grad_()
        activations.make(name)(z).sum().backward()
        slopes.append(z.grad)
    assert torch.equal(*slopes)


def test_parameters_reach_the_module():
    z = torch.tensor([-1.0, 2.0])
    torch.testing.assert_close(
        activations.make("leaky_relu", negative_slope=0.1)(z), torch.tensor([-0.1, 2.0])
    )
    sharp = activations.make("softplus", beta=50.0)
    torch.testing.assert_close(sharp(z), torch.tensor([0.0, 2.0]))
    for shifted, plain in (("shifted_relu", "relu"), ("shifted_softplus", "softplus")):
        module = activations.make(shifted, shift=0.25)
        torch.testing.assert_close(module(z), activations.make(plain)(z) - 0.25)
        assert "shift=0.25" in repr(module)


def test_softplus_can_be_given_the_mean_of_relu():
    shift = activations.SOFTPLUS_MEAN - activations.RELU_MEAN
    module = activations.make("shifted_softplus", shift=shift).double()
    assert normal_mean(module) == pytest.approx(normal_mean(activations.make("relu")), abs=1e-8)


def test_each_call_makes_a_module_of_its_own():
    assert activations.make("prelu").weight is not activations.make("prelu").weight


def test_rrelu_in_training_multiplies_negative_inputs_by_uniform_slopes():
    module = activations.make("rrelu", lower=0.2, upper=0.6)
    z = torch.randn(200_000, generator=torch.Generator().manual_seed(0)).double()
    h = module(z)
    slopes = (h / z)[z < 0]
    assert torch.equal(h[z >= 0], z[z >= 0])
    assert slopes.min() >= 0.2 - 1e-12
    assert slopes.max() <= 0.6 + 1e-12
    assert slopes.mean().item() == pytest.approx(0.4, abs=0.002)
    assert slopes.var().item() == pytest.approx(0.4**2 / 12, rel=0.02)


def test_rrelu_in_evaluation_multiplies_negative_inputs_by_the_mean_slope():
    module = activations.make("rrelu", lower=0.2, upper=0.6).eval()
    torch.testing.assert_close(module(torch.tensor([-1.0, 0.0, 3.0])), torch.tensor([-0.4, 0.0, 3.0]))


def test_rrelu_in_evaluation_equals_torchs_and_has_the_same_interval():
    mine, torchs = activations.make("rrelu").eval(), nn.RReLU().eval()
    torch.testing.assert_close(mine(Z), torchs(Z))
    assert (mine.lower, mine.upper) == (torchs.lower, torchs.upper)


def test_rrelu_gradient_is_the_slope_that_was_drawn():
    module = activations.make("rrelu")
    z = torch.tensor([-2.0, -1.0, 1.0], requires_grad=True)
    h = module(z)
    h.sum().backward()
    torch.testing.assert_close(z.grad, (h / z).detach())


def test_rrelu_slopes_come_anew_with_each_call_and_again_from_the_same_seed():
    module, z = activations.make("rrelu", seed=3), -torch.ones(50)
    first, second = module(z), module(z)
    assert not torch.equal(first, second)
    module.reseed(3)
    assert torch.equal(module(z), first)
    assert torch.equal(activations.make("rrelu", seed=3)(z), first)
    assert not torch.equal(activations.make("rrelu", seed=4)(z), first)


def test_rrelu_slopes_are_the_same_numbers_in_every_dtype():
    shape = torch.Size([20])
    single = activations.make("rrelu").draw(shape, dtype=torch.float32)
    double = activations.make("rrelu").draw(shape, dtype=torch.float64)
    assert torch.equal(single, double.float())


def test_rrelu_neither_uses_nor_changes_the_global_random_state():
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        results.append(activations.make("rrelu")(-torch.ones(50)))
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(*results)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_a_copy_of_rrelu_goes_on_where_the_original_stands_and_on_its_own(duplicate):
    module, z = activations.make("rrelu", seed=3), -torch.ones(50)
    module(z)
    twin = duplicate(module)
    for _ in range(2):
        twins_own = twin(z)
        assert torch.equal(module(z), twins_own)


def test_rrelu_shows_its_interval():
    assert repr(activations.make("rrelu", lower=0.2, upper=0.6)) == "RReLU(lower=0.2, upper=0.6)"


def test_what_make_makes_is_an_activation_and_a_linear_layer_is_not():
    assert all(activations.is_activation(activations.make(name)) for name in activations.NAMES)
    assert activations.is_activation(activations.CrossedReLU(0.0, 0.1))
    assert not activations.is_activation(nn.Linear(2, 2))
    assert not activations.is_activation(nn.Sequential(nn.ReLU()))


def test_an_unknown_name_is_repeated_and_the_good_ones_are_listed():
    with pytest.raises(ValueError, match="'swish'") as caught:
        activations.make("swish")
    assert ", ".join(activations.NAMES) in str(caught.value)


def test_an_unknown_parameter_is_refused_with_the_name_of_the_activation():
    with pytest.raises(TypeError, match=r"'relu' cannot be made from \{'slope': 0.1\}.*slope"):
        activations.make("relu", slope=0.1)


def test_rrelu_refuses_an_interval_that_is_upside_down():
    with pytest.raises(ValueError, match=r"lower=0\.5 and upper=0\.2"):
        activations.make("rrelu", lower=0.5, upper=0.2)


def test_examples_in_the_docstrings_hold():
    result = doctest.testmod(activations)
    assert result.attempted > 0
    assert result.failed == 0


# --- The k most active units ---


def test_top_k_keeps_the_k_largest_and_no_negative_one():
    z = torch.tensor([[1.0, 3.0, 2.0, 0.5], [-1.0, -2.0, 0.5, -3.0]])
    kept = activations.TopK(2)(z)
    assert kept.tolist() == [[0.0, 3.0, 2.0, 0.0], [0.0, 0.0, 0.5, 0.0]]


def test_top_k_of_all_units_is_relu():
    assert torch.equal(activations.TopK(121)(Z[:121]), Z[:121].relu())


def test_top_k_passes_the_gradient_of_what_it_kept():
    z = torch.randn(5, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    kept = activations.TopK(3)(z)
    kept.sum().backward()
    assert torch.equal(z.grad, (kept != 0).double())


def test_top_k_works_under_vmap():
    z = torch.randn(4, 5, 9, generator=torch.Generator().manual_seed(0))
    module = activations.TopK(3)
    assert torch.equal(vmap(module)(z), torch.stack([module(one) for one in z]))


@pytest.mark.parametrize(("k", "error"), [(0, ValueError), (2.0, TypeError), (True, TypeError)])
def test_top_k_says_what_it_accepts(k, error):
    with pytest.raises(error, match="k must be"):
        activations.TopK(k)


CROSSINGS = [(0.0, 0.1), (0.2, 0.0), (0.1, 0.1), (-0.3, 0.5)]


@pytest.mark.parametrize(("forward", "backward"), CROSSINGS)
def test_crossed_relu_has_the_value_of_one_slope_and_the_gradient_of_the_other(forward, backward):
    z = Z.clone().requires_grad_()
    h = activations.CrossedReLU(forward, backward)(z)
    assert torch.equal(h, functional.leaky_relu(Z, forward))
    h.sum().backward()
    assert torch.equal(z.grad, torch.where(Z > 0, torch.ones_like(Z), torch.full_like(Z, backward)))


def test_relu_with_a_leaky_gradient_gives_exact_zeros():
    h = activations.CrossedReLU(0.0, 0.1)(torch.randn(999, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(h == 0, h <= 0)
    assert (h == 0).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_crossed_relu_is_the_custom_autograd_function_of_a_network():
    class ByHand(torch.autograd.Function):
        @staticmethod
        def forward(context, z):
            context.save_for_backward(z)
            return z.clamp(min=0)

        @staticmethod
        def backward(context, gradient):
            (z,) = context.saved_tensors
            return torch.where(z > 0, gradient, 0.1 * gradient)

    x = torch.randn(50, 40, generator=torch.Generator().manual_seed(1))
    gradients = []
    for apply in (ByHand.apply, activations.CrossedReLU(0.0, 0.1)):
        first, second = (
            torch.randn(40, 40, generator=torch.Generator().manual_seed(seed)).requires_grad_()
            for seed in (2, 3)
        )
        apply(apply(x @ first) @ second).square().sum().backward()
        gradients += [(first.grad, second.grad)]
    for by_hand, crossed in zip(*gradients, strict=True):
        torch.testing.assert_close(crossed, by_hand)


def test_crossed_relu_works_under_vmap():
    z = torch.randn(4, 5, 9, generator=torch.Generator().manual_seed(0))
    module = activations.CrossedReLU(0.0, 0.1)

    def slope(one):
        return grad(lambda z: module(z).sum())(one)

    assert torch.equal(vmap(module)(z), z.relu())
    assert torch.equal(vmap(slope)(z), torch.where(z > 0, 1.0, 0.1))


def test_a_crossed_relu_is_recorded_when_a_network_trains():
    trained = {}
    for arm, slopes in [("crossed", (0.0, 0.1)), ("uncrossed", (0.0, 0.0)), ("relu", None)]:
        build = partial(
            networks.mlp,
            64,
            10,
            hidden=[16, 16],
            activation="relu" if slopes is None else partial(activations.CrossedReLU, *slopes),
        )
        trained[arm] = training.train(build, data.load("digits"), seeds=2, lr=0.03, epochs=1, progress=False)
    assert len(trained["crossed"].layers) == 2 * 2 * 2
    start, end = (trained["crossed"].layers.query(f"layer == 1 and step {when} 0") for when in ("==", ">"))
    assert (start.zero_fraction > 0.3).all()
    assert (end.zero_fraction > 0.2).all()
    columns = ["train_loss", "validation_accuracy"]
    torch.testing.assert_close(
        *(torch.tensor(trained[arm].history[columns].to_numpy()) for arm in ("uncrossed", "relu")),
        rtol=1e-4,
        atol=1e-5,
    )
    assert trained["crossed"].history.train_loss.iloc[-1] != trained["uncrossed"].history.train_loss.iloc[-1]


@pytest.mark.parametrize("slopes", [(float("nan"), 0.1), (0.0, float("inf"))])
def test_crossed_relu_says_what_it_accepts(slopes):
    with pytest.raises(ValueError, match="_slope must be finite, but is"):
        activations.CrossedReLU(*slopes)


def test_crossed_relu_shows_its_slopes():
    assert repr(activations.CrossedReLU(0.0, 0.1)) == "CrossedReLU(forward_slope=0, backward_slope=0.1)"
