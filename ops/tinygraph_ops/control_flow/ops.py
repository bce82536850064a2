"""Loops and choices as ops: their settings hold the graphs of their bodies, their operands are all that these read.

`tg.scan` and its kin make them (`tinygraph.transforms`). A gradient of a loop is a loop, of a choice a choice, so that
derivatives of every order follow; of the body it is asked from its `Subgraph`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygraph.plugin import (
    ArrayType,
    BodyGradient,
    DTypeError,
    Numeric,
    RuleError,
    SettingError,
    ShapeError,
    Subgraph,
    Unfolding,
    batch_size,
    op,
    ops,
    spread,
)

# What the backward pass of a loop reads of all its steps is kept up to so many bytes. Of longer loops the carries are
# kept every sqrt(length) steps, and the steps between are run again.
MOST_KEPT = 2**28


def _scan_unfolds(settings: Mapping[str, Any]) -> Unfolding:
    return Unfolding(
        (settings["body"],),
        carries=settings["carries"],
        slices=settings["slices"],
        count=settings["length"],
        most=settings["length"],
        reverse=settings.get("reverse", False),
    )


@op(kind="control", facts={"subgraphs": True, "extends": "body", "unfolds": _scan_unfolds})
def scan(
    *operands: object, body: Subgraph, carries: int, slices: int, length: int, reverse: bool = False
) -> tuple[Any, ...]:
    """Repeat: each step makes new carries, and one slice of each further result, of the carries and a slice of each xs.

    Operands are the first carries, the xs along whose first axis the loop runs, and what all steps read. Results are
    the last carries, then what the steps made, stacked.
    """
    carry, xs, rest = _parted(operands, carries, slices)
    made = [np.empty((length, *one.shape), one.dtype) for one in body.output_types[carries:]]
    for t in reversed(range(length)) if reverse else range(length):
        found = body(*carry, *(x[t] for x in xs), *rest)
        carry = [
            np.asarray(one, types.dtype)[()]
            for one, types in zip(found[:carries], body.output_types, strict=False)
        ]
        for stack, one in zip(made, found[carries:], strict=True):
            stack[t] = one
    return (*map(_own, carry), *made)


def _parted(operands: Sequence[Any], carries: int, slices: int) -> tuple[list[Any], list[Any], list[Any]]:
    return (
        list(operands[:carries]),
        list(operands[carries : carries + slices]),
        list(operands[carries + slices :]),
    )


def _own(value: Numeric) -> Any:
    return np.array(value) if np.ndim(value) else np.asarray(value)[()]


@scan.types
def scan_types(
    *operands: object, body: Subgraph, carries: int, slices: int, length: int, reverse: bool = False
) -> tuple[ArrayType, ...]:
    _require_subgraphs(body)
    for name, count in (("carries", carries), ("slices", slices), ("length", length)):
        _require_count(name, count)
    types = [_type(one) for one in operands]
    if carries + slices > len(types):
        raise ShapeError(f"{carries} carries and {slices} xs, but there are {len(types)} operands")
    for i in range(carries, carries + slices):
        if types[i].shape[:1] != (length,):
            raise ShapeError(
                f"operand {i} is {types[i]}, and does not have {length} slices along its first axis"
            )
        types[i] = ArrayType(types[i].shape[1:], types[i].dtype)
    _require_operands(body, types)
    made = body.output_types
    _require_carries(made, types[:carries])
    return (*made[:carries], *(ArrayType((length, *one.shape), one.dtype) for one in made[carries:]))


def _require_count(name: str, count: object) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise SettingError(f"{name}={count!r} must be a number of at least 0")


def _type(one: object) -> ArrayType:
    if isinstance(one, tuple):
        return ArrayType(*one)
    array = np.asarray(one)
    return ArrayType(array.shape, array.dtype)


def _require_subgraphs(*given: object) -> None:
    for one in given:
        if not isinstance(one, Subgraph):
            raise SettingError(f"a body must be a Subgraph, not {type(one).__name__}")


def _require_branches(given: object) -> bool:
    """Whether there are any, and Subgraphs all."""
    if not isinstance(given, tuple):
        raise SettingError(f"branches must be a tuple of Subgraphs, not {type(given).__name__}")
    _require_subgraphs(*given)
    return bool(given)


def _require_operands(body: Subgraph, types: Sequence[ArrayType]) -> None:
    wanted = body.input_types
    if len(wanted) != len(types):
        raise ShapeError(f"{body.name} takes {len(wanted)} operands, and gets {len(types)}")
    for i, (one, given) in enumerate(zip(wanted, types, strict=True)):
        if one != given:
            raise ShapeError(f"operand {i} of {body.name} is {one}, and it gets {given}")


def _require_carries(made: Sequence[ArrayType], given: Sequence[ArrayType]) -> None:
    if len(made) < len(given):
        raise ShapeError(f"the body makes {len(made)} results, fewer than the {len(given)} carries")
    for i, (after, before) in enumerate(zip(made, given, strict=False)):
        if after != before:
            raise ShapeError(f"carry {i} goes in as {before} and comes out as {after}")


@scan.vjp("operands")
def scan_wrt_operands(
    g: tuple[Any, ...],
    operands: tuple[Any, ...],
    wanted: tuple[int, ...],
    *,
    body: Subgraph,
    carries: int,
    slices: int,
    length: int,
    reverse: bool,
) -> tuple[Any, ...]:
    return _pulled(g, operands, wanted, body, carries, slices, length, reverse)


def _pulled(
    g: Sequence[Any],
    operands: Sequence[Any],
    wanted: Sequence[int],
    body: Subgraph,
    carries: int,
    slices: int,
    length: int,
    reverse: bool,
) -> tuple[Any, ...]:
    """The cotangents of a loop's operands: the loop again, with what its gradient reads, then one the other way."""
    made = body.output_types
    moving, given = _active(body, carries, wanted, [i for i, one in enumerate(g) if one is not None])
    if not moving or not given:
        return (None,) * len(operands)
    linear = body.linear(moving, given)
    if linear.backward is None:
        return (None,) * len(operands)
    fixed = body.derived(("fixed", moving, given, carries, slices), lambda: _fixed(linear, carries, slices))
    kept_bytes = sum(
        one.nbytes
        for i, one in enumerate(linear.forward.output_types)
        if i >= len(made) and i not in fixed.which
    )
    kept_bytes += sum(body.input_types[i].nbytes for i in linear.kept if i < carries)
    kept_bytes += sum(made[i].nbytes for i in linear.read if i < carries)
    if length > 3 and kept_bytes * length > MOST_KEPT:
        return _pulled_in_parts(g, operands, wanted, body, carries, slices, length, reverse)
    reading = body.derived(
        ("reading", moving, given, carries, slices), lambda: _reading(linear, carries, fixed.which)
    )
    again = ops.scan(*operands, body=reading, carries=carries, slices=slices, length=length, reverse=reverse)
    back = body.derived(
        ("back", moving, given, carries, slices),
        lambda: _back(body, linear, fixed.which, moving, carries, slices),
    )
    types = body.input_types
    consts = [i for i in moving if i >= carries + slices]
    starts = [g[i] if g[i] is not None else _zeros(types[i]) for i in moving if i < carries]
    starts += [_zeros(types[i]) for i in consts]
    rows = [i for i in range(len(linear.forward.output_types)) if i not in fixed.which]
    stacks = dict(zip(rows, again, strict=False))  # behind these stands what carries were
    sliced = list(again[len(rows) :])
    sliced += [operands[i] for i in linear.kept if carries <= i < carries + slices]
    sliced += [stacks[i] for i in linear.read if i >= carries and i not in fixed.which]
    sliced += [g[i] for i in linear.given if i >= carries]
    result = ops.scan(
        *starts,
        *sliced,
        *(operands[i] for i in linear.kept if i >= carries + slices),
        *fixed.values(*operands[carries + slices :]),
        body=back,
        carries=len(starts),
        slices=len(sliced),
        length=length,
        reverse=not reverse,
    )
    places = dict(zip(_order(moving, carries, slices), result, strict=True))
    return tuple(places.get(i) if i in wanted else None for i in range(len(operands)))


