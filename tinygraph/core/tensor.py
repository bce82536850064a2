"""`Tensor`: what the user holds - a value, or only a type while a program is captured, and the edge that made it.

Operators and methods are one-line calls of registered ops; none of them knows a rule. The names of the ops that the
core itself relies on are the attributes of `ops` used in this file and in `engine.py`.
"""

from __future__ import annotations

import operator
import sys
import weakref
from collections.abc import Callable, Collection, Iterator
from sys import getrefcount
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from tinygraph.core.doors import doors
from tinygraph.core.hooks import GradientHooks, RemovableHandle
from tinygraph.core.indexing import parse_index
from tinygraph.core.locks import leaf_lock
from tinygraph.core.modes import modes
from tinygraph.core.node import Edge, Leaf, Node, edge_index, edge_node, edge_type, is_recorded, moved
from tinygraph.core.pytorch_names import METHODS, advice
from tinygraph.core.regions import present
from tinygraph.core.registry import ops, registry
from tinygraph.core.source import here, is_library, is_own
from tinygraph.core.stand_ins import run_on, zeros_like
from tinygraph.core.types import ArrayType, WeakType, require_plain, type_of
from tinygraph.errors import (
    CaptureError,
    DTypeError,
    InPlaceError,
    NoSuchAttributeError,
    RecordingError,
    ShapeError,
)

if TYPE_CHECKING:
    from tinygraph.core.numeric import Axis, Numeric


_array_class = np.ndarray


class _Counted:
    """Counts the references to itself, as `t += 1` finds a tensor that has one name."""

    def __iadd__(self, other: ArrayLike) -> Any:
        count = getrefcount(self)
        return (lambda: (self, count))()[1]  # in a closure, as there


def _references() -> int:
    counted: Any = _Counted()
    counted += 1
    return cast(int, counted)


_ONE_NAME = _references()


