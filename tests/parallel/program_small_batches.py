"""Batches of which a process would get nothing are refused at once."""

import numpy as np

import tinygraph as tg
from tinygraph import parallel
from tinygraph.data import DataLoader, TensorDataset

data = TensorDataset(np.arange(5))
try:
    parallel.shard(DataLoader(data, 2))
except tg.errors.SettingError as error:
    print(error, flush=True)
assert sum(len(x) for (x,) in parallel.shard(DataLoader(data, 2, drop_last=True))) == 2
