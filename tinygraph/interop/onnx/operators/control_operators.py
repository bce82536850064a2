"""Control flow, sequences and optionals: If, Loop and Scan as ops whose settings hold graphs, or unrolled where the
number of steps is known and what they make is a sequence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.core.subgraphs import Subgraph
from tinygraph.core.tensor import Tensor
from tinygraph.core.types import ArrayType
from tinygraph.errors import FileFormatError
from tinygraph.interop.onnx.operators.operator_table import (
    Call,
    NeedsValueError,
    Operand,
    Quantized,
    axis_of,
    dtype,
    ints,
    is_static,
    number,
    operator,
    shape,
    static,
)

MOST_STEPS = 10_000  # of a loop that is unrolled
MOST_UNROLLED = 64


def free_names(graph: Operand, depth: int = 0) -> Iterator[str]:
    """Names that a body reads of what stands around it."""
    if depth > 30:
        raise FileFormatError("bodies are nested too deeply")
    own = {one.name for one in (*graph.initializer, *graph.input)}
    for node in graph.node:
        for name in node.input:
            if name and name not in own:
                yield name
        for attribute in node.attribute:
            for body in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                yield from (name for name in free_names(body, depth + 1) if name not in own)
        own.update(node.output)
    yield from (one.name for one in graph.output if one.name not in own)


def _closed_over(call: Call, *graphs: Operand) -> dict[str, Any]:
    """The tensors around bodies that these read, by name: operands of the op."""
    found: dict[str, Any] = {}
    for graph in graphs:
        for name in free_names(graph):
            if name in call.values and name not in found:
                value = call.values[name]
                value = value.value if isinstance(value, Quantized) else value
                if (isinstance(value, Tensor) and not is_static(value)) or isinstance(value, Tensor):
                    found[name] = value
    return found


class _Around(dict[str, Any]):
    """What stands around a body, with its own operands in the place of what they stand for."""

    def __init__(self, outer: Mapping[str, Any], names: Sequence[str], values: Sequence[Any]) -> None:
        super().__init__(zip(names, values, strict=True))
        self.outer = outer

    def __missing__(self, name: str) -> Any:
        return self.outer[name]

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self.outer


def _type(x: Operand) -> ArrayType:
    return ArrayType(shape(x), dtype(x))


def _arrays(values: Sequence[Any], what: str) -> list[Any]:
    from tinygraph.interop.onnx.importing import integers

    made = [integers(one) for one in values]
    if any(one is None or isinstance(one, list) for one in made):
        raise FileFormatError(f"{what} makes a sequence or nothing, which depends on values here")
    return made


@operator("If")
def _if_form(call: Call, condition: Operand) -> Any:
    then, otherwise = call.need("then_branch"), call.need("else_branch")
    if is_static(condition):
        chosen = then if bool(number(condition, "condition")) else otherwise
        return tuple(call.importing.body(chosen, (), call.values))
    closed = _closed_over(call, then, otherwise)
    names = tuple(closed)

    def branch(graph: Operand) -> Any:
        def run(*operands: Operand) -> Any:
            made = call.importing.body(graph, (), _Around(call.values, names, operands))
            if any(one is None or isinstance(one, list) for one in made):
                static(condition, "choice between sequences or optionals")
            return _arrays(made, "a branch")

        return Subgraph.of(run, [_type(one) for one in closed.values()], graph.name or "branch")

    return tuple(
        ops.switch(np.reshape(condition, ()), *closed.values(), branches=(branch(otherwise), branch(then)))
    )


@operator("Loop")
def _loop(call: Call, trips: Operand = None, condition: Operand = None, *carried: Operand) -> Any:
    body = call.need("body")
    count = None if trips is None else (int(number(trips, "trip count")) if is_static(trips) else None)
    decided = condition is None or is_static(condition)
    goes_on = condition is None or (decided and bool(number(condition, "condition")))
    if decided and not goes_on:
        return _unrolled(call, body, 0, carried, False)
    if any(one is None or isinstance(one, list) for one in carried):
        return _unrolled(call, body, count if trips is None else int(number(trips, "trip count")), carried,
                         decided or bool(number(condition, "condition")))  # fmt: skip
    if decided and count is not None and _keeps_condition(body):
        try:
            return _counted(call, body, count, carried)
        except NeedsValueError:  # shapes that depend on the step
            return _unrolled(call, body, count, carried, True)
    if len(body.output) - 1 == len(carried):
        return _while(call, body, trips, condition, carried)
    if not decided:
        static(condition, "number of steps")
    return _unrolled(call, body, count if trips is None else int(number(trips, "trip count")), carried, True)


def _keeps_condition(body: Operand) -> bool:
    """Whether a body hands the condition on as it got it, or says that it goes on."""
    wanted, given = body.output[0].name, body.input[1].name
    for node in reversed(body.node):
        if wanted in node.output:
            if node.op_type == "Identity":
                wanted = node.input[0]
            elif node.op_type == "Constant":
                return any(
                    one.name == "value" and bool(one.t.raw_data.strip(b"\0") or any(one.t.int32_data))
                    for one in node.attribute
                )
            else:
                return False
    return wanted == given or any(
        one.name == wanted and bool(one.raw_data.strip(b"\0") or any(one.int32_data))
        for one in body.initializer
    )


def _unrolled(call: Call, body: Operand, count: int | None, carried: Sequence[Any], goes_on: bool) -> Any:
    """Step after step, while the file is read."""
    state, made = list(carried), [list[Any]() for _ in range(len(body.output) - 1 - len(carried))]
    step = 0
    while goes_on and (count is None or step < count):
        if step >= MOST_STEPS:
            raise FileFormatError(f"it is repeated more than {MOST_STEPS} times while the file is read")
        found = call.importing.body(body, (np.array(step, np.int64), np.array(True), *state), call.values)
        goes_on = bool(number(found[0], "condition of going on"))
        state = found[1 : 1 + len(carried)]
        for several, one in zip(made, found[1 + len(carried) :], strict=True):
            several.append(one)
        step += 1
    return *state, *(_stacked(several, body.output[1 + len(carried) + i]) for i, several in enumerate(made))


def _stacked(several: list[Any], info: Operand) -> Any:
    if several:
        return np.stack(several)
    from tinygraph.interop.onnx.element_types import dtype_of

    tensor = info.type.tensor_type
    return np.zeros((0, *(dim.dim_value for dim in tensor.shape.dim)), dtype_of(tensor.elem_type or 1))


def _counted(call: Call, body: Operand, count: int, carried: Sequence[Any]) -> Any:
    closed = _closed_over(call, body)
    start = _arrays(carried, "a carry")

    def step(i: Operand, *operands: Operand) -> Any:
        state, rest = operands[: len(start)], operands[len(start) :]
        found = call.importing.body(
            body, (i, np.array(True), *state), _Around(call.values, tuple(closed), rest)
        )
        return _arrays(found[1:], "a step")

    types = [ArrayType((), np.dtype(np.int64)), *map(_type, start), *map(_type, closed.values())]
    count_last = [*types[1 : 1 + len(start)], types[0], *types[1 + len(start) :]]
    inner = Subgraph.of(
        lambda *xs: step(xs[len(start)], *xs[: len(start)], *xs[len(start) + 1 :]),
        count_last,
        body.name or "body",
    )
    found = ops.scan(
        *start, np.arange(count), *closed.values(), body=inner, carries=len(start), slices=1, length=count
    )
    return tuple(found)


def _while(call: Call, body: Operand, trips: Operand, condition: Operand, carried: Sequence[Any]) -> Any:
    """As long as its condition holds: how many steps there are is known when it runs."""
    closed = _closed_over(call, body)
    start = _arrays(carried, "a carry")
    first = np.array(True) if condition is None else np.reshape(condition, ())
    most = [] if trips is None else [np.reshape(trips, ())]
    here = 2 + len(start)

    def go_on(*xs: Operand) -> list[Any]:
        return [np.logical_and(xs[1], np.less(xs[0], xs[here])) if most else ops.identity(xs[1])]

    def step(*xs: Operand) -> list[Any]:
        rest = xs[here + len(most) :]
        found = call.importing.body(
            body, (xs[0], xs[1], *xs[2:here]), _Around(call.values, tuple(closed), rest)
        )
        return [xs[0] + 1, np.reshape(found[0], ()), *_arrays(found[1:], "a step")]

    operands = [np.array(0, np.int64), first, *start, *most, *closed.values()]
    types = [_type(one) for one in operands]
    found = ops.while_loop(
        *operands,
        condition=Subgraph.of(go_on, types, "condition"),
        body=Subgraph.of(step, types, body.name or "body"),
        carries=here,
    )
    return tuple(found[2:here])


@operator("Scan")
def _scan(call: Call, *operands: Operand) -> Any:
    """Over slices of operands; several directions and axes by turning what is read and made."""
    if call.opset < 9:
        operands = operands[1:]
        return _batched_scan(call, operands)
    return _scan_to(call, operands, call.get("scan_input_axes", ()))


def _batched_scan(call: Call, operands: Sequence[Any]) -> Any:
    """Before version 9 the first axis was the batch's, and each example had a scan of its own."""
    several = [_scan_to(call, [one[n] for one in operands], ()) for n in range(shape(operands[0])[0])]
    return tuple(np.stack(ones) for ones in zip(*several, strict=True))


