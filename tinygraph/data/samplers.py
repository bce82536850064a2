"""Samplers, PyTorch's names: which samples an epoch has, in which order. A list of indices is one, too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tinygraph.core.state import Generator
from tinygraph.errors import SettingError

if TYPE_CHECKING:
    from tinygraph.core.types import Array


class Sampler(Protocol):
    """Indices of samples, walked through once an epoch."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[int]: ...


class SequentialSampler:
    """All samples in order.

    >>> list(SequentialSampler([5, 6, 7]))
    [0, 1, 2]
    """

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __len__(self) -> int:
        return len(self.data_source)

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))


class RandomSampler:
    """All samples in a new order each epoch.

    Args:
        data_source: what the samples are of.
        seed: of the orders.
    """

    def __init__(self, data_source: Sized, *, seed: int | None = None) -> None:
        self.data_source = data_source
        self.generator = Generator(seed)

    def __len__(self) -> int:
        return len(self.data_source)

    def __iter__(self) -> Iterator[int]:
        return iter(self.generator.permutation(len(self.data_source)).tolist())


class WeightedRandomSampler:
    """Samples drawn by weight: of rare classes more often than they are.

    Args:
        weights: of each sample, at least zero; they need not add up to 1.
        num_samples: how many an epoch has.
        replacement: whether a sample may come twice in an epoch.
        seed: of the draws.

    Raises:
        SettingError: weights below zero or without a sum, or more samples than have a weight, without replacement.
    """

    def __init__(
        self,
        weights: Sequence[float] | Array,
        num_samples: int,
        replacement: bool = True,
        *,
        seed: int | None = None,
    ) -> None:
        self.weights = np.asarray(weights, float)
        total = self.weights.sum()
        if self.weights.ndim != 1 or not (self.weights >= 0).all() or not 0 < total < np.inf:
            raise SettingError(
                "WeightedRandomSampler: weights must be numbers from zero up with a sum above zero"
            )
        if not replacement and num_samples > np.count_nonzero(self.weights):
            raise SettingError(
                f"WeightedRandomSampler: {num_samples} different samples of {np.count_nonzero(self.weights)} that have "
                f"a weight"
            )
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = Generator(seed)

    def __len__(self) -> int:
        return self.num_samples

    def __iter__(self) -> Iterator[int]:
        shares = self.weights / self.weights.sum()
        drawn = self.generator.numpy.choice(len(shares), self.num_samples, self.replacement, shares)
        return iter(drawn.tolist())
