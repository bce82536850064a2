"""tinygraph: a program becomes a graph; the graph is differentiated, drawn, explained and saved; every op is a plugin."""

from tinygraph.core.modes import no_grad as no_grad
from tinygraph.core.registry import ops as ops
from tinygraph.core.state import manual_seed as manual_seed
from tinygraph.core.tensor import Tensor as Tensor
from tinygraph.core.tensor import tensor as tensor
