"""The page's schema in TypeScript, for whoever checks its script: `python -m tinygraph.drawing.page.typescript`.

A test holds the file against the schema.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from msgspec import inspect as structure

from tinygraph.drawing.page.schema import PARTS

FILE = Path(__file__).parent / "script" / "schema.d.ts"
HEAD = """\
// What a page carries. Made by `python -m tinygraph.drawing.page.typescript` of `schema.py`; not to be edited.

"""


def described(part: type) -> dict[str, str]:
    """What the docstring of a part says of each of its fields."""
    attributes = (inspect.getdoc(part) or "").partition("Attributes:\n")[2]
    found = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", attributes, re.MULTILINE)
    return {name: " ".join(words.split()) for name, words in found}


def typescript() -> str:
    """The text of the file."""
    return HEAD + "\n".join(_interface(part) for part in PARTS)


def _interface(part: type) -> str:
    found = structure.type_info(part)
    assert isinstance(found, structure.StructType)
    words = described(part)
    summary = (inspect.getdoc(part) or "").partition("\n")[0]
    if found.array_like:
        entries = ", ".join(f"{field.name}: {_type(field.type)}" for field in found.fields)
        notes = "".join(f"\n * {field.name}: {words[field.name]}" for field in found.fields)
        return f"/** {summary}{notes} */\nexport type {part.__name__} = [{entries}];\n"
    lines = []
    for field in found.fields:
        optional = "" if field.required else "?"
        kinds = field.type
        if optional and field.default is None and isinstance(kinds, structure.UnionType):
            kinds = structure.UnionType(
                tuple(one for one in kinds.types if not isinstance(one, structure.NoneType))
            )
        lines.append(f"  /** {words[field.name]} */\n  {field.name}{optional}: {_type(kinds)};\n")
    return f"/** {summary} */\nexport interface {part.__name__} {{\n{''.join(lines)}}}\n"


def _type(found: object) -> str:
    plain: dict[type, str] = {
        structure.IntType: "number", structure.FloatType: "number", structure.StrType: "string",
        structure.NoneType: "null", structure.AnyType: "any",
    }  # fmt: skip
    if type(found) in plain:
        return plain[type(found)]
    if isinstance(found, structure.UnionType):
        return " | ".join(dict.fromkeys(map(_type, found.types)))
    if isinstance(found, structure.LiteralType):
        return " | ".join(f'"{value}"' for value in found.values)
    if isinstance(found, structure.ListType | structure.VarTupleType):
        inner = _type(found.item_type)
        return f"({inner})[]" if "|" in inner else f"{inner}[]"
    if isinstance(found, structure.TupleType):
        return f"[{', '.join(map(_type, found.item_types))}]"
    if isinstance(found, structure.DictType):
        return f"{{[key: string]: {_type(found.value_type)}}}"
    assert isinstance(found, structure.StructType), found
    return found.cls.__name__


if __name__ == "__main__":
    FILE.write_text(typescript(), encoding="utf-8")
