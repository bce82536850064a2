"""`Module`: a tree of parameters, buffers and child modules with a `forward`; layers are its subclasses.

Parameters and children are plain attributes, found by their type in the order of assignment; buffers are the
attributes that `register_buffer` named. Nothing here knows a particular layer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from operator import is_
from typing import Any, NamedTuple, TypeVar
from weakref import ref

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.compiler.compiled import Compiled
from tinygraph.core.hooks import RemovableHandle
from tinygraph.core.modes import ModuleName, Place, mode, modes
from tinygraph.core.node import Leaf
from tinygraph.core.state import buffer, convert, write, zero_gradient
from tinygraph.core.tensor import CapturedArray, Tensor
from tinygraph.core.types import require_plain
from tinygraph.core.unwatched import unwatched
from tinygraph.core.views import read_only
from tinygraph.errors import DTypeError, SettingError, StateDictError, printable
from tinygraph.nn.gradient_border import GradientBorder
from tinygraph.nn.parameter import Parameter, parameter_dtype, require_cpu
from tinygraph.tracing.facts import same

Self = TypeVar("Self", bound="Module")


class _Calls(threading.local):
    """How deep in calls of modules this thread is."""

    depth = 0


_calls = _Calls()


_END = object()  # after the last attribute: what is longer or shorter than it was differs there
_DOUBLE = np.dtype(np.float64)
_LAYERS = f"{__package__}."  # where the layers of the library are


class _Structure:
    """A module's structure as a value: what a captured program of it relies on.

    Worked out again only after some attribute of some module was set, or where one is another object than before, as
    after `vars(module)["p"] = 0.5`, which passes `__setattr__` by. So asking costs one sweep in Python's C code.
    """

    changes = 0  # of all modules

    def __init__(self, module: Module) -> None:
        self._module = module
        self._seen = _Structure.changes
        self._held = self._attributes()
        self._same = True
        self._sweep()

    def __call__(self) -> bool:
        """Whether it still is what it was at first."""
        untouched = all(map(is_, chain(chain.from_iterable(self._values), (_END,)), self._objects))
        if self._seen != _Structure.changes or not untouched:
            self._seen = _Structure.changes
            now = self._attributes()
            self._same = len(now) == len(self._held) and all(
                name == held_name and same(value, held)
                for (name, value), (held_name, held) in zip(now, self._held, strict=True)
            )
            self._sweep()
        return self._same

    def _sweep(self) -> None:
        """Note the objects that there are."""
        self._values = [vars(one).values() for one in self._module.modules()]
        self._objects = [*chain.from_iterable(self._values), _END]

    def _attributes(self) -> list[tuple[str, Any]]:
        return [
            pair
            for module in self._module.modules()
            for pair in (("__class__", type(module).__mro__), *vars(module).items())
        ]


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict(strict=False)` left alone."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """Parameters, buffers and child modules with a `forward` method. Subclass it, and call it like a function.

    A call wraps arrays as tensors, so a module always returns tensors. A layer of `tg.nn` with float32 parameters
    refuses a float64 input with a DTypeError, as PyTorch does; what is outside of layers follows NumPy's promotion.
    Nodes made in a child's call belong to a group named like the child's path below the outermost module that was
    called.

    >>> class Double(Module):
    ...     def forward(self, x):
    ...         return x * 2
    >>> Double()(np.array([1.0, 2.0]))
    tensor([2., 4.])
    """

    training: bool = True
    _buffers: Mapping[str, bool] = {}  # name of a buffer -> whether state_dict holds it
    _scope: str = ""  # what the group of a call is named
    _whole: bool = False  # whether a picture of layers shows it as one box, whatever modules it is made of
    _before: Mapping[int, Callable[..., Any]] = {}  # hooks by number
    _behind: Mapping[int, Callable[..., Any]] = {}
    _before_backward: Mapping[int, Callable[..., Any]] = {}
    _behind_backward: Mapping[int, Callable[..., Any]] = {}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What a call computes; every subclass writes its own."""
        raise NotImplementedError(f"{type(self).__name__} has no forward method: define forward(self, x)")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for x in args:
            if type(x) is not Tensor:
                args = self._wrapped(args)
                break
        if kwargs:
            kwargs = {name: _wrapped(x, name) for name, x in kwargs.items()}
        first = args[0] if args else next(iter(kwargs.values()), None)
        if first.__class__ is Tensor and first.dtype == _DOUBLE:
            self._check_width(first)
        capture = modes.current.capture
        if capture is not None:
            capture.with_tensors = True
            if id(self) not in capture.covered:  # neither this module nor one above it was called
                with unwatched():
                    words = f"{type(self).__name__}: a setting, a parameter or train()/eval() changed"
                    capture.rely(words, _Structure(self))
                    capture.covered.update(map(id, self.modules()))
        _calls.depth += 1
        try:
            if _calls.depth == 1:
                # a fresh place: calls of children are numbered within this call, not over the thread's life
                here = modes.current.place
                place = Place(here.scope, here.phase, here.origin)
            else:
                kind = type(self).__name__
                name = ModuleName(self._scope or kind, kind, self._whole, ref(self))
                place = modes.current.place.enter(name)
            with mode(place=place):
                if self._before or self._behind or self._before_backward or self._behind_backward:
                    return self._hooked(args, kwargs)
                return self.forward(*args, **kwargs)
        finally:
            _calls.depth -= 1

    def _check_width(self, x: Tensor) -> None:
        """Refuse a float64 input where this is a layer with narrower parameters: all behind it would be float64."""
        if not any(one is not Module and one.__module__.startswith(_LAYERS) for one in type(self).__mro__):
            return
        for name, one in self.named_parameters(recurse=False):
            if one.dtype.kind == "f" and one.dtype.itemsize < _DOUBLE.itemsize:
                raise DTypeError(
                    f"{type(self).__name__} has {one.dtype} parameters ({name}) and got a float64 input of shape "
                    f"{x.shape}, with which all behind it would be float64: give it x.astype(np.{one.dtype}), or make "
                    f"the model float64 with model.double()"
                )

    def _wrapped(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Arguments with arrays as input tensors, named like the parameters of `forward`."""
        names = getattr(getattr(type(self).forward, "__code__", None), "co_varnames", ())[1:]
        return tuple(_wrapped(x, names[i] if i < len(names) else f"input{i}") for i, x in enumerate(args))

    def _hooked(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`forward`, with the hooks before and behind it."""
        for before in self._before.values():
            changed = before(self, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        border = GradientBorder(self) if self._before_backward or self._behind_backward else None
        if border is not None:
            args = border.entering(args)
        out = self.forward(*args, **kwargs)
        for behind in self._behind.values():
            changed = behind(self, args, out)
            out = out if changed is None else changed
        return out if border is None else border.leaving(out)

    # -- hooks -----------------------------------------------------------------------------------------------------

    def register_forward_pre_hook(self, hook: Callable[[Module, tuple[Any, ...]], Any]) -> RemovableHandle:
        """Call `hook(module, inputs)` before each forward; what it returns, if not None, replaces the inputs."""
        return RemovableHandle(self, "_before", hook)

    def register_forward_hook(self, hook: Callable[[Module, tuple[Any, ...], Any], Any]) -> RemovableHandle:
        """Call `hook(module, inputs, output)` after each forward; what it returns, if not None, replaces the output.

        >>> from tinygraph.nn import ReLU
        >>> layer, seen = ReLU(), []
        >>> handle = layer.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
        >>> out = layer(np.ones((2, 3)))
        >>> handle.remove()
        >>> out = layer(np.ones((4, 3)))
        >>> seen
        [(2, 3)]
        """
        return RemovableHandle(self, "_behind", hook)

    def register_full_backward_pre_hook(
        self, hook: Callable[[Module, tuple[Any, ...]], Any]
    ) -> RemovableHandle:
        """Call `hook(module, grad_output)` in each backward pass before it goes through the module.

        What it returns, if not None, replaces the gradient of the module's output, if that is one tensor.
        """
        return RemovableHandle(self, "_before_backward", hook)

    def register_full_backward_hook(
        self, hook: Callable[[Module, tuple[Any, ...], tuple[Any, ...]], Any]
    ) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` in each backward pass behind the module.

        Both are tuples, of the positional inputs and of the outputs; None stands for what has no gradient. It is called
        when all inputs that want gradients have theirs - or, if none does, all outputs. What it returns, if not None,
        replaces the gradient of the input, if only one wants a gradient.

        >>> from tinygraph.nn import Linear
        >>> import tinygraph as tg
        >>> layer, seen = Linear(2, 3), []
        >>> handle = layer.register_full_backward_hook(lambda module, inner, outer: seen.append(outer[0].shape))
        >>> layer(np.ones((4, 2), np.float32)).sum().backward()
        >>> seen
        [(4, 3)]
        """
        return RemovableHandle(self, "_behind_backward", hook)

    # -- registering -----------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: object) -> None:
        held = self.__dict__.get(name)
        if isinstance(value, Parameter):
            if value.name is None:
                value.name = name
        elif isinstance(_uncompiled(value), Module):
            _uncompiled(value)._place(name)
        elif isinstance(held, Parameter) and value is not None:
            raise TypeError(
                f"{name!r} is a parameter of {type(self).__name__} and cannot become a {type(value).__name__}: "
                f"assign a Parameter or None, or write its value under `with tg.no_grad():`"
            )
        elif name in self._buffers and value is not None and not isinstance(value, Tensor):
            raise TypeError(
                f"{name!r} is a buffer of {type(self).__name__}: assign a tensor, or register it again"
            )
        object.__setattr__(self, name, value)
        _Structure.changes += 1

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        _Structure.changes += 1

    def _place(self, name: str) -> None:
        """Take the name that a parent gives; parameters still named by their path in here follow."""
        self._scope = name
        for path, owned in chain(self.named_parameters(), self.named_buffers()):
            if owned.name == path:
                owned.name = f"{name}.{path}"

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter, or None for one that this instance does without."""
        self._check_name(name, Parameter)
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"register_parameter({name!r}) takes a Parameter or None, not {type(param).__name__}"
            )
        setattr(self, name, param)

    def register_buffer(self, name: str, tensor: object, persistent: bool = True) -> None:
        """Add state that is no parameter, from a copy of an array or tensor.

        Args:
            name: the attribute's name.
            tensor: the value, or None.
            persistent: whether `state_dict` holds it.
        """
        self._check_name(name, Tensor)
        self._buffers = {**self._buffers, name: persistent}
        if isinstance(tensor, Tensor):
            tensor = tensor._concrete("register_buffer()")
        setattr(self, name, None if tensor is None else buffer(tensor, name))

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child under a name; the same as assigning it to an attribute."""
        self._check_name(name, Module)
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{name!r} must be a Module or None, not {type(module).__name__}")
        setattr(self, name, module)

    register_module = add_module

    def _check_name(self, name: str, kind: type) -> None:
        if not name or "." in name:
            raise SettingError(f"a name in a module is a non-empty string without dots, not {name!r}")
        held = getattr(self, name, None)
        if hasattr(type(self), name) or (held is not None and not isinstance(held, kind)):
            raise SettingError(
                f"{type(self).__name__} already has an attribute {name!r}; choose another name"
            )

    # -- walking ---------------------------------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Direct children with their names, each module once."""
        seen: set[int] = set()
        for name, value in self._own(Module):
            if id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def children(self) -> Iterator[Module]:
        """Direct children."""
        return (module for _, module in self.named_children())

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """This module under `prefix` and all below it, with dotted paths, parents first."""
        seen: set[int] = set()
        pending = [(prefix, self)]
        while pending:
            path, module = pending.pop()
            if remove_duplicate and id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            below = [(f"{path}.{name}" if path else name, child) for name, child in module._own(Module)]
            pending += reversed(below)

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        return (module for _, module in self.named_modules())

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted path; the empty path is this one.

        Raises:
            AttributeError: no module there.
        """
        module: Any = self
        for name in filter(None, target.split(".")):
            module = _uncompiled(module.__dict__.get(name))
            if not isinstance(module, Module):
                raise AttributeError(
                    f"{type(self).__name__} has no module {target!r}: nothing is called {name!r}"
                )
        return module  # type: ignore[no-any-return]

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Parameters with dotted paths, in order of assignment, a shared one once."""
        return self._named(Module._own_parameters, prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Parameters, in order of assignment.

        Raises:
            SettingError: a lazy layer has none yet.
        """
        for module in self.modules() if recurse else [self]:
            module._require_parameters()
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def _require_parameters(self) -> None:
        """Raise if this module has no parameters yet, but will have."""

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Buffers with dotted paths."""
        return self._named(Module._own_buffers, prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Buffers, in order of registration."""
        return (one for _, one in self.named_buffers(recurse=recurse))

    def _named(
        self, own: Callable[[Module], list[tuple[str, Any]]], prefix: str, recurse: bool, once: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules(prefix, once) if recurse else [(prefix, self)]:
            for name, value in own(module):
                if not (once and id(value) in seen):
                    seen.add(id(value))
                    yield f"{path}.{name}" if path else name, value

    def _own(self, kind: type) -> list[tuple[str, Any]]:
        own = ((name, _uncompiled(value)) for name, value in self.__dict__.items())
        return [(name, value) for name, value in own if isinstance(value, kind)]

    def _own_parameters(self) -> list[tuple[str, Any]]:
        return self._own(Parameter)

    def _own_buffers(self) -> list[tuple[str, Any]]:
        return [(name, self.__dict__[name]) for name in self._buffers if self.__dict__.get(name) is not None]

    # -- changing --------------------------------------------------------------------------------------------------

    def apply(self: Self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every module below, children first, and on this one."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def train(self: Self, mode: bool = True) -> Self:
        """Set training mode, which dropout and batch normalisation go by, here and below."""
        if not isinstance(mode, bool):
            raise SettingError(f"train(mode) takes True or False, not {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: Self) -> Self:
        """Set evaluation mode, here and below."""
        return self.train(False)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Freeze (False) or thaw every parameter."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of every parameter, or set those that exist to zero."""
        for parameter in self.parameters():
            zero_gradient(parameter, set_to_none)

    def to(self: Self, *args: Any, dtype: DTypeLike | None = None, device: object = None) -> Self:
        """Convert floating parameters and buffers, with their gradients, to a dtype, in place.

        Args:
            args: a dtype, or the device "cpu", which changes nothing.

        Raises:
            SettingError: another device.
            DTypeError: a dtype that parameters cannot have.
        """
        for given in args:
            if _is_dtype(given):
                dtype = given
            else:
                require_cpu(given)
        require_cpu(device)
        if dtype is not None:
            wanted = parameter_dtype(dtype)
            for _, state in chain(self.named_parameters(), self.named_buffers()):
                if state.dtype.kind in "fc" and state.dtype != wanted:
                    convert(state, wanted)
            for module in self.modules():
                module._make_later(wanted)
        return self

    def _make_later(self, dtype: np.dtype[Any]) -> None:
        """Note the dtype of parameters that are not there yet."""

    def double(self: Self) -> Self:
        """Convert to float64, in place."""
        return self.to(np.float64)

    def float(self: Self) -> Self:
        """Convert to float32, in place."""
        return self.to(np.float32)

    # -- state -----------------------------------------------------------------------------------------------------

    def state_dict(self, *, prefix: str = "") -> dict[str, np.ndarray[Any, Any]]:
        """Copies of all parameters and persistent buffers as arrays, by dotted path, laid out as in PyTorch.

        >>> from tinygraph.nn import Linear
        >>> {name: array.shape for name, array in Linear(3, 2).state_dict().items()}
        {'weight': (2, 3), 'bias': (2,)}
        """
        return {path: np.array(state.detach().numpy()) for path, state in self._named_state(prefix)}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Write the values of a `state_dict` - this module's or PyTorch's, arrays or CPU tensors - in place.

        Args:
            state_dict: dotted path -> value.
            strict: whether missing and unexpected entries are errors.

        Returns:
            the missing and the unexpected keys.

        Raises:
            StateDictError: entries that are missing, unexpected, misshapen or of another kind; nothing is written.
        """
        state = dict(self._named_state())
        missing = [name for name in state if name not in state_dict]
        unexpected = [name for name in state_dict if name not in state]
        values = {name: _as_array(name, value) for name, value in state_dict.items() if name in state}
        problems = [
            f"{name!r} has {values[name].dtype}{list(values[name].shape)}, the module needs {one.type}"
            for name, one in state.items()
            if name in values and not _fits(values[name], one)
        ]
        if strict:
            problems += [f"missing: {name!r}, {state[name].type}" for name in missing]
            problems += [f"unexpected: {name!r}" for name in unexpected]
        if problems:
            hint = (
                "" if not strict or not (missing or unexpected) else "\nstrict=False loads what fits by name"
            )
            listed = "\n    ".join(problems)
            raise StateDictError(f"this state_dict does not fit {type(self).__name__}:\n    {listed}{hint}")
        for name, value in values.items():
            write(state[name], value)
        return IncompatibleKeys(missing, unexpected)

    def _named_state(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        for path, module in self.named_modules(prefix.rstrip("."), remove_duplicate=False):
            persistent = [pair for pair in module._own_buffers() if module._buffers[pair[0]]]
            for name, value in chain(module._own_parameters(), persistent):
                yield f"{path}.{name}" if path else name, value

    # -- showing ---------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """The settings that `repr` shows in brackets."""
        return ""

    def __repr__(self) -> str:
        children = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self._own(Module)]
        if not children:
            return printable(f"{type(self).__name__}({self.extra_repr()})")
        lines = [self.extra_repr()] if self.extra_repr() else []
        return printable(f"{type(self).__name__}(\n  " + "\n  ".join(lines + children) + "\n)")


def _uncompiled(value: object) -> Any:
    """A module that was compiled is a child like any other: its parameters, train() and eval() are the model's."""
    return value.function if type(value) is Compiled else value


def _wrapped(value: Any, name: str) -> Any:
    """Arrays, also within tuples, lists and dicts, as input tensors."""
    require_plain(value)
    if isinstance(value, CapturedArray):
        tensor = Tensor(None, value._edge, value._leaf)
        return read_only(tensor, "it is an array of the caller's, which a captured program cannot write")
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufcO":
        return Tensor._of_leaf(Leaf(value, name=name, kind="input"))
    if type(value) in (tuple, list):
        return type(value)(_wrapped(one, f"{name}.{i}") for i, one in enumerate(value))
    if type(value) is dict:
        return {key: _wrapped(one, f"{name}.{key}") for key, one in value.items()}
    return value


def _is_dtype(given: object) -> bool:
    if isinstance(given, str):
        return hasattr(np, given)
    return isinstance(given, np.dtype | type)


def _as_array(name: str, value: object) -> np.ndarray[Any, Any]:
    if isinstance(value, Tensor):
        value = value.detach()
    try:
        array = np.asarray(value)
    except Exception as error:
        raise StateDictError(f"entry {name!r} of the state_dict is no array: {error}") from error
    if array.dtype.kind not in "biufcO":
        raise StateDictError(
            f"entry {name!r} of the state_dict is no array of numbers: {type(value).__name__}"
        )
    return array


def _fits(value: np.ndarray[Any, Any], state: Tensor) -> bool:
    return value.shape == state.shape and np.can_cast(value.dtype, state.dtype, "same_kind")
