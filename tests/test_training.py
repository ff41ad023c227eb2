"""`training.train` against the same training as a plain PyTorch loop, its frames, and its errors at the door."""

from __future__ import annotations

import functools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional

from helpers import activations, initialization, networks, training
from helpers.data import Dataset

BATCH = 10
STEPS = 100
RATES = (0.01, 0.05)
SEEDS = (3, 8)


def make_dataset(n=205, n_features=6, n_classes=3):
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(n_classes, n_features, generator=generator)
    parts = {}
    for split, size in [("train", n), ("validation", 40), ("test", 40)]:
        y = torch.arange(size) % n_classes
        parts[f"x_{split}"] = centres[y] + torch.randn(size, n_features, generator=generator)
        parts[f"y_{split}"] = y
    return Dataset(name="clusters", n_classes=n_classes, image_shape=(n_features,), **parts)


DATASET = make_dataset()


def build(**parameters):
    defaults = {"hidden": [8, 7], "activation": "tanh", "init": "he"}
    return functools.partial(networks.mlp, 6, 3, **(defaults | parameters))


TORCH_OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
}


def plain_loop(
    build,
    *,
    seed,
    lr,
    optimizer="sgd",
    clip_norm=None,
    warmup_steps=0,
    activation_penalty=0.0,
    normalize_gradients=False,
    decay_biases=True,
    interventions=None,
    epochs=5,
    **settings,
):
    """Train one network as every tutorial does, with the data order of `train`."""
    model = build(seed=seed).double().train()
    x, y = DATASET.x_train.double(), DATASET.y_train
    weights = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    biases = [parameter for parameter in model.parameters() if parameter.dim() == 1]
    groups = [
        {"params": weights},
        {"params": biases} if decay_biases else {"params": biases, "weight_decay": 0.0},
    ]
    optimize = TORCH_OPTIMIZERS[optimizer](groups, lr=lr, **({"weight_decay": 0.0} | settings))
    hidden = []
    for module in model.modules():
        if activations.is_activation(module):
            module.register_forward_hook(lambda module, inputs, output: hidden.append(output))
    step = 0
    for epoch in range(1, epochs + 1):
        order = training.data_order(seed, epoch, len(x))
        for batch in range(len(x) // BATCH):
            picked = order[batch * BATCH : (batch + 1) * BATCH]
            if interventions and step in interventions:
                slots = {slot for memory in optimize.state.values() for slot in memory} - {"step"}
                state = {
                    slot: {name: optimize.state[p][slot] for name, p in model.named_parameters()}
                    for slot in slots
                }
                interventions[step](training.RunningNetwork("network", lr, seed, step, model, state))
            hidden.clear()
            loss = functional.cross_entropy(model(x[picked]), y[picked])
            for h in hidden:
                loss = loss + activation_penalty * h.abs().sum(dim=1).mean()
            optimize.zero_grad()
            loss.backward()
            if normalize_gradients:
                for parameter in model.parameters():
                    parameter.grad /= parameter.grad.norm()
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
            step += 1
            for group in optimize.param_groups:
                group["lr"] = lr * (min(1, step / warmup_steps) if warmup_steps else 1)
            optimize.step()
    assert step == STEPS
    return model.eval()


def assert_equal_to_plain_loops(build, **settings):
    # RMSprop's first steps are ten times its learning rate: at 0.05 it is chaotic and magnifies rounding errors.
    rates = RATES if settings.get("optimizer", "sgd") == "sgd" else (0.001, 0.01)
    runs = training.train(
        build, DATASET, seeds=SEEDS, lr=rates, epochs=5, batch_size=BATCH, dtype=torch.float64, **settings
    )
    for lr in rates:
        for seed in SEEDS:
            expected = plain_loop(build, seed=seed, lr=lr, **settings).state_dict()
            found = runs.model(lr=lr, seed=seed).state_dict()
            assert list(found) == list(expected)
            for name, value in expected.items():
                torch.testing.assert_close(
                    found[name], value, rtol=0, atol=1e-9, msg=f"{name} at {lr}, {seed}"
                )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"momentum": 0.9},
        {"weight_decay": 0.1},
        {"weight_decay": 0.1, "decay_biases": False},
        {"optimizer": "adamw", "weight_decay": 0.1, "decay_biases": False},
        {"momentum": 0.9, "weight_decay": 0.1, "clip_norm": 0.5, "warmup_steps": 30},
        {"optimizer": "adam"},
        {"optimizer": "adam", "weight_decay": 0.1, "clip_norm": 0.1},
        {"optimizer": "adamw", "weight_decay": 0.1, "warmup_steps": 30},
        {"optimizer": "rmsprop"},
        {"optimizer": "rmsprop", "momentum": 0.9, "weight_decay": 0.1},
        {"clip_norm": 0.1},
        {"warmup_steps": 60},
        {"activation_penalty": 0.02},
        {"normalize_gradients": True},
    ],
    ids=lambda settings: ", ".join(f"{k}={v}" for k, v in settings.items()) or "sgd",
)
def test_weights_equal_a_plain_loop_under_every_optimizer_setting(settings):
    assert_equal_to_plain_loops(build(), **settings)


