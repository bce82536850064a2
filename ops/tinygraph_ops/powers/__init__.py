"""Powers and roots, and the kernel of powers of single numbers."""

from tinygraph_ops.powers import kernels as kernels
from tinygraph_ops.powers import ops as ops
