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


# ---------------------------------------------------------------------------------------------------------------
# Single units: killed and recycled


def preactivations(model, layer, x=X):
    """Run a network up to the input of an activation, in evaluation mode."""
    model.eval()
    for name, module in model.named_children():
        if name == f"activation_{layer}":
            return x
        x = module(x)
    raise AssertionError


def memories(model, value=1.0):
    """Make an optimizer's state that is full of one value."""
    return {
        slot: {name: torch.full_like(p, value) for name, p in model.named_parameters()}
        for slot in ("exp_avg", "exp_avg_sq")
    }


def off(model):
    """Set batch normalisation's running statistics to something other than 0 and 1."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model


@pytest.mark.parametrize("norm", [None, "batch", "layer"])
@pytest.mark.parametrize("layer", [1, 2])
def test_a_killed_unit_lies_its_margin_below_zero_and_the_others_stay(norm, layer):
    model = off(mlp(norm=norm))
    before = preactivations(model, layer)
    networks.kill_units(model, layer, [2, 5], x=X, margin=0.25)
    after = preactivations(model, layer)
    assert after[:, [2, 5]].amax(dim=0).tolist() == pytest.approx([-0.25, -0.25], abs=1e-5)
    others = [0, 1, 3, 4, 6, 7]
    assert after[:, others].equal(before[:, others])
    assert (after - before)[:, 2].tolist() == pytest.approx(
        [(after - before)[0, 2].item()] * len(X), abs=1e-5
    )


@pytest.mark.parametrize("layer", [1, 2])
def test_a_killed_unit_gets_a_gradient_of_exactly_zero(layer):
    model = mlp()
    networks.kill_units(model, layer, torch.arange(8) == 3, x=X, margin=1e-3)
    nn.functional.cross_entropy(model(X), torch.arange(50) % 3).backward()
    linear = model.get_submodule(f"linear_{layer}")
    assert not linear.weight.grad[3].any()
    assert linear.bias.grad[3] == 0
    assert (linear.weight.grad.abs().sum(dim=1) > 0).sum() >= 4


@pytest.mark.parametrize("norm", [None, "batch"])
def test_killing_forgets_only_what_the_optimizer_remembers_of_these_units(norm):
    model = mlp(norm=norm)
    state = memories(model)
    networks.kill_units(model, 1, [1, 4], x=X, margin=1.0, optimizer_state=state)
    own = {"linear_1.weight", "linear_1.bias"} | ({"norm_1.weight", "norm_1.bias"} if norm else set())
    for slot in state.values():
        for name, values in slot.items():
            rows = values.flatten(1).amax(dim=1) if values.dim() > 1 else values
            assert rows.tolist() == [float(not (name in own and i in (1, 4))) for i in range(len(rows))]


def test_killing_leaves_the_mode_and_the_running_statistics_as_they_were():
    model = mlp(norm="batch").train()
    before = {name: value.clone() for name, value in model.named_buffers()}
    networks.kill_units(model, 2, [0], x=X, margin=1.0)
    assert model.training
    assert all(value.equal(before[name]) for name, value in model.named_buffers())


@pytest.mark.parametrize("layer", [1, 2])
def test_recycling_a_dead_unit_leaves_the_outputs_bit_for_bit_and_gives_it_life(layer):
    model = mlp()
    networks.kill_units(model, layer, [2, 5], x=X, margin=0.5)
    before = model(X)
    networks.recycle_units(model, layer, [2, 5], seed=9)
    assert model(X).equal(before)
    assert ((preactivations(model, layer) > 0).any(dim=0)[[2, 5]]).all()


@pytest.mark.parametrize("init", INITS)
def test_recycled_weights_are_those_that_the_scheme_draws(init):
    model = mlp(activation="tanh")
    before = state(model)
    networks.recycle_units(model, 2, [0, 7], seed=3, init=init)
    layer = nn.Sequential(nn.Linear(8, 8))
    initialization.initialize(layer, init, activation="tanh", seed=3)
    assert model.linear_2.weight[[0, 7]].equal(layer[0].weight[[0, 7]])
    assert model.linear_2.bias[[0, 7]].equal(layer[0].bias[[0, 7]])
    assert not model.output.weight[:, [0, 7]].any()
    changed = (state(model) != before).sum()
    assert changed <= 2 * 8 + 2 + 2 * 3


def test_recycling_can_keep_the_outgoing_weights():
    model = mlp()
    before = model.linear_2.weight.clone()
    networks.recycle_units(model, 1, [3], seed=1, outgoing="keep")
    assert model.linear_2.weight.equal(before)


def test_recycling_forgets_what_the_optimizer_remembers_on_both_sides_of_the_units():
    model = mlp(norm="batch")
    model.norm_1.weight.data.fill_(3.0)
    state = memories(model)
    networks.recycle_units(model, 1, [6], seed=1, optimizer_state=state)
    for slot in state.values():
        for name, values in slot.items():
            expected = torch.ones_like(values)
            if name in ("linear_1.weight", "linear_1.bias", "norm_1.weight", "norm_1.bias"):
                expected[6] = 0.0
            elif name == "linear_2.weight":
                expected[:, 6] = 0.0
            assert values.equal(expected), name
    assert model.norm_1.weight.tolist() == [3.0] * 6 + [1.0, 3.0]


def test_recycling_no_unit_changes_nothing():
    model = mlp()
    before, memory = state(model), memories(model)
    networks.recycle_units(model, 1, [], seed=1, optimizer_state=memory)
    networks.recycle_units(model, 1, torch.zeros(8, dtype=torch.bool), seed=1, optimizer_state=memory)
    assert state(model).equal(before)
    assert all(values.all() for slot in memory.values() for values in slot.values())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"layer": 3}, ValueError, "layer must be from 1 to 2, the number of hidden layers, but is 3"),
        ({"layer": 0}, ValueError, "but is 0"),
        ({"layer": "activation_1"}, TypeError, "number of a hidden layer, from 1, but is 'activation_1'"),
        ({"model": nn.Sequential(nn.Linear(6, 3))}, ValueError, "no module activation_1; its modules are 0"),
        ({"model": mlp(residual="plain")}, ValueError, "without residual connections, .* input, block_1"),
        ({"units": [8]}, ValueError, r"numbers from 0 to 7, but are \[8\]"),
        ({"units": [-1]}, ValueError, r"but are \[-1\]"),
        ({"units": [0.5]}, TypeError, "integers, or a mask, but are of torch.float32"),
        ({"units": torch.ones(7, dtype=torch.bool)}, ValueError, r"the shape \(8,\), but has \(7,\)"),
    ],
)
def test_what_is_no_unit_is_met_at_the_door(change, error, message):
    arguments = {"model": mlp(), "layer": 1, "units": [0]} | change
    with pytest.raises(error, match=message):
        networks.kill_units(**arguments, x=X, margin=1.0)
    with pytest.raises(error, match=message):
        networks.recycle_units(**arguments, seed=0)


@pytest.mark.parametrize("margin", [0, -1.0, math.nan, math.inf])
def test_a_margin_is_above_zero(margin):
    with pytest.raises(ValueError, match="margin must be a finite number above 0, but is"):
        networks.kill_units(mlp(), 1, [0], x=X, margin=margin)


def test_a_diverged_network_has_no_units_to_kill():
    model = mlp()
    model.linear_1.weight.data[0] = math.nan
    with pytest.raises(ValueError, match="diverged"):
        networks.kill_units(model, 1, [0], x=X, margin=1.0)


def test_outgoing_weights_are_made_zero_or_kept():
    with pytest.raises(ValueError, match=r"unknown outgoing 'fresh'; the names are .*zero, keep"):
        networks.recycle_units(mlp(), 1, [0], seed=0, outgoing="fresh")