def _in_place(operate: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """An operator that writes its left operand, as `x **= 2` does in NumPy."""

    def method(self: Any, other: ArrayLike) -> Any:
        if self._value is None and getrefcount(self) > _ONE_NAME:
            self._check_alone()
        return self._update(lambda: operate(self, other))

    return method


def _anew(operate: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The same of a number, which is not written: a new one takes its name."""
    return lambda self, other: operate(self, other)


class Handle:
    """What programs hold of a computation graph: a tensor, or what stands for an array or number that is captured."""

    # `_shared` is set on views and on what they are views of, by `views.py`; `_recorded_grad` on the holders of leaves
    # alone, see `Leaf.grad`
    __slots__ = ("__weakref__", "_edge", "_leaf", "_recorded_grad", "_shared", "_value")

    _recorded_grad: Tensor | None

    # NumPy hands operators and functions with a tensor operand to the methods below.
    __array_priority__ = 1000

    def __init__(self, value: Any, edge: Edge | None = None, leaf: Leaf | None = None) -> None:
        self._value = value
        self._edge = edge
        self._leaf = leaf

    @classmethod
    def _of_leaf(cls, leaf: Leaf) -> Any:
        """A tensor that holds a leaf."""
        new = cls.__new__(cls)
        Tensor.__init__(new, leaf.value, leaf if leaf.requires_grad else None, leaf)
        leaf.holder = weakref.ref(new)
        return new

    # -- what it is ------------------------------------------------------------------------------------------------

    @property
    def type(self) -> ArrayType:
        """Shape and dtype."""
        if self._value is None:
            assert self._edge is not None
            return edge_type(self._edge)
        return type_of(self._value)

    _type = type  # of captured values as well, whose `type` the user's code does not see

    @property
    def shape(self) -> tuple[int, ...]:
        value = self._value
        return value.shape if value.__class__ is _array_class else self.type.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        value = self._value
        return value.dtype if value.__class__ is _array_class else self.type.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return self.type.size

    @property
    def nbytes(self) -> int:
        return self.type.nbytes

    @property
    def node(self) -> Node | None:
        """The node (or leaf) that made this tensor, or None if it was not recorded."""
        return None if self._edge is None else edge_node(self._edge)

    @property
    def index(self) -> int:
        """Which output of its node this tensor is."""
        return 0 if self._edge is None else edge_index(self._edge)

    @property
    def is_leaf(self) -> bool:
        """Whether no op made it."""
        return self._edge is None or isinstance(self._edge, Leaf)

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to it. May be set on leaves only."""
        if self._edge is None or not self.type.differentiable:
            return False
        capture = modes.current.capture
        if self._value is not None or capture is None:
            return True
        return wants_gradient(edge_node(self._edge), capture.primals)

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if not self.is_leaf:
            raise RecordingError(
                "requires_grad can be set on leaves only; this tensor was computed. Use .detach() to cut it off"
            )
        if wanted:
            _require_differentiable(self.type)
            self._own_leaf().requires_grad = True
            self._edge = self._leaf
        else:
            if self._leaf is not None:
                self._leaf.requires_grad = False
            self._edge = None

    @property
    def grad(self) -> Tensor | None:
        """The accumulated gradient of a leaf; None before the first backward pass."""
        return None if self._leaf is None else read_grad(self._leaf)

    @grad.setter
    def grad(self, value: object) -> None:
        if value is not None and not isinstance(value, Tensor):
            value = tensor(value)
        if value is not None and value._value is None and modes.current.capture is None:
            raise left_behind("setting .grad", value)
        if value is not None and value.shape != self.shape:
            raise ShapeError(f"a gradient of shape {value.shape} does not fit a tensor of shape {self.shape}")
        with leaf_lock.held:  # not between the reading and the writing of a backward pass in another thread
            write_grad(self._own_leaf(), value)

    @property
    def name(self) -> str | None:
        """A name for drawings, explanations and errors."""
        if self._leaf is not None:
            return self._leaf.name
        return None if self._edge is None else edge_node(self._edge).name

    @name.setter
    def name(self, name: str | None) -> None:
        if self._edge is not None:
            edge_node(self._edge).name = name
        else:
            self._own_leaf().name = name

    def register_hook(self, hook: Callable[[Tensor], Any]) -> RemovableHandle:
        """Call `hook(gradient)` in each backward pass, once all of this tensor's gradient is there.

        What it returns, if not None, is the gradient from there on: for what the tensor was computed from, and for
        `.grad` of a leaf; what it writes into the one that it gets stays its own. In captured and compiled programs
        what the hook computes is part of the program.

        Raises:
            RecordingError: no gradient flows to the tensor.
            ShapeError, DTypeError: in the backward pass, where the hook returns something else.

        >>> import tinygraph as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> handle = x.register_hook(lambda gradient: gradient * 10)
        >>> (x * x).sum().backward()
        >>> x.grad
        tensor([20., 40.])
        """
        captured = (
            modes.current.capture is not None and self.type.differentiable
        )  # graphs are differentiated later
        if self._edge is None or not (captured or self.requires_grad):
            raise RecordingError("register_hook(): no gradient flows to this tensor, it does not require one")
        return RemovableHandle(GradientHooks(edge_node(self._edge), edge_index(self._edge)), "hooks", hook)

    def _own_leaf(self) -> Leaf:
        """The leaf of a tensor that no op made, made on first need."""
        if self._leaf is None:
            self._leaf = Leaf(self._value)
            self._leaf.holder = weakref.ref(self)
        return self._leaf

    # -- reading values --------------------------------------------------------------------------------------------

    def numpy(self) -> np.ndarray[Any, Any]:
        """The value as a read-only array that shares memory; `.numpy().copy()` may be written."""
        view = np.asarray(self._concrete("numpy()")).view()
        view.flags.writeable = False
        return view

    def item(self) -> Any:
        """The value of a one-element tensor as a Python number."""
        value = self._concrete("item()")
        if value.size != 1:
            raise ShapeError(f"item() needs a tensor of one element; this one has shape {self.shape}")
        return value.item()

    def tolist(self) -> Any:
        """The value as nested lists of Python numbers."""
        return self._concrete("tolist()").tolist()

    def _concrete(self, what: str) -> Any:
        capture = modes.current.capture
        if self._value is not None:
            if capture is None or capture.may_ask_for(self):
                return self._value
        elif capture is None:
            raise left_behind(f"{what} at {here(3)}", self)
        why = (
            f"is being captured and has a type ({self.type}) but no value"
            if self._value is None
            else f"is state ({self.type}), whose value changes from call to call"
        )
        raise CaptureError(
            f"{what} at {here(3)}: this tensor {why}. "
            f"Python code that depends on values cannot be captured: use tg.ops.where for a choice between results, "
            f"tg.cond for an if, tg.while_loop for a while, or keep this line outside the captured function"
        )

    def detach(self) -> Tensor:
        """The same value, cut off from the graph."""
        if self._value is None or (modes.current.capture is not None and self.is_leaf):
            return ops.detach(self)  # a state that is read while a program is captured is read in each run
        return _made(Tensor(self._value))

    def backward(self, gradient: Numeric | None = None, *, create_graph: bool = False) -> None:
        """Add d(self)/d(leaf) to `.grad` of every leaf that requires a gradient.

        Args:
            gradient: the cotangent to start from; 1 for a tensor of one element, required otherwise.
            create_graph: record the pass, so that the gradients can be differentiated again.

        Raises:
            RecordingError: nothing was recorded, or `gradient` is missing for a non-scalar.
            StaleValueError: a saved value was changed since.
        """
        from tinygraph.core.engine import backward

        backward(self, gradient, create_graph=create_graph)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if self.requires_grad and self._value is not None:
            raise RecordingError(f"{asker()}, or write tensor.detach().numpy() if the gradient is not wanted")
        value = self._concrete("np.asarray()")
        array = np.array(value, dtype=dtype, copy=copy)
        if array is value:  # shared memory, which recorded nodes may have saved
            array = array.view()
            array.flags.writeable = False
        return array

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: object, **kwargs: object) -> Any:
        if not kwargs and method == "__call__" and (op := registry.ufuncs.get(ufunc)) is not None:
            return op(*inputs)  # as nearly all calls are
        return doors.call_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(
        self, function: Callable[..., Any], types: object, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        return doors.call_function(function, args, kwargs)

    def __repr__(self) -> str:
        extra = f", name={self.name!r}" if self.name else ""
        if self._value is None:
            return f"tensor(<captured {self.type}>{extra})"
        shown = np.array2string(np.asarray(self._value), separator=", ", prefix="tensor(", threshold=200)
        if self.dtype not in (np.float64, np.int64, np.bool_):
            extra += f", dtype={self.dtype}"
        if isinstance(self._edge, Leaf):
            extra += ", requires_grad=True"
        elif self._edge is not None:
            extra += f", op={edge_node(self._edge).op.name}"
        return f"tensor({shown}{extra})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __bool__(self) -> bool:
        return bool(self._concrete("bool()"))

    def __float__(self) -> float:
        value = self._concrete("float()")
        if self._edge is not None:
            leave(self, "float() (which math functions, np.float64 and array[i] = x call as well)")
        return float(value)

    def __int__(self) -> int:
        value = self._concrete("int()")
        if self._edge is not None:
            leave(self, "int()")
        return int(value)

    def __complex__(self) -> complex:
        value = self._concrete("complex()")
        if self._edge is not None:
            leave(self, "complex()")
        return complex(value)

    def __index__(self) -> int:
        return operator.index(self._concrete("index"))

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a 0-d tensor has no len()")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise TypeError("a 0-d tensor cannot be iterated")
        return (self[i] for i in range(self.shape[0]))

    def __contains__(self, value: object) -> bool:
        return value in self._concrete("in")

    __hash__ = object.__hash__

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not self.is_leaf:
            raise RecordingError(
                "a tensor in a live graph cannot be copied on its own: copy tensor.detach(), or the model's "
                "parameters (its leaves), or save the graph with tg.graph_of(tensor).save(path)"
            )
        new = self._copied()
        memo[id(self)] = new
        return new

    def _copied(self) -> Tensor:
        value = np.array(self._concrete("copy"), copy=True)
        value = value if isinstance(self._value, np.ndarray) else value[()]
        old = self._leaf
        if old is None:
            return Tensor(value)
        new: Tensor = type(self)._of_leaf(
            Leaf(value, requires_grad=old.requires_grad, name=old.name, kind=old.leaf_kind)
        )
        new.grad = old.grad.detach() if old.grad is not None else None
        return new

    def __copy__(self) -> Tensor:
        return self.__deepcopy__({})

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise RecordingError(
            "tensors are not pickled: save values with np.save(path, tensor.detach().numpy()), a model with "
            "its state_dict() (tg.interop.save_state), a graph with tg.graph_of(tensor).save(path)"
        )

    # -- writing ---------------------------------------------------------------------------------------------------

    def __setitem__(self, index: object, value: object) -> None:
        """`x[index] = v`: on a computed tensor a recorded, functional update; on a leaf a write in place."""
        if isinstance(value, Tensor):
            pattern, arrays = parse_index(index)
            if not arrays and views().same_place(self, value, ops.index, {"pattern": pattern}):
                return  # x[i] += 1 wrote through x[i] already
        self._update(lambda: ops.set_at(self, index, value))

    def _rebind(self, new: Tensor) -> Tensor:
        """Let this tensor stand for an updated value; earlier uses keep the old one."""
        if new.shape != self.shape:
            raise ShapeError(f"an in-place update cannot change the shape {self.shape} into {new.shape}")
        if new.dtype != self.dtype:
            raise DTypeError(
                f"an in-place update cannot change the dtype {self.dtype} into {new.dtype}; write x = x + y instead"
            )
        shared = getattr(self, "_shared", None) is not None
        if shared and self._value is None:
            views().in_rows_for_sure(self)
        if present.region is not None:
            present.region.note_write(self)
        value = new._value
        if value.__class__ is np.ndarray:
            value = views().laid_out_as(self._value, value)
        self._value, self._edge = value, new._edge
        if self._leaf is not None:
            self._leaf.holder = moved  # captured programs that read it must read this tensor anew
            self._leaf = None
        if shared:
            views().outdate(self)
        return self

    def _check_alone(self) -> None:
        """Refuse `t += 1` of a captured 0-d tensor that has another name, too, which would keep NumPy's old scalar."""
        if self.ndim == 0 and not isinstance(self._edge, Leaf):
            raise InPlaceError(
                "this 0-d tensor goes by another name, too. NumPy has a scalar here, which += does not write: that "
                "name keeps the old number, and a tensor would change under both. Write t = t + 1 for a new number, "
                "or t[...] = t + 1 to write both"
            )

    def _check_writable(self) -> None:
        """Refuse to write arguments of a captured function, and leaves whose gradient would be lost."""
        if self._value is None and isinstance(self._edge, Leaf):
            raise InPlaceError(
                f"{self._edge.describe()} is an argument of a captured function, and a write to it would not reach the "
                f"caller: write a copy instead, y = x.copy()"
            )
        capture = modes.current.capture
        if capture is not None and self._edge is not None and self._value is not None and self._leaf is None:
            node = edge_node(self._edge)
            if node.order < capture.floor:
                raise CaptureError(
                    f"a tensor that was computed and recorded before this capture ({node!r}) is written in it: return "
                    f"the new value instead, or write a copy, y = x.copy()"
                )
        if self._edge is not None and self.is_leaf and modes.current.recording:
            raise InPlaceError(
                f"{self._own_leaf().describe()} requires a gradient and cannot be written while recording: its "
                f"gradient would be lost. Update it under `with tg.no_grad():`, or compute a new tensor from it"
            )

    def _update(self, compute: Callable[..., Any]) -> Tensor:
        """Stand for an updated value, and what this is a view of."""
        if getattr(self, "_shared", None) is not None and views().is_view(self):
            views().write_view(self, compute)
            return self
        self._check_writable()
        self._settle(compute())
        return self

    def _settle(self, new: Any) -> None:
        """Take on a new value: a leaf that wants gradients or is state is written, all else rebound."""
        from tinygraph.core.state import write

        capture = modes.current.capture
        recorded = isinstance(new, Tensor) and new._edge is not None
        # a state that a compiled function gave a value which carries a gradient is both, leaf and computed tensor
        if self._edge is None or (capture is not None and self._leaf is not None and self._value is not None):
            rebound = recorded and (capture is None or not capture.is_state(self))
        else:
            rebound = not self.is_leaf
        if rebound:
            self._rebind(new)
            return
        write(self, new)
        if capture is not None and recorded and modes.current.recording and new.requires_grad:
            capture.attach(self._own_leaf())

    def __iadd__(self, other: ArrayLike) -> Tensor:
        if self._value is None and getrefcount(self) > _ONE_NAME:
            self._check_alone()
        return self._update(lambda: ops.add(self, other))

    def __isub__(self, other: ArrayLike) -> Tensor:
        if self._value is None and getrefcount(self) > _ONE_NAME:
            self._check_alone()
        return self._update(lambda: ops.subtract(self, other))

    def __imul__(self, other: ArrayLike) -> Tensor:
        if self._value is None and getrefcount(self) > _ONE_NAME:
            self._check_alone()
        return self._update(lambda: ops.multiply(self, other))

    def __itruediv__(self, other: ArrayLike) -> Tensor:
        if self._value is None and getrefcount(self) > _ONE_NAME:
            self._check_alone()
        return self._update(lambda: ops.divide(self, other))

    __ifloordiv__ = _in_place(operator.floordiv)
    __imod__ = _in_place(operator.mod)
    __ipow__ = _in_place(operator.pow)
    __imatmul__ = _in_place(operator.matmul)
    __iand__ = _in_place(operator.and_)
    __ior__ = _in_place(operator.or_)
    __ixor__ = _in_place(operator.xor)
    __ilshift__ = _in_place(operator.lshift)
    __irshift__ = _in_place(operator.rshift)

    # -- operators -------------------------------------------------------------------------------------------------

    def __add__(self, other: ArrayLike) -> Tensor:
        return ops.add(self, other)

    def __radd__(self, other: ArrayLike) -> Tensor:
        return ops.add(other, self)

    def __sub__(self, other: ArrayLike) -> Tensor:
        return ops.subtract(self, other)

    def __rsub__(self, other: ArrayLike) -> Tensor:
        return ops.subtract(other, self)

    def __mul__(self, other: ArrayLike) -> Tensor:
        return ops.multiply(self, other)

    def __rmul__(self, other: ArrayLike) -> Tensor:
        return ops.multiply(other, self)

    def __truediv__(self, other: ArrayLike) -> Tensor:
        return ops.divide(self, other)

    def __rtruediv__(self, other: ArrayLike) -> Tensor:
        return ops.divide(other, self)

    def __floordiv__(self, other: ArrayLike) -> Tensor:
        return ops.floor_divide(self, other)

    def __rfloordiv__(self, other: ArrayLike) -> Tensor:
        return ops.floor_divide(other, self)

    def __mod__(self, other: ArrayLike) -> Tensor:
        return ops.remainder(self, other)

    def __rmod__(self, other: ArrayLike) -> Tensor:
        return ops.remainder(other, self)

    def __divmod__(self, other: ArrayLike) -> tuple[Tensor, Tensor]:
        return self // other, self % other

    def __round__(self, decimals: int = 0) -> Tensor:
        if self._edge is not None and self._value is not None:
            leave(self, "round()")
        if isinstance(self.type, WeakType):
            raise CaptureError(
                "round() of a Python number follows Python's own rules, which no op has: pass an array instead of the "
                "number, or round it before the captured program"
            )
        return ops.round(self, decimals=decimals)

    def __pow__(self, other: ArrayLike) -> Tensor:
        return ops.power(self, other)

    def __rpow__(self, other: ArrayLike) -> Tensor:
        return ops.power(other, self)

    def __matmul__(self, other: ArrayLike) -> Tensor:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: ArrayLike) -> Tensor:
        return ops.matmul(other, self)

    def __neg__(self) -> Tensor:
        return ops.negative(self)

    def __pos__(self) -> Tensor:
        if self.dtype.kind == "b":
            raise DTypeError("NumPy has no + of bools: write x.astype(int), or x.copy()")
        return ops.copy(self, order="K")

    def __abs__(self) -> Tensor:
        result: Tensor = ops.abs(self)
        if isinstance(self.type, WeakType):  # of a Python number it is one again, as np.abs() is not
            assert result._edge is not None  # captured
            edge_node(result._edge).types = WeakType(*result.type)
            return CapturedNumber(None, result._edge)
        return result

    def __invert__(self) -> Tensor:
        return ops.logical_not(self) if self.dtype == np.bool_ else ops.invert(self)

    def __and__(self, other: ArrayLike) -> Tensor:
        return ops.bitwise_and(self, other)

    __rand__ = __and__

    def __or__(self, other: ArrayLike) -> Tensor:
        return ops.bitwise_or(self, other)

    __ror__ = __or__

    def __xor__(self, other: ArrayLike) -> Tensor:
        return ops.bitwise_xor(self, other)

    __rxor__ = __xor__

    def __lshift__(self, other: ArrayLike) -> Tensor:
        return _shifted(self, other, "left_shift")

    def __rlshift__(self, other: ArrayLike) -> Tensor:
        return _shifted(other, self, "left_shift")

    def __rshift__(self, other: ArrayLike) -> Tensor:
        return _shifted(self, other, "right_shift")

    def __rrshift__(self, other: ArrayLike) -> Tensor:
        return _shifted(other, self, "right_shift")

    def __eq__(self, other: object) -> Any:
        return ops.equal(self, other) if other is not None else False

    def __ne__(self, other: object) -> Any:
        return ops.not_equal(self, other) if other is not None else True

    def __lt__(self, other: ArrayLike) -> Tensor:
        return ops.less(self, other)

    def __le__(self, other: ArrayLike) -> Tensor:
        return ops.less_equal(self, other)

    def __gt__(self, other: ArrayLike) -> Tensor:
        return ops.greater(self, other)

    def __ge__(self, other: ArrayLike) -> Tensor:
        return ops.greater_equal(self, other)

    def __getitem__(self, index: object) -> Tensor:
        pattern, arrays = parse_index(index)
        return ops.index(self, *arrays, pattern=pattern)

    # -- NumPy's methods -------------------------------------------------------------------------------------------

    def sum(
        self,
        axis: Axis = None,
        dtype: DTypeLike | None = None,
        out: object = None,
        keepdims: bool = False,
        initial: object = None,
        where: object = None,
    ) -> Tensor:
        if dtype is out is initial is where is None:
            return ops.sum(self, axis=axis, keepdims=keepdims)
        return _with(np.sum, self, axis, keepdims, dtype=dtype, out=out, initial=initial, where=where)

    def mean(
        self,
        axis: Axis = None,
        dtype: DTypeLike | None = None,
        out: object = None,
        keepdims: bool = False,
        *,
        where: object = None,
    ) -> Tensor:
        if dtype is out is where is None:
            return ops.mean(self, axis=axis, keepdims=keepdims)
        return _with(np.mean, self, axis, keepdims, dtype=dtype, out=out, where=where)

    def prod(
        self,
        axis: Axis = None,
        dtype: DTypeLike | None = None,
        out: object = None,
        keepdims: bool = False,
        initial: object = None,
        where: object = None,
    ) -> Tensor:
        if dtype is out is initial is where is None:
            return ops.prod(self, axis=axis, keepdims=keepdims)
        return _with(np.prod, self, axis, keepdims, dtype=dtype, out=out, initial=initial, where=where)

    def max(
        self,
        axis: Axis = None,
        out: object = None,
        keepdims: bool = False,
        initial: object = None,
        where: object = None,
    ) -> Tensor:
        if out is initial is where is None:
            return ops.max(self, axis=axis, keepdims=keepdims)
        return _with(np.max, self, axis, keepdims, out=out, initial=initial, where=where)

    def min(
        self,
        axis: Axis = None,
        out: object = None,
        keepdims: bool = False,
        initial: object = None,
        where: object = None,
    ) -> Tensor:
        if out is initial is where is None:
            return ops.min(self, axis=axis, keepdims=keepdims)
        return _with(np.min, self, axis, keepdims, out=out, initial=initial, where=where)

    def var(
        self,
        axis: Axis = None,
        dtype: DTypeLike | None = None,
        out: object = None,
        ddof: int = 0,
        keepdims: bool = False,
        *,
        where: object = None,
        mean: object = None,
        correction: object = None,
    ) -> Tensor:
        if dtype is out is where is mean is correction is None:
            return ops.var(self, axis=axis, ddof=ddof, keepdims=keepdims)
        degrees = _degrees(ddof, correction)
        return _with(np.var, self, axis, keepdims, dtype=dtype, out=out, where=where, mean=mean, **degrees)

    def std(
        self,
        axis: Axis = None,
        dtype: DTypeLike | None = None,
        out: object = None,
        ddof: int = 0,
        keepdims: bool = False,
        *,
        where: object = None,
        mean: object = None,
        correction: object = None,
    ) -> Tensor:
        if dtype is out is where is mean is correction is None:
            return ops.std(self, axis=axis, ddof=ddof, keepdims=keepdims)
        degrees = _degrees(ddof, correction)
        return _with(np.std, self, axis, keepdims, dtype=dtype, out=out, where=where, mean=mean, **degrees)

    def argmax(self, axis: int | None = None, out: object = None, *, keepdims: bool = False) -> Tensor:
        if out is None:
            return ops.argmax(self, axis=axis, keepdims=keepdims)
        return _with(np.argmax, self, axis, keepdims, out=out)

    def argmin(self, axis: int | None = None, out: object = None, *, keepdims: bool = False) -> Tensor:
        if out is None:
            return ops.argmin(self, axis=axis, keepdims=keepdims)
        return _with(np.argmin, self, axis, keepdims, out=out)

    def cumsum(self, axis: int | None = None, dtype: DTypeLike | None = None, out: object = None) -> Tensor:
        if dtype is out is None:
            return ops.cumsum(self, axis=axis)
        return _with(np.cumsum, self, axis, dtype=dtype, out=out)

    def all(
        self, axis: Axis = None, out: object = None, keepdims: bool = False, *, where: object = None
    ) -> Tensor:
        if out is where is None:
            return ops.all(self, axis=axis, keepdims=keepdims)
        return _with(np.all, self, axis, keepdims, out=out, where=where)

    def any(
        self, axis: Axis = None, out: object = None, keepdims: bool = False, *, where: object = None
    ) -> Tensor:
        if out is where is None:
            return ops.any(self, axis=axis, keepdims=keepdims)
        return _with(np.any, self, axis, keepdims, out=out, where=where)

    def clip(
        self, min: object = None, max: object = None, out: object = None, *, dtype: DTypeLike | None = None
    ) -> Tensor:
        if dtype is out is None:
            return ops.clip(self, min, max)
        return _numpys(np.clip, self, min, max, out=out, dtype=dtype)

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> Tensor:
        if len(shape) == 1 and isinstance(shape[0], tuple | list):
            (shape,) = shape
        if order == "C" and copy is None:
            return ops.reshape(self, shape=tuple(shape))
        return _numpys(np.reshape, self, tuple(shape), order=order, copy=copy)

    def ravel(self, order: str = "C") -> Tensor:
        if order != "C":
            return _numpys(np.ravel, self, order)
        raveled: Tensor = views().raveled(ops.reshape(self, shape=(-1,)))
        return raveled

    def flatten(self, start_dim: int | str = 0, end_dim: int = -1, *, order: object = None) -> Tensor:
        """Join the axes from `start_dim` to `end_dim` into one; all of them by default, as in NumPy, in its order=."""
        if isinstance(start_dim, str):
            order, start_dim = start_dim, 0
        if order is not None:
            joined = ops.copy(self.ravel(str(order)))
        else:
            joined = ops.flatten(self, start_axis=start_dim, end_axis=end_dim)
        apart: Tensor = views().separate(joined)
        return apart

    def transpose(self, *axes: Any) -> Tensor:
        if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], tuple | list)):
            (axes,) = axes
        if axes and self.ndim > len(axes) == 2:
            raise ShapeError(
                f"transpose takes all {self.ndim} axes in their new order, as in NumPy, not {axes}; to exchange two "
                f"axes write .swapaxes{axes}"
            )
        return ops.transpose(self, axes=tuple(axes) if axes else None)

    @property
    def T(self) -> Tensor:
        return ops.transpose(self)

    @property
    def mT(self) -> Tensor:
        return ops.swapaxes(self, axis1=-2, axis2=-1)

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        return ops.swapaxes(self, axis1=axis1, axis2=axis2)

    def squeeze(self, axis: Axis = None) -> Tensor:
        return ops.squeeze(self, axis=axis)

    def repeat(self, repeats: object, axis: int | None = None) -> Tensor:
        # through NumPy's form, which takes arrays of counts
        return _numpys(np.repeat, self, repeats, axis=axis)

    def take(
        self, indices: object, axis: int | None = None, out: object = None, mode: str = "raise"
    ) -> Tensor:
        if out is None and mode == "raise":
            return ops.take(self, indices, axis=axis)
        return _numpys(np.take, self, indices, axis, out, mode)

    def dot(self, other: ArrayLike) -> Tensor:
        return _numpys(np.dot, self, other)

    def astype(
        self,
        dtype: DTypeLike,
        order: str = "K",
        casting: str = "unsafe",
        subok: bool = True,
        copy: bool = True,
    ) -> Tensor:
        if casting != "unsafe" and not np.can_cast(self.dtype, dtype, cast(Any, casting)):
            raise TypeError(
                f"Cannot cast a tensor from {self.dtype} to {np.dtype(dtype)} by the rule {casting!r}"
            )
        if not copy and self.dtype == dtype:
            return self
        if self.dtype == dtype and views().lies_in_leaf(self):
            return ops.copy(
                self, order="K"
            )  # a copy as in NumPy, which does not change when the leaf is written
        found: Tensor = ops.cast(self, dtype=dtype)
        return found if order == "K" else ops.copy(found, order=order)

    def copy(self, order: str = "C") -> Tensor:
        return ops.copy(self) if order == "C" else ops.copy(self, order=order)

    def conj(self) -> Tensor:
        return ops.conj(self)

    @property
    def real(self) -> Tensor:
        return ops.real(self)

    @property
    def imag(self) -> Tensor:
        return ops.imag(self)

    def round(self, decimals: int = 0, out: object = None) -> Tensor:
        if out is None:
            return ops.round(self, decimals=decimals)
        return _numpys(np.round, self, decimals, out)

    # -- NumPy's other methods, by its functions of the same names -------------------------------------------------

    def argsort(
        self, axis: int | None = -1, kind: object = None, order: object = None, *, stable: object = None
    ) -> Tensor:
        return _numpys(np.argsort, self, axis=axis, kind=kind, order=order, stable=stable)

    def argpartition(
        self, kth: object, axis: int | None = -1, kind: str = "introselect", order: object = None
    ) -> Any:
        return _numpys(np.argpartition, self, kth, axis, kind, order)

    def choose(self, choices: object, mode: str = "raise") -> Any:
        return _numpys(np.choose, self, choices, mode=mode)

    def compress(self, condition: object, axis: int | None = None) -> Tensor:
        return _numpys(np.compress, condition, self, axis)

    def conjugate(self) -> Tensor:
        return ops.conj(self)

    def cumprod(self, axis: int | None = None, dtype: DTypeLike | None = None, out: object = None) -> Tensor:
        if dtype is out is None:
            return ops.cumprod(self, axis=axis)
        return _with(np.cumprod, self, axis, dtype=dtype, out=out)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
        return ops.diagonal(self, offset=offset, axis1=axis1, axis2=axis2)

    def nonzero(self) -> tuple[np.ndarray[Any, Any], ...]:
        return np.nonzero(self)

    def searchsorted(self, v: object, side: str = "left", sorter: object = None) -> Any:
        return _numpys(np.searchsorted, self, v, side, sorter)

    def trace(
        self,
        offset: int = 0,
        axis1: int = 0,
        axis2: int = 1,
        dtype: DTypeLike | None = None,
        out: object = None,
    ) -> Tensor:
        if dtype is out is None:
            return ops.trace(self, offset=offset, axis1=axis1, axis2=axis2)
        return _numpys(np.trace, self, offset, axis1, axis2, dtype, out)

    def fill(self, value: object) -> None:
        self[...] = value

    def put(self, indices: object, values: object, mode: str = "raise") -> None:
        _numpys(np.put, self, indices, values, mode)

    def sort(
        self, axis: int = -1, kind: object = None, order: object = None, *, stable: object = None
    ) -> None:
        """Sort in place, as NumPy's method does: this tensor then stands for its elements in order."""
        self[...] = _numpys(np.sort, self, axis=axis, kind=kind, order=order, stable=stable)

    def partition(self, kth: object, axis: int = -1, kind: str = "introselect", order: object = None) -> None:
        self[...] = _numpys(np.partition, self, kth, axis, kind, order)

    @property
    def flat(self) -> Tensor:
        """All elements in one axis, to iterate over and to index."""
        return self.reshape(-1)

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def device(self) -> str:
        return "cpu"

    def to_device(self, device: str, /, *, stream: object = None) -> Tensor:
        if device != "cpu":
            raise ValueError(f"tensors live on the device 'cpu', not on {device!r}")
        return self

    def tobytes(self, order: Any = "C") -> bytes:
        return cast(bytes, self._concrete("tobytes()").tobytes(order))

    def __array_namespace__(self, *, api_version: str | None = None) -> ModuleType:
        """The array API's functions, for tensors: `xp = x.__array_namespace__(); xp.sum(xp.exp(x))`."""
        return doors.array_namespace(api_version)

    def __dlpack__(
        self,
        *,
        stream: object = None,
        max_version: object = None,
        dl_device: object = None,
        copy: bool | None = None,
    ) -> Any:
        """The value's memory, for libraries that speak DLPack; of a tensor with a gradient, `.detach()` it first."""
        if self.requires_grad:
            raise RecordingError("DLPack carries no gradient: pass tensor.detach() if it is not wanted")
        options: dict[str, Any] = {
            "stream": stream,
            "max_version": max_version,
            "dl_device": dl_device,
            "copy": copy,
        }
        shown = np.asarray(self._concrete("__dlpack__()"))[...]
        shown.flags.writeable = False  # writes of others would go unseen
        try:
            return shown.__dlpack__(**options)
        except BufferError:  # a receiver that knows no arrays which are only read
            return shown.copy().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def __rdivmod__(self, other: Any) -> tuple[Tensor, Tensor]:
        return other // self, other % self

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return {"text/plain": repr(self)}