@pytest.mark.parametrize("name", activations.NAMES)
def test_weights_equal_a_plain_loop_for_every_activation(name):
    assert_equal_to_plain_loops(build(activation=name, init="xavier"))


@pytest.mark.parametrize("norm", networks.NORMS)
@pytest.mark.parametrize("residual", [None, "zero"])
def test_weights_and_running_statistics_equal_a_plain_loop_with_normalisation(norm, residual):
    assert_equal_to_plain_loops(build(norm=norm, hidden=[8, 8], residual=residual), momentum=0.9)


@pytest.mark.parametrize("residual", ["plain", "scaled"])
def test_weights_equal_a_plain_loop_with_skip_connections_around_relu(residual):
    assert_equal_to_plain_loops(build(hidden=[8, 8], activation="relu", residual=residual))


def test_weights_equal_a_plain_loop_for_the_activation_penalty_with_batch_norm_and_rrelu():
    assert_equal_to_plain_loops(build(activation="rrelu", norm="batch"), activation_penalty=0.02)


class TiedNetwork(nn.Module):
    """Uses one square layer twice, has one without bias, and calls one activation module for both."""

    def __init__(self, seed):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first, self.square = nn.Linear(6, 5, bias=False), nn.Linear(5, 5)
        self.activation, self.tied, self.last = nn.ReLU(inplace=True), nn.Linear(5, 5), nn.Linear(5, 3)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.5, generator=generator)
        self.tied.weight = self.square.weight

    def forward(self, x):
        return self.last(self.tied(self.activation(self.square(self.activation(self.first(x))))))


def test_weights_equal_a_plain_loop_for_a_module_of_the_users_own_with_tied_weights():
    assert_equal_to_plain_loops(lambda *, seed: TiedNetwork(seed), momentum=0.9)


class PeekingNetwork(nn.Module):
    """Holds its layers in a sequential container, but uses one of their (square) weights a second time."""

    def __init__(self, seed):
        super().__init__()
        self.layers = networks.mlp(6, 6, hidden=[6], activation="tanh", seed=seed)
        self.output = networks.mlp(6, 3, hidden=[4], activation="relu", seed=seed)

    def forward(self, x):
        return self.output(self.layers(x) @ self.layers.linear_1.weight)


def relus_in_every_place(*, seed):
    """Make a sequential network with a ReLU on the input, after tanh, and one that is used twice."""
    network, twice = networks.mlp(6, 3, hidden=[8, 8, 8], activation="relu", seed=seed), nn.ReLU()
    first, second, third, output = (module for _, module in initialization.linear_layers(network))
    return nn.Sequential(
        nn.ReLU(), first, nn.Tanh(), nn.ReLU(), second, twice, third, nn.Tanh(), twice, output
    )


def frozen(*, seed):
    """Make a network that trains its last two layers only."""
    network = build()(seed=seed)
    network.linear_1.requires_grad_(False)
    return network


@pytest.mark.parametrize("build", [lambda *, seed: PeekingNetwork(seed), relus_in_every_place, frozen])
def test_weights_equal_a_plain_loop_for_networks_of_other_makes(build):
    assert_equal_to_plain_loops(build, clip_norm=0.3)


def test_frozen_weights_stay_as_they_are_and_have_no_gradient_norm():
    runs = training.train(frozen, DATASET, seeds=[3], lr=0.1, epochs=1, batch_size=BATCH, weight_decay=0.1)
    assert torch.equal(runs.model().linear_1.weight, frozen(seed=3).linear_1.weight)
    assert not torch.equal(runs.model().linear_2.weight, frozen(seed=3).linear_2.weight)
    assert runs.layers.query("layer == 1").weight_gradient_norm.isna().all()
    assert runs.layers.query("layer == 2").weight_gradient_norm.gt(0).all()


