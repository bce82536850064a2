"""What editors know of `tg.ops`: a stub with the signature of every built-in op, written from the ops themselves.

`python -m tinygraph.scaffold.stubs` writes `packages/op_signatures.pyi` anew; a test holds it against the registry.
"""

from __future__ import annotations

import inspect
import keyword
import re
import textwrap
from pathlib import Path

import tinygraph
from tinygraph.core.op import Composite, Op
from tinygraph.core.registry import BUILTIN_PACKAGE, registry
from tinygraph.interop.atomic_files import replace_file

PATH = Path(tinygraph.__file__).parent / "packages" / "op_signatures.pyi"
_WIDTH = 110
_KNOWN_TYPES = {"Any", "None", "bool", "int", "float", "complex", "str", "tuple"}

_OPENING = '''\
"""The built-in ops of `tg.ops`, for editors and type checkers: every call gives arrays for arrays, tensors for tensors.

Written by `python -m tinygraph.scaffold.stubs`. Ops of plugins are there, too, but not known to a type checker.
"""

from typing import Any

from tinygraph.core.tensor import Tensor

class BuiltinOps:
'''


def stub_source() -> str:
    """The whole stub."""
    ops = [
        op for op in registry.all_ops() if op.package == BUILTIN_PACKAGE and not keyword.iskeyword(op.name)
    ]
    return _OPENING + "\n".join(map(_method, ops))


def _method(op: Op | Composite) -> str:
    """One op as a method, whose docstring is the formula."""
    parameters = ["self", *_parameters(op)]
    head = f"    def {op.name}({', '.join(parameters)}) -> {_returned(op)}:"
    if len(head) > _WIDTH:
        listed = "".join(f"        {one},\n" for one in parameters)
        head = f"    def {op.name}(\n{listed}    ) -> {_returned(op)}:"
    words = op.formula.replace("\\", "\\\\").replace('"""', "'''")
    end = " " if words.endswith('"') else ""
    text = textwrap.fill(f'"""{words}{end}"""', _WIDTH - 8, break_long_words=False, break_on_hyphens=False)
    return f"{head}\n{textwrap.indent(text, ' ' * 8)}\n"


def _returned(op: Op | Composite) -> str:
    """A tensor or else what the checker lets pass, for an array: it cannot tell which; `Any` for several results."""
    function = op.forward if isinstance(op, Op) else op.function
    said = inspect.signature(function).return_annotation
    return "Tensor | Any" if getattr(said, "__name__", said) == "Numeric" else "Any"


def _parameters(op: Op | Composite) -> list[str]:
    function = op.forward if isinstance(op, Op) else op.function
    found: list[str] = []
    starred = False
    parameters = list(inspect.signature(function).parameters.values())
    for i, one in enumerate(parameters):
        if one.kind is one.KEYWORD_ONLY and not starred:
            starred = True
            found.append("*")
        if one.kind is one.VAR_POSITIONAL:
            starred = True
            found.append(f"*{one.name}: Any")
        elif one.kind is one.VAR_KEYWORD:
            found.append(f"**{one.name}: Any")
        else:
            found.append(_parameter(one))
            # an op's operands have no names to the caller; a composite's do
            last = i + 1 == len(parameters) or parameters[i + 1].kind is not one.POSITIONAL_OR_KEYWORD
            if isinstance(op, Op) and last and one.kind is one.POSITIONAL_OR_KEYWORD:
                found.append("/")
    return found


def _parameter(one: inspect.Parameter) -> str:
    text = f"{one.name}: {_annotation(one.annotation)}"
    return text if one.default is one.empty else f"{text} = {_default(one.default)}"


def _annotation(given: object) -> str:
    """A parameter's annotation as far as it is made of simple types."""
    text = (
        given
        if isinstance(given, str)
        else getattr(given, "__name__", "Any")
        if isinstance(given, type)
        else "Any"
    )
    simple = set(re.findall(r"\w+", text)) <= _KNOWN_TYPES and "." not in text.replace("...", "")
    return text if simple and given is not inspect.Parameter.empty else "Any"


def _default(value: object) -> str:
    if isinstance(value, str):
        return '"' + value + '"'
    return repr(value) if value is None or isinstance(value, bool | int | tuple) else _float(value)


def _float(value: object) -> str:
    return repr(value) if isinstance(value, float) and abs(value) < float("inf") else "..."


if __name__ == "__main__":
    replace_file(PATH, lambda part: part.write_text(stub_source(), encoding="utf-8"))
