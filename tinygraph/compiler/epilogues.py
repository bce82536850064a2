"""Epilogues: a node and the fused loop that reads its result as one node, and the kernel that writes both at once.

Kernels that take an epilogue (`Lowering.with_epilogue`) carry the loop's program out on their sums before these are
written; reductions of what was written follow in a loop of their own. Where a kernel does not take it - other layouts,
reductions of what is not written - the loop runs behind it, in the memory of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tinygraph.analysis.operation_counts import operations_of
from tinygraph.compiler.choosing import bind_loop, choose_kernel, lower
from tinygraph.core.node import Node, entry_type
from tinygraph.core.op import Op, op
from tinygraph.core.types import Array, ArrayType
from tinygraph.kernels.lowering import Epilogue, Layouts, Lowering, Run, in_order, rows
from tinygraph.kernels.program import Loop, Program, excerpt


class Joined(NamedTuple):
    """A node and the loop that reads its result.

    Attributes:
        first: its only output is read by `loop` alone.
        loop: a fused node.
        place: of the result among the loop's operands.
    """

    first: Node
    loop: Node
    place: int

    @property
    def inputs(self) -> tuple[Any, ...]:
        """What both read: the operands of the first that are there, then the others of the loop."""
        given = [entry for entry in self.first.inputs if entry is not None]
        return (*given, *self.loop.inputs[: self.place], *self.loop.inputs[self.place + 1 :])

    @property
    def types(self) -> list[ArrayType]:
        """The types of the same."""
        return [entry_type(one) for one in self.inputs]

    def apart(self, values: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Values of `inputs` as those of the first, None where an operand is absent, and those of the loop."""
        given = iter(values)
        mine = [None if entry is None else next(given) for entry in self.first.inputs]
        return mine, list(given)

    def whole(self, others: Sequence[Any], result: object) -> list[Any]:
        """The loop's operands: the others, and the result in its place."""
        return [*others[: self.place], result, *others[self.place :]]


def joined_op(joined: Joined) -> Op:
    """The op of a node that stands for both."""
    first, loop = joined.first, joined.loop

    def both(*values: object) -> Any:
        mine, others = joined.apart(values)
        result = first.op.forward(*mine, **first.settings)
        return loop.op.forward(*joined.whole(others, result), **loop.settings)

    both.__doc__ = f"{first.op.name}, then {loop.op.__doc__ or loop.op.name}"
    name = f"{first.op.name} {loop.op.name}"
    made = op(kind=first.op.kind, name=name, declare=False, facts={"joined": joined})(both)
    made.types(lambda *values: loop.output_types if len(loop.output_types) > 1 else loop.output_types[0])
    made.cost(lambda *values: (operations_of(first) or 0) + (operations_of(loop) or 0))
    made.lower(lambda types, layouts, cpu: _lowering(joined, layouts, cpu))
    return made


def takes_epilogues(node: Node, cpu: Any) -> bool:
    """Whether a node's kernel can carry out a program on its result, as far as its types tell."""
    if node.op.lowering is None or len(node.output_types) != 1:
        return False
    inputs = [None if one is None else rows(len(one.shape)) for one in node.input_types]
    answer = lower(node, inputs, [rows(len(node.output_types[0].shape))], cpu)
    return answer is not None and answer.with_epilogue is not None


def _lowering(joined: Joined, layouts: Layouts, cpu: Any) -> Lowering | None:
    """The first's kernel with the loop as its epilogue, or the one and then the other."""
    first, kept = joined.first, _kept(joined)
    mine, others = joined.apart(layouts.inputs)
    inner = lower(first, mine, [layouts.outputs[kept[0]]], cpu)
    if inner is None:
        inner = Lowering(lambda *arrays: None, name=first.op.name)
    split = _split(joined)
    fused = None
    if split is not None and inner.with_epilogue is not None:
        places = [number - (number > joined.place) for number in split.read if number != joined.place]
        types = joined.apart(joined.types)[1]
        shapes = tuple(types[place].shape for place in places)
        given, written = tuple(others[place] for place in places), tuple(layouts.outputs[k] for k in kept)
        fused = inner.with_epilogue(Epilogue(split.head, shapes, given, written))

    def bind(inputs: Sequence[Any], outputs: Sequence[Array], scratch: Sequence[Array]) -> Run:
        operands, more = joined.apart(inputs)
        if fused is not None and split is not None:
            read = [more[place] for place in places]
            run = fused.bind([*operands, *read], [outputs[k] for k in kept], scratch)
            if run is not None:
                return in_order(run, *_reduced(joined, split, more, outputs))
        result = outputs[kept[0]]
        alone = choose_kernel(first, operands, (result,), inner, scratch).run
        return in_order(alone, bind_loop(_loop_of(joined), joined.whole(more, result), outputs, ()))

    wanted = None if inner.layouts is None else _wanted(joined, inner.layouts, kept)
    name = f"{inner.name} + epilogue" if fused is not None else f"{inner.name}, loop"
    prepared = inner.prepared
    if prepared is not None:  # its operand has another number here
        prepared = prepared._replace(operand=joined.apart(range(len(joined.types)))[0][prepared.operand])
    return Lowering(bind, wanted, inner.scratch, name, notes=inner.notes, prepared=prepared)


