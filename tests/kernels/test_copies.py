"""Copies between arrays that lie differently, against NumPy's own, with guards around what is written."""

from __future__ import annotations

import numpy as np
import pytest

from tinygraph.kernels.copies import copying


def random_view(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """An array of a shape with its axes in any order in memory, gaps between its elements, or running backwards."""
    order = rng.permutation(len(shape))
    steps = [int(rng.choice([1, 1, 2])) for _ in shape]
    memory = np.full([shape[i] * steps[i] for i in order], -7, dtype)
    view = memory.transpose(np.argsort(order))
    return view[tuple(slice(None, None, step * int(rng.choice([1, 1, -1]))) for step in steps)]


@pytest.mark.parametrize("seed", range(60))
def test_any_strides(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.choice([1, 2, 3, 7, 8, 16, 17, 40], rng.integers(1, 5)))
    dtype = str(rng.choice(["float32", "float64", "int32", "int64"]))
    source, to = random_view(rng, shape, dtype), random_view(rng, shape, dtype)
    source[...] = np.arange(source.size).reshape(shape)
    around = to
    while around.base is not None:
        around = around.base
    before = around.copy()
    kernel = copying(to, source)
    assert kernel is not None
    kernel()
    np.testing.assert_array_equal(to, source)
    to[...] = -7
    np.testing.assert_array_equal(around, before)  # nothing between the elements was written


def test_literal_values_and_what_is_moved_bit_for_bit() -> None:
    x = np.array([[np.nan, -0.0, 5e-324], [1.0, np.inf, -1.5]])
    out = np.empty((3, 2))
    copying(out, x.T)()
    assert out.tobytes() == np.array([[np.nan, 1.0], [-0.0, np.inf], [5e-324, -1.5]]).tobytes()


def test_what_it_leaves_to_numpy() -> None:
    assert copying(np.empty((2, 3), np.int16), np.empty((2, 3), np.int16)) is None
    assert copying(np.empty((2, 3)), np.empty((3, 2))) is None
    assert copying(np.empty(2, object), np.empty(2, object)) is None
    packed = np.zeros(3, [("a", "i1"), ("b", "f8")])["b"]
    assert copying(np.empty(3), packed) is None


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_any_number_of_threads(threads: int) -> None:
    import tinygraph as tg

    before = tg.get_threads()
    x = np.random.default_rng(0).normal(size=(37, 251, 19)).astype(np.float32)
    try:
        tg.set_threads(threads)
        swapped = tg.compile(lambda x: np.swapaxes(np.exp(x), 0, 2).reshape(19, -1) + 1)
        found = swapped(x)
        assert not any(step.kernel.name.startswith("NumPy") for step in swapped.plan.steps)
    finally:
        tg.set_threads(before)
    np.testing.assert_allclose(found, np.exp(x).swapaxes(0, 2).reshape(19, -1) + 1, rtol=1e-6)
