"""Shape and layout, and the kernels that copy."""

from tinygraph_ops.shape import kernels as kernels
from tinygraph_ops.shape import ops as ops
