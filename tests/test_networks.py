"""Multilayer perceptrons from names: their modules, what they compute, their seeds, and their errors."""

from __future__ import annotations

import doctest
import functools
import math

import numpy as np
import pytest
import torch
from torch import nn

from helpers import activations, initialization, networks

X = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
INITS = [scheme for scheme in initialization.SCHEMES if scheme not in ("lsuv", "normal")]


def mlp(**parameters):
    return networks.mlp(6, 3, **({"hidden": [8, 8], "seed": 0} | parameters))


def state(model):
    return nn.utils.parameters_to_vector(model.parameters()).detach()


# ---------------------------------------------------------------------------------------------------------------
# Modules and what they compute


def test_modules_are_named_by_kind_and_layer():
    assert [name for name, _ in mlp(hidden=[8, 5]).named_children()] == [
        "linear_1", "activation_1", "linear_2", "activation_2", "output",
    ]  # fmt: skip


@pytest.mark.parametrize(("norm", "kind"), [("batch", nn.BatchNorm1d), ("layer", nn.LayerNorm)])
def test_normalisation_stands_between_linear_layer_and_activation(norm, kind):
    model = mlp(hidden=[8], norm=norm)
    assert [name for name, _ in model.named_children()] == ["linear_1", "norm_1", "activation_1", "output"]
    assert isinstance(model.norm_1, kind)


@pytest.mark.parametrize("residual", networks.RESIDUALS)
def test_residual_networks_are_made_of_one_block_a_hidden_layer(residual):
    model = mlp(residual=residual)
    assert [name for name, _ in model.named_children()] == ["input", "block_1", "block_2", "output"]
    assert [name for name, _ in model.block_2.named_children()] == ["activation", "linear"]
    model = mlp(residual=residual, norm="layer")
    assert [name for name, _ in model.named_children()] == ["input", "block_1", "block_2", "norm", "output"]
    assert [name for name, _ in model.block_2.named_children()] == ["norm", "activation", "linear"]


def test_widths_are_those_asked_for():
    model = mlp(hidden=[8, np.int64(5)])
    shapes = [tuple(layer.weight.shape) for _, layer in initialization.linear_layers(model)]
    assert shapes == [(8, 6), (5, 8), (3, 5)]
    assert model(X).shape == (50, 3)


@pytest.mark.parametrize("name", activations.NAMES)
def test_every_activation_has_a_module_of_its_own_in_each_layer(name):
    model = mlp(activation=name)
    assert type(model.activation_1) is type(activations.make(name))
    assert model.activation_1 is not model.activation_2
    assert model(X).shape == (50, 3)


def test_a_network_computes_its_layers_in_turn():
    model = mlp(activation="tanh")
    h = torch.tanh(X @ model.linear_1.weight.T + model.linear_1.bias)
    h = torch.tanh(h @ model.linear_2.weight.T + model.linear_2.bias)
    torch.testing.assert_close(model(X), h @ model.output.weight.T + model.output.bias)


@pytest.mark.parametrize(("residual", "scale"), [("plain", 1), ("scaled", 1 / math.sqrt(3))])
def test_a_residual_network_adds_its_branches_scaled_by_one_over_the_root_of_the_depth(residual, scale):
    model = mlp(hidden=[8] * 3, residual=residual, init="torch")
    h = model.input(X)
    for i in (1, 2, 3):
        linear = model.get_submodule(f"block_{i}").linear
        h = h + scale * (torch.relu(h) @ linear.weight.T + linear.bias)
    torch.testing.assert_close(model(X), model.output(h))


@pytest.mark.parametrize("norm", [None, *networks.NORMS])
@pytest.mark.parametrize("init", INITS)
def test_zero_makes_every_block_the_identity_at_first_but_not_its_gradient_zero(norm, init):
    model = mlp(hidden=[8] * 4, residual="zero", norm=norm, init=init)
    h = model.input(X)
    for i in range(1, 5):
        assert torch.equal(model.get_submodule(f"block_{i}")(h), h)
    model(X).square().sum().backward()
    assert model.block_1.linear.weight.grad.abs().max() > 0


def test_zero_without_normalisation_begins_as_a_linear_network():
    model = mlp(residual="zero", activation="tanh")
    torch.testing.assert_close(model(2 * X), 2 * model(X))


def test_the_activation_can_be_a_factory():
    model = mlp(activation=functools.partial(activations.make, "leaky_relu", negative_slope=0.3))
    assert model.activation_1.negative_slope == model.activation_2.negative_slope == 0.3
    he_std = math.sqrt(2 / (1 + 0.3**2) / 400)
    wide = networks.mlp(400, 3, hidden=[400], activation=lambda: nn.LeakyReLU(0.3), seed=0)
    assert wide.linear_1.weight.std().item() == pytest.approx(he_std, rel=0.02)


