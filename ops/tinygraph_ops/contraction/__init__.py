"""Products that sum over shared axes, and their kernels."""

from tinygraph_ops.contraction import kernels as kernels
from tinygraph_ops.contraction import ops as ops
