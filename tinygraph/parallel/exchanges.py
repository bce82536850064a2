"""What a script calls: who it is among the processes, and what they make of their values together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.process_group import of_each_call, processes
from tinygraph.core.registry import ops
from tinygraph.core.tensor import Tensor
from tinygraph.nn import Module
from tinygraph.parallel.shared_states import broadcast_states

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


def rank() -> int:
    """The number of this process, from zero.

    >>> rank(), size()
    (0, 1)
    """
    return processes().rank


def size() -> int:
    """How many processes run this program together."""
    return processes().size


def barrier() -> None:
    """Wait until all processes are here."""
    processes().barrier()


def all_reduce(x: Numeric, reduction: str = "sum") -> Any:
    """The sum of every process's x, for every process.

    Differentiable as all collectives are: a gradient is that of the sum of all processes' losses.

    Args:
        x: an array or tensor, of one shape and dtype everywhere.
        reduction: "sum", "mean", "max" or "min"; the last two have no gradient.

    Raises:
        ParallelError: the processes are about to make different exchanges; it says which.

    >>> import numpy as np
    >>> all_reduce(np.array([1.0, 2.0]))
    array([1., 2.])
    """
    return ops.all_reduce(of_each_call(x), reduction=reduction)


def all_gather(x: Numeric, axis: int = 0) -> Any:
    """Every process's x, one after another along an axis, for every process; arguments and errors as `all_reduce`."""
    return ops.all_gather(of_each_call(x), axis=axis)


def reduce_scatter(x: Numeric, axis: int = 0) -> Any:
    """The sum of every process's x, of which each gets its part along an axis."""
    return ops.reduce_scatter(of_each_call(x), axis=axis)


def broadcast(x: Any, root: int = 0) -> Any:
    """What the process `root` has, for every process.

    Args:
        x: an array or tensor, of one shape and dtype everywhere; or a module, whose parameters and buffers are
            overwritten with those of rank 0.
        root: whose x counts; of a module that of rank 0.

    Returns:
        the array or tensor; the module itself.
    """
    if isinstance(x, Module):
        broadcast_states([*x.parameters(), *x.buffers()])
        return x
    return ops.broadcast(of_each_call(x), root=root)


def mean(x: Numeric, weight: float = 1.0) -> Any:
    """The mean of every process's x, weighted: of losses of batches by how many samples they have.

    With gradients averaged by `data_parallel`, `tg.parallel.mean(loss, len(x)).backward()` is the gradient of the mean
    over all samples of all processes, however unevenly they are shared out.

    Args:
        x: an array or tensor, of one shape and dtype everywhere.
        weight: of this process's.

    >>> import numpy as np
    >>> float(mean(np.array(3.0), 32))
    3.0
    """
    if size() == 1:
        return x
    x = x if isinstance(x, Tensor) else np.asarray(x)
    # one exchange of both: in a captured program the weights, too, are those of the call
    own = ops.concatenate(ops.reshape(x * weight, shape=(-1,)), np.array([weight], x.dtype))
    total = ops.all_reduce(of_each_call(own))
    return (total[:-1] / total[-1]).reshape(x.shape)
