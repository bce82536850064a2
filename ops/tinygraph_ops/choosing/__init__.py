"""Choosing among values, and the kernels for it."""

from tinygraph_ops.choosing import kernels as kernels
from tinygraph_ops.choosing import ops as ops
