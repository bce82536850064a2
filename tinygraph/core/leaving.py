"""Values that leave the graph by Python's own numbers: `float(x)`, `int(x)`, `math.sin(x)`, `array[i] = x`.

Their gradient stays behind. Under a transform that makes a wrong derivative, so it raises; on the ordinary tape it
warns, once a line. Whoever means it writes `x.item()`. A number that is only printed is not computed with: formatting
is free.
"""

from __future__ import annotations

import dis
import os
import sys
import warnings
from types import FrameType
from typing import TYPE_CHECKING

import numpy as np

from tinygraph.core.engine import ancestors
from tinygraph.core.modes import modes
from tinygraph.core.node import edge_node
from tinygraph.core.source import here, is_library
from tinygraph.errors import RecordingError, TinygraphWarning

if TYPE_CHECKING:
    from tinygraph.core.tensor import Tensor

_BINARY = dis.opmap.get("BINARY_OP")
_REMAINDERS = frozenset(i for i, (_, sign) in enumerate(getattr(dis, "_nb_ops", ())) if sign in ("%", "%="))
_STANDARD = os.path.dirname(os.__file__) + os.sep
_NUMPY = os.path.dirname(np.__file__) + os.sep
_SCIPY = f"site-packages{os.sep}scipy{os.sep}"


def leave(tensor: Tensor, what: str) -> None:
    """Raise or warn if a recorded tensor becomes a Python number; called by the method that Python asks for it.

    Raises:
        RecordingError: the tensor depends on what a transform differentiates with respect to.
    """
    if not tensor.requires_grad or _formats(sys._getframe(3)):
        return
    if _is_differentiated(tensor):
        raise RecordingError(
            f"{what} at {here(4)} takes a number out of the function that is being differentiated, and its derivative "
            f"would be lost: keep computing with tensors (np.sin for math.sin, tg.ops.stack for filling an array, "
            f"tg.ops.set_at for a[i] = x), or write x.item() if it is meant as a constant"
        )
    warnings.warn(
        f"{what} takes a number out of the graph, and its gradient stays behind: write x.item() if that is meant, "
        f"as for a log; in a computation use the tensor itself (np.sin for math.sin, tg.ops.stack for filling an "
        f"array)",
        TinygraphWarning,
        stacklevel=_levels(sys._getframe(1)),
    )


def _is_differentiated(tensor: Tensor) -> bool:
    """Whether a tensor depends on the primals of a transform that is running."""
    primals = modes.current.primals
    if not primals or tensor._edge is None:
        return False
    found = ancestors([edge_node(tensor._edge)], min(primal.order for primal in primals))
    ours = set(map(id, primals))
    return any(id(node) in ours for node in found)


def _formats(frame: FrameType) -> bool:
    """Whether a frame is at `text % values`, which asks for numbers as `float` does."""
    code, at = frame.f_code.co_code, frame.f_lasti
    return code[at] == _BINARY and code[at + 1] in _REMAINDERS


def _levels(frame: FrameType | None) -> int:
    """How many calls up from `leave` the user's line is: not in tinygraph, NumPy or the standard library."""
    levels = 2
    while frame is not None:
        file = frame.f_code.co_filename
        standard = file.startswith(_STANDARD) and "site-packages" not in file
        if not (is_library(file) or standard or file.startswith((_NUMPY, "<frozen"))):
            return levels
        frame, levels = frame.f_back, levels + 1
    return 2


def asker() -> str:
    """Which function of NumPy's or SciPy's asks a tensor for an array, and what to write instead, in words."""
    frame: FrameType | None = sys._getframe(3)
    found = None
    while frame is not None and not _users(frame):
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith(("numpy", "scipy")) and frame.f_code.co_name not in _WRAPPERS:
            found = frame, module
        frame = frame.f_back
    if found is None:
        return f"this call (of np.asarray, np.array or one like them) {_MAKES}: {_STACK}"
    frame, module = found
    parts = [part for part in module.split(".") if not part.startswith("_")]
    owner = getattr(frame.f_locals.get("self"), "name", "") if parts[0] == "scipy" else ""
    if parts[0] == "scipy":
        owners = [owner] if isinstance(owner, str) and owner else []
        name = ".".join([*parts[:2], *owners, frame.f_code.co_name])
        return f"{name} does not take tensors, and tg.{name} does where it has a derivative: SciPy's {_MAKES}: {_STACK}"
    name = _numpys(frame, parts)
    return f"{name} {_MAKES}: {_INSTEAD.get(name, _STACK)}"


def _numpys(frame: FrameType, parts: list[str]) -> str:
    """The public name of a function of NumPy's, by the place of its code."""
    name, asking = frame.f_code.co_name, frame.f_locals.get("self")
    for shown in ("r_", "c_", "s_", "mgrid", "ogrid"):
        if asking is not None and asking is getattr(np, shown):
            return f"np.{shown}"
    if asking is not None:
        return f"np.{type(asking).__name__}"
    rooms = [".".join(parts[1:2]), ""]
    for room in rooms:
        owner = getattr(np, room, None) if room else np
        if hasattr(owner, name) and not name.startswith("_"):
            return f"np.{room}.{name}" if room else f"np.{name}"
    return ".".join(["np", *parts[1:2], name])


_MAKES = "makes an array, which carries no gradient, and this tensor does"
_STACK = (
    "keep computing with tensors (np.stack([...]) joins those in a list, np.block([[...], [...]]) those in "
    "lists of lists)"
)
# The line that works, of functions that join or spread tensors.
_INSTEAD = {
    "np.full": "write np.broadcast_to(tensor, shape), or tensor * np.ones(shape)",
    "np.r_": "write np.concatenate([...]), or np.stack([...]) of numbers",
    "np.c_": "write np.column_stack([...])",
    "np.vectorize": "call the function itself, which takes arrays whole, or tg.vmap(function)",
    "np.fromiter": "write np.stack(list(...))",
    "np.arange": "write start + step * np.arange(count), or np.linspace",
}


# Frames of decorators that stand before SciPy's own function.
_WRAPPERS = frozenset({"wrapper", "wrapped", "call", "__call__", "_wrapped", "<lambda>"})


def _users(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return not (is_library(file) or file.startswith((_NUMPY, "<frozen")) or _SCIPY in file)
