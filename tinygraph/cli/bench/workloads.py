"""The training steps that are compared: models written once for any module that has PyTorch's `nn` names.

Nothing is measured here; `command.py` does that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


class Workload(NamedTuple):
    """A model, the shape of its input, and how many classes it tells apart (0: it fits numbers)."""

    name: str
    build: Callable[[Any], Any]
    shape: tuple[int, ...]
    classes: int
    learning_rate: float = 0.01


def in_batches(workload: Workload, batch: int) -> Workload:
    """The same with so many examples at a time; 0: as it is.

    >>> in_batches(WORKLOADS[2], 1).name
    'LeNet 1x28x28, batch 1'
    """
    if not batch:
        return workload
    name = f"{workload.name.rpartition(' ')[0]} {batch}"
    return workload._replace(name=name, shape=(batch, *workload.shape[1:]))


def _tiny(nn: ModuleType) -> Any:
    return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))


def _perceptron(nn: ModuleType) -> Any:
    return nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )  # fmt: skip


def _lenet(nn: ModuleType) -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def _vgg(nn: ModuleType) -> Any:
    def pair(channels_in: int, channels_out: int) -> Iterator[Any]:
        for channels in (channels_in, channels_out):
            yield nn.Conv2d(channels, channels_out, 3, padding=1)
            yield nn.ReLU()

    return nn.Sequential(
        *pair(3, 32),
        nn.MaxPool2d(2),
        *pair(32, 64),
        nn.MaxPool2d(2),
        *pair(64, 128),
        nn.Flatten(),
        nn.Linear(8192, 10),
    )


def _residual(nn: Any) -> Any:
    class ResidualBlock(nn.Module):  # type: ignore[misc]  # the base class depends on the framework
        def __init__(self, channels_in: int, channels: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(channels)
            self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(channels)
            self.relu = nn.ReLU()
            plain = stride == 1 and channels_in == channels
            self.shortcut = (
                nn.Identity() if plain else nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False)
            )

        def forward(self, x: object) -> Any:
            out = self.relu(self.bn1(self.conv1(x)))
            return self.relu(self.bn2(self.conv2(out)) + self.shortcut(x))

    def stage(channels_in: int, channels: int, stride: int) -> list[Any]:
        return [
            ResidualBlock(channels_in, channels, stride),
            ResidualBlock(channels, channels, 1),
            ResidualBlock(channels, channels, 1),
        ]

    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        *stage(16, 16, 1), *stage(16, 32, 2), *stage(32, 64, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def _transformer(nn: Any) -> Any:
    class TransformerBlock(nn.Module):  # type: ignore[misc]  # the base class depends on the framework
        def __init__(self, width: int, heads: int) -> None:
            super().__init__()
            self.heads = heads
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
            self.out = nn.Linear(width, width)
            self.softmax = nn.Softmax(dim=-1)
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

        def forward(self, x: Numeric) -> Any:
            batch, length, width = x.shape
            y = self.norm1(x)
            q, k, v = (
                layer(y).reshape(batch, length, self.heads, width // self.heads).swapaxes(1, 2)
                for layer in (self.query, self.key, self.value)
            )
            weights = self.softmax((q @ k.swapaxes(-1, -2)) * (width // self.heads) ** -0.5)
            x = x + self.out((weights @ v).swapaxes(1, 2).reshape(batch, length, width))
            return x + self.mlp(self.norm2(x))

    return nn.Sequential(TransformerBlock(128, 4), nn.Flatten(), nn.Linear(64 * 128, 10))


WORKLOADS = (
    Workload("tiny MLP 2-16-16-1, batch 32", _tiny, (32, 2), 0),
    Workload("MLP 784-512-512-10, batch 128", _perceptron, (128, 784), 10),
    Workload("LeNet 1x28x28, batch 64", _lenet, (64, 1, 28, 28), 10),
    Workload("VGG-small 3x32x32, batch 32", _vgg, (32, 3, 32, 32), 10),
    Workload("ResNet-20 3x32x32, batch 32", _residual, (32, 3, 32, 32), 10),
    Workload("transformer block 64x128, batch 16", _transformer, (16, 64, 128), 10),
)
