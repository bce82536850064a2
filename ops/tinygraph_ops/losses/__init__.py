"""Losses and their kernels."""

from tinygraph_ops.losses import kernels as kernels
from tinygraph_ops.losses import ops as ops