def _loop_of(joined: Joined) -> Loop:
    found: Loop = joined.loop.op.facts["program"]
    return found


def _kept(joined: Joined) -> list[int]:
    """The loop's outputs that are written in full, those of the result's type first."""
    types = joined.first.output_types[0]
    full = [k for k, kind in enumerate(_loop_of(joined).reductions) if kind is None]
    return sorted(full, key=lambda k: joined.loop.output_types[k] != types)


class _Split(NamedTuple):
    """A loop in two: what is written in full, and what is reduced of that.

    Attributes:
        head: the program of an epilogue, the result first.
        read: the loop's operands that it reads, by number, the result's first.
        tail: the program of the reductions, if there are any.
        known: what it reads, by number in the loop's program.
    """

    head: Program
    read: list[int]
    tail: Program | None
    known: list[int]


def _split(joined: Joined) -> _Split | None:
    """The loop in two; None where outputs differ in dtype, or what is reduced needs the sums themselves."""
    loop, kept, place = _loop_of(joined), _kept(joined), joined.place
    program, dtype = loop.program, joined.first.output_types[0].dtype
    if any(joined.loop.output_types[k].dtype != dtype for k in kept):
        return None
    order = [place, *(i for i in range(len(program.inputs)) if i != place)]
    numbers = [program.outputs[k] for k in kept]
    # the result is always an operand, whether or not the program reads it
    found = excerpt(program, {i: program.inputs[i] for i in order}, [*numbers, place])
    if found is None:
        return None
    head, read = found
    head = head._replace(outputs=head.outputs[:-1])
    reduced = [program.outputs[k] for k, kind in enumerate(loop.reductions) if kind]
    if not reduced:
        return _Split(head, read, None, [])
    given = dict.fromkeys(numbers, dtype.name)
    given |= {i: name for i, name in enumerate(program.inputs) if i != place}
    rest = excerpt(program, given, reduced)
    return None if rest is None else _Split(head, read, *rest)


def _reduced(joined: Joined, split: _Split, others: Sequence[Any], outputs: Sequence[Array]) -> list[Run]:
    """The loop over what is reduced."""
    if split.tail is None:
        return []
    loop = _loop_of(joined)
    written = {loop.program.outputs[k]: outputs[k] for k in _kept(joined)}
    operands = joined.whole(others, None)
    inputs = [written[number] if number in written else operands[number] for number in split.known]
    kinds = tuple(kind for kind in loop.reductions if kind)
    results = [outputs[k] for k, kind in enumerate(loop.reductions) if kind]
    return [bind_loop(Loop(split.tail, kinds, loop.axes), inputs, results, ())]


def _wanted(joined: Joined, inner: Layouts, kept: Sequence[int]) -> Layouts:
    """The kernel's wishes; operands of the result's shape had better lie as it does."""
    result, types = inner.outputs[0], joined.first.output_types[0]
    bare = result.without_halo() if result is not None else None
    mine = (*inner.inputs, *[None] * len(joined.first.inputs))
    given = [one for one, entry in zip(mine, joined.first.inputs, strict=False) if entry is not None]
    others = [bare if one.shape == types.shape else None for one in joined.apart(joined.types)[1]]
    outputs = tuple(result if k in kept else None for k in range(len(joined.loop.output_types)))
    return Layouts((*given, *others), outputs)