def test_weight_gradient_of_a_layer_fed_by_a_tied_weight_is_that_of_the_one_weight():
    class Tied(nn.Module):
        def __init__(self, seed):
            super().__init__()
            self.layers = networks.mlp(6, 3, hidden=[6, 6], activation="tanh", seed=seed)
            self.layers.linear_2.weight = self.layers.linear_1.weight

        def forward(self, x):
            return self.layers(x)

    runs = training.train(lambda *, seed: Tied(seed), DATASET, seeds=1, lr=0.1, epochs=1, batch_size=BATCH)
    model = runs.model()
    functional.cross_entropy(model(DATASET.x_train), DATASET.y_train).backward()
    norm = model.layers.linear_1.weight.grad.norm().item()
    assert runs.layers.query("step == 20").weight_gradient_norm.tolist() == pytest.approx(
        [norm, norm], rel=1e-5
    )


def test_rrelu_slopes_differ_between_seeds_and_evaluation_uses_their_mean():
    runs = training.train(
        build(activation="rrelu"), DATASET, seeds=2, lr=0.0, epochs=1, batch_size=BATCH, dtype=torch.float64
    )
    first, second = (runs.model(seed=seed).activation_1 for seed in (0, 1))
    z = -torch.ones(50, dtype=torch.float64)
    torch.testing.assert_close(first(z), -torch.full((50,), 11 / 48, dtype=torch.float64))
    assert not torch.equal(first.train()(z), second.train()(z))


def test_one_seed_sees_the_same_data_in_every_arm_and_at_every_rate():
    arms = {"one": build(), "other": build()}
    together = training.train(arms, DATASET, seeds=[1], lr=RATES, epochs=2, batch_size=BATCH)
    alone = training.train(build(), DATASET, seeds=[1], lr=RATES[0], epochs=2, batch_size=BATCH)
    one, other = (together.history.query("arm == @arm").drop(columns="arm") for arm in arms)
    pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True))
    np.testing.assert_allclose(
        together.history.query("arm == 'one' and lr == @RATES[0]").train_loss,
        alone.history.train_loss,
        rtol=1e-5,
    )


def test_global_random_state_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    training.train(build(activation="rrelu"), DATASET, seeds=2, lr=0.1, epochs=1, batch_size=BATCH)
    assert torch.equal(torch.rand(3), expected)


def test_history_holds_what_the_returned_network_gives_on_each_split():
    runs = training.train(build(norm="batch"), DATASET, seeds=2, lr=RATES, epochs=3, batch_size=BATCH)
    assert sorted(set(runs.history.epoch)) == [0, 1, 2, 3]
    assert len(runs.history) == 2 * 2 * 4
    last = runs.history.query("epoch == 3 and lr == @RATES[1] and seed == 1").iloc[0]
    test = runs.test().query("lr == @RATES[1] and seed == 1").iloc[0]
    model = runs.model(lr=RATES[1], seed=1)
    for x, y, loss, accuracy in [
        (DATASET.x_train, DATASET.y_train, last.train_loss, last.train_accuracy),
        (DATASET.x_validation, DATASET.y_validation, last.validation_loss, last.validation_accuracy),
        (DATASET.x_test, DATASET.y_test, test.test_loss, test.test_accuracy),
    ]:
        with torch.no_grad():
            logits = model(x)
        assert functional.cross_entropy(logits, y).item() == pytest.approx(loss, rel=1e-5)
        assert (logits.argmax(1) == y).double().mean().item() == pytest.approx(accuracy)
    untrained = runs.history.query("epoch == 0 and seed == 1").train_loss
    with torch.no_grad():
        logits = build(norm="batch")(seed=1).eval()(DATASET.x_train)
    np.testing.assert_allclose(untrained, functional.cross_entropy(logits, DATASET.y_train).item(), rtol=1e-5)


