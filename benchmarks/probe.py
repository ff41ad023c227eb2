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

PAIRS = 20
PASSES = 5


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
    """Time a forward and backward pass, the block's own beginning and end included.

    It is the least processor time of `PASSES` passes, which other work on a busy machine disturbs least.
    """
    times = []
    for _ in range(PASSES):
        model.zero_grad()
        start = time.process_time()
        with block:
            nn.functional.cross_entropy(model(x), y).backward()
        times.append(time.process_time() - start)
    return min(times)


def cost(model: nn.Module, x: Tensor) -> float:
    """Measure how many times longer a pass takes inside a probe: the median of `PAIRS` pairs of timings.

    The two timings of a pair follow each other, the bare one first in every other pair.
    """
    y = torch.zeros(len(x), dtype=torch.int64)
    ratios = []
    for pair in range(-1, PAIRS):  # the first one warms up
        if pair % 2:
            bare, probed = _seconds(model, x, y, nullcontext()), _seconds(model, x, y, Probe(model))
        else:
            probed, bare = _seconds(model, x, y, Probe(model)), _seconds(model, x, y, nullcontext())
        if pair >= 0:
            ratios.append(probed / bare)
    return statistics.median(ratios)


def rows() -> list[Row]:
    """Measure all networks, on one torch thread."""
    generator = torch.Generator().manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        vectors = torch.randn(500, 40, generator=generator)
        images = torch.randn(32, 1, 28, 28, generator=generator)
        ratios = {
            "MLP of 10 x 64, batch 500": cost(_perceptron(), vectors),
            "CNN on 28 x 28, batch 32": cost(_convolutional(inplace=False), images),
            "CNN with in-place ReLU, batch 32": cost(_convolutional(inplace=True), images),
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
