"""Modules that hold other modules or parameters: Sequential, ModuleList, ModuleDict, ParameterList."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from tinygraph.nn.module import Module
from tinygraph.nn.parameter import Parameter

Numbered = TypeVar("Numbered", bound="_Numbered")


class _Numbered(Module):
    """Children named "0", "1", ... that can be indexed, sliced and changed like a list."""

    def _items(self) -> list[tuple[str, Module]]:
        return self._own(Module)

    def _position(self, index: int) -> int:
        count, position = len(self), operator.index(index)
        if not -count <= position < count:
            raise IndexError(f"{type(self).__name__} has {count} modules; there is no number {index}")
        return position % count

    def _replace(self, modules: list[Module]) -> None:
        for name, _ in self._items():
            delattr(self, name)
        self.extend(modules)

    def __len__(self) -> int:
        return len(self._items())

    def __iter__(self) -> Iterator[Module]:
        return iter([module for _, module in self._items()])

    def __getitem__(self, index: Any) -> Any:
        """A child; a slice is a container of the same kind whose children keep their names."""
        if isinstance(index, slice):
            part = type(self)()
            for name, module in self._items()[index]:
                object.__setattr__(part, name, module)
            return part
        return self._items()[self._position(index)][1]

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(self._items()[self._position(index)][0], module)

    def __delitem__(self, index: Any) -> None:
        modules = list(self)
        del modules[index]
        self._replace(modules)

    def append(self: Numbered, module: Module) -> Numbered:
        """Add a module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self: Numbered, modules: Iterable[Module]) -> Numbered:
        """Add several modules at the end."""
        for module in modules:
            self.append(module)
        return self

    def insert(self: Numbered, index: int, module: Module) -> Numbered:
        """Add a module before the one at `index`."""
        modules = list(self)
        modules.insert(index, module)
        self._replace(modules)
        return self


class Sequential(_Numbered):
    """Modules called one after the other, each on the result of the one before.

    Args:
        args: modules, or one dict of names and modules.

    >>> import numpy as np
    >>> from tinygraph import nn
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> model(np.ones((5, 4), np.float32)).shape
    (5, 2)
    """

    def __init__(self, *args: Any) -> None:
        if len(args) == 1 and isinstance(args[0], Mapping):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            self.extend(args)

    def forward(self, input: object) -> Any:
        for module in self:
            input = module(input)
        return input


class _Uncalled(Module):
    """A container that is never called itself: its name becomes part of its children's."""

    def _place(self, name: str) -> None:
        super()._place(name)
        self._place_children()

    def _place_children(self) -> None:
        for name, child in self._own(Module):
            child._scope = f"{self._scope}.{name}"
            if isinstance(child, _Uncalled):
                child._place_children()

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if isinstance(value, Module) and self._scope:
            self._place_children()


class ModuleList(_Uncalled, _Numbered):
    """A list of modules, for a `forward` that walks through it.

    >>> from tinygraph import nn
    >>> len(nn.ModuleList([nn.Linear(2, 2) for _ in range(3)]))
    3
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        self.extend(modules or ())


class ModuleDict(_Uncalled):
    """A dict of modules, for a `forward` that picks from it.

    >>> from tinygraph import nn
    >>> list(nn.ModuleDict({"encode": nn.Linear(4, 2), "decode": nn.Linear(2, 4)}).keys())
    ['encode', 'decode']
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        self.update(modules or {})

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add several modules."""
        for name, module in dict(modules).items():
            self.add_module(name, module)

    def keys(self) -> list[str]:
        """The names, in order."""
        return [name for name, _ in self._own(Module)]

    def values(self) -> list[Module]:
        """The modules, in order."""
        return [module for _, module in self._own(Module)]

    def items(self) -> list[tuple[str, Module]]:
        """Names and modules, in order."""
        return self._own(Module)

    def __getitem__(self, key: str) -> Module:
        module = self.__dict__.get(key)
        if not isinstance(module, Module):
            raise KeyError(f"no module {key!r}; there are {', '.join(self.keys()) or 'none'}")
        return module

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        self[key]  # an unknown key raises here, with the known ones
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._own(Module))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, key: object) -> bool:
        return key in self.keys()


class ParameterList(Module):
    """A list of parameters; arrays and tensors given become parameters.

    >>> import numpy as np
    >>> [name for name, _ in ParameterList([np.ones(2), np.ones(3)]).named_parameters()]
    ['0', '1']
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        for value in values or ():
            self.append(value)

    def append(self, value: object) -> ParameterList:
        """Add a parameter at the end."""
        self.register_parameter(str(len(self)), value if isinstance(value, Parameter) else Parameter(value))
        return self

    def __len__(self) -> int:
        return len(self._own(Parameter))

    def __iter__(self) -> Iterator[Parameter]:
        return iter([parameter for _, parameter in self._own(Parameter)])

    def __getitem__(self, index: int) -> Parameter:
        parameter: Parameter = self._own(Parameter)[index][1]
        return parameter


class ParameterDict(Module):
    """A dict of parameters; arrays and tensors given become parameters.

    >>> import numpy as np
    >>> [name for name, _ in ParameterDict({"scale": np.ones(2)}).named_parameters()]
    ['scale']
    """

    def __init__(self, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None) -> None:
        self.update(parameters or {})

    def update(self, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        """Add parameters, or replace those of the same names."""
        pairs = parameters.items() if isinstance(parameters, Mapping) else parameters
        for name, value in pairs:
            self[name] = value

    def keys(self) -> list[str]:
        """The names, in order."""
        return [name for name, _ in self._own(Parameter)]

    def values(self) -> list[Parameter]:
        """The parameters, in order."""
        return [parameter for _, parameter in self._own(Parameter)]

    def items(self) -> list[tuple[str, Parameter]]:
        """Names and parameters, in order."""
        return self._own(Parameter)

    def __getitem__(self, key: str) -> Parameter:
        parameter = self.__dict__.get(key)
        if not isinstance(parameter, Parameter):
            raise KeyError(f"no parameter {key!r}; there are {', '.join(self.keys()) or 'none'}")
        return parameter

    def __setitem__(self, key: str, value: object) -> None:
        self.register_parameter(key, value if isinstance(value, Parameter) else Parameter(value))

    def __delitem__(self, key: str) -> None:
        self[key]  # an unknown key raises here, with the known ones
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._own(Parameter))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, key: object) -> bool:
        return key in self.keys()