@pytest.mark.parametrize("chunk", [training._CHUNK, 500])
def test_layer_metrics_are_those_of_one_network_measured_by_hand(chunk, monkeypatch):
    monkeypatch.setattr(training, "_CHUNK", chunk)
    make = functools.partial(networks.mlp, 6, 3, hidden=[9, 5], activation="relu", init="torch")
    runs = training.train(
        make, DATASET, seeds=[4, 5], lr=RATES, epochs=4, batch_size=BATCH, dtype=torch.float64
    )
    model = runs.model(lr=RATES[0], seed=5)
    preactivations, gradients, h = {}, {}, DATASET.x_train.double()
    for i in (1, 2):
        z = model.get_submodule(f"linear_{i}")(h)
        z.retain_grad()
        preactivations[i], h = z, torch.relu(z)
    losses = functional.cross_entropy(model.output(h), DATASET.y_train, reduction="none")
    losses.sum().backward()
    for i, z in preactivations.items():
        gradients[i] = z.grad
        row = runs.layers.query("lr == @RATES[0] and seed == 5 and layer == @i and step == 80").iloc[0]
        h = torch.relu(z)
        assert row.epoch == 4
        assert row.zero_fraction == pytest.approx((h == 0).double().mean().item())
        assert row.negative_fraction == pytest.approx((z < 0).double().mean().item())
        assert row.dead_fraction == pytest.approx((h == 0).all(dim=0).double().mean().item())
        assert row.all_negative_fraction == row.dead_fraction
        assert row.all_positive_fraction == pytest.approx((z > 0).all(dim=0).double().mean().item())
        assert row.activation_rms == pytest.approx(h.square().mean().sqrt().item())
        assert row.gradient_rms == pytest.approx(z.grad.square().mean().sqrt().item())
        weight = model.get_submodule(f"linear_{i}").weight
        assert row.weight_gradient_norm == pytest.approx(weight.grad.norm().item() / len(DATASET.x_train))


def dead_network(*, seed):
    """Make a network whose first layer has one unit of eight that is never active."""
    model = build(activation="relu")(seed=seed)
    with torch.no_grad():
        model.linear_1.bias[2] = -1e3
    return model


def test_a_killed_unit_is_counted_dead_before_and_after_training():
    runs = training.train(dead_network, DATASET, seeds=2, lr=0.01, epochs=2, batch_size=BATCH)
    first = runs.layers.query("layer == 1")
    assert sorted(set(first.step)) == [0, 40]
    assert (first.dead_fraction >= 1 / 8).all()
    assert (first.query("step == 0").dead_fraction == 1 / 8).all()


def shifted_network(activation):
    """Make networks whose first layer has a unit that is never and one that is always positive."""

    def make(*, seed):
        model = build(activation=activation)(seed=seed)
        with torch.no_grad():
            model.linear_1.bias[2], model.linear_1.bias[5] = -1e3, 1e3
        return model

    return make


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh"])
def test_units_that_are_negative_or_positive_for_every_sample_are_counted_whatever_the_activation(activation):
    runs = training.train(shifted_network(activation), DATASET, seeds=2, lr=0.001, epochs=1, batch_size=BATCH)
    first = runs.layers.query("layer == 1 and step == 0")
    assert (first.all_negative_fraction == 1 / 8).all()
    assert (first.all_positive_fraction == 1 / 8).all()
    assert (first.dead_fraction == (1 / 8 if activation == "relu" else 0)).all()


def test_tracked_units_have_the_share_of_samples_at_which_their_preactivation_is_positive():
    runs = training.train(
        build(activation="relu"),
        DATASET,
        seeds=(3, 8),
        lr=RATES,
        epochs=1,
        batch_size=BATCH,
        measure_every=5,
        track_units=True,
        dtype=torch.float64,
    )
    assert list(runs.units) == ["arm", "lr", "seed", "epoch", "step", "layer", "unit", "positive_fraction"]
    assert len(runs.units) == 2 * 2 * (8 + 7) * 5
    model = runs.model(lr=RATES[1], seed=3)
    z_1 = model.linear_1(DATASET.x_train.double())
    z_2 = model.linear_2(model.activation_1(z_1))
    last = runs.units.query("lr == @RATES[1] and seed == 3 and step == 20")
    for layer, z in [(1, z_1), (2, z_2)]:
        rows = last[last.layer == layer]
        assert rows.unit.tolist() == list(range(z.shape[1]))
        assert rows.positive_fraction.tolist() == pytest.approx((z > 0).double().mean(dim=0).tolist())


def test_units_are_tracked_only_where_it_is_asked_for_and_measured():
    runs = training.train(build(), DATASET, seeds=1, lr=0.1, epochs=1, batch_size=BATCH)
    assert runs.units.empty
    with pytest.raises(ValueError, match=r"not tracked; call train\(\.\.\., track_units=True\)"):
        runs.fates()
    with pytest.raises(ValueError, match="track_units needs measurements, but measure_every is 0"):
        training.train(build(), DATASET, measure_every=0, track_units=True)


