"""Activation functions and their kernels."""

from tinygraph_ops.activations import kernels as kernels
from tinygraph_ops.activations import ops as ops