def _with(
    function: Callable[..., Any], x: object, axis: object, keepdims: bool = False, **options: object
) -> Tensor:
    """NumPy's reduction, with those of its options that are given."""
    given = {name: one for name, one in options.items() if one is not None}
    return _numpys(function, x, axis=axis, **({"keepdims": True} if keepdims else {}), **given)


def _numpys(function: Callable[..., Any], *args: object, **options: object) -> Tensor:
    """NumPy's function of a tensor: its own types know arrays alone."""
    made: Tensor = function(*args, **options)
    return made


def _shifted(x: object, y: object, function: str) -> Tensor:
    """Bits moved, which has no gradient."""
    moved: Tensor = ops.constant_function(x, y, function=function)
    return moved


def _degrees(ddof: int, correction: object) -> dict[str, object]:
    """NumPy's two names for what is subtracted from the number of values; it says which of them were given."""
    return {"ddof": ddof} if correction is None else {"correction": correction}


if TYPE_CHECKING:
    Tensor = Handle  # the library takes what is captured for tensors
else:

    class Tensor(Handle):
        """A value in a computation graph. Make one with `tg.tensor`.

        `==` is elementwise and hashing goes by identity. In arithmetic Python scalars are weak, as in NumPy 2.
        """

        __slots__ = ()

        def __dir__(self) -> list[str]:
            return [name for name in super().__dir__() if type(getattr(Tensor, name, None)) is not _Elsewhere]


