"""The built-in ops: one module a family, declared through `tinygraph.plugin` like anybody's."""

from tinygraph_ops import arithmetic as arithmetic
from tinygraph_ops import choosing as choosing
from tinygraph_ops import comparison as comparison
from tinygraph_ops import complex_numbers as complex_numbers
from tinygraph_ops import exponential as exponential
from tinygraph_ops import powers as powers
from tinygraph_ops import random_numbers as random_numbers
from tinygraph_ops import reductions as reductions
from tinygraph_ops import shape as shape
from tinygraph_ops import trigonometric as trigonometric