def _scan_to(call: Call, operands: Sequence[Any], axes: Sequence[int]) -> Any:
    body, count = call.need("body"), call.need("num_scan_inputs")
    start, xs = list(operands[:-count]), list(operands[-count:])
    backwards = call.get("scan_input_directions", call.get("directions", ())) or (0,) * count
    xs = [np.moveaxis(x, axis, 0) if axis else x for x, axis in zip(xs, axes or (0,) * count, strict=True)]
    xs = [np.flip(x, 0) if back else x for x, back in zip(xs, backwards, strict=True)]
    length = shape(xs[0])[0]
    closed = _closed_over(call, body)

    def step(*given: Operand) -> list[Any]:
        around = _Around(call.values, tuple(closed), given[len(start) + count :])
        return _arrays(call.importing.body(body, given[: len(start) + count], around), "a step")

    types = [
        *map(_type, start),
        *(ArrayType(shape(x)[1:], dtype(x)) for x in xs),
        *map(_type, closed.values()),
    ]
    if any(isinstance(one, Tensor) for one in (*start, *xs, *closed.values())):
        inner = Subgraph.of(step, types, body.name or "body")
        found = list(
            ops.scan(
                *start, *xs, *closed.values(), body=inner, carries=len(start), slices=count, length=length
            )
        )
    else:
        made = []
        for t in range(length):
            got = step(*start, *(x[t] for x in xs))
            start, more = got[: len(start)], got[len(start) :]
            made.append(more)
        found = [*start, *(np.stack(ones) for ones in zip(*made, strict=True))]
    outputs = found[len(start) :]
    turned = call.get("scan_output_directions", ()) or (0,) * len(outputs)
    placed = call.get("scan_output_axes", ()) or (0,) * len(outputs)
    outputs = [np.flip(x, 0) if back else x for x, back in zip(outputs, turned, strict=True)]
    return *found[: len(start)], *(
        np.moveaxis(x, 0, axis) if axis else x for x, axis in zip(outputs, placed, strict=True)
    )