class _Elsewhere:
    """A method of PyTorch's that tensors do not have: asking for it says what to write instead."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, tensor: Tensor | None, owner: object = None) -> Any:
        if tensor is None:
            return self
        raise NoSuchAttributeError(f"tensors have NumPy's methods, and no {self._name!r}{advice(self._name)}")


for _name in METHODS:
    if not hasattr(Tensor, _name):
        setattr(Tensor, _name, _Elsewhere(_name))


class Captured(Handle):
    """What is an array or a number of the user's, and computed with as a tensor while a program is captured.

    To the user's code it is of the class that it stands for, with the attributes that this has; to the library's code,
    and in arithmetic, it is a tensor.
    """

    __slots__ = ()

    def _stands_for(self) -> type | None:
        """The class that eager code would find; None if that depends on more than a capture knows."""
        raise NotImplementedError

    @property  # type: ignore[misc] # the answer depends on who asks
    def __class__(self) -> Any:
        if not _asked_by_user(2):
            return Tensor
        kind = self._stands_for()
        if kind is None:
            raise CaptureError(
                f"the class of a value ({self.type}) is asked for at {here(2)}: eagerly it may be an array without "
                f"axes or a scalar of NumPy's, which a captured program does not tell apart. Ask for its shape, "
                f"np.shape(value) == ()"
            )
        return kind

    def __getattr__(self, name: str) -> Any:
        """What arrays and numbers have and tensors have not, such as `x.tobytes` or `n.is_integer`."""
        kind = self._stands_for() or np.ndarray
        if hasattr(kind, name) and not name.startswith("__") and _asked_by_user(2):
            raise CaptureError(
                f".{name} at {here(2)}: {kind.__name__!r} has it, and what stands for it while the program is captured "
                f"has not. Use NumPy's functions, or work it out before and pass it as an argument"
            )
        raise NoSuchAttributeError(f"{kind.__name__!r} object has no attribute {name!r}")


class CapturedNumber(Captured):
    """A Python number while a program is captured."""

    __slots__ = ()

    def _stands_for(self) -> type:
        return type(cast(WeakType, self._type).number)

    def __str__(self) -> str:
        if _asked_by_user(2):
            raise self._no_text(here(2))
        return repr(self)

    def __format__(self, spec: str) -> str:
        if not spec and _asked_by_user(2):
            raise self._no_text(here(2))
        return super().__format__(spec)

    def _no_text(self, line: object) -> CaptureError:
        return CaptureError(
            f"str() at {line} of a number that is captured: which digits it has is not known, and calls with other "
            f"numbers would get the same text. Make the text outside, or look at repr(number) while you debug"
        )

    # A number is not written, its name is bound to another one. The operators of tensors, which they stand for, differ.
    def __iadd__(self, other: Any) -> Any:  # type: ignore[misc]
        return self + other

    def __isub__(self, other: Any) -> Any:  # type: ignore[misc]
        return self - other

    def __imul__(self, other: Any) -> Any:  # type: ignore[misc]
        return self * other

    def __itruediv__(self, other: Any) -> Any:  # type: ignore[misc]
        return self / other

    __ifloordiv__ = _anew(operator.floordiv)
    __imod__ = _anew(operator.mod)
    __ipow__ = _anew(operator.pow)
    __imatmul__ = _anew(operator.matmul)
    __iand__ = _anew(operator.and_)
    __ior__ = _anew(operator.or_)
    __ixor__ = _anew(operator.xor)
    __ilshift__ = _anew(operator.lshift)
    __irshift__ = _anew(operator.rshift)


class CapturedArray(Captured):
    """An array, or a scalar of NumPy's, while a program is captured."""

    __slots__ = ()

    def _stands_for(self) -> type | None:
        capture = modes.current.capture
        return _class_of(self._edge, capture.scalars if capture is not None else ())  # type: ignore[arg-type]


