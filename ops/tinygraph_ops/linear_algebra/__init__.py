"""Linear algebra: systems and determinants, factorizations, functions of matrices; all over stacks of matrices."""

from tinygraph_ops.linear_algebra import factorizations as factorizations
from tinygraph_ops.linear_algebra import functions as functions
from tinygraph_ops.linear_algebra import numpy_forms as numpy_forms
from tinygraph_ops.linear_algebra import systems as systems
