"""Initialisation schemes: the property that defines each, what it keeps through depth, and its errors."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from helpers import activations, initialization, networks

FAN_IN, FAN_OUT = 300, 200
X = torch.randn(500, 40, generator=torch.Generator().manual_seed(0)) * 3 + 1
OPTIONS = {"lsuv": {"x": X}, "normal": {"std": 0.3}}


def one_layer(scheme, fan_in=FAN_IN, fan_out=FAN_OUT, bias=True, activation="relu", seed=0, **options):
    layer = nn.Linear(fan_in, fan_out, bias=bias)
    initialization.initialize(layer, scheme, activation=activation, seed=seed, **options)
    return layer


def multilayer(scheme, seed=0, hidden=(30, 30), activation="tanh", n=40):
    layers = []
    for fan_in, fan_out in zip((n, *hidden), hidden, strict=False):
        layers += [nn.Linear(fan_in, fan_out), activations.make(activation)]
    model = nn.Sequential(*layers, nn.Linear(hidden[-1], 10))
    initialization.initialize(model, scheme, activation=activation, seed=seed, **OPTIONS.get(scheme, {}))
    return model


# ---------------------------------------------------------------------------------------------------------------
# What defines each scheme


@pytest.mark.parametrize(
    ("scheme", "options", "std"),
    [
        ("lecun", {}, math.sqrt(1 / FAN_IN)),
        ("lecun", {"gain": 3.0}, 3 * math.sqrt(1 / FAN_IN)),
        ("he", {}, math.sqrt(2 / FAN_IN)),
        ("he", {"activation": "tanh"}, math.sqrt(1 / FAN_IN)),
        ("he", {"gain": 0.5}, 0.5 * math.sqrt(1 / FAN_IN)),
        ("normal", {"std": 0.05}, 0.05),
    ],
)
def test_gaussian_schemes_draw_normal_weights_of_their_standard_deviation_and_zero_biases(
    scheme, options, std
):
    layer = one_layer(scheme, **options)
    weights = layer.weight.detach().flatten().double().numpy()
    assert stats.kstest(weights, "norm", args=(0, std)).pvalue > 0.01
    assert weights.std() == pytest.approx(std, rel=0.02)
    assert layer.bias.count_nonzero() == 0


@pytest.mark.parametrize("scheme", ["lecun", "xavier", "he", "orthogonal", "normal"])
def test_biases_are_drawn_where_they_are_asked_for_and_the_weights_stay(scheme):
    options = OPTIONS.get(scheme, {})
    plain = one_layer(scheme, fan_out=3000, **options)
    layer = one_layer(scheme, fan_out=3000, bias_std=0.3, **options)
    assert torch.equal(layer.weight, plain.weight)
    assert stats.kstest(layer.bias.detach().double().numpy(), "norm", args=(0, 0.3)).pvalue > 0.01


@pytest.mark.parametrize("gain", [None, 2.0])
def test_xavier_draws_uniform_weights_within_its_bound_and_zero_biases(gain):
    layer = one_layer("xavier", gain=gain)
    bound = (gain or 1.0) * math.sqrt(6 / (FAN_IN + FAN_OUT))
    weights = layer.weight.detach().flatten().double().numpy()
    assert stats.kstest(weights, "uniform", args=(-bound, 2 * bound)).pvalue > 0.01
    assert weights.var() == pytest.approx((gain or 1.0) ** 2 * 2 / (FAN_IN + FAN_OUT), rel=0.02)
    assert np.abs(weights).max() <= bound
    assert layer.bias.count_nonzero() == 0


def test_torch_draws_weights_and_biases_from_nn_linears_default_distribution():
    bound = 1 / math.sqrt(FAN_IN)
    mine = one_layer("torch", fan_out=3000)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        default = nn.Linear(FAN_IN, 3000)
    for found, expected in [(mine.weight, default.weight), (mine.bias, default.bias)]:
        found, expected = (
            values.detach().flatten()[:50_000].double().numpy() for values in (found, expected)
        )
        assert stats.ks_2samp(found, expected).pvalue > 0.01
        assert stats.kstest(found, "uniform", args=(-bound, 2 * bound)).pvalue > 0.01
    assert mine.weight.var().item() == pytest.approx(1 / (3 * FAN_IN), rel=0.01)


@pytest.mark.parametrize(("fan_in", "fan_out"), [(40, 40), (60, 40), (40, 60)])
@pytest.mark.parametrize(("activation", "gain"), [("relu", math.sqrt(2)), ("tanh", 1.0)])
def test_orthogonal_weights_are_the_gain_times_an_orthonormal_matrix(fan_in, fan_out, activation, gain):
    layer = one_layer("orthogonal", fan_in, fan_out, activation=activation)
    singular_values = torch.linalg.svdvals(layer.weight.detach())
    torch.testing.assert_close(singular_values, torch.full((min(fan_in, fan_out),), gain))
    assert layer.bias.count_nonzero() == 0


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "rrelu"])
def test_lsuv_gives_every_linear_output_variance_1_on_its_inputs(activation):
    model = multilayer("lsuv", hidden=(30,) * 8, activation=activation)
    h = X
    for module in model.eval():
        h = module(h)
        if isinstance(module, nn.Linear):
            assert h.var().item() == pytest.approx(1, abs=initialization._LSUV_TOLERANCE)
            values = torch.linalg.svdvals(module.weight.detach())  # a scaled orthonormal matrix
            torch.testing.assert_close(values / values[0], torch.ones_like(values))


def test_lsuv_leaves_no_hook_and_the_mode_as_it_was():
    model = multilayer("lsuv")
    assert all(not module._forward_hooks and module.training for module in model.modules())


def test_rai_draws_one_entry_of_each_row_from_beta_2_1_and_the_rest_from_its_gaussian():
    fan_in, fan_out = 400, 5000
    layer = one_layer("rai", fan_in, fan_out)
    rows = torch.cat([layer.weight, layer.bias[:, None]], dim=1).detach().double()
    std = 0.6007 / math.sqrt(fan_in)
    largest, column = rows.max(
        dim=1
    )  # nearly always the entry from Beta(2, 1): the Gaussian ends at about 4 std
    clear = largest > 5 * std
    assert clear.double().mean().item() == pytest.approx(1 - (5 * std) ** 2, abs=0.01)
    upper = (largest[clear].square().numpy() - (5 * std) ** 2) / (1 - (5 * std) ** 2)  # squares are uniform
    assert stats.kstest(upper, "uniform").pvalue > 0.01
    counts = np.bincount(column[clear].numpy(), minlength=fan_in + 1)
    assert stats.chisquare(counts).pvalue > 0.01
    assert counts[-1] > 0  # the bias is one of the places
    rest = rows[clear]
    rest = rest[torch.arange(fan_in + 1) != column[clear, None]].numpy()
    assert rest.std() == pytest.approx(std, rel=0.005)
    assert stats.kstest(rest[:100_000], "norm", args=(0, std)).pvalue > 0.01


def test_rai_without_biases_still_gives_each_row_its_positive_entry():
    layer = one_layer("rai", 2, 2000, bias=False)
    positive_rows = (layer.weight > 0).any(dim=1)
    assert positive_rows.all()


def test_rai_networks_are_born_dead_less_often_than_he_networks():
    def born_dead(scheme):
        dead = 0
        for seed in range(150):
            model = networks.mlp(2, 1, hidden=[2] * 8, init=scheme, seed=seed)
            with torch.no_grad():
                dead += (model[:-1](X[:100, :2]) == 0).all().item()
        return dead / 150

    assert born_dead("rai") + 0.2 < born_dead("he")


# ---------------------------------------------------------------------------------------------------------------
# What the schemes keep through depth


def test_he_keeps_the_mean_square_length_through_relu_layers():
    depth, width, n_seeds = 6, 64, 300
    x = torch.randn(width, generator=torch.Generator().manual_seed(1)).double()
    build = functools.partial(networks.mlp, width, 10, hidden=[width] * depth, init="he")
    lengths = torch.empty(n_seeds, depth, dtype=torch.float64)
    for seed in range(n_seeds):
        model, h = build(seed=seed).double(), x
        for i in range(1, depth + 1):
            h = torch.relu(model.get_submodule(f"linear_{i}")(h))
            lengths[seed, i - 1] = h.square().sum() / x.square().sum()
    # The second moment is (1 + 5/n)^depth: the standard error of the mean over seeds follows.
    for i in range(depth):
        error = math.sqrt(((1 + 5 / width) ** (i + 1) - 1) / n_seeds)
        assert lengths[:, i].mean().item() == pytest.approx(1, abs=3 * error)


def test_xavier_keeps_the_mean_square_gradient_through_linear_layers():
    depth, width, n_seeds = 6, 48, 300
    generator = torch.Generator().manual_seed(2)
    x, delta = torch.randn(2, width, generator=generator)
    ratios = []
    for seed in range(n_seeds):
        model = networks.mlp(
            width, width, hidden=[width] * depth, activation="identity", init="xavier", seed=seed
        )
        z = x.clone().requires_grad_()
        model(z).backward(delta)
        ratios.append((z.grad.square().sum() / delta.square().sum()).item())
    error = np.std(ratios, ddof=1) / math.sqrt(n_seeds)
    assert error < 0.06
    assert np.mean(ratios) == pytest.approx(1, abs=3 * error)


def test_orthogonal_keeps_every_length_exactly_through_linear_layers():
    model = networks.mlp(40, 40, hidden=[40] * 20, activation="identity", init="orthogonal", seed=0)
    torch.testing.assert_close(model(X).norm(dim=1), X.norm(dim=1), rtol=1e-4, atol=0)


# ---------------------------------------------------------------------------------------------------------------
# Gains


@pytest.mark.parametrize(
    ("activation", "gain"),
    [
        ("relu", math.sqrt(2)),
        ("gelu", math.sqrt(2)),
        ("softplus", math.sqrt(2)),
        ("identity", 1),
        ("tanh", 1),
        ("sigmoid", 1),
        ("softsign", 1),
        ("leaky_relu", math.sqrt(2 / (1 + 0.01**2))),
        ("prelu", math.sqrt(2 / (1 + 0.25**2))),
        ("rrelu", math.sqrt(2 / (1 + (11 / 48) ** 2))),
        (functools.partial(activations.make, "leaky_relu", negative_slope=0.5), math.sqrt(2 / 1.25)),
        (nn.LeakyReLU(1.0), 1),
    ],
)
def test_the_gain_follows_from_the_slope_of_the_negative_side(activation, gain):
    assert initialization.gain_of(activation) == pytest.approx(gain, rel=1e-6)


@pytest.mark.parametrize("name", ["relu", "leaky_relu"])
def test_the_gain_keeps_the_second_moment_of_a_normal_input(name):
    z = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0)).double()
    square = activations.make(name)(initialization.gain_of(name) * z).square().mean().item()
    assert square == pytest.approx(1, abs=0.01)


# ---------------------------------------------------------------------------------------------------------------
# Seeds


@pytest.mark.parametrize("scheme", initialization.SCHEMES)
def test_the_seed_alone_decides_and_the_global_random_state_is_left_alone(scheme):
    model = multilayer(scheme)
    drawn = []
    for global_seed, seed in [(1, 5), (2, 5), (2, 6)]:
        torch.manual_seed(global_seed)
        state = torch.get_rng_state()
        initialization.initialize(model, scheme, activation="tanh", seed=seed, **OPTIONS.get(scheme, {}))
        assert torch.equal(torch.get_rng_state(), state)
        drawn.append(nn.utils.parameters_to_vector(model.parameters()).detach())
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[1], drawn[2])


def test_layers_of_one_model_are_drawn_independently():
    first, second = (layer for _, layer in initialization.linear_layers(multilayer("he", n=30))[:2])
    assert abs(np.corrcoef(first.weight.detach().flatten(), second.weight.detach().flatten())[0, 1]) < 0.1


def test_inputs_from_the_same_seed_are_not_the_weights():
    layer = one_layer("he", seed=5)
    numbers = torch.randn(FAN_OUT, FAN_IN, generator=torch.Generator().manual_seed(5))
    assert abs(np.corrcoef(layer.weight.detach().flatten(), numbers.flatten())[0, 1]) < 0.02


def test_other_modules_keep_their_parameters():
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.PReLU(init=0.3))
    nn.init.constant_(model[1].weight, 7.0)
    initialization.initialize(model, "he", activation="relu", seed=0)
    assert (model[1].weight == 7).all()
    assert model[2].weight.item() == pytest.approx(0.3)


@pytest.mark.parametrize("scheme", initialization.SCHEMES)
def test_layers_without_biases_can_be_drawn_in_every_scheme(scheme):
    layer = one_layer(scheme, fan_in=40, bias=False, **OPTIONS.get(scheme, {}))
    assert layer.weight.isfinite().all()


def test_linear_layers_come_with_their_names_in_order():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Sequential(nn.Linear(3, 4)))
    assert initialization.linear_layers(model) == [("0", model[0]), ("2.0", model[2][0])]


# ---------------------------------------------------------------------------------------------------------------
# At the door


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"scheme": "kaiming"}, ValueError, ["'kaiming'", ", ".join(initialization.SCHEMES)]),
        ({"activation": "swish"}, ValueError, ["'swish'", "relu"]),
        ({"scheme": "torch", "activation": "swish"}, ValueError, ["'swish'"]),
        ({"gain": 0.0}, ValueError, ["gain", "above 0", "0.0"]),
        ({"gain": math.inf}, ValueError, ["gain", "finite", "inf"]),
        ({"scheme": "torch", "gain": 2.0}, ValueError, ["'torch' takes no gain", "lecun, xavier, he, orthogonal"]),
        ({"std": 0.1}, ValueError, ["'he' takes no std", "normal"]),
        ({"scheme": "torch", "bias_std": 0.1}, ValueError, ["'torch' takes no bias_std", "lecun, xavier"]),
        ({"bias_std": -0.1}, ValueError, ["bias_std", "above 0", "-0.1"]),
        ({"scheme": "normal"}, ValueError, ["'normal' needs std"]),
        ({"scheme": "normal", "std": -0.1}, ValueError, ["std", "-0.1"]),
        ({"scheme": "normal", "std": math.nan}, ValueError, ["std", "nan"]),
        ({"scheme": "lsuv"}, ValueError, ["'lsuv' needs x"]),
        ({"x": X}, ValueError, ["'he' takes no x", "lsuv"]),
        ({"scheme": "lsuv", "x": X[:, :7]}, ValueError, ["cannot take x of shape (500, 7)"]),
        ({"scheme": "lsuv", "x": torch.zeros(9, 40)}, ValueError, ["variance 0.0", "inputs that differ"]),
        ({"scheme": "lsuv", "x": X * math.nan}, ValueError, ["variance nan"]),
        ({"model": nn.Sequential(nn.ReLU())}, ValueError, ["Sequential has none"]),
        ({"seed": -1}, ValueError, ["-1", "0 or above"]),
        ({"seed": 0.5}, TypeError, ["0.5", "integer"]),
        ({"seed": True}, TypeError, ["True", "integer"]),
    ],
)  # fmt: skip
def test_bad_input_is_met_at_the_door(changes, error, words):
    model = changes.get("model", nn.Linear(40, 5))
    arguments = {"scheme": "he", "activation": "relu", "seed": 0} | changes
    arguments.pop("model", None)
    with pytest.raises(error) as caught:
        initialization.initialize(model, **arguments)
    for word in words:
        assert word in str(caught.value)


def test_lsuv_refuses_a_layer_that_takes_no_part():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(40, 5), nn.Linear(40, 5)

        def forward(self, x):
            return self.used(x)

    with pytest.raises(ValueError, match="'idle' takes no part"):
        initialization.initialize(Idle(), "lsuv", activation="relu", seed=0, x=X)


# ---------------------------------------------------------------------------------------------------------------
# Looks-linear


def mirrored(hidden=(30,) * 6, activation="relu", seed=0):
    layers = []
    for fan_in, fan_out in zip((15, *hidden), hidden, strict=False):
        layers += [nn.Linear(fan_in, fan_out), activations.make(activation)]
    model = nn.Sequential(*layers, nn.Linear(hidden[-1], 10)).double()
    initialization.looks_linear(model, activation=activation, seed=seed)
    return model


def test_a_network_that_looks_linear_is_linear():
    model = mirrored()
    a, b = torch.randn(2, 20, 15, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(model(3 * a - 2 * b), 3 * model(a) - 2 * model(b), rtol=1e-10, atol=1e-10)
    jacobian = torch.func.jacrev(model[:-1])(a[0])
    torch.testing.assert_close(torch.linalg.svdvals(jacobian), torch.ones(15).double(), rtol=1e-5, atol=0)


def test_looks_linear_keeps_lengths_where_layers_widen_and_biases_at_zero():
    model = mirrored((30, 50, 64))
    x = torch.randn(20, 15, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(model[:-1](x).norm(dim=1), x.norm(dim=1), rtol=1e-5, atol=0)
    assert all((layer.bias == 0).all() for _, layer in initialization.linear_layers(model))


def test_the_seed_alone_decides_what_looks_linear():
    first, again, other = (mirrored(seed=seed)[2].weight for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    model = mirrored()
    state = torch.random.get_rng_state()
    initialization.looks_linear(model, activation=nn.ReLU, seed=1)
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.equal(model[2].weight, other)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"hidden": (30, 31)}, r"even number of units.*\[30, 31\]"),
        ({"activation": "tanh"}, "needs ReLU, but the activation is Tanh"),
        ({"seed": -1}, "seed must be 0 or above"),
    ],
)
def test_looks_linear_meets_bad_input_at_the_door(arguments, words):
    with pytest.raises(ValueError, match=words):
        mirrored(**arguments)
    with pytest.raises(ValueError, match="even number"):
        initialization.looks_linear(nn.Linear(4, 4), seed=0)
