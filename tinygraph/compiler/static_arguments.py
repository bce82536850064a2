"""Arguments of compiled functions that are no inputs: each value of them has captures and plans of its own.

So a size, an axis or a flag may be given. `Static` stands for such a value on its way to the function.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from tinygraph.errors import DTypeError, SettingError


class Static:
    """A value that is no input: equal to one of the same type and value."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Static)
            and type(self.value) is type(other.value)
            and bool(self.value == other.value)
        )

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))

    def __repr__(self) -> str:
        return repr(self.value)


class StaticArguments:
    """Which arguments of a function are static, by position and by name.

    Raises:
        SettingError: it has no such argument.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        numbers: int | Sequence[int] | None,
        names: str | Sequence[str] | None,
    ) -> None:
        self._function = getattr(function, "__name__", type(function).__name__)
        positions = (numbers,) if isinstance(numbers, int) else tuple(numbers or ())
        called = (names,) if isinstance(names, str) else tuple(names or ())
        parameters = list(inspect.signature(function).parameters.values())
        places = [
            one.name for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
        ]
        more = any(one.kind is one.VAR_POSITIONAL for one in parameters)
        known = [one.name for one in parameters]
        anything = any(one.kind is one.VAR_KEYWORD for one in parameters)
        for number in positions:
            given: object = number
            if isinstance(given, bool) or not isinstance(given, int):
                raise SettingError(f"static_argnums={numbers!r} must be integers")
            if not more and not -len(places) <= number < len(places):
                raise SettingError(
                    f"static_argnums={numbers!r}: {self._function!r} takes {len(places)} positional arguments"
                )
        for name in called:
            if name not in known and not anything:
                raise SettingError(
                    f"static_argnames={names!r}: {self._function!r} has no argument {name!r}; it has {', '.join(known)}"
                )
        self._numbers = {number + len(places) if number < 0 else number for number in positions}
        self._numbers |= {places.index(name) for name in called if name in places}
        self._names = set(called) | {places[number] for number in self._numbers if number < len(places)}

    def marked(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a call, the static ones as such.

        Raises:
            DTypeError: one is not hashable.
        """
        numbers, names = self._numbers, self._names
        return (
            tuple(self._static(one, i) if i in numbers else one for i, one in enumerate(args)),
            {name: self._static(one, name) if name in names else one for name, one in kwargs.items()},
        )

    def _static(self, value: object, which: int | str) -> Static:
        try:
            hash(value)
        except TypeError:
            raise DTypeError(
                f"argument {which!r} of {self._function!r} is static, and a {type(value).__name__} is not hashable: "
                f"a compiled function tells values by their hash. Give a number, a string or a tuple"
            ) from None
        return Static(value)


def unmarked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, called with what `Static`s stand for."""

    def call(*args: object, **kwargs: object) -> Any:
        return function(*map(_value, args), **{name: _value(one) for name, one in kwargs.items()})

    return functools.update_wrapper(call, function)


def _value(argument: object) -> object:
    return argument.value if isinstance(argument, Static) else argument
