"""The small convolutional network that `demo` and `train` use, built for the shape of the images."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, cast

import numpy as np

from tinygraph import nn
from tinygraph.core.state import read

LARGEST_LAST_GRID = 8  # rows and columns that reach the linear layer; larger grids are averaged down to it


def small_cnn(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Two 3x3 convolutions and a linear layer, about 10,000 parameters for 8x8 images of ten classes.

    Args:
        shape: of one image: channels, rows, columns.
        classes: how many answers there are.
    """
    channels, *grid = shape
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv1"] = nn.Conv2d(channels, 16, 3, padding=1, bias=False)  # the normalisation brings a bias
    layers["norm1"] = nn.BatchNorm2d(16)
    layers["relu1"] = nn.ReLU()
    grid = _pool(layers, "pool1", grid, least=4)
    layers["conv2"] = nn.Conv2d(16, 32, 3, padding=1, bias=False)
    layers["norm2"] = nn.BatchNorm2d(32)
    layers["relu2"] = nn.ReLU()
    grid = _pool(layers, "pool2", grid, least=10)
    if max(grid) > LARGEST_LAST_GRID:
        grid = [min(side, LARGEST_LAST_GRID) for side in grid]
        layers["average"] = nn.AdaptiveAvgPool2d(tuple(grid))
    layers["flatten"] = nn.Flatten()
    layers["linear"] = nn.Linear(32 * grid[0] * grid[1], classes)
    return nn.Sequential(layers)


def first_convolution(network: nn.Sequential) -> nn.Conv2d:
    """The layer whose kernels can be looked at: they meet the image itself."""
    return cast(nn.Conv2d, network[0])


def kernels_of(network: nn.Sequential) -> np.ndarray[Any, Any]:
    """A copy of the first convolution's kernels, (output, input, rows, columns)."""
    return np.array(read(first_convolution(network).weight))


def _pool(layers: OrderedDict[str, nn.Module], name: str, grid: list[int], *, least: int) -> list[int]:
    """Halve the grid if its smaller side is at least so long."""
    if min(grid) < least:
        return grid
    layers[name] = nn.MaxPool2d(2)
    return [side // 2 for side in grid]
