"""Reductions over axes and their kernels."""

from tinygraph_ops.reductions import kernels as kernels
from tinygraph_ops.reductions import ops as ops