def _order(moving: Sequence[int], carries: int, slices: int) -> list[int]:
    """The operands in the order in which a backward loop returns their cotangents."""
    return [
        *(i for i in moving if i < carries or i >= carries + slices),
        *(i for i in moving if carries <= i < carries + slices),
    ]


class _Fixed(NamedTuple):
    """What the gradient of a body reads that is the same in all steps: it is made once, and kept once.

    Attributes:
        which: results of the forward body, by position.
        values: makes them of the operands that all steps read.
    """

    which: tuple[int, ...]
    values: Subgraph


def _fixed(linear: BodyGradient, carries: int, slices: int) -> _Fixed:
    read = [i for i in linear.read if i >= carries]
    return _Fixed(*linear.forward.alike_in_all_steps(carries + slices, read))


def _reading(linear: BodyGradient, carries: int, fixed: Sequence[int]) -> Subgraph:
    """A body that also returns what its gradient reads of the carries: as they come in, and as they go out."""

    def body(*xs: Numeric) -> list[Any]:
        found = linear.forward(*xs)
        before = [xs[i] for i in linear.kept if i < carries]
        after = [found[i] for i in linear.read if i < carries]
        return [*(one for i, one in enumerate(found) if i not in fixed), *before, *after]

    return Subgraph.of(body, linear.forward.input_types, linear.forward.name)


