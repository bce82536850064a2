"""Special functions, from SciPy, which is imported on use: one op, and a table of derivatives."""

from tinygraph_ops.special import ops as ops
