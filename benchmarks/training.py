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
EPOCHS = 20  # as in the chapters: what is done once a training weighs as much as it does there
REPETITIONS = 3


def plain_loop(
    build: Callable[..., nn.Module],
    dataset: data.Dataset,
    *,
    seed: int,
    lr: float,
    epochs: int,
    batch_size: int,
) -> list[tuple[float, float, float, float]]:
    """Train one network as `training.train` does, on the same batches, written as one would write it by hand.

    Returns, for each epoch, the loss and accuracy on the training split and on the validation split.
    """

    def evaluate(x: Tensor, y: Tensor) -> tuple[float, float]:
        model.eval()
        with torch.no_grad():
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
        train = evaluate(dataset.x_train, dataset.y_train)
        validation = evaluate(dataset.x_validation, dataset.y_validation)
        history.append((*train, *validation))
    return history


def speed_up(dataset: data.Dataset, hidden: list[int], *, batch_size: int) -> float:
    """Measure how many times faster a network is trained in a stack of 50: the median over repetitions.

    A repetition trains all networks at once and, before and after that, one of them in a plain loop.
    """
    build = functools.partial(networks.mlp, dataset.n_features, dataset.n_classes, hidden=hidden)

    def alone(lr: float, seed: int, epochs: int) -> float:
        start = time.perf_counter()
        plain_loop(build, dataset, seed=seed, lr=lr, epochs=epochs, batch_size=batch_size)
        return time.perf_counter() - start

    def together(epochs: int) -> float:
        start = time.perf_counter()
        training.train(
            build, dataset, seeds=SEEDS, lr=RATES, epochs=epochs, batch_size=batch_size, progress=False
        )
        return time.perf_counter() - start

    alone(RATES[0], 0, epochs=1)  # warm up
    together(epochs=1)
    ratios = []
    for seed in range(REPETITIONS):
        before = alone(RATES[0], seed, EPOCHS)
        stacked = together(EPOCHS) / (len(RATES) * SEEDS)
        after = alone(RATES[-1], seed, EPOCHS)
        ratios.append((before + after) / 2 / stacked)
    return statistics.median(ratios)


def rows() -> list[Row]:
    """Measure both architectures, on one torch thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        shallow = speed_up(data.load("mnist1d"), [32] * 3, batch_size=50)
        deep = speed_up(data.load("digits"), [64] * 10, batch_size=64)
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
