"""Processes that made different models do not train together."""

import numpy as np

import tinygraph as tg
from tinygraph import parallel

w = tg.tensor(np.ones(2 + parallel.rank()), requires_grad=True)
parallel.data_parallel(tg.optim.SGD([w], lr=0.1))
