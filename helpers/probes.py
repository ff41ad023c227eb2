"""A probe: what flows forward and backward through one network, recorded while it runs.

`Probe` works on any module, one of `networks.mlp` or somebody else's. It hooks the activation modules for as
long as its ``with`` block lasts; what it records, the functions of `measures` turn into numbers.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from types import TracebackType
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from helpers import activations, measures

__all__ = ["Probe"]

# fmt: off
#: The element-wise activation modules of `torch.nn`.
_MODULES = (
    nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.LeakyReLU, nn.LogSigmoid,
    nn.Mish, nn.PReLU, nn.ReLU, nn.ReLU6, nn.RReLU, nn.SELU, nn.Sigmoid, nn.SiLU, nn.Softplus, nn.Softshrink,
    nn.Softsign, nn.Tanh, nn.Tanhshrink, nn.Threshold,
)

#: Names of the functions that apply an activation, without a leading or trailing "_".
_FUNCTIONS = frozenset((
    "celu", "elu", "gelu", "glu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log_sigmoid",
    "mish", "prelu", "relu", "relu6", "rrelu", "selu", "sigmoid", "silu", "softplus", "softshrink", "softsign",
    "special_expit", "tanh", "tanhshrink", "threshold",
    "rnn_tanh", "rnn_relu", "lstm", "gru", "rnn_tanh_cell", "rnn_relu_cell", "lstm_cell", "gru_cell",
))
# fmt: on

#: The classes of the catalogue, a few of which are its own.
_CATALOGUE = frozenset(type(activations.make(name)) for name in activations.NAMES)

_SIGNALS = ("preactivation", "activation", "gradient")

_STATISTICS = ("mean", "std", "rms", "zero_fraction", "negative_fraction", "dead_fraction", "n")


class Probe:
    """Record pre-activations, activations and gradients of any network, inside a ``with`` block.

    Recorded is each call of an activation module: what goes in (the pre-activation), what comes out (the
    activation), and the gradient of the loss with respect to the pre-activation. The block changes nothing
    about the network and its results, and all hooks are gone when it ends, also by an exception. Entering it
    again forgets what was recorded before.

    Parameters
    ----------
    model : torch.nn.Module
        Any module: a multilayer perceptron, a CNN, an RNN, a transformer; or a part of one.

    Raises
    ------
    TypeError
        If `model` is not a module.
    RuntimeError
        If the block is entered while it is still open, or if anything is read before it was entered.

    Notes
    -----
    *What is an activation module?* One of the catalogue of `helpers.activations`, or another of `torch.nn` that acts
    element by element; softmax, gated units (GLU) and attention do not. `torch.nn.Identity` is a placeholder in
    many models, so it counts only where its own name begins with "activation", as `networks.mlp` names it.

    *What cannot be seen?* An activation that is called as a function, such as ``torch.relu`` in a ``forward``
    or inside `torch.nn.LSTM`, has no module to hook. `unseen` says where that happened. It goes by the names of
    PyTorch's functions, so an activation spelt in other operations (``x.clamp(min=0)``) escapes it, and so does
    what runs in compiled or scripted code.

    *Gradients* arise from a ``backward`` inside the block, and there are none without it, under
    `torch.no_grad`, or where nothing upstream has a parameter to train. They are those of the loss as it is: a
    mean over the batch divides them by its size. Like a parameter's ``.grad``, the gradients of several backward
    passes add up. A pre-activation that is used elsewhere too, by a skip connection, has the gradient along
    all paths.

    *Memory.* Tensors are kept without copying, detached from the graph, until the probe is entered again or
    goes away; only the pre-activations of in-place modules (``nn.ReLU(inplace=True)``), which are about to be
    overwritten, are copied. A tensor that some later operation overwrites, such as ``h += x``, is left out, and
    `unseen` says so.

    Explained in chapter 1, which first does the same by hand.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> with Probe(model) as probe:
    ...     model(torch.ones(5, 2)).mean().backward()
    >>> probe.activations["1"].shape
    torch.Size([5, 3])
    >>> probe.table()[["module", "call", "signal", "n"]]
      module  call         signal   n
    0      1     1  preactivation  15
    1      1     1     activation  15
    2      1     1       gradient  15
    """

    def __init__(self, model: nn.Module) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, but is a {type(model).__name__}")
        self.model = model
        self._calls: list[_Call] = []
        self._running: dict[str, _Call] = {}  # calls of in-place modules that have not ended yet
        self._watch: _FunctionWatch | None = None  # None before the first block
        self._undo: list[Callable[[], None]] | None = None  # what ends the block; None outside of it

    def __enter__(self) -> Probe:
        """Start to record afresh."""
        if self._undo is not None:
            raise RuntimeError("this probe is recording already; to nest probes, make another Probe(model)")
        self._calls, self._running, self._undo = [], {}, []
        names = {module: name for name, module in self.model.named_modules()}
        recorded = {
            module
            for module, name in names.items()
            if _is_recorded(type(module), name.rpartition(".")[2].startswith("activation"))
        }
        for module in recorded:
            name = names[module]
            if getattr(module, "inplace", False):
                before = partial(self._before_inplace, name)
                self._undo.append(module.register_forward_pre_hook(before, with_kwargs=True).remove)
                after = partial(self._after_inplace, name)
                self._undo.append(module.register_forward_hook(after).remove)
            else:
                after = partial(self._after, name)
                self._undo.append(module.register_forward_hook(after, with_kwargs=True).remove)
        self._watch = _FunctionWatch(names, recorded)
        if not all(module in recorded or _is_transparent(type(module)) for module in names):
            self._watch.__enter__()
            self._undo.append(partial(self._watch.__exit__, None, None, None))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove all hooks, and let an exception pass."""
        for undo in reversed(self._undo):
            undo()
        self._undo = None

    # What a hook does costs as much as a small layer, so it is little, and hidden from the watch.

    def _after(
        self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor
    ) -> None:
        """Record a call that has ended."""
        with torch._C.DisableTorchFunction():
            self._begin(name, module, args, kwargs).recorded["activation"] = _kept(output)

    def _before_inplace(
        self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Record the pre-activation of a call that is about to overwrite it."""
        with torch._C.DisableTorchFunction():
            self._running[name] = self._begin(name, module, args, kwargs, copy=True)

    def _after_inplace(self, name: str, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        """Record the activation of that call."""
        with torch._C.DisableTorchFunction():
            self._running.pop(name).recorded["activation"] = _kept(output)

    def _begin(
        self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], copy: bool = False
    ) -> _Call:
        """Record a call with its pre-activation, and ask for the gradient of that."""
        z = args[0] if args else next(iter(kwargs.values()))
        call = _Call(name, type(module).__name__, {"preactivation": _kept(z, copy)})
        self._calls.append(call)
        if z.requires_grad:
            self._undo.append(z.register_hook(call.add_gradient).remove)
        return call

    @property
    def preactivations(self) -> dict[str, Tensor]:
        """Pre-activations, (samples, ...), by module name; by name[1], name[2], ... for a module called repeatedly."""
        return self._tensors("preactivation")

    @property
    def activations(self) -> dict[str, Tensor]:
        """Activations, (samples, ...); their names are those of `preactivations`."""
        return self._tensors("activation")

    @property
    def gradients(self) -> dict[str, Tensor]:
        """Gradients of the loss with respect to the pre-activations, of the same shapes and names."""
        return self._tensors("gradient")

    @property
    def unseen(self) -> dict[str, str]:
        """What ran and was not recorded: for each name of a module, what it did."""
        reasons: dict[str, list[str]] = {}
        for label, _, call in self._numbered():
            for signal in call.overwritten():
                reason = f"{call.kind}: its {signal} was overwritten by a later in-place operation"
                reasons.setdefault(label, []).append(reason)
        for name, (kind, functions) in self._watch.found.items():
            reasons.setdefault(name, []).append(f"{kind} calls {', '.join(functions)}")
        return {name: "; ".join(found) for name, found in reasons.items()}

    def table(self, *, unit_dim: int | None = None) -> pd.DataFrame:
        """Summarise all that was recorded, one row for each module, call and signal.

        Parameters
        ----------
        unit_dim : int, optional
            The dimension of the activations that counts units, for `dead_fraction`. By default it is 1 for
            tensors of four and five dimensions, (samples, channels, height, width), and the last for those of
            two and three, (samples, units) and (samples, positions, units). A one-dimensional convolution's
            (samples, channels, length) looks like the latter: pass 1.

        Returns
        -------
        pandas.DataFrame
            In the order of the calls, with the columns

            - module (str), its name in the model; call (int), from 1; signal (str): "preactivation",
              "activation" or "gradient";
            - mean, std (population standard deviation), rms (root mean square);
            - zero_fraction, negative_fraction: see `measures`;
            - dead_fraction: the share of units whose activation is zero for every sample (and every position);
              NaN for the other signals;
            - n (int): how many numbers the row summarises.

            A signal that was not recorded has no row. NaN or infinity in a signal makes its fractions NaN.

        Raises
        ------
        RuntimeError
            If the block was not entered yet, or no activation module ran in it.
        ValueError
            If `unit_dim` is not a dimension of each activation, or is the dimension of the samples.
        """
        calls = self._numbered()
        if not calls:
            raise RuntimeError(
                "nothing was recorded: no activation module of the model ran inside the with block; "
                f"activations called as functions: {self.unseen or 'none'}"
            )
        rows = [
            (call.name, number, signal, *_statistics(tensor, signal == "activation", unit_dim))
            for _, number, call in calls
            for signal, tensor in call.intact().items()
        ]
        return pd.DataFrame(rows, columns=["module", "call", "signal", *_STATISTICS])

    def _numbered(self) -> list[tuple[str, int, _Call]]:
        """Give each call with its label and its number: it is labelled by both if its module has several."""
        if self._watch is None:
            raise RuntimeError("nothing was recorded yet; run the model inside `with probe:` first")
        total, count, numbered = Counter(call.name for call in self._calls), Counter(), []
        for call in self._calls:
            count[call.name] += 1
            label = call.name if total[call.name] == 1 else f"{call.name}[{count[call.name]}]"
            numbered.append((label, count[call.name], call))
        return numbered

    def _tensors(self, signal: str) -> dict[str, Tensor]:
        """Collect one signal of all calls."""
        intact = [(label, call.intact()) for label, _, call in self._numbered()]
        return _Tensors(signal, {label: tensors[signal] for label, tensors in intact if signal in tensors})


class _Tensors(dict[str, Tensor]):
    """Recorded tensors by name; a name that is missing gets an answer."""

    def __init__(self, signal: str, tensors: dict[str, Tensor]) -> None:
        super().__init__(tensors)
        self._signal = signal

    def __missing__(self, name: str) -> Tensor:
        hint = "; gradients need a backward pass inside the with block" if self._signal == "gradient" else ""
        raise KeyError(
            f"no {self._signal} was recorded for {name!r}; recorded: {', '.join(self) or 'none'}{hint}; "
            "probe.unseen says what could not be"
        )


def _kept(tensor: Tensor, copy: bool = False) -> tuple[Tensor, int | None]:
    """Detach a tensor from the graph, and give its version too: how often it had been written to.

    The version will tell whether the tensor has been overwritten since. A tensor of inference mode has none, so
    that one is copied.
    """
    tensor = tensor.detach()
    inference = tensor.is_inference()
    if copy or inference:
        tensor = tensor.clone()
    return tensor, None if inference else tensor._version


@dataclass(slots=True)
class _Call:
    """One call of an activation module, and the signals that were recorded of it, as `_kept` gives them."""

    name: str
    kind: str
    recorded: dict[str, tuple[Tensor, int | None]]

    def add_gradient(self, gradient: Tensor) -> None:
        """Record the gradient that a backward pass brings, added to those of earlier passes."""
        if "gradient" in self.recorded:
            gradient = self.recorded["gradient"][0] + gradient
        self.recorded["gradient"] = _kept(gradient)

    def intact(self) -> dict[str, Tensor]:
        """Give the tensors that are still what they were when recorded, in the order of the table."""
        return {
            signal: self.recorded[signal][0]
            for signal in _SIGNALS
            if signal in self.recorded and signal not in self.overwritten()
        }

    def overwritten(self) -> list[str]:
        """Name the signals of the other tensors."""
        return [
            signal
            for signal, (tensor, version) in self.recorded.items()
            if version is not None and tensor._version != version
        ]


class _FunctionWatch(TorchFunctionMode):
    """Notices which modules of a model apply an activation as a function, by looking up the call stack."""

    def __init__(self, names: dict[nn.Module, str], recorded: set[nn.Module]) -> None:
        super().__init__()
        self._names = names
        self._recorded = recorded
        #: For each module's name its class and the functions it called, in order and once each.
        self.found: dict[str, tuple[str, dict[str, None]]] = {}

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(function, "__name__", "").strip("_")
        if name in _FUNCTIONS:
            self._note(name)
        return function(*args, **(kwargs or {}))

    def _note(self, function: str) -> None:
        """Charge a call to the innermost module of the model that is running, unless it is recorded."""
        frame = sys._getframe(2)
        while frame is not None:
            module = frame.f_locals.get("self")
            if isinstance(module, nn.Module) and module in self._names:
                if module not in self._recorded:
                    kind = type(module).__name__
                    _, functions = self.found.setdefault(self._names[module], (kind, {}))
                    functions[function] = None
                return
            frame = frame.f_back


@cache
def _is_recorded(kind: type[nn.Module], named_activation: bool) -> bool:
    """Tell whether a module of this class, and with such a name, is an activation that a probe records."""
    if issubclass(kind, nn.Identity):
        return named_activation
    return issubclass(kind, _MODULES) or kind in _CATALOGUE


@cache
def _is_transparent(kind: type[nn.Module]) -> bool:
    """Tell whether the modules of a class, which is not recorded, are known to call no activation as a function.

    That holds for all of `torch.nn` but a few, and for this package. Networks made of these alone are not
    watched, because a watch costs some microseconds for each operation.
    """
    opaque = (nn.GLU, nn.RNNBase, nn.RNNCellBase, nn.TransformerDecoderLayer, nn.TransformerEncoderLayer)
    return kind.__module__.startswith(("torch.nn.modules.", "helpers.")) and not issubclass(kind, opaque)


def _statistics(tensor: Tensor, is_activation: bool, unit_dim: int | None) -> tuple[float | int, ...]:
    """Compute the `_STATISTICS` of one tensor."""
    values = tensor.cpu().double()
    return (
        float(values.mean()),
        float(values.std(correction=0)),
        float(values.square().mean().sqrt()),
        measures.zero_fraction(values),
        measures.negative_fraction(values),
        _dead_fraction(values, unit_dim) if is_activation else math.nan,
        values.numel(),
    )


def _dead_fraction(h: Tensor, unit_dim: int | None) -> float:
    """Measure the share of dead units along `unit_dim`; NaN if there is no such dimension, or no finite input."""
    if unit_dim is None:
        unit_dim = 1 if h.ndim > 3 else -1
    elif not 0 < unit_dim < h.ndim:
        raise ValueError(
            f"unit_dim must be a dimension from 1 to {h.ndim - 1} of an activation of shape {tuple(h.shape)}, "
            f"but is {unit_dim}"
        )
    if h.ndim < 2 or not h.isfinite().all():
        return math.nan
    return float(measures.dead_units(h.movedim(unit_dim, -1).flatten(0, -2)).double().mean())
