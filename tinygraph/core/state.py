"""The one door to mutable state: parameters, running statistics, optimizer slots, learning rates, step counts.

Eagerly, `read` gives the array and `write` copies into it, in place. While a program is captured, a state that is
read becomes an input of the graph and one that is written an output, so a whole training step is a graph.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.core.locks import leaf_lock
from tinygraph.core.modes import modes
from tinygraph.core.node import Leaf
from tinygraph.core.regions import present
from tinygraph.core.registry import ops
from tinygraph.core.source import here, is_library
from tinygraph.core.tensor import Tensor
from tinygraph.core.types import ArrayType, as_value, require_plain, type_of
from tinygraph.core.views import laid_out_as, outdate
from tinygraph.errors import CaptureError, DTypeError, ShapeError


def buffer(value: object, name: str | None = None) -> Tensor:
    """A tensor for state that is no parameter: written through this door, never differentiated."""
    require_plain(value)
    array = np.array(value)
    stored = array if array.ndim else array[()]
    return Tensor._of_leaf(Leaf(stored, name=name, kind="buffer"))  # type: ignore[no-any-return]


def read(state: Tensor) -> Any:
    """The present value: an array, or a captured tensor while a program is captured."""
    capture = modes.current.capture
    if capture is not None and state._value is not None:
        return capture.read(state._own_leaf())
    if present.region is not None and state._leaf is not None:
        present.region.note_read(state._leaf)
    return state if state._value is None else state._value


def write(state: Tensor, value: object) -> None:
    """Replace the value, in place, and remember where that happened.

    Raises:
        ShapeError, DTypeError: the new value does not fit.
    """
    if value.__class__ is not np.ndarray and not isinstance(value, Tensor):
        require_plain(value)
        value = np.asarray(value)
    shape, dtype = state.type
    if value.shape != shape:
        raise ShapeError(f"a value of shape {value.shape} does not fit the state of shape {shape}")
    fits = value.dtype == dtype
    if not fits and not np.can_cast(value.dtype, dtype, "same_kind"):
        raise DTypeError(f"a value of dtype {value.dtype} does not fit the state of dtype {dtype}")
    if getattr(state, "_shared", None) is not None:
        outdate(state)
    capture = modes.current.capture
    if capture is not None:
        capture.write(state._own_leaf(), value if fits else ops.cast(value, dtype=dtype))
        return
    if isinstance(value, Tensor):
        value = value._concrete("writing a tensor")
    value = np.asarray(value)
    if present.region is not None:
        present.region.note_write(state)
    old = state._value
    if state._leaf is None:
        # plain data, whose array other tensors and recorded nodes may share: they keep it as it is
        state._value = laid_out_as(old, as_value(value.astype(old.dtype)))
        return
    leaf = state._leaf
    if isinstance(old, np.ndarray) and old.flags.writeable:
        old[...] = value
    else:  # NumPy scalars are immutable
        state._value = leaf.value = value.astype(old.dtype)[()] if value.dtype.kind != "O" else value
    written(leaf)


def convert(state: Tensor, dtype: DTypeLike) -> None:
    """Change the dtype of a state, and of its gradient, keeping its identity: holders see the new one.

    Raises:
        CaptureError: a program is being captured, whose types are fixed.
    """
    if modes.current.capture is not None:
        raise CaptureError("the dtype of a parameter or buffer cannot change inside a captured program")
    if getattr(state, "_shared", None) is not None:
        outdate(state)
    leaf = state._own_leaf()
    if present.region is not None:
        present.region.note_write(state)
    state._value = leaf.value = state._value.astype(dtype)
    leaf.types = type_of(state._value)
    if leaf.grad is not None:
        leaf.grad = Tensor(leaf.grad._value.astype(dtype))
    written(leaf)


def written(leaf: Leaf) -> None:
    """Note that a leaf's memory was written, and where."""
    with leaf_lock.held:  # a write that is lost from the count could make an old saved version look present
        leaf.version += 1
    leaf.changed_at = here()


def zero_gradient(parameter: Tensor, set_to_none: bool = True) -> None:
    """Forget a gradient, or set one that exists to zero."""
    if set_to_none or parameter.grad is None:
        parameter.grad = None
    else:
        parameter.grad = Tensor(np.zeros(parameter.shape, parameter.grad.dtype))


class Generator:
    """A source of random numbers with a seed: `numpy.random.Generator` behind the door.

    >>> Generator(0).uniform((2,)).shape
    (2,)
    """

    def __init__(self, seed: int | None = None) -> None:
        self._leaf: Leaf | None = None
        self.seed(seed)

    def seed(self, seed: int | None) -> None:
        """Start again from a seed; None takes one from the operating system.

        Raises:
            CaptureError: a program is being captured, which would start again only once.
        """
        if _captured_by_user():
            raise _once("seeding a generator", "make and seed generators outside of the captured function")
        self._numbers = np.random.default_rng(seed)

    @property
    def numpy(self) -> np.random.Generator:
        """NumPy's generator behind this one; where a part of a program runs again, one that draws the same again."""
        region = present.region
        return self._numbers if region is None else region.source(self, self._numbers)

    @property
    def state(self) -> Any:
        """Where the stream of numbers stands; may be set."""
        return self.numpy.bit_generator.state

    @state.setter
    def state(self, state: Any) -> None:
        if _captured_by_user():
            raise _once("setting a generator's state", "set it outside of the captured function")
        self.numpy.bit_generator.state = state

    def uniform(self, shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> Any:
        """Float64 numbers in [low, high). While a program is captured: a node that draws when the program runs."""
        return drawn_from(self, "random_uniform", shape=tuple(shape), low=low, high=high)

    def normal(self, shape: tuple[int, ...], mean: float = 0.0, std: float = 1.0) -> Any:
        """Float64 numbers of the normal distribution; captured like `uniform`."""
        return drawn_from(self, "random_normal", shape=tuple(shape), mean=mean, std=std)

    @property
    def leaf(self) -> Leaf:
        """This generator as a leaf of captured graphs, which refer to it and draw from it when they run."""
        if self._leaf is None:
            self._leaf = Leaf(self, kind="generator", types=ArrayType((), np.dtype(object)))
        return self._leaf

    def permutation(self, count: int) -> np.ndarray[Any, Any]:
        """The numbers 0 to `count` - 1 in random order.

        Raises:
            CaptureError: a program is being captured, which would draw only once.
        """
        if _captured_by_user():
            raise _once("drawing a permutation", "draw it outside and pass it as an argument")
        return self.numpy.permutation(count)


def drawn_from(generator: Generator, op: str, **settings: object) -> Any:
    """What a random op draws: data, or in a captured program the node that draws when the program runs."""
    if modes.current.capture is None:
        return ops[op].forward(generator, **settings)
    drawn = ops[op](Tensor(None, generator.leaf, generator.leaf), **settings)
    modes.current.capture.drew(drawn)
    return drawn


def _captured_by_user() -> bool:
    """Whether a program that is being captured does something itself, and not the library around it."""
    if modes.current.capture is None:
        return False
    frame = sys._getframe(2)
    while frame.f_code.co_filename == __file__ and frame.f_back is not None:
        frame = frame.f_back
    return not is_library(frame.f_code.co_filename)


def _once(what: str, instead: str) -> CaptureError:
    return CaptureError(
        f"{what} at {here(3)}: a captured program would do it once and then repeat the result in every call; {instead}"
    )


default_generator = Generator()


def manual_seed(seed: int) -> None:
    """Seed every generator that the library draws from: initialisers, dropout, shuffling.

    >>> manual_seed(0)
    """
    default_generator.seed(seed)