def _back(
    body: Subgraph,
    linear: BodyGradient,
    fixed: Sequence[int],
    moving: Sequence[int],
    carries: int,
    slices: int,
) -> Subgraph:
    """One step of a backward loop.

    It takes the cotangents of the carries, what was summed so far for what all steps read, what the gradient reads of
    the step, and cotangents of what the step made.
    """
    assert linear.backward is not None
    gradient = linear.backward
    end = carries + slices
    own = {("kept", i): k for k, i in enumerate(linear.kept)}
    own |= {("read", i): len(linear.kept) + k for k, i in enumerate(linear.read)}
    own |= {("given", i): len(linear.kept) + len(linear.read) + k for k, i in enumerate(linear.given)}
    carried = [i for i in moving if i < carries]
    consts = [i for i in moving if i >= end]
    order: list[tuple[str, int]] = [
        *(("kept", i) for i in linear.kept if i < carries),
        *(("read", i) for i in linear.read if i < carries),
        *(("kept", i) for i in linear.kept if carries <= i < end),
        *(("read", i) for i in linear.read if i >= carries and i not in fixed),
        *(("given", i) for i in linear.given if i >= carries),
        *(("kept", i) for i in linear.kept if i >= end),
        *(("read", i) for i in fixed),
    ]
    input_types = body.input_types
    types = [ArrayType(*input_types[i]) for i in (*carried, *consts)]  # sums are no Python numbers
    types += [gradient.input_types[own[one]] for one in order]

    def step(*xs: object) -> list[Any]:
        flowing = dict(zip(carried, xs, strict=False))
        sums = dict(zip(consts, xs[len(carried) :], strict=False))
        given: list[Any] = [None] * len(own)
        for one, value in zip(order, xs[len(carried) + len(consts) :], strict=True):
            given[own[one]] = value
        for i in linear.given:
            if i < carries:
                given[own["given", i]] = flowing[i]
        found = dict(zip(linear.served, gradient(*given), strict=True))
        return [
            *(found[i] if i in found else _zeros(input_types[i]) for i in carried),
            *(sums[i] + found[i] if i in found else sums[i] for i in consts),
            *(found[i] if i in found else _zeros(input_types[i]) for i in moving if carries <= i < end),
        ]

    return Subgraph.of(step, types, gradient.name, "backward")


