"""Data shared out among processes: all walk through the same batches, and each takes its part of every one."""

from __future__ import annotations

import copy

from tinygraph.core.process_group import processes
from tinygraph.data import DataLoader
from tinygraph.errors import SettingError


def shard(loader: DataLoader) -> DataLoader:
    """A loader that gives this process its part of each batch of another one, in the same order in all processes.

    `batch_size` stays that of the batches of all processes together, so that a run of four processes is the run of one.
    Parts differ by one sample at most; losses that are means of parts are averaged rightly by `tg.parallel.mean`.

    Args:
        loader: made in the same way in all processes; its order is that of the process of rank 0.

    Raises:
        SettingError: batches with fewer samples than there are processes.

    >>> import numpy as np
    >>> from tinygraph.data import DataLoader, TensorDataset
    >>> [len(x) for (x,) in shard(DataLoader(TensorDataset(np.arange(5)), batch_size=2))]
    [2, 2, 1]
    """
    among = processes()
    last = len(loader.dataset) % loader.batch_size
    smallest = min(loader.batch_size, last if last and not loader.drop_last else loader.batch_size)
    if smallest < among.size:
        where = "batch_size is" if smallest == loader.batch_size else "the last batch has"
        raise SettingError(
            f"{where} {smallest}, and {among.size} processes share out every batch: each needs a sample of it. Choose "
            f"a larger batch_size{'' if smallest == loader.batch_size else ', or drop_last=True'}"
        )
    own = copy.copy(loader)
    own.part = (among.rank, among.size) if among.size > 1 else None
    return own
