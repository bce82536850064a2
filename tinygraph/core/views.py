"""Views: tensors that lie in the memory of another one, and what a write to one of them does to all.

A recorded value is never written: a write to a view makes a new value of the tensor it belongs to, by the rule that
the view's op has for it (`Op.put`), and other views of that tensor are taken again when somebody next reads them.
Leaves alone have memory that is written in place. Only ops that make views pay for this.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.modes import Mode, modes
from tinygraph.core.node import Leaf, edge_node, is_recorded
from tinygraph.core.registry import ops
from tinygraph.core.stand_ins import lies_in, run_on, zeros_like
from tinygraph.core.tensor import CapturedArray, Handle, Tensor
from tinygraph.errors import CaptureError, DTypeError, InPlaceError, ShapeError

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric
    from tinygraph.core.op import Op


# Kinds of ops whose results lie as it suits their kernels.
_OF_ANY_LAYOUT = frozenset({"contraction", "convolution", "pooling", "other"})
_WATCHED = 8  # how many views of a tensor are noted before those that are gone are looked for


class Sharing:
    """What memory a tensor shares: the tensor whose view it is, and the views of it.

    Attributes:
        base: the tensor that it is a view of; None if it has memory of its own.
        op, operands, settings, index: how it is made of `base`.
        recording: whether it was made while recording.
        captured: whether it was made while a program was captured.
        locked: why it must not be written; None if it may.
        in_rows: whether a captured value lies in rows for sure; a write leaves that as it is.
        stand_ins: while a program is captured, two arrays of its layout: where all values lie in rows, and where they
            lie in columns.
        rows_of: the inputs of a captured program that must lie in rows for that.
        unsure: whether it is not known if it is a view or a copy.
        by_layout: whether it is a view because its base lies in rows.
        views: the views of it that are up to date, by weak reference; None if there are none.
        limit: the number of views at which those that are gone are dropped.
    """

    base: Tensor | None = None
    op: Op | None = None
    operands: tuple[Any, ...] = ()
    settings: dict[str, Any]
    index: int | None = None
    recording = True
    captured = False
    locked: str | None = None
    in_rows: bool | None = None
    stand_ins: tuple[Any, Any] | None = None
    rows_of: tuple[Leaf, ...] = ()
    unsure = False
    by_layout = False
    views: list[weakref.ref[Tensor]] | None = None
    limit = _WATCHED


class Outdated(Tensor):
    """A view whose base was written since: it is taken again by whoever reads it first, and then is a Tensor again."""

    __slots__ = ()

    @property
    def _value(self) -> Any:
        return _taken_again(self)._value

    @property
    def _edge(self) -> Any:  # type: ignore[override]
        return _taken_again(self)._edge

    @property
    def _leaf(self) -> Any:  # type: ignore[override]
        return _taken_again(self)._leaf


class OutdatedArray(CapturedArray):
    """The same of a captured array."""

    __slots__ = ()
    _value, _edge, _leaf = (vars(Outdated)[name] for name in ("_value", "_edge", "_leaf"))


Outdated.__name__ = Outdated.__qualname__ = "Tensor"
_OUTDATED: dict[type, type] = {Tensor: Outdated, CapturedArray: OutdatedArray}
_UP_TO_DATE = {outdated: kind for kind, outdated in _OUTDATED.items()}
# the slots, under the properties above, and the class of captured arrays, which is another one to the user's code
_set_value, _set_edge, _set_leaf, _set_shared = (
    vars(Handle)[name].__set__ for name in ("_value", "_edge", "_leaf", "_shared")
)
_set_class = vars(object)["__class__"].__set__


def sharing(tensor: Tensor) -> Sharing | None:
    """What is known of a tensor's memory; None if nobody shares it."""
    return getattr(tensor, "_shared", None)


def read_only(
    result: Numeric,
    why: str,
    base: Any = None,
    op: Op | None = None,
    operands: tuple[Any, ...] = (),
    settings: dict[str, Any] | None = None,
) -> Any:
    """A result that NumPy protects from being written, so that nobody takes it for memory that it shares.

    Args:
        base, op, operands, settings: of one that NumPy takes as a view, and that is made here by an op that copies: it
            follows what is written to its base.
    """
    if isinstance(result, Tensor):
        if op is not None and isinstance(base, Tensor):
            _attach(result, base, op, operands, settings or {}, None)
        _own(result).locked = why
    return result


