"""`tinygraph ops new`: start an op of one's own. What is written is decided in `tinygraph.scaffold`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from tinygraph.cli.terminal import say
from tinygraph.scaffold.request import Request, parse_settings
from tinygraph.scaffold.writing import write_file, write_package


def new(
    name: str,
    /,
    *,
    kind: Literal["elementwise", "reduction"] = "elementwise",
    inputs: int = 1,
    outputs: int = 1,
    setting: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    path: Path | None = None,
    file: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Start an op: write a complete package that passes its own checks, with a formula to be replaced.

    Parameters
    ----------
    name
        The op's name, a Python name that no built-in op has; the distribution is called tinygraph-NAME.
    kind
        Element by element, or a reduction over axes.
    inputs
        How many operands it has.
    outputs
        How many results it has.
    setting
        A setting and its default, such as scale=2.0, flip=false or mode=same; may be repeated.
    path
        Where to write it; ./tinygraph-NAME by default, ./NAME.py with --file.
    file
        Write a single file instead of a package.
    """
    request = Request(name, kind, inputs, outputs, parse_settings(setting))
    if file:
        made = write_file(request, path)
        say(f"wrote {made}: the op {name}, its rules and samples\n\nNext:\n    tinygraph ops check {made}")
        say(f"    python -c 'import tinygraph as tg; tg.load_plugin(\"{made}\"); print(tg.ops.{name})'")
        return 0
    made = write_package(request, path)
    source = made / request.package / f"{name}.py"
    say(f"wrote {made}: the op {name} in {source}, a test, a manifest and CI\n\nNext:")
    say(f"    pip install -e {made if made.is_absolute() else f'./{made}'}\n    tinygraph ops check {name}")
    return 0
