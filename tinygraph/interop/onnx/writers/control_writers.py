"""Loops and choices in ONNX's Scan, Loop and If; their bodies are graphs within the model's."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.core.node import Node
from tinygraph.core.subgraphs import Subgraph
from tinygraph.interop.onnx.model_writing import Entry, Writing, dtype_at, form, settings_of


def _body(w: Writing, body: Subgraph, given: list[str | None], name: str) -> tuple[list[Any], Writing]:
    """A body on its way: the infos of its inputs - given ones are those around it - and its writing."""
    inner = Writing(w.onnx, w.opset, outer=w)
    inner.where, inner.in_function = w.where, True
    infos = []
    for i, (leaf, known) in enumerate(zip(body.graph.inputs, given, strict=True)):
        one = known or inner.unique(f"{name}_x{i}")
        inner.names[id(leaf), 0] = one
        if known is None:
            infos.append(w.info(one, leaf.types))
    inner.run(body.graph)
    return infos, inner


def _ends(w: Writing, inner: Writing, body: Subgraph, name: str) -> list[Any]:
    infos = []
    for i, (end, types) in enumerate(zip(body.graph.outputs, body.output_types, strict=True)):
        taken = inner.unique(f"{name}_y{i}")
        inner.nodes.append(w.onnx.helper.make_node("Identity", [inner.read(end, types.dtype)], [taken]))
        infos.append(w.info(taken, types))
    return infos


@form
def _scan(w: Writing, node: Node, *operands: Entry) -> Any:
    settings = settings_of(node)
    carries, slices, body = settings["carries"], settings["slices"], settings["body"]
    names = [
        w.read(one, dtype)
        for one, dtype in zip(operands, (one.dtype for one in body.input_types), strict=True)
    ]
    around: list[str | None] = [None] * (carries + slices) + list(names[carries + slices :])
    if slices == 0:
        return _counted(w, node, body, names, around)
    infos, inner = _body(w, body, around, "scan")
    graph = w.onnx.helper.make_graph(inner.nodes, body.name, infos, _ends(w, inner, body, "scan"))
    back = int(settings["reverse"])
    made = len(body.output_types) - carries
    found = w.add(
        "Scan",
        *names[: carries + slices],
        outputs=len(node.output_types),
        body=graph,
        num_scan_inputs=slices,
        scan_input_directions=[back] * slices,
        scan_output_directions=[back] * made if made else None,
    )
    return [found] if isinstance(found, str) else found


def _counted(w: Writing, node: Node, body: Subgraph, names: list[str], around: list[str | None]) -> Any:
    """A scan over nothing: a loop of so many steps."""
    carries = settings_of(node)["carries"]
    infos, inner = _body(w, body, around, "loop")
    helper = w.onnx.helper
    ends = _ends(w, inner, body, "loop")
    step, go, still = (inner.unique(one) for one in ("loop_i", "loop_go", "loop_still"))
    inner.nodes.append(helper.make_node("Identity", [go], [still]))
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        inner.nodes,
        body.name,
        [tensor(step, 7, []), tensor(go, 9, []), *infos],
        [tensor(still, 9, []), *ends],
    )
    length = w.scalar(settings_of(node)["length"], np.int64)
    found = w.add(
        "Loop",
        length,
        w.constant(np.array(True)),
        *names[:carries],
        outputs=len(node.output_types),
        body=graph,
    )
    return [found] if isinstance(found, str) else found


@form
def _while_loop(w: Writing, node: Node, *operands: Entry) -> Any:
    settings, helper = settings_of(node), w.onnx.helper
    carries, body, condition = settings["carries"], settings["body"], settings["condition"]
    names = [w.read(one, types.dtype) for one, types in zip(operands, body.input_types, strict=True)]
    rest: list[str | None] = list(names[carries:])
    none: list[str | None] = [None] * carries
    infos, inner = _body(w, body, none + rest, "while")
    ends = _ends(w, inner, body, "while")
    for leaf, name in zip(condition.graph.inputs, [one.name for one in ends] + rest, strict=True):
        inner.names[id(leaf), 0] = name
    inner.run(condition.graph)
    step, go, still, count, counted = (
        inner.unique(f"while_{one}") for one in ("i", "go", "still", "count", "counted")
    )
    inner.nodes.append(helper.make_node("Identity", [inner.read(condition.graph.outputs[0])], [still]))
    inner.nodes.append(helper.make_node("Add", [count, inner.constant(np.array(1, np.int64))], [counted]))
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        inner.nodes, body.name, [tensor(step, 7, []), tensor(go, 9, []), *infos, tensor(count, 7, [])],
        [tensor(still, 9, []), *ends, tensor(counted, 7, [])],
    )  # fmt: skip
    for leaf, name in zip(condition.graph.inputs, names, strict=True):
        w.names[id(leaf), 0] = name
    w.run(condition.graph)
    first = w.read(condition.graph.outputs[0])
    most = None if settings["max_steps"] is None else w.scalar(settings["max_steps"], np.int64)
    start = w.scalar(0, np.int64)
    found = w.add("Loop", most, first, *names[:carries], start, outputs=carries + 1, body=graph)
    return [found] if isinstance(found, str) else found


@form
def _switch(w: Writing, node: Node, index: Entry, *operands: Entry) -> Any:
    """Branches one within the other: the first if the index is at most 0, else the rest."""
    branches = settings_of(node)["branches"]
    types = branches[0].input_types
    names = [w.read(one, known.dtype) for one, known in zip(operands, types, strict=True)]
    chosen = w.cast(w.read(index, np.int64), dtype_at(node, 1 - 1), np.int64)
    return _choose(w, node, chosen, branches, 0, names)


def _choose(w: Writing, node: Node, chosen: str, branches: Entry, first: int, names: list[str]) -> Any:
    helper = w.onnx.helper

    def graph(number: int, rest: bool) -> Any:
        inner = Writing(w.onnx, w.opset, outer=w)
        inner.where, inner.in_function = w.where, True
        branch = branches[number]
        if rest and number < len(branches) - 1:
            found = _choose(inner, node, chosen, branches, number, names)
            outputs = found if isinstance(found, list) else [found]
            infos = [w.info(name, types) for name, types in zip(outputs, branch.output_types, strict=True)]
            return helper.make_graph(inner.nodes, "rest", [], infos)
        for leaf, name in zip(branch.graph.inputs, names, strict=True):
            inner.names[id(leaf), 0] = name
        inner.run(branch.graph)
        return helper.make_graph(inner.nodes, branch.name, [], _ends(w, inner, branch, "branch"))

    if len(branches) == 1:
        condition = w.constant(np.array(True))
        other = graph(0, False)
    else:
        condition = w.add("LessOrEqual", chosen, w.scalar(first, np.int64))
        other = graph(first + 1, True)
    found = w.add(
        "If", condition, outputs=len(node.output_types), then_branch=graph(first, False), else_branch=other
    )
    return [found] if isinstance(found, str) else found