def separate(result: Tensor) -> Tensor:
    """A result that NumPy copies: no write to it reaches what it was made of, nor the other way round."""
    shared = sharing(result)
    if lies_in_leaf(result):
        copied: Tensor = ops.copy(result)  # a leaf is written where it lies
        return copied
    if shared is not None:
        shared.base = None
    return result


def raveled(flat: Tensor) -> Tensor:
    """A reshaped tensor as NumPy's `ravel` gives it: of elements that do not lie side by side a copy."""
    shared = sharing(flat)
    if shared is None or shared.base is None:
        return flat
    array = flat._value if shared.stand_ins is None else shared.stand_ins[0]
    return flat if array.flags.c_contiguous else separate(flat)


def lies_in_leaf(tensor: Tensor) -> bool:
    """Whether a tensor is a leaf or a view of one, whose memory is written in place."""
    while (shared := sharing(tensor)) is not None and shared.base is not None:
        tensor = shared.base
    return tensor.is_leaf


# -- noticing views ----------------------------------------------------------------------------------------------------


def link(op: Op, operands: tuple[Any, ...], settings: dict[str, Any], outputs: Any, value: object) -> None:
    """Note which outputs of an op lie in the memory of its first operand, whose value is given."""
    base = operands[0]
    if not isinstance(base, Handle):
        return
    if outputs.__class__ is not tuple:
        if lies_in(outputs._value, value) and (op.put is not None or outputs._value is not value):
            _attach(outputs, base, op, operands[1:], settings, None)
        return
    for index, output in enumerate(outputs):
        if _lies_in(output._value, value, op):
            _attach(output, base, op, operands[1:], settings, index)


def link_captured(op: Op, operands: tuple[Any, ...], settings: dict[str, Any], outputs: Any) -> None:
    """The same while a program is captured: the op runs on arrays of the operand's layout, which nobody reads.

    Whether a result is a view depends on how its operand lies in memory (a reshaped transpose is a copy). Where that is
    not known, writing is refused.
    """
    base = operands[0]
    if len(operands) > 1 or not isinstance(base, Tensor):
        return  # what index arrays pick is copied
    known = _stand_ins(base)
    made = [run_on(op, array, (), settings) for array in known]
    several = isinstance(outputs, tuple)
    for index, output in enumerate(outputs if several else (outputs,)):
        rows, columns = (results[index] for results in made)
        in_rows, in_columns = _lies_in(rows, known[0], op), _lies_in(columns, known[1], op)
        if not (in_rows or in_columns):
            continue
        sure = in_rows == in_columns or in_rows_for_sure(base)
        if in_rows or not sure:
            attached = _attach(output, base, op, (), settings, index if several else None)
            attached.stand_ins = rows, columns
            attached.by_layout = in_rows != in_columns
            if not sure:
                attached.unsure = True
                attached.locked = _unknown_layout(op)


def _unknown_layout(op: Op) -> str:
    return (
        f"whether {op.name!r} made a view or a copy here depends on how its operand lies in memory, which a captured "
        f"program does not know: call .copy() first"
    )


def _rely_on_layout(view: Sharing, root: Tensor) -> None:
    """Let the capture rely on inputs that lie in rows, if that made this a view.

    Raises:
        InPlaceError: one does not, or need not.
    """
    capture = modes.current.capture
    if view.by_layout and capture is not None and not all(map(capture.in_rows, _own(root).rows_of)):
        assert view.op is not None
        raise InPlaceError(f"this tensor cannot be written: {_unknown_layout(view.op)}")


def _attach(
    view: Tensor, base: Tensor, op: Op, others: tuple[Any, ...], settings: dict[str, Any], index: int | None
) -> Sharing:
    shared = Sharing()  # every line is counted here: views are made often, and seldom written
    view._shared = shared  # type: ignore[attr-defined]
    shared.base, shared.op, shared.settings = base, op, settings
    if others:
        shared.operands = others
    if index is not None:
        shared.index = index
    mode = modes.current
    if not mode.recording:
        shared.recording = False
    if mode.capture is not None:
        shared.captured = True
    if op.put is None:
        shared.locked = (
            f"the result of {op.name!r} shares memory that cannot be written through it: call .copy() first"
        )
    of_base = getattr(base, "_shared", None) or _own(base)
    views = of_base.views
    if views is None:
        of_base.views = [weakref.ref(view)]
    elif len(views) < of_base.limit:
        views.append(weakref.ref(view))
    else:
        _note(base, view)
    return shared


