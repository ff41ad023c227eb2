"""Training many networks at once, vectorised over seeds and learning rates.

The networks of an arm are stacked: each parameter is one tensor with a leading axis over networks, one call
through `torch.func` runs all of them, and one backward pass gives all gradients, since the sum of independent
losses has each network's own gradient. It is the same training as a loop in plain PyTorch, and tested to be.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional
from tqdm import tqdm

from helpers import activations, initialization, measures, networks
from helpers.data import Dataset

__all__ = ["OPTIMIZERS", "RunningNetwork", "Runs", "data_order", "train", "tuned"]

#: The optimizers that `train` knows.
OPTIMIZERS: tuple[str, ...] = ("sgd", "adam", "adamw", "rmsprop")

# Most numbers (networks x samples x units) that one evaluation chunk may hold: 16 MB in float32.
_CHUNK = 2**22
_METRICS = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
_LAYER_METRICS = (
    "zero_fraction",
    "negative_fraction",
    "dead_fraction",
    "all_negative_fraction",
    "all_positive_fraction",
    "activation_rms",
    "gradient_rms",
    "weight_gradient_norm",
)

_LAYER_COLUMNS = ("arm", "lr", "seed", "epoch", "step", "layer", *_LAYER_METRICS)
_UNIT_COLUMNS = ("arm", "lr", "seed", "epoch", "step", "layer", "unit", "positive_fraction")

Build = Callable[..., nn.Module]


def data_order(seed: int, epoch: int, n_samples: int) -> Tensor:
    """Give the order in which a run with this seed sees the training samples in one epoch.

    Parameters
    ----------
    seed : int
        The run's seed.
    epoch : int
        Number of the epoch, from 1.
    n_samples : int
        Size of the training split.

    Returns
    -------
    torch.Tensor of int64, shape (n_samples,)
        A permutation. `train` cuts it into batches from the front and drops the last partial one.
    """
    entropy = np.random.SeedSequence([seed, epoch]).generate_state(1)[0]
    return torch.randperm(n_samples, generator=torch.Generator().manual_seed(int(entropy)))


# ---------------------------------------------------------------------------------------------------------------
# A stack of networks


_CONTAINERS = (nn.Sequential, networks.ResidualBlock)


class _StackedLinear(nn.Module):
    """A linear layer of one network (under vmap) or of all (parameters with a leading axis), weight (..., in, out)."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = nn.Parameter(linear.weight.detach().T.contiguous())
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.dim() == 2:
            product = x @ self.weight
            return product if self.bias is None else product.add_(self.bias)
        if self.bias is None:
            return torch.bmm(x, self.weight)
        return torch.baddbmm(self.bias.unsqueeze(1), x, self.weight)


def _stack_linears(module: nn.Module, found: list[str], prefix: str = "") -> None:
    """Replace the linear layers of nested sequential containers, where nothing else can look at their weights."""
    if type(module) not in _CONTAINERS:
        return
    for name, child in list(module.named_children()):
        if type(child) is nn.Linear and not (child._forward_hooks or child._forward_pre_hooks):
            setattr(module, name, _StackedLinear(child))
            found.append(f"{prefix}{name}.weight")
        else:
            _stack_linears(child, found, f"{prefix}{name}.")


def _let_relus_overwrite(module: nn.Module, called_once: set[nn.Module]) -> None:
    """Make each ReLU in place that directly follows a stacked linear layer, whose output nothing else needs."""
    for container in module.modules():
        if type(container) in _CONTAINERS:
            for first, second in pairwise(container):
                if type(first) is _StackedLinear and type(second) is nn.ReLU and second in called_once:
                    second.inplace = True


def _runs_stacked(module: nn.Module) -> bool:
    """Tell whether a module, its linear layers stacked, runs all networks at once as it is, with no need of vmap."""
    return all(
        (type(part) in (*_CONTAINERS, _StackedLinear) or activations.is_activation(part))
        and not (isinstance(part, nn.PReLU) or part._forward_hooks or part._forward_pre_hooks)
        for part in module.modules()
    )


@dataclass(frozen=True)
class _Layer:
    """A call of an activation module: its name, its input's shape without samples, the weight that feeds it."""

    name: str
    shape: torch.Size
    weight: str | None


