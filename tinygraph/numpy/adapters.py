"""NumPy's own arguments as an op's operands and settings, translated here once for each function.

Ops whose form differs more attach an adapter of their own with `@op.numpy(np.function)`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.registry import numpy_name, registry
from tinygraph.errors import NumpyFunctionError
from tinygraph.numpy.call_options import MOMENTS, NEUTRAL, settled, with_options
from tinygraph.numpy.form import form_of

if TYPE_CHECKING:
    from tinygraph.core.op import Op


def adapter_of(function: object) -> Callable[..., Any]:
    """What answers a NumPy function on tensors, taking NumPy's own arguments; made when it is first asked for.

    Raises:
        NumpyFunctionError: no op and no form stands for it.
    """
    found = registry.stands(function)
    if found is None:
        form = form_of(function)
        if form is not None:
            return form
    op, adapter = found or registry.standing_for(function)
    if adapter is op:  # of a ufunc, as it is: from now on tensors call it themselves
        registry.ufuncs[function] = op  # type: ignore[assignment, index]
        return op  # type: ignore[return-value]
    takes_options = function in NEUTRAL or function in MOMENTS
    if takes_options and not getattr(
        adapter, "takes_options", False
    ):  # the registry may have forgotten one that did
        adapter = with_options(function, adapter or default_adapter(op, function))  # type: ignore[arg-type]
        adapter.takes_options = True  # type: ignore[attr-defined]
        registry.stand_for(function, op, adapter)
    if adapter is None:
        adapter = default_adapter(op, function)  # type: ignore[arg-type]  # composites have one always
        registry.stand_for(function, op, adapter)
    return adapter


# Options about memory and ways, which change no number.
_HINTS = frozenset({"subok", "kind", "stable", "device"})


def default_adapter(op: Op, function: Callable[..., Any]) -> Callable[..., Any]:
    """An adapter for a NumPy function whose first parameters are the op's operands and whose others bear the names
    of its settings."""
    if isinstance(function, np.ufunc):
        return op
    signature = inspect.signature(function)
    count = len(op.signature.operands)
    hints = _HINTS | ({"order"} if function is np.copy else set())

    def adapter(*args: object, **kwargs: object) -> Any:
        bound = signature.bind(*args, **kwargs).arguments
        operands: list[Any] = []
        settings: dict[str, Any] = {}
        options: dict[str, Any] = {}
        for position, (name, parameter) in enumerate(signature.parameters.items()):
            if name not in bound:
                continue
            value = bound[name]
            if position < count:
                operands.append(value)
            elif name in op.signature.settings:
                if value is not np._NoValue:
                    settings[name] = value
            elif name in ("dtype", "out"):
                options[name] = value
            elif value is not parameter.default and value is not np._NoValue and name not in hints:
                raise NumpyFunctionError(
                    f"{numpy_name(function)} on tensors does not take {name}=; op {op.name!r} has the settings "
                    f"{', '.join(op.signature.settings) or 'none'}"
                )
        found = op(*operands, **settings)
        return settled(numpy_name(function), found, **options) if options else found

    return adapter
