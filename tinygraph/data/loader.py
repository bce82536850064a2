"""`DataLoader`: batches of a dataset as NumPy arrays, in an order that a seed or a sampler decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinygraph.core.process_group import processes
from tinygraph.core.state import Generator, default_generator
from tinygraph.data.dataset import Dataset, stack_samples
from tinygraph.data.generators import held_generators
from tinygraph.data.samplers import Sampler
from tinygraph.data.workers import Task, made_ahead
from tinygraph.errors import DataError, SettingError, StateDictError


class DataLoader:
    """Batches of a dataset; iterate over it once an epoch.

    Args:
        dataset: a `Dataset`, or anything with a length and items.
        batch_size: samples in a batch; the last one may be shorter.
        shuffle: whether each epoch has a new order.
        drop_last: whether a last short batch is left out.
        collate_fn: makes a batch of a list of samples; by default their parts are stacked.
        generator: where the order comes from; the library's (`tg.manual_seed`) by default.
        seed: instead of a generator: a new one with this seed.
        sampler: indices of samples in the order of an epoch, instead of `shuffle`; see `samplers.py`.
        num_workers: how many processes make batches ahead of time; 0: this one makes them when they are asked for. The
            batches are the same for every number.
        prefetch_factor: how many batches each worker makes ahead.
        timeout: seconds that a worker may take for a batch; 0 for ever.

    Raises:
        SettingError: a batch size below 1, both generator and seed or shuffle and sampler; or a dataset that draws from
            a generator, which each worker would have a copy of: `Transformed` draws by sample instead.
        DataError: an empty dataset.

    >>> from tinygraph.data import TensorDataset
    >>> loader = DataLoader(TensorDataset(np.arange(5)), batch_size=2)
    >>> [batch.tolist() for (batch,) in loader]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        drop_last: bool = False,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        generator: Generator | None = None,
        seed: int | None = None,
        sampler: Sampler | None = None,
        num_workers: int = 0,
        prefetch_factor: int = 2,
        timeout: float = 0,
    ) -> None:
        if batch_size < 1 or batch_size != int(batch_size):
            raise SettingError(f"DataLoader: batch_size={batch_size!r} must be a whole number from 1 up")
        if generator is not None and seed is not None:
            raise SettingError("DataLoader takes a generator or a seed, not both")
        if sampler is not None and shuffle:
            raise SettingError(
                "DataLoader takes shuffle=True or a sampler, not both: the sampler is the order"
            )
        if num_workers < 0 or prefetch_factor < 1 or not timeout >= 0:
            raise SettingError(
                f"DataLoader: num_workers={num_workers}, prefetch_factor={prefetch_factor}, timeout={timeout} must be "
                f"at least 0, 1 and 0"
            )
        if num_workers:
            _check_draws(dataset)
        if len(dataset) == 0:
            raise DataError("DataLoader got an empty dataset")
        self.dataset = dataset
        self.batch_size = int(batch_size)
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.collate_fn = collate_fn
        self.generator = Generator(seed) if seed is not None else generator
        self.sampler = sampler
        self.num_workers = num_workers
        self.prefetch_factor = prefetch_factor
        self.timeout = timeout
        self.epoch = 0  # walks begun
        self.part: tuple[int, int] | None = (
            None  # (this one's, of how many) of each batch: `tg.parallel.shard`
        )
        # batches given of the present walk, and where the generator stood before it drew the order of that walk
        self._at: tuple[int, Any] = (0, None)
        self._resumed: tuple[int, Any] | None = None

    def __len__(self) -> int:
        """How many batches an epoch has."""
        count = len(self.dataset if self.sampler is None else self.sampler)
        full, rest = divmod(count, self.batch_size)
        return full + bool(rest and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        source = default_generator if self.generator is None else self.generator
        first, before = 0, source.state if self.shuffle else None
        if self._resumed is None:
            self.epoch += 1
        else:
            (first, before), self._resumed = self._resumed, None
            source = Generator()
            source.state = before if before is not None else source.state
        order = self._order(source)
        size, number = self.batch_size, first
        starts = range(first * size, len(order) - (size - 1 if self.drop_last else 0), size)
        for batch in self._made([order[start : start + size] for start in starts]):
            number += 1
            self._at = (number, before)
            yield batch
        self._at = (0, None)

    def _order(self, source: Generator) -> np.ndarray[Any, Any]:
        """The samples of an epoch in their order."""
        if self.sampler is not None:
            order = np.fromiter(self.sampler, np.intp)
        else:
            count = len(self.dataset)
            order = source.permutation(count) if self.shuffle else np.arange(count)
        if self.part is not None:  # whatever each process has drawn since: all walk in one order
            order = processes().broadcast(order, 0)
        return order

    def _made(self, parts: list[np.ndarray[Any, Any]]) -> Iterator[Any]:
        """The batches of given samples, one after another."""
        if self.part is not None:
            own, count = self.part
            parts = [np.array_split(indices, count)[own] for indices in parts]
        tasks = ((self.epoch, indices.tolist()) for indices in parts)
        if not self.num_workers:
            return (self._make(task, lambda sample: None) for task in tasks)
        return made_ahead(self._make, tasks, self.num_workers, self.prefetch_factor, self.timeout)

    def _make(self, task: Task, tell: Callable[[int], None]) -> Any:
        """A batch; `tell` is told of each sample before it is read."""
        epoch, indices = task
        dataset = self.dataset
        if isinstance(dataset, Dataset):
            dataset.epoch = epoch
            if self.collate_fn is None and type(dataset).take is not Dataset.take:
                tell(indices[0])
                return dataset.take(indices)
        samples = []
        for index in indices:
            tell(index)
            samples.append(dataset[index])
        return (self.collate_fn or stack_samples)(samples)

    def state_dict(self) -> dict[str, Any]:
        """Where the present walk stands: the batches given, and the generator's state that their order came from."""
        batch, before = self._at if self._at[0] < len(self) else (0, None)
        return {"batch": batch, "order": before, "epoch": self.epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next walk go on where another stood; the generator itself is the caller's to restore.

        Raises:
            StateDictError: it is no place in a walk through this loader; nothing is changed.
        """
        batch: Any = state_dict.get("batch")
        before: Any = state_dict.get("order")
        fits = (
            isinstance(batch, int)
            and 0 <= batch < len(self)
            and (not batch or self.shuffle is (before is not None))
        )
        if not fits:
            raise StateDictError(
                f"a state_dict {state_dict!r} is no place in a DataLoader of {len(self)} batches with "
                f"shuffle={self.shuffle}"
            )
        self.epoch = state_dict.get("epoch", self.epoch)
        self._resumed = (batch, before) if batch else None
        self._at = (batch, before)


def _check_draws(dataset: object) -> None:
    for path, generator in held_generators(dataset):
        raise SettingError(
            f"DataLoader: the dataset's {path} is a {type(generator).__name__}, of which each worker process would "
            f"draw from a copy of its own, so that samples depended on num_workers: draw by sample with "
            f"data.Transformed(dataset, transform, seed=...), or set num_workers=0"
        )
