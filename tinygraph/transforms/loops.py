"""Loops and choices with JAX's names: scan, map, fori_loop, while_loop, cond and switch.

Eagerly they are what they look like, loops and ifs of Python on arrays or tensors, with prints and breakpoints. Inside
`tg.capture` and `tg.compile` each becomes one node whose body is captured once, whatever the number of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygraph.core.modes import modes
from tinygraph.core.registry import ops
from tinygraph.core.source import here
from tinygraph.core.tensor import CapturedNumber, Tensor
from tinygraph.core.trees import Tree, flatten, paths
from tinygraph.core.types import ArrayType, as_value, type_of
from tinygraph.errors import DTypeError, SettingError, ShapeError
from tinygraph.tracing.body_captures import CapturedBody, Typed, capture_body, joined, subgraph

Function = Callable[..., Any]


def scan(
    f: Function, init: object, xs: object, length: int | None = None, reverse: bool = False
) -> tuple[Any, Any]:
    """Carry a value through the slices of some arrays, and stack what each step makes.

    Args:
        f: `f(carry, x)` -> `(carry, y)`: takes the carry and one slice of `xs`, returns the next carry, of the same
            structure, shapes and dtypes, and anything else.
        init: the first carry: an array, or a container of them. Python numbers take the dtype that the body gives.
        xs: an array or container of arrays whose first axes are equally long, or None.
        length: how many steps; needed where `xs` is None.
        reverse: go from the last slice to the first.

    Returns:
        (carry, ys): the last carry, and what the steps returned, stacked along a new first axis.

    In a captured program the body becomes a graph that runs `length` times from a plan. Its gradient keeps what it
    needs of all steps up to 256 MiB; of longer loops the carries every sqrt(length) steps, and runs the steps between
    again. What the body closes over gets gradients, too.

    Raises:
        ShapeError, DTypeError: a carry that changes its shape or dtype, or xs of different lengths.
        CaptureError: in a capture, a body with side effects.

    >>> import numpy as np
    >>> scan(lambda total, x: (total + x, total * x), 0.0, np.array([1.0, 2.0, 3.0]))
    (np.float64(6.0), array([0., 2., 9.]))
    """
    carry, tree = _given(init, "init")
    slices, xs_tree = _given(xs, "xs")
    count = _length(slices, length)
    if modes.current.capture is not None:
        return _scan_captured(f, carry, tree, slices, xs_tree, count, reverse)
    return _scan_eagerly(f, carry, tree, slices, xs_tree, count, reverse)


def map(f: Function, xs: object) -> Any:
    """What a function makes of each slice of some arrays, stacked: a `scan` without a carry.

    >>> import numpy as np
    >>> map(lambda x: x @ x, np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([ 5., 25.])
    """
    return scan(lambda _, x: (None, f(x)), None, xs)[1]


def fori_loop(lower: Any, upper: Any, body_fun: Function, init_val: object) -> Any:
    """`for i in range(lower, upper): val = body_fun(i, val)`.

    With bounds that are Python integers it is a `scan`, else a `while_loop`, which has no gradient in captures.

    >>> fori_loop(0, 5, lambda i, total: total + i, 0)
    np.int64(10)
    """
    if isinstance(lower, int | np.integer) and isinstance(upper, int | np.integer):
        numbers = np.arange(int(lower), max(int(lower), int(upper)))
        return scan(lambda value, i: (body_fun(i, value), None), init_val, numbers)[0]
    start = ops.cast(lower, dtype="int64") if isinstance(lower, Tensor) else np.int64(lower)
    end = ops.cast(upper, dtype="int64") if isinstance(upper, Tensor) else np.int64(upper)
    return while_loop(
        lambda state: state[0] < end, lambda state: (state[0] + 1, body_fun(*state)), (start, init_val)
    )[1]


def while_loop(
    cond_fun: Function, body_fun: Function, init_val: object, *, max_steps: int | None = None
) -> Any:
    """`while cond_fun(val): val = body_fun(val)`.

    Args:
        cond_fun: takes the value, returns one boolean.
        body_fun: takes the value, returns the next, of the same structure, shapes and dtypes.
        init_val: the first value: an array or a container of them.
        max_steps: end after so many steps in any case. In a captured program reverse mode needs it, and runs the steps
            from the first to this one; eagerly every step is recorded, and the gradient goes through as many as there
            were.

    Raises:
        DTypeError: the condition is no single boolean, or the value changes its dtype.
        ShapeError: the value changes its shape.
        RuleError: in a captured program, a gradient through a loop without `max_steps`.

    >>> while_loop(lambda x: x < 100.0, lambda x: x * 3.0, 1.0)
    np.float64(243.0)
    """
    if max_steps is not None:
        _require_count("tg.while_loop: max_steps", max_steps)
    carry, tree = _given(init_val, "init_val")
    if modes.current.capture is not None:
        return _while_captured(cond_fun, body_fun, carry, tree, max_steps)
    keep = _Keeping(carry, tree, body_fun, "tg.while_loop")
    steps = 0
    while max_steps is None or steps < max_steps:
        if not _truth(cond_fun(keep.value), cond_fun):
            break
        keep.next(body_fun(keep.value))
        steps += 1
    return keep.value


def cond(pred: object, true_fun: Function, false_fun: Function, *operands: object) -> Any:
    """`true_fun(*operands) if pred else false_fun(*operands)`.

    Args:
        pred: one boolean, or a number: true if it is not 0.
        true_fun, false_fun: take the operands; in a captured program both must return the same structure and types.

    >>> cond(3 > 2, lambda x: x + 1.0, lambda x: x - 1.0, 5.0)
    6.0
    """
    types = type_of(pred) if not isinstance(pred, Tensor) else pred.type
    if types.shape:
        raise ShapeError(
            f"tg.cond: the condition is {types}; it must be one value: np.all(c), or np.where elementwise"
        )
    if types.dtype.kind != "b":
        if types.dtype.kind not in "iuf":
            raise DTypeError(f"tg.cond: the condition is {types}, not a boolean")
        pred = pred != 0
    if not _captured(pred):
        return (true_fun if _value(pred) else false_fun)(*operands)
    return _switch_captured(pred, (false_fun, true_fun), operands, "tg.cond")


def switch(index: object, branches: Sequence[Function], *operands: object) -> Any:
    """`branches[index](*operands)`; an index beyond the ends means the branch there.

    >>> switch(1, [lambda x: x, lambda x: x * x], 3.0)
    9.0
    """
    branches = tuple(branches)
    types = type_of(index) if not isinstance(index, Tensor) else index.type
    if not branches:
        raise SettingError("tg.switch needs at least one branch")
    if types.shape or types.dtype.kind not in "iu":
        raise DTypeError(f"tg.switch: the index is {types}; it must be one integer")
    if not _captured(index):
        return branches[min(max(int(_value(index)), 0), len(branches) - 1)](*operands)
    return _switch_captured(index, branches, operands, "tg.switch")


# -- eagerly -------------------------------------------------------------------------------------------------------


class _Keeping:
    """A carry from step to step, which must stay of one structure and of the same types.

    Attributes:
        value: the present one.
    """

    def __init__(self, leaves: list[Any], tree: Tree, function: Function, what: str) -> None:
        self._tree, self._function, self._what = tree, function, what
        self._leaves = [_strong(one) for one in leaves]
        self._weak = [_is_number(one) for one in leaves]
        self.value = tree.unflatten(self._leaves)

    def next(self, value: object) -> None:
        """Go on with another value."""
        leaves, tree = flatten(value)
        _require_structure(tree, self._tree, self._function, self._what)
        found = [one if isinstance(one, Tensor) else as_value(one) for one in leaves]
        before = [_type(one) for one in self._leaves]
        for i, (one, types) in enumerate(zip(found, before, strict=True)):
            if self._weak[i] and not types.shape and _may_become(types, _type(one)):
                before[i] = _type(one)
        _require_types(before, [_type(one) for one in found], self._tree, self._function, self._what)
        self._weak = [False] * len(found)
        self._leaves = found
        self.value = self._tree.unflatten(found)


def _scan_eagerly(
    f: Function, carry: list[Any], tree: Tree, xs: list[Any], xs_tree: Tree, count: int, reverse: bool
) -> tuple[Any, Any]:
    if not count:
        return _scan_nothing(f, carry, tree, xs, xs_tree)
    keep = _Keeping(carry, tree, f, "tg.scan")
    made: list[list[Any]] = []
    shape: Tree | None = None
    for t in reversed(range(count)) if reverse else range(count):
        keep_value, y = _pair(f(keep.value, xs_tree.unflatten([x[t] for x in xs])), f)
        keep.next(keep_value)
        leaves, shape_now = flatten(y)
        if shape is not None and shape_now != shape:
            raise ShapeError(f"tg.scan: {_named(f)} returns {shape_now} in one step and {shape} in another")
        shape = shape_now
        made.append(leaves)
    assert shape is not None
    if reverse:
        made.reverse()
    return keep.value, shape.unflatten([_stacked(column) for column in zip(*made, strict=True)])


def _scan_nothing(f: Function, carry: list[Any], tree: Tree, xs: list[Any], xs_tree: Tree) -> tuple[Any, Any]:
    """No step: what the results would be of is found by capturing the body."""
    body = _scan_body(f, [_type(one) for one in carry], tree, xs, xs_tree)
    made = body.results.output_types[len(carry) :]
    ys_tree = _second(body.tree, len(carry))
    empty = [np.zeros((0, *types.shape), types.dtype) for types in made]
    tensors = any(isinstance(one, Tensor) for one in (*carry, *xs))
    found = [Tensor(one) for one in empty] if tensors else empty
    return tree.unflatten([_strong(one) for one in carry]), ys_tree.unflatten(found)


def _stacked(column: Sequence[Any]) -> Any:
    if any(isinstance(one, Tensor) for one in column):
        return ops.stack(*column, axis=0)
    return np.stack([np.asarray(one) for one in column])


def _pair(result: object, f: Function) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise ShapeError(
            f"tg.scan: {_named(f)} must return a pair, the next carry and what the step makes (None for nothing); it "
            f"returned {type(result).__name__}"
        )
    return result


def _truth(value: object, function: Function) -> bool:
    types = _type(value)
    if types != ArrayType((), np.dtype(bool)):
        raise DTypeError(
            f"tg.while_loop: {_named(function)} must return one boolean, not {types}: compare (x > 0), and reduce "
            f"(np.any, np.all)"
        )
    return bool(_value(value))


# -- captured ------------------------------------------------------------------------------------------------------


def _scan_body(
    f: Function, types: Sequence[ArrayType], tree: Tree, xs: Sequence[Any], xs_tree: Tree
) -> CapturedBody:
    """The body of a tg.scan for carries of some types."""
    slices = [Typed(ArrayType(one.shape[1:], one.dtype)) for one in (_type(x) for x in xs)]

    def step(carry: object, x: object) -> tuple[Any, Any]:
        after, y = _pair(f(carry, x), f)
        _require_structure(flatten(after)[1], tree, f, "tg.scan")
        return after, y

    arguments = tree.unflatten([Typed(one) for one in types]), xs_tree.unflatten(slices)
    return capture_body(step, arguments, f"the body {_named(f)} of a tg.scan")


def _scan_captured(
    f: Function, carry: list[Any], tree: Tree, xs: list[Any], xs_tree: Tree, count: int, reverse: bool
) -> tuple[Any, Any]:
    body, start = _fixed(carry, tree, f, "tg.scan", lambda types: _scan_body(f, types, tree, xs, xs_tree))
    closed = body.closed_over
    name = getattr(f, "__name__", "body")
    found = ops.scan(
        *start,
        *xs,
        *closed,
        body=subgraph(body, name, closed, range(len(closed))),
        carries=len(carry),
        slices=len(xs),
        length=count,
        reverse=bool(reverse),
    )
    ys_tree = _second(body.tree, len(carry))
    return tree.unflatten(found[: len(carry)]), ys_tree.unflatten(found[len(carry) :])


def _fixed(
    carry: list[Any],
    tree: Tree,
    f: Function,
    what: str,
    captured: Callable[[list[ArrayType]], CapturedBody],
) -> tuple[CapturedBody, list[Any]]:
    """A body captured for carries of the types that it makes, and the first carries in these."""
    types = [_type(one) for one in carry]
    body = captured(types)
    made = list(body.results.output_types[: len(carry)])
    weak = [
        i
        for i, one in enumerate(carry)
        if _is_number(one) and made[i] != types[i] and _may_become(types[i], made[i])
    ]
    if weak:
        for i in weak:
            types[i] = made[i]
        body = captured(types)
        made = list(body.results.output_types[: len(carry)])
    _require_types(types, made, tree, f, what)
    start = [
        as_value(one, types[i].dtype) if not isinstance(one, Tensor) else _cast(one, types[i])
        for i, one in enumerate(carry)
    ]
    return body, start


def _cast(one: Tensor, types: ArrayType) -> Any:
    return ops.cast(one, dtype=types.dtype) if isinstance(one, CapturedNumber) else one


def _while_captured(
    cond_fun: Function, body_fun: Function, carry: list[Any], tree: Tree, max_steps: int | None
) -> Any:
    def step(value: object) -> Any:
        after = body_fun(value)
        _require_structure(flatten(after)[1], tree, body_fun, "tg.while_loop")
        return after

    body, start = _fixed(
        carry,
        tree,
        body_fun,
        "tg.while_loop",
        lambda types: capture_body(
            step,
            (tree.unflatten([Typed(one) for one in types]),),
            f"the body {_named(body_fun)} of a tg.while_loop",
        ),
    )
    types = [tree.unflatten([Typed(_type(one)) for one in start])]
    holds = capture_body(cond_fun, types, f"the condition {_named(cond_fun)} of a tg.while_loop")
    made = holds.results.output_types
    if made != (ArrayType((), np.dtype(bool)),):
        raise DTypeError(
            f"tg.while_loop: {_named(cond_fun)} must return one boolean, not {', '.join(str(one) for one in made)}: "
            f"compare (x > 0), and reduce (np.any, np.all)"
        )
    closed, orders = joined([holds, body])
    found = ops.while_loop(
        *start,
        *closed,
        condition=subgraph(holds, getattr(cond_fun, "__name__", "condition"), closed, orders[0]),
        body=subgraph(body, getattr(body_fun, "__name__", "body"), closed, orders[1]),
        carries=len(carry),
        max_steps=max_steps,
    )
    return tree.unflatten(found[:-1])


def _switch_captured(index: object, branches: Sequence[Function], operands: Sequence[Any], what: str) -> Any:
    leaves, tree = flatten(tuple(operands))
    arrays = [i for i, one in enumerate(leaves) if isinstance(one, Tensor | np.ndarray | np.generic)]
    given: list[Any] = [Typed(_type(one)) if i in arrays else one for i, one in enumerate(leaves)]
    bodies = [
        capture_body(branch, tree.unflatten(given), f"the branch {_named(branch)} of a {what}")
        for branch in branches
    ]
    first = bodies[0]
    for branch, body in zip(branches[1:], bodies[1:], strict=True):
        if body.tree != first.tree or body.results.output_types != first.results.output_types:
            raise ShapeError(
                f"{what}: branches must return the same structure and types: {_named(branches[0])} returns "
                f"{_shown(first)}, {_named(branch)} returns {_shown(body)}"
            )
    closed, orders = joined(bodies)
    found = ops.switch(
        index,
        *(leaves[i] for i in arrays),
        *closed,
        branches=tuple(
            subgraph(body, getattr(branch, "__name__", "branch"), closed, order)
            for branch, body, order in zip(branches, bodies, orders, strict=True)
        ),
    )
    return first.tree.unflatten(found)


def _shown(body: CapturedBody) -> str:
    return f"{body.tree} of ({', '.join(str(one) for one in body.results.output_types)})"


def _second(tree: Tree, count: int) -> Tree:
    """Of the structure of a pair, the second part; the first has `count` leaves."""
    child = tree.children[1]
    return child


# -- what is given -------------------------------------------------------------------------------------------------


def _given(value: object, name: str) -> tuple[list[Any], Tree]:
    leaves, tree = flatten(value)
    for one in leaves:
        if not isinstance(one, Tensor | np.ndarray | np.generic | bool | int | float | complex):
            raise DTypeError(f"{name} holds a {type(one).__name__}; it must hold arrays, tensors and numbers")
    return leaves, tree


def _length(xs: Sequence[Any], length: int | None) -> int:
    if length is not None:
        _require_count("tg.scan: length", length)
    lengths = []
    for x in xs:
        shape = _type(x).shape
        if not shape:
            raise ShapeError(
                "tg.scan: xs holds a number, which has no slices: give arrays with one more axis"
            )
        lengths.append(shape[0])
    if length is None and not lengths:
        raise SettingError("tg.scan: there are no xs, so length= must say how many steps to take")
    if len(set(lengths)) > 1 or (length is not None and lengths and lengths[0] != length):
        given = f", length={length}" if length is not None else ""
        raise ShapeError(f"tg.scan: the first axes of xs have sizes {lengths}{given}; all must be as long")
    return lengths[0] if lengths else int(length or 0)


def _require_count(name: str, count: object) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise SettingError(f"{name}={count!r} must be a whole number of at least 0")


def _type(one: object) -> ArrayType:
    return ArrayType(*(one.type if isinstance(one, Tensor) else type_of(one)))


def _strong(one: object) -> Any:
    return one if isinstance(one, Tensor) else as_value(one)


def _is_number(one: object) -> bool:
    return type(one) in (bool, int, float, complex) or isinstance(one, CapturedNumber)


def _may_become(weak: ArrayType, types: ArrayType) -> bool:
    """Whether a Python number may start a carry of another dtype."""
    return types.shape == weak.shape and "biufc".find(types.dtype.kind) >= "biufc".find(weak.dtype.kind)


def _value(one: object) -> Any:
    return one._value if isinstance(one, Tensor) else one


def _captured(one: object) -> bool:
    """Whether a value is known only when a captured program runs."""
    return (
        modes.current.capture is not None
        and isinstance(one, Tensor)
        and (one._value is None or not modes.current.capture.may_ask_for(one))
    )


def _named(function: Function) -> str:
    return repr(getattr(function, "__name__", type(function).__name__))


def _at() -> str:
    line = here(4)
    return f" ({line})" if line is not None else ""


def _require_structure(found: Tree, wanted: Tree, function: Function, what: str) -> None:
    if found != wanted:
        raise ShapeError(
            f"{what}: the carry goes into {_named(function)} as {wanted} and comes out as {found}{_at()}; it "
            f"must keep its structure"
        )


def _require_types(
    before: Sequence[ArrayType], after: Sequence[ArrayType], tree: Tree, function: Function, what: str
) -> None:
    names = paths(tree)[0]
    for name, one, other in zip(names, before, after, strict=True):
        if one != other:
            error = ShapeError if one.shape != other.shape else DTypeError
            where = f"the carry{f' {name}' if name else ''}"
            raise error(
                f"{what}: {where} goes into {_named(function)} as {one} and comes out as {other}{_at()}; it must "
                f"keep its {'shape' if one.shape != other.shape else 'dtype'}: start with one of that type, or convert "
                f"(.astype, .reshape)"
            )
