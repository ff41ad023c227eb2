"""What stacking networks gains: `training.train` against one plain PyTorch loop after another, per network."""

from __future__ import annotations

import functools
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import Row, as_text
from helpers import data, networks, training

RATES = (0.01, 0.02, 0.05, 0.1, 0.2)
SEEDS = 10
REPETITIONS = 3
EPOCHS = 10


def plain_loop(
    build: Callable[..., nn.Module],
    dataset: data.Dataset,
    *,
    seed: int,
    lr: float,
    epochs: int,
    batch_size: int,
) -> nn.Module:
    """Train one network as `training.train` does, on the same batches, written as one would write it by hand."""

    @torch.no_grad()
    def evaluate(x: Tensor, y: Tensor) -> tuple[float, float]:
        model.eval()
        logits = model(x)
        model.train()
        return functional.cross_entropy(logits, y).item(), (logits.argmax(dim=1) == y).float().mean().item()

    model = build(seed=seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    n_samples = len(dataset.x_train)
    history = []
    for epoch in range(1, epochs + 1):
        order = training.data_order(seed, epoch, n_samples)
        for batch in order[: n_samples // batch_size * batch_size].split(batch_size):
            optimizer.zero_grad()
            functional.cross_entropy(model(dataset.x_train[batch]), dataset.y_train[batch]).backward()
            optimizer.step()
        history.append(
            (
                *evaluate(dataset.x_train, dataset.y_train),
                *evaluate(dataset.x_validation, dataset.y_validation),
            )
        )
    return model


def speed_up(dataset: data.Dataset, hidden: list[int], *, batch_size: int, epochs: int) -> float:
    """Measure how many times faster a network is trained in a stack of 50: the median over repetitions.

    Each repetition trains all networks at once and, half before and half after, one network at each learning
    rate in a plain loop. Both sides train for the same number of epochs.
    """
    build = functools.partial(networks.mlp, dataset.n_features, dataset.n_classes, hidden=hidden)
    settings = {"epochs": epochs, "batch_size": batch_size}

    def alone(rates: tuple[float, ...], seed: int) -> float:
        start = time.perf_counter()
        for lr in rates:
            plain_loop(build, dataset, seed=seed, lr=lr, **settings)
        return time.perf_counter() - start

    def together() -> float:
        start = time.perf_counter()
        training.train(build, dataset, seeds=SEEDS, lr=RATES, progress=False, **settings)
        return time.perf_counter() - start

    ratios = []
    for repetition in range(-1, REPETITIONS):  # the first warms up
        seed = repetition % SEEDS
        before = alone(RATES[:2], seed)
        stacked = together() / (len(RATES) * SEEDS)
        plain = (before + alone(RATES[2:], seed)) / len(RATES)
        if repetition >= 0:
            ratios.append(plain / stacked)
    return statistics.median(ratios)


def rows() -> list[Row]:
    """Measure both architectures, on one torch thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        shallow = speed_up(data.load("mnist1d"), [32] * 3, batch_size=50, epochs=EPOCHS)
        deep = speed_up(data.load("digits"), [64] * 10, batch_size=64, epochs=EPOCHS)
    finally:
        torch.set_num_threads(threads)
    what = "50 networks at once against one loop each: {}"
    return [
        Row(what.format("3 x 32, MNIST-1D"), shallow, 5.5, at_least=True),
        Row(what.format("10 x 64, digits"), deep, 2.3, at_least=True),
    ]


if __name__ == "__main__":
    measured = rows()
    print(as_text(measured))
    sys.exit(0 if all(row.ok for row in measured) else 1)
