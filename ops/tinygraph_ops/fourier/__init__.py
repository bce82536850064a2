"""Discrete Fourier transforms: the ops, and np.fft made of them."""

from tinygraph_ops.fourier import numpy_forms as numpy_forms
from tinygraph_ops.fourier import ops as ops