def _class_of(edge: Edge, scalars: Collection[int]) -> type | None:
    """The class of what NumPy makes where a capture has an edge; None for elements of arrays of objects.

    Args:
        scalars: ids of the inputs that are NumPy's scalars.
    """
    shape, dtype = edge_type(edge)
    if shape:
        return np.ndarray
    if isinstance(edge, Leaf):
        return dtype.type if id(edge) in scalars else np.ndarray
    if dtype.kind == "O":  # the object itself
        return None
    node = edge_node(edge)
    op = node.op
    moves = op.put or op.facts.get("read_only") or op.kind == "shape"
    if any(types is not None and types.shape for types in node.input_types) and (
        len(node.inputs) > 1 or not moves
    ):
        return dtype.type  # NumPy's functions make scalars, but for those that only move elements
    operands = [_example(entry, scalars) for entry in node.inputs]
    return type(run_on(op, operands[0], tuple(operands[1:]), node.settings)[edge_index(edge)])


def _example(entry: Any, scalars: Collection[int]) -> Any:
    """A value of the type and class of what a node has as an input."""
    if not is_recorded(entry):
        return entry
    types = edge_type(entry)
    if isinstance(types, WeakType):
        return types.number
    return zeros_like(types) if _class_of(entry, scalars) is np.ndarray else types.dtype.type(0)