# ---------------------------------------------------------------------------------------------------------------
# Weights and seeds


@pytest.mark.parametrize("init", INITS)
def test_weights_are_those_of_the_scheme_and_biases_start_at_zero_where_it_says_so(init):
    model, other = mlp(init=init, seed=4), mlp(init="he", seed=9)
    initialization.initialize(other, init, activation="relu", seed=4)
    assert torch.equal(state(model), state(other))
    biases = torch.cat([layer.bias for _, layer in initialization.linear_layers(model)])
    assert bool(biases.count_nonzero()) == (init in ("torch", "rai"))


def test_a_scheme_that_needs_more_is_given_as_a_function():
    init = functools.partial(initialization.initialize, scheme="normal", std=0.1)
    wide = networks.mlp(300, 3, hidden=[300], init=init, seed=0)
    assert wide.linear_1.weight.std().item() == pytest.approx(0.1, rel=0.02)


@pytest.mark.parametrize("init", [*INITS, lambda model, *, activation, seed: None])
@pytest.mark.parametrize("residual", [None, "scaled"])
def test_same_seed_same_network_whatever_the_global_random_state_which_is_left_alone(init, residual):
    models = []
    for global_seed, seed in [(1, 5), (2, 5), (2, 6)]:
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        models.append(mlp(init=init, residual=residual, activation="prelu", norm="batch", seed=seed))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(state(models[0]), state(models[1]))
    assert not torch.equal(state(models[1]), state(models[2]))


def test_seeds_may_be_numpy_integers():
    assert torch.equal(state(mlp(seed=np.int64(5))), state(mlp(seed=5)))


@pytest.mark.parametrize("residual", [None, "plain"])
def test_rrelu_draws_slopes_of_its_own_in_each_layer_and_seed(residual):
    def slopes(seed):
        model = mlp(activation="rrelu", seed=seed, residual=residual)
        layers = [module for module in model.modules() if isinstance(module, activations.RReLU)]
        return [layer(-torch.ones(50)) for layer in layers]

    (first, second), (again, _), (other, _) = slopes(5), slopes(5), slopes(6)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert not torch.equal(first, other)


# ---------------------------------------------------------------------------------------------------------------
# At the door


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"activation": "swish"}, ValueError, ["'swish'", "relu"]),
        ({"init": "kaiming"}, ValueError, ["'kaiming'", "he"]),
        ({"init": "lsuv"}, ValueError, ["'lsuv' needs x"]),
        ({"init": "normal"}, ValueError, ["'normal' needs std"]),
        ({"norm": "group"}, ValueError, ["norm 'group'", "None, batch, layer"]),
        ({"residual": "dense"}, ValueError, ["residual 'dense'", "None, plain, scaled, zero"]),
        ({"hidden": []}, ValueError, ["empty", "[32]"]),
        ({"hidden": [8, 0]}, ValueError, ["each width in hidden", "1 or above", "0"]),
        ({"hidden": [8.0]}, TypeError, ["each width in hidden", "8.0"]),
        ({"hidden": [True]}, TypeError, ["each width in hidden", "True"]),
        ({"hidden": 32}, TypeError, ["sequence of widths", "32"]),
        ({"hidden": None}, TypeError, ["sequence of widths", "None"]),
        ({"hidden": [8, 9], "residual": "plain"}, ValueError, ["one width", "[8, 9]", "'plain'"]),
        ({"in_features": 0}, ValueError, ["in_features", "0"]),
        ({"out_features": 2.5}, TypeError, ["out_features", "2.5"]),
        ({"seed": -1}, ValueError, ["-1", "0 or above"]),
        ({"seed": 1.0}, TypeError, ["seed", "1.0"]),
        ({"seed": None}, TypeError, ["seed", "None"]),
        ({"activation": nn.ReLU()}, TypeError, ["factory", "functools.partial"]),
        ({"activation": 3}, TypeError, ["factory", "3"]),
        ({"activation": lambda: "relu"}, TypeError, ["nn.Module", "'relu'"]),
    ],
)
def test_bad_input_is_met_at_the_door(changes, error, words):
    arguments = {"in_features": 6, "out_features": 3, "hidden": [8, 8], "seed": 0} | changes
    with pytest.raises(error) as caught:
        networks.mlp(**arguments)
    for word in words:
        assert word in str(caught.value)


def test_an_error_on_the_way_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match="swish"):
        mlp(activation="swish")
    assert torch.equal(torch.get_rng_state(), before)


def test_examples_in_the_docstrings_hold():
    result = doctest.testmod(networks)
    assert result.attempted > 0
    assert result.failed == 0
