"""Renew the lists of operators in `onnx.md`: which are read by a form, which by their schema's function, and which ops
are written."""

from __future__ import annotations

import importlib
import re
import textwrap
from pathlib import Path

import onnx

from tinygraph.interop.onnx import model_reading, model_writing
from tinygraph.interop.onnx.operators.operator_table import TABLE

PAGE = Path(__file__).with_name("onnx.md")
BEGIN, END = "<!-- operators -->", "<!-- end of operators -->"


def lists() -> str:
    """The lists as they stand on the page."""
    for family in model_reading.FAMILIES:
        importlib.import_module(f"tinygraph.interop.onnx.operators.{family}_operators")
    for family in model_writing.FAMILIES:
        importlib.import_module(f"tinygraph.interop.onnx.writers.{family}_writers")
    schemas = {one.name: one for one in onnx.defs.get_all_schemas() if not one.domain and not one.deprecated}
    own = {name for name in schemas if ("", name) in TABLE}
    by_function = {
        name for name, one in schemas.items() if one.has_function or one.has_context_dependent_function
    } - own
    parts = {
        "Read by a form of their own": own,
        "Read by the function that ONNX's schema gives": by_function,
        "Stand-ins (texts, pictures in files)": set(schemas) - own - by_function,
        "Of com.microsoft, by the package `tinygraph-onnxruntime`": of_package("tinygraph-onnxruntime"),
        "Ops that have a form when they are written": {f"`{name}`" for name in model_writing.FORMS},
    }
    return "\n\n".join(
        textwrap.fill(f"**{title}** ({len(names)}): {', '.join(sorted(names))}.", 140, break_on_hyphens=False)
        for title, names in parts.items()
    )


def of_package(folder: str) -> set[str]:
    """The operators that the ops of a package under `examples/plugins` stand for."""
    path = PAGE.parents[1] / "examples" / "plugins" / folder
    text = "".join(one.read_text(encoding="utf-8") for one in path.glob("*/*.py"))
    return set(re.findall(r'"com\.microsoft::(\w+)"', text))


def page(text: str) -> str:
    """The page with the lists renewed."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{lists()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