def _asked_by_user(depth: int) -> bool:
    """Whether it is not the library's code that asks, itself or through Python's and NumPy's."""
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and is_library(frame.f_code.co_filename):
        if is_own(frame.f_code.co_filename):
            return False
        frame = frame.f_back
    return True


def _hide(kind: type, likes: tuple[type, ...]) -> None:
    """Give a class of captured values no public attributes in the user's eyes but those that one of `likes` has."""

    def hidden(name: str, original: Any) -> property:
        def get(self: Any) -> Any:
            if modes.current.capture is not None and _asked_by_user(2):
                kind = self._stands_for() or np.ndarray
                raise NoSuchAttributeError(
                    f"{kind.__name__!r} object has no attribute {name!r}, at {here(2)}"
                )
            return original.__get__(self, type(self))

        return property(get, getattr(original, "__set__", None) and original.__set__)

    for name, original in vars(Handle).items():
        if not name.startswith("_") and not any(hasattr(like, name) for like in likes):
            setattr(kind, name, hidden(name, original))


_hide(CapturedArray, (np.ndarray,))
_hide(CapturedNumber, (int, float, complex))


def leave(tensor: Tensor, what: str) -> None:
    """See `leaving.py`, which asks the engine."""
    from tinygraph.core.leaving import leave

    leave(tensor, what)