def test_fates_tell_a_unit_that_was_killed_from_one_that_was_then_recycled():
    def kill(network):
        networks.kill_units(network.model, 1, [4, 6], x=DATASET.x_train, margin=5.0)

    def recycle(network):
        networks.recycle_units(network.model, 1, [6], seed=network.seed)

    runs = training.train(
        dead_network,
        DATASET,
        seeds=2,
        lr=0.001,
        epochs=2,
        batch_size=BATCH,
        measure_every=5,
        track_units=True,
        interventions={10: kill, 20: recycle},
    )
    fates = runs.fates().query("layer == 1").set_index(["seed", "unit"])
    for seed in (0, 1):
        assert fates.fate[seed].tolist() == [
            {2: "born dead", 4: "died", 6: "revived"}.get(unit, "never dead") for unit in range(8)
        ]
        assert fates.deaths[seed].tolist() == [0, 0, 0, 0, 1, 0, 1, 0]
        assert fates.revivals[seed].tolist() == [0, 0, 0, 0, 0, 0, 1, 0]
    # A measurement comes before the intervention of its step.
    shares = runs.units.query("layer == 1 and seed == 0 and unit == 6").set_index("step").positive_fraction
    assert (shares > 0).to_dict() == {s: s not in (15, 20) for s in range(0, 45, 5)}


def test_fates_leave_diverged_runs_out():
    runs = training.train(
        build(activation="relu"),
        DATASET,
        seeds=2,
        lr=(0.01, 1e20),
        epochs=1,
        batch_size=BATCH,
        track_units=True,
    )
    assert runs.units.query("lr == 1e20 and step == 20").positive_fraction.isna().all()
    assert runs.fates().lr.unique().tolist() == [0.01]
    assert len(runs.fates()) == 2 * (8 + 7)


# ---------------------------------------------------------------------------------------------------------------
# Interventions


def change_a_unit(network):
    """Do something to every kind of number that a network and its optimizer hold, different for each network."""
    assert not network.model.training or network.step == 30  # the plain loop hands out its own network
    with torch.no_grad():
        network.model.linear_1.weight[network.seed % 4] *= 1 + network.lr
        network.model.linear_2.bias[1] -= network.seed / 10
        for slot in network.optimizer_state.values():
            slot["linear_1.weight"][0] *= 0.25
            slot["linear_2.bias"] *= 0.5


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"momentum": 0.9},
        {"optimizer": "adam"},
        {"optimizer": "rmsprop", "momentum": 0.9},
        {"optimizer": "adamw"},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "make", [build(), build(norm="layer", activation="prelu")], ids=["plain", "layer, prelu"]
)
def test_weights_equal_a_plain_loop_with_an_intervention_in_the_network_and_its_optimizer(settings, make):
    assert_equal_to_plain_loops(make, interventions={30: change_a_unit}, **settings)


def test_an_intervention_may_change_running_statistics_too():
    def change(network):
        change_a_unit(network)
        network.model.norm_1.running_mean += 0.1

    assert_equal_to_plain_loops(build(norm="batch"), momentum=0.9, interventions={30: change})


@pytest.mark.parametrize(
    ("settings", "slots"),
    [
        ({}, []),
        ({"momentum": 0.9}, ["momentum_buffer"]),
        ({"optimizer": "adam"}, ["exp_avg", "exp_avg_sq"]),
        ({"optimizer": "rmsprop"}, ["square_avg"]),
        ({"optimizer": "rmsprop", "momentum": 0.9}, ["momentum_buffer", "square_avg"]),
    ],
    ids=str,
)
def test_an_intervention_gets_every_network_once_and_what_its_optimizer_remembers(settings, slots):
    seen = []

    def look(network):
        seen.append((network.arm, network.lr, network.seed, network.step))
        assert sorted(network.optimizer_state) == slots
        for slot in network.optimizer_state.values():
            shapes = {name: value.shape for name, value in slot.items()}
            assert shapes == {name: value.shape for name, value in network.model.named_parameters()}

    arms = {"a": build(), "b": build(hidden=[5])}
    training.train(
        arms,
        DATASET,
        seeds=SEEDS,
        lr=RATES,
        epochs=1,
        batch_size=BATCH,
        interventions={0: look, 7: look},
        **settings,
    )
    expected = [(arm, lr, seed, step) for arm in arms for step in (0, 7) for lr in RATES for seed in SEEDS]
    assert seen == expected


