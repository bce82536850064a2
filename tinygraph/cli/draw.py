"""`tinygraph draw`: a saved graph or a model file as a picture or page. The drawing itself is `tg.draw`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from tinygraph.cli.inputs import SEED, random_inputs, read_inputs
from tinygraph.cli.opening import opened
from tinygraph.cli.terminal import errors, open_for_user, say
from tinygraph.drawing.front import USUALLY
from tinygraph.errors import DrawingError, TinygraphWarning

Flag = Annotated[bool, Parameter(negative="")]
Names = Annotated[list[str], Parameter(negative="")]


@dataclass(frozen=True)
class SheetOptions:
    """How a picture fits a page, and how it calls and colours things."""

    direction: str | None = None
    """down, right, or wrap: columns side by side, or a U where values skip from one end to the other."""
    depth: int | None = None
    """Groups at that depth are boxes, 1 for the outermost."""
    title: str | None = None
    """What stands above the picture."""
    legend: Annotated[bool, Parameter(negative="--no-legend")] = True
    """Explain the kinds of boxes below it."""
    font_size: float | None = None
    """Points of the titles in boxes."""
    width: str | None = None
    """The room there is, such as 8cm, 3.5in, A4 or slide."""
    names: Names | None = None
    """Another title for a box or group, such as conv1=Stem. May be repeated."""
    colors: Names | None = None
    """A colour for a box, group or kind, such as convolution=#cfe2ff. May be repeated."""
    steps: Annotated[list[int] | None, Parameter(negative="")] = None
    """Which iteration of loops to show, -1 for the last. May be repeated, for columns of time."""

    def as_wishes(self) -> dict[str, Any]:
        """The arguments of `tg.draw`."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        pairs = {name: _pairs(given[name] or (), f"--{name}") for name in ("names", "colors")}
        return given | pairs


def draw(
    file: Path, path: Path | None = None, /, *,
    zoom: Names | None = None, element: Names | None = None, backward: Flag = False, second_order: Flag = False,
    show: str = ",".join(USUALLY), style: str = "light", focus: str | None = None,
    between: Annotated[tuple[str, str], Parameter(negative="")] | None = None,
    fold: Flag = False, collapse: Names | None = None,
    inputs: Annotated[list[Path], Parameter(negative="")] | None = None, random: Flag = False,
    sheet: Annotated[SheetOptions | None, Parameter(name="*")] = None,
    bare: Flag = False, time_limit: float = 20.0,
    open_it: Annotated[bool, Parameter(name="--open", negative="")] = False,
) -> None:  # fmt: skip
    """Draw a saved graph or a model file as SVG, PNG, PDF, TikZ, GIF, DOT, data or a page that zooms.

    Parameters
    ----------
    file
        A graph that graph.save wrote (model.safetensors, .json), an ONNX model, an exported program (.pt2), a saved
        drawing, which carries its graph (.svg, .html, .dot), a model file (.toml, .json), or a weight file
        (.safetensors, .pt, .npz), whose tensors are drawn as a tree.
    path
        Where the picture goes; its suffix chooses the format: .svg, .png, .pdf, .html, .tex, .gif, .mp4, .dot, .json or
        .graphml. By default the file's name with .svg, or with --open .html: the interactive page.
    zoom
        How deep to look: module (layers), composite (composed functions), op (the default), channel (the planes inside
        an op) or neuron (one element). Of one part: its name and a level, such as conv1:channel; may be repeated,
        beside a level for the rest.
    element
        What --zoom neuron shows: an index, such as 0,1,3,3, of the output (or of what --focus names), or a tensor's
        name and an index, such as conv.weight:0,0,1,1, for all that this element reaches. Of --zoom channel a pair:
        output,input channel. May be repeated, with names.
    backward
        Draw the backward pass too, each node opposite the one it serves.
    second_order
        And the backward pass of that, as a third column.
    show
        What to write, with commas: names, settings, shapes, dtypes, values, gradients, parameters, source, and the
        overlays time, flops, bytes, saved, alive, gradient_norm, nan, gradient_nan, zeros, digits, coverage, of which
        the first also tints.
    style
        light, dark, okabe-ito (for colour blindness), print, slides, or a TOML file.
    focus
        A tensor or group by name: what it neither depends on nor feeds stands back. With --zoom channel or neuron, the
        op to look into.
    between
        Two names: what lies on no path from the first to the second stands back.
    fold
        Draw groups that repeat once, with their count.
    collapse
        A group to draw as one box, by its dotted name or the end of it. May be repeated.
    inputs
        Arrays to run the graph on, for values: a .npy file, or .npz with several. May be repeated.
    random
        Run it on random numbers instead.
    bare
        Write the picture alone. Otherwise SVG, pages and DOT carry the graph, with up to 1 MiB of its values.
    time_limit
        Seconds that a layout may take before a coarser picture is drawn.
    open_it
        Open the result in a browser.
    """
    out = path or file.parent / f"{file.stem}{'.html' if open_it else '.svg'}"
    if out.resolve() == file.resolve():
        raise DrawingError(
            f"{file} would be overwritten by its own picture: name another file for the picture"
        )
    target, given = opened_for_drawing(file, inputs or (), random)
    wishes = {
        "zoom": _levels(zoom or ()), "element": _element(element or ()), "inputs": given,
        "backward": 2 if second_order else backward, "style": style, "focus": focus, "between": between, "fold": fold,
        "show": tuple(word.strip() for word in show.split(",") if word.strip()), "collapse": collapse or (),
        "time_limit": time_limit,
    } | (sheet or SheetOptions()).as_wishes()  # fmt: skip
    _save(target, out, bare, wishes)
    say(f"drew {file} as {out}")
    if out.suffix == ".html" and given is None and getattr(target, "inputs", None):
        say("The page has no numbers; --inputs values.npy, or --random, gives it some.")
    if open_it:
        open_for_user(out)


def _pairs(given: Sequence[str], option: str) -> dict[str, str]:
    """`conv1=Stem` as what it is."""
    pairs = [one.partition("=") for one in given]
    for name, sign, value in pairs:
        if not (name and sign and value):
            raise DrawingError(
                f"{option} {name}{sign}{value} is no pair: write name=value, such as conv1=Stem"
            )
    return {name: value for name, _, value in pairs}


def _save(target: object, out: Path, bare: bool, wishes: dict[str, Any]) -> None:
    """Draw what was asked for into a file, and say what the drawing warns of."""
    import tinygraph as tg

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", TinygraphWarning)
        try:
            drawing = tg.draw(target, **wishes)
            if bare:
                drawing.save(out, embed=None)
            else:
                drawing.save(out)
        except DrawingError as error:
            if "inputs=" in str(error):
                error.add_note("here: --inputs values.npy, or --random")
            raise
    for one in found:
        errors.print(f"note: {one.message}", markup=False, soft_wrap=True)


def opened_for_drawing(file: Path, paths: Sequence[Path], random: bool) -> tuple[Any, tuple[Any, ...] | None]:
    """The graph or model in a file, and what to call it with."""
    import tinygraph as tg

    if paths and random:
        raise DrawingError("--inputs and --random are two answers to one question: give one of them")
    if not _describes_model(file):
        graph = opened(file)
        if not isinstance(graph, tg.Graph):
            return graph, None  # weights, as a tree
        if paths:
            return graph, read_inputs(paths, [leaf.name for leaf in graph.inputs])
        return graph, random_inputs([leaf.types for leaf in graph.inputs]) if random else None
    from tinygraph.nn.model_file import input_types

    tg.manual_seed(SEED)  # a model file holds no weights: the same file makes the same picture
    model, types = tg.nn.load_model(file), input_types(file)
    if paths:
        return model, read_inputs(paths, ())
    if types is not None:
        return model, random_inputs(types)
    say(
        f"{file.name} states no types of inputs, so its layers are drawn as a tree; with "
        f'inputs = {{ x = "float32[1,3]" }} in it, or --inputs here, their graph is.'
    )
    return model, None


def _describes_model(file: Path) -> bool:
    """Whether a file describes layers; a graph may be JSON too."""
    if file.suffix.lower() != ".json":
        return file.suffix.lower() == ".toml"
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return False  # tg.load says what is wrong with it
    return isinstance(content, dict) and "layers" in content


def _levels(given: Sequence[str]) -> Any:
    """A level for all, or one for each part by name."""
    parts = [one.rpartition(":") for one in given or ("op",)]
    levels = {name or None: level for name, _, level in parts}
    if len(levels) < len(parts):
        raise DrawingError(
            f"--zoom {' '.join(given)}: a part is named twice, or there are two levels for the rest"
        )
    return levels[None] if set(levels) == {None} else levels


def _element(given: Sequence[str]) -> Any:
    """An index, or tensors by name with an index each."""
    if len(given) == 1 and ":" not in given[0]:
        return _index(given[0])
    named = [one.rpartition(":") for one in given]
    return {name: _index(index) for name, _, index in named} or None


def _index(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise DrawingError(
            f"--element {text!r} is no index: give whole numbers with commas, such as 0,1,3,3, or a tensor's name "
            f"before them, such as conv.weight:0,0,1,1"
        ) from None