def asker() -> str:
    """See `leaving.py`."""
    from tinygraph.core.leaving import asker

    return asker()


def views() -> ModuleType:
    """`views.py`, which makes tensors and so comes after them."""
    from tinygraph.core import views

    return views


def read_grad(leaf: Leaf) -> Tensor | None:
    """A leaf's accumulated gradient; while capturing, what the captured program would find there."""
    capture = modes.current.capture
    return leaf.grad if capture is None else capture.read_grad(leaf)


def write_grad(leaf: Leaf, gradient: Tensor | None) -> None:
    """Set a leaf's accumulated gradient; while capturing, note that the captured program does."""
    capture = modes.current.capture
    if capture is None:
        leaf.grad = gradient
    else:
        capture.write_grad(leaf, gradient)


def varies(value: object) -> bool:
    """Whether a value, a cotangent as a rule, may be differentiated by what it depends on.

    A plain array stays what it is, and so does what comparisons choose of plain arrays. Of a graph that is
    differentiated outside of any program, the inputs may vary.
    """
    if not isinstance(value, Tensor) or value._edge is None:
        return False
    capture = modes.current.capture
    node = edge_node(value._edge)
    return (
        wants_gradient(node, ())
        if capture is None
        else wants_gradient(node, capture.primals, capture.inputs_vary, capture.fixed)
    )