# -- sequences and optionals -----------------------------------------------------------------------------------------


@operator("SequenceConstruct")
def _sequence_construct(call: Call, *xs: Operand) -> Any:
    return list(xs)


@operator("SequenceEmpty")
def _sequence_empty(call: Call) -> Any:
    return []


@operator("SequenceAt")
def _sequence_at(call: Call, xs: Operand, place: Operand) -> Any:
    return xs[int(number(place, "position"))]


@operator("SequenceInsert")
def _sequence_insert(call: Call, xs: Operand, x: Operand, place: Operand = None) -> Any:
    made = list(xs)
    made.insert(len(made) if place is None else int(number(place, "position")), x)
    return made


@operator("SequenceErase")
def _sequence_erase(call: Call, xs: Operand, place: Operand = None) -> Any:
    made = list(xs)
    del made[-1 if place is None else int(number(place, "position"))]
    return made


@operator("SequenceLength")
def _sequence_length(call: Call, xs: Operand) -> Any:
    return np.array(len(xs), np.int64)


@operator("ConcatFromSequence")
def _concat_from_sequence(call: Call, xs: Operand) -> Any:
    return (np.stack if call.get("new_axis", 0) else np.concatenate)(xs, axis=call.need("axis"))


@operator("SplitToSequence")
def _split_to_sequence(call: Call, x: Operand, parts: Operand = None) -> Any:
    axis = axis_of(call.get("axis", 0), np.ndim(x))
    length = shape(x)[axis]
    lead = (slice(None),) * axis
    if parts is None:
        ones = [x[(*lead, slice(i, i + 1))] for i in range(length)]
        return ones if call.get("keepdims", 1) else [np.squeeze(one, axis) for one in ones]
    sizes = ints(parts, "split")
    if np.ndim(parts) == 0:
        size = sizes[0]
        return [x[(*lead, slice(i, min(i + size, length)))] for i in range(0, length, size)]
    ends = np.cumsum(sizes)
    return [x[(*lead, slice(int(end - size), int(end)))] for size, end in zip(sizes, ends, strict=True)]


@operator("SequenceMap")
def _sequence_map(call: Call, xs: Operand, *others: Operand) -> Any:
    body = call.need("body")
    made = []
    for i in range(len(xs)):
        given = [xs[i], *(one[i] if isinstance(one, list) else one for one in others)]
        made.append(call.importing.body(body, given, call.values))
    several = tuple(list(ones) for ones in zip(*made, strict=True))
    return several or tuple([] for _ in body.output)


@operator("Optional")
def _optional(call: Call, x: Operand = None) -> Any:
    return x


@operator("OptionalHasElement")
def _optional_has_element(call: Call, x: Operand = None) -> Any:
    return np.array(x is not None)


@operator("OptionalGetElement")
def _optional_get_element(call: Call, x: Operand = None) -> Any:
    if x is None:
        raise FileFormatError("an optional without an element has none to give")
    return x
