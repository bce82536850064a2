"""Gradients averaged over processes, in buckets that are under way while the backward pass goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.modes import modes
from tinygraph.core.process_group import of_each_call, processes
from tinygraph.core.registry import ops
from tinygraph.core.tensor import Tensor
from tinygraph.errors import SettingError
from tinygraph.parallel.sharded_state import ShardedState
from tinygraph.parallel.shared_states import apart, broadcast_states

if TYPE_CHECKING:
    from tinygraph.core.node import Node
    from tinygraph.optim import Optimizer

BUCKET = 1 << 20  # bytes; smaller ones wait for the network more often, larger ones begin later


def data_parallel(
    optimizer: Optimizer, *, bucket_bytes: int = BUCKET, shard_state: bool = False
) -> Optimizer:
    """Let every process train the same model: `loss.backward()` leaves the mean of all processes' gradients in `.grad`.

    The parameters of the process of rank 0 are given to all. Each process then runs the same steps on its part of the
    data; a loss that is the mean of its own samples should go through `tg.parallel.mean(loss, samples)` where these are
    not equally many everywhere. In a program of one process the optimizer stays what it was.

    Args:
        optimizer: of the same parameters in all processes.
        bucket_bytes: gradients are exchanged together until they are so many bytes.
        shard_state: whether each process keeps the optimizer's state of its share of the parameters alone, updates
            these, and gives them to the others (ZeRO, stage 1; Rajbhandari and others, 2020).

    Returns:
        the same optimizer.

    Raises:
        SettingError: a size below 1, or an optimizer that already is data parallel.
        ParallelError: the processes' optimizers have other parameters.

    >>> import tinygraph as tg
    >>> w = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = data_parallel(tg.optim.SGD([w], lr=0.1))
    >>> (w * w).sum().backward()
    >>> w.grad
    tensor([2., 4.])
    """
    if bucket_bytes < 1:
        raise SettingError(
            f"data_parallel: bucket_bytes={bucket_bytes!r} must be a number of bytes from 1 up"
        )
    if processes().size == 1:
        return optimizer
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if any(parameter._own_leaf().exchange is not None for parameter in parameters):
        raise SettingError("data_parallel: gradients of this optimizer's parameters already are averaged")
    broadcast_states(parameters)
    exchange = Averaging(bucket_bytes)
    for parameter in parameters:
        parameter._own_leaf().exchange = exchange
    if shard_state:
        optimizer.sharding = ShardedState(parameters)
    return optimizer


class Averaging:
    """Averages gradients: collected in buckets, each sent off as soon as it is full."""

    def __init__(self, bucket_bytes: int) -> None:
        self._bytes = bucket_bytes
        self._waiting: dict[Any, list[tuple[Node, Any]]] = {}  # by dtype
        self._filled: dict[Any, int] = {}  # bytes of these: a sum at each arrival would be quadratic
        self._sent: list[tuple[list[tuple[Node, Any]], Callable[[], Any]]] = []

    def begin(self) -> None:
        self._waiting, self._filled, self._sent = {}, {}, []  # of a pass that an error cut short

    def arrived(self, leaf: Node, gradient: Any) -> None:
        dtype = np.dtype(gradient.dtype)
        self._waiting.setdefault(dtype, []).append((leaf, gradient))
        self._filled[dtype] = self._filled.get(dtype, 0) + gradient.size * dtype.itemsize
        if self._filled[dtype] >= self._bytes:
            self._filled[dtype] = 0
            self._send(self._waiting.pop(dtype))

    def _send(self, bucket: list[tuple[Node, Any]]) -> None:
        gradients = [gradient for _, gradient in bucket]
        if not any(isinstance(one, Tensor) for one in gradients):
            flat = np.concatenate([np.reshape(one, -1) for one in gradients])
            self._sent.append((bucket, processes().start_all_reduce(flat, "mean").wait))
            return
        joined = ops.concatenate(*(ops.reshape(one, shape=(-1,)) for one in gradients))
        if modes.current.recording:  # the averages themselves are to be differentiated
            total = ops.all_reduce(joined, reduction="mean")
            self._sent.append((bucket, lambda: total))
            return
        number = ops.start_all_reduce(of_each_call(joined), reduction="mean")
        shape, dtype = joined.shape, joined.dtype.name
        self._sent.append((bucket, lambda: ops.finish_all_reduce(number, shape=shape, dtype=dtype)))

    def finish(self) -> dict[Node, Any]:
        for bucket in self._waiting.values():
            self._send(bucket)
        found: dict[Node, Any] = {}
        for bucket, result in self._sent:
            found.update(
                zip((leaf for leaf, _ in bucket), apart(result(), [g for _, g in bucket]), strict=True)
            )
        self.begin()
        return found
