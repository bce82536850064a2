"""tinygraph: a program becomes a graph; the graph is differentiated, drawn, explained and saved; every op is a plugin.

This file is the table of public names. What is heavy (training, data, the command line) is imported on first use.
"""

import importlib
from types import ModuleType

from tinygraph.comparing import diff as diff
from tinygraph.compiler import compile as compile
from tinygraph.core.graph import Graph as Graph
from tinygraph.core.graph import graph_of as graph_of
from tinygraph.core.modes import no_grad as no_grad
from tinygraph.core.registry import load_plugin as load_plugin
from tinygraph.core.registry import ops as ops
from tinygraph.core.state import Generator as Generator
from tinygraph.core.state import manual_seed as manual_seed
from tinygraph.core.tensor import Tensor as Tensor
from tinygraph.core.tensor import tensor as tensor
from tinygraph.drawing import draw as draw
from tinygraph.explaining import contributions as contributions
from tinygraph.explaining import explain as explain
from tinygraph.interop import load as load
from tinygraph.kernels.threads import get_threads as get_threads
from tinygraph.kernels.threads import set_threads as set_threads
from tinygraph.tracing import capture as capture
from tinygraph.transforms import checkpoint as checkpoint
from tinygraph.transforms import grad as grad
from tinygraph.transforms import hessian as hessian
from tinygraph.transforms import jacobian as jacobian
from tinygraph.transforms import jvp as jvp
from tinygraph.transforms import value_and_grad as value_and_grad
from tinygraph.transforms import vjp as vjp

# Packages that are imported when first asked for, by the name they have under `tg`.
_PACKAGES = {
    name: f"tinygraph.{name}"
    for name in ("data", "errors", "interop", "nn", "optim", "plugin", "testing", "training")
} | {"passes": "tinygraph.compiler.passes"}


def __getattr__(name: str) -> ModuleType:
    """Packages that are imported when first asked for: `tg.nn`, `tg.testing` and so on."""
    if name in _PACKAGES:
        return importlib.import_module(_PACKAGES[name])
    raise AttributeError(f"module 'tinygraph' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PACKAGES})
