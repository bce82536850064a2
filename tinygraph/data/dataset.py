"""Datasets: samples by index. Arrays side by side, subsets, and seeded splits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygraph.core.state import Generator, default_generator
from tinygraph.core.tensor import Tensor
from tinygraph.core.types import Array, require_plain
from tinygraph.errors import DataError, SettingError


class Dataset:
    """Samples by index. Subclasses give `__len__` and `__getitem__`; a sample is a tuple such as (image, label).

    >>> class Squares(Dataset):
    ...     def __len__(self):
    ...         return 3
    ...     def __getitem__(self, index):
    ...         return np.float32(index), np.float32(index**2)
    >>> Squares().take([1, 2])
    (array([1., 2.], dtype=float32), array([1., 4.], dtype=float32))
    """

    epoch = 0  # the walk that a DataLoader is in, from 1: for samples that differ from epoch to epoch

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} needs __len__")

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} needs __getitem__")

    def take(self, indices: Sequence[int] | Array) -> Any:
        """A batch: the samples at `indices`, each of their parts stacked.

        Raises:
            DataError: samples whose parts differ in shape or number.
        """
        samples = [self[int(i)] for i in indices]
        return stack_samples(samples)


class TensorDataset(Dataset):
    """Arrays of one length side by side: sample i is the i-th entry of each.

    Args:
        arrays: arrays or tensors, which are not copied.

    Raises:
        DataError: no arrays, 0-d ones, or lengths that differ.
        DTypeError: a masked array.

    >>> data = TensorDataset(np.zeros((5, 2)), np.arange(5))
    >>> len(data), data[3][1]
    (5, np.int64(3))
    """

    def __init__(self, *arrays: object) -> None:
        for x in arrays:
            require_plain(x)
        self.arrays: tuple[Array, ...] = tuple(
            x.detach().numpy() if isinstance(x, Tensor) else np.asarray(x) for x in arrays
        )
        if not arrays:
            raise DataError("a TensorDataset needs at least one array")
        shapes = [x.shape for x in self.arrays]
        if any(not shape for shape in shapes):
            raise DataError(f"a TensorDataset needs arrays with an axis of samples; shapes given: {shapes}")
        if len({shape[0] for shape in shapes}) > 1:
            raise DataError(f"the arrays of a dataset must have one length; shapes given: {shapes}")

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: Any) -> Any:
        return tuple(x[index] for x in self.arrays)

    def take(self, indices: Sequence[int] | Array) -> Any:
        where = np.asarray(indices, dtype=np.intp)
        return tuple(x[where] for x in self.arrays)

    def __repr__(self) -> str:
        return f"TensorDataset({', '.join(f'{x.dtype}{list(x.shape)}' for x in self.arrays)})"


class Subset(Dataset):
    """Some samples of another dataset, by index."""

    def __init__(self, dataset: Dataset, indices: Sequence[int] | Array) -> None:
        self.dataset = dataset
        self.indices = np.asarray(indices, dtype=np.intp)
        if self.indices.size and not (
            -len(dataset) <= self.indices.min() and self.indices.max() < len(dataset)
        ):
            raise DataError(f"a Subset's indices must lie in the dataset's {len(dataset)} samples")

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[int(self.indices[index])]

    def take(self, indices: Sequence[int] | Array) -> Any:
        return self.dataset.take(self.indices[np.asarray(indices, dtype=np.intp)])


class ConcatDataset(Dataset):
    """Datasets one after another.

    Raises:
        DataError: no datasets.

    >>> both = ConcatDataset([TensorDataset(np.arange(2)), TensorDataset(np.arange(5, 8))])
    >>> len(both), both[2]
    (5, (np.int64(5),))
    """

    def __init__(self, datasets: Sequence[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise DataError("a ConcatDataset needs at least one dataset")
        self._ends = np.cumsum([len(one) for one in self.datasets])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        index %= len(self)
        which = int(np.searchsorted(self._ends, index, "right"))
        before = int(self._ends[which - 1]) if which else 0
        if isinstance(self.datasets[which], Dataset):
            self.datasets[which].epoch = self.epoch
        return self.datasets[which][index - before]


class Transformed(Dataset):
    """Samples of another dataset, changed when they are read: augmentation that a seed repeats.

    Args:
        dataset: where samples come from.
        transform: `transform(sample, rng)` -> sample, with `rng` NumPy's generator for this sample in this epoch alone;
            so results depend neither on the order of reading nor on the number of worker processes.
        seed: of all of them.

    >>> noisy = Transformed(TensorDataset(np.zeros(3)), lambda sample, rng: (sample[0] + rng.normal(),), seed=0)
    >>> noisy[1] == noisy[1], noisy[1] == noisy[2]
    (True, False)
    """

    def __init__(
        self, dataset: Any, transform: Callable[[Any, np.random.Generator], Any], seed: int = 0
    ) -> None:
        self.dataset = dataset
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        if isinstance(self.dataset, Dataset):
            self.dataset.epoch = self.epoch
        rng = np.random.default_rng((self.seed, self.epoch, index % len(self)))
        return self.transform(self.dataset[index], rng)


def random_split(
    dataset: Dataset, lengths: Sequence[float], generator: Generator | None = None
) -> list[Subset]:
    """Divide a dataset at random into parts.

    Args:
        dataset: what to divide.
        lengths: the number of samples in each part, or shares that add up to 1.
        generator: where the order comes from; the library's (`tg.manual_seed`) by default.

    Raises:
        SettingError: lengths that do not add up.

    >>> parts = random_split(TensorDataset(np.arange(10)), [0.7, 0.3], Generator(0))
    >>> [len(part) for part in parts]
    [7, 3]
    """
    counts = _counts(len(dataset), lengths)
    order = (default_generator if generator is None else generator).permutation(len(dataset))
    ends = np.cumsum(counts)
    return [Subset(dataset, order[end - count : end]) for count, end in zip(counts, ends, strict=True)]


def _counts(total: int, lengths: Sequence[float]) -> list[int]:
    if any(not length >= 0 for length in lengths):
        raise SettingError(f"random_split: lengths={list(lengths)} must not be negative")
    if abs(sum(lengths) - 1.0) < 1e-6 and not (total == 1 and all(float(x).is_integer() for x in lengths)):
        counts = [int(total * share) for share in lengths]
        for i in range(total - sum(counts)):
            counts[i % len(counts)] += 1
        return counts
    if sum(lengths) != total or any(length != int(length) for length in lengths):
        raise SettingError(
            f"random_split: lengths={list(lengths)} must be whole numbers that add up to the dataset's {total} "
            f"samples, or shares that add up to 1"
        )
    return [int(length) for length in lengths]


def stack_samples(samples: Sequence[Any]) -> Any:
    """A batch of samples: parts stacked, numbers as an array; tuples, lists and dicts part by part.

    Raises:
        DataError: samples that differ in shape, number or names of parts.
    """
    first = samples[0]
    if isinstance(first, dict):
        if any(sample.keys() != first.keys() for sample in samples):
            raise DataError(f"the samples of a batch have different parts: {[list(s) for s in samples]}")
        return {name: stack_samples([sample[name] for sample in samples]) for name in first}
    if isinstance(first, tuple | list):
        if len({len(sample) for sample in samples}) > 1:
            raise DataError(f"the samples of a batch have {sorted({len(s) for s in samples})} parts")
        return tuple(stack_samples(parts) for parts in zip(*samples, strict=True))
    arrays = [x.detach().numpy() if isinstance(x, Tensor) else np.asarray(x) for x in samples]
    if len({x.shape for x in arrays}) > 1:
        raise DataError(
            f"the samples of a batch have different shapes, {sorted({x.shape for x in arrays})}: give the loader a "
            f"collate_fn that pads them"
        )
    return np.stack(arrays)
