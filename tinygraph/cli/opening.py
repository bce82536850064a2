"""What a file or name on the command line stands for: a graph, a model, or the tensors of a weight file as a tree."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinygraph.cli.inputs import random_inputs
from tinygraph.core.graph import Graph
from tinygraph.core.types import ArrayType
from tinygraph.errors import FileFormatError, SettingError

_STATES = (".npz", ".pt", ".pth")
_MODULE = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")


def opened(file: Path) -> Any:
    """The graph in a file, or the module tree of a weight file, which holds no graph.

    Raises:
        FileFormatError, OSError: it cannot be read, or holds neither.
        ImportError: it needs a package that is not installed.
    """
    import tinygraph as tg

    suffix = file.suffix.lower()
    if suffix == ".pt2":
        return _exported(file)
    if suffix in _STATES:
        return weight_tree(tg.load_state(file))
    try:
        return tg.load(file)
    except FileFormatError as error:
        if suffix == ".safetensors" and "no graph" in str(error):
            return weight_tree(tg.load_state(file))
        raise


def opened_graph(file: Path) -> Graph:
    """The graph in a file.

    Raises:
        FileFormatError: it holds weights alone.
    """
    found = opened(file)
    if not isinstance(found, Graph):
        raise FileFormatError(
            f"{file.name} holds weights and no graph: what to compute with them, a saved graph, an ONNX model or "
            f"tg.from_torch(module, *examples) says"
        )
    return found


def _exported(file: Path) -> Graph:
    """The graph of a program that `torch.export.save` wrote; PyTorch reads it."""
    import tinygraph as tg

    try:
        import torch.export
    except ImportError:
        raise ImportError(f"{file.name}: programs that PyTorch exported need it: pip install torch") from None
    if not file.is_file():
        raise FileNotFoundError(2, "No such file", str(file))
    try:
        program = torch.export.load(file)
    except Exception as error:
        raise FileFormatError(f"{file.name}: PyTorch cannot read it: {error!s:.300}") from error
    graph: Graph = tg.from_torch(program)
    return graph


def weight_tree(state: dict[str, Any]) -> Any:
    """Named arrays as a module without a forward: a tree by the dots in their names, to be drawn."""
    from tinygraph import nn

    root = nn.Module()
    for name, array in state.items():
        *path, last = [part for part in name.split(".") if part] or ["tensor"]
        module = root
        for part in path:
            module = _child(module, part)
        floats = array.dtype.kind in "fc"
        module.register_parameter(last, nn.Parameter(array, requires_grad=floats))
    return root


def _child(module: Any, name: str) -> Any:
    from tinygraph import nn

    known = dict(module.named_children())
    if name not in known:
        known[name] = nn.Module()
        module.add_module(name, known[name])
    return known[name]


def opened_or_made(what: str, like: Sequence[ArrayType]) -> Graph:
    """The graph in a file, or of a module of the user's code: `package.module:name`, a module or what makes one.

    Args:
        like: the types of what it is called with, if it is code.

    Raises:
        SettingError: there is no such name, or it is no module.
    """
    if Path(what).exists() or not _MODULE.match(what):
        return opened_graph(Path(what))
    import tinygraph as tg

    module_name, _, name = what.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise SettingError(f"{what}: {error}; the form is package.module:name") from None
    if isinstance(found, type) or not hasattr(found, "forward"):
        found = found()
    inputs = random_inputs(like)
    if type(found).__module__.startswith("torch") or any(
        "torch.nn" in str(one) for one in type(found).__mro__
    ):
        graph: Graph = tg.from_torch(found, *inputs)
        return graph
    return tg.capture(found, *inputs)
