"""Picking by index arrays, adding up where they point, and cumulating: against NumPy in float64, between canaries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.rows import each
from tinygraph.core.registry import ops
from tinygraph.errors import OpError
from tinygraph.kernels import cumulative, gather
from tinygraph.kernels.cumulative import Cumulation
from tinygraph.kernels.gather import Picking

RNG = np.random.default_rng(0)
ALL = slice(None)


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    before = tg.get_threads()
    yield
    tg.set_threads(before)


@each("dtype", ["float32", "float64"])
@each("block", [1, 3, 16, 37])
@each("selected", [(5,), (40,), (2, 9)])
def test_kernels(dtype: str, block: int, selected: tuple[int, ...], guard: Any) -> None:
    """Two indexed axes, of which the second index array is broadcast; negative numbers count from the end."""
    before, sizes = 2, (6, 4)
    first = RNG.integers(-6, 6, selected)
    second = RNG.integers(-4, 4, selected[-1:]).astype(np.int32)
    spread = np.broadcast_to(second, selected)
    strides = tuple(tuple(step // one.itemsize for step in one.strides) for one in (first, spread))
    picking = Picking(before, sizes, selected, block, strides, ("int64", "int32"), dtype)
    x = guard.like(RNG.standard_normal((before, *sizes, block)).astype(dtype))
    values = guard.like(RNG.standard_normal((before, *selected, block)).astype(dtype))
    out, total, flag = guard(values.shape, dtype), guard(x.shape, dtype), np.zeros(1, np.int64)
    gather.gather(picking).bind(x, out, flag, first, second, span=selected[0])()
    np.testing.assert_array_equal(out, x[:, first, spread])
    gather.scatter_add(picking).bind(values, total, flag, first, second, span=sizes[0])()
    right = np.zeros(x.shape)
    np.add.at(right, (ALL, first, spread), values.astype(float))
    assert np.abs(total - right).max() <= {"float32": 4e-6, "float64": 4e-15}[dtype]
    assert not flag[0]


@pytest.mark.parametrize("wrong", [6, -7])
def test_an_index_out_of_range_touches_nothing(wrong: int, guard: Any) -> None:
    picking = Picking(1, (6,), (3,), 2, ((1,),), ("int64",), "float32")
    x, places = guard((6, 2), "float32", 1), np.array([1, wrong, 5])
    out, total, flag = guard((3, 2), "float32", 7), guard((6, 2), "float32", 7), np.zeros(1, np.int64)
    gather.gather(picking).bind(x, out, flag, places, span=3)()
    assert flag[0]
    assert out.tolist() == [[1, 1], [7, 7], [1, 1]]
    flag[0] = 0
    gather.scatter_add(picking).bind(guard((3, 2), "float32", 1), total, flag, places, span=6)()
    assert flag[0]
    assert total.tolist() == [[0, 0], [1, 1], [0, 0], [0, 0], [0, 0], [1, 1]]


def indexed(index: Any) -> Any:
    return lambda x: x[index]


SHAPE = (7, 5, 6)
READINGS = {
    "rows": indexed(RNG.integers(-7, 7, 11)),
    "a matrix of rows": indexed(RNG.integers(-7, 7, (3, 4))),
    "the middle axis": indexed((ALL, RNG.integers(0, 5, 9))),
    "the last axis": indexed((Ellipsis, RNG.integers(-6, 6, (2, 3)))),
    "pairs": indexed((RNG.integers(0, 7, 8), RNG.integers(0, 5, 8))),
    "pairs behind an axis": indexed((ALL, RNG.integers(0, 5, (4, 1)), RNG.integers(0, 6, 3))),
    "single elements": indexed((RNG.integers(0, 7, 20), RNG.integers(0, 5, 20), RNG.integers(-6, 6, 20))),
    "apart": indexed((RNG.integers(0, 7, 4), ALL, RNG.integers(0, 6, 4))),
    "beside a slice": indexed((slice(1, 6, 2), RNG.integers(0, 5, 3))),
    "slices": indexed((slice(1, 6, 2), ALL, slice(None, None, -2))),
    "new axes": indexed((None, 2, ..., None, slice(1, 3))),
    "along": lambda x: np.take_along_axis(x, RNG_PLACES, 1),
    "take": lambda x: np.take(x, np.array([4, 0, 0, 2]), axis=1),
    "embedding": lambda x: ops.embedding(x, np.array([[3, 3], [0, 6]], np.int32), padding_idx=0),
    "cumulated rows": lambda x: np.cumsum(x, axis=-1),
    "cumulated columns": lambda x: np.cumsum(x, axis=0) * np.cumprod(x, axis=1),
    "cumulated": lambda x: np.cumsum(x) + np.cumprod(np.reshape(x, (-1,)) * 0.1 + 1.0),
}
RNG_PLACES = RNG.integers(0, 5, (7, 3, 6))


@each("name", list(READINGS))
def test_compiled(name: str) -> None:
    """Values and gradients of everything that reads by an index, on one thread and three: the same bits."""
    read = READINGS[name]
    x = RNG.standard_normal(SHAPE).astype(np.float32)
    weight = RNG.standard_normal(np.shape(read(x.astype(float))))

    def step(x: Any, weight: Any) -> Any:
        return read(x), tg.grad(lambda x: np.sum(read(x) * weight))(x)

    right = step(x.astype(float), weight)
    made = []
    for threads in (1, 3):
        tg.set_threads(threads)
        made.append([np.array(one) for one in tg.compile(step)(x, weight.astype(np.float32))])
    for one, other, wanted in zip(*made, right, strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.abs(one - wanted).max() <= 4e-6 * max(np.abs(wanted).max(), 1)


def test_what_is_out_of_range_is_said() -> None:
    places = np.array([0, 2])
    step = tg.compile(lambda x, places: x[places] * 2.0)
    assert step(np.arange(3.0), places).tolist() == [0, 4]
    with pytest.raises(OpError, match="index 3 is out of bounds"):
        step(np.arange(3.0), np.array([0, 3]))
    look = tg.compile(lambda x, places: ops.embedding(x, places) + 1.0)
    with pytest.raises(OpError, match=r"indices\[1\] is -1"):
        look(np.ones((3, 2)), np.array([0, -1]))


@each("dtype", ["float32", "float64"])
@each("kind", ["sum", "prod"])
@each(
    "sizes", [(1, 1, 1), (1, 37, 1), (16, 16, 1), (35, 33, 1), (40, 5, 1), (3, 9, 2), (2, 5, 16), (4, 7, 37)]
)
def test_cumulating(dtype: str, kind: str, sizes: tuple[int, int, int], guard: Any) -> None:
    x = guard.like((RNG.uniform(0.5, 1.5, sizes) * RNG.choice([-1, 1], sizes)).astype(dtype))
    out = guard(sizes, dtype)
    cumulative.cumulate(Cumulation(kind == "prod", *sizes, dtype)).bind(x, out, span=1)()
    np.testing.assert_array_equal(out, (np.cumsum if kind == "sum" else np.cumprod)(x, axis=1))