def test_an_intervention_that_changes_nothing_leaves_the_training_bit_for_bit():
    settings = {"seeds": 2, "lr": RATES, "epochs": 2, "batch_size": BATCH, "momentum": 0.9}
    plain = training.train(build(norm="batch"), DATASET, **settings)
    looked = training.train(build(norm="batch"), DATASET, interventions={5: lambda network: None}, **settings)
    pd.testing.assert_frame_equal(plain.history, looked.history, check_exact=True)


def cut_a_unit(network):
    network.model.linear_2 = nn.Linear(8, 6)


@pytest.mark.parametrize(
    ("interventions", "error", "message"),
    [
        ({20: print}, ValueError, "between step 0 and step 19, the last but one, but one is at 20"),
        ({-1: print}, ValueError, "but one is at -1"),
        ({0.5: print}, TypeError, "keyed by numbers of steps, but one is 0.5"),
        ({3: "kill"}, TypeError, "intervention at step 3 must be a function .* but is 'kill'"),
        ({3: cut_a_unit}, ValueError, r"parameter 'linear_2.weight' was of shape \(7, 8\) and is \(6, 8\)"),
    ],
)
def test_interventions_are_checked(interventions, error, message):
    with pytest.raises(error, match=message):
        training.train(build(), DATASET, seeds=1, epochs=1, batch_size=BATCH, interventions=interventions)


def test_measure_every_gives_rows_by_step():
    runs = training.train(build(), DATASET, seeds=2, lr=0.1, epochs=2, batch_size=BATCH, measure_every=15)
    assert sorted(set(runs.layers.step)) == [0, 15, 30, 40]
    assert runs.layers.query("step == 15").epoch.unique() == pytest.approx([0.75])


@pytest.mark.parametrize("flushed", [False, True])
def test_denormal_numbers_are_treated_as_before_when_training_is_over(flushed):
    assert torch.set_flush_denormal(flushed)
    try:
        training.train(build(), DATASET, seeds=1, lr=0.1, epochs=1, batch_size=BATCH)
        assert ((torch.tensor(1e-40) * 1).item() == 0) is flushed
    finally:
        torch.set_flush_denormal(False)


def test_measure_every_zero_leaves_the_layers_empty_with_their_columns():
    runs = training.train(build(), DATASET, seeds=1, lr=0.1, epochs=1, batch_size=BATCH, measure_every=0)
    measured = training.train(build(), DATASET, seeds=1, lr=0.1, epochs=1, batch_size=BATCH)
    assert runs.layers.empty
    assert list(runs.layers) == list(measured.layers)


def test_evaluate_every_keeps_the_first_and_the_last_epoch():
    runs = training.train(build(), DATASET, seeds=1, lr=0.1, epochs=5, batch_size=BATCH, evaluate_every=2)
    assert list(runs.history.epoch) == [0, 2, 4, 5]


def test_residual_and_functional_networks_have_their_layers_in_the_order_of_their_calls():
    runs = training.train(
        {"residual": build(hidden=[8, 8], residual="plain"), "tied": lambda *, seed: TiedNetwork(seed)},
        DATASET,
        seeds=1,
        lr=0.1,
        epochs=1,
        batch_size=BATCH,
    )
    assert runs.layers.groupby("arm").layer.unique().map(list).to_dict() == {
        "residual": [1, 2],
        "tied": [1, 2],
    }
    assert runs.layers.weight_gradient_norm.gt(0).all()


def test_diverged_runs_are_marked_keep_their_nans_and_never_count_as_alive():
    runs = training.train(
        build(activation="relu", hidden=[8] * 3),
        DATASET,
        seeds=2,
        lr=[0.01, 1e12],
        epochs=3,
        batch_size=BATCH,
    )
    wild, tame = (runs.history.query("lr == @lr and epoch > 0") for lr in (1e12, 0.01))
    assert wild.diverged.all()
    assert wild.train_loss.isna().any()
    assert wild.train_accuracy.isna().all()
    assert not tame.diverged.any()
    assert tame.train_loss.notna().all()
    wild_layers = runs.layers.query("lr == 1e12 and step > 0")
    assert wild_layers[["zero_fraction", "dead_fraction", "gradient_rms"]].isna().all(axis=None)
    assert runs.best_lr().iloc[0].to_dict() == {
        "arm": "network", "lr": 0.01, "at_edge": True, "diverged_fraction": 0.0,
    }  # fmt: skip
    assert runs.test().query("lr == 1e12").diverged.all()