def _own(tensor: Tensor) -> Sharing:
    found = sharing(tensor)
    if found is None:
        found = Sharing()
        _set_shared(tensor, found)
    return found


def _note(base: Tensor, view: Tensor) -> None:
    """Keep a view in mind, for the time when its base is written."""
    shared = _own(base)
    views = shared.views
    if views is None:
        shared.views = [weakref.ref(view)]
        return
    if len(views) >= shared.limit:
        views[:] = [one for one in views if one() is not None]
        shared.limit = max(_WATCHED, 2 * len(views))
    views.append(weakref.ref(view))


def _lies_in(result: Numeric, operand: object, op: Op) -> bool:
    """Whether an op's result lies in its operand's memory."""
    # an op without a rule that gives its operand back makes as good as a copy: no op writes its operands
    return lies_in(result, operand) and (result is not operand or op.put is not None)


def _stand_ins(base: Tensor) -> tuple[Any, Any]:
    shared = _own(base)
    if shared.stand_ins is None:
        if base._value is not None:
            shared.stand_ins = base._value, base._value
        else:
            types = base.type
            rows, columns = zeros_like(types), zeros_like(types, "F")
            shared.stand_ins = (rows, columns) if types.shape else (rows[()], columns[()])
    return shared.stand_ins


def _root_of(view: Tensor) -> Tensor:
    """The tensor with memory of its own that a view belongs to."""
    while (base := _own(view).base) is not None:
        view = base
    return view


def in_rows_for_sure(base: Tensor) -> bool:
    """Whether what a captured view belongs to lies in rows for sure.

    Asked before a write at the latest, since what a write makes of a tensor lies as the tensor lay.
    """
    base = _root_of(base)
    root = _own(base)
    if root.in_rows is None:
        found = _made_in_rows(base._edge)
        root.in_rows, root.rows_of = found is not None, found or ()
    return root.in_rows


def lies_in_rows_here(captured: Tensor) -> bool:
    """Whether a captured value lies in rows in all calls that its graph serves, which ask arguments to from here on."""
    if captured.ndim < 2:
        return True
    inputs, capture = _made_in_rows(captured._edge), modes.current.capture
    return inputs is not None and (capture is None or all(map(capture.in_rows, inputs)))


def _made_in_rows(edge: object) -> tuple[Leaf, ...] | None:
    """The inputs that must lie in rows for a captured value to lie so; None for what is made of transposed values."""
    inputs: list[Leaf] = []
    stack = [edge]
    seen: set[int] = set()
    while stack:
        entry = stack.pop()
        if not is_recorded(entry) or id(edge_node(entry)) in seen:
            continue
        node = edge_node(entry)
        seen.add(id(node))
        if isinstance(node, Leaf):
            if node.value is None:
                inputs.append(node)
            elif isinstance(node.value, np.ndarray) and not node.value.flags.c_contiguous:
                return None
        elif node.all_settings.get("order") == "C":
            continue
        elif node.op.facts.get("transposed_product") and all(len(one.shape) < 4 for one in node.output_types):
            continue  # a product lies in rows, whatever it is made of; in a grid of them, the grid as those of operands
        elif (
            node.all_settings.get("order") == "F"
            or _picks(node.all_settings.get("pattern"))
            or node.op.facts.get("permutation")
            or node.op.kind in _OF_ANY_LAYOUT
        ):
            return None
        else:
            stack += node.inputs
    return tuple(inputs)


def _picks(pattern: Any) -> bool:
    """Whether index arrays stand behind other parts of a pattern: what they pick lies first in memory, as in NumPy."""
    return isinstance(pattern, tuple) and "array" in pattern[1:] and pattern[0] != "array"


# -- writing -----------------------------------------------------------------------------------------------------------


def is_view(tensor: Tensor) -> bool:
    """Whether a write to a tensor is a write to another one as well, or refused."""
    shared = sharing(tensor)
    return shared is not None and (shared.base is not None or shared.locked is not None)


def same_place(tensor: Tensor, value: Tensor, op: Op, settings: dict[str, Any]) -> bool:
    """Whether a value is the very part of a tensor that it is about to be written to, as in `x[i] += 1`."""
    shared = sharing(value)
    return (
        shared is not None
        and shared.base is tensor
        and shared.op is op
        and not shared.operands
        and shared.settings == settings
    )


