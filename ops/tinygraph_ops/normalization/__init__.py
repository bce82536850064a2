"""Softmax, normalisations and their kernels."""

from tinygraph_ops.normalization import kernels as kernels
from tinygraph_ops.normalization import ops as ops