def _pulled_in_parts(
    g: Sequence[Any],
    operands: Sequence[Any],
    wanted: Sequence[int],
    body: Subgraph,
    carries: int,
    slices: int,
    length: int,
    reverse: bool,
) -> tuple[Any, ...]:
    """The cotangents of the operands of a long loop: a loop over parts of sqrt(length) steps, each run again."""
    size = math.isqrt(length)
    count, rest = divmod(length, size)
    outer = body.derived(
        ("part", carries, slices, size, reverse), lambda: _part(body, carries, slices, size, reverse)
    )
    first, last = (
        (slice(rest, None), slice(None, rest))
        if reverse
        else (slice(length - rest), slice(length - rest, None))
    )
    carry, xs, consts = _parted(operands, carries, slices)
    parts = [ops.reshape(x[first], shape=(count, size, *x.shape[1:])) for x in xs]
    split = [
        None if one is None else ops.reshape(one[first], shape=(count, size, *one.shape[1:]))
        for one in g[carries:]
    ]
    flowing = list(g[:carries])
    moving, _ = _active(body, carries, wanted, [i for i, one in enumerate(g) if one is not None])
    asked = tuple(dict.fromkeys((*(i for i in moving if i < carries), *wanted)))
    found_last: tuple[Any, ...] | None = None
    if rest:
        reached = ops.scan(
            *carry, *parts, *consts, body=outer, carries=carries, slices=slices, length=count, reverse=reverse
        )[:carries]
        found_last = _pulled(
            [*flowing, *(None if one is None else one[last] for one in g[carries:])],
            [*reached, *(x[last] for x in xs), *consts],
            asked, body, carries, slices, rest, reverse,
        )  # fmt: skip
        flowing = list(found_last[:carries])
    found = _pulled(
        [*flowing, *split], [*carry, *parts, *consts], asked, outer, carries, slices, count, reverse
    )
    together: list[Any] = []
    for i, one in enumerate(found):
        other = found_last[i] if found_last is not None else None
        if i not in wanted:
            together.append(None)
        elif i < carries:
            together.append(one)
        elif i < carries + slices:
            x = operands[i]
            whole = (
                _zeros_like_slices(x, length - rest)
                if one is None
                else ops.reshape(one, shape=(length - rest, *x.shape[1:]))
            )
            if rest:
                tail = _zeros_like_slices(x, rest) if other is None else other
                whole = ops.concatenate(*((tail, whole) if reverse else (whole, tail)), axis=0)
            together.append(whole)
        else:
            together.append(other if one is None else one if other is None else one + other)
    return tuple(together)


def _zeros_like_slices(x: Numeric, count: int) -> Any:
    return np.zeros((count, *x.shape[1:]), x.dtype)


def _part(body: Subgraph, carries: int, slices: int, size: int, reverse: bool) -> Subgraph:
    """Some steps of a loop as one."""
    types = [
        ArrayType((size, *one.shape), one.dtype) if carries <= i < carries + slices else one
        for i, one in enumerate(body.input_types)
    ]
    return Subgraph.of(
        lambda *xs: ops.scan(*xs, body=body, carries=carries, slices=slices, length=size, reverse=reverse),
        types,
        body.name,
    )


