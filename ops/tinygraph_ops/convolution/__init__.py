"""The three convolutions and their kernels."""

from tinygraph_ops.convolution import kernels as kernels
from tinygraph_ops.convolution import ops as ops
