"""tinygraph: a program becomes a graph; the graph is differentiated, drawn, explained and saved; every op is a plugin.

This file is the table of public names. What is heavy (training, data, the command line) is imported on first use.
"""

import importlib
from typing import Any

from tinygraph.analysis.coverage import coverage as _coverage
from tinygraph.comparing import diff as diff
from tinygraph.compiler import compile as compile
from tinygraph.compiler.planned_bodies import optimized as _optimized
from tinygraph.compiler.planned_bodies import planned as _planned
from tinygraph.core import trees as _trees
from tinygraph.core.doors import doors as _doors
from tinygraph.core.graph import Graph as Graph
from tinygraph.core.graph import graph_of as graph_of
from tinygraph.core.modes import no_grad as no_grad
from tinygraph.core.registry import load_plugin as load_plugin
from tinygraph.core.registry import ops as ops
from tinygraph.core.state import Generator as Generator
from tinygraph.core.state import manual_seed as manual_seed
from tinygraph.core.tensor import Tensor as Tensor
from tinygraph.core.tensor import tensor as tensor
from tinygraph.debugging import changes as changes
from tinygraph.debugging import detect_anomaly as detect_anomaly
from tinygraph.debugging import why as why
from tinygraph.drawing import draw as draw
from tinygraph.explaining import contributions as contributions
from tinygraph.explaining import explain as explain
from tinygraph.interop import from_networkx as _from_networkx
from tinygraph.interop import load as load
from tinygraph.interop import load_state as load_state
from tinygraph.interop import save_graph as _save_graph
from tinygraph.interop import save_state as save_state
from tinygraph.interop import summary as _summary
from tinygraph.interop import to_networkx as _to_networkx
from tinygraph.kernels.eager import get_eager_kernels as get_eager_kernels
from tinygraph.kernels.eager import run_eagerly as _run_eagerly
from tinygraph.kernels.eager import set_eager_kernels as set_eager_kernels
from tinygraph.kernels.threads import get_threads as get_threads
from tinygraph.kernels.threads import set_threads as set_threads
from tinygraph.mpi import connect as _connect
from tinygraph.numpy.array_api import array_namespace as _array_namespace
from tinygraph.numpy.calls import call_function as _call_function
from tinygraph.numpy.calls import call_ufunc as _call_ufunc
from tinygraph.tracing import capture as capture
from tinygraph.tracing.free_sizes import at_sizes as _at_sizes
from tinygraph.tracing.free_sizes import free_gradient as _free_gradient
from tinygraph.tracing.open_capture import OpenCapture as _OpenCapture
from tinygraph.transforms import checkpoint as checkpoint
from tinygraph.transforms import cond as cond
from tinygraph.transforms import custom_jvp as custom_jvp
from tinygraph.transforms import custom_vjp as custom_vjp
from tinygraph.transforms import elementwise_grad as elementwise_grad
from tinygraph.transforms import fori_loop as fori_loop
from tinygraph.transforms import grad as grad
from tinygraph.transforms import hessian as hessian
from tinygraph.transforms import hvp as hvp
from tinygraph.transforms import jacfwd as jacfwd
from tinygraph.transforms import jacobian as jacobian
from tinygraph.transforms import jacrev as jacrev
from tinygraph.transforms import jvp as jvp
from tinygraph.transforms import linearize as linearize
from tinygraph.transforms import map as map
from tinygraph.transforms import scan as scan
from tinygraph.transforms import stop_gradient as stop_gradient
from tinygraph.transforms import switch as switch
from tinygraph.transforms import value_and_grad as value_and_grad
from tinygraph.transforms import vjp as vjp
from tinygraph.transforms import vmap as vmap
from tinygraph.transforms import while_loop as while_loop
from tinygraph.transforms.derived_rules import derived_rule as _derived_rule

# Nested containers: `tg.tree.map`, `tg.tree.register` and their kin.
tree = _trees

# What methods of tensors and graphs lead to, in rooms above the core.
_doors.call_ufunc, _doors.call_function = _call_ufunc, _call_function
_doors.array_namespace = _array_namespace
_doors.open_capture, _doors.run_eagerly, _doors.planned = _OpenCapture, _run_eagerly, _planned
_doors.optimized = _optimized
_doors.at_sizes, _doors.free_gradient = _at_sizes, _free_gradient
_doors.derived_rule = _derived_rule
_doors.connect = _connect
_doors.draw, _doors.coverage, _doors.summary = draw, _coverage, _summary
_doors.save_graph, _doors.to_networkx, _doors.from_networkx = _save_graph, _to_networkx, _from_networkx

# Packages that are imported when first asked for, by the name they have under `tg`.
_PACKAGES = {
    name: f"tinygraph.{name}"
    for name in (
        "data",
        "errors",
        "interop",
        "nn",
        "optim",
        "parallel",
        "plugin",
        "scipy",
        "testing",
        "training",
    )
} | {"passes": "tinygraph.compiler.passes"}

# Functions that are imported when first asked for, by the package that has them.
_FUNCTIONS = {"from_torch": "tinygraph.pytorch"}


def __getattr__(name: str) -> Any:
    """Packages and functions that are imported when first asked for: `tg.nn`, `tg.testing`, `tg.from_torch` ..."""
    if name in _PACKAGES:
        return importlib.import_module(_PACKAGES[name])
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(_FUNCTIONS[name]), name)
    from tinygraph.core.foreign_names import FUNCTIONS

    told = f": it is {FUNCTIONS[name]} here" if name in FUNCTIONS else ""
    raise AttributeError(f"module 'tinygraph' has no attribute {name!r}{told}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PACKAGES, *_FUNCTIONS})