def wants_gradient(
    node: Node, primals: Collection[int], inputs: bool = False, fixed: Collection[int] = ()
) -> bool:
    """Whether a captured value would be recorded in an eager run, where inputs and buffers are plain data.

    Args:
        node: what made the value.
        primals: ids of the nodes that a transform differentiates with respect to.
        inputs: whether inputs count, too.
        fixed: ids of those that do not.
    """
    seen = {id(node)}
    pending = [node]
    while pending:
        one = pending.pop()
        if id(one) in primals or (
            isinstance(one, Leaf)
            and (one.requires_grad or (inputs and one.value is None and id(one) not in fixed))
        ):
            return True
        if isinstance(one, Leaf) or not one.live_rules.backward:
            continue
        for i, entry in enumerate(one.inputs):
            if (
                one.live_rules.mask >> i & 1
                and edge_type(entry).differentiable
                and id(edge_node(entry)) not in seen
            ):
                seen.add(id(edge_node(entry)))
                pending.append(edge_node(entry))
    return False


def tensor_of(leaf: Leaf) -> Tensor:
    """The tensor that holds a leaf: the user's own as long as it lives, so that writes reach every holder."""
    held = leaf.holder() if leaf.holder is not None else None
    if held is None:
        held = Tensor._of_leaf(leaf)
    return held


def left_behind(what: str, x: Tensor) -> CaptureError:
    """The error of meeting a captured tensor after its capture, when it stands for no value any more."""
    made = f" as the result of {x.node.describe()}" if x.node is not None else ""
    return CaptureError(
        f"{what} met a tensor that a finished capture left behind{made}: it has a type ({x.type}) but no value. Return "
        f"it from the captured function instead of keeping it in a list, an attribute or a variable"
    )


def _require_differentiable(types: ArrayType) -> None:
    if not types.differentiable:
        raise DTypeError(
            f"a tensor of dtype {types.dtype} cannot require a gradient: derivatives need real or complex numbers. "
            f"Convert it first, for example tg.tensor(value, dtype=float, requires_grad=True)"
        )


def tensor(
    value: object, *, dtype: DTypeLike | None = None, requires_grad: bool = False, name: str | None = None
) -> Tensor:
    """Make a tensor from a copy of a value.

    Args:
        value: a number, nested lists, an array or a tensor; ints, floats, complex numbers, bools and Python
            objects such as Fraction.
        dtype: the dtype; NumPy's choice by default.
        requires_grad: whether `.backward()` accumulates a gradient in `.grad`.
        name: shown in drawings, explanations and errors.

    Raises:
        DTypeError: gradients asked for an integer or boolean value, or a value that is not numeric.
        ShapeError: nested lists of different lengths.

    >>> tensor([1.0, 2.0], requires_grad=True, name="w")
    tensor([1., 2.], name='w', requires_grad=True)
    """
    if isinstance(value, Tensor):
        value = value._concrete("tg.tensor()")
    elif isinstance(value, list | tuple) and any(isinstance(one, Tensor) for one in value):
        raise DTypeError(
            "tg.tensor() copies values and would lose the gradients of tensors in a list; use tg.ops.stack"
        )
    require_plain(value)
    try:
        array = np.array(value, dtype=dtype)
    except ValueError as error:
        raise ShapeError(f"tg.tensor() takes numbers in lists of equal lengths: {error}") from error
    if array.dtype.kind not in "biufcO" or value is None:
        raise DTypeError(
            f"tg.tensor() takes numbers, not {'None' if value is None else f'an array of dtype {array.dtype}'}"
        )
    # 0-d values are NumPy scalars (arithmetic on them is ten times faster than on 0-d arrays)
    stored = array if array.ndim or array.dtype.kind == "O" else array[()]
    if requires_grad:
        _require_differentiable(type_of(stored))
    if requires_grad or name is not None:
        return _made(Tensor._of_leaf(Leaf(stored, requires_grad=requires_grad, name=name)))
    return _made(Tensor(stored))


def _made(new: Tensor) -> Tensor:
    """A new tensor of plain data, which a capture in progress must tell from those that were there before."""
    if modes.current.capture is not None:
        modes.current.capture.made(new)
    return new