def test_a_run_that_once_diverged_has_no_test_accuracy_even_if_its_weights_are_finite():
    runs = training.train(build(), DATASET, seeds=2, lr=0.1, epochs=1, batch_size=BATCH)
    runs.history.loc[runs.history.seed == 1, "diverged"] = True
    assert runs.test().test_accuracy.isna().tolist() == [False, True]


def with_history(rows):
    """Make `Runs` whose final validation accuracies are given: a list of (lr, [accuracy a seed])."""
    history = pd.DataFrame(
        [
            {
                "arm": "a",
                "lr": lr,
                "seed": seed,
                "epoch": 1,
                "validation_accuracy": value,
                "diverged": value != value,
            }
            for lr, values in rows
            for seed, value in enumerate(values)
        ]
    )
    rates = tuple(lr for lr, _ in rows)
    return training.Runs(
        history=history,
        layers=pd.DataFrame(),
        units=pd.DataFrame(),
        _dataset=DATASET,
        _stacks={},
        _rates=rates,
        _seeds=(0, 1),
    )


@pytest.mark.parametrize(
    ("rows", "lr", "at_edge"),
    [
        ([(0.1, [0.5, 0.5]), (0.2, [0.8, 0.9]), (0.4, [0.6, 0.6])], 0.2, False),
        ([(0.1, [0.5, 0.5]), (0.2, [0.8, 0.8]), (0.4, [0.79, 0.85]), (0.8, [0.2, 0.2])], 0.2, False),
        ([(0.1, [0.8, 0.8]), (0.2, [0.79, 0.85]), (0.4, [0.2, 0.2])], 0.1, True),
        ([(0.1, [0.1, 0.1]), (0.2, [0.5, 0.5]), (0.4, [0.49, 0.6])], 0.2, True),
        ([(0.1, [0.5, 0.6]), (0.2, [0.9, math.nan]), (0.05, [0.1, 0.1])], 0.1, False),
    ],
    ids=["best", "smaller within one error", "smallest", "best at the edge", "diverged counts as zero"],
)
def test_best_lr_is_the_smallest_within_one_standard_error_and_says_when_it_is_at_the_edge(rows, lr, at_edge):
    runs = with_history(rows)
    best = runs.best_lr().iloc[0]
    assert (best.lr, bool(best.at_edge)) == (lr, at_edge)
    assert set(runs.tuned().lr) == {lr}


def test_normalised_gradients_survive_where_their_squares_underflow():
    tiny = torch.full((1, 4), 1e-30)
    torch.testing.assert_close(training._unit(tiny), torch.full((1, 4), 0.5))
    assert torch.equal(training._unit(torch.zeros(1, 4)), torch.zeros(1, 4))


