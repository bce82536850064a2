"""`DataLoader`: batches of a dataset as NumPy arrays, in an order that a seed decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinygraph.core.processes import processes
from tinygraph.core.state import Generator, default_generator
from tinygraph.data.dataset import Dataset
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

    Raises:
        SettingError: a batch size below 1, or both generator and seed.
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
    ) -> None:
        if batch_size < 1 or batch_size != int(batch_size):
            raise SettingError(f"DataLoader: batch_size={batch_size!r} must be a whole number from 1 up")
        if generator is not None and seed is not None:
            raise SettingError("DataLoader takes a generator or a seed, not both")
        if len(dataset) == 0:
            raise DataError("DataLoader got an empty dataset")
        self.dataset = dataset
        self.batch_size = int(batch_size)
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.collate_fn = collate_fn
        self.generator = Generator(seed) if seed is not None else generator
        self.part: tuple[int, int] | None = (
            None  # (this one's, of how many) of each batch: `tg.parallel.shard`
        )
        # batches given of the present walk, and where the generator stood before it drew the order of that walk
        self._at: tuple[int, Any] = (0, None)
        self._resumed: tuple[int, Any] | None = None

    def __len__(self) -> int:
        """How many batches an epoch has."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + bool(rest and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        count = len(self.dataset)
        source = default_generator if self.generator is None else self.generator
        first, before = 0, source.state if self.shuffle else None
        if self._resumed is not None:
            (first, before), self._resumed = self._resumed, None
            source = Generator()
            source.state = before if before is not None else source.state
        order = source.permutation(count) if self.shuffle else np.arange(count)
        if self.part is not None:  # whatever each process has drawn since: all walk in one order
            order = processes().broadcast(order, 0)
        for number in range(first, len(self)):
            self._at = (number + 1, before)
            yield self._batch(order[number * self.batch_size : (number + 1) * self.batch_size])
        self._at = (0, None)

    def state_dict(self) -> dict[str, Any]:
        """Where the present walk stands: the batches given, and the generator's state that their order came from."""
        batch, before = self._at
        return {"batch": batch, "order": before} if batch < len(self) else {"batch": 0, "order": None}

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
        self._resumed = (batch, before) if batch else None
        self._at = (batch, before)

    def _batch(self, indices: np.ndarray[Any, Any]) -> Any:
        if self.part is not None:
            own, parts = self.part
            indices = np.array_split(indices, parts)[own]
        if self.collate_fn is not None:
            return self.collate_fn([self.dataset[int(i)] for i in indices])
        if isinstance(self.dataset, Dataset):
            return self.dataset.take(indices)
        return Dataset.take(self.dataset, indices)
