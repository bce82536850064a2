"""One process raises while the other waits for it."""

import numpy as np

from tinygraph import parallel

if parallel.rank() == 1:
    raise ValueError("this rank is ill")
parallel.all_reduce(np.ones(3))
