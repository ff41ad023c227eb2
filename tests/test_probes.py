"""The probe against plain PyTorch: retained gradients, finite answers, and nothing left behind."""

import copy
import doctest
import gc
import math
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from helpers import activations, measures, probes
from helpers.probes import Probe


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def perceptron(activation: type[nn.Module] = nn.Tanh, **parameters) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential()
    for layer, fan_in in enumerate([5, 8, 8], start=1):
        model.add_module(f"linear_{layer}", nn.Linear(fan_in, 8))
        model.add_module(f"activation_{layer}", activation(**parameters))
    model.add_module("output", nn.Linear(8, 3))
    return model


def by_hand(model: nn.Sequential, x: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Run a sequential model module by module: outputs of all modules, and the gradients of 0.5 |output|²."""
    outputs, h = {}, x
    for name, module in model.named_children():
        h = module(h)
        h.retain_grad()
        outputs[name] = h
    (0.5 * h.square().sum()).backward()
    return {k: v.detach() for k, v in outputs.items()}, {k: v.grad for k, v in outputs.items()}


def run(model: nn.Module, x: Tensor) -> None:
    (0.5 * model(x).square().sum()).backward()


def hook_count(model: nn.Module) -> int:
    return sum(
        len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules()
    )


def test_docstring_example_gives_what_it_says():
    result = doctest.testmod(probes, extraglobs={"torch": torch})
    assert result.attempted > 3
    assert result.failed == 0


# What is recorded.


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU, nn.GELU, activations.ShiftedSoftplus, nn.PReLU])
def test_probe_records_what_a_pass_by_hand_finds(activation: type[nn.Module]):
    model, x = perceptron(activation), numbers(20, 5)
    outputs, gradients = by_hand(model, x)
    with Probe(model) as probe:
        run(model, x)
    assert list(probe.activations) == ["activation_1", "activation_2", "activation_3"]
    for layer in (1, 2, 3):
        assert probe.preactivations[f"activation_{layer}"].equal(outputs[f"linear_{layer}"])
        assert probe.activations[f"activation_{layer}"].equal(outputs[f"activation_{layer}"])
        assert probe.gradients[f"activation_{layer}"].equal(gradients[f"linear_{layer}"])
    assert probe.unseen == {}


@pytest.mark.parametrize("name", activations.NAMES)
def test_every_activation_of_the_catalogue_is_recorded(name: str):
    model = nn.Sequential()
    model.add_module("linear", nn.Linear(3, 4))
    model.add_module("activation_1", activations.make(name))
    with Probe(model) as probe:
        run(model, numbers(6, 3))
    for tensors in (probe.preactivations, probe.activations, probe.gradients):
        assert {key: tensor.shape for key, tensor in tensors.items()} == {"activation_1": (6, 4)}


@pytest.mark.parametrize(
    "module",
    [
        *(
            nn.CELU(),
            nn.Hardshrink(),
            nn.Hardsigmoid(),
            nn.Hardswish(),
            nn.Hardtanh(),
            nn.LogSigmoid(),
            nn.ReLU6(),
        ),
        *(nn.RReLU(), nn.Softshrink(), nn.Tanhshrink(), nn.Threshold(0.0, 0.0)),
    ],
)
def test_other_activations_of_torch_are_recorded(module: nn.Module):
    with Probe(nn.Sequential(nn.Linear(3, 4), module)) as probe:
        probe.model(numbers(6, 3))
    assert list(probe.activations) == ["1"]


@pytest.mark.parametrize(
    "activation", [nn.ReLU, nn.ELU, nn.SiLU, nn.LeakyReLU, nn.Hardtanh, nn.SELU, nn.CELU, nn.Mish, nn.ReLU6]
)
def test_inplace_activations_give_the_same_as_others(activation: type[nn.Module]):
    plain, inplace = perceptron(activation), perceptron(activation, inplace=True)
    inplace.load_state_dict(plain.state_dict())
    with Probe(plain) as expected:
        run(plain, numbers(20, 5))
    with Probe(inplace) as probe:
        run(inplace, numbers(20, 5))
    assert probe.unseen == {}
    assert len(probe.gradients) == 3
    for name in expected.activations:
        assert (probe.preactivations[name] < 0).any()
        assert probe.preactivations[name].equal(expected.preactivations[name])
        assert probe.activations[name].equal(expected.activations[name])
        # an in-place ELU computes its slope from its output, so the last bits differ
        torch.testing.assert_close(probe.gradients[name], expected.gradients[name], rtol=1e-5, atol=1e-7)
    assert measures.gradient_norms(inplace) == pytest.approx(measures.gradient_norms(plain), rel=1e-5)


def test_gradient_is_with_respect_to_the_preactivation_not_the_activation():
    model = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[0].bias.zero_()
    with Probe(model) as probe:
        (3 * model(torch.tensor([[-2.0], [2.0]]))).sum().backward()
    assert probe.gradients["1"].tolist() == [[0.0], [3.0]]


def test_a_skip_connection_adds_its_gradient():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.activation = nn.Linear(3, 3), nn.Tanh()

        def forward(self, x: Tensor) -> Tensor:
            z = self.linear(x)
            return z + self.activation(z)

    with Probe(Block()) as probe:
        probe.model(numbers(4, 3)).sum().backward()
    torch.testing.assert_close(probe.gradients["activation"], 2 - probe.activations["activation"].square())


def test_gradients_of_several_backward_passes_add_up_like_a_parameters():
    model, x = perceptron(), numbers(20, 5)
    with Probe(model) as once:
        run(model, x)
    with Probe(model) as twice:
        loss = 0.5 * model(x).square().sum()
        loss.backward(retain_graph=True)
        (2 * loss).backward()
    torch.testing.assert_close(twice.gradients["activation_1"], 3 * once.gradients["activation_1"])


def test_calls_of_a_shared_module_are_kept_apart():
    torch.manual_seed(0)

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.activation = nn.Linear(4, 4), nn.Tanh()

        def forward(self, h: Tensor) -> Tensor:
            for _ in range(3):
                h = self.activation(self.linear(h))
            return h

    model, x = Recurrent(), numbers(6, 4)
    with Probe(model) as probe:
        run(model, x)
    assert list(probe.activations) == ["activation[1]", "activation[2]", "activation[3]"]
    h = x
    for step in (1, 2, 3):
        h = torch.tanh(model.linear(h))
        torch.testing.assert_close(probe.activations[f"activation[{step}]"], h.detach())
    slope = 1 - h.detach().square()
    torch.testing.assert_close(probe.gradients["activation[3]"], slope * h.detach())
    before = (probe.gradients["activation[3]"] @ model.linear.weight.detach()) * (
        1 - probe.activations["activation[2]"].square()
    )
    torch.testing.assert_close(probe.gradients["activation[2]"], before)
    table = probe.table()
    assert table["module"].unique().tolist() == ["activation"]
    assert table["call"].tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_a_module_under_two_names_is_recorded_under_the_first():
    shared = nn.ReLU()
    model = nn.Sequential(nn.Linear(3, 3), shared, nn.Linear(3, 3), shared)
    with Probe(model) as probe:
        model(numbers(5, 3))
    assert list(probe.activations) == ["1[1]", "1[2]"]


def test_identity_is_recorded_only_where_it_is_named_an_activation():
    model = nn.Sequential()
    for name in ("activation_1", "downsample", "inactivation"):
        model.add_module(name, nn.Identity())
    with Probe(nn.ModuleDict({"block": model})) as probe:
        model(numbers(5, 3))
    assert list(probe.activations) == ["block.activation_1"]
    assert probe.unseen == {}


def test_softmax_and_gates_are_no_activations():
    model = nn.Sequential(nn.Linear(4, 4), nn.GLU(), nn.Softmax(dim=1))
    with Probe(model) as probe:
        model(numbers(5, 4))
    assert probe.activations == {}
    assert probe.unseen == {"1": "GLU calls glu"}


def test_the_probed_module_may_be_an_activation_itself():
    with Probe(nn.ReLU()) as probe:
        probe.model(numbers(5, 3))
    assert probe.activations[""].equal(numbers(5, 3).relu())


def test_the_input_may_be_given_by_keyword():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.plain, self.inplace = nn.Linear(3, 3), nn.Tanh(), nn.ELU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.inplace(input=self.linear(self.plain(input=x)))

    model, x = Net(), numbers(4, 3)
    with Probe(model) as probe:
        run(model, x)
    assert probe.preactivations["plain"].equal(x)
    assert probe.preactivations["inplace"].equal(model.linear(x.tanh()).detach())


def test_a_subclass_of_an_activation_is_one():
    class Clipped(nn.ReLU):
        def forward(self, z: Tensor) -> Tensor:
            return super().forward(z).clamp(max=1)

    with Probe(nn.Sequential(Clipped())) as probe:
        probe.model(torch.tensor([[-1.0, 2.0]]))
    assert probe.activations["0"].tolist() == [[0.0, 1.0]]
    assert probe.unseen == {}


def test_a_transformer_is_recorded_where_its_activation_is_a_module():
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation=nn.GELU(), batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    with Probe(model) as probe:
        run(model, numbers(4, 6, 8))
    assert {name: tuple(tensor.shape) for name, tensor in probe.gradients.items()} == {
        "layers.0.activation": (4, 6, 16),
        "layers.1.activation": (4, 6, 16),
    }
    assert probe.unseen == {}


def test_a_transformer_is_recorded_in_evaluation_too():
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation=nn.ReLU(), batch_first=True).eval()
    with Probe(layer) as probe, torch.no_grad():
        layer(numbers(4, 6, 8))
    assert list(probe.activations) == ["activation"]


# What is not recorded, and says so.


def test_without_gradients_only_signals_are_recorded():
    model = perceptron()
    with Probe(model) as probe, torch.no_grad():
        model(numbers(20, 5))
    assert len(probe.activations) == 3
    assert probe.gradients == {}
    assert set(probe.table()["signal"]) == {"preactivation", "activation"}


def test_inference_mode_is_recorded():
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(inplace=True), nn.Linear(8, 3), nn.Tanh())
    with Probe(model) as probe, torch.inference_mode():
        output = model(numbers(20, 5))
        expected = output.clone()
        output.zero_()
    assert probe.activations["3"].equal(expected)
    assert (probe.preactivations["1"] < 0).any()
    assert len(probe.table()) == 4


def test_a_forward_pass_alone_gives_no_gradients():
    model = perceptron()
    with Probe(model) as probe:
        model(numbers(20, 5))
    with pytest.raises(
        KeyError, match=r"no gradient was recorded for 'activation_1'.*backward pass inside the with"
    ):
        _ = probe.gradients["activation_1"]
    assert "gradient" not in set(probe.table()["signal"])


def test_a_backward_pass_after_the_block_is_not_recorded():
    model = perceptron(nn.ReLU, inplace=True)
    with Probe(model) as probe:
        loss = model(numbers(20, 5)).sum()
    loss.backward()
    assert probe.gradients == {}
    assert model.linear_1.weight.grad is not None


def test_a_frozen_network_has_no_gradients():
    model = perceptron().requires_grad_(False)
    with Probe(model) as probe:
        model(numbers(20, 5).requires_grad_()).sum().backward()
    assert len(probe.gradients) == 3  # its input asks for one
    with Probe(model) as probe:
        model(numbers(20, 5))
    assert probe.gradients == {}


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.activation = nn.Linear(3, 3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.squash(functional.relu(self.linear(self.activation(x))))

    def squash(self, x: Tensor) -> Tensor:
        return (torch.sigmoid(x) * x.tanh()).relu_()


def test_activations_called_as_functions_are_listed():
    with Probe(nn.Sequential(nn.Linear(3, 3), Functional())) as probe:
        probe.model(numbers(5, 3))
    assert probe.unseen == {"1": "Functional calls relu, sigmoid, tanh"}
    assert list(probe.activations) == ["1.activation"]


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (torch.relu_, "relu"),
        (functional.elu_, "elu"),
        (lambda z: functional.threshold(z, 0.0, 0.0), "threshold"),
    ],
)
def test_functions_are_listed_without_their_underscores(function: Callable, name: str):
    class Wrapped(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return function(z)

    with Probe(Wrapped()) as probe:
        probe.model(numbers(5, 3))
    assert probe.unseen == {"": f"Wrapped calls {name}"}


def test_functions_outside_of_the_model_are_not_listed():
    model, other = perceptron(), Functional()
    with Probe(nn.ModuleList([model, Functional()])) as probe:
        torch.relu(model(numbers(20, 5)) + other(numbers(20, 3)))
    assert probe.unseen == {}


@pytest.mark.parametrize(
    ("module", "function"),
    [
        (nn.RNN(3, 4), "rnn_tanh"),
        (nn.RNN(3, 4, nonlinearity="relu"), "rnn_relu"),
        (nn.LSTM(3, 4), "lstm"),
        (nn.GRU(3, 4), "gru"),
        (nn.RNNCell(3, 4), "rnn_tanh_cell"),
        (nn.RNNCell(3, 4, nonlinearity="relu"), "rnn_relu_cell"),
        (nn.LSTMCell(3, 4), "lstm_cell"),
        (nn.GRUCell(3, 4), "gru_cell"),
    ],
)
def test_recurrent_modules_of_torch_are_listed(module: nn.Module, function: str):
    with Probe(nn.ModuleDict({"memory": module})) as probe:
        module(numbers(5, 3))
    assert probe.unseen == {"memory": f"{type(module).__name__} calls {function}"}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", [nn.TransformerEncoderLayer, nn.TransformerDecoderLayer])
def test_transformers_with_a_functional_activation_are_listed(kind: type[nn.Module], training: bool):
    layer = kind(8, 2, 16, activation="gelu").train(training)
    inputs = [numbers(4, 6, 8)] * (2 if kind is nn.TransformerDecoderLayer else 1)
    with Probe(nn.ModuleDict({"layer": layer})) as probe, torch.set_grad_enabled(training):
        layer(*inputs)
    assert probe.unseen == {"layer": f"{kind.__name__} calls gelu"}


@pytest.mark.parametrize(
    "name",
    [
        n
        for n in activations.NAMES
        if n not in ("identity", "shifted_softplus", "shifted_relu", "relu_squared")
    ],
)
def test_every_function_of_the_catalogue_is_known_to_the_watch(name: str):
    class Wrapped(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            arguments = [torch.tensor([0.25])] if name == "prelu" else []
            return getattr(functional, name)(z, *arguments)

    with Probe(nn.Sequential(Wrapped())) as probe:
        probe.model(numbers(5, 3))
    assert probe.unseen == {"0": f"Wrapped calls {name}"}


@pytest.mark.parametrize("module", [m for m in probes._MODULES if m is not nn.Threshold])
def test_every_recorded_module_calls_a_function_that_the_watch_knows(module: type[nn.Module]):
    wrapped = type(
        "Wrapped", (nn.Module,), {"forward": module.forward, "__getattr__": lambda self, key: inner[key]}
    )
    inner = vars(module()) | dict(module().named_parameters())
    with Probe(nn.Sequential(wrapped())) as probe:
        probe.model(numbers(5, 3))
    assert probe.unseen["0"].startswith("Wrapped calls ")


def test_a_tensor_that_is_overwritten_later_is_left_out_and_listed():
    class Overwriting(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.activation = nn.Linear(3, 3), nn.LeakyReLU()

        def forward(self, x: Tensor) -> Tensor:
            h = self.activation(self.first(x))
            h += x
            return h

    with Probe(Overwriting()) as probe:
        run(probe.model, numbers(5, 3))
    assert probe.unseen == {
        "activation": "LeakyReLU: its activation was overwritten by a later in-place operation"
    }
    assert list(probe.preactivations) == list(probe.gradients) == ["activation"]
    assert probe.table()["signal"].tolist() == ["preactivation", "gradient"]
    with pytest.raises(
        KeyError, match=r"no activation was recorded for 'activation'; recorded: none; probe.unseen"
    ):
        _ = probe.activations["activation"]


def test_an_unknown_name_lists_the_known_ones():
    with Probe(perceptron()) as probe:
        probe.model(numbers(20, 5))
    with pytest.raises(
        KeyError,
        match="no activation was recorded for 'relu'; recorded: activation_1, activation_2, activation_3",
    ):
        _ = probe.activations["relu"]


@pytest.mark.parametrize("read", ["table()", "activations", "preactivations", "gradients", "unseen"])
def test_reading_before_recording_says_what_to_do(read: str):
    probe = Probe(perceptron())
    with pytest.raises(
        RuntimeError, match="nothing was recorded yet; run the model inside `with probe:` first"
    ):
        probe.table() if read == "table()" else getattr(probe, read)


def test_a_table_of_nothing_says_what_ran_instead():
    with Probe(nn.Sequential(nn.LSTM(3, 4))) as probe:
        probe.model(numbers(5, 3))
    with pytest.raises(
        RuntimeError, match=r"no activation module of the model ran.*functions: .*LSTM calls lstm"
    ):
        probe.table()
    with Probe(perceptron()) as probe:
        pass
    with pytest.raises(RuntimeError, match=r"no activation module of the model ran.*functions: none"):
        probe.table()


def test_only_modules_can_be_probed():
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module, but is a function"):
        Probe(run)


# Nothing is left behind, nothing is changed.


@pytest.mark.parametrize("inplace", [False, True])
def test_no_hook_outlives_the_block(inplace: bool):
    model = perceptron(nn.ReLU, inplace=inplace)
    with Probe(model):
        assert hook_count(model) == (6 if inplace else 3)
    assert hook_count(model) == 0


@pytest.mark.parametrize("inplace", [False, True])
def test_no_hook_outlives_an_exception(inplace: bool):
    model = perceptron(nn.ReLU, inplace=inplace)
    probe, losses = Probe(model), []

    def interrupted() -> None:
        with probe:
            losses.append(model(numbers(20, 5)).sum())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert hook_count(model) == 0
    losses[0].backward()  # the hooks of its tensors are gone too
    assert probe.gradients == {}
    assert len(probe.activations) == 3


def test_the_watch_ends_with_the_block():
    probe = Probe(Functional())
    with probe:
        pass
    probe.model(numbers(5, 3))
    assert probe.unseen == {}


def test_an_exception_inside_the_network_leaves_what_came_before():
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(inplace=True), nn.Linear(4, 4), nn.ReLU())
    probe = Probe(model)
    with pytest.raises(RuntimeError, match="mat1 and mat2"), probe:
        model(numbers(5, 3))
    assert list(probe.activations) == ["1"]
    assert hook_count(model) == 0


def test_a_probe_starts_afresh_each_time():
    model = perceptron()
    probe = Probe(model)
    with probe:
        run(model, numbers(20, 5))
    with probe:
        model(numbers(7, 5))
    assert list(probe.activations) == ["activation_1", "activation_2", "activation_3"]
    assert probe.activations["activation_1"].shape == (7, 8)
    assert probe.gradients == {}


def test_modules_added_after_the_probe_was_made_are_recorded():
    model = nn.Sequential(nn.Linear(3, 3))
    probe = Probe(model)
    model.append(nn.ReLU())
    with probe:
        model(numbers(5, 3))
    assert list(probe.activations) == ["1"]


def test_an_open_probe_cannot_be_entered_again():
    probe = Probe(perceptron())
    with (
        probe,
        pytest.raises(RuntimeError, match=r"recording already; to nest probes, make another Probe\(model\)"),
    ):
        probe.__enter__()
    assert hook_count(probe.model) == 0


def test_probes_nest():
    model = nn.Sequential(perceptron(nn.ReLU, inplace=True), Functional())
    with Probe(model) as outer:
        run(model, numbers(20, 5))
        with Probe(model[1]) as inner:
            run(model, numbers(20, 5))
        assert hook_count(model) == 7
        run(model, numbers(20, 5))
    assert hook_count(model) == 0
    assert list(inner.gradients) == ["activation"]
    assert len(outer.gradients) == 12
    assert outer.gradients["1.activation[2]"].equal(inner.gradients["activation"])
    assert inner.unseen == {"": "Functional calls relu, sigmoid, tanh"}
    assert outer.unseen == {"1": "Functional calls relu, sigmoid, tanh"}


@pytest.mark.parametrize("inplace", [False, True])
def test_the_network_computes_the_same_inside_the_block(inplace: bool):
    bare = nn.Sequential(perceptron(nn.ReLU, inplace=inplace), Functional())
    probed = copy.deepcopy(bare)
    run(bare, numbers(20, 5))
    random_state = torch.get_rng_state()
    with Probe(probed):
        run(probed, numbers(20, 5))
    assert torch.get_rng_state().equal(random_state)
    for expected, parameter in zip(bare.parameters(), probed.parameters(), strict=True):
        assert parameter.grad.equal(expected.grad)
    assert list(bare.state_dict()) == list(probed.state_dict())


def test_hooks_of_others_are_left_alone():
    model = perceptron()
    seen = []
    handle = model.activation_1.register_forward_hook(lambda *_: seen.append(1))
    with Probe(model):
        model(numbers(20, 5))
    model(numbers(20, 5))
    assert len(seen) == 2
    handle.remove()


def test_tensors_are_kept_without_copying_and_without_their_graph():
    model, x = perceptron(), numbers(20, 5)
    kept = {}
    model.activation_2.register_forward_hook(lambda module, args, output: kept.update(z=args[0], h=output))
    with Probe(model) as probe:
        run(model, x)
    assert probe.preactivations["activation_2"].data_ptr() == kept["z"].data_ptr()
    assert probe.activations["activation_2"].data_ptr() == kept["h"].data_ptr()
    for tensors in (probe.preactivations, probe.activations, probe.gradients):
        assert not any(tensor.requires_grad for tensor in tensors.values())
    graph = weakref.ref(kept.pop("z"))
    kept.clear()
    gc.collect()
    assert graph() is None


# The table.


def test_table_has_a_row_for_each_module_call_and_signal():
    with Probe(perceptron()) as probe:
        run(probe.model, numbers(20, 5))
    table = probe.table()
    assert list(table.columns) == [
        *("module", "call", "signal", "mean", "std", "rms"),
        *("zero_fraction", "negative_fraction", "dead_fraction", "n"),
    ]
    assert table["module"].tolist() == [f"activation_{layer}" for layer in (1, 2, 3) for _ in range(3)]
    assert table["signal"].tolist() == ["preactivation", "activation", "gradient"] * 3
    assert (table["call"] == 1).all()
    assert (table["n"] == 160).all()
    assert not table.duplicated(["module", "call", "signal"]).any()


def test_table_summarises_known_numbers():
    h = torch.tensor([[-3.0, 1.0, 0.0, -2.0], [-1.0, 2.0, 0.0, 4.0]], requires_grad=True)
    with Probe(nn.ReLU()) as probe:
        (probe.model(h) * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    rows = probe.table().set_index("signal")
    assert rows.loc["preactivation", "mean"] == pytest.approx(1 / 8)
    assert rows.loc["preactivation", "zero_fraction"] == 2 / 8
    assert rows.loc["preactivation", "negative_fraction"] == 3 / 8
    assert math.isnan(rows.loc["preactivation", "dead_fraction"])
    assert rows.loc["activation", "mean"] == pytest.approx(7 / 8)
    assert rows.loc["activation", "rms"] == pytest.approx(math.sqrt(21 / 8))
    assert rows.loc["activation", "std"] == pytest.approx(math.sqrt(21 / 8 - (7 / 8) ** 2))
    assert rows.loc["activation", "zero_fraction"] == 5 / 8
    assert rows.loc["activation", "dead_fraction"] == 2 / 4
    assert rows.loc["gradient", "mean"] == pytest.approx((2 + 2 + 4) / 8)
    assert math.isnan(rows.loc["gradient", "dead_fraction"])


def test_the_rms_of_a_vanished_gradient_does_not_underflow():
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    with Probe(model) as probe:
        (1e-30 * model(numbers(5, 3))).sum().backward()
    assert 0 < probe.table().set_index("signal").loc["gradient", "rms"] < 1e-29


def test_units_of_a_convolution_are_its_channels():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    with torch.no_grad():
        model[0].bias[:3] = -100
    with Probe(model) as probe:
        model(numbers(5, 1, 8, 8))
    assert probe.activations["1"].shape == (5, 4, 6, 6)
    assert probe.table()["dead_fraction"].tolist()[1] == 3 / 4


def test_units_of_a_sequence_are_its_last_dimension_unless_said_otherwise():
    h = torch.zeros(2, 3, 4)  # samples, positions, units, or samples, channels, length
    h[0, 1, 2] = 1
    with Probe(nn.ReLU()) as probe:
        probe.model(h)
    assert probe.table()["dead_fraction"].tolist()[1] == 3 / 4
    assert probe.table(unit_dim=1)["dead_fraction"].tolist()[1] == 2 / 3


def test_without_a_dimension_for_samples_there_are_no_dead_units():
    with Probe(nn.ReLU()) as probe:
        probe.model(torch.zeros(3))
    assert probe.table()["dead_fraction"].isna().all()
    assert probe.table()["zero_fraction"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("unit_dim", [0, 2, -1])
def test_a_dimension_that_cannot_count_units_is_refused(unit_dim: int):
    with Probe(nn.ReLU()) as probe:
        probe.model(numbers(5, 3))
    with pytest.raises(
        ValueError, match=rf"unit_dim must be a dimension from 1 to 1 .*shape \(5, 3\), but is {unit_dim}"
    ):
        probe.table(unit_dim=unit_dim)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_diverged_network_looks_neither_dead_nor_alive(bad: float):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    with torch.no_grad():
        model[0].bias[0] = bad
    with Probe(model) as probe:
        model(numbers(5, 3))
    fractions = probe.table()[["zero_fraction", "negative_fraction", "dead_fraction"]]
    assert fractions.isna().all(axis=None)
    assert not probe.table()["std"].notna().any()


def test_half_precision_is_summarised():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU()).to(torch.bfloat16)
    with Probe(model) as probe:
        run(model, numbers(5, 3).to(torch.bfloat16))
    assert probe.table()[["mean", "std", "rms"]].notna().all(axis=None)
