"""What a probe costs: a forward and backward pass inside `probes.Probe` against a bare one."""

from __future__ import annotations

import statistics
import sys
import time
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from benchmarks import Row, as_text
from helpers.probes import Probe

REPETITIONS = 60


def _perceptron() -> nn.Module:
    """Ten hidden layers of 64 units, as in the book's experiments."""
    layers: list[nn.Module] = []
    for fan_in in [40] + [64] * 9:
        layers += [nn.Linear(fan_in, 64), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, 10))


def _convolutional(inplace: bool) -> nn.Module:
    """Two convolutions and a hidden layer, for images of 28 x 28 pixels."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(inplace), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(inplace), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 7 * 7, 64), nn.ReLU(inplace), nn.Linear(64, 10)),
    )


def _seconds(model: nn.Module, x: Tensor, y: Tensor, block: AbstractContextManager) -> float:
    """Time one forward and backward pass, the block's own beginning and end included."""
    model.zero_grad()
    start = time.perf_counter()
    with block:
        nn.functional.cross_entropy(model(x), y).backward()
    return time.perf_counter() - start


def cost(model: nn.Module, x: Tensor, repetitions: int = REPETITIONS) -> float:
    """Measure how many times longer a pass takes inside a probe: the median over pairs of passes.

    The passes of a pair follow each other, the bare one first in every other pair.
    """
    y = torch.zeros(len(x), dtype=torch.int64)
    probe = Probe(model)
    ratios = []
    for repetition in range(-3, repetitions):  # the first three warm up
        blocks = [nullcontext(), probe] if repetition % 2 else [probe, nullcontext()]
        times = {block is probe: _seconds(model, x, y, block) for block in blocks}
        if repetition >= 0:
            ratios.append(times[True] / times[False])
    return statistics.median(ratios)


def rows() -> list[Row]:
    """Measure all networks, on one torch thread."""
    generator = torch.Generator().manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        vectors = torch.randn(500, 40, generator=generator)
        images = torch.randn(64, 1, 28, 28, generator=generator)
        ratios = {
            "MLP of 10 x 64, batch 500": cost(_perceptron(), vectors),
            "CNN on 28 x 28, batch 64": cost(_convolutional(inplace=False), images),
            "CNN with in-place ReLU": cost(_convolutional(inplace=True), images),
        }
    finally:
        torch.set_num_threads(threads)
    return [
        Row(f"Probe against bare pass: {what}", ratio, 1.3, at_least=False) for what, ratio in ratios.items()
    ]


if __name__ == "__main__":
    measured = rows()
    print(as_text(measured))
    sys.exit(0 if all(row.ok for row in measured) else 1)
