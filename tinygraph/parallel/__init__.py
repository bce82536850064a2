"""Several processes that train one model: collectives, averaged gradients, shared-out data and optimizer state.

The same script runs alone (rank 0 of 1) and under `tinygraph launch -n 4 script.py`, over MPI (the extra `dist`).
"""

from tinygraph.parallel.averaging import data_parallel as data_parallel
from tinygraph.parallel.batch_norm import SyncBatchNorm as SyncBatchNorm
from tinygraph.parallel.exchange_trace import trace as trace
from tinygraph.parallel.exchanges import all_gather as all_gather
from tinygraph.parallel.exchanges import all_reduce as all_reduce
from tinygraph.parallel.exchanges import barrier as barrier
from tinygraph.parallel.exchanges import broadcast as broadcast
from tinygraph.parallel.exchanges import mean as mean
from tinygraph.parallel.exchanges import rank as rank
from tinygraph.parallel.exchanges import reduce_scatter as reduce_scatter
from tinygraph.parallel.exchanges import size as size
from tinygraph.parallel.sharding import shard as shard