def test_progress_can_be_silenced_and_leaves_nothing_on_stdout(capsys):
    training.train(build(), DATASET, seeds=1, lr=0.1, epochs=1, batch_size=BATCH, progress=False)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"optimizer": "lion"}, ValueError, ["'lion'", "sgd, adam, adamw, rmsprop"]),
        ({"seeds": []}, ValueError, ["empty"]),
        ({"seeds": 0}, ValueError, ["at least 1", "0"]),
        ({"seeds": [1, 1]}, ValueError, ["differ"]),
        ({"seeds": [-1]}, ValueError, ["-1"]),
        ({"seeds": [0.5]}, TypeError, ["0.5"]),
        ({"seeds": 2.5}, TypeError, ["2.5", "number of seeds"]),
        ({"lr": []}, ValueError, ["empty"]),
        ({"lr": -0.1}, ValueError, ["-0.1", "0 or above"]),
        ({"lr": [0.1, math.nan]}, ValueError, ["nan"]),
        ({"lr": [0.1, 0.1]}, ValueError, ["differ"]),
        ({"epochs": 0}, ValueError, ["epochs", "0"]),
        ({"epochs": 1.5}, TypeError, ["1.5"]),
        ({"batch_size": 0}, ValueError, ["batch_size"]),
        ({"batch_size": 500}, ValueError, ["500", "205"]),
        ({"momentum": -1.0}, ValueError, ["momentum"]),
        ({"momentum": 0.9, "optimizer": "adam"}, ValueError, ["momentum", "adam"]),
        ({"weight_decay": math.inf}, ValueError, ["weight_decay"]),
        ({"activation_penalty": -0.1}, ValueError, ["activation_penalty"]),
        ({"clip_norm": 0.0}, ValueError, ["clip_norm"]),
        ({"warmup_steps": -1}, ValueError, ["warmup_steps"]),
        ({"measure_every": -1}, ValueError, ["measure_every"]),
        ({"evaluate_every": 0}, ValueError, ["evaluate_every"]),
        ({"builds": {}}, ValueError, ["empty"]),
        ({"builds": nn.Linear(6, 3)}, TypeError, ["build(seed=...)"]),
        ({"builds": lambda *, seed: None}, TypeError, ["nn.Module", "None"]),
        ({"builds": lambda *, seed: nn.ReLU()}, ValueError, ["no parameters"]),
        ({"builds": lambda *, seed: nn.Linear(6, 3 + seed)}, ValueError, ["architecture", "out_features=4"]),
        ({"builds": lambda *, seed: nn.Linear(5, 3)}, ValueError, ["6 features", "clusters"]),
        ({"builds": lambda *, seed: nn.Linear(6, 4)}, ValueError, ["3 logits", "(2, 4)"]),
        ({"builds": lambda *, seed: nn.Sequential(nn.Linear(6, 3), nn.Dropout())}, ValueError, ["Dropout", "'1'"]),
        ({"builds": lambda *, seed: nn.Sequential(nn.Linear(6, 3), nn.RReLU())}, ValueError, ["make('rrelu')"]),
        ({"builds": lambda *, seed: nn.Linear(6, 3).requires_grad_(False)}, ValueError, ["no parameters"]),
        (
            {"builds": lambda *, seed: nn.Sequential(nn.BatchNorm1d(6, track_running_stats=False), nn.Linear(6, 3))},
            ValueError,
            ["'0'", "track_running_stats"],
        ),
        ({"dataset": (1, 2)}, TypeError, ["data.load", "tuple"]),
    ],
)  # fmt: skip
def test_bad_input_is_met_at_the_door(changes, error, words):
    arguments = {"builds": build(), "dataset": DATASET, "seeds": 2, "batch_size": BATCH} | changes
    with pytest.raises(error) as caught:
        training.train(**arguments)
    for word in words:
        assert word in str(caught.value)


def test_a_randomised_activation_that_is_called_twice_is_refused():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.activation = nn.Linear(6, 3), activations.make("rrelu")

        def forward(self, x):
            return self.activation(self.activation(self.linear(x)))

    with pytest.raises(ValueError, match="called 2 times"):
        training.train(lambda *, seed: Twice(), DATASET, seeds=1, batch_size=BATCH)


def test_a_run_that_does_not_exist_is_refused_with_those_that_do():
    runs = training.train(build(), DATASET, seeds=2, lr=RATES, epochs=1, batch_size=BATCH)
    with pytest.raises(ValueError, match=r"lr 0\.3; choose one of 0\.01, 0\.05"):
        runs.model(lr=0.3, seed=0)
    with pytest.raises(ValueError, match="seed None; choose one of 0, 1"):
        runs.model(lr=0.01)


def test_a_table_is_tuned_as_runs_are():
    rates = {"a": [0.1, 1.0], "b": [0.1, 1.0]}
    scores = {("a", 0.1): 0.5, ("a", 1.0): 0.9, ("b", 0.1): 0.8, ("b", 1.0): float("nan")}
    rows = [
        {
            "kind": kind,
            "size": 3,
            "lr": lr,
            "seed": seed,
            "validation_accuracy": scores[kind, lr] + seed / 100,
        }
        for kind in rates
        for lr in rates[kind]
        for seed in range(3)
    ]
    table = pd.DataFrame(rows).assign(diverged=lambda f: f.validation_accuracy.isna())
    kept = training.tuned(table, by=["kind", "size"])
    assert kept.groupby("kind").lr.unique().map(list).to_dict() == {"a": [1.0], "b": [0.1]}
    assert len(kept) == 6
    assert kept.at_edge.all()
    assert kept.index.is_monotonic_increasing


def test_a_table_without_rates_is_refused():
    with pytest.raises(ValueError, match="no column lr; it has validation_accuracy, diverged"):
        training.tuned(pd.DataFrame({"validation_accuracy": [1.0], "diverged": [False]}), by=[])