def _active(
    body: Subgraph, carries: int, wanted: Sequence[int], given: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The operands of a step that get cotangents, and the results that have one: those of carries come back.

    Carries that nothing wanted moves are not among them, nor those that no given result depends on: a bound, a rate, a
    value that is only compared.
    """
    reached = body.reached
    types = body.input_types
    moving = {i for i in wanted if types[i].differentiable}
    while True:
        more = {i for i in range(carries) if reached[i] & moving} - moving
        if not more:
            break
        moving |= more
    ends = {i for i in given if reached[i] & moving or i in moving}
    while True:
        back = moving & set[int]().union(*(reached[i] for i in ends))
        more = {i for i in back if i < carries} - ends
        if not more:
            break
        ends |= more
    back |= {i for i in ends if i < carries}
    return tuple(sorted(back)), tuple(sorted(i for i in ends if i >= carries or i in back))


def _zeros(types: ArrayType) -> Any:
    return np.zeros(types.shape, types.dtype)


@scan.jvp("operands")
def scan_along_operands(
    t: tuple[Any, ...],
    operands: tuple[Any, ...],
    *,
    body: Subgraph,
    carries: int,
    slices: int,
    length: int,
    reverse: bool,
) -> tuple[Any, ...]:
    moving, moved, both = _pushed(t, body, carries, slices)
    where = [[i for i in moving if _room(i, carries, slices) == room] for room in range(3)]
    carry, xs, consts = _parted(operands, carries, slices)
    found = ops.scan(
        *carry,
        *(t[i] if t[i] is not None else _zeros(body.input_types[i]) for i in where[0]),
        *xs,
        *(t[i] for i in where[1]),
        *consts,
        *(t[i] for i in where[2]),
        body=both,
        carries=carries + len(where[0]),
        slices=slices + len(where[1]),
        length=length,
        reverse=reverse,
    )
    count = len(body.output_types)
    places = {i: found[carries + k] for k, i in enumerate(where[0])}
    behind = count + len(where[0])
    places |= {i: found[behind + k] for k, i in enumerate(i for i in moved if i >= carries)}
    return tuple(places.get(i) for i in range(count))


def _room(i: int, carries: int, slices: int) -> int:
    """Whether an operand is a carry, one of the xs, or read by all steps: 0, 1 or 2."""
    return 0 if i < carries else 1 if i < carries + slices else 2


def _pushed(
    t: Sequence[Any], body: Subgraph, carries: int, slices: int
) -> tuple[tuple[int, ...], tuple[int, ...], Subgraph]:
    """The operands and results that move, and a body that makes tangents besides, of carries behind carries."""
    moving = tuple(i for i, one in enumerate(t) if one is not None)
    while True:  # a carry that stands still at first may move from the second step on
        pushed, moved = body.pushed(moving)
        more = tuple(sorted({*moving, *(i for i in moved if i < carries)}))
        if more == moving:
            break
        moving = more
    types = body.input_types
    count = len(types)
    rooms = [[i for i in range(count) if _room(i, carries, slices) == room] for room in range(3)]
    order: list[tuple[int, bool]] = []
    for room in rooms:
        order += [(i, False) for i in room]
        order += [(i, True) for i in room if i in moving]
    own = {(i, False): i for i in range(count)} | {(i, True): count + k for k, i in enumerate(moving)}
    made = len(body.output_types)
    carried = [i for i in moving if i < carries]

    def both(*xs: object) -> list[Any]:
        given: list[Any] = [None] * len(own)
        for one, value in zip(order, xs, strict=True):
            given[own[one]] = value
        found = pushed(*given)
        along = dict(zip(moved, found[made:], strict=True))
        return [
            *found[:carries],
            *(along[i] if i in along else _zeros(types[i]) for i in carried),
            *found[carries:made],
            *(along[i] for i in moved if i >= carries),
        ]

    key = ("both", moving, carries, slices)
    return (
        moving,
        moved,
        body.derived(key, lambda: Subgraph.of(both, [types[i] for i, _ in order], pushed.name)),
    )


@scan.batch
def scan_batched(
    batched: Sequence[bool],
    *operands: object,
    body: Subgraph,
    carries: int,
    slices: int,
    length: int,
    reverse: bool,
) -> tuple[Any, ...]:
    """All carries and results have the batch axis; of the xs it comes behind the steps."""
    size = batch_size(batched, operands)
    carry, xs, rest = _parted(operands, carries, slices)
    flags = tuple(one or i < carries for i, one in enumerate(batched))
    found = ops.scan(
        *(x if one else spread(x, size) for x, one in zip(carry, batched, strict=False)),
        *(
            ops.moveaxis(x, source=0, destination=1) if one else x
            for x, one in zip(xs, flags[carries:], strict=False)
        ),
        *rest,
        body=body.batched(flags, size),
        carries=carries,
        slices=slices,
        length=length,
        reverse=reverse,
    )
    return (
        *found[:carries],
        *(ops.moveaxis(one, source=0, destination=1) for one in found[carries:]),
    )


# -- as long as a condition holds ----------------------------------------------------------------------------------


def _while_unfolds(settings: Mapping[str, Any]) -> Unfolding:
    return Unfolding(
        (settings["body"],),
        condition=settings["condition"],
        carries=settings["carries"],
        most=settings.get("max_steps"),
    )


@op(kind="control", facts={"subgraphs": True, "unfolds": _while_unfolds})
def while_loop(
    *operands: object, condition: Subgraph, body: Subgraph, carries: int, max_steps: int | None = None
) -> tuple[Any, ...]:
    """Repeat as long as a condition on the carries holds, `max_steps` times at most.

    Operands are the first carries and what all steps read; results the last carries, and how many steps there were.
    """
    carry, _, rest = _parted(operands, carries, 0)
    steps = 0
    while (max_steps is None or steps < max_steps) and condition(*carry, *rest)[0]:
        found = body(*carry, *rest)
        carry = [
            np.asarray(one, types.dtype)[()] for one, types in zip(found, body.output_types, strict=True)
        ]
        steps += 1
    return (*map(_own, carry), np.int64(steps))


@while_loop.types
def while_loop_types(
    *operands: object, condition: Subgraph, body: Subgraph, carries: int, max_steps: int | None = None
) -> tuple[ArrayType, ...]:
    _require_subgraphs(condition, body)
    _require_count("carries", carries)
    if max_steps is not None:
        _require_count("max_steps", max_steps)
    if carries > len(operands):
        raise ShapeError(f"{carries} carries, but there are {len(operands)} operands")
    types = [_type(one) for one in operands]
    _require_operands(body, types)
    _require_operands(condition, types)
    if condition.output_types != (ArrayType((), np.dtype(bool)),):
        raise DTypeError(
            f"the condition must return one boolean, not {', '.join(map(str, condition.output_types))}"
        )
    _require_carries(body.output_types, types[:carries])
    return (*body.output_types[:carries], ArrayType((), np.dtype(np.int64)))


@while_loop.vjp("operands")
def while_loop_wrt_operands(
    g: tuple[Any, ...],
    operands: tuple[Any, ...],
    wanted: tuple[int, ...],
    *,
    condition: Subgraph,
    body: Subgraph,
    carries: int,
    max_steps: int | None,
) -> tuple[Any, ...]:
    if max_steps is None:
        raise RuleError(
            "the gradient of a while_loop in a captured program needs a bound for its steps, which decides what is "
            "kept for the backward pass: tg.while_loop(..., max_steps=n), or use tg.fori_loop or tg.scan"
        )
    step = body.derived(("while", condition), lambda: _step_while(condition, body, carries))
    return _pulled(g[:carries], operands, wanted, step, carries, 0, max_steps, False)


def _step_while(condition: Subgraph, body: Subgraph, carries: int) -> Subgraph:
    """A step that does nothing when the condition no longer holds."""
    types = body.input_types
    stay = Subgraph.of(lambda *xs: xs[:carries], types, "done")
    return Subgraph.of(
        lambda *xs: ops.switch(condition(*xs)[0], *xs, branches=(stay, body)), types, body.name
    )


@while_loop.jvp("operands")
def while_loop_along_operands(
    t: tuple[Any, ...],
    operands: tuple[Any, ...],
    *,
    condition: Subgraph,
    body: Subgraph,
    carries: int,
    max_steps: int | None,
) -> tuple[Any, ...]:
    moving, _, both = _pushed(t, body, carries, 0)
    carried = [i for i in moving if i < carries]
    consts = [i for i in moving if i >= carries]
    rest = len(operands) - carries
    holds = condition.derived(
        ("along", moving, carries),
        lambda: Subgraph.of(
            lambda *xs: condition(*xs[:carries], *xs[carries + len(carried) :][:rest]),
            both.input_types,
            condition.name,
        ),
    )
    found = ops.while_loop(
        *operands[:carries],
        *(t[i] if t[i] is not None else _zeros(body.input_types[i]) for i in carried),
        *operands[carries:],
        *(t[i] for i in consts),
        condition=holds,
        body=both,
        carries=carries + len(carried),
        max_steps=max_steps,
    )
    places = {i: found[carries + k] for k, i in enumerate(carried)}
    return tuple(places.get(i) for i in range(carries + 1))


@while_loop.batch
def while_loop_batched(
    batched: Sequence[bool],
    *operands: Numeric,
    condition: Subgraph,
    body: Subgraph,
    carries: int,
    max_steps: int | None,
) -> tuple[Any, ...]:
    """As long as the condition holds for some example; those for which it does not stay as they are."""
    size = batch_size(batched, operands)
    flags = tuple(one or i < carries for i, one in enumerate(batched))
    holds, step = condition.batched(flags, size), body.batched(flags, size)
    carry, _, rest = _parted(operands, carries, 0)
    count = ArrayType((size,), np.dtype(np.int64))
    types = [*step.input_types[:carries], count, *step.input_types[carries:]]

    def go_on(*xs: Numeric) -> list[Any]:
        (active,) = holds(*xs[:carries], *xs[carries + 1 :])
        after = step(*xs[:carries], *xs[carries + 1 :])
        chosen = [
            ops.where(ops.reshape(active, shape=(size, *(1,) * (np.ndim(x) - 1))), new, x)
            for new, x in zip(after, xs, strict=False)
        ]
        return [*chosen, xs[carries] + active]

    together = step.derived(("examples", holds), lambda: Subgraph.of(go_on, types, body.name))
    some = holds.derived(
        "some",
        lambda: Subgraph.of(
            lambda *xs: [ops.any(holds(*xs[:carries], *xs[carries + 1 :])[0])], types, condition.name
        ),
    )
    found = ops.while_loop(
        *(x if one else spread(x, size) for x, one in zip(carry, batched, strict=False)),
        np.zeros(size, np.int64),
        *rest,
        condition=some,
        body=together,
        carries=carries + 1,
        max_steps=max_steps,
    )
    return tuple(found[: carries + 1])


# -- one of several ------------------------------------------------------------------------------------------------


def _switch_unfolds(settings: Mapping[str, Any]) -> Unfolding:
    return Unfolding(settings["branches"], choice=True)


@op(
    kind="control",
    facts={"subgraphs": True, "unfolds": _switch_unfolds},
    nondifferentiable="index",
)
def switch(index: Any, *operands: Numeric, branches: tuple[Subgraph, ...]) -> tuple[Any, ...]:
    """One of several branches, on the same operands: number `index`, the nearest where there is no such number."""
    chosen = branches[min(max(int(index), 0), len(branches) - 1)]
    found = chosen(*operands)
    return tuple(
        _own(np.asarray(one, types.dtype)[()]) for one, types in zip(found, chosen.output_types, strict=True)
    )


@switch.types
def switch_types(index: object, *operands: object, branches: tuple[Subgraph, ...]) -> tuple[ArrayType, ...]:
    if not _require_branches(branches):
        raise SettingError("a switch needs at least one branch")
    chooser = _type(index)
    if chooser.shape or chooser.dtype.kind not in "iub":
        raise DTypeError(f"the index of a branch must be one integer or boolean, not {chooser}")
    types = [_type(one) for one in operands]
    for branch in branches:
        _require_operands(branch, types)
    made = branches[0].output_types
    for branch in branches[1:]:
        if branch.output_types != made:
            raise ShapeError(
                f"branches return different types: {branches[0].name} returns ({', '.join(map(str, made))}), "
                f"{branch.name} returns ({', '.join(map(str, branch.output_types))})"
            )
    return made


@switch.vjp("operands")
def switch_wrt_operands(
    g: tuple[Any, ...],
    index: object,
    operands: tuple[Any, ...],
    wanted: tuple[int, ...],
    *,
    branches: tuple[Subgraph, ...],
) -> tuple[Any, ...]:
    made = branches[0].output_types
    given = tuple(i for i, types in enumerate(made) if types.differentiable and g[i] is not None)
    types = branches[0].input_types
    moving = tuple(i for i in wanted if types[i].differentiable)
    if not given or not moving:
        return (None,) * len(operands)
    back = tuple(
        one.derived(("switch", moving, given), functools.partial(_branch_back, one, moving, given))
        for one in branches
    )
    found = ops.switch(index, *operands, *(g[i] for i in given), branches=back)
    places = dict(zip(moving, found, strict=True))
    return tuple(places.get(i) for i in range(len(operands)))


def _branch_back(branch: Subgraph, moving: tuple[int, ...], given: tuple[int, ...]) -> Subgraph:
    """The cotangents of a branch's operands, for the operands and cotangents of its results: it is run again."""
    linear = branch.linear(moving, given)
    types, made = branch.input_types, branch.output_types

    def back(*xs: Numeric) -> list[Any]:
        found: dict[int, Any] = {}
        if linear.backward is not None:
            results = linear.forward(*xs[: len(types)])
            cotangents = dict(zip(given, xs[len(types) :], strict=True))
            gradients = linear.backward(
                *(xs[i] for i in linear.kept),
                *(results[i] for i in linear.read),
                *(cotangents[i] for i in linear.given),
            )
            found = dict(zip(linear.served, gradients, strict=True))
        return [found[i] if i in found else _zeros(types[i]) for i in moving]

    return Subgraph.of(back, [*types, *(made[i] for i in given)], f"{branch.name} backward", "backward")


@switch.jvp("operands")
def switch_along_operands(
    t: tuple[Any, ...], index: object, operands: tuple[Any, ...], *, branches: tuple[Subgraph, ...]
) -> tuple[Any, ...]:
    moving = tuple(i for i, one in enumerate(t) if one is not None)
    reached = sorted({i for one in branches for i in one.pushed(moving)[1]})
    along = tuple(
        one.derived(("along", moving, tuple(reached)), functools.partial(_branch_along, one, moving, reached))
        for one in branches
    )
    found = ops.switch(index, *operands, *(t[i] for i in moving), branches=along)
    places = dict(zip(reached, found, strict=True))
    return tuple(places.get(i) for i in range(len(branches[0].output_types)))


def _branch_along(branch: Subgraph, moving: tuple[int, ...], reached: Sequence[int]) -> Subgraph:
    """The tangents of the results that move in some branch."""
    pushed, moved = branch.pushed(moving)
    made = branch.output_types

    def along(*xs: Numeric) -> list[Any]:
        places = dict(zip(moved, pushed(*xs)[len(made) :], strict=True))
        return [places[i] if i in places else _zeros(made[i]) for i in reached]

    return Subgraph.of(along, pushed.input_types, pushed.name)


@switch.batch
def switch_batched(
    batched: Sequence[bool], index: Numeric, *operands: Numeric, branches: tuple[Subgraph, ...]
) -> tuple[Any, ...]:
    """One branch for all examples; where each has an index of its own all of them, and a choice among results."""
    size = batch_size(batched, (index, *operands))
    all_branches = tuple(one.batched(tuple(batched[1:]), size) for one in branches)
    if not batched[0]:
        return tuple(ops.switch(index, *operands, branches=all_branches))
    results = [one(*operands) for one in all_branches]
    chosen = results[0]
    for i, several in enumerate(results[1:], 1):
        chosen = [
            ops.where(ops.reshape(index >= i, shape=(size, *(1,) * (np.ndim(new) - 1))), new, old)
            for new, old in zip(several, chosen, strict=True)
        ]
    return tuple(chosen)