def _trace(model: nn.Module, x: Tensor) -> tuple[list[_Layer], Tensor]:
    """Run one network on x; list its activation layers in the order of their calls, and give its output."""
    layers: list[_Layer] = []
    weights: list[str | None] = [None]
    names = {id(parameter): name for name, parameter in model.named_parameters()}  # a shared one has one name

    def record(name: str) -> Callable:
        def before(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            if activations.is_activation(module):
                layers.append(_Layer(name, arguments[0].shape[1:], weights[-1]))
            elif getattr(module, "weight", None) is not None and module.weight.dim() >= 2:
                weights.append(names.get(id(module.weight)))

        return before

    was_training = model.training
    model.eval()
    with ExitStack() as hooks, torch.no_grad():
        for name, module in model.named_modules():
            hooks.enter_context(module.register_forward_pre_hook(record(name)))
        output = model(x)
    model.train(was_training)
    return layers, output


class _Stack:
    """K networks of one architecture as one: parameters and buffers with a leading axis of length K.

    Network number ``i * len(models) + j`` has learning rate i and the seed of model j.
    """

    def __init__(
        self, models: Sequence[nn.Module], layers: list[_Layer], n_rates: int, dtype: torch.dtype, device: str
    ) -> None:
        self.layers = layers
        self.n_rates, self.size = n_rates, n_rates * len(models)
        self.dtype, self.device = dtype, device
        self.models = models
        self.base = copy.deepcopy(models[0]).to(dtype=dtype, device=device).requires_grad_(False)
        self._transposed: list[str] = []
        names = [name for name, _ in self.base.named_parameters(remove_duplicate=False)]
        self._tied = len(names) > len(list(self.base.parameters()))  # a weight is shared between two layers
        if not self._tied:
            _stack_linears(self.base, self._transposed)
        self._vmap = not _runs_stacked(self.base)
        self._activations = {layer.name: self.base.get_submodule(layer.name) for layer in layers}
        calls = Counter(layer.name for layer in layers)
        _let_relus_overwrite(self.base, {self._activations[name] for name, n in calls.items() if n == 1})

        parameters, buffers = stack_module_state(list(models))
        self.parameters = {
            name: self._spread(value.mT if name in self._transposed else value).requires_grad_(
                value.requires_grad
            )
            for name, value in parameters.items()
        }
        self.trained = [value for value in self.parameters.values() if value.requires_grad]
        self.buffers = {name: self._spread(value) for name, value in buffers.items()}
        # RReLU's slopes are drawn outside vmap, once a seed: a seed meets the same slopes at every learning rate.
        self._random = {
            layer.name: (layer.shape, [model.get_submodule(layer.name) for model in models])
            for layer in layers
            if isinstance(self._activations[layer.name], activations.RReLU)
        }

    def _spread(self, value: Tensor) -> Tensor:
        """Repeat (seeds, ...) for each learning rate, to (networks, ...)."""
        dtype = self.dtype if value.is_floating_point() else value.dtype
        value = value.detach().to(device=self.device, dtype=dtype)
        return value.expand(self.n_rates, *value.shape).reshape(self.size, *value.shape[1:]).clone()

    def draw_slopes(self, n_samples: int) -> dict[str, Tensor]:
        """Draw the slopes of every RReLU for a batch of n samples: name -> (networks, samples, ...)."""
        return {
            name: self._spread(
                torch.stack([m.draw(torch.Size([n_samples, *shape]), dtype=self.dtype) for m in modules])
            )
            for name, (shape, modules) in self._random.items()
        }

    def forward(
        self,
        x: Tensor,
        *,
        training: bool,
        shared: bool = False,
        slopes: Mapping[str, Tensor] | None = None,
        shifts: Sequence[Tensor] = (),
        record: bool = False,
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Run all networks, network k on x[k], or all on the one x if `shared`.

        Returns the logits (networks, samples, classes) and, if `record`, the pre-activations and the activations
        of each layer. `shifts`, one a layer, are added to the pre-activations: the gradient with respect to a
        shift of zero is the gradient with respect to the pre-activation.
        """
        if self.base.training != training:
            self.base.train(training)
        modules = self._activations

        def one(parameters, buffers, slopes, shifts, x):  # noqa: ANN001 - one network under vmap, else all
            inputs: list[Tensor] = []
            outputs: list[Tensor] = []

            def before(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
                z = arguments[0] + shifts[len(inputs)] if shifts else arguments[0]
                inputs.append(z.clone() if getattr(module, "inplace", False) else z)
                return (z,)

            def after(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
                outputs.append(output)

            with ExitStack() as stack:
                for name, value in slopes.items():
                    modules[name].slopes = value
                    stack.callback(setattr, modules[name], "slopes", None)
                for module in modules.values() if record else ():
                    stack.enter_context(module.register_forward_pre_hook(before))
                    stack.enter_context(module.register_forward_hook(after))
                logits = functional_call(self.base, (parameters, buffers), (x,), tie_weights=self._tied)
            return logits, inputs, outputs

        run = vmap(one, (0, 0, 0, 0, None if shared else 0)) if self._vmap else one
        if shared and not self._vmap:
            x = x.expand(self.size, *x.shape)
        return run(self.parameters, self.buffers, dict(slopes or {}), list(shifts), x)

    @torch.no_grad()
    def model(self, i: int, j: int) -> nn.Module:
        """Give the network with learning rate i and seed j as a module of its own, in evaluation mode."""
        k = i * len(self.models) + j
        model = copy.deepcopy(self.models[j]).to(dtype=self.dtype, device=self.device)
        for name, parameter in model.named_parameters():
            value = self.parameters[name][k]
            parameter.copy_(value.mT if name in self._transposed else value)
        for name, buffer in model.named_buffers():
            buffer.copy_(self.buffers[name][k])
        return model.eval()

    @torch.no_grad()
    def intervene(
        self, intervention: Intervention, optimizer: _Optimizer, index: pd.DataFrame, step: int
    ) -> None:
        """Hand every network with its optimizer's state to a function, and keep what that changes in them."""
        slots = {
            slot: dict(zip((n for n, p in self.parameters.items() if p.requires_grad), values, strict=True))
            for slot, values in optimizer.slots().items()
        }

        def own(name: str, values: Tensor, k: int) -> Tensor:
            return values[k].mT if name in self._transposed else values[k]

        for k, (arm, lr, seed) in enumerate(index[["arm", "lr", "seed"]].itertuples(index=False)):
            model = self.model(*divmod(k, len(self.models)))
            state = {
                slot: {name: own(name, value, k).clone() for name, value in values.items()}
                for slot, values in slots.items()
            }
            intervention(RunningNetwork(arm, float(lr), int(seed), step, model, state))
            parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
            pairs = [
                (f"parameter {name!r}", own(name, values, k), parameters.get(name))
                for name, values in self.parameters.items()
            ]
            pairs += [
                (f"buffer {name!r}", values[k], buffers.get(name)) for name, values in self.buffers.items()
            ]
            pairs += [
                (f"{slot} of {name!r}", own(name, value, k), state.get(slot, {}).get(name))
                for slot, values in slots.items()
                for name, value in values.items()
            ]
            for what, old, new in pairs:
                if new is None or new.shape != old.shape:
                    raise ValueError(
                        f"an intervention may change numbers, but not the architecture: {what} was of shape "
                        f"{tuple(old.shape)} and is {'gone' if new is None else tuple(new.shape)}"
                    )
                old.copy_(new)

    def chunks(self, n_samples: int) -> Iterator[slice]:
        """Cut n samples into pieces that keep what one pass over all networks holds within `_CHUNK`."""
        widest = 1 + sum(math.prod(layer.shape) for layer in self.layers)
        step = max(1, _CHUNK // (self.size * widest))
        return (slice(start, min(start + step, n_samples)) for start in range(0, n_samples, step))

    @torch.no_grad()
    def evaluate(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Give the mean loss and the accuracy of every network on one split, in evaluation mode: (networks,) each.

        A network whose loss is not finite has accuracy NaN.
        """
        loss = torch.zeros(self.size, dtype=torch.float64)
        right = torch.zeros(self.size, dtype=torch.int64)
        for piece in self.chunks(len(x)):
            logits, _, _ = self.forward(x[piece], training=False, shared=True)
            loss += _losses(logits, y[piece].expand(self.size, -1)).sum(dim=1).cpu()
            right += (logits.argmax(dim=2) == y[piece]).sum(dim=1).cpu()
        accuracy = torch.where(loss.isfinite(), right.double() / len(x), torch.nan)
        return loss / len(x), accuracy

    def measure(self, x: Tensor, y: Tensor) -> tuple[list[dict[str, Tensor]], list[Tensor]]:
        """Give the metrics of `Runs.layers` and `Runs.units` on one split, in evaluation mode.

        For each layer name -> (networks,), and the share of samples at which a unit is positive, (networks, units).
        """
        n_layers = len(self.layers)
        weights = sorted({layer.weight for layer in self.layers if layer.weight is not None})
        weights = [name for name in weights if self.parameters[name].requires_grad]
        weight_gradients: dict[str, Tensor | float] = dict.fromkeys(weights, 0.0)
        active: list[Tensor | float] = [
            0.0
        ] * n_layers  # samples at which a unit is not zero: (networks, units)
        negative: list[Tensor | float] = [0.0] * n_layers
        positive: list[Tensor | float] = [0.0] * n_layers  # samples at which a pre-activation is above 0
        activation_square: list[Tensor | float] = [0.0] * n_layers
        gradient_square: list[Tensor | float] = [0.0] * n_layers
        for piece in self.chunks(len(x)):
            n = piece.stop - piece.start
            zero = torch.zeros((), dtype=self.dtype, device=self.device)
            shifts = [zero.expand(self.size, n, *layer.shape).requires_grad_() for layer in self.layers]
            logits, inputs, outputs = self.forward(
                x[piece], training=False, shared=True, shifts=shifts, record=True
            )
            loss = _losses(logits, y[piece].expand(self.size, -1)).sum()
            leaves = shifts + [self.parameters[name] for name in weights]
            gradients = torch.autograd.grad(loss, leaves, materialize_grads=True)
            with torch.no_grad():
                for i, (z, h, g) in enumerate(zip(inputs, outputs, gradients[:n_layers], strict=True)):
                    active[i] += _ones(torch.ne, h).flatten(2).sum(dim=1)
                    negative[i] += _ones(torch.lt, z).flatten(1).sum(dim=1).double()
                    positive[i] += _ones(torch.gt, z).flatten(2).sum(dim=1)
                    activation_square[i] += _square(h)
                    gradient_square[i] += _square(g)
                for name, gradient in zip(weights, gradients[n_layers:], strict=True):
                    weight_gradients[name] += gradient
        results = []
        for i, layer in enumerate(self.layers):
            count = len(x) * math.prod(layer.shape)
            norm = torch.full((self.size,), torch.nan, dtype=torch.float64)
            if layer.weight in weights:
                norm = weight_gradients[layer.weight].flatten(1).double().norm(dim=1) / len(x)
            result = {
                "zero_fraction": (count - active[i].double().sum(dim=1)) / count,
                "negative_fraction": negative[i] / count,
                "dead_fraction": (active[i] == 0).double().mean(dim=1),
                "all_negative_fraction": (positive[i] == 0).double().mean(dim=1),
                "all_positive_fraction": (positive[i] == len(x)).double().mean(dim=1),
                "activation_rms": (activation_square[i] / count).sqrt(),
                "gradient_rms": (gradient_square[i] / count).sqrt(),
                "weight_gradient_norm": norm,
            }
            results.append({name: value.cpu() for name, value in result.items()})
        return results, [(count / len(x)).float().cpu() for count in positive]


def _losses(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy (natural logarithm) of each sample: logits (..., samples, classes) and labels (..., samples)."""
    return functional.cross_entropy(logits.mT, y, reduction="none")  # fastest with the classes in the middle


def _ones(compare: Callable, values: Tensor) -> Tensor:
    """Compare values with 0: 1 where it is so, else 0, in their own dtype, whose sums are faster than a boolean's."""
    return compare(
        values, torch.zeros((), dtype=values.dtype, device=values.device), out=torch.empty_like(values)
    )


def _square(values: Tensor) -> Tensor:
    """Sum the squares of each network's values, in float64 so that small ones do not underflow: (networks,)."""
    return values.flatten(1).double().norm(dim=1).square()


# ---------------------------------------------------------------------------------------------------------------
# Optimizers over stacks: torch.optim's formulas, with one learning rate a network


class _Optimizer:
    """One step of SGD, Adam, AdamW or RMSprop on stacked parameters, with the defaults of `torch.optim`."""

    def __init__(
        self,
        name: str,
        parameters: Sequence[Tensor],
        lr: Tensor,
        *,
        momentum: float,
        weight_decay: float,
        clip_norm: float | None,
        normalize_gradients: bool,
        warmup_steps: int,
        decay_biases: bool,
    ) -> None:
        self.name = name
        self.parameters = parameters
        self.lr = [lr.view(-1, *[1] * (p.dim() - 1)) for p in self.parameters]
        self.momentum, self.weight_decay = momentum, weight_decay
        # A stacked bias has two dimensions, and a stacked matrix three.
        self.decays = [decay_biases or p.dim() > 2 for p in self.parameters]
        self.clip_norm, self.normalize_gradients = clip_norm, normalize_gradients
        self.warmup_steps = warmup_steps
        self.steps = 0
        self.first = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self.second = (
            [] if name == "sgd" else [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        )

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """Change the parameters in place."""
        gradients = list(gradients)
        if self.normalize_gradients:
            gradients = [_unit(g) for g in gradients]
        if self.clip_norm is not None:
            norm = torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)
            factor = (self.clip_norm / (norm + 1e-6)).clamp(max=1.0)
            gradients = [g * factor.view(-1, *[1] * (g.dim() - 1)) for g in gradients]
        self.steps += 1
        warmup = min(1.0, self.steps / self.warmup_steps) if self.warmup_steps else 1.0
        for i, (p, lr, g) in enumerate(zip(self.parameters, self.lr, gradients, strict=True)):
            if self.weight_decay and self.decays[i] and self.name == "adamw":
                p.mul_(1 - warmup * self.weight_decay * lr)
            elif self.weight_decay and self.decays[i]:
                g = g.add(p, alpha=self.weight_decay)
            p.addcmul_(self._direction(i, g), lr, value=-warmup)

    def slots(self) -> dict[str, list[Tensor]]:
        """Give what the optimizer remembers, by the names that `torch.optim` has for it: one tensor a parameter."""
        if self.name in ("adam", "adamw"):
            return {"exp_avg": self.first, "exp_avg_sq": self.second}
        momentum = {"momentum_buffer": self.first} if self.momentum else {}
        return momentum | ({"square_avg": self.second} if self.name == "rmsprop" else {})

    def _direction(self, i: int, g: Tensor) -> Tensor:
        """Give what is multiplied by the learning rate and taken away from parameter i, whose gradient is g."""
        first = self.first[i]
        if self.name == "sgd":
            return first.mul_(self.momentum).add_(g) if self.momentum else g
        second = self.second[i]
        if self.name == "rmsprop":
            second.mul_(0.99).addcmul_(g, g, value=0.01)
            scaled = g / (second.sqrt() + 1e-8)
            return first.mul_(self.momentum).add_(scaled) if self.momentum else scaled
        first.lerp_(g, 0.1)
        second.mul_(0.999).addcmul_(g, g, value=0.001)
        first_correction, second_correction = 1 - 0.9**self.steps, 1 - 0.999**self.steps
        return (first / first_correction) / ((second / second_correction).sqrt() + 1e-8)


def _unit(gradients: Tensor) -> Tensor:
    """Divide each network's gradient by its norm; where squares would underflow, scale by the largest entry first."""
    flat = gradients.flatten(1)
    norm = flat.norm(dim=1, keepdim=True)
    if (norm < torch.finfo(flat.dtype).tiny ** 0.25).any():
        largest = flat.abs().amax(dim=1, keepdim=True)
        flat = flat / torch.where(largest == 0, 1.0, largest)
        norm = flat.norm(dim=1, keepdim=True)
        norm = torch.where(norm == 0, 1.0, norm)
    return (flat / norm).view_as(gradients)


# ---------------------------------------------------------------------------------------------------------------
# Interventions


@dataclass(frozen=True)
class RunningNetwork:
    """One network in the middle of its training, as an intervention of `train` gets it.

    What the intervention changes in the parameters and buffers of `model` and in the tensors of `optimizer_state`,
    in place, is what the training goes on with.

    Attributes
    ----------
    arm : str
    lr : float
    seed : int
    step : int
        How many steps are done.
    model : torch.nn.Module
        The network, in evaluation mode; a copy.
    optimizer_state : dict of str to dict of str to torch.Tensor
        What the optimizer remembers, by its name in `torch.optim` ("momentum_buffer" for SGD with momentum,
        "exp_avg" and "exp_avg_sq" for Adam and AdamW, "square_avg" for RMSprop; nothing for plain SGD), then by the
        parameter's name: a tensor of the parameter's shape.

    Notes
    -----
    `networks.kill_units` and `networks.recycle_units` take the last two. Chapter 4 intervenes.
    """

    arm: str
    lr: float
    seed: int
    step: int
    model: nn.Module
    optimizer_state: dict[str, dict[str, Tensor]]


Intervention = Callable[[RunningNetwork], None]


# ---------------------------------------------------------------------------------------------------------------
# The result


@dataclass(frozen=True, eq=False)
class Runs:
    """What came of a training: every run's course as tidy frames, and its network.

    A run is one network: an (arm, learning rate, seed). Losses are mean cross-entropies in nats; all values are
    measured in evaluation mode on a whole split. A run is `diverged` from the epoch on in which a loss stopped
    being finite; from then on its accuracies and layer metrics are NaN.

    Attributes
    ----------
    history : pandas.DataFrame
        A row a (arm, lr, seed, epoch), epoch 0 being the untrained network: train_loss, train_accuracy,
        validation_loss, validation_accuracy, diverged.
    layers : pandas.DataFrame
        A row a (arm, lr, seed, step, layer) on the whole training split, with the epoch as a fraction:

        - zero_fraction: share of activations that are exactly zero, over samples and units,
        - negative_fraction: share of pre-activations below zero,
        - dead_fraction: share of units whose activation is zero for every sample,
        - all_negative_fraction: share of units whose pre-activation is 0 or below for every sample; a ReLU unit of
          this kind is dead, a leaky one linear (chapter 5),
        - all_positive_fraction: share of units whose pre-activation is above 0 for every sample,
        - activation_rms: root mean square of the activations,
        - gradient_rms: root mean square, over samples and units, of the derivative of a sample's loss with
          respect to the pre-activations,
        - weight_gradient_norm: norm of the mean loss's gradient with respect to the weights that feed the layer;
          NaN where these are not trained, or there are none.
    units : pandas.DataFrame
        A row a (arm, lr, seed, step, layer, unit), with the epoch, if `train` was asked to track the units, else
        empty: positive_fraction, the share of training samples at which the unit's pre-activation is above 0. A
        ReLU unit is dead on the training split where it is 0, and always on where it is 1.

    Notes
    -----
    Chapter 1 makes the first ones, and reads them.
    """

    history: pd.DataFrame
    layers: pd.DataFrame
    units: pd.DataFrame
    _dataset: Dataset = field(repr=False)
    _stacks: dict[str, _Stack] = field(repr=False)
    _rates: tuple[float, ...]
    _seeds: tuple[int, ...]

    def best_lr(self) -> pd.DataFrame:
        """Choose each arm's learning rate by the mean validation accuracy after the last epoch.

        Among the rates whose mean lies within one standard error of the best one's, the smallest is taken. A
        diverged run counts as accuracy 0.

        Returns
        -------
        pandas.DataFrame
            A row an arm: arm, lr, at_edge (the chosen rate or the best one is the smallest or largest of a grid of
            two or more: the grid should reach further), diverged_fraction (of the runs at the chosen rate).
        """
        return pd.DataFrame(
            {"arm": arm, **_best_rate(final)} for arm, final in self._final().groupby("arm", sort=False)
        )

    def tuned(self) -> pd.DataFrame:
        """Give the rows of `history` at each arm's learning rate as `best_lr` chooses it."""
        chosen = self.best_lr().set_index("arm")["lr"]
        return self.history[self.history["lr"] == self.history["arm"].map(chosen)].reset_index(drop=True)

    def fates(self) -> pd.DataFrame:
        """Say what became of every tracked unit: `measures.unit_fates` of `units`, over the steps measured.

        Returns
        -------
        pandas.DataFrame
            A row a (arm, lr, seed, layer, unit): fate ("never dead", "born dead", "died" or "revived", as of the last
            measurement), deaths and revivals (how often the unit was first alive and then dead, and the reverse).
            Units of diverged runs are left out: they are neither dead nor alive.

        Raises
        ------
        ValueError
            If the units were not tracked.

        Notes
        -----
        Chapter 4 counts with it.
        """
        if self.units.empty:
            raise ValueError("the units were not tracked; call train(..., track_units=True)")
        parts = []
        for (arm, layer), frame in self.units.groupby(["arm", "layer"], sort=False):
            names = ["lr", "seed", "unit"]
            shares = frame.pivot(index="step", columns=names, values="positive_fraction").sort_index()
            shares = shares.loc[:, shares.notna().all()]
            if shares.empty:
                continue
            fates = measures.unit_fates(torch.from_numpy(shares.to_numpy() == 0))
            parts.append(
                shares.columns.to_frame(index=False).assign(
                    arm=arm,
                    layer=layer,
                    fate=fates.words(),
                    deaths=fates.deaths.numpy(),
                    revivals=fates.revivals.numpy(),
                )
            )
        columns = ["arm", "lr", "seed", "layer", "unit", "fate", "deaths", "revivals"]
        return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)

    def test(self) -> pd.DataFrame:
        """Measure every trained network on the test split.

        Returns
        -------
        pandas.DataFrame
            A row a (arm, lr, seed): test_loss, test_accuracy, diverged.
        """
        diverged = self._final().set_index(["arm", "lr", "seed"])["diverged"]
        frames = []
        for arm, stack in self._stacks.items():
            x = self._dataset.x_test.to(stack.device, stack.dtype)
            loss, accuracy = stack.evaluate(x, self._dataset.y_test.to(stack.device))
            frame = _index_frame(arm, self._rates, self._seeds)
            frames.append(frame.assign(test_loss=loss.numpy(), test_accuracy=accuracy.numpy()))
        result = pd.concat(frames, ignore_index=True).join(diverged, on=["arm", "lr", "seed"])
        result.loc[result["diverged"], "test_accuracy"] = np.nan
        return result

    def model(self, *, arm: str | None = None, lr: float | None = None, seed: int | None = None) -> nn.Module:
        """Give one trained network.

        Parameters
        ----------
        arm : str, optional
            May be left out where there is one arm; likewise `lr` and `seed`.
        lr : float, optional
        seed : int, optional

        Returns
        -------
        torch.nn.Module
            A new module in evaluation mode with the run's final weights.

        Raises
        ------
        ValueError
            If no run has this arm, learning rate or seed, or one is left out where there are several.
        """
        arm = _one_of("arm", arm, tuple(self._stacks))
        i = self._rates.index(_one_of("lr", lr, self._rates))
        j = self._seeds.index(_one_of("seed", seed, self._seeds))
        stack = self._stacks[arm]
        return stack.model(i, j)

    def _final(self) -> pd.DataFrame:
        return self.history[self.history["epoch"] == self.history["epoch"].max()]


def tuned(final: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Keep, of a table of trained networks, those at each arm's own learning rate, chosen as `Runs.best_lr` does.

    Parameters
    ----------
    final : pandas.DataFrame
        A row a network, after its last epoch: lr, validation_accuracy, diverged, and what names the arm. A table of
        `helpers.studies`, say.
    by : sequence of str
        The columns that name an arm; none, if there is one arm.

    Returns
    -------
    pandas.DataFrame
        Rows of `final` in their order, with the column at_edge: whether the arm's rate is at the edge of its grid.

    Raises
    ------
    ValueError
        If a column is missing.

    Notes
    -----
    Chapter 2 reads its tables with it.
    """
    missing = sorted({"lr", "validation_accuracy", "diverged", *by} - set(final.columns))
    if missing:
        raise ValueError(f"the table has no column {', '.join(missing)}; it has {', '.join(final.columns)}")
    parts = []
    for _, arm in final.groupby(list(by), sort=False) if by else [((), final)]:
        best = _best_rate(arm)
        parts.append(arm[arm["lr"] == best["lr"]].assign(at_edge=best["at_edge"]))
    return pd.concat(parts).sort_index()


def _best_rate(final: pd.DataFrame) -> dict[str, float | bool]:
    """Choose the learning rate of one arm as `Runs.best_lr` describes it: lr, at_edge, diverged_fraction."""
    diverged = final["diverged"].astype(bool)
    score = final["validation_accuracy"].where(~diverged, 0.0)
    by_rate = score.groupby(final["lr"])
    mean, error = by_rate.mean(), by_rate.sem().fillna(0.0)
    top = mean.idxmax()
    lr = mean.index[mean >= mean[top] - error[top]].min()
    edges = {mean.index.min(), mean.index.max()}
    return {
        "lr": float(lr),
        "at_edge": len(mean) > 1 and bool({lr, top} & edges),
        "diverged_fraction": float(diverged[final["lr"] == lr].mean()),
    }


def _one_of(name: str, value: object, values: tuple) -> object:
    if value is None and len(values) == 1:
        return values[0]
    if value not in values:
        raise ValueError(f"no run has {name} {value!r}; choose one of {', '.join(map(repr, values))}")
    return value


def _index_frame(arm: str, rates: Sequence[float], seeds: Sequence[int]) -> pd.DataFrame:
    """Make the columns that name the networks of a stack, in its order."""
    return pd.DataFrame({"arm": arm, "lr": np.repeat(rates, len(seeds)), "seed": np.tile(seeds, len(rates))})


# ---------------------------------------------------------------------------------------------------------------
# Training


def train(
    builds: Build | Mapping[str, Build],
    dataset: Dataset,
    *,
    seeds: int | Sequence[int] = 10,
    lr: float | Sequence[float] = 0.1,
    optimizer: str = "sgd",
    epochs: int = 20,
    batch_size: int = 100,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    decay_biases: bool = True,
    activation_penalty: float = 0.0,
    clip_norm: float | None = None,
    normalize_gradients: bool = False,
    warmup_steps: int = 0,
    evaluate_every: int = 1,
    measure_every: int | None = None,
    track_units: bool = False,
    interventions: Mapping[int, Intervention] | None = None,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    progress: bool = True,
) -> Runs:
    """Train a classifier for every arm, learning rate and seed; all pairs of rate and seed of an arm at once.

    Parameters
    ----------
    builds : callable or mapping of str to callable
        ``build(seed=...)`` returns a network that maps (samples, n_features) to logits (samples, n_classes), of the
        same architecture for every seed: ``functools.partial(networks.mlp, 40, 10, hidden=[32])``. Parameters that
        require no gradient stay as they are. A mapping names several arms; one build alone is the arm "network".
    dataset : Dataset
        What `data.load` gives.
    seeds : int or sequence of int
        n means 0, ..., n - 1. A seed decides a run's initial weights and its order of the data (`data_order`), so
        seeds are independent runs, and the same seed pairs runs across learning rates and arms.
    lr : float or sequence of float
        The learning rates; each is tried with each seed.
    optimizer : {"sgd", "adam", "adamw", "rmsprop"}
        As in `torch.optim`, with its defaults but for `weight_decay`, which is 0 unless given.
    epochs : int
        Passes over the training split; the last partial batch of a pass is dropped.
    batch_size : int
        Samples a step.
    momentum : float
        For "sgd" and "rmsprop", as in `torch.optim`.
    weight_decay : float
        Added to the gradient as weight_decay · weight; decoupled from it in "adamw".
    decay_biases : bool
        Whether the decay is for all parameters, as in `torch.optim`, or for those with two or more dimensions only:
        weights, but not biases nor the parameters of a normalisation.
    activation_penalty : float
        Adds this times the sum of the absolute activations over layers and units, averaged over the batch, to
        the loss (chapter 3).
    clip_norm : float, optional
        Scales a network's whole gradient down to this norm where it is longer (Pascanu et al. 2013).
    normalize_gradients : bool
        Divides each parameter tensor's gradient by its norm before anything else is done with it, so that
        only its direction counts: the control that separates a small gradient from an uninformative one (chapter 1).
    warmup_steps : int
        The learning rate of step t = 1, 2, ... is multiplied by min(1, t / warmup_steps).
    evaluate_every : int
        Fills `Runs.history` before the first epoch, after each `evaluate_every` epochs and after the last. An
        evaluation runs over two whole splits, a third or so of the time of an epoch.
    measure_every : int, optional
        Fills `Runs.layers` before the first step, after each `measure_every` steps and after the last; None: before
        the first and after the last; 0: not at all, which leaves it empty.
    track_units : bool
        Fills `Runs.units` whenever `Runs.layers` is filled: a row for every unit, so mind how many there are.
    interventions : mapping of int to callable, optional
        ``interventions[t]`` is called with each network, a `RunningNetwork`, when t steps are done and what is to be
        measured then has been measured; t from 0 to the number of steps less one.
    dtype, device
        Of the parameters and the data.
    progress : bool
        Show a progress bar on stderr, which is cleared at the end. TQDM_DISABLE=1 in the environment silences it.

    Returns
    -------
    Runs

    Raises
    ------
    ValueError
        If a name is unknown, a number out of range, the seeds or rates are empty, repeated or negative, the
        network does not fit the data, an intervention comes too late or changes a shape, a build's architecture
        depends on its seed, a network draws from the global random generator (dropout, `torch.nn.RReLU`), so that its
        runs would not be reproducible, or a batch normalisation has no running statistics.
    TypeError
        If a build is not callable or does not return a module, or an integer is something else.

    Notes
    -----
    Chapter 1 writes this training by hand, for one network, before it uses it.

    Examples
    --------
    >>> build = functools.partial(networks.mlp, 40, 10, hidden=[32])  # doctest: +SKIP
    >>> runs = train(build, data.load("mnist1d"), seeds=3, lr=[0.01, 0.1])  # doctest: +SKIP
    """
    arms = _checked_arms(builds)
    seeds = _checked_seeds(seeds)
    rates = _checked_rates(lr)
    _check_settings(
        optimizer,
        epochs,
        batch_size,
        momentum,
        weight_decay,
        activation_penalty,
        clip_norm,
        warmup_steps,
        evaluate_every,
        measure_every,
    )
    if track_units and measure_every == 0:
        raise ValueError(
            "track_units needs measurements, but measure_every is 0; leave it out, or give steps"
        )
    if not isinstance(dataset, Dataset):
        raise TypeError(f"dataset must be a Dataset, as data.load gives, but is a {type(dataset).__name__}")
    n_samples = len(dataset.x_train)
    if batch_size > n_samples:
        raise ValueError(f"batch_size {batch_size} is larger than the training split of {n_samples} samples")

    x, y = dataset.x_train.to(device, dtype), dataset.y_train.to(device)
    splits = {
        "train": (x, y),
        "validation": (dataset.x_validation.to(device, dtype), dataset.y_validation.to(device)),
    }
    stacks = {
        arm: _Stack(*_checked_models(arm, build, seeds, dataset), len(rates), dtype, device)
        for arm, build in arms.items()
    }
    steps = n_samples // batch_size
    interventions = _checked_interventions(interventions, epochs * steps)
    histories, layers, units = [], [], []
    silence = {} if progress else {"disable": True}  # given only then: else tqdm reads TQDM_DISABLE
    with (
        _flushed_denormals(),
        tqdm(total=len(arms) * epochs * steps, leave=False, delay=1, mininterval=0.5, **silence) as bar,
    ):
        for arm, stack in stacks.items():
            bar.set_description(arm, refresh=False)
            recorder = _Recorder(_index_frame(arm, rates, seeds), stack, splits, steps, track_units)
            optimize = _Optimizer(
                optimizer,
                stack.trained,
                torch.tensor(rates, dtype=dtype, device=device).repeat_interleave(len(seeds)),
                momentum=momentum,
                weight_decay=weight_decay,
                clip_norm=clip_norm,
                normalize_gradients=normalize_gradients,
                warmup_steps=warmup_steps,
                decay_biases=decay_biases,
            )
            recorder.record_epoch(0)
            if measure_every != 0:
                recorder.record_layers(0)
            for epoch in range(1, epochs + 1):
                orders = torch.stack([data_order(seed, epoch, n_samples) for seed in seeds]).to(device)
                for batch in range(steps):
                    step = (epoch - 1) * steps + batch
                    if step in interventions:
                        stack.intervene(interventions[step], optimize, recorder.index, step)
                    picked = orders[:, batch * batch_size : (batch + 1) * batch_size]
                    loss, gradients = _gradients(
                        stack,
                        x[picked].repeat(len(rates), 1, 1),
                        y[picked].repeat(len(rates), 1),
                        activation_penalty,
                    )
                    recorder.diverged |= ~loss.isfinite()
                    optimize.step(gradients)
                    bar.update()
                    step += 1
                    if measure_every != 0 and (
                        step == epochs * steps or (measure_every and step % measure_every == 0)
                    ):
                        recorder.record_layers(step)
                if epoch % evaluate_every == 0 or epoch == epochs:
                    recorder.record_epoch(epoch)
            histories += recorder.history
            layers += recorder.layers
            units += recorder.units
    return Runs(
        history=pd.concat(histories, ignore_index=True),
        layers=pd.concat(layers, ignore_index=True) if layers else pd.DataFrame(columns=list(_LAYER_COLUMNS)),
        units=pd.concat(units, ignore_index=True) if units else pd.DataFrame(columns=list(_UNIT_COLUMNS)),
        _dataset=dataset,
        _stacks=stacks,
        _rates=rates,
        _seeds=seeds,
    )


@contextmanager
def _flushed_denormals() -> Iterator[None]:
    """Let numbers below 1e-38 be zero meanwhile: vanishing gradients are full of them, and they take far longer."""
    before = (torch.tensor(1e-40) * 1).item() == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _gradients(
    stack: _Stack, x: Tensor, y: Tensor, activation_penalty: float
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Give each network's loss on its batch, (networks,), and the gradients of all parameters."""
    logits, _, outputs = stack.forward(
        x, training=True, slopes=stack.draw_slopes(x.shape[1]), record=activation_penalty > 0
    )
    loss = _losses(logits, y).mean(dim=1)
    if activation_penalty > 0:
        loss = loss + activation_penalty * sum(h.abs().flatten(2).sum(dim=2).mean(dim=1) for h in outputs)
    gradients = torch.autograd.grad(loss.sum(), stack.trained, materialize_grads=True)
    return loss.detach(), gradients


class _Recorder:
    """Collects the frames of one arm as it trains."""

    def __init__(
        self,
        index: pd.DataFrame,
        stack: _Stack,
        splits: Mapping[str, tuple[Tensor, Tensor]],
        steps: int,
        track_units: bool,
    ) -> None:
        self.index, self.stack, self.splits, self.steps = index, stack, splits, steps
        self.track_units = track_units
        self.diverged = torch.zeros(stack.size, dtype=torch.bool, device=stack.device)
        self.history: list[pd.DataFrame] = []
        self.layers: list[pd.DataFrame] = []
        self.units: list[pd.DataFrame] = []

    def record_epoch(self, epoch: int) -> None:
        """Add the rows of `Runs.history` for one epoch."""
        columns = {}
        for split, (x, y) in self.splits.items():
            loss, accuracy = self.stack.evaluate(x, y)
            self.diverged |= ~loss.isfinite().to(self.diverged.device)
            columns |= {f"{split}_loss": loss.numpy(), f"{split}_accuracy": accuracy.numpy()}
        frame = self.index.assign(epoch=epoch, **columns, diverged=self.diverged.cpu().numpy())
        frame.loc[frame["diverged"], ["train_accuracy", "validation_accuracy"]] = np.nan
        self.history.append(frame)

    def record_layers(self, step: int) -> None:
        """Add the rows of `Runs.layers`, and of `Runs.units` if they are tracked, for one step."""
        x, y = self.splits["train"]
        layers, positive = self.stack.measure(x, y)
        for number, metrics in enumerate(layers, start=1):
            frame = self.index.assign(
                epoch=step / self.steps,
                step=step,
                layer=number,
                **{name: value.numpy() for name, value in metrics.items()},
            )
            frame.loc[self.diverged.cpu().numpy(), list(_LAYER_METRICS)] = np.nan
            self.layers.append(frame)
        for number, shares in enumerate(positive if self.track_units else (), start=1):
            shares[self.diverged.cpu()] = math.nan
            n_units = shares.shape[1]
            frame = self.index.loc[self.index.index.repeat(n_units)].reset_index(drop=True)
            self.units.append(
                frame.assign(
                    epoch=step / self.steps,
                    step=step,
                    layer=number,
                    unit=np.tile(np.arange(n_units), self.stack.size),
                    positive_fraction=shares.flatten().numpy(),
                )
            )


# ---------------------------------------------------------------------------------------------------------------
# At the door


def _checked_arms(builds: Build | Mapping[str, Build]) -> dict[str, Build]:
    arms = dict(builds) if isinstance(builds, Mapping) else {"network": builds}
    if not arms:
        raise ValueError("builds must hold at least one arm, but is empty")
    for arm, build in arms.items():
        if isinstance(build, nn.Module) or not callable(build):
            raise TypeError(
                f"arm {arm!r} must be a function that is called as build(seed=...) and returns a network, "
                f"such as functools.partial(networks.mlp, ...), but is {build!r}"
            )
    return arms


def _checked_seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(seeds, int | np.integer) and not isinstance(seeds, bool):
        if seeds < 1:
            raise ValueError(f"seeds must be at least 1, or a sequence of seeds, but is {seeds}")
        return tuple(range(seeds))
    if not isinstance(seeds, Iterable):
        raise TypeError(f"seeds must be a number of seeds, or a sequence of seeds, but is {seeds!r}")
    values = tuple(initialization.checked_seed(seed) for seed in seeds)
    if not values:
        raise ValueError("seeds must hold at least one seed, but is empty")
    if len(set(values)) < len(values):
        raise ValueError(f"seeds must differ from each other, but are {values}")
    return values


def _checked_rates(lr: float | Sequence[float]) -> tuple[float, ...]:
    values = tuple(np.atleast_1d(np.asarray(lr, dtype=float)).tolist())
    if not values:
        raise ValueError("lr must hold at least one learning rate, but is empty")
    if any(not math.isfinite(value) or value < 0 for value in values):
        raise ValueError(f"learning rates must be finite and 0 or above, but lr is {values}")
    if len(set(values)) < len(values):
        raise ValueError(f"learning rates must differ from each other, but lr is {values}")
    return values


def _checked_interventions(
    interventions: Mapping[int, Intervention] | None, n_steps: int
) -> dict[int, Intervention]:
    checked = dict(interventions or {})
    for step, intervention in checked.items():
        if not isinstance(step, int | np.integer) or isinstance(step, bool):
            raise TypeError(f"interventions must be keyed by numbers of steps, but one is {step!r}")
        if not 0 <= step < n_steps:
            raise ValueError(
                f"an intervention must come between step 0 and step {n_steps - 1}, the last but one, "
                f"but one is at {step}"
            )
        if not callable(intervention):
            raise TypeError(
                f"the intervention at step {step} must be a function that is called with a RunningNetwork, "
                f"but is {intervention!r}"
            )
    return checked


def _check_settings(
    optimizer: str,
    epochs: int,
    batch_size: int,
    momentum: float,
    weight_decay: float,
    activation_penalty: float,
    clip_norm: float | None,
    warmup_steps: int,
    evaluate_every: int,
    measure_every: int | None,
) -> None:
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {optimizer!r}; the optimizers are {', '.join(OPTIMIZERS)}")
    if momentum and optimizer not in ("sgd", "rmsprop"):
        raise ValueError(
            f"momentum is for sgd and rmsprop, but optimizer is {optimizer!r} and momentum {momentum}"
        )
    for name, value, least in [
        ("epochs", epochs, 1),
        ("batch_size", batch_size, 1),
        ("warmup_steps", warmup_steps, 0),
        ("evaluate_every", evaluate_every, 1),
        ("measure_every", 0 if measure_every is None else measure_every, 0),
    ]:
        if not isinstance(value, int | np.integer) or isinstance(value, bool):
            raise TypeError(f"{name} must be an integer, but is {value!r}")
        if value < least:
            raise ValueError(f"{name} must be {least} or above, but is {value}")
    for name, value in [
        ("momentum", momentum),
        ("weight_decay", weight_decay),
        ("activation_penalty", activation_penalty),
    ]:
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be finite and 0 or above, but is {value}")
    if clip_norm is not None and not (math.isfinite(clip_norm) and clip_norm > 0):
        raise ValueError(f"clip_norm must be finite and above 0, or None, but is {clip_norm}")


def _checked_models(
    arm: str, build: Build, seeds: Sequence[int], dataset: Dataset
) -> tuple[list[nn.Module], list[_Layer]]:
    models = [build(seed=seed) for seed in seeds]
    for seed, model in zip(seeds, models, strict=True):
        if not isinstance(model, nn.Module):
            raise TypeError(
                f"arm {arm!r}: build(seed={seed}) must return an nn.Module, but returned {model!r}"
            )
        shapes = {name: value.shape for name, value in model.state_dict().items()}
        if repr(model) != repr(models[0]) or shapes != {
            k: v.shape for k, v in models[0].state_dict().items()
        }:
            raise ValueError(
                f"arm {arm!r}: the seeds of one arm must share one architecture, but build(seed={seeds[0]}) returned\n"
                f"{models[0]}\nand build(seed={seed}) returned\n{model}\nMake them separate arms instead."
            )
        model.train()
    if not any(parameter.requires_grad for parameter in models[0].parameters()):
        raise ValueError(
            f"arm {arm!r}: the network has no parameters to train (none that requires a gradient)"
        )
    for name, module in models[0].named_modules():
        if isinstance(module, nn.modules.dropout._DropoutNd | nn.RReLU):
            raise ValueError(
                f"arm {arm!r}: module {name!r}, {module}, draws from the global random generator, so its runs "
                "could not be repeated; for a randomised leaky ReLU use activations.make('rrelu')"
            )
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not module.track_running_stats:
            raise ValueError(
                f"arm {arm!r}: module {name!r}, {module}, normalises by the samples it happens to be evaluated with; "
                "leave track_running_stats on"
            )
    first = next(models[0].parameters())
    sample = dataset.x_train[:2].to(first.device, first.dtype)
    try:
        layers, output = _trace(models[0], sample)
    except RuntimeError as error:
        raise ValueError(
            f"arm {arm!r}: the network cannot take inputs of {dataset.n_features} features, "
            f"as {dataset.name!r} has: {error}"
        ) from error
    if output.shape != (2, dataset.n_classes):
        raise ValueError(
            f"arm {arm!r}: the network must give {dataset.n_classes} logits a sample for {dataset.name!r}, "
            f"but for 2 samples it gives the shape {tuple(output.shape)}"
        )
    calls = [layer.name for layer in layers]
    for name in sorted(set(calls)):
        if calls.count(name) > 1 and isinstance(models[0].get_submodule(name), activations.RReLU):
            raise ValueError(
                f"arm {arm!r}: RReLU {name!r} is called {calls.count(name)} times; make one for each call"
            )
    return models, layers
