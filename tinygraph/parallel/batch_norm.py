"""Batch normalisation by the statistics of all processes' samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.modes import no_grad
from tinygraph.core.registry import ops
from tinygraph.core.state import read, write
from tinygraph.nn import Module
from tinygraph.nn.normalization import _BatchNorm
from tinygraph.parallel.exchanges import size

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation of (batch, num_features, *spatial) over the batches of all processes, PyTorch's name.

    In a program of one process, and in evaluation, it is batch normalisation.

    >>> from tinygraph import nn
    >>> net = SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))
    >>> type(net[1]).__name__
    'SyncBatchNorm'
    """

    ranks = (2, 3, 4, 5)

    @classmethod
    def convert_sync_batchnorm(cls, module: Module) -> Module:
        """Let the batch normalisations in a module be synchronised; parameters and buffers stay the same tensors.

        Returns:
            the module; of a batch normalisation itself, the one in its place.
        """
        if isinstance(module, _BatchNorm) and type(module).__name__.startswith("BatchNorm"):
            made = cls.__new__(cls)
            vars(made).update(vars(module))
            return made
        for name, child in list(module.named_children()):
            replaced = cls.convert_sync_batchnorm(child)
            if replaced is not child:
                setattr(module, name, replaced)
        return module

    def forward(self, input: Numeric) -> Any:
        if size() == 1 or not (self.training or self.running_mean is None):
            return super().forward(input)
        self._check_input(input)
        axes = (0, *range(2, input.ndim))
        shape = (1, -1, *(1,) * (input.ndim - 2))
        found = np.promote_types(input.dtype, np.float32)  # half precision takes its statistics in single
        x = input.astype(found)
        own = np.array([x.size / x.shape[1]], found)
        sums = ops.all_reduce(ops.concatenate(x.sum(axis=axes), own))  # the count is a value of the call, too
        count = sums[-1]
        mean = sums[:-1] / count
        centered = x - mean.reshape(shape)
        variance = ops.all_reduce((centered * centered).sum(axis=axes)) / count
        self._track(mean, variance, count)
        out = centered / np.sqrt(variance + self.eps).reshape(shape)
        if self.weight is not None:
            out = out * self.weight.reshape(shape)
        if self.bias is not None:
            out = out + self.bias.reshape(shape)
        return out.astype(input.dtype)

    def _track(self, mean: Numeric, variance: Numeric, count: Numeric) -> None:
        """Go on with the running averages, of the unbiased variance."""
        if self.num_batches_tracked is None or self.running_mean is None or self.running_var is None:
            return
        with no_grad():
            batches = read(self.num_batches_tracked) + 1
            write(self.num_batches_tracked, batches)
            share = 1.0 / batches if self.momentum is None else self.momentum
            unbiased = variance * (count / (count - 1))
            for average, new in ((self.running_mean, mean), (self.running_var, unbiased)):
                old = read(average)
                write(average, old + share * (new.astype(old.dtype) - old))
