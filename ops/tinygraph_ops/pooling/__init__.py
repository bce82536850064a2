"""Pools, the ops that are their derivatives, and their kernels."""

from tinygraph_ops.pooling import kernels as kernels
from tinygraph_ops.pooling import ops as ops
