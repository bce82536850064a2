"""What a new op shall be called and look like, and which names it cannot have. Nothing is written here."""

from __future__ import annotations

import ast
import keyword
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tinygraph.core.op import RESERVED
from tinygraph.core.registry import registry
from tinygraph.errors import SettingError

Kind = Literal["elementwise", "reduction"]
Setting = bool | int | float | str

_IMPORTED = (
    "np",
    "op",
    "ops",
    "Any",
    "Sample",
    "ErrorSample",
    "annotations",
    "broadcast_shapes",
    "reduced_shape",
)
MOST_OPERANDS = 6
MOST_OUTPUTS = 6


@dataclass(frozen=True)
class Request:
    """A new op: its name, kind, and how many operands and outputs and which settings it has.

    Raises:
        SettingError: a name it cannot have, or a number out of range, with what to do.

    >>> Request("softclip", inputs=2).operands
    ('x', 'y')
    """

    name: str
    kind: Kind = "elementwise"
    inputs: int = 1
    outputs: int = 1
    settings: tuple[tuple[str, Setting], ...] = ()

    def __post_init__(self) -> None:
        _check_name("an op", self.name, (*_IMPORTED, *RESERVED))
        if registry.is_builtin(self.name):
            raise SettingError(
                f"there is a built-in op called {self.name!r}, and built-in names are reserved; choose another, such "
                f"as my_{self.name}"
            )
        if not 1 <= self.inputs <= MOST_OPERANDS:
            raise SettingError(f"an op starts with 1 to {MOST_OPERANDS} inputs, not {self.inputs}")
        if not 1 <= self.outputs <= MOST_OUTPUTS:
            raise SettingError(f"an op starts with 1 to {MOST_OUTPUTS} outputs, not {self.outputs}")
        taken = [*_IMPORTED, *RESERVED, *self.operands, self.name]
        if self.kind == "reduction":
            taken += ["axis", "keepdims"]
        for name, _ in self.settings:
            _check_name("a setting", name, taken)
            taken.append(name)

    @property
    def operands(self) -> tuple[str, ...]:
        """The names of the operands."""
        few = ("x", "y", "z")
        return few[: self.inputs] if self.inputs <= 3 else tuple(f"x{i + 1}" for i in range(self.inputs))

    @property
    def package(self) -> str:
        """The import package."""
        return f"tinygraph_{self.name}"

    @property
    def distribution(self) -> str:
        """What is installed."""
        return f"tinygraph-{self.name}"


def parse_settings(given: Sequence[str]) -> tuple[tuple[str, Setting], ...]:
    """Settings as the command line gives them: "scale=2.0", "mode=same".

    Raises:
        SettingError: one without a default, or with a default that is neither number, True, False nor text.

    >>> parse_settings(["scale=2.0", "flip=false", "mode=same"])
    (('scale', 2.0), ('flip', False), ('mode', 'same'))
    """
    found = []
    for one in given:
        name, equals, text = one.partition("=")
        if not equals or not text:
            raise SettingError(
                f"--setting {one}: write a name and its default, such as scale=2.0 or mode=same"
            )
        found.append((name.strip(), _default(name, text.strip())))
    return tuple(found)


def _default(name: str, text: str) -> Setting:
    if text in ("true", "false"):
        return text == "true"
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if isinstance(value, bool | int | str) or (isinstance(value, float) and abs(value) < float("inf")):
        return value
    raise SettingError(
        f"--setting {name}={text}: a setting starts as a number, true, false or a word; write other kinds by hand"
    )


def _check_name(what: str, name: str, taken: Sequence[str]) -> None:
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_") or not name.isascii():
        near = "".join(one if one.isascii() and one.isalnum() else "_" for one in name).strip("_").lower()
        hint = f", such as {near}" if near.isidentifier() and not keyword.iskeyword(near) else ""
        raise SettingError(f"{what} cannot be called {name!r}: choose a Python name{hint}")
    if name in taken or name.endswith("_type"):
        raise SettingError(
            f"{what} cannot be called {name!r} here: the name is taken or reserved; choose another"
        )