def write_view(view: Tensor, compute: Callable[[], Any]) -> None:
    """Give a view a new value, and what it is a view of, and all views of that."""
    path = [view]
    while (base := _own(path[-1]).base) is not None:
        path.append(base)
    root = path[-1]
    for one in path:
        locked = _own(one).locked
        if locked is not None:
            raise InPlaceError(f"this tensor ({view.type}) cannot be written: {locked}")
    capture = modes.current.capture
    if capture is not None and view._value is not None and capture.is_state(view):
        raise CaptureError(
            f"a view ({view.type}) that was taken before this capture is written in it: index inside the captured "
            f"function, or pass the tensor as an argument and return what became of it"
        )
    root._check_writable()
    if root._value is None:
        in_rows_for_sure(root)
        for one in path:
            _rely_on_layout(_own(one), root)
    new = compute()
    if not isinstance(new, Tensor):
        new = Tensor(new)
    if new.shape != view.shape:
        raise ShapeError(f"an in-place update cannot change the shape {view.shape} into {new.shape}")
    if new.dtype != view.dtype:
        if new._edge is not None or not np.can_cast(new.dtype, view.dtype, "same_kind"):
            raise DTypeError(
                f"an in-place update cannot change the dtype {view.dtype} into {new.dtype}; write x = x + y instead"
            )
        new = _cast(new, view.dtype)
    if capture is None and new._edge is None and _write_memory(root, view, new._value):
        return
    value = new
    for one, base in pairwise(path):
        shared = _own(one)
        assert shared.op is not None
        assert shared.op.put is not None
        shared.recording |= new._edge is not None
        value = shared.op.put(value, base, shared.settings, shared.index)
    root._settle(value)


def _write_memory(root: Tensor, view: Tensor, value: Numeric) -> bool:
    """Write to a part of a leaf where it lies, if the view still lies there."""
    from tinygraph.core.state import written

    leaf = root._leaf
    target = view._value
    if leaf is None or root._edge not in (None, leaf) or not isinstance(leaf.value, np.ndarray):
        return False
    if not target.flags.writeable or not np.may_share_memory(target, leaf.value):
        return False
    np.copyto(target, value, casting="same_kind")
    written(leaf)
    outdate(root)
    return True


def _cast(value: Tensor, dtype: np.dtype[Any]) -> Tensor:
    return value.astype(dtype)


def laid_out_as(old: object, new: object) -> Any:
    """A value in the layout of the one that it replaces: a write moves nothing, and layouts decide what is a view."""
    if old.__class__ is not np.ndarray or new.__class__ is not np.ndarray or new.strides == old.strides:
        return new
    made = np.empty_like(old, dtype=new.dtype)
    if made.strides == new.strides:
        return new
    made[...] = new
    return made


def outdate(tensor: Tensor) -> None:
    """Mark the views of a tensor that was written: they are taken again when they are next read."""
    stack = [tensor]
    while stack:
        shared = sharing(stack.pop())
        if shared is None or not shared.views:
            continue
        views, shared.views = shared.views, None
        for reference in views:
            view = reference()
            if view is not None and type(view) in _OUTDATED and sharing(view).base is not None:  # type: ignore[union-attr]
                _set_class(view, _OUTDATED[type(view)])
                stack.append(view)


def _taken_again(view: Tensor) -> Tensor:
    """Take an outdated view from its base, whose views it may be itself: from the outermost one inwards."""
    chain = [view]
    while (base := _own(chain[-1]).base) is not None and type(base) in _UP_TO_DATE:
        chain.append(base)
    before = modes.current
    for one in reversed(chain):
        shared = _own(one)
        assert shared.base is not None
        assert shared.op is not None
        if shared.unsure:
            raise InPlaceError(f"what this tensor was made of was written, and {shared.locked}")
        captured = before.capture if shared.captured else None
        if captured is not None:
            _rely_on_layout(shared, _root_of(one))
        modes.current = Mode(shared.recording, before.tangents, captured, before.place, before.primals)
        try:
            made = shared.op(shared.base, *shared.operands, **shared.settings)
        finally:
            modes.current = before
        _set(one, made if shared.index is None else made[shared.index])
        _note(shared.base, one)
    return view


def _set(view: Tensor, new: Tensor) -> None:
    value, edge, leaf = new._value, new._edge, new._leaf
    _set_value(view, value)
    _set_edge(view, edge)
    _set_leaf(view, leaf)
    _set_class(
        view, _UP_TO_DATE.get(type(view), type(view))
    )  # last, so that no other thread reads an old value
