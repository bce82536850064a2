"""`from_torch`: a module of PyTorch's as a `Graph`, with its parameters by name and its modules as scopes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygraph.core.graph import Graph
from tinygraph.core.state import buffer
from tinygraph.core.tensor import Tensor
from tinygraph.core.trees import Tree, flatten
from tinygraph.errors import CaptureError, SettingError, ShapeError
from tinygraph.nn.parameter import Parameter
from tinygraph.pytorch.dtypes import array_of
from tinygraph.pytorch.exported_program import TorchProgram, decomposed
from tinygraph.tracing import capture
from tinygraph.tracing.capturing import DynamicAxes
from tinygraph.tracing.free_sizes import free_graph

INSTALL = "pip install torch"


def from_torch(module: Any, *examples: Any, dynamic_axes: DynamicAxes | None = None) -> Graph:
    """The graph of a module of PyTorch's: it runs, differentiates, draws, compiles and is saved like any other.

    Args:
        module: a `torch.nn.Module`, in the mode - training or evaluation - that is wanted; or what `torch.export` made.
        examples: what to call it with, tensors or arrays, of which only types count.
        dynamic_axes: sizes that are free, as for `tg.capture`: number of an argument -> axis -> name.

    Returns:
        A graph of one input for each tensor among the examples. Its parameters and buffers are copies, called as in
        the module's `state_dict`; weights that the module ties are one parameter. In training, batch norm and dropout
        are those of training; calling a graph changes no state, so that running statistics stay.

    Raises:
        ImportError: PyTorch is not installed.
        UnknownOpError: the module uses operators that there are none for here; naming them and their lines.
        CaptureError: `torch.export` cannot follow the module, in its words.
    """
    torch = _torch()
    leaves, tree = flatten(list(examples))
    given = [_as_torch(one, torch) for one in leaves]
    if isinstance(module, torch.export.ExportedProgram):
        if not given and module.example_inputs is not None:
            given = flatten(list(module.example_inputs[0]))[0]
        return _graph(module, given, _states(module), dynamic_axes, torch)
    try:
        exported = _exported(module, tuple(tree.unflatten(given)), dynamic_axes or {}, torch)
    except _Specialized:
        return _at_each_size(module, given, tree, dynamic_axes or {}, torch)
    return _graph(exported, given, _states(exported), dynamic_axes, torch)


class _Specialized(CaptureError):
    """`torch.export` makes a constant of a size that is to be free."""


def _graph(
    exported: Any, given: list[Any], states: dict[str, Tensor], axes: DynamicAxes | None, torch: Any
) -> Graph:
    """The graph of an exported program, for its states."""
    constants = {
        name: array_of(one) for name, one in exported.constants.items() if isinstance(one, torch.Tensor)
    }
    run = TorchProgram(decomposed(exported), states, constants)
    spec = exported.call_spec.out_spec

    def forward(*inputs: Any) -> Any:
        return torch.utils._pytree.tree_unflatten(run(*inputs), spec)

    forward.__name__ = run.title
    arguments = [Tensor(array_of(one)) if isinstance(one, torch.Tensor) else one for one in given]
    for one, name in zip(arguments, _input_names(exported), strict=False):
        if isinstance(one, Tensor):
            one.name = name
    return capture(forward, *arguments, dynamic_axes=axes)


def _at_each_size(module: Any, given: list[Any], tree: Tree, axes: DynamicAxes, torch: Any) -> Graph:
    """The graph of a module that PyTorch exports for one size at a time, made from the programs of a few."""
    example: dict[str, int] = {}
    for number, named in axes.items():
        for axis, name in named.items():
            size = given[int(number)].shape[axis]
            if example.setdefault(name, size) != size:
                raise ShapeError(
                    f"dynamic_axes: {name} is {example[name]} and {size} in the example arguments"
                )
    states: dict[str, Tensor] = {}

    def make(sizes: dict[str, int]) -> Graph:
        resized = list(given)
        for number, named in axes.items():
            for axis, name in named.items():
                one = resized[int(number)]  # repeated, so that indices stay in range
                resized[int(number)] = one.index_select(axis, torch.arange(sizes[name]) % one.shape[axis])
        exported = _exported(module, tuple(tree.unflatten(resized)), {}, torch)
        if not states:
            states.update(_states(exported))
        return _graph(exported, resized, states, None, torch)

    return free_graph(make, example, type(module).__name__)


def _torch() -> Any:
    try:
        import torch
        import torch.export
    except ImportError:
        raise ImportError(f"tg.from_torch needs PyTorch: {INSTALL}") from None
    return torch


def _as_torch(value: Any, torch: Any) -> Any:
    if isinstance(value, Tensor):
        value = value.detach().numpy()
    return torch.from_numpy(np.array(value)) if isinstance(value, np.ndarray | np.generic) else value


def _exported(
    module: Any, arguments: tuple[Any, ...], axes: Mapping[Any, Mapping[int, str]], torch: Any
) -> Any:
    """What `torch.export` makes of a module, its free sizes included."""
    shapes = None
    if axes:
        unknown = [key for key in axes if not isinstance(key, int) or not 0 <= key < len(arguments)]
        if unknown:
            raise SettingError(
                f"from_torch: dynamic_axes takes numbers of arguments, of 0 to {len(arguments) - 1}"
            )
        dynamic = torch.export.Dim.DYNAMIC
        shapes = tuple(
            dict.fromkeys(axes[i], dynamic) if i in axes else _static(one, torch)
            for i, one in enumerate(arguments)
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(module, arguments, dynamic_shapes=shapes, strict=False)
    except Exception as error:
        text = re.sub(r"\s+", " ", str(error))
        kind = _Specialized if axes and "Constraints violated" in text else CaptureError
        raise kind(f"torch.export cannot follow {type(module).__name__}: {text:.600}") from error


def _static(argument: Any, torch: Any) -> Any:
    """No free sizes, in the form of an argument."""
    return torch.utils._pytree.tree_map(lambda one: None, argument)


def _states(exported: Any) -> dict[str, Tensor]:
    """Parameters and buffers by name; those that are one tensor there are one here, under its first name."""
    found: dict[str, Tensor] = {}
    known: dict[int, Tensor] = {}
    parameters = set(exported.graph_signature.parameters)
    values = {**exported.state_dict}
    for name in exported.graph_signature.buffers:
        if name not in values:  # not persistent
            values[name] = exported.constants[name]
    for name, value in values.items():
        key = (
            id(value) if value.numel() == 0 else (value.data_ptr(), tuple(value.shape), tuple(value.stride()))
        )
        key = hash(key)
        if key not in known:
            array = array_of(value)
            wanted = bool(value.requires_grad)
            known[key] = Parameter(array, wanted) if name in parameters else buffer(array)
            known[key].name = name
        found[name] = known[key]
    return found


def _input_names(exported: Any) -> list[str]:
    specs = exported.graph_signature.input_specs
    return [spec.arg.name for spec in specs if spec.kind.name == "USER_INPUT"]
