"""The built-in ops: one module or folder a family, declared through `tinygraph.plugin` like anybody's."""

from tinygraph_ops import activations as activations
from tinygraph_ops import arithmetic as arithmetic
from tinygraph_ops import choosing as choosing
from tinygraph_ops import collectives as collectives
from tinygraph_ops import comparison as comparison
from tinygraph_ops import complex_numbers as complex_numbers
from tinygraph_ops import constant_functions as constant_functions
from tinygraph_ops import contraction as contraction
from tinygraph_ops import control_flow as control_flow
from tinygraph_ops import convolution as convolution
from tinygraph_ops import dropout as dropout
from tinygraph_ops import embedding as embedding
from tinygraph_ops import exponential as exponential
from tinygraph_ops import fourier as fourier
from tinygraph_ops import indexing as indexing
from tinygraph_ops import linear_algebra as linear_algebra
from tinygraph_ops import losses as losses
from tinygraph_ops import normalization as normalization
from tinygraph_ops import pooling as pooling
from tinygraph_ops import powers as powers
from tinygraph_ops import quantization as quantization
from tinygraph_ops import random_numbers as random_numbers
from tinygraph_ops import reductions as reductions
from tinygraph_ops import shape as shape
from tinygraph_ops import special as special
from tinygraph_ops import trigonometric as trigonometric
